//! What a provider says is left of the limits it sets us.

use serde::{Deserialize, Serialize};

/// What is left of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// How much may still be used.
    pub remaining: u64,
    /// The limit itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Milliseconds until it is whole again, from the answer on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_ms: Option<u64>,
}

/// What is left of a provider's limits on a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quota {
    /// Of the requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Left>,
    /// Of the tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Left>,
    /// Of the tokens of prompts, where they have a limit of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<Left>,
    /// Of the tokens of answers, where they have a limit of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<Left>,
}
