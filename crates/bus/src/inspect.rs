//! Looking at what is on the bus, for people and for housekeeping.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use async_nats::jetstream::stream::{DirectGetErrorKind, RawMessageErrorKind};
use bytes::Bytes;
use domain::outcome::Kind;
use domain::{BodyRef, Envelope, Record, RequestId, Timestamp, Workspace};
use futures::TryStreamExt as _;
use serde::Serialize;

use crate::state::ReadError;
use crate::{Bus, Headers, Put, PutError, header, subject, work};

/// One stream and its consumers.
#[derive(Clone, Debug, Serialize)]
pub struct StreamReport {
    /// Its name.
    pub name: String,
    /// Messages in it.
    pub messages: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Sequence of the newest message.
    pub last_sequence: u64,
    /// When the oldest message was stored, in milliseconds since 1970.
    pub oldest_at: Option<u64>,
    /// Its consumers.
    pub consumers: Vec<ConsumerReport>,
}

/// One consumer.
#[derive(Clone, Debug, Serialize)]
pub struct ConsumerReport {
    /// Its name.
    pub name: String,
    /// Messages that wait for it.
    pub pending: u64,
    /// Messages that were delivered and not yet acknowledged.
    pub in_flight: usize,
    /// Most messages it may have in flight.
    pub limit: i64,
    /// Messages that were delivered more than once.
    pub redelivered: usize,
    /// Pull requests that wait for messages.
    pub waiting_pulls: usize,
}

/// Use of the broker's storage.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Storage {
    /// Bytes in use.
    pub used: u64,
    /// Bytes allowed: the account's limit, else the one in our own settings.
    pub limit: u64,
}

/// A message as it lies in a stream.
#[derive(Clone, Debug)]
pub struct Lying {
    /// Its position.
    pub sequence: u64,
    /// Its subject.
    pub subject: String,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Its bytes.
    pub payload: Bytes,
    headers: Headers,
}

impl Lying {
    /// Looks a header up without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(Some(&self.headers), name)
    }

    /// All headers, one value each.
    pub fn headers(&self) -> BTreeMap<String, String> {
        let one = |(name, values): (&async_nats::HeaderName, &Vec<async_nats::HeaderValue>)| {
            Some((AsRef::<str>::as_ref(name).to_owned(), values.last()?.as_str().to_owned()))
        };
        self.headers.iter().filter_map(one).collect()
    }
}

impl Bus {
    /// All our streams with their consumers; missing ones are left out.
    pub async fn streams(&self) -> anyhow::Result<Vec<StreamReport>> {
        let mut reports = Vec::new();
        for config in self.stream_configs() {
            let Ok(stream) = self.js.get_stream(&config.name).await else { continue };
            let info = stream.cached_info();
            let consumers: Vec<_> = stream.consumers().try_collect().await?;
            let oldest = info.state.first_timestamp.unix_timestamp_nanos() / 1_000_000;
            reports.push(StreamReport {
                name: config.name,
                messages: info.state.messages,
                bytes: info.state.bytes,
                last_sequence: info.state.last_sequence,
                oldest_at: (info.state.messages > 0).then(|| u64::try_from(oldest).unwrap_or(0)),
                consumers: consumers.into_iter().map(consumer_report).collect(),
            });
        }
        Ok(reports)
    }

    /// Use of the broker's file storage (memory storage when streams are kept there).
    pub async fn storage(&self) -> anyhow::Result<Storage> {
        let account = self.js.query_account().await?;
        let (used, limit) = if self.options().memory {
            (account.memory, account.limits.max_memory)
        } else {
            (account.storage, account.limits.max_storage)
        };
        let limit = limit.and_then(|l| u64::try_from(l).ok()).filter(|l| *l > 0);
        Ok(Storage { used, limit: limit.unwrap_or(self.options().store_limit) })
    }

    /// Version of the broker.
    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// The next message at or after a position whose subject matches. None: there is none.
    pub async fn next_lying(
        &self,
        stream: &str,
        filter: &str,
        from: u64,
    ) -> Result<Option<Lying>, ReadError> {
        let handle = self.js.get_stream_no_info(stream).await.map_err(|err| ReadError::new(filter, err))?;
        match handle.direct_get_next_for_subject(filter, Some(from)).await {
            Ok(message) => Ok(Some(Lying {
                sequence: message.sequence,
                subject: message.subject.to_string(),
                stored_at: Timestamp(
                    u64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
                ),
                payload: message.payload,
                headers: message.headers,
            })),
            Err(err) if err.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(err) => Err(ReadError::new(filter, err)),
        }
    }

