//! How a request ended: the one record that whoever asks for the request gets.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cache;
use crate::envelope::{Malformed, frame, unframe};
use crate::{ApiError, Attempt, BodyRef, Envelope, Lane, Operation, RequestId, Timestamp, Workspace};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A provider answered with a 2xx.
    Answered,
    /// There is a reason why it was not answered: ours, or the last provider's failure.
    Refused,
    /// Its deadline passed.
    Expired,
    /// The caller did not want it any more.
    Cancelled,
    /// It could not be processed; the whole message is kept for an operator.
    Dead,
}

impl Kind {
    /// The word used in headers, events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }
}

/// The answer and how it came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The request.
    pub request: RequestId,
    /// Whom it belongs to.
    pub workspace: Workspace,
    /// What it asked for.
    pub operation: Operation,
    /// How urgent it was.
    pub lane: Lane,
    /// The model the caller named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The config it ran on, as in events: `pc-…@3`, or a hash of the text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub config: String,
    /// How it ended.
    pub kind: Kind,
    /// HTTP status of the answer.
    pub status: u16,
    /// Media type of the answer's body.
    pub content_type: String,
    /// Headers of the provider's answer that are passed on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The answer came in pieces and broke off; the body ends in an error event.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Place of the target that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Provider that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Retries made at the target that answered; -1: used up.
    #[serde(default)]
    pub retry_count: i32,
    /// When the broker accepted the request.
    pub accepted_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// What was tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The attempt whose event tells of this end; None: an event of its own does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<u32>,
    /// Nobody waited for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asynchronous: bool,
    /// It is a response that is kept, to be looked at and continued.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// The cache's part in it. None: the config does not name the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Box<cache::Use>>,
    /// Under what the answer is offered to the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Box<cache::Ticket>>,
    /// The answer's body.
    #[serde(default)]
    pub body: BodyRef,
}

impl Outcome {
    /// An ending that is our own doing: the body is the error. The caller sets body size by encoding.
    pub fn error(envelope: &Envelope, kind: Kind, error: &ApiError, now: Timestamp) -> (Self, Bytes) {
        let body = Bytes::from(error.body_for(envelope.operation));
        let mut headers = BTreeMap::new();
        if let Some(seconds) = error.retry_after {
            headers.insert("retry-after".to_owned(), seconds.to_string());
        }
        let outcome = Self {
            kind,
            status: error.status,
            content_type: "application/json".to_owned(),
            headers,
            body: BodyRef::Inline { size: body.len() },
            ..Self::blank(envelope, now)
        };
        (outcome, body)
    }

    /// Offers the answer to the cache, if it is one that may be given again.
    #[must_use]
    pub fn offered(mut self, envelope: &Envelope) -> Self {
        let asked = envelope.cache.as_ref().filter(|asked| self.path.as_ref() == Some(&asked.path));
        let ticket = asked.and_then(|asked| asked.ticket.clone());
        let whole = self.kind == Kind::Answered && self.status == 200 && !self.truncated;
        self.ticket = ticket.filter(|_| whole && self.body.size() <= cache::LARGEST_ANSWER).map(Box::new);
        if let Some(part) = &mut self.cache {
            part.offered = self.ticket.is_some();
        }
        self
    }

    /// The same without what only the cache has to know.
    #[must_use]
    pub fn told(&self) -> Self {
        Self { ticket: None, ..self.clone() }
    }

    /// An outcome that still lacks its answer.
    pub fn blank(envelope: &Envelope, now: Timestamp) -> Self {
        Self {
            request: envelope.request.clone(),
            workspace: envelope.workspace.clone(),
            operation: envelope.operation,
            lane: envelope.lane,
            model: envelope.model.clone(),
            config: envelope.config.to_string(),
            kind: Kind::Refused,
            status: 500,
            content_type: String::new(),
            headers: BTreeMap::new(),
            truncated: false,
            path: None,
            provider: None,
            retry_count: 0,
            accepted_at: envelope.accepted_at,
            finished_at: now,
            attempts: envelope.attempts.clone(),
            ended_by: None,
            asynchronous: envelope.asynchronous,
            kept: false,
            cache: envelope.cache.as_ref().map(|asked| Box::new(cache::Use::of(asked))),
            ticket: None,
            body: BodyRef::default(),
        }
    }
}

/// What may stand on a result subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The attempt with this number is over without an answer, in one way only: its owner may no longer answer, and
    /// whoever finds its call later may no longer give it up.
    Fence {
        /// The attempt.
        attempt: u32,
        /// Its owner told how it failed. Otherwise it was given up for lost.
        #[serde(default)]
        settled: bool,
    },
    /// The request has ended.
    Final(Box<Outcome>),
}

impl Record {
    /// Puts the record and an inline body into one payload.
    pub fn encode(&self, body: &[u8]) -> Bytes {
        frame(self, &[body])
    }

    /// Takes a payload apart; the body is empty when it is stored elsewhere.
    pub fn decode(payload: &Bytes) -> Result<(Self, Bytes), Malformed> {
        unframe(payload)
    }
}
