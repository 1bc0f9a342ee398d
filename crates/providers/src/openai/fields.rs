//! Taking JSON objects apart, with errors that name the place.

use domain::ApiError;
use serde_json::{Map, Number, Value};

/// A JSON object whose fields are taken out one by one, so that what nobody asked for is left.
#[derive(Debug)]
pub(super) struct Fields {
    at: String,
    map: Map<String, Value>,
}

/// A refusal that names the place: "`messages[0].role` is missing".
pub(super) fn wrong(path: &str, code: &str, words: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(path, code, format!("`{path}` {words}"))
}

/// What kind of value this is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A refusal of a value of the wrong kind.
pub(super) fn not(path: &str, wanted: &str, value: &Value) -> ApiError {
    wrong(path, "invalid_type", format_args!("must be {wanted}, not {}", kind(value)))
}

impl Fields {
    /// The fields of a request's body.
    pub(super) fn of_body(body: &[u8]) -> Result<Self, ApiError> {
        let value: Value = serde_json::from_slice(body).map_err(|err| {
            let place = format!("line {}, column {}", err.line(), err.column());
            ApiError::bad_request("body", "invalid_json", format!("the body is not JSON: see {place}"))
        })?;
        match value {
            Value::Object(map) => Ok(Self { at: String::new(), map }),
            other => Err(ApiError::bad_request(
                "body",
                "invalid_json",
                format!("the body must be a JSON object, not {}", kind(&other)),
            )),
        }
    }

    /// The fields of an object at a place.
    pub(super) fn of(value: Value, at: impl Into<String>) -> Result<Self, ApiError> {
        let at = at.into();
        match value {
            Value::Object(map) => Ok(Self { at, map }),
            other => Err(not(&at, "an object", &other)),
        }
    }

    /// Where a field of that name is.
    pub(super) fn path(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    /// A field as it is. Null counts as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Puts a field back.
    pub(super) fn put(&mut self, name: &str, value: Value) {
        self.map.insert(name.to_owned(), value);
    }

    /// A refusal because a field is missing.
    pub(super) fn missing(&self, name: &str, fix: &str) -> ApiError {
        wrong(&self.path(name), "missing_required_parameter", format_args!("is missing: {fix}"))
    }

    pub(super) fn string(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(not(&self.path(name), "a string", &other)),
        }
    }

    /// A string that must be there; `fix` says what to write.
    pub(super) fn required(&mut self, name: &str, fix: &str) -> Result<String, ApiError> {
        self.string(name)?.ok_or_else(|| self.missing(name, fix))
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(not(&self.path(name), "true or false", &other)),
        }
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<Number>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(other) => Err(not(&self.path(name), "a number", &other)),
        }
    }

    /// A whole number that is at least `least`.
    pub(super) fn whole(&mut self, name: &str, least: u64) -> Result<Option<u64>, ApiError> {
        let Some(number) = self.number(name)? else { return Ok(None) };
        match number.as_u64() {
            Some(whole) if whole >= least => Ok(Some(whole)),
            _ => {
                let words = format_args!("must be a whole number from {least} up, not {number}");
                Err(wrong(&self.path(name), "invalid_value", words))
            }
        }
    }

    pub(super) fn object(&mut self, name: &str) -> Result<Option<Fields>, ApiError> {
        let path = self.path(name);
        self.take(name).map(|value| Self::of(value, path)).transpose()
    }

    pub(super) fn array(&mut self, name: &str) -> Result<Option<Vec<Value>>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(other) => Err(not(&self.path(name), "an array", &other)),
        }
    }

    /// An array of strings.
    pub(super) fn strings(&mut self, name: &str) -> Result<Vec<String>, ApiError> {
        let path = self.path(name);
        let values = self.array(name)?.unwrap_or_default();
        let string = |(n, value)| match value {
            Value::String(text) => Ok(text),
            other => Err(not(&format!("{path}[{n}]"), "a string", &other)),
        };
        values.into_iter().enumerate().map(string).collect()
    }

    /// What was not taken, as it is.
    pub(super) fn into_map(self) -> Map<String, Value> {
        self.map
    }

    /// Reports what was not taken. Null and empty lists say nothing.
    pub(super) fn report(self, dropped: &mut Vec<String>) {
        let says_something = |value: &Value| match value {
            Value::Null => false,
            Value::Array(values) => !values.is_empty(),
            _ => true,
        };
        let left = self.map.iter().filter(|(_, value)| says_something(value));
        dropped.extend(left.map(|(name, _)| self.path(name)));
    }
}
