//! Limits: what is counted, over which time, and what is left of it.
//!
//! A [`Limit`] caps one [`Unit`] over a [`Window`]. What it has counted lies in [`Account`]s, one per bucket of the
//! limit and window: a record that routers change by compare-and-set. A router takes a part of what is left for
//! itself, a grant, and admits from it without asking anybody; so the sum of what is used and granted never exceeds
//! the cap, however many routers there are.

mod account;
mod local;
mod window;
mod worst;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use account::{Account, Amounts, Change, Given, Grant, Outstanding, Settled};
pub use local::{Local, Take};
pub use window::{Reset, Slot, Window};
pub use worst::{Asked, Worst, worst};

use crate::model::NanoUsd;
use crate::operation::{UnknownWord, words};
use crate::{Attempt, ErrorClass, Timestamp};

words! {
    /// What a limit counts.
    Unit, "unit" {
        /// Nano-USD.
        Cost = "cost",
        /// Tokens of prompt and answer.
        Tokens = "tokens",
        /// Tokens of the prompt.
        InputTokens = "input_tokens",
        /// Tokens of the answer.
        OutputTokens = "output_tokens",
        /// Requests, or calls where the limit is a target's.
        Requests = "requests",
        /// Calls under way at one time.
        Concurrent = "concurrent",
    }
}

words! {
    /// Whose limit it is, which says in what order limits are looked at and what a refusal says.
    Level, "level" {
        /// An API key's.
        ApiKey = "apikey",
        /// A workspace's.
        Workspace = "workspace",
        /// A virtual key's.
        VirtualKey = "virtualkey",
        /// A policy's.
        Policy = "policy",
    }
}

words! {
    /// What happens to requests while nobody can say how much is left.
    Unreachable, "choice" {
        /// They go on, uncounted.
        Open = "open",
        /// They are refused.
        Closed = "closed",
    }
}

/// Code of an attempt that a limit left no room for, where that leads a fallback on whatever statuses it lists.
pub const LEADS_ON: &str = "limit_leads_on";

/// A cap on what may be used over some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Whose it is.
    pub level: Level,
    /// Which one, as in `ab12` for an API key or `acme.openai-prod` for a virtual key.
    pub owner: String,
    /// What is counted.
    pub unit: Unit,
    /// Over which time.
    pub window: Window,
    /// The most that may be used: nano-USD, tokens, requests or calls.
    pub cap: u64,
    /// From here on somebody wants to hear of it, in the unit of `cap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_at: Option<u64>,
    /// Nothing is refused: it is counted and told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub soft: bool,
    /// What happens while the count cannot be reached.
    pub unreachable: Unreachable,
    /// Who is told about it, beside those who hear of everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<String>,
}

impl Limit {
    /// Its name, the same for as long as it counts the same thing: `apikey.ab12.cost.monthly`.
    pub fn name(&self) -> String {
        format!("{}.{}.{}.{}", self.level, self.owner, self.unit, self.window)
    }

    /// A budget: what may be used up over a long time. The others are rates.
    pub fn is_budget(&self) -> bool {
        matches!(self.window, Window::Fixed(_))
    }
}

/// One of the counts that a limit keeps: a limit that groups by something has one per distinct value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The limit.
    pub limit: Arc<Limit>,
    /// What tells it from the others, as in `metadata.team=red`; empty: there is one.
    pub tuple: String,
}

impl Bucket {
    /// Text that names the bucket alone among all.
    pub fn key(&self) -> String {
        if self.tuple.is_empty() {
            self.limit.name()
        } else {
            format!("{}/{}", self.limit.name(), self.tuple)
        }
    }
}

/// An amount that a router set aside for a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Key of the bucket.
    pub bucket: String,
    /// The time it counts for.
    pub slot: Slot,
    /// What is counted.
    pub unit: Unit,
    /// How much: the most that the call can use. Nothing for a limit that only counts.
    pub amount: u64,
    /// The limit only counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub soft: bool,
}

/// What was set aside for a call, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The router, by the name it holds grants under.
    pub by: String,
    /// The amounts.
    pub held: Vec<Held>,
}

impl Held {
    /// What of the amount a finished attempt used.
    ///
    /// What the provider reported counts. A call that may have been paid for although nobody saw what it used counts
    /// with all that was set aside: no budget is exceeded by what is not known. One that was never made, or that the
    /// provider refused, counts nothing.
    pub fn used_by(&self, attempt: &Attempt) -> u64 {
        let known = match self.unit {
            Unit::Concurrent => return 0,
            Unit::Requests => return u64::from(was_made(attempt)),
            Unit::Cost => attempt.cost.map(|NanoUsd(nano)| nano),
            Unit::Tokens => attempt.usage.map(|usage| usage.total()),
            Unit::InputTokens => attempt.usage.map(|usage| usage.input),
            Unit::OutputTokens => attempt.usage.map(|usage| usage.output),
        };
        // What was counted by ourselves of an answer that broke off says too little: more may have been written.
        let guessed = attempt.estimated && attempt.error.is_some();
        match known.filter(|_| !guessed) {
            Some(used) => used,
            None if may_have_cost(attempt) => self.amount,
            None => 0,
        }
    }
}

/// Whether the provider may have been called.
fn was_made(attempt: &Attempt) -> bool {
    use ErrorClass::{Limited, Misconfigured, QueueFull, Shutdown, Unreachable, Unsupported, Unusable};
    !matches!(
        attempt.error,
        Some(Limited | Misconfigured | QueueFull | Shutdown | Unreachable | Unsupported | Unusable)
    )
}

/// Whether an attempt without counts may have cost something.
fn may_have_cost(attempt: &Attempt) -> bool {
    use ErrorClass::{Broken, Cancelled, Deadline, InvalidAnswer, Lost, Timeout};
    match attempt.error {
        None => true,
        Some(Lost | Broken | Cancelled | Deadline | InvalidAnswer) => true,
        // A status of 408 is the provider's own word when it has none of ours.
        Some(Timeout) => true,
        Some(_) => false,
    }
}

/// Why a request may not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The bucket that has too little left.
    pub bucket: Bucket,
    /// What is wanted.
    pub wanted: u64,
    /// What is left.
    pub left: u64,
    /// When there may be enough. None: never, or nobody can say.
    pub opens_at: Option<Timestamp>,
    /// Calls under way may give some back before.
    pub in_use: bool,
}

/// A limit as people read it.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Cost => write!(f, "{}", NanoUsd(self.cap))?,
            unit => write!(f, "{} {}", self.cap, unit.as_str().replace('_', " "))?,
        }
        match self.window {
            Window::Fixed(Reset::Never) => f.write_str(" in all"),
            Window::Held => f.write_str(" calls"),
            window => write!(f, " {window}"),
        }
    }
}

/// How long a period is written in limits, as in `rpm`.
pub const PERIODS: &[(&str, Duration)] = &[
    ("rps", Duration::from_secs(1)),
    ("rpm", Duration::from_secs(60)),
    ("rph", Duration::from_secs(3600)),
    ("rpd", Duration::from_secs(86_400)),
    ("rpw", Duration::from_secs(7 * 86_400)),
];
