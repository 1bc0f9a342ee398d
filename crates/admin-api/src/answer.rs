//! What a question comes to: something found, or a change to be stored.

use std::sync::Arc;

use bus::audit::Write;
use bytes::Bytes;
use domain::audit::Filter;
use domain::limit::Limit;
use domain::policy::Key;
use domain::{Policy, Timestamp, Workspace};
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::analytics::Asked;
use crate::cache;
use crate::call::Page;
use crate::usage::Row;

/// What a question comes to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A document; with a revision if it is one entity.
    Found(Value, Option<u64>),
    /// Text of another type.
    Text(&'static str, &'static str),
    /// A change, to be stored first.
    Change(Box<Plan>),
    /// Audit entries, to be read first.
    Audit(Filter, Page),
    /// How the targets of a workspace do, or of all; to be asked first.
    Targets(Option<Workspace>, Page),
    /// The circuits of a target are to be closed.
    Reset(Box<Plan>),
    /// A document that shows what limits have counted; that is to be read first.
    Counted(Counted),
    /// The buckets of limits; what they have counted is to be read first.
    Buckets(Vec<Row>, Page),
    /// The count of the bucket of that id, one of these limits', is to begin anew.
    ResetCount(Box<Plan>, Vec<Row>, String),
    /// What the ledger says; it is to be asked first.
    Books(Box<Asked>),
    /// What the cache says; it is to be asked first.
    Cache(Box<cache::Asked>),
    /// These entries are to be taken out of the cache.
    Invalidate(Box<Plan>, Box<domain::cache::Selection>),
    /// Lines of the ledger as a file, which no message can hold.
    Export(Box<export::Order>),
}

/// A document with entities that have limits.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) body: Value,
    pub(crate) revision: Option<u64>,
    pub(crate) places: Vec<Place>,
}

/// Where an entity stands in a document, as a JSON pointer, and its limits.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) pointer: String,
    pub(crate) limits: Vec<Arc<Limit>>,
}

impl Counted {
    pub(crate) fn new(body: Value, revision: Option<u64>) -> Self {
        Self { body, revision, places: Vec::new() }
    }

    /// Says that an entity stands there.
    pub(crate) fn at(mut self, pointer: &str, limits: Vec<Arc<Limit>>) -> Self {
        self.places.push(Place { pointer: pointer.to_owned(), limits });
        self
    }
}

impl Answer {
    /// The same list with what the limits of its entries have counted; None: an entry shows no counts.
    pub(crate) fn counting(self, policy: &Policy, keys: impl Iterator<Item = Option<Key>>) -> Self {
        let Self::Found(body, revision) = self else { return self };
        let mut counted = Counted::new(body, revision);
        for (at, key) in keys.enumerate() {
            if let Some(key) = key {
                counted = counted.at(&format!("/data/{at}"), policy.limits_of(&key));
            }
        }
        Self::Counted(counted)
    }
}

/// A change as it is to be stored. The last write is that of the entity itself.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) writes: Vec<Write>,
    pub(crate) subject: Subject,
    pub(crate) verb: &'static str,
    /// How the entity looked, as callers see it; null: it was not there.
    pub(crate) before: Value,
    pub(crate) after: Value,
    pub(crate) status: u16,
    pub(crate) reply: Value,
    /// Shown once and kept nowhere: fields of the reply that are not remembered for repeated questions.
    pub(crate) once: Vec<(&'static str, String)>,
    /// Buckets whose counts begin anew once the change is stored.
    pub(crate) resets: Vec<String>,
}

/// What a change is about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) resource: &'static str,
    pub(crate) id: String,
    pub(crate) workspace: Workspace,
}

impl Plan {
    pub(crate) fn new(
        subject: Subject,
        verb: &'static str,
        (before, after): (Value, Value),
        writes: Vec<Write>,
    ) -> Self {
        Self {
            writes,
            subject,
            verb,
            before,
            status: 200,
            reply: after.clone(),
            after,
            once: Vec::new(),
            resets: Vec::new(),
        }
    }

    /// Lets the budgets of an entity begin anew, and puts that on record.
    pub(crate) fn resetting(mut self, limits: &[Limit]) -> Self {
        self.resets = limits.iter().filter(|limit| limit.is_budget()).map(Limit::name).collect();
        if let Some(after) = self.after.as_object_mut() {
            after.insert("reset_usage".to_owned(), json!(true));
        }
        self
    }

    pub(crate) fn replying(mut self, status: u16, reply: Value) -> Answer {
        (self.status, self.reply) = (status, reply);
        Answer::Change(Box::new(self))
    }
}

/// A record to write.
pub(crate) fn write(key: Key, record: &impl Serialize, expected: Option<u64>) -> Write {
    let payload = serde_json::to_vec(record).expect("records have string keys and write to memory");
    Write { key, payload: Bytes::from(payload), expected: expected.unwrap_or(0) }
}

/// An entity in the older of Portkey's envelopes.
pub(crate) fn success(data: Value) -> Value {
    json!({ "success": true, "data": data })
}

/// Puts the revision into a body: into `data` where there is one.
pub(crate) fn stamp(mut body: Value, revision: u64) -> Value {
    let place = if body["data"].is_object() { &mut body["data"] } else { &mut body };
    if let Some(map) = place.as_object_mut().filter(|map| !map.is_empty()) {
        map.insert("revision".to_owned(), json!(revision));
    }
    body
}

/// An entity in both of Portkey's envelopes: under `data`, and with its fields at the top, where Portkey's clients look.
pub(crate) fn in_both_envelopes(body: &mut Value) {
    let Some(entity) = body["data"].as_object().filter(|_| body["success"] == true).cloned() else { return };
    if let Some(top) = body.as_object_mut() {
        for (name, value) in entity {
            top.entry(name).or_insert(value);
        }
    }
}

/// One page of a list in Portkey's envelope.
pub(crate) fn list<T>(all: Vec<T>, page: Page, show: impl Fn(T) -> Value) -> Answer {
    Answer::Found(listed(all, page, show), None)
}

/// The same as a document.
pub(crate) fn listed<T>(all: Vec<T>, page: Page, show: impl Fn(T) -> Value) -> Value {
    let total = all.len();
    let data: Vec<Value> = all.into_iter().skip(page.start()).take(page.size).map(show).collect();
    json!({ "object": "list", "success": true, "total": total, "data": data })
}

/// `2026-01-31T12:00:00.000Z`.
pub(crate) fn date(at: Timestamp) -> Value {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000);
    json!(at.ok().and_then(|at| at.format(&Rfc3339).ok()))
}
