//! What routing needs to know of a request body: one pass over the bytes, which stay as they are.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::config::names_its_provider;
use crate::form::Form;
use crate::{ApiError, Conversation, Lane, Operation, Timestamp};

/// What a route decision may depend on besides the config and what was tried: the request as it came, before any
/// target changed it.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// What it asks for.
    pub operation: Operation,
    /// How urgent it is.
    pub lane: Lane,
    /// Path of the HTTP route that it came by or would have come by, as in `/v1/chat/completions`.
    pub path: &'a str,
    /// The model the caller named.
    pub model: Option<&'a str>,
    /// The body. None: it is not a JSON object, or the config does not ask for it
    /// ([`Config::needs_body`](crate::Config::needs_body)).
    pub params: Option<&'a Value>,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// The caller's key-value pairs. None: there are none, or the config does not ask for them.
    pub metadata: Option<&'a Map<String, Value>>,
    /// Those of the caller's headers that the config asks for ([`Config::wanted_headers`](crate::Config::wanted_headers)),
    /// names in lower case.
    pub headers: &'a BTreeMap<String, String>,
    /// The API key that the request came with, by its id.
    pub key_id: Option<&'a str>,
    /// When the broker accepted it. Conditions on the time of day go by this, so that they do not change under way.
    pub accepted_at: Timestamp,
}

impl RequestFacts<'_> {
    /// An estimate of the prompt's tokens: a quarter of the body's bytes, which is about right for English text and
    /// counts the JSON around it.
    pub fn input_tokens(&self) -> u64 {
        self.body_bytes as u64 / 4
    }
}

/// What routing needs to know of a request body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The model asked for. A config may name one instead.
    pub model: Option<String>,
    /// Whether the caller wants the answer in pieces.
    pub stream: bool,
    /// Whether the caller asked for token counts at the end of the stream.
    pub include_usage: bool,
    /// The person that the request is made for, in the body's `user`.
    pub user: Option<String>,
    /// A provider named in the body instead of a header.
    pub provider: Option<String>,
    /// A config in the body instead of a header: JSON text, or the id of a stored one.
    pub config: Option<String>,
    /// How a response is to be served; nothing for other operations.
    pub conversation: Conversation,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    query: Option<&'a RawValue>,
    #[serde(borrow)]
    documents: Option<&'a RawValue>,
    #[serde(borrow)]
    user: Option<&'a RawValue>,
    #[serde(borrow)]
    provider: Option<&'a RawValue>,
    #[serde(borrow)]
    config: Option<&'a RawValue>,
    #[serde(borrow)]
    previous_response_id: Option<&'a RawValue>,
    #[serde(borrow)]
    store: Option<&'a RawValue>,
    #[serde(borrow)]
    background: Option<&'a RawValue>,
}

impl Facts {
    /// Reads the facts. Errors are 400s that name the field and what to write instead.
    ///
    /// `content_type` is the body's media type with its parameters; None: JSON. What passes through is looked at and
    /// not judged.
    pub fn read(operation: Operation, content_type: Option<&str>, body: &[u8]) -> Result<Self, ApiError> {
        if operation == Operation::Passthrough {
            return Ok(Self::passing(content_type, body));
        }
        match content_type {
            Some(content_type) if operation.is_form() => Self::of_form(operation, content_type, body),
            _ => Self::of_json(operation, body),
        }
    }

