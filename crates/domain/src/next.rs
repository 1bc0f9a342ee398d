//! What to do next: a pure function of the config and of what was tried so far.
//!
//! The history is replayed over the tree. A target takes the attempts that carry its path, in order; a group asks
//! its children. So routers need no memory, and any of them can take the next step.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Group, Node, Strategy, Target, retry};
use crate::{Attempt, Config, ErrorClass, Timestamp};

#[cfg(test)]
mod tests;

/// What a decision depends on besides config and history.
#[derive(Clone, Copy, Debug)]
pub struct View {
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
        target: &'a Target,
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

/// Why nothing more can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The deadline passed.
    Expired,
    /// The caller does not want it any more.
    Cancelled,
    /// The config leads nowhere.
    NoTarget,
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
pub fn next<'a>(config: &'a Config, attempts: &[Attempt], view: &View) -> Next<'a> {
    let mut replay = Replay { attempts, at: 0, view, retries: 0 };
    let walked = replay.walk(&config.root);
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
        Strategy::Fallback { on_status_codes: Some(codes) } => any_2xx(codes),
        _ => false,
    })
}

/// Retries that were made at the target that answered: 0 none, -1 used up, as in `x-portkey-retry-attempt-count`.
pub fn retry_count(config: &Config, attempts: &[Attempt], answered: usize) -> i32 {
    let Some(attempt) = attempts.get(answered) else { return 0 };
    let Some(target) = config.targets().find(|t| t.path == attempt.path) else { return 0 };
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

/// Whether a path leads into a node.
fn is_below(path: &str, node: &str) -> bool {
    path.strip_prefix(node).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

enum Walked<'a> {
    Call {
        target: &'a Target,
        after: Duration,
    },
    /// This part of the tree has nothing more to try; its last attempt, if it made one.
    Done(Option<usize>),
}

struct Replay<'r> {
    attempts: &'r [Attempt],
    at: usize,
    view: &'r View,
    retries: u32,
}

impl<'r> Replay<'r> {
    fn walk<'a>(&mut self, node: &'a Node) -> Walked<'a> {
        match node {
            Node::Target(target) => self.target(target),
            Node::Group(group) => match &group.strategy {
                Strategy::Single => group.targets.first().map_or(Walked::Done(None), |n| self.walk(n)),
                Strategy::Fallback { on_status_codes } => self.fallback(group, on_status_codes.as_deref()),
                Strategy::LoadBalance => match self.choose(group) {
                    Some(child) => self.walk(child),
                    None => Walked::Done(None),
                },
            },
        }
    }

    fn fallback<'a>(&mut self, group: &'a Group, codes: Option<&[u16]>) -> Walked<'a> {
        let mut last = None;
        for child in &group.targets {
            match self.walk(child) {
                call @ Walked::Call { .. } => return call,
                Walked::Done(None) => {}
                Walked::Done(Some(index)) => {
                    last = Some(index);
                    // What follows in the history was decided when it was made: a full queue that a parked request
                    // has forgotten may have led on from here.
                    if self.at == self.attempts.len() && self.stops(index, codes) {
                        break;
                    }
                }
            }
        }
        Walked::Done(last)
    }

    /// Whether a fallback group is content with an attempt.
    fn stops(&self, index: usize, codes: Option<&[u16]>) -> bool {
        let attempt = &self.attempts[index];
        // Nothing was called: that is never the provider's answer.
        if attempt.error == Some(ErrorClass::QueueFull) {
            return false;
        }
        let status = effective_status(attempt);
        match codes {
            Some(codes) => !codes.contains(&status),
            None => (200..300).contains(&status),
        }
    }

    /// The branch that the history took, else one by weight.
    fn choose<'a>(&self, group: &'a Group) -> Option<&'a Node> {
        if let Some(next) = self.attempts.get(self.at) {
            return group.targets.iter().find(|child| is_below(&next.path, child.path()));
        }
        let sum: f64 = group.targets.iter().map(Node::weight).sum();
        let mut point = unit(self.view.seed, &group.path) * sum;
        let positive = || group.targets.iter().filter(|n| n.weight() > 0.0);
        for child in positive() {
            if point < child.weight() {
                return Some(child);
            }
            point -= child.weight();
        }
        positive().next_back()
    }

    /// Takes the attempts at this target from the history, then says whether another one is due.
    fn target<'a>(&mut self, target: &'a Target) -> Walked<'a> {
        let mut waited = Duration::ZERO;
        self.retries = 0;
        let mut last = None;
        loop {
            let Some(attempt) = self.attempts.get(self.at).filter(|a| a.path == target.path) else {
                // Nothing of this target is left in the history: it is being asked for the first time.
                return match last {
                    None if self.at == self.attempts.len() => Walked::Call { target, after: Duration::ZERO },
                    last => Walked::Done(last),
                };
            };
            last = Some(self.at);
            let index = self.at;
            self.at += 1;
            let after = match self.again(target, attempt, &mut waited) {
                Some(due) => due.since(self.view.now),
                None => return Walked::Done(Some(index)),
            };
            let more = self.attempts.get(self.at).is_some_and(|a| a.path == target.path);
            if more {
                continue;
            }
            // The history went on elsewhere, so this target was left although it might have been tried again.
            if self.at < self.attempts.len() {
                return Walked::Done(Some(index));
            }
            if self.view.now.plus(after) >= self.view.deadline {
                return Walked::Done(Some(index));
            }
            return Walked::Call { target, after };
        }
    }

    /// When the same target is to be called again after this attempt; None: it is not.
    fn again(&mut self, target: &Target, attempt: &Attempt, waited: &mut Duration) -> Option<Timestamp> {
        match attempt.error {
            Some(ErrorClass::QueueFull | ErrorClass::Cancelled | ErrorClass::Deadline) => return None,
            Some(ErrorClass::Lost) => return self.replaces(ErrorClass::Lost, MOST_LOST, attempt),
            Some(ErrorClass::Shutdown) => return self.replaces(ErrorClass::Shutdown, MOST_SHUTDOWN, attempt),
            _ => {}
        }
        let policy = &target.retry;
        let status = effective_status(attempt);
        if self.retries >= policy.attempts || !policy.on_status_codes.contains(&status) {
            return None;
        }
        self.retries += 1;
        let asked = attempt.retry_after().filter(|_| policy.use_retry_after && status == 429);
        let wait = match asked {
            // The provider knows its own limits, so its wait wins over ours, unless it is too long to wait for.
            Some(asked) => {
                *waited += asked;
                if asked >= retry::LONGEST_WAIT || *waited > retry::LONGEST_WAIT {
                    return None;
                }
                asked
            }
            None => retry::backoff(self.retries),
        };
        Some(attempt.finished_at.plus(wait))
    }

    /// An attempt that says nothing about the target is replaced at once, a few times.
    fn replaces(&self, class: ErrorClass, most: usize, attempt: &Attempt) -> Option<Timestamp> {
        let so_far = self.attempts[..self.at].iter().filter(|a| a.error == Some(class)).count();
        let wanted = class != ErrorClass::Lost || self.view.on_lost == OnLost::Retry;
        (wanted && so_far <= most).then_some(attempt.finished_at)
    }
}

/// A number from 0 to 1, the same for the same seed and place.
fn unit(seed: u64, place: &str) -> f64 {
    let mut hash = seed ^ 0x9e37_79b9_7f4a_7c15;
    for byte in place.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // SplitMix64's finalizer spreads neighbouring seeds.
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash ^ (hash >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
