//! Tools as Converse's `toolConfig`.

use domain::ApiError;
use serde_json::{Map, Value, json};

use super::content::cache_point;
use super::family::Family;
use crate::chat::{Dialect, Function, Tool, ToolChoice};
use crate::lenient;

/// What tools and choice come to.
#[derive(Debug, Default)]
pub(super) struct Config {
    /// `toolConfig`.
    pub(super) config: Option<Value>,
    /// Tools that Anthropic defines, for the model's own fields.
    pub(super) own: Vec<Value>,
    pub(super) dropped: Vec<String>,
}

/// Writes the tools. `called` are those that were called in earlier turns: with such turns Converse wants tools in any
/// case.
pub(super) fn config(
    tools: Vec<Tool>,
    choice: Option<ToolChoice>,
    called: &[String],
    family: Family,
) -> Result<Config, ApiError> {
    let mut out = Config::default();
    let may_call = choice != Some(ToolChoice::None);
    if !may_call && called.is_empty() {
        // No tools, no calls: the only way to say it.
        return Ok(out);
    }
    let mut list = Vec::new();
    for (index, tool) in tools.into_iter().enumerate() {
        let path = format!("tools[{index}]");
        match tool {
            Tool::Function(function) => function_tool(function, &path, &mut list, &mut out.dropped)?,
            Tool::Native { dialect: Dialect::Bedrock, value } => list.push(value),
            Tool::Native { dialect: Dialect::Anthropic, value } if family.speaks_anthropic => {
                out.own.push(value)
            }
            Tool::Native { .. } => out.dropped.push(path),
        }
    }
    if list.is_empty() {
        list.extend(called.iter().map(|name| gone(name)));
    }
    let chosen = choice.and_then(|choice| choice_value(choice, &mut out.dropped));
    if list.is_empty() {
        out.dropped.extend(chosen.map(|_| "tool_choice".to_owned()));
        return Ok(out);
    }
    let mut config = json!({"tools": list});
    if let Some(chosen) = chosen {
        config["toolChoice"] = chosen;
    }
    out.config = Some(config);
    Ok(out)
}

fn function_tool(
    function: Function,
    path: &str,
    list: &mut Vec<Value>,
    dropped: &mut Vec<String>,
) -> Result<(), ApiError> {
    let Function { name, description, parameters, strict, cache } = function;
    if name.is_empty() {
        let path = format!("{path}.function.name");
        let message = format!("`{path}` is empty; write the function's name");
        return Err(ApiError::bad_request(&path, "missing_tool_name", message));
    }
    let mut schema = match parameters {
        Some(Value::Object(schema)) => schema,
        None | Some(Value::Null) => Map::from_iter([("properties".to_owned(), json!({}))]),
        Some(_) => {
            let path = format!("{path}.function.parameters");
            let message =
                format!("`{path}` must be a JSON schema, which is an object; write one or leave it out");
            return Err(ApiError::bad_request(&path, "invalid_type", message));
        }
    };
    // Converse refuses schemas that do not say so.
    schema.entry("type").or_insert_with(|| "object".into());
    let mut spec = json!({"name": name});
    if let Some(description) = description.filter(|description| !description.is_empty()) {
        spec["description"] = description.into();
    }
    spec["inputSchema"] = json!({"json": schema});
    if strict == Some(true) {
        spec["strict"] = true.into();
    }
    list.push(json!({"toolSpec": spec}));
    list.extend(cache.map(|cache| cache_point(cache, path, dropped)));
    Ok(())
}

/// A tool of earlier turns that is not offered any more.
fn gone(name: &str) -> Value {
    json!({"toolSpec": {
        "name": name,
        "description": "Was available earlier in this conversation and is no more.",
        "inputSchema": {"json": {"type": "object", "properties": {}}},
    }})
}

fn choice_value(choice: ToolChoice, dropped: &mut Vec<String>) -> Option<Value> {
    match choice {
        ToolChoice::Auto => Some(json!({"auto": {}})),
        ToolChoice::Required => Some(json!({"any": {}})),
        ToolChoice::Function(name) => Some(json!({"tool": {"name": name}})),
        ToolChoice::Native { dialect: Dialect::Bedrock, value } => Some(value),
        ToolChoice::None | ToolChoice::Native { .. } => {
            dropped.push("tool_choice".to_owned());
            None
        }
    }
}

/// Most characters of the id of a call.
const LONGEST_ID: usize = 64;

/// The id of a call as Converse takes it: other providers' may be longer or have other characters. Same id, same
/// answer, so that results find their calls.
pub(super) fn id(id: &str) -> String {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    if (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(fits) {
        return id.to_owned();
    }
    lenient::call_id(&[id])
}
