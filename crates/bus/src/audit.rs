//! Changes of the administrators' records: stored in one act with their audit entry, or not at all.

use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use domain::audit::{Entry, Filter};
use domain::policy::Key;
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::policy::{BUCKET_STREAM, Direct};
use crate::publish::refusal;
use crate::state::ReadError;
use crate::{Bus, Headers, PutError, subject};

/// How long a change is offered again while the broker has no leader for it.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long it is remembered what was answered to a question that may be sent twice.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Sequences looked at with one question for audit entries, at first.
const WINDOW: u64 = 1000;

/// A record to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Where.
    pub key: Key,
    /// Its JSON.
    pub payload: Bytes,
    /// Sequence that the last record of the key has; 0: there never was one.
    pub expected: u64,
}

/// What is stored together. The last write is the one whose sequence counts as the change's.
#[derive(Clone, Debug)]
pub struct PolicyChange {
    /// The records; none: something is to be done elsewhere, and only the entry is stored here.
    pub writes: Vec<Write>,
    /// Who did it.
    pub audit: Entry,
    /// Place (a hash) and text of an answer that is remembered, so that the question can be sent again.
    pub answer: Option<(String, Bytes)>,
}

/// An answer that was remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The sequence of the remembered answer's own record.
    pub sequence: u64,
    /// Its text.
    pub payload: Bytes,
}

/// Audit entries, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// Those that were wanted.
    pub entries: Vec<Entry>,
    /// There may be more: the search ended at its limit.
    pub more: bool,
}

struct Message {
    subject: String,
    headers: Headers,
    payload: Bytes,
}

impl PolicyChange {
    /// The messages in their order: what is read by its sequence comes last.
    fn messages(&self) -> Vec<Message> {
        let message = |subject: String, payload: Bytes, expected: u64| {
            let mut headers = Headers::new();
            headers.insert("Nats-Expected-Last-Subject-Sequence", expected.to_string().as_str());
            Message { subject, headers, payload }
        };
        let entry = Bytes::from(serde_json::to_vec(&self.audit).unwrap_or_default());
        let mut messages = vec![message(subject::audit(&self.audit.workspace_id, &self.audit.id), entry, 0)];
        if let Some((place, answer)) = &self.answer {
            let mut remembered = message(subject::once(place), answer.clone(), 0);
            remembered.headers.insert("Nats-TTL", format!("{}s", REMEMBERED.as_secs()).as_str());
            messages.push(remembered);
        }
        messages.extend(self.writes.iter().map(|write| {
            message(subject::policy(&write.key.to_string()), write.payload.clone(), write.expected)
        }));
        messages
    }

    /// How far the change's sequence is behind that of the remembered answer.
    pub fn behind_answer(&self) -> u64 {
        self.writes.len() as u64
    }
}

/// The broker's word on a batch.
#[derive(Deserialize)]
struct Ack {
    seq: Option<u64>,
    error: Option<AckError>,
}

#[derive(Deserialize)]
struct AckError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl Bus {
    /// Stores a change and its audit entry in one act. Returns the change's sequence.
    ///
    /// A change that was stored although its acknowledgement was lost is recognised by its audit entry.
    pub async fn change_policy(&self, change: &PolicyChange) -> Result<u64, PutError> {
        let messages = change.messages();
        let until = Instant::now() + PATIENCE;
        let mut wait = Duration::from_millis(20);
        loop {
            let err = match tokio::time::timeout_at(until, self.offer_batch(&messages)).await {
                Ok(Ok(sequence)) => return Ok(sequence),
                Ok(Err(err)) => err,
                Err(_) => PutError::Unavailable("timed out".to_owned()),
            };
            if matches!(err, PutError::Conflict | PutError::Unavailable(_))
                && let Ok(Some(there)) = self.read_last(BUCKET_STREAM, &messages[0].subject).await
            {
                return Ok(there.sequence + messages.len() as u64 - 1);
            }
            if !matches!(err, PutError::Unavailable(_)) || Instant::now() + wait >= until {
                return Err(err);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_millis(500));
        }
    }

