//! Token counts of one attempt.

use serde::{Deserialize, Serialize};

/// Tokens that a provider reported. `input` includes `cached_input`; `output` includes `reasoning`.
///
/// Source: OpenAI's `usage` object, where `prompt_tokens_details.cached_tokens` is part of `prompt_tokens`
/// and `completion_tokens_details.reasoning_tokens` is part of `completion_tokens`.
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
    /// Part of `output` spent on reasoning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasoning: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
