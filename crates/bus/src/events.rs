//! Reading events in batches: what side readers with a store of their own do.

use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, pull, push};
use domain::Timestamp;
use domain::event::Kind;
use futures::StreamExt as _;

use crate::state::ReadError;
use crate::work::Delivery;
use crate::{Bus, subject};

/// The broker waits this long for the first message of a batch; then it is asked again.
const PATIENCE: Duration = Duration::from_secs(2);

/// A pull that has not come to its end this long after it should have is dead.
const FORGOTTEN: Duration = Duration::from_secs(5);

/// A reader that forgot to go away is forgotten after this long.
const IDLE: Duration = Duration::from_secs(60);

/// Takes events in batches. What is taken and not acknowledged comes back.
pub struct EventReader {
    consumer: consumer::Consumer<pull::Config>,
    most: usize,
}

/// How far a durable reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Everything up to this position of the stream is acknowledged.
    pub floor: u64,
    /// Events that were not taken yet, or taken and not acknowledged.
    pub behind: u64,
    /// Everything that was stored before this moment is acknowledged.
    pub through: Timestamp,
}

/// Where the stream of events begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Position of the oldest event.
    pub first: u64,
    /// Position of the newest one.
    pub last: u64,
    /// When the oldest event was stored; None: there is none.
    pub since: Option<Timestamp>,
}

impl Bus {
    /// A durable reader of these kinds of events, from the beginning of the stream; all that use the name share it.
    pub async fn event_reader(&self, name: &str, kinds: &[Kind], most: usize) -> anyhow::Result<EventReader> {
        let pending = i64::try_from(most.saturating_mul(4))?;
        let config = self.consumer(name, filters(kinds), pending);
        self.ensure_consumer(subject::EVENT_STREAM, config).await?;
        let stream = self.js.get_stream_no_info(subject::EVENT_STREAM).await?;
        let consumer = stream.get_consumer(name).await.map_err(|err| failed(name, err))?;
        Ok(EventReader { consumer, most })
    }

    /// A reader that leaves no trace, from a position of the stream on. Its messages need no acknowledgement.
    pub async fn reread_events(&self, kinds: &[Kind], from: u64, most: usize) -> anyhow::Result<EventReader> {
        let stream = self.js.get_stream_no_info(subject::EVENT_STREAM).await?;
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.max(1) },
            filter_subjects: filters(kinds),
            inactive_threshold: IDLE,
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await?;
        Ok(EventReader { consumer, most })
    }

    /// Events after a position, in order and each once, for as long as nothing goes wrong.
    pub(crate) async fn ordered_events(
        &self,
        filter_subjects: Vec<String>,
        after: u64,
    ) -> Result<push::Ordered, String> {
        let config = push::OrderedConfig {
            deliver_subject: self.client.new_inbox(),
            filter_subjects,
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
            ..push::OrderedConfig::default()
        };
        let stream =
            self.js.get_stream_no_info(subject::EVENT_STREAM).await.map_err(|err| err.to_string())?;
        let consumer = stream.create_consumer(config).await.map_err(|err| err.to_string())?;
        consumer.messages().await.map_err(|err| err.to_string())
    }

    /// How far a durable reader of events is.
    pub async fn event_position(&self, name: &str) -> anyhow::Result<Position> {
        let asked = self.clock().now();
        let stream = self.js.get_stream_no_info(subject::EVENT_STREAM).await?;
        let info = stream.consumer_info(name).await.map_err(|err| failed(name, err))?;
        let behind = info.num_pending + u64::try_from(info.num_ack_pending).unwrap_or(0);
        let floor = info.ack_floor.stream_sequence;
        if behind == 0 {
            return Ok(Position { floor, behind, through: asked });
        }
        let next = self.next_lying(subject::EVENT_STREAM, subject::EVENT_ALL, floor + 1).await?;
        Ok(Position { floor, behind, through: next.map_or(asked, |event| event.stored_at) })
    }

    /// Position of the newest event.
    pub async fn last_event(&self) -> Result<u64, ReadError> {
        let stream = self.js.get_stream(subject::EVENT_STREAM).await;
        let stream = stream.map_err(|err| ReadError::new(subject::EVENT_STREAM, err))?;
        Ok(stream.cached_info().state.last_sequence)
    }

    /// Where the stream of events begins and ends.
    pub async fn event_extent(&self) -> anyhow::Result<Extent> {
        let stream = self.js.get_stream(subject::EVENT_STREAM).await?;
        let state = &stream.cached_info().state;
        let millis = state.first_timestamp.unix_timestamp_nanos() / 1_000_000;
        let since = (state.messages > 0).then(|| Timestamp(u64::try_from(millis).unwrap_or(0)));
        Ok(Extent { first: state.first_sequence, last: state.last_sequence, since })
    }
}

impl EventReader {
    /// What waits, up to a whole batch. Empty: nothing came for a while.
    pub async fn next(&mut self) -> anyhow::Result<Vec<Delivery>> {
        let waiting = self.take(self.most, None).await?;
        if !waiting.is_empty() {
            return Ok(waiting);
        }
        let mut first = self.take(1, Some(PATIENCE)).await?;
        if !first.is_empty() {
            // What came with it belongs to the same batch.
            first.extend(self.take(self.most - 1, None).await?);
        }
        Ok(first)
    }

    async fn take(&self, most: usize, wait: Option<Duration>) -> anyhow::Result<Vec<Delivery>> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let mut messages = match wait {
            None => self.consumer.fetch().max_messages(most).messages().await?,
            Some(wait) => self.consumer.batch().max_messages(most).expires(wait).messages().await?,
        };
        let mut taken = Vec::new();
        // A pull dies with its connection, and its end is then never told.
        let until = tokio::time::Instant::now() + wait.unwrap_or_default() + FORGOTTEN;
        while let Some(message) = tokio::time::timeout_at(until, messages.next()).await? {
            let message = message.map_err(|err| anyhow::anyhow!("take events from the broker: {err}"))?;
            taken.extend(Delivery::new(message));
        }
        Ok(taken)
    }
}

fn filters(kinds: &[Kind]) -> Vec<String> {
    kinds.iter().map(|kind| subject::events_of(*kind)).collect()
}

fn failed(name: &str, err: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("look the reader of events {name} up: {err}")
}
