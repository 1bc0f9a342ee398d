//! The body as a whole: fields against fields, tools, structured output.

use domain::ApiError;
use serde_json::{Map, Value};

use super::history::{self, Counter, Rules};
use super::known::{BODY, COUNT, FORMAT, TOOL};
use super::{Headers, MessagesVoice, NEWEST, refuse};
use crate::chat::{Chat, Choice, Tool};
use crate::endpoint::Asked;
use crate::sample::dangling_ref;
use crate::shape::{Kind, Mistake, What};

/// Who lets Claude answer; each has its own extra fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Anthropic itself.
    Own,
    /// Google's Vertex AI: no model in the body, and a version.
    Vertex,
    /// Amazon's Bedrock: no model, no stream, and a version.
    Bedrock,
}

/// Fields that only a beta knows, and the beginning of its name.
const BETAS: &[(&str, &str)] = &[
    ("output_format", "structured-outputs-"),
    ("mcp_servers", "mcp-client-"),
    ("context_management", "context-management-"),
    ("thread", "message-threads-"),
];

/// Fields that the newest version of the API no longer has.
/// Source: platform.claude.com/docs/en/api/migration-2026-10-21.
const SAMPLING: [&str; 3] = ["temperature", "top_p", "top_k"];
/// What a thread is answered with that is not there any more.
pub(super) const THREAD_NOT_FOUND: &str = "thread_not_found";

/// Reads a body of `POST /v1/messages`.
pub(crate) fn ask<'r>(body: Value, place: Place, headers: Headers<'_>) -> Result<Asked<'r>, ApiError> {
    let (chat, hidden) = chat(body, place, headers)?;
    Ok(Asked::chat(chat, move || Box::new(MessagesVoice { hidden })))
}

/// Reads a body whose stream is asked for in the address.
pub(crate) fn chat(body: Value, place: Place, headers: Headers<'_>) -> Result<(Chat, bool), ApiError> {
    let (body, newest) = known(body, place, headers, &BODY)?;
    let thinking = body["thinking"]["type"].as_str().is_some_and(|kind| kind != "disabled");
    let (tools, choice, single_call) = tools(&body)?;
    budget(&body, thinking, &choice)?;
    let mut counter = Counter::default();
    let heard = heard(&body, Rules { thinking, newest }, &mut counter)?;
    let stop = body["stop_sequences"].as_array().into_iter().flatten();
    let chat = Chat {
        heard: heard.text,
        input_tokens: counter.words,
        marked_tokens: if body["cache_control"].is_object() { counter.words } else { counter.marked },
        stream: body["stream"].as_bool().unwrap_or(false),
        max_tokens: body["max_tokens"].as_u64().and_then(|max| usize::try_from(max).ok()),
        repeat: 1,
        stop: stop.filter_map(Value::as_str).map(str::to_owned).collect(),
        tools,
        choice,
        single_call,
        has_results: heard.has_results,
        schema: schema(&body)?,
        thinking,
    };
    Ok((chat, body["thinking"]["display"] == "omitted"))
}

/// Counts the words of a body of `POST /v1/messages/count_tokens`.
pub(super) fn count(body: Value, headers: Headers<'_>) -> Result<u64, ApiError> {
    let (body, newest) = known(body, Place::Own, headers, &COUNT)?;
    tools(&body)?;
    let mut counter = Counter::default();
    heard(&body, Rules { thinking: false, newest }, &mut counter)?;
    Ok(counter.words)
}

