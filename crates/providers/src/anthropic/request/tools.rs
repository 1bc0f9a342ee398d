//! Tools and their choice, for providers.

use domain::ApiError;
use serde_json::{Map, Value, json};

use super::super::model::Model;
use super::write::Report;
use super::{schema, turns};
use crate::chat::{Dialect, Function, Tool, ToolChoice};
use crate::fields::wrong_type;

/// What is said of tools.
pub(super) struct Tools {
    tools: Vec<Value>,
    choice: Option<Value>,
}

impl Tools {
    /// Writes tools and choice. A choice without tools says nothing.
    pub(super) fn write(
        tools: Vec<Tool>,
        choice: Option<ToolChoice>,
        parallel: Option<bool>,
        report: &mut Report<'_>,
    ) -> Result<Self, ApiError> {
        let mut written = Vec::with_capacity(tools.len());
        for (index, tool) in tools.into_iter().enumerate() {
            match tool {
                Tool::Function(function) => written.push(definition(function, index, report)?),
                Tool::Native { dialect: Dialect::Anthropic, value } => written.push(value),
                Tool::Native { .. } => report.leave_out(format!("tools[{index}]")),
            }
        }
        if written.is_empty() {
            if choice.is_some_and(|choice| !matches!(choice, ToolChoice::Auto | ToolChoice::None)) {
                report.leave_out("tool_choice");
            }
            return Ok(Self { tools: written, choice: None });
        }
        let mut chosen = match choice {
            None => None,
            Some(ToolChoice::Auto) => Some(json!({ "type": "auto" })),
            Some(ToolChoice::None) => Some(json!({ "type": "none" })),
            Some(ToolChoice::Required) => Some(json!({ "type": "any" })),
            Some(ToolChoice::Function(name)) => Some(json!({ "type": "tool", "name": name })),
            Some(ToolChoice::Native { dialect: Dialect::Anthropic, value }) => Some(value),
            Some(ToolChoice::Native { .. }) => {
                report.leave_out("tool_choice");
                None
            }
        };
        if parallel == Some(false) {
            let choice = chosen.get_or_insert_with(|| json!({ "type": "auto" }));
            if choice["type"] != "none" {
                choice["disable_parallel_tool_use"] = true.into();
            }
        }
        Ok(Self { tools: written, choice: chosen })
    }

    /// Whether a tool has to be called.
    pub(super) fn is_forced(&self) -> bool {
        self.choice.as_ref().is_some_and(|choice| choice["type"] == "any" || choice["type"] == "tool")
    }

    /// Leaves the choice to models that cannot be forced.
    pub(super) fn fit(&mut self, model: Model, report: &mut Report<'_>) {
        if !self.is_forced() || !model.always_thinks() {
            return;
        }
        report.leave_out("tool_choice");
        if let Some(choice) = self.choice.as_mut().and_then(Value::as_object_mut) {
            choice.shift_remove("name");
            choice.insert("type".to_owned(), "auto".into());
        }
    }

    /// Adds them to the body.
    pub(super) fn put(self, body: &mut Map<String, Value>) {
        if !self.tools.is_empty() {
            body.insert("tools".to_owned(), self.tools.into());
        }
        body.extend(self.choice.map(|choice| ("tool_choice".to_owned(), choice)));
    }
}

/// A function as a tool. A function without parameters takes an empty object.
fn definition(function: Function, index: usize, report: &mut Report<'_>) -> Result<Value, ApiError> {
    let Function { name, description, parameters, strict, cache } = function;
    let path = format!("tools[{index}].function");
    if name.is_empty() {
        return Err(report.refuse(
            &format!("{path}.name"),
            "invalid_value",
            "is empty; write the tool's name",
        ));
    }
    let path = format!("{path}.parameters");
    let mut schema = match parameters {
        None => Map::new(),
        Some(Value::Object(schema)) => schema,
        Some(other) => return Err(wrong_type(&path, "a JSON schema, which is an object,", &other)),
    };
    if !schema.contains_key("type") {
        schema.shift_insert(0, "type".to_owned(), "object".into());
    }
    if schema.len() == 1 {
        schema.insert("properties".to_owned(), json!({}));
    }
    let mut schema = Value::Object(schema);
    if strict == Some(true) {
        schema = schema::fitted(schema, &path, report);
    }
    let mut tool = Map::new();
    tool.insert("name".to_owned(), name.into());
    tool.extend(description.map(|text| ("description".to_owned(), text.into())));
    tool.insert("input_schema".to_owned(), schema);
    if strict == Some(true) {
        tool.insert("strict".to_owned(), true.into());
    }
    tool.extend(cache.map(|cache| ("cache_control".to_owned(), turns::cache_control(cache))));
    Ok(Value::Object(tool))
}
