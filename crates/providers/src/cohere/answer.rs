//! Answers and errors in Cohere's format.

use domain::Usage;
use serde_json::{Map, Value, json};

use crate::chat::{Answer, Choice, Dialect, Finish, Part, PartKind, ProviderError, Reason};
use crate::lenient;

/// Reads a whole answer. The error says why it is none.
///
/// The plan in front of tool calls (`tool_plan`) is a thought. Citations belong to their text; those of plans and
/// thoughts, which have no place there, are in `extra.citations`.
pub fn read_answer(body: &[u8]) -> Result<Answer, String> {
    let mut answer = lenient::object(body)?;
    let Some(Value::Object(message)) = answer.remove("message") else {
        return Err("the answer has status 200 but no `message` object".to_owned());
    };
    let raw = match answer.remove("finish_reason") {
        Some(Value::String(raw)) => raw,
        _ => return Err("the answer has no `finish_reason`".to_owned()),
    };
    let (parts, uncited) = parts(message)?;
    let has_calls = parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall { .. }));
    let finish = finish(&raw, has_calls)
        .ok_or_else(|| format!("the answer has status 200 but ended in an error ({})", word(&raw)))?;
    let id = answer.remove("id").as_ref().and_then(lenient::text).map(str::to_owned);
    let (usage, billed) = answer.remove("usage").map_or((None, None), usage);
    let logprobs = answer.remove("logprobs").as_ref().and_then(logprobs);
    let mut extra = answer;
    extra.extend(billed.map(|billed| ("billed_units".to_owned(), billed)));
    if !uncited.is_empty() {
        extra.insert("citations".to_owned(), Value::Array(uncited));
    }
    let choices = vec![Choice { index: 0, parts, finish, logprobs }];
    Ok(Answer { id, model: None, created: None, choices, usage, extra })
}

/// The parts of a message, and citations that belong to none of them.
fn parts(message: Map<String, Value>) -> Result<(Vec<Part>, Vec<Value>), String> {
    let message = Value::Object(message);
    let mut parts = Vec::new();
    if let Some(plan) = lenient::text(&message["tool_plan"]) {
        parts.push(thinking(plan));
    }
    let first = parts.len();
    match &message["content"] {
        Value::String(text) => parts.push(Part::text(text.as_str())),
        Value::Array(blocks) => parts.extend(blocks.iter().map(part)),
        _ => {}
    }
    let first_text = parts[first..].iter().position(is_text);
    let mut uncited = Vec::new();
    for citation in message["citations"].as_array().into_iter().flatten() {
        match cited(&mut parts[first..], first_text, citation) {
            Some(citations) => citations.push(citation.clone()),
            None => uncited.push(citation.clone()),
        }
    }
    for (i, value) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
        parts.push(call(i, value)?);
    }
    Ok((parts, uncited))
}

/// Where a citation belongs: the text block it names, else the first text there is.
fn cited<'p>(
    blocks: &'p mut [Part],
    first_text: Option<usize>,
    citation: &Value,
) -> Option<&'p mut Vec<Value>> {
    if !cites_text(citation) {
        return None;
    }
    let named = citation["content_index"].as_u64().and_then(|at| usize::try_from(at).ok());
    let at = named.filter(|at| blocks.get(*at).is_some_and(is_text)).or(first_text)?;
    match &mut blocks[at].kind {
        PartKind::Text { citations, .. } => Some(citations),
        _ => None,
    }
}

fn is_text(part: &Part) -> bool {
    matches!(part.kind, PartKind::Text { .. })
}

/// Whether a citation is of the answer's text, not of thoughts or plans.
pub(super) fn cites_text(citation: &Value) -> bool {
    matches!(citation["type"].as_str(), None | Some("TEXT_CONTENT"))
}

fn thinking(text: &str) -> Part {
    Part::new(PartKind::Thinking { text: text.to_owned(), signature: None })
}

fn part(block: &Value) -> Part {
    match (&block["text"], &block["thinking"]) {
        (Value::String(text), _) => Part::text(text.as_str()),
        (_, Value::String(text)) => thinking(text),
        _ => Part::new(PartKind::Native { dialect: Dialect::Cohere, value: block.clone() }),
    }
}

fn call(i: usize, call: &Value) -> Result<Part, String> {
    let function = &call["function"];
    let name = lenient::text(&function["name"]).ok_or_else(|| lenient::nameless(i))?.to_owned();
    let arguments = lenient::arguments(&function["arguments"]);
    let id = lenient::text(&call["id"]).map(str::to_owned);
    let id = id.unwrap_or_else(|| lenient::call_id(&[&i.to_string(), &name, &arguments]));
    Ok(Part::new(PartKind::ToolCall { id, name, arguments, signature: None }))
}

/// Why an answer ended. None: in an error.
pub(super) fn finish(raw: &str, has_calls: bool) -> Option<Finish> {
    let reason = match raw {
        "STOP_SEQUENCE" => Reason::StopSequence,
        "MAX_TOKENS" => Reason::Length,
        "TOOL_CALL" => Reason::ToolCalls,
        // What models hosted elsewhere still say.
        "ERROR_TOXIC" => Reason::ContentFilter,
        raw if raw.starts_with("ERROR") || raw == "TIMEOUT" => return None,
        _ if has_calls => Reason::ToolCalls,
        _ => Reason::Stop,
    };
    Some(Finish::new(reason, raw))
}

/// A finish reason if it is a plain word, for records.
fn word(raw: &str) -> &str {
    let is_word = raw.len() <= 64 && raw.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    if is_word { raw } else { "no known reason" }
}

/// Token counts, and what is billed, which is less than what was read: Cohere does not charge for its own preamble.
pub(super) fn usage(usage: Value) -> (Option<Usage>, Option<Value>) {
    let (tokens, billed) = (&usage["tokens"], &usage["billed_units"]);
    let of = |name: &str| lenient::count(&tokens[name]).or_else(|| lenient::count(&billed[name]));
    let (input, output) = (of("input_tokens"), of("output_tokens"));
    let counts = (input.is_some() || output.is_some()).then(|| {
        let input = input.unwrap_or(0);
        let cached = lenient::count(&usage["cached_tokens"]).unwrap_or(0).min(input);
        Usage { input, output: output.unwrap_or(0), cached_input: cached, ..Usage::default() }
    });
    (counts, billed.is_object().then(|| billed.clone()))
}

/// Probabilities in OpenAI's form. None: there are none.
fn logprobs(items: &Value) -> Option<Value> {
    let items = items.as_array().filter(|items| !items.is_empty())?;
    Some(json!({ "content": items.iter().map(logprob).collect::<Vec<_>>() }))
}

/// One piece of text with its probability: of all its tokens together, since Cohere does not say where one ends.
pub(super) fn logprob(item: &Value) -> Value {
    let sum = item["logprobs"].as_array().into_iter().flatten().filter_map(Value::as_f64).sum();
    lenient::token(item["text"].as_str().unwrap_or_default(), sum, None, Vec::new())
}

/// Reads an error: `{"message": "...", "id": "..."}`.
///
/// Source: <https://docs.cohere.com/reference/errors>.
pub fn read_error(body: &[u8]) -> ProviderError {
    let error: Value = serde_json::from_slice(body).unwrap_or_default();
    match error["message"].as_str() {
        Some(message) => ProviderError {
            message: message.to_owned(),
            request_id: lenient::text(&error["id"]).map(str::to_owned),
            ..ProviderError::default()
        },
        None => ProviderError::quoting(body),
    }
}
