//! Answers and errors in Workers AI's format.

use domain::Usage;
use serde_json::{Map, Value};

use crate::chat::{Answer, Choice, Finish, Part, PartKind, ProviderError, Reason};
use crate::lenient;

/// Reads a whole answer. The error says why it is none.
///
/// Older models say `result.response` and `result.tool_calls`; newer ones put OpenAI's `choices` into `result`.
pub fn read_answer(body: &[u8]) -> Result<Answer, String> {
    let mut answer = lenient::object(body)?;
    if answer.get("success") == Some(&Value::Bool(false)) {
        let code = read_error(body).code.unwrap_or_else(|| "no code".to_owned());
        return Err(format!("the answer has status 200 but says that it failed ({code})"));
    }
    let Some(Value::Object(mut result)) = answer.remove("result") else {
        return Err("the answer has no `result` object".to_owned());
    };
    let choices = match result.remove("choices") {
        Some(Value::Array(choices)) => {
            choices.iter().enumerate().map(openai_choice).collect::<Result<_, _>>()?
        }
        _ => vec![native_choice(&mut result)?],
    };
    let mut take = |name: &str| match result.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let (id, model) = (take("id"), take("model"));
    result.remove("object");
    let created = result.remove("created").as_ref().and_then(lenient::count);
    let usage = result.remove("usage").as_ref().and_then(usage);
    Ok(Answer { id, model, created, choices, usage, extra: result })
}

fn native_choice(result: &mut Map<String, Value>) -> Result<Choice, String> {
    let (response, calls) = (result.remove("response"), result.remove("tool_calls"));
    if response.is_none() && calls.is_none() {
        return Err("the `result` has neither `response` nor `choices`".to_owned());
    }
    let mut parts = Vec::new();
    // Structured output comes as JSON, not as its text.
    let text = lenient::arguments(&response.unwrap_or_default());
    if !text.is_empty() {
        parts.push(Part::text(text));
    }
    let calls = calls.unwrap_or_default();
    add_calls(&calls, &mut parts)?;
    let raw = result.remove("finish_reason");
    let finish = finish(raw.as_ref().and_then(Value::as_str), has_calls(&parts));
    Ok(Choice { index: 0, parts, finish, logprobs: None })
}

fn openai_choice((i, choice): (usize, &Value)) -> Result<Choice, String> {
    let message = &choice["message"];
    let mut parts = Vec::new();
    let thoughts = [&message["reasoning_content"], &message["reasoning"]].into_iter().find_map(lenient::text);
    if let Some(text) = thoughts {
        parts.push(Part::new(PartKind::Thinking { text: text.to_owned(), signature: None }));
    }
    if let Some(text) = lenient::text(&message["content"]) {
        parts.push(Part::text(text));
    }
    if let Some(text) = lenient::text(&message["refusal"]) {
        parts.push(Part::new(PartKind::Refusal(text.to_owned())));
    }
    add_calls(&message["tool_calls"], &mut parts)?;
    let index = choice["index"].as_u64().and_then(|index| u32::try_from(index).ok());
    let index = index.unwrap_or_else(|| u32::try_from(i).unwrap_or(u32::MAX));
    let finish = finish(choice["finish_reason"].as_str(), has_calls(&parts));
    let logprobs = Some(&choice["logprobs"]).filter(|logprobs| logprobs.is_object()).cloned();
    Ok(Choice { index, parts, finish, logprobs })
}

fn has_calls(parts: &[Part]) -> bool {
    parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall { .. }))
}

fn add_calls(calls: &Value, parts: &mut Vec<Part>) -> Result<(), String> {
    for (i, call) in calls.as_array().into_iter().flatten().enumerate() {
        let (name, arguments) = (name(call).to_owned(), arguments(call));
        if name.is_empty() {
            return Err(lenient::nameless(i));
        }
        let id = lenient::text(&call["id"]).map(str::to_owned);
        let id = id.unwrap_or_else(|| lenient::call_id(&[&i.to_string(), &name, &arguments]));
        parts.push(Part::new(PartKind::ToolCall { id, name, arguments, signature: None }));
    }
    Ok(())
}

/// The tool of a call, which is `{name, arguments}` or in OpenAI's shape.
pub(super) fn name(call: &Value) -> &str {
    let names = [&call["function"]["name"], &call["name"]];
    names.into_iter().find_map(lenient::text).unwrap_or_default()
}

/// Its arguments, or a piece of them.
pub(super) fn arguments(call: &Value) -> String {
    let function = &call["function"];
    lenient::arguments(if function.is_object() { &function["arguments"] } else { &call["arguments"] })
}

/// Why an answer ended; most models do not say.
pub(super) fn finish(raw: Option<&str>, has_calls: bool) -> Finish {
    let said = raw.and_then(lenient::openai_reason);
    let reason = match said {
        None | Some(Reason::Stop) if has_calls => Reason::ToolCalls,
        None => Reason::Stop,
        Some(reason) => reason,
    };
    Finish { reason, raw: raw.map(str::to_owned), stop_sequence: None }
}

/// Token counts in OpenAI's names.
pub(super) fn usage(usage: &Value) -> Option<Usage> {
    let count = |value: &Value| lenient::count(value);
    let (input, output) = (count(&usage["prompt_tokens"]), count(&usage["completion_tokens"]));
    if input.is_none() && output.is_none() {
        return None;
    }
    let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
    let (of_input, of_output) = (&usage["prompt_tokens_details"], &usage["completion_tokens_details"]);
    Some(Usage {
        input,
        output,
        cached_input: count(&of_input["cached_tokens"]).unwrap_or(0).min(input),
        reasoning: count(&of_output["reasoning_tokens"]).unwrap_or(0).min(output),
        ..Usage::default()
    })
}

/// Reads an error: `{"success": false, "errors": [{"code": 5007, "message": "..."}]}`.
///
/// Source: <https://developers.cloudflare.com/fundamentals/api/reference/errors/>.
pub fn read_error(body: &[u8]) -> ProviderError {
    let error: Value = serde_json::from_slice(body).unwrap_or_default();
    let errors: Vec<&Value> = error["errors"].as_array().into_iter().flatten().collect();
    let messages: Vec<&str> = errors.iter().filter_map(|error| error["message"].as_str()).collect();
    let code = errors.first().map(|error| &error["code"]).filter(|code| !code.is_null());
    let message =
        if messages.is_empty() { ProviderError::quoting(body).message } else { messages.join("; ") };
    ProviderError { message, code: code.map(lenient::arguments), ..ProviderError::default() }
}
