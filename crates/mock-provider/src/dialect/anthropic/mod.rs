//! Anthropic Messages: `POST /v1/messages` and `/v1/messages/count_tokens`.
//! Source: docs.anthropic.com/en/api/messages, …/api/errors, …/api/versioning.

mod body;
mod history;
mod known;
mod voice;

use std::borrow::Cow;

use domain::ApiError;
use serde_json::{Value, json};

use crate::endpoint::{Asked, Endpoint, Manner, Received, Understood};
use crate::stream::Made;
use crate::text;

pub(crate) use self::body::{Place, ask, chat};
use self::known::error_type;
pub(crate) use self::voice::MessagesVoice;

/// `POST /v1/messages`.
pub(crate) struct Messages;

/// `POST /v1/messages/count_tokens`.
pub(crate) struct CountTokens;

/// Anthropic's errors and headers.
pub(crate) struct Anthropic;

impl Manner for Anthropic {
    fn error(&self, err: &ApiError, id: u64) -> Vec<u8> {
        let mut body = error_body(err);
        body["request_id"] = request_id(id).into();
        text::json(&body)
    }

    fn headers(&self, id: u64) -> Vec<(&'static str, String)> {
        vec![("request-id", request_id(id)), ("anthropic-organization-id", "mock-organization".to_owned())]
    }
}

impl Endpoint for Messages {
    fn manner(&self) -> &'static dyn Manner {
        &Anthropic
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        admit(received)
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let body = received.json()?;
        let model = model(&body)?;
        let betas = received.header("anthropic-beta").unwrap_or_default();
        Ok(Understood { model: model.into(), ask: Box::new(move || ask(body, Place::Own, betas)) })
    }
}

impl Endpoint for CountTokens {
    fn manner(&self) -> &'static dyn Manner {
        &Anthropic
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        admit(received)
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let body = received.json()?;
        let model = model(&body)?;
        let betas = received.header("anthropic-beta").unwrap_or_default();
        let ask = move || {
            let words = body::count(body, betas)?;
            // Counting is free.
            Ok(Asked::whole(0, move |_| Made::json(&json!({"input_tokens": words}))))
        };
        Ok(Understood { model: Cow::Owned(model), ask: Box::new(ask) })
    }
}

/// A version and a key are needed; any key will do.
fn admit(received: &Received<'_>) -> Result<(), ApiError> {
    let key = received.header("x-api-key").filter(|key| !key.trim().is_empty());
    if key.or(received.bearer()).is_none() {
        let message = "x-api-key header is required, or authorization with a Bearer token";
        return Err(ApiError::new(401, "authentication_error", message));
    }
    match received.header("anthropic-version") {
        Some("2023-06-01" | "2023-01-01") => Ok(()),
        Some(version) => Err(refuse("anthropic-version", &format!("`{version}` is not a valid version"))),
        None => Err(refuse("anthropic-version", "header is required")),
    }
}

fn model(body: &Value) -> Result<String, ApiError> {
    match body.get("model") {
        Some(Value::String(model)) if !model.is_empty() => Ok(model.clone()),
        Some(_) => Err(refuse("model", "Input should be a valid string")),
        None => Err(refuse("model", "Field required")),
    }
}

/// A 400 in Anthropic's words: the place, then what is wrong.
pub(crate) fn refuse(place: &str, what: &str) -> ApiError {
    ApiError::bad_request(place, "invalid_request_error", format!("{place}: {what}"))
}

/// An error as body or event.
pub(crate) fn error_body(err: &ApiError) -> Value {
    json!({"type": "error", "error": {"type": error_type(err.status), "message": err.message}})
}

fn request_id(id: u64) -> String {
    format!("req_{id:016x}")
}
