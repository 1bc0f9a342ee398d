//! The cache on the bus: look-ups, kept answers, and what happens to them in the order of the stream.

use std::time::Duration;

use bytes::Bytes;
use domain::cache::{Entry, Question, Reply, Selection};
use domain::event::Kind;
use domain::{Event, RequestId, Timestamp, Workspace};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::ledger::Answer;
use crate::state::ReadError;
use crate::{Bus, Put, PutError, Subscription, Unanswered, subject};

/// What nodes follow.
const FOLLOWED: [Kind; 2] = [Kind::CacheStored, Kind::CacheInvalidated];

/// Within this time after the first node answered the others have.
const GATHERING: Duration = Duration::from_millis(500);

/// How long a question of an administrator's may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an administrator asks a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Entries of a workspace, newest first.
    List(List),
    /// An entry with its answer.
    Show {
        /// Whose.
        workspace: Workspace,
        /// Which.
        id: RequestId,
    },
}

/// Which entries are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct List {
    /// Whose.
    pub workspace: Workspace,
    /// Only these. None: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
    /// Only entries stored before this one: its time and its id, as the last page ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<(Timestamp, RequestId)>,
    /// At most so many.
    pub limit: usize,
}

/// Entries of a workspace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// Newest first, without their answers.
    pub entries: Vec<Entry>,
    /// Entries that are meant, on all pages.
    pub total: u64,
}

/// An entry with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The entry.
    pub entry: Entry,
    /// The answer, as it was given.
    pub answer: String,
    /// How often this node gave it, since it started.
    pub hits: u64,
}

/// How a node does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStats {
    /// The node.
    pub node: String,
    /// Since when it runs.
    pub started_at: Timestamp,
    /// Entries that it holds.
    pub entries: u64,
    /// Entries of these that have a vector of the present model.
    pub vectors: u64,
    /// Entries by workspace.
    pub workspaces: std::collections::BTreeMap<Workspace, u64>,
    /// Bytes of entries and answers.
    pub bytes: u64,
    /// Bytes of the store on disk.
    pub disk_bytes: u64,
    /// Look-ups since it started.
    pub lookups: u64,
    /// Of these, answered with the same request's answer.
    pub hits: u64,
    /// Of these, answered with the answer to one of the same meaning.
    pub semantic_hits: u64,
    /// Look-ups whose best candidates were alike enough, but the guard refused them all.
    pub guarded: u64,
    /// Look-ups that found the embedder busy, loading or away.
    pub unembedded: u64,
    /// Entries stored.
    pub stored: u64,
    /// Entries that had to go because there were too many.
    pub evicted: u64,
    /// Entries that had expired.
    pub expired: u64,
    /// Entries that were taken out by hand.
    pub invalidated: u64,
    /// State of the embedder: `idle`, `loading`, `ready`, or why it is off.
    pub embedder: String,
    /// Digest of the model whose vectors count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Position of the event stream up to which it has followed.
    pub through: u64,
    /// The store had to be begun anew, so often.
    pub rebuilt: u64,
}

/// Why the cache did not answer an administrator.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// There is none.
    #[error("no cache runs: start the role with `pointsman run semantic-cache`")]
    Nobody,
    /// It took too long.
    #[error("the cache did not answer in time")]
    Late,
    /// It says why not.
    #[error("{0}")]
    Refused(String),
    /// The answer is none that we understand.
    #[error("the cache's answer cannot be read: {0}")]
    Malformed(String),
}

impl From<Unanswered> for CacheError {
    fn from(err: Unanswered) -> Self {
        match err {
            Unanswered::Nobody => Self::Nobody,
            Unanswered::Late => Self::Late,
        }
    }
}

impl Bus {
    /// Asks the cache for an answer, for at most so long.
    pub async fn look_up(
        &self,
        question: &Question,
        patience: Duration,
    ) -> Result<(Reply, Bytes), CacheError> {
        let payload = Bytes::from(serde_json::to_vec(question).unwrap_or_default());
        let answer = self.question(subject::CACHE.to_owned(), payload, patience).await?;
        Reply::decode(&answer.payload).map_err(|err| CacheError::Malformed(err.to_string()))
    }

