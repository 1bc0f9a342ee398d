//! What has to come of a vector's request.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use system_tests::harness::Mock;

use super::door::{Answered, Door};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expect {
    status: u16,
    headers: BTreeMap<String, String>,
    exact: Option<Value>,
    body: Option<Value>,
    contains: Option<Value>,
    text: Vec<String>,
    calls: Option<Vec<String>>,
    upstream: Vec<Upstream>,
    shares: BTreeMap<String, (f64, f64)>,
    at_least_ms: Option<u64>,
    at_most_ms: Option<u64>,
}

/// A request as the mock received it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Upstream {
    path: Option<String>,
    headers: BTreeMap<String, String>,
    absent: Vec<String>,
    body: Option<Value>,
}

/// What every answer over HTTP carries, success or not.
const ALWAYS: [&str; 3] = ["x-portkey-trace-id", "x-portkey-retry-attempt-count", "x-portkey-cache-status"];

type Found = Result<(), String>;

impl Expect {
    pub(super) fn check(
        &self,
        answer: &Answered,
        door: Door,
        took: Duration,
        fill: impl Fn(&str) -> String,
    ) -> Found {
        if answer.status != self.status {
            return Err(format!("status {} instead of {}: {}", answer.status, self.status, answer.text));
        }
        self.check_headers(answer, door, &fill)?;
        for (expected, how) in
            [(&self.exact, Match::Exact), (&self.body, Match::Part), (&self.contains, Match::Substring)]
        {
            if let Some(expected) = expected {
                how.compare("body", &answer.body, &filled(expected, &fill))?;
            }
        }
        for part in &self.text {
            if !answer.text.contains(&fill(part)) {
                return Err(format!("`{part}` is not in: {}", answer.text));
            }
        }
        if answer.body["status"] == "failure" && !answer.body["error"]["message"].is_string() {
            return Err(format!("clients of OpenAI's find no message: {}", answer.text));
        }
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match (self.at_least_ms, self.at_most_ms) {
            (Some(least), _) if took < least => {
                Err(format!("took {took} ms, at least {least} were expected"))
            }
            (_, Some(most)) if took > most => Err(format!("took {took} ms, at most {most} were expected")),
            _ => Ok(()),
        }
    }

    fn check_headers(&self, answer: &Answered, door: Door, fill: &impl Fn(&str) -> String) -> Found {
        for (name, expected) in &self.headers {
            let found = answer.headers.get(name);
            let fits = found.is_some_and(|found| found.split(';').next() == Some(&fill(expected)));
            // The bus has its own names for the others.
            let has_it = door == Door::Http || name.starts_with("x-portkey-");
            if has_it && !fits {
                return Err(format!("header {name} is {found:?} instead of {expected:?}: {}", answer.text));
            }
        }
        for (name, value) in &answer.headers {
            let Some(rest) = name.strip_prefix("x-portkey-") else { continue };
            let ours = answer.headers.get(&format!("x-pointsman-{rest}"));
            if ours != Some(value) {
                return Err(format!("header {name} is {value:?}, but ours is {ours:?}"));
            }
        }
        let missing = ALWAYS.iter().find(|name| door == Door::Http && !answer.headers.contains_key(**name));
        missing.map_or(Ok(()), |name| Err(format!("header {name} is missing")))
    }

    /// What the mock has seen of it.
    pub(super) async fn check_calls(&self, mock: &Mock, id: &str, fill: impl Fn(&str) -> String) -> Found {
        let models: Vec<String> =
            mock.rows(&format!("{id}-")).await.iter().map(|row| bare(&row.model, id)).collect();
        if let Some(calls) = &self.calls
            && *calls != models
        {
            return Err(format!("the provider was asked for {models:?} instead of {calls:?}"));
        }
        for (model, (least, most)) in &self.shares {
            let share = models.iter().filter(|m| *m == model).count() as f64 / models.len().max(1) as f64;
            if !(*least..=*most).contains(&share) {
                return Err(format!(
                    "{model} got {share} of {} calls instead of {least} to {most}",
                    models.len()
                ));
            }
        }
        if self.upstream.is_empty() {
            return Ok(());
        }
        let log = mock.get("/requests").await;
        let of_ours =
            |request: &&Value| request["body"].as_str().is_some_and(|body| body.contains(&format!("{id}-")));
        let requests: Vec<&Value> =
            log["requests"].as_array().into_iter().flatten().filter(of_ours).collect();
        if requests.len() != self.upstream.len() {
            return Err(format!(
                "{} requests at the provider instead of {}",
                requests.len(),
                self.upstream.len()
            ));
        }
        requests.iter().zip(&self.upstream).try_for_each(|(request, upstream)| upstream.check(request, &fill))
    }
}

impl Upstream {
    fn check(&self, request: &Value, fill: &impl Fn(&str) -> String) -> Found {
        if self.path.as_ref().is_some_and(|path| request["path"] != *path) {
            return Err(format!("the provider's path was {}", request["path"]));
        }
        for (name, expected) in &self.headers {
            let found = &request["headers"][name];
            if *found != fill(expected) {
                return Err(format!("the provider's header {name} was {found} instead of {expected}"));
            }
        }
        if let Some(name) = self.absent.iter().find(|name| !request["headers"][name.as_str()].is_null()) {
            return Err(format!("the provider got header {name}: {}", request["headers"][name.as_str()]));
        }
        let Some(expected) = &self.body else { return Ok(()) };
        let body: Value =
            serde_json::from_str(request["body"].as_str().unwrap_or_default()).unwrap_or_default();
        Match::Part.compare("the provider's body", &body, &filled(expected, fill))
    }
}

/// `v7h-a?status=500` as `a`.
fn bare(model: &str, id: &str) -> String {
    let rest = model.strip_prefix(id).unwrap_or(model).trim_start_matches('-');
    rest.split('?').next().unwrap_or_default().to_owned()
}

fn filled(value: &Value, fill: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::from(fill(text)),
        Value::Array(items) => items.iter().map(|item| filled(item, fill)).collect(),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(k, v)| (k.clone(), filled(v, fill))).collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Match {
    /// The very same document.
    Exact,
    /// Objects may have more fields.
    Part,
    /// As `Part`, and strings may go on before and after.
    Substring,
}

impl Match {
    fn compare(self, place: &str, found: &Value, expected: &Value) -> Found {
        match (found, expected) {
            (Value::Object(found), Value::Object(expected)) if self != Self::Exact => {
                expected.iter().try_for_each(|(key, value)| {
                    let place = format!("{place}.{key}");
                    match found.get(key) {
                        Some(found) => self.compare(&place, found, value),
                        None => Err(format!("{place} is missing; it should be {value}")),
                    }
                })
            }
            (Value::Array(found), Value::Array(expected))
                if self != Self::Exact && found.len() == expected.len() =>
            {
                let pairs = found.iter().zip(expected).enumerate();
                pairs.into_iter().try_for_each(|(i, (f, e))| self.compare(&format!("{place}[{i}]"), f, e))
            }
            (Value::String(found), Value::String(expected))
                if self == Self::Substring && found.contains(expected) =>
            {
                Ok(())
            }
            _ if found == expected => Ok(()),
            _ => Err(format!("{place} is {found} instead of {expected}")),
        }
    }
}
