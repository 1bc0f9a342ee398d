//! Errors in Anthropic's shape: `{"type":"error","error":{"type","message"},"request_id"}`.

use domain::error::anthropic_type;
use serde_json::{Map, Value, json};

use crate::chat::ProviderError;

/// The status that an Anthropic family of errors comes with.
///
/// Source: "Errors" on platform.claude.com.
fn status_of(kind: &str) -> Option<u16> {
    const STATUSES: [u16; 10] = [400, 401, 402, 403, 404, 413, 429, 500, 504, 529];
    STATUSES.into_iter().find(|status| anthropic_type(*status) == kind)
}

/// The body for a provider's error. Its name comes in front of its words; code, field and request id are kept, and so
/// is a family of errors that Anthropic does not have, as `provider_type`.
pub fn write_error(error: &ProviderError, status: u16, provider: &str) -> Vec<u8> {
    document(error, status, provider).to_string().into_bytes()
}

/// The event for an error in the middle of a stream.
pub(super) fn event(error: &ProviderError, provider: &str) -> Vec<u8> {
    let status = error.status.or_else(|| error.kind.as_deref().and_then(status_of)).unwrap_or(500);
    format!("event: error\ndata: {}\n\n", document(error, status, provider)).into_bytes()
}

fn document(error: &ProviderError, status: u16, provider: &str) -> Value {
    let ProviderError { message, kind, code, param, request_id, status: _ } = error;
    let family = family(kind.as_deref(), status);
    let mut inner = Map::new();
    inner.insert("type".to_owned(), family.into());
    inner.insert("message".to_owned(), format!("{provider} error: {message}").into());
    if let Some(kind) = kind.as_deref().filter(|kind| *kind != family) {
        inner.insert("provider_type".to_owned(), kind.into());
    }
    if let Some(code) = code {
        inner.insert("code".to_owned(), code.as_str().into());
    }
    if let Some(param) = param {
        inner.insert("param".to_owned(), param.as_str().into());
    }
    json!({ "type": "error", "error": inner, "request_id": request_id })
}

/// The provider's own family if Anthropic has it. Others use the two that fit everything where the status says more.
fn family(kind: Option<&str>, status: u16) -> &str {
    let known = kind.filter(|kind| status_of(kind).is_some());
    let of_status = anthropic_type(status);
    let says_more = status_of(of_status) == Some(status);
    match known {
        Some("invalid_request_error" | "api_error") if says_more => of_status,
        Some(known) => known,
        None => of_status,
    }
}

/// The body for an error of a provider that speaks this shape: the provider's name comes in front of its words, the
/// rest stays as it is.
pub fn forward_error(body: &[u8], status: u16, provider: &str) -> Vec<u8> {
    let mut document = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let of_this_shape = document["type"] == "error" && document["error"]["type"].is_string();
    match document.pointer_mut("/error/message") {
        Some(Value::String(words)) if of_this_shape => {
            *words = format!("{provider} error: {words}");
            document.to_string().into_bytes()
        }
        _ => write_error(&read_error(body), status, provider),
    }
}

/// Reads an error answer, Anthropic's or one of the shapes that gateways and clouds in front of it use.
pub fn read_error(body: &[u8]) -> ProviderError {
    let document = serde_json::from_slice::<Value>(body).ok();
    document.as_ref().and_then(error_of).unwrap_or_else(|| ProviderError::quoting(body))
}

