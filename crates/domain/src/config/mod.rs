//! The routing document, checked once: what is in a [`Config`] can be acted on.
//!
//! Compatible with Portkey's configs. What this version does not offer is refused by name, never ignored.

mod credentials;
mod parse;
pub mod retry;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use credentials::{clear_credential, seal_credentials};

use crate::Slug;

/// A routing document whose every target is complete: inheritance is resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The top of the tree.
    pub root: Node,
}

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

/// A target, or several with a strategy.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// One place a request may go.
    Target(Box<Target>),
    /// Several, and how to choose.
    Group(Group),
}

/// Several nodes and how to choose between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Place in the document, as in `config.targets[1]`.
    pub path: String,
    /// Share of a load-balancing parent.
    pub weight: f64,
    /// How to choose.
    pub strategy: Strategy,
    /// What to choose from; never empty.
    pub targets: Vec<Node>,
}

/// How a group chooses.
#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    /// The first target only.
    Single,
    /// One after the other, until one answers.
    Fallback {
        /// Only these statuses lead to the next target. None: everything but a 2xx does.
        on_status_codes: Option<Vec<u16>>,
    },
    /// One of them, by weight; no failover inside the group.
    LoadBalance,
}

/// One place a request may go.
#[derive(Clone, PartialEq)]
pub struct Target {
    /// Place in the document, as in `config.targets[1].targets[0]`; `config` for a document that is one target.
    pub path: String,
    /// Name given in the document.
    pub name: Option<String>,
    /// Share of a load-balancing parent.
    pub weight: f64,
    /// Provider's slug, without `@`.
    pub provider: String,
    /// Credential, sealed or in clear.
    pub api_key: Option<String>,
    /// URL instead of the provider's own.
    pub custom_host: Option<String>,
    /// Fields that replace the body's.
    pub override_params: Map<String, Value>,
    /// When to try the same target again.
    pub retry: retry::Policy,
    /// Time to the response headers.
    pub request_timeout: Option<Duration>,
    /// Caller's headers that are passed on, in lower case.
    pub forward_headers: Vec<String>,
    /// Hides what is not in OpenAI's API.
    pub strict_open_ai_compliance: bool,
    /// `OpenAI-Organization` header.
    pub openai_organization: Option<String>,
    /// `OpenAI-Project` header.
    pub openai_project: Option<String>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("path", &self.path)
            .field("provider", &self.provider)
            .field("api_key", &self.api_key.as_ref().map(|_| "…"))
            .field("custom_host", &self.custom_host)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// Values from request headers: they fill a config that names no provider, or beat what it says.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeaderOptions {
    /// Provider, for a config that names neither provider nor targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Credential for that provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// Beats every target's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_host: Option<String>,
    /// Beats every target's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Duration>,
    /// Beats every target's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_headers: Option<Vec<String>>,
    /// Retries, for a config that says nothing about them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_count: Option<u32>,
    /// Beats every target's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict_open_ai_compliance: Option<bool>,
}

impl fmt::Debug for HeaderOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.api_key.as_deref().map(|k| if k.starts_with("sealed:") { k } else { "…" });
        f.debug_struct("HeaderOptions")
            .field("provider", &self.provider)
            .field("api_key", &key)
            .field("custom_host", &self.custom_host)
            .field("request_timeout", &self.request_timeout)
            .field("forward_headers", &self.forward_headers)
            .field("retry_count", &self.retry_count)
            .field("strict_open_ai_compliance", &self.strict_open_ai_compliance)
            .finish()
    }
}

/// What is wrong with a config, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`: {message}")]
pub struct ConfigError {
    /// Place in the document, as in `config.targets[1].retry.attempts`.
    pub path: String,
    /// What, and what to write instead.
    pub message: String,
}

impl ConfigError {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl Config {
    /// Parses a JSON document.
    pub fn parse(json: &str, headers: &HeaderOptions) -> Result<Self, ConfigError> {
        let document: Value = serde_json::from_str(json)
            .map_err(|err| ConfigError::new("config", format!("not valid JSON: {err}")))?;
        parse::config(&document, headers)
    }

    /// A config of one target made from headers alone.
    pub fn from_headers(headers: &HeaderOptions) -> Result<Self, ConfigError> {
        parse::config(&Value::Object(Map::new()), headers)
    }

    /// Every target, in order.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        let mut found = Vec::new();
        collect(&self.root, &mut found);
        found.into_iter()
    }

    /// Most attempts that the plan makes for one request; replacements of lost ones not counted.
    pub fn max_attempts(&self) -> u32 {
        most(&self.root)
    }
}

fn collect<'a>(node: &'a Node, found: &mut Vec<&'a Target>) {
    match node {
        Node::Target(target) => found.push(target),
        Node::Group(group) => group.targets.iter().for_each(|n| collect(n, found)),
    }
}

fn most(node: &Node) -> u32 {
    match node {
        Node::Target(target) => 1 + target.retry.attempts,
        Node::Group(group) => {
            let children = group.targets.iter().map(most);
            match group.strategy {
                Strategy::Fallback { .. } => children.sum(),
                Strategy::LoadBalance => children.max().unwrap_or(0),
                Strategy::Single => group.targets.first().map_or(0, most),
            }
        }
    }
}

impl Node {
    /// Place in the document.
    pub fn path(&self) -> &str {
        match self {
            Self::Target(target) => &target.path,
            Self::Group(group) => &group.path,
        }
    }

    /// Share of a load-balancing parent.
    pub fn weight(&self) -> f64 {
        match self {
            Self::Target(target) => target.weight,
            Self::Group(group) => group.weight,
        }
    }
}

#[cfg(test)]
mod tests;
