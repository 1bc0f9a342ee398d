//! Requests for providers that speak Messages.

use domain::ApiError;
use serde_json::{Map, Number, Value, json};

use super::super::model::Model;
use super::thinking::{Sampling, Wanted};
use super::{OWN, schema, thinking, tools, turns};
use crate::chat::{Request, ResponseFormat, Target, Written};
use crate::dropped::Dropped;
use crate::fields::wrong;

/// What cannot be said, and to whom.
pub(super) struct Report<'a> {
    provider: &'a str,
    dropped: Dropped,
}

impl<'a> Report<'a> {
    /// A report that goes on from what the reader could not keep.
    pub(super) fn new(provider: &'a str, dropped: Vec<String>) -> Self {
        Self { provider, dropped: Dropped::new(dropped) }
    }

    /// What was left out so far.
    #[cfg(test)]
    pub(super) fn dropped(&self) -> &[String] {
        self.dropped.paths()
    }

    /// Something is left out.
    pub(super) fn leave_out(&mut self, path: impl Into<String>) {
        self.dropped.push(path);
    }

    /// The error for something that the provider cannot take. `text` ends with what it takes.
    pub(super) fn refuse(&self, path: &str, code: &str, text: &str) -> ApiError {
        wrong(path, code, format_args!("{text} (provider `{}`)", self.provider))
    }
}

/// Writes a request. Err: it holds something without which it would mean something else, and which Messages cannot
/// say (sound, a picture of a kind that Claude does not see, arguments that are no object).
///
/// Counts of tokens come in any case, so `include_usage` needs nothing. A name of a JSON schema is a label and has no
/// place; every schema is kept to, so `strict` has none either.
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
        mut own,
        unknown,
        dropped,
    } = request;
    let mut report = Report::new(target.provider, dropped);
    let unsaid = [
        ("frequency_penalty", frequency_penalty.is_some_and(|penalty| !is_zero(&penalty))),
        ("presence_penalty", presence_penalty.is_some_and(|penalty| !is_zero(&penalty))),
        ("seed", seed.is_some()),
        ("n", n.is_some_and(|n| n != 1)),
        ("logprobs", logprobs == Some(true)),
        ("top_logprobs", top_logprobs.is_some_and(|top| top != 0)),
        ("logit_bias", logit_bias.is_some_and(|biases| !biases.is_empty())),
        ("modalities", modalities.iter().any(|modality| modality != "text")),
        ("audio", audio.is_some()),
    ];
    unsaid.into_iter().filter(|(_, asked)| *asked).for_each(|(name, _)| report.leave_out(name));

    let known = Model::of(&model, target.model);
    let (system, messages) = turns::write(messages, &mut report)?;
    let mut tools = tools::Tools::write(tools, tool_choice, parallel_tool_calls, &mut report)?;
    let ceiling = target.model.and_then(|info| info.max_output);
    let wanted = Wanted { max_tokens, ceiling, reasoning: reasoning.as_ref(), forced: tools.is_forced() };
    let plan = thinking::plan(known, &wanted, &mut report)?;
    tools.fit(known, &mut report);

    let mut body = Map::new();
    body.insert("model".to_owned(), model.into());
    body.insert("max_tokens".to_owned(), plan.max_tokens.into());
    put(&mut body, "system", (!system.is_empty()).then(|| system.into()));
    body.insert("messages".to_owned(), messages.into());
    tools.put(&mut body);
    let thinking = thinking_field(plan.thinking, &mut own);
    let thinks = thinking.as_ref().is_some_and(|thinking| thinking["type"] != "disabled");
    put(&mut body, "thinking", thinking);
    let config = output_config(response_format, plan.effort, &mut report);
    put(&mut body, "output_config", with_own("output_config", config, &mut own));
    Sampling { temperature, top_p, top_k }.put(known, thinks, &mut body, &mut report);
    put(&mut body, "stop_sequences", stop_sequences(stop, &mut report));
    put(&mut body, "metadata", user_id(user, &mut own).map(|user| json!({ "user_id": user })));
    put(&mut body, "stream", stream.then_some(Value::Bool(true)));
    put_own(own, &mut body, &mut report);
    put_unknown(unknown, &mut body, &mut report);
    Ok(Written { body: Value::Object(body).to_string().into_bytes(), dropped: report.dropped.into_paths() })
}

fn put(body: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    body.extend(value.map(|value| (name.to_owned(), value)));
}

