//! What has been seen of one subject, and how it looks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::{Condition, Sketch, Verdict};
use crate::event::{Crossed, Level};
use crate::model::NanoUsd;
use crate::time::{format_duration, millis};
use crate::{Timestamp, Workspace};

/// A window is counted in so many parts, and what is in it includes the part that has just begun: so it covers from
/// 90 to 100 % of the time it is named by.
const PARTS: u64 = 10;

/// The same for spending, where many windows are kept.
const SPEND_PARTS: u64 = 4;

/// Windows of spending that must have been seen before anything is unusual.
const LEAST_BASELINE: u64 = 3;

/// What is good again lies below this share of the threshold, in percent.
const GOOD_PERCENT: u128 = 80;

/// A limit that never starts anew is forgotten after this long.
const FORGET_LIMIT: Duration = Duration::from_secs(30 * 86_400);

/// What is counted in parts of time, by the number of the part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Parts<T>(BTreeMap<u64, T>);

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Default> Parts<T> {
    fn slot(&mut self, width: u64, at: Timestamp) -> &mut T {
        self.0.entry(at.0 / width).or_default()
    }

    /// The `count` parts that end with that of `now`, `back` parts earlier.
    fn latest(&self, width: u64, now: Timestamp, count: u64, back: u64) -> impl Iterator<Item = &T> {
        let end = (now.0 / width + 1).saturating_sub(back);
        self.0.range(end.saturating_sub(count)..end).map(|(_, value)| value)
    }

    fn forget(&mut self, width: u64, now: Timestamp, keep: u64) {
        let first = (now.0 / width + 1).saturating_sub(keep);
        self.0.retain(|part, _| *part >= first);
    }
}

fn width(window: Duration, parts: u64) -> u64 {
    (millis(window) / parts).max(1)
}

/// How many there were, and how many of them were bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    all: u64,
    bad: u64,
}

/// What has been seen of one subject under one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Measure {
    Counts(Parts<Count>),
    Times(Parts<Sketch>),
    Spend { parts: Parts<u64>, first: Timestamp },
    Limit(Crossed, Timestamp),
    Circuit(Option<String>),
    Queue { age_ms: u64, messages: u64 },
}

/// Figures by name, and the line that says them.
pub(super) struct Words {
    pub(super) line: String,
    pub(super) details: BTreeMap<String, String>,
}

impl Measure {
    /// Nothing seen yet.
    pub(super) fn empty(condition: &Condition, now: Timestamp) -> Option<Self> {
        Some(match condition {
            Condition::ErrorRate { .. } | Condition::DeadLetters { .. } => Self::Counts(Parts::default()),
            Condition::Latency { .. } => Self::Times(Parts::default()),
            Condition::Spend { .. } => Self::Spend { parts: Parts::default(), first: now },
            Condition::Breaker => Self::Circuit(None),
            Condition::QueueAge { .. } => Self::Queue { age_ms: 0, messages: 0 },
            // Only a crossing says which limit it is.
            Condition::Budget => return None,
        })
    }

    pub(super) fn count(&mut self, condition: &Condition, all: u64, bad: u64, at: Timestamp) {
        let (Condition::ErrorRate { window, .. } | Condition::DeadLetters { window, .. }) = condition else {
            return;
        };
        if let Self::Counts(parts) = self {
            let slot = parts.slot(width(*window, PARTS), at);
            *slot = Count { all: slot.all.saturating_add(all), bad: slot.bad.saturating_add(bad) };
        }
    }

    pub(super) fn time(&mut self, condition: &Condition, total_ms: u64, at: Timestamp) {
        if let (Self::Times(parts), Condition::Latency { window, .. }) = (self, condition) {
            parts.slot(width(*window, PARTS), at).add(total_ms);
        }
    }

    pub(super) fn spend(&mut self, condition: &Condition, cost: NanoUsd, at: Timestamp) {
        if let (Self::Spend { parts, .. }, Condition::Spend { window, .. }) = (self, condition) {
            let slot = parts.slot(width(*window, SPEND_PARTS), at);
            *slot = slot.saturating_add(cost.0);
        }
    }

