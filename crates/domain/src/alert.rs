//! Alerts: what is watched, when somebody is to be told, and what is said.
//!
//! A [`Rule`] says what is bad. The [`Book`] keeps what has been seen of each subject (a workspace, a target, a
//! stream, a limit) and decides when an alert is raised, repeated or over: same observations, same notices. Notices
//! go to channels as [`Letter`]s, which are offered again until somebody takes them.

mod book;
mod letter;
mod measure;
mod observation;
mod rule;
mod sketch;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, Workspace};

pub use book::{Book, MOST_SUBJECTS, Shown};
pub use letter::{Answer, Delivery, Letter, Next, next, wait_before};
pub use observation::{Breaker, Levels, Observation, Queue, observations};
pub use rule::{Condition, Rule, defaults};
pub use sketch::Sketch;
pub use state::{Firing, Timing, Verdict, step};

/// What a rule watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Limits of which more is used than somebody wants to hear of.
    Budget,
    /// Spending that is far above what is usual.
    Spend,
    /// The share of requests that fail.
    ErrorRate,
    /// How long requests take.
    Latency,
    /// Circuits that are open.
    Breaker,
    /// Messages that could not be processed.
    DeadLetters,
    /// How long work has been waiting on the broker.
    QueueAge,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Budget,
        Self::Spend,
        Self::ErrorRate,
        Self::Latency,
        Self::Breaker,
        Self::DeadLetters,
        Self::QueueAge,
    ];

    /// The word used in settings and notices.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Spend => "spend",
            Self::ErrorRate => "error_rate",
            Self::Latency => "latency",
            Self::Breaker => "breaker",
            Self::DeadLetters => "dead_letters",
            Self::QueueAge => "queue_age",
        }
    }
}

/// How bad it is, in the words of PagerDuty's Events API v2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody has to get up.
    Critical,
    /// Something is broken.
    Error,
    /// Something is about to break.
    #[default]
    Warning,
    /// Good to know.
    Info,
}

impl Severity {
    /// The word used in settings and notices.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It began, or got worse.
    Raised,
    /// It is still there.
    Reminded,
    /// It is over.
    Recovered,
    /// Somebody tries the channels out.
    Test,
}

impl Change {
    /// The word used in notices.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Reminded => "reminded",
            Self::Recovered => "recovered",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that people are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Names this notice for ever: who gets it twice knows by it. One subject token.
    pub id: String,
    /// Names the alert, the same from its beginning to its end.
    pub key: String,
    /// What became of the alert.
    pub change: Change,
    /// The rule that says so.
    pub rule: String,
    /// What the rule watches.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: a workspace, a target, a stream, a limit.
    pub subject: String,
    /// Whom it belongs to; None: the whole gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Workspace>,
    /// When this was decided.
    pub at: Timestamp,
    /// When the alert was raised.
    pub since: Timestamp,
    /// One line for people.
    pub summary: String,
    /// Figures by name.
    #[serde(default)]
    pub details: BTreeMap<String, String>,
    /// Channels that it goes to; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// Who is to be told by e-mail besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<String>,
}

impl Notice {
    /// A notice by which somebody tries channels out; `random` makes it another one each time.
    pub fn test(channels: Vec<String>, at: Timestamp, random: u64) -> Self {
        let key = "test".to_owned();
        Self {
            id: notice_id(&format!("{key} {random}"), at, Change::Test, at),
            key,
            change: Change::Test,
            rule: "test".to_owned(),
            kind: Kind::ErrorRate,
            severity: Severity::Info,
            subject: "test".to_owned(),
            workspace: None,
            at,
            since: at,
            summary: "This is a test: nothing is wrong.".to_owned(),
            details: BTreeMap::new(),
            channels,
            emails: Vec::new(),
        }
    }
}

/// The id of a notice: made of what it says, so that deciding it again makes the same one.
fn notice_id(key: &str, since: Timestamp, change: Change, at: Timestamp) -> String {
    let text = format!("{key}\n{}\n{change}\n{}", since.0, at.0);
    format!("ntc-{}", crate::event::content_hash(&text))
}

/// The key of an alert: rule and subject, cut to a hash where it would be longer than PagerDuty's 255 characters.
fn alert_key(rule: &str, subject: &str) -> String {
    let key = format!("{rule}/{subject}");
    if key.len() <= 200 { key } else { format!("{rule}/{}", crate::event::content_hash(subject)) }
}
