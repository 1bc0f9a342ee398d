//! Reading a whole answer.

use serde_json::{Map, Value};

use super::super::error;
use super::super::forward::told;
use super::super::usage::usage_of;
use super::pieces::{self, Piece};
use crate::chat::{Answer, Choice, Part, PartKind};

/// Reads a whole 2xx answer. The error says why it is no answer, and quotes nothing of it.
pub fn read_answer(body: &[u8]) -> Result<Answer, String> {
    told(body)?;
    let Ok(Value::Object(body)) = serde_json::from_slice(body) else {
        return Err("the answer is not a JSON object".to_owned());
    };
    let Some(Value::Array(choices)) = body.get("choices") else {
        let is_error = body.get("object").and_then(Value::as_str) == Some("error");
        let what = if is_error { "is an error with status 200" } else { "has no `choices`" };
        return Err(format!("the answer {what}"));
    };
    let id = pieces::named(&body, "id");
    let read = |(n, value)| choice(n, value, id.as_deref());
    let choices = choices.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    if choices.is_empty() {
        return Err("the answer's `choices` are empty".to_owned());
    }
    Ok(Answer {
        model: pieces::named(&body, "model"),
        created: body.get("created").and_then(Value::as_u64).filter(|seconds| *seconds > 0),
        choices,
        usage: body.get("usage").and_then(usage_of),
        extra: pieces::extra(&body),
        id,
    })
}

fn choice(n: usize, value: &Value, id: Option<&str>) -> Result<Choice, String> {
    let Value::Object(choice) = value else { return Err(format!("choices[{n}] is not an object")) };
    if error::of_value(value).is_some() {
        return Err(format!("choices[{n}] holds an error"));
    }
    let index = choice.get("index").and_then(Value::as_u64).unwrap_or(n as u64);
    let index = u32::try_from(index).map_err(|_| format!("choices[{n}].index is too large"))?;
    let message = choice
        .get("message")
        .filter(|message| message.is_object())
        .ok_or_else(|| format!("choices[{n}].message is missing"))?;
    let mut parts = Vec::new();
    for piece in pieces::pieces(message) {
        add(piece, &mut parts);
    }
    let has_refusal = parts.iter().any(|part| matches!(part.kind, PartKind::Refusal(_)));
    let calls = pieces::calls(message);
    let has_calls = !calls.is_empty();
    for (number, call) in calls.into_iter().enumerate() {
        if call.name.is_empty() {
            return Err(format!("choices[{n}].message.tool_calls[{number}] names no tool"));
        }
        let made_up = || pieces::call_id(id, index, number as u64);
        let id = if call.id.is_empty() { made_up() } else { call.id.to_owned() };
        let (name, arguments) = (call.name.to_owned(), call.arguments);
        let signature = call.signature.map(str::to_owned);
        parts.push(Part::new(PartKind::ToolCall { id, name, arguments, signature }));
    }
    Ok(Choice {
        index,
        parts,
        finish: pieces::finish(choice, has_calls, has_refusal),
        logprobs: logprobs(choice),
    })
}

fn logprobs(choice: &Map<String, Value>) -> Option<Value> {
    choice.get("logprobs").filter(|value| !value.is_null()).cloned()
}

fn add(piece: Piece, parts: &mut Vec<Part>) {
    let kind = match piece {
        Piece::Text(text) => PartKind::Text { text, citations: Vec::new() },
        Piece::Thinking { text, signature } => PartKind::Thinking { text, signature },
        Piece::RedactedThinking(data) => PartKind::RedactedThinking { data },
        Piece::Refusal(text) => PartKind::Refusal(text),
        Piece::Image(source) => PartKind::Image { source, detail: None },
        Piece::Native { dialect, value } => PartKind::Native { dialect, value },
        Piece::Citation(value) => {
            let under_way = parts.iter_mut().rev().find_map(|part| match &mut part.kind {
                PartKind::Text { citations, .. } => Some(citations),
                _ => None,
            });
            match under_way {
                Some(citations) => return citations.push(value),
                None => PartKind::Text { text: String::new(), citations: vec![value] },
            }
        }
    };
    parts.push(Part::new(kind));
}
