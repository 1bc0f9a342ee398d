//! What decides whether an answer may be stored.

use domain::Operation;
use serde_json::{Map, Value};

use super::{list, told, word};

/// What decides whether an answer may be stored. Of several choices the worst counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gist {
    /// Why it ended.
    pub finish: Finish,
    /// The model waits for a tool of the caller's.
    pub tool_calls: bool,
    /// The model would not answer.
    pub refused: bool,
    /// Length of its text in bytes; thoughts and arguments are none.
    pub text_bytes: usize,
}

/// Why an answer ended, the best first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finish {
    /// It was complete.
    Stop,
    /// The model waits for its tools.
    ToolCalls,
    /// It became too long.
    Length,
    /// A filter stepped in, or the model would not answer.
    ContentFilter,
    /// Something else, in the answer's own word.
    Other(String),
}

/// The gist of an answer, whole or a stream. None: it is not understood, not complete, or an error.
pub fn gist(operation: Operation, content_type: &str, body: &[u8]) -> Option<Gist> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let answer = match kind.as_str() {
        "text/event-stream" => told(operation, body)?,
        "application/json" => serde_json::from_slice(body).ok()?,
        _ => return None,
    };
    if answer.get("error").is_some_and(|error| !error.is_null()) {
        return None;
    }
    match operation {
        Operation::Chat => worst(&answer, of_message),
        Operation::Completions => worst(&answer, of_text),
        Operation::Messages => messages(&answer),
        Operation::Responses => responses(&answer),
        Operation::Embeddings | Operation::Images => has(!list(&answer, "data").is_empty()),
        Operation::Moderations | Operation::Rerank => has(!list(&answer, "results").is_empty()),
        Operation::CountTokens => has(answer.get("input_tokens").is_some_and(Value::is_number)),
        _ => None,
    }
}

/// The gist of an answer that is no text: it is all there, or it is none.
fn has(payload: bool) -> Option<Gist> {
    payload.then_some(Gist { finish: Finish::Stop, tool_calls: false, refused: false, text_bytes: 0 })
}

/// What is said in one choice beside its finish.
#[derive(Default)]
struct Said {
    tool_calls: bool,
    refused: bool,
    text_bytes: usize,
}

fn worst(answer: &Map<String, Value>, said: fn(&Map<String, Value>) -> Option<Said>) -> Option<Gist> {
    let choices = list(answer, "choices").iter().map(|choice| {
        let choice = choice.as_object()?;
        if choice.get("error").is_some_and(|error| !error.is_null()) {
            return None;
        }
        let finish = finish(word(choice, "finish_reason").filter(|reason| !reason.is_empty())?);
        Some(summed(finish, said(choice)?))
    });
    choices.reduce(|one, other| Some(both(one?, other?))).flatten()
}

/// Some say that they stopped where they wait for tools.
fn summed(finish: Finish, said: Said) -> Gist {
    let Said { tool_calls, refused, text_bytes } = said;
    let finish = if tool_calls && finish == Finish::Stop { Finish::ToolCalls } else { finish };
    Gist { finish, tool_calls, refused, text_bytes }
}

fn both(one: Gist, other: Gist) -> Gist {
    Gist {
        finish: one.finish.max(other.finish),
        tool_calls: one.tool_calls || other.tool_calls,
        refused: one.refused || other.refused,
        text_bytes: one.text_bytes + other.text_bytes,
    }
}

fn of_message(choice: &Map<String, Value>) -> Option<Said> {
    let message = choice.get("message")?.as_object()?;
    let text_bytes = match message.get("content") {
        None | Some(Value::Null) => 0,
        Some(Value::String(text)) => text.len(),
        Some(Value::Array(parts)) => parts.iter().map(|part| part["text"].as_str().map_or(0, str::len)).sum(),
        Some(_) => return None,
    };
    let calls_function = message.get("function_call").is_some_and(|call| !call.is_null());
    Some(Said {
        tool_calls: calls_function || !list(message, "tool_calls").is_empty(),
        refused: word(message, "refusal").is_some_and(|refusal| !refusal.is_empty())
            || word(choice, "finish_reason") == Some("refusal"),
        text_bytes,
    })
}

fn of_text(choice: &Map<String, Value>) -> Option<Said> {
    Some(Said { text_bytes: word(choice, "text")?.len(), ..Said::default() })
}

/// The meaning of a reason: OpenAI's words, and those of providers for callers who see these.
fn finish(reason: &str) -> Finish {
    match reason.to_ascii_lowercase().as_str() {
        "stop" | "end_turn" | "stop_sequence" | "complete" | "eos" | "eos_token" => Finish::Stop,
        "tool_calls" | "tool_call" | "tool_use" | "function_call" => Finish::ToolCalls,
        "length" | "max_tokens" | "model_length" | "model_context_window_exceeded" => Finish::Length,
        "content_filter"
        | "content_filtered"
        | "guardrail_intervened"
        | "refusal"
        | "safety"
        | "prohibited_content"
        | "blocklist"
        | "recitation"
        | "spii"
        | "error_toxic" => Finish::ContentFilter,
        _ => Finish::Other(reason.to_owned()),
    }
}

fn messages(answer: &Map<String, Value>) -> Option<Gist> {
    let reason = word(answer, "stop_reason")?;
    let mut said = Said { refused: reason == "refusal", ..Said::default() };
    for block in answer.get("content")?.as_array()? {
        match block["type"].as_str()? {
            "text" => said.text_bytes += block["text"].as_str()?.len(),
            "tool_use" => said.tool_calls = true,
            _ => {}
        }
    }
    Some(summed(finish(reason), said))
}

/// Items that callers have to answer.
const CALLS: [&str; 7] = [
    "apply_patch_call",
    "computer_call",
    "custom_tool_call",
    "function_call",
    "local_shell_call",
    "mcp_approval_request",
    "shell_call",
];

fn responses(answer: &Map<String, Value>) -> Option<Gist> {
    let finish = match word(answer, "status")? {
        "completed" => Finish::Stop,
        "incomplete" => match answer.get("incomplete_details")?["reason"].as_str()? {
            "max_output_tokens" => Finish::Length,
            "content_filter" => Finish::ContentFilter,
            other => Finish::Other(other.to_owned()),
        },
        other => Finish::Other(other.to_owned()),
    };
    let mut said = Said::default();
    for item in answer.get("output")?.as_array()? {
        let kind = item["type"].as_str()?;
        said.tool_calls |= CALLS.contains(&kind);
        for part in item["content"].as_array().into_iter().flatten().filter(|_| kind == "message") {
            match part["type"].as_str()? {
                "output_text" => said.text_bytes += part["text"].as_str()?.len(),
                "refusal" => said.refused = true,
                _ => {}
            }
        }
    }
    Some(summed(finish, said))
}
