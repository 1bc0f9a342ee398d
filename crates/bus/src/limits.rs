//! What limits have counted: records that routers change by compare-and-set, the calls that amounts are set aside for,
//! and the ends of these.
//!
//! A router writes under a name of its own, which it keeps alive by a lease. Calls that amounts were set aside for are
//! published behind a *fence*, a message that stands for the router: the broker takes the call only while the fence
//! stands. Whoever gives a router up for dead takes its fences away first; after that nothing of the router's can add to
//! what is found, even if it was only asleep.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use domain::envelope::Waiting;
use domain::limit::{Account, Hold};
use domain::{Attempt, Envelope, RequestId, Workspace};
use futures::StreamExt as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::health::ShareError;
use crate::state::ReadError;
use crate::{Bus, Put, PutError, Subscription, subject};

/// How long a write of a count may take: a request waits with it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Fences of one router where streams are replicated.
const FENCES: usize = 32;

/// Longest name that is written out in a subject.
const LONGEST_NAME: usize = 120;

/// One of a router's fences, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    subject: String,
    sequence: u64,
}

/// An attempt that ended, or a request that ended without one.
#[derive(Clone, Debug, Deserialize)]
pub struct Ended {
    /// Whose.
    pub workspace: Workspace,
    /// The request.
    pub request: RequestId,
    /// The attempt. None: the request ended otherwise.
    #[serde(default)]
    pub attempt: Option<Attempt>,
    /// What had been set aside for the attempt.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// The request has ended.
    #[serde(default, rename = "final")]
    pub last: bool,
}

/// A request in the line for a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InLine {
    /// What it waits for.
    pub waiting: Waiting,
    /// Its place in the line, from 1.
    pub position: u64,
}

/// A call that is not over, and what was set aside for it.
#[derive(Clone, Debug)]
pub struct HeldCall {
    /// The request.
    pub request: RequestId,
    /// Number of the attempt.
    pub number: u32,
    /// What was set aside.
    pub hold: Hold,
}

impl Bus {
    /// What a bucket has counted, by the leader's word, and the sequence of the record; 0: there is none.
    pub async fn limit_account(&self, bucket: &str) -> Result<(Option<Account>, u64), ReadError> {
        let place = place(bucket);
        let message = self.read_last(subject::LIMIT_STREAM, &place).await?;
        let Some(message) = message else { return Ok((None, 0)) };
        match serde_json::from_slice(&message.payload) {
            Ok(account) => Ok((Some(account), message.sequence)),
            Err(err) => Err(ReadError::new(&place, err)),
        }
    }

    /// Stores what a bucket has counted, if the record still has that sequence.
    pub async fn put_limit_account(&self, account: &Account, expected: u64) -> Result<u64, PutError> {
        let payload = Bytes::from(serde_json::to_vec(account).unwrap_or_default());
        let put = Put::new(place(&account.bucket), payload).expect(expected).patience(PATIENCE);
        let put = match account.window.lifetime(self.clock().now()) {
            Some(lifetime) => put.ttl(lifetime),
            None => put,
        };
        self.put(put).await
    }

    /// Every bucket that has counted something and is not over.
    pub async fn limit_accounts(&self) -> Result<Vec<Account>, ReadError> {
        let mut found = Vec::new();
        let mut from = 1;
        while let Some(lying) = self.next_lying(subject::LIMIT_STREAM, subject::LIMITS, from).await? {
            from = lying.sequence + 1;
            match serde_json::from_slice(&lying.payload) {
                Ok(account) => found.push(account),
                Err(err) => warn!(subject = lying.subject, %err, "a count is malformed; passed over"),
            }
        }
        Ok(found)
    }

    /// Sets what a bucket has used to nothing; what is set aside for calls under way stays so. False: there is none.
    pub async fn reset_limit(&self, bucket: &str) -> Result<bool, ShareError> {
        loop {
            let (account, sequence) = self.limit_account(bucket).await?;
            let Some(mut account) = account else { return Ok(false) };
            account.reset();
            match self.put_limit_account(&account, sequence).await {
                Ok(_) => {
                    self.recall_limit("", bucket).await;
                    return Ok(true);
                }
                Err(PutError::Conflict) => {}
                Err(err) => return Err(err.into()),
            }
        }
    }

