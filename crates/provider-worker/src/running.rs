//! What this process is doing: for cancellations, and for others who wonder whether we still live.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use domain::{AttemptId, RequestId};
use lru::LruCache;
use parking_lot::Mutex;
use role::Ctx;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Attempts in hand, and short memories of what was finished and cancelled.
pub(crate) struct Running {
    state: Mutex<State>,
}

struct State {
    attempts: HashMap<RequestId, Attempt>,
    finished: LruCache<AttemptId, ()>,
    cancelled: LruCache<RequestId, ()>,
}

/// An attempt in hand.
struct Attempt {
    number: u32,
    cancel: CancellationToken,
    /// Others may wait for its answer, under this key.
    flight: Option<String>,
}

/// How much is remembered: more than a busy process handles within one acknowledgement wait.
const MEMORY: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

impl Default for Running {
    fn default() -> Self {
        let state = State {
            attempts: HashMap::new(),
            // Grown on demand: an idle process stays small.
            finished: LruCache::unbounded(),
            cancelled: LruCache::unbounded(),
        };
        Self { state: Mutex::new(state) }
    }
}

/// What is known of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Running,
    Finished,
    Unknown,
}

impl Running {
    /// Begins an attempt. The token is cancelled when the request is.
    pub(crate) fn begin(self: &Arc<Self>, attempt: &AttemptId, flight: Option<&String>) -> Begun {
        let cancel = CancellationToken::new();
        let mut state = self.state.lock();
        // Where others may wait for the answer, that was looked at before.
        if state.cancelled.contains(&attempt.request) && flight.is_none() {
            cancel.cancel();
        }
        let running = Attempt { number: attempt.number, cancel: cancel.clone(), flight: flight.cloned() };
        state.attempts.insert(attempt.request.clone(), running);
        Begun { running: Arc::clone(self), attempt: attempt.clone(), cancel }
    }

    /// What is known of an attempt.
    pub(crate) fn look_up(&self, attempt: &AttemptId) -> Known {
        let state = self.state.lock();
        match state.attempts.get(&attempt.request) {
            Some(running) if running.number == attempt.number => Known::Running,
            _ if state.finished.contains(attempt) => Known::Finished,
            _ => Known::Unknown,
        }
    }

    /// Whether a cancellation of the request was heard, lately.
    pub(crate) fn was_cancelled(&self, request: &RequestId) -> bool {
        self.state.lock().cancelled.contains(request)
    }

    /// Notes that an attempt needs nothing more: its ending is stored.
    pub(crate) fn finished(&self, attempt: &AttemptId) {
        let mut state = self.state.lock();
        state.finished.put(attempt.clone(), ());
        trim(&mut state.finished);
    }

    /// The key under which others may wait for the answer to a request in hand.
    fn flight(&self, request: &RequestId) -> Option<String> {
        self.state.lock().attempts.get(request)?.flight.clone()
    }

    fn cancel(&self, request: RequestId) {
        let mut state = self.state.lock();
        if let Some(running) = state.attempts.get(&request) {
            running.cancel.cancel();
        }
        state.cancelled.put(request, ());
        trim(&mut state.cancelled);
    }
}

fn trim<K: std::hash::Hash + Eq>(memory: &mut LruCache<K, ()>) {
    while memory.len() > MEMORY.get() {
        memory.pop_lru();
    }
}

/// An attempt in hand; forgotten when dropped.
pub(crate) struct Begun {
    running: Arc<Running>,
    attempt: AttemptId,
    /// Cancelled when the request is.
    pub(crate) cancel: CancellationToken,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut state = self.running.state.lock();
        let running = state.attempts.get(&self.attempt.request);
        if running.is_some_and(|running| running.number == self.attempt.number) {
            state.attempts.remove(&self.attempt.request);
        }
    }
}

/// Word for an attempt that is in hand.
pub(crate) const RUNNING: &[u8] = b"running";
/// Word for an attempt whose ending is stored.
pub(crate) const FINISHED: &[u8] = b"finished";

/// Hears cancellations, and answers those who ask whether an attempt is still in hand.
pub(crate) async fn listen(ctx: &Ctx, id: &str, running: Arc<Running>) -> anyhow::Result<()> {
    let mut cancellations = ctx.bus().subscribe(bus::subject::CANCEL_ALL).await?;
    let mut questions = ctx.bus().subscribe(bus::subject::worker(id)).await?;
    let bus = ctx.bus().clone();
    let for_cancel = Arc::clone(&running);
    let (for_wanted, jobs) = (bus.clone(), ctx.clone());
    ctx.helper("hear cancellations", async move {
        while let Some(message) = cancellations.next().await {
            let Ok(request) = RequestId::parse(bus::subject::last_token(&message.subject)) else { continue };
            let Some(flight) = for_cancel.flight(&request) else {
                debug!(%request, "cancelled");
                for_cancel.cancel(request);
                continue;
            };
            let (bus, running) = (for_wanted.clone(), Arc::clone(&for_cancel));
            jobs.job(async move {
                if bus.is_followed(&flight).await {
                    return debug!(%request, "cancelled, but others wait for the answer");
                }
                debug!(%request, "cancelled");
                running.cancel(request);
            });
        }
    });
    ctx.helper("answer who asks", async move {
        while let Some(message) = questions.next().await {
            let Some(reply) = message.reply else { continue };
            let attempt =
                std::str::from_utf8(&message.payload).ok().and_then(|text| AttemptId::parse(text).ok());
            let known = attempt.map_or(Known::Unknown, |attempt| running.look_up(&attempt));
            let word: &'static [u8] = match known {
                Known::Running => RUNNING,
                Known::Finished => FINISHED,
                Known::Unknown => b"unknown",
            };
            bus.send(reply, Bytes::from_static(word)).await;
        }
    });
    Ok(())
}