    /// A form names its model and whether it wants pieces in fields of their own.
    fn of_form(operation: Operation, content_type: &str, body: &[u8]) -> Result<Self, ApiError> {
        let form = Form::parse(content_type, body)
            .map_err(|err| ApiError::new(400, "invalid_form", format!("the body is not a form: {err}")))?;
        let file = if operation == Operation::ImageEdits { "image" } else { "file" };
        if !form.has_file(file) {
            let message = format!("`{file}` is missing; add it to the form as a file");
            return Err(ApiError::bad_request(file, "missing_required_parameter", message));
        }
        let text = |name| form.text(name).map(str::trim).filter(|text| !text.is_empty());
        let stream = match text("stream") {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                let message = format!("`stream` is {}; write true or false", cut(other));
                return Err(ApiError::bad_request("stream", "invalid_type", message));
            }
        };
        Ok(Self { model: text("model").map(str::to_owned), stream, ..Self::default() })
    }

    fn passing(content_type: Option<&str>, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Known {
            #[serde(default)]
            model: Option<Value>,
            #[serde(default)]
            stream: Option<Value>,
        }
        if let Some(content_type) = content_type {
            let form = Form::parse(content_type, body).ok();
            let model = form.and_then(|form| form.text("model").map(str::to_owned));
            return Self { model, ..Self::default() };
        }
        let Ok(known) = serde_json::from_slice::<Known>(body) else { return Self::default() };
        Self {
            model: known.model.and_then(|model| model.as_str().map(str::to_owned)),
            stream: known.stream == Some(Value::Bool(true)),
            ..Self::default()
        }
    }

    fn of_json(operation: Operation, body: &[u8]) -> Result<Self, ApiError> {
        let text = std::str::from_utf8(body).map_err(|err| {
            let message = format!("the body is not UTF-8: byte {} starts no character", err.valid_up_to());
            ApiError::new(400, "invalid_utf8", message)
        })?;
        let fields: Fields<'_> = serde_json::from_str(text).map_err(|err| not_json(text, &err))?;
        required(operation, &fields)?;
        let stream = boolean("stream", fields.stream)?;
        if stream && !operation.streams() {
            let message = format!("answers to `{operation}` are not streamed; leave `stream` out");
            return Err(ApiError::bad_request("stream", "invalid_value", message));
        }
        Ok(Self {
            model: fields.model.map(model).transpose()?.flatten(),
            stream,
            include_usage: stream && fields.stream_options.is_some_and(asks_for_usage),
            // What is no text is for the provider to refuse.
            user: fields.user.and_then(|raw| serde_json::from_str(raw.get()).ok()),
            // Objects of that name are some provider's own.
            provider: fields.provider.and_then(|raw| serde_json::from_str(raw.get()).ok()),
            config: fields.config.and_then(config_in_body),
            conversation: match operation {
                Operation::Responses => conversation(&fields, stream)?,
                _ => Conversation::default(),
            },
        })
    }
}

/// How a response is to be served.
///
/// Source: `store`, `background` and `previous_response_id` in OpenAI's API reference.
fn conversation(fields: &Fields<'_>, stream: bool) -> Result<Conversation, ApiError> {
    let background = boolean("background", fields.background)?;
    let keep = fields.store.is_none_or(|raw| raw.get() == "null") || boolean("store", fields.store)?;
    let refuse = |param, message: &str| Err(ApiError::bad_request(param, "invalid_value", message));
    if background && !keep {
        let message = "`store` is false, but what runs in the background has to be kept until it is asked for; leave \
                       `store` out, or `background`";
        return refuse("store", message);
    }
    if background && stream {
        let message = "`stream` is true, but what runs in the background is not streamed here; leave `stream` out and \
                       ask for the response by its id, or leave `background` out";
        return refuse("stream", message);
    }
    let previous = match fields.previous_response_id.filter(|raw| raw.get() != "null") {
        None => None,
        Some(raw) => Some(serde_json::from_str(raw.get()).map_err(|_| {
            let name = "previous_response_id";
            let message = format!("`{name}` is {}; write the id of a response, as in `resp_…`", kind(raw));
            ApiError::bad_request(name, "invalid_type", message)
        })?),
    };
    Ok(Conversation { previous, expanded: false, keep, background })
}

/// A config that is one by its looks: the id of a stored one, or an object with a key of ours.
fn config_in_body(raw: &RawValue) -> Option<String> {
    let text = raw.get();
    if let Ok(id) = serde_json::from_str::<String>(text) {
        return id.starts_with("pc-").then_some(id);
    }
    let document: Map<String, Value> = serde_json::from_str(text).ok()?;
    let ours = ["strategy", "targets", "provider", "virtual_key", "retry", "override_params", "passthrough"];
    ours.iter().any(|key| document.contains_key(*key)).then(|| text.to_owned())
}

impl Facts {
    /// Whether the body holds options of ours that no provider should see.
    pub fn has_options(&self) -> bool {
        self.provider.is_some() || self.config.is_some()
    }

    /// The person that the request is made for. The metadata (`_user`) comes from whoever answers for the call, the
    /// body's `user` from the program that makes it: the first wins.
    pub fn user(&self, metadata: Option<&str>) -> Option<String> {
        #[derive(Deserialize)]
        struct Named {
            #[serde(rename = "_user")]
            user: Option<String>,
        }
        let named = metadata.and_then(|text| serde_json::from_str::<Named>(text).ok());
        named.and_then(|named| named.user).or_else(|| self.user.clone()).filter(|user| !user.is_empty())
    }

    /// The model, if it names its provider too, as in `@openai-prod/gpt-4o`.
    pub fn model_with_provider(&self) -> Option<String> {
        self.model.clone().filter(|model| names_its_provider(model).is_some())
    }
}

fn not_json(text: &str, err: &serde_json::Error) -> ApiError {
    if text.trim().is_empty() {
        return ApiError::new(400, "invalid_json", "the body is empty; send a JSON object");
    }
    let message = format!("the body is not a JSON object: {err}");
    ApiError::new(400, "invalid_json", message)
}

