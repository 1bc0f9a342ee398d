//! Why a provider refused: its own code, or one for the sentences that providers without codes use.

use serde::Deserialize;
use serde_json::Value;

use crate::openai;

/// Pieces of error messages in lower case, and the code that says the same.
const SENTENCES: &[(&str, &str)] = &[
    ("maximum context length", CONTEXT_LENGTH),
    ("context length exceeded", CONTEXT_LENGTH),
    ("context window", CONTEXT_LENGTH),
    ("context size", CONTEXT_LENGTH),
    ("prompt is too long", CONTEXT_LENGTH),
    ("prompt too long", CONTEXT_LENGTH),
    ("input is too long", CONTEXT_LENGTH),
    ("input length and `max_tokens` exceed", CONTEXT_LENGTH),
    ("exceeds the maximum number of tokens", CONTEXT_LENGTH),
    ("too many input tokens", CONTEXT_LENGTH),
    ("content management policy", CONTENT_FILTER),
    ("content filtering policy", CONTENT_FILTER),
    ("content policy", CONTENT_FILTER),
    ("blocked by our moderation", CONTENT_FILTER),
    ("requires moderation", CONTENT_FILTER),
    ("was flagged", CONTENT_FILTER),
];

const CONTEXT_LENGTH: &str = "context_length_exceeded";
const CONTENT_FILTER: &str = "content_filter";

/// The code of an error answer. A well-known sentence wins over a code that only says that the request was invalid;
/// the sentence itself is not kept, because it may repeat the prompt.
pub fn code(body: &[u8]) -> Option<String> {
    let code = openai::error_code(body);
    let is_vague =
        code.as_deref().is_none_or(|code| code.starts_with("invalid_") || code.ends_with("_error"));
    let told = || {
        let message = message(body)?.to_lowercase();
        SENTENCES.iter().find(|(piece, _)| message.contains(piece)).map(|(_, code)| (*code).to_owned())
    };
    if is_vague { told().or(code) } else { code }
}

fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Failed {
        error: Option<Value>,
        message: Option<Value>,
    }
    let failed: Failed = serde_json::from_slice(body).ok()?;
    let inner = failed.error.and_then(|error| match error {
        Value::String(text) => Some(text),
        error => error.get("message").and_then(Value::as_str).map(str::to_owned),
    });
    inner.or_else(|| failed.message.as_ref().and_then(Value::as_str).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Option<&str>) {
        assert_eq!(code(body.as_bytes()).as_deref(), expected, "{body}");
    }

    #[test]
    fn a_code_is_taken_as_it_is_unless_it_is_vague() {
        check(
            r#"{"error":{"code":"context_length_exceeded","message":"x"}}"#,
            Some("context_length_exceeded"),
        );
        check(
            r#"{"error":{"code":"rate_limit_exceeded","message":"was flagged"}}"#,
            Some("rate_limit_exceeded"),
        );
        check(
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
            Some("context_length_exceeded"),
        );
        check(
            r#"{"error":{"code":400,"message":"The input token count (9) exceeds the maximum number of tokens allowed (8)."}}"#,
            Some("context_length_exceeded"),
        );
        check(
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens."}"#,
            Some("context_length_exceeded"),
        );
        check(
            r#"{"error":{"message":"Input was flagged","type":"invalid_request_error","code":null}}"#,
            Some("content_filter"),
        );
        check(
            r#"{"error":{"message":"no such field","type":"invalid_request_error"}}"#,
            Some("invalid_request_error"),
        );
        check(r#"{"error":"nope"}"#, None);
        check("<html>", None);
        check("", None);
    }
}
