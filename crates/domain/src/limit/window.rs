//! The time over which a limit counts.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::{Date, Month, OffsetDateTime, Time};

use crate::Timestamp;
use crate::limit::PERIODS;

/// The time over which a limit counts. All times are UTC, which knows no daylight saving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// Any stretch of this length: what was used leaves the count when it is older. The count is kept in
    /// 20 slots per period, and a slot leaves as a whole: up to one slot later than the first use in it.
    Sliding(#[serde(with = "crate::time::ms")] Duration),
    /// From one reset to the next.
    Fixed(Reset),
    /// As long as a call lasts.
    Held,
}

/// When a budget begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// Never.
    Never,
    /// At midnight.
    Daily,
    /// On Mondays at midnight.
    Weekly,
    /// On the first of the month at midnight.
    Monthly,
    /// Every so many days, counted from a moment.
    Days {
        /// How many, 1 to 365.
        days: u16,
        /// The moment: a reset, past or to come.
        from: Timestamp,
    },
}

/// A part of a window, by which amounts leave the count: the slot's number of a sliding window, the beginning of a
/// fixed one in milliseconds, 0 for what is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u64);

/// Slots per period of a sliding window.
pub(super) const SLOTS: u64 = 20;

const DAY: u64 = 86_400_000;

impl Window {
    /// The slot that something used now counts for.
    pub fn slot(&self, now: Timestamp) -> Slot {
        match self {
            Self::Sliding(period) => Slot(now.0 / slot_ms(*period)),
            Self::Fixed(reset) => Slot(reset.begin(now).0),
            Self::Held => Slot(0),
        }
    }

    /// Whether what was used in a slot still counts. A clock that went backwards finds slots of the future: they count.
    pub fn counts(&self, slot: Slot, now: Timestamp) -> bool {
        match self {
            Self::Sliding(_) => self.leaves(slot).is_some_and(|leaves| now < leaves),
            Self::Fixed(_) => slot >= self.slot(now),
            Self::Held => true,
        }
    }

    /// When what was used in a slot leaves the count. None: never.
    pub fn leaves(&self, slot: Slot) -> Option<Timestamp> {
        match self {
            Self::Sliding(period) => {
                let end = slot.0.saturating_add(1).saturating_mul(slot_ms(*period));
                Some(Timestamp(end).plus(*period))
            }
            Self::Fixed(reset) => reset.end(Timestamp(slot.0)),
            Self::Held => None,
        }
    }

    /// When the next window begins, for those that begin anew.
    pub fn resets_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Fixed(reset) => reset.end(reset.begin(now)),
            Self::Sliding(_) | Self::Held => None,
        }
    }

    /// How long a record of it has to be kept after its last change. None: for ever.
    pub fn lifetime(&self, now: Timestamp) -> Option<Duration> {
        const SPARE: Duration = Duration::from_secs(8 * 86_400);
        match self {
            Self::Sliding(period) => Some(*period * 2 + Duration::from_secs(60)),
            Self::Fixed(_) => self.resets_at(now).map(|end| end.since(now) + SPARE),
            Self::Held => None,
        }
    }
}

fn slot_ms(period: Duration) -> u64 {
    (crate::time::millis(period) / SLOTS).max(1)
}

impl Reset {
    /// When the window that holds a moment began.
    pub fn begin(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::Never => Timestamp(0),
            Self::Daily => Timestamp(now.0 - now.0 % DAY),
            // The first of January 1970 was a Thursday.
            Self::Weekly => {
                let since_monday = (now.0 / DAY + 3) % 7;
                Timestamp(now.0 - now.0 % DAY - since_monday.min(now.0 / DAY) * DAY)
            }
            Self::Monthly => first_of(date(now)),
            Self::Days { days, from } => {
                let period = u64::from((*days).max(1)) * DAY;
                let into = (i128::from(now.0) - i128::from(from.0)).rem_euclid(i128::from(period));
                Timestamp(now.0.saturating_sub(u64::try_from(into).unwrap_or(0)))
            }
        }
    }

    /// When a window that began then ends. None: never.
    pub fn end(&self, begin: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Never => None,
            Self::Daily => Some(Timestamp(begin.0 + DAY)),
            Self::Weekly => {
                // The very first week of the calendar is a short one.
                let since_monday = (begin.0 / DAY + 3) % 7;
                Some(Timestamp(begin.0 + (7 - since_monday) * DAY))
            }
            Self::Monthly => {
                let date = date(begin);
                let (year, month) = match date.month() {
                    Month::December => (date.year() + 1, Month::January),
                    month => (date.year(), month.next()),
                };
                Some(Date::from_calendar_date(year, month, 1).map_or(Timestamp(u64::MAX), first_of))
            }
            Self::Days { days, from } => {
                let period = u64::from((*days).max(1)) * DAY;
                // The window before the first whole one may be cut by the beginning of the calendar.
                let into = (i128::from(begin.0) - i128::from(from.0)).rem_euclid(i128::from(period));
                Some(Timestamp(begin.0 + period - u64::try_from(into).unwrap_or(0)))
            }
        }
    }
}

fn date(at: Timestamp) -> Date {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).map_or(Date::MAX, OffsetDateTime::date)
}

fn first_of(date: Date) -> Timestamp {
    let first = date.replace_day(1).unwrap_or(date).with_time(Time::MIDNIGHT).assume_utc();
    Timestamp(u64::try_from(first.unix_timestamp()).unwrap_or(0) * 1000)
}

/// The word in names and messages: `rpm`, `monthly`, `7d`, `held`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sliding(period) => match PERIODS.iter().find(|(_, known)| known == period) {
                Some((word, _)) => f.write_str(word),
                None => write!(f, "per-{}ms", period.as_millis()),
            },
            Self::Fixed(Reset::Never) => f.write_str("once"),
            Self::Fixed(Reset::Daily) => f.write_str("daily"),
            Self::Fixed(Reset::Weekly) => f.write_str("weekly"),
            Self::Fixed(Reset::Monthly) => f.write_str("monthly"),
            Self::Fixed(Reset::Days { days, .. }) => write!(f, "{days}d"),
            Self::Held => f.write_str("held"),
        }
    }
}
