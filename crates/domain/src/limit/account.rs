//! What one bucket of a limit has counted: the record that all routers share.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Limit, Slot, Unit, Window};
use crate::Timestamp;
use crate::event::Level as Crossing;

/// Amounts by the slots they count for.
pub type Amounts = BTreeMap<Slot, u64>;

/// What one bucket of a limit has counted. Changed by compare-and-set only.
///
/// Used and granted together never exceed the cap, so whoever has a grant may use it without asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Key of the bucket.
    pub bucket: String,
    /// What is counted.
    pub unit: Unit,
    /// Over which time.
    pub window: Window,
    /// What was used and is settled.
    #[serde(default)]
    pub used: Amounts,
    /// What routers have taken for themselves, by their names.
    #[serde(default)]
    pub grants: BTreeMap<String, Grant>,
    /// The window in which somebody was last told of a crossing, and of which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<(Slot, Crossing)>,
}

/// A part of what is left, in one router's hands: what it may yet give out, what it has set aside for calls, and what
/// calls have used since it last wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// How much.
    pub amounts: Amounts,
    /// Everything that finished up to this position of the event stream has been settled.
    pub through: u64,
    /// Counts the router's writes, so that it recognises its last.
    pub write: u64,
}

/// What a router has to say, and what it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Used of the grant, and what of the grant it takes away: less where a call used more than was set aside.
    pub settled: BTreeMap<Slot, Settled>,
    /// Given back.
    pub returned: Amounts,
    /// Wanted now: at least so much, at most so much.
    pub wanted: Option<(u64, u64)>,
    /// Everything that finished up to this position of the event stream is in this change or in one before.
    pub through: u64,
    /// Number of this write of the router's.
    pub write: u64,
}

/// Calls that are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// What they take from the grant.
    pub granted: u64,
    /// What they used.
    pub used: u64,
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Granted on top of what the router had.
    pub granted: u64,
    /// The slot that it counts for.
    pub slot: Slot,
    /// What is left now that nobody has been granted.
    pub left: u64,
    /// What somebody has to be told of.
    pub crossed: Option<Crossing>,
}

/// What a router that is gone leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// Set aside for calls that are not over.
    pub held: Amounts,
    /// Used by calls that are over and that it had not settled.
    pub used: Amounts,
}

impl Account {
    /// A bucket of which nothing is used.
    pub fn new(bucket: &str, limit: &Limit) -> Self {
        Self {
            bucket: bucket.to_owned(),
            unit: limit.unit,
            window: limit.window,
            used: Amounts::new(),
            grants: BTreeMap::new(),
            told: None,
        }
    }

    /// What is used, of what counts now.
    pub fn used(&self, now: Timestamp) -> u64 {
        sum(&self.used, &self.window, now)
    }

    /// What routers have been granted, of what counts now.
    pub fn granted(&self, now: Timestamp) -> u64 {
        self.grants.values().map(|grant| sum(&grant.amounts, &self.window, now)).fold(0, u64::saturating_add)
    }

    /// What is neither used nor granted.
    pub fn left(&self, cap: u64, now: Timestamp) -> u64 {
        cap.saturating_sub(self.used(now)).saturating_sub(self.granted(now))
    }

    /// Takes in what a router says and grants what it wants, or nothing if there is less left than the least of it.
    ///
    /// Of what is left a router gets at most a quarter beyond its need: near the cap grants are as small as the need.
    pub fn apply(&mut self, by: &str, change: &Change, limit: &Limit, now: Timestamp) -> Given {
        let before = self.used(now);
        let grant = self.grants.entry(by.to_owned()).or_default();
        for (slot, settled) in &change.settled {
            take(&mut grant.amounts, *slot, settled.granted);
            add(&mut self.used, *slot, settled.used);
        }
        for (slot, amount) in &change.returned {
            take(&mut grant.amounts, *slot, *amount);
        }
        grant.through = grant.through.max(change.through);
        grant.write = change.write;
        let slot = self.window.slot(now);
        let left = self.left(limit.cap, now);
        let (least, most) = change.wanted.unwrap_or((0, 0));
        let granted = if left >= least { most.min(left / 4).max(least) } else { 0 };
        if let Some(grant) = self.grants.get_mut(by) {
            add(&mut grant.amounts, slot, granted);
        }
        self.forget(now);
        let refused = left < least;
        let crossed = self.crossing(limit, before, refused, now);
        if let Some(crossing) = crossed {
            self.told = Some((slot, crossing));
        }
        Given { granted, slot, left: left - granted, crossed }
    }

