//! What is known about targets when a choice is made: whether they may be called, how fast and how busy they are.
//!
//! Those who make calls report what came of them; routers keep the books, and share changes as [`Record`]s.

use serde::{Deserialize, Serialize};

use crate::breaker::{Observation, Opened, Policy};
use crate::config::Target;
use crate::quota::{self, Need};
use crate::{Fault, Timestamp, Workspace};

/// Whether a target may be called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// It may.
    #[default]
    Closed,
    /// Its circuit was open; one request may try whether it works again.
    HalfOpen,
    /// Its circuit is open: it is skipped.
    Open,
}

impl Availability {
    /// The word used on screens and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// What is known about a target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// Whether it may be called.
    pub availability: Availability,
    /// Mean time to the first byte of its latest answers, in milliseconds. None: nothing is known.
    pub latency_ms: Option<f64>,
    /// Calls running now, over all workers. None: nothing is known.
    pub in_flight: Option<u32>,
}

/// Knows how targets do.
pub trait Health {
    /// How a target does now.
    fn standing(&self, target: &Target) -> Standing;

    /// From when on the provider's limits leave room for a call. None: now, as far as anybody knows.
    fn full_until(&self, _target: &Target, _need: &Need<'_>) -> Option<Timestamp> {
        None
    }
}

/// Knows nothing: every target may be called.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHealth;

impl Health for NoHealth {
    fn standing(&self, _: &Target) -> Standing {
        Standing::default()
    }
}

/// The name under which a target's health is kept: `<workspace>/<queue>`. A provider or virtual key that several
/// configs name is one target; a workspace never sees another's.
pub fn target_key(workspace: &Workspace, queue: &str) -> String {
    format!("{workspace}/{queue}")
}

/// What a call carries so that whoever makes it can report what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// The target, as [`target_key`] names it.
    pub target: String,
    /// The breaker it is called under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// The model whose limits the call counts against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The caller brought the credential or the host: that it is refused or slowed down says nothing to others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub callers_credential: bool,
    /// The caller chose the timeout of this call: that it was too short says nothing to others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub callers_timeout: bool,
    /// This is the one request that tries a half-open target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub probe: bool,
}

/// What one process has seen since its last report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The process.
    pub from: String,
    /// Target by target.
    pub targets: Vec<TargetReport>,
}

/// What one process has seen of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetReport {
    /// The target.
    pub target: String,
    /// Calls that the process has running there. None: it makes none itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// What came of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observations: Vec<Observation>,
    /// What is known of the provider's limits, model by model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<quota::Report>,
}

/// A wait that a provider asked for. They are ordered by when they were asked for, so that the provider's last word
/// counts, and so that what a reset takes back never hides what came after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cooling {
    /// When it was asked for.
    pub at: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

/// An administrator's word that everything is well.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reset {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
}

/// A circuit as routers share it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedCircuit {
    /// Whose view.
    pub policy: Policy,
    /// When it opened or closed.
    pub changed_at: Timestamp,
    /// None: it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opened>,
}

impl SharedCircuit {
    /// The later word counts; of two at the same time the more careful.
    pub(crate) fn rank(&self) -> (Timestamp, Option<Timestamp>) {
        (self.changed_at, self.opened.map(|opened| opened.until))
    }
}

/// What is stored of a target: enough for a router that starts later. Records merge, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Circuits that have changed, by policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub circuits: Vec<SharedCircuit>,
    /// A wait that the provider asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooling: Option<Cooling>,
    /// When an administrator last reset it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
}

impl Record {
    /// An administrator's reset, and nothing else.
    pub fn of_reset(at: Timestamp, by: &str) -> Self {
        Self { reset: Some(Reset { at, by: by.to_owned() }), ..Self::default() }
    }

    /// Both records in one.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let reset = self.reset.clone().max(other.reset.clone());
        let counts = |at: Timestamp| reset.as_ref().is_none_or(|reset| at > reset.at);
        let mut circuits: Vec<SharedCircuit> = Vec::new();
        for circuit in self.circuits.iter().chain(&other.circuits).filter(|c| counts(c.changed_at)) {
            match circuits.iter_mut().find(|known| known.policy == circuit.policy) {
                Some(known) if circuit.rank() > known.rank() => *known = circuit.clone(),
                Some(_) => {}
                None => circuits.push(circuit.clone()),
            }
        }
        circuits.sort_by(|a, b| a.policy.cmp(&b.policy));
        let cooling = self.cooling.max(other.cooling).filter(|cooling| counts(cooling.at));
        Self { circuits, cooling, reset }
    }
}

/// The last failure of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// Whose fault.
    pub fault: Fault,
    /// Status that it counts as.
    pub status: u16,
}

/// A target's health as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetHealth {
    /// The target: `<workspace>/<queue>`.
    pub target: String,
    /// The worst of all policies' views.
    pub state: Availability,
    /// Since when it is not closed.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// When a request may try it again.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// What opened it.
    #[serde(default)]
    pub reason: Option<Fault>,
    /// Failures that count now.
    pub failures: u32,
    /// The last failure.
    #[serde(default)]
    pub last_error: Option<LastError>,
    /// Mean time to the first byte, in milliseconds.
    #[serde(default)]
    pub latency_ms: Option<f64>,
    /// Calls running now, over all workers.
    #[serde(default)]
    pub in_flight: Option<u32>,
    /// When an administrator last reset it.
    #[serde(default)]
    pub reset: Option<Reset>,
    /// What is left of the provider's limits, model by model, as the router estimates that was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<quota::Shown>,
    /// One for each policy under which it was called.
    pub circuits: Vec<CircuitHealth>,
}

/// One policy's view of a target, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CircuitHealth {
    /// The policy.
    pub policy: Policy,
    /// Whether the target may be called under it.
    pub state: Availability,
    /// Since when it is not closed.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// When a request may try it again.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// What opened it.
    #[serde(default)]
    pub reason: Option<Fault>,
    /// Failures counted.
    pub failures: u32,
    /// Successes counted beside them.
    pub successes: u32,
}
