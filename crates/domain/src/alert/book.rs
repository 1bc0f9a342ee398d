//! What has been seen of all subjects under all rules, and which alerts are raised.
//!
//! It can be written down at any moment and read again: whoever goes on with it says the same as whoever wrote it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::alert::measure::{Measure, limit_subject};
use crate::alert::{
    Change, Condition, Firing, Levels, Notice, Observation, Rule, Severity, Verdict, alert_key, notice_id,
    step,
};
use crate::event::Crossed;
use crate::{Timestamp, Workspace};

/// Subjects that are kept for each rule; beyond them what was longest ago is forgotten, unless it has an alert.
pub const MOST_SUBJECTS: usize = 500;

/// While events are read, rules are judged anew when this many milliseconds lie between two of them: so an alert that
/// was due while nobody looked is found, too.
const GRAIN_MS: u64 = 1000;

/// The subject of what belongs to no workspace.
const GATEWAY: &str = "gateway";

/// Everything that rules remember.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    rules: BTreeMap<String, Kept>,
    judged: Timestamp,
    /// Sequence of the newest dead letter that was counted. None: none has been looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dead_letters: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    rule: Rule,
    subjects: BTreeMap<String, Watched>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Watched {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workspace: Option<Workspace>,
    measure: Measure,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    firing: Option<Firing>,
    seen: Timestamp,
}

/// A rule and one subject that has an alert, as they are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The rule.
    pub rule: Rule,
    /// What has an alert. None: nothing has.
    pub subject: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// What is said of it.
    pub summary: Option<String>,
}

impl Book {
    /// Goes on with these rules. Alerts of rules that are gone, or watch something else now, are over.
    pub fn adopt(&mut self, rules: &[Rule], now: Timestamp) -> Vec<Notice> {
        let (mut before, mut notices) = (std::mem::take(&mut self.rules), Vec::new());
        for rule in rules {
            let mut kept = Kept { rule: rule.clone(), subjects: BTreeMap::new() };
            let same_kind = |old: &Kept| old.rule.condition.kind() == rule.condition.kind();
            if let Some(old) = before.get(&rule.name).filter(|old| same_kind(old)) {
                kept.subjects = old.subjects.clone();
                if old.rule.condition != rule.condition {
                    kept.subjects.retain(|_, watched| watched.firing.is_some());
                    kept.subjects.values_mut().for_each(|watched| {
                        if let Some(empty) = Measure::empty(&rule.condition, now) {
                            watched.measure = empty;
                        }
                    });
                }
                before.remove(&rule.name);
            }
            self.rules.insert(rule.name.clone(), kept);
        }
        for old in before.into_values() {
            for (subject, watched) in &old.subjects {
                if let Some(firing) = watched.firing {
                    notices.push(old.rule.notice(subject, watched, firing, Change::Recovered, now));
                }
            }
        }
        notices
    }

    /// Takes in what an event said at this time; what is due by then is said first.
    pub fn observe(&mut self, observation: &Observation, at: Timestamp) -> Vec<Notice> {
        let mut notices = Vec::new();
        if at.0 >= self.judged.0.saturating_add(GRAIN_MS) {
            notices = self.judge(at);
        }
        for kept in self.rules.values_mut() {
            notices.extend(kept.take(observation, at));
        }
        notices
    }

    /// Takes in how things are now, and says what is due.
    pub fn tick(&mut self, levels: &Levels, now: Timestamp) -> Vec<Notice> {
        let fresh = self.dead_letters.map_or(0, |seen| levels.dead_letters.saturating_sub(seen));
        self.dead_letters = Some(levels.dead_letters);
        for kept in self.rules.values_mut() {
            kept.level(levels, fresh, now);
        }
        self.judge(now)
    }

    fn judge(&mut self, now: Timestamp) -> Vec<Notice> {
        // Clocks that step back change nothing.
        let now = now.max(self.judged);
        self.judged = now;
        self.rules.values_mut().flat_map(|kept| kept.judge(now)).collect()
    }

    /// Subjects that have an alert, by rule.
    pub fn firing(&self) -> BTreeMap<&str, usize> {
        let count = |kept: &Kept| kept.subjects.values().filter(|w| w.firing.is_some()).count();
        self.rules.iter().map(|(name, kept)| (name.as_str(), count(kept))).collect()
    }

    /// All rules, each with what has an alert.
    pub fn shown(&self) -> Vec<Shown> {
        self.rules.values().flat_map(|kept| kept.shown(self.judged)).collect()
    }

