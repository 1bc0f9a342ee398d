//! Targets that say what the model has to be able to do instead of naming it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::ConfigError;
use super::read::{Parsed, Unit, duration, given, known_keys, object, print_duration, texts, wrong};
use crate::model::{Capability, PicoUsd};

/// What the model has to be able to do, and which of those that can is tried first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choose {
    /// What it must be able to do.
    pub requires: BTreeSet<Capability>,
    /// Highest price per token of the prompt. Models of unknown price cost too much.
    pub max_input_price: Option<PicoUsd>,
    /// Highest price per token of the answer.
    pub max_output_price: Option<PicoUsd>,
    /// Longest usual time to the first byte. A provider that has not been measured is not left out.
    pub max_latency: Option<Duration>,
    /// Providers that may be used. Empty: all that are configured.
    pub from: Vec<String>,
    /// What puts a model first.
    pub prefer: Prefer,
}

/// What puts a model first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Prefer {
    /// A low estimated cost.
    #[default]
    Price,
    /// A short time to the first byte.
    Latency,
}

/// Most models that are tried, one after the other.
pub const MOST_MODELS: usize = 5;

/// One pico-USD per token is one micro-USD per million tokens.
const PICO_PER_USD_PER_MILLION: f64 = 1e6;

/// Milliseconds that `max_latency` may be.
const LATENCIES: (u64, u64) = (100, u64::MAX);

const KNOWN: &[&str] = &["requires", "max_price", "max_latency", "from", "prefer"];

pub(super) fn parse(value: &Value, path: &str) -> Parsed<Choose> {
    let map = object(value, path)?;
    known_keys(map, path, &[KNOWN], &[])?;
    let mut choose = Choose::default();
    if let Some(value) = given(map, "requires") {
        let place = format!("{path}.requires");
        for (i, word) in texts(value, &place, "an array of capabilities")?.into_iter().enumerate() {
            let capability: Capability = word.parse().map_err(|err: crate::operation::UnknownWord| {
                ConfigError::new(format!("{place}[{i}]"), err.to_string())
            })?;
            choose.requires.insert(capability);
        }
    }
    if let Some(value) = given(map, "max_price") {
        let place = format!("{path}.max_price");
        let prices = object(value, &place)?;
        known_keys(prices, &place, &[&["input", "output"]], &[])?;
        choose.max_input_price = price(prices, &place, "input")?;
        choose.max_output_price = price(prices, &place, "output")?;
    }
    if let Some(value) = given(map, "max_latency") {
        choose.max_latency =
            Some(duration(value, &format!("{path}.max_latency"), Unit::Milliseconds, LATENCIES)?);
    }
    if let Some(value) = given(map, "from") {
        let names = texts(value, &format!("{path}.from"), "an array of providers")?;
        choose.from = names.into_iter().map(|name| name.trim_start_matches('@').to_owned()).collect();
    }
    choose.prefer = match given(map, "prefer").map(|v| v.as_str().unwrap_or_default()) {
        None | Some("price") => Prefer::Price,
        Some("latency") => Prefer::Latency,
        Some(_) => {
            return Err(ConfigError::new(format!("{path}.prefer"), "write `price` or `latency`"));
        }
    };
    Ok(choose)
}

/// USD per million tokens, as providers publish them.
fn price(map: &Map<String, Value>, path: &str, key: &str) -> Parsed<Option<PicoUsd>> {
    let read = |v: &Value| {
        let usd = v.as_f64().filter(|usd| (0.0..=1e6).contains(usd));
        let usd = usd
            .ok_or_else(|| wrong(&format!("{path}.{key}"), v, "US dollars per million tokens, as in 2.5"))?;
        Ok(PicoUsd((usd * PICO_PER_USD_PER_MILLION).round() as u64))
    };
    given(map, key).map(read).transpose()
}

pub(super) fn print(choose: &Choose) -> Value {
    let mut map = Map::new();
    if !choose.requires.is_empty() {
        map.insert("requires".to_owned(), json!(choose.requires));
    }
    let mut prices = Map::new();
    for (key, price) in [("input", choose.max_input_price), ("output", choose.max_output_price)] {
        if let Some(PicoUsd(pico)) = price {
            prices.insert(key.to_owned(), (pico as f64 / PICO_PER_USD_PER_MILLION).into());
        }
    }
    if !prices.is_empty() {
        map.insert("max_price".to_owned(), Value::Object(prices));
    }
    if let Some(latency) = choose.max_latency {
        map.insert("max_latency".to_owned(), print_duration(latency, Unit::Milliseconds, LATENCIES));
    }
    if !choose.from.is_empty() {
        map.insert("from".to_owned(), json!(choose.from));
    }
    if choose.prefer == Prefer::Latency {
        map.insert("prefer".to_owned(), "latency".into());
    }
    Value::Object(map)
}
