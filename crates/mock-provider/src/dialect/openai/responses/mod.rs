//! Responses: `POST /v1/responses`.
//! Source: platform.openai.com/docs/api-reference/responses, …/docs/guides/migrate-to-responses.

mod input;
mod voice;

use domain::ApiError;
use serde_json::Value;

use self::voice::ResponsesVoice;
use super::{OpenAi, by_kind, invalid, named, tools};
use crate::chat::Chat;
use crate::endpoint::{Asked, Endpoint, Manner, Received, Understood};
use crate::sample::any_object;
use crate::shape::{Kind, may};

/// `POST /v1/responses`.
pub(crate) struct Responses;

static BODY: Kind = Kind::Object(&[
    may("model", &Kind::Filled),
    may("input", &Kind::Any),
    may("instructions", &Kind::Text),
    may("stream", &Kind::Bool),
    may("stream_options", &Kind::Object(&[may("include_obfuscation", &Kind::Bool)])),
    may("max_output_tokens", &Kind::Whole(16)),
    may("max_tool_calls", &Kind::Whole(1)),
    may("metadata", &Kind::Map),
    may("parallel_tool_calls", &Kind::Bool),
    may("previous_response_id", &Kind::Filled),
    may("conversation", &Kind::Any),
    may("context_management", &Kind::List(0, &Kind::Map)),
    may("prompt", &Kind::Map),
    may("prompt_cache_key", &Kind::Text),
    may("prompt_cache_retention", &Kind::Text),
    may("prompt_cache_options", &Kind::Map),
    may(
        "reasoning",
        &Kind::Object(&[
            may("effort", &Kind::Word(&["none", "minimal", "low", "medium", "high", "xhigh", "max"])),
            may("summary", &Kind::Word(&["auto", "concise", "detailed"])),
            may("generate_summary", &Kind::Word(&["auto", "concise", "detailed"])),
        ]),
    ),
    may("safety_identifier", &Kind::Text),
    may("service_tier", &Kind::Text),
    may("store", &Kind::Bool),
    may("background", &Kind::Bool),
    may("include", &Kind::List(0, &Kind::Text)),
    may("temperature", &Kind::Number(0.0, 2.0)),
    may("top_p", &Kind::Number(0.0, 1.0)),
    may("top_logprobs", &Kind::Whole(0)),
    may(
        "text",
        &Kind::Object(&[
            may("format", &Kind::Map),
            may("verbosity", &Kind::Word(&["low", "medium", "high"])),
        ]),
    ),
    may("tool_choice", &Kind::Any),
    may("tools", &Kind::List(0, &Kind::Map)),
    may("truncation", &Kind::Word(&["auto", "disabled"])),
    may("user", &Kind::Text),
]);

impl Endpoint for Responses {
    fn manner(&self) -> &'static dyn Manner {
        &OpenAi
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let body = received.json()?;
        let model = named(&body)?;
        Ok(Understood { model: model.into(), ask: Box::new(move || ask(body)) })
    }
}

fn ask<'r>(body: Value) -> Result<Asked<'r>, ApiError> {
    by_kind(&BODY, &body)?;
    if body["stream_options"].is_object() && body["stream"] != true {
        return Err(invalid("stream_options", "write it only when `stream` is true"));
    }
    let history = input::read(&body)?;
    let given = body.get("tools").filter(|tools| tools.as_array().is_some_and(|list| !list.is_empty()));
    let called = tools::tools(given, None)?;
    let choice = match body.get("tool_choice").filter(|choice| !choice.is_null()) {
        // Choices of tools that run at OpenAI are taken, and not followed.
        Some(Value::Object(object)) if object.get("type").is_some_and(|kind| kind != "function") => None,
        choice => choice,
    };
    let chat = Chat {
        heard: history.heard,
        input_tokens: history.words,
        stream: body["stream"] == true,
        max_tokens: body["max_output_tokens"].as_u64().and_then(|max| usize::try_from(max).ok()),
        repeat: 1,
        choice: tools::choice(choice, &called, given.is_some(), None)?,
        tools: called,
        single_call: body["parallel_tool_calls"] == false,
        has_results: history.has_results,
        schema: format(&body["text"]["format"], history.says_json)?,
        thinking: body["reasoning"]["summary"].is_string(),
        ..Chat::default()
    };
    Ok(Asked::chat(chat, move || Box::new(ResponsesVoice::new(&body))))
}

fn format(format: &Value, says_json: bool) -> Result<Option<Value>, ApiError> {
    match format["type"].as_str() {
        Some("text") => Ok(None),
        None if format.is_null() => Ok(None),
        Some("json_object") if says_json => Ok(Some(any_object())),
        Some("json_object") => Err(invalid(
            "input",
            "'input' must contain the word 'json' in some form to use 'text.format' of type 'json_object'",
        )),
        Some("json_schema") => tools::schema_of("text.format", "text.format", format).map(Some),
        _ => Err(invalid("text.format.type", "write `text`, `json_object` or `json_schema`")),
    }
}
