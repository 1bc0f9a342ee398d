//! Circuit breakers: when a target is left alone, and when it is tried again.
//!
//! Closed: attempts are counted from the first failure on. A threshold opens the circuit; the target is left alone for
//! the cooldown. After that it is half-open: what comes of the next request closes it or opens it again.

mod tally;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::{Availability, Watch};
use crate::next::effective_status;
use crate::{Attempt, Fault, Timestamp, fault_of, time};

pub use tally::{Decayed, LATENCY_HALF_LIFE, Tally};

/// A checked `cb_config`. At least one of the thresholds is given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Policy {
    /// Opens when this many attempts have failed since the first failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<u32>,
    /// Opens when this share of the attempts since the first failure has failed, in percent, from 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_threshold_percentage: Option<u8>,
    /// Attempts below which the share says nothing.
    pub minimum_requests: u32,
    /// How long the target is left alone, and how long a failure counts.
    #[serde(with = "time::ms", rename = "cooldown_interval_ms")]
    pub cooldown_interval: Duration,
    /// Statuses that count as failures. None: 5xx, timeouts and broken connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_status_codes: Option<Vec<u16>>,
}

/// Attempts below which a share says nothing, unless a policy says otherwise.
pub const MINIMUM_REQUESTS: u32 = 5;

/// Shortest cooldown that a config may ask for, unless settings say otherwise.
pub const SHORTEST_COOLDOWN: Duration = Duration::from_secs(30);

/// Statuses that are the request's fault: they never count, and a config that lists them is wrong.
pub const NEVER_FAILURES: &[u16] = &[400, 404, 422];

/// What came of attempts at one target, as whoever made them reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// When the attempt began; of several, the first of them.
    pub started_at: Timestamp,
    /// When it ended; of several, the last of them.
    pub at: Timestamp,
    /// Whose fault its failure is. None: it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Status that it counts as.
    pub status: u16,
    /// How many attempts this stands for.
    pub count: u32,
    /// Mean time to the first byte, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// How long the provider asked us to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The policy it was made under, so that everybody counts from its first attempt on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// It was the one request that tries a half-open target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub probe: bool,
}

impl Observation {
    /// What an attempt tells about its target.
    pub fn of(attempt: &Attempt, watch: &Watch) -> Self {
        let fault = fault_of(attempt).map(|fault| match fault {
            // What the caller brought along did not work; others bring their own.
            Fault::Auth | Fault::RateLimit if watch.callers_credential => Fault::Caller,
            Fault::Timeout if watch.callers_timeout => Fault::Caller,
            fault => fault,
        });
        Self {
            started_at: attempt.started_at,
            at: attempt.finished_at,
            fault,
            status: effective_status(attempt),
            count: 1,
            latency_ms: attempt.first_byte_ms.filter(|_| fault.is_none()).map(|ms| ms as f64),
            retry_after_ms: attempt.retry_after_ms.filter(|_| fault == Some(Fault::RateLimit)),
            policy: watch.policy.clone(),
            probe: watch.probe,
        }
    }

    /// Adds a success to another one of the same target. False: they have to be told apart.
    pub fn absorb(&mut self, other: &Self) -> bool {
        let plain = |o: &Self| o.fault.is_none() && !o.probe && o.retry_after_ms.is_none();
        if !(plain(self) && plain(other) && self.policy == other.policy) {
            return false;
        }
        self.latency_ms = match (self.latency_ms, other.latency_ms) {
            (Some(a), Some(b)) => {
                let (n, m) = (f64::from(self.count), f64::from(other.count));
                Some((a * n + b * m) / (n + m))
            }
            (a, b) => a.or(b),
        };
        self.started_at = self.started_at.min(other.started_at);
        self.at = self.at.max(other.at);
        self.count = self.count.saturating_add(other.count);
        true
    }

    /// Whether the target answered, and as the credential's owner would expect.
    fn is_alive(&self) -> bool {
        self.fault.is_none_or(Fault::is_requests)
    }
}

impl Policy {
    /// Whether an attempt counts as a failure of its target. What is the request's or the caller's fault, or ours,
    /// never does, whatever statuses are listed.
    pub fn counts(&self, seen: &Observation) -> bool {
        match (seen.fault, &self.failure_status_codes) {
            (
                None | Some(Fault::Caller | Fault::Gateway | Fault::ContextLength | Fault::ContentFilter),
                _,
            ) => false,
            (Some(fault), None) => fault.is_providers(),
            (Some(_), Some(codes)) => codes.contains(&seen.status) && !NEVER_FAILURES.contains(&seen.status),
        }
    }

