//! Gemini: `POST /v1beta/models/{model}:…`.
//! Source: ai.google.dev/api/generate-content, …/api/embeddings, …/api/tokens.

mod body;
mod embed;
mod history;
mod known;
mod voice;

use std::borrow::Cow;

use domain::ApiError;
use serde_json::{Value, json};

use crate::endpoint::{Asked, Endpoint, Manner, Received, Understood};
use crate::shape::{Mistake, What};
use crate::stream::Made;
use crate::text;

pub(crate) use self::body::{Place, ask};

/// What is done with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Generate,
    Stream,
    Count,
    Embed,
    EmbedMany,
}

/// `POST /v1beta/models/{model}:{verb}`, with an API key.
pub(crate) struct Gemini(pub(crate) Verb);

/// Google's errors and headers.
pub(crate) struct Google;

impl Manner for Google {
    fn error(&self, err: &ApiError, _id: u64) -> Vec<u8> {
        text::json(&error_body(err))
    }

    fn headers(&self, _id: u64) -> Vec<(&'static str, String)> {
        vec![("server-timing", "gfet4t7; dur=0".to_owned())]
    }
}

impl Endpoint for Gemini {
    fn manner(&self) -> &'static dyn Manner {
        &Google
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        let key = received.header("x-goog-api-key").map(Cow::Borrowed).or_else(|| received.query("key"));
        match key {
            Some(key) if !key.trim().is_empty() => Ok(()),
            _ => {
                let message = "unregistered callers must not call this method: write an API key into \
                               `x-goog-api-key`, or into `key` in the query";
                Err(ApiError::new(403, "permission_denied", message))
            }
        }
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        read(received, received.captured(0), self.0, Place::Studio)
    }
}

/// Reads a request; the model is in the address.
pub(crate) fn read<'r>(
    received: &'r Received<'r>,
    model: &'r str,
    verb: Verb,
    place: Place,
) -> Result<Understood<'r>, ApiError> {
    let ask = move || -> Result<Asked<'r>, ApiError> {
        let body = received.json().map_err(|err| ApiError {
            message: format!("invalid JSON payload received: {}", err.message),
            ..err
        })?;
        match verb {
            Verb::Generate => ask(&body, model, place, None),
            Verb::Stream => {
                let sse = received.query("alt").is_some_and(|alt| alt == "sse");
                ask(&body, model, place, Some(sse))
            }
            Verb::Count => {
                let tokens = body::count(&body, model, place)?;
                let details = json!([{"modality": "TEXT", "tokenCount": tokens}]);
                let answer = json!({"totalTokens": tokens, "promptTokensDetails": details});
                // Counting is free.
                Ok(Asked::whole(0, move |_| Made::json(&answer)))
            }
            Verb::Embed => embed::one(body),
            Verb::EmbedMany => embed::many(body, model),
        }
    };
    Ok(Understood { model: Cow::Borrowed(model), ask: Box::new(ask) })
}

/// An `INVALID_ARGUMENT`.
pub(crate) fn refuse(place: &str, what: &str) -> ApiError {
    ApiError::bad_request(place, "INVALID_ARGUMENT", format!("* {place}: {what}"))
}

/// Google tells unknown names and wrong types as its parser of protobuf JSON does, in snake case.
pub(crate) fn in_googles_words(mistake: &Mistake) -> ApiError {
    let place = snake(&mistake.path.bracketed());
    let message = match &mistake.what {
        What::Unknown => {
            let (around, name) = mistake.path.clone().split();
            let around = snake(&around.bracketed());
            let at = if around.is_empty() { String::new() } else { format!(" at '{around}'") };
            format!("Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field.")
        }
        What::Missing => format!("* {place}: must be specified"),
        What::Not(expected) => format!("Invalid value at '{place}': expected {expected}"),
    };
    ApiError::bad_request(&place, "INVALID_ARGUMENT", message)
}

fn snake(text: &str) -> String {
    text.chars().fold(String::new(), |mut text, c| {
        if c.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
        text
    })
}

/// An error as body or event.
pub(crate) fn error_body(err: &ApiError) -> Value {
    let code = if err.status == 529 { 503 } else { err.status };
    let mut error = json!({"code": code, "message": err.message, "status": status(code)});
    let mut details = Vec::new();
    if let Some(field) = err.param.as_deref().filter(|_| code == 400) {
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": field, "description": err.message}],
        }));
    }
    if let Some(seconds) = err.retry_after {
        let delay = format!("{seconds}s");
        details.push(json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}));
    }
    if !details.is_empty() {
        error["details"] = details.into();
    }
    json!({"error": error})
}

/// Source: cloud.google.com/apis/design/errors, "Handling errors".
fn status(code: u16) -> &'static str {
    match code {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        400..=498 => "INVALID_ARGUMENT",
        501 => "UNIMPLEMENTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}
