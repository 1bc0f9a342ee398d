//! What administrators store: workspaces, routing documents with every version, virtual keys, API keys and policies,
//! and the index of them that every process holds.
//!
//! Each entity is one record under its [`Key`]; a change is a compare-and-set on that record. Routing documents are
//! immutable versions and a head that points to one of them.

mod access;
mod effective;
mod index;
mod limits;
mod rule;
mod spend;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use access::{Identity, Refused, Scope};
pub use effective::Chosen;
pub use index::{Change, Policy};
pub use limits::{InvalidCap, limits};
pub use rule::{LimitPolicy, PolicyKind, Rule, Spender};
pub use spend::Declared;

use crate::id::{InvalidId, Slug};
use crate::{Operation, Timestamp, Workspace};

/// Where an entity's record lies. The text form is the key in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A workspace.
    Workspace(Workspace),
    /// The head of a routing document.
    Config(Workspace, Slug),
    /// One version of a routing document.
    Version(Workspace, Slug, u32),
    /// A virtual key: a provider account that requests name.
    VirtualKey(Workspace, Slug),
    /// An API key, by its id.
    ApiKey(Slug),
    /// A policy of usage or rates.
    Policy(Workspace, Slug),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workspace(workspace) => write!(f, "workspace.{workspace}"),
            Self::Config(workspace, slug) => write!(f, "config.{workspace}.{slug}"),
            Self::Version(workspace, slug, number) => write!(f, "version.{workspace}.{slug}.{number}"),
            Self::VirtualKey(workspace, slug) => write!(f, "virtual.{workspace}.{slug}"),
            Self::ApiKey(id) => write!(f, "apikey.{id}"),
            Self::Policy(workspace, id) => write!(f, "policy.{workspace}.{id}"),
        }
    }
}

/// A key that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no entity")]
pub struct UnknownKey(pub String);

impl std::str::FromStr for Key {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, UnknownKey> {
        let unknown = || UnknownKey(text.to_owned());
        let bad = |_: InvalidId| unknown();
        let words: Vec<&str> = text.split('.').collect();
        match words.as_slice() {
            ["workspace", workspace] => Workspace::parse(workspace).map(Self::Workspace).map_err(bad),
            ["config", workspace, slug] => {
                Ok(Self::Config(Workspace::parse(workspace).map_err(bad)?, Slug::parse(slug).map_err(bad)?))
            }
            ["version", workspace, slug, number] => Ok(Self::Version(
                Workspace::parse(workspace).map_err(bad)?,
                Slug::parse(slug).map_err(bad)?,
                number.parse().map_err(|_| unknown())?,
            )),
            ["virtual", workspace, slug] => Ok(Self::VirtualKey(
                Workspace::parse(workspace).map_err(bad)?,
                Slug::parse(slug).map_err(bad)?,
            )),
            ["apikey", id] => Slug::parse(id).map(Self::ApiKey).map_err(bad),
            ["policy", workspace, id] => {
                Ok(Self::Policy(Workspace::parse(workspace).map_err(bad)?, Slug::parse(id).map_err(bad)?))
            }
            _ => Err(unknown()),
        }
    }
}

/// Who did something, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// When.
    pub at: Timestamp,
    /// Who: an API key's id, or the word for a local administrator.
    pub by: String,
}

/// Whether an entity may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It may.
    #[default]
    Active,
    /// It was deleted; the record stays for the history.
    Archived,
    /// A limit of it is used up.
    Exhausted,
}

/// Values that requests get unless they bring their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Defaults {
    /// Id of a stored config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_id: Option<Slug>,
    /// Key-value pairs that are merged under those of the request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// A request may bring another config than `config_id`.
    pub allow_config_override: bool,
    /// Answers say what they cost.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub show_cost: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { config_id: None, metadata: BTreeMap::new(), allow_config_override: true, show_cost: false }
    }
}

/// Caps as they were declared, kept word for word. [`limits`] reads them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Caps {
    /// Budgets, as in `{"credit_limit": 10, "type": "cost", "periodic_reset": "monthly"}`.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub usage_limits: Value,
    /// Rates, as in `[{"type": "requests", "unit": "rpm", "value": 60}]`.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub rate_limits: Value,
}

/// The isolated unit that keys, configs, cache, logs and budgets belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkspaceRecord {
    /// Its name in subjects and addresses.
    pub slug: Workspace,
    /// Its name for people.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Values for its requests.
    #[serde(default)]
    pub defaults: Defaults,
    /// Declared caps.
    #[serde(default, flatten)]
    pub caps: Caps,
    /// Whether it may be used.
    #[serde(default)]
    pub status: Status,
    /// Who made it.
    pub created: Stamp,
    /// Who changed it last.
    pub updated: Stamp,
}

