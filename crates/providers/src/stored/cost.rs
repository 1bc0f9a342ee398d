//! What a stored answer says that it cost.

use bytes::{Bytes, BytesMut};
use domain::model::NanoUsd;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::sse::{self, Events};

/// An answer, an event, or what is in one.
#[derive(Deserialize)]
struct Counted<'a> {
    #[serde(default, borrow)]
    usage: Option<&'a RawValue>,
    /// Events of the Responses API have the response in them.
    #[serde(default, borrow)]
    response: Option<&'a RawValue>,
    /// Anthropic's first event has the message in it.
    #[serde(default, borrow)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Usage<'a> {
    #[serde(default, borrow)]
    estimated_cost: Option<&'a RawValue>,
}

/// The body of an answer, whole or a stream, with this cost wherever it shows one ([`crate::show`]). All other bytes stay
/// as they are, and so does a body that shows none.
pub fn with_cost_shown(body: &Bytes, cost: NanoUsd) -> Bytes {
    if memmem::find(body, b"\"estimated_cost\"").is_none() {
        return body.clone();
    }
    let cost = cost.dollars();
    if body.trim_ascii_start().first() == Some(&b'{') {
        return in_json(body, &cost).map_or_else(|| body.clone(), Bytes::from);
    }
    let (mut events, mut out) = (Events::default(), BytesMut::with_capacity(body.len()));
    events.push(body);
    while let Some(event) = events.take() {
        out.extend_from_slice(&in_event(&event, &cost).map_or(event, Bytes::from));
    }
    out.extend_from_slice(&events.rest());
    out.freeze()
}

fn in_event(event: &[u8], cost: &str) -> Option<Vec<u8>> {
    let data = sse::data(event)?;
    let start = offset(event, data)?;
    let shown = in_json(data, cost)?;
    Some([&event[..start], &shown, &event[start + data.len()..]].concat())
}

fn in_json(json: &[u8], cost: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(json).ok()?;
    let counted: Counted<'_> = serde_json::from_str(text).ok()?;
    let inner = counted.response.or(counted.message);
    let usage = match (counted.usage, inner) {
        (Some(usage), _) => usage,
        (None, Some(inner)) => serde_json::from_str::<Counted<'_>>(inner.get()).ok()?.usage?,
        (None, None) => return None,
    };
    let shown = serde_json::from_str::<Usage<'_>>(usage.get()).ok()?.estimated_cost?.get().as_bytes();
    let start = offset(json, shown)?;
    Some([&json[..start], cost.as_bytes(), &json[start + shown.len()..]].concat())
}

/// Where a part of a text begins in it.
fn offset(whole: &[u8], part: &[u8]) -> Option<usize> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (start + part.len() <= whole.len()).then_some(start)
}
