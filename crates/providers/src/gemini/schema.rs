//! JSON schemas as Gemini understands them.
//!
//! `responseJsonSchema` and `parametersJsonSchema` take a part of JSON Schema; what is outside it is ignored or
//! refused. [`convert`] leaves only that part and says what it left out. References are put in where they point: Gemini
//! takes them only without a word beside them, and cycles only where nothing is required.
//!
//! Source: `GenerationConfig.responseJsonSchema` in the Gemini API reference.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::schema::{LeftOut, step};

/// Deepest nesting that is written. Models refuse far less.
const MAX_DEPTH: usize = 48;

/// Most schemas, references included, that one schema may come to: those that double at every step end here.
const MAX_NODES: usize = 5_000;

/// Most bytes of values that references may put in: large ones that are referred to again and again end here.
const MAX_COPIED: usize = 256 * 1024;

/// How often a schema may hold itself: a tree keeps so many levels.
const MAX_UNROLL: usize = 3;

/// Words that say nothing about a value, or only name what references point to.
const SILENT: [&str; 8] =
    ["$schema", "$id", "$anchor", "$comment", "$vocabulary", "$defs", "definitions", "nullable"];

/// Words that only describe: those beside a reference win without being a contradiction.
const DESCRIBING: [&str; 5] = ["title", "description", "default", "examples", "example"];

/// The part of a schema that Gemini understands, and the paths, beginning with `path`, of what is left out.
///
/// Total and idempotent. A schema that is too deep, too large or holds itself too often becomes `{}`, which allows
/// everything, and its path is reported.
pub(super) fn convert(schema: &Value, path: &str) -> (Value, Vec<String>) {
    let mut converter = Converter {
        root: schema,
        nodes: 0,
        copied: 0,
        inside: 0,
        refs: BTreeMap::new(),
        dropped: LeftOut::of(path),
    };
    let schema = converter.schema(schema, path, 0);
    (schema, converter.dropped.into_paths())
}

struct Converter<'a> {
    root: &'a Value,
    nodes: usize,
    /// Bytes of values that references put in so far, roughly.
    copied: usize,
    /// How many references lead to here.
    inside: usize,
    /// References on the way to here, and how often.
    refs: BTreeMap<&'a str, usize>,
    dropped: LeftOut,
}

/// A schema with what it refers to and all that it is made of, in one piece.
#[derive(Default)]
struct Flat<'a> {
    /// In order.
    words: Vec<(&'a str, &'a Value)>,
    /// The same by name.
    by_name: BTreeMap<&'a str, &'a Value>,
    properties: Vec<(&'a str, &'a Value)>,
    known: BTreeSet<&'a str>,
    required: Vec<&'a str>,
    needed: BTreeSet<&'a str>,
    /// References that were followed.
    followed: Vec<&'a str>,
}

impl<'a> Flat<'a> {
    fn get(&self, word: &str) -> Option<&'a Value> {
        self.by_name.get(word).copied()
    }
}

impl<'a> Converter<'a> {
    fn drop(&mut self, path: String) {
        self.dropped.push(path);
    }

    /// Whether there is room for one more schema.
    fn fits(&self, depth: usize) -> bool {
        depth <= MAX_DEPTH && self.nodes <= MAX_NODES && self.copied <= MAX_COPIED
    }

    fn schema(&mut self, schema: &'a Value, path: &str, depth: usize) -> Value {
        self.nodes += 1;
        let map = match schema {
            Value::Object(map) if self.fits(depth) => map,
            other => {
                if *other != Value::Bool(true) && *other != Value::Object(Map::new()) {
                    self.drop(path.to_owned());
                }
                return Value::Object(Map::new());
            }
        };
        let mut flat = Flat::default();
        self.gather(map, path, depth, &mut flat);
        let written = self.write(&flat, path, depth);
        self.inside -= flat.followed.len();
        for name in flat.followed {
            if let Some(count) = self.refs.get_mut(name) {
                *count -= 1;
            }
        }
        Value::Object(written)
    }

    /// Adds a schema that is put in here to `flat`, unless that is too much.
    fn merge(&mut self, map: &'a Map<String, Value>, path: &str, depth: usize, flat: &mut Flat<'a>) {
        self.nodes += 1;
        if !self.fits(depth) {
            return self.drop(path.to_owned());
        }
        self.gather(map, path, depth, flat);
    }

