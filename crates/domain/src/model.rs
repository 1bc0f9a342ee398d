//! What is known about models: what they can do and how much they take.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::operation::{UnknownWord, words};
pub use crate::price::{LongPrice, NanoUsd, PicoUsd, Price, Region, Tier, estimate};

words! {
    /// Something that a model can do, or that its provider offers for it.
    Capability, "capability" {
        /// Answers chat completions.
        Chat = "chat",
        /// Answers requests to the Responses API.
        Responses = "responses",
        /// Answers legacy text completions.
        Completions = "completions",
        /// Turns text into vectors.
        Embeddings = "embeddings",
        /// Orders documents by relevance.
        Rerank = "rerank",
        /// Answers in pieces while it thinks.
        Streaming = "streaming",
        /// Calls tools (functions) of the caller.
        Tools = "tools",
        /// Keeps to a JSON schema that the caller gives.
        JsonSchema = "json_schema",
        /// Thinks before it answers.
        Reasoning = "reasoning",
        /// Reads images.
        Vision = "vision",
        /// Reads PDF files.
        Pdf = "pdf",
        /// Hears audio.
        Audio = "audio",
        /// Watches video.
        Video = "video",
        /// Speaks.
        AudioOutput = "audio_output",
        /// Draws images.
        ImageOutput = "image_output",
        /// The provider reads repeated prompts from its cache, at a lower price.
        PromptCaching = "prompt_caching",
        /// The provider searches the web for it.
        WebSearch = "web_search",
        /// Operates a computer by screenshots and clicks.
        ComputerUse = "computer_use",
    }
}

/// One model of one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The provider's slug.
    pub provider: String,
    /// The name that requests give; it may hold slashes.
    pub name: String,
    /// Other names of the same model at the same provider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Most tokens that a prompt may have; absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// Most tokens that an answer may have; absent: unknown, or it does not answer in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// What it can do.
    #[serde(default)]
    pub capabilities: BTreeSet<Capability>,
    /// What it costs; absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Who says all this.
    pub source: String,
    /// The day on which they said so, as `2026-11-21`.
    pub as_of: String,
}

/// Models that can be looked up.
pub trait Models {
    /// The model of that name, or of that alias, at that provider.
    fn find(&self, provider: &str, model: &str) -> Option<&ModelInfo>;

    /// What the model of that name costs at that provider, or what the provider charges for models that nothing is
    /// known of. None: nobody knows, which is not the same as free.
    fn price_of(&self, provider: &str, model: &str) -> Option<&Price> {
        self.find(provider, model)?.price.as_ref()
    }

    /// All of them, each once, by provider and name.
    fn all(&self) -> Box<dyn Iterator<Item = &ModelInfo> + '_>;
}

/// No model is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoModels;

impl Models for NoModels {
    fn find(&self, _: &str, _: &str) -> Option<&ModelInfo> {
        None
    }

    fn all(&self) -> Box<dyn Iterator<Item = &ModelInfo> + '_> {
        Box::new(std::iter::empty())
    }
}

impl ModelInfo {
    /// Provider and name, as in `openai/gpt-4o`: the key of settings and registry.
    pub fn key(&self) -> String {
        format!("{}/{}", self.provider, self.name)
    }

    /// Whether it can do all of these.
    pub fn can(&self, required: &BTreeSet<Capability>) -> bool {
        self.capabilities.is_superset(required)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(input: u64, output: u64) -> Price {
        Price { input: PicoUsd(input), output: PicoUsd(output), ..Price::default() }
    }

    #[test]
    fn capabilities_parse_back_and_unknown_ones_list_the_known() {
        for capability in Capability::ALL {
            assert_eq!(capability.as_str().parse(), Ok(*capability));
            assert_eq!(serde_json::to_value(capability).unwrap(), capability.as_str());
        }
        let err = "toolz".parse::<Capability>().unwrap_err().to_string();
        assert!(
            err.starts_with("unknown capability `toolz`: use one of chat, responses, completions, "),
            "{err}"
        );
        assert!(err.ends_with(", web_search, computer_use"), "{err}");
    }

    #[test]
    fn a_model_prints_and_parses_back() {
        let info = ModelInfo {
            provider: "together-ai".to_owned(),
            name: "meta-llama/Llama-3.3-70B".to_owned(),
            capabilities: [Capability::Chat, Capability::Tools].into(),
            price: Some(price(880_000, 880_000)),
            ..ModelInfo::default()
        };
        let text = serde_json::to_string(&info).unwrap();
        assert_eq!(serde_json::from_str::<ModelInfo>(&text).unwrap(), info);
        assert_eq!(info.key(), "together-ai/meta-llama/Llama-3.3-70B");
        assert!(info.can(&[Capability::Tools].into()) && info.can(&BTreeSet::new()));
        assert!(!info.can(&[Capability::Tools, Capability::Vision].into()));
    }
}
