//! Gemini's errors: `google.rpc.Status` in JSON.

use serde_json::{Map, Value};

use crate::chat::ProviderError;

/// Reads the body of an error.
///
/// Source: "Error model" in Google's API design guide (AIP-193). Streams without `alt=sse` have it in an array.
pub fn read_error(body: &[u8]) -> ProviderError {
    let value = serde_json::from_slice::<Value>(body).ok();
    value.and_then(error_in).unwrap_or_else(|| ProviderError::quoting(body))
}

/// The error that a JSON value holds, if it holds one.
pub(super) fn error_in(value: Value) -> Option<ProviderError> {
    let value = match value {
        Value::Array(values) => values.into_iter().next()?,
        other => other,
    };
    let Value::Object(mut outer) = value else { return None };
    match outer.remove("error")? {
        Value::Object(error) => Some(status(&error)),
        // OAuth's errors: a word and a description.
        Value::String(word) => {
            let message = outer.get("error_description").and_then(Value::as_str).unwrap_or(&word).to_owned();
            Some(ProviderError { message, kind: Some(word), ..ProviderError::default() })
        }
        _ => None,
    }
}

fn status(error: &Map<String, Value>) -> ProviderError {
    let text = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
    let details = || error.get("details").and_then(Value::as_array).into_iter().flatten();
    let detail = |name: &str| details().find_map(|detail| detail.get(name)?.as_str()).map(str::to_owned);
    let number = error.get("code").and_then(Value::as_u64);
    let violations = details().filter_map(|detail| detail.get("fieldViolations")?.as_array()).flatten();
    let mut fields = violations.filter_map(|violation| violation.get("field")?.as_str());
    ProviderError {
        message: text("message").unwrap_or_default(),
        kind: text("status"),
        code: detail("reason").or_else(|| number.map(|number| number.to_string())),
        param: fields.next().filter(|field| !field.is_empty()).map(str::to_owned),
        request_id: detail("requestId"),
        status: number.and_then(|number| u16::try_from(number).ok()).filter(|code| (400..600).contains(code)),
    }
}
