//! Open loop: requests leave on a schedule, whether or not earlier ones have been answered, and latency counts
//! from the scheduled moment. A stall therefore shows in every request it has delayed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::client::{Call, Slot};
use super::stats::Samples;

/// Sleeping is imprecise by about this much, so the rest of each wait is spent spinning.
const SPIN: Duration = Duration::from_micros(80);

/// Equidistant requests: those due before `warm_up` is over are sent but give no sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenLoop {
    pub(super) rate: u32,
    pub(super) warm_up: Duration,
    pub(super) measure: Duration,
    /// Connections at most; a request without one waits, and its wait counts.
    pub(super) connections: usize,
}

/// What one run has seen: every scheduled request is either answered or an error.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) scheduled: u64,
    pub(super) answered: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    pub(super) latency: Samples,
}

impl OpenLoop {
    fn count(&self) -> u64 {
        (f64::from(self.rate) * (self.warm_up + self.measure).as_secs_f64()).round() as u64
    }

    /// When a request is due, after the start. Computed from its number, so that delays never add up.
    fn due(&self, number: u64) -> Duration {
        Duration::from_nanos(number.saturating_mul(1_000_000_000) / u64::from(self.rate))
    }

    /// Sends the whole schedule and waits for every answer.
    pub(super) async fn run(self, call: &Arc<Call>) -> Outcome {
        let slots = Arc::new(Slots::new(call.clone(), self.connections));
        let mut outcome = Outcome { scheduled: self.count(), ..Outcome::default() };
        let start = Instant::now();
        let (sender, mut arrivals) = mpsc::unbounded_channel();
        let mut calls = JoinSet::new();
        let pacer = tokio::task::spawn_blocking(move || self.pace(start, &sender));
        while let Some(due) = arrivals.recv().await {
            calls.spawn(send(slots.clone(), start + due, due >= self.warm_up));
        }
        for sent in calls.join_all().await {
            outcome.record(sent);
        }
        // The pacer has closed the channel, so it is over already; a panic in it would be a request unsent.
        if let Err(error) = pacer.await {
            outcome.first_error.get_or_insert(format!("pace the requests: {error}"));
        }
        outcome
    }

    /// Tokio's timers have a grain of a millisecond, which is more than what is measured, so a thread paces.
    fn pace(self, start: Instant, arrivals: &mpsc::UnboundedSender<Duration>) {
        for due in (0..self.count()).map(|number| self.due(number)) {
            if let Some(wait) = due.checked_sub(start.elapsed() + SPIN) {
                std::thread::sleep(wait);
            }
            while start.elapsed() < due {
                std::hint::spin_loop();
            }
            if arrivals.send(due).is_err() {
                return;
            }
        }
    }
}

struct Sent {
    latency: Duration,
    measured: bool,
    result: anyhow::Result<Instant>,
}

