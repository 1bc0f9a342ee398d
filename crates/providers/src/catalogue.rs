//! The providers that are known by name.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use domain::envelope::{Auth, Timeouts};
use domain::registry::Provider;
use serde::Deserialize;

/// Calls a provider may be given at once unless settings say otherwise.
pub const CONCURRENCY: usize = 512;

/// Times that calls may take unless settings say otherwise.
pub const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    first_byte: Duration::from_secs(300),
    idle: Duration::from_secs(120),
    total: Duration::from_secs(600),
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    format: String,
    base_url: String,
    #[serde(default = "authorization")]
    auth_header: String,
    #[serde(default = "bearer")]
    auth_scheme: String,
}

fn authorization() -> String {
    "authorization".to_owned()
}

fn bearer() -> String {
    "Bearer".to_owned()
}

static CATALOGUE: LazyLock<BTreeMap<String, Provider>> = LazyLock::new(|| {
    let entries: BTreeMap<String, Entry> =
        toml::from_str(include_str!("catalogue.toml")).expect("the catalogue is checked by a test");
    entries.into_iter().map(|(slug, entry)| (slug, provider(entry))).collect()
});

fn provider(entry: Entry) -> Provider {
    Provider {
        format: entry.format,
        base_url: entry.base_url,
        auth: Auth { header: entry.auth_header, scheme: entry.auth_scheme },
        credential: None,
        concurrency: CONCURRENCY,
        timeouts: TIMEOUTS,
        headers: BTreeMap::new(),
        models: Vec::new(),
    }
}

/// A provider with everything at its default.
pub fn openai_compatible(base_url: &str) -> Provider {
    let format = "openai".to_owned();
    provider(Entry {
        format,
        base_url: base_url.to_owned(),
        auth_header: authorization(),
        auth_scheme: bearer(),
    })
}

/// The provider of that name, without a credential.
pub fn find(slug: &str) -> Option<&'static Provider> {
    CATALOGUE.get(slug)
}

/// All names.
pub fn slugs() -> impl Iterator<Item = &'static str> {
    CATALOGUE.keys().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_complete_and_speaks_a_known_format() {
        assert!(slugs().count() >= 10);
        for slug in slugs() {
            let provider = find(slug).unwrap();
            assert_eq!(provider.format, "openai", "{slug}");
            assert!(provider.base_url.starts_with("https://") && !provider.base_url.ends_with('/'), "{slug}");
        }
    }
}
