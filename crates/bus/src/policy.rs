//! The administrators' records: changed one by one by compare-and-set, held by every process as a whole.

use std::sync::Arc;
use std::time::Duration;

use async_nats::StatusCode;
use bytes::Bytes;
use domain::Timestamp;
use domain::policy::{Change, Key, Policy};
use futures::StreamExt as _;
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::state::ReadError;
use crate::{Bus, Put, PutError, header, subject};

pub(crate) const BUCKET_STREAM: &str = "KV_llm_policy";

/// Records read with one question.
const BATCH: usize = 1000;

/// How often it is checked that no change was missed.
const RECHECK: Duration = Duration::from_secs(30);

/// The same after it could not be asked, as while the broker starts.
const RETRY: Duration = Duration::from_millis(500);

/// Longest wait for the next record of a batch.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a process knows of the records. Cheap to clone.
#[derive(Clone)]
pub struct PolicyView {
    index: Arc<RwLock<Policy>>,
    /// Sequence of the last record applied; moves after the index has it.
    applied: watch::Sender<u64>,
}

impl Default for PolicyView {
    fn default() -> Self {
        Self { index: Arc::default(), applied: watch::Sender::new(0) }
    }
}

impl PolicyView {
    /// Looks something up. Keep it short: changes wait meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&Policy) -> T) -> T {
        look(&self.index.read())
    }

    /// Sequence of the last record applied.
    pub fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    /// Says when there is something new.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Takes one record in, as it came from the store. Records may come twice and late.
    pub fn apply(&self, key: &str, sequence: u64, payload: &[u8]) {
        match self.index.write().apply(key, sequence, payload) {
            Change::Changed(key) => debug!(%key, sequence, "policy changed"),
            Change::Old => {}
            Change::Malformed(reason) => error!(reason, sequence, "keeping the last good record"),
        }
        self.applied.send_if_modified(|last| {
            let newer = sequence > *last;
            *last = sequence.max(*last);
            newer
        });
    }
}

/// A record as it lies in the store.
#[derive(Clone, Debug)]
pub struct PolicyRecord {
    /// Its key's text.
    pub key: String,
    /// Its sequence.
    pub sequence: u64,
    /// Its JSON; empty: removed.
    pub payload: Bytes,
}

/// A message as a direct question finds it.
pub(crate) struct Direct {
    pub(crate) subject: String,
    pub(crate) sequence: u64,
    /// When it was stored; the beginning of time if the broker does not say.
    pub(crate) stored_at: Timestamp,
    pub(crate) payload: Bytes,
}

impl Bus {
    /// Reads one record from the stream's leader. None: there never was one, or it was removed.
    pub async fn policy_record(&self, key: &Key) -> Result<Option<PolicyRecord>, ReadError> {
        let message = self.read_last(BUCKET_STREAM, &subject::policy(&key.to_string())).await?;
        Ok(message.filter(|m| !m.payload.is_empty()).map(|m| PolicyRecord {
            key: key.to_string(),
            sequence: m.sequence,
            payload: m.payload,
        }))
    }

    /// Stores a record if the last one of its key has the sequence `expected`; 0: if there never was one.
    pub async fn put_policy(&self, key: &Key, payload: Bytes, expected: u64) -> Result<u64, PutError> {
        let subject = subject::policy(&key.to_string());
        let put = Put::new(subject.clone(), payload.clone()).expect(expected);
        match self.put(put).await {
            Err(PutError::Conflict) => {
                // The echo of our own first offer, when that was stored and its acknowledgement lost.
                let there = self.read_last(BUCKET_STREAM, &subject).await;
                match there {
                    Ok(Some(there)) if there.payload == payload && there.sequence > expected => {
                        Ok(there.sequence)
                    }
                    _ => Err(PutError::Conflict),
                }
            }
            other => other,
        }
    }

