//! When to try the same target again.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Profile;
use super::read::{Parsed, boolean, given, known_keys, object, status_codes, wrong};

/// Retries of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Tries after the first; at most [`MAX`].
    pub attempts: u32,
    /// Statuses that are tried again.
    pub on_status_codes: Vec<u16>,
    /// A provider's `Retry-After` on a 429 counts, not our own backoff.
    pub use_retry_after: bool,
    /// Our own waits are spread evenly from nothing to the whole backoff ("full jitter"), so that many requests
    /// that failed together do not come back together.
    pub jitter: bool,
}

/// Most retries; larger wishes are clamped, as in Portkey's documentation.
pub const MAX: u32 = 5;

/// Statuses that are tried again unless a config says otherwise: those of Portkey's open-source gateway.
pub const STATUSES: &[u16] = &[429, 500, 502, 503, 504];

/// As [`STATUSES`], for [`Profile::Hosted`].
pub const HOSTED_STATUSES: &[u16] = &[429, 500, 502, 503, 504, 529];

/// A provider that asks for this much, once or in sum, is not waited for.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Default for Policy {
    fn default() -> Self {
        Self { attempts: 0, on_status_codes: STATUSES.to_vec(), use_retry_after: false, jitter: false }
    }
}

impl Policy {
    /// A number of retries, with the statuses of a profile.
    pub(super) fn of(attempts: u32, profile: Profile) -> Self {
        let statuses = if profile == Profile::Hosted { HOSTED_STATUSES } else { STATUSES };
        Self { attempts: attempts.min(MAX), on_status_codes: statuses.to_vec(), ..Self::default() }
    }
}

/// Wait before retry number `n`, counted from 1: 1 s, 2 s, 4 s, … as Portkey does.
pub fn backoff(n: u32) -> Duration {
    Duration::from_secs(1 << n.saturating_sub(1).min(16))
}

const KNOWN: &[&str] =
    &["attempts", "on_status_codes", "use_retry_after_header", "use_retry_after_headers", "jitter"];

pub(super) fn parse(value: &Value, path: &str, profile: Profile) -> Parsed<Policy> {
    let map = object(value, path)?;
    known_keys(map, path, &[KNOWN], &[])?;
    let wanted = |v: &Value| {
        v.as_u64().ok_or_else(|| wrong(&format!("{path}.attempts"), v, "a number of retries, 0 to 5"))
    };
    let attempts = given(map, "attempts").map(wanted).transpose()?.unwrap_or(0);
    let mut policy = Policy::of(u32::try_from(attempts).unwrap_or(MAX), profile);
    if let Some(codes) = given(map, "on_status_codes") {
        policy.on_status_codes = status_codes(codes, &format!("{path}.on_status_codes"))?;
    }
    // Portkey's documentation and its code spell it differently.
    for key in ["use_retry_after_header", "use_retry_after_headers"] {
        policy.use_retry_after |= boolean(map, path, key)?.unwrap_or(false);
    }
    policy.jitter = match given(map, "jitter") {
        None => false,
        Some(Value::String(kind)) if kind == "full" => true,
        Some(Value::Bool(on)) => *on,
        Some(other) => return Err(wrong(&format!("{path}.jitter"), other, "true, false or \"full\"")),
    };
    Ok(policy)
}

pub(super) fn print(policy: &Policy) -> Value {
    let mut map = Map::new();
    map.insert("attempts".to_owned(), policy.attempts.into());
    map.insert("on_status_codes".to_owned(), json!(policy.on_status_codes));
    for (key, on) in [("use_retry_after_header", policy.use_retry_after), ("jitter", policy.jitter)] {
        if on {
            map.insert(key.to_owned(), true.into());
        }
    }
    Value::Object(map)
}
