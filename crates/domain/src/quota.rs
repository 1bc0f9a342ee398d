//! What a provider says is left of the limits it sets us, and an estimate of what is left now.
//!
//! Limits are kept per target and model. What one answer said is passed on as a [`Report`] by whoever made the call;
//! routers add the calls they have sent since, and stop calling when an [`Estimate`] says that nothing is left.

mod estimate;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Target;
use crate::facts::RequestFacts;
use crate::{Operation, Timestamp};

pub use estimate::{Estimate, MOST_WAIT, SHORTEST_WAIT, SPREAD};

/// What is left of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

impl Quota {
    /// The four limits: requests, tokens, tokens of prompts, tokens of answers.
    fn each(&self) -> [Option<Left>; 4] {
        [self.requests, self.tokens, self.input_tokens, self.output_tokens]
    }
}

/// What one answer said about the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Said {
    /// When the call began: about when the provider counted it.
    pub started_at: Timestamp,
    /// When the call was decided on. What was decided on before is taken to be counted, too.
    pub decided_at: Timestamp,
    /// When the head of the answer came.
    pub at: Timestamp,
    /// What is left.
    pub quota: Quota,
    /// It was a 429 that asked to wait until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shut_until: Option<Timestamp>,
}

/// A call that a router has sent, with the tokens that it is taken to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// When it was decided on.
    pub at: Timestamp,
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens of the answer.
    pub output: u64,
}

/// What a process tells others about the limits of one model of a target since its last report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The model asked for. None: requests name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The newest word of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
    /// Tokens of the latest answer that was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    /// Calls that a router has sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<Sent>,
}

/// What a call needs of the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need<'n> {
    /// The model asked for.
    pub model: Option<&'n str>,
    /// Estimated tokens of the prompt.
    pub input: u64,
    /// Tokens of the answer that the request allows at most. None: it does not say.
    pub output: Option<u64>,
}

impl<'n> Need<'n> {
    /// What a request needs at a target: the model by the target's overrides, the request and the target's defaults, in
    /// this order; a quarter of the body's bytes as tokens of the prompt.
    pub fn of(target: &'n Target, facts: &RequestFacts<'n>) -> Self {
        let limit = |name: &str| {
            let own = target.override_params.get(name).or_else(|| facts.params.and_then(|p| p.get(name)));
            own.or_else(|| target.default_params.get(name)).and_then(Value::as_u64)
        };
        let output = match facts.operation {
            Operation::Embeddings | Operation::Rerank | Operation::CountTokens => Some(0),
            _ => ["max_completion_tokens", "max_tokens", "max_output_tokens"].into_iter().find_map(limit),
        };
        Self { model: model(target, facts), input: facts.input_tokens(), output }
    }
}

/// The model that a target would be asked for.
pub fn model<'m>(target: &'m Target, facts: &RequestFacts<'m>) -> Option<&'m str> {
    let own = target.override_params.get("model").and_then(Value::as_str);
    own.or(facts.model).or_else(|| target.default_params.get("model").and_then(Value::as_str))
}

/// What is estimated to be left at a target for one model, as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shown {
    /// The model asked for.
    pub model: Option<String>,
    /// Requests left. None: unknown.
    pub requests: Option<u64>,
    /// Tokens left; of several limits on tokens the one with the least left. None: unknown.
    pub tokens: Option<u64>,
    /// When the provider said that the last of its limits is whole again.
    pub resets_at: Option<Timestamp>,
    /// A 429 asked to wait until then.
    pub shut_until: Option<Timestamp>,
}

#[cfg(test)]
mod tests;