fn required(operation: Operation, fields: &Fields<'_>) -> Result<(), ApiError> {
    match operation {
        Operation::Chat | Operation::Messages | Operation::CountTokens => {
            let example = "`[{\"role\": \"user\", \"content\": \"…\"}]`";
            let messages = fields.messages.ok_or_else(|| missing("messages", example))?;
            if !messages.get().starts_with('[') {
                let message =
                    format!("`messages` is {}; it must be an array, as in {example}", kind(messages));
                return Err(ApiError::bad_request("messages", "invalid_type", message));
            }
            Ok(())
        }
        // A Responses request may do without input where it names an earlier response or a stored prompt.
        Operation::Responses => fields.input.map_or(Ok(()), |input| text_like("input", Some(input))),
        Operation::Completions | Operation::Images => text_like("prompt", fields.prompt),
        Operation::Embeddings | Operation::Moderations | Operation::Speech => {
            text_like("input", fields.input)
        }
        Operation::Rerank => {
            text_like("query", fields.query)?;
            text_like("documents", fields.documents)
        }
        Operation::ImageEdits | Operation::Transcriptions | Operation::Translations => {
            let message = format!("`{operation}` takes a form with files; send `multipart/form-data`");
            Err(ApiError::bad_request("Content-Type", "unsupported_media_type", message))
        }
        Operation::Passthrough => Ok(()),
    }
}

fn text_like(name: &str, value: Option<&RawValue>) -> Result<(), ApiError> {
    let value = value.ok_or_else(|| missing(name, "a string or an array"))?;
    if value.get().starts_with(['"', '[']) {
        return Ok(());
    }
    let message = format!("`{name}` is {}; it must be a string or an array", kind(value));
    Err(ApiError::bad_request(name, "invalid_type", message))
}

fn missing(name: &str, example: &str) -> ApiError {
    ApiError::bad_request(
        name,
        "missing_required_parameter",
        format!("`{name}` is missing; add it: {example}"),
    )
}

/// The error of a request that names no model where no target brings its own.
pub fn missing_model() -> ApiError {
    missing("model", "a model name, as in `\"gpt-4o-mini\"`")
}

fn model(value: &RawValue) -> Result<Option<String>, ApiError> {
    if value.get() == "null" {
        return Ok(None);
    }
    let wrong = |what: &str| ApiError::bad_request("model", "invalid_type", format!("`model` {what}"));
    let name: String = serde_json::from_str(value.get())
        .map_err(|_| wrong(&format!("is {}; it must be a string", kind(value))))?;
    if name.trim().is_empty() {
        return Err(wrong("is empty; name a model"));
    }
    Ok(Some(name))
}

fn boolean(name: &str, value: Option<&RawValue>) -> Result<bool, ApiError> {
    match value.map(RawValue::get) {
        None | Some("null" | "false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => {
            let message = format!("`{name}` is {}; write true or false", cut(other));
            Err(ApiError::bad_request(name, "invalid_type", message))
        }
    }
}

fn asks_for_usage(options: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct StreamOptions {
        #[serde(default)]
        include_usage: Option<bool>,
    }
    serde_json::from_str::<StreamOptions>(options.get()).ok().and_then(|o| o.include_usage).unwrap_or(false)
}

fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_and_the_rest_is_left_alone() {
        let body =
            br#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true},"x":1}"#;
        let facts = Facts::read(Operation::Chat, None, body).unwrap();
        assert_eq!(
            facts,
            Facts { model: Some("m".into()), stream: true, include_usage: true, ..Facts::default() }
        );
    }

    #[test]
    fn the_user_is_named_by_metadata_or_by_the_body() {
        let read = |more: &str| {
            Facts::read(Operation::Chat, None, format!(r#"{{"model":"m","messages":[]{more}}}"#).as_bytes())
                .unwrap()
        };
        let facts = read(r#","user":"ann""#);
        assert_eq!(facts.user(None).as_deref(), Some("ann"));
        assert_eq!(facts.user(Some(r#"{"_user":"bob"}"#)).as_deref(), Some("bob"));
        assert_eq!(facts.user(Some(r#"{"team":"x"}"#)).as_deref(), Some("ann"));
        assert_eq!(read(r#","user":7"#).user(None), None);
        assert_eq!(read(r#","user":"""#).user(None), None);
    }

    #[test]
    fn forms_name_their_model_and_their_file() {
        let form =
            |fields: &str| format!("--x\r\nContent-Disposition: form-data; name=\"{fields}\r\n--x--\r\n");
        let read = |operation, fields: &str| {
            Facts::read(operation, Some("multipart/form-data; boundary=x"), form(fields).as_bytes())
        };
        let fields = "model\"\r\n\r\nwhisper-1\r\n--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n\u{1}";
        let facts = read(Operation::Transcriptions, fields).unwrap();
        assert_eq!((facts.model.as_deref(), facts.stream), (Some("whisper-1"), false));
        let err = read(Operation::ImageEdits, fields).unwrap_err();
        assert_eq!(err.param.as_deref(), Some("image"));
        let err = Facts::read(Operation::Transcriptions, None, b"{}").unwrap_err();
        assert!(err.message.contains("multipart/form-data"), "{}", err.message);
    }

    #[test]
    fn what_passes_through_is_not_judged() {
        let read = |body: &[u8]| Facts::read(Operation::Passthrough, None, body).unwrap();
        assert_eq!(read(b"\xff"), Facts::default());
        assert_eq!(read(b""), Facts::default());
        let facts = read(br#"{"model":"m","stream":true,"messages":7}"#);
        assert_eq!((facts.model.as_deref(), facts.stream), (Some("m"), true));
    }

    #[track_caller]
    fn refused(operation: Operation, body: &[u8], param: Option<&str>, part: &str) {
        let err = Facts::read(operation, None, body).unwrap_err();
        assert_eq!((err.status, err.param.as_deref()), (400, param));
        assert!(err.message.contains(part), "{}", err.message);
    }

    #[test]
    fn bad_bodies_are_refused_with_the_field_and_the_fix() {
        refused(Operation::Chat, b"", None, "empty");
        refused(Operation::Chat, b"{\"model\":", None, "not a JSON object");
        refused(Operation::Chat, b"[1]", None, "not a JSON object");
        refused(Operation::Chat, b"{\"model\":\"\xff\"}", None, "not UTF-8: byte 10");
        refused(Operation::Chat, br#"{"model":"m"}"#, Some("messages"), "missing");
        refused(
            Operation::Chat,
            br#"{"model":"m","messages":"hi"}"#,
            Some("messages"),
            "is a string; it must be an array",
        );
        refused(Operation::Chat, br#"{"model":7,"messages":[]}"#, Some("model"), "is a number");
        refused(Operation::Chat, br#"{"model":" ","messages":[]}"#, Some("model"), "empty");
        refused(
            Operation::Chat,
            br#"{"model":"m","messages":[],"stream":"yes"}"#,
            Some("stream"),
            "true or false",
        );
        refused(Operation::Completions, br#"{"model":"m","prompt":{}}"#, Some("prompt"), "is an object");
        refused(Operation::Embeddings, br#"{"model":"m"}"#, Some("input"), "missing");
        refused(
            Operation::Embeddings,
            br#"{"model":"m","input":"x","stream":true}"#,
            Some("stream"),
            "not streamed",
        );
    }

    #[test]
    fn responses_say_how_they_are_served() {
        let read = |body: &str| {
            Facts::read(Operation::Responses, None, body.as_bytes()).map(|facts| facts.conversation)
        };
        let usual = Conversation { keep: true, ..Conversation::default() };
        assert_eq!(read(r#"{"model":"m"}"#), Ok(usual.clone()));
        assert_eq!(read(r#"{"store":null,"previous_response_id":null}"#), Ok(usual.clone()));
        assert_eq!(read(r#"{"store":false,"background":false}"#), Ok(Conversation::default()));
        assert_eq!(
            read(r#"{"background":true,"previous_response_id":"resp_1"}"#),
            Ok(Conversation { previous: Some("resp_1".into()), background: true, ..usual })
        );
        let chat = br#"{"messages":[],"store":7,"background":true}"#;
        assert!(Facts::read(Operation::Chat, None, chat).unwrap().conversation.is_none());
        for (body, param) in [
            (r#"{"store":false,"background":true}"#, "store"),
            (r#"{"stream":true,"background":true}"#, "stream"),
            (r#"{"store":"no"}"#, "store"),
            (r#"{"background":1}"#, "background"),
            (r#"{"previous_response_id":1}"#, "previous_response_id"),
        ] {
            let err = read(body).unwrap_err();
            assert_eq!((err.status, err.param.as_deref()), (400, Some(param)), "{body}");
        }
    }

    #[test]
    fn options_of_ours_are_told_from_fields_of_providers() {
        let read = |more: &str| {
            let body = format!(r#"{{"model":"m","messages":[],{more}}}"#);
            let facts = Facts::read(Operation::Chat, None, body.as_bytes()).unwrap();
            (facts.provider, facts.config)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read(r#""provider":"groq""#), (some("groq"), None));
        assert_eq!(read(r#""config":"pc-chat""#), (None, some("pc-chat")));
        assert_eq!(read(r#""config":{"retry":{"attempts":2}}"#), (None, some(r#"{"retry":{"attempts":2}}"#)));
        assert_eq!(read(r#""provider":{"order":["a"]},"config":{"voice":"x"}"#), (None, None));
        assert_eq!(read(r#""config":"fast""#), (None, None));
    }
}
