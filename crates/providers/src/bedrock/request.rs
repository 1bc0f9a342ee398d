//! Requests in Converse's form.

use domain::ApiError;
use serde_json::{Map, Value, json};

use super::family::Family;
use super::sampling::{self, Sampling};
use super::{content, tools};
use crate::chat::{Request, ResponseFormat, Target, Written};
use crate::dropped::Dropped;

/// A request as it is put together.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// Converse's own fields.
    pub(super) fields: Map<String, Value>,
    /// The model's own fields.
    pub(super) additional: Map<String, Value>,
    pub(super) dropped: Vec<String>,
}

impl Body {
    pub(super) fn drop(&mut self, name: impl Into<String>) {
        self.dropped.push(name.into());
    }

    /// Writes into an object of Converse's own, as in `inferenceConfig.maxTokens`.
    pub(super) fn put_in(&mut self, object: &str, name: &str, value: impl Into<Value>) {
        put_at(&mut self.fields, &[object, name], value.into());
    }
}

/// Writes at a path of object names.
pub(super) fn put_at(fields: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => (),
        [name] => drop(fields.insert((*name).to_owned(), value)),
        [name, rest @ ..] => {
            let inner = fields.entry(*name).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                put_at(inner, rest, value);
            }
        }
    }
}

/// Writes a request as Converse and ConverseStream take it; model and streaming are in the URL.
///
/// Fields that nobody defines go to the model (`additionalModelRequestFields`), but those that Converse defines.
/// The error says what cannot be said to Bedrock at all: files by address, arguments that are no JSON object.
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
        // Streams have an address of their own, and tell their tokens unasked.
        stream: _,
        include_usage: _,
        own,
        unknown,
        dropped,
    } = request;
    let family = Family::of([model.as_str()].into_iter().chain(target.model.map(|info| info.name.as_str())));
    let mut body = Body { dropped, ..Body::default() };

    let turns = content::turns(messages, target.provider, family)?;
    body.dropped.extend(turns.dropped);
    body.fields.insert("messages".to_owned(), turns.messages.into());
    if !turns.system.is_empty() {
        body.fields.insert("system".to_owned(), turns.system.into());
    }
    let config = tools::config(tools, tool_choice, &turns.called, family)?;
    body.dropped.extend(config.dropped);
    body.fields.extend(config.config.map(|config| ("toolConfig".to_owned(), config)));
    if !config.own.is_empty() {
        body.additional.insert("tools".to_owned(), config.own.into());
    }
    structure(response_format, &mut body);
    let sampling = Sampling { max_tokens, temperature, top_p, top_k, stop, reasoning };
    sampling::write(sampling, family, target.model, &mut body);
    let unsaid = [
        ("parallel_tool_calls", parallel_tool_calls == Some(false)),
        ("frequency_penalty", frequency_penalty.is_some()),
        ("presence_penalty", presence_penalty.is_some()),
        ("seed", seed.is_some()),
        ("n", n.is_some_and(|n| n > 1)),
        ("logprobs", logprobs == Some(true)),
        ("top_logprobs", top_logprobs.is_some()),
        ("logit_bias", logit_bias.is_some()),
        ("user", user.is_some()),
        ("modalities", modalities.iter().any(|modality| modality != "text")),
        ("audio", audio.is_some()),
    ];
    body.dropped.extend(unsaid.into_iter().filter(|(_, given)| *given).map(|(name, _)| name.to_owned()));
    defined(own, family, &mut body);
    undefined(unknown, &mut body);
    Ok(written(body))
}

fn written(body: Body) -> Written {
    let Body { mut fields, additional, dropped } = body;
    if !additional.is_empty() {
        fields.insert("additionalModelRequestFields".to_owned(), additional.into());
    }
    let dropped = Dropped::new(dropped).into_paths();
    Written { body: Value::Object(fields).to_string().into_bytes(), dropped }
}

/// The form of the answer: `outputConfig.textFormat`, whose schema is text.
fn structure(format: Option<ResponseFormat>, body: &mut Body) {
    match format {
        None | Some(ResponseFormat::Text) => (),
        // Converse knows schemas only, and one that allows any object is none that it accepts.
        Some(ResponseFormat::JsonObject) => body.drop("response_format"),
        Some(ResponseFormat::JsonSchema { name, description, schema, strict }) => {
            let mut definition = json!({"schema": schema.to_string()});
            if !name.is_empty() {
                definition["name"] = name.into();
            }
            if let Some(description) = description {
                definition["description"] = description.into();
            }
            let format = json!({"type": "json_schema", "structure": {"jsonSchema": definition}});
            body.put_in("outputConfig", "textFormat", format);
            if strict == Some(false) {
                body.drop("response_format.json_schema.strict");
            }
        }
    }
}

