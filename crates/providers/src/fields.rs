//! Taking JSON objects apart, with errors that name the place.

use domain::ApiError;
use serde_json::{Map, Number, Value};

/// A JSON object whose fields are taken out one by one, so that what nobody asked for is left.
#[derive(Debug)]
pub(crate) struct Fields {
    at: String,
    map: Map<String, Value>,
}

/// Most of a caller's own word that is quoted, in characters.
const QUOTED: usize = 64;

/// A refusal that names the place: "`messages[0].role` is missing".
pub(crate) fn wrong(path: &str, code: &str, words: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(path, code, format!("`{path}` {words}"))
}

/// A refusal of a word that is none of those that may stand there. `known` says which may, as in "`user` or `tool`".
pub(crate) fn unknown_word(path: &str, word: &str, known: &str) -> ApiError {
    let word = quoted(word);
    wrong(path, "invalid_value", format_args!("is {word}, which is not known: write {known}"))
}

/// A caller's word as errors quote it: not more than its beginning.
pub(crate) fn quoted(word: &str) -> String {
    match word.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("`{}…`", &word[..end]),
        None => format!("`{word}`"),
    }
}

/// Names as errors list them: not more than the first few.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const LISTED: usize = 12;
    let mut names = names.into_iter();
    let mut list: Vec<String> = names.by_ref().take(LISTED).map(quoted).collect();
    let more = names.count();
    if more > 0 {
        list.push(format!("{more} more"));
    }
    if list.is_empty() { "none".to_owned() } else { list.join(", ") }
}

/// What kind of value this is, in words.
pub(crate) fn kind(value: &Value) -> &'static str {
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
pub(crate) fn wrong_type(path: &str, wanted: &str, value: &Value) -> ApiError {
    wrong(path, "invalid_type", format_args!("must be {wanted}, not {}", kind(value)))
}

impl Fields {
    /// The fields of a request's body.
    pub(crate) fn of_body(body: &[u8]) -> Result<Self, ApiError> {
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
    pub(crate) fn of(value: Value, at: impl Into<String>) -> Result<Self, ApiError> {
        let at = at.into();
        match value {
            Value::Object(map) => Ok(Self { at, map }),
            other => Err(wrong_type(&at, "an object", &other)),
        }
    }

    /// Where a field of that name is.
    pub(crate) fn path(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    /// A field as it is. Null counts as absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Puts a field back.
    pub(crate) fn put(&mut self, name: &str, value: Value) {
        self.map.insert(name.to_owned(), value);
    }

    /// Where the object is. Empty: it is the body.
    pub(crate) fn place(&self) -> &str {
        &self.at
    }

    /// A refusal because a field is missing.
    pub(crate) fn missing(&self, name: &str, fix: &str) -> ApiError {
        wrong(&self.path(name), "missing_required_parameter", format_args!("is missing: {fix}"))
    }

    pub(crate) fn string(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(&self.path(name), "a string", &other)),
        }
    }

    /// A string that must be there; `fix` says what to write.
    pub(crate) fn required(&mut self, name: &str, fix: &str) -> Result<String, ApiError> {
        self.string(name)?.ok_or_else(|| self.missing(name, fix))
    }

    /// A field that has to be there, read by one of the other functions.
    pub(crate) fn need<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, &str) -> Result<Option<T>, ApiError>,
    ) -> Result<T, ApiError> {
        read(self, name)?.ok_or_else(|| self.missing(name, "it is required"))
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong_type(&self.path(name), "true or false", &other)),
        }
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<Option<Number>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(other) => Err(wrong_type(&self.path(name), "a number", &other)),
        }
    }

    /// A whole number that is not negative.
    pub(crate) fn count(&mut self, name: &str) -> Result<Option<u64>, ApiError> {
        self.whole(name, 0)
    }

    /// A whole number that is at least `least`.
    pub(crate) fn whole(&mut self, name: &str, least: u64) -> Result<Option<u64>, ApiError> {
        let Some(number) = self.number(name)? else { return Ok(None) };
        match number.as_u64() {
            Some(whole) if whole >= least => Ok(Some(whole)),
            _ => {
                let words = format_args!("must be a whole number from {least} up, not {number}");
                Err(wrong(&self.path(name), "invalid_value", words))
            }
        }
    }

    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Fields>, ApiError> {
        let path = self.path(name);
        self.take(name).map(|value| Self::of(value, path)).transpose()
    }

    pub(crate) fn array(&mut self, name: &str) -> Result<Option<Vec<Value>>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(other) => Err(wrong_type(&self.path(name), "an array", &other)),
        }
    }

    /// An array of strings.
    pub(crate) fn strings(&mut self, name: &str) -> Result<Vec<String>, ApiError> {
        let path = self.path(name);
        let values = self.array(name)?.unwrap_or_default();
        let string = |(n, value)| match value {
            Value::String(text) => Ok(text),
            other => Err(wrong_type(&format!("{path}[{n}]"), "a string", &other)),
        };
        values.into_iter().enumerate().map(string).collect()
    }

    /// What was not taken, as it is.
    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.map
    }

    /// Reports what was not taken. Null, `false` and empty lists ask for nothing.
    pub(crate) fn report(self, dropped: &mut Vec<String>) {
        let asks = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(values) => !values.is_empty(),
            _ => true,
        };
        let left = self.map.iter().filter(|(_, value)| asks(value));
        dropped.extend(left.map(|(name, _)| self.path(name)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nobody_took_is_known_by_its_path() {
        let value = json!({"a": 1, "b": null, "c": {"d": "x", "e": 2}, "f": false, "g": []});
        let mut fields = Fields::of(value, "messages[0]").unwrap();
        assert_eq!(fields.count("a").unwrap(), Some(1));
        let mut inner = fields.object("c").unwrap().unwrap();
        assert_eq!(inner.string("d").unwrap().as_deref(), Some("x"));
        let mut dropped = Vec::new();
        inner.report(&mut dropped);
        fields.report(&mut dropped);
        assert_eq!(dropped, ["messages[0].c.e"]);
    }

    #[test]
    fn wrong_types_say_where_and_what_to_write() {
        let mut fields = Fields::of(json!({"a": -1}), "").unwrap();
        let err = fields.count("a").unwrap_err();
        assert_eq!(err.message, "`a` must be a whole number from 0 up, not -1");
        assert_eq!(err.param.as_deref(), Some("a"));
        let err = Fields::of_body(b"[]").unwrap_err();
        assert_eq!(err.message, "the body must be a JSON object, not an array");
        let err = fields.need("b", Fields::string).unwrap_err();
        assert_eq!(err.message, "`b` is missing: it is required");
    }

    #[test]
    fn of_what_callers_wrote_only_the_beginning_is_quoted() {
        assert_eq!(quoted("bot"), "`bot`");
        assert_eq!(quoted(&"ü".repeat(9_000)), format!("`{}…`", "ü".repeat(QUOTED)));
        assert_eq!(listed([]), "none");
        assert_eq!(listed(["a", "b"]), "`a`, `b`");
        assert!(listed(vec!["a"; 1_000]).ends_with("`a`, 988 more"));
    }
}
