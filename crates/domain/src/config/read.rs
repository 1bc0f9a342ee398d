//! Reading single fields of a routing document, with errors that name the place and the fix.

use std::time::Duration;

use serde_json::{Map, Value};

use super::ConfigError;
use crate::time::parse_duration;

pub(super) type Parsed<T> = Result<T, ConfigError>;

/// The header that would forward itself.
pub(super) const FORWARD_HEADERS: &str = "x-portkey-forward-headers";

/// A field that is null counts as absent.
pub(super) fn given<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.get(key).filter(|value| !value.is_null())
}

pub(super) fn text(map: &Map<String, Value>, path: &str, key: &str) -> Parsed<Option<String>> {
    match given(map, key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong(&format!("{path}.{key}"), other, "a string")),
    }
}

pub(super) fn boolean(map: &Map<String, Value>, path: &str, key: &str) -> Parsed<Option<bool>> {
    let read = |v: &Value| v.as_bool().ok_or_else(|| wrong(&format!("{path}.{key}"), v, "true or false"));
    given(map, key).map(read).transpose()
}

pub(super) fn object<'a>(value: &'a Value, path: &str) -> Parsed<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| wrong(path, value, "a JSON object"))
}

pub(super) fn array<'a>(value: &'a Value, path: &str, expected: &str) -> Parsed<&'a Vec<Value>> {
    value.as_array().ok_or_else(|| wrong(path, value, expected))
}

/// An array of texts.
pub(super) fn texts<'a>(value: &'a Value, path: &str, expected: &str) -> Parsed<Vec<&'a str>> {
    let one = |(i, item): (usize, &'a Value)| {
        item.as_str().ok_or_else(|| wrong(&format!("{path}[{i}]"), item, "a string"))
    };
    array(value, path, expected)?.iter().enumerate().map(one).collect()
}

/// What a bare number means where a duration may be written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Milliseconds,
    Seconds,
}

impl Unit {
    fn name(self) -> &'static str {
        if self == Self::Milliseconds { "milliseconds" } else { "seconds" }
    }
}

/// A duration: text with its unit, or a bare number of `unit` between the bounds, which catch numbers that were
/// meant in another unit. Text says what it means, so that only nothing at all is refused.
pub(super) fn duration(value: &Value, path: &str, unit: Unit, bounds: (u64, u64)) -> Parsed<Duration> {
    let name = unit.name();
    let duration = match value {
        Value::String(text) => parse_duration(text).map_err(|err| ConfigError::new(path, err.to_string()))?,
        Value::Number(n) => {
            let n = n.as_u64().ok_or_else(|| wrong(path, value, &format!("a whole number of {name}")))?;
            let (least, most) = bounds;
            if n < least || n > most {
                let also = if unit == Unit::Milliseconds { "s" } else { "ms" };
                let range =
                    if most == u64::MAX { format!("at least {least}") } else { format!("{least} to {most}") };
                let message =
                    format!("`{n}` means {n} {name}; write {range}, or say the unit, as in \"{n}{also}\"");
                return Err(ConfigError::new(path, message));
            }
            if unit == Unit::Milliseconds { Duration::from_millis(n) } else { Duration::from_secs(n) }
        }
        other => return Err(wrong(path, other, &format!("{name}, or text such as \"20s\""))),
    };
    if duration.is_zero() {
        return Err(ConfigError::new(path, "no time at all; leave it out"));
    }
    Ok(duration)
}

/// A duration as the bare number that [`duration`] reads, or as text where it would not.
pub(super) fn print_duration(duration: Duration, unit: Unit, bounds: (u64, u64)) -> Value {
    let ms = crate::time::millis(duration);
    let number = match unit {
        Unit::Milliseconds => Some(ms),
        Unit::Seconds => ms.is_multiple_of(1000).then_some(ms / 1000),
    };
    match number.filter(|n| (bounds.0..=bounds.1).contains(n)) {
        Some(number) => number.into(),
        None => crate::time::format_duration(duration).into(),
    }
}

pub(super) fn status_codes(value: &Value, path: &str) -> Parsed<Vec<u16>> {
    let code = |(i, item): (usize, &Value)| {
        let code = item.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| (100..=599).contains(n));
        code.ok_or_else(|| wrong(&format!("{path}[{i}]"), item, "a status code from 100 to 599"))
    };
    array(value, path, "an array of status codes")?.iter().enumerate().map(code).collect()
}

pub(super) fn header_names(value: &Value, path: &str) -> Parsed<Vec<String>> {
    let names = texts(value, path, "an array of header names")?;
    names.iter().enumerate().try_for_each(|(i, name)| header_name(name, &format!("{path}[{i}]")))?;
    Ok(names.into_iter().map(str::to_ascii_lowercase).collect())
}

pub(super) fn header_name(name: &str, path: &str) -> Parsed<()> {
    if name.eq_ignore_ascii_case(FORWARD_HEADERS) {
        return Err(ConfigError::new(
            path,
            format!("`{FORWARD_HEADERS}` itself is not forwarded; leave it out"),
        ));
    }
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(ConfigError::new(path, "is not the name of a header; write for example `x-tenant`"));
    }
    Ok(())
}

pub(super) fn wrong(path: &str, value: &Value, expected: &str) -> ConfigError {
    // Text may be a secret in the wrong place, so that only numbers are shown.
    let message = match value {
        Value::Number(number) => format!("is {number}; write {expected}"),
        other => format!("is {}; write {expected}", kind(other)),
    };
    ConfigError::new(path, message)
}

/// Refuses keys that are not known, and by their own message those of `later`, which this version does not offer.
pub(super) fn known_keys(
    map: &Map<String, Value>,
    path: &str,
    known: &[&[&str]],
    later: &[&str],
) -> Parsed<()> {
    for (key, value) in map {
        // Switching off what is not offered is no use of it.
        let is_later = later.contains(&key.as_str());
        if known.iter().any(|keys| keys.contains(&key.as_str())) || (value.is_null() && is_later) {
            continue;
        }
        let place = format!("{path}.{key}");
        if is_later {
            return Err(ConfigError::new(
                place,
                format!("`{key}` is not offered by this version; remove it"),
            ));
        }
        let all = || known.iter().copied().flatten().chain(later);
        let message = match similar(key, all().copied()) {
            Some(suggestion) => format!("unknown key; did you mean `{suggestion}`?"),
            None => format!("unknown key; known here: {}", known.first().unwrap_or(&&[][..]).join(", ")),
        };
        return Err(ConfigError::new(place, message));
    }
    Ok(())
}

/// The word that was probably meant: another spelling, or one with a typing error or two.
pub(super) fn similar<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let snake = snake_case(word);
    let distance = |k: &&str| strsim::damerau_levenshtein(k, &snake);
    known.clone().find(|k| *k == snake).or_else(|| known.filter(|k| distance(k) <= 2).min_by_key(distance))
}

/// `overrideParams`, `override-params` and `OVERRIDE_PARAMS` as `override_params`.
pub(super) fn snake_case(key: &str) -> String {
    let mut out = String::new();
    let mut after_lower = false;
    for c in key.chars() {
        if c.is_ascii_uppercase() && after_lower {
            out.push('_');
        }
        after_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        out.push(if c == '-' { '_' } else { c.to_ascii_lowercase() });
    }
    out
}

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
