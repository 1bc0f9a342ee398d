//! Requests: `generateContent` and `streamGenerateContent`. The model and whether to stream are in the URL.

use std::collections::HashMap;

use domain::ApiError;
use serde_json::{Map, Value, json};

use super::config::{self, Config};
use super::model::{self, Traits};
use super::{contents, tools};
use crate::chat::{Request, Target, Written};
use crate::dropped::Dropped;

/// Fields of Portkey's and Google's that belong into `generationConfig` although they are given at the top.
const IN_CONFIG: [(&str, &str); 5] = [
    ("audio_timestamp", "audioTimestamp"),
    ("image_config", "imageConfig"),
    ("media_resolution", "mediaResolution"),
    ("speech_config", "speechConfig"),
    ("thinking_config", "thinkingConfig"),
];

/// Writes a request. Fails where the request cannot be said in this format at all.
pub fn write_request(request: Request, target: &Target<'_>) -> Result<Written, ApiError> {
    let (body, dropped) = body(request, target)?;
    Ok(Written { body: Value::Object(body).to_string().into_bytes(), dropped })
}

/// What a request is written with.
pub(super) struct Context<'a> {
    pub(super) target: &'a Target<'a>,
    pub(super) traits: Traits,
    /// The tool that was called last under an id, and which call of all it was.
    pub(super) calls: HashMap<String, (String, usize)>,
    /// Calls so far.
    pub(super) called: usize,
    dropped: Dropped,
}

impl<'a> Context<'a> {
    fn new(target: &'a Target<'a>, traits: Traits) -> Self {
        Self { target, traits, calls: HashMap::new(), called: 0, dropped: Dropped::default() }
    }

    /// Reports what cannot be said.
    pub(super) fn drop(&mut self, path: impl Into<String>) {
        self.dropped.push(path);
    }

    /// Reports it if there is something.
    pub(super) fn drop_if(&mut self, path: impl Into<String>, given: bool) {
        if given {
            self.drop(path);
        }
    }
}

/// The body as an object, and what it leaves out.
pub(super) fn body(
    request: Request,
    target: &Target<'_>,
) -> Result<(Map<String, Value>, Vec<String>), ApiError> {
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
        stream: _,
        include_usage: _,
        mut own,
        unknown,
        dropped,
    } = request;
    let traits = model::traits(&model);
    let mut cx = Context::new(target, traits);
    dropped.into_iter().for_each(|path| cx.drop(path));

    let mut config = Config::default();
    config.put("temperature", temperature);
    config.put("topP", top_p);
    config.put("topK", top_k);
    config.put("maxOutputTokens", max_tokens);
    config.put("candidateCount", n);
    config.put("presencePenalty", presence_penalty);
    config.put("frequencyPenalty", frequency_penalty);
    config.put("stopSequences", (!stop.is_empty()).then_some(stop));
    config.seed(seed, &mut cx);
    config.logprobs(logprobs, top_logprobs, &mut cx);
    config.format(response_format, &mut cx);
    config.modalities(modalities, audio, &mut cx);
    config.reasoning(reasoning, max_tokens, &mut cx);

    let mut body = contents::write(messages, &mut cx)?;
    let search = own.remove("web_search_options");
    tools::write(tools, tool_choice, search, &mut cx, &mut body)?;
    cx.drop_if("parallel_tool_calls", parallel_tool_calls == Some(false));
    cx.drop_if("logit_bias", logit_bias.is_some_and(|bias| !bias.is_empty()));
    cx.drop_if("user", user.is_some());
    own.into_iter().filter(|(_, value)| !value.is_null()).for_each(|(name, _)| cx.drop(name));
    if !config.fields.is_empty() {
        body.insert(config::NAME.to_owned(), Value::Object(config.fields));
    }
    add_unknown(unknown, &mut cx, &mut body);
    Ok((body, cx.dropped.into_paths()))
}

/// Adds what the caller's dialect does not define. Objects that we write as well (`generationConfig`, `toolConfig`) are
/// put together, ours first.
fn add_unknown(unknown: Map<String, Value>, cx: &mut Context<'_>, body: &mut Map<String, Value>) {
    for (name, value) in unknown {
        let in_config = IN_CONFIG.iter().find(|(snake, camel)| name == *snake || name == *camel);
        let (field, value) = match (name.as_str(), in_config) {
            (_, Some((_, camel))) => (config::NAME, json!({*camel: value})),
            ("generation_config", None) => (config::NAME, value),
            ("tool_config", None) => ("toolConfig", value),
            ("system_instruction", None) => ("systemInstruction", value),
            (other, None) => (other, value),
        };
        match (body.get_mut(field), value) {
            (None, value) => _ = body.insert(field.to_owned(), value),
            (Some(Value::Object(ours)), Value::Object(theirs)) if field.ends_with("Config") => {
                for (key, value) in theirs {
                    if ours.contains_key(&key) {
                        cx.drop(format!("{name}.{key}"));
                    } else {
                        ours.insert(key, value);
                    }
                }
            }
            (Some(_), _) => cx.drop(name),
        }
    }
}
