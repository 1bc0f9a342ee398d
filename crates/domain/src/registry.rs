//! What every role knows alike: providers, the default route, the public sealing key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::envelope::{Auth, Timeouts};
use crate::model::ModelInfo;

/// What every role knows alike.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Registry {
    /// Providers by slug.
    #[serde(default)]
    pub providers: BTreeMap<String, Provider>,
    /// The config of requests that bring none.
    #[serde(default)]
    pub route: Option<Value>,
    /// Public key that credentials are sealed for, base64.
    #[serde(default)]
    pub sealing_key: Option<String>,
    /// Models that are added to those known by name, or take their place; by provider and name.
    #[serde(default)]
    pub models: BTreeMap<String, ModelInfo>,
    /// Where the mock provider listens, if there is one.
    #[serde(default)]
    pub mock: Option<String>,
}

/// A provider that can be called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provider {
    /// Wire format it speaks.
    pub format: String,
    /// URL that operations' paths are added to.
    pub base_url: String,
    /// How it wants the credential.
    pub auth: Auth,
    /// Our credential for it, sealed.
    #[serde(default)]
    pub credential: Option<String>,
    /// Calls it may be given at once, over all workers.
    pub concurrency: usize,
    /// Times its calls may take.
    pub timeouts: Timeouts,
    /// Further headers that it wants.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Models that are listed for it.
    #[serde(default)]
    pub models: Vec<String>,
}
