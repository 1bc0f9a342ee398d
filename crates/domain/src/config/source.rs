//! Where a request's routing document is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Slug;

/// Where a request's routing document is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigSource {
    /// Here, as JSON text.
    Inline(String),
    /// In the store of the request's workspace.
    Stored {
        /// Its `pc-…`.
        slug: Slug,
        /// The version that counts for the whole life of the request. None: the one in force when it is accepted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u32>,
    },
}

impl Default for ConfigSource {
    fn default() -> Self {
        Self::Inline(String::new())
    }
}

impl fmt::Display for ConfigSource {
    /// `pc-…@3`, or a hash of the text: the same everywhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(text) => f.write_str(&crate::event::content_hash(text)),
            Self::Stored { slug, version: Some(version) } => write!(f, "{slug}@{version}"),
            Self::Stored { slug, version: None } => write!(f, "{slug}"),
        }
    }
}