    /// Forgets the half of each rule's subjects that was seen longest ago and has no alert: where there is no room.
    pub fn shrink(&mut self) {
        for kept in self.rules.values_mut() {
            let most = kept.subjects.len() / 2;
            while kept.subjects.len() > most && kept.forget_one() {}
        }
    }
}

impl Kept {
    fn take(&mut self, observation: &Observation, at: Timestamp) -> Option<Notice> {
        let condition = self.rule.condition.clone();
        match observation {
            Observation::Ended { workspace, failed, total_ms } => {
                let (bad, total) = (u64::from(*failed), *total_ms);
                match (&condition, total) {
                    (Condition::ErrorRate { .. }, _) => {
                        self.of(workspace, at)?.measure.count(&condition, 1, bad, at);
                    }
                    (Condition::Latency { .. }, Some(total)) => {
                        self.of(workspace, at)?.measure.time(&condition, total, at);
                    }
                    _ => {}
                }
            }
            Observation::Spent { workspace, cost } if matches!(condition, Condition::Spend { .. }) => {
                self.of(workspace, at)?.measure.spend(&condition, *cost, at);
            }
            // A rule for all counts what lies in the stream, which has those that no event tells of.
            Observation::DeadLetter { workspace } if !self.rule.workspaces.is_empty() => {
                if matches!(condition, Condition::DeadLetters { .. }) {
                    self.of(workspace, at)?.measure.count(&condition, 1, 1, at);
                }
            }
            Observation::Crossed { workspace, crossed } if condition == Condition::Budget => {
                return self.cross(workspace, crossed, at);
            }
            _ => {}
        }
        None
    }

    /// What is kept of a workspace that the rule watches.
    fn of(&mut self, workspace: &Workspace, at: Timestamp) -> Option<&mut Watched> {
        if !self.rule.watches(workspace) {
            return None;
        }
        self.subject(workspace.as_str(), Some(workspace.clone()), at)
    }

    fn subject(&mut self, name: &str, workspace: Option<Workspace>, at: Timestamp) -> Option<&mut Watched> {
        if !self.subjects.contains_key(name) {
            let measure = Measure::empty(&self.rule.condition, at)?;
            self.insert(name, Watched { workspace, measure, firing: None, seen: at });
        }
        let watched = self.subjects.get_mut(name)?;
        watched.seen = watched.seen.max(at);
        Some(watched)
    }

    fn insert(&mut self, name: &str, watched: Watched) {
        if self.subjects.len() < MOST_SUBJECTS || self.forget_one() {
            self.subjects.insert(name.to_owned(), watched);
        }
    }

    /// Forgets what was seen longest ago. False: everything has an alert.
    fn forget_one(&mut self) -> bool {
        let quiet = self.subjects.iter().filter(|(_, watched)| watched.firing.is_none());
        let oldest = quiet.min_by_key(|(_, watched)| watched.seen).map(|(name, _)| name.clone());
        oldest.is_some_and(|name| self.subjects.remove(&name).is_some())
    }

    /// A limit was crossed: said at once, for its window may end before anybody looks again. What is known of the same
    /// window already is not said again.
    fn cross(&mut self, workspace: &Workspace, crossed: &Crossed, at: Timestamp) -> Option<Notice> {
        if !self.rule.watches(workspace) || crossed.resets_at.is_some_and(|end| end <= at) {
            return None;
        }
        let subject = limit_subject(workspace, crossed);
        if let Some(Watched { measure: Measure::Limit(known, _), .. }) = self.subjects.get(&subject)
            && known.resets_at == crossed.resets_at
            && known.level >= crossed.level
        {
            return None;
        }
        let (firing, change) = step(None, Verdict::Bad, self.rule.timing, at);
        let measure = Measure::Limit(crossed.clone(), at);
        let watched = Watched { workspace: Some(workspace.clone()), measure, firing, seen: at };
        let notice = firing.zip(change).map(|(firing, change)| {
            let notice = self.rule.notice(&subject, &watched, firing, change, at);
            let critical = crossed.level == crate::event::Level::Exhausted;
            let severity = if critical { worse(notice.severity) } else { notice.severity };
            Notice { severity, ..notice }
        });
        self.subjects.remove(&subject);
        self.insert(&subject, watched);
        notice
    }

