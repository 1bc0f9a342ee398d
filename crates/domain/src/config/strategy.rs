//! How a group chooses among its targets.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::condition::{self, Root};
use super::read::{
    Parsed, Unit, boolean, duration, given, known_keys, object, print_duration, status_codes, texts, wrong,
};
use super::{Condition, ConfigError, Field, Node};
use crate::breaker;
use crate::fault::Fault;

/// How a group chooses.
#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    /// The first target only.
    Single,
    /// One after the other, until one answers.
    Fallback {
        /// These statuses lead to the next target. None, and `on` is none too: everything but a 2xx does.
        on_status_codes: Option<Vec<u16>>,
        /// These kinds of failure lead to the next target, beside `on_status_codes`.
        on: Option<Vec<Fault>>,
    },
    /// One of them, by weight; no failover inside the group.
    LoadBalance {
        /// Requests that are alike go to the same target.
        sticky: Option<Sticky>,
    },
    /// The one whose condition holds first.
    Conditional {
        /// In order; never empty.
        conditions: Vec<Condition>,
        /// The target if none holds, by its index.
        default: Option<usize>,
    },
    /// The one whose calls have lately taken the shortest time to the first byte. Unmeasured ones come last.
    LeastLatency,
    /// The one with the fewest calls running. Unmeasured ones come last.
    LeastBusy,
    /// The one whose model would answer this request at the lowest estimated cost. Models of unknown price come last.
    LeastCost,
}

/// Requests that are alike go to the same target of a load-balancing group.
#[derive(Clone, Debug, PartialEq)]
pub struct Sticky {
    /// What makes requests alike, besides their API key.
    pub hash_fields: Vec<Field>,
    /// How long they go to the same target; then they may be given another.
    pub ttl: Duration,
}

/// What `strategy` says; conditions still name their targets.
pub(super) struct Parts {
    pub(super) strategy: Shape,
    pub(super) time_budget: Option<Duration>,
    pub(super) breaker: Option<breaker::Policy>,
}

/// A strategy before the targets are known.
pub(super) enum Shape {
    Complete(Strategy),
    Conditional { conditions: Vec<condition::Named>, default: Option<String> },
}

/// Seconds that `sticky.ttl` may be: a second to a week. An hour in milliseconds is more.
const TTLS: (u64, u64) = (1, 604_800);

/// Portkey's documented default of `sticky.ttl`.
const TTL: Duration = Duration::from_secs(3600);

/// Milliseconds that `cooldown_interval` may be: at least Portkey's 30 s.
const COOLDOWNS: (u64, u64) = (30_000, u64::MAX);

/// Milliseconds that `time_budget` may be.
const BUDGETS: (u64, u64) = (100, u64::MAX);

const MODES: &[&str] =
    &["single", "fallback", "loadbalance", "conditional", "least_latency", "least_busy", "least_cost"];

const KNOWN: &[&str] =
    &["mode", "on_status_codes", "on", "time_budget", "conditions", "default", "sticky", "cb_config"];

/// Keys that belong to one mode.
const OWNED: &[(&str, &str)] = &[
    ("on_status_codes", "fallback"),
    ("on", "fallback"),
    ("conditions", "conditional"),
    ("default", "conditional"),
    ("sticky", "loadbalance"),
];

pub(super) fn parse(value: &Value, path: &str) -> Parsed<Parts> {
    let map = object(value, path)?;
    known_keys(map, path, &[KNOWN], &[])?;
    let mode = map.get("mode").and_then(Value::as_str).unwrap_or_default();
    if !MODES.contains(&mode) {
        let message = format!("`{mode}` is no strategy: use one of `{}`", MODES.join("`, `"));
        return Err(ConfigError::new(format!("{path}.mode"), message));
    }
    for (key, owner) in OWNED {
        if given(map, key).is_some() && mode != *owner {
            let message = format!("belongs to the strategy `{owner}`; remove it or change `mode`");
            return Err(ConfigError::new(format!("{path}.{key}"), message));
        }
    }
    let place = |key: &str| format!("{path}.{key}");
    if given(map, "cb_config").is_some() && mode == "conditional" {
        let message = "a conditional strategy has no breaker; put it on the strategies of its targets";
        return Err(ConfigError::new(place("cb_config"), message));
    }
    let breaker = given(map, "cb_config").map(|v| self::breaker(v, &place("cb_config"))).transpose()?;
    let budget = |v| duration(v, &place("time_budget"), Unit::Milliseconds, BUDGETS);
    Ok(Parts {
        strategy: shape(mode, map, path)?,
        time_budget: given(map, "time_budget").map(budget).transpose()?,
        breaker,
    })
}