/// The head of a routing document: its name, and which version is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigHead {
    /// `pc-…`.
    pub slug: Slug,
    /// Whom it belongs to.
    pub workspace: Workspace,
    /// Its name for people.
    pub name: String,
    /// The version in force.
    pub version: u32,
    /// The highest version there is; a rollback leaves it.
    pub latest: u32,
    /// Requests of the workspace that bring no config use it.
    #[serde(default)]
    pub is_default: bool,
    /// Whether it may be used.
    #[serde(default)]
    pub status: Status,
    /// Who keeps it in line with files elsewhere; None: nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    /// Who made it.
    pub created: Stamp,
    /// Who changed it last.
    pub updated: Stamp,
}

/// One version of a routing document. Never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigVersion {
    /// The document's `pc-…`.
    pub slug: Slug,
    /// Whom it belongs to.
    pub workspace: Workspace,
    /// Counted from 1.
    pub version: u32,
    /// The document, credentials sealed.
    pub document: Value,
    /// Who made it.
    pub created: Stamp,
}

/// Where the credential of a virtual key comes from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// In the record, sealed for the provider workers.
    Sealed(String),
    /// In an environment variable of the provider workers.
    Env(String),
    /// In a file that the provider workers can read.
    File(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed(_) => f.write_str("Sealed(…)"),
            Self::Env(name) => write!(f, "Env({name})"),
            Self::File(path) => write!(f, "File({path})"),
        }
    }
}

/// A provider account that requests name, as in `@openai-prod`. Nobody but a provider worker sees its credential.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VirtualKey {
    /// What requests name it by.
    pub slug: Slug,
    /// Whom it belongs to.
    pub workspace: Workspace,
    /// Its name for people.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub note: Option<String>,
    /// Slug of the provider in the settings or the catalogue.
    pub provider: String,
    /// The credential; a provider that needs none has none.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// URL instead of the provider's own.
    #[serde(default)]
    pub custom_host: Option<String>,
    /// Further fields of the provider, as in `{"api_version": "…"}`.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub options: serde_json::Map<String, Value>,
    /// Models that may be asked for; `*` stands for any text. Empty: all.
    #[serde(default)]
    pub models: Vec<String>,
    /// Operations that may be asked for. Empty: all.
    #[serde(default)]
    pub operations: Vec<Operation>,
    /// Other workspaces that may use it.
    #[serde(default)]
    pub workspaces: Vec<Workspace>,
    /// When it stops working.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Declared caps.
    #[serde(default, flatten)]
    pub caps: Caps,
    /// Whether it may be used.
    #[serde(default)]
    pub status: Status,
    /// Counts the credentials it has had.
    #[serde(default)]
    pub secret_version: u32,
    /// Who keeps it in line with files elsewhere; None: nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    /// Who made it.
    pub created: Stamp,
    /// Who changed it last.
    pub updated: Stamp,
}

/// What an API key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApiKeyKind {
    /// Administers the whole installation.
    OrganisationService,
    /// An application in one workspace.
    WorkspaceService,
    /// A person in one workspace.
    WorkspaceUser,
}

/// The secret that a rotation replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// SHA-256, hexadecimal.
    pub hash: String,
    /// Until when it is still good.
    pub until: Timestamp,
}

/// What callers show. Only a hash of it is kept: the secret has 256 random bits, so that a plain SHA-256 cannot be
/// searched backwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Part of the key's text, so that it is found without a search.
    pub id: Slug,
    /// What it is for.
    pub kind: ApiKeyKind,
    /// Whom it belongs to. A key of the whole installation belongs to `default` and may name any other.
    pub workspace: Workspace,
    /// Its name for people.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// The person it belongs to.
    #[serde(default)]
    pub user_id: Option<String>,
    /// SHA-256 of the secret part, hexadecimal.
    pub hash: String,
    /// The secret before the last rotation.
    #[serde(default)]
    pub previous: Option<PreviousSecret>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Values for its requests.
    #[serde(default)]
    pub defaults: Defaults,
    /// Declared caps.
    #[serde(default, flatten)]
    pub caps: Caps,
    /// `{"rotation_period": "monthly", …}`, kept word for word.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub rotation_policy: Value,
    /// Who is told about alerts.
    #[serde(default)]
    pub alert_emails: Vec<String>,
    /// When it stops working.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Whether it may be used.
    #[serde(default)]
    pub status: Status,
    /// Who keeps it in line with files elsewhere; None: nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    /// Who made it.
    pub created: Stamp,
    /// Who changed it last.
    pub updated: Stamp,
}

/// Whether a text fits a pattern in which `*` stands for any text, the empty one included.
pub fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => {
            let Some(tail) = text.strip_prefix(head) else { return false };
            (0..=tail.len()).filter(|at| tail.is_char_boundary(*at)).any(|at| matches(rest, &tail[at..]))
        }
    }
}

/// A file below a directory, named by its path in there or in full. None: it leads out, or names no file. Only the
/// text is looked at.
pub fn inside(dir: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let relative = path.strip_prefix(dir).unwrap_or(path);
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && relative.components().next().is_some()).then(|| dir.join(relative))
}
