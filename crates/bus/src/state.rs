//! Compare-and-set records: claims of attempts, cancel flags, status of asynchronous requests, leases.

use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, LastRawMessageErrorKind};
use bytes::Bytes;
use domain::{Envelope, RequestId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Bus, Put, PutError, subject};

/// Claims and flags outlive the request by this much, so that late redeliveries still find them.
pub(crate) const AFTERLIFE: Duration = Duration::from_secs(3600);

/// Who runs an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Position of the call message. Another position is another message for the same attempt: a duplicate.
    pub call: u64,
    /// Which delivery of it.
    pub delivery: i64,
    /// The worker process.
    pub worker: String,
    /// When.
    pub at: Timestamp,
}

/// What became of trying to claim an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is ours.
    Mine,
    /// Somebody else was first.
    Held(Claim),
}

/// State of an asynchronous request before it has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When it was taken on.
    pub accepted_at: Timestamp,
    /// When it has to be finished.
    pub deadline: Timestamp,
    /// What it asks for.
    pub operation: domain::Operation,
    /// The model named.
    #[serde(default)]
    pub model: Option<String>,
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
#[error("could not read {subject} from the broker: {reason}")]
pub struct ReadError {
    subject: String,
    reason: String,
}

impl ReadError {
    pub(crate) fn new(subject: &str, reason: impl std::fmt::Display) -> Self {
        Self { subject: subject.to_owned(), reason: reason.to_string() }
    }
}

impl Bus {
    /// Claims an attempt for one delivery of its call. Safe to repeat.
    pub async fn claim(
        &self,
        envelope: &Envelope,
        number: u32,
        claim: &Claim,
    ) -> Result<Claimed, ClaimError> {
        let subject = subject::claim(&envelope.request, number);
        let payload = Bytes::from(serde_json::to_vec(claim).unwrap_or_default());
        let put = Put::new(subject.clone(), payload).expect(0).ttl(self.lifetime(envelope.deadline));
        match self.put(put).await {
            Ok(_) => Ok(Claimed::Mine),
            Err(PutError::Conflict) => {
                let held = self.read_last(subject::STATE_STREAM, &subject).await?;
                let held = held.and_then(|m| serde_json::from_slice::<Claim>(&m.payload).ok());
                match held {
                    // The echo of our own first offer.
                    Some(held) if held == *claim => Ok(Claimed::Mine),
                    Some(held) => Ok(Claimed::Held(held)),
                    None => Err(ClaimError::Read(ReadError::new(&subject, "it is gone or malformed"))),
                }
            }
            Err(err) => Err(ClaimError::Put(err)),
        }
    }

    /// Who claimed an attempt, if anybody did.
    pub async fn claim_of(&self, request: &RequestId, number: u32) -> Result<Option<Claim>, ReadError> {
        let subject = subject::claim(request, number);
        let message = self.read_last(subject::STATE_STREAM, &subject).await?;
        Ok(message.and_then(|m| serde_json::from_slice(&m.payload).ok()))
    }

    /// Marks a request as unwanted, for work that has not begun, and tells those who are at it.
    pub async fn cancel(&self, request: &RequestId, keep: Duration) -> Result<(), PutError> {
        let put = Put::new(subject::cancel_flag(request), Bytes::new()).ttl(keep + AFTERLIFE);
        // The flag first: whoever hears the call finds it.
        let stored = self.put(put).await.map(|_| ());
        self.send(subject::cancel(request), Bytes::new()).await;
        stored
    }

    /// Whether a request was marked as unwanted.
    pub async fn is_cancelled(&self, request: &RequestId) -> Result<bool, ReadError> {
        let message = self.read_near(subject::STATE_STREAM, &subject::cancel_flag(request)).await?;
        Ok(message.is_some())
    }

    /// Notes that an asynchronous request was taken on.
    pub async fn put_status(&self, request: &RequestId, status: &Status) -> Result<(), PutError> {
        let payload = Bytes::from(serde_json::to_vec(status).unwrap_or_default());
        let keep = self.lifetime(status.deadline);
        self.put(Put::new(subject::status(request), payload).ttl(keep)).await.map(|_| ())
    }

    /// The status of an asynchronous request.
    pub async fn status(&self, request: &RequestId) -> Result<Option<Status>, ReadError> {
        let message = self.read_last(subject::STATE_STREAM, &subject::status(request)).await?;
        Ok(message.and_then(|m| serde_json::from_slice(&m.payload).ok()))
    }

    /// Takes or renews a lease. `held` is the sequence of our last renewal, 0 at first. None: somebody else has it.
    pub async fn lease(&self, name: &str, held: u64, ttl: Duration) -> Result<Option<u64>, PutError> {
        let owner = Bytes::from(self.options().name.clone());
        let put =
            |expect| Put::new(subject::lease(name), owner.clone()).expect(expect).ttl(ttl).patience(ttl / 2);
        match self.put(put(held)).await {
            Ok(sequence) => Ok(Some(sequence)),
            // Ours may have expired meanwhile.
            Err(PutError::Conflict) if held > 0 => match self.put(put(0)).await {
                Ok(sequence) => Ok(Some(sequence)),
                Err(PutError::Conflict) => Ok(None),
                Err(err) => Err(err),
            },
            Err(PutError::Conflict) => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Who holds a lease, as its process is named. None: nobody.
    pub async fn lease_holder(&self, name: &str) -> Result<Option<String>, ReadError> {
        let held = self.read_last(subject::STATE_STREAM, &subject::lease(name)).await?;
        Ok(held.map(|message| String::from_utf8_lossy(&message.payload).into_owned()))
    }

    /// Gives a lease back, so that the next one need not wait until it expires. `held` is our last renewal.
    pub async fn give_back(&self, name: &str, held: u64) {
        if let Err(err) = self.delete_lying(subject::STATE_STREAM, held).await {
            tracing::debug!(%err, name, "could not give a lease back; it will expire");
        }
    }

    /// How long records of a request are kept.
    pub(crate) fn lifetime(&self, deadline: Timestamp) -> Duration {
        deadline.since(self.clock().now()) + AFTERLIFE
    }

    /// The last message of a subject, from the stream's leader: sees every acknowledged write.
    pub(crate) async fn read_last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<StreamMessage>, ReadError> {
        let handle = self.js.get_stream_no_info(stream).await.map_err(|err| ReadError::new(subject, err))?;
        match handle.get_last_raw_message_by_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(err) if err.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(err) => Err(ReadError::new(subject, err)),
        }
    }

    /// The last message of a subject, from whichever replica answers first: cheap, may lag.
    pub(crate) async fn read_near(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<StreamMessage>, ReadError> {
        let handle = self.js.get_stream_no_info(stream).await.map_err(|err| ReadError::new(subject, err))?;
        match handle.direct_get_last_for_subject(subject).await {
            Ok(message) => Ok(Some(message)),
            Err(err) if err.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(err) => Err(ReadError::new(subject, err)),
        }
    }
}

/// Why an attempt could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The claim could not be written.
    #[error(transparent)]
    Put(#[from] PutError),
    /// Another's claim could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
