//! Reading turns.

use std::collections::HashMap;

use domain::ApiError;
use serde_json::Value;

use super::parts;
use crate::chat::{Dialect, Message, Part, PartKind, Role};
use crate::fields::{Fields, quoted, unknown_word, wrong, wrong_type};

const ROLES: &str = "`system`, `developer`, `user`, `assistant` or `tool`";

/// Reads `messages`.
pub(super) fn read(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<Vec<Message>, ApiError> {
    let values =
        fields.array("messages")?.ok_or_else(|| fields.missing("messages", "write at least one message"))?;
    if values.is_empty() {
        return Err(wrong("messages", "empty_array", "is empty: write at least one message"));
    }
    let mut messages: Vec<Message> = Vec::with_capacity(values.len());
    let mut legacy = Legacy::default();
    for (n, value) in values.into_iter().enumerate() {
        let fields = Fields::of(value, format!("messages[{n}]"))?;
        messages.push(message(n, fields, &mut legacy, dropped)?);
    }
    Ok(messages)
}

/// Calls by the older `function_call`, which have no ids: a result belongs to the last call of its function.
#[derive(Default)]
struct Legacy {
    /// The made-up id of the last call by the function's name.
    calls: HashMap<String, String>,
}

fn message(
    n: usize,
    mut fields: Fields,
    legacy: &mut Legacy,
    dropped: &mut Vec<String>,
) -> Result<Message, ApiError> {
    let word = fields.required("role", "say who speaks")?;
    let role = match word.as_str() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        other => {
            return Err(unknown_word(&fields.path("role"), other, ROLES));
        }
    };
    let name = fields.string("name")?;
    let cache = parts::cache(&mut fields, dropped)?;
    let (name, mut parts) = match role {
        Role::Assistant => (name, assistant(n, &mut fields, legacy, dropped)?),
        Role::Tool if word == "function" => (None, vec![function(&mut fields, name, legacy, dropped)?]),
        Role::Tool => (None, vec![tool(&mut fields, name, dropped)?]),
        _ => (name, said(&mut fields, dropped)?),
    };
    if let Some(last) = parts.last_mut().filter(|_| cache.is_some()) {
        last.cache = cache;
    }
    fields.report(dropped);
    Ok(Message { role, name, parts })
}

/// The content that a message must have.
fn said(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<Vec<Part>, ApiError> {
    content(fields, dropped)?.ok_or_else(|| fields.missing("content", "write text or an array of parts"))
}

/// `content`: text, or an array of parts.
fn content(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<Option<Vec<Part>>, ApiError> {
    let path = fields.path("content");
    match fields.take("content") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![Part::text(text)])),
        Some(Value::Array(values)) => parts::read(values, &path, dropped).map(Some),
        Some(other) => Err(wrong_type(&path, "a string or an array of parts", &other)),
    }
}

fn assistant(
    n: usize,
    fields: &mut Fields,
    legacy: &mut Legacy,
    dropped: &mut Vec<String>,
) -> Result<Vec<Part>, ApiError> {
    let calls = calls(fields, dropped)?;
    let blocks = fields.array("content_blocks")?.filter(|blocks| !blocks.is_empty());
    let (said, thoughts) = (content(fields, dropped)?, thoughts(fields)?);
    let mut parts = match blocks {
        // They say the same as `content` and more: the thoughts and their seals.
        Some(blocks) => parts::blocks(blocks, &fields.path("content_blocks"), &calls, dropped)?,
        None => thoughts.into_iter().chain(said.unwrap_or_default()).collect(),
    };
    if let Some(refusal) = fields.string("refusal")?.filter(|text| !text.is_empty()) {
        parts.push(Part::new(PartKind::Refusal(refusal)));
    }
    if let Some(audio) = fields.take("audio") {
        let value = serde_json::json!({ "audio": audio });
        parts.push(Part::new(PartKind::Native { dialect: Dialect::OpenAi, value }));
    }
    parts.extend(calls);
    if let Some(call) = fields.object("function_call")? {
        parts.push(legacy.call(n, call, dropped)?);
    }
    // Beside anything else, `"content": ""` says nothing.
    if parts.len() > 1 {
        parts.retain(|part| !matches!(&part.kind, PartKind::Text { text, .. } if text.is_empty()));
    }
    if parts.is_empty() {
        return Err(fields.missing("content", "write what the assistant said, or its `tool_calls`"));
    }
    Ok(parts)
}

