//! What an identity adds to a request: the config and the metadata it gets unless it brings its own.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{ConfigVersion, Identity, Key, Policy};
use crate::headers::{self, Options};
use crate::{ApiError, ConfigSource, Slug, Workspace};

/// Which routing document counts for a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Chosen {
    /// The one it brings.
    Inline(String),
    /// A stored one.
    Stored(Arc<ConfigVersion>),
    /// A stored one that a gateway has seen and this process has not.
    Unseen(Key),
    /// The headers name a provider.
    Headers,
    /// None: the configured route answers.
    Route,
}

impl Chosen {
    /// Where the document is from now on.
    pub fn source(&self) -> Option<ConfigSource> {
        match self {
            Self::Inline(text) => Some(ConfigSource::Inline(text.clone())),
            Self::Stored(version) => {
                let ConfigVersion { slug, version, .. } = &**version;
                Some(ConfigSource::Stored { slug: slug.clone(), version: Some(*version) })
            }
            Self::Unseen(_) | Self::Headers | Self::Route => None,
        }
    }
}

impl Policy {
    /// The routing document of a request: what it brings, else its key's, else its workspace's.
    ///
    /// Errors are 400s: an unknown id, or a config of its own where the key allows none.
    pub fn choose_config(&self, identity: &Identity, asked: &Options) -> Result<Chosen, ApiError> {
        let key = identity.key.as_ref().and_then(|id| self.api_key(id));
        let keys = key.as_ref().and_then(|key| key.defaults.config_id.clone());
        let workspace = &identity.workspace;
        if let (Some(_), Some(key)) = (&asked.config, key.filter(|key| !key.defaults.allow_config_override)) {
            // What a gateway chose for the key comes back from it with the version.
            let same = matches!(&asked.config, Some(ConfigSource::Stored { slug, .. }) if Some(slug) == keys.as_ref());
            if !same {
                let message = format!(
                    "Cannot override default config set for this API key. Leave the config out, or use a key other \
                     than `{}`",
                    key.id
                );
                let refusal = ApiError::bad_request(headers::CONFIG, "config_override_not_allowed", message);
                return Err(refusal.in_portkeys_words("Cannot override default config set for this API key."));
            }
        }
        let default = || keys.clone().or_else(|| self.default_config(workspace));
        match &asked.config {
            Some(ConfigSource::Inline(text)) => Ok(Chosen::Inline(text.clone())),
            Some(ConfigSource::Stored { slug, version: Some(number) }) => {
                let unseen = || Chosen::Unseen(Key::Version(workspace.clone(), slug.clone(), *number));
                Ok(self.config_version(workspace, slug, *number).map_or_else(unseen, Chosen::Stored))
            }
            Some(ConfigSource::Stored { slug, version: None }) => self.stored(workspace, slug),
            None => match default() {
                Some(slug) => self.stored(workspace, &slug),
                None if asked.routing.names_a_provider() => Ok(Chosen::Headers),
                None => Ok(Chosen::Route),
            },
        }
    }

    fn stored(&self, workspace: &Workspace, slug: &Slug) -> Result<Chosen, ApiError> {
        let found = self.config(workspace, slug).map(|(_, version)| Chosen::Stored(version));
        found.ok_or_else(|| {
            let message = format!(
                "workspace `{workspace}` has no config `{slug}`; \
                 `pointsman get configs` lists those there are"
            );
            let refusal = ApiError::bad_request(headers::CONFIG, "unknown_config", message);
            refusal.in_portkeys_words("Invalid config id passed")
        })
    }

    /// Whether answers say what they cost: as the key says. None: there is none.
    pub fn shows_cost(&self, identity: &Identity) -> Option<bool> {
        let key = identity.key.as_ref()?;
        Some(self.api_key(key).is_some_and(|key| key.defaults.show_cost))
    }

    /// The metadata of a request with those of its key and workspace, which win, in this order. JSON text.
    pub fn merge_metadata(&self, identity: &Identity, own: Option<&str>) -> Option<String> {
        let key = identity.key.as_ref().and_then(|id| self.api_key(id));
        let workspace = self.workspace(&identity.workspace);
        let keys = key.iter().flat_map(|key| &key.defaults.metadata);
        let workspaces = workspace.iter().flat_map(|workspace| &workspace.defaults.metadata);
        let mut added = keys.chain(workspaces).peekable();
        if added.peek().is_none() {
            return own.map(str::to_owned);
        }
        let mut merged: Map<String, Value> =
            own.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        merged.extend(added.map(|(name, value)| (name.clone(), Value::from(value.as_str()))));
        Some(Value::Object(merged).to_string())
    }
}