    /// One atomic batch: the broker stores all messages or none.
    async fn offer_batch(&self, messages: &[Message]) -> Result<u64, PutError> {
        let lost = |err: &dyn std::fmt::Display| PutError::Unavailable(err.to_string());
        self.wait_up().await;
        let epoch = self.epoch();
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.map_err(|err| lost(&err))?;
        // Any unique text of at most 64 characters; the inbox is made from a good source.
        let batch: String = inbox.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        for (number, message) in (1..).zip(messages) {
            let mut headers = message.headers.clone();
            headers.insert("Nats-Batch-Id", batch.as_str());
            headers.insert("Nats-Batch-Sequence", number.to_string().as_str());
            let (subject, payload) = (message.subject.clone(), message.payload.clone());
            if number < messages.len() {
                self.client
                    .publish_with_headers(subject, headers, payload)
                    .await
                    .map_err(|err| lost(&err))?;
                continue;
            }
            headers.insert("Nats-Batch-Commit", "1");
            self.client
                .publish_with_reply_and_headers(subject, inbox.clone(), headers, payload)
                .await
                .map_err(|err| lost(&err))?;
        }
        let answer = tokio::select! {
            answer = answers.next() => answer,
            () = self.reconnected(epoch) => return Err(lost(&"connection lost")),
        };
        let answer = answer.ok_or_else(|| lost(&"connection closed"))?;
        let ack: Ack = serde_json::from_slice(&answer.payload).map_err(|_| lost(&"no leader"))?;
        match ack {
            Ack { error: Some(err), .. } => Err(refusal(err.err_code, err.description)),
            Ack { seq: Some(sequence), .. } => Ok(sequence),
            Ack { .. } => Err(lost(&"the acknowledgement has no sequence")),
        }
    }

    /// What was answered to a question that is sent again. `place` as in [`PolicyChange::answer`].
    pub async fn remembered(&self, place: &str) -> Result<Option<Remembered>, ReadError> {
        let message = self.read_last(BUCKET_STREAM, &subject::once(place)).await?;
        Ok(message.map(|m| Remembered { sequence: m.sequence, payload: m.payload }))
    }

    /// The newest entries that a filter wants, at most `most`; looks at no more than `most` and a window at once.
    pub async fn audit(&self, filter: &Filter, most: usize) -> Result<Audit, ReadError> {
        let subject = subject::audit_all(filter.workspace.as_ref());
        let first = match filter.from {
            None => Some(1),
            Some(from) => self.first_audit_at(&subject, from).await?,
        };
        let Some(first) = first else { return Ok(Audit { entries: Vec::new(), more: false }) };
        let end = match filter.until {
            None => None,
            Some(until) => self.first_audit_at(&subject, until).await?,
        };
        let mut end = match end {
            Some(end) => end,
            None => self.policy_end().await?,
        };
        let (mut found, mut window) = (Audit { entries: Vec::new(), more: false }, WINDOW);
        while end > first {
            let start = end.saturating_sub(window).max(first);
            let entries = self.audit_between(&subject, start, end).await?;
            // A workspace with few changes is found with few questions.
            window = if entries.len() < 100 { window * 4 } else { WINDOW };
            found.entries.extend(entries.into_iter().rev().filter(|entry| filter.wants(entry)));
            end = start;
            if found.entries.len() > most {
                found.entries.truncate(most);
                found.more = true;
                break;
            }
        }
        Ok(found)
    }

    /// Sequence of the first entry stored at a time or later.
    async fn first_audit_at(&self, subject: &str, at: Timestamp) -> Result<Option<u64>, ReadError> {
        let nanos = i128::from(at.0) * 1_000_000;
        let time = time::OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
        let time = time.and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok());
        let Some(time) = time else { return Ok(None) };
        let question = json!({ "start_time": time, "next_by_subj": subject, "batch": 1 });
        let (found, _) = self.direct(BUCKET_STREAM, &question).await?;
        Ok(found.first().map(|message| message.sequence))
    }

    /// The sequence after the last one.
    async fn policy_end(&self) -> Result<u64, ReadError> {
        let stream = self.js.get_stream(BUCKET_STREAM).await;
        let stream = stream.map_err(|err| ReadError::new(BUCKET_STREAM, err))?;
        Ok(stream.cached_info().state.last_sequence + 1)
    }

    async fn audit_between(&self, subject: &str, start: u64, end: u64) -> Result<Vec<Entry>, ReadError> {
        let mut entries = Vec::new();
        let mut from = start;
        loop {
            let question = json!({ "seq": from, "next_by_subj": subject, "batch": WINDOW });
            let (batch, more) = self.direct(BUCKET_STREAM, &question).await?;
            let more = more && !batch.is_empty();
            for Direct { sequence, payload, .. } in batch {
                if sequence >= end {
                    return Ok(entries);
                }
                from = sequence + 1;
                match serde_json::from_slice(&payload) {
                    Ok(entry) => entries.push(entry),
                    Err(err) => tracing::error!(%err, sequence, "an audit entry cannot be read"),
                }
            }
            if !more || from >= end {
                return Ok(entries);
            }
        }
    }
}
