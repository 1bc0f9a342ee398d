//! Reading a request.

use domain::ApiError;
use serde_json::Value;

use super::{messages, tools};
use crate::chat::{Effort, Reasoning, Request, ResponseFormat};
use crate::fields::{Fields, listed, unknown_word, wrong, wrong_type};

/// Fields of OpenAI's and Portkey's that only some formats can say.
const OWN: [&str; 12] = [
    "metadata",
    "moderation",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "thinking",
    "verbosity",
    "web_search_options",
];

/// Reads a chat completions request.
///
/// Fails with a 400 that names the place of what is missing, of the wrong type, or would mean something else if it were
/// left out.
pub fn read_request(body: &[u8]) -> Result<Request, ApiError> {
    let mut fields = Fields::of_body(body)?;
    let mut request = Request::default();
    common(&mut fields, &mut request)?;
    request.messages = messages::read(&mut fields, &mut request.dropped)?;
    request.tools = tools::read(&mut fields, &mut request.dropped)?;
    request.tool_choice = tools::choice(&mut fields, &request.tools)?;
    request.parallel_tool_calls = fields.flag("parallel_tool_calls")?;
    request.response_format = response_format(&mut fields, &mut request.dropped)?;
    let newer = fields.whole("max_completion_tokens", 1)?;
    if newer.is_some() && request.max_tokens.is_some_and(|older| Some(older) != newer) {
        request.dropped.push("max_tokens".to_owned());
    }
    request.max_tokens = newer.or(request.max_tokens);
    request.top_k = fields.whole("top_k", 0)?;
    request.logprobs = fields.flag("logprobs")?;
    request.top_logprobs = fields.whole("top_logprobs", 0)?;
    request.reasoning = reasoning(&mut fields, &mut request.dropped)?;
    request.modalities = fields.strings("modalities")?;
    request.audio = fields.object("audio")?.map(|audio| Value::Object(audio.into_map()));
    leftover(fields, &mut request);
    Ok(request)
}

/// What text completions have as well.
pub(in crate::openai) fn common(fields: &mut Fields, request: &mut Request) -> Result<(), ApiError> {
    request.model = fields.required("model", "name the model at the provider")?;
    request.max_tokens = fields.whole("max_tokens", 1)?;
    request.temperature = fields.number("temperature")?;
    request.top_p = fields.number("top_p")?;
    request.frequency_penalty = fields.number("frequency_penalty")?;
    request.presence_penalty = fields.number("presence_penalty")?;
    request.seed = seed(fields)?;
    request.stop = stop(fields)?;
    request.n = fields.whole("n", 1)?;
    request.logit_bias = fields.object("logit_bias")?.map(Fields::into_map);
    request.user = fields.string("user")?;
    request.stream = fields.flag("stream")?.unwrap_or(false);
    if let Some(mut options) = fields.object("stream_options")? {
        request.include_usage = options.flag("include_usage")?.unwrap_or(false);
        // Padding against eavesdroppers is what this asks for; to have none is what everybody does.
        if options.flag("include_obfuscation")? == Some(true) {
            request.dropped.push("stream_options.include_obfuscation".to_owned());
        }
        options.report(&mut request.dropped);
    }
    Ok(())
}

/// Sorts what is left into the dialect's own fields and those meant for the provider.
pub(in crate::openai) fn leftover(fields: Fields, request: &mut Request) {
    for (name, value) in fields.into_map() {
        if !OWN.contains(&name.as_str()) {
            request.unknown.insert(name, value);
        } else if !value.is_null() {
            request.own.insert(name, value);
        }
    }
}

fn seed(fields: &mut Fields) -> Result<Option<i64>, ApiError> {
    let Some(number) = fields.number("seed")? else { return Ok(None) };
    let whole = number.as_i64();
    whole.map(Some).ok_or_else(|| {
        wrong(
            "seed",
            "invalid_value",
            format_args!("must be a whole number of at most 64 bits, not {number}"),
        )
    })
}

