//! The providers that are known by name.

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
    };
    Known { name: entry.name, docs: entry.docs, provider }
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
    }
}

/// The provider of that name, without a credential.
pub fn find(slug: &str) -> Option<&'static Provider> {
    CATALOGUE.get(slug).map(|known| &known.provider)
}

/// All names.
pub fn slugs() -> impl Iterator<Item = &'static str> {
    CATALOGUE.keys().map(String::as_str)
}

/// All of them, by name.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Known)> {
    CATALOGUE.iter().map(|(slug, known)| (slug.as_str(), known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_complete() {
        assert!(slugs().count() >= 10);
        for (slug, known) in all() {
            let provider = &known.provider;
            let url = provider.base_url.as_str();
            assert!(
                url.starts_with("https://") || url.starts_with('{') || url.starts_with("http://localhost"),
                "{slug}: {url}"
            );
            assert!(!url.ends_with('/'), "{slug}: {url}");
            assert!(known.docs.starts_with("https://"), "{slug}");
            let words = provider.paths.keys().chain(provider.variants.iter().flat_map(|v| v.paths.keys()));
            for word in words.chain(provider.when.iter().flat_map(|w| w.paths.keys())) {
                let operation = word.strip_suffix(".stream").unwrap_or(word);
                assert!(operation.parse::<Operation>().is_ok(), "{slug}: `{word}` in paths is no operation");
            }
            let lower = |name: &String| {
                name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            };
            assert!(provider.headers.keys().all(lower), "{slug}: headers are written in lower case");
        }
    }
}