    /// Whether a message still lies where it was, by the leader's word.
    pub async fn still_lies(&self, stream: &str, sequence: u64) -> Result<bool, ReadError> {
        let handle = self.js.get_stream_no_info(stream).await.map_err(|err| ReadError::new(stream, err))?;
        match handle.get_raw_message(sequence).await {
            Ok(_) => Ok(true),
            Err(err) if err.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
            Err(err) => Err(ReadError::new(stream, err)),
        }
    }

    /// Deletes one message. Absence is success.
    pub async fn delete_lying(&self, stream: &str, sequence: u64) -> Result<(), ReadError> {
        let handle = self.js.get_stream_no_info(stream).await.map_err(|err| ReadError::new(stream, err))?;
        match handle.delete_message(sequence).await {
            Ok(_) => Ok(()),
            Err(err) => match self.still_lies(stream, sequence).await? {
                true => Err(ReadError::new(stream, err)),
                false => Ok(()),
            },
        }
    }

    /// How many messages lie on each subject of the calls.
    pub async fn call_backlog(&self) -> anyhow::Result<BTreeMap<String, usize>> {
        let stream = self.js.get_stream_no_info(subject::CALL_STREAM).await?;
        let mut info = stream.info_with_subjects(subject::CALL_EVERYTHING).await?;
        let mut counts = BTreeMap::new();
        while let Some((subject, count)) = info.try_next().await? {
            counts.insert(subject, count);
        }
        Ok(counts)
    }

    /// Gives a dead letter another chance, and then forgets it. What was recorded as the request's end is taken back.
    ///
    /// A request goes to where it came from; a call or a failed attempt goes to the routers, who decide anew.
    pub async fn redrive(&self, letter: &Lying) -> Result<(), RedriveError> {
        let subject = letter.header(work::DEAD_SUBJECT).ok_or(RedriveError::NoSubject)?.to_owned();
        for object in bodies_of(letter) {
            if !self.is_stowed(&object).await? {
                return Err(RedriveError::BodyGone(object));
            }
        }
        match Envelope::decode(&letter.payload) {
            Ok((envelope, body, failed)) => self.redrive_envelope(envelope, &body, &failed).await?,
            Err(_) => self.redrive_as_it_was(letter, subject).await?,
        }
        Ok(self.delete_lying(subject::DEAD_STREAM, letter.sequence).await?)
    }

    async fn redrive_envelope(
        &self,
        envelope: Envelope,
        body: &[u8],
        failed: &[u8],
    ) -> Result<(), RedriveError> {
        self.take_back(&envelope.workspace, &envelope.request).await?;
        let now = self.clock().now();
        let allowed = envelope.deadline.since(envelope.accepted_at);
        let queue = envelope.call.as_ref().map_or("redriven", |call| call.provider.as_str());
        let queue = subject::token(queue);
        let fresh = Envelope { call: None, result_seq: 0, deadline: now.plus(allowed), ..envelope };
        self.fall_back(&queue, fresh.encode(body, failed), None).await?;
        Ok(())
    }

    async fn redrive_as_it_was(&self, letter: &Lying, subject: String) -> Result<(), RedriveError> {
        let mut headers = Headers::new();
        for (name, value) in letter.headers() {
            let ours = [domain::headers::REASON, work::DEAD_SUBJECT, work::DEAD_REQUEST];
            if !ours.iter().any(|o| o.eq_ignore_ascii_case(&name)) {
                headers.insert(name.as_str(), value.as_str());
            }
        }
        let named = letter.header(work::DEAD_REQUEST).or_else(|| letter.header(domain::headers::REQUEST_ID));
        if let Some(request) = named.and_then(|id| RequestId::parse(id).ok()) {
            self.take_back(&request.workspace(), &request).await?;
        }
        self.put(Put::new(subject, letter.payload.clone()).headers(headers)).await?;
        Ok(())
    }

    /// Forgets that a request was refused or put aside, so that it may end again. An answer stays.
    async fn take_back(&self, workspace: &Workspace, request: &RequestId) -> Result<(), RedriveError> {
        let Some(stored) = self.result(workspace, request).await? else { return Ok(()) };
        match &stored.record {
            Record::Final(outcome) if matches!(outcome.kind, Kind::Answered) => Err(RedriveError::Answered),
            _ => Ok(self.delete_lying(subject::RESULT_STREAM, stored.sequence).await?),
        }
    }