fn stop(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    match fields.take("stop") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(texts @ Value::Array(_)) => {
            fields.put("stop", texts);
            fields.strings("stop")
        }
        Some(other) => Err(wrong_type("stop", "a string or an array of strings", &other)),
    }
}

fn response_format(
    fields: &mut Fields,
    dropped: &mut Vec<String>,
) -> Result<Option<ResponseFormat>, ApiError> {
    let Some(mut format) = fields.object("response_format")? else { return Ok(None) };
    let kinds = "`text`, `json_object` or `json_schema`";
    let read = match format.required("type", "say what form the answer is to have")?.as_str() {
        "text" => ResponseFormat::Text,
        "json_object" => ResponseFormat::JsonObject,
        "json_schema" => {
            let schema = format.object("json_schema")?.ok_or_else(|| {
                format.missing("json_schema", "give it a `name` and the JSON schema as `schema`")
            })?;
            json_schema(schema, dropped)?
        }
        other => {
            return Err(unknown_word("response_format.type", other, kinds));
        }
    };
    format.report(dropped);
    Ok(Some(read))
}

fn json_schema(mut fields: Fields, dropped: &mut Vec<String>) -> Result<ResponseFormat, ApiError> {
    let name = fields.required("name", "give the schema a name")?;
    let description = fields.string("description")?;
    let strict = fields.flag("strict")?;
    // OpenAI takes a schema to be optional; an empty one allows everything.
    let schema = fields.object("schema")?.map(Fields::into_map).unwrap_or_default();
    fields.report(dropped);
    Ok(ResponseFormat::JsonSchema { name, description, schema: Value::Object(schema), strict })
}

/// `reasoning_effort`, OpenRouter's `reasoning` and Anthropic's `thinking` say the same thing.
fn reasoning(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<Option<Reasoning>, ApiError> {
    let mut read = Reasoning { effort: effort(fields, "reasoning_effort")?, ..Reasoning::default() };
    let mut given = read.effort.is_some();
    if let Some(mut reasoning) = fields.object("reasoning")? {
        given = true;
        read.effort = read.effort.or(effort(&mut reasoning, "effort")?);
        read.budget_tokens = reasoning.whole("max_tokens", 0)?;
        read.summary = reasoning.string("summary")?;
        match reasoning.flag("enabled")? {
            Some(false) => read.effort = Some(Effort::None),
            Some(true) if read == Reasoning::default() => read.effort = Some(Effort::Medium),
            _ => {}
        }
        reasoning.report(dropped);
    }
    let Some(value) = fields.take("thinking") else { return Ok(given.then_some(read)) };
    let kind = value.get("type").and_then(Value::as_str);
    match kind {
        None => {
            let thinking = Fields::of(value, "thinking")?;
            Err(thinking.missing("type", "write `enabled` or `disabled`"))
        }
        Some("enabled") => {
            let mut thinking = Fields::of(value, "thinking")?;
            thinking.take("type");
            read.budget_tokens = thinking.whole("budget_tokens", 0)?.or(read.budget_tokens);
            if read.budget_tokens.is_none() && read.effort.is_none() {
                read.effort = Some(Effort::Medium);
            }
            thinking.report(dropped);
            Ok(Some(read))
        }
        Some("disabled") => Ok(Some(Reasoning { effort: Some(Effort::None), ..read })),
        // Kinds that only the provider knows.
        _ => {
            fields.put("thinking", value);
            Ok(given.then_some(read))
        }
    }
}

fn effort(fields: &mut Fields, name: &str) -> Result<Option<Effort>, ApiError> {
    let Some(word) = fields.string(name)? else { return Ok(None) };
    Effort::parse(&word).map(Some).ok_or_else(|| {
        let known = format!("one of {}", listed(Effort::ALL.into_iter().map(Effort::as_str)));
        unknown_word(&fields.path(name), &word, &known)
    })
}
