//! Tools, the choice among them, and structured output.
//! Source: platform.openai.com/docs/guides/structured-outputs, "Supported schemas".

use domain::ApiError;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{invalid, missing};
use crate::chat::{Choice, Tool};
use crate::sample::{any_object, dangling_ref};

/// Most tools in a request.
const MAX_TOOLS: usize = 128;

/// Reads a part of the body that is not always there.
pub(crate) fn value(field: &str, raw: Option<&RawValue>) -> Result<Option<Value>, ApiError> {
    let Some(raw) = raw else { return Ok(None) };
    let value = serde_json::from_str(raw.get()).map_err(|err| invalid(field, &err.to_string()))?;
    Ok(Some(value).filter(|value: &Value| !value.is_null()))
}

/// Reads functions; each stands below `inner` in its element, or is the element itself.
pub(crate) fn tools(tools: Option<&Value>, inner: Option<&str>) -> Result<Vec<Tool>, ApiError> {
    let Some(tools) = tools else { return Ok(Vec::new()) };
    let expected = format!("write an array of 1 to {MAX_TOOLS} tools");
    let list = tools.as_array().filter(|list| (1..=MAX_TOOLS).contains(&list.len()));
    let mut found = Vec::new();
    for (at, tool) in list.ok_or_else(|| invalid("tools", &expected))?.iter().enumerate() {
        let place = format!("tools[{at}]");
        match tool["type"].as_str() {
            Some("function") => {}
            // Tools that run at the provider are taken, and not called.
            Some(_) if inner.is_none() => continue,
            _ => return Err(invalid(&format!("{place}.type"), "write `function`")),
        }
        let (place, function) = match inner {
            Some(inner) => (format!("{place}.{inner}"), &tool[inner]),
            None => (place, tool),
        };
        found.push(function_tool(&place, function)?);
    }
    Ok(found)
}

fn function_tool(place: &str, function: &Value) -> Result<Tool, ApiError> {
    let name =
        function["name"].as_str().ok_or_else(|| missing(&format!("{place}.name"), "name the function"))?;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(word) {
        let fix = "a name has 1 to 64 letters, digits, `_` and `-`";
        return Err(invalid(&format!("{place}.name"), fix));
    }
    let empty = Value::Object(serde_json::Map::new());
    let schema = function.get("parameters").filter(|schema| !schema.is_null()).unwrap_or(&empty);
    let place = format!("{place}.parameters");
    let strict = function["strict"].as_bool().unwrap_or(false);
    check_schema(&place, "invalid_function_parameters", schema, strict)?;
    if schema.get("type").is_some_and(|kind| kind != "object") {
        return Err(bad_schema(&place, "invalid_function_parameters", "its type must be `object`"));
    }
    Ok(Tool { name: name.to_owned(), schema: schema.clone() })
}

/// Reads `tool_choice`; a named tool stands below `inner`, or beside `type`.
pub(crate) fn choice(
    choice: Option<&Value>,
    tools: &[Tool],
    any: bool,
    inner: Option<&str>,
) -> Result<Choice, ApiError> {
    let Some(choice) = choice else { return Ok(Choice::Auto) };
    if !any {
        return Err(invalid("tool_choice", "'tool_choice' is only allowed when 'tools' are specified"));
    }
    match choice {
        Value::String(word) if word == "none" => return Ok(Choice::None),
        Value::String(word) if word == "auto" => return Ok(Choice::Auto),
        Value::String(word) if word == "required" => return Ok(Choice::Any),
        Value::Object(object) if object.get("type").is_some_and(|kind| kind == "function") => {}
        _ => {
            let fix = "write `none`, `auto`, `required`, or {\"type\":\"function\", …} with a name";
            return Err(invalid("tool_choice", fix));
        }
    }
    let named = inner.map_or(choice, |inner| &choice[inner]);
    let place = inner.map_or("tool_choice.name".to_owned(), |inner| format!("tool_choice.{inner}.name"));
    let name = named["name"].as_str().ok_or_else(|| missing(&place, "name a tool"))?;
    if !tools.iter().any(|tool| tool.name == name) {
        return Err(invalid(&place, &format!("tool `{name}` is not in 'tools'")));
    }
    Ok(Choice::Named(name.to_owned()))
}

/// Reads `response_format`: the schema that the answer fits, if one is wanted.
pub(crate) fn response_format(format: Option<&Value>, says_json: bool) -> Result<Option<Value>, ApiError> {
    let Some(format) = format else { return Ok(None) };
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") if says_json => Ok(Some(any_object())),
        Some("json_object") => Err(invalid(
            "messages",
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'",
        )),
        Some("json_schema") => {
            let place = "response_format.json_schema";
            schema_of(place, "response_format", &format["json_schema"]).map(Some)
        }
        _ => Err(invalid("response_format.type", "write `text`, `json_object` or `json_schema`")),
    }
}

