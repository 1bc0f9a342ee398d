//! What Bedrock says went wrong, in answers and in the middle of streams.

use serde_json::Value;

use crate::chat::ProviderError;

/// Exceptions and the statuses that belong to them. Source: the service model of the Bedrock runtime.
const STATUSES: &[(&str, u16)] = &[
    ("accessDeniedException", 403),
    ("conflictException", 400),
    ("internalServerException", 500),
    ("modelErrorException", 424),
    ("modelNotReadyException", 429),
    ("modelStreamErrorException", 424),
    ("modelTimeoutException", 408),
    ("resourceNotFoundException", 404),
    ("serviceQuotaExceededException", 400),
    ("serviceUnavailableException", 503),
    ("throttlingException", 429),
    ("validationException", 400),
];

/// Reads an error answer: `{"message": …}`, by some services with a capital, by some with its type.
pub fn read_error(body: &[u8]) -> ProviderError {
    let known = serde_json::from_slice::<Value>(body).ok().and_then(|value| known(&value));
    known.unwrap_or_else(|| ProviderError::quoting(body))
}

fn known(value: &Value) -> Option<ProviderError> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let message = text("message").or_else(|| text("Message"))?;
    // `com.amazon.coral.service#ValidationException`, and sometimes an address behind a colon.
    let kind = text("__type").map(|kind| kind.rsplit('#').next().unwrap_or(kind));
    let kind = kind.map(|kind| kind.split(':').next().unwrap_or(kind).to_owned());
    let code = value.get("originalStatusCode").and_then(Value::as_u64).map(|status| status.to_string());
    // What the model itself said explains more than that it failed.
    let message = match text("originalMessage") {
        Some(original) if original != message => format!("{message} ({original})"),
        _ => message.to_owned(),
    };
    Some(ProviderError { message, kind, code, ..ProviderError::default() })
}

/// An exception in a stream.
pub(super) fn exception(kind: &str, payload: &[u8]) -> ProviderError {
    ProviderError { kind: Some(kind.to_owned()), status: Some(status(kind)), ..read_error(payload) }
}

/// An error of the stream itself, which is in the frame's headers.
pub(super) fn stream_error(code: &str, message: &str) -> ProviderError {
    ProviderError {
        message: message.to_owned(),
        kind: Some(code.to_owned()),
        status: Some(status(code)),
        ..ProviderError::default()
    }
}

/// What nobody told us about is the provider's own fault.
fn status(kind: &str) -> u16 {
    STATUSES.iter().find(|(known, _)| known.eq_ignore_ascii_case(kind)).map_or(500, |(_, status)| *status)
}
