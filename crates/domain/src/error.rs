//! Errors as callers see them: OpenAI's error shape, with the field and the fix in the text.

use serde::{Deserialize, Serialize};
use serde_json::json;

/// An error in OpenAI's shape: `{"error":{"message","type","param","code"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP status that goes with it.
    pub status: u16,
    /// What was wrong, where, and what to write instead.
    pub message: String,
    /// OpenAI's error family, as in `invalid_request_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The field or header that was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// A stable word for scripts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Seconds after which trying again makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl ApiError {
    /// An error with a status, OpenAI's family for it, a stable code and a message.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        let kind = match status {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            408 | 504 => "timeout_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            503 => "service_unavailable_error",
            _ => "server_error",
        };
        Self {
            status,
            message: message.into(),
            kind: kind.to_owned(),
            param: None,
            code: Some(code.to_owned()),
            retry_after: None,
        }
    }

    /// A 400 that names the field.
    pub fn bad_request(param: &str, code: &str, message: impl Into<String>) -> Self {
        Self::new(400, code, message).with_param(param)
    }

    /// Names the field or header that was wrong.
    #[must_use]
    pub fn with_param(mut self, param: &str) -> Self {
        self.param = Some(param.to_owned());
        self
    }

    /// Says when trying again makes sense.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The JSON body that callers get.
    pub fn body(&self) -> Vec<u8> {
        let body = json!({"error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }});
        body.to_string().into_bytes()
    }
}
