//! Converse: the body as a whole.

use domain::ApiError;
use serde_json::Value;

use super::known::BODY;
use super::voice::ConverseVoice;
use super::{history, in_awss_words, refuse};
use crate::chat::{Chat, Choice, Tool};
use crate::endpoint::Asked;
use crate::sample::dangling_ref;

/// Reads a body.
pub(super) fn ask<'r>(body: &Value, stream: bool) -> Result<Asked<'r>, ApiError> {
    BODY.check(body).map_err(|mistake| in_awss_words(&mistake))?;
    let heard = history::read(body)?;
    let tools = tools(body)?;
    if heard.uses_tools && !body["toolConfig"].is_object() {
        let what = "it must be defined when using toolUse and toolResult content blocks";
        return Err(refuse("toolConfig", what));
    }
    let inference = &body["inferenceConfig"];
    let stop = inference["stopSequences"].as_array().into_iter().flatten();
    let thinking = &body["additionalModelRequestFields"]["thinking"]["type"];
    let chat = Chat {
        heard: heard.text,
        input_tokens: heard.words,
        marked_tokens: heard.marked,
        stream,
        max_tokens: inference["maxTokens"].as_u64().and_then(|max| usize::try_from(max).ok()),
        repeat: 1,
        stop: stop.filter_map(Value::as_str).map(str::to_owned).collect(),
        choice: choice(body, &tools)?,
        tools,
        has_results: heard.has_results,
        schema: schema(body)?,
        thinking: thinking == "enabled" || thinking == "adaptive",
        ..Chat::default()
    };
    Ok(Asked::chat(chat, || Box::new(ConverseVoice)))
}

fn tools(body: &Value) -> Result<Vec<Tool>, ApiError> {
    let mut tools: Vec<Tool> = Vec::new();
    for (at, tool) in body["toolConfig"]["tools"].as_array().into_iter().flatten().enumerate() {
        let Some(spec) = tool.get("toolSpec") else { continue };
        let place = format!("toolConfig.tools.{at}.toolSpec");
        let name = spec["name"].as_str();
        history::name(&format!("{place}.name"), name)?;
        let schema = &spec["inputSchema"]["json"];
        if schema["type"] != "object" {
            return Err(refuse(
                &format!("{place}.inputSchema.json.type"),
                "it must be one of the following: object",
            ));
        }
        if let Some(target) = dangling_ref(schema) {
            return Err(refuse(&format!("{place}.inputSchema.json"), &format!("`{target}` was not found")));
        }
        let name = name.unwrap_or_default().to_owned();
        if tools.iter().any(|tool| tool.name == name) {
            return Err(refuse("toolConfig", &format!("the tool name {name} is there twice")));
        }
        tools.push(Tool { name, schema: schema.clone() });
    }
    Ok(tools)
}

fn choice(body: &Value, tools: &[Tool]) -> Result<Choice, ApiError> {
    let choice = &body["toolConfig"]["toolChoice"];
    if choice.get("any").is_some() {
        return Ok(Choice::Any);
    }
    let Some(name) = choice["tool"]["name"].as_str() else { return Ok(Choice::Auto) };
    if tools.iter().any(|tool| tool.name == name) {
        return Ok(Choice::Named(name.to_owned()));
    }
    Err(refuse("toolConfig.toolChoice.tool.name", &format!("{name} is not among the tools")))
}

/// The schema is JSON in a string.
fn schema(body: &Value) -> Result<Option<Value>, ApiError> {
    let Some(text) = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"].as_str() else {
        return Ok(None);
    };
    let place = "outputConfig.textFormat.structure.jsonSchema.schema";
    let schema: Value = serde_json::from_str(text).map_err(|err| refuse(place, &err.to_string()))?;
    match dangling_ref(&schema) {
        Some(target) => Err(refuse(place, &format!("`{target}` was not found"))),
        None => Ok(Some(schema)),
    }
}
