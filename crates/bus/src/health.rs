//! Health of targets: reports on core subjects, changes of state in a bucket that all routers follow.

use std::time::Duration;

use bytes::Bytes;
use domain::breaker::Tally;
use domain::health::{Record, Report, TargetHealth};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::state::ReadError;
use crate::{Bus, CoreMessage, Put, PutError, Subscription, subject};

/// How often the records are read again in case a change was missed.
const REREAD: Duration = Duration::from_secs(30);

/// How long a router has to say how the targets do.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a router waits for the right to try a half-open target: a request waits with it.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// A record with the target it is about: subjects cannot always be read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stored {
    target: String,
    #[serde(flatten)]
    record: Record,
}

/// What a follower of the targets' health hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// What a process has seen.
    Report(Report),
    /// What is stored of a target.
    Record {
        /// The target.
        target: String,
        /// Its record.
        record: Record,
    },
}

impl Bus {
    /// Tells all routers what was seen. Nothing is stored: who does not listen misses it.
    pub async fn send_health(&self, report: &Report) {
        let payload = Bytes::from(serde_json::to_vec(report).unwrap_or_default());
        self.send(subject::health(&subject::token(&report.from)), payload).await;
    }

    /// Stores what is new in a record. Does nothing if somebody else has said it already; tried again if somebody
    /// else writes meanwhile. Returns what is stored.
    pub async fn share_health(&self, target: &str, record: &Record) -> Result<Record, ShareError> {
        let place = subject::health_record(target);
        loop {
            let stored = self.read_last(subject::HEALTH_STREAM, &place).await?;
            let (known, sequence) = match &stored {
                // What cannot be read is replaced: it can be of no use to anybody.
                Some(message) => (
                    serde_json::from_slice::<Stored>(&message.payload).map(|s| s.record).unwrap_or_default(),
                    message.sequence,
                ),
                None => (Record::default(), 0),
            };
            let merged = known.merged(record);
            if merged == known && sequence > 0 {
                return Ok(known);
            }
            let text = serde_json::to_vec(&Stored { target: target.to_owned(), record: merged.clone() });
            let put = Put::new(place.clone(), Bytes::from(text.unwrap_or_default())).expect(sequence);
            match self.put(put).await {
                Ok(_) => return Ok(merged),
                Err(PutError::Conflict) => {}
                Err(err) => return Err(err.into()),
            }
        }
    }

    /// Closes all circuits of a target, `<workspace>/<queue>`, by an administrator's word. All routers hear of it.
    pub async fn reset_target(&self, target: &str, by: &str) -> Result<(), ShareError> {
        let reset = Record::of_reset(self.clock().now(), by);
        self.share_health(target, &reset).await.map(|_| ())
    }

    /// How the targets do, by the word of a router; without one, what is stored of them.
    pub async fn targets_health(&self) -> Result<Vec<TargetHealth>, ReadError> {
        let answer = self.ask(subject::HEALTH_QUESTION.to_owned(), Bytes::new(), PATIENCE).await;
        if let Some(answer) = answer {
            return serde_json::from_slice(&answer.payload)
                .map_err(|err| ReadError::new(subject::HEALTH_QUESTION, err));
        }
        let now = self.clock().now();
        let shown = |(target, record): (String, Record)| {
            let mut tally = Tally::default();
            tally.adopt(&record);
            tally.show(&target, now, None)
        };
        Ok(self.health_records().await?.into_iter().map(shown).collect())
    }

    /// Answers those who ask how the targets do, with what `tell` says, until the connection is closed.
    pub async fn answer_health(self, tell: impl Fn() -> Vec<TargetHealth>) {
        let Ok(mut questions) = self.subscribe(subject::HEALTH_QUESTION).await else {
            return warn!("could not listen for questions about targets");
        };
        while let Some(question) = questions.next().await {
            if let Some(reply) = question.reply {
                self.send(reply, Bytes::from(serde_json::to_vec(&tell()).unwrap_or_default())).await;
            }
        }
    }

    /// Everything that is stored of targets.
    pub async fn health_records(&self) -> Result<Vec<(String, Record)>, ReadError> {
        let mut found = Vec::new();
        let mut from = 1;
        while let Some(message) =
            self.next_lying(subject::HEALTH_STREAM, subject::HEALTH_RECORDS, from).await?
        {
            from = message.sequence + 1;
            if let Ok(Stored { target, record }) = serde_json::from_slice(&message.payload) {
                found.push((target, record));
            }
        }
        Ok(found)
    }

    /// Hands over what is stored, then every report and every change, until `stop`. Says on `ready` when what was
    /// stored at the beginning has been handed over.
    pub async fn follow_health(
        self,
        hear: impl Fn(Heard) + Send + Sync + 'static,
        ready: CancellationToken,
        stop: CancellationToken,
    ) {
        while !stop.is_cancelled() {
            let subscribed =
                (self.subscribe(subject::HEALTH_ALL).await, self.subscribe(subject::HEALTH_LIVE).await);
            let (Ok(mut reports), Ok(mut changes)) = subscribed else {
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            };
            let epoch = self.epoch();
            let mut reread = tokio::time::interval(REREAD);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.reconnected(epoch) => break,
                    more = hear_next(&mut reports, &mut changes, &hear) => if !more { break },
                    _ = reread.tick() => match self.health_records().await {
                        Ok(records) => {
                            records.into_iter().for_each(|(target, record)| hear(Heard::Record { target, record }));
                            ready.cancel();
                        }
                        Err(err) => warn!(%err, "could not read what is stored of targets' health"),
                    },
                }
            }
        }
    }

    /// Takes the right to try a half-open target: one process has it at a time, for `ttl` unless it gives it back.
    /// None: somebody else has it, or the broker cannot say.
    pub async fn take_probe(&self, target: &str, ttl: Duration) -> Option<Probe> {
        let name = format!("probe.{}", subject::token(target));
        let owner = Bytes::from(self.options().name.clone());
        let put = Put::new(subject::lease(&name), owner).expect(0).ttl(ttl).patience(PROBE_PATIENCE);
        match self.put(put).await {
            Ok(sequence) => Some(Probe { sequence }),
            Err(_) => None,
        }
    }

    /// Gives the right back.
    pub async fn give_back_probe(&self, probe: Probe) {
        if let Err(err) = self.delete_lying(subject::STATE_STREAM, probe.sequence).await {
            warn!(%err, "could not give the right to try a target back; it expires");
        }
    }
}

/// The right to try a half-open target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    sequence: u64,
}

/// Why a target's record was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It could not be written.
    #[error(transparent)]
    Put(#[from] PutError),
}

/// Hands the next message over. False: the connection is closed.
async fn hear_next(reports: &mut Subscription, changes: &mut Subscription, hear: &impl Fn(Heard)) -> bool {
    let (message, heard) = tokio::select! {
        message = reports.next() => (message.is_some(), message.as_ref().and_then(report)),
        message = changes.next() => (message.is_some(), message.as_ref().and_then(record)),
    };
    heard.into_iter().for_each(hear);
    message
}

fn report(message: &CoreMessage) -> Option<Heard> {
    read(message).map(Heard::Report)
}

fn record(message: &CoreMessage) -> Option<Heard> {
    read(message).map(|Stored { target, record }| Heard::Record { target, record })
}

fn read<T: serde::de::DeserializeOwned>(message: &CoreMessage) -> Option<T> {
    match serde_json::from_slice(&message.payload) {
        Ok(value) => Some(value),
        Err(err) => {
            warn!(subject = message.subject, %err, "a report about targets' health is malformed; dropped");
            None
        }
    }
}