/// Takes away what the place and the betas add, and looks whether the rest is known. Says whether the newest version
/// of the API is asked for.
fn known(
    mut body: Value,
    place: Place,
    headers: Headers<'_>,
    kind: &Kind,
) -> Result<(Value, bool), ApiError> {
    let fields = body.as_object_mut().ok_or_else(|| refuse("body", "Input should be an object"))?;
    let own = match place {
        Place::Own => None,
        Place::Vertex => Some("vertex-2023-10-16"),
        Place::Bedrock => Some("bedrock-2023-05-31"),
    };
    let mut betas = headers.betas.to_owned();
    let version = match own {
        Some(own) => {
            let given = fields.remove("anthropic_version");
            let given = given.as_ref().and_then(Value::as_str).filter(|given| [own, NEWEST].contains(given));
            let what = || format!("Input should be '{own}' or '{NEWEST}'");
            let given = given.ok_or_else(|| refuse("anthropic_version", &what()))?.to_owned();
            let named = fields.remove("anthropic_beta").unwrap_or_default();
            for name in named.as_array().into_iter().flatten().filter_map(Value::as_str) {
                betas = format!("{betas},{name}");
            }
            given
        }
        None => {
            fields.remove("model");
            headers.version.to_owned()
        }
    };
    if place == Place::Bedrock && fields.contains_key("stream") {
        return Err(refuse("stream", "Extra inputs are not permitted"));
    }
    let newest = version == NEWEST;
    if let Some(name) = SAMPLING.iter().find(|name| newest && fields.contains_key(**name)) {
        return Err(refuse(name, "Extra inputs are not permitted"));
    }
    let beta = beta_fields(fields, &betas)?;
    kind.check(&body).map_err(|mistake| in_anthropics_words(&mistake))?;
    for (name, value) in beta {
        body[name] = value;
    }
    Ok((body, newest))
}

fn beta_fields(fields: &mut Map<String, Value>, betas: &str) -> Result<Vec<(&'static str, Value)>, ApiError> {
    let mut found = Vec::new();
    for (name, beta) in BETAS {
        let enabled = betas.split(',').any(|given| given.trim().starts_with(beta));
        if let Some(value) = enabled.then(|| fields.remove(*name)).flatten() {
            found.push((*name, value));
        }
    }
    // Threads may be forgotten at any time, and this one is always.
    // Source: platform.claude.com/docs/en/build-with-claude/message-threads.
    if found.iter().any(|(name, thread)| *name == "thread" && thread["type"] == "continue") {
        let message = "thread.previous_message_id: no thread was found; send the whole conversation";
        return Err(ApiError::new(404, THREAD_NOT_FOUND, message));
    }
    match found.iter().find(|(name, _)| *name == "output_format") {
        Some((_, format)) if !format.is_null() => {
            FORMAT.check(format).map_err(|mistake| in_anthropics_words(&mistake)).map(|()| found)
        }
        _ => Ok(found),
    }
}

/// Anthropic tells mistakes as Pydantic does.
pub(super) fn in_anthropics_words(mistake: &Mistake) -> ApiError {
    let what = match &mistake.what {
        What::Unknown => "Extra inputs are not permitted".to_owned(),
        What::Missing => "Field required".to_owned(),
        What::Not(expected) => format!("Input should be {expected}"),
    };
    refuse(&mistake.path.dotted(), &what)
}

fn tools(body: &Value) -> Result<(Vec<Tool>, Choice, bool), ApiError> {
    let mut tools: Vec<Tool> = Vec::new();
    for (at, tool) in body["tools"].as_array().into_iter().flatten().enumerate() {
        let name = tool["name"].as_str().unwrap_or_default();
        if tool.get("type").is_some_and(|kind| !kind.is_null() && kind != "custom") {
            continue;
        }
        let place = format!("tools.{at}.custom");
        TOOL.check(tool).map_err(|mistake| {
            let err = in_anthropics_words(&mistake);
            refuse(&place, &err.message)
        })?;
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.len() > 128 || !name.chars().all(word) {
            let what = "String should have 1 to 128 letters, digits, `_` and `-`";
            return Err(refuse(&format!("{place}.name"), what));
        }
        let schema = &tool["input_schema"];
        if schema["type"] != "object" {
            return Err(refuse(&format!("{place}.input_schema.type"), "Input should be 'object'"));
        }
        if let Some(target) = dangling_ref(schema) {
            return Err(refuse(&format!("{place}.input_schema"), &format!("`{target}` was not found")));
        }
        if tools.iter().any(|tool| tool.name == name) {
            return Err(refuse("tools", "Tool names must be unique"));
        }
        tools.push(Tool { name: name.to_owned(), schema: schema.clone() });
    }
    let choice = choice(body, &tools)?;
    Ok((tools, choice, body["tool_choice"]["disable_parallel_tool_use"] == true))
}

