//! Conversations that go on by `previous_response_id`, and what was asked of a stored response.

use domain::{ApiError, Conversation};
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::fields::{invalid, wrong_type};
use super::input::NATIVE;
use super::raw::RawFields;
use super::seal::Seal;
use crate::chat::Written;
use crate::sse::{self, Events};

const PREVIOUS: &str = "previous_response_id";
const BACKGROUND: &str = "background";

/// Events that end a stream and tell the whole response, as they are written.
const LAST_EVENTS: [&str; 3] = ["\"response.completed\"", "\"response.incomplete\"", "\"response.failed\""];

/// A request and its answer, as they were stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The request's body, as the caller sent it.
    pub input: Vec<u8>,
    /// The response object.
    pub output: Vec<u8>,
}

/// The body with the items of the earlier turns, oldest first, in front of its own. Only items are carried over:
/// instructions and all other fields hold for the turn that they came with. `previous_response_id` stays, because the
/// answer repeats it; [`to_send`] is what a provider gets.
///
/// Source: `instructions` and `previous_response_id` in OpenAI's API reference.
pub fn continued(body: &[u8], earlier: &[Turn]) -> Result<Vec<u8>, ApiError> {
    let RawFields(fields) = read_body(body)?;
    let mut items: Vec<String> = Vec::new();
    for turn in earlier {
        let request: RawFields<'_> = serde_json::from_slice(&turn.input).map_err(|_| unreadable())?;
        items.extend(texts(request.get("input"))?);
        items.extend(output(&turn.output)?);
    }
    let own = fields.iter().rev().find(|(name, _)| name == "input").map(|(_, value)| *value);
    items.extend(texts(own)?);
    let mut out = Vec::with_capacity(body.len() + items.iter().map(String::len).sum::<usize>());
    for (name, value) in fields.iter().filter(|(name, _)| name != "input") {
        put(&mut out, name, value.get());
    }
    put(&mut out, "input", &format!("[{}]", items.join(",")));
    out.push(b'}');
    Ok(out)
}

/// A body without the fields that say what we do ourselves: continue a response that is kept here, and answer in the
/// background. None: it stays as it is.
pub fn to_send(body: &[u8], conversation: &Conversation) -> Option<Vec<u8>> {
    let ours = [(PREVIOUS, conversation.expanded), (BACKGROUND, conversation.background)];
    let names: Vec<&str> = ours.into_iter().filter(|(_, is_ours)| *is_ours).map(|(name, _)| name).collect();
    if names.is_empty() { None } else { without(body, &names) }
}

fn without(body: &[u8], names: &[&str]) -> Option<Vec<u8>> {
    let RawFields(fields) = serde_json::from_slice(body).ok()?;
    let mut out = Vec::with_capacity(body.len());
    for (name, value) in fields.iter().filter(|(name, _)| !names.contains(&name.as_str())) {
        put(&mut out, name, value.get());
    }
    if out.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
    Some(out)
}

/// The response object that an answer's body holds: the body itself, or what the last event of a stream tells. None:
/// the answer broke off before.
pub fn object_of(body: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        response: &'a RawValue,
    }
    if body.trim_ascii_start().starts_with(b"{") {
        return Some(body.to_vec());
    }
    let mut events = Events::default();
    events.push(body);
    let mut last = None;
    while let Some(event) = events.take() {
        if LAST_EVENTS.iter().any(|name| memmem::find(&event, name.as_bytes()).is_some()) {
            last = sse::data(&event).map(<[u8]>::to_vec).or(last);
        }
    }
    let event: Event<'_> = serde_json::from_slice(last.as_ref()?).ok()?;
    Some(event.response.get().as_bytes().to_vec())
}

/// Whether an object is a response with a list of items, and no error.
pub fn has_output(object: &[u8]) -> bool {
    let fields: Option<RawFields<'_>> = serde_json::from_slice(object).ok();
    fields.and_then(|fields| fields.get("output")).is_some_and(|output| output.get().starts_with('['))
}