    /// Adds a schema, what it refers to and its `allOf` to `flat`; what was there first wins.
    fn gather(&mut self, map: &'a Map<String, Value>, path: &str, depth: usize, flat: &mut Flat<'a>) {
        for (word, value) in map {
            if self.inside > 0 {
                self.copied += word.len() + size(word, value);
            }
            match (word.as_str(), value) {
                ("$ref" | "allOf", _) => {}
                ("properties", Value::Object(properties)) => {
                    let new = properties.iter().filter(|(name, _)| flat.known.insert(name.as_str()));
                    flat.properties.extend(new.map(|(name, value)| (name.as_str(), value)));
                }
                ("required", Value::Array(names)) => {
                    let names = names.iter().filter_map(Value::as_str);
                    flat.required.extend(names.filter(|name| flat.needed.insert(*name)));
                }
                (word, value) => match flat.get(word) {
                    None => {
                        flat.words.push((word, value));
                        flat.by_name.insert(word, value);
                    }
                    Some(given) if given == value || DESCRIBING.contains(&word) || SILENT.contains(&word) => {
                    }
                    Some(_) => self.drop(step(path, word)),
                },
            }
        }
        if let Some(reference) = map.get("$ref") {
            self.follow(reference, path, depth, flat);
        }
        let parts =
            map.get("allOf").map(|parts| parts.as_array().map_or(std::slice::from_ref(parts), Vec::as_slice));
        for (at, part) in parts.unwrap_or_default().iter().enumerate() {
            let path = format!("{path}.allOf[{at}]");
            match part {
                Value::Object(part) => self.merge(part, &path, depth + 1, flat),
                Value::Bool(true) => {}
                _ => self.drop(path),
            }
        }
    }

    fn follow(&mut self, reference: &'a Value, path: &str, depth: usize, flat: &mut Flat<'a>) {
        let target = reference.as_str().and_then(|name| {
            let pointer = unescape(name.strip_prefix('#')?)?;
            Some((name, self.root.pointer(&pointer)?))
        });
        let Some((name, Value::Object(target))) = target else { return self.drop(format!("{path}.$ref")) };
        let count = self.refs.entry(name).or_default();
        if *count >= MAX_UNROLL {
            return self.drop(format!("{path}.$ref"));
        }
        *count += 1;
        flat.followed.push(name);
        self.inside += 1;
        self.merge(target, path, depth + 1, flat);
    }

    fn write(&mut self, flat: &Flat<'a>, path: &str, depth: usize) -> Map<String, Value> {
        let mut out = Map::new();
        let nullable = flat.get("nullable") == Some(&Value::Bool(true));
        let mut null = nullable;
        for (word, value) in &flat.words {
            let at = step(path, word);
            match (*word, *value) {
                ("title" | "description" | "format", Value::String(_))
                | ("minItems" | "maxItems" | "minimum" | "maximum", Value::Number(_))
                | ("propertyOrdering", Value::Array(_))
                | ("additionalProperties", Value::Bool(_)) => {
                    _ = out.insert((*word).to_owned(), (*value).clone())
                }
                ("type", value) => self.kind(value, at, &mut out),
                ("enum", _) if flat.get("const").is_some() => {}
                ("enum", Value::Array(values)) => null |= self.choices(values, &at, &mut out),
                ("const", value) => null |= self.choices(std::slice::from_ref(value), &at, &mut out),
                ("items", Value::Array(_)) if flat.get("prefixItems").is_some() => self.drop(at),
                ("items", Value::Array(items)) => self.list("prefixItems", items, &at, depth, &mut out),
                ("anyOf" | "oneOf" | "prefixItems", Value::Array(items)) => {
                    self.list(word, items, &at, depth, &mut out);
                }
                ("items" | "additionalProperties", value) => {
                    out.insert((*word).to_owned(), self.schema(value, &at, depth + 1));
                }
                (word, _) if SILENT.contains(&word) => {}
                _ => self.drop(at),
            }
        }
        self.object(flat, path, depth, &mut out);
        if null {
            allow_null(&mut out);
        }
        out
    }

