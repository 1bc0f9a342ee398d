//! What to do next: a pure function of the config, the request, and what was tried so far.
//!
//! The history is replayed over the tree. A target takes the attempts that carry its path, in order; a group asks
//! its children. What was tried is decided by the history alone, so that a branch once taken stays taken whatever has
//! become known since; only what has not been tried depends on the view. So routers need no memory, and any of them
//! can take the next step.

mod choice;
mod models;
mod reason;
mod replay;

use std::ops::Deref;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use reason::{By, Reason};

use self::replay::{Replay, Walked};
use crate::config::{Group, Node, Strategy, Target};
use crate::facts::RequestFacts;
use crate::health::{Availability, Health};
use crate::model::Models;
use crate::{Attempt, Config, ErrorClass, Timestamp};

#[cfg(test)]
mod tests;

/// What a decision depends on besides config, request and history.
#[derive(Clone, Copy)]
pub struct View<'v> {
    /// The time.
    pub now: Timestamp,
    /// When the request has to be finished.
    pub deadline: Timestamp,
    /// Randomness for load balancing; the same for all decisions about a request.
    pub seed: u64,
    /// The caller does not want it any more.
    pub cancelled: bool,
    /// What to do about an attempt whose worker vanished.
    pub on_lost: OnLost,
    /// How the targets have been doing.
    pub health: &'v (dyn Health + Sync),
    /// The models that may be chosen: those of configured providers.
    pub models: &'v (dyn Models + Sync),
}

/// What to do about an attempt whose worker vanished: the provider may have been called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLost {
    /// Try again, at most [`MOST_LOST`] times: the answer may be paid for twice.
    #[default]
    Retry,
    /// Treat it as a failure of that target: nothing is paid for twice there.
    Fail,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next<'a> {
    /// Call this target, after a wait.
    Call {
        /// The target.
        target: Callee<'a>,
        /// The wait, counted from now.
        after: Duration,
    },
    /// The answer is this attempt's (index into the history): a success, or the last failure unchanged.
    Answer(usize),
    /// All queues are full: decide again after a while.
    Park {
        /// How long.
        after: Duration,
    },
    /// Nothing more can be done.
    GiveUp(Refusal),
}

/// The target of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Callee<'a> {
    /// One of the config's.
    Configured(&'a Target),
    /// One of our making: its model was chosen from the catalogue.
    Chosen(Box<Target>),
}

impl Deref for Callee<'_> {
    type Target = Target;

    fn deref(&self) -> &Target {
        match self {
            Self::Configured(target) => target,
            Self::Chosen(target) => target,
        }
    }
}

/// Why nothing more can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The deadline passed.
    Expired,
    /// The caller does not want it any more.
    Cancelled,
    /// The config leads nowhere.
    NoTarget,
    /// No condition holds for the request, and there is no default.
    NoMatch,
}

/// What to do next, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<'a> {
    /// What to do.
    pub next: Next<'a>,
    /// The reasons, outermost first; none where nothing had to be chosen.
    pub why: Vec<Reason<'a>>,
    /// The call is a half-open breaker's probe, of which there may be one at a time.
    pub probe: bool,
}

/// Lost attempts of a request that are replaced.
pub const MOST_LOST: usize = 2;

/// Attempts that stopping workers gave back and that are replaced.
pub const MOST_SHUTDOWN: usize = 8;

/// How long a request waits when every queue is full.
const PARK: Duration = Duration::from_secs(1);

/// The status that an attempt counts as. A 2xx whose body was not usable is a 502, a lost attempt too.
pub fn effective_status(attempt: &Attempt) -> u16 {
    match (attempt.status, attempt.error) {
        (Some(status), Some(_)) if (200..300).contains(&status) => 502,
        (Some(status), _) => status,
        (None, Some(ErrorClass::QueueFull)) => 503,
        (None, _) => 502,
    }
}