/// The error in a JSON document, if there is one.
pub(super) fn error_of(document: &Value) -> Option<ProviderError> {
    let word = |value: Option<&Value>| match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let request_id = word(document.get("request_id"));
    let error = match document.get("error") {
        Some(Value::String(message)) => {
            return Some(ProviderError { message: message.clone(), request_id, ..ProviderError::default() });
        }
        Some(error @ Value::Object(_)) => error,
        _ => document,
    };
    let kind = word(error.get("type")).filter(|kind| kind != "error");
    let status = kind.as_deref().and_then(status_of);
    Some(ProviderError {
        message: word(error.get("message"))?,
        code: word(error.pointer("/details/error_code")).or_else(|| word(error.get("code"))),
        param: word(error.get("param")),
        kind,
        request_id,
        status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(body: Vec<u8>) -> Value {
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn anthropics_errors_are_read_and_written_back() {
        let body = br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
        let error = read_error(body);
        let expected = ProviderError {
            message: "Overloaded".into(),
            kind: Some("overloaded_error".into()),
            request_id: Some("req_1".into()),
            status: Some(529),
            ..ProviderError::default()
        };
        assert_eq!(error, expected);
        let written = json!({
            "type": "error", "request_id": "req_1",
            "error": {"type": "overloaded_error", "message": "anthropic error: Overloaded"},
        });
        assert_eq!(value(write_error(&error, 529, "anthropic")), written);
    }

    #[test]
    fn other_families_are_told_by_the_status_and_kept() {
        let error = ProviderError {
            message: "slow down".into(),
            kind: Some("insufficient_quota".into()),
            code: Some("429".into()),
            param: Some("model".into()),
            ..ProviderError::default()
        };
        let written = json!({
            "type": "error", "request_id": null,
            "error": {
                "type": "rate_limit_error", "message": "groq error: slow down",
                "provider_type": "insufficient_quota", "code": "429", "param": "model",
            },
        });
        assert_eq!(value(write_error(&error, 429, "groq")), written);
    }

    #[test]
    fn the_status_says_more_than_a_family_for_everything() {
        for (kind, status, expected) in [
            ("invalid_request_error", 413, "request_too_large"),
            ("invalid_request_error", 422, "invalid_request_error"),
            ("api_error", 529, "overloaded_error"),
            ("rate_limit_error", 400, "rate_limit_error"),
        ] {
            let error = ProviderError { kind: Some(kind.into()), ..ProviderError::default() };
            let written = value(write_error(&error, status, "groq"));
            assert_eq!(written["error"]["type"], expected, "{kind} {status}");
            assert_eq!(written["error"].get("provider_type").is_some(), kind != expected, "{kind} {status}");
        }
    }

    #[test]
    fn an_error_of_this_shape_keeps_what_it_has() {
        let body = br#"{"type":"error","error":{"type":"not_found_error","message":"gone","details":{"error_code":"thread_not_found","unsupported":["a"]}},"request_id":"r"}"#;
        let mut expected: Value = serde_json::from_slice(body).unwrap();
        expected["error"]["message"] = "anthropic error: gone".into();
        assert_eq!(value(forward_error(body, 404, "anthropic")), expected);
        for other in [&br#"{"error":{"message":"no"}}"#[..], br#"{"type":"error"}"#, b"<html>", b"[]", b""] {
            let written = write_error(&read_error(other), 502, "anthropic");
            assert_eq!(forward_error(other, 502, "anthropic"), written);
        }
    }

    #[test]
    fn families_have_their_statuses() {
        for (kind, status) in [
            ("invalid_request_error", Some(400)),
            ("not_found_error", Some(404)),
            ("rate_limit_error", Some(429)),
            ("api_error", Some(500)),
            ("timeout_error", Some(504)),
            ("overloaded_error", Some(529)),
            ("insufficient_quota", None),
        ] {
            assert_eq!(status_of(kind), status, "{kind}");
        }
    }

    #[test]
    fn other_shapes_are_read_and_the_rest_is_quoted() {
        assert_eq!(read_error(b"<html>bad gateway").message, "<html>bad gateway");
        assert_eq!(read_error(br#"{"message":"no such model"}"#).message, "no such model");
        assert_eq!(read_error(br#"{"error":"denied"}"#).message, "denied");
        let details = br#"{"type":"error","error":{"type":"invalid_request_error","message":"m","details":{"error_code":"x"}}}"#;
        assert_eq!(read_error(details).code.as_deref(), Some("x"));
    }
}