/// Fields of the caller's dialect that have no place in [`Request`].
fn defined(own: Map<String, Value>, family: Family, body: &mut Body) {
    for (name, value) in own {
        match name.as_str() {
            _ if value.is_null() => (),
            "metadata" => metadata(value, body),
            // Ways to think that only the model knows.
            "thinking" if family.speaks_anthropic && !body.additional.contains_key("thinking") => {
                body.additional.insert(name, value);
            }
            "service_tier" => match value.as_str() {
                // As the account is set up.
                Some("auto") => (),
                Some("standard_only") => {
                    body.fields.insert("serviceTier".to_owned(), json!({"type": "default"}));
                }
                Some(tier @ ("default" | "flex" | "priority" | "reserved")) => {
                    body.fields.insert("serviceTier".to_owned(), json!({"type": tier}));
                }
                _ => body.drop(name),
            },
            _ => body.drop(name),
        }
    }
}

/// Most entries, and most characters of a name or a value, of `requestMetadata`.
const METADATA: (usize, usize) = (16, 256);

/// Labels of the request, for Bedrock's invocation logs. What they do not take is reported.
fn metadata(labels: Value, body: &mut Body) {
    let Value::Object(labels) = labels else { return body.drop("metadata") };
    let fits = |text: &str| {
        text.chars().count() <= METADATA.1
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c.is_whitespace() || ":_@$#=/+,-.".contains(c))
    };
    let mut taken = Map::new();
    for (name, value) in labels {
        let fit = !name.is_empty() && fits(&name) && value.as_str().is_some_and(fits);
        if fit && taken.len() < METADATA.0 {
            taken.insert(name, value);
        } else {
            body.drop(format!("metadata.{name}"));
        }
    }
    if !taken.is_empty() {
        body.fields.insert("requestMetadata".to_owned(), taken.into());
    }
}

/// Converse's own fields that no dialect has, by all their names.
const CONVERSE: &[(&str, &str)] = &[
    ("additionalModelResponseFieldPaths", "additionalModelResponseFieldPaths"),
    ("additional_model_response_field_paths", "additionalModelResponseFieldPaths"),
    ("guardrailConfig", "guardrailConfig"),
    ("guardrail_config", "guardrailConfig"),
    ("inferenceConfig", "inferenceConfig"),
    ("outputConfig", "outputConfig"),
    ("performanceConfig", "performanceConfig"),
    ("performance_config", "performanceConfig"),
    ("promptVariables", "promptVariables"),
    ("requestMetadata", "requestMetadata"),
    ("request_metadata", "requestMetadata"),
    ("serviceTier", "serviceTier"),
    ("toolConfig", "toolConfig"),
];

/// Fields that no dialect defines: Converse's by their names, all others for the model.
fn undefined(unknown: Map<String, Value>, body: &mut Body) {
    for (name, value) in unknown {
        if ["additionalModelRequestFields", "additional_model_request_fields"].contains(&name.as_str()) {
            match value {
                Value::Object(fields) => fields.into_iter().for_each(|(inner, value)| {
                    add(&mut body.additional, &inner, format!("{name}.{inner}"), value, &mut body.dropped);
                }),
                _ => body.drop(name),
            }
            continue;
        }
        let converse = CONVERSE.iter().find(|(alias, _)| *alias == name);
        match converse {
            Some((_, field)) => add(&mut body.fields, field, name, value, &mut body.dropped),
            None => add(&mut body.additional, &name.clone(), name, value, &mut body.dropped),
        }
    }
}

/// Adds a field. Where one of that name was written before, objects take what they lack; the rest is reported.
fn add(fields: &mut Map<String, Value>, name: &str, path: String, value: Value, dropped: &mut Vec<String>) {
    match (fields.get_mut(name), value) {
        (None, value) => drop(fields.insert(name.to_owned(), value)),
        (Some(Value::Object(written)), Value::Object(value)) => {
            for (inner, value) in value {
                if written.contains_key(&inner) {
                    dropped.push(format!("{path}.{inner}"));
                } else {
                    written.insert(inner, value);
                }
            }
        }
        (Some(_), _) => dropped.push(path),
    }
}
