//! The history replayed over the tree: what was tried decides, and today's view only about what comes next.

use std::time::Duration;

use super::choice::{self, NoChild, Over, is_at, unit};
use super::reason::{By, Reason};
use super::{Callee, MOST_LOST, MOST_SHUTDOWN, OnLost, Refusal, View, effective_status, is_below, models};
use crate::config::choose::MOST_MODELS;
use crate::config::{Choose, Group, Node, Strategy, Target, retry};
use crate::facts::RequestFacts;
use crate::fault::{Fault, fault_of};
use crate::health::Availability;
use crate::limit;
use crate::quota;
use crate::{Attempt, ErrorClass, Timestamp};

pub(super) enum Walked<'a> {
    Call {
        target: Callee<'a>,
        after: Duration,
    },
    /// This part of the tree has nothing more to try; its last attempt, if it made one.
    Done(Option<usize>),
    /// The request cannot be routed at all.
    Refused(Refusal),
}

pub(super) struct Replay<'r, 'a> {
    pub(super) facts: &'r RequestFacts<'r>,
    pub(super) attempts: &'r [Attempt],
    pub(super) view: &'r View<'r>,
    pub(super) why: Vec<Reason<'a>>,
    at: usize,
    retries: u32,
}

/// What leads a fallback group on.
struct Lists<'a> {
    statuses: Option<&'a [u16]>,
    faults: Option<&'a [Fault]>,
}

impl<'r, 'a> Replay<'r, 'a> {
    pub(super) fn new(facts: &'r RequestFacts<'r>, attempts: &'r [Attempt], view: &'r View<'r>) -> Self {
        Self { facts, attempts, view, why: Vec::new(), at: 0, retries: 0 }
    }

    /// `limit` is when the time of the groups above is over.
    pub(super) fn walk(&mut self, node: &'a Node, limit: Timestamp) -> Walked<'a> {
        let group = match node {
            Node::Target(target) => {
                return match &target.choose {
                    None => self.target(Callee::Configured(target), limit),
                    Some(wanted) => self.models(target, wanted, limit),
                };
            }
            Node::Group(group) => group,
        };
        let limit = self.limit(group, limit);
        if let Strategy::Fallback { on_status_codes, on } = &group.strategy {
            let lists = Lists { statuses: on_status_codes.as_deref(), faults: on.as_deref() };
            return self.fallback(group, &lists, limit);
        }
        match self.choose(group) {
            Ok(child) => self.walk(child, limit),
            Err(NoChild::Nothing) => Walked::Done(None),
            Err(NoChild::NoMatch) => Walked::Refused(Refusal::NoMatch),
        }
    }

    fn is_at_end(&self) -> bool {
        self.at == self.attempts.len()
    }

    /// When a group's time is over: counted from the decision about its first attempt.
    fn limit(&self, group: &Group, above: Timestamp) -> Timestamp {
        let first = self.attempts.get(self.at).filter(|a| is_below(&a.path, &group.path));
        match (group.time_budget, first) {
            (Some(budget), Some(first)) => {
                let decided = first.started_at.0.saturating_sub(first.queued_ms);
                Timestamp(decided).plus(budget).min(above)
            }
            _ => above,
        }
    }

    fn fallback(&mut self, group: &'a Group, lists: &Lists<'_>, limit: Timestamp) -> Walked<'a> {
        let mut last = None;
        for (place, child) in group.targets.iter().enumerate() {
            // Only what has not been tried depends on today's view.
            if self.is_at_end()
                && let Some(reason) = self.passes(group, place)
            {
                self.why.push(reason);
                continue;
            }
            let mark = self.why.len();
            match self.walk(child, limit) {
                Walked::Done(None) => {}
                Walked::Done(Some(index)) => {
                    last = Some(index);
                    // What follows in the history was decided when it was made: a full queue that a parked request
                    // has forgotten may have led on from here.
                    if self.is_at_end() && self.leads_on(index, lists).is_none() {
                        self.stopped(index);
                        break;
                    }
                }
                end => {
                    self.fell_back(mark, last, lists);
                    return end;
                }
            }
        }
        Walked::Done(last)
    }

