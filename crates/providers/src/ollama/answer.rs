//! Answers and errors in Ollama's format.

use domain::Usage;
use serde_json::{Map, Value, json};

use crate::chat::{Answer, Choice, Finish, Part, PartKind, ProviderError, Reason, Start};
use crate::lenient;

/// Reads a whole answer. The error says why it is none. Durations, in nanoseconds, are in `extra`.
pub fn read_answer(body: &[u8]) -> Result<Answer, String> {
    let mut answer = lenient::object(body)?;
    let Some(message @ Value::Object(_)) = answer.remove("message") else {
        return Err("the answer has no `message` object".to_owned());
    };
    let about = about(&mut answer);
    let mut parts = Vec::new();
    if let Some(text) = lenient::text(&message["thinking"]) {
        parts.push(Part::new(PartKind::Thinking { text: text.to_owned(), signature: None }));
    }
    if let Some(text) = lenient::text(&message["content"]) {
        parts.push(Part::text(text));
    }
    let calls = message["tool_calls"].as_array().into_iter().flatten().enumerate();
    let calls: Vec<Part> =
        calls.map(|(i, call)| part(i, call, &about.created_at)).collect::<Result<_, _>>()?;
    let has_calls = !calls.is_empty();
    parts.extend(calls);
    let end = end(&mut answer, has_calls);
    let logprobs = answer.remove("logprobs").as_ref().and_then(logprobs);
    let choices = vec![Choice { index: 0, parts, finish: end.finish, logprobs }];
    let Start { id, model, created } = about.start;
    Ok(Answer { id, model, created, choices, usage: end.usage, extra: answer })
}

/// How an answer begins.
pub(super) struct Beginning {
    pub(super) start: Start,
    /// The time as it was written, to the nanosecond: tells answers apart, which have no names.
    pub(super) created_at: String,
}

/// Takes out what every line of an answer says about it.
pub(super) fn about(line: &mut Map<String, Value>) -> Beginning {
    let mut take = |name: &str| match line.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (model, created_at) = (take("model"), take("created_at").unwrap_or_default());
    let created = lenient::seconds(&created_at);
    Beginning { start: Start { id: None, model, created }, created_at }
}

/// How an answer ends.
pub(super) struct End {
    pub(super) finish: Finish,
    pub(super) usage: Option<Usage>,
}

/// Takes out what the last line says.
pub(super) fn end(line: &mut Map<String, Value>, has_calls: bool) -> End {
    line.remove("done");
    let raw = match line.remove("done_reason") {
        Some(Value::String(raw)) => Some(raw),
        _ => None,
    };
    let reason = match raw.as_deref() {
        Some("length") => Reason::Length,
        _ if has_calls => Reason::ToolCalls,
        _ => Reason::Stop,
    };
    let mut count = |name: &str| line.remove(name).as_ref().and_then(lenient::count);
    let (input, output) = (count("prompt_eval_count"), count("eval_count"));
    let usage = (input.is_some() || output.is_some()).then(|| Usage {
        input: input.unwrap_or(0),
        output: output.unwrap_or(0),
        ..Usage::default()
    });
    End { finish: Finish { reason, raw, stop_sequence: None }, usage }
}

fn part(i: usize, call: &Value, created_at: &str) -> Result<Part, String> {
    let Called { id, name, arguments } = called(i, call, created_at)?;
    Ok(Part::new(PartKind::ToolCall { id, name, arguments, signature: None }))
}

/// A call of a tool.
pub(super) struct Called {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

/// Reads a call. Older versions give it no id: then it is named after the answer's time and its place there. The error:
/// it names no tool.
pub(super) fn called(i: usize, call: &Value, created_at: &str) -> Result<Called, String> {
    let function = &call["function"];
    let name = lenient::text(&function["name"]).ok_or_else(|| lenient::nameless(i))?.to_owned();
    let id = lenient::text(&call["id"]).map(str::to_owned);
    let id = id.unwrap_or_else(|| lenient::call_id(&[created_at, &i.to_string(), &name]));
    Ok(Called { id, name, arguments: lenient::arguments(&function["arguments"]) })
}

/// Probabilities in OpenAI's form, which lacks nothing but is stricter. None: there are none.
pub(super) fn logprobs(tokens: &Value) -> Option<Value> {
    let tokens = tokens.as_array().filter(|tokens| !tokens.is_empty())?;
    let read = |token: &Value, top: Vec<Value>| {
        let text = token["token"].as_str().unwrap_or_default();
        lenient::token(text, token["logprob"].as_f64().unwrap_or_default(), Some(&token["bytes"]), top)
    };
    let content: Vec<Value> = tokens
        .iter()
        .map(|token| {
            let top = token["top_logprobs"].as_array().into_iter().flatten();
            read(token, top.map(|token| alternative(read(token, Vec::new()))).collect())
        })
        .collect();
    Some(json!({ "content": content }))
}

/// Alternatives have no alternatives of their own.
fn alternative(mut token: Value) -> Value {
    if let Value::Object(token) = &mut token {
        token.remove("top_logprobs");
    }
    token
}

/// Reads an error: `{"error": "..."}`.
///
/// Source: <https://docs.ollama.com/api/errors>.
pub fn read_error(body: &[u8]) -> ProviderError {
    let error: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = match &error["error"] {
        Value::String(message) => message.clone(),
        // Proxies in front of Ollama answer in OpenAI's shape.
        Value::Object(error) if error.contains_key("message") => lenient::arguments(&error["message"]),
        _ => return ProviderError::quoting(body),
    };
    ProviderError { message, ..ProviderError::default() }
}
