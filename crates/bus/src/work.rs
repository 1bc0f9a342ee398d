//! Taking messages from work queues and settling them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::{self, AckKind};
use bytes::Bytes;
use domain::{Lane, Timestamp};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{Bus, Headers, Put, PutError, header, subject, topology};

/// A message delivered more often than this is put aside before anything is done with it: it takes its readers down.
pub const MAX_DELIVERIES: i64 = 10;

/// A message to work on. It comes back unless it is settled with [`Delivery::ack`].
#[derive(Debug)]
pub struct Delivery {
    message: jetstream::Message,
    /// Position in its stream.
    pub sequence: u64,
    /// Counts deliveries of this message, from 1.
    pub delivered: i64,
    /// When the broker stored it.
    pub stored_at: Timestamp,
    /// The same, in nanoseconds.
    pub stored_nanos: i128,
}

impl Delivery {
    fn new(message: jetstream::Message) -> Option<Self> {
        let (sequence, delivered, nanos) = match message.info() {
            Ok(info) => (info.stream_sequence, info.delivered, info.published.unix_timestamp_nanos()),
            Err(err) => {
                warn!(%err, "a message without delivery information");
                return None;
            }
        };
        let stored_at = Timestamp(u64::try_from(nanos / 1_000_000).unwrap_or(0));
        Some(Self { message, sequence, delivered, stored_at, stored_nanos: nanos })
    }

    /// Where it was published.
    pub fn subject(&self) -> &str {
        self.message.subject.as_str()
    }

    /// Its bytes.
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// Looks a header up without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.message.headers.as_ref(), name)
    }

    /// Its headers.
    pub fn headers(&self) -> Option<&Headers> {
        self.message.headers.as_ref()
    }

    /// Done: the broker forgets it. If this gets lost the message comes back, so handlers are idempotent.
    pub async fn ack(&self) {
        self.settle(AckKind::Ack).await;
    }

    /// Not now: the broker delivers it again after `delay`.
    pub async fn retry_after(&self, delay: Duration) {
        self.settle(AckKind::Nak(Some(delay))).await;
    }

    /// Still at it: the broker waits another `ack_wait`.
    pub async fn progress(&self) {
        self.settle(AckKind::Progress).await;
    }

    async fn settle(&self, kind: AckKind) {
        if let Err(err) = self.message.ack_with(kind).await {
            debug!(%err, sequence = self.sequence, "could not settle a message; it will come back");
        }
    }

    /// Runs `job`, telling the broker every `every` that it is still running. The telling ends with the job.
    pub async fn while_running<T>(&self, every: Duration, job: impl Future<Output = T>) -> T {
        tokio::pin!(job);
        loop {
            tokio::select! {
                done = &mut job => return done,
                () = tokio::time::sleep(every) => self.progress().await,
            }
        }
    }
}

/// A message that is being worked on, and its share of what this process takes at once.
pub struct Job {
    /// The message.
    pub delivery: Delivery,
    /// Returned when dropped.
    pub permit: OwnedSemaphorePermit,
}

/// Takes messages of one consumer for as long as there are slots, until shutdown.
pub struct Puller {
    bus: Bus,
    stream: &'static str,
    consumer: String,
    slots: Arc<Semaphore>,
    most: usize,
}

const PULL_EXPIRES: Duration = Duration::from_secs(5);

impl Puller {
    /// Messages of a lane's requests, at most `slots` in work and `batch` per pull.
    pub fn requests(bus: &Bus, lane: Lane, slots: usize, batch: usize) -> Self {
        Self::new(bus, subject::REQUEST_STREAM, topology::router_consumer_name(lane), slots, batch)
    }

    /// Failed attempts and due retries.
    pub fn fallbacks(bus: &Bus, slots: usize, batch: usize) -> Self {
        Self::new(bus, subject::FALLBACK_STREAM, topology::FALLBACK_CONSUMER.to_owned(), slots, batch)
    }

    /// Calls of one consumer of [`Bus::call_consumers`].
    pub fn calls(bus: &Bus, consumer: &str, slots: usize) -> Self {
        Self::new(bus, subject::CALL_STREAM, consumer.to_owned(), slots, slots)
    }

    fn new(bus: &Bus, stream: &'static str, consumer: String, slots: usize, most: usize) -> Self {
        Self { bus: bus.clone(), stream, consumer, slots: Arc::new(Semaphore::new(slots)), most }
    }

