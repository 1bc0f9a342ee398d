//! What happened, for everybody who reads along. Additive: readers ignore fields they do not know.

use serde::{Deserialize, Serialize};

use crate::cache::{Entry, Invalidation, Selection, Stored, Use};
use crate::limit::Hold;
use crate::outcome::Kind as OutcomeKind;
use crate::{Attempt, AttemptId, Envelope, Lane, Operation, RequestId, Slug, Timestamp, Workspace};

/// Version of the schema; raised only by additions.
pub const VERSION: u32 = 1;

/// What kind of thing happened. The word is also the subject's noun and verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// An asynchronous request was taken on.
    #[serde(rename = "request.accepted")]
    RequestAccepted,
    /// One try at one target ended. With `final` it also ended the request.
    #[serde(rename = "attempt.finished")]
    AttemptFinished,
    /// A request ended without an attempt to say so: refused, expired or cancelled. Always `final`.
    #[serde(rename = "request.finished")]
    RequestFinished,
    /// A message was put aside for an operator.
    #[serde(rename = "dead.lettered")]
    DeadLettered,
    /// A limit was used up to its threshold, or wholly.
    #[serde(rename = "limit.crossed")]
    LimitCrossed,
    /// An answer was stored, to be given again.
    #[serde(rename = "cache.stored")]
    CacheStored,
    /// Answers were taken out of the cache by hand.
    #[serde(rename = "cache.invalidated")]
    CacheInvalidated,
}

impl Kind {
    /// The word used in subjects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestAccepted => "request.accepted",
            Self::AttemptFinished => "attempt.finished",
            Self::RequestFinished => "request.finished",
            Self::DeadLettered => "dead.lettered",
            Self::LimitCrossed => "limit.crossed",
            Self::CacheStored => "cache.stored",
            Self::CacheInvalidated => "cache.invalidated",
        }
    }
}

/// Why a target was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The first choice.
    First,
    /// The same target again after a failure that the config says to retry.
    Retry,
    /// Another target after a failure.
    Fallback,
    /// The same target again because the worker vanished or stopped.
    Replacement,
}

/// One decision of the router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The attempt it led to.
    pub attempt: u32,
    /// The target chosen.
    pub path: String,
    /// Why.
    pub reason: Reason,
    /// The same in detail, for people; empty where nothing had to be chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
}

/// The decisions that a list of attempts stands for.
pub fn decisions(attempts: &[Attempt]) -> Vec<Decision> {
    let reason = |i: usize, attempt: &Attempt| match i.checked_sub(1).map(|before| &attempts[before]) {
        None => Reason::First,
        Some(before) if before.path != attempt.path => Reason::Fallback,
        Some(before) if before.error.is_some_and(crate::ErrorClass::is_our_fault) => Reason::Replacement,
        Some(_) => Reason::Retry,
    };
    let decide = |(i, a): (usize, &Attempt)| Decision {
        attempt: a.number,
        path: a.path.clone(),
        reason: reason(i, a),
        why: a.why.clone(),
    };
    attempts.iter().enumerate().map(decide).collect()
}

/// How far a limit is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Up to the threshold that somebody wants to hear of.
    Threshold,
    /// All of it.
    Exhausted,
}

/// A limit of which more is used than somebody wants to hear of, or all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossed {
    /// The limit's name, as in `apikey.ab12.budget`.
    pub limit: String,
    /// The bucket of it, as in `user=ann`; empty: the limit has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bucket: String,
    /// How far.
    pub level: Level,
    /// What is counted: `cost` (nano-USD), `tokens`, `requests`.
    pub unit: String,
    /// How much is used.
    pub used: u64,
    /// The cap.
    pub cap: u64,
    /// When the window ends. None: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<Timestamp>,
    /// Who is to be told beside those who hear of everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<String>,
}

/// Something that happened to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Version of the schema.
    pub v: u32,
    /// Names the happening, not the message: a repeated report has the same id.
    pub id: String,
    /// What happened.
    pub kind: Kind,
    /// When.
    pub at: Timestamp,
    /// The request.
    pub request: RequestId,
    /// Whom it belongs to.
    pub workspace: Workspace,
    /// Id of what led to this: the attempt before, or the request.
    pub causation: String,
    /// What the request asked for.
    pub operation: Operation,
    /// How urgent it was.
    pub lane: Lane,
    /// The API key that the request came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Slug>,
    /// The person that the request was made for, as its metadata (`_user`) or its body (`user`) says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The cache's part in the answer; present with `final` where the config names the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Use>,
    /// The attempt's id, `<request>.<number>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<AttemptId>,
    /// The attempt: target path, provider, models, status, error class, timings, usage, `duplicate_possible`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// What limits had set aside for the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// The answer came or was to come in pieces.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub streamed: bool,
    /// The request has ended with this.
    #[serde(default, rename = "final", skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
    /// How the request ended; present with `final`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<OutcomeKind>,
    /// HTTP status of the answer; present with `final`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// From acceptance to the end; present with `final`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<u64>,
    /// `total_ms` less the time spent in attempts; present with `final`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overhead_ms: Option<u64>,
    /// The router's choices; present with `final`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
    /// The config the request was started with: `pc-…@<version>`, or the content hash of an inline one.
    pub config: String,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The caller's own trace id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The caller's key-value pairs, JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Why, for people; on dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The limit that was crossed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Crossed>,
    /// The answer that was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Stored>,
    /// The answers that were taken out of the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalidated: Option<Invalidation>,
}

/// How a request ended, as events tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// How it ended.
    pub outcome: OutcomeKind,
    /// HTTP status of the answer.
    pub status: u16,
}

