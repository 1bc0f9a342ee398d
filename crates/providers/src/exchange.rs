//! One call: from the caller's body to the provider's, and the answer's way back.
//!
//! Where caller and provider speak the same dialect, bytes go through as they are and are only looked at. Otherwise a
//! [dialect](crate::translation::Dialect) reads the request and writes the answer, and a
//! [format](crate::translation::Wire) writes the request and reads the answer.

mod relay;
mod request;

use bytes::Bytes;
use domain::config::{Unsupported, params};
use domain::registry::{Format, Quirks};
use domain::{ApiError, Call, Envelope, Operation};
use serde_json::{Map, Value};

use crate::chat::{About, ProviderError, replay};
use crate::openai::Told;
use crate::translation::{self, Translation};
use crate::{anthropic, embeddings, failure, openai, rerank, responses};

pub use relay::{Relay, Stopped};
pub use request::Outgoing;

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// What the caller asked for; its dialect is the caller's.
    pub operation: Operation,
    /// What the provider is asked for.
    pub asked: Operation,
    /// The provider's format.
    pub format: Format,
    /// How the provider's requests differ from the format's.
    pub quirks: &'a Quirks,
    /// What settings, config and caller change in the caller's body.
    pub changes: params::Changes<'a>,
    /// What the provider is told of places and accounts; formats look at it, secrets are sealed.
    pub options: &'a Map<String, Value>,
    /// The model's name at the provider, where it is not the body's.
    pub model: Option<&'a str>,
    /// What happens to parameters that the provider cannot take.
    pub unsupported: Unsupported,
    /// Media type of the caller's body; None: JSON.
    pub content_type: Option<&'a str>,
    /// The answer is to come in pieces.
    pub stream: bool,
    /// What writers of answers have to know.
    pub about: About<'a>,
}

impl<'a> Exchange<'a> {
    /// The exchange of a call. `id` names the answer where the provider does not, `now` is in seconds since 1970.
    pub fn of(envelope: &'a Envelope, call: &'a Call, model: &'a str, id: &'a str, now: u64) -> Self {
        Self {
            operation: envelope.operation,
            asked: call.asks(envelope.operation),
            format: call.format,
            quirks: &call.quirks,
            changes: call.changes(),
            options: &call.options,
            model: call.model.as_deref(),
            unsupported: call.unsupported,
            content_type: envelope.content_type.as_deref(),
            stream: envelope.stream,
            about: About {
                provider: &call.provider,
                model,
                id,
                now,
                strict: !call.lenient,
                include_usage: envelope.include_usage,
            },
        }
    }

    /// Whether bytes go through as they are.
    pub fn is_native(&self) -> bool {
        self.format.forwards(self.operation, self.asked, self.quirks)
    }

