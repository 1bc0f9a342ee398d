//! What rules are told: of events one by one, of levels as they are now.

use std::time::Duration;

use crate::event::{Crossed, Kind as EventKind};
use crate::model::NanoUsd;
use crate::outcome::Kind as OutcomeKind;
use crate::{ErrorClass, Event, Workspace};

/// One thing that an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A request ended.
    Ended {
        /// Whose.
        workspace: Workspace,
        /// It failed for a reason that is not the caller's.
        failed: bool,
        /// From acceptance to the end in milliseconds; of answered ones.
        total_ms: Option<u64>,
    },
    /// An attempt cost something.
    Spent {
        /// Whose.
        workspace: Workspace,
        /// How much.
        cost: NanoUsd,
    },
    /// A limit was crossed.
    Crossed {
        /// Whose.
        workspace: Workspace,
        /// Which, and how far.
        crossed: Crossed,
    },
    /// A message was put aside.
    DeadLetter {
        /// Whose.
        workspace: Workspace,
    },
}

/// What an event says to rules. Cancelled requests are neither failures nor successes.
pub fn observations(event: &Event) -> Vec<Observation> {
    let mut found = Vec::new();
    let workspace = || event.workspace.clone();
    match event.kind {
        EventKind::LimitCrossed => {
            found.extend(
                event.limit.clone().map(|crossed| Observation::Crossed { workspace: workspace(), crossed }),
            );
        }
        EventKind::DeadLettered => found.push(Observation::DeadLetter { workspace: workspace() }),
        EventKind::AttemptFinished
        | EventKind::RequestFinished
        | EventKind::RequestAccepted
        | EventKind::CacheStored
        | EventKind::CacheInvalidated => {}
    }
    if let Some(cost) = event.attempt.as_ref().and_then(|attempt| attempt.cost).filter(|cost| cost.0 > 0) {
        found.push(Observation::Spent { workspace: workspace(), cost });
    }
    if event.last && event.outcome != Some(OutcomeKind::Cancelled) {
        let answered = event.outcome == Some(OutcomeKind::Answered);
        let total_ms = event.total_ms.filter(|_| answered);
        found.push(Observation::Ended { workspace: workspace(), failed: is_failure(event), total_ms });
    }
    found
}

/// Whether a request's end is the gateway's or its providers' fault: what the caller got wrong is his own business,
/// but a credential of ours that a provider refuses is not.
fn is_failure(event: &Event) -> bool {
    let status = event.status.unwrap_or(0);
    let refused_credential = event.attempt.as_ref().and_then(|a| a.error) == Some(ErrorClass::Authentication);
    status >= 500 || matches!(status, 408 | 429) && event.attempt.is_some() || refused_credential
}

/// A target's circuits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// The target, `<workspace>/<queue>`.
    pub target: String,
    /// What opened it. None: it is closed.
    pub open: Option<String>,
}

/// A stream of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub stream: String,
    /// Age of its oldest message; zero: it is empty.
    pub age: Duration,
    /// Messages in it.
    pub messages: u64,
}

/// How things are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Targets that are known.
    pub breakers: Vec<Breaker>,
    /// Streams of work.
    pub queues: Vec<Queue>,
    /// Sequence of the newest message in the stream of dead letters.
    pub dead_letters: u64,
}
