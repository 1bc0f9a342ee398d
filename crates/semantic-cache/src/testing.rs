//! What tests are made of.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use domain::cache::{Entry, Invalidation, Selection};
use domain::{Operation, RequestId, Timestamp, Usage, Workspace};

use crate::catalog::Bounds;
use crate::store::{Limits, Store};

pub(crate) const HOUR: u64 = 3_600_000;

/// A time at which nothing has expired yet.
pub(crate) const NOW: Timestamp = Timestamp(1_000 * HOUR);

pub(crate) const ROOMY: Bounds = Bounds { entries: 1000, bytes: 1 << 30 };

pub(crate) fn workspace(name: &str) -> Workspace {
    Workspace::parse(name).unwrap()
}

/// An entry that was asked for and answered at a time.
pub(crate) fn entry(id: &str, key: &str, at: u64) -> Entry {
    Entry {
        id: RequestId::parse(id).unwrap(),
        workspace: Workspace::default(),
        key: key.to_owned(),
        partition: "p".to_owned(),
        namespace: None,
        text: Some(format!("What is {key}?")),
        tags: vec![],
        operation: Operation::Chat,
        provider: "mock".to_owned(),
        model: Some("m".to_owned()),
        asked_at: Timestamp(at),
        stored_at: Timestamp(at),
        expires_at: Timestamp(at + 2000 * HOUR),
        content_type: "application/json".to_owned(),
        headers: BTreeMap::new(),
        usage: Usage::default(),
        cost: None,
        size: answer(id, key).len(),
    }
}

/// The answer of [`entry`].
pub(crate) fn answer(id: &str, key: &str) -> Bytes {
    Bytes::from(format!("the answer {id} to {key}"))
}

pub(crate) fn answer_of(entry: &Entry) -> Bytes {
    answer(entry.id.as_str(), &entry.key)
}

pub(crate) fn invalidation(selection: Selection, at: u64) -> Invalidation {
    Invalidation { selection, at: Timestamp(at) }
}

pub(crate) fn limits(directory: &Path, bounds: Bounds) -> Limits {
    Limits { directory: directory.to_owned(), bounds, disk: 1 << 40 }
}

pub(crate) fn store(directory: &Path) -> Store {
    Store::open(limits(directory, ROOMY), NOW).unwrap()
}

/// Stores an entry with its answer, as an event at `sequence` says.
pub(crate) fn take(store: &Store, sequence: u64, entry: &Entry) -> bool {
    let place = (store.generation(), sequence);
    store.take(place, entry.stored_at, entry.clone(), &answer_of(entry)).stored.is_some()
}
