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

use self::body::THREAD_NOT_FOUND;
pub(crate) use self::body::{Place, ask, chat};
use self::known::error_type;
pub(crate) use self::voice::MessagesVoice;

/// Versions of the API, the newest last.
/// Source: platform.claude.com/docs/en/api/versioning.
const VERSIONS: [&str; 3] = ["2023-01-01", "2023-06-01", NEWEST];
const NEWEST: &str = "2026-10-21";

/// What the headers of a request say about its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Headers<'h> {
    betas: &'h str,
    version: &'h str,
}

impl<'h> Headers<'h> {
    /// Reads them.
    pub(crate) fn of(received: &'h Received<'_>) -> Self {
        Self {
            betas: received.header("anthropic-beta").unwrap_or_default(),
            version: received.header("anthropic-version").unwrap_or_default(),
        }
    }

    /// Of a place that says all this in the body.
    pub(crate) fn none() -> Self {
        Self { betas: "", version: "" }
    }
}

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
        Ok(Understood {
            model: model.into(),
            ask: Box::new(move || ask(body, Place::Own, Headers::of(received))),
        })
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
        let ask = move || {
            let words = body::count(body, Headers::of(received))?;
            // Counting is free.
            Ok(Asked::whole(0, move |_| Made::json(&json!({"input_tokens": words}))))
        };
        Ok(Understood { model: Cow::Owned(model), ask: Box::new(ask) })
    }
}

/// A version and a key are needed; any key will do.
fn admit(received: &Received<'_>) -> Result<(), ApiError> {
    // Microsoft, who has the same addresses, calls it `api-key`.
    let key =
        received.header("x-api-key").or(received.header("api-key")).filter(|key| !key.trim().is_empty());
    if key.or(received.bearer()).is_none() {
        let message = "x-api-key header is required, or authorization with a Bearer token";
        return Err(ApiError::new(401, "authentication_error", message));
    }
    match received.header("anthropic-version") {
        Some(version) if VERSIONS.contains(&version) => Ok(()),
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
    let mut error = json!({"type": error_type(err.status), "message": err.message});
    if err.code.as_deref() == Some(THREAD_NOT_FOUND) {
        error["details"] = json!({"error_code": THREAD_NOT_FOUND});
    }
    json!({"type": "error", "error": error})
}

fn request_id(id: u64) -> String {
    format!("req_{id:016x}")
}