    /// Forgets what no longer counts. False: nothing is left to remember.
    pub(super) fn forget(&mut self, condition: &Condition, now: Timestamp) -> bool {
        match (self, condition) {
            (
                Self::Counts(parts),
                Condition::ErrorRate { window, .. } | Condition::DeadLetters { window, .. },
            ) => {
                parts.forget(width(*window, PARTS), now, PARTS);
                !parts.0.is_empty()
            }
            (Self::Times(parts), Condition::Latency { window, .. }) => {
                parts.forget(width(*window, PARTS), now, PARTS);
                !parts.0.is_empty()
            }
            (Self::Spend { parts, .. }, Condition::Spend { window, baseline, .. }) => {
                parts.forget(width(*window, SPEND_PARTS), now, SPEND_PARTS * (u64::from(*baseline) + 1));
                !parts.0.is_empty()
            }
            (Self::Limit(crossed, at), _) => match crossed.resets_at {
                Some(end) => now < end,
                None => now.since(*at) < FORGET_LIMIT,
            },
            (Self::Circuit(open), _) => open.is_some(),
            (Self::Queue { age_ms, .. }, _) => *age_ms > 0,
            _ => false,
        }
    }

    /// Whether it is a limit whose window never ends, so that nothing says when its alert is over.
    pub(super) fn is_endless(&self) -> bool {
        matches!(self, Self::Limit(crossed, _) if crossed.resets_at.is_none())
    }

    /// How it looks.
    pub(super) fn verdict(&self, condition: &Condition, now: Timestamp) -> Verdict {
        match (self, condition) {
            (Self::Counts(parts), Condition::ErrorRate { window, percent, minimum }) => {
                let Count { all, bad } = sum(parts, *window, now);
                let (is, limit) = (u128::from(bad) * 100, u128::from(all) * u128::from(*percent));
                banded(all >= *minimum && is >= limit && bad > 0, bad == 0 || is * 100 < limit * GOOD_PERCENT)
            }
            (Self::Counts(parts), Condition::DeadLetters { window, count }) => {
                let bad = sum(parts, *window, now).bad;
                banded(bad >= *count, bad == 0)
            }
            (Self::Times(parts), Condition::Latency { window, p95, minimum }) => {
                let sketch = merged(parts, *window, now);
                let (is, limit) = (u128::from(sketch.quantile(95).unwrap_or(0)), u128::from(millis(*p95)));
                banded(sketch.count() >= *minimum && is > limit, is * 100 <= limit * GOOD_PERCENT)
            }
            (spend @ Self::Spend { .. }, Condition::Spend { multiple, minimum, .. }) => {
                let Some((is, usual)) = spend.spending(condition, now) else { return Verdict::Good };
                let limit = u128::from(usual) * u128::from(*multiple);
                let (is, least) = (u128::from(is), u128::from(minimum.0));
                let good = is * 100 < limit * GOOD_PERCENT || is * 100 < least * GOOD_PERCENT || is == 0;
                banded(is > limit && is >= least, good)
            }
            (Self::Limit(crossed, _), _) => {
                banded(true, false).or_good(crossed.resets_at.is_some_and(|end| now >= end))
            }
            (Self::Circuit(open), _) => banded(open.is_some(), open.is_none()),
            (Self::Queue { age_ms, .. }, Condition::QueueAge { age }) => {
                let (is, limit) = (u128::from(*age_ms), u128::from(millis(*age)));
                banded(is > limit, is * 100 <= limit * GOOD_PERCENT)
            }
            _ => Verdict::Good,
        }
    }

    /// What was spent in the window, and the mean of the windows before. None: too little is known of those.
    fn spending(&self, condition: &Condition, now: Timestamp) -> Option<(u64, u64)> {
        let (Self::Spend { parts, first }, Condition::Spend { window, baseline, .. }) = (self, condition)
        else {
            return None;
        };
        let width = width(*window, SPEND_PARTS);
        let known = (now.0 / width).saturating_sub(first.0 / width) / SPEND_PARTS;
        let known = known.saturating_sub(u64::from(known > 0)).min(u64::from(*baseline));
        if known < LEAST_BASELINE.min(u64::from(*baseline)).max(1) {
            return None;
        }
        let total = |count, back| {
            parts.latest(width, now, count, back).fold(0_u64, |sum, part| sum.saturating_add(*part))
        };
        Some((total(SPEND_PARTS, 0), total(SPEND_PARTS * known, SPEND_PARTS) / known))
    }

