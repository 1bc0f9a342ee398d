//! Which entries are taken out of the cache by hand.

use serde::{Deserialize, Serialize};

use super::Entry;
use crate::{RequestId, Timestamp};

/// Entries by what they have in common: all that is given must hold, and of each list one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Entries by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<RequestId>,
    /// Patterns of keys; `*` stands for any characters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Models that answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Providers that answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    /// Callers' namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Stored before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
    /// All entries of the workspace; needed where nothing else is given.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// Entries that were taken out, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalidation {
    /// Which.
    pub selection: Selection,
    /// When. What was asked for before is not stored afterwards either.
    pub at: Timestamp,
}

impl Selection {
    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an entry is meant.
    pub fn holds(&self, entry: &Entry) -> bool {
        let among = |list: &[String], value: Option<&str>| {
            list.is_empty() || value.is_some_and(|value| list.iter().any(|wanted| wanted == value))
        };
        (self.ids.is_empty() || self.ids.contains(&entry.id))
            && (self.keys.is_empty() || self.keys.iter().any(|pattern| fits(pattern, &entry.key)))
            && (self.tags.is_empty() || self.tags.iter().any(|tag| entry.tags.contains(tag)))
            && among(&self.models, entry.model.as_deref())
            && among(&self.providers, Some(&entry.provider))
            && among(&self.namespaces, entry.namespace.as_deref())
            && self.before.is_none_or(|before| entry.stored_at < before)
            && !self.is_empty()
    }
}

impl Invalidation {
    /// Whether an entry must not be kept: it was asked for before the entries like it were taken out.
    pub fn forbids(&self, entry: &Entry) -> bool {
        entry.asked_at <= self.at && self.selection.holds(entry)
    }
}

/// Whether a text fits a pattern in which `*` stands for any characters.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
