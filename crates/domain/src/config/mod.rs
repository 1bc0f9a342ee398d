//! The routing document, checked once: what is in a [`Config`] can be acted on.
//!
//! Compatible with Portkey's configs. What this version does not offer is refused by name, never ignored.

pub mod cache;
pub mod choose;
pub mod condition;
mod credentials;
mod needs;
mod options;
pub mod params;
mod parse;
mod print;
pub mod provider_options;
mod read;
pub mod retry;
mod source;
mod strategy;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use cache::Cache;
pub use choose::Choose;
pub use condition::{Condition, Field, Query};
pub use credentials::{clear_credential, seal_credentials};
use needs::Needs;
pub use options::{HeaderOptions, Profile, names_its_provider};
pub use parse::LEGACY;
pub use source::ConfigSource;
pub use strategy::{Sticky, Strategy};

use crate::breaker;
use crate::operation::{UnknownWord, words};

/// A routing document whose every target is complete: inheritance is resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The top of the tree.
    pub root: Node,
    needs: Needs,
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
    /// Name that conditions of the group above refer to.
    pub name: Option<String>,
    /// Share of a load-balancing parent.
    pub weight: f64,
    /// How to choose.
    pub strategy: Strategy,
    /// From the decision about the first attempt in this group: once it is over, nothing more is started in it.
    pub time_budget: Option<Duration>,
    /// When targets of this group are passed over; the targets below have it too, up to the next conditional group.
    pub breaker: Option<breaker::Policy>,
    /// What to choose from; never empty.
    pub targets: Vec<Node>,
}

/// One place a request may go.
#[derive(Clone, Default, PartialEq)]
pub struct Target {
    /// Place in the document, as in `config.targets[1].targets[0]`; `config` for a document that is one target.
    /// With a model that was chosen from the catalogue, that follows: `config#openai/gpt-4o`.
    pub path: String,
    /// Name that conditions of the group above refer to.
    pub name: Option<String>,
    /// Share of a load-balancing parent.
    pub weight: f64,
    /// Provider's slug, without `@`. Empty where the model is to be chosen.
    pub provider: String,
    /// The model is chosen from the catalogue, and the provider with it.
    pub choose: Option<Choose>,
    /// Credential, sealed or in clear.
    pub api_key: Option<String>,
    /// URL instead of the provider's own.
    pub custom_host: Option<String>,
    /// Fields for a body that lacks them.
    pub default_params: Map<String, Value>,
    /// Fields that replace the body's.
    pub override_params: Map<String, Value>,
    /// What is taken out of the body in the end.
    pub drop_params: Vec<params::Path>,
    /// When to try the same target again.
    pub retry: retry::Policy,
    /// Whether answers may come from the cache.
    pub cache: Option<Cache>,
    /// When this target is passed over.
    pub breaker: Option<breaker::Policy>,
    /// Time to the response headers.
    pub request_timeout: Option<Duration>,
    /// Caller's headers that are passed on, in lower case.
    pub forward_headers: Vec<String>,
    /// Hides what is not in OpenAI's API.
    pub strict_open_ai_compliance: bool,
    /// What happens to parameters that the provider cannot take.
    pub unsupported_params: Unsupported,
    /// What happens where a limit leaves no room for a call.
    pub on_limit: OnLimit,
    /// `OpenAI-Organization` header.
    pub openai_organization: Option<String>,
    /// `OpenAI-Project` header.
    pub openai_project: Option<String>,
    /// What providers of other dialects want to know (regions, deployments, credentials that are sealed or in clear),
    /// as it was written.
    pub provider_options: Map<String, Value>,
}

words! {
    /// What happens to a request where a limit leaves no room for its call.
    #[derive(Default)]
    OnLimit, "choice" {
        /// As at Portkey: limits of the key or the workspace refuse the request; those of a target count as an answer of
        /// that target with status 412 or 429, so that a fallback that lists the status goes on.
        #[default]
        Usual = "usual",
        /// The request is refused.
        Reject = "reject",
        /// It waits until there is room, within its deadline.
        Wait = "wait",
        /// The next target of a fallback is tried, whatever statuses it lists.
        Fallback = "fallback",
    }
}

