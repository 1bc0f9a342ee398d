//! Writing a request.

use domain::ApiError;
use domain::model::Capability;
use serde_json::{Map, Value, json};

use super::messages;
use crate::chat::{
    Dialect, Effort, Function, Reasoning, Request, ResponseFormat, Target, Tool, ToolChoice, Written,
};
use crate::dropped::Dropped;

/// Fields of the dialect's own that this format says by the same name.
const OWN: [&str; 11] = [
    "metadata",
    "moderation",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "verbosity",
    "web_search_options",
];

/// OpenAI's `service_tier`s; the words of other dialects mean other things.
const TIERS: [&str; 6] = ["auto", "default", "flex", "scale", "priority", "fast"];

/// What has been written, and what could not be.
#[derive(Default)]
pub(super) struct Out {
    dropped: Dropped,
}

impl Out {
    /// Reports what the format cannot say, once.
    pub(super) fn lost(&mut self, path: impl Into<String>) {
        self.dropped.push(path);
    }
}

/// Writes a chat completions request.
///
/// - `max_completion_tokens` and the role `developer` go to models that are named as OpenAI names its own; others get
///   `max_tokens` and `system`, which nearly every compatible provider knows.
/// - A budget of thoughts becomes the `reasoning_effort` whose share of the answer covers it; models that are known not
///   to reason are not asked to.
/// - Streams are always asked for their token counts.
/// - Earlier thoughts, cache marks and seals are left out and reported: the API has no place for them.
///
/// Fails if a message holds what OpenAI's API takes in no form (a file by its address, a picture in instructions).
pub fn write_request(request: Request, target: &Target<'_>) -> Result<Written, ApiError> {
    let Request {
        model,
        messages,
        tools,
        tool_choice,
        parallel_tool_calls,
        response_format,
        max_tokens,
        temperature,
        top_p,
        top_k,
        frequency_penalty,
        presence_penalty,
        seed,
        stop,
        n,
        logprobs,
        top_logprobs,
        logit_bias,
        reasoning,
        user,
        modalities,
        audio,
        stream,
        include_usage: _,
        own,
        unknown,
        dropped,
    } = request;
    let mut out = Out::default();
    dropped.into_iter().for_each(|path| out.lost(path));
    let mut body = Map::new();
    let is_openais = is_openais(&model);
    let of_reasoning = reasoning.and_then(|wish| effort(wish, max_tokens, target, &mut out));
    put(&mut body, "model", Some(model));
    put(&mut body, "messages", Some(messages::write(messages, is_openais, target, &mut out)?));
    write_tools(tools, tool_choice, parallel_tool_calls, &mut body, &mut out);
    put(&mut body, "response_format", response_format.map(write_response_format));
    put(&mut body, if is_openais { "max_completion_tokens" } else { "max_tokens" }, max_tokens);
    put(&mut body, "temperature", temperature.map(Value::Number));
    put(&mut body, "top_p", top_p.map(Value::Number));
    put(&mut body, "frequency_penalty", frequency_penalty.map(Value::Number));
    put(&mut body, "presence_penalty", presence_penalty.map(Value::Number));
    put(&mut body, "seed", seed);
    put(&mut body, "stop", (!stop.is_empty()).then_some(stop));
    put(&mut body, "n", n);
    put(&mut body, "logprobs", logprobs);
    put(&mut body, "top_logprobs", top_logprobs);
    put(&mut body, "logit_bias", logit_bias);
    put(&mut body, "reasoning_effort", of_reasoning.map(Effort::as_str));
    put(&mut body, "user", user);
    put(&mut body, "modalities", (!modalities.is_empty()).then_some(modalities));
    put(&mut body, "audio", audio);
    if stream {
        put(&mut body, "stream", Some(true));
        put(&mut body, "stream_options", Some(json!({ "include_usage": true })));
    }
    if top_k.is_some() {
        out.lost("top_k");
    }
    write_own(own, &mut body, &mut out);
    for (name, value) in unknown {
        body.entry(name).or_insert(value);
    }
    Ok(Written { body: Value::Object(body).to_string().into_bytes(), dropped: out.dropped.into_paths() })
}

fn put(body: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value.into());
    }
}

