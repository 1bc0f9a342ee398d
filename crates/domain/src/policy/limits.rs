//! Declared caps, read: budgets and rates as people write them become limits.

#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Caps;
use crate::Timestamp;
use crate::limit::{Level, Limit, PERIODS, Reset, Unit, Unreachable, Window};

/// Fields of a budget.
const BUDGET_FIELDS: &[&str] = &[
    "type",
    "credit_limit",
    "alert_threshold",
    "periodic_reset",
    "periodic_reset_days",
    "next_usage_reset_at",
    "soft",
    "on_unreachable",
];

/// Fields of a rate.
const RATE_FIELDS: &[&str] = &["type", "unit", "value", "soft", "on_unreachable"];

/// What a budget may count.
const BUDGET_UNITS: &[Unit] =
    &[Unit::Cost, Unit::Tokens, Unit::Requests, Unit::InputTokens, Unit::OutputTokens];

/// What a rate may count.
const RATE_UNITS: &[Unit] =
    &[Unit::Requests, Unit::Tokens, Unit::InputTokens, Unit::OutputTokens, Unit::Concurrent];

/// Digits after the point of an amount in dollars: a nano-USD is the least that is counted.
const DECIMALS: usize = 9;

/// A declared cap that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`: {message}")]
pub struct InvalidCap {
    /// Where, as in `rate_limits[1].unit`.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl InvalidCap {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// Whether a cap is on what is used up over a long time, or on how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Budget,
    Rate,
}

/// Whose caps are read.
pub(super) struct Of<'a> {
    pub(super) level: Level,
    pub(super) owner: &'a str,
    /// When the owner was made: periods of days are counted from here where nothing else is said.
    pub(super) from: Timestamp,
}

/// The limits that an entity declares, budgets first. `from` is when it was made.
pub fn limits(level: Level, owner: &str, caps: &Caps, from: Timestamp) -> Result<Vec<Limit>, InvalidCap> {
    let of = Of { level, owner, from };
    let mut found: Vec<Limit> = Vec::new();
    let declared = [
        ("usage_limits", &caps.usage_limits, Shape::Budget),
        ("rate_limits", &caps.rate_limits, Shape::Rate),
    ];
    for (name, value, shape) in declared {
        for (path, fields) in entries(name, value, shape)? {
            let limit = limit(&of, shape, fields, &path)?;
            if found.iter().any(|other| other.name() == limit.name()) {
                let message = format!(
                    "there is another limit of `{}` {} here, and both would be one count; leave one of them out",
                    limit.unit, limit.window
                );
                return Err(InvalidCap::new(path, message));
            }
            found.push(limit);
        }
    }
    Ok(found)
}

/// The fields of an entry after where it stands.
type Placed<'a> = (String, &'a Map<String, Value>);

/// The entries of a declaration, which is an object, a list of them, or nothing.
fn entries<'a>(name: &str, value: &'a Value, shape: Shape) -> Result<Vec<Placed<'a>>, InvalidCap> {
    let example = match shape {
        Shape::Budget => "{\"type\":\"cost\",\"credit_limit\":10,\"periodic_reset\":\"monthly\"}",
        Shape::Rate => "[{\"type\":\"requests\",\"unit\":\"rpm\",\"value\":60}]",
    };
    let wrong = |path: &str, found: &Value| {
        InvalidCap::new(path, format!("{} is no limit; write an object, as in `{example}`", short(found)))
    };
    match value {
        Value::Null => Ok(Vec::new()),
        // Portkey's clients send an empty object for "none".
        Value::Object(fields) if fields.is_empty() => Ok(Vec::new()),
        Value::Object(fields) => Ok(vec![(name.to_owned(), fields)]),
        Value::Array(all) => {
            let entry = |(at, one): (usize, &'a Value)| {
                let path = format!("{name}[{at}]");
                match one {
                    Value::Object(fields) => Ok((path, fields)),
                    other => Err(wrong(&path, other)),
                }
            };
            all.iter().enumerate().map(entry).collect()
        }
        other => Err(wrong(name, other)),
    }
}

