//! Headers of the messages that leave the system.

use domain::cache::Use;
use domain::{BodyRef, Outcome, headers};

use crate::Headers;

/// Headers of an answer on a producer's own subject.
pub fn answer(outcome: &Outcome) -> Headers {
    let mut out = Headers::new();
    out.insert(headers::REQUEST_ID, outcome.request.local());
    out.insert(headers::OUTCOME, outcome.kind.as_str());
    out.insert(headers::STATUS, outcome.status.to_string().as_str());
    out.insert(headers::ATTEMPTS, outcome.attempts.len().to_string().as_str());
    out.insert("Content-Type", crate::work::one_line(&outcome.content_type).as_str());
    let (path, provider) = (outcome.path.as_deref(), outcome.provider.as_deref());
    route(&mut out, path, provider, outcome.retry_count, outcome.cache.as_deref());
    if let BodyRef::Stored { object, size } = &outcome.body {
        out.insert(headers::BODY, format!("{object};{size}").as_str());
    }
    out
}

/// Says which way an answer came, under Portkey's names and ours.
pub fn route(
    out: &mut Headers,
    path: Option<&str>,
    provider: Option<&str>,
    retry_count: i32,
    cache: Option<&Use>,
) {
    for (names, value) in headers::of_route(path, provider, retry_count, cache) {
        for name in names {
            out.insert(name, crate::work::one_line(&value).as_str());
        }
    }
    for (name, value) in cache.map(headers::of_entry).unwrap_or_default() {
        out.insert(name, value.as_str());
    }
}
