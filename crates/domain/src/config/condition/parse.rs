//! Reading conditions: what could never hold, or was meant otherwise, is an error.

use regex::RegexBuilder;
use serde_json::{Map, Value};

use super::super::ConfigError;
use super::super::read::{Parsed, array, given, kind, known_keys, object, similar, wrong};
use super::{Field, Operator, Order, Pattern, Query, Term, Test, parse_float};

/// Bytes that a compiled pattern may take.
const MOST_PATTERN: usize = 1 << 20;

/// The operators, as Portkey names them.
const OPERATORS: &[&str] = &["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$regex"];

/// A `{query, then}` pair whose target is still a name.
pub(in super::super) struct Named {
    pub(in super::super) query: Query,
    pub(in super::super) then: String,
    pub(in super::super) place: String,
}

pub(in super::super) fn conditions(value: Option<&Value>, path: &str) -> Parsed<Vec<Named>> {
    let example = "write for example `[{\"query\": {\"metadata.plan\": \"paid\"}, \"then\": \"premium\"}]`";
    let none = || ConfigError::new(path, format!("No conditions passed in the query router; {example}"));
    let items = array(value.ok_or_else(none)?, path, "an array of conditions")?;
    if items.is_empty() {
        return Err(none());
    }
    let one = |(i, item): (usize, &Value)| {
        let place = format!("{path}[{i}]");
        let map = object(item, &place)?;
        known_keys(map, &place, &[&["query", "then"]], &[])?;
        let query = given(map, "query")
            .ok_or_else(|| ConfigError::new(format!("{place}.query"), format!("is missing; {example}")))?;
        let then_place = format!("{place}.then");
        let then = match given(map, "then") {
            Some(Value::String(name)) => name.clone(),
            Some(other) => return Err(wrong(&then_place, other, "the name of a target")),
            None => return Err(ConfigError::new(then_place, "is missing; write the name of a target")),
        };
        Ok(Named { query: self::query(query, &format!("{place}.query"))?, then, place: then_place })
    };
    items.iter().enumerate().map(one).collect()
}

pub(in super::super) fn query(value: &Value, path: &str) -> Parsed<Query> {
    let terms = object(value, path)?.iter().map(|(key, value)| {
        let place = format!("{path}.{key}");
        match key.as_str() {
            "$and" => Ok(Term::And(queries(value, &place)?)),
            "$or" => Ok(Term::Or(queries(value, &place)?)),
            key if key.starts_with('$') => Err(unsupported(key, &place, &["$and", "$or"])),
            key => {
                let field = Field::parse(key).map_err(|message| ConfigError::new(&place, message))?;
                Ok(Term::Field(field, test(value, &place)?))
            }
        }
    });
    Ok(Query { terms: terms.collect::<Parsed<_>>()? })
}

fn queries(value: &Value, path: &str) -> Parsed<Vec<Query>> {
    let items = array(value, path, "an array of queries")?;
    if items.is_empty() {
        return Err(ConfigError::new(path, "is empty; write at least one query into it"));
    }
    items.iter().enumerate().map(|(i, item)| query(item, &format!("{path}[{i}]"))).collect()
}

fn test(value: &Value, path: &str) -> Parsed<Test> {
    match value {
        Value::Object(map) if map.is_empty() => {
            let message = format!("has no operator; write a value, or one of {}", OPERATORS.join(", "));
            Err(ConfigError::new(path, message))
        }
        Value::Object(map) => operators(map, path).map(Test::Operators),
        Value::Array(_) => Err(ConfigError::new(path, "is an array; write `{\"$in\": […]}`")),
        value => Ok(Test::Is(value.clone())),
    }
}

fn operators(map: &Map<String, Value>, path: &str) -> Parsed<Vec<Operator>> {
    let one = |(name, value): (&String, &Value)| {
        let place = format!("{path}.{name}");
        let order = |order| number_like(value, &place).map(|bound| Operator::Order(order, bound));
        match name.as_str() {
            "$eq" => Ok(Operator::Eq(primitive(value, &place)?)),
            "$ne" => Ok(Operator::Ne(primitive(value, &place)?)),
            "$gt" => order(Order::Gt),
            "$gte" => order(Order::Gte),
            "$lt" => order(Order::Lt),
            "$lte" => order(Order::Lte),
            "$in" => Ok(Operator::In(primitives(value, &place)?)),
            "$nin" => Ok(Operator::Nin(primitives(value, &place)?)),
            "$regex" => pattern(value, &place).map(Operator::Regex),
            other => Err(unsupported(other, &place, OPERATORS)),
        }
    };
    map.iter().map(one).collect()
}

fn unsupported(name: &str, path: &str, known: &[&str]) -> ConfigError {
    let meant = similar(name, known.iter().copied()).map(|k| format!("did you mean `{k}`?"));
    let meant = meant.unwrap_or_else(|| format!("there are {}", known.join(", ")));
    ConfigError::new(path, format!("Unsupported operator used in the query router: {name}; {meant}"))
}

/// Arrays and objects are equal to nothing.
fn primitive(value: &Value, path: &str) -> Parsed<Value> {
    if value.is_array() || value.is_object() {
        return Err(wrong(path, value, "text, a number, true, false or null"));
    }
    Ok(value.clone())
}

fn primitives(value: &Value, path: &str) -> Parsed<Vec<Value>> {
    let items = array(value, path, "an array of values")?;
    items.iter().enumerate().map(|(i, item)| primitive(item, &format!("{path}[{i}]"))).collect()
}

fn number_like(value: &Value, path: &str) -> Parsed<Value> {
    let readable = match value {
        Value::Number(_) => true,
        Value::String(_) => !parse_float(value).is_nan(),
        _ => false,
    };
    if readable {
        return Ok(value.clone());
    }
    Err(ConfigError::new(path, format!("is {} that is no number; write a number", kind(value))))
}

fn pattern(value: &Value, path: &str) -> Parsed<Pattern> {
    let Value::String(text) = value else { return Err(wrong(path, value, "a regular expression as text")) };
    let built = RegexBuilder::new(text).size_limit(MOST_PATTERN).build();
    built.map(Pattern).map_err(|err| {
        // The last line of the parser's text says what is wrong; the others draw an arrow.
        let err = err.to_string();
        let reason = err.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        ConfigError::new(
            path,
            format!("is no regular expression: {reason} (look-around and back-references are not supported)"),
        )
    })
}