    /// What is said of it.
    pub(super) fn words(&self, condition: &Condition, subject: &str, now: Timestamp) -> Words {
        let (line, details) = match (self, condition) {
            (Self::Counts(parts), Condition::ErrorRate { window, percent, .. }) => {
                failures(sum(parts, *window, now), subject, *window, *percent)
            }
            (Self::Counts(parts), Condition::DeadLetters { window, .. }) => {
                let bad = sum(parts, *window, now).bad;
                let within = format_duration(*window);
                (
                    format!("{subject}: {bad} messages were put aside within {within}"),
                    vec![("dead_letters", bad.to_string()), ("window", within)],
                )
            }
            (Self::Times(parts), Condition::Latency { window, p95, .. }) => {
                slowness(&merged(parts, *window, now), subject, *window, *p95)
            }
            (spend @ Self::Spend { .. }, Condition::Spend { window, .. }) => {
                let (is, usual) = spend.spending(condition, now).unwrap_or_default();
                let (is, usual, within) = (NanoUsd(is), NanoUsd(usual), format_duration(*window));
                (
                    format!("{subject}: {is} were spent within {within}, where {usual} are usual"),
                    vec![("spent", is.to_string()), ("usual", usual.to_string()), ("window", within)],
                )
            }
            (Self::Limit(crossed, _), _) => limit(crossed, subject),
            (Self::Circuit(open), _) => {
                let state = if open.is_some() { "open" } else { "closed" };
                let reason = open.iter().map(|reason| ("reason", reason.clone()));
                (
                    format!("target {subject}: its circuit is {state}"),
                    [("circuit", state.to_owned())].into_iter().chain(reason).collect(),
                )
            }
            (Self::Queue { age_ms, messages }, _) => {
                let age = format_duration(Duration::from_secs(age_ms / 1000));
                (
                    format!("stream {subject}: the oldest of {messages} messages is {age} old"),
                    vec![("age", age), ("messages", messages.to_string())],
                )
            }
            _ => (subject.to_owned(), Vec::new()),
        };
        Words { line, details: details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
    }

    /// Who is to be told besides.
    pub(super) fn emails(&self) -> Vec<String> {
        match self {
            Self::Limit(crossed, _) => crossed.emails.clone(),
            _ => Vec::new(),
        }
    }
}

impl Verdict {
    fn or_good(self, good: bool) -> Self {
        if good { Self::Good } else { self }
    }
}

fn banded(bad: bool, good: bool) -> Verdict {
    match (bad, good) {
        (true, _) => Verdict::Bad,
        (false, true) => Verdict::Good,
        (false, false) => Verdict::Between,
    }
}

fn sum(parts: &Parts<Count>, window: Duration, now: Timestamp) -> Count {
    parts
        .latest(width(window, PARTS), now, PARTS, 0)
        .fold(Count::default(), |sum, part| Count { all: sum.all + part.all, bad: sum.bad + part.bad })
}

fn merged(parts: &Parts<Sketch>, window: Duration, now: Timestamp) -> Sketch {
    let mut all = Sketch::default();
    parts.latest(width(window, PARTS), now, PARTS, 0).for_each(|part| all.merge(part));
    all
}

type Said = (String, Vec<(&'static str, String)>);

fn failures(Count { all, bad }: Count, subject: &str, window: Duration, percent: u8) -> Said {
    let within = format_duration(window);
    let share = if all == 0 { 0 } else { u128::from(bad) * 100 / u128::from(all) };
    let line = format!("{subject}: {bad} of {all} requests failed within {within} ({share} %)");
    let details = vec![
        ("requests", all.to_string()),
        ("failures", bad.to_string()),
        ("threshold", format!("{percent} %")),
        ("window", within),
    ];
    (line, details)
}

fn slowness(sketch: &Sketch, subject: &str, window: Duration, threshold: Duration) -> Said {
    let (within, count) = (format_duration(window), sketch.count());
    let p95 = format_duration(Duration::from_millis(sketch.quantile(95).unwrap_or(0)));
    let line = format!("{subject}: one in twenty of {count} answers took {p95} or more within {within}");
    let details = vec![
        ("answers", count.to_string()),
        ("p95", p95),
        ("threshold", format_duration(threshold)),
        ("window", within),
    ];
    (line, details)
}

fn limit(crossed: &Crossed, subject: &str) -> Said {
    let Crossed { level, unit, used, cap, .. } = crossed;
    let amount = |n: u64| if unit == "cost" { NanoUsd(n).to_string() } else { format!("{n} {unit}") };
    let (used, cap) = (amount(*used), amount(*cap));
    let how = match level {
        Level::Threshold => "is used up to its threshold",
        Level::Exhausted => "is used up",
    };
    let line = format!("limit {subject} {how}: {used} of {cap}");
    let level = if *level == Level::Exhausted { "exhausted" } else { "threshold" };
    (line, vec![("level", level.to_owned()), ("used", used), ("cap", cap)])
}

/// The subject of a limit: its workspace, its name, and its bucket if it has several.
pub(super) fn limit_subject(workspace: &Workspace, crossed: &Crossed) -> String {
    let bucket = if crossed.bucket.is_empty() { String::new() } else { format!(" [{}]", crossed.bucket) };
    format!("{workspace}/{}{bucket}", crossed.limit)
}
