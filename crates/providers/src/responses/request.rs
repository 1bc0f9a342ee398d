//! Requests in the Responses dialect.
//!
//! Source: "Create a model response" in OpenAI's API reference, and the request types of its SDKs.

use domain::ApiError;
use serde_json::{Map, Value};

use super::fields::{Fields, invalid, missing, unsupported};
use super::{input, tools};
use crate::chat::{Effort, Message, Reasoning, Request, ResponseFormat, Role};

/// Fields of the dialect that other formats may be able to say; named as chat completions name them.
const OWN: [&str; 12] = [
    "access_programs",
    "background_options",
    "context_management",
    "image",
    "max_tool_calls",
    "moderation",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "truncation",
];

/// Most alternatives per token that the dialect knows.
const MOST_TOP_LOGPROBS: u64 = 20;

/// What `include` asks for probabilities by.
pub(super) const LOGPROBS: &str = "message.output_text.logprobs";

/// Reads a request. `store`, `background` and `metadata` are about the response as it is kept, which is not the
/// provider's business: they are checked and left out.
pub fn read_request(body: &[u8]) -> Result<Request, ApiError> {
    let value = serde_json::from_slice(body).map_err(|err| {
        let message = format!("the body is not JSON: line {}, column {}", err.line(), err.column());
        ApiError::new(400, "invalid_json", message)
    })?;
    let mut fields = Fields::new(value, "")?;
    refuse_what_is_stored(&fields)?;
    let mut request = Request { include_usage: true, ..Request::default() };
    request.model = fields.required_name("model", "name the model")?;
    read_turns(&mut fields, &mut request)?;
    read_tools(&mut fields, &mut request)?;
    read_text(&mut fields, &mut request)?;
    read_reasoning(&mut fields, &mut request)?;
    read_logprobs(&mut fields, &mut request)?;
    request.max_tokens = fields.count("max_output_tokens")?;
    if request.max_tokens == Some(0) {
        return Err(invalid("max_output_tokens", "is 0: write 1 or more, or leave it out"));
    }
    request.temperature = fields.number("temperature")?;
    request.top_p = fields.number("top_p")?;
    request.user = fields.string("user")?;
    request.stream = fields.bool("stream")?.unwrap_or(false);
    read_own(&mut fields, &mut request)?;
    request.unknown = fields.into_map();
    request.unknown.retain(|_, value| !value.is_null());
    Ok(request)
}

/// Refuses what stands for something that only its owner can read.
fn refuse_what_is_stored(fields: &Fields) -> Result<(), ApiError> {
    let refusals = [
        ("prompt", "names a template that is stored at OpenAI: send its text in `instructions` and `input`"),
        (
            "conversation",
            "names a conversation that is stored at OpenAI: send the earlier items in `input`, or continue with \
             `previous_response_id`",
        ),
    ];
    if let Some(previous) = fields.text("previous_response_id") {
        return Err(previous_not_found(previous));
    }
    match refusals.into_iter().find(|(name, _)| fields.has(name)) {
        Some((name, wrong)) => Err(unsupported(name, wrong)),
        None => Ok(()),
    }
}

/// The error for a response that is not kept here. The first sentence and the code are OpenAI's.
pub fn previous_not_found(id: &str) -> ApiError {
    let id: String = id.chars().take(100).collect();
    let message = format!(
        "Previous response with id '{id}' not found. It is kept here no longer, or it is kept by a provider that is \
         not the one asked now: send the earlier items in `input`, or ask that provider"
    );
    ApiError::bad_request("previous_response_id", "previous_response_not_found", message)
}

fn read_turns(fields: &mut Fields, request: &mut Request) -> Result<(), ApiError> {
    if let Some(instructions) = fields.string("instructions")? {
        request.messages.push(Message::text(Role::System, instructions));
    }
    let Some(given) = fields.take("input") else {
        return Err(missing("input", "write a text or a list of items"));
    };
    request.messages.extend(input::read(given, &mut request.dropped)?);
    Ok(())
}

fn read_tools(fields: &mut Fields, request: &mut Request) -> Result<(), ApiError> {
    let list = fields.list("tools")?.unwrap_or_default();
    request.tools = tools::read(list, &mut request.dropped)?;
    if let Some(choice) = fields.take("tool_choice") {
        request.tool_choice = Some(tools::read_choice(choice, &mut request.tools, &mut request.dropped)?);
    }
    request.parallel_tool_calls = fields.bool("parallel_tool_calls")?;
    Ok(())
}

