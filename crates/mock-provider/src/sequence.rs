//! Where the calls of a model or request have got to: positions in script lists, and rates.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

use crate::value::{Rate, Wall};

/// Requests and models that are remembered; the least recently seen are forgotten first.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");

/// Who walks a list together: a model's calls, or one request's calls of it.
type Walk = (Box<str>, Option<Box<str>>);

/// Calls seen so far. One short lock each; models without lists or rates never take it.
#[derive(Debug)]
pub(crate) struct Sequences {
    positions: Mutex<LruCache<Walk, usize>>,
    /// When the next call would be exactly on the rate.
    due: Mutex<LruCache<Box<str>, Instant>>,
    /// When the window began, and the calls that came since.
    windows: Mutex<LruCache<Box<str>, (Instant, u32)>>,
}

/// Where a call stands before its wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) limit: u32,
    /// Calls that the window still has.
    pub(crate) remaining: u32,
    /// Until the window ends.
    pub(crate) reset: Duration,
    /// There was no room for this call.
    pub(crate) refused: bool,
}

impl Default for Sequences {
    fn default() -> Self {
        Self {
            positions: Mutex::new(LruCache::new(REMEMBERED)),
            due: Mutex::new(LruCache::new(REMEMBERED)),
            windows: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }
}

impl Sequences {
    /// Counts a call and says how many came before it: of the same request if the attempt id names one, else
    /// of the same model.
    pub(crate) fn advance(&self, model: &str, attempt_id: Option<&str>) -> usize {
        let key = (model.into(), attempt_id.map(request_of).map(Into::into));
        let mut positions = self.positions.lock();
        let next = positions.get_or_insert_mut(key, || 0);
        *next += 1;
        *next - 1
    }

    /// Lets a call pass, or says how long to wait. A whole period's calls may come at once.
    pub(crate) fn limited(&self, model: &str, rate: Rate, now: Instant) -> Option<Duration> {
        let interval = rate.per / rate.calls;
        let ahead = rate.per - interval;
        let mut due = self.due.lock();
        let due = due.get_or_insert_mut(model.into(), || now);
        let wait = due.saturating_duration_since(now).saturating_sub(ahead);
        if wait.is_zero() {
            *due = (*due).max(now) + interval;
        }
        (!wait.is_zero()).then_some(wait)
    }

    /// Counts a call in its window; those that are refused do not count.
    pub(crate) fn before_wall(&self, model: &str, wall: Wall, now: Instant) -> Standing {
        let mut windows = self.windows.lock();
        let (begun, calls) = windows.get_or_insert_mut(model.into(), || (now, 0));
        if now.duration_since(*begun) >= wall.window {
            (*begun, *calls) = (now, 0);
        }
        let refused = *calls >= wall.calls;
        *calls += u32::from(!refused);
        let reset = wall.window.saturating_sub(now.duration_since(*begun));
        Standing { limit: wall.calls, remaining: wall.calls - *calls, reset, refused }
    }
}

/// The request in `<request id>.<attempt number>`; a text of another shape is taken as the request itself.
fn request_of(attempt_id: &str) -> &str {
    match attempt_id.rsplit_once('.') {
        Some((request, number)) if number.parse::<u32>().is_ok() => request,
        _ => attempt_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_of_a_request_walk_together_even_if_numbers_are_skipped() {
        let sequences = Sequences::default();
        let walk = |model: &str, ids: &[Option<&str>]| -> Vec<usize> {
            ids.iter().map(|id| sequences.advance(model, *id)).collect()
        };
        assert_eq!(
            walk("m", &[Some("a.1"), Some("b.1"), Some("a.4"), Some("b.2"), Some("a.9")]),
            [0, 0, 1, 1, 2]
        );
        assert_eq!(walk("m", &[None, None, Some("c.1")]), [0, 1, 0]);
        assert_eq!(walk("other", &[Some("a.10"), None]), [0, 0]);
        assert_eq!(walk("m", &[Some("a.b"), Some("a.b"), Some("a")]), [0, 1, 3]);
    }

    #[test]
    fn a_wall_lets_so_many_calls_of_a_window_pass_and_tells() {
        let sequences = Sequences::default();
        let wall = Wall { calls: 2, window: Duration::from_secs(1) };
        let start = Instant::now();
        let at = |ms| {
            let standing = sequences.before_wall("m", wall, start + Duration::from_millis(ms));
            (standing.remaining, standing.reset.as_millis(), standing.refused)
        };
        let seen = [at(0), at(400), at(500), at(1000), at(2500)];
        assert_eq!(
            seen,
            [(1, 1000, false), (0, 600, false), (0, 500, true), (1, 1000, false), (1, 1000, false)]
        );
    }

    #[test]
    fn a_rate_lets_a_period_of_calls_pass_and_then_one_per_interval() {
        let sequences = Sequences::default();
        let rate = Rate { calls: 2, per: Duration::from_secs(1) };
        let start = Instant::now();
        let at = |ms, model| sequences.limited(model, rate, start + Duration::from_millis(ms));
        let wait = |ms| Some(Duration::from_millis(ms));
        let calls = [at(0, "m"), at(0, "m"), at(0, "m"), at(200, "m"), at(500, "m"), at(500, "m")];
        assert_eq!(calls, [None, None, wait(500), wait(300), None, wait(500)]);
        assert_eq!(at(500, "other"), None);
        assert_eq!(
            [at(9000, "m"), at(9000, "m"), at(9000, "m")],
            [None, None, wait(500)],
            "rest is not saved up"
        );
    }
}