    /// Asks all other routers to give back what they have of a bucket and do not need at this moment. `by` is the
    /// router that asks; nobody has an empty name.
    pub async fn recall_limit(&self, by: &str, bucket: &str) {
        self.send(subject::LIMIT_RECALL.to_owned(), Bytes::from(format!("{by}\n{bucket}"))).await;
    }

    /// Hears when somebody needs what this router has of a bucket.
    pub async fn limit_recalls(&self) -> Option<Recalls> {
        self.subscribe(subject::LIMIT_RECALL).await.ok().map(Recalls)
    }

    /// Puts up the fences of a router. Each call needs one of them; of several, several calls can be on their way into a
    /// replicated stream at one time.
    pub async fn raise_fences(&self, router: &str) -> Result<Vec<Fence>, PutError> {
        let count = if self.options().replicas > 1 { FENCES } else { 1 };
        let mut fences = Vec::with_capacity(count);
        for number in 0..count {
            let subject = subject::fence(router, number);
            let sequence = self.put(Put::new(subject.clone(), Bytes::new()).patience(PATIENCE)).await?;
            fences.push(Fence { subject, sequence });
        }
        Ok(fences)
    }

    /// Takes the fences of a router away: from now on the broker refuses its calls.
    pub async fn lower_fences(&self, router: &str) -> Result<(), ReadError> {
        let places = subject::fences(router);
        // By the leader's word: a replica may not know all of them yet.
        while let Some(fence) = self.read_last(subject::CALL_STREAM, &places).await? {
            self.delete_lying(subject::CALL_STREAM, fence.sequence).await?;
        }
        Ok(())
    }

    /// Routers that keep themselves alive, of those named.
    pub async fn limit_holders_alive(&self, names: &BTreeSet<String>) -> Result<BTreeSet<String>, ReadError> {
        let mut alive = BTreeSet::new();
        for name in names {
            let place = subject::lease(&limit_lease(name));
            if self.read_last(subject::STATE_STREAM, &place).await?.is_some() {
                alive.insert(name.clone());
            }
        }
        Ok(alive)
    }

    /// Keeps a router alive as a holder of amounts: the lease of [`Bus::lease`].
    pub async fn keep_limit_holder(
        &self,
        router: &str,
        held: u64,
        ttl: Duration,
    ) -> Result<Option<u64>, PutError> {
        self.lease(&limit_lease(router), held, ttl).await
    }

    /// Says that a router holds nothing any more.
    pub async fn forget_limit_holder(&self, router: &str, lease: u64) {
        let _ = self.delete_lying(subject::STATE_STREAM, lease).await;
        let _ = self.lower_fences(router).await;
    }

    /// Calls that some amount was set aside for and that are not over: waiting, under way, or failed and not decided
    /// about. In the order in which messages move on, so that none slips by.
    pub async fn held_calls(&self) -> Result<Vec<HeldCall>, ReadError> {
        let mut found = Vec::new();
        let streams = [
            (subject::CALL_STREAM, subject::CALL_EVERYTHING),
            (subject::FALLBACK_STREAM, subject::FALLBACK_ALL),
        ];
        for (stream, filter) in streams {
            let mut from = 1;
            while let Some(lying) = self.next_lying(stream, filter, from).await? {
                from = lying.sequence + 1;
                let Ok((envelope, _, _)) = Envelope::decode(&lying.payload) else { continue };
                let Some(call) = envelope.call else { continue };
                let Some(hold) = call.hold else { continue };
                found.push(HeldCall { request: envelope.request, number: call.number, hold });
            }
        }
        Ok(found)
    }

