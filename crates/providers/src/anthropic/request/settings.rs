//! What callers say beside the conversation: tools, thinking, the form of the answer.

use domain::ApiError;
use serde_json::Value;

use super::blocks;
use crate::chat::{Dialect, Effort, Function, Reasoning, Request, ResponseFormat, Tool, ToolChoice};
use crate::fields::{Fields, quoted, unknown_word, wrong, wrong_type};
use crate::schema::check_parameters;

/// The name of a schema, which the dialect has not and others need.
const SCHEMA_NAME: &str = "answer";

/// `metadata.user_id`.
pub(super) fn user(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<Option<String>, ApiError> {
    let Some(mut metadata) = fields.object("metadata")? else { return Ok(None) };
    let user = metadata.string("user_id")?;
    metadata.report(dropped);
    Ok(user)
}

type Tools = (Vec<Tool>, Option<ToolChoice>, Option<bool>);

/// `tools` and `tool_choice`, and whether several may be called at once.
pub(super) fn tools(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<Tools, ApiError> {
    let list = fields.array("tools")?.unwrap_or_default();
    let read = |(index, value)| tool(value, format!("tools[{index}]"), dropped);
    let tools: Vec<Tool> = list.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
    let Some(value) = fields.take("tool_choice") else { return Ok((tools, None, None)) };
    let mut choice = Fields::of(value.clone(), "tool_choice")?;
    let alone = choice.flag("disable_parallel_tool_use")?;
    let kind = choice.need("type", Fields::string)?;
    let chosen = match kind.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => named(choice.need("name", Fields::string)?, value, &tools)?,
        _ => return Err(unknown_word("tool_choice.type", &kind, "`auto`, `any`, `tool` or `none`")),
    };
    choice.report(dropped);
    Ok((tools, Some(chosen), alone.map(|alone| !alone)))
}

/// The choice of one tool, a function or one of Anthropic's.
fn named(name: String, choice: Value, tools: &[Tool]) -> Result<ToolChoice, ApiError> {
    let called = |tool: &&Tool| match tool {
        Tool::Function(function) => function.name == name,
        Tool::Native { value, .. } => value.get("name").and_then(Value::as_str) == Some(name.as_str()),
    };
    match tools.iter().find(called) {
        Some(Tool::Function(_)) => Ok(ToolChoice::Function(name)),
        Some(Tool::Native { dialect, .. }) => Ok(ToolChoice::Native { dialect: *dialect, value: choice }),
        None => {
            let words = format_args!("is {}, but no tool in `tools` has that name", quoted(&name));
            Err(wrong("tool_choice.name", "invalid_value", words))
        }
    }
}

fn tool(value: Value, path: String, dropped: &mut Vec<String>) -> Result<Tool, ApiError> {
    let kind = value.get("type").filter(|kind| !kind.is_null());
    if kind.is_some_and(|kind| kind != "custom") {
        return Ok(Tool::Native { dialect: Dialect::Anthropic, value });
    }
    let mut fields = Fields::of(value, path)?;
    fields.take("type");
    let name = fields.need("name", Fields::string)?;
    if name.is_empty() {
        let path = fields.path("name");
        return Err(wrong(&path, "invalid_value", "is empty: write the tool's name"));
    }
    let schema = match fields.take("input_schema") {
        None => return Err(fields.missing("input_schema", "it is required")),
        Some(schema) => schema,
    };
    check_parameters(&schema, &fields.path("input_schema"))?;
    let function = Function {
        name,
        description: fields.string("description")?,
        parameters: Some(schema),
        strict: fields.flag("strict")?,
        cache: blocks::cache(&mut fields, dropped)?,
    };
    fields.report(dropped);
    Ok(Tool::Function(function))
}

/// `thinking` and `output_config`. What of them has no place in a chat is kept in `own` under its dotted name.
pub(super) fn output(fields: &mut Fields, request: &mut Request) -> Result<(), ApiError> {
    let mut effort = None;
    let mut format = fields.object("output_format")?;
    if let Some(mut config) = fields.object("output_config")? {
        if let Some(word) = config.string("effort")? {
            let path = config.path("effort");
            let known = "`low`, `medium`, `high`, `xhigh` or `max`";
            let parsed = Effort::parse(&word).filter(|effort| *effort >= Effort::Low);
            effort = Some(parsed.ok_or_else(|| unknown_word(&path, &word, known))?);
        }
        format = config.object("format")?.or(format);
        keep("output_config", config, request);
    }
    if let Some(mut format) = format {
        request.response_format = Some(response_format(&mut format)?);
        format.report(&mut request.dropped);
    }
    request.reasoning = thinking(fields, effort, request)?;
    Ok(())
}

fn keep(name: &str, left: Fields, request: &mut Request) {
    let left = left.into_map().into_iter().filter(|(_, value)| !value.is_null());
    request.own.extend(left.map(|(field, value)| (format!("{name}.{field}"), value)));
}

fn response_format(format: &mut Fields) -> Result<ResponseFormat, ApiError> {
    let kind = format.need("type", Fields::string)?;
    if kind != "json_schema" {
        return Err(unknown_word(&format.path("type"), &kind, "`json_schema`"));
    }
    match format.take("schema") {
        None => Err(format.missing("schema", "it is required")),
        Some(schema @ Value::Object(_)) => Ok(ResponseFormat::JsonSchema {
            name: SCHEMA_NAME.to_owned(),
            description: None,
            schema,
            strict: Some(true),
        }),
        Some(other) => Err(wrong_type(&format.path("schema"), "a JSON schema, which is an object,", &other)),
    }
}

/// Whether and how much the model thinks. An effort alone is one; turned off, it is kept beside.
fn thinking(
    fields: &mut Fields,
    effort: Option<Effort>,
    request: &mut Request,
) -> Result<Option<Reasoning>, ApiError> {
    let alone = effort.map(|effort| Reasoning { effort: Some(effort), ..Reasoning::default() });
    let Some(value) = fields.take("thinking") else { return Ok(alone) };
    let mut thinking = Fields::of(value.clone(), "thinking")?;
    let kind = thinking.need("type", Fields::string)?;
    let mut reasoning = Reasoning { effort, ..Reasoning::default() };
    match kind.as_str() {
        "enabled" => reasoning.budget_tokens = Some(thinking.need("budget_tokens", Fields::count)?),
        "adaptive" => {}
        "disabled" => {
            let kept = effort.map(|effort| ("output_config.effort".to_owned(), effort.as_str().into()));
            request.own.extend(kept);
            reasoning.effort = Some(Effort::None);
        }
        _ => {
            request.own.insert("thinking".to_owned(), value);
            return Ok(alone);
        }
    }
    match thinking.string("display")?.as_deref() {
        Some("summarized") => reasoning.summary = Some("auto".to_owned()),
        Some(other) => {
            request.own.insert("thinking.display".to_owned(), other.into());
        }
        None => {}
    }
    keep("thinking", thinking, request);
    Ok(Some(reasoning))
}
