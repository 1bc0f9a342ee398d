//! JSON schemas that answers and arguments are held to: Anthropic takes a part of the language.

use serde_json::{Map, Value};

use super::write::Report;
use crate::schema::{LeftOut, step};

/// Words of JSON Schema that are not taken, whatever they stand at.
///
/// Source: "JSON Schema limitations" in "Structured outputs" on platform.claude.com.
const LIMITS: [&str; 16] = [
    "contains",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "patternProperties",
    "propertyNames",
    "uniqueItems",
];

/// Formats of strings that are taken.
const FORMATS: [&str; 10] =
    ["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"];

/// The schema as Anthropic takes it: objects are closed, and limits that it cannot hold to are told to the model in
/// the description, as Anthropic's own clients do, and reported. `$defs` and references to them stay.
pub(super) fn fitted(schema: Value, path: &str, report: &mut Report<'_>) -> Value {
    let mut left_out = LeftOut::of(path);
    let schema = fit(schema, path, &mut left_out);
    left_out.into_paths().into_iter().for_each(|path| report.leave_out(path));
    schema
}

fn fit(schema: Value, path: &str, left_out: &mut LeftOut) -> Value {
    let Value::Object(schema) = schema else { return schema };
    let mut out = Map::new();
    let mut told = Vec::new();
    let is_object =
        schema.get("type").and_then(Value::as_str) == Some("object") || schema.contains_key("properties");
    let has_any_of = schema.contains_key("anyOf");
    for (word, value) in schema {
        let at = step(path, &word);
        match word.as_str() {
            "properties" | "$defs" | "definitions" => {
                out.insert(word, each_field(value, &at, left_out));
            }
            "anyOf" | "allOf" | "prefixItems" => {
                out.insert(word, each_item(value, &at, left_out));
            }
            // One of several and any of several differ only where several fit at once.
            "oneOf" if !has_any_of => {
                out.insert("anyOf".to_owned(), each_item(value, &at, left_out));
            }
            "items" => {
                out.insert(word, fit(value, &at, left_out));
            }
            "additionalProperties" => {
                if value != Value::Bool(false) {
                    left_out.push(at);
                }
            }
            _ if is_taken(&word, &value) => {
                out.insert(word, value);
            }
            _ => {
                told.push(format!("{word}: {value}"));
                left_out.push(at);
            }
        }
    }
    if is_object {
        out.insert("additionalProperties".to_owned(), false.into());
    }
    if !told.is_empty() {
        let limits = format!("{{{}}}", told.join(", "));
        let description = match out.get("description").and_then(Value::as_str) {
            Some(text) => format!("{text}\n\n{limits}"),
            None => limits,
        };
        out.insert("description".to_owned(), description.into());
    }
    Value::Object(out)
}

fn is_taken(word: &str, value: &Value) -> bool {
    match word {
        "format" => value.as_str().is_none_or(|format| FORMATS.contains(&format)),
        "minItems" => value.as_u64().is_some_and(|least| least <= 1),
        _ => !LIMITS.contains(&word),
    }
}

fn each_field(value: Value, path: &str, left_out: &mut LeftOut) -> Value {
    let Value::Object(fields) = value else { return value };
    let each = |(name, schema): (String, Value)| {
        let schema = fit(schema, &step(path, &name), left_out);
        (name, schema)
    };
    Value::Object(fields.into_iter().map(each).collect())
}

fn each_item(value: Value, path: &str, left_out: &mut LeftOut) -> Value {
    let Value::Array(items) = value else { return value };
    let each = |(index, schema)| fit(schema, &format!("{path}[{index}]"), left_out);
    Value::Array(items.into_iter().enumerate().map(each).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(schema: Value, expected: Value, dropped: &[&str]) {
        let mut report = Report::new("anthropic", Vec::new());
        assert_eq!(fitted(schema, "s", &mut report), expected);
        assert_eq!(report.dropped(), dropped);
    }

    #[test]
    fn objects_are_closed_wherever_they_stand() {
        let closed = json!({ "type": "object", "properties": {}, "additionalProperties": false });
        let open = json!({ "type": "object", "properties": {} });
        check(open.clone(), closed.clone(), &[]);
        check(
            json!({ "anyOf": [open, { "$ref": "#/$defs/a" }], "$defs": { "a": { "items": open } } }),
            json!({ "anyOf": [closed, { "$ref": "#/$defs/a" }], "$defs": { "a": { "items": closed } } }),
            &[],
        );
        let of_strings =
            json!({ "type": "object", "properties": {}, "additionalProperties": { "type": "string" } });
        check(of_strings, closed, &["s.additionalProperties"]);
    }

    #[test]
    fn limits_that_are_not_taken_are_told_to_the_model() {
        check(
            json!({ "type": "array", "minItems": 2, "items": { "type": "string", "format": "phone" } }),
            json!({ "type": "array", "items": { "type": "string", "description": "{format: \"phone\"}" },
                    "description": "{minItems: 2}" }),
            &["s.minItems", "s.items.format"],
        );
        // A property may be called as a limit is, and a value may look like one.
        let names = json!({ "type": "object", "properties": { "minimum": { "const": { "minimum": 1 } } },
                            "additionalProperties": false });
        check(names.clone(), names, &[]);
        check(
            json!({ "oneOf": [{ "type": "string", "format": "date" }, { "type": "null" }] }),
            json!({ "anyOf": [{ "type": "string", "format": "date" }, { "type": "null" }] }),
            &[],
        );
    }
}
