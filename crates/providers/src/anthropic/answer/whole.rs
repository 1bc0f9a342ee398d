//! Whole answers.

use domain::Usage;
use serde_json::{Map, Value, json};

use super::super::usage::Counts;
use super::super::{citation, error, stop, usage};
use crate::chat::{About, Answer, Choice, Dialect, Finish, Part, PartKind, Reason, Source};

/// Top-level fields of an answer that Anthropic defines and a chat has no place for.
///
/// Source: the `Message` object in the API reference on platform.claude.com.
pub(super) const EXTRA: [&str; 4] = ["container", "context_management", "diagnostics", "stop_details"];

/// Reads a whole answer. The error says why it is none; it never quotes it.
pub fn read_answer(body: &[u8]) -> Result<Answer, String> {
    let document: Value = serde_json::from_slice(body)
        .map_err(|err| format!("the answer is not JSON: line {}, column {}", err.line(), err.column()))?;
    if document.get("type").and_then(Value::as_str) == Some("error") {
        let kind = error::error_of(&document).and_then(|error| error.kind);
        let kind = kind.unwrap_or_else(|| "of no known type".to_owned());
        return Err(format!("the answer has status 200 but holds an error: {kind}"));
    }
    let Value::Object(mut message) = document else { return Err("the answer is not an object".to_owned()) };
    let Some(Value::Array(content)) = message.remove("content") else {
        return Err("the answer has no list `content`".to_owned());
    };
    let word = |name: &str| message.get(name).and_then(Value::as_str);
    let finish = stop::read(word("stop_reason"), word("stop_sequence"));
    let (id, model) = (word("id").map(str::to_owned), word("model").map(str::to_owned));
    let counts = message.get("usage").filter(|usage| usage.is_object());
    let usage = counts.map(|counts| Usage::from(Counts::of(counts)));
    let mut extra = Map::new();
    extra.extend(counts.and_then(usage::read_tier));
    extra.extend(counts.and_then(usage::read_geo));
    for name in EXTRA {
        extra.extend(message.remove_entry(name).filter(|(_, value)| !value.is_null()));
    }
    let choice = Choice { index: 0, parts: content.into_iter().map(part).collect(), finish, logprobs: None };
    Ok(Answer { id, model, created: None, choices: vec![choice], usage, extra })
}

/// The part for a block of an answer. What only Anthropic has is kept whole.
fn part(block: Value) -> Part {
    let word = |name: &str| block.get(name).and_then(Value::as_str).map(str::to_owned);
    let kind = match block.get("type").and_then(Value::as_str) {
        Some("text") => word("text").map(|text| PartKind::Text { text, citations: citations(&block) }),
        Some("thinking") => word("thinking")
            .map(|text| PartKind::Thinking { text, signature: word("signature").filter(|s| !s.is_empty()) }),
        Some("redacted_thinking") => word("data").map(|data| PartKind::RedactedThinking { data }),
        Some("tool_use") => word("id").zip(word("name")).map(|(id, name)| PartKind::ToolCall {
            id,
            name,
            arguments: block.get("input").map_or_else(|| "{}".to_owned(), Value::to_string),
            signature: word("thought_signature"),
        }),
        _ => None,
    };
    Part::new(kind.unwrap_or(PartKind::Native { dialect: Dialect::Anthropic, value: block }))
}

