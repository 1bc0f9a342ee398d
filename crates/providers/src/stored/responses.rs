//! OpenAI's Responses: `response.created`, the items and what they are made of, and `response.completed` or
//! `response.incomplete` with the whole response.
//!
//! Source: "Streaming events" of Responses in OpenAI's API reference.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::pieces::{pieces, with_tokens};
use super::{data, list, word};

/// Whether that is the status of a response with an answer.
fn is_answer(status: &str) -> bool {
    matches!(status, "completed" | "incomplete")
}

/// Writes a whole response as events. None: it has no answer.
pub(super) fn write(whole: &Map<String, Value>) -> Option<Vec<u8>> {
    let status = word(whole, "status").filter(|status| is_answer(status))?;
    let output = whole.get("output")?.as_array()?;
    let mut events = Events::default();
    let begun = begun(whole);
    for kind in ["response.created", "response.in_progress"] {
        events.put(kind, json!({ "response": begun }));
    }
    for (index, item) in output.iter().enumerate() {
        let item = item.as_object()?;
        // What is not an object has no place in events.
        let is_made_up = |name: &str| list(item, name).iter().all(Value::is_object);
        if !is_made_up("content") || !is_made_up("summary") {
            return None;
        }
        let place = Place { id: item.get("id").cloned().unwrap_or_else(|| "".into()), output: index };
        place.item(item, &mut events);
    }
    events.put(&format!("response.{status}"), json!({ "response": whole }));
    Some(events.out)
}

/// Events as they are written.
#[derive(Default)]
struct Events {
    out: Vec<u8>,
    sequence: u64,
}

impl Events {
    fn put(&mut self, kind: &str, fields: Value) {
        let mut numbered = json!({ "sequence_number": self.sequence });
        if let (Value::Object(numbered), Value::Object(fields)) = (&mut numbered, fields) {
            numbered.extend(fields);
        }
        super::put(kind, numbered, &mut self.out);
        self.sequence += 1;
    }
}

/// The response before anything was said.
fn begun(whole: &Map<String, Value>) -> Value {
    let mut response = whole.clone();
    for (name, value) in &mut response {
        match name.as_str() {
            "status" => *value = "in_progress".into(),
            "output" => *value = json!([]),
            "completed_at" | "error" | "incomplete_details" | "usage" => *value = Value::Null,
            _ => {}
        }
    }
    // SDKs of some languages keep the text beside the items.
    response.shift_remove("output_text");
    Value::Object(response)
}

/// Which item of the output events are about.
struct Place {
    id: Value,
    output: usize,
}

