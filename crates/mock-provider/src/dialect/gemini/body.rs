//! The body as a whole: functions, structured output, thinking.

use domain::ApiError;
use serde_json::Value;

use super::known::{BODY, TOKENS};
use super::voice::GeminiVoice;
use super::{history, in_googles_words, refuse};
use crate::chat::{Chat, Choice, Tool};
use crate::endpoint::Asked;
use crate::sample::dangling_ref;
use crate::wire::Framing;

/// Who lets Gemini answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The Gemini API, formerly AI Studio.
    Studio,
    /// Vertex AI, which also knows labels and the like.
    Vertex,
}

/// Fields of Vertex AI only.
const VERTEX: [&str; 2] = ["labels", "modelArmorConfig"];

/// Reads a body; `stream` says whether the answer is streamed, and whether as events.
pub(crate) fn ask<'r>(
    body: &Value,
    model: &str,
    place: Place,
    stream: Option<bool>,
) -> Result<Asked<'r>, ApiError> {
    let body = known(body, place)?;
    let newest = newest(model);
    let heard = history::read(&body["contents"], newest)?;
    let words = history::system(&body["systemInstruction"])?;
    let config = &body["generationConfig"];
    let (tools, any) = tools(&body)?;
    let schema = schema(config, any, newest)?;
    let thinking = thinking(config)?;
    let stop: Vec<_> =
        config["stopSequences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if stop.len() > 5 {
        let what = "the number of stop sequences must be at most 5";
        return Err(refuse("GenerateContentRequest.generation_config.stop_sequences", what));
    }
    let number = |field: &str| config[field].as_u64().and_then(|n| usize::try_from(n).ok());
    let repeat = number("candidateCount").unwrap_or(1);
    if repeat > 8 {
        let what = "supported values are in the range from 1 (inclusive) to 9 (exclusive)";
        return Err(refuse("GenerateContentRequest.generation_config.candidate_count", what));
    }
    let chat = Chat {
        heard: heard.text,
        input_tokens: heard.words + words,
        stream: stream.is_some(),
        max_tokens: number("maxOutputTokens"),
        repeat,
        stop: stop.into_iter().map(str::to_owned).collect(),
        choice: choice(&body, &tools)?,
        tools,
        has_results: heard.has_results,
        schema,
        thinking,
        ..Chat::default()
    };
    let framing = if stream == Some(false) { Framing::Array } else { Framing::SseCrlf };
    let logprobs = (config["responseLogprobs"] == true).then(|| number("logprobs").unwrap_or(0));
    Ok(Asked::chat(chat, move || Box::new(GeminiVoice { framing, newest, logprobs })))
}

/// Counts the words of a body of `:countTokens`.
pub(super) fn count(body: &Value, model: &str, place: Place) -> Result<u64, ApiError> {
    let mut body = body.clone();
    TOKENS.in_camel_case(&mut body);
    TOKENS.check(&body).map_err(|mistake| in_googles_words(&mistake))?;
    let inner = &body["generateContentRequest"];
    let contents = body["contents"].is_array();
    let request = match (contents, inner.is_object()) {
        (true, false) => &body,
        (false, true) if place == Place::Studio => inner,
        _ => {
            return Err(refuse(
                "CountTokensRequest.contents",
                "contents or generate_content_request must be specified",
            ));
        }
    };
    Ok(history::read(&request["contents"], newest(model))?.words
        + history::system(&request["systemInstruction"])?)
}

/// Models from Gemini 3 on want their signatures back.
fn newest(model: &str) -> bool {
    model.starts_with("gemini-3")
}

fn known(body: &Value, place: Place) -> Result<Value, ApiError> {
    let mut body = body.clone();
    if let Some(fields) = body.as_object_mut().filter(|_| place == Place::Vertex) {
        fields.retain(|name, _| !VERTEX.contains(&name.as_str()));
    }
    BODY.in_camel_case(&mut body);
    BODY.check(&body).map_err(|mistake| in_googles_words(&mistake))?;
    Ok(body)
}

/// The declared functions, and whether there are tools of any kind.
fn tools(body: &Value) -> Result<(Vec<Tool>, bool), ApiError> {
    let mut tools: Vec<Tool> = Vec::new();
    let given = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (at, tool) in given.iter().enumerate() {
        for (number, declared) in tool["functionDeclarations"].as_array().into_iter().flatten().enumerate() {
            let place = format!("GenerateContentRequest.tools[{at}].function_declarations[{number}]");
            let tool = declaration(&place, declared)?;
            if tools.iter().any(|known| known.name == tool.name) {
                return Err(refuse(&place, &format!("duplicate function declaration found: {}", tool.name)));
            }
            tools.push(tool);
        }
    }
    Ok((tools, !given.is_empty()))
}

