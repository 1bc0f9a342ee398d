//! Fields of a JSON object, taken one by one; what is left is known by its path.

use domain::ApiError;
use serde_json::{Map, Number, Value};

/// The fields of one object that were not taken yet. `null` counts as absent.
#[derive(Debug)]
pub(super) struct Fields {
    map: Map<String, Value>,
    path: String,
}

impl Fields {
    /// The fields of an object at that path (empty: the body itself).
    pub(super) fn of(value: Value, path: impl Into<String>) -> Result<Self, ApiError> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Self { map, path }),
            other => Err(wrong(&path, &other, "an object")),
        }
    }

    /// Where a field of that name is.
    pub(super) fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where the object is.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.shift_remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(&self.at(name), &other, "a string")),
        }
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(&self.at(name), &other, "true or false")),
        }
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<Number>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(other) => Err(wrong(&self.at(name), &other, "a number")),
        }
    }

    /// A whole number that is not negative.
    pub(super) fn count(&mut self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_u64().map(Some).ok_or_else(|| wrong(&self.at(name), &value, "a whole number from 0"))
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(wrong(&self.at(name), &other, "a list")),
        }
    }

    /// An object's fields.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Self>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        Self::of(value, self.at(name)).map(Some)
    }

    /// A field that has to be there.
    pub(super) fn need<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, &str) -> Result<Option<T>, ApiError>,
    ) -> Result<T, ApiError> {
        read(self, name)?.ok_or_else(|| missing(&self.at(name)))
    }

    /// What nobody took.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.map
    }

    /// Reports what nobody took. What is `null` or `false` asks for nothing.
    pub(super) fn report(self, dropped: &mut Vec<String>) {
        let asks = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
        let names = self.map.iter().filter(|(_, value)| asks(value)).map(|(name, _)| self.at(name));
        dropped.extend(names.collect::<Vec<_>>());
    }
}

/// A value has the wrong type.
pub(super) fn wrong(path: &str, value: &Value, wanted: &str) -> ApiError {
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    let place = if path.is_empty() { "the body".to_owned() } else { format!("`{path}`") };
    refused(path, "invalid_type", format!("{place} is {is}; write {wanted}"))
}

/// A value is missing.
pub(super) fn missing(path: &str) -> ApiError {
    refused(path, "missing_required_parameter", format!("`{path}` is missing; it is required"))
}

/// A value of a known set is none of it.
pub(super) fn unknown_word(path: &str, word: &str, known: &str) -> ApiError {
    let word: String = word.chars().take(64).collect();
    refused(path, "invalid_value", format!("`{path}` is `{word}`; write one of {known}"))
}

/// A 400 that names the field, if it is one.
pub(super) fn refused(path: &str, code: &str, message: impl Into<String>) -> ApiError {
    if path.is_empty() {
        ApiError::new(400, code, message)
    } else {
        ApiError::bad_request(path, code, message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nobody_took_is_known_by_its_path() {
        let value = json!({"a": 1, "b": null, "c": {"d": "x", "e": 2}, "f": false});
        let mut fields = Fields::of(value, "messages[0]").unwrap();
        assert_eq!(fields.count("a").unwrap(), Some(1));
        let mut inner = fields.object("c").unwrap().unwrap();
        assert_eq!(inner.text("d").unwrap().as_deref(), Some("x"));
        let mut dropped = Vec::new();
        inner.report(&mut dropped);
        fields.report(&mut dropped);
        assert_eq!(dropped, ["messages[0].c.e"]);
    }

    #[test]
    fn wrong_types_say_where_and_what_to_write() {
        let mut fields = Fields::of(json!({"a": -1}), "").unwrap();
        let err = fields.count("a").unwrap_err();
        assert_eq!(err.message, "`a` is a number; write a whole number from 0");
        assert_eq!(err.param.as_deref(), Some("a"));
        let err = Fields::of(json!([]), "").unwrap_err();
        assert_eq!((err.message.as_str(), err.param), ("the body is a list; write an object", None));
        let err = fields.need("b", Fields::text).unwrap_err();
        assert_eq!(err.message, "`b` is missing; it is required");
    }
}