impl Place {
    /// Fields of an event about the item.
    fn fields(&self, more: Value) -> Value {
        let mut fields = json!({ "item_id": self.id, "output_index": self.output });
        if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
            fields.extend(more);
        }
        fields
    }

    fn item(&self, item: &Map<String, Value>, events: &mut Events) {
        let mut begun = item.clone();
        if let Some(status) = begun.get_mut("status") {
            *status = "in_progress".into();
        }
        let kind = word(item, "type").unwrap_or_default();
        let text = match kind {
            "function_call" => Some(("arguments", "function_call_arguments")),
            "custom_tool_call" => Some(("input", "custom_tool_call_input")),
            "mcp_call" => Some(("arguments", "mcp_call_arguments")),
            _ => None,
        };
        let is_made_up = matches!(kind, "message" | "reasoning");
        let emptied: &[&str] = if is_made_up { &["content", "summary"] } else { &[] };
        for name in emptied {
            if let Some(Value::Array(parts)) = begun.get_mut(*name) {
                parts.clear();
            }
        }
        if let Some(Value::String(text)) = text.and_then(|(name, _)| begun.get_mut(name)) {
            text.clear();
        }
        events.put("response.output_item.added", json!({ "output_index": self.output, "item": begun }));
        if let Some((name, stem)) = text {
            self.text(item, name, stem, events);
        }
        if is_made_up {
            let summary = list(item, "summary").iter().filter_map(Value::as_object);
            summary.enumerate().for_each(|(number, part)| self.summary(number, part, events));
            let content = list(item, "content").iter().filter_map(Value::as_object);
            content.enumerate().for_each(|(number, part)| self.content(number, part, events));
        }
        events.put("response.output_item.done", json!({ "output_index": self.output, "item": item }));
    }

    /// What a tool is called with.
    fn text(&self, item: &Map<String, Value>, member: &str, stem: &str, events: &mut Events) {
        let Some(text) = word(item, member) else { return };
        for piece in pieces(text) {
            events.put(&format!("response.{stem}.delta"), self.fields(json!({ "delta": piece })));
        }
        let mut done = Map::from_iter([(member.to_owned(), text.into())]);
        if let Some(name) = item.get("name").filter(|_| stem == "function_call_arguments") {
            done.insert("name".to_owned(), name.clone());
        }
        events.put(&format!("response.{stem}.done"), self.fields(Value::Object(done)));
    }

    /// A part of what a model says of its thoughts.
    fn summary(&self, number: usize, part: &Map<String, Value>, events: &mut Events) {
        let put = |kind: &str, name: &str, value: Value, events: &mut Events| {
            let mut fields = self.fields(json!({ "summary_index": number }));
            fields[name] = value;
            events.put(&format!("response.reasoning_summary_{kind}"), fields);
        };
        put("part.added", "part", begun_part(part), events);
        if let Some(text) = word(part, "text") {
            pieces(text).for_each(|piece| put("text.delta", "delta", piece.into(), events));
            put("text.done", "text", text.into(), events);
        }
        put("part.done", "part", part.clone().into(), events);
    }

    /// A part of a message, or of thoughts in full.
    fn content(&self, number: usize, part: &Map<String, Value>, events: &mut Events) {
        let fields = |more: Value| {
            let mut fields = self.fields(json!({ "content_index": number }));
            if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
                fields.extend(more);
            }
            fields
        };
        events.put("response.content_part.added", fields(json!({ "part": begun_part(part) })));
        match word(part, "type") {
            Some("output_text") => {
                let text = word(part, "text").unwrap_or_default();
                let logprobs = list(part, "logprobs");
                for (piece, tokens) in with_tokens(text, logprobs) {
                    let delta = json!({ "delta": piece, "logprobs": tokens });
                    events.put("response.output_text.delta", fields(delta));
                }
                for (number, annotation) in list(part, "annotations").iter().enumerate() {
                    let added = json!({ "annotation_index": number, "annotation": annotation });
                    events.put("response.output_text.annotation.added", fields(added));
                }
                let done = json!({ "text": text, "logprobs": logprobs });
                events.put("response.output_text.done", fields(done));
            }
            Some(kind @ ("refusal" | "reasoning_text")) => {
                let name = if kind == "refusal" { "refusal" } else { "text" };
                let text = word(part, name).unwrap_or_default();
                for piece in pieces(text) {
                    events.put(&format!("response.{kind}.delta"), fields(json!({ "delta": piece })));
                }
                let mut done = json!({});
                done[name] = text.into();
                events.put(&format!("response.{kind}.done"), fields(done));
            }
            _ => {}
        }
        events.put("response.content_part.done", fields(json!({ "part": part })));
    }
}

/// A part before anything of it was said. One of another type comes whole.
fn begun_part(part: &Map<String, Value>) -> Value {
    let mut begun = part.clone();
    let known = ["output_text", "refusal", "reasoning_text", "summary_text"];
    if word(part, "type").is_some_and(|kind| known.contains(&kind)) {
        for (name, value) in &mut begun {
            match value {
                Value::String(text) if matches!(name.as_str(), "text" | "refusal") => text.clear(),
                Value::Array(all) if matches!(name.as_str(), "annotations" | "logprobs") => all.clear(),
                _ => {}
            }
        }
    }
    Value::Object(begun)
}

/// The response in the last event. None: there is no such event, or it says that there is no answer.
///
/// Where its output is left out or empty, the items are those that were told one by one.
pub(super) fn read(sse: &[u8]) -> Option<Map<String, Value>> {
    let mut items = BTreeMap::new();
    for data in data(sse)? {
        if data == "[DONE]" {
            return None;
        }
        let Value::Object(mut event) = serde_json::from_slice(&data).ok()? else { return None };
        match word(&event, "type").unwrap_or_default() {
            "error" | "response.failed" => return None,
            "response.output_item.done" => {
                let index = event.get("output_index").and_then(Value::as_u64)?;
                items.insert(index, event.shift_remove("item")?);
            }
            "response.completed" | "response.incomplete" => {
                let Value::Object(mut response) = event.shift_remove("response")? else { return None };
                word(&response, "status").filter(|status| is_answer(status))?;
                if list(&response, "output").is_empty() {
                    response.insert("output".to_owned(), items.into_values().collect());
                }
                return Some(response);
            }
            _ => {}
        }
    }
    None
}
