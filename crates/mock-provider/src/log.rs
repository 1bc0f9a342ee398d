//! What happened in which order, and what was received: for tests that assert causes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::text::json;

/// Events and requests that are kept, and how much of each body.
const KEPT_EVENTS: usize = 100_000;
pub(crate) const KEPT_REQUESTS: usize = 100;
const KEPT_BODY: usize = 64 * 1024;

/// Only calls that asked for it, or a server that was started so, write here.
#[derive(Debug, Default)]
pub(crate) struct Log {
    events: Mutex<Events>,
    requests: Mutex<VecDeque<Received>>,
    newest: watch::Sender<u64>,
}

/// A step in the life of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// The request has been read.
    Started,
    /// Headers leave.
    FirstByte,
    /// Content leaves.
    Chunk,
    /// The last bytes have been handed over.
    Finished,
    /// The caller has gone before the answer was complete.
    ClientDisconnected,
    /// The script or a shutdown has cut the connection.
    Aborted,
}

#[derive(Debug, Default)]
struct Events {
    kept: VecDeque<Event>,
    newest: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Event {
    n: u64,
    attempt_id: Option<Arc<str>>,
    model: Arc<str>,
    what: What,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk: Option<usize>,
}

#[derive(Clone, Debug, Serialize)]
struct Received {
    method: String,
    path: String,
    headers: Arc<Map<String, Value>>,
    body: Arc<str>,
    /// The body as it came, if it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<Arc<str>>,
}

impl Log {
    /// Appends an event.
    pub(crate) fn record(
        &self,
        attempt_id: Option<Arc<str>>,
        model: Arc<str>,
        what: What,
        chunk: Option<usize>,
    ) {
        let mut events = self.events.lock();
        events.newest += 1;
        let n = events.newest;
        if events.kept.len() == KEPT_EVENTS {
            events.kept.pop_front();
        }
        events.kept.push_back(Event { n, attempt_id, model, what, chunk });
        self.newest.send_replace(n);
    }

    /// The events after `after` as JSON; waits for one if there is none.
    pub(crate) async fn after(&self, after: u64, wait: Duration) -> Vec<u8> {
        let mut newest = self.newest.subscribe();
        // The sender is part of self, so that only a timeout can fail; it answers with nothing.
        let _ = tokio::time::timeout(wait, newest.wait_for(|newest| *newest > after)).await;
        let events: Vec<_> = {
            let events = self.events.lock();
            let from = events.kept.partition_point(|event| event.n <= after);
            events.kept.range(from..).cloned().collect()
        };
        #[derive(Serialize)]
        struct Page {
            events: Vec<Event>,
            next: u64,
        }
        let next = events.last().map_or(after, |event| event.n);
        json(&Page { events, next })
    }

    /// Keeps a request as it came.
    pub(crate) fn receive(&self, parts: &Parts, body: &[u8]) {
        let mut headers = Map::new();
        for name in parts.headers.keys() {
            let values: Vec<_> =
                parts.headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
            headers.insert(name.to_string(), values.join(", ").into());
        }
        let kept = &body[..body.len().min(KEPT_BODY)];
        let received = Received {
            method: parts.method.to_string(),
            path: parts.uri.to_string(),
            headers: Arc::new(headers),
            body: String::from_utf8_lossy(kept).into(),
            body_base64: std::str::from_utf8(body).is_err().then(|| STANDARD.encode(kept).into()),
        };
        let mut requests = self.requests.lock();
        if requests.len() == KEPT_REQUESTS {
            requests.pop_front();
        }
        requests.push_back(received);
    }

    /// The newest requests as JSON, oldest first.
    pub(crate) fn requests(&self, last: usize) -> Vec<u8> {
        #[derive(Serialize)]
        struct Page {
            requests: Vec<Received>,
        }
        let requests = self.requests.lock();
        let skipped = requests.len().saturating_sub(last);
        let page = Page { requests: requests.iter().skip(skipped).cloned().collect() };
        drop(requests);
        json(&page)
    }
}
