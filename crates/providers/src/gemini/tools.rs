//! `tools` and `toolConfig`.

use domain::ApiError;
use serde_json::{Map, Value, json};

use super::request::Context;
use super::schema;
use crate::chat::{Dialect, Function, Tool, ToolChoice};

/// Google's own tools. Callers of OpenAI's dialect ask for them by a function of that name, with the tool's options as
/// its parameters, or by a tool of that type.
const NATIVE: [&str; 8] = [
    "codeExecution",
    "computerUse",
    "enterpriseWebSearch",
    "fileSearch",
    "googleMaps",
    "googleSearch",
    "googleSearchRetrieval",
    "urlContext",
];

/// Adds `tools` and `toolConfig` to the body. `search` is OpenAI's `web_search_options`.
pub(super) fn write(
    tools: Vec<Tool>,
    choice: Option<ToolChoice>,
    search: Option<Value>,
    cx: &mut Context<'_>,
    body: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    let (mut functions, mut native, mut strict) = (Vec::new(), Vec::new(), false);
    for (at, tool) in tools.into_iter().enumerate() {
        let path = format!("tools[{at}]");
        match tool {
            Tool::Function(Function { name, parameters, cache, .. })
                if native_name(&name).is_some() && !has_properties(parameters.as_ref()) =>
            {
                cx.drop_if(format!("{path}.cache_control"), cache.is_some());
                native.extend(native_name(&name).map(|name| json!({name: options(parameters)})));
            }
            Tool::Function(function) => {
                strict |= function.strict == Some(true);
                functions.push(declaration(function, &path, cx)?);
            }
            Tool::Native { dialect: Dialect::Gemini, value } => native.push(value),
            Tool::Native { value, .. } => match typed(&value) {
                Some(tool) => native.push(tool),
                None => cx.drop(path),
            },
        }
    }
    if let Some(Value::Object(options)) = search {
        options.keys().for_each(|name| cx.drop(format!("web_search_options.{name}")));
        if !native.iter().any(|tool| tool.get("googleSearch").is_some()) {
            native.push(json!({"googleSearch": {}}));
        }
    }
    let has_functions = !functions.is_empty();
    if has_functions {
        native.insert(0, json!({"functionDeclarations": functions}));
    }
    if !native.is_empty() {
        body.insert("tools".to_owned(), Value::Array(native));
    }
    if let Some(config) = config(choice, has_functions, strict, cx) {
        body.insert("toolConfig".to_owned(), config);
    }
    Ok(())
}

/// Google's name of its own tool, from that name or its snake case.
fn native_name(name: &str) -> Option<&'static str> {
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let is_snake = !name.contains(|c: char| c.is_ascii_uppercase());
    NATIVE.into_iter().find(|native| *native == name || is_snake && plain(native) == plain(name))
}

/// Whether a function has arguments of its own: then it is the caller's, whatever its name.
fn has_properties(parameters: Option<&Value>) -> bool {
    let properties = parameters.and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    properties.is_some_and(|properties| !properties.is_empty())
}

/// A native tool's options; a schema without properties is none.
fn options(parameters: Option<Value>) -> Value {
    match parameters {
        Some(Value::Object(options)) if !options.contains_key("type") => Value::Object(options),
        _ => json!({}),
    }
}

/// A tool of a type of ours, `{"type": "google_search", "google_search": {…}}`.
fn typed(tool: &Value) -> Option<Value> {
    let kind = tool.get("type")?.as_str()?;
    let name = native_name(kind)?;
    Some(json!({name: options(tool.get(kind).cloned())}))
}

fn declaration(function: Function, path: &str, cx: &mut Context<'_>) -> Result<Value, ApiError> {
    // `strict` is said by the mode of calling.
    let Function { name, description, parameters, strict: _, cache } = function;
    let path = format!("{path}.function");
    cx.drop_if(format!("{path}.cache_control"), cache.is_some());
    if name.is_empty() {
        let param = format!("{path}.name");
        let message = format!("`{param}` is missing: every function needs a name");
        return Err(ApiError::bad_request(&param, "missing_tool_name", message));
    }
    let mut declaration = Map::from_iter([("name".to_owned(), Value::from(name))]);
    if let Some(description) = description {
        declaration.insert("description".to_owned(), Value::from(description));
    }
    let param = format!("{path}.parameters");
    match parameters {
        None | Some(Value::Null) => {}
        Some(schema @ Value::Object(_)) => {
            let (mut schema, lost) = schema::convert(&schema, &param);
            lost.into_iter().for_each(|path| cx.drop(path));
            let is_empty = schema.get("properties").is_none()
                && schema.get("anyOf").is_none()
                && schema.get("oneOf").is_none()
                && !matches!(schema.get("additionalProperties"), Some(Value::Bool(true) | Value::Object(_)));
            if !is_empty {
                if let Value::Object(words) = &mut schema {
                    words.entry("type").or_insert(Value::from("object"));
                }
                declaration.insert("parametersJsonSchema".to_owned(), schema);
            }
        }
        Some(_) => {
            let message = format!(
                "`{param}` has to be a JSON schema, that is an object such as {{\"type\": \"object\"}}"
            );
            return Err(ApiError::bad_request(&param, "invalid_tool_schema", message));
        }
    }
    Ok(Value::Object(declaration))
}

/// `functionCallingConfig`. With strict functions `VALIDATED` stands for `AUTO`: the model may call as it likes, but
/// keeps to the schemas.
fn config(
    choice: Option<ToolChoice>,
    has_functions: bool,
    strict: bool,
    cx: &mut Context<'_>,
) -> Option<Value> {
    let free = if strict { "VALIDATED" } else { "AUTO" };
    let (mode, names) = match choice {
        None if strict => (free, None),
        None => return None,
        Some(ToolChoice::Auto) => (free, None),
        Some(ToolChoice::None) => ("NONE", None),
        Some(ToolChoice::Required) => ("ANY", None),
        Some(ToolChoice::Function(name)) => ("ANY", Some(vec![name])),
        Some(ToolChoice::Native { dialect: Dialect::Gemini, value }) => return Some(value),
        Some(ToolChoice::Native { value, .. }) => match allowed(&value) {
            Some((true, names)) => ("ANY", Some(names)),
            Some((false, names)) => ("VALIDATED", Some(names)),
            None => {
                cx.drop("tool_choice");
                return None;
            }
        },
    };
    if !has_functions {
        // Without functions Gemini refuses a mode.
        cx.drop_if("tool_choice", mode == "ANY");
        return None;
    }
    let mut config = json!({"mode": mode});
    if let Some(names) = names {
        config["allowedFunctionNames"] = Value::from(names);
    }
    Some(json!({"functionCallingConfig": config}))
}

/// OpenAI's `allowed_tools`: whether one has to be called, and the functions. None if it lists anything else.
fn allowed(choice: &Value) -> Option<(bool, Vec<String>)> {
    let inner = choice.get("allowed_tools").unwrap_or(choice);
    let is_ours = choice.get("type").and_then(Value::as_str) == Some("allowed_tools");
    let tools = inner.get("tools").and_then(Value::as_array).filter(|tools| is_ours && !tools.is_empty())?;
    let name = |tool: &Value| {
        let function = tool.get("function").unwrap_or(tool);
        Some(function.get("name")?.as_str()?.to_owned())
    };
    let required = inner.get("mode").and_then(Value::as_str) == Some("required");
    Some((required, tools.iter().map(name).collect::<Option<Vec<_>>>()?))
}