/// A response object under another id.
pub fn with_id(object: &[u8], id: &str) -> Vec<u8> {
    let Some(rest) = without(object, &["id"]) else { return object.to_vec() };
    let mut out = Vec::with_capacity(rest.len() + id.len() + 8);
    put(&mut out, "id", &Value::from(id).to_string());
    if rest.len() > 2 {
        out.push(b',');
    }
    out.extend_from_slice(&rest[1..]);
    out
}

/// A body without the reasoning and the blocks of other providers, whose seals OpenAI would refuse: for providers that
/// speak this dialect, where bodies are otherwise forwarded as they are. What is left out is reported. None: there is
/// nothing to leave out.
pub fn without_foreign_items(body: &[u8]) -> Option<Written> {
    let may_be_native = memmem::find(body, b"\"native\"").is_some();
    if !may_be_native && !Seal::may_be_in(body) {
        return None;
    }
    let RawFields(fields) = serde_json::from_slice(body).ok()?;
    let mut written = Written::default();
    for (name, value) in &fields {
        let items: Option<Vec<&RawValue>> =
            (name == "input").then(|| serde_json::from_str(value.get()).ok()).flatten();
        let Some(items) = items else {
            put(&mut written.body, name, value.get());
            continue;
        };
        let mut kept = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            if is_foreign(item) {
                written.dropped.push(format!("input[{index}]"));
            } else {
                kept.push(item.get());
            }
        }
        put(&mut written.body, name, &format!("[{}]", kept.join(",")));
    }
    written.body.push(b'}');
    (!written.dropped.is_empty()).then_some(written)
}

fn is_foreign(item: &RawValue) -> bool {
    let Ok(fields) = serde_json::from_str::<RawFields<'_>>(item.get()) else { return false };
    match fields.read::<String>("type").as_deref() {
        Some("reasoning") => {
            fields.read::<String>("encrypted_content").is_some_and(|text| Seal::read(&text).is_some())
        }
        Some(kind) => kind == NATIVE,
        None => false,
    }
}

/// Which items of a list are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most so many, 1 to 100.
    pub limit: usize,
    /// Only those behind the item of this id.
    pub after: Option<String>,
    /// The last item comes first.
    pub newest_first: bool,
}

impl Page {
    /// The values of the query parameters `limit`, `after` and `order`.
    pub fn parse(limit: Option<&str>, after: Option<&str>, order: Option<&str>) -> Result<Self, ApiError> {
        let limit = match limit.map(str::parse::<usize>) {
            None => 20,
            Some(Ok(limit @ 1..=100)) => limit,
            Some(_) => return Err(invalid("limit", "is not a whole number from 1 to 100: write one")),
        };
        let newest_first = match order {
            None | Some("desc") => true,
            Some("asc") => false,
            Some(_) => return Err(invalid("order", "is neither asc nor desc: write one of them")),
        };
        Ok(Self { limit, after: after.map(str::to_owned), newest_first })
    }
}

/// The list of a request's items, as `GET /v1/responses/{id}/input_items` answers it. Items without an id get one from
/// the response's id and their position, so that pages fit together.
pub fn input_items(body: &[u8], response_id: &str, page: &Page) -> Result<Vec<u8>, ApiError> {
    let fields = read_body(body)?;
    let stem = response_id.strip_prefix("resp_").unwrap_or(response_id);
    let mut items = Vec::new();
    for (index, text) in texts(fields.get("input"))?.into_iter().enumerate() {
        let item: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|_| invalid(&format!("input[{index}]"), "is no item: items are objects"))?;
        items.push(listed(item, stem, index));
    }
    if page.newest_first {
        items.reverse();
    }
    let id = |item: &Map<String, Value>| item.get("id").and_then(Value::as_str).map(str::to_owned);
    let from = match &page.after {
        None => 0,
        Some(after) => match items.iter().position(|item| id(item).as_ref() == Some(after)) {
            Some(at) => at + 1,
            None => {
                return Err(invalid(
                    "after",
                    format!("is \"{after}\", which is the id of no item: write one of them"),
                ));
            }
        },
    };
    let has_more = items.len() - from > page.limit;
    let data: Vec<_> = items.into_iter().skip(from).take(page.limit).collect();
    let list = json!({
        "object": "list",
        "first_id": data.first().and_then(id),
        "last_id": data.last().and_then(id),
        "has_more": has_more,
        "data": data,
    });
    Ok(list.to_string().into_bytes())
}