    /// Slots in use now.
    pub fn slots(&self) -> Arc<Semaphore> {
        Arc::clone(&self.slots)
    }

    /// Calls `take` for each message until `stop`, then returns. Jobs go on by themselves.
    /// Returns early when the consumer is gone.
    pub async fn run(&self, stop: &CancellationToken, mut take: impl FnMut(Job)) {
        let mut failures = 0u32;
        while !stop.is_cancelled() {
            self.bus.wait_up().await;
            let found: Result<Consumer<pull::Config>, _> =
                self.bus.js.get_consumer_from_stream(&self.consumer, self.stream).await;
            match found {
                Ok(consumer) => {
                    failures = 0;
                    self.pull(&consumer, stop, &mut take).await;
                }
                Err(err) => {
                    failures += 1;
                    if failures > 3 && self.stream == subject::CALL_STREAM && self.bus.is_up() {
                        debug!(consumer = self.consumer, %err, "the consumer is gone");
                        return;
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    }

    /// Pulls until the consumer fails or `stop`.
    async fn pull(
        &self,
        consumer: &Consumer<pull::Config>,
        stop: &CancellationToken,
        take: &mut impl FnMut(Job),
    ) {
        loop {
            let Some(mut permits) = self.free_slots(stop).await else { return };
            let epoch = self.bus.epoch();
            // Never with a heartbeat: in this client version a batch is not woken after the first one.
            let batch = consumer.fetch().max_messages(permits.num_permits()).expires(PULL_EXPIRES).messages();
            let Ok(mut batch) = batch.await else { return };
            loop {
                let message = tokio::select! {
                    message = batch.next() => message,
                    () = stop.cancelled() => return self.hand_back(batch).await,
                    // A pull does not survive its connection.
                    () = self.bus.reconnected(epoch) => return,
                };
                match message {
                    None => break,
                    Some(Ok(message)) => {
                        let (Some(delivery), Some(permit)) = (Delivery::new(message), permits.split(1))
                        else {
                            continue;
                        };
                        take(Job { delivery, permit });
                    }
                    Some(Err(err)) => {
                        debug!(consumer = self.consumer, %err, "pull failed");
                        return;
                    }
                }
            }
        }
    }

    /// Messages that arrive while we stop go to somebody else at once.
    async fn hand_back(&self, mut batch: pull::Batch) {
        let arrived = async {
            while let Some(Ok(message)) = batch.next().await {
                let _ = message.ack_with(AckKind::Nak(None)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(50), arrived).await;
    }

    /// Waits for a free slot, then takes all that are free (up to the batch size).
    async fn free_slots(&self, stop: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        let first = tokio::select! {
            () = stop.cancelled() => return None,
            permit = Arc::clone(&self.slots).acquire_owned() => permit.ok()?,
        };
        let more = self.slots.available_permits().min(self.most.saturating_sub(1));
        let mut permits = first;
        if let Ok(rest) = Arc::clone(&self.slots).try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
            permits.merge(rest);
        }
        Some(permits)
    }
}

impl Bus {
    /// Puts a message aside for an operator, whole, with the reason. Acknowledge the original afterwards.
    ///
    /// Headers that may hold what must not be kept are left out by the caller through `keep`.
    pub async fn dead_letter(
        &self,
        stage: &str,
        delivery: &Delivery,
        reason: &str,
        keep: impl Fn(&str) -> bool,
    ) -> Result<u64, PutError> {
        let mut headers = Headers::new();
        for (name, values) in delivery.headers().into_iter().flat_map(Headers::iter) {
            let text: &str = name.as_ref();
            // The broker's own headers would act again on the copy.
            if !text.to_ascii_lowercase().starts_with("nats-")
                && keep(text)
                && let Some(value) = values.last()
            {
                headers.insert(text, value.as_str());
            }
        }
        headers.insert(domain::headers::REASON, one_line(reason).as_str());
        headers.insert(DEAD_SUBJECT, delivery.subject());
        metrics::counter!(telemetry::metric::DEAD_LETTERS, "stage" => stage.to_owned()).increment(1);
        self.put(Put::new(subject::dead(stage), delivery.payload().clone()).headers(headers)).await
    }
}

/// Header of dead letters: the subject the message came from.
pub const DEAD_SUBJECT: &str = "Pointsman-Subject";

/// Header values cannot hold line breaks.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect()
}
