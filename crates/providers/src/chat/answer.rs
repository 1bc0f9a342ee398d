//! What is answered.

use domain::Usage;
use serde_json::{Map, Value};

use super::Part;

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The provider's name for it.
    pub id: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// When, in seconds since 1970, where the provider says so.
    pub created: Option<u64>,
    /// The answers, most often one.
    pub choices: Vec<Choice>,
    /// Tokens used, counted as [`Usage`] says whatever the format counts.
    pub usage: Option<Usage>,
    /// Further top-level fields in OpenAI's form (`service_tier`, `system_fingerprint`), or of the provider's own
    /// (`citations`, `groundingMetadata`). Never `error`: clients would take the answer for one.
    pub extra: Map<String, Value>,
}

/// One of the answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Counted from 0.
    pub index: u32,
    /// Text, thoughts, tool calls, in order.
    pub parts: Vec<Part>,
    /// Why it ended.
    pub finish: Finish,
    /// Probabilities in OpenAI's form, `{"content": [...]}`.
    pub logprobs: Option<Value>,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// In words that every dialect has.
    pub reason: Reason,
    /// The provider's own word.
    pub raw: Option<String>,
    /// The text that ended it.
    pub stop_sequence: Option<String>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was complete.
    Stop,
    /// One of the caller's texts came up.
    StopSequence,
    /// It became too long.
    Length,
    /// The model waits for its tools.
    ToolCalls,
    /// A filter stepped in.
    ContentFilter,
    /// The model would not answer.
    Refusal,
    /// The provider paused a long turn; it goes on when the turn is sent back.
    Pause,
}

impl Reason {
    /// OpenAI's `finish_reason`.
    pub fn openai(self) -> &'static str {
        match self {
            Self::Stop | Self::StopSequence | Self::Pause => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter | Self::Refusal => "content_filter",
        }
    }
}

impl Finish {
    /// An end for this reason, and the provider's word for it.
    pub fn new(reason: Reason, raw: impl Into<String>) -> Self {
        Self { reason, raw: Some(raw.into()), stop_sequence: None }
    }
}

/// What a writer of answers has to know beside the answer.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The provider's slug.
    pub provider: &'a str,
    /// The model that was asked for: the answer's where the provider names none.
    pub model: &'a str,
    /// The answer's id where the provider gives none; fit for every dialect (letters, digits, `-`, `_`).
    pub id: &'a str,
    /// Seconds since 1970, where the provider does not say when.
    pub now: u64,
    /// Hide what is not in OpenAI's API (thoughts, the provider's own finish reasons).
    pub strict: bool,
    /// The caller wants token counts at the end of a stream.
    pub include_usage: bool,
}
