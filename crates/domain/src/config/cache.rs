//! What a config says about answers from the cache.

use std::time::Duration;

use serde_json::{Map, Value};

use super::ConfigError;
use super::read::{Parsed, Unit, boolean, duration, given, known_keys, object, print_duration, wrong};

/// Whether and how a target's answers may come from the cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// Which requests are alike.
    pub mode: Mode,
    /// How long an answer is good. None: the cache's own default.
    pub max_age: Option<Duration>,
    /// Cosine similarity from which requests are alike, from 0 to 1. None: the cache's own default.
    pub similarity_threshold: Option<f64>,
    /// Names under which answers can be taken out of the cache.
    pub tags: Vec<String>,
    /// Answers that call tools are kept as well.
    pub tool_calls: bool,
    /// Highest sampling temperature of answers that are kept. None: [`crate::cache::USUAL_TEMPERATURE`].
    pub max_temperature: Option<f64>,
}

/// Which requests are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Those that are the same.
    Simple,
    /// Those that mean the same.
    Semantic,
    /// Those that mean the same, but providers are called all the same: what would have been answered is on record.
    Shadow,
}

impl Mode {
    /// The word used in configs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Semantic => "semantic",
            Self::Shadow => "shadow",
        }
    }
}

/// What may be said.
const KEYS: &[&str] =
    &["mode", "max_age", "similarity_threshold", "ttl", "threshold", "tags", "tool_calls", "max_temperature"];

/// Seconds that `max_age` may be, as in Portkey: a minute to 90 days.
const AGES: (u64, u64) = (60, 7_776_000);

pub(super) fn parse(value: &Value, path: &str) -> Parsed<Cache> {
    let map = match value {
        Value::String(_) => {
            return Err(ConfigError::new(
                path,
                "is a string; write an object, as in `{\"mode\": \"simple\"}`",
            ));
        }
        other => object(other, path)?,
    };
    known_keys(map, path, &[KEYS], &[])?;
    let mode = match given(map, "mode").map(|v| v.as_str().unwrap_or_default()) {
        Some("simple" | "exact") => Mode::Simple,
        Some("semantic") => Mode::Semantic,
        Some("shadow") => Mode::Shadow,
        _ => {
            let message = "write `simple` (or `exact`) for the same request, `semantic` for one that means the same, \
                           `shadow` to call the provider and only note what would have been answered";
            return Err(ConfigError::new(format!("{path}.mode"), message));
        }
    };
    let age = once(map, path, ["max_age", "ttl"])?;
    let max_age =
        age.map(|(key, v)| duration(v, &format!("{path}.{key}"), Unit::Seconds, AGES)).transpose()?;
    let similarity = once(map, path, ["similarity_threshold", "threshold"])?;
    let similarity_threshold = similarity.map(|(key, v)| share(v, &format!("{path}.{key}"))).transpose()?;
    if similarity_threshold.is_some() && mode == Mode::Simple {
        let message = "belongs to the mode `semantic`; remove it or change `mode`";
        return Err(ConfigError::new(format!("{path}.similarity_threshold"), message));
    }
    let tool_calls = boolean(map, path, "tool_calls")?;
    let max_temperature = given(map, "max_temperature")
        .map(|v| temperature(v, &format!("{path}.max_temperature")))
        .transpose()?;
    Ok(Cache {
        mode,
        max_age,
        similarity_threshold,
        tags: given(map, "tags").map(|v| tags(v, &format!("{path}.tags"))).transpose()?.unwrap_or_default(),
        tool_calls: tool_calls.unwrap_or(false),
        max_temperature,
    })
}

/// One value under either of two names.
fn once<'a>(
    map: &'a Map<String, Value>,
    path: &str,
    [name, other]: [&'static str; 2],
) -> Parsed<Option<(&'static str, &'a Value)>> {
    match (given(map, name), given(map, other)) {
        (Some(_), Some(_)) => {
            Err(ConfigError::new(format!("{path}.{other}"), format!("says the same as `{name}`; remove one")))
        }
        (Some(value), None) => Ok(Some((name, value))),
        (None, value) => Ok(value.map(|v| (other, v))),
    }
}

fn tags(value: &Value, path: &str) -> Parsed<Vec<String>> {
    let expected = "an array of short texts, as in `[\"faq\"]`";
    let list = value.as_array().ok_or_else(|| wrong(path, value, expected))?;
    let tag = |tag: &Value| {
        let text =
            tag.as_str().filter(|text| (1..=128).contains(&text.chars().count()) && !text.contains(','));
        text.map(str::to_owned)
            .ok_or_else(|| wrong(path, tag, "a text of 1 to 128 characters without a comma"))
    };
    list.iter().map(tag).collect()
}

fn temperature(value: &Value, path: &str) -> Parsed<f64> {
    let number = value.as_f64().filter(|t| (0.0..=2.0).contains(t));
    number.ok_or_else(|| wrong(path, value, "a sampling temperature from 0 to 2, as in 0.7"))
}

fn share(value: &Value, path: &str) -> Parsed<f64> {
    let share = value.as_f64().filter(|s| (0.0..=1.0).contains(s));
    share.ok_or_else(|| wrong(path, value, "a similarity from 0 to 1, as in 0.95"))
}

pub(super) fn print(cache: &Cache) -> Value {
    let mut map = Map::new();
    map.insert("mode".to_owned(), cache.mode.as_str().into());
    if let Some(age) = cache.max_age {
        map.insert("max_age".to_owned(), print_duration(age, Unit::Seconds, AGES));
    }
    if let Some(threshold) = cache.similarity_threshold {
        map.insert("similarity_threshold".to_owned(), threshold.into());
    }
    if !cache.tags.is_empty() {
        map.insert("tags".to_owned(), cache.tags.clone().into());
    }
    if cache.tool_calls {
        map.insert("tool_calls".to_owned(), true.into());
    }
    if let Some(temperature) = cache.max_temperature {
        map.insert("max_temperature".to_owned(), temperature.into());
    }
    Value::Object(map)
}
