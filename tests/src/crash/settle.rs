//! Waiting until nothing is under way, and reading the books.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::{self, stream::Stream};
use domain::spend::{EntriesQuery, Entry};
use domain::{Event, Outcome, Record};
use futures::StreamExt as _;
use tokio::time::Instant;

use super::check::Books;
use super::check::ledger::Ledger;
use super::{Cluster, Fault, Part, Sent};
use crate::harness::{Observer, eventually};

/// Streams that hold work and nothing else.
pub const WORK: [&str; 4] = [
    bus::subject::REQUEST_STREAM,
    bus::subject::CALL_STREAM,
    bus::subject::FALLBACK_STREAM,
    bus::subject::SCHEDULE_STREAM,
];

/// How long the work that is under way may take to end once everything runs again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until all work has ended (or for a bounded time) and reads the books of the requests that were sent.
pub async fn settle(cluster: &Cluster, sent: Vec<Sent>, prefix: &str) -> Books {
    let observer = Observer::connect(&cluster.nats()).await;
    let left = drain(&observer, PATIENCE).await;
    let faults: Vec<Fault> = cluster.faults();
    let of_ours = |id: &str| id.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-'));
    let mut events = Vec::new();
    read(observer.js(), bus::subject::EVENT_STREAM, |_, payload| {
        let event: Event = serde_json::from_slice(payload).expect("an event");
        if of_ours(event.request.as_str()) {
            events.push(event);
        }
    })
    .await;
    let mut outcomes: BTreeMap<String, Outcome> = BTreeMap::new();
    read(observer.js(), bus::subject::RESULT_STREAM, |subject, payload| {
        let (record, _) = Record::decode(&bytes::Bytes::copy_from_slice(payload)).expect("a record");
        if let (Record::Final(outcome), true) = (record, of_ours(bus::subject::last_token(subject))) {
            outcomes.insert(outcome.request.to_string(), *outcome);
        }
    })
    .await;
    let mut claims = BTreeSet::new();
    read(observer.js(), bus::subject::STATE_STREAM, |subject, _| {
        claims.insert(subject.to_owned());
    })
    .await;
    let mut dead = Vec::new();
    read(observer.js(), bus::subject::DEAD_STREAM, |subject, payload| {
        dead.push(format!("{subject}: {}", String::from_utf8_lossy(&payload[..payload.len().min(200)])));
    })
    .await;
    let bill = cluster.mock().bill().await.attempts;
    let rows = bill.into_iter().filter(|row| row.attempt_id.as_deref().is_none_or(of_ours)).collect();
    let ledger = match cluster.role(Part::Ledger) {
        Some(_) => Some(ledger(&observer, cluster, of_ours).await),
        None => None,
    };
    Books { sent, events, outcomes, claims, rows, faults, left, dead, ledger }
}

/// Waits until the ledger has booked everything, and reads it.
async fn ledger(observer: &Observer, cluster: &Cluster, of_ours: impl Fn(&str) -> bool) -> Ledger {
    let bus = observer.bus(&cluster.nats()).await;
    eventually("the ledger has booked all events", PATIENCE, || async {
        let position = bus.event_position("cost-accounting").await.ok()?;
        (position.behind == 0).then_some(())
    })
    .await;
    let read = async |requests: bool| {
        let mut query = EntriesQuery { requests, ..EntriesQuery::default() };
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let page = eventually("the ledger answers", PATIENCE, || async {
                bus.ledger_entries(query.clone()).await.ok()
            })
            .await;
            entries.extend(page.entries.into_iter().filter(|entry| of_ours(&entry.request)));
            query.after = page.next;
            if query.after.is_none() {
                return entries;
            }
        }
    };
    Ledger { attempts: read(false).await, requests: read(true).await }
}

/// Waits until the work queues are empty; returns what is left in them.
pub async fn drain(observer: &Observer, patience: Duration) -> BTreeMap<String, u64> {
    let until = Instant::now() + patience;
    let mut quiet = 0;
    loop {
        let mut left = BTreeMap::new();
        for name in WORK {
            let stream = observer.js().get_stream(name).await;
            // The broker may have come back a moment ago; unknown is not empty.
            let messages = stream.map_or(u64::MAX, |stream| stream.cached_info().state.messages);
            left.insert(name.to_owned(), messages);
        }
        left.retain(|_, messages| *messages > 0);
        // A message moves from one queue to another by a publish and then an acknowledgement, so that it is in one of
        // them at any time; but the queues are not read at one instant.
        quiet = if left.is_empty() { quiet + 1 } else { 0 };
        if quiet == 3 || Instant::now() > until {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reads everything that lies in a stream.
async fn read(js: &jetstream::Context, name: &str, mut take: impl FnMut(&str, &[u8])) {
    let stream: Stream = js.get_stream(name).await.expect("the stream exists");
    let state = stream.cached_info().state.clone();
    if state.messages == 0 {
        return;
    }
    let config = pull::OrderedConfig { deliver_policy: DeliverPolicy::All, ..pull::OrderedConfig::default() };
    let consumer = stream.create_consumer(config).await.expect("an ordered consumer");
    let mut messages = consumer.messages().await.expect("messages of an ordered consumer");
    while let Some(message) = messages.next().await {
        let Ok(message) = message else { continue };
        take(&message.subject, &message.payload);
        let info = message.info().expect("delivery information");
        if info.stream_sequence >= state.last_sequence || info.pending == 0 {
            return;
        }
    }
}
