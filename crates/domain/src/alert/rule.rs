//! What is bad, who is told, and what counts without any settings.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::{Kind, Severity, Timing};
use crate::model::NanoUsd;
use crate::{Workspace, time};

/// When something is bad. Each condition stops being bad at 80 % of its threshold, so that a value at the threshold
/// does not raise and end an alert again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Condition {
    /// A limit was used up to its threshold, or wholly; over when the limit's window ends.
    Budget,
    /// A workspace spent more than a multiple of what it usually spends in such a time.
    Spend {
        /// The time that is looked at.
        #[serde(with = "time::ms")]
        window: Duration,
        /// How many times the mean of the windows before.
        multiple: u32,
        /// Less than this is never bad.
        minimum: NanoUsd,
        /// How many windows before make up the mean; three at least must have been seen.
        baseline: u32,
    },
    /// Too many of a workspace's requests failed for reasons that are not the caller's.
    ErrorRate {
        /// The time that is looked at.
        #[serde(with = "time::ms")]
        window: Duration,
        /// Share of failures, from 1 to 100.
        percent: u8,
        /// Fewer requests say nothing.
        minimum: u64,
    },
    /// One in twenty of a workspace's answers took longer than this.
    Latency {
        /// The time that is looked at.
        #[serde(with = "time::ms")]
        window: Duration,
        /// The 95th percentile, from acceptance to the end.
        #[serde(with = "time::ms")]
        p95: Duration,
        /// Fewer answers say nothing.
        minimum: u64,
    },
    /// A target's circuit is open.
    Breaker,
    /// Messages were put aside.
    DeadLetters {
        /// The time that is looked at.
        #[serde(with = "time::ms")]
        window: Duration,
        /// This many are bad; none is good again.
        count: u64,
    },
    /// The oldest message of a stream of work is older than this.
    QueueAge {
        /// The age.
        #[serde(with = "time::ms")]
        age: Duration,
    },
}

impl Condition {
    /// What it watches.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Budget => Kind::Budget,
            Self::Spend { .. } => Kind::Spend,
            Self::ErrorRate { .. } => Kind::ErrorRate,
            Self::Latency { .. } => Kind::Latency,
            Self::Breaker => Kind::Breaker,
            Self::DeadLetters { .. } => Kind::DeadLetters,
            Self::QueueAge { .. } => Kind::QueueAge,
        }
    }

    /// What counts for a kind where settings leave it out.
    pub fn default_of(kind: Kind) -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        match kind {
            Kind::Budget => Self::Budget,
            Kind::Spend => Self::Spend {
                window: 60 * MINUTE,
                multiple: 3,
                minimum: NanoUsd(10_000_000_000),
                baseline: 24,
            },
            Kind::ErrorRate => Self::ErrorRate { window: 5 * MINUTE, percent: 20, minimum: 20 },
            Kind::Latency => Self::Latency { window: 10 * MINUTE, p95: 2 * MINUTE, minimum: 20 },
            Kind::Breaker => Self::Breaker,
            Kind::DeadLetters => Self::DeadLetters { window: 60 * MINUTE, count: 1 },
            Kind::QueueAge => Self::QueueAge { age: 15 * MINUTE },
        }
    }
}

/// A rule, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it is called: part of every alert's key.
    pub name: String,
    /// When something is bad.
    pub condition: Condition,
    /// Workspaces that it watches; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<Workspace>,
    /// Channels that are told; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
    /// When it is over, and when it is said again.
    pub timing: Timing,
}

impl Rule {
    /// A rule with what counts where settings say nothing.
    pub fn default_of(kind: Kind) -> Self {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let severity = match kind {
            Kind::ErrorRate | Kind::DeadLetters => Severity::Error,
            _ => Severity::Warning,
        };
        // A limit's window ends at a known time, and until then nothing changes.
        let timing = match kind {
            Kind::Budget => Timing { hold: Duration::ZERO, remind: None },
            _ => Timing { hold: minutes(2), remind: Some(minutes(240)) },
        };
        Self {
            name: kind.as_str().replace('_', "-"),
            condition: Condition::default_of(kind),
            workspaces: Vec::new(),
            channels: Vec::new(),
            severity,
            timing,
        }
    }

    /// Whether it watches this workspace.
    pub fn watches(&self, workspace: &Workspace) -> bool {
        self.workspaces.is_empty() || self.workspaces.contains(workspace)
    }
}

/// The rules that hold while settings name none: one of each kind.
pub fn defaults() -> Vec<Rule> {
    Kind::ALL.map(Rule::default_of).into()
}