/// Decides. Same inputs, same answer.
pub fn next<'a>(
    config: &'a Config,
    facts: &RequestFacts<'_>,
    attempts: &[Attempt],
    view: &View<'_>,
) -> Decision<'a> {
    let mut replay = Replay::new(facts, attempts, view);
    let walked = replay.walk(&config.root, view.deadline);
    let why = replay.why;
    let probe = match &walked {
        Walked::Call { target, .. } => choice::is_at(target, view, Availability::HalfOpen),
        _ => false,
    };
    let next = conclude(walked, attempts, view);
    Decision { probe: probe && matches!(next, Next::Call { .. }), next, why }
}

fn conclude<'a>(walked: Walked<'a>, attempts: &[Attempt], view: &View<'_>) -> Next<'a> {
    let ended_by = attempts.last().and_then(|a| a.error);
    if let Walked::Done(Some(index)) = walked
        && attempts[index].is_success()
    {
        return Next::Answer(index);
    }
    if view.cancelled || ended_by == Some(ErrorClass::Cancelled) {
        return Next::GiveUp(Refusal::Cancelled);
    }
    if view.now >= view.deadline || ended_by == Some(ErrorClass::Deadline) {
        return Next::GiveUp(Refusal::Expired);
    }
    match walked {
        Walked::Call { target, after } => Next::Call { target, after },
        Walked::Refused(refusal) => Next::GiveUp(refusal),
        Walked::Done(None) => Next::GiveUp(Refusal::NoTarget),
        Walked::Done(Some(index)) if attempts[index].error == Some(ErrorClass::QueueFull) => {
            let until = attempts[index].finished_at.plus(PARK).min(view.deadline);
            Next::Park { after: until.since(view.now) }
        }
        Walked::Done(Some(index)) => Next::Answer(index),
    }
}

/// Whether any 2xx from this target would end the request, so that it may be forwarded as it comes.
pub fn success_is_final(config: &Config, attempts: &[Attempt], target: &Target) -> bool {
    let any_2xx = |codes: &[u16]| codes.iter().any(|code| (200..300).contains(code));
    let counted = |a: &&Attempt| a.path == target.path && !a.error.is_some_and(ErrorClass::is_our_fault);
    let retries_left = attempts.iter().filter(counted).count() < target.retry.attempts as usize;
    if retries_left && any_2xx(&target.retry.on_status_codes) {
        return false;
    }
    !groups_above(&config.root, &target.path).iter().any(|group| match &group.strategy {
        Strategy::Fallback { on_status_codes: Some(codes), .. } => any_2xx(codes),
        _ => false,
    })
}

/// Retries that were made at the target that answered: 0 none, -1 used up, as in `x-portkey-retry-attempt-count`.
pub fn retry_count(config: &Config, attempts: &[Attempt], answered: usize) -> i32 {
    let Some(attempt) = attempts.get(answered) else { return 0 };
    let Some(target) = config.target(&attempt.path) else { return 0 };
    let counted = |a: &&Attempt| a.path == attempt.path && !a.error.is_some_and(ErrorClass::is_our_fault);
    let tries = attempts[..=answered].iter().filter(counted).count();
    let retries = tries.saturating_sub(1);
    let retriable = target.retry.on_status_codes.contains(&effective_status(attempt));
    if target.retry.attempts > 0 && retriable {
        return -1;
    }
    i32::try_from(retries).unwrap_or(i32::MAX)
}

fn groups_above<'a>(node: &'a Node, path: &str) -> Vec<&'a Group> {
    let Node::Group(group) = node else { return Vec::new() };
    if !is_below(path, &group.path) {
        return Vec::new();
    }
    let mut groups = vec![group];
    groups.extend(group.targets.iter().flat_map(|child| groups_above(child, path)));
    groups
}

/// Whether a path leads into a node, or to a model chosen there.
fn is_below(path: &str, node: &str) -> bool {
    path.strip_prefix(node).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '#']))
}
