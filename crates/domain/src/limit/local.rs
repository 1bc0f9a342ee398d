//! What one router holds of a bucket between two writes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::account::{Amounts, Change, Settled};
use super::{Given, Slot, Window};
use crate::Timestamp;

/// Nothing asked for this long: what is not given out goes back.
const IDLE: Duration = Duration::from_secs(2);

/// What one router holds of a bucket: what it may give out, and what has to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    free: Amounts,
    settled: BTreeMap<Slot, Settled>,
    /// Given out in the second that began then, and in the one before.
    pace: (u64, u64, u64),
    last: Timestamp,
    /// Writes that were composed.
    writes: u64,
}

/// Whether an amount could be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// It was.
    Taken(Slot),
    /// There is too little at hand; ask for at least, and at most, so much.
    Short(u64, u64),
}

impl Local {
    /// Whether an amount is at hand.
    pub fn has(&self, amount: u64, window: &Window, now: Timestamp) -> bool {
        self.free.get(&window.slot(now)).copied().unwrap_or(0) >= amount
    }

    /// Gives an amount out, or says what is wanting.
    pub fn take(&mut self, amount: u64, window: &Window, now: Timestamp) -> Take {
        self.note(amount, now);
        let slot = window.slot(now);
        let free = self.free.entry(slot).or_default();
        if *free >= amount {
            *free -= amount;
            return Take::Taken(slot);
        }
        let least = amount - *free;
        Take::Short(least, least.max(self.pace.1.max(self.pace.2)))
    }

    /// Puts an amount back that was given out and not used.
    pub fn put_back(&mut self, slot: Slot, amount: u64) {
        *self.free.entry(slot).or_default() += amount;
    }

    /// An amount that was given out has been used, wholly, in part, or beyond.
    pub fn settle(&mut self, slot: Slot, amount: u64, used: u64) {
        let settled = self.settled.entry(slot).or_default();
        let granted = amount.min(used);
        settled.granted = settled.granted.saturating_add(granted);
        settled.used = settled.used.saturating_add(used);
        if amount > granted {
            self.put_back(slot, amount - granted);
        }
    }

    /// Whether there is something to write although nothing is wanted.
    pub fn is_dirty(&self, window: &Window, now: Timestamp) -> bool {
        self.settled.values().any(|s| s.used > 0 || s.granted > 0) || !self.unneeded(window, now).is_empty()
    }

    /// Whether nothing is held here and nothing has to be written.
    pub fn is_empty(&self) -> bool {
        self.settled.is_empty() && self.free.values().all(|amount| *amount == 0)
    }

    /// What is free and will not be given out: of earlier slots, and everything after an idle time.
    fn unneeded(&self, window: &Window, now: Timestamp) -> Amounts {
        let idle = now.since(self.last) >= IDLE;
        let current = window.slot(now);
        let unneeded = self.free.iter().filter(|(slot, amount)| **amount > 0 && (idle || **slot != current));
        unneeded.map(|(slot, amount)| (*slot, *amount)).collect()
    }

    /// Takes out what has to be written. If the write fails, [`Local::undo`] brings it back.
    pub fn compose(
        &mut self,
        wanted: Option<(u64, u64)>,
        through: u64,
        window: &Window,
        now: Timestamp,
    ) -> Change {
        let returned = self.unneeded(window, now);
        for slot in returned.keys() {
            self.free.remove(slot);
        }
        let settled = std::mem::take(&mut self.settled);
        self.writes += 1;
        Change { settled, returned, wanted, through, write: self.writes }
    }

    /// Gives everything back that is free, as somebody else needs it.
    pub fn compose_recall(&mut self, through: u64) -> Change {
        let returned = std::mem::take(&mut self.free);
        let settled = std::mem::take(&mut self.settled);
        self.writes += 1;
        Change { settled, returned, wanted: None, through, write: self.writes }
    }

    /// A change was not written.
    pub fn undo(&mut self, change: Change) {
        for (slot, amount) in change.returned {
            self.put_back(slot, amount);
        }
        for (slot, settled) in change.settled {
            let entry = self.settled.entry(slot).or_default();
            entry.granted = entry.granted.saturating_add(settled.granted);
            entry.used = entry.used.saturating_add(settled.used);
        }
    }

    /// A change was written.
    pub fn written(&mut self, given: Given) {
        if given.granted > 0 {
            self.put_back(given.slot, given.granted);
        }
    }

    fn note(&mut self, amount: u64, now: Timestamp) {
        let second = now.0 / 1000;
        if self.pace.0 != second {
            let before = if self.pace.0 + 1 == second { self.pace.1 } else { 0 };
            self.pace = (second, 0, before);
        }
        self.pace.1 = self.pace.1.saturating_add(amount);
        self.last = self.last.max(now);
    }
}
