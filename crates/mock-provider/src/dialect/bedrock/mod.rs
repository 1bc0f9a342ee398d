//! Amazon Bedrock: Converse, Converse-stream and invoke, signed with SigV4 or with a Bedrock API key.
//! Source: docs.aws.amazon.com/bedrock/latest/APIReference, operations Converse, ConverseStream, InvokeModel; the
//! service model of AWS's own SDKs.

mod converse;
mod history;
mod invoke;
mod known;
mod sigv4;
mod voice;

use std::borrow::Cow;

use domain::ApiError;
use serde_json::json;

use crate::endpoint::{Asked, Endpoint, Manner, Received, Understood};
use crate::shape::{Mistake, What};
use crate::text;

/// `POST /model/{id}/…`.
pub(crate) enum Model {
    Converse,
    ConverseStream,
    Invoke,
    InvokeStream,
}

/// AWS's errors and headers.
pub(crate) struct Aws;

impl Manner for Aws {
    fn error(&self, err: &ApiError, _id: u64) -> Vec<u8> {
        text::json(&json!({"message": err.message}))
    }

    fn headers(&self, id: u64) -> Vec<(&'static str, String)> {
        vec![("x-amzn-requestid", format!("00000000-0000-4000-8000-{:012x}", id & 0xffff_ffff_ffff))]
    }

    fn error_header(&self, err: &ApiError) -> Option<(&'static str, String)> {
        Some(("x-amzn-errortype", exception(err).to_owned()))
    }
}

impl Endpoint for Model {
    fn manner(&self) -> &'static dyn Manner {
        &Aws
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        if received.bearer().is_some() {
            return Ok(());
        }
        sigv4::verify(received, &received.state.options.aws_keys)
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let model = Cow::Borrowed(received.captured(0));
        let ask = move || -> Result<Asked<'r>, ApiError> {
            let body = received.json()?;
            match self {
                Self::Converse => converse::ask(&body, false),
                Self::ConverseStream => converse::ask(&body, true),
                Self::Invoke => invoke::ask(body, false),
                Self::InvokeStream => invoke::ask(body, true),
            }
        };
        Ok(Understood { model, ask: Box::new(ask) })
    }
}

/// A 400 in AWS's words.
fn refuse(place: &str, what: &str) -> ApiError {
    ApiError::bad_request(place, "ValidationException", format!("the value at {place} is invalid: {what}"))
}

fn in_awss_words(mistake: &Mistake) -> ApiError {
    let place = mistake.path.dotted();
    match &mistake.what {
        What::Unknown => refuse(&place, "extraneous key is not permitted"),
        What::Missing => refuse(&place, "it must not be null"),
        What::Not(expected) => refuse(&place, &format!("it must be {expected}")),
    }
}

/// The name of an error: its own if it has one, else by its status.
fn exception(err: &ApiError) -> &str {
    match err.code.as_deref() {
        Some(code) if code.ends_with("Exception") => code,
        _ => match err.status {
            401 | 403 => "AccessDeniedException",
            404 => "ResourceNotFoundException",
            408 => "ModelTimeoutException",
            424 => "ModelErrorException",
            429 => "ThrottlingException",
            503 | 529 => "ServiceUnavailableException",
            400..=499 => "ValidationException",
            _ => "InternalServerException",
        },
    }
}
