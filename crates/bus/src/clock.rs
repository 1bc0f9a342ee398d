//! Time as the broker counts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::Timestamp;

/// This process's clock, corrected by the broker's. Cheap to clone; all clones share the correction.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The time on the broker's clock.
    pub fn now(&self) -> Timestamp {
        let offset = self.offset_ms.load(Ordering::Relaxed);
        Timestamp(local_ms().saturating_add_signed(offset))
    }

    /// How far this machine's clock is behind the broker's, in milliseconds; negative: ahead.
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// Takes a reading: the broker said `broker_ms` between `before` and `after` (local milliseconds).
    pub(crate) fn correct_between(&self, broker_ms: u64, before: u64, after: u64) {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let offset = signed(broker_ms) - signed(before + after.saturating_sub(before) / 2);
        // A difference below the round trip is noise, not skew.
        let noise = signed(after.saturating_sub(before)).max(5);
        self.offset_ms.store(if offset.abs() <= noise { 0 } else { offset }, Ordering::Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock everybody else uses")]
pub(crate) fn local_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    domain::time::millis(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skewed_clock_is_corrected_and_noise_is_not() {
        let clock = Clock::default();
        let local = local_ms();
        clock.correct_between(local + 90_000, local - 10, local + 10);
        assert_eq!(clock.offset_ms(), 90_000, "this machine is behind");
        assert!(clock.now().0 >= local + 90_000);
        clock.correct_between(local - 5_000, local, local);
        assert_eq!(clock.offset_ms(), -5_000, "this machine is ahead");
        clock.correct_between(local + 8, local - 10, local + 10);
        assert_eq!(clock.offset_ms(), 0, "less than the round trip is noise");
    }
}