/// Whether a model is named as OpenAI names those that it serves itself: `gpt-4o`, `openai/o3`, `ft:gpt-4.1:acme`. Its
/// open-weight `gpt-oss` is served by others.
pub(super) fn is_openais(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let name = name.strip_prefix("ft:").unwrap_or(&name);
    let is_numbered_o = || {
        let mut letters = name.chars();
        letters.next() == Some('o') && letters.next().is_some_and(|second| second.is_ascii_digit())
    };
    (name.starts_with("gpt-") && !name.starts_with("gpt-oss"))
        || name.starts_with("chatgpt-")
        || is_numbered_o()
}

fn effort(wish: Reasoning, max_tokens: Option<u64>, target: &Target<'_>, out: &mut Out) -> Option<Effort> {
    /// The answer that a budget is measured against where the caller sets no limit.
    const USUAL_ANSWER: u64 = 32_000;
    let known = target.model;
    if known.is_some_and(|model| !model.capabilities.contains(&Capability::Reasoning)) {
        if !wish.is_off() {
            out.lost("reasoning_effort");
        }
        return None;
    }
    if wish.summary.is_some() {
        out.lost("reasoning.summary");
    }
    wish.lost_beside_effort().into_iter().for_each(|name| out.lost(name));
    let limit = max_tokens.or(known.and_then(|model| model.max_output)).unwrap_or(USUAL_ANSWER);
    wish.effort(limit)
}

fn write_tools(
    tools: Vec<Tool>,
    choice: Option<ToolChoice>,
    parallel: Option<bool>,
    body: &mut Map<String, Value>,
    out: &mut Out,
) {
    let mut written = Vec::with_capacity(tools.len());
    for (n, tool) in tools.into_iter().enumerate() {
        match tool {
            Tool::Function(function) => written.push(write_function(function, out)),
            Tool::Native { dialect: Dialect::OpenAi, value } => written.push(value),
            Tool::Native { .. } => out.lost(format!("tools[{n}]")),
        }
    }
    if written.is_empty() {
        // Without tools `auto` and `none` are what happens anyway, and OpenAI refuses the field.
        if choice.is_some_and(|choice| !matches!(choice, ToolChoice::Auto | ToolChoice::None)) {
            out.lost("tool_choice");
        }
        return;
    }
    body.insert("tools".to_owned(), written.into());
    let choice = choice.and_then(|choice| match choice {
        ToolChoice::Auto => Some("auto".into()),
        ToolChoice::None => Some("none".into()),
        ToolChoice::Required => Some("required".into()),
        ToolChoice::Function(name) => Some(json!({ "type": "function", "function": { "name": name } })),
        ToolChoice::Native { dialect: Dialect::OpenAi, value } => Some(value),
        ToolChoice::Native { .. } => {
            out.lost("tool_choice");
            None
        }
    });
    put(body, "tool_choice", choice);
    put(body, "parallel_tool_calls", parallel);
}

fn write_function(function: Function, out: &mut Out) -> Value {
    let Function { name, description, parameters, strict, cache } = function;
    if cache.is_some() {
        out.lost("tools[*].cache_control");
    }
    let mut written = Map::new();
    put(&mut written, "name", Some(name));
    put(&mut written, "description", description);
    put(&mut written, "parameters", parameters);
    put(&mut written, "strict", strict);
    json!({ "type": "function", "function": written })
}

fn write_response_format(format: ResponseFormat) -> Value {
    match format {
        ResponseFormat::Text => json!({ "type": "text" }),
        ResponseFormat::JsonObject => json!({ "type": "json_object" }),
        ResponseFormat::JsonSchema { name, description, schema, strict } => {
            let mut written = Map::new();
            put(&mut written, "name", Some(name));
            put(&mut written, "description", description);
            put(&mut written, "schema", Some(schema));
            put(&mut written, "strict", strict);
            json!({ "type": "json_schema", "json_schema": written })
        }
    }
}

fn write_own(own: Map<String, Value>, body: &mut Map<String, Value>, out: &mut Out) {
    for (name, value) in own {
        let is_ours = OWN.contains(&name.as_str())
            && match name.as_str() {
                "service_tier" => value.as_str().is_some_and(|tier| TIERS.contains(&tier)),
                _ => true,
            };
        if is_ours {
            body.insert(name, value);
        } else {
            out.lost(name);
        }
    }
}