words! {
    /// What happens to parameters that a provider cannot take.
    #[derive(Default)]
    Unsupported, "choice" {
        /// They are dropped; the answer and the record say so.
        #[default]
        Drop = "drop",
        /// The same, and the log says so as well.
        Warn = "warn",
        /// The target refuses the request, and nothing is spent.
        Reject = "reject",
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("path", &self.path)
            .field("provider", &self.provider)
            .field("choose", &self.choose)
            .field("api_key", &self.api_key.as_ref().map(|_| "…"))
            .field("custom_host", &self.custom_host)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
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
        Self::read(&document, headers)
    }

    /// Reads a document that has been parsed.
    pub fn read(document: &Value, headers: &HeaderOptions) -> Result<Self, ConfigError> {
        parse::config(document, headers)
    }

    /// A config of one target made from headers alone.
    pub fn from_headers(headers: &HeaderOptions) -> Result<Self, ConfigError> {
        parse::config(&Value::Object(Map::new()), headers)
    }

    /// Whether a document can be stored for later requests, which may bring the provider that it does not name.
    pub fn check(document: &Value) -> Result<(), ConfigError> {
        let named = HeaderOptions { provider: Some("named-by-the-request".to_owned()), ..Default::default() };
        parse::config(document, &named).map(|_| ())
    }

    /// The document that this was read from, with inheritance resolved and in one spelling. It parses to the same
    /// config.
    pub fn to_json(&self) -> Value {
        print::node(&self.root)
    }

    /// Refuses breakers that would try their targets sooner than this gateway allows.
    pub fn check_cooldowns(&self, shortest: Duration) -> Result<(), ConfigError> {
        let short = |t: &&Target| t.breaker.as_ref().is_some_and(|b| b.cooldown_interval < shortest);
        let Some(target) = self.targets().find(short) else { return Ok(()) };
        let shortest = crate::time::format_duration(shortest);
        let message = format!(
            "the `cooldown_interval` of its `cb_config` is shorter than this gateway allows; write \"{shortest}\" or more"
        );
        Err(ConfigError::new(&target.path, message))
    }

    /// Fails if a credential of the document would be sent to a host that a request's headers name: whoever may use
    /// a document may not read its credentials.
    pub fn check_hosts(&self, headers: &HeaderOptions) -> Result<(), ConfigError> {
        let own = |target: &&Target| target.api_key.is_some() && target.api_key != headers.api_key;
        match self.targets().find(own).filter(|_| headers.custom_host.is_some()) {
            None => Ok(()),
            Some(target) => {
                let message = "the config's credential is not sent to a host that a request names; leave \
                               `x-portkey-custom-host` out, or set `custom_host` in the config";
                Err(ConfigError::new(format!("{}.custom_host", target.path), message))
            }
        }
    }

    /// Every target, in order.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        let mut found = Vec::new();
        self.root.collect(&mut found);
        found.into_iter()
    }

    /// The target that an attempt with this path was made at.
    pub fn target(&self, path: &str) -> Option<&Target> {
        let place = path.split_once('#').map_or(path, |(place, _)| place);
        self.targets().find(|t| t.path == place)
    }

    /// Whether every target brings its own model, so that the request needs none.
    pub fn names_every_model(&self) -> bool {
        let names = |params: &Map<String, Value>| params.contains_key("model");
        self.targets().all(|t| t.choose.is_some() || names(&t.override_params) || names(&t.default_params))
    }

    /// Most attempts that the plan makes for one request; replacements of lost ones not counted.
    pub fn max_attempts(&self) -> u32 {
        self.root.max_attempts()
    }

    /// Whether a decision looks into the body.
    pub fn needs_body(&self) -> bool {
        self.needs.body
    }

    /// Whether a decision looks at the metadata.
    pub fn needs_metadata(&self) -> bool {
        self.needs.metadata
    }

    /// The caller's headers that decisions look at, in lower case.
    pub fn wanted_headers(&self) -> &[String] {
        &self.needs.headers
    }
}

impl Target {
    /// What is changed in the body of a request.
    pub fn changes(&self) -> params::Changes<'_> {
        params::Changes {
            defaults: &self.default_params,
            overrides: &self.override_params,
            drops: &self.drop_params,
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

    /// Name that conditions of the group above refer to.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Target(target) => target.name.as_deref(),
            Self::Group(group) => group.name.as_deref(),
        }
    }

    /// Share of a load-balancing parent.
    pub fn weight(&self) -> f64 {
        match self {
            Self::Target(target) => target.weight,
            Self::Group(group) => group.weight,
        }
    }

    fn collect<'a>(&'a self, found: &mut Vec<&'a Target>) {
        match self {
            Self::Target(target) => found.push(target),
            Self::Group(group) => group.targets.iter().for_each(|n| n.collect(found)),
        }
    }

    fn has_breaker(&self) -> bool {
        match self {
            Self::Target(target) => target.breaker.is_some(),
            Self::Group(group) => group.targets.iter().any(Self::has_breaker),
        }
    }

    fn max_attempts(&self) -> u32 {
        match self {
            Self::Target(target) => {
                let models = if target.choose.is_some() { choose::MOST_MODELS as u32 } else { 1 };
                models * (1 + target.retry.attempts)
            }
            Self::Group(group) => {
                let children = group.targets.iter().map(Self::max_attempts);
                match group.strategy {
                    Strategy::Fallback { .. } => children.sum(),
                    // While a breaker keeps the first one away the next is the single one.
                    Strategy::Single if !group.targets.first().is_some_and(Self::has_breaker) => {
                        children.take(1).sum()
                    }
                    _ => children.max().unwrap_or(0),
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
