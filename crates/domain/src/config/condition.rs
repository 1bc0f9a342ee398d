//! Conditions on a request, with the semantics of Portkey's query language, and keys of any depth beyond it.
//!
//! A query's keys must all hold. As in Portkey, `$and` and `$or` decide at once when they are reached, and so does
//! `$regex` among the operators of a key: what follows them is not looked at.

mod field;
mod parse;
#[cfg(test)]
pub(super) mod tests;

use std::borrow::Cow;
use std::fmt;

use regex::Regex;
use serde_json::{Map, Value};

pub use field::{Field, Root};
pub(super) use parse::{Named, conditions};

use crate::facts::RequestFacts;

/// When a conditional group takes one of its targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What has to hold.
    pub query: Query,
    /// The target, by its index in the group.
    pub then: usize,
}

/// Something that holds for a request or does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    And(Vec<Query>),
    Or(Vec<Query>),
    Field(Field, Test),
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    /// Strictly equal to a primitive.
    Is(Value),
    Operators(Vec<Operator>),
}

#[derive(Clone, Debug, PartialEq)]
enum Operator {
    Eq(Value),
    Ne(Value),
    /// Compares numbers, read from text as JavaScript's `parseFloat` does.
    Order(Order, Value),
    In(Vec<Value>),
    Nin(Vec<Value>),
    Regex(Pattern),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Gt,
    Gte,
    Lt,
    Lte,
}

/// A regular expression: unanchored, case-sensitive, in time linear in the text.
#[derive(Clone, Debug)]
struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Query {
    /// Whether it holds. Never fails, whatever the request holds.
    pub fn matches(&self, facts: &RequestFacts<'_>) -> bool {
        for term in &self.terms {
            let holds = match term {
                Term::And(queries) => return queries.iter().all(|q| q.matches(facts)),
                Term::Or(queries) => return queries.iter().any(|q| q.matches(facts)),
                Term::Field(field, test) => test.holds(field.read(facts).as_deref()),
            };
            if !holds {
                return false;
            }
        }
        true
    }

    /// Every key that it asks about.
    pub fn fields(&self) -> Vec<&Field> {
        let mut fields = Vec::new();
        for term in &self.terms {
            match term {
                Term::And(queries) | Term::Or(queries) => {
                    fields.extend(queries.iter().flat_map(Self::fields))
                }
                Term::Field(field, _) => fields.push(field),
            }
        }
        fields
    }

    /// The query as it is written.
    pub fn to_json(&self) -> Value {
        let list = |queries: &[Self]| Value::Array(queries.iter().map(Self::to_json).collect());
        let terms = self.terms.iter().map(|term| match term {
            Term::And(queries) => ("$and".to_owned(), list(queries)),
            Term::Or(queries) => ("$or".to_owned(), list(queries)),
            Term::Field(field, test) => (field.to_string(), test.to_json()),
        });
        Value::Object(terms.collect())
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_json())
    }
}

impl Test {
    fn holds(&self, value: Option<&Value>) -> bool {
        match self {
            Self::Is(wanted) => equal(value, wanted),
            Self::Operators(operators) => {
                for operator in operators {
                    if let Operator::Regex(pattern) = operator {
                        return value.is_some_and(|v| pattern.0.is_match(&text_of(v)));
                    }
                    if !operator.holds(value) {
                        return false;
                    }
                }
                true
            }
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Is(value) => value.clone(),
            Self::Operators(operators) => {
                operators.iter().map(Operator::to_json).collect::<Map<_, _>>().into()
            }
        }
    }
}

impl Operator {
    fn holds(&self, value: Option<&Value>) -> bool {
        match self {
            Self::Eq(wanted) => equal(value, wanted),
            Self::Ne(wanted) => !equal(value, wanted),
            Self::In(list) => list.iter().any(|wanted| equal(value, wanted)),
            Self::Nin(list) => !list.iter().any(|wanted| equal(value, wanted)),
            Self::Order(order, bound) => {
                // What is no number compares as NaN: false either way.
                let (value, bound) = (value.map_or(f64::NAN, parse_float), parse_float(bound));
                match order {
                    Order::Gt => value > bound,
                    Order::Gte => value >= bound,
                    Order::Lt => value < bound,
                    Order::Lte => value <= bound,
                }
            }
            Self::Regex(pattern) => value.is_some_and(|v| pattern.0.is_match(&text_of(v))),
        }
    }

    fn to_json(&self) -> (String, Value) {
        let (name, value) = match self {
            Self::Eq(value) => ("$eq", value.clone()),
            Self::Ne(value) => ("$ne", value.clone()),
            Self::Order(Order::Gt, bound) => ("$gt", bound.clone()),
            Self::Order(Order::Gte, bound) => ("$gte", bound.clone()),
            Self::Order(Order::Lt, bound) => ("$lt", bound.clone()),
            Self::Order(Order::Lte, bound) => ("$lte", bound.clone()),
            Self::In(list) => ("$in", Value::Array(list.clone())),
            Self::Nin(list) => ("$nin", Value::Array(list.clone())),
            Self::Regex(pattern) => ("$regex", pattern.0.as_str().into()),
        };
        (name.to_owned(), value)
    }
}

/// JavaScript's `===` on values from two documents: numbers by value, and arrays and objects never.
fn equal(value: Option<&Value>, wanted: &Value) -> bool {
    match (value, wanted) {
        (Some(Value::Number(a)), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Some(Value::Array(_) | Value::Object(_)) | None, _) => false,
        (Some(value), wanted) => value == wanted,
    }
}

/// JavaScript's `String(value)`.
fn text_of(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Null => Cow::Borrowed("null"),
        Value::Bool(b) => Cow::Borrowed(if *b { "true" } else { "false" }),
        // A whole number has no fraction, however it was written.
        Value::Number(n) => match n.as_f64() {
            Some(f) if n.is_f64() && f.fract() == 0.0 && f.abs() < 1e21 => Cow::Owned(format!("{f:.0}")),
            _ => Cow::Owned(n.to_string()),
        },
        Value::Array(items) => {
            let texts: Vec<_> =
                items.iter().map(|i| if i.is_null() { Cow::Borrowed("") } else { text_of(i) }).collect();
            Cow::Owned(texts.join(","))
        }
        Value::Object(_) => Cow::Borrowed("[object Object]"),
    }
}

/// JavaScript's `parseFloat`: the number that the text begins with, NaN if it begins with none.
fn parse_float(value: &Value) -> f64 {
    if let Value::Number(number) = value {
        return number.as_f64().unwrap_or(f64::NAN);
    }
    let text = text_of(value);
    let text = text.trim_start();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = text.len() - unsigned.len();
    if unsigned.starts_with("Infinity") {
        return if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let digits = |from: usize| unsigned.bytes().skip(from).take_while(u8::is_ascii_digit).count();
    let mut end = digits(0);
    let mut any = end > 0;
    if unsigned[end..].starts_with('.') {
        let fraction = digits(end + 1);
        any |= fraction > 0;
        end += 1 + fraction;
    }
    if !any {
        return f64::NAN;
    }
    if unsigned[end..].starts_with(['e', 'E']) {
        let sign = usize::from(unsigned[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    text[..sign + end].parse().unwrap_or(f64::NAN)
}
