//! Cohere v2: chat, embed and rerank.
//! Source: docs.cohere.com/v2/reference/chat, …/embed, …/rerank; the types of Cohere's own SDK.

mod chat;
mod history;
mod known;
mod vectors;
mod voice;

use domain::ApiError;
use serde_json::{Value, json};

use crate::endpoint::{Endpoint, Manner, Received, Understood};
use crate::shape::{Kind, What};
use crate::text;

/// `POST /v2/chat`.
pub(crate) struct ChatRoute;

/// `POST /v2/embed`.
pub(crate) struct EmbedRoute;

/// `POST /v2/rerank`.
pub(crate) struct RerankRoute;

/// Cohere's errors and headers.
struct Cohere;

impl Manner for Cohere {
    fn error(&self, err: &ApiError, id: u64) -> Vec<u8> {
        text::json(&json!({"id": uuid(id), "message": err.message}))
    }

    fn headers(&self, id: u64) -> Vec<(&'static str, String)> {
        vec![("x-debug-trace-id", format!("{id:016x}"))]
    }
}

impl Endpoint for ChatRoute {
    fn manner(&self) -> &'static dyn Manner {
        &Cohere
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        admit(received)
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let (model, body) = read(received)?;
        Ok(Understood { model: model.into(), ask: Box::new(move || chat::ask(&body)) })
    }
}

impl Endpoint for EmbedRoute {
    fn manner(&self) -> &'static dyn Manner {
        &Cohere
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        admit(received)
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let (model, body) = read(received)?;
        Ok(Understood { model: model.into(), ask: Box::new(move || vectors::embed(&body)) })
    }
}

impl Endpoint for RerankRoute {
    fn manner(&self) -> &'static dyn Manner {
        &Cohere
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        admit(received)
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let (model, body) = read(received)?;
        Ok(Understood { model: model.into(), ask: Box::new(move || vectors::rerank(&body)) })
    }
}

fn admit(received: &Received<'_>) -> Result<(), ApiError> {
    match received.bearer() {
        Some(_) => Ok(()),
        None => {
            Err(ApiError::new(401, "unauthorized", "no api key supplied: write `authorization: Bearer …`"))
        }
    }
}

fn read(received: &Received<'_>) -> Result<(String, Value), ApiError> {
    let body = received.json()?;
    let model = body["model"].as_str().filter(|model| !model.is_empty());
    let model = model.ok_or_else(|| refuse("model", "a model is required"))?.to_owned();
    Ok((model, body))
}

fn check(kind: &Kind, body: &Value) -> Result<(), ApiError> {
    kind.check(body).map_err(|mistake| {
        let place = mistake.path.bracketed();
        match mistake.what {
            What::Unknown => refuse(&place, "unknown field: it is not a valid field"),
            What::Missing => refuse(&place, "it is required"),
            What::Not(expected) => refuse(&place, &format!("it must be {expected}")),
        }
    })
}

fn refuse(place: &str, what: &str) -> ApiError {
    ApiError::bad_request(place, "invalid_request", format!("invalid request: {place}: {what}"))
}

fn uuid(id: u64) -> String {
    format!("00000000-0000-4000-8000-{:012x}", id & 0xffff_ffff_ffff)
}