fn read_text(fields: &mut Fields, request: &mut Request) -> Result<(), ApiError> {
    let Some(mut text) = fields.object("text")? else { return Ok(()) };
    if let Some(verbosity) = text.string("verbosity")? {
        request.own.insert("verbosity".to_owned(), Value::from(verbosity));
    }
    if let Some(mut format) = text.object("format")? {
        let kind = format.required("type", "write text, json_object or json_schema")?;
        request.response_format = Some(match kind.as_str() {
            "text" => ResponseFormat::Text,
            "json_object" => ResponseFormat::JsonObject,
            "json_schema" => json_schema(&mut format)?,
            other => {
                let wrong = format!("is \"{other}\": write text, json_object or json_schema");
                return Err(invalid(&format.at("type"), wrong));
            }
        });
        format.report(&mut request.dropped);
    }
    text.report(&mut request.dropped);
    Ok(())
}

fn json_schema(format: &mut Fields) -> Result<ResponseFormat, ApiError> {
    if format.has("json_schema") {
        let wrong = "is how chat completions write a schema: write `name` and `schema` beside `type`";
        return Err(invalid(&format.at("json_schema"), wrong));
    }
    let path = format.at("schema");
    let Some(schema) = format.object("schema")? else {
        return Err(missing(&path, "write the JSON schema, an object"));
    };
    Ok(ResponseFormat::JsonSchema {
        name: format.required_name("name", "name the schema")?,
        description: format.string("description")?,
        schema: Value::Object(schema.into_map()),
        strict: format.bool("strict")?,
    })
}

fn read_reasoning(fields: &mut Fields, request: &mut Request) -> Result<(), ApiError> {
    let Some(mut reasoning) = fields.object("reasoning")? else { return Ok(()) };
    let effort = match reasoning.string("effort")? {
        None => None,
        Some(word) => match Effort::parse(&word) {
            Some(effort) => Some(effort),
            None => {
                let wrong = format!("is \"{word}\": write none, minimal, low, medium, high, xhigh or max");
                return Err(invalid(&reasoning.at("effort"), wrong));
            }
        },
    };
    let summary = match reasoning.string("summary")? {
        Some(summary) => Some(summary),
        // The name it had at first.
        None => reasoning.string("generate_summary")?,
    };
    reasoning.report(&mut request.dropped);
    if effort.is_some() || summary.is_some() {
        request.reasoning = Some(Reasoning { effort, budget_tokens: None, summary });
    }
    Ok(())
}

/// `include` and `top_logprobs`. What is encrypted of the thoughts is given in any case.
fn read_logprobs(fields: &mut Fields, request: &mut Request) -> Result<(), ApiError> {
    for (index, value) in fields.list("include")?.unwrap_or_default().into_iter().enumerate() {
        let path = format!("include[{index}]");
        match value.as_str() {
            Some(LOGPROBS) => request.logprobs = Some(true),
            Some("reasoning.encrypted_content") => {}
            Some(_) => request.dropped.push(path),
            None => return Err(super::fields::wrong_type(&path, &value, "a string")),
        }
    }
    request.top_logprobs = fields.count("top_logprobs")?;
    match request.top_logprobs {
        Some(count) if count > MOST_TOP_LOGPROBS => {
            Err(invalid("top_logprobs", format!("is {count}: write {MOST_TOP_LOGPROBS} or less")))
        }
        // Nothing was asked for.
        Some(0) if request.logprobs.is_none() => {
            request.top_logprobs = None;
            Ok(())
        }
        Some(_) => {
            request.logprobs = Some(true);
            Ok(())
        }
        None => Ok(()),
    }
}

fn read_own(fields: &mut Fields, request: &mut Request) -> Result<(), ApiError> {
    fields.bool("store")?;
    fields.bool("background")?;
    if let Some(metadata) = fields.object("metadata")? {
        let path = metadata.path().to_owned();
        let map: Map<String, Value> = metadata.into_map();
        if let Some((name, value)) = map.iter().find(|(_, value)| !value.is_string()) {
            return Err(super::fields::wrong_type(&format!("{path}.{name}"), value, "a string"));
        }
    }
    if let Some(mut options) = fields.object("stream_options")? {
        // No padding is ever added, so only asking for it is worth a report.
        if options.bool("include_obfuscation")? == Some(true) {
            request.dropped.push(options.at("include_obfuscation"));
        }
        options.report(&mut request.dropped);
    }
    for name in OWN {
        if let Some(value) = fields.take(name) {
            request.own.insert(name.to_owned(), value);
        }
    }
    // To refuse what is too long is what every format does by itself.
    if request.own.get("truncation").and_then(Value::as_str) == Some("disabled") {
        request.own.shift_remove("truncation");
    }
    Ok(())
}