fn choice(body: &Value, tools: &[Tool]) -> Result<Choice, ApiError> {
    let Some(kind) = body["tool_choice"]["type"].as_str() else { return Ok(Choice::Auto) };
    if body["tools"].as_array().is_none_or(Vec::is_empty) {
        return Err(refuse("tool_choice", "may only be specified while providing tools"));
    }
    Ok(match kind {
        "none" => Choice::None,
        "any" => Choice::Any,
        "tool" => {
            let name = body["tool_choice"]["name"].as_str().unwrap_or_default();
            if !tools.iter().any(|tool| tool.name == name) {
                return Err(refuse("tool_choice.name", &format!("`{name}` is not in the provided tools")));
            }
            Choice::Named(name.to_owned())
        }
        _ => Choice::Auto,
    })
}

/// What thinking does not go with.
fn budget(body: &Value, thinking: bool, choice: &Choice) -> Result<(), ApiError> {
    if !thinking {
        return Ok(());
    }
    let budget = body["thinking"]["budget_tokens"].as_u64().unwrap_or(0);
    if body["max_tokens"].as_u64().is_some_and(|max| max <= budget) {
        return Err(refuse("max_tokens", "must be greater than `thinking.budget_tokens`"));
    }
    if matches!(choice, Choice::Any | Choice::Named(_)) {
        return Err(refuse("thinking", "may not be enabled when `tool_choice` forces tool use"));
    }
    if body["temperature"].as_f64().is_some_and(|temperature| temperature < 1.0) {
        return Err(refuse("temperature", "may only be set to 1 when thinking is enabled"));
    }
    if body["top_k"].is_number() {
        return Err(refuse("top_k", "must be unset when thinking is enabled"));
    }
    Ok(())
}

/// Tools, system and messages are counted in the order in which they are cached.
fn heard(body: &Value, rules: Rules, counter: &mut Counter) -> Result<history::Heard, ApiError> {
    for tool in body["tools"].as_array().into_iter().flatten() {
        counter.text("", tool)?;
    }
    match &body["system"] {
        Value::Array(blocks) => {
            for block in blocks {
                counter.text(block["text"].as_str().unwrap_or_default(), block)?;
            }
        }
        system => counter.text(system.as_str().unwrap_or_default(), &Value::Null)?,
    }
    let heard = history::read(&body["messages"], rules, counter)?;
    if heard.uses_tools && body["tools"].as_array().is_none_or(Vec::is_empty) {
        return Err(refuse("tools", "must be defined when messages have `tool_use` or `tool_result` blocks"));
    }
    Ok(heard)
}

/// The schema of structured output. Objects must be closed, and numbers and texts without bounds.
/// Source: docs.anthropic.com/en/docs/build-with-claude/structured-outputs, "JSON Schema limitations".
fn schema(body: &Value) -> Result<Option<Value>, ApiError> {
    let (place, format) = match &body["output_config"]["format"] {
        Value::Null => ("output_format.schema", &body["output_format"]),
        format => ("output_config.format.schema", format),
    };
    let Some(schema) = format.get("schema") else { return Ok(None) };
    if let Some(target) = dangling_ref(schema) {
        return Err(refuse(place, &format!("`{target}` was not found")));
    }
    match unsupported(schema) {
        Some(why) => Err(refuse(place, &why)),
        None => Ok(Some(schema.clone())),
    }
}

fn unsupported(schema: &Value) -> Option<String> {
    const BOUNDS: [&str; 7] = [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
    ];
    match schema {
        Value::Object(object) => {
            if object.get("type").is_some_and(|kind| kind == "object")
                && object.get("additionalProperties") != Some(&Value::Bool(false))
            {
                return Some("for 'object' type, 'additionalProperties' must be false".to_owned());
            }
            let typed = object.get("type").is_some_and(Value::is_string);
            if let Some(bound) = BOUNDS.iter().find(|bound| typed && object.contains_key(**bound)) {
                return Some(format!("property '{bound}' is not supported"));
            }
            object.values().find_map(unsupported)
        }
        Value::Array(list) => list.iter().find_map(unsupported),
        _ => None,
    }
}
