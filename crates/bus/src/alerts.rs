//! Alerts on the broker: what they remember, what they said, and notices on their way to channels.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use domain::alert::{Book, Delivery, Letter, Notice};
use domain::{Event, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::policy::Direct;
use crate::state::ReadError;
use crate::{Bus, Put, PutError, subject};

/// Events read with one question.
const BATCH: usize = 1000;

/// Everything that alerts remember. One process at a time writes it, by compare-and-set.
///
/// What is to be said is written together with the state that made it due, and said afterwards: so whoever goes on
/// after a crash says it, once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// Position of the last event that was read.
    pub events: u64,
    /// What was seen, and which alerts are raised.
    pub book: Book,
    /// Notices that may not have been said yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbox: Vec<Notice>,
    /// Channels by name, each with what it is.
    #[serde(default)]
    pub channels: BTreeMap<String, String>,
    /// When it was written.
    pub at: Timestamp,
    /// Who wrote it.
    pub by: String,
}

/// An event with its place.
#[derive(Clone, Debug)]
pub struct PlacedEvent {
    /// Its position.
    pub sequence: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// None: it cannot be read.
    pub event: Option<Event>,
}

impl Bus {
    /// What alerts remember, with the sequence of the record; 0: nothing has been written.
    pub async fn alert_record(&self) -> Result<(Option<AlertRecord>, u64), ReadError> {
        let stored = self.read_last(subject::ALERT_STREAM, subject::ALERT_RECORD).await?;
        let Some(stored) = stored else { return Ok((None, 0)) };
        let record = serde_json::from_slice(&stored.payload);
        if let Err(err) = &record {
            tracing::error!(%err, "what alerts remember cannot be read: they begin anew");
        }
        Ok((record.ok(), stored.sequence))
    }

    /// Writes what alerts remember if the last record has the sequence `expected`. Returns the new sequence.
    pub async fn put_alert_record(&self, record: Bytes, expected: u64) -> Result<u64, PutError> {
        self.put(Put::new(subject::ALERT_RECORD.to_owned(), record).expect(expected)).await
    }

    /// Events after a position, in order, and whether there are more.
    pub async fn events_after(&self, position: u64) -> Result<(Vec<PlacedEvent>, bool), ReadError> {
        let question = json!({ "seq": position + 1, "next_by_subj": subject::EVENT_ALL, "batch": BATCH });
        let (found, more) = self.direct(subject::EVENT_STREAM, &question).await?;
        let place = |message: Direct| {
            let event = serde_json::from_slice(&message.payload);
            if let Err(err) = &event {
                tracing::warn!(%err, sequence = message.sequence, "an event cannot be read; left out");
            }
            PlacedEvent { sequence: message.sequence, stored_at: message.stored_at, event: event.ok() }
        };
        Ok((found.into_iter().map(place).collect(), more))
    }

    /// Whether a notice has been said: its letters were handed over before.
    pub async fn is_said(&self, notice: &Notice) -> Result<bool, ReadError> {
        let stored = self.read_last(subject::ALERT_STREAM, &subject::alert_notice(&notice.id)).await?;
        Ok(stored.is_some())
    }

    /// Keeps a notice for the history. Safe to repeat.
    pub async fn keep_notice(&self, notice: &Notice) -> Result<(), PutError> {
        let payload = Bytes::from(serde_json::to_vec(notice).unwrap_or_default());
        match self.put(Put::new(subject::alert_notice(&notice.id), payload).expect(0)).await {
            Ok(_) | Err(PutError::Conflict) => Ok(()),
            Err(err) => Err(err),
        }
    }

    /// Hands a letter over to whoever sends it.
    pub async fn send_letter(&self, letter: &Letter) -> Result<(), PutError> {
        let payload = Bytes::from(serde_json::to_vec(letter).unwrap_or_default());
        let once = format!("{}.{}.{}", letter.notice.id, letter.channel, letter.attempt);
        let put = Put::new(subject::notice(&letter.channel), payload).header("Nats-Msg-Id", &once);
        self.put(put).await.map(|_| ())
    }

    /// Hands a letter over after a delay; survives a restart of everything. Safe to repeat.
    pub async fn delay_letter(&self, letter: &Letter, after: Duration) -> Result<Timestamp, PutError> {
        let at = self.clock().now().plus(after);
        let place = subject::notice_later(&letter.notice.id, &letter.channel, letter.attempt);
        let payload = Bytes::from(serde_json::to_vec(letter).unwrap_or_default());
        let put = Put::new(place, payload)
            .header("Nats-Schedule", &format!("@at {}", crate::requests::calendar(at)?))
            .header("Nats-Schedule-Target", &subject::notice(&letter.channel))
            .expect(0);
        match self.put(put).await {
            Ok(_) | Err(PutError::Conflict) => Ok(at),
            Err(err) => Err(err),
        }
    }

    /// Notes what became of a letter.
    pub async fn note_delivery(&self, delivery: &Delivery) -> Result<(), PutError> {
        let place = subject::alert_delivery(&delivery.notice, &delivery.channel);
        let payload = Bytes::from(serde_json::to_vec(delivery).unwrap_or_default());
        self.put(Put::new(place, payload)).await.map(|_| ())
    }

    /// What became of a notice at a channel so far.
    pub async fn delivery(&self, notice: &str, channel: &str) -> Result<Option<Delivery>, ReadError> {
        let place = subject::alert_delivery(notice, channel);
        let stored = self.read_last(subject::ALERT_STREAM, &place).await?;
        Ok(stored.and_then(|message| serde_json::from_slice(&message.payload).ok()))
    }

    /// Notices since a time, oldest first.
    pub async fn notices(&self, since: Timestamp) -> Result<Vec<Notice>, ReadError> {
        self.said_since(subject::ALERT_NOTICES, since).await
    }

    /// What became of notices since a time.
    pub async fn deliveries(&self, since: Timestamp) -> Result<Vec<Delivery>, ReadError> {
        self.said_since(subject::ALERT_DELIVERIES, since).await
    }

    async fn said_since<T: serde::de::DeserializeOwned>(
        &self,
        filter: &str,
        since: Timestamp,
    ) -> Result<Vec<T>, ReadError> {
        let (mut from, mut found) = (1, Vec::new());
        loop {
            let question = json!({ "seq": from, "next_by_subj": filter, "batch": BATCH });
            let (batch, more) = self.direct(subject::ALERT_STREAM, &question).await?;
            let Some(last) = batch.last() else { return Ok(found) };
            from = last.sequence + 1;
            let wanted = batch.iter().filter(|message| message.stored_at >= since);
            found.extend(wanted.filter_map(|message| serde_json::from_slice(&message.payload).ok()));
            if !more {
                return Ok(found);
            }
        }
    }
}
