//! Errors, both ways.

use serde_json::{Map, Value, json};

use crate::chat::ProviderError;

/// A provider's error in OpenAI's shape, with the provider's name in front of its words. The same as
/// [`failure::told`](crate::failure::told) says of an error that came in this shape.
pub fn write_error(error: &ProviderError, status: u16, provider: &str) -> Vec<u8> {
    let ProviderError { message, kind, code, param, request_id, status: _ } = error;
    let words = if message.is_empty() { format!("no message (status {status})") } else { message.clone() };
    let mut body = Map::new();
    body.insert("message".into(), format!("{provider} error: {words}").into());
    body.insert("type".into(), kind.as_deref().into());
    body.insert("param".into(), param.as_deref().into());
    body.insert("code".into(), code.as_deref().into());
    if let Some(request_id) = request_id {
        body.insert("request_id".into(), request_id.as_str().into());
    }
    json!({ "error": body, "provider": provider }).to_string().into_bytes()
}

/// Reads an error answer: `{"error": {…}}`, `{"error": "…"}`, or vLLM's `{"object": "error", …}`. What has none of
/// these shapes is quoted.
pub fn read_error(body: &[u8]) -> ProviderError {
    let document = serde_json::from_slice(body).unwrap_or(Value::Null);
    of_value(&document).unwrap_or_else(|| ProviderError::quoting(body))
}

/// The error that a document tells, if it does.
pub(super) fn of_value(document: &Value) -> Option<ProviderError> {
    let error = match document.get("error") {
        Some(Value::String(text)) => {
            let request_id = word(document, "request_id");
            return Some(ProviderError { message: text.clone(), request_id, ..ProviderError::default() });
        }
        Some(error @ Value::Object(_)) => error,
        _ if document.get("object").and_then(Value::as_str) == Some("error") => document,
        _ => return None,
    };
    let message = match error.get("message") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let code = word(error, "code");
    let status = code.as_deref().and_then(|code| code.parse().ok()).filter(|code| (400..600).contains(code));
    Some(ProviderError {
        message,
        kind: word(error, "type"),
        param: word(error, "param"),
        request_id: word(error, "request_id").or_else(|| word(document, "request_id")),
        status,
        code,
    })
}

/// A word or a number as text.
fn word(value: &Value, name: &str) -> Option<String> {
    match value.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
