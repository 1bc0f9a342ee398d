//! A value that fits a JSON schema: what structured output and the arguments of tool calls are made of.

use std::cell::Cell;

use serde_json::{Map, Value, json};

/// How deep optional parts are still filled in, and where a schema that never ends is given up.
const OPTIONAL_DEPTH: usize = 4;
const DEEPEST: usize = 48;

/// Most values in a sample: a schema that refers to itself twice grows fast.
const MOST_VALUES: usize = 10_000;

/// The smallest sensible value that fits; texts are what was heard. Understands the keywords that providers take:
/// types, `properties`, `required`, `items`, `enum`, `const`, `anyOf`, `oneOf`, `allOf`, `$ref`, and bounds.
pub(crate) fn sample(schema: &Value, heard: &str) -> Value {
    Sampler { root: schema, heard, left: Cell::new(MOST_VALUES) }.value(schema, 0)
}

/// What an answer is if any JSON will do.
pub(crate) fn any_object() -> Value {
    json!({"type": "object", "properties": {"heard": {"type": "string"}}, "required": ["heard"]})
}

/// The first `$ref` that leads nowhere.
pub(crate) fn dangling_ref(schema: &Value) -> Option<String> {
    fn look(root: &Value, at: &Value) -> Option<String> {
        match at {
            Value::Object(object) => {
                let target = object.get("$ref").and_then(Value::as_str);
                if let Some(target) = target.filter(|target| resolve(root, target).is_none()) {
                    return Some(target.to_owned());
                }
                object.values().find_map(|value| look(root, value))
            }
            Value::Array(list) => list.iter().find_map(|value| look(root, value)),
            _ => None,
        }
    }
    look(schema, schema)
}

/// What a reference within the document points at, as in `#/$defs/step`.
fn resolve<'v>(root: &'v Value, target: &str) -> Option<&'v Value> {
    root.pointer(target.strip_prefix('#')?)
}

struct Sampler<'s> {
    root: &'s Value,
    heard: &'s str,
    left: Cell<usize>,
}

impl Sampler<'_> {
    fn value(&self, schema: &Value, depth: usize) -> Value {
        let left = self.left.get();
        let Some(object) = schema.as_object().filter(|_| depth < DEEPEST && left > 0) else {
            return Value::Null;
        };
        self.left.set(left - 1);
        if let Some(target) = object.get("$ref").and_then(Value::as_str) {
            return resolve(self.root, target).map_or(Value::Null, |schema| self.value(schema, depth + 1));
        }
        if let Some(value) = object.get("const") {
            return value.clone();
        }
        if let Some(first) = object.get("enum").and_then(Value::as_array).and_then(|words| words.first()) {
            return first.clone();
        }
        if let Some(options) = ["anyOf", "oneOf"].iter().find_map(|key| object.get(*key)?.as_array()) {
            return self.option(options, depth);
        }
        if let Some(parts) = object.get("allOf").and_then(Value::as_array) {
            return self.merged(object, parts, depth);
        }
        match kind(object).as_str() {
            "object" => self.object(object, depth),
            "array" => self.array(object, depth),
            "string" => Value::String(self.text(object)),
            "integer" => json!(number(object).ceil() as i64),
            "number" => json!(number(object)),
            "boolean" => Value::Bool(true),
            _ => Value::Null,
        }
    }

    /// The first that is not null; deep down null, so that trees end.
    fn option(&self, options: &[Value], depth: usize) -> Value {
        let null = |option: &&Value| option["type"].as_str() == Some("null");
        if depth > OPTIONAL_DEPTH && options.iter().any(|option| null(&option)) {
            return Value::Null;
        }
        let first = options.iter().find(|option| !null(option));
        first.map_or(Value::Null, |option| self.value(option, depth + 1))
    }

    fn merged(&self, object: &Map<String, Value>, parts: &[Value], depth: usize) -> Value {
        let mut rest = object.clone();
        rest.remove("allOf");
        let own = self.value(&Value::Object(rest), depth + 1);
        let mut all = own.as_object().cloned().unwrap_or_default();
        for part in parts {
            match self.value(part, depth + 1) {
                Value::Object(part) => all.extend(part),
                value => return value,
            }
        }
        Value::Object(all)
    }

    /// All properties; deep down only those that are required.
    fn object(&self, object: &Map<String, Value>, depth: usize) -> Value {
        let empty = Map::new();
        let properties = object.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let required = object.get("required").and_then(Value::as_array);
        let needed = |name: &str| required.is_some_and(|names| names.iter().any(|n| n == name));
        let wanted = properties.iter().filter(|(name, _)| depth < OPTIONAL_DEPTH || needed(name));
        wanted.map(|(name, schema)| (name.clone(), self.value(schema, depth + 1))).collect()
    }

    fn array(&self, object: &Map<String, Value>, depth: usize) -> Value {
        let bound = |key: &str| object.get(key).and_then(count);
        let wanted = if depth < OPTIONAL_DEPTH { 1 } else { 0 };
        let length = bound("minItems").unwrap_or(0).max(wanted).min(bound("maxItems").unwrap_or(u64::MAX));
        let length = if object.contains_key("items") { length.min(64) } else { 0 };
        let item = object.get("items").unwrap_or(&Value::Null);
        (0..length).map(|_| self.value(item, depth + 1)).collect()
    }

    fn text(&self, object: &Map<String, Value>) -> String {
        let format = object.get("format").and_then(Value::as_str).unwrap_or_default();
        let text = match format {
            "date-time" => "2023-11-14T22:13:20Z",
            "date" => "2023-11-14",
            "time" => "22:13:20Z",
            "email" => "mock@example.com",
            "uri" => "https://example.com/",
            "uuid" => "00000000-0000-4000-8000-000000000000",
            _ => self.heard,
        };
        let bound = |key: &str| object.get(key).and_then(count).and_then(|n| usize::try_from(n).ok());
        let mut text: String = text.chars().take(bound("maxLength").unwrap_or(256)).collect();
        let missing = bound("minLength").unwrap_or(0).min(4096).saturating_sub(text.chars().count());
        text.extend(std::iter::repeat_n('.', missing));
        text
    }
}