    /// What a request waits for, and how many were there before it. None: it does not wait for room in a limit.
    pub async fn waiting(&self, request: &RequestId) -> Result<Option<InLine>, ReadError> {
        let own = self.read_near(subject::SCHEDULE_STREAM, &subject::schedules(request)).await?;
        let own = own.and_then(|message| Envelope::decode(&message.payload).ok());
        let Some(waiting) = own.and_then(|(envelope, _, _)| envelope.waiting) else { return Ok(None) };
        let mut before = 0;
        let mut from = 1;
        while let Some(lying) = self.next_lying(subject::SCHEDULE_STREAM, subject::SCHEDULES, from).await? {
            from = lying.sequence + 1;
            let Ok((envelope, _, _)) = Envelope::decode(&lying.payload) else { continue };
            let earlier = |other: &Waiting| other.bucket == waiting.bucket && other.since < waiting.since;
            before +=
                u64::from(envelope.request != *request && envelope.waiting.as_ref().is_some_and(earlier));
        }
        Ok(Some(InLine { waiting, position: before + 1 }))
    }

    /// Attempts that ended after a position of the event stream, with theirs, up to now.
    pub async fn ended_after(&self, position: u64) -> Result<Vec<(u64, Ended)>, ReadError> {
        let mut found = Vec::new();
        let mut from = position + 1;
        let filter = subject::ATTEMPTS_ENDED;
        while let Some(lying) = self.next_lying(subject::EVENT_STREAM, filter, from).await? {
            from = lying.sequence + 1;
            if let Ok(ended) = serde_json::from_slice(&lying.payload) {
                found.push((lying.sequence, ended));
            }
        }
        Ok(found)
    }

    /// Hands over the end of every attempt and request after a position of the event stream, in order and each once,
    /// until `stop`.
    pub async fn follow_ended(self, after: u64, mut hear: impl FnMut(u64, Ended), stop: CancellationToken) {
        let mut position = after;
        while !stop.is_cancelled() {
            self.wait_up().await;
            tokio::select! {
                () = stop.cancelled() => return,
                failed = self.hear_ended(&mut position, &mut hear) => {
                    debug!(reason = failed, position, "following the events anew");
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
            }
        }
    }

    async fn hear_ended(&self, position: &mut u64, hear: &mut impl FnMut(u64, Ended)) -> String {
        let filters = vec![subject::ATTEMPTS_ENDED.to_owned(), subject::REQUESTS_ENDED.to_owned()];
        let mut messages = match self.ordered_events(filters, *position).await {
            Ok(messages) => messages,
            Err(reason) => return reason,
        };
        while let Some(message) = messages.next().await {
            let message = match message {
                Ok(message) => message,
                Err(err) => return err.to_string(),
            };
            let Ok(info) = message.info() else { continue };
            let sequence = info.stream_sequence;
            if sequence <= *position {
                continue;
            }
            match serde_json::from_slice(&message.payload) {
                Ok(ended) => hear(sequence, ended),
                Err(err) => {
                    warn!(sequence, %err, "an event is malformed; what was set aside for it is looked for")
                }
            }
            *position = sequence;
        }
        "the subscription ended".to_owned()
    }
}

/// Buckets that somebody needs.
pub struct Recalls(Subscription);

impl Recalls {
    /// The router that asks, and the bucket. None: the connection is closed.
    pub async fn next(&mut self) -> Option<(String, String)> {
        loop {
            let message = self.0.next().await?;
            let text = String::from_utf8_lossy(&message.payload);
            if let Some((by, bucket)) = text.split_once('\n') {
                return Some((by.to_owned(), bucket.to_owned()));
            }
        }
    }
}

impl Put {
    /// Only while a fence stands.
    #[must_use]
    pub(crate) fn behind(self, fence: &Fence) -> Self {
        self.expect_of(&fence.subject, fence.sequence)
    }
}

fn limit_lease(router: &str) -> String {
    format!("limits.{}", subject::token(router))
}

/// Where the record of a bucket lies. A long name is a hash.
fn place(bucket: &str) -> String {
    let token = subject::token(bucket);
    if token.len() <= LONGEST_NAME {
        return subject::limit(&token);
    }
    let hash: String = Sha256::digest(bucket.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    subject::limit(&format!("={hash}"))
}
