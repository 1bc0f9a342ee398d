//! What messages and deltas are made of: both have the same fields.

use serde_json::{Map, Value};

use crate::chat::{Dialect, Finish, Reason, Source};
use crate::media;

/// A piece of an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Citation(Value),
    Thinking { text: String, signature: Option<String> },
    RedactedThinking(String),
    Refusal(String),
    Image(Source),
    Native { dialect: Dialect, value: Value },
}

/// A call or a piece of one.
#[derive(Debug, Default)]
pub(super) struct Call<'a> {
    pub(super) index: Option<u64>,
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) arguments: String,
    pub(super) signature: Option<&'a str>,
}

/// Everything but calls: thoughts, then text, then the rest.
pub(super) fn pieces(message: &Value) -> Vec<Piece> {
    let mut out = Vec::new();
    thoughts(message, &mut out);
    content(message.get("content"), &mut out);
    let list = |name: &str| message.get(name).and_then(Value::as_array).into_iter().flatten();
    out.extend(list("annotations").cloned().map(Piece::Citation));
    list("images").for_each(|image| part(image, &mut out));
    if let Some(text) = text(message, "refusal") {
        out.push(Piece::Refusal(text.to_owned()));
    }
    if let Some(audio) = message.get("audio").filter(|audio| audio.is_object()) {
        // Spoken answers have their words beside them.
        out.extend(text(audio, "transcript").map(|words| Piece::Text(words.to_owned())));
        if text(audio, "data").is_some() {
            let value = serde_json::json!({ "audio": audio });
            out.push(Piece::Native { dialect: Dialect::OpenAi, value });
        }
    }
    out
}

/// A string that says something.
fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// OpenRouter's `reasoning_details` say most, with seals; `reasoning` and DeepSeek's `reasoning_content` are text.
fn thoughts(message: &Value, out: &mut Vec<Piece>) {
    let before = out.len();
    for detail in message.get("reasoning_details").and_then(Value::as_array).into_iter().flatten() {
        if let Some(data) = text(detail, "data") {
            out.push(Piece::RedactedThinking(data.to_owned()));
            continue;
        }
        let words = text(detail, "text").or_else(|| text(detail, "summary")).unwrap_or_default();
        let signature = text(detail, "signature").map(str::to_owned);
        if !words.is_empty() || signature.is_some() {
            out.push(Piece::Thinking { text: words.to_owned(), signature });
        }
    }
    if out.len() == before
        && let Some(words) = text(message, "reasoning_content").or_else(|| text(message, "reasoning"))
    {
        out.push(Piece::Thinking { text: words.to_owned(), signature: None });
    }
}

fn content(value: Option<&Value>, out: &mut Vec<Piece>) {
    match value {
        Some(Value::String(text)) if !text.is_empty() => out.push(Piece::Text(text.clone())),
        Some(Value::Array(parts)) => parts.iter().for_each(|one| part(one, out)),
        _ => {}
    }
}

/// One part of content that comes as parts, as Mistral's does.
fn part(value: &Value, out: &mut Vec<Piece>) {
    match value.get("type").and_then(Value::as_str).unwrap_or_default() {
        "text" => out.extend(text(value, "text").map(|words| Piece::Text(words.to_owned()))),
        "thinking" => {
            let words: String = match value.get("thinking") {
                Some(Value::Array(parts)) => parts.iter().filter_map(|part| text(part, "text")).collect(),
                _ => text(value, "thinking").unwrap_or_default().to_owned(),
            };
            let signature = text(value, "signature").map(str::to_owned);
            if !words.is_empty() || signature.is_some() {
                out.push(Piece::Thinking { text: words, signature });
            }
        }
        "refusal" => out.extend(text(value, "refusal").map(|words| Piece::Refusal(words.to_owned()))),
        "image_url" => {
            let url = value.pointer("/image_url/url").and_then(Value::as_str).unwrap_or_default();
            match media::source(url.to_owned(), "") {
                Ok(source) => out.push(Piece::Image(source)),
                Err(_) => out.push(Piece::Native { dialect: Dialect::OpenAi, value: value.clone() }),
            }
        }
        _ => out.push(Piece::Native { dialect: Dialect::OpenAi, value: value.clone() }),
    }
}

/// The calls of a message or delta, the older `function_call` last.
pub(super) fn calls(message: &Value) -> Vec<Call<'_>> {
    let listed = message.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
    let mut calls: Vec<Call<'_>> = listed.map(call).collect();
    if let Some(function) = message.get("function_call").filter(|call| call.is_object()) {
        calls.push(Call {
            name: text(function, "name").unwrap_or_default(),
            arguments: arguments(function),
            ..Call::default()
        });
    }
    calls
}

fn call(value: &Value) -> Call<'_> {
    let function = value.get("function").or_else(|| value.get("custom")).unwrap_or(&Value::Null);
    let seal = value.pointer("/extra_content/google/thought_signature").and_then(Value::as_str);
    Call {
        index: value.get("index").and_then(Value::as_u64),
        id: text(value, "id").unwrap_or_default(),
        name: text(function, "name").unwrap_or_default(),
        arguments: arguments(function),
        signature: text(function, "thought_signature").or(seal),
    }
}

/// Some compatible providers send the arguments as an object instead of its text.
fn arguments(function: &Value) -> String {
    match function.get("arguments").or_else(|| function.get("input")) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

/// An id for a call that has none. It differs from turn to turn as answers' ids do.
pub(super) fn call_id(answer: Option<&str>, choice: u32, number: u64) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let answer: String = answer.unwrap_or_default().chars().filter(fits).take(32).collect();
    format!("call_{answer}_{choice}_{number}")
}

/// Why an answer ended, by the provider's word and by what the answer holds.
///
/// `stop` beside calls is what OpenAI says when it was made to call a certain function: the tools are waited for.
pub(super) fn finish(choice: &Map<String, Value>, has_calls: bool, has_refusal: bool) -> Finish {
    let raw = choice.get("finish_reason").and_then(Value::as_str).filter(|raw| !raw.is_empty());
    let stop_sequence = choice.get("stop_reason").and_then(Value::as_str).map(str::to_owned);
    let reason = match raw.unwrap_or_default() {
        "length" | "max_tokens" | "model_length" => Reason::Length,
        "tool_calls" | "tool_use" | "function_call" => Reason::ToolCalls,
        "content_filter" | "safety" => Reason::ContentFilter,
        "refusal" => Reason::Refusal,
        _ if has_calls => Reason::ToolCalls,
        _ if has_refusal => Reason::Refusal,
        "stop_sequence" => Reason::StopSequence,
        _ if stop_sequence.is_some() => Reason::StopSequence,
        _ => Reason::Stop,
    };
    Finish { reason, raw: raw.map(str::to_owned), stop_sequence }
}

/// What an answer or chunk has beside the fields that are read.
pub(super) fn extra(body: &Map<String, Value>) -> Map<String, Value> {
    const READ: [&str; 9] =
        ["id", "object", "created", "model", "provider", "choices", "usage", "error", "obfuscation"];
    let is_extra = |name: &str, value: &Value| !value.is_null() && !READ.contains(&name);
    body.iter()
        .filter(|(name, value)| is_extra(name, value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// A text that is not empty.
pub(super) fn named(body: &Map<String, Value>, name: &str) -> Option<String> {
    body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}