fn shape(mode: &str, map: &Map<String, Value>, path: &str) -> Parsed<Shape> {
    let place = |key: &str| format!("{path}.{key}");
    Ok(Shape::Complete(match mode {
        "single" => Strategy::Single,
        "fallback" => Strategy::Fallback {
            on_status_codes: given(map, "on_status_codes")
                .map(|v| status_codes(v, &place("on_status_codes")))
                .transpose()?,
            on: given(map, "on").map(|v| faults(v, &place("on"))).transpose()?,
        },
        "loadbalance" => Strategy::LoadBalance {
            sticky: given(map, "sticky").map(|v| sticky(v, &place("sticky"))).transpose()?.flatten(),
        },
        "least_latency" => Strategy::LeastLatency,
        "least_busy" => Strategy::LeastBusy,
        "least_cost" => Strategy::LeastCost,
        _ => {
            return Ok(Shape::Conditional {
                conditions: condition::conditions(given(map, "conditions"), &place("conditions"))?,
                default: super::read::text(map, path, "default")?,
            });
        }
    }))
}

fn faults(value: &Value, path: &str) -> Parsed<Vec<Fault>> {
    let words = texts(value, path, "an array of kinds of failure")?;
    let fault = |(i, word): (usize, &str)| {
        Fault::parse(word).ok_or_else(|| {
            let known: Vec<&str> = Fault::ALL.iter().map(|f| f.as_str()).collect();
            let message = format!("`{word}` is no kind of failure: use one of `{}`", known.join("`, `"));
            ConfigError::new(format!("{path}[{i}]"), message)
        })
    };
    words.into_iter().enumerate().map(fault).collect()
}

/// None: it is switched off.
fn sticky(value: &Value, path: &str) -> Parsed<Option<Sticky>> {
    let map = object(value, path)?;
    known_keys(map, path, &[&["enabled", "hash_fields", "ttl"]], &[])?;
    let mut hash_fields = Vec::new();
    if let Some(value) = given(map, "hash_fields") {
        let place = format!("{path}.hash_fields");
        for (i, text) in texts(value, &place, "an array of fields")?.into_iter().enumerate() {
            let field = Field::parse(text).ok();
            let known = |f: &Field| matches!(f.root(), Root::Metadata(_) | Root::Params(_) | Root::Header(_));
            hash_fields.push(field.filter(known).ok_or_else(|| {
                let message = "is no field of a request; write for example `metadata.session_id`, `params.user` or \
                               `headers.x-session`";
                ConfigError::new(format!("{place}[{i}]"), message)
            })?);
        }
    }
    let ttl = given(map, "ttl").map(|v| duration(v, &format!("{path}.ttl"), Unit::Seconds, TTLS));
    let ttl = ttl.transpose()?.unwrap_or(TTL);
    let enabled = boolean(map, path, "enabled")?.unwrap_or(true);
    Ok(enabled.then_some(Sticky { hash_fields, ttl }))
}

const BREAKER: &[&str] = &[
    "failure_threshold",
    "failure_threshold_percentage",
    "cooldown_interval",
    "failure_status_codes",
    "minimum_requests",
];

fn breaker(value: &Value, path: &str) -> Parsed<breaker::Policy> {
    let map = object(value, path)?;
    known_keys(map, path, &[BREAKER], &[])?;
    let failure_threshold = whole(map, path, "failure_threshold", 1, u32::MAX)?;
    let percentage = whole(map, path, "failure_threshold_percentage", 1, 100)?;
    if failure_threshold.is_none() && percentage.is_none() {
        let message =
            "names no threshold; add `\"failure_threshold\": 5` or `\"failure_threshold_percentage\": 50`";
        return Err(ConfigError::new(path, message));
    }
    let place = format!("{path}.cooldown_interval");
    let cooldown = given(map, "cooldown_interval").ok_or_else(|| {
        ConfigError::new(&place, "is missing; write milliseconds, at least 30000, or text such as \"1m\"")
    })?;
    let place_codes = format!("{path}.failure_status_codes");
    let failure_status_codes =
        given(map, "failure_status_codes").map(|v| status_codes(v, &place_codes)).transpose()?;
    if let Some(code) = failure_status_codes.iter().flatten().find(|c| breaker::NEVER_FAILURES.contains(c)) {
        let message = format!("{code} is the request's fault, not the target's; leave it out");
        return Err(ConfigError::new(place_codes, message));
    }
    Ok(breaker::Policy {
        failure_threshold,
        failure_threshold_percentage: percentage.and_then(|p| u8::try_from(p).ok()),
        minimum_requests: whole(map, path, "minimum_requests", 1, u32::MAX)?
            .unwrap_or(breaker::MINIMUM_REQUESTS),
        cooldown_interval: duration(cooldown, &place, Unit::Milliseconds, COOLDOWNS)?,
        failure_status_codes,
    })
}

