//! A JSON object whose fields are taken one by one; errors name the place.

use domain::ApiError;
use serde_json::{Map, Number, Value};

/// What is left of an object. A `null` counts as absent, as it does at OpenAI.
pub(super) struct Fields {
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// The object at this place; the whole body has the path "".
    pub(super) fn new(value: Value, path: &str) -> Result<Self, ApiError> {
        match value {
            Value::Object(map) => Ok(Self { path: path.to_owned(), map }),
            other => Err(wrong_type(path, &other, "an object")),
        }
    }

    /// Where a field of it is.
    pub(super) fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where it is itself.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether there is such a field, and it is not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// A text, without taking it.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.map.get(name).and_then(Value::as_str)
    }

    /// The `type`, without taking it.
    pub(super) fn kind(&self) -> Option<&str> {
        self.text("type")
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.shift_remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn string(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(&self.at(name), &other, "a string")),
        }
    }

    /// A string that has to be there; `fix` says what to write.
    pub(super) fn required(&mut self, name: &str, fix: &str) -> Result<String, ApiError> {
        self.string(name)?.ok_or_else(|| missing(&self.at(name), fix))
    }

    /// A string that has to be there and to say something.
    pub(super) fn required_name(&mut self, name: &str, fix: &str) -> Result<String, ApiError> {
        match self.required(name, fix)? {
            text if text.is_empty() => Err(invalid(&self.at(name), format!("is empty: {fix}"))),
            text => Ok(text),
        }
    }

    pub(super) fn bool(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(yes)) => Ok(Some(yes)),
            Some(other) => Err(wrong_type(&self.at(name), &other, "true or false")),
        }
    }

    pub(super) fn count(&mut self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_u64() {
            Some(count) => Ok(Some(count)),
            None => Err(wrong_type(&self.at(name), &value, "a whole number, 0 or more")),
        }
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<Number>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(other) => Err(wrong_type(&self.at(name), &other, "a number")),
        }
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(wrong_type(&self.at(name), &other, "a list")),
        }
    }

    pub(super) fn object(&mut self, name: &str) -> Result<Option<Self>, ApiError> {
        let path = self.at(name);
        self.take(name).map(|value| Self::new(value, &path)).transpose()
    }

    /// Reports what nobody has taken, but for what says nothing (`null`, `[]`).
    pub(super) fn report(self, dropped: &mut Vec<String>) {
        for (name, value) in &self.map {
            if !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()) {
                dropped.push(self.at(name));
            }
        }
    }

    /// The object itself, what was taken out of it excepted.
    pub(super) fn into_map(self) -> Map<String, Value> {
        self.map
    }
}

/// A field that has to be there is not.
pub(super) fn missing(path: &str, fix: &str) -> ApiError {
    ApiError::bad_request(path, "missing_required_parameter", format!("`{path}` is missing: {fix}"))
}

/// A field's value is not one of those that it may have. `wrong` follows the name of the field.
pub(super) fn invalid(path: &str, wrong: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(path, "invalid_value", format!("`{path}` {wrong}"))
}

/// A field that is served by its owner only.
pub(super) fn unsupported(path: &str, wrong: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(path, "unsupported_parameter", format!("`{path}` {wrong}"))
}

/// A field's value is of the wrong type.
pub(super) fn wrong_type(path: &str, value: &Value, wanted: &str) -> ApiError {
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    let name = if path.is_empty() { "the body".to_owned() } else { format!("`{path}`") };
    ApiError::bad_request(path, "invalid_type", format!("{name} is {is}: write {wanted}"))
}