/// Gemini writes types in capitals.
fn kind(object: &Map<String, Value>) -> String {
    let named = match object.get("type") {
        Some(Value::String(name)) => Some(name.as_str()),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        _ => object.contains_key("properties").then_some("object"),
    };
    named.unwrap_or_default().to_ascii_lowercase()
}

/// 1, moved within the bounds.
fn number(object: &Map<String, Value>) -> f64 {
    let bound = |key: &str| object.get(key).and_then(Value::as_f64);
    let low = bound("minimum").or(bound("exclusiveMinimum").map(|low| low + 1.0));
    let high = bound("maximum").or(bound("exclusiveMaximum").map(|high| high - 1.0));
    let step = bound("multipleOf").filter(|step| *step > 0.0);
    let wanted = 1.0_f64.max(low.unwrap_or(f64::MIN)).min(high.unwrap_or(f64::MAX));
    step.map_or(wanted, |step| (wanted / step).ceil() * step)
}

/// Bounds are numbers, or texts of digits as protobuf writes them.
fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schema: Value, expected: Value) {
        assert_eq!(sample(&schema, "a b"), expected, "{schema}");
    }

    #[test]
    fn every_keyword_is_kept() {
        check(json!({"type": "string"}), json!("a b"));
        check(json!({"type": "STRING"}), json!("a b"));
        check(json!({"type": ["null", "string"], "maxLength": 1}), json!("a"));
        check(json!({"type": "string", "minLength": 5}), json!("a b.."));
        check(json!({"type": "integer", "minimum": 7}), json!(7));
        check(json!({"type": "number", "exclusiveMaximum": 0, "multipleOf": 0.5}), json!(-1.0));
        check(json!({"enum": ["x", "y"]}), json!("x"));
        check(json!({"const": 3}), json!(3));
        check(json!({"anyOf": [{"type": "null"}, {"type": "boolean"}]}), json!(true));
        check(json!({"type": "array", "items": {"type": "integer"}, "minItems": 2}), json!([1, 1]));
        check(json!({"type": "array", "items": {"type": "integer"}, "maxItems": 0}), json!([]));
        check(
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"const": 1}}, "required": ["a"]}),
            json!({"a": "a b", "b": 1}),
        );
        check(
            json!({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}),
            json!({"a": 1, "b": 2}),
        );
        check(json!({}), Value::Null);
    }

    #[test]
    fn references_are_followed_and_recursion_ends() {
        check(json!({"$ref": "#/$defs/x", "$defs": {"x": {"type": "boolean"}}}), json!(true));
        let tree = json!({
            "type": "object", "required": ["name", "children"],
            "properties": {"name": {"const": "n"}, "children": {"type": "array", "items": {"$ref": "#"}}},
        });
        let text = sample(&tree, "x").to_string();
        assert!(
            text.starts_with("{\"name\":\"n\",\"children\":[{\"name\":\"n\"") && text.len() < 1000,
            "{text}"
        );
        let endless = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}});
        check(endless, Value::Null);
        let broad = json!({
            "type": "object", "required": ["a", "b"], "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}},
        });
        assert!(sample(&broad, "x").to_string().len() < 1_000_000);
    }

    #[test]
    fn references_to_nothing_are_found() {
        let schema = json!({"properties": {"a": {"items": {"$ref": "#/$defs/none"}}}});
        assert_eq!(dangling_ref(&schema).as_deref(), Some("#/$defs/none"));
        assert_eq!(dangling_ref(&json!({"$ref": "#/$defs/a", "$defs": {"a": {}}})), None);
    }
}