/// Thoughts as DeepSeek, vLLM (`reasoning_content`) and OpenRouter (`reasoning`) tell them.
fn thoughts(fields: &mut Fields) -> Result<Option<Part>, ApiError> {
    let (deepseek, openrouter) = (fields.string("reasoning_content")?, fields.string("reasoning")?);
    let text = deepseek.or(openrouter).filter(|text| !text.is_empty());
    Ok(text.map(|text| Part::new(PartKind::Thinking { text, signature: None })))
}

fn calls(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<Vec<Part>, ApiError> {
    let path = fields.path("tool_calls");
    let values = fields.array("tool_calls")?.unwrap_or_default();
    let read = |(n, value)| call(value, format!("{path}[{n}]"), dropped);
    values.into_iter().enumerate().map(read).collect()
}

fn call(value: Value, at: String, dropped: &mut Vec<String>) -> Result<Part, ApiError> {
    if value.get("type").and_then(Value::as_str) == Some("custom") {
        return Ok(Part::new(PartKind::Native { dialect: Dialect::OpenAi, value }));
    }
    let mut fields = Fields::of(value, at)?;
    if let Some(kind) = fields.string("type")?.filter(|kind| kind != "function") {
        return Err(unknown_word(&fields.path("type"), &kind, "`function` or `custom`"));
    }
    let id = fields.required("id", "give the call's id; its result names it in `tool_call_id`")?;
    let seal = signature(&mut fields);
    let mut function = fields
        .object("function")?
        .ok_or_else(|| fields.missing("function", "give its `name` and `arguments`"))?;
    let cache = parts::cache(&mut fields, dropped)?;
    // The index of a streamed call, which some clients leave in.
    fields.take("index");
    let name = function.required("name", "name the function")?;
    let arguments = function.string("arguments")?.unwrap_or_default();
    let signature = function.string("thought_signature")?.or(seal);
    function.report(dropped);
    fields.report(dropped);
    Ok(Part { kind: PartKind::ToolCall { id, name, arguments, signature }, cache })
}

/// Gemini's seal as Google's OpenAI-compatible API has it.
fn signature(fields: &mut Fields) -> Option<String> {
    let extra = fields.take("extra_content")?;
    let seal = extra.pointer("/google/thought_signature").and_then(Value::as_str).map(str::to_owned);
    if seal.is_none() {
        fields.put("extra_content", extra);
    }
    seal
}

fn tool(fields: &mut Fields, name: Option<String>, dropped: &mut Vec<String>) -> Result<Part, ApiError> {
    let id = fields.required("tool_call_id", "name the call that this answers")?;
    let parts = said(fields, dropped)?;
    Ok(Part::new(PartKind::ToolResult { id, name, parts, is_error: false }))
}

/// A result by the older `function_call`.
fn function(
    fields: &mut Fields,
    name: Option<String>,
    legacy: &Legacy,
    dropped: &mut Vec<String>,
) -> Result<Part, ApiError> {
    let name = name.ok_or_else(|| fields.missing("name", "name the function that this answers"))?;
    let id = legacy.id(&name).ok_or_else(|| {
        let words = format_args!("is {}, but no earlier message has a `function_call` to it", quoted(&name));
        wrong(&fields.path("name"), "unknown_tool", words)
    })?;
    let parts = content(fields, dropped)?.unwrap_or_default();
    Ok(Part::new(PartKind::ToolResult { id, name: Some(name), parts, is_error: false }))
}

impl Legacy {
    fn call(&mut self, n: usize, mut call: Fields, dropped: &mut Vec<String>) -> Result<Part, ApiError> {
        let name = call.required("name", "name the function")?;
        let arguments = call.string("arguments")?.unwrap_or_default();
        call.report(dropped);
        let id = format!("function_call_{n}");
        self.calls.insert(name.clone(), id.clone());
        Ok(Part::new(PartKind::ToolCall { id, name, arguments, signature: None }))
    }

    fn id(&self, name: &str) -> Option<String> {
        self.calls.get(name).cloned()
    }
}