    /// A budget that has just been used up to the point that somebody wants to hear of, or wholly.
    fn crossing(&self, limit: &Limit, before: u64, refused: bool, now: Timestamp) -> Option<Crossing> {
        if !limit.is_budget() {
            return None;
        }
        let told = self.told.filter(|(slot, _)| *slot == self.window.slot(now)).map(|(_, level)| level);
        let used = self.used(now);
        let level = if used >= limit.cap || (refused && !limit.soft) {
            Crossing::Exhausted
        } else if limit.alert_at.is_some_and(|at| used >= at && (used > before || told.is_none())) {
            Crossing::Threshold
        } else {
            return None;
        };
        (told < Some(level)).then_some(level)
    }

    /// Settles what a router that is gone has left, as of a position of the event stream.
    ///
    /// A rate counts all that the router had as used: that is over with the period, and asks nobody. Of a budget
    /// exactly what calls used and may yet use stays counted.
    pub fn reclaim(&mut self, by: &str, found: &Outstanding, through: u64) {
        let Some(mut grant) = self.grants.remove(by) else { return };
        if matches!(self.window, Window::Sliding(_)) {
            grant.amounts.iter().for_each(|(slot, amount)| add(&mut self.used, *slot, *amount));
            return;
        }
        found.used.iter().for_each(|(slot, amount)| add(&mut self.used, *slot, *amount));
        if !found.held.is_empty() {
            grant.amounts.clone_from(&found.held);
            grant.through = grant.through.max(through);
            self.grants.insert(by.to_owned(), grant);
        }
    }

    /// When so much may be had. None: never, or nobody can say.
    pub fn opens_at(&self, wanted: u64, cap: u64, now: Timestamp) -> Option<Timestamp> {
        if wanted > cap {
            return None;
        }
        let mut left = self.left(cap, now);
        let mut leaving: BTreeMap<Slot, u64> = BTreeMap::new();
        let all = self.used.iter().chain(self.grants.values().flat_map(|grant| &grant.amounts));
        for (slot, amount) in all.filter(|(slot, _)| self.window.counts(**slot, now)) {
            add(&mut leaving, *slot, *amount);
        }
        for (slot, amount) in leaving {
            if left >= wanted {
                break;
            }
            left = left.saturating_add(amount);
            if left >= wanted {
                return self.window.leaves(slot);
            }
        }
        (left >= wanted).then_some(now)
    }

    /// Drops what counts no more.
    fn forget(&mut self, now: Timestamp) {
        let window = self.window;
        let counts = |slot: &Slot, amount: &mut u64| *amount > 0 && window.counts(*slot, now);
        self.used.retain(counts);
        for grant in self.grants.values_mut() {
            grant.amounts.retain(counts);
        }
    }

    /// Whether a router's write has arrived.
    pub fn has_write(&self, by: &str, write: u64) -> bool {
        self.grants.get(by).is_some_and(|grant| grant.write >= write)
    }

    /// Nothing is used. What routers have been granted stays.
    pub fn reset(&mut self) {
        self.used.clear();
        self.told = None;
    }
}

fn sum(amounts: &Amounts, window: &Window, now: Timestamp) -> u64 {
    let counting = amounts.iter().filter(|(slot, _)| window.counts(**slot, now));
    counting.map(|(_, amount)| *amount).fold(0, u64::saturating_add)
}

fn add(amounts: &mut Amounts, slot: Slot, amount: u64) {
    if amount > 0 {
        let entry = amounts.entry(slot).or_default();
        *entry = entry.saturating_add(amount);
    }
}

fn take(amounts: &mut Amounts, slot: Slot, amount: u64) {
    if let Some(entry) = amounts.get_mut(&slot) {
        *entry = entry.saturating_sub(amount);
    }
}
