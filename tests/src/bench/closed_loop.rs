//! Closed loop: a fixed number in flight, each slot sending its next request when the last one is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::client::{Call, Slot};
use super::stats::{Samples, ratio};

/// A refusal costs a server next to nothing; without a pause, refusals would crowd out the calls that work.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy)]
pub(super) struct ClosedLoop {
    pub(super) in_flight: usize,
    pub(super) warm_up: Duration,
    pub(super) measure: Duration,
}

/// What one run has seen.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Answered calls, warm-up and the last ones in flight included.
    pub(super) answered: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    /// Calls whose answers were complete inside the measured window.
    pub(super) in_window: u64,
    /// Time to the first bytes of the body, of the calls in the window.
    pub(super) first_chunk: Samples,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.answered += other.answered;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.in_window += other.in_window;
        self.first_chunk.append(other.first_chunk);
    }

    pub(super) fn per_second(&self, window: Duration) -> Option<f64> {
        ratio(self.in_window as f64, window.as_secs_f64())
    }
}

impl ClosedLoop {
    /// Runs until the window is over and every call in flight has ended.
    pub(super) async fn run(self, call: &Arc<Call>) -> Tally {
        let slots = self.connected_slots(call).await;
        let mut running = JoinSet::new();
        let from = Instant::now() + self.warm_up;
        for slot in slots {
            running.spawn(repeat(slot, from, from + self.measure));
        }
        let mut total = Tally::default();
        for tally in running.join_all().await {
            total.add(tally);
        }
        total
    }

    /// Connects one slot after the other: together they may overflow the server's backlog, after which the kernel
    /// tries again only a second later.
    async fn connected_slots(&self, call: &Arc<Call>) -> Vec<Slot> {
        let mut slots: Vec<Slot> = (0..self.in_flight).map(|_| Slot::new(call.clone())).collect();
        for slot in &mut slots {
            // A target that refuses connections is counted call by call, later.
            if slot.connect().await.is_err() {
                break;
            }
        }
        slots
    }
}

async fn repeat(mut slot: Slot, from: Instant, until: Instant) -> Tally {
    let mut tally = Tally::default();
    loop {
        let sent = Instant::now();
        if sent >= until {
            return tally;
        }
        match slot.send().await {
            Ok(first) => {
                tally.answered += 1;
                let now = Instant::now();
                if now >= from && now < until {
                    tally.in_window += 1;
                    tally.first_chunk.push(first - sent);
                }
            }
            Err(error) => {
                tally.errors += 1;
                tally.first_error.get_or_insert_with(|| format!("{error:#}"));
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Barrier;

    use super::super::client::{Endpoint, Expect};
    use super::super::test_server::{Reply, TestServer};
    use super::*;

    const LOOP: ClosedLoop =
        ClosedLoop { in_flight: 4, warm_up: Duration::ZERO, measure: Duration::from_millis(100) };

    async fn call(server: &TestServer) -> Arc<Call> {
        Call::chat(&Endpoint::resolve(&server.base(), &[]).await.unwrap(), "mock", Expect::Whole)
    }

    #[tokio::test]
    async fn every_call_the_server_saw_is_counted_once() {
        let server =
            TestServer::start(|n| if n % 3 == 1 { Reply::status(503) } else { Reply::whole("{}") }).await;
        let tally = LOOP.run(&call(&server).await).await;
        let refused = (0..server.seen().len()).filter(|n| n % 3 == 1).count() as u64;
        assert_eq!((tally.answered, tally.errors), (server.seen().len() as u64 - refused, refused));
        assert!(tally.first_error.unwrap().starts_with("status 503"));
        assert!(tally.in_window <= tally.answered);
    }

    #[tokio::test]
    async fn all_slots_are_in_flight_together() {
        let barrier = Arc::new(Barrier::new(LOOP.in_flight));
        // Were fewer in flight than the barrier asks for, nobody would ever be answered. Only the first calls
        // wait, since the slots do not stop at the same call.
        let server = TestServer::start(move |n| {
            if n < LOOP.in_flight { Reply::whole("{}").together(&barrier) } else { Reply::whole("{}") }
        })
        .await;
        assert_eq!(LOOP.run(&call(&server).await).await.errors, 0);
    }

    #[tokio::test]
    async fn a_target_that_is_down_is_errors_and_no_figures() {
        let server = TestServer::start(|_| Reply::whole("{}")).await;
        let call = call(&server).await;
        drop(server);
        // Calls may still be accepted until the server's tasks are gone.
        let mut tally = LOOP.run(&call).await;
        while tally.answered > 0 {
            tally = LOOP.run(&call).await;
        }
        assert!(tally.errors >= LOOP.in_flight as u64);
        assert_eq!(tally.per_second(LOOP.measure), Some(0.0));
        assert_eq!(tally.first_chunk.percentiles_ms([50.0]), [None]);
    }
}
