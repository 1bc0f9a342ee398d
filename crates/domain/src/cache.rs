//! Answers that may be given again: what a request asks of the cache, what is kept of an answer, what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::envelope::{Malformed, frame, unframe};
use crate::model::NanoUsd;
use crate::{Attempt, Operation, Outcome, RequestId, Timestamp, Usage, Workspace, time};

mod selection;
#[cfg(test)]
mod tests;

pub use selection::{Invalidation, Selection};

/// How long an answer is good where nothing else says. Portkey's default: a week.
pub const USUAL_AGE: Duration = Duration::from_secs(604_800);

/// Longest text, in bytes, that is looked up by its meaning. Embedding models read a few hundred tokens.
pub const LONGEST_TEXT: usize = 8 * 1024;

/// Largest answer, in bytes, that is kept.
pub const LARGEST_ANSWER: usize = 256 * 1024;

/// Sampling temperature above which answers are not kept, where the config does not say.
pub const USUAL_TEMPERATURE: f64 = 1.0;

/// How the cache took part in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The same request had been answered before.
    Hit,
    /// A request of the same meaning had been answered before.
    SemanticHit,
    /// The same request had not been answered before.
    Miss,
    /// No request of the same meaning had been answered before.
    SemanticMiss,
    /// The caller wanted a new answer.
    Refresh,
}

impl Status {
    /// All, in the order of their words.
    pub const ALL: [Self; 5] = [Self::Hit, Self::SemanticHit, Self::Miss, Self::SemanticMiss, Self::Refresh];

    /// The word used in events and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::SemanticHit => "semantic_hit",
            Self::Miss => "miss",
            Self::SemanticMiss => "semantic_miss",
            Self::Refresh => "refresh",
        }
    }

    /// The word used in headers: Portkey's. Where the cache has no part in an answer the word is `DISABLED`.
    pub const fn header(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::SemanticHit => "SEMANTIC HIT",
            Self::Miss => "MISS",
            Self::SemanticMiss => "SEMANTIC MISS",
            Self::Refresh => "REFRESH",
        }
    }

    /// Whether no provider was called.
    pub const fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::SemanticHit)
    }
}

/// What a caller wants of the cache, beside what the config says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wishes {
    /// Shares answers with all requests of the workspace that name it, whatever their metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A new answer, which takes the place of the old one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub refresh: bool,
    /// The answer is not kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_store: bool,
    /// Neither question nor answer is kept anywhere.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// Oldest answer that will do.
    #[serde(with = "time::optional_ms", skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
    /// Names under which the answer can be taken out of the cache.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Wishes {
    /// Whether there is nothing to say.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Under what an answer is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Hash of everything that shapes the answer: requests with the same one are the same.
    pub key: String,
    /// Hash of everything that shapes the answer but the last user message: requests whose meaning is compared have the
    /// same one.
    pub partition: String,
    /// The last user message. None: only the same request may be given the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The caller's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Names under which the answer can be taken out of the cache.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// How long the answer is good.
    #[serde(rename = "max_age_ms", with = "time::ms")]
    pub max_age: Duration,
    /// Answers that call tools are kept as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tool_calls: bool,
}

/// An answer that would have been given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shadow {
    /// The entry.
    pub entry: RequestId,
    /// How it was found.
    pub status: Status,
    /// Cosine similarity of the two texts, from -1 to 1; 1 for the same request.
    pub score: f32,
}

/// What the cache was asked for a request, at one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Place of the target in the config.
    pub path: String,
    /// What came of it.
    pub status: Status,
    /// How an answer is kept. None: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
    /// What would have been given, where that is only looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
}

/// Hash of what requests must have in common, as hexadecimal SHA-256.
pub fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The part of the cache in an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Use {
    /// Which part.
    pub status: Status,
    /// The request that had been answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<RequestId>,
    /// Cosine similarity of the two texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// How old the answer was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// Provider that had given the answer; empty: none had.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provider: String,
    /// Model that had given the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens that the answer had taken.
    #[serde(default)]
    pub usage: Usage,
    /// What it had cost, and was saved. None: its price was not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<NanoUsd>,
    /// The answer was given to the same request at the same time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// What would have been given, where that is only looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// The answer is offered to the cache: its outcome says under what.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offered: bool,
}

impl Use {
    /// The cache had no answer.
    pub fn of(asked: &Asked) -> Self {
        Self {
            status: asked.status,
            entry: None,
            score: None,
            age_ms: None,
            provider: String::new(),
            model: None,
            usage: Usage::default(),
            saved: None,
            shared: false,
            shadow: asked.shadow.clone(),
            offered: false,
        }
    }

    /// The answer came from this entry.
    pub fn hit(status: Status, entry: &Entry, score: Option<f32>, now: Timestamp) -> Self {
        Self {
            status,
            entry: Some(entry.id.clone()),
            score,
            age_ms: Some(time::millis(now.since(entry.stored_at))),
            provider: entry.provider.clone(),
            model: entry.model.clone(),
            usage: entry.usage,
            saved: entry.cost,
            shared: false,
            shadow: None,
            offered: false,
        }
    }
}