    fn is_over(&self, window: &Window) -> bool {
        let (failures, total) = (u64::from(window.failures), u64::from(window.failures + window.successes));
        let many = self.failure_threshold.is_some_and(|threshold| failures >= u64::from(threshold));
        let share = self.failure_threshold_percentage.is_some_and(|percent| {
            total >= u64::from(self.minimum_requests) && failures * 100 >= u64::from(percent) * total
        });
        many || share
    }
}

/// Whether a target may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It may.
    Closed,
    /// One request may try whether it works again.
    HalfOpen,
    /// It is left alone.
    Open {
        /// Until then.
        until: Timestamp,
    },
}

impl State {
    /// The state without its time.
    pub fn availability(self) -> Availability {
        match self {
            Self::Closed => Availability::Closed,
            Self::HalfOpen => Availability::HalfOpen,
            Self::Open { .. } => Availability::Open,
        }
    }
}

/// Attempts since the first failure; counted anew when that is longer ago than the cooldown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When the first failure was.
    pub since: Timestamp,
    /// Attempts that counted as failures.
    pub failures: u32,
    /// Attempts that succeeded.
    pub successes: u32,
}

/// An open circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Since when.
    pub at: Timestamp,
    /// From then on it is half-open.
    pub until: Timestamp,
    /// What opened it.
    pub fault: Fault,
    /// Failures that it took.
    pub failures: u32,
}

/// A policy's view of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circuit {
    /// When it opened or closed last; attempts that began before say nothing about it any more.
    pub changed_at: Timestamp,
    /// When the policy was last used.
    pub seen_at: Timestamp,
    /// What is counted, while it is closed.
    pub window: Option<Window>,
    /// None: it is closed.
    pub opened: Option<Opened>,
}

/// Observations of one instant, whose order says nothing.
#[derive(Clone, Copy, Default)]
struct Batch {
    at: Timestamp,
    failures: u32,
    successes: u32,
    refused: bool,
    fault: Option<Fault>,
    alive: bool,
}

impl Circuit {
    /// Its state at a time.
    pub fn state(&self, now: Timestamp) -> State {
        match self.opened {
            None => State::Closed,
            Some(opened) if now < opened.until => State::Open { until: opened.until },
            Some(_) => State::HalfOpen,
        }
    }

    /// Counts observations that all ended at the same time; in which order they come makes no difference.
    fn observe(&mut self, policy: &Policy, seen: &[&Observation]) {
        let since = self.opened.map_or(self.changed_at, |opened| opened.until);
        let mut batch = Batch::default();
        // What began before the last change, or while the circuit was open, is evidence of the past. A probe was allowed
        // by a router, whose clock may be a little ahead of the one that says when it began.
        let counts = |seen: &Observation| seen.started_at >= since || (seen.probe && seen.at >= since);
        for seen in seen.iter().filter(|seen| counts(seen)) {
            batch.at = batch.at.max(seen.at);
            batch.alive |= seen.is_alive();
            if seen.fault.is_none() {
                batch.successes = batch.successes.saturating_add(seen.count);
            }
            let refused = seen.fault == Some(Fault::Auth);
            if refused || policy.counts(seen) {
                batch.failures = batch.failures.saturating_add(seen.count);
                batch.refused |= refused;
                batch.fault = batch.fault.max(seen.fault);
            }
        }
        self.settle(policy, batch);
    }

    fn settle(&mut self, policy: &Policy, batch: Batch) {
        let fault = if batch.refused { Some(Fault::Auth) } else { batch.fault };
        if let Some(opened) = self.opened {
            match fault {
                Some(fault) => {
                    self.open(policy, batch.at, fault, opened.failures.saturating_add(batch.failures));
                }
                None if batch.alive => self.close(batch.at),
                None => {}
            }
            return;
        }
        if self.window.is_some_and(|window| batch.at.since(window.since) > policy.cooldown_interval) {
            self.window = None;
        }
        if self.window.is_none() && batch.failures > 0 {
            self.window = Some(Window { since: batch.at, failures: 0, successes: 0 });
        }
        let Some(window) = &mut self.window else { return };
        window.failures = window.failures.saturating_add(batch.failures);
        window.successes = window.successes.saturating_add(batch.successes);
        let (window, over) = (*window, policy.is_over(window));
        if let Some(fault) = fault.filter(|_| over || batch.refused) {
            self.open(policy, batch.at, fault, window.failures);
        }
    }

    fn open(&mut self, policy: &Policy, at: Timestamp, fault: Fault, failures: u32) {
        let until = at.plus(policy.cooldown_interval);
        self.opened = Some(Opened { at, until, fault, failures });
        self.changed_at = at;
        self.window = None;
    }

    fn close(&mut self, at: Timestamp) {
        self.opened = None;
        self.changed_at = at;
        self.window = None;
    }
}

#[cfg(test)]
mod tests;
