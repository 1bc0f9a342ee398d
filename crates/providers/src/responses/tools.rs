//! What the model may call, and whether it has to.

use domain::ApiError;
use serde_json::Value;

use super::content;
use super::fields::{Fields, invalid, wrong_type};
use crate::chat::{Dialect, Function, Tool, ToolChoice};
use crate::schema::check_parameters;

/// The tools. Those that only OpenAI runs stay whole.
pub(super) fn read(list: Vec<Value>, dropped: &mut Vec<String>) -> Result<Vec<Tool>, ApiError> {
    let tool = |(index, value): (usize, Value)| {
        let mut fields = Fields::new(value, &format!("tools[{index}]"))?;
        match fields.kind() {
            Some("function") => function(fields, dropped),
            Some(_) => {
                Ok(Tool::Native { dialect: Dialect::Responses, value: Value::Object(fields.into_map()) })
            }
            None => {
                fields.required("type", "write function, or a built-in tool's type")?;
                Err(invalid(&fields.at("type"), "names no type"))
            }
        }
    };
    list.into_iter().enumerate().map(tool).collect()
}

fn function(mut fields: Fields, dropped: &mut Vec<String>) -> Result<Tool, ApiError> {
    fields.take("type");
    if fields.has("function") {
        let fix = "is how chat completions write a function: write its fields beside `type`";
        return Err(invalid(&fields.at("function"), fix));
    }
    let parameters = fields.take("parameters");
    if let Some(other) = parameters.as_ref().filter(|schema| !schema.is_object()) {
        return Err(wrong_type(&fields.at("parameters"), other, "a JSON schema, an object"));
    }
    if let Some(schema) = &parameters {
        check_parameters(schema, &fields.at("parameters"))?;
    }
    let function = Function {
        name: fields.required_name("name", "write the function's name")?,
        description: fields.string("description")?,
        parameters,
        strict: fields.bool("strict")?,
        cache: content::cache(&mut fields)?,
    };
    fields.report(dropped);
    Ok(Tool::Function(function))
}

/// The choice. `allowed_tools` takes the others out of `tools`, which every format can say.
pub(super) fn read_choice(
    value: Value,
    tools: &mut Vec<Tool>,
    dropped: &mut Vec<String>,
) -> Result<ToolChoice, ApiError> {
    if let Value::String(word) = &value {
        return mode(word, "tool_choice");
    }
    let mut fields = Fields::new(value, "tool_choice")?;
    match fields.kind() {
        Some("function") => {
            fields.take("type");
            let name = fields.required_name("name", "write the function's name")?;
            if !has_function(tools, &name) {
                return Err(no_such_function(&fields.at("name"), &name));
            }
            fields.report(dropped);
            Ok(ToolChoice::Function(name))
        }
        Some("allowed_tools") => allowed(fields, tools),
        Some(_) => {
            Ok(ToolChoice::Native { dialect: Dialect::Responses, value: Value::Object(fields.into_map()) })
        }
        None => Err(invalid(
            "tool_choice",
            "has no type: write \"auto\", \"none\", \"required\", or {\"type\": …}",
        )),
    }
}

fn mode(word: &str, path: &str) -> Result<ToolChoice, ApiError> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" => Ok(ToolChoice::Required),
        other => Err(invalid(path, format!("is \"{other}\": write auto, none or required"))),
    }
}

fn allowed(mut fields: Fields, tools: &mut Vec<Tool>) -> Result<ToolChoice, ApiError> {
    let word = fields.required("mode", "write auto or required")?;
    let choice = mode(&word, &fields.at("mode"))?;
    let path = fields.at("tools");
    let Some(list) = fields.list("tools")? else {
        return Err(super::fields::missing(&path, "list the tools that may be called"));
    };
    if list.is_empty() {
        return Err(invalid(&path, "is empty: list the tools that may be called, or write \"none\""));
    }
    let mut keep = vec![false; tools.len()];
    for (index, value) in list.into_iter().enumerate() {
        let fields = Fields::new(value, &format!("{path}[{index}]"))?;
        let path = fields.path().to_owned();
        let wanted = fields.into_map();
        let mut found = false;
        for (tool, keep) in tools.iter().zip(&mut keep) {
            let is_it = match tool {
                Tool::Function(function) => {
                    wanted.get("type").and_then(Value::as_str) == Some("function")
                        && wanted.get("name").and_then(Value::as_str) == Some(&function.name)
                }
                // Every field that the choice names has to be the tool's: type, server_label, name.
                Tool::Native { value, .. } => {
                    wanted.contains_key("type")
                        && wanted.iter().all(|(name, wanted)| value.get(name) == Some(wanted))
                }
            };
            found |= is_it;
            *keep |= is_it;
        }
        if !found {
            return Err(invalid(&path, "is none of `tools`: name one of them"));
        }
    }
    let mut keep = keep.into_iter();
    tools.retain(|_| keep.next().unwrap_or(false));
    Ok(choice)
}

fn has_function(tools: &[Tool], name: &str) -> bool {
    tools.iter().any(|tool| matches!(tool, Tool::Function(function) if function.name == name))
}

fn no_such_function(path: &str, name: &str) -> ApiError {
    invalid(path, format!("is \"{name}\", but no function in `tools` has that name"))
}
