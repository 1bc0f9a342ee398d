//! What an address of a provider is to the rest of the mock: who may call it, what it reads, how it complains.

use std::borrow::Cow;

use bytes::Bytes;
use domain::ApiError;
use http::request::Parts;
use serde_json::Value;

use crate::chat::{Chat, Reply, Setting};
use crate::server::State;
use crate::stream::{Made, Voice, only_error};

/// A request whose body is here, not yet understood.
pub(crate) struct Received<'r> {
    pub(crate) parts: &'r Parts,
    pub(crate) bytes: &'r Bytes,
    /// The parts of the path that the address leaves open, decoded.
    pub(crate) captured: &'r [String],
    pub(crate) state: &'r State,
}

/// A request of which the model is known.
pub(crate) struct Understood<'r> {
    /// With its script; empty if the address needs none.
    pub(crate) model: Cow<'r, str>,
    pub(crate) ask: Ask<'r>,
}

/// Looks at the rest of a request. Deferred, so that a call can be billed to its model even if the rest is wrong.
pub(crate) type Ask<'r> = Box<dyn FnOnce() -> Result<Asked<'r>, ApiError> + 'r>;

/// A request that can be answered.
pub(crate) struct Asked<'r> {
    pub(crate) input_tokens: u64,
    pub(crate) make: Make<'r>,
    /// Says an error as the only event of a stream; none if the answer is not streamed.
    pub(crate) errors: Option<Complain<'r>>,
}

/// Makes an answer of an error.
pub(crate) type Complain<'r> = Box<dyn FnOnce(&ApiError) -> Made + 'r>;

/// Makes the answer.
pub(crate) type Make<'r> = Box<dyn FnOnce(Setting<'_>) -> Made + 'r>;

/// An address that takes requests.
pub(crate) trait Endpoint: Sync {
    /// Its errors and headers.
    fn manner(&self) -> &'static dyn Manner;

    /// Whether the caller may: credentials, versions. Asked before the body is looked at.
    fn admit(&self, _received: &Received<'_>) -> Result<(), ApiError> {
        Ok(())
    }

    /// Reads the model.
    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError>;
}

/// How a provider says what is not the answer itself.
pub(crate) trait Manner: Sync {
    /// The body of an error.
    fn error(&self, err: &ApiError, id: u64) -> Vec<u8>;

    /// Headers of every answer.
    fn headers(&self, id: u64) -> Vec<(&'static str, String)>;

    /// A header that names the kind of an error.
    fn error_header(&self, _err: &ApiError) -> Option<(&'static str, String)> {
        None
    }
}

impl Received<'_> {
    /// The first value of a header, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// What follows `Bearer ` in `authorization`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
    }

    /// A value of the query, decoded.
    pub(crate) fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        let pairs = self.parts.uri.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| decoded(value)).next()
    }

    /// A part of the path that the address leaves open.
    pub(crate) fn captured(&self, at: usize) -> &str {
        self.captured.get(at).map_or("", String::as_str)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, ApiError> {
        let value: Result<Value, _> = serde_json::from_slice(self.bytes);
        match value {
            Ok(value) if value.is_object() => Ok(value),
            Ok(_) => Err(ApiError::new(400, "invalid_json", "the request body is no JSON object")),
            Err(err) => {
                let message = format!("could not read the request body as JSON: {err}");
                Err(ApiError::new(400, "invalid_json", message))
            }
        }
    }
}

impl<'r> Asked<'r> {
    /// A chat, answered in a dialect.
    pub(crate) fn chat(chat: Chat, voice: impl Fn() -> Box<dyn Voice> + Clone + 'r) -> Self {
        let (input_tokens, streamed) = (chat.input_tokens, chat.stream);
        let errors = streamed.then(|| {
            let voice = voice.clone();
            Box::new(move |err: &ApiError| only_error(&*voice(), err)) as Complain<'_>
        });
        let make =
            move |setting: Setting<'_>| Reply::new(&chat, setting).content(streamed, voice(), setting.step);
        Self { input_tokens, make: Box::new(make), errors }
    }

    /// Something else that is answered at once.
    pub(crate) fn whole(input_tokens: u64, make: impl FnOnce(Setting<'_>) -> Made + 'r) -> Self {
        Self { input_tokens, make: Box::new(make), errors: None }
    }
}

/// Resolves `%20` and the like; anything else stays as it is.
pub(crate) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}
