//! Asking the cache, which may be slow, away or wrong: never for longer than its time, and not at all while it is silent.

use std::time::Duration;

use bus::Bus;
use bus::cache::CacheError;
use bytes::Bytes;
use domain::Timestamp;
use domain::cache::{Question, Reply};
use parking_lot::Mutex;
use telemetry::metric;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::CacheOptions;

/// So many questions in a row without an answer, and the cache is not asked for a while.
const MOST_SILENT: u32 = 3;

/// How long it is not asked: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long it is not asked where the broker says at once that there is none.
const NOBODY: Duration = Duration::from_millis(200);

/// The way to the cache.
#[derive(Default)]
pub(crate) struct Door {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Questions without an answer since the last one that had one.
    silent: u32,
    /// Until when nothing is asked.
    closed: Option<Instant>,
    pause: Duration,
}

impl Door {
    /// What the cache says, if it says it in time. What cannot be believed is no answer.
    pub(crate) async fn look_up(
        &self,
        bus: &Bus,
        options: &CacheOptions,
        question: &Question,
        now: Timestamp,
    ) -> Option<(Reply, Bytes)> {
        if !self.open() {
            metrics::counter!(metric::CACHE_ASKED, "result" => "skipped").increment(1);
            return None;
        }
        let begun = Instant::now();
        let said = bus.look_up(question, options.patience).await;
        metrics::histogram!(metric::CACHE_WAIT_SECONDS).record(begun.elapsed().as_secs_f64());
        let (mut reply, answer) = match said {
            Ok(said) => said,
            Err(err) => {
                self.was_silent(&err);
                metrics::counter!(metric::CACHE_ASKED, "result" => "unanswered").increment(1);
                return None;
            }
        };
        *self.state.lock() = State::default();
        let threshold = question.threshold.unwrap_or(1.0);
        let refused =
            reply.found.as_ref().and_then(|found| found.refused_by(question, &answer, threshold, now));
        if let Some(reason) = refused {
            warn!(workspace = %question.workspace, reason, "the cache's answer is not believed; asking the provider");
            metrics::counter!(metric::CACHE_ASKED, "result" => "disbelieved").increment(1);
            return None;
        }
        let result = reply.found.as_ref().map_or("miss", |found| found.status.as_str());
        metrics::counter!(metric::CACHE_ASKED, "result" => result).increment(1);
        if !reply.why.is_empty() {
            debug!(why = reply.why, "not in the cache");
        }
        reply.why = String::new();
        Some((reply, answer))
    }

    /// Whether anything is asked now. After a pause one question goes first.
    fn open(&self) -> bool {
        let mut state = self.state.lock();
        match state.closed {
            None => true,
            Some(until) if Instant::now() < until => false,
            Some(_) => {
                // The others wait for what becomes of this one.
                state.closed = Some(Instant::now() + state.pause);
                true
            }
        }
    }

    fn was_silent(&self, err: &CacheError) {
        let mut state = self.state.lock();
        state.silent += 1;
        let nobody = matches!(err, CacheError::Nobody);
        if state.silent < MOST_SILENT && !nobody {
            return debug!(%err, "the cache was not heard");
        }
        if state.closed.is_none() {
            warn!(%err, "the cache is silent; requests go to providers without asking it");
        }
        state.pause = if nobody { NOBODY } else { (state.pause * 2).clamp(PAUSES.0, PAUSES.1) };
        state.closed = Some(Instant::now() + state.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_cache_is_asked_again_after_longer_and_longer_pauses() {
        let door = Door::default();
        for _ in 0..2 {
            assert!(door.open());
            door.was_silent(&CacheError::Late);
        }
        assert!(door.open(), "two may be chance");
        door.was_silent(&CacheError::Late);
        assert!(!door.open());
        tokio::time::advance(Duration::from_millis(1_001)).await;
        assert!(door.open(), "one goes first");
        assert!(!door.open(), "the others wait for it");
        door.was_silent(&CacheError::Late);
        tokio::time::advance(Duration::from_millis(1_500)).await;
        assert!(!door.open(), "the pause has doubled");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(door.open());
        *door.state.lock() = State::default();
        assert!(door.open() && door.open(), "an answer opens it for all");
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_is_no_cache_nobody_waits_for_it() {
        let door = Door::default();
        assert!(door.open());
        door.was_silent(&CacheError::Nobody);
        assert!(!door.open());
    }
}
