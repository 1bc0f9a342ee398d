//! The providers that are known by name.

pub mod tested;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use domain::Operation;
use domain::envelope::{Auth, Signing, Timeouts};
use domain::registry::{Format, Provider, Quirks, Variant, When};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Calls a provider may be given at once unless settings say otherwise.
pub const CONCURRENCY: usize = 512;

/// Times that calls may take unless settings say otherwise.
pub const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    first_byte: Duration::from_secs(300),
    idle: Duration::from_secs(120),
    total: Duration::from_secs(600),
};

/// What the catalogue says about a provider. Settings describe providers in the same words.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name for people.
    pub name: String,
    /// Where its API is documented.
    pub docs: String,
    format: Format,
    base_url: String,
    #[serde(default = "authorization")]
    auth_header: String,
    #[serde(default = "bearer")]
    auth_scheme: String,
    #[serde(default)]
    signing: Option<Signing>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    options: Map<String, Value>,
    #[serde(default)]
    operations: Vec<Operation>,
    #[serde(default)]
    paths: BTreeMap<String, String>,
    #[serde(default)]
    quirks: Quirks,
    #[serde(default)]
    variants: Vec<Variant>,
    #[serde(default)]
    when: Vec<When>,
    /// Since when it is there no more, and what is known of that. It is kept so that its name is a clear error.
    #[serde(default)]
    retired: Option<String>,
    /// Seconds to the first byte of an answer, where the provider is known to take longer.
    #[serde(default)]
    first_byte_timeout: Option<u64>,
}

fn authorization() -> String {
    "authorization".to_owned()
}

fn bearer() -> String {
    "Bearer".to_owned()
}

/// A provider of the catalogue.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its name for people.
    pub name: String,
    /// Where its API is documented.
    pub docs: String,
    /// Since when it is there no more, and what is known of that; None: it answers.
    pub retired: Option<String>,
    /// How it is called, without a credential.
    pub provider: Provider,
}

static CATALOGUE: LazyLock<BTreeMap<String, Known>> = LazyLock::new(|| {
    let entries: BTreeMap<String, Entry> =
        toml::from_str(include_str!("catalogue.toml")).expect("the catalogue is checked by a test");
    entries.into_iter().map(|(slug, entry)| (slug, known(entry))).collect()
});

fn known(entry: Entry) -> Known {
    let first_byte = entry.first_byte_timeout.map_or(TIMEOUTS.first_byte, Duration::from_secs);
    let provider = Provider {
        format: entry.format,
        base_url: entry.base_url,
        auth: Auth { header: entry.auth_header, scheme: entry.auth_scheme, signing: entry.signing },
        credential: None,
        options: entry.options,
        operations: entry.operations,
        paths: entry.paths,
        quirks: entry.quirks,
        variants: entry.variants,
        when: entry.when,
        concurrency: CONCURRENCY,
        timeouts: Timeouts { first_byte, ..TIMEOUTS },
        headers: entry.headers,
        models: Vec::new(),
        price: None,
    };
    Known { name: entry.name, docs: entry.docs, retired: entry.retired, provider }
}

/// A provider of that format with everything else at its default.
pub fn blank(format: Format, base_url: &str) -> Provider {
    Provider {
        format,
        base_url: base_url.to_owned(),
        auth: Auth { header: authorization(), scheme: bearer(), signing: None },
        credential: None,
        options: Map::new(),
        operations: Vec::new(),
        paths: BTreeMap::new(),
        quirks: Quirks::default(),
        variants: Vec::new(),
        when: Vec::new(),
        concurrency: CONCURRENCY,
        timeouts: TIMEOUTS,
        headers: BTreeMap::new(),
        models: Vec::new(),
        price: None,
    }
}

/// The provider of that name, without a credential.
pub fn find(slug: &str) -> Option<&'static Provider> {
    CATALOGUE.get(slug).map(|known| &known.provider)
}

/// Why a provider of the catalogue is there no more; None: it is, or was never there.
pub fn retired(slug: &str) -> Option<&'static str> {
    CATALOGUE.get(slug)?.retired.as_deref()
}

/// All names.
pub fn slugs() -> impl Iterator<Item = &'static str> {
    CATALOGUE.keys().map(String::as_str)
}

/// All of them, by name.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Known)> {
    CATALOGUE.iter().map(|(slug, known)| (slug.as_str(), known))
}