    /// Asks a node about its entries.
    pub async fn ask_cache<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, CacheError> {
        let malformed = |err: serde_json::Error| CacheError::Malformed(err.to_string());
        let payload = Bytes::from(serde_json::to_vec(ask).map_err(malformed)?);
        let answer = self.question(subject::CACHE_ADMIN.to_owned(), payload, PATIENCE).await?;
        match serde_json::from_slice(&answer.payload).map_err(malformed)? {
            Answer::Ok(answer) => Ok(answer),
            Answer::Error(reason) => Err(CacheError::Refused(reason)),
        }
    }

    /// How all nodes do, by name. Empty: there is none.
    pub async fn cache_nodes(&self) -> Vec<NodeStats> {
        let answers = self.questions(subject::CACHE_NODES.to_owned(), Bytes::new(), GATHERING).await;
        let read = |message: &crate::CoreMessage| serde_json::from_slice(&message.payload).ok();
        let mut nodes: Vec<NodeStats> = answers.iter().filter_map(read).collect();
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        nodes
    }

    /// Hears who asks how all nodes do.
    pub async fn hear_cache_nodes(&self) -> anyhow::Result<Subscription> {
        self.subscribe(subject::CACHE_NODES).await
    }

    /// Keeps an answer as long as it is good.
    pub async fn put_entry(&self, entry: &Entry, answer: &[u8]) -> Result<(), PutError> {
        // The broker counts whole seconds, and takes none below one.
        let left = entry.expires_at.since(self.clock().now()).max(Duration::from_secs(1));
        let place = subject::cache_entry(&entry.workspace, &entry.id);
        self.put(Put::new(place, entry.encode(answer)).ttl(left)).await.map(|_| ())
    }

    /// An answer that is kept. None: it has expired or was taken out.
    pub async fn entry(
        &self,
        workspace: &Workspace,
        id: &RequestId,
    ) -> Result<Option<(Entry, Bytes)>, ReadError> {
        let place = subject::cache_entry(workspace, id);
        let Some(message) = self.read_last(subject::CACHE_STREAM, &place).await? else { return Ok(None) };
        Entry::decode(&message.payload).map(Some).map_err(|err| ReadError::new(&place, err))
    }

    /// Forgets an answer. Best effort: it is forgotten by age as well.
    pub async fn drop_entry(&self, workspace: &Workspace, id: &RequestId) {
        let place = subject::cache_entry(workspace, id);
        if let Ok(stream) = self.js.get_stream_no_info(subject::CACHE_STREAM).await
            && let Err(err) = stream.purge().filter(&place).await
        {
            debug!(%err, place, "could not forget a kept answer");
        }
    }

    /// Position of what happens next to kept answers after a position of the event stream. None: nothing did.
    pub async fn next_of_cache(&self, after: u64) -> Result<Option<u64>, ReadError> {
        let mut next: Option<u64> = None;
        for kind in FOLLOWED {
            let lying = self.next_lying(subject::EVENT_STREAM, &subject::events_of(kind), after + 1).await?;
            next = next.into_iter().chain(lying.map(|lying| lying.sequence)).min();
        }
        Ok(next)
    }

    /// Hands over what happens to kept answers after a position of the event stream, in order and each once, until
    /// `stop`. Returns between two of them only.
    pub async fn follow_cache<F: Future<Output = ()>>(
        self,
        after: u64,
        mut hear: impl FnMut(u64, Event) -> F,
        stop: CancellationToken,
    ) {
        let mut position = after;
        while !stop.is_cancelled() {
            self.wait_up().await;
            let failed = self.hear_cache(&mut position, &mut hear, &stop).await;
            if stop.is_cancelled() {
                return;
            }
            debug!(reason = failed, position, "following the cache's events anew");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    async fn hear_cache<F: Future<Output = ()>>(
        &self,
        position: &mut u64,
        hear: &mut impl FnMut(u64, Event) -> F,
        stop: &CancellationToken,
    ) -> String {
        let filters = FOLLOWED.map(subject::events_of).to_vec();
        let mut messages = match self.ordered_events(filters, *position).await {
            Ok(messages) => messages,
            Err(reason) => return reason,
        };
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return String::new(),
                message = messages.next() => message,
            };
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(err)) => return err.to_string(),
                None => return "the subscription ended".to_owned(),
            };
            let Ok(info) = message.info() else { continue };
            let sequence = info.stream_sequence;
            if sequence <= *position {
                continue;
            }
            match serde_json::from_slice(&message.payload) {
                Ok(event) => hear(sequence, event).await,
                Err(err) => warn!(sequence, %err, "an event of the cache is malformed and passed over"),
            }
            *position = sequence;
        }
    }
}
