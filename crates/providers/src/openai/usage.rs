//! What OpenAI's answers, and those like them, say of tokens, tiers and images.

use domain::Usage;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What an answer says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The model that answered.
    pub model: Option<String>,
    /// Tokens used.
    pub usage: Option<Usage>,
    /// Service tier that was charged, in the provider's word. None: the standard one.
    pub tier: Option<String>,
    /// Region that the answer says it was made in.
    pub region: Option<String>,
}

impl Told {
    /// A model and its tokens, and nothing else.
    pub(crate) fn of(model: Option<String>, usage: Option<Usage>) -> Self {
        Self { model, usage, ..Self::default() }
    }

    /// Takes over what a chat's further fields say of tier and place.
    pub(crate) fn note(&mut self, extra: &Map<String, Value>) {
        if let Some(word) = extra.get("service_tier") {
            self.tier = tier(word);
        }
        if let Some(geo) = extra.get("inference_geo").and_then(Value::as_str) {
            self.region = Some(geo.to_owned());
        }
    }

    /// Adds images that were drawn.
    pub fn draw(&mut self, images: u64) {
        if images > 0 {
            self.usage.get_or_insert_default().images = images;
        }
    }
}

/// Words for the standard tier: OpenAI's, Anthropic's, Google's.
const STANDARD: [&str; 4] = ["default", "standard", "auto", "on_demand"];

/// The service tier that a word names. None: the standard one, or no word.
pub fn tier(word: &Value) -> Option<String> {
    let word = word.as_str()?.to_ascii_lowercase();
    let plain = (1..=32).contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    (plain && !STANDARD.contains(&word.as_str())).then_some(word)
}

/// How many images an answer of image generation has.
pub fn images(body: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Drawn {
        #[serde(default)]
        data: Vec<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Drawn>(body).map_or(0, |drawn| drawn.data.len() as u64)
}

/// OpenAI's usage object, and what others have in it.
#[derive(Deserialize)]
pub(super) struct Counts {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    /// The prompt in the words of images and transcriptions.
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    /// The answer in the words of images and transcriptions.
    #[serde(default)]
    output_tokens: Option<u64>,
    #[serde(default)]
    total_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
    /// DeepSeek's `cached_tokens`.
    #[serde(default)]
    prompt_cache_hit_tokens: Option<u64>,
    /// Moonshot's.
    #[serde(default)]
    cached_tokens: Option<u64>,
    /// What gateways say in front of providers that write caches.
    #[serde(default)]
    cache_creation_input_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
    #[serde(default)]
    cache_write_tokens: Option<u64>,
    #[serde(default)]
    audio_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
    #[serde(default)]
    audio_tokens: Option<u64>,
}

impl From<Counts> for Usage {
    fn from(counts: Counts) -> Self {
        let of_input = counts.prompt_tokens_details.unwrap_or_default();
        let of_output = counts.completion_tokens_details.unwrap_or_default();
        let cached = of_input.cached_tokens.or(counts.prompt_cache_hit_tokens).or(counts.cached_tokens);
        let written = of_input.cache_write_tokens.or(counts.cache_creation_input_tokens);
        let mut usage = Self {
            input: counts.prompt_tokens.or(counts.input_tokens).unwrap_or(0),
            output: counts.completion_tokens.or(counts.output_tokens).unwrap_or(0),
            cached_input: cached.unwrap_or(0),
            cache_write: written.unwrap_or(0),
            audio_input: of_input.audio_tokens.unwrap_or(0),
            reasoning: of_output.reasoning_tokens.unwrap_or(0),
            audio_output: of_output.audio_tokens.unwrap_or(0),
            ..Self::default()
        };
        // xAI and Google count reasoning beside the completion: what the total has on top of both sides.
        let beside = counts.total_tokens.unwrap_or(0).saturating_sub(usage.total());
        let is_told = of_output.reasoning_tokens.is_some_and(|reasoning| reasoning == beside);
        if beside > 0 && (is_told || (of_output.reasoning_tokens.is_none() && usage.cache_write == 0)) {
            usage.output = usage.output.saturating_add(beside);
            usage.reasoning = beside;
        }
        usage
    }
}

/// Reads a usage object. None: it is none.
pub(super) fn usage_of(value: &Value) -> Option<Usage> {
    Counts::deserialize(value).ok().map(Usage::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tiers_are_words_and_the_standard_one_is_none() {
        for (word, expected) in [
            (json!("priority"), Some("priority")),
            (json!("flex"), Some("flex")),
            (json!("default"), None),
            (json!("standard"), None),
            (json!("ON_DEMAND"), None),
            (json!("all you can eat"), None),
            (json!(""), None),
            (json!(3), None),
            (Value::Null, None),
        ] {
            assert_eq!(tier(&word).as_deref(), expected, "{word}");
        }
    }

    #[test]
    fn images_are_counted_and_their_tokens_read() {
        let body = json!({
            "created": 1, "data": [{ "b64_json": "AA" }, { "b64_json": "AA" }],
            "usage": { "input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210 },
        });
        let body = body.to_string();
        let mut told = super::super::told(body.as_bytes()).unwrap();
        told.draw(images(body.as_bytes()));
        assert_eq!(told.usage, Some(Usage { input: 50, output: 4160, images: 2, ..Usage::default() }));
        assert_eq!(images(b"<html>"), 0);
        let mut nothing = Told::default();
        nothing.draw(0);
        assert_eq!(nothing.usage, None);
    }

    #[test]
    fn counts_are_brought_to_one_algebra_whoever_counts() {
        let usage = |value: Value| usage_of(&value).unwrap();
        let plain = Usage { input: 10, output: 5, ..Usage::default() };
        for (counts, expected) in [
            (json!({ "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 }), plain),
            (json!({ "prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": null }), plain),
            (
                json!({ "prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 4 }),
                Usage { cached_input: 4, ..plain },
            ),
            (
                json!({ "prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 4 }),
                Usage { cached_input: 4, ..plain },
            ),
            (
                json!({
                    "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                    "prompt_tokens_details": { "cached_tokens": 4, "cache_write_tokens": 3, "audio_tokens": 1 },
                    "completion_tokens_details": { "reasoning_tokens": 2, "audio_tokens": 1 },
                }),
                Usage {
                    cached_input: 4,
                    cache_write: 3,
                    audio_input: 1,
                    reasoning: 2,
                    audio_output: 1,
                    ..plain
                },
            ),
            // xAI: the total is prompt, completion and reasoning.
            (
                json!({
                    "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 22,
                    "completion_tokens_details": { "reasoning_tokens": 7 },
                }),
                Usage { input: 10, output: 12, reasoning: 7, ..Usage::default() },
            ),
            // Google's compatible API says nothing of thoughts but in the total.
            (
                json!({ "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 22 }),
                Usage { input: 10, output: 12, reasoning: 7, ..Usage::default() },
            ),
            // A total that others count differently says nothing about reasoning.
            (
                json!({
                    "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 22,
                    "completion_tokens_details": { "reasoning_tokens": 1 },
                }),
                Usage { reasoning: 1, ..plain },
            ),
        ] {
            assert_eq!(usage(counts.clone()), expected, "{counts}");
        }
        assert_eq!(usage_of(&json!("many")), None);
    }
}