    /// Keeps `view` up to date until `stop`. A change arrives as the broker stores it.
    pub async fn follow_policy(self, view: PolicyView, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let Ok(mut live) = self.subscribe(subject::POLICY_LIVE).await else {
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            };
            let epoch = self.epoch();
            // Subscribed first, so that nothing falls between what is read and what comes.
            let mut caught_up = self.catch_up(&view).await;
            loop {
                let pause = if caught_up { RECHECK } else { RETRY };
                let message = tokio::select! {
                    () = stop.cancelled() => return,
                    message = live.next() => message,
                    () = self.reconnected(epoch) => break,
                    () = tokio::time::sleep(pause) => {
                        caught_up = self.catch_up(&view).await;
                        continue;
                    }
                };
                let Some(message) = message else { break };
                let sequence = message.header("Nats-Sequence").and_then(|s| s.parse::<u64>().ok());
                match (sequence, subject::parse_policy_live(&message.subject)) {
                    (Some(sequence), Some(key)) if sequence == view.applied() + 1 => {
                        view.apply(key, sequence, &message.payload);
                    }
                    // The audit entry of a change has a sequence of its own, so that there is a gap before most changes.
                    (Some(sequence), Some(_)) => {
                        caught_up = self.policy_reached(&view, sequence, PATIENCE).await;
                        if !caught_up {
                            warn!(
                                sequence,
                                "the broker does not have a change that it told of; trying again later"
                            );
                        }
                    }
                    _ => caught_up = self.catch_up(&view).await,
                }
            }
        }
    }

    /// Reads everything once; for whoever needs it before it starts.
    pub async fn load_policy(&self, view: &PolicyView) -> Result<(), ReadError> {
        self.read_policy_after(view).await
    }

    /// Brings `view` to a sequence at least. False: it is not there after `patience`, as when a replica lags.
    pub async fn policy_reached(&self, view: &PolicyView, sequence: u64, patience: Duration) -> bool {
        let until = tokio::time::Instant::now() + patience;
        while view.applied() < sequence {
            self.catch_up(view).await;
            if view.applied() >= sequence {
                break;
            }
            if tokio::time::Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// False: the broker could not be asked.
    async fn catch_up(&self, view: &PolicyView) -> bool {
        let read = self.read_policy_after(view).await;
        if let Err(err) = &read {
            warn!(%err, "keeping the policy as it was");
        }
        read.is_ok()
    }

    /// Applies every record after the last one applied.
    async fn read_policy_after(&self, view: &PolicyView) -> Result<(), ReadError> {
        loop {
            let (batch, more) = self.policy_batch(view.applied() + 1).await?;
            if batch.is_empty() {
                return Ok(());
            }
            for record in batch {
                view.apply(&record.key, record.sequence, &record.payload);
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// The records from a sequence on, in order, at most [`BATCH`], and whether there are more. The broker also ends a
    /// batch early, by its bytes.
    async fn policy_batch(&self, from: u64) -> Result<(Vec<PolicyRecord>, bool), ReadError> {
        let question =
            serde_json::json!({ "seq": from, "next_by_subj": subject::POLICY_ALL, "batch": BATCH });
        let (found, more) = self.direct(BUCKET_STREAM, &question).await?;
        let record = |message: Direct| {
            let key = subject::parse_policy(&message.subject)?.to_owned();
            Some(PolicyRecord { key, sequence: message.sequence, payload: message.payload })
        };
        Ok((found.into_iter().filter_map(record).collect(), more))
    }

    /// Messages of a stream, as a direct question of several asks for them, and whether there are more after them.
    pub(crate) async fn direct(
        &self,
        stream: &str,
        question: &serde_json::Value,
    ) -> Result<(Vec<Direct>, bool), ReadError> {
        let failed = |reason: String| ReadError::new(stream, reason);
        let inbox = self.client.new_inbox();
        let mut answers =
            self.client.subscribe(inbox.clone()).await.map_err(|err| failed(err.to_string()))?;
        self.client
            .publish_with_reply(subject::direct_get(stream), inbox, Bytes::from(question.to_string()))
            .await
            .map_err(|err| failed(err.to_string()))?;
        let mut found = Vec::new();
        loop {
            let answer = tokio::time::timeout(PATIENCE, answers.next()).await;
            let answer = answer.map_err(|_| failed("timed out".to_owned()))?;
            let answer = answer.ok_or_else(|| failed("connection closed".to_owned()))?;
            match answer.status {
                // End of the batch, and nothing from there on.
                Some(status) if [204, 404].contains(&status.as_u16()) => {
                    let left = header(answer.headers.as_ref(), "Nats-Num-Pending");
                    let more = left.and_then(|text| text.parse().ok()).is_some_and(|left: u64| left > 0);
                    return Ok((found, more));
                }
                Some(status) if status != StatusCode::OK => {
                    return Err(failed(answer.description.unwrap_or_else(|| status.to_string())));
                }
                _ => {}
            }
            let headers = answer.headers.as_ref();
            let sequence = header(headers, "Nats-Sequence").and_then(|s| s.parse().ok());
            let (Some(sequence), Some(subject)) = (sequence, header(headers, "Nats-Subject")) else {
                return Err(failed("the broker's answer has no sequence".to_owned()));
            };
            let stored_at = header(headers, "Nats-Time-Stamp").and_then(stored_at).unwrap_or_default();
            found.push(Direct { subject: subject.to_owned(), sequence, stored_at, payload: answer.payload });
        }
    }
}

/// The broker's time of a message.
fn stored_at(text: &str) -> Option<Timestamp> {
    let time = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp)
}
