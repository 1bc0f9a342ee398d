//! From a whole answer to chunks.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::pieces::{is_continued, pieces, with_tokens};
use super::super::{list, word};
use super::Form;

/// Writes a whole answer as chunks. None: it is not complete, or its choices cannot be told apart.
pub(in crate::stored) fn write(
    form: Form,
    whole: &Map<String, Value>,
    include_usage: bool,
) -> Option<Vec<u8>> {
    let choices = whole.get("choices")?.as_array().filter(|choices| !choices.is_empty())?;
    let usage = whole.get("usage").filter(|usage| include_usage && !usage.is_null());
    let (mut chunks, mut written) = (Chunks::new(form, whole, usage.is_some()), BTreeSet::new());
    for (number, choice) in choices.iter().enumerate() {
        let choice = choice.as_object()?;
        word(choice, "finish_reason").filter(|reason| !reason.is_empty())?;
        let index = choice.get("index").map_or(Some(number as u64), Value::as_u64)?;
        if !written.insert(index) {
            return None;
        }
        let index = Value::from(index);
        match form {
            Form::Chat => message(index.clone(), choice, &mut chunks)?,
            Form::Text => text(&index, choice, &mut chunks)?,
        }
        end(form, index, choice, &mut chunks);
    }
    if let Some(usage) = usage {
        chunks.put(json!([]), usage.clone());
    }
    chunks.out.extend_from_slice(b"data: [DONE]\n\n");
    Some(chunks.out)
}

/// Chunks as they are written.
struct Chunks {
    /// Members that all chunks have.
    head: Map<String, Value>,
    /// Members that the first chunk has beside these: lists and objects of providers' own.
    first: Map<String, Value>,
    counted: bool,
    out: Vec<u8>,
}

impl Chunks {
    fn new(form: Form, whole: &Map<String, Value>, counted: bool) -> Self {
        let (mut head, mut first) = (Map::new(), Map::new());
        for (name, value) in whole {
            match name.as_str() {
                "choices" | "usage" => {}
                "object" => drop(head.insert(name.clone(), form.chunk().into())),
                _ if value.is_array() || value.is_object() => drop(first.insert(name.clone(), value.clone())),
                _ => drop(head.insert(name.clone(), value.clone())),
            }
        }
        Self { head, first, counted, out: Vec::new() }
    }

    fn put(&mut self, choices: Value, usage: Value) {
        let mut chunk = self.head.clone();
        chunk.insert("choices".to_owned(), choices);
        chunk.append(&mut self.first);
        // Callers who want counts have the member in all chunks, null in all but the last.
        if self.counted {
            chunk.insert("usage".to_owned(), usage);
        }
        self.out.extend_from_slice(format!("data: {}\n\n", Value::Object(chunk)).as_bytes());
    }

    fn choice(&mut self, choice: Value) {
        self.put(json!([choice]), Value::Null);
    }

