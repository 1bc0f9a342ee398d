//! OpenAI: chat completions, completions and embeddings. Needs no key, so that the first try works.
//! Source: platform.openai.com/docs/api-reference.

mod chat;
mod completions;
mod embeddings;
mod messages;
mod request;
mod tools;

use std::borrow::Cow;

use domain::{ApiError, Operation};

use crate::endpoint::{Endpoint, Manner, Received, Understood};

pub(crate) use self::chat::Flavour;
pub(crate) use self::embeddings::vectors;
use self::request::Body;

/// Who answers `POST /v1/…`.
pub(crate) struct Create(pub(crate) Operation);

/// OpenAI's errors and headers.
pub(crate) struct OpenAi;

impl Manner for OpenAi {
    fn error(&self, err: &ApiError, _id: u64) -> Vec<u8> {
        err.openai_body()
    }

    fn headers(&self, id: u64) -> Vec<(&'static str, String)> {
        vec![("openai-processing-ms", "0".to_owned()), ("x-request-id", format!("req_{id:016x}"))]
    }
}

impl Endpoint for Create {
    fn manner(&self) -> &'static dyn Manner {
        &OpenAi
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        read(received, self.0, None, Flavour::OpenAi)
    }
}

/// Reads a request; `model` is that of the address, where it says one.
pub(crate) fn read<'r>(
    received: &'r Received<'r>,
    operation: Operation,
    model: Option<&'r str>,
    flavour: Flavour,
) -> Result<Understood<'r>, ApiError> {
    let body = Body::parse(received.bytes)?;
    let model = match model {
        Some(model) => Cow::Borrowed(model),
        None => body.model()?,
    };
    let ask = move || match operation {
        Operation::Chat => chat::ask(&body, flavour),
        Operation::Completions => completions::ask(&body),
        _ => embeddings::ask(&body),
    };
    Ok(Understood { model, ask: Box::new(ask) })
}

/// A field that must be there is not.
pub(crate) fn missing(field: &str, fix: &str) -> ApiError {
    ApiError::bad_request(field, "missing_required_parameter", format!("`{field}` is missing: {fix}"))
}

/// A field holds what it must not.
pub(crate) fn invalid(field: &str, fix: &str) -> ApiError {
    ApiError::bad_request(field, "invalid_value", format!("`{field}` is not understood: {fix}"))
}
