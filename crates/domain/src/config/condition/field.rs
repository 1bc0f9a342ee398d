//! Keys of conditions: where in a request they look.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use super::super::params::{Step, steps_of};
use crate::facts::RequestFacts;

/// Where in a request a condition looks, as in `params.tools[0].type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As it was written.
    text: String,
    root: Root,
}

/// What a key begins with, and the way from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// `metadata.…`: the caller's key-value pairs.
    Metadata(Way),
    /// `params.…` or `body.…`: the body.
    Params(Way),
    /// `headers.…`: one of the caller's headers, in lower case.
    Header(String),
    /// `url.pathname`: path of the HTTP route.
    Pathname,
    /// `request.input_tokens`: an estimate, a quarter of the body's bytes.
    InputTokens,
    /// `request.hour`: hour of the day in UTC, 0 to 23, when the request was accepted.
    Hour,
    /// `request.weekday`: day of the week in UTC, `monday` to `sunday`, when the request was accepted.
    Weekday,
    /// `request.lane`: urgency class.
    Lane,
    /// `request.operation`: `chat`, `completions` or `embeddings`.
    Operation,
}

/// A way into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The second segment as it was written, which is all that Portkey looks at.
    second: String,
    /// Nothing follows the second segment.
    short: bool,
    /// The way step by step, with indexes taken apart.
    steps: Vec<Step>,
}

/// The days from the first of 1970, a Thursday.
const WEEKDAYS: [&str; 7] = ["thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday"];

/// Keys that a request offers beyond its body, metadata and headers.
const REQUEST: &[(&str, Root)] = &[
    ("input_tokens", Root::InputTokens),
    ("hour", Root::Hour),
    ("weekday", Root::Weekday),
    ("lane", Root::Lane),
    ("operation", Root::Operation),
];

impl Field {
    /// Reads a key. The error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (first, rest) = text.split_once('.').ok_or_else(|| {
            format!(
                "`{text}` is no key of a condition: write for example `params.{text}` or `metadata.{text}`"
            )
        })?;
        let root = match first {
            "metadata" => Root::Metadata(way(rest)?),
            "params" | "body" => Root::Params(way(rest)?),
            "headers" if !rest.is_empty() => Root::Header(rest.to_ascii_lowercase()),
            "url" if rest == "pathname" => Root::Pathname,
            "url" => return Err("of the URL there is `url.pathname` only".to_owned()),
            "request" => {
                REQUEST.iter().find(|(name, _)| *name == rest).map(|(_, root)| root.clone()).ok_or_else(
                    || {
                        let known: Vec<String> =
                            REQUEST.iter().map(|(name, _)| format!("`request.{name}`")).collect();
                        format!("`{text}` is unknown; there are {}", known.join(", "))
                    },
                )?
            }
            _ => {
                return Err(format!(
                    "`{text}` begins with none of `metadata`, `params`, `headers`, `url`, `request`: \
                     write for example `params.model`"
                ));
            }
        };
        Ok(Self { text: text.to_owned(), root })
    }

    /// What it looks at.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// What is there in a request.
    pub(crate) fn read<'a>(&self, facts: &RequestFacts<'a>) -> Option<Cow<'a, Value>> {
        let ms = facts.accepted_at.0;
        let made = match &self.root {
            Root::Metadata(way) => return way.read(facts.metadata?),
            Root::Params(way) => return way.read(facts.params?.as_object()?),
            Root::Header(name) => facts.headers.get(name)?.as_str().into(),
            Root::Pathname => facts.path.into(),
            Root::InputTokens => facts.input_tokens().into(),
            Root::Hour => (ms / 3_600_000 % 24).into(),
            Root::Weekday => WEEKDAYS[(ms / 86_400_000 % 7) as usize].into(),
            Root::Lane => facts.lane.as_str().into(),
            Root::Operation => facts.operation.as_str().into(),
        };
        Some(Cow::Owned(made))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn way(rest: &str) -> Result<Way, String> {
    let invalid = || format!("`{rest}` is no way into the request: write for example `tools[0].type`");
    let segments: Vec<&str> = rest.split('.').collect();
    let steps: Option<Vec<Vec<Step>>> = segments.iter().map(|segment| steps_of(segment)).collect();
    let steps = steps.ok_or_else(invalid)?.concat();
    if steps.contains(&Step::All) {
        return Err(format!(
            "`{rest}`: a condition looks at one element; write an index, as in `tools[0].type`"
        ));
    }
    Ok(Way { second: segments[0].to_owned(), short: segments.len() == 1, steps })
}

impl Way {
    fn read<'a>(&self, map: &'a Map<String, Value>) -> Option<Cow<'a, Value>> {
        if let Some(value) = map.get(&self.second) {
            let scalar = !value.is_array() && !value.is_object();
            // Portkey's keys end after the second segment, so that what follows a scalar is ignored.
            if self.short || (scalar && !self.asks_for_length()) {
                return Some(Cow::Borrowed(value));
            }
        }
        let (first, rest) = self.steps.split_first()?;
        let Step::Key(key) = first else { return None };
        let mut value = map.get(key)?;
        for (i, step) in rest.iter().enumerate() {
            let next = match (step, value) {
                (Step::Key(key), Value::Object(map)) => map.get(key),
                (Step::Index(at), Value::Array(items)) => items.get(*at),
                _ => None,
            };
            value = match next {
                Some(next) => next,
                None if i + 1 == rest.len() => return length(step, value),
                None => return None,
            };
        }
        Some(Cow::Borrowed(value))
    }

    fn asks_for_length(&self) -> bool {
        matches!(self.steps.as_slice(), [_, Step::Key(last)] if last == "length")
    }
}

/// Characters of a text, or elements of an array.
fn length(step: &Step, value: &Value) -> Option<Cow<'static, Value>> {
    if !matches!(step, Step::Key(key) if key == "length") {
        return None;
    }
    match value {
        Value::String(text) => Some(Cow::Owned(text.chars().count().into())),
        Value::Array(items) => Some(Cow::Owned(items.len().into())),
        _ => None,
    }
}