    /// One piece of a message.
    fn delta(&mut self, index: &Value, delta: Value, logprobs: Value) {
        self.choice(json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": null }));
    }
}

/// The last piece of a choice: why it ended, and what the provider says of it beyond.
fn end(form: Form, index: Value, choice: &Map<String, Value>, chunks: &mut Chunks) {
    let mut last = Map::new();
    last.insert("index".to_owned(), index);
    match form {
        Form::Chat => last.insert("delta".to_owned(), json!({})),
        Form::Text => last.insert("text".to_owned(), "".into()),
    };
    last.insert("logprobs".to_owned(), Value::Null);
    let told = ["index", "message", "text", "logprobs"];
    let others = choice.iter().filter(|(name, _)| !told.contains(&name.as_str()));
    last.extend(others.map(|(name, value)| (name.clone(), value.clone())));
    chunks.choice(Value::Object(last));
}

fn text(index: &Value, choice: &Map<String, Value>, chunks: &mut Chunks) -> Option<()> {
    let mut logprobs = choice.get("logprobs").cloned().unwrap_or_default();
    let text = word(choice, "text")?;
    // Probabilities come at once.
    let bare = (text.is_empty() && !logprobs.is_null()).then_some("");
    for piece in pieces(text).chain(bare) {
        chunks.choice(json!({
            "text": piece, "index": index, "logprobs": logprobs.take(), "finish_reason": null,
        }));
    }
    Some(())
}

/// A message: whose it is, the thoughts, the words, what belongs to them, the calls.
fn message(index: Value, choice: &Map<String, Value>, chunks: &mut Chunks) -> Option<()> {
    let message = choice.get("message")?.as_object()?;
    let logprobs = choice.get("logprobs").filter(|logprobs| !logprobs.is_null());
    chunks.delta(&index, opening(message), Value::Null);
    let mut others = Map::new();
    for (name, value) in message {
        match value {
            Value::Null => {}
            _ if matches!(name.as_str(), "role" | "content" | "content_blocks" | "refusal") => {}
            Value::Array(calls) if name == "tool_calls" && !calls.is_empty() => {}
            Value::String(text) if is_continued(name) => {
                for piece in pieces(text) {
                    chunks.delta(&index, member(name, piece), Value::Null);
                }
                if text.is_empty() {
                    others.insert(name.clone(), value.clone());
                }
            }
            _ => drop(others.insert(name.clone(), value.clone())),
        }
    }
    content(&index, message, logprobs, chunks);
    for piece in word(message, "refusal").into_iter().flat_map(pieces) {
        chunks.delta(&index, member("refusal", piece), Value::Null);
    }
    if !others.is_empty() {
        chunks.delta(&index, Value::Object(others), Value::Null);
    }
    for (number, call) in list(message, "tool_calls").iter().enumerate() {
        let mut delta = Map::from_iter([("index".to_owned(), number.into())]);
        let members = call.as_object()?.iter().filter(|(name, _)| *name != "index");
        delta.extend(members.map(|(name, value)| (name.clone(), value.clone())));
        chunks.delta(&index, json!({ "tool_calls": [delta] }), Value::Null);
    }
    Some(())
}

/// The first piece of a message, as OpenAI sends it.
fn opening(message: &Map<String, Value>) -> Value {
    let mut delta = Map::new();
    delta.insert("role".to_owned(), message.get("role").cloned().unwrap_or_else(|| "assistant".into()));
    if let Some(content) = message.get("content") {
        let begun = if content.is_string() { "".into() } else { Value::Null };
        delta.insert("content".to_owned(), begun);
    }
    if let Some(refusal) = message.get("refusal") {
        let is_empty = refusal.as_str() == Some("");
        delta.insert("refusal".to_owned(), if is_empty { "".into() } else { Value::Null });
    }
    Value::Object(delta)
}

/// The words, with Portkey's blocks and the probabilities where they go.
fn content(index: &Value, message: &Map<String, Value>, logprobs: Option<&Value>, chunks: &mut Chunks) {
    let blocks = list(message, "content_blocks");
    let text = match message.get("content") {
        Some(Value::String(text)) => text.as_str(),
        // Some have a list of parts in its place.
        Some(parts @ Value::Array(_)) => {
            chunks.delta(index, json!({ "content": parts }), Value::Null);
            ""
        }
        _ => "",
    };
    let of_blocks: String = blocks.iter().filter_map(block_text).collect();
    let joined = of_blocks == text && logprobs.is_none();
    if !joined {
        words(index, text, logprobs, chunks);
    }
    for (number, block) in blocks.iter().enumerate() {
        let is_text = joined && !text.is_empty() && block_text(block).is_some();
        for part in block_deltas(block) {
            let said = part.get("text").filter(|_| is_text).cloned();
            let mut delta = json!({ "content_blocks": [{ "index": number, "delta": part }] });
            if let Some(said) = said {
                delta["content"] = said;
            }
            chunks.delta(index, delta, Value::Null);
        }
    }
}

/// Text with its probabilities, which come piece by piece if they are of the text alone, else at once.
fn words(index: &Value, text: &str, logprobs: Option<&Value>, chunks: &mut Chunks) {
    let tokens = logprobs.and_then(|logprobs| {
        let fields = logprobs.as_object()?;
        let alone = fields.iter().all(|(name, value)| name == "content" || value.is_null());
        Some((fields, list(fields, "content"))).filter(|(_, tokens)| alone && !tokens.is_empty())
    });
    let Some((fields, tokens)) = tokens else {
        for piece in pieces(text) {
            chunks.delta(index, member("content", piece), Value::Null);
        }
        if let Some(logprobs) = logprobs {
            chunks.delta(index, json!({}), logprobs.clone());
        }
        return;
    };
    for (piece, tokens) in with_tokens(text, tokens) {
        let mut logprobs = fields.clone();
        logprobs.insert("content".to_owned(), if tokens.is_empty() { Value::Null } else { tokens.into() });
        let delta = if text.is_empty() { json!({}) } else { member("content", piece) };
        chunks.delta(index, delta, Value::Object(logprobs));
    }
}

/// The text of one of Portkey's blocks that is text and has pieces.
fn block_text(block: &Value) -> Option<&str> {
    let is_text = block.get("type").and_then(Value::as_str) == Some("text");
    let text = block.get("text").and_then(Value::as_str);
    text.filter(|_| is_text && block_deltas(block).first().is_some_and(|delta| delta.get("type").is_none()))
}

/// The pieces of one of Portkey's blocks. One that is of no known shape comes whole.
fn block_deltas(block: &Value) -> Vec<Value> {
    let whole = || vec![block.clone()];
    let Some(fields) = block.as_object() else { return whole() };
    let (kind, continued, appended) = match word(fields, "type") {
        Some("text") => ("text", "text", "citations"),
        Some("thinking") => ("thinking", "thinking", "signature"),
        Some("redacted_thinking") => ("redacted_thinking", "data", "data"),
        _ => return whole(),
    };
    let known = |name: &str| [continued, appended, "type"].contains(&name);
    let Some(text) = word(fields, continued).filter(|_| fields.keys().all(|name| known(name))) else {
        return whole();
    };
    let mut deltas: Vec<Value> = match kind {
        "redacted_thinking" => return vec![json!({ "data": text })],
        _ if text.is_empty() => vec![member(continued, "")],
        _ => pieces(text).map(|piece| member(continued, piece)).collect(),
    };
    match fields.get(appended) {
        None => {}
        Some(Value::Array(citations)) if kind == "text" && !citations.is_empty() => {
            deltas.extend(citations.iter().map(|citation| json!({ "citation": citation })));
        }
        Some(Value::String(seal)) if kind == "thinking" => deltas.push(json!({ "signature": seal })),
        Some(_) => return whole(),
    }
    deltas
}

/// An object with this one member.
fn member(name: &str, text: &str) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), text.into())]))
}
