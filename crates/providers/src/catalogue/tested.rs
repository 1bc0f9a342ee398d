//! How well it is known that a provider's operations work: claims with the tests that back them.

use std::fmt::Write as _;
use std::sync::LazyLock;

use domain::Operation;
use domain::registry::{Format, Provider};
use serde::{Deserialize, Serialize};

use crate::{catalogue, formats};

/// How an operation of a provider is tested; the later, the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Its parts are tested with others: this provider is data, or caller's dialect and provider's format never met.
    Shared,
    /// Requests and answers are compared with written-down ones.
    Golden,
    /// Asked over a running gateway; a mock provider answers.
    Mock,
    /// The same, asked by an unmodified client library.
    Sdk,
}

impl Level {
    /// The word used in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Golden => "golden",
            Self::Mock => "mock",
            Self::Sdk => "sdk",
        }
    }
}

/// Tests that were written for some operations of a format.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The wire format.
    pub format: Format,
    /// Providers of the catalogue that the tests are about.
    pub providers: Vec<String>,
    /// Operations that callers ask for.
    pub operations: Vec<Operation>,
    /// How they are tested.
    pub level: Level,
    /// The file with the tests, from the root of the repository.
    pub by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    claims: Vec<Claim>,
}

static CLAIMS: LazyLock<Vec<Claim>> = LazyLock::new(|| {
    let document: Document =
        toml::from_str(include_str!("tested.toml")).expect("the claims are checked by a test");
    document.claims
});

/// All claims.
pub fn claims() -> &'static [Claim] {
    &CLAIMS
}

/// The format in which a provider is asked for an operation, whatever the model. None: it does not offer it.
fn spoken(provider: &Provider, operation: Operation) -> Option<Format> {
    let special = provider
        .variants
        .iter()
        .find(|variant| variant.models.is_empty() && variant.asked.contains(&operation));
    let (format, offered) = match special {
        Some(variant) => (variant.format, &variant.operations),
        None => (provider.format, &provider.operations),
    };
    formats::asked(format, operation, offered).map(|_| format)
}

/// How an operation of a provider of the catalogue is tested. None: it does not offer it, or is there no more.
pub fn level(slug: &str, operation: Operation) -> Option<Level> {
    let provider = catalogue::find(slug).filter(|_| catalogue::retired(slug).is_none())?;
    let format = spoken(provider, operation)?;
    let claims =
        CLAIMS.iter().filter(|claim| claim.format == format && claim.operations.contains(&operation));
    let own = claims.filter(|claim| claim.providers.iter().any(|name| name == slug));
    Some(own.map(|claim| claim.level).max().unwrap_or(Level::Shared))
}

/// Every operation that has a form of its own.
fn columns() -> impl Iterator<Item = Operation> {
    Operation::ALL.iter().copied().filter(|operation| *operation != Operation::Passthrough)
}

/// The table of providers, operations and tests, in Markdown.
pub fn markdown() -> String {
    let mut text = "| Provider | Format |".to_owned();
    for operation in columns() {
        let _ = write!(text, " {operation} |");
    }
    let _ = write!(text, "\n|---|---|{}", "---|".repeat(columns().count()));
    for (slug, known) in catalogue::all() {
        let format = match known.retired {
            Some(_) => "retired",
            None if columns().any(|operation| level(slug, operation).is_some()) => {
                known.provider.format.as_str()
            }
            None => "own",
        };
        let _ = write!(text, "\n| `{slug}` | {format} |");
        for operation in columns() {
            let _ = write!(text, " {} |", level(slug, operation).map_or("", Level::as_str));
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_offered_is_tested_in_its_format() {
        for (slug, known) in catalogue::all() {
            for operation in columns() {
                let Some(format) = spoken(&known.provider, operation) else { continue };
                // What is a chat in one dialect is one in all: the format is written for its meaning.
                let chats = |op: Operation| op.is_chat() || op == Operation::Completions;
                let backs = |op: &Operation| *op == operation || (chats(*op) && chats(operation));
                let backed = CLAIMS.iter().any(|c| c.format == format && c.operations.iter().any(backs));
                assert!(backed, "{slug} offers {operation} in the format {format}, which no claim is about");
            }
        }
    }

    #[test]
    fn claims_are_about_what_is_there() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        for claim in claims() {
            assert!(std::path::Path::new(root).join(&claim.by).is_file(), "{} is no file", claim.by);
            assert!(claim.level > Level::Shared && !claim.operations.is_empty(), "{claim:?}");
            for slug in &claim.providers {
                for operation in &claim.operations {
                    let provider = catalogue::find(slug).unwrap_or_else(|| panic!("{slug} is unknown"));
                    assert_eq!(spoken(provider, *operation), Some(claim.format), "{slug} {operation}");
                }
            }
        }
    }

    #[test]
    fn a_provider_of_a_tested_format_is_told_from_the_tested_one() {
        use Operation::{Chat, Embeddings, Messages, Speech};
        for (slug, operation, expected) in [
            ("openai", Chat, Some(Level::Sdk)),
            ("openrouter", Chat, Some(Level::Shared)),
            ("openrouter", Messages, Some(Level::Shared)),
            ("voyage", Embeddings, Some(Level::Golden)),
            ("voyage", Chat, None),
            ("replicate", Speech, None),
            ("anyscale", Chat, None),
            ("nobody", Chat, None),
        ] {
            assert_eq!(level(slug, operation), expected, "{slug} {operation}");
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_provider() {
        let table = markdown();
        assert_eq!(table.lines().count(), catalogue::slugs().count() + 2);
        assert!(table.contains("\n| `anyscale` | retired |") && table.contains("\n| `replicate` | own |"));
        let columns: Vec<usize> = table.lines().map(|line| line.matches('|').count()).collect();
        assert!(columns.iter().all(|count| *count == columns[0]), "{table}");
    }
}
