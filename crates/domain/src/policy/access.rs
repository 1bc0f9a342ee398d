//! Who may do what: scopes of API keys, and the identity that a request carries.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ApiKey, ApiKeyKind, Policy, Status};
use crate::{ApiError, Slug, Timestamp, Workspace};

/// What can be administered or used, and the verbs of each. `*` as verb stands for all of them.
const SCOPES: &[(&str, &[&str])] = &[
    ("analytics", &["view"]),
    ("audit_logs", &["list"]),
    ("cache", &["view", "invalidate"]),
    ("completions", &["write"]),
    ("configs", &["create", "read", "update", "delete", "list"]),
    ("guardrails", &["create", "read", "update", "delete", "list", "invoke"]),
    ("logs", &["list", "view", "write", "export"]),
    ("mcp", &["invoke"]),
    ("mcp_servers", &["create", "read", "update", "delete", "list"]),
    ("models", &["list"]),
    ("organisation_integrations", &["create", "read", "update", "delete", "list"]),
    ("organisation_service_api_keys", &["create", "read", "update", "delete", "list"]),
    ("organisation_users", &["create", "read", "update", "delete", "list"]),
    ("policies", &["create", "read", "update", "delete", "list"]),
    ("prompts", &["create", "read", "update", "delete", "list", "publish", "render"]),
    ("providers", &["create", "read", "update", "delete", "list"]),
    ("secret_references", &["create", "read", "update", "delete", "list"]),
    ("targets", &["list", "update"]),
    ("virtual_keys", &["create", "read", "update", "delete", "list", "copy"]),
    ("workspace_integrations", &["create", "read", "update", "delete", "list"]),
    ("workspace_service_api_keys", &["create", "read", "update", "delete", "list"]),
    ("workspace_user_api_keys", &["create", "read", "update", "delete", "list"]),
    ("workspace_users", &["create", "read", "update", "delete", "list"]),
    ("workspaces", &["create", "read", "update", "delete", "list"]),
];

/// What a key may do, as in `configs.read`, `configs.*` or `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

/// Text that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no scope; {hint}")]
pub struct UnknownScope {
    text: String,
    hint: String,
}

impl Scope {
    /// Checks that the text names something that can be allowed.
    pub fn parse(text: &str) -> Result<Self, UnknownScope> {
        let unknown = |hint: String| UnknownScope { text: text.to_owned(), hint };
        if text == "*" {
            return Ok(Self(text.to_owned()));
        }
        let (noun, verb) = text.split_once('.').ok_or_else(|| {
            unknown("write a noun and a verb, as in `completions.write`, or `*`".to_owned())
        })?;
        let verbs =
            SCOPES.iter().find(|(known, _)| *known == noun).map(|(_, verbs)| *verbs).ok_or_else(|| {
                let nouns: Vec<&str> = SCOPES.iter().map(|(noun, _)| *noun).collect();
                unknown(format!("known nouns: {}", nouns.join(", ")))
            })?;
        if verb == "*" || verbs.contains(&verb) {
            return Ok(Self(text.to_owned()));
        }
        Err(unknown(format!("`{noun}` has the verbs {} and `*`", verbs.join(", "))))
    }

    /// The scopes of a key that was created without any: an application may ask models, an administrator may do all.
    pub fn usual(kind: ApiKeyKind) -> Vec<Self> {
        let words: &[&str] = match kind {
            ApiKeyKind::OrganisationService => &["*"],
            ApiKeyKind::WorkspaceService | ApiKeyKind::WorkspaceUser => {
                &["completions.write", "models.list", "logs.write", "prompts.render"]
            }
        };
        words.iter().map(|word| Self((*word).to_owned())).collect()
    }

    /// Whether this allows `wanted`, as in `configs.read`.
    pub fn allows(&self, wanted: &str) -> bool {
        self.0 == "*"
            || self.0 == wanted
            || self.0.strip_suffix('*').is_some_and(|noun| !noun.is_empty() && wanted.starts_with(noun))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Scope {
    type Error = UnknownScope;
    fn try_from(text: String) -> Result<Self, UnknownScope> {
        Self::parse(&text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.0
    }
}

/// Whose request it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The workspace that everything happens in.
    pub workspace: Workspace,
    /// The API key that was shown. None: access control is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Slug>,
}

/// Why a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// None was shown.
    Missing,
    /// It is not one of ours, or its secret is wrong.
    Invalid,
    /// Its time is over.
    Expired,
    /// Its workspace was archived.
    WorkspaceGone,
    /// It may not do this.
    Forbidden,
}

impl Refused {
    /// The answer to a caller. Codes and outer words are Portkey's.
    pub fn error(self) -> ApiError {
        let (status, code, words, message) = match self {
            Self::Missing => (
                401,
                "03",
                "Invalid API Key",
                "no API key was shown; send `Authorization: Bearer <key>`, `x-portkey-api-key` or, over NATS, \
                 `Pointsman-Key`",
            ),
            Self::Invalid => {
                (401, "03", "Invalid API Key", "invalid API key; `pointsman keys create` makes one")
            }
            Self::Expired => (
                401,
                "01",
                "Portkey API Key Expired",
                "the API key has expired; rotate it or ask for a new one",
            ),
            Self::WorkspaceGone => {
                (401, "01", "Portkey Workspace Expired", "the API key's workspace was archived")
            }
            Self::Forbidden => (403, "033", "Forbidden!", "the API key's scopes do not allow this"),
        };
        let words = format!("Portkey Error: {words}. Error Code: {code}");
        ApiError::new(status, code, message).in_portkeys_words(&words)
    }
}

impl ApiKey {
    /// What every key begins with.
    pub const PREFIX: &str = "pm_";

    /// Takes a key's text apart: its id and its secret. None: not one of ours by its looks.
    pub fn take_apart(text: &str) -> Option<(Slug, &str)> {
        let (id, secret) = text.trim().strip_prefix(Self::PREFIX)?.split_once('_')?;
        Some((Slug::parse(id).ok()?, secret)).filter(|(_, secret)| !secret.is_empty())
    }

    /// The text that callers show.
    pub fn text(id: &Slug, secret: &str) -> String {
        format!("{}{id}_{secret}", Self::PREFIX)
    }

    /// Whether the key may be used at all now, whoever shows it.
    pub fn usable(&self, policy: &Policy, now: Timestamp) -> Result<(), Refused> {
        if self.status == Status::Archived {
            return Err(Refused::Invalid);
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            return Err(Refused::Expired);
        }
        let gone = policy.workspace(&self.workspace).is_some_and(|w| w.status == Status::Archived);
        if gone { Err(Refused::WorkspaceGone) } else { Ok(()) }
    }

    /// Whose requests are made with it.
    pub fn identity(&self) -> Identity {
        Identity { workspace: self.workspace.clone(), key: Some(self.id.clone()) }
    }

    /// Whether one of the key's scopes allows something.
    pub fn allows(&self, wanted: &str) -> bool {
        self.scopes.iter().any(|scope| scope.allows(wanted))
    }
}
