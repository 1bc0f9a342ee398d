//! Answers as HTTP responses.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::cache::Use;
use domain::frame::Head;
use domain::headers as names;
use domain::{ApiError, Operation, Outcome, RequestId};
use futures::StreamExt as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tracing::debug;

use crate::body::Body;
use crate::waiting::{Pending, Step};

const OUR_REQUEST_ID: HeaderName = HeaderName::from_static("pointsman-request-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Where Anthropic's clients look. The provider's own stays, since only its support knows what it means.
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

const EVENT_STREAM: &str = "text/event-stream";

/// An answer in one piece.
pub(crate) fn whole(outcome: &Outcome, body: Bytes) -> Response<Body> {
    let mut response = start(outcome.status, &outcome.content_type, &outcome.headers, body);
    let headers = response.headers_mut();
    let (path, provider) = (outcome.path.as_deref(), outcome.provider.as_deref());
    route(headers, path, provider, outcome.retry_count, outcome.cache.as_deref());
    if outcome.provider.is_none() {
        own_failure(headers, outcome.status);
    }
    name_request(headers, &outcome.request);
    response
}

/// An answer that has begun; the rest follows as it comes.
pub(crate) fn pieces(
    head: &Head,
    operation: Operation,
    request: &RequestId,
    pending: Pending,
) -> Response<Body> {
    let mut response = start(head.status, &head.content_type, &head.headers, Bytes::new());
    let headers = response.headers_mut();
    route(headers, Some(&head.path), Some(&head.provider), head.retry_count, head.cache.as_deref());
    name_request(headers, request);
    let next = move |pending| next_piece(operation, pending);
    response.map(|_| Body::Pieces(futures::stream::unfold(Some(pending), next).boxed()))
}

async fn next_piece(operation: Operation, pending: Option<Pending>) -> Option<(Bytes, Option<Pending>)> {
    let mut pending = pending?;
    loop {
        match pending.next().await {
            Step::Begin(_) => {}
            Step::Bytes(bytes) => return Some((bytes, Some(pending))),
            Step::Done(_) | Step::Whole(..) => return None,
            Step::Failed(err) => {
                debug!(%err, "a streamed answer broke off");
                return Some((error_event(operation, &err), None));
            }
        }
    }
}

/// The event that tells a caller that a streamed answer broke off.
pub(crate) fn error_event(operation: Operation, err: &ApiError) -> Bytes {
    providers::exchange::error_event(operation, err)
}

/// An error instead of an answer to a question for a model.
pub(crate) fn refusal(operation: Operation, err: &ApiError) -> Response<Body> {
    let mut response = error_with(err, err.body_for(operation));
    let headers = response.headers_mut();
    route(headers, None, None, 0, None);
    own_failure(headers, err.status);
    response
}

/// An error that is our own doing.
pub(crate) fn error(err: &ApiError) -> Response<Body> {
    error_with(err, err.body())
}

fn error_with(err: &ApiError, body: Vec<u8>) -> Response<Body> {
    let mut response = start(err.status, "application/json", &BTreeMap::new(), Bytes::from(body));
    if let Some(seconds) = err.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A JSON document.
pub(crate) fn json(status: u16, document: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_vec(document) {
        Ok(body) => start(status, "application/json", &BTreeMap::new(), Bytes::from(body)),
        Err(err) => error(&ApiError::new(500, "internal", format!("the answer could not be written: {err}"))),
    }
}

/// Plain text.
pub(crate) fn text(status: u16, content_type: &str, body: String) -> Response<Body> {
    start(status, content_type, &BTreeMap::new(), Bytes::from(body))
}

/// Names the request an answer belongs to.
pub(crate) fn name_request(headers: &mut HeaderMap, request: &RequestId) {
    put(headers, OUR_REQUEST_ID, request.local());
    put(headers, REQUEST_ID, request.local());
    if !headers.contains_key(ANTHROPIC_REQUEST_ID) {
        put(headers, ANTHROPIC_REQUEST_ID, request.local());
    }
}

/// Names the trace an answer belongs to. Portkey's clients repeat a failed request if this is missing.
pub(crate) fn name_trace(headers: &mut HeaderMap, trace_id: &str) {
    put_both(headers, names::ANSWERED_TRACE, trace_id);
}

/// Sets a header, unless its value cannot be one.
pub(crate) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}

/// Sets a header under Portkey's name and ours.
fn put_both(headers: &mut HeaderMap, both: [&'static str; 2], value: &str) {
    for name in both {
        put(headers, HeaderName::from_static(name), value);
    }
}

/// An answer with these headers; those that belong to the connection are left out.
pub(crate) fn start(
    status: u16,
    content_type: &str,
    passed_on: &BTreeMap<String, String>,
    body: Bytes,
) -> Response<Body> {
    let mut response = Response::new(Body::Whole(body));
    // 1xx are no final answers, and hyper would wait for another.
    *response.status_mut() = StatusCode::from_u16(status)
        .ok()
        .filter(|s| !s.is_informational())
        .unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.reserve(12);
    for (name, value) in passed_on {
        if let Some(name) = HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !is_framing(name)) {
            put(headers, name, value);
        }
    }
    if !content_type.is_empty() {
        put(headers, CONTENT_TYPE, content_type);
    }
    if content_type.starts_with(EVENT_STREAM) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    response
}

/// Headers that say how this connection is used, not what is answered.
fn is_framing(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "content-encoding"
            | "content-length"
            | "keep-alive"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Says which way the request went.
fn route(
    headers: &mut HeaderMap,
    path: Option<&str>,
    provider: Option<&str>,
    retry_count: i32,
    cache: Option<&Use>,
) {
    for (both, value) in names::of_route(path, provider, retry_count, cache) {
        put_both(headers, both, &value);
    }
    for (name, value) in cache.map(names::of_entry).unwrap_or_default() {
        put(headers, HeaderName::from_static(name), &value);
    }
}

/// Says that no provider answered so, but we.
fn own_failure(headers: &mut HeaderMap, status: u16) {
    if status >= 500 {
        put_both(headers, names::GATEWAY_EXCEPTION, "true");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
        response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn errors_keep_their_status_and_say_when_to_try_again() {
        let response = error(&ApiError::new(429, "backlog_full", "full").with_retry_after(1));
        assert_eq!(response.status(), 429);
        assert_eq!(header(&response, "retry-after"), Some("1"));
        assert_eq!(header(&response, "content-type"), Some("application/json"));
        let Body::Whole(body) = response.into_body() else { panic!("an error comes in one piece") };
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["type"], "rate_limit_error");
        assert_eq!(body["error"]["code"], "backlog_full");
        assert_eq!(body["error"]["param"], serde_json::Value::Null);
    }

    #[test]
    fn refusals_say_who_refused_under_both_names() {
        let response = refusal(Operation::Chat, &ApiError::new(503, "unavailable", "away"));
        for prefix in ["x-portkey", "x-pointsman"] {
            assert_eq!(header(&response, &format!("{prefix}-retry-attempt-count")), Some("0"));
            assert_eq!(header(&response, &format!("{prefix}-cache-status")), Some("DISABLED"));
            assert_eq!(header(&response, &format!("{prefix}-gateway-exception")), Some("true"));
        }
        let response = refusal(Operation::Chat, &ApiError::new(400, "invalid_json", "oops"));
        assert_eq!(header(&response, "x-portkey-gateway-exception"), None);
    }

    #[test]
    fn a_providers_headers_pass_but_cannot_break_the_connection() {
        let passed = [
            ("x-ratelimit-remaining-requests", "7"),
            ("content-length", "99"),
            ("transfer-encoding", "chunked"),
            ("bad name", "x"),
            ("x-bad-value", "a\r\nb: c"),
        ];
        let passed = passed.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let response = start(200, "text/event-stream; charset=utf-8", &passed, Bytes::new());
        assert_eq!(header(&response, "x-ratelimit-remaining-requests"), Some("7"));
        assert_eq!(header(&response, "cache-control"), Some("no-cache"));
        for name in ["content-length", "transfer-encoding", "x-bad-value", "b"] {
            assert_eq!(header(&response, name), None, "{name}");
        }
    }

    #[test]
    fn a_status_that_is_none_becomes_a_bad_gateway() {
        for status in [0, 99, 100, 101, 1000] {
            assert_eq!(start(status, "", &BTreeMap::new(), Bytes::new()).status(), 502, "{status}");
        }
        assert_eq!(start(499, "", &BTreeMap::new(), Bytes::new()).status(), 499);
    }

    #[test]
    fn a_broken_stream_ends_with_an_error_event() {
        let event = error_event(Operation::Chat, &ApiError::new(502, "attempt_lost", "lost"));
        let text = std::str::from_utf8(&event).unwrap();
        let data = text.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap();
        let value: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(value["error"]["code"], "attempt_lost");
        assert_eq!(value["error"]["type"], "server_error");
    }
}
