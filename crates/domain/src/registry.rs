//! What every role knows alike: providers, the default route, the public sealing key.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Operation;
use crate::envelope::{Auth, Timeouts};
use crate::model::{ModelInfo, Price};
use crate::operation::{UnknownWord, words};

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

words! {
    /// A wire format that providers speak. Code exists per format, never per provider.
    #[derive(Default)]
    Format, "format" {
        /// OpenAI's API, and all that is like it.
        #[default]
        OpenAi = "openai",
        /// Anthropic's Messages API.
        Anthropic = "anthropic",
        /// Google's `generateContent`.
        Gemini = "gemini",
        /// Amazon Bedrock's Converse API.
        Bedrock = "bedrock",
        /// Cohere's API, version 2.
        Cohere = "cohere",
        /// Ollama's own API.
        Ollama = "ollama",
        /// Cloudflare's Workers AI.
        WorkersAi = "workers-ai",
    }
}

impl Format {
    /// Whether bytes go through as they are at a provider with these quirks that is asked for `asked` by a request for
    /// `operation`.
    pub fn forwards(self, operation: Operation, asked: Operation, quirks: &Quirks) -> bool {
        operation == asked && self.is_native(operation) && !quirks.shapes.contains_key(&operation)
    }

    /// Whether a request for this operation goes out and its answer comes back as the caller's own bytes.
    pub fn is_native(self, operation: Operation) -> bool {
        match self {
            Self::OpenAi => !matches!(operation, Operation::Messages | Operation::CountTokens),
            Self::Anthropic => {
                matches!(operation, Operation::Messages | Operation::CountTokens | Operation::Passthrough)
            }
            Self::Gemini | Self::Bedrock | Self::Cohere | Self::Ollama | Self::WorkersAi => {
                operation == Operation::Passthrough
            }
        }
    }
}

/// A provider that can be called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provider {
    /// Wire format it speaks.
    pub format: Format,
    /// URL that operations' paths are added to. `{name}` stands for an option of that name.
    pub base_url: String,
    /// How it wants the credential.
    pub auth: Auth,
    /// Our credential for it, sealed.
    #[serde(default)]
    pub credential: Option<String>,
    /// What URLs and signatures need to know: regions, projects, deployments; secrets among them are sealed.
    /// A target's or a virtual key's own options come before these.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// Operations it offers. Empty: all that its format has, but for the Responses API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// Paths of operations where they differ from the format's, by operation, or by operation and `.stream`.
    /// `{model}` stands for the model, other names for options.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<String, String>,
    /// How its requests differ from the format's.
    #[serde(default, skip_serializing_if = "Quirks::is_empty")]
    pub quirks: Quirks,
    /// Models that are spoken to in another way; the first that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// Addresses that depend on an option; the first that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<When>,
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
    /// What it charges for models whose price is not known. None: that is not known either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

/// How a provider's requests differ from what its format has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    /// Top-level fields that have another name there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// Top-level fields that it does not take: they are dropped and reported.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsupported: Vec<String>,
    /// Top-level fields that the body does not have at this provider, because the URL says it: dropped, not reported.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_url: Vec<String>,
    /// Top-level fields that every body has there.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub set: Map<String, Value>,
    /// Operations whose requests and answers have a shape of their own, by the shape's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub shapes: BTreeMap<Operation, String>,
    /// Its streams do not take `stream_options`, which are left out: it tells the usage without being asked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_stream_options: bool,
}

impl Quirks {
    /// There are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Models or operations of a provider that are spoken to in another way than the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Names of models; `*` stands for any text. Empty: all, and requests that name none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Operations of callers for which it counts. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Operation>,
    /// Taken off the front of the model's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub strip: String,
    /// Put in front of what is left of the model's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Wire format spoken there.
    pub format: Format,
    /// Operations offered there. Empty: all that the format has, but for the Responses API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// Instead of the provider's, unless somebody chose another host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Instead of the provider's header for the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_header: Option<String>,
    /// Instead of the provider's word before the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_scheme: Option<String>,
    /// Their paths.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<String, String>,
    /// How their requests differ.
    #[serde(default, skip_serializing_if = "Quirks::is_empty")]
    pub quirks: Quirks,
}

/// Addresses of a provider for those who set an option in a certain way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Name of the option.
    pub option: String,
    /// Its value; `*` stands for any text.
    pub value: String,
    /// Instead of the provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Instead of the provider's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// Before the provider's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<String, String>,
}

impl Provider {
    /// Takes out the addresses that hold at the provider's own host and nowhere else: for those who name another.
    pub fn at_other_host(&mut self) {
        self.variants.retain(|variant| !variant.is_elsewhere());
        for variant in &mut self.variants {
            variant.base_url = None;
        }
        self.when.clear();
    }
}

impl Variant {
    /// Whether it is about operations that only another address of the provider offers.
    pub fn is_elsewhere(&self) -> bool {
        self.base_url.is_some() && !self.asked.is_empty()
    }
}
