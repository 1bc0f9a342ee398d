//! The conversation: what was said last, what was shown, and whether calls and results of tools belong together.

use domain::ApiError;
use serde_json::Value;

use super::refuse;
use crate::media;
use crate::text::count_words;

/// What the answer is about.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) text: String,
    pub(super) words: u64,
    pub(super) has_results: bool,
}

/// Reads the messages, whose shape is right.
pub(super) fn read(messages: &Value) -> Result<Heard, ApiError> {
    let messages = messages.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut heard = Heard::default();
    let (mut open, mut results): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    let mut user = false;
    for (at, message) in messages.iter().enumerate() {
        let place = format!("messages[{at}]");
        let text = content(&place, &message["content"])?;
        heard.words += count_words(&text) as u64;
        match message["role"].as_str().unwrap_or_default() {
            "tool" => {
                let id = message["tool_call_id"].as_str().unwrap_or_default();
                let Some(position) = open.iter().position(|open| *open == id) else {
                    let what = format!("tool_call_id `{id}` was not found in the tool calls before");
                    return Err(refuse(&place, &what));
                };
                open.remove(position);
                results.push(text);
                continue;
            }
            "user" => (heard.text, user) = (text, true),
            _ => {}
        }
        if let Some(id) = open.first() {
            return Err(refuse(&place, &format!("the tool call `{id}` has no tool message")));
        }
        results.clear();
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        open = calls.filter_map(|call| call["id"].as_str()).collect();
    }
    if let Some(id) = open.first() {
        return Err(refuse("messages", &format!("the tool call `{id}` has no tool message")));
    }
    if !user {
        return Err(refuse("messages", "at least one message must be the user's"));
    }
    if messages.last().is_some_and(|last| last["role"] == "assistant") {
        return Err(refuse("messages", "the last message must be the user's or a tool's"));
    }
    heard.has_results = !results.is_empty();
    if heard.has_results {
        heard.text = results.join(" ");
    }
    Ok(heard)
}

fn content(place: &str, content: &Value) -> Result<String, ApiError> {
    let Some(parts) = content.as_array() else { return Ok(content.as_str().unwrap_or_default().to_owned()) };
    let part = |(number, part): (usize, &Value)| match part["type"].as_str().unwrap_or_default() {
        "image_url" => {
            media::address("image", part["image_url"]["url"].as_str().unwrap_or_default(), media::IMAGES)
                .map_err(|why| refuse(&format!("{place}.content[{number}].image_url.url"), &why))
        }
        "document" => Ok(document(&part["document"])),
        "thinking" => Ok(String::new()),
        _ => Ok(part["text"].as_str().unwrap_or_default().to_owned()),
    };
    Ok(parts.iter().enumerate().map(part).collect::<Result<Vec<_>, _>>()?.join(" "))
}

/// The text of a document: its data, or the texts in it.
pub(super) fn document(document: &Value) -> String {
    let data = if document.is_string() { document } else { &document["data"] };
    match data {
        Value::String(text) => text.clone(),
        Value::Object(fields) => fields.values().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => String::new(),
    }
}