/// One limit. `path` is where its fields are; empty: they stand for themselves.
pub(super) fn limit(
    of: &Of<'_>,
    shape: Shape,
    fields: &Map<String, Value>,
    path: &str,
) -> Result<Limit, InvalidCap> {
    let entry = Entry { fields, path };
    let budget = shape == Shape::Budget;
    entry.only(if budget { BUDGET_FIELDS } else { RATE_FIELDS })?;
    let unit = entry.unit(if budget { BUDGET_UNITS } else { RATE_UNITS }, budget.then_some(Unit::Cost))?;
    let (cap, window) = match shape {
        Shape::Budget => (entry.amount("credit_limit", unit)?, Window::Fixed(entry.reset(of.from)?)),
        Shape::Rate => (entry.amount("value", unit)?, entry.rate_window(unit)?),
    };
    let missing = if budget { "credit_limit" } else { "value" };
    let cap =
        cap.ok_or_else(|| entry.wrong(missing, "is missing; write the most that may be used".to_owned()))?;
    let alert_at = if budget { entry.amount("alert_threshold", unit)? } else { None };
    if alert_at.is_some_and(|at| at > cap) {
        let message = "is above `credit_limit`, so that it would never be told; write less".to_owned();
        return Err(entry.wrong("alert_threshold", message));
    }
    let usual = if budget { Unreachable::Closed } else { Unreachable::Open };
    Ok(Limit {
        level: of.level,
        owner: of.owner.to_owned(),
        unit,
        window,
        cap,
        alert_at,
        soft: entry.flag("soft")?,
        unreachable: entry.unreachable()?.unwrap_or(usual),
        emails: Vec::new(),
    })
}

/// The fields of one limit, and where they stand.
struct Entry<'a> {
    fields: &'a Map<String, Value>,
    path: &'a str,
}