fn declaration(place: &str, declared: &Value) -> Result<Tool, ApiError> {
    let name = declared["name"].as_str().unwrap_or_default();
    let word = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !first || name.len() > 128 || !name.chars().all(word) {
        let what = "invalid function name: must start with a letter or an underscore, and be alphanumeric, \
                    underscores, dots, colons or dashes, with a maximum length of 128";
        return Err(refuse(&format!("{place}.name"), what));
    }
    let json = &declared["parametersJsonSchema"];
    let schema = match (declared["parameters"].is_object(), json.is_object()) {
        (true, true) => {
            return Err(refuse(place, "only one of parameters and parameters_json_schema may be set"));
        }
        (true, false) => {
            filled(&format!("{place}.parameters"), &declared["parameters"])?;
            &declared["parameters"]
        }
        _ => json,
    };
    if let Some(target) = dangling_ref(schema) {
        return Err(refuse(&format!("{place}.parameters_json_schema"), &format!("`{target}` was not found")));
    }
    Ok(Tool { name: name.to_owned(), schema: schema.clone() })
}

/// Google's schema has no objects without properties, and no lists without items.
fn filled(place: &str, schema: &Value) -> Result<(), ApiError> {
    let kind = schema["type"].as_str().unwrap_or_default().to_ascii_uppercase();
    if kind == "OBJECT" && schema["properties"].as_object().is_none_or(|names| names.is_empty()) {
        return Err(refuse(&format!("{place}.properties"), "should be non-empty for OBJECT type"));
    }
    if kind == "ARRAY" && !schema["items"].is_object() {
        return Err(refuse(&format!("{place}.items"), "missing field"));
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        filled(&format!("{place}.properties[{name}]"), schema)?;
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if schema["properties"].get(name).is_none() {
            return Err(refuse(&format!("{place}.required[{name}]"), "property is not defined"));
        }
    }
    if schema["items"].is_object() {
        filled(&format!("{place}.items"), &schema["items"])?;
    }
    Ok(())
}

fn choice(body: &Value, tools: &[Tool]) -> Result<Choice, ApiError> {
    let config = &body["toolConfig"]["functionCallingConfig"];
    let place = "GenerateContentRequest.tool_config.function_calling_config";
    let names: Vec<_> =
        config["allowedFunctionNames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mode = config["mode"].as_str().unwrap_or("AUTO");
    if !names.is_empty() && !["ANY", "VALIDATED"].contains(&mode) {
        let what = "allowed_function_names may only be set when the mode is ANY or VALIDATED";
        return Err(refuse(place, what));
    }
    if let Some(name) = names.iter().find(|name| !tools.iter().any(|tool| tool.name == **name)) {
        return Err(refuse(place, &format!("allowed_function_names has `{name}`, which is not declared")));
    }
    match mode {
        "NONE" => Ok(Choice::None),
        "ANY" if tools.is_empty() => Err(refuse(place, "the mode ANY needs function declarations")),
        "ANY" => Ok(names.first().map_or(Choice::Any, |name| Choice::Named((*name).to_owned()))),
        _ => Ok(Choice::Auto),
    }
}

fn schema(config: &Value, tools: bool, newest: bool) -> Result<Option<Value>, ApiError> {
    let place = "GenerateContentRequest.generation_config";
    let mime = config["responseMimeType"].as_str().unwrap_or("text/plain");
    let json = ["responseJsonSchema", "_responseJsonSchema"]
        .iter()
        .map(|name| &config[*name])
        .find(|v| v.is_object());
    let own = Some(&config["responseSchema"]).filter(|schema| schema.is_object());
    if json.is_some() && own.is_some() {
        return Err(refuse(place, "only one of response_schema and response_json_schema may be set"));
    }
    if (json.is_some() || own.is_some()) && mime == "text/plain" {
        let what = "a response schema needs the response mime type application/json or text/x.enum";
        return Err(refuse(&format!("{place}.response_mime_type"), what));
    }
    if mime != "text/plain" && tools && !newest {
        let what = format!("function calling with a response mime type: '{mime}' is unsupported");
        return Err(refuse(place, &what));
    }
    if let Some(own) = own {
        filled(&format!("{place}.response_schema"), own)?;
    }
    let schema = json.or(own);
    if let Some(target) = schema.and_then(dangling_ref) {
        return Err(refuse(&format!("{place}.response_json_schema"), &format!("`{target}` was not found")));
    }
    match (mime, schema) {
        ("text/plain", _) => Ok(None),
        (_, Some(schema)) => Ok(Some(schema.clone())),
        _ => Ok(Some(crate::sample::any_object())),
    }
}

/// Whether thoughts are told. A budget and a level do not go together.
fn thinking(config: &Value) -> Result<bool, ApiError> {
    let thinking = &config["thinkingConfig"];
    if thinking["thinkingBudget"].is_number() && thinking["thinkingLevel"].is_string() {
        let what = "you can only set one of thinking budget and thinking level";
        return Err(refuse("GenerateContentRequest.generation_config.thinking_config", what));
    }
    Ok(thinking["includeThoughts"] == true)
}
