//! What happened in one try at one target.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::envelope::VirtualKeyRef;
use crate::model::NanoUsd;
use crate::quota::Quota;
use crate::{Call, Timestamp, Usage};

/// Why an attempt did not bring an answer, as far as the next decision cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The provider asked us to slow down (429).
    RateLimit,
    /// The provider refused the request as malformed or not allowed (other 4xx).
    BadRequest,
    /// The provider refused the credential (401, 403).
    Authentication,
    /// The provider failed (5xx).
    ServerError,
    /// No response headers, no next chunk, or no end within the time allowed.
    Timeout,
    /// The provider could not be reached at all.
    Unreachable,
    /// The connection broke before the answer was complete.
    Broken,
    /// The answer was not what the dialect promises.
    InvalidAnswer,
    /// The request could not be turned into a call: a sealed credential that does not open, a host that is refused.
    Misconfigured,
    /// The provider cannot take the request, or it is not what its dialect promises; no call was made.
    Unsupported,
    /// The virtual key may not be used for this; no call was made.
    Unusable,
    /// A limit left no room for it; no call was made.
    Limited,
    /// The target's queue was full; no call was made.
    QueueFull,
    /// The worker stopped and gave the call back.
    Shutdown,
    /// The caller cancelled.
    Cancelled,
    /// The request's deadline passed during the call.
    Deadline,
    /// The worker vanished after it had claimed the attempt; the provider may have been called.
    Lost,
}

impl ErrorClass {
    /// The word used in events, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::BadRequest => "bad_request",
            Self::Authentication => "authentication",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::InvalidAnswer => "invalid_answer",
            Self::Misconfigured => "misconfigured",
            Self::Unsupported => "unsupported",
            Self::Unusable => "unusable",
            Self::Limited => "limited",
            Self::QueueFull => "queue_full",
            Self::Shutdown => "shutdown",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
            Self::Lost => "lost",
        }
    }

    /// The class of an HTTP status that is not a success.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Authentication,
            408 => Self::Timeout,
            429 => Self::RateLimit,
            400..=499 => Self::BadRequest,
            _ => Self::ServerError,
        }
    }

    /// Whether the attempt says nothing about the target, so that it uses up none of the plan's retries.
    pub fn is_our_fault(self) -> bool {
        matches!(self, Self::Lost | Self::Shutdown | Self::QueueFull)
    }
}

/// One try at one target, as it is kept in envelopes, results and events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counted from 1 in the order the router decided.
    pub number: u32,
    /// Place of the target in the config, as in `config.targets[1].targets[0]`; `config` for a config that is one target.
    pub path: String,
    /// Slug of the provider that was called.
    pub provider: String,
    /// Status the provider answered with, or the one that stands for the failure (408, 500, 503). None: lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why there is no usable answer. None: there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorClass>,
    /// The provider's word for the error, as in `context_length_exceeded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// One line for people; never contains a credential or a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How long the provider asked us to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// What the provider said was left of its limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// When the worker began.
    pub started_at: Timestamp,
    /// When the attempt ended; for a lost one, when that was found out.
    pub finished_at: Timestamp,
    /// From the start of the call to the first byte of the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<u64>,
    /// From the router's decision to the start of the call.
    #[serde(default)]
    pub queued_ms: u64,
    /// Parameters that the provider could not take, by name or path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// Model named in the request that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Model named in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_answered: Option<String>,
    /// Tokens the provider reported. None: it reported none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The tokens are our own count, because the provider reported none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    /// Service tier that the provider charged, in its own word, as in `priority`. None: the standard one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Region that was called, where the provider has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What the tokens cost. None: there are none, or the model's price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<NanoUsd>,
    /// Version of the price that `cost` was counted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// The worker that made the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The virtual key that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_key: Option<VirtualKeyRef>,
    /// Why this target and not another; empty where nothing had to be chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
    /// The provider may have been called although nobody saw the answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate_possible: bool,
}

impl Attempt {
    /// An attempt of which nothing is known yet but where it went and when.
    pub fn new(
        number: u32,
        path: &str,
        provider: &str,
        started_at: Timestamp,
        finished_at: Timestamp,
    ) -> Self {
        Self {
            number,
            path: path.to_owned(),
            provider: provider.to_owned(),
            status: None,
            error: None,
            code: None,
            message: None,
            retry_after_ms: None,
            quota: None,
            started_at,
            finished_at,
            first_byte_ms: None,
            queued_ms: 0,
            model: None,
            model_answered: None,
            usage: None,
            estimated: false,
            tier: None,
            region: None,
            cost: None,
            price: None,
            worker: None,
            virtual_key: None,
            why: Vec::new(),
            dropped: Vec::new(),
            duplicate_possible: false,
        }
    }

    /// An attempt whose worker vanished after it had claimed the call: the provider may have been called.
    pub fn lost(call: &Call, worker: &str, claimed_at: Timestamp, now: Timestamp) -> Self {
        Self {
            error: Some(ErrorClass::Lost),
            message: Some("the worker vanished during the call".to_owned()),
            queued_ms: crate::time::millis(claimed_at.since(call.decided_at)),
            worker: Some(worker.to_owned()),
            virtual_key: call.virtual_key.clone(),
            why: call.why.clone(),
            duplicate_possible: true,
            ..Self::new(call.number, &call.path, &call.provider, claimed_at, now)
        }
    }

    /// Whether this attempt brought a complete answer with a 2xx status.
    pub fn is_success(&self) -> bool {
        self.error.is_none() && self.status.is_some_and(|s| (200..300).contains(&s))
    }

    /// How long the provider asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }
}
