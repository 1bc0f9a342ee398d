//! What a config is read with: values from request headers, and whose defaults count.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
    /// Model of the body if it names its provider too, as in `@openai-prod/gpt-4o`; see [`names_its_provider`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
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
    /// What the named provider wants to know beside the credential, as in `azure_resource_name`; secrets are sealed.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub provider_options: Map<String, Value>,
    /// Whose defaults count. Travels with the request, so that every router reads its config alike; no header sets it.
    #[serde(skip_serializing_if = "Profile::is_default")]
    pub profile: Profile,
}

/// Whose defaults count where Portkey's open-source gateway and its hosted one differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// The open-source gateway's.
    #[default]
    OpenSource,
    /// The hosted one's: 529 is tried again as well.
    Hosted,
}

impl Profile {
    fn is_default(&self) -> bool {
        *self == Self::OpenSource
    }
}

impl HeaderOptions {
    /// Whether a request that brings no config says who answers.
    pub fn names_a_provider(&self) -> bool {
        self.provider.is_some() || self.model.is_some()
    }
}

impl fmt::Debug for HeaderOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.api_key.as_deref().map(|k| if k.starts_with("sealed:") { k } else { "…" });
        f.debug_struct("HeaderOptions")
            .field("provider", &self.provider)
            .field("api_key", &key)
            .field("model", &self.model)
            .field("custom_host", &self.custom_host)
            .field("request_timeout", &self.request_timeout)
            .field("forward_headers", &self.forward_headers)
            .field("retry_count", &self.retry_count)
            .field("strict_open_ai_compliance", &self.strict_open_ai_compliance)
            .field("provider_options", &self.provider_options.keys().collect::<Vec<_>>())
            .field("profile", &self.profile)
            .finish()
    }
}

/// Takes `@slug/model` apart. `@cf/…` and `@hf/…` are names of models.
pub fn names_its_provider(model: &str) -> Option<(&str, &str)> {
    let (slug, model) = model.strip_prefix('@')?.split_once('/')?;
    (!matches!(slug, "cf" | "hf") && !slug.is_empty() && !model.is_empty()).then_some((slug, model))
}
