//! Token counts of one attempt, and the algebra that all formats are brought to.

use serde::{Deserialize, Serialize};

/// Tokens that a provider reported.
///
/// What is included in what, whatever the provider's own way of counting:
///
/// - `input` is the whole prompt: it includes `cached_input`, `cache_write` and `audio_input`, which share no token.
/// - `output` is the whole answer: it includes `reasoning` and `audio_output`, which share no token.
/// - the total is `input + output`.
///
/// | Format | `input` | `output` |
/// |---|---|---|
/// | OpenAI chat | `prompt_tokens` (includes `cached_tokens`) | `completion_tokens` (includes `reasoning_tokens`) |
/// | OpenAI Responses | `input_tokens` (includes `cached_tokens`) | `output_tokens` (includes `reasoning_tokens`) |
/// | Anthropic | `input_tokens + cache_creation_input_tokens + cache_read_input_tokens` | `output_tokens` |
/// | Gemini | `promptTokenCount + toolUsePromptTokenCount` (includes `cachedContentTokenCount`) | `candidatesTokenCount + thoughtsTokenCount` |
/// | Bedrock Converse | `inputTokens + cacheReadInputTokens + cacheWriteInputTokens` | `outputTokens` |
/// | Cohere v2 | `usage.tokens.input_tokens` | `usage.tokens.output_tokens` |
/// | Ollama | `prompt_eval_count` | `eval_count` |
///
/// Sources: the usage objects in the providers' API references.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    #[serde(default)]
    pub input: u64,
    /// Tokens of the answer.
    #[serde(default)]
    pub output: u64,
    /// Part of `input` that the provider read from its own cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_input: u64,
    /// Part of `input` that the provider put into its own cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_write: u64,
    /// Part of `input` that was sound.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub audio_input: u64,
    /// Part of `cache_write` that the provider keeps for longer than its default time, at a higher price: an hour at
    /// Anthropic.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_write_long: u64,
    /// Part of `output` spent on reasoning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasoning: u64,
    /// Part of `output` that was spoken.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub audio_output: u64,
    /// Images drawn, which are no tokens.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub images: u64,
    /// Searches of the web that the provider made, which are no tokens.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub searches: u64,
}

impl Usage {
    /// All tokens.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