    /// Media type of a whole 2xx answer in the caller's dialect, where it is not the provider's own: a caller who asked
    /// for a stream gets one, although the provider gave none.
    pub fn media_type(&self) -> Option<&'static str> {
        let streams = self.stream && translation::dialect(self.operation).is_some();
        (!self.is_native()).then_some(if streams { "text/event-stream" } else { "application/json" })
    }

    /// A whole 2xx answer in the caller's dialect. `request` is the caller's body. The error says why it is no answer.
    pub fn answer(&self, body: &Bytes, request: &Bytes) -> Result<(Bytes, Told), String> {
        if self.is_native() {
            let mut told = match translation::dialect(self.operation) {
                Some(dialect) => (dialect.told)(body)?,
                None => openai::told(body)?,
            };
            if matches!(self.operation, Operation::Images | Operation::ImageEdits) {
                told.draw(openai::images(body));
            }
            return Ok((body.clone(), told));
        }
        self.translate_answer(body, request)
    }

    /// The same for an answer in the provider's format.
    pub fn translate_answer(&self, body: &Bytes, request: &Bytes) -> Result<(Bytes, Told), String> {
        match self.translation().map_err(|err| err.message)? {
            Translation::Chat(dialect, wire) => {
                let answer = (wire.read_answer)(body)?;
                let mut told = Told::of(answer.model.clone(), answer.usage);
                told.note(&answer.extra);
                let request = request::repeated(self, request);
                if self.stream {
                    let mut writer = (dialect.writer)(&self.about, &request);
                    let mut out = Vec::new();
                    replay(answer).iter().for_each(|event| writer.write(event, &mut out));
                    return Ok((Bytes::from(out), told));
                }
                Ok((Bytes::from((dialect.write_answer)(&answer, &self.about, &request)), told))
            }
            Translation::Embeddings(_, read) => Ok(self.vectors(&read(body)?, request)),
            Translation::ShapedEmbeddings(shape) => Ok(self.vectors(&shape.read_answer(body)?, request)),
            Translation::Count(_, read) => {
                let tokens = read(body)?;
                Ok((Bytes::from(anthropic::write_count(tokens)), Told::default()))
            }
            Translation::Rerank(shape) => {
                let answer = shape.read_answer(body)?;
                let usage = answer.tokens.map(|input| domain::Usage { input, ..domain::Usage::default() });
                let told = Told::of(answer.model.clone(), usage);
                Ok((Bytes::from(rerank::write_answer(&answer, &self.about)), told))
            }
        }
    }

    fn vectors(&self, answer: &embeddings::Answer, request: &Bytes) -> (Bytes, Told) {
        let told = Told::of(answer.model.clone(), answer.usage);
        let base64 = embeddings::openai::read_request(request).is_ok_and(|request| request.base64);
        (Bytes::from(embeddings::openai::write_answer(answer, base64, &self.about)), told)
    }

    /// A provider's error in the caller's dialect.
    pub fn failure(&self, status: u16, body: &Bytes) -> Bytes {
        if self.operation == Operation::Passthrough {
            return body.clone();
        }
        if self.format == Format::OpenAi && !self.operation.is_anthropic() {
            return failure::told(self.about.provider, body);
        }
        if self.format == Format::Anthropic && self.operation.is_anthropic() {
            return Bytes::from(anthropic::forward_error(body, status, self.about.provider));
        }
        let error = translation::read_error(self.format, body);
        Bytes::from(translation::write_error(self.operation, &error, status, self.about.provider))
    }

    /// The error for an answer that is none: it quotes what came.
    pub fn unusable(&self, provider: &str, body: &Bytes) -> Bytes {
        if !self.operation.is_anthropic() {
            return failure::unusable(provider, body);
        }
        let quoted = openai::read_error(body);
        let message = format!("invalid answer: {}", quoted.message);
        let error = ProviderError { message, ..ProviderError::default() };
        Bytes::from(translation::write_error(self.operation, &error, 502, provider))
    }

    /// What the provider's stream is made into. `request` is the caller's body.
    pub fn relay(&self, request: &Bytes) -> Result<Relay, ApiError> {
        let dialect = translation::dialect(self.operation);
        if self.is_native() {
            return Ok(match dialect {
                Some(dialect) => {
                    Relay::forward(self.operation, (dialect.observer)(), self.about.include_usage)
                }
                None => Relay::raw(self.operation),
            });
        }
        self.translate_stream(request)
    }

    /// The same for a stream in the provider's format.
    pub fn translate_stream(&self, request: &Bytes) -> Result<Relay, ApiError> {
        match self.translation()? {
            Translation::Chat(dialect, wire) => {
                let request = request::repeated(self, request);
                let writer = (dialect.writer)(&self.about, &request);
                Ok(Relay::translate(self.operation, (wire.reader)(), writer))
            }
            _ => Err(self.untranslated()),
        }
    }
}

/// The event that tells a caller in his dialect that a streamed answer broke off.
pub fn error_event(operation: Operation, err: &ApiError) -> Bytes {
    let code = err.code.as_deref().unwrap_or_default();
    match operation {
        Operation::Messages => {
            let error = String::from_utf8(err.body_for(operation)).unwrap_or_default();
            Bytes::from(format!("event: error\ndata: {error}\n\n"))
        }
        Operation::Responses => responses::observer().error_event(err),
        _ => openai::error_event(&err.message, &err.kind, code),
    }
}

/// An error of ours, as writers of streams take it.
pub(crate) fn as_provider_error(err: &ApiError) -> ProviderError {
    ProviderError {
        message: err.message.clone(),
        kind: Some(err.kind.clone()),
        code: err.code.clone(),
        param: err.param.as_deref().map(str::to_owned),
        request_id: None,
        status: Some(err.status),
    }
}
