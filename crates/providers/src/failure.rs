//! Providers' failures as callers see them: always OpenAI's shape, with the provider's name in front of its words.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::chat::ProviderError;

/// The body for a provider's own error. What has no error object is quoted.
pub fn told(provider: &str, body: &[u8]) -> Bytes {
    let mut document: Map<String, Value> = match serde_json::from_slice(body) {
        Ok(Value::Object(document)) => document,
        _ => return unusable(provider, body),
    };
    let mut error = match document.remove("error") {
        Some(Value::Object(error)) => error,
        Some(Value::String(text)) => Map::from_iter([("message".to_owned(), Value::from(text))]),
        _ => return unusable(provider, body),
    };
    let words = match error.get("message") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "no message".to_owned(),
    };
    error.insert("message".to_owned(), Value::from(format!("{provider} error: {words}")));
    for field in ["type", "param", "code"] {
        error.entry(field).or_insert(Value::Null);
    }
    written(provider, Value::Object(error))
}

/// The body for an answer that is none: it quotes what came.
pub fn unusable(provider: &str, body: &[u8]) -> Bytes {
    let quoted = ProviderError::quoting(body).message;
    let message = format!("Invalid response received from {provider}: {quoted}");
    written(provider, json!({ "message": message, "type": null, "param": null, "code": null }))
}

/// The body for a call that brought no answer at all.
pub fn no_answer(provider: &str, kind: &str, words: &str) -> Bytes {
    let message = format!("{provider} error: {words}");
    written(provider, json!({ "message": message, "type": kind, "param": null, "code": kind }))
}

/// The body for a call that took too long. It is ours, so no provider is named.
pub fn timed_out(words: &str) -> Bytes {
    let error = json!({ "message": words, "type": "timeout_error", "param": null, "code": null });
    Bytes::from(json!({ "error": error }).to_string())
}

fn written(provider: &str, error: Value) -> Bytes {
    Bytes::from(json!({ "error": error, "provider": provider }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Value) {
        let told: Value = serde_json::from_slice(&told("groq", body.as_bytes())).unwrap();
        assert_eq!(told, json!({ "error": expected, "provider": "groq" }), "{body}");
    }

    #[test]
    fn errors_keep_their_fields_and_get_the_providers_name() {
        check(
            r#"{"error":{"message":"slow down","type":"rate","param":"model","code":"429","event_id":7}}"#,
            json!({ "message": "groq error: slow down", "type": "rate", "param": "model", "code": "429", "event_id": 7 }),
        );
        check(
            r#"{"error":{"message":"oops"}}"#,
            json!({ "message": "groq error: oops", "type": null, "param": null, "code": null }),
        );
        check(
            r#"{"error":"oops"}"#,
            json!({ "message": "groq error: oops", "type": null, "param": null, "code": null }),
        );
    }

    #[test]
    fn what_is_no_error_object_is_quoted() {
        for body in [r#"{"detail":"gone"}"#, "<html>bad gateway</html>", "", "[1]", r#"{"error":7}"#] {
            let message = format!("Invalid response received from groq: {body}");
            check(body, json!({ "message": message, "type": null, "param": null, "code": null }));
        }
        assert!(told("groq", &[b'x'; 9_000]).len() < 5_000);
    }

    #[test]
    fn a_timeout_is_told_as_portkey_tells_it() {
        let body: Value = serde_json::from_slice(&timed_out("too slow: 100ms")).unwrap();
        let error =
            json!({ "message": "too slow: 100ms", "type": "timeout_error", "param": null, "code": null });
        assert_eq!(body, json!({ "error": error }));
    }
}