impl Outcome {
    fn record(&mut self, sent: Sent) {
        match sent.result {
            Ok(_) => {
                self.answered += 1;
                if sent.measured {
                    self.latency.push(sent.latency);
                }
            }
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
}

async fn send(slots: Arc<Slots>, due: Instant, measured: bool) -> Sent {
    let result = slots.send().await;
    Sent { latency: due.elapsed(), measured, result }
}

/// Connections that grow with need; the most recently used goes first, so that few are kept warm.
struct Slots {
    call: Arc<Call>,
    idle: Mutex<Vec<Slot>>,
    permits: Semaphore,
}

impl Slots {
    fn new(call: Arc<Call>, limit: usize) -> Self {
        Self { call, idle: Mutex::default(), permits: Semaphore::new(limit) }
    }

    async fn send(&self) -> anyhow::Result<Instant> {
        let _permit = self.permits.acquire().await?;
        let idle = self.idle.lock().pop();
        let mut slot = idle.unwrap_or_else(|| Slot::new(self.call.clone()));
        let result = slot.send().await;
        self.idle.lock().push(slot);
        result
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Barrier;

    use super::super::client::{Endpoint, Expect};
    use super::super::test_server::{Reply, TestServer};
    use super::*;

    const LOOP: OpenLoop = OpenLoop {
        rate: 1000,
        warm_up: Duration::ZERO,
        measure: Duration::from_millis(20),
        connections: 1024,
    };

    async fn call(server: &TestServer) -> Arc<Call> {
        Call::chat(&Endpoint::resolve(&server.base(), &[]).await.unwrap(), "mock", Expect::Whole)
    }

    #[test]
    fn the_schedule_is_exact_and_does_not_drift() {
        let odd = OpenLoop { rate: 3, measure: Duration::from_secs(3000), ..LOOP };
        assert_eq!(odd.count(), 9000);
        assert_eq!(odd.due(0), Duration::ZERO);
        assert_eq!(odd.due(1), Duration::from_nanos(333_333_333));
        assert_eq!(odd.due(9000), Duration::from_secs(3000));
        let quick = OpenLoop { rate: 200, warm_up: Duration::from_millis(50), ..LOOP };
        assert_eq!(quick.count(), 14);
    }

    #[test]
    fn the_pacer_sends_the_whole_schedule_and_never_early() {
        let (sender, mut arrivals) = mpsc::unbounded_channel();
        let start = Instant::now();
        LOOP.pace(start, &sender);
        assert!(start.elapsed() >= LOOP.due(19));
        let due: Vec<Duration> = std::iter::from_fn(|| arrivals.try_recv().ok()).collect();
        assert_eq!(due, (0..20).map(|n| LOOP.due(n)).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn requests_leave_though_earlier_ones_are_unanswered() {
        let barrier = Arc::new(Barrier::new(20));
        // The server answers nobody before all 20 are there, which a closed loop would never reach.
        let server = TestServer::start(move |_| Reply::whole("{}").together(&barrier)).await;
        let outcome = LOOP.run(&call(&server).await).await;
        assert_eq!((outcome.scheduled, outcome.answered, outcome.errors), (20, 20, 0));
    }

    #[tokio::test]
    async fn a_stall_counts_for_every_request_it_delays() {
        let stall = Duration::from_millis(5);
        let server = TestServer::start(move |_| Reply::whole("{}").after(stall)).await;
        let outcome = OpenLoop { connections: 1, ..LOOP }.run(&call(&server).await).await;
        assert_eq!(outcome.answered, 20);
        // On one connection the last of 20 answers comes 100 ms after the start at the earliest, and its request
        // was due after 19 ms. Measured from the actual sending it would have been 5 ms.
        let [worst] = outcome.latency.percentiles_ms([100.0]);
        assert!(worst.unwrap() >= 81.0, "{worst:?}");
    }

    #[tokio::test]
    async fn every_scheduled_request_is_answered_or_an_error() {
        let server =
            TestServer::start(|n| if n % 4 == 0 { Reply::status(500) } else { Reply::whole("{}") }).await;
        let warm = OpenLoop { warm_up: Duration::from_millis(20), ..LOOP };
        let outcome = warm.run(&call(&server).await).await;
        assert_eq!((outcome.scheduled, outcome.answered, outcome.errors), (40, 30, 10));
        assert_eq!(server.seen().len(), 40);
        assert!(outcome.first_error.unwrap().starts_with("status 500"));
    }

    #[test]
    fn warm_up_and_errors_give_no_sample() {
        let mut outcome = Outcome::default();
        let latency = Duration::from_millis(3);
        outcome.record(Sent { latency, measured: false, result: Ok(Instant::now()) });
        outcome.record(Sent { latency, measured: true, result: Err(anyhow::anyhow!("refused")) });
        assert_eq!(outcome.latency.clone().percentiles_ms([50.0]), [None]);
        outcome.record(Sent { latency, measured: true, result: Ok(Instant::now()) });
        assert_eq!(outcome.latency.percentiles_ms([50.0]), [Some(3.0)]);
        assert_eq!((outcome.answered, outcome.errors), (2, 1));
    }
}