    fn object(&mut self, flat: &Flat<'a>, path: &str, depth: usize, out: &mut Map<String, Value>) {
        if !flat.properties.is_empty() {
            let mut properties = Map::new();
            for (name, schema) in &flat.properties {
                let schema = self.schema(schema, &step(&format!("{path}.properties"), name), depth + 1);
                properties.insert((*name).to_owned(), schema);
            }
            out.insert("properties".to_owned(), Value::Object(properties));
        }
        // Gemini refuses names that are required and not defined.
        let (defined, lost): (Vec<&str>, Vec<&str>) =
            flat.required.iter().partition(|name| flat.known.is_empty() || flat.known.contains(*name));
        if !lost.is_empty() {
            self.drop(format!("{path}.required"));
        }
        if !defined.is_empty() {
            out.insert("required".to_owned(), Value::from(defined));
        }
    }

    /// `type`, in JSON Schema's lower case even where Gemini's own upper case was given.
    fn kind(&mut self, value: &Value, at: String, out: &mut Map<String, Value>) {
        let lower = |value: &Value| value.as_str().map(str::to_ascii_lowercase).map(Value::String);
        let written = match value {
            Value::Array(kinds) => kinds.iter().map(lower).collect::<Option<Vec<_>>>().map(Value::Array),
            one => lower(one),
        };
        match written {
            Some(kind) => _ = out.insert("type".to_owned(), kind),
            None => self.drop(at),
        }
    }

    /// `enum` for strings and numbers; says whether null was among the values.
    fn choices(&mut self, values: &[Value], at: &str, out: &mut Map<String, Value>) -> bool {
        let (said, other): (Vec<&Value>, Vec<&Value>) =
            values.iter().partition(|value| value.is_string() || value.is_number());
        if other.iter().any(|value| !value.is_null()) {
            // Without the values that cannot be said, the others would forbid them.
            self.drop(at.to_owned());
            if !out.contains_key("type") && said.is_empty() && other.iter().all(|value| value.is_boolean()) {
                out.insert("type".to_owned(), Value::from("boolean"));
            }
        } else if !said.is_empty() {
            out.insert("enum".to_owned(), said.into_iter().cloned().collect());
        } else if !other.is_empty() && !out.contains_key("type") {
            out.insert("type".to_owned(), Value::from("null"));
        }
        other.iter().any(|value| value.is_null())
    }

    fn list(&mut self, word: &str, items: &'a [Value], at: &str, depth: usize, out: &mut Map<String, Value>) {
        let items = items.iter().enumerate();
        let items = items.map(|(i, item)| self.schema(item, &format!("{at}[{i}]"), depth + 1)).collect();
        out.insert(word.to_owned(), Value::Array(items));
    }
}

/// Bytes that a word's value adds, but for the schemas in it, which are counted when they are written.
fn size(word: &str, value: &Value) -> usize {
    match (word, value) {
        ("properties", Value::Object(properties)) => properties.keys().map(String::len).sum(),
        ("enum" | "required" | "type", Value::Array(values)) => {
            values.iter().map(|value| size("", value) + 1).sum()
        }
        (_, Value::String(text)) => text.len(),
        _ => 1,
    }
}

/// Lets null be a value, as OpenAPI's `nullable` and a null among `enum` mean it.
fn allow_null(schema: &mut Map<String, Value>) {
    let null = Value::from("null");
    if let Some(kind) = schema.get_mut("type") {
        match kind {
            Value::Array(kinds) if !kinds.contains(&null) => kinds.push(null),
            Value::String(one) if one != "null" => *kind = Value::Array(vec![kind.take(), null]),
            _ => {}
        }
    } else if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        // Gemini takes no null among values, but beside their types.
        let mut kinds: BTreeSet<&str> =
            values.iter().map(|value| if value.is_string() { "string" } else { "number" }).collect();
        kinds.insert("null");
        let kinds = Value::from_iter(kinds);
        schema.insert("type".to_owned(), kinds);
    } else {
        let null = Value::Object(Map::from_iter([("type".to_owned(), null)]));
        let choices = ["anyOf", "oneOf"].into_iter().find(|word| schema.contains_key(*word));
        if let Some(Value::Array(choices)) = choices.and_then(|word| schema.get_mut(word))
            && !choices.contains(&null)
        {
            choices.push(null);
        }
    }
}

/// A URL fragment as a JSON pointer. None: not UTF-8 or wrongly escaped.
fn unescape(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = std::str::from_utf8(after.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
