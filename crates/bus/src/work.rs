//! Taking messages from work queues and settling them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, AckKind};
use bytes::Bytes;
use domain::{Lane, Timestamp};
use futures::{FutureExt as _, StreamExt as _};
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
    pub(crate) fn new(message: jetstream::Message) -> Option<Self> {
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

/// The broker gives a pull up after this long; then it is made anew.
const PULL_EXPIRES: Duration = Duration::from_secs(30);

impl Puller {
    /// Messages of a lane's requests, at most `slots` in work and `batch` per pull.
    pub fn requests(bus: &Bus, lane: Lane, slots: usize, batch: usize) -> Self {
        Self::new(bus, subject::REQUEST_STREAM, topology::router_consumer_name(lane), slots, batch)
    }

    /// Failed attempts and due retries.
    pub fn fallbacks(bus: &Bus, slots: usize, batch: usize) -> Self {
        Self::new(bus, subject::FALLBACK_STREAM, topology::FALLBACK_CONSUMER.to_owned(), slots, batch)
    }

    /// Notices on their way to channels.
    pub fn notices(bus: &Bus, slots: usize) -> Self {
        Self::new(bus, subject::NOTICE_STREAM, topology::NOTICE_CONSUMER.to_owned(), slots, slots)
    }

    /// Calls of one consumer of [`Bus::call_consumers`].
    pub fn calls(bus: &Bus, consumer: &str, slots: usize) -> Self {
        Self::new(bus, subject::CALL_STREAM, consumer.to_owned(), slots, slots)
    }

    fn new(bus: &Bus, stream: &'static str, consumer: String, slots: usize, most: usize) -> Self {
        Self { bus: bus.clone(), stream, consumer, slots: Arc::new(Semaphore::new(slots)), most }
    }

    /// Calls `take` for each message until `stop`, then returns. Jobs go on by themselves.
    /// Returns early when the consumer is gone.
    pub async fn run(&self, stop: &CancellationToken, mut take: impl FnMut(Job)) {
        let mut failures = 0u32;
        while !stop.is_cancelled() {
            self.bus.wait_up().await;
            match self.pull(stop, &mut take).await {
                Ok(()) => failures = 0,
                Err(reason) => {
                    debug!(consumer = self.consumer, reason, "the pull ended");
                    failures += 1;
                }
            }
            if failures > 3 && self.stream == subject::CALL_STREAM && self.bus.is_up() && self.is_gone().await
            {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(u64::from(failures.min(5)) * 100)) => {}
            }
        }
    }

    async fn is_gone(&self) -> bool {
        let Ok(stream) = self.bus.js.get_stream_no_info(self.stream).await else { return false };
        stream.consumer_info(&self.consumer).await.is_err() && self.bus.is_up()
    }

    /// Pulls until the consumer fails, the connection is another one, or `stop`.
    ///
    /// Every message asked for has its slot already, so none waits here for a free one. More are asked for when
    /// half of the batch has come: one pull serves many messages.
    async fn pull(&self, stop: &CancellationToken, take: &mut impl FnMut(Job)) -> Result<(), &'static str> {
        let epoch = self.bus.epoch();
        let inbox = self.bus.client.new_inbox();
        let mut inflow = self.bus.client.subscribe(inbox.clone()).await.map_err(|_| "not connected")?;
        let mut asked = Asked::default();
        let forgotten = tokio::time::sleep(Duration::ZERO);
        let reconnected = self.bus.reconnected(epoch);
        tokio::pin!(forgotten, reconnected);
        loop {
            let wants_more = asked.open() <= self.most / 2;
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    hand_back(&self.bus, inflow).await;
                    return Ok(());
                }
                // A pull does not survive its connection.
                () = &mut reconnected => return Ok(()),
                message = inflow.next() => {
                    self.receive(message.ok_or("the connection was closed")?, &mut asked, take)?;
                    // What has come already needs no further waiting.
                    while let Some(Some(message)) = inflow.next().now_or_never() {
                        self.receive(message, &mut asked, take)?;
                    }
                }
                permit = Arc::clone(&self.slots).acquire_owned(), if wants_more => {
                    let permits = self.more(permit.map_err(|_| "no slots")?, self.most - asked.open());
                    self.ask_for(permits.num_permits(), &inbox).await;
                    asked.add(permits);
                    forgotten.as_mut().reset(tokio::time::Instant::now() + PULL_EXPIRES + Duration::from_secs(5));
                }
                () = &mut forgotten, if asked.open() > 0 => {
                    return Err("the broker forgot the pull");
                }
            }
        }
    }

    fn receive(
        &self,
        message: async_nats::Message,
        asked: &mut Asked,
        take: &mut impl FnMut(Job),
    ) -> Result<(), &'static str> {
        if let Some(status) = message.status {
            return match status.as_u16() {
                // An idle heartbeat or flow control; we ask for neither.
                100 => Ok(()),
                404 | 408 => {
                    let left = header(message.headers.as_ref(), "Nats-Pending-Messages")
                        .and_then(|n| n.parse().ok());
                    asked.forget(left.unwrap_or(usize::MAX));
                    Ok(())
                }
                _ => Err("the broker ended the pull"),
            };
        }
        let message = jetstream::Message { message, context: self.bus.js.clone() };
        if let (Some(permit), Some(delivery)) = (asked.one(), Delivery::new(message)) {
            take(Job { delivery, permit });
        }
        Ok(())
    }

    /// All slots that are free, up to the batch.
    fn more(&self, first: OwnedSemaphorePermit, most: usize) -> OwnedSemaphorePermit {
        let mut permits = first;
        let more = self.slots.available_permits().min(most.saturating_sub(1));
        if let Ok(rest) = Arc::clone(&self.slots).try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
            permits.merge(rest);
        }
        permits
    }

    async fn ask_for(&self, batch: usize, inbox: &str) {
        let expires = u64::try_from(PULL_EXPIRES.as_nanos()).unwrap_or(u64::MAX);
        let request = format!("{{\"batch\":{batch},\"expires\":{expires}}}");
        let subject = subject::pull(self.stream, &self.consumer);
        let sent = self.bus.client.publish_with_reply(subject, inbox.to_owned(), Bytes::from(request)).await;
        if let Err(err) = sent {
            debug!(%err, "could not ask for messages");
        }
    }
}