    fn level(&mut self, levels: &Levels, dead_letters: u64, now: Timestamp) {
        let condition = self.rule.condition.clone();
        match condition {
            Condition::Breaker => {
                let known: BTreeSet<&str> = levels.breakers.iter().map(|b| b.target.as_str()).collect();
                for breaker in &levels.breakers {
                    let workspace = breaker.target.split('/').next().and_then(|w| Workspace::parse(w).ok());
                    let watched = workspace.as_ref().is_none_or(|w| self.rule.watches(w));
                    if watched && (breaker.open.is_some() || self.subjects.contains_key(&breaker.target)) {
                        let measure = Measure::Circuit(breaker.open.clone());
                        self.set(&breaker.target, workspace, measure, now);
                    }
                }
                self.clear(&known, &Measure::Circuit(None));
            }
            Condition::QueueAge { .. } => {
                let known: BTreeSet<&str> = levels.queues.iter().map(|q| q.stream.as_str()).collect();
                for queue in &levels.queues {
                    let (age_ms, messages) = (crate::time::millis(queue.age), queue.messages);
                    self.set(&queue.stream, None, Measure::Queue { age_ms, messages }, now);
                }
                self.clear(&known, &Measure::Queue { age_ms: 0, messages: 0 });
            }
            Condition::DeadLetters { .. } if self.rule.workspaces.is_empty() && dead_letters > 0 => {
                if let Some(watched) = self.subject(GATEWAY, None, now) {
                    watched.measure.count(&condition, dead_letters, dead_letters, now);
                }
            }
            _ => {}
        }
    }

    fn set(&mut self, subject: &str, workspace: Option<Workspace>, measure: Measure, now: Timestamp) {
        if let Some(watched) = self.subject(subject, workspace, now) {
            watched.measure = measure;
        }
    }

    /// What is not there any more is as good as can be.
    fn clear(&mut self, known: &BTreeSet<&str>, good: &Measure) {
        for (_, watched) in self.subjects.iter_mut().filter(|(name, _)| !known.contains(name.as_str())) {
            watched.measure = good.clone();
        }
    }

    fn judge(&mut self, now: Timestamp) -> Vec<Notice> {
        let (rule, mut notices) = (&self.rule, Vec::new());
        self.subjects.retain(|subject, watched| {
            let verdict = watched.measure.verdict(&rule.condition, now);
            let before = watched.firing;
            let (firing, change) = step(before, verdict, rule.timing, now);
            if let (Some(change), Some(told)) = (change, firing.or(before)) {
                notices.push(rule.notice(subject, watched, told, change, now));
            }
            watched.firing = firing;
            // A limit without end that has been forgotten takes its alert along.
            let remembered = watched.measure.forget(&rule.condition, now);
            remembered || firing.is_some() && !watched.measure.is_endless()
        });
        notices
    }

    fn shown(&self, now: Timestamp) -> Vec<Shown> {
        let firing = self.subjects.iter().filter_map(|(subject, watched)| {
            let since = watched.firing?.since;
            let words = watched.measure.words(&self.rule.condition, subject, now);
            Some(Shown {
                rule: self.rule.clone(),
                subject: Some(subject.clone()),
                since: Some(since),
                summary: Some(words.line),
            })
        });
        let found: Vec<Shown> = firing.collect();
        if found.is_empty() {
            return vec![Shown { rule: self.rule.clone(), subject: None, since: None, summary: None }];
        }
        found
    }
}

/// A limit that is used up is at least an error.
fn worse(severity: Severity) -> Severity {
    match severity {
        Severity::Warning | Severity::Info => Severity::Error,
        severe => severe,
    }
}

impl Rule {
    fn notice(
        &self,
        subject: &str,
        watched: &Watched,
        firing: Firing,
        change: Change,
        now: Timestamp,
    ) -> Notice {
        let words = watched.measure.words(&self.condition, subject, now);
        let key = alert_key(&self.name, subject);
        let summary = match change {
            Change::Raised | Change::Test => words.line,
            Change::Reminded => format!("still: {}", words.line),
            Change::Recovered => format!("over: {}", words.line),
        };
        Notice {
            id: notice_id(&key, firing.since, change, now),
            key,
            change,
            rule: self.name.clone(),
            kind: self.condition.kind(),
            severity: self.severity,
            subject: subject.to_owned(),
            workspace: watched.workspace.clone(),
            at: now,
            since: firing.since,
            summary,
            details: words.details,
            channels: self.channels.clone(),
            emails: watched.measure.emails(),
        }
    }
}
