//! Bodies as types: unknown keys are refused with the nearest known one, wrong values with their place.

use std::borrow::Cow;
use std::collections::BTreeMap;

use domain::policy::{Caps, Defaults, InvalidCap};
use domain::{Slug, Timestamp, Workspace};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::call::Call;
use crate::refusal::Refusal;

/// Reads a body.
pub(crate) fn read<T: DeserializeOwned + JsonSchema>(body: &Value) -> Result<T, Refusal> {
    let Some(map) = body.as_object().cloned() else {
        return Err(Refusal::invalid(
            "body",
            "the body is not a JSON object; send one, as in `{\"name\": \"…\"}`",
        ));
    };
    let schema = schemars::schema_for!(T);
    let known: Vec<&str> = schema
        .get("properties")
        .and_then(Value::as_object)
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let map = respelled(map, &known)?;
    if let Some(unknown) = map.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Refusal::invalid(
            unknown,
            format!("`{unknown}` is unknown here; {}", suggest(unknown, &known)),
        ));
    }
    serde_path_to_error::deserialize(Value::Object(map)).map_err(|err| {
        let path = err.path().to_string();
        let reason = err.into_inner();
        match path.as_str() {
            "." => Refusal::invalid("body", format!("the body: {reason}")),
            path => Refusal::invalid(path, format!("`{path}`: {reason}")),
        }
    })
}

/// Other spellings of fields that Portkey's clients use, and those of its documents.
const SPELLINGS: &[(&str, &str)] = &[("is_default", "isDefault")];

fn respelled(mut map: Map<String, Value>, known: &[&str]) -> Result<Map<String, Value>, Refusal> {
    for (other, usual) in
        SPELLINGS.iter().filter(|(other, usual)| !known.contains(other) && known.contains(usual))
    {
        let Some(value) = map.remove(*other) else { continue };
        if map.insert((*usual).to_owned(), value).is_some() {
            let message = format!("`{other}` and `{usual}` are the same field; write one of them");
            return Err(Refusal::invalid(other, message));
        }
    }
    Ok(map)
}

/// The nearest of the known words, or all of them.
pub(crate) fn suggest(unknown: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(a, unknown).total_cmp(&strsim::jaro_winkler(b, unknown)));
    match nearest.filter(|near| strsim::jaro_winkler(near, unknown) > 0.8) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("understood: {}", known.join(", ")),
    }
}

/// A field that may be left as it is, cleared with `null`, or set.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    d: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(d).map(Some)
}

/// A point in time: RFC 3339 text or milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct When(pub(crate) Timestamp);

/// Reads a point in time.
pub(crate) fn parse_when(text: &str) -> Option<Timestamp> {
    if let Ok(ms) = text.parse() {
        return Some(Timestamp(ms));
    }
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp)
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let at = match Value::deserialize(deserializer)? {
            Value::Number(ms) => ms.as_u64().map(Timestamp),
            Value::String(text) => parse_when(&text),
            _ => None,
        };
        let fix = "not a point in time; write `2027-01-31T12:00:00Z` or milliseconds since 1970";
        at.map(Self).ok_or_else(|| D::Error::custom(fix))
    }
}

impl JsonSchema for When {
    fn schema_name() -> Cow<'static, str> {
        "When".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A point in time: RFC 3339 text or milliseconds since 1970.",
            "oneOf": [{ "type": "string", "format": "date-time" }, { "type": "integer", "minimum": 0 }],
        })
    }
}

/// `true`, `false`, 1 or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(flag) => Ok(Self(flag)),
            Value::Number(n) if n.as_u64() == Some(0) => Ok(Self(false)),
            Value::Number(n) if n.as_u64() == Some(1) => Ok(Self(true)),
            other => Err(D::Error::custom(format!("`{other}` is neither true nor false (1 or 0)"))),
        }
    }
}

impl JsonSchema for Flag {
    fn schema_name() -> Cow<'static, str> {
        "Flag".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "`true`, `false`, 1 or 0.", "enum": [true, false, 0, 1] })
    }
}

/// Values that requests get unless they bring their own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DefaultsBody {
    /// Id of a stored config.
    pub(crate) config_id: Option<String>,
    /// Key-value pairs merged under those of the request.
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
    /// Whether a request may bring another config.
    pub(crate) allow_config_override: Option<bool>,
    /// Whether answers say what they cost.
    #[serde(default)]
    pub(crate) show_cost: bool,
}

impl DefaultsBody {
    /// Checks that the config is there.
    pub(crate) fn check(self, call: &Call<'_>, workspace: &Workspace) -> Result<Defaults, Refusal> {
        let config = self.config_id.map(|text| {
            let missing = || {
                let message = format!("`defaults.config_id`: workspace `{workspace}` has no config `{text}`");
                Refusal::invalid("defaults.config_id", message)
            };
            let slug = Slug::parse(&text).map_err(|_| missing())?;
            call.policy.config(workspace, &slug).map(|_| slug).ok_or_else(missing)
        });
        Ok(Defaults {
            config_id: config.transpose()?,
            metadata: self.metadata,
            allow_config_override: self.allow_config_override.unwrap_or(true),
            show_cost: self.show_cost,
        })
    }
}

/// Takes declared caps over. What is not given stays; `null` clears. The entity reads them, and refuses with [`cap`].
pub(crate) fn set_caps(
    caps: &mut Caps,
    usage_limits: Option<Option<Value>>,
    rate_limits: Option<Option<Value>>,
) {
    if let Some(usage) = usage_limits {
        caps.usage_limits = usage.unwrap_or_default();
    }
    if let Some(rates) = rate_limits {
        caps.rate_limits = rates.unwrap_or_default();
    }
}

/// Refuses a cap that cannot be read.
pub(crate) fn cap(err: &InvalidCap) -> Refusal {
    Refusal::invalid(&err.path, err.to_string())
}