fn is_zero(number: &Number) -> bool {
    number.as_f64() == Some(0.0)
}

/// `thinking`; what was kept beside its kind says nothing without one.
fn thinking_field(thinking: Option<Value>, own: &mut Map<String, Value>) -> Option<Value> {
    let said = thinking.is_some() || own.get("thinking").is_some_and(Value::is_object);
    said.then(|| with_own("thinking", thinking, own)).flatten()
}

/// A field together with those parts of it that were kept under their dotted names.
fn with_own(name: &str, value: Option<Value>, own: &mut Map<String, Value>) -> Option<Value> {
    let whole = own.get(name).is_some_and(Value::is_object).then(|| own.shift_remove(name)).flatten();
    let inside = |field: &String| field.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    let names: Vec<String> = own.keys().filter(|field| inside(field)).cloned().collect();
    if names.is_empty() && whole.is_none() {
        return value;
    }
    let mut fields = match whole {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    if let Some(Value::Object(said)) = value {
        fields.extend(said);
    }
    for field in names {
        if let (Some(kept), Some((_, inner))) = (own.shift_remove(&field), field.split_once('.')) {
            fields.entry(inner.to_owned()).or_insert(kept);
        }
    }
    Some(Value::Object(fields))
}

/// `output_config`: the form of the answer, and the effort. There is no form "some JSON object".
///
/// Source: "Structured outputs" and "Effort" on platform.claude.com.
fn output_config(
    format: Option<ResponseFormat>,
    effort: Option<&'static str>,
    report: &mut Report<'_>,
) -> Option<Value> {
    let mut config = Map::new();
    match format {
        None | Some(ResponseFormat::Text) => {}
        Some(ResponseFormat::JsonObject) => report.leave_out("response_format"),
        Some(ResponseFormat::JsonSchema { name: _, description, schema, strict: _ }) => {
            let schema = crate::schema::titled(schema, String::new(), description);
            let schema = schema::fitted(schema, "response_format.json_schema.schema", report);
            config.insert("format".to_owned(), json!({ "type": "json_schema", "schema": schema }));
        }
    }
    put(&mut config, "effort", effort.map(Value::from));
    (!config.is_empty()).then_some(Value::Object(config))
}

/// Texts of blanks alone are refused as stop sequences.
fn stop_sequences(stop: Vec<String>, report: &mut Report<'_>) -> Option<Value> {
    let (said, blank): (Vec<String>, Vec<String>) =
        stop.into_iter().partition(|text| !text.trim().is_empty());
    if !blank.is_empty() {
        report.leave_out("stop");
    }
    (!said.is_empty()).then(|| said.into())
}

/// The caller's user; OpenAI's newer name of it is `safety_identifier`.
fn user_id(user: Option<String>, own: &mut Map<String, Value>) -> Option<Value> {
    match user {
        Some(user) => Some(user.into()),
        None if own.get("safety_identifier").is_some_and(Value::is_string) => {
            own.shift_remove("safety_identifier")
        }
        None => None,
    }
}

/// Anthropic's own fields; what only other dialects have is reported.
fn put_own(own: Map<String, Value>, body: &mut Map<String, Value>, report: &mut Report<'_>) {
    for (name, value) in own {
        let value = match (name.as_str(), value.as_str()) {
            // OpenAI's word for never using the capacity that was paid for beforehand.
            ("service_tier", Some("default")) => Some("standard_only".into()),
            ("service_tier", Some("auto" | "standard_only")) => Some(value),
            ("service_tier", _) => None,
            _ => OWN.contains(&name.as_str()).then_some(value),
        };
        match value {
            Some(value) => put(body, &name, Some(value)),
            None => report.leave_out(name),
        }
    }
}

/// Fields that were meant for the provider. Parts of an object that is written are added to it.
fn put_unknown(unknown: Map<String, Value>, body: &mut Map<String, Value>, report: &mut Report<'_>) {
    for (name, value) in unknown {
        match (body.get_mut(&name), value) {
            (None, value) => put(body, &name, Some(value)),
            (Some(Value::Object(written)), Value::Object(more)) => {
                for (field, value) in more {
                    if written.contains_key(&field) {
                        report.leave_out(format!("{name}.{field}"));
                    } else {
                        written.insert(field, value);
                    }
                }
            }
            (Some(_), _) => report.leave_out(name),
        }
    }
}
