//! Storing messages: retried through elections and reconnects, with the broker's refusals told apart.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use tokio::time::Instant;

use crate::{Bus, Headers};

/// A message to store.
#[derive(Clone, Debug)]
pub struct Put {
    subject: async_nats::Subject,
    message: PublishMessage,
    patience: Duration,
    /// What is expected stands on a subject that others expect things of, too.
    shared: bool,
}

/// How long a message is offered again while the broker has no leader for it: longer than an election (9 s).
const PATIENCE: Duration = Duration::from_secs(15);

impl Put {
    /// A message for a subject.
    pub fn new(subject: String, payload: Bytes) -> Self {
        Self {
            subject: subject.into(),
            message: PublishMessage::build().payload(payload),
            patience: PATIENCE,
            shared: false,
        }
    }

    /// With these headers.
    #[must_use]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.message = self.message.headers(headers);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.message = self.message.header(name, value);
        self
    }

    /// Only if the last message of the subject has this sequence; 0: only if there is none.
    #[must_use]
    pub fn expect(mut self, sequence: u64) -> Self {
        self.message = self.message.expected_last_subject_sequence(sequence);
        self
    }

    /// Only if the last message of another subject has this sequence. Many messages may expect the same.
    #[must_use]
    pub(crate) fn expect_of(mut self, subject: &str, sequence: u64) -> Self {
        self.shared = true;
        self.expect(sequence).header("Nats-Expected-Last-Subject-Sequence-Subject", subject)
    }

    /// Forgotten after this long; the broker counts whole seconds.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        let seconds = ttl.as_millis().div_ceil(1000).max(1);
        self.message = self.message.ttl(Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)));
        self
    }

    /// Gives up after this long instead of the default.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// Why a message was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Another message stands where a certain one was expected.
    #[error("somebody else wrote first")]
    Conflict,
    /// The subject has as many messages as it may have.
    #[error("the backlog of this subject is full")]
    BacklogFull,
    /// The broker has no room left.
    #[error("the broker's storage is full")]
    StorageFull,
    /// The message is larger than the broker takes.
    #[error("the message is larger than the broker accepts: {0}")]
    TooLarge(String),
    /// Nobody took the message in the time allowed. It may have been stored all the same.
    #[error("the broker did not confirm the message: {0}")]
    Unavailable(String),
}

impl Bus {
    /// Stores a message and returns its sequence. Offers it again while the broker is away or has no leader,
    /// so it may be stored twice: readers are idempotent, and [`Put::expect`] makes it once.
    ///
    /// After a repeated offer a [`PutError::Conflict`] may be the echo of the first one:
    /// compare what is stored before giving up.
    pub async fn put(&self, put: Put) -> Result<u64, PutError> {
        let until = Instant::now() + put.patience;
        // A replicated stream takes one message at a time that expects something of a subject.
        let mut wait = Duration::from_millis(if put.shared { 2 } else { 20 });
        loop {
            let err = match tokio::time::timeout_at(until, self.offer(&put)).await {
                Ok(Ok(sequence)) => return Ok(sequence),
                Ok(Err(err)) => err,
                Err(_) => return Err(PutError::Unavailable("timed out".to_owned())),
            };
            let PutError::Unavailable(_) = &err else { return Err(err) };
            if Instant::now() + wait >= until {
                return Err(err);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_millis(500));
        }
    }

    async fn offer(&self, put: &Put) -> Result<u64, PutError> {
        self.wait_up().await;
        let epoch = self.epoch();
        let stored = async {
            let acknowledged = self.js.send_publish(put.subject.clone(), put.message.clone()).await?;
            acknowledged.await
        };
        tokio::select! {
            stored = stored => stored.map(|ack| ack.sequence).map_err(|err| match put.shared && is_in_flight(&err) {
                true => PutError::Unavailable("another message expects the same".to_owned()),
                false => classify(err),
            }),
            // The acknowledgement of a lost connection never comes: offer again as soon as there is a new one.
            () = self.reconnected(epoch) => Err(PutError::Unavailable("connection lost".to_owned())),
        }
    }
}

/// JetStream error codes, from the server's `errors.json`.
mod code {
    pub(super) const MAXIMUM_EXCEEDED: u64 = 10077;
    pub(super) const WRONG_LAST_SEQUENCE: u64 = 10071;
    pub(super) const WRITE_IN_FLIGHT: u64 = 10164;
    pub(super) const INSUFFICIENT_RESOURCES: u64 = 10023;
    pub(super) const STORAGE_EXCEEDED: u64 = 10047;
    pub(super) const HEADERS_TOO_LARGE: u64 = 10097;
    pub(super) const MESSAGE_TOO_LARGE: u64 = 10054;
}

fn classify(err: PublishError) -> PutError {
    match err.kind() {
        PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => PutError::Conflict,
        PublishErrorKind::MaxPayloadExceeded => PutError::TooLarge(err.to_string()),
        PublishErrorKind::Other => classify_code(&err),
        _ => PutError::Unavailable(err.to_string()),
    }
}

/// The broker has compared nothing: another write that expects something of the subject is under way.
fn is_in_flight(err: &PublishError) -> bool {
    let source = std::error::Error::source(err).and_then(|s| s.downcast_ref::<jetstream::Error>());
    source.is_some_and(|source| source.error_code().0 == code::WRITE_IN_FLIGHT)
}

fn classify_code(err: &PublishError) -> PutError {
    let source = std::error::Error::source(err).and_then(|s| s.downcast_ref::<jetstream::Error>());
    let Some(source) = source else { return PutError::Unavailable(err.to_string()) };
    refusal(source.error_code().0, source.to_string())
}

/// What the broker's refusal of a message means, by its code and words.
pub(crate) fn refusal(code: u64, words: String) -> PutError {
    match code {
        code::WRONG_LAST_SEQUENCE | code::WRITE_IN_FLIGHT => PutError::Conflict,
        code::MAXIMUM_EXCEEDED if words.contains("bytes") => PutError::StorageFull,
        code::MAXIMUM_EXCEEDED => PutError::BacklogFull,
        code::INSUFFICIENT_RESOURCES | code::STORAGE_EXCEEDED => PutError::StorageFull,
        code::HEADERS_TOO_LARGE | code::MESSAGE_TOO_LARGE => PutError::TooLarge(words),
        _ => PutError::Unavailable(words),
    }
}
