//! OpenAI, and what others have at the same addresses. Needs no key, so that the first try works.
//! Source: platform.openai.com/docs/api-reference.

mod audio;
mod chat;
mod completions;
mod echo;
mod embeddings;
mod images;
mod messages;
mod moderations;
mod request;
mod rerank;
mod responses;
mod tools;

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use domain::{ApiError, Operation};
use http::HeaderValue;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::endpoint::{Endpoint, Manner, Received, Understood};
use crate::player::Content;
use crate::shape::{Kind, What};
use crate::stream::{Made, Piece};

pub(crate) use self::audio::{Speech, Transcriptions};
pub(crate) use self::chat::Flavour;
pub(crate) use self::echo::Echo;
pub(crate) use self::embeddings::vectors;
pub(crate) use self::images::{Edits, Generations};
pub(crate) use self::moderations::Moderations;
use self::request::Body;
pub(crate) use self::rerank::Rerank;
pub(crate) use self::responses::Responses;

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

/// The model that a body names.
fn named(body: &Value) -> Result<String, ApiError> {
    let model = body["model"].as_str().filter(|model| !model.is_empty());
    model.map(str::to_owned).ok_or_else(|| missing("model", "name a model, as in \"model\":\"mock\""))
}

/// Checks a body whose fields OpenAI knows.
fn by_kind(kind: &Kind, body: &Value) -> Result<(), ApiError> {
    kind.check(body).map_err(|mistake| {
        let place = mistake.path.bracketed();
        match mistake.what {
            What::Unknown => {
                ApiError::bad_request(&place, "unknown_parameter", format!("unknown parameter: `{place}`"))
            }
            What::Missing => missing(&place, "it is required"),
            What::Not(expected) => invalid(&place, &format!("write {expected}")),
        }
    })
}

/// Bytes that leave in chunks, whatever they are.
fn raw_stream(content_type: &str, parts: Vec<Bytes>) -> Made {
    let piece = |(number, bytes)| Piece { bytes, chunk: Some(number + 1), tokens: 0 };
    let content_type =
        HeaderValue::from_str(content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let pieces = parts.into_iter().enumerate().map(piece);
    Made { content: Content::Stream(Box::new(pieces)), content_type, output_tokens: 0 }
}

/// The hash of a file, in lower-case hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The beginning of the hash, which is enough to know a file again.
fn fingerprint(bytes: &[u8]) -> String {
    sha256(bytes)[..16].to_owned()
}