fn whole(map: &Map<String, Value>, path: &str, key: &str, least: u32, most: u32) -> Parsed<Option<u32>> {
    let read = |v: &Value| {
        let number = v.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| (least..=most).contains(n));
        let range =
            if most == u32::MAX { format!("at least {least}") } else { format!("from {least} to {most}") };
        number.ok_or_else(|| wrong(&format!("{path}.{key}"), v, &format!("a whole number, {range}")))
    };
    given(map, key).map(read).transpose()
}

impl Shape {
    /// The strategy, with the names of targets looked up.
    pub(super) fn complete(self, targets: &[Node], path: &str) -> Parsed<Strategy> {
        let (conditions, default) = match self {
            Self::Complete(strategy) => return Ok(strategy),
            Self::Conditional { conditions, default } => (conditions, default),
        };
        let find = |name: &str, place: &str| {
            targets.iter().position(|t| t.name() == Some(name)).ok_or_else(|| {
                let names: Vec<&str> = targets.iter().filter_map(Node::name).collect();
                let known = if names.is_empty() {
                    "no target has a `name`; give them one".to_owned()
                } else {
                    format!("targets here: {}", names.join(", "))
                };
                let message = format!("Invalid target name found in the query router: {name}; {known}");
                ConfigError::new(place, message)
            })
        };
        let conditions = conditions
            .into_iter()
            .map(|named| Ok(Condition { then: find(&named.then, &named.place)?, query: named.query }));
        Ok(Strategy::Conditional {
            conditions: conditions.collect::<Parsed<_>>()?,
            default: default.map(|name| find(&name, &format!("{path}.default"))).transpose()?,
        })
    }
}

impl Strategy {
    /// The word used in configs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Fallback { .. } => "fallback",
            Self::LoadBalance { .. } => "loadbalance",
            Self::Conditional { .. } => "conditional",
            Self::LeastLatency => "least_latency",
            Self::LeastBusy => "least_busy",
            Self::LeastCost => "least_cost",
        }
    }
}

/// The value of a group's `strategy`.
pub(super) fn print(group: &super::Group) -> Value {
    let mut map = Map::new();
    map.insert("mode".to_owned(), group.strategy.as_str().into());
    let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
    match &group.strategy {
        Strategy::Fallback { on_status_codes, on } => {
            on_status_codes.iter().for_each(|codes| drop(put("on_status_codes", json!(codes))));
            on.iter().for_each(|faults| drop(put("on", json!(faults))));
        }
        Strategy::LoadBalance { sticky: Some(sticky) } => {
            let fields: Vec<String> = sticky.hash_fields.iter().map(Field::to_string).collect();
            let ttl = print_duration(sticky.ttl, Unit::Seconds, TTLS);
            put("sticky", json!({"enabled": true, "hash_fields": fields, "ttl": ttl}));
        }
        Strategy::Conditional { conditions, default } => {
            let name = |i: usize| group.targets[i].name().unwrap_or_default();
            let one = |c: &Condition| json!({"query": c.query.to_json(), "then": name(c.then)});
            put("conditions", conditions.iter().map(one).collect());
            default.iter().for_each(|i| drop(put("default", name(*i).into())));
        }
        _ => {}
    }
    if let Some(budget) = group.time_budget {
        put("time_budget", print_duration(budget, Unit::Milliseconds, BUDGETS));
    }
    if let Some(policy) = &group.breaker {
        put("cb_config", print_breaker(policy));
    }
    Value::Object(map)
}

fn print_breaker(policy: &breaker::Policy) -> Value {
    let mut map = Map::new();
    let thresholds = [
        ("failure_threshold", policy.failure_threshold),
        ("failure_threshold_percentage", policy.failure_threshold_percentage.map(u32::from)),
        ("minimum_requests", Some(policy.minimum_requests)),
    ];
    for (key, value) in thresholds {
        value.iter().for_each(|v| drop(map.insert(key.to_owned(), (*v).into())));
    }
    let cooldown = print_duration(policy.cooldown_interval, Unit::Milliseconds, COOLDOWNS);
    map.insert("cooldown_interval".to_owned(), cooldown);
    if let Some(codes) = &policy.failure_status_codes {
        map.insert("failure_status_codes".to_owned(), json!(codes));
    }
    Value::Object(map)
}