impl Entry<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, message: String) -> InvalidCap {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        InvalidCap::new(path, message)
    }

    fn only(&self, known: &[&str]) -> Result<(), InvalidCap> {
        match self.fields.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                Err(self.wrong(name, format!("is unknown here; known fields: {}", known.join(", "))))
            }
        }
    }

    fn text(&self, name: &str, known: impl fmt::Display) -> Result<Option<&str>, InvalidCap> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, format!("{} is no word; use one of {known}", short(other)))),
        }
    }

    fn unit(&self, known: &[Unit], usual: Option<Unit>) -> Result<Unit, InvalidCap> {
        let words: Vec<&str> = known.iter().map(|unit| unit.as_str()).collect();
        let words = words.join(", ");
        match (self.text("type", &words)?, usual) {
            (None, Some(usual)) => Ok(usual),
            (None, None) => Err(self.wrong("type", format!("is missing; use one of {words}"))),
            (Some(text), _) => known.iter().copied().find(|unit| unit.as_str() == text).ok_or_else(|| {
                self.wrong("type", format!("`{text}` cannot be counted here; use one of {words}"))
            }),
        }
    }

    /// A number in the unit's least part: nano-USD for dollars, itself for everything else.
    fn amount(&self, name: &str, unit: Unit) -> Result<Option<u64>, InvalidCap> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let (decimals, hint) = match unit {
            Unit::Cost => (DECIMALS, "dollars from 0 to 18446744073 with at most 9 digits after the point"),
            _ => (0, "a whole number from 0 on"),
        };
        let found = value.as_number().and_then(|number| exact(number, decimals));
        found.map(Some).ok_or_else(|| self.wrong(name, format!("{} cannot be; write {hint}", short(value))))
    }

    fn flag(&self, name: &str) -> Result<bool, InvalidCap> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(yes)) => Ok(*yes),
            Some(other) => Err(self.wrong(name, format!("{} cannot be; write true or false", short(other)))),
        }
    }

    fn unreachable(&self) -> Result<Option<Unreachable>, InvalidCap> {
        let text = self.text("on_unreachable", "open, closed")?;
        let parsed =
            text.map(|text| text.parse().map_err(|_| format!("`{text}` cannot be; use open or closed")));
        parsed.transpose().map_err(|message| self.wrong("on_unreachable", message))
    }

    fn rate_window(&self, unit: Unit) -> Result<Window, InvalidCap> {
        let words: Vec<&str> = PERIODS.iter().map(|(word, _)| *word).collect();
        let words = words.join(", ");
        match (unit, self.text("unit", &words)?) {
            (Unit::Concurrent, None) => Ok(Window::Held),
            (Unit::Concurrent, Some(_)) => {
                let message = "calls under way are counted at one time; leave the unit out".to_owned();
                Err(self.wrong("unit", message))
            }
            (_, None) => Err(self.wrong("unit", format!("is missing; use one of {words}"))),
            (_, Some(text)) => {
                let found = PERIODS.iter().find(|(word, _)| *word == text);
                let window = found.map(|(_, period)| Window::Sliding(*period));
                window.ok_or_else(|| self.wrong("unit", format!("`{text}` is no period; use one of {words}")))
            }
        }
    }

    fn reset(&self, made: Timestamp) -> Result<Reset, InvalidCap> {
        const WORDS: &str = "daily, weekly, monthly";
        let word = self.text("periodic_reset", WORDS)?;
        let at = self.next_reset()?;
        let days = self.days()?;
        match (word, days) {
            (Some(_), Some(_)) => {
                let message = "`periodic_reset` says already when; leave one of the two out".to_owned();
                Err(self.wrong("periodic_reset_days", message))
            }
            (None, Some(days)) => Ok(Reset::Days { days, from: at.unwrap_or(made) }),
            (None, None) if at.is_some() => {
                let message =
                    "says when, but not how often; write `periodic_reset` or `periodic_reset_days` beside it";
                Err(self.wrong("next_usage_reset_at", message.to_owned()))
            }
            (None, None) => Ok(Reset::Never),
            (Some("daily"), None) => Ok(moved(Reset::Daily, 1, at)),
            (Some("weekly"), None) => Ok(moved(Reset::Weekly, 7, at)),
            (Some("monthly"), None) if at.is_none_or(|at| Reset::Monthly.begin(at) == at) => {
                Ok(Reset::Monthly)
            }
            (Some("monthly"), None) => {
                let message = "months begin on the first at 00:00 UTC; leave it out, or write \
                               `periodic_reset_days` instead of `periodic_reset`";
                Err(self.wrong("next_usage_reset_at", message.to_owned()))
            }
            (Some(other), None) => {
                let message = format!("`{other}` is no period; use one of {WORDS}, or `periodic_reset_days`");
                Err(self.wrong("periodic_reset", message))
            }
        }
    }

    fn days(&self) -> Result<Option<u16>, InvalidCap> {
        let Some(value) = self.get("periodic_reset_days") else { return Ok(None) };
        let days = value.as_u64().filter(|days| (1..=365).contains(days)).and_then(|n| u16::try_from(n).ok());
        days.map(Some).ok_or_else(|| {
            let message = format!("{} cannot be; write a whole number from 1 to 365", short(value));
            self.wrong("periodic_reset_days", message)
        })
    }

    fn next_reset(&self) -> Result<Option<Timestamp>, InvalidCap> {
        let Some(value) = self.get("next_usage_reset_at") else { return Ok(None) };
        let at = value.as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let ms = at.and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
        ms.map(|ms| Some(Timestamp(ms))).ok_or_else(|| {
            let message = format!("{} is no time; write it as in `2026-12-01T00:00:00Z`", short(value));
            self.wrong("next_usage_reset_at", message)
        })
    }
}

/// A calendar's reset, or the same number of days counted from a moment that is none of the calendar's.
fn moved(reset: Reset, days: u16, at: Option<Timestamp>) -> Reset {
    match at {
        Some(at) if reset.begin(at) != at => Reset::Days { days, from: at },
        _ => reset,
    }
}

/// A number times ten to `decimals`, if that is whole. The number's shortest decimal form counts: what was written.
fn exact(number: &serde_json::Number, decimals: usize) -> Option<u64> {
    let text = match (number.as_u64(), number.as_f64()) {
        (Some(whole), _) => whole.to_string(),
        // Never in powers of ten, unlike JSON.
        (None, Some(float)) => format!("{float}"),
        (None, None) => return None,
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    if fraction.len() > decimals {
        return None;
    }
    let scale = 10_u64.checked_pow(u32::try_from(decimals).ok()?)?;
    let fraction: u64 = format!("{fraction:0<decimals$}0").parse::<u64>().ok()? / 10;
    whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(fraction)
}

/// A value in a message.
pub(super) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        None => format!("`{text}`"),
        Some((end, _)) => format!("`{}…`", &text[..end]),
    }
}
