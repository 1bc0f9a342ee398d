//! Chat: the body as a whole.

use domain::ApiError;
use serde_json::Value;

use super::known::CHAT;
use super::voice::CohereVoice;
use super::{check, history, refuse};
use crate::chat::{Chat, Choice, Tool};
use crate::endpoint::Asked;
use crate::sample::{any_object, dangling_ref};
use crate::text::count_words;

/// Reads a body.
pub(super) fn ask<'r>(body: &Value) -> Result<Asked<'r>, ApiError> {
    check(&CHAT, body)?;
    let heard = history::read(&body["messages"])?;
    let tools = tools(body)?;
    let choice = match body["tool_choice"].as_str() {
        Some(_) if tools.is_empty() => return Err(refuse("tool_choice", "it needs tools")),
        Some("REQUIRED") => Choice::Any,
        Some(_) => Choice::None,
        None => Choice::Auto,
    };
    let stop: Vec<_> =
        body["stop_sequences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if stop.len() > 5 {
        return Err(refuse("stop_sequences", "at most 5 are allowed"));
    }
    let documents = body["documents"].as_array().into_iter().flatten();
    let documents: Vec<_> = documents.map(history::document).collect();
    let shown: u64 = documents.iter().map(|text| count_words(text) as u64).sum();
    let chat = Chat {
        heard: heard.text,
        input_tokens: heard.words + shown,
        stream: body["stream"] == true,
        max_tokens: body["max_tokens"]
            .as_u64()
            .filter(|max| *max > 0)
            .and_then(|max| usize::try_from(max).ok()),
        repeat: 1,
        stop: stop.into_iter().map(str::to_owned).collect(),
        schema: schema(body, !tools.is_empty() || !documents.is_empty())?,
        tools,
        choice,
        has_results: heard.has_results,
        thinking: body["thinking"]["type"] == "enabled",
        ..Chat::default()
    };
    let cites =
        body["citation_options"]["mode"].as_str().is_none_or(|mode| !["OFF", "DISABLED"].contains(&mode));
    let document = documents.into_iter().next().filter(|_| cites);
    let logprobs = body["logprobs"] == true;
    Ok(Asked::chat(chat, move || Box::new(CohereVoice { document: document.clone(), logprobs })))
}

fn tools(body: &Value) -> Result<Vec<Tool>, ApiError> {
    let strict = body["strict_tools"] == true;
    let mut tools = Vec::new();
    for (at, tool) in body["tools"].as_array().into_iter().flatten().enumerate() {
        let place = format!("tools[{at}].function");
        let name = tool["function"]["name"].as_str().unwrap_or_default();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !name.chars().all(word) {
            return Err(refuse(&format!("{place}.name"), "a name has letters, digits, `_` and `-`"));
        }
        let schema = &tool["function"]["parameters"];
        if schema["type"] != "object" {
            return Err(refuse(&format!("{place}.parameters.type"), "it must be `object`"));
        }
        if let Some(target) = dangling_ref(schema) {
            return Err(refuse(&format!("{place}.parameters"), &format!("`{target}` was not found")));
        }
        if strict && schema["required"].as_array().is_none_or(Vec::is_empty) {
            return Err(refuse(
                &format!("{place}.parameters"),
                "strict_tools needs at least one required parameter",
            ));
        }
        tools.push(Tool { name: name.to_owned(), schema: schema.clone() });
    }
    Ok(tools)
}

/// Source: docs.cohere.com/docs/structured-outputs.
fn schema(body: &Value, others: bool) -> Result<Option<Value>, ApiError> {
    let format = &body["response_format"];
    if format["type"] != "json_object" {
        return Ok(None);
    }
    if others {
        return Err(refuse("response_format", "json_object does not go with tools or documents"));
    }
    let schema = [&format["json_schema"], &format["schema"]].into_iter().find(|schema| schema.is_object());
    let Some(schema) = schema else { return Ok(Some(any_object())) };
    let place = "response_format.json_schema";
    if schema["type"] != "object" {
        return Err(refuse(place, "the top level must be an object"));
    }
    if schema["required"].as_array().is_none_or(Vec::is_empty) {
        return Err(refuse(place, "the top level must have at least one required field"));
    }
    match dangling_ref(schema) {
        Some(target) => Err(refuse(place, &format!("`{target}` was not found"))),
        None => Ok(Some(schema.clone())),
    }
}