/// An answer that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The request that was answered.
    pub id: RequestId,
    /// Whom it belongs to. Nobody else is ever given it.
    pub workspace: Workspace,
    /// As in [`Ticket`].
    pub key: String,
    /// As in [`Ticket`].
    pub partition: String,
    /// As in [`Ticket`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// As in [`Ticket`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// As in [`Ticket`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What was asked for.
    pub operation: Operation,
    /// Provider that answered.
    pub provider: String,
    /// Model that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// When the request was accepted.
    pub asked_at: Timestamp,
    /// When it was answered.
    pub stored_at: Timestamp,
    /// Until when the answer is good.
    pub expires_at: Timestamp,
    /// Media type of the answer. An event stream: it was given in pieces.
    pub content_type: String,
    /// Headers of the provider's answer that are passed on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Tokens that the answer took.
    #[serde(default)]
    pub usage: Usage,
    /// What it cost. None: its price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<NanoUsd>,
    /// Bytes of the answer.
    pub size: usize,
}

impl Entry {
    /// The entry of an answer that is offered under a ticket.
    pub fn of(outcome: &Outcome, ticket: &Ticket) -> Self {
        let ended_by = |attempt: &&Attempt| Some(attempt.number) == outcome.ended_by;
        let attempt = outcome.attempts.iter().rfind(ended_by).or(outcome.attempts.last());
        let named = |attempt: &Attempt| attempt.model_answered.clone().or_else(|| attempt.model.clone());
        Self {
            id: outcome.request.clone(),
            workspace: outcome.workspace.clone(),
            key: ticket.key.clone(),
            partition: ticket.partition.clone(),
            namespace: ticket.namespace.clone(),
            text: ticket.text.clone(),
            tags: ticket.tags.clone(),
            operation: outcome.operation,
            provider: outcome.provider.clone().unwrap_or_default(),
            model: attempt.and_then(named).or_else(|| outcome.model.clone()),
            asked_at: outcome.accepted_at,
            stored_at: outcome.finished_at,
            expires_at: outcome.finished_at.plus(ticket.max_age),
            content_type: outcome.content_type.clone(),
            headers: outcome.headers.clone(),
            usage: attempt.and_then(|attempt| attempt.usage).unwrap_or_default(),
            cost: attempt.and_then(|attempt| attempt.cost),
            size: outcome.body.size(),
        }
    }

    /// Whether the answer came in pieces.
    pub fn is_stream(&self) -> bool {
        self.content_type.starts_with("text/event-stream")
    }

    /// Puts the entry and its answer into one payload.
    pub fn encode(&self, answer: &[u8]) -> Bytes {
        frame(self, &[answer])
    }

    /// Takes a payload apart.
    pub fn decode(payload: &Bytes) -> Result<(Self, Bytes), Malformed> {
        let (entry, answer): (Self, Bytes) = unframe(payload)?;
        if entry.size != answer.len() {
            return Err(Malformed(format!("{} bytes of an answer, {} announced", answer.len(), entry.size)));
        }
        Ok((entry, answer))
    }
}

/// Asks for an answer that may be given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Who asks.
    pub workspace: Workspace,
    /// As in [`Ticket`].
    pub key: String,
    /// As in [`Ticket`].
    pub partition: String,
    /// The last user message, where answers to other words of the same meaning will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Cosine similarity from which texts may mean the same. None: the cache's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Oldest answer that will do.
    #[serde(default, with = "time::optional_ms", skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
}

/// An entry that may be given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// How it was found: a hit, or a semantic hit.
    pub status: Status,
    /// Cosine similarity of the two texts. None: the request is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// The entry.
    pub entry: Entry,
}

/// What the cache says to a question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reply {
    /// The entry that may be given, and its answer after this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Match>,
    /// Why there is none, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// When something of the workspace was last taken out of the cache by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalidated_at: Option<Timestamp>,
}

impl Reply {
    /// Puts the reply and the answer into one payload.
    pub fn encode(&self, answer: &[u8]) -> Bytes {
        frame(self, &[answer])
    }

    /// Takes a payload apart.
    pub fn decode(payload: &Bytes) -> Result<(Self, Bytes), Malformed> {
        unframe(payload)
    }
}

impl Match {
    /// Why a reply is not believed. A cache that was mended badly, or is not ours, must not give anybody somebody
    /// else's answer.
    pub fn refused_by(
        &self,
        question: &Question,
        answer: &[u8],
        threshold: f64,
        now: Timestamp,
    ) -> Option<&'static str> {
        let entry = &self.entry;
        if entry.workspace != question.workspace {
            return Some("it belongs to another workspace");
        }
        match self.status {
            Status::Hit if entry.key != question.key => return Some("it answers another request"),
            Status::Hit => {}
            Status::SemanticHit if question.text.is_none() => return Some("nobody asked for its meaning"),
            Status::SemanticHit if entry.partition != question.partition => {
                return Some("it answers a request that differs in more than the last message");
            }
            Status::SemanticHit if self.score.is_none_or(|score| f64::from(score) < threshold - 1e-6) => {
                return Some("it is not alike enough");
            }
            Status::SemanticHit => {}
            Status::Miss | Status::SemanticMiss | Status::Refresh => return Some("it is no hit"),
        }
        if entry.expires_at <= now {
            return Some("it has expired");
        }
        if question.max_age.is_some_and(|most| now.since(entry.stored_at) > most) {
            return Some("it is too old");
        }
        (entry.size != answer.len() || answer.is_empty()).then_some("its answer is not whole")
    }
}

/// What events say of an entry that was stored. The answer is on the bus under its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// The request that was answered.
    pub entry: RequestId,
    /// As in [`Ticket`].
    pub key: String,
    /// When the request was accepted.
    pub asked_at: Timestamp,
    /// Until when the answer is good.
    pub expires_at: Timestamp,
    /// Bytes of the answer.
    pub size: usize,
}
