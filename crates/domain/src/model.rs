//! What is known about models: what they can do, how much they take, what they cost.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::operation::{UnknownWord, words};

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

/// An amount in millionths of a millionth of a US dollar: fine enough for the price of one token.
///
/// One pico-USD per token is one micro-USD per million tokens: 2.50 USD per million tokens are 2,500,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PicoUsd(pub u64);

/// An amount in billionths of a US dollar: what costs and budgets are counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(pub u64);

impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09} USD", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// What a model costs: per token, and per request or image where the provider charges for these.
///
/// What is absent is charged as the plain kind: cached, written and spoken tokens as `input`, reasoning and spoken
/// answers as `output`; requests and images are free.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Per token of the prompt.
    pub input: PicoUsd,
    /// Per token of the answer.
    pub output: PicoUsd,
    /// Per token of the prompt that the provider read from its cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<PicoUsd>,
    /// Per token of the prompt that the provider put into its cache, for its default time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<PicoUsd>,
    /// Per token of reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<PicoUsd>,
    /// Per token of audio in the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<PicoUsd>,
    /// Per token of audio in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<PicoUsd>,
    /// Per request, on top of its tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<PicoUsd>,
    /// Per image drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PicoUsd>,
    /// Other rates for long prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long: Option<LongPrice>,
}

/// The rates of a request whose prompt is longer than a threshold; they hold for all its tokens.
///
/// Source: the price lists of Google's Gemini and OpenAI's GPT-5.4, which raise all rates of such a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongPrice {
    /// Prompts of more than this many tokens are long.
    pub above: u64,
    /// Per token of the prompt.
    pub input: PicoUsd,
    /// Per token of the answer.
    pub output: PicoUsd,
    /// Per token of the prompt that the provider read from its cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<PicoUsd>,
    /// Per token of the prompt that the provider put into its cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<PicoUsd>,
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

/// What a request with so many tokens costs, uncached, without reasoning and in text.
///
/// `input · rate + output · rate + request`, at the long prompt's rates if the prompt is one; exact in pico-USD, then
/// rounded once to the nearest nano-USD, halves up. More than the type can hold is its maximum.
pub fn estimate(price: &Price, input_tokens: u64, output_tokens: u64) -> NanoUsd {
    let (input, output) = match &price.long {
        Some(long) if input_tokens > long.above => (long.input, long.output),
        _ => (price.input, price.output),
    };
    // The sum of two products of 64-bit numbers can need 129 bits.
    let pico = product(input, input_tokens)
        .saturating_add(product(output, output_tokens))
        .saturating_add(u128::from(price.request.unwrap_or_default().0));
    let nano = pico / 1000 + u128::from(pico % 1000 >= 500);
    NanoUsd(u64::try_from(nano).unwrap_or(u64::MAX))
}

fn product(rate: PicoUsd, tokens: u64) -> u128 {
    u128::from(rate.0) * u128::from(tokens)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price(input: u64, output: u64) -> Price {
        Price { input: PicoUsd(input), output: PicoUsd(output), ..Price::default() }
    }

    #[track_caller]
    fn check(price: &Price, input: u64, output: u64, nano: u64) {
        assert_eq!(estimate(price, input, output), NanoUsd(nano));
    }

    #[test]
    fn estimates_are_exact_and_rounded_once() {
        // 2.50 and 10 USD per million tokens: 1000 in and 100 out are 0.0035 USD.
        check(&price(2_500_000, 10_000_000), 1000, 100, 3_500_000);
        check(&price(499, 0), 1, 0, 0);
        check(&price(500, 0), 1, 0, 1);
        // Each half alone would round up; together they are exactly one.
        check(&price(500, 500), 1, 1, 1);
        check(&price(1_499, 0), 1, 0, 1);
        check(&price(u64::MAX, u64::MAX), u64::MAX, u64::MAX, u64::MAX);
        check(&Price { request: Some(PicoUsd(5_000_000_000)), ..price(0, 0) }, 0, 0, 5_000_000);
    }

    #[test]
    fn long_prompts_have_their_own_rates() {
        let long = LongPrice {
            above: 200_000,
            input: PicoUsd(2_000_000),
            output: PicoUsd(9_000_000),
            ..LongPrice::default()
        };
        let price = Price { long: Some(long), ..price(1_000_000, 6_000_000) };
        check(&price, 200_000, 1000, 206_000_000);
        check(&price, 200_001, 1000, 409_002_000);
    }

    #[test]
    fn amounts_print_as_dollars() {
        assert_eq!(NanoUsd(3_500_000).to_string(), "0.003500000 USD");
        assert_eq!(NanoUsd(12_000_000_001).to_string(), "12.000000001 USD");
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

    proptest! {
        #[test]
        fn more_tokens_never_cost_less(input in 0..1u64 << 30, output in 0..1u64 << 30, a in 0..1u64 << 40, b in 0..1u64 << 40) {
            let price = price(a, b);
            prop_assert!(estimate(&price, input, output) <= estimate(&price, input + 1, output));
            prop_assert!(estimate(&price, input, output) <= estimate(&price, input, output + 1));
        }

        #[test]
        fn an_estimate_is_within_half_a_nano_of_the_exact_sum(input in 0..1u64 << 20, output in 0..1u64 << 20, a in 0..1u64 << 40, b in 0..1u64 << 40) {
            let exact = u128::from(a) * u128::from(input) + u128::from(b) * u128::from(output);
            let rounded = u128::from(estimate(&price(a, b), input, output).0) * 1000;
            prop_assert!(rounded.abs_diff(exact) <= 500);
        }
    }
}