    /// Why a child of a fallback group is passed over. None: it is walked, as it can be called or is the best of those
    /// that are left.
    fn passes(&mut self, group: &'a Group, place: usize) -> Option<Reason<'a>> {
        let over = |node: &Node| choice::over(node, self.facts, self.view);
        let child = &group.targets[place];
        let own = over(child)?;
        let least = group.targets[place..].iter().map(over).min().flatten();
        if own == Over::Open && group.targets.iter().all(|n| over(n) == Some(Over::Open)) {
            self.why.push(Reason::BreakerBypassed { group: &group.path });
            return None;
        }
        let best = matches!(own, Over::Full(_)) && least == Some(own);
        (!best).then(|| own.reason(child.path()))
    }

    fn fell_back(&mut self, mark: usize, last: Option<usize>, lists: &Lists<'_>) {
        let Some(index) = last.filter(|index| index + 1 == self.attempts.len()) else { return };
        let Some(by) = self.leads_on(index, lists) else { return };
        let attempt = &self.attempts[index];
        let reason = Reason::FellBack { from: attempt.path.clone(), status: effective_status(attempt), by };
        self.why.insert(mark, reason);
    }

    fn stopped(&mut self, index: usize) {
        let attempt = &self.attempts[index];
        if !attempt.is_success() {
            self.why.push(Reason::Stopped { at: attempt.path.clone(), status: effective_status(attempt) });
        }
    }

    /// What about an attempt leads a fallback group to its next target. None: the group is content with it.
    fn leads_on(&self, index: usize, lists: &Lists<'_>) -> Option<By> {
        let attempt = &self.attempts[index];
        // Nothing was called: that is never the provider's answer.
        if attempt.error == Some(ErrorClass::QueueFull) {
            return Some(By::QueueFull);
        }
        let status = effective_status(attempt);
        if attempt.error == Some(ErrorClass::Limited) && attempt.code.as_deref() == Some(limit::LEADS_ON) {
            return Some(By::Limited);
        }
        if lists.statuses.is_none() && lists.faults.is_none() {
            return (!(200..300).contains(&status)).then_some(By::NoSuccess);
        }
        if lists.statuses.is_some_and(|codes| codes.contains(&status)) {
            return Some(By::Status);
        }
        let fault = fault_of(attempt)?;
        lists.faults.is_some_and(|faults| faults.contains(&fault)).then_some(By::Fault(fault))
    }

    /// The branch that the history took, else the one that today's view leads to.
    fn choose(&mut self, group: &'a Group) -> Result<&'a Node, NoChild> {
        if let Some(next) = self.attempts.get(self.at) {
            let taken = group.targets.iter().find(|child| is_below(&next.path, child.path()));
            return taken.ok_or(NoChild::Nothing);
        }
        choice::child(group, self.facts, self.view, &mut self.why)
    }

    /// One model after the other, as a fallback group does. The paths of the attempts tell which were tried.
    fn models(&mut self, target: &'a Target, wanted: &Choose, limit: Timestamp) -> Walked<'a> {
        let mut tried: Vec<(&str, &str)> = Vec::new();
        let mut last = None;
        while let Some(model) = self.attempts.get(self.at).and_then(|a| models::model_in(&a.path, target)) {
            tried.push(model);
            match self.target(models::callee(target, model), limit) {
                Walked::Done(index) => last = index.or(last),
                end => return end,
            }
        }
        let none = Lists { statuses: None, faults: None };
        let content = last.is_some_and(|index| self.leads_on(index, &none).is_none());
        if !self.is_at_end() || content || tried.len() >= MOST_MODELS {
            return Walked::Done(last);
        }
        let mut ranked = models::rank(target, wanted, self.facts, self.view);
        ranked.retain(|c| !tried.contains(&(c.info.provider.as_str(), c.info.name.as_str())));
        let Some(best) = ranked.first() else {
            self.why.push(Reason::NoModel { target: &target.path });
            return Walked::Done(last);
        };
        self.why.push(Reason::Model { model: best.info.key(), among: ranked.len(), cost: best.cost });
        let mark = self.why.len() - 1;
        let chosen = models::callee(target, (&best.info.provider, &best.info.name));
        match self.target(chosen, limit) {
            Walked::Done(index) => Walked::Done(index.or(last)),
            end => {
                self.fell_back(mark, last, &none);
                end
            }
        }
    }

    /// Takes the attempts at this target from the history, then says whether another one is due.
    fn target(&mut self, target: Callee<'a>, limit: Timestamp) -> Walked<'a> {
        let mut waited = Duration::ZERO;
        self.retries = 0;
        let mut last = None;
        loop {
            let Some(attempt) = self.attempts.get(self.at).filter(|a| a.path == target.path) else {
                // Nothing of this target is left in the history: it is being asked for the first time.
                return match last {
                    None if self.is_at_end() => self.call(target, Duration::ZERO, None, limit),
                    last => Walked::Done(last),
                };
            };
            last = Some(self.at);
            self.at += 1;
            let Some((due, reason)) = self.again(&target, attempt, &mut waited) else {
                return Walked::Done(last);
            };
            if self.attempts.get(self.at).is_some_and(|a| a.path == target.path) {
                continue;
            }
            // The history went on elsewhere, so this target was left although it might have been tried again.
            if !self.is_at_end() {
                return Walked::Done(last);
            }
            self.why.push(reason);
            return self.call(target, due.since(self.view.now), last, limit);
        }
    }

    /// Another attempt at a target, if there is time for it.
    fn call(
        &mut self,
        target: Callee<'a>,
        after: Duration,
        last: Option<usize>,
        limit: Timestamp,
    ) -> Walked<'a> {
        let after = self.when_there_is_room(&target, after, limit);
        if self.view.now.plus(after) >= limit {
            self.why.push(Reason::NoTime { target: target.path.clone(), after });
            return Walked::Done(last);
        }
        if is_at(&target, self.view, Availability::HalfOpen) {
            self.why.push(Reason::Probe { target: target.path.clone() });
        }
        Walked::Call { target, after }
    }

    /// The wait before a call, made longer where that brings room at the provider: never past half of the time that
    /// the request has left since its last attempt. An estimate refuses nothing, so a call that cannot wait is made.
    fn when_there_is_room(&mut self, target: &Target, after: Duration, limit: Timestamp) -> Duration {
        let now = self.view.now;
        let Some(until) = choice::full_until(target, self.facts, self.view) else { return after };
        if now.plus(after) >= until {
            return after;
        }
        let since = self.attempts.last().map_or(self.facts.accepted_at, |attempt| attempt.finished_at);
        let longest = if target.retry.use_retry_after { retry::LONGEST_WAIT } else { quota::MOST_WAIT };
        let latest = since.plus(longest.min(limit.since(since) / 2));
        let apart = quota::SPREAD.mul_f64(unit(self.view.seed, &target.path));
        let due = until.max(now.plus(quota::SHORTEST_WAIT)).plus(apart);
        let target = target.path.clone();
        if due > latest {
            self.why.push(Reason::CalledAllTheSame { target, until });
            return after;
        }
        let after = due.since(now);
        self.why.push(Reason::WaitsForRoom { target, after });
        after
    }

    /// When the same target is to be called again after this attempt, and why; None: it is not.
    fn again(
        &mut self,
        target: &Target,
        attempt: &Attempt,
        waited: &mut Duration,
    ) -> Option<(Timestamp, Reason<'a>)> {
        match attempt.error {
            // No call was made, and nothing changes while we wait.
            Some(ErrorClass::QueueFull | ErrorClass::Limited) => return None,
            Some(ErrorClass::Cancelled | ErrorClass::Deadline) => return None,
            Some(class @ ErrorClass::Lost) => return self.replaces(class, MOST_LOST, attempt),
            Some(class @ ErrorClass::Shutdown) => return self.replaces(class, MOST_SHUTDOWN, attempt),
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
            None => self.backoff(policy, attempt),
        };
        let reason = Reason::Retry { target: attempt.path.clone(), number: self.retries, status };
        Some((attempt.finished_at.plus(wait), reason))
    }

    fn backoff(&self, policy: &retry::Policy, attempt: &Attempt) -> Duration {
        let whole = retry::backoff(self.retries);
        if !policy.jitter {
            return whole;
        }
        let chance = unit(self.view.seed.wrapping_add(u64::from(attempt.number)), &attempt.path);
        Duration::from_millis((crate::time::millis(whole) as f64 * chance) as u64)
    }

    /// An attempt that says nothing about the target is replaced at once, a few times.
    fn replaces(&self, class: ErrorClass, most: usize, attempt: &Attempt) -> Option<(Timestamp, Reason<'a>)> {
        let so_far = self.attempts[..self.at].iter().filter(|a| a.error == Some(class)).count();
        let wanted = class != ErrorClass::Lost || self.view.on_lost == OnLost::Retry;
        let reason = Reason::Replaced { target: attempt.path.clone(), class: class.as_str() };
        (wanted && so_far <= most).then_some((attempt.finished_at, reason))
    }
}
