//! Stored answers in callers' dialects: a whole one for a caller who streams, a stream for one who does not, and what
//! decides whether an answer may be stored at all.
//!
//! Both directions lose nothing that clients see: `as_whole(as_stream(x))` is `x`, but for members that are null or
//! default in one form and absent in the other. Where a dialect has no place for something, there is no other form, and
//! the answer is not understood ([`None`]): a caller is then better served by the provider.

mod cost;
mod gist;
mod messages;
mod openai;
mod pieces;
mod question;
mod responses;
#[cfg(test)]
mod tests;
mod usage;

use bytes::Bytes;
use domain::Operation;
use serde_json::{Map, Value};

pub use cost::with_cost_shown;
pub use gist::{Finish, Gist, gist};
pub use question::{Question, canonical, question, same_request};
pub use usage::with_usage;

use crate::sse::{self, Events};

/// The events that a caller who streams gets from a stored whole answer.
///
/// `include_usage`: the caller of a chat or completion asked for token counts; the other dialects always tell them.
/// None: the operation has no streams, or this is not a complete answer in its dialect.
pub fn as_stream(operation: Operation, whole: &[u8], include_usage: bool) -> Option<Bytes> {
    let whole: Map<String, Value> = serde_json::from_slice(whole).ok()?;
    if whole.get("error").is_some_and(|error| !error.is_null()) {
        return None;
    }
    let stream = match operation {
        Operation::Chat => openai::write(openai::Form::Chat, &whole, include_usage),
        Operation::Completions => openai::write(openai::Form::Text, &whole, include_usage),
        Operation::Messages => messages::write(&whole),
        Operation::Responses => responses::write(&whole),
        _ => None,
    };
    stream.map(Bytes::from)
}

/// The whole answer that a stored stream tells, with token counts if the stream has them.
///
/// None: the operation has no streams, the stream is not complete, tells an error, or has pieces that are not understood.
pub fn as_whole(operation: Operation, sse: &[u8]) -> Option<Bytes> {
    let whole = told(operation, sse)?;
    Some(Bytes::from(Value::Object(whole).to_string()))
}

/// The whole answer that a stream tells.
fn told(operation: Operation, sse: &[u8]) -> Option<Map<String, Value>> {
    match operation {
        Operation::Chat => openai::read(openai::Form::Chat, sse),
        Operation::Completions => openai::read(openai::Form::Text, sse),
        Operation::Messages => messages::read(sse),
        Operation::Responses => responses::read(sse),
        _ => None,
    }
}

/// The data of all events but comments. None: the stream breaks off within an event, or says that it failed.
fn data(sse: &[u8]) -> Option<Vec<Bytes>> {
    let mut events = Events::default();
    events.push(sse);
    let mut all = Vec::new();
    while let Some(event) = events.take() {
        if let Some(data) = sse::data(&event) {
            all.push(event.slice_ref(data));
        }
    }
    events.rest().trim_ascii().is_empty().then_some(all)
}

/// One event of the dialects whose events have names. `fields` are told after the type.
fn put(kind: &str, fields: Value, out: &mut Vec<u8>) {
    let mut event = Map::new();
    event.insert("type".to_owned(), kind.into());
    if let Value::Object(fields) = fields {
        event.extend(fields);
    }
    out.extend_from_slice(format!("event: {kind}\ndata: {}\n\n", Value::Object(event)).as_bytes());
}

/// A member that is text.
fn word<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

/// Elements of a member that is a list; of any other there are none.
fn list<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a [Value] {
    fields.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
