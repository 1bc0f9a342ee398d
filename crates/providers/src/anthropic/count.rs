//! Counting the tokens of a request before it is made.

use domain::ApiError;
use serde::Deserialize;
use serde_json::json;

use super::request;
use crate::chat;

/// Reads the body of a request to count tokens: a chat that needs no `max_tokens`.
///
/// Source: "Count tokens in a Message" in the API reference on platform.claude.com.
pub fn read_count_request(body: &[u8]) -> Result<chat::Request, ApiError> {
    request::read(body, false)
}

/// The answer for so many tokens.
pub fn write_count(tokens: u64) -> Vec<u8> {
    json!({ "input_tokens": tokens }).to_string().into_bytes()
}

/// Reads an answer. The error says why it is none; it never quotes it.
pub fn read_count(body: &[u8]) -> Result<u64, String> {
    #[derive(Deserialize)]
    struct Count {
        input_tokens: u64,
    }
    serde_json::from_slice::<Count>(body).map(|count| count.input_tokens).map_err(|err| {
        format!("the answer has no `input_tokens`: line {}, column {}", err.line(), err.column())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_they_are_written() {
        assert_eq!(read_count(&write_count(2095)), Ok(2095));
        assert!(read_count(b"{}").unwrap_err().contains("input_tokens"));
        assert!(read_count(b"<html>secret").unwrap_err().contains("line 1"));
    }

    #[test]
    fn a_count_needs_no_limit() {
        let body = br#"{"model": "m", "messages": [{"role": "user", "content": "Hello"}]}"#;
        let request = read_count_request(body).unwrap();
        assert_eq!((request.max_tokens, request.messages.len()), (None, 1));
    }
}
