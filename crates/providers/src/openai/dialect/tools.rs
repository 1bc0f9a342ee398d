//! Reading tools and the choice among them.

use domain::ApiError;
use serde_json::Value;

use super::parts;
use crate::chat::{Dialect, Function, Tool, ToolChoice};
use crate::fields::{Fields, listed, quoted, unknown_word, wrong, wrong_type};
use crate::schema::check_parameters;

/// Reads `tools` and the older `functions`.
pub(super) fn read(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<Vec<Tool>, ApiError> {
    let mut tools = Vec::new();
    for (n, value) in fields.array("tools")?.unwrap_or_default().into_iter().enumerate() {
        tools.push(tool(value, format!("tools[{n}]"), dropped)?);
    }
    for (n, value) in fields.array("functions")?.unwrap_or_default().into_iter().enumerate() {
        let function = Fields::of(value, format!("functions[{n}]"))?;
        tools.push(Tool::Function(self::function(function, dropped)?));
    }
    Ok(tools)
}

fn tool(value: Value, at: String, dropped: &mut Vec<String>) -> Result<Tool, ApiError> {
    let whole = value.clone();
    let mut fields = Fields::of(value, at)?;
    let kind = fields.required("type", "write `function`, and the function as `function`")?;
    if kind != "function" {
        return native(kind, fields, whole);
    }
    let function = fields
        .object("function")?
        .ok_or_else(|| fields.missing("function", "give its `name`, `description` and `parameters`"))?;
    let mut function = self::function(function, dropped)?;
    if let Some(cache) = parts::cache(&mut fields, dropped)? {
        function.cache = Some(cache);
    }
    fields.report(dropped);
    Ok(Tool::Function(function))
}

/// A tool of a provider's own. Portkey's form `{"type": "computer", "computer": {"name": "computer_20250124", …}}` is
/// Anthropic's `{"type": "computer_20250124", "name": "computer", …}`; Anthropic's own form is taken as well.
fn native(kind: String, mut fields: Fields, whole: Value) -> Result<Tool, ApiError> {
    if kind == "custom" {
        let mut custom = fields
            .object("custom")?
            .ok_or_else(|| fields.missing("custom", "give its `name` and `description`"))?;
        custom.required("name", "name the tool")?;
        return Ok(Tool::Native { dialect: Dialect::OpenAi, value: whole });
    }
    let cache_control = whole.get("cache_control").filter(|value| !value.is_null()).cloned();
    match fields.take(&kind) {
        Some(Value::Object(mut options)) => {
            let Some(typed) = options.shift_remove("name").filter(Value::is_string) else {
                return Ok(Tool::Native { dialect: Dialect::OpenAi, value: whole });
            };
            let mut value = serde_json::Map::new();
            value.insert("type".to_owned(), typed);
            value.insert("name".to_owned(), Value::String(kind));
            value.extend(options);
            if let Some(cache_control) = cache_control {
                value.insert("cache_control".to_owned(), cache_control);
            }
            Ok(Tool::Native { dialect: Dialect::Anthropic, value: Value::Object(value) })
        }
        Some(other) => Err(wrong_type(&fields.path(&kind), "an object with the tool's settings", &other)),
        None if whole.get("name").is_some_and(Value::is_string) => {
            Ok(Tool::Native { dialect: Dialect::Anthropic, value: whole })
        }
        None => Ok(Tool::Native { dialect: Dialect::OpenAi, value: whole }),
    }
}

fn function(mut fields: Fields, dropped: &mut Vec<String>) -> Result<Function, ApiError> {
    let name = fields.required("name", "name the function")?;
    if name.is_empty() {
        return Err(wrong(&fields.path("name"), "invalid_value", "is empty: name the function"));
    }
    let description = fields.string("description")?;
    let strict = fields.flag("strict")?;
    let cache = parts::cache(&mut fields, dropped)?;
    let parameters = fields.take("parameters");
    if let Some(schema) = &parameters {
        check_parameters(schema, &fields.path("parameters"))?;
    }
    fields.report(dropped);
    Ok(Function { name, description, parameters, strict, cache })
}

/// Reads `tool_choice` and the older `function_call`.
pub(super) fn choice(fields: &mut Fields, tools: &[Tool]) -> Result<Option<ToolChoice>, ApiError> {
    let older = fields.take("function_call");
    let (value, at) = match fields.take("tool_choice") {
        Some(value) => (value, "tool_choice"),
        None => match older {
            Some(value) => (value, "function_call"),
            None => return Ok(None),
        },
    };
    let choice = match value {
        Value::String(word) => by_word(&word, at)?,
        Value::Object(_) => by_name(value, at, tools)?,
        other => return Err(wrong_type(at, "a word or an object", &other)),
    };
    if tools.is_empty() && !matches!(choice, ToolChoice::Auto | ToolChoice::None) {
        return Err(wrong(at, "invalid_value", "asks for a tool, but `tools` has none: give the tools"));
    }
    Ok(Some(choice))
}

fn by_word(word: &str, at: &str) -> Result<ToolChoice, ApiError> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        // The second is Mistral's and Anthropic's word for it.
        "required" | "any" => Ok(ToolChoice::Required),
        _ => Err(unknown_word(at, word, "`auto`, `none`, `required` or an object that names the tool")),
    }
}