/// An item as it is listed: with an id, a type and a status, and content in parts.
fn listed(mut item: Map<String, Value>, stem: &str, index: usize) -> Map<String, Value> {
    let kind = item.entry("type").or_insert_with(|| json!("message")).as_str().unwrap_or_default().to_owned();
    let prefix = match kind.as_str() {
        "message" => "msg",
        "function_call" => "fc",
        "function_call_output" => "fco",
        "reasoning" => "rs",
        _ => "item",
    };
    if !item.get("id").is_some_and(Value::is_string) {
        item.insert("id".to_owned(), json!(format!("{prefix}_{stem}_{index}")));
    }
    if kind == "message" {
        let is_the_models = item.get("role").and_then(Value::as_str) == Some("assistant");
        if let Some(Value::String(text)) = item.get("content") {
            let part = if is_the_models {
                json!({ "type": "output_text", "text": text, "annotations": [] })
            } else {
                json!({ "type": "input_text", "text": text })
            };
            item.insert("content".to_owned(), json!([part]));
        }
    }
    if matches!(prefix, "msg" | "fc" | "fco") {
        item.entry("status").or_insert_with(|| json!("completed"));
    }
    item
}

fn read_body(body: &[u8]) -> Result<RawFields<'_>, ApiError> {
    serde_json::from_slice(body).map_err(|err| {
        let place = format!("line {}, column {}", err.line(), err.column());
        ApiError::new(400, "invalid_json", format!("the body is not a JSON object: {place}"))
    })
}

/// The items of an `input`, each as JSON text.
fn texts(input: Option<&RawValue>) -> Result<Vec<String>, ApiError> {
    let Some(input) = input else { return Ok(Vec::new()) };
    match input.get().as_bytes().first() {
        Some(b'"') => {
            Ok(vec![format!("{{\"type\":\"message\",\"role\":\"user\",\"content\":{}}}", input.get())])
        }
        Some(b'[') => Ok(list(input).unwrap_or_default()),
        _ => {
            let value = serde_json::from_str(input.get()).unwrap_or_default();
            Err(wrong_type("input", &value, "a text or a list of items"))
        }
    }
}

fn list(input: &RawValue) -> Option<Vec<String>> {
    let items: Vec<&RawValue> = serde_json::from_str(input.get()).ok()?;
    Some(items.into_iter().map(|item| item.get().to_owned()).collect())
}

/// The items that a response answered with.
fn output(response: &[u8]) -> Result<Vec<String>, ApiError> {
    #[derive(Deserialize)]
    struct Stored<'a> {
        #[serde(default)]
        status: Option<String>,
        #[serde(default, borrow)]
        output: Option<&'a RawValue>,
    }
    let stored: Stored<'_> = serde_json::from_slice(response).map_err(|_| unreadable())?;
    if let Some(status @ ("queued" | "in_progress")) = stored.status.as_deref() {
        let message =
            format!("`{PREVIOUS}` names a response that is still {status}: continue it when it has ended");
        return Err(ApiError::bad_request(PREVIOUS, "previous_response_not_ended", message));
    }
    stored.output.and_then(list).ok_or_else(unreadable)
}

fn unreadable() -> ApiError {
    let message = format!(
        "`{PREVIOUS}` leads to a stored response that cannot be read: send the earlier items in `input`"
    );
    ApiError::bad_request(PREVIOUS, "previous_response_unreadable", message)
}

/// Adds a field to an object that is being written; the last brace is left to the caller.
fn put(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(if out.is_empty() { b'{' } else { b',' });
    out.extend_from_slice(Value::from(name).to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(value.as_bytes());
}