impl Event {
    fn of(kind: Kind, id: String, envelope: &Envelope, at: Timestamp) -> Self {
        Self {
            operation: envelope.operation,
            lane: envelope.lane,
            key: envelope.key.clone(),
            user: envelope.user.clone(),
            streamed: envelope.stream,
            config: envelope.config.to_string(),
            traceparent: envelope.traceparent.clone(),
            trace_id: envelope.trace_id.clone(),
            metadata: envelope.metadata.clone(),
            ..Self::bare(kind, id, (envelope.workspace.clone(), envelope.request.clone()), at)
        }
    }

    /// Something that no request's envelope tells of.
    fn bare(kind: Kind, id: String, (workspace, request): (Workspace, RequestId), at: Timestamp) -> Self {
        Self {
            v: VERSION,
            id,
            kind,
            at,
            causation: request.to_string(),
            request,
            workspace,
            // Readers expect some.
            operation: Operation::Chat,
            lane: Lane::Normal,
            key: None,
            user: None,
            cache: None,
            attempt_id: None,
            attempt: None,
            hold: None,
            streamed: false,
            last: false,
            outcome: None,
            status: None,
            total_ms: None,
            overhead_ms: None,
            decisions: Vec::new(),
            config: String::new(),
            traceparent: None,
            trace_id: None,
            metadata: None,
            reason: None,
            limit: None,
            stored: None,
            invalidated: None,
        }
    }

    /// A limit was used past a point, the last time by this request. `window` tells one window of the limit from the
    /// next.
    pub fn limit_crossed(of: (Workspace, RequestId), crossed: Crossed, window: u64, at: Timestamp) -> Self {
        let Crossed { limit, bucket, level, .. } = &crossed;
        let level = if *level == Level::Exhausted { "exhausted" } else { "threshold" };
        let id = format!("{limit}.{bucket}.{window}.{level}");
        Self { limit: Some(crossed), ..Self::bare(Kind::LimitCrossed, id, of, at) }
    }

    /// An answer was stored, to be given again.
    pub fn cache_stored(entry: &Entry, at: Timestamp) -> Self {
        let Entry { id, workspace, key, asked_at, expires_at, size, .. } = entry;
        let stored = Stored {
            entry: id.clone(),
            key: key.clone(),
            asked_at: *asked_at,
            expires_at: *expires_at,
            size: *size,
        };
        let of = (workspace.clone(), id.clone());
        let bare = Self::bare(Kind::CacheStored, format!("{id}.stored"), of, at);
        Self { operation: entry.operation, stored: Some(stored), ..bare }
    }

    /// Answers were taken out of the cache. `change` is the id of the order to do so.
    pub fn cache_invalidated(
        workspace: Workspace,
        change: RequestId,
        selection: Selection,
        at: Timestamp,
    ) -> Self {
        let id = format!("{change}.invalidated");
        let bare = Self::bare(Kind::CacheInvalidated, id, (workspace, change), at);
        Self { invalidated: Some(Invalidation { selection, at }), ..bare }
    }

    /// An asynchronous request was taken on.
    pub fn request_accepted(envelope: &Envelope) -> Self {
        let id = format!("{}.accepted", envelope.request);
        Self::of(Kind::RequestAccepted, id, envelope, envelope.accepted_at)
    }

    /// An attempt ended. `attempts` are all of the request's up to and with this one.
    pub fn attempt_finished(
        envelope: &Envelope,
        attempts: &[Attempt],
        attempt: &Attempt,
        end: Option<End>,
    ) -> Self {
        let id = envelope.attempt_id(attempt.number);
        let event = Self::of(Kind::AttemptFinished, format!("{id}.finished"), envelope, attempt.finished_at);
        let before = attempts.iter().rfind(|a| a.number < attempt.number);
        let causation = before
            .map_or_else(|| envelope.request.to_string(), |a| envelope.attempt_id(a.number).to_string());
        let call = envelope.call.as_ref().filter(|call| call.number == attempt.number);
        let hold = call.and_then(|call| call.hold.clone());
        let event = Self { attempt_id: Some(id), attempt: Some(attempt.clone()), hold, causation, ..event };
        match end {
            Some(end) => event.ended(attempts, end, envelope.accepted_at),
            None => event,
        }
    }

    /// A request ended without an attempt to say so.
    pub fn request_finished(envelope: &Envelope, end: End, at: Timestamp) -> Self {
        let event = Self::of(Kind::RequestFinished, format!("{}.finished", envelope.request), envelope, at);
        event.ended(&envelope.attempts, end, envelope.accepted_at)
    }

    /// A message was put aside.
    pub fn dead_lettered(envelope: &Envelope, reason: &str, at: Timestamp) -> Self {
        let event = Self::of(Kind::DeadLettered, format!("{}.dead", envelope.request), envelope, at);
        Self { reason: Some(reason.to_owned()), ..event }
    }

    fn ended(self, attempts: &[Attempt], end: End, accepted_at: Timestamp) -> Self {
        let total = crate::time::millis(self.at.since(accepted_at));
        let busy: u64 = attempts.iter().map(|a| crate::time::millis(a.finished_at.since(a.started_at))).sum();
        Self {
            last: true,
            outcome: Some(end.outcome),
            status: Some(end.status),
            total_ms: Some(total),
            overhead_ms: Some(total.saturating_sub(busy)),
            decisions: decisions(attempts),
            ..self
        }
    }
}

/// Short name of a config's content, the same everywhere (FNV-1a, 64 bit, hexadecimal).
pub fn content_hash(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}