/// Reads `{"name","schema","strict"}`.
pub(crate) fn schema_of(place: &str, param: &str, wanted: &Value) -> Result<Value, ApiError> {
    if wanted["name"].as_str().is_none_or(str::is_empty) {
        return Err(missing(&format!("{place}.name"), "name the schema"));
    }
    let Some(schema) = wanted.get("schema").filter(|schema| schema.is_object()) else {
        return Err(missing(&format!("{place}.schema"), "write a JSON schema"));
    };
    check_schema(param, "invalid_json_schema", schema, wanted["strict"].as_bool().unwrap_or(false))?;
    Ok(schema.clone())
}

fn check_schema(param: &str, code: &str, schema: &Value, strict: bool) -> Result<(), ApiError> {
    if !schema.is_object() {
        return Err(bad_schema(param, code, "it must be an object"));
    }
    if let Some(target) = dangling_ref(schema) {
        return Err(bad_schema(
            param,
            code,
            &format!("reference to component `{target}` which was not found"),
        ));
    }
    match strict.then(|| loose(schema, true)).flatten() {
        Some(why) => Err(bad_schema(param, code, &why)),
        None => Ok(()),
    }
}

/// Why a schema is not strict: every object closes its names and, with `all`, requires all of them.
pub(crate) fn loose(schema: &Value, all: bool) -> Option<String> {
    match schema {
        Value::Object(object) => {
            let properties = object.get("properties").and_then(Value::as_object);
            if object.get("type").is_some_and(|kind| kind == "object") {
                if object.get("additionalProperties") != Some(&Value::Bool(false)) {
                    return Some(
                        "'additionalProperties' is required to be supplied and to be false".to_owned(),
                    );
                }
                let required = object.get("required").and_then(Value::as_array);
                let listed = |name: &str| required.is_some_and(|names| names.iter().any(|n| n == name));
                let left = properties.into_iter().flatten().map(|(name, _)| name).find(|name| !listed(name));
                if let Some(name) = left.filter(|_| all) {
                    return Some(format!(
                        "'required' is required to be an array with every key in properties: `{name}` is missing"
                    ));
                }
            }
            object.values().find_map(|value| loose(value, all))
        }
        Value::Array(list) => list.iter().find_map(|value| loose(value, all)),
        _ => None,
    }
}

fn bad_schema(param: &str, code: &str, why: &str) -> ApiError {
    ApiError::bad_request(param, code, format!("invalid schema in `{param}`: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(parameters: Value) -> Value {
        json!([{"type": "function", "function": {"name": "f", "parameters": parameters}}])
    }

    #[test]
    fn tools_that_openai_refuses_are_refused() {
        for (value, param) in [
            (json!([]), "tools"),
            (json!([{"type": "robot"}]), "tools[0].type"),
            (json!([{"type": "function", "function": {}}]), "tools[0].function.name"),
            (json!([{"type": "function", "function": {"name": "a b"}}]), "tools[0].function.name"),
            (tool(json!([])), "tools[0].function.parameters"),
            (tool(json!({"type": "string"})), "tools[0].function.parameters"),
            (tool(json!({"properties": {"a": {"$ref": "#/x"}}})), "tools[0].function.parameters"),
        ] {
            let err = tools(Some(&value), Some("function")).expect_err("refused");
            assert_eq!(err.param.as_deref(), Some(param), "{value}");
        }
        assert_eq!(tools(Some(&tool(json!({}))), Some("function")).expect("fine")[0].name, "f");
    }

    #[test]
    fn a_choice_needs_the_tool_it_names() {
        let known = [Tool { name: "f".to_owned(), schema: json!({}) }];
        let read = |value: Value, any| choice(Some(&value), &known, any, Some("function"));
        assert_eq!(read(json!("required"), true), Ok(Choice::Any));
        let named = |name: &str| json!({"type": "function", "function": {"name": name}});
        assert_eq!(read(named("f"), true), Ok(Choice::Named("f".to_owned())));
        assert_eq!(
            read(named("g"), true).expect_err("unknown").param.as_deref(),
            Some("tool_choice.function.name")
        );
        assert_eq!(read(json!("auto"), false).expect_err("no tools").param.as_deref(), Some("tool_choice"));
        read(json!("sometimes"), true).expect_err("no such word");
    }

    #[test]
    fn strict_schemas_close_every_object() {
        let format = |schema: Value| json!({"type": "json_schema", "json_schema": {"name": "s", "strict": true, "schema": schema}});
        let closed = json!({
            "type": "object", "additionalProperties": false, "required": ["a"],
            "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}},
        });
        assert_eq!(response_format(Some(&format(closed.clone())), false), Ok(Some(closed.clone())));
        let mut optional = closed.clone();
        optional["required"] = json!([]);
        let mut open = closed;
        open["$defs"]["x"] = json!({"type": "object"});
        for schema in [optional, open] {
            let err = response_format(Some(&format(schema)), false).expect_err("refused");
            assert_eq!(err.code.as_deref(), Some("invalid_json_schema"));
        }
        response_format(Some(&json!({"type": "json_object"})), false).expect_err("no word");
        assert!(response_format(Some(&json!({"type": "json_object"})), true).is_ok_and(|s| s.is_some()));
    }
}