fn citations(block: &Value) -> Vec<Value> {
    block.get("citations").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Writes a whole answer: its first choice, for the dialect has but one.
pub fn write_answer(answer: &Answer, about: &About<'_>) -> Vec<u8> {
    let choice = answer.choices.first();
    let parts = choice.map_or(&[][..], |choice| &choice.parts);
    let plain = Finish { reason: Reason::Stop, raw: None, stop_sequence: None };
    let finish = choice.map_or(&plain, |choice| &choice.finish);
    let refused = parts.iter().any(|part| matches!(part.kind, PartKind::Refusal(_)));
    let (stop_reason, stop_sequence) = stop::write(finish, refused);
    let mut message = envelope(answer.id.as_deref(), answer.model.as_deref(), about);
    message.insert("content".to_owned(), parts.iter().filter_map(block).collect());
    message.insert("stop_reason".to_owned(), stop_reason.into());
    message.insert("stop_sequence".to_owned(), stop_sequence);
    let mut usage = usage::write(&answer.usage.unwrap_or_default());
    usage.extend(usage::write_tier(&answer.extra));
    message.insert("usage".to_owned(), usage.into());
    message.extend(extra(&answer.extra, about.strict));
    Value::Object(message).to_string().into_bytes()
}

/// The beginning of every message object. An id that is not Anthropic's shows behind Anthropic's prefix.
pub(super) fn envelope(id: Option<&str>, model: Option<&str>, about: &About<'_>) -> Map<String, Value> {
    let id = id.unwrap_or(about.id);
    let id = if id.starts_with("msg_") { id.to_owned() } else { format!("msg_{id}") };
    let mut message = Map::new();
    message.insert("id".to_owned(), id.into());
    message.insert("type".to_owned(), "message".into());
    message.insert("role".to_owned(), "assistant".into());
    message.insert("model".to_owned(), model.unwrap_or(about.model).into());
    message
}

/// Further fields of the message: Anthropic's own, and the provider's where the caller wants to see those.
pub(super) fn extra(extra: &Map<String, Value>, strict: bool) -> impl Iterator<Item = (String, Value)> {
    const TAKEN: [&str; 10] = [
        "content",
        "error",
        "id",
        "model",
        "role",
        "service_tier",
        "stop_reason",
        "stop_sequence",
        "type",
        "usage",
    ];
    let shown = move |name: &str| EXTRA.contains(&name) || (!strict && !TAKEN.contains(&name));
    extra.iter().filter(move |(name, _)| shown(name)).map(|(name, value)| (name.clone(), value.clone()))
}

/// The block for a part. None: the dialect has no block for it.
fn block(part: &Part) -> Option<Value> {
    Some(match &part.kind {
        PartKind::Text { text, citations } => {
            let places: Vec<Value> = citations.iter().filter_map(citation::written).collect();
            let mut block = json!({ "type": "text", "text": text });
            if !places.is_empty() {
                block["citations"] = places.into();
            }
            block
        }
        PartKind::Refusal(text) => json!({ "type": "text", "text": text }),
        PartKind::Thinking { text, signature } => {
            json!({ "type": "thinking", "thinking": text, "signature": signature.as_deref().unwrap_or("") })
        }
        PartKind::RedactedThinking { data } => json!({ "type": "redacted_thinking", "data": data }),
        PartKind::ToolCall { id, name, arguments, signature } => {
            tool_use(id, name, input(arguments), signature.as_deref())
        }
        PartKind::Image { source: Source::Base64 { media_type, data }, .. } => {
            json!({ "type": "image", "source": { "type": "base64", "media_type": media_type, "data": data } })
        }
        PartKind::Image { source: Source::Url(url), .. } => {
            json!({ "type": "image", "source": { "type": "url", "url": url } })
        }
        PartKind::Native { dialect: Dialect::Anthropic, value } => value.clone(),
        PartKind::Image { .. }
        | PartKind::Document { .. }
        | PartKind::Audio { .. }
        | PartKind::Video { .. }
        | PartKind::ToolResult { .. }
        | PartKind::Native { .. } => return None,
    })
}

/// A `tool_use` block. A provider's seal of the call goes along under a name of ours, for it has to come back.
pub(super) fn tool_use(id: &str, name: &str, input: Value, signature: Option<&str>) -> Value {
    let mut block = json!({ "type": "tool_use", "id": id, "name": name, "input": input });
    if let Some(signature) = signature {
        block["thought_signature"] = signature.into();
    }
    block
}

/// Arguments as an object. Text that is none (cut off by the limit, or the model's mistake) goes under
/// `INVALID_JSON`, as "Fine-grained tool streaming" on platform.claude.com wraps it.
fn input(arguments: &str) -> Value {
    if arguments.trim().is_empty() {
        return json!({});
    }
    match serde_json::from_str(arguments) {
        Ok(input @ Value::Object(_)) => input,
        _ => json!({ "INVALID_JSON": arguments }),
    }
}