fn by_name(value: Value, at: &str, tools: &[Tool]) -> Result<ToolChoice, ApiError> {
    let whole = value.clone();
    let mut fields = Fields::of(value, at)?;
    // `function_call` names the function right here and has no type.
    let kind = if at == "function_call" { None } else { fields.string("type")? };
    let mut named = match kind.as_deref() {
        None if at == "function_call" => fields,
        None | Some("function") => fields.object("function")?.ok_or_else(|| {
            fields.missing("function", "write {\"type\": \"function\", \"function\": {\"name\": …}}")
        })?,
        Some("custom") => fields
            .object("custom")?
            .ok_or_else(|| fields.missing("custom", "name the tool as `custom.name`"))?,
        Some("auto" | "none" | "any" | "required") => {
            return by_word(kind.as_deref().unwrap_or_default(), at);
        }
        Some("allowed_tools") => return allowed(fields, whole, tools),
        Some(_) => return Ok(ToolChoice::Native { dialect: Dialect::OpenAi, value: whole }),
    };
    let name = named.required("name", "name the tool")?;
    must_exist(&name, &named.path("name"), tools)?;
    if kind.as_deref() == Some("custom") {
        return Ok(ToolChoice::Native { dialect: Dialect::OpenAi, value: whole });
    }
    Ok(ToolChoice::Function(name))
}

/// A choice among some of the tools.
fn allowed(mut fields: Fields, whole: Value, tools: &[Tool]) -> Result<ToolChoice, ApiError> {
    let fix = "give `mode` and `tools`";
    let mut set = fields.object("allowed_tools")?.ok_or_else(|| fields.missing("allowed_tools", fix))?;
    let path = set.path("tools");
    for (n, tool) in set.array("tools")?.unwrap_or_default().iter().enumerate() {
        let kind = tool.get("type").and_then(Value::as_str).unwrap_or("function");
        let name = tool.get(kind).and_then(|named| named.get("name")).and_then(Value::as_str);
        if let Some(name) = name {
            must_exist(name, &format!("{path}[{n}].{kind}.name"), tools)?;
        }
    }
    Ok(ToolChoice::Native { dialect: Dialect::OpenAi, value: whole })
}

fn must_exist(name: &str, path: &str, tools: &[Tool]) -> Result<(), ApiError> {
    let mut names = tools.iter().filter_map(tool_name);
    if names.any(|known| known == name) {
        return Ok(());
    }
    let names = listed(tools.iter().filter_map(tool_name));
    let words = format!("is {}, but no tool has that name (tools: {names})", quoted(name));
    Err(wrong(path, "unknown_tool", words))
}

fn tool_name(tool: &Tool) -> Option<&str> {
    match tool {
        Tool::Function(function) => Some(&function.name),
        Tool::Native { value, .. } => {
            let named = value.get("custom").unwrap_or(value);
            named.get("name").and_then(Value::as_str)
        }
    }
}