/// Messages that were asked for and have not come, with their slots.
#[derive(Default)]
struct Asked {
    permits: Option<OwnedSemaphorePermit>,
}

impl Asked {
    fn open(&self) -> usize {
        self.permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.permits {
            Some(permits) => permits.merge(more),
            None => self.permits = Some(more),
        }
    }

    /// The slot of a message that has come.
    fn one(&mut self) -> Option<OwnedSemaphorePermit> {
        self.permits.as_mut()?.split(1)
    }

    /// The broker gave up on so many.
    fn forget(&mut self, count: usize) {
        let count = count.min(self.open());
        drop(self.permits.as_mut().and_then(|p| p.split(count)));
    }
}

/// Messages that are on their way while we stop go to somebody else at once.
async fn hand_back(bus: &Bus, mut inflow: async_nats::Subscriber) {
    let arrived = async {
        if inflow.drain().await.is_err() {
            return;
        }
        while let Some(message) = inflow.next().await {
            if message.status.is_none() {
                let message = jetstream::Message { message, context: bus.js.clone() };
                let _ = message.ack_with(AckKind::Nak(None)).await;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), arrived).await;
}

impl Bus {
    /// Puts a message aside for an operator, whole, with the reason. Acknowledge the original afterwards.
    ///
    /// `keep` says what is kept of a header's value: what must not be is withheld, or left out (None). `more` is said
    /// besides.
    pub async fn dead_letter(
        &self,
        stage: &str,
        delivery: &Delivery,
        reason: &str,
        keep: impl Fn(&str, &str) -> Option<String>,
        more: &[(&str, &str)],
    ) -> Result<u64, PutError> {
        let mut headers = Headers::new();
        for (name, values) in delivery.headers().into_iter().flat_map(Headers::iter) {
            let text: &str = name.as_ref();
            // The broker's own headers would act again on the copy.
            if !text.to_ascii_lowercase().starts_with("nats-")
                && let Some(value) = values.last().and_then(|value| keep(text, value.as_str()))
            {
                headers.insert(text, value.as_str());
            }
        }
        for (name, value) in more {
            headers.insert(*name, *value);
        }
        headers.insert(domain::headers::REASON, one_line(reason).as_str());
        headers.insert(DEAD_SUBJECT, delivery.subject());
        metrics::counter!(telemetry::metric::DEAD_LETTERS, "stage" => stage.to_owned()).increment(1);
        self.put(Put::new(subject::dead(stage), delivery.payload().clone()).headers(headers)).await
    }
}

/// Header of dead letters: the subject the message came from.
pub const DEAD_SUBJECT: &str = "Pointsman-Subject";

/// Header of dead letters that were requests: the whole id under which the request ended.
pub const DEAD_REQUEST: &str = "Pointsman-Dead-Request";

/// Header values cannot hold line breaks.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect()
}
