//! Errors as callers see them: OpenAI's and Portkey's error shapes at once, with the field and the fix in the text.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Operation;
use crate::config::ConfigError;

#[cfg(test)]
mod tests;

/// What Portkey's clients are told of a config that is no JSON.
pub(crate) const NOT_JSON: &str = "Invalid config passed. You need to pass a valid json";
/// Of a config that names nobody, beside no header that does.
const NO_PROVIDER: &str = "Either x-portkey-provider needs to be passed. Or the x-portkey-config header should have \
                           a valid config with provider details in it.";
/// Of a config as it was written before there were strategies.
const LEGACY: &str =
    "This version of config is not supported in this route. Please migrate to the latest version";
/// Of a list of headers to forward that names itself.
const FORWARDS_ITSELF: &str = "forward_headers must not contain the 'x-portkey-forward-headers' header";
/// Of every other mistake in a config; each is listed beside it.
const INVALID_CONFIG: &str = "Invalid config passed";
/// How Portkey calls what decides by conditions; it tells mistakes in them by themselves.
const QUERY_ROUTER: &str = "in the query router";

/// An error that is our own doing: OpenAI's `{"error":{"message","type","param","code"}}`, and around it Portkey's
/// `{"status":"failure","message"}`.
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
    pub param: Option<Box<str>>,
    /// A stable word for scripts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Seconds after which trying again makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Portkey's words for it, where it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portkey: Option<Box<InPortkeysWords>>,
}

/// What Portkey's clients are told of a mistake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InPortkeysWords {
    /// The message.
    pub message: String,
    /// Mistakes in a config, one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
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
            portkey: None,
        }
    }

    /// What is wrong with a config that was given as `text`.
    pub fn bad_config(text: &str, err: &ConfigError) -> Self {
        let refusal = Self::bad_request(&err.path, "invalid_config", err.to_string());
        match whole_mistake(text, err).or_else(|| in_query_router(err)) {
            Some(words) => refusal.in_portkeys_words(words),
            None => refusal.in_config(),
        }
    }

    /// A 400 that names the field.
    pub fn bad_request(param: &str, code: &str, message: impl Into<String>) -> Self {
        Self::new(400, code, message).with_param(param)
    }

    /// Names the field or header that was wrong.
    #[must_use]
    pub fn with_param(mut self, param: &str) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Says when trying again makes sense.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Gives Portkey's words for the same mistake: its clients compare them.
    #[must_use]
    pub fn in_portkeys_words(mut self, words: &str) -> Self {
        self.portkey = Some(Box::new(InPortkeysWords { message: words.to_owned(), errors: Vec::new() }));
        self
    }

    /// The mistake is one of several that a config may have.
    #[must_use]
    pub fn in_config(mut self) -> Self {
        let path = self.param.as_deref().unwrap_or_default();
        let path = path.strip_prefix("config").unwrap_or(path).trim_start_matches('.');
        let errors = vec![format!("path: {path}, message: {}", self.message)];
        self.portkey = Some(Box::new(InPortkeysWords { message: INVALID_CONFIG.to_owned(), errors }));
        self
    }

    /// The JSON body in OpenAI's shape and no other.
    pub fn openai_body(&self) -> Vec<u8> {
        let body = json!({"error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }});
        body.to_string().into_bytes()
    }

    /// The JSON body in the dialect of an operation.
    pub fn body_for(&self, operation: Operation) -> Vec<u8> {
        if operation.is_anthropic() { self.anthropic_body() } else { self.body() }
    }

    /// The JSON body in Anthropic's shape; the field that was wrong and our code stand beside its own. Its clients
    /// read the code as `details.error_code`.
    fn anthropic_body(&self) -> Vec<u8> {
        let mut error = json!({ "type": anthropic_type(self.status), "message": self.message });
        for (name, value) in [("param", self.param.as_deref()), ("code", self.code.as_deref())] {
            if let Some(value) = value {
                error[name] = value.into();
            }
        }
        if let Some(code) = &self.code {
            error["details"] = json!({ "error_code": code });
        }
        json!({ "type": "error", "error": error }).to_string().into_bytes()
    }

    /// The JSON body that callers get. Portkey's clients read the outer fields, OpenAI's the inner ones.
    pub fn body(&self) -> Vec<u8> {
        let mut body = json!({
            "status": "failure",
            "message": self.portkey.as_ref().map_or(&self.message, |words| &words.message),
            "error": {
                "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
            },
        });
        if let Some(words) = self.portkey.as_ref().filter(|words| !words.errors.is_empty()) {
            body["errors"] = Value::from(words.errors.clone());
        }
        body.to_string().into_bytes()
    }
}

/// Anthropic's family of errors for an HTTP status.
///
/// Source: "Errors" in Anthropic's API documentation.
pub fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        408 | 504 => "timeout_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// Portkey's words for a mistake that concerns the document as a whole.
fn whole_mistake<'a>(text: &str, err: &'a ConfigError) -> Option<&'a str> {
    let Ok(document) = serde_json::from_str::<Value>(text) else { return Some(NOT_JSON) };
    let has = |key: &str| document.get(key).is_some_and(|value| !value.is_null());
    let names_somebody = ["provider", "virtual_key", "targets", "strategy"].into_iter().any(has);
    let of_old = matches!(err.path.as_str(), "config" | "config.options" | "config.mode");
    if (has("options") || has("mode")) && (of_old || !names_somebody) {
        return Some(LEGACY);
    }
    if !names_somebody && err.path == "config.provider" {
        return Some(NO_PROVIDER);
    }
    let itself = err.path.contains("forward") && err.message.contains(crate::headers::FORWARD_HEADERS);
    itself.then_some(FORWARDS_ITSELF)
}

/// Portkey's words for a mistake in conditions: the message without what to write instead.
fn in_query_router(err: &ConfigError) -> Option<&str> {
    let (words, _) = err.message.split_once("; ")?;
    words.contains(QUERY_ROUTER).then_some(words)
}