    /// Deletes stored bodies that nobody can ask for any more: their request has ended and its outcome is forgotten,
    /// or it ended and they are neither its answer nor part of a dead letter. Returns how many. Younger ones may belong
    /// to what is being written right now.
    pub async fn forget_bodies(&self, older_than: Duration) -> anyhow::Result<usize> {
        let store = self.js.get_object_store(subject::BODY_BUCKET).await?;
        let mut objects = store.list().await?;
        let (now, mut forgotten) = (self.clock().now(), 0);
        let mut in_letters = None;
        while let Some(object) = objects.try_next().await? {
            let stored_at = object.modified.map_or(0, |t| t.unix_timestamp_nanos() / 1_000_000);
            let age = now.since(Timestamp(u64::try_from(stored_at).unwrap_or(0)));
            let Some((request, part)) = object.name.split_once('.') else { continue };
            let Ok(request) = RequestId::parse(request) else { continue };
            let stored = self.result(&request.workspace(), &request).await?;
            let needed = match stored.as_ref().map(|s| &s.record) {
                Some(Record::Final(outcome)) => {
                    matches!(&outcome.body, BodyRef::Stored { object: o, .. } if *o == object.name)
                }
                Some(Record::Fence { .. }) => true,
                // Before the end there is no outcome yet; afterwards an answer without one is forgotten.
                None => part != "answer" || age < self.options().result_ttl,
            };
            if needed || age < older_than {
                continue;
            }
            if in_letters.is_none() {
                in_letters = Some(self.bodies_of_letters().await?);
            }
            if in_letters.as_ref().is_some_and(|kept| !kept.contains(&object.name)) {
                store.delete(&object.name).await?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }

    /// The stored bodies that dead letters refer to.
    async fn bodies_of_letters(&self) -> Result<HashSet<String>, ReadError> {
        let (mut from, mut found) = (1, HashSet::new());
        while let Some(letter) = self.next_lying(subject::DEAD_STREAM, subject::DEAD_ALL, from).await? {
            from = letter.sequence + 1;
            found.extend(bodies_of(&letter));
        }
        Ok(found)
    }

    /// Deletes what idles: consumers of a target that had nothing to do for `idle`. Returns the targets dropped.
    pub async fn drop_idle_targets(
        &self,
        idle: Duration,
        droppable: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Vec<String>> {
        let stream = self.js.get_stream_no_info(subject::CALL_STREAM).await?;
        let consumers: Vec<_> = stream.consumers().try_collect().await?;
        let mut busy: BTreeMap<String, bool> = BTreeMap::new();
        let now = self.clock().now();
        for info in consumers {
            let Some(target) = info.config.metadata.get("pointsman.target") else { continue };
            let since = info.delivered.last_active.unwrap_or(info.created);
            let since = Timestamp(u64::try_from(since.unix_timestamp_nanos() / 1_000_000).unwrap_or(0));
            let is_busy = info.num_pending > 0 || info.num_ack_pending > 0 || now.since(since) < idle;
            *busy.entry(target.clone()).or_default() |= is_busy;
        }
        let targets = busy.into_iter().filter(|(target, busy)| !busy && droppable(target));
        let mut dropped = Vec::new();
        for (target, _) in targets {
            self.drop_target(&target).await?;
            dropped.push(target);
        }
        Ok(dropped)
    }
}

/// Why a dead letter could not be sent back.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// It does not say where it came from.
    #[error("the letter does not say which subject it came from")]
    NoSubject,
    /// The request's large body has been forgotten.
    #[error("the request's body `{0}` is not stored any more; delete the letter instead of redriving it")]
    BodyGone(String),
    /// The request has been answered meanwhile.
    #[error("the request has been answered meanwhile; delete the letter instead of redriving it")]
    Answered,
    /// The broker did not take it.
    #[error(transparent)]
    Put(#[from] PutError),
    /// Something could not be read or deleted.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The stored bodies that a dead letter refers to.
fn bodies_of(letter: &Lying) -> Vec<String> {
    let in_header = letter.header(domain::headers::BODY).and_then(|text| text.split_once(';'));
    let in_header = in_header.map(|(object, _)| object.to_owned());
    let envelope = Envelope::decode(&letter.payload).ok().map(|(envelope, ..)| envelope);
    let in_envelope = envelope.into_iter().flat_map(|e| [Some(e.body), e.failed.map(|failed| failed.body)]);
    let stored = in_envelope.flatten().filter_map(|body| match body {
        BodyRef::Stored { object, .. } => Some(object),
        BodyRef::Inline { .. } => None,
    });
    in_header.into_iter().chain(stored).collect()
}

fn consumer_report(info: async_nats::jetstream::consumer::Info) -> ConsumerReport {
    ConsumerReport {
        name: info.name,
        pending: info.num_pending,
        in_flight: info.num_ack_pending,
        limit: info.config.max_ack_pending,
        redelivered: info.num_redelivered,
        waiting_pulls: info.num_waiting,
    }
}
