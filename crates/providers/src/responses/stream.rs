//! Streams in the Responses dialect.
//!
//! Source: "Streaming events" of Responses in OpenAI's API reference; the order of events as its SDKs collect them.

use domain::Usage;
use serde_json::{Map, Value, json};

use super::object::{Object, Status, code};
use super::output::Output;
use super::raw::RawFields;
use super::request::LOGPROBS;
use super::sink::Sink;
use crate::chat::{About, Event, ProviderError, Start, WriteEvents};

/// Writes a stream, from `response.created` to `response.completed`, `response.incomplete` or `response.failed`.
#[derive(Debug)]
pub struct Writer {
    object: Object,
    output: Output,
    sink: Sink,
    provider: String,
    usage: Option<Usage>,
    extra: Map<String, Value>,
    begun: bool,
    /// The whole response, once it has ended.
    ended: Option<String>,
}

impl Writer {
    /// Answers the request with this body, which response objects repeat in part.
    pub fn new(about: &About<'_>, request_body: &[u8]) -> Self {
        Self::with(Sink::new(false), about, request_body)
    }

    /// Makes a response and no events.
    pub(super) fn quiet(about: &About<'_>, request_body: &[u8]) -> Self {
        Self::with(Sink::new(true), about, request_body)
    }

    fn with(sink: Sink, about: &About<'_>, request_body: &[u8]) -> Self {
        Self {
            object: Object::new(about, request_body),
            output: Output::new(asks_for_logprobs(request_body)),
            sink,
            provider: about.provider.to_owned(),
            usage: None,
            extra: Map::new(),
            begun: false,
            ended: None,
        }
    }

    pub(super) fn take(&mut self, event: &Event) {
        if self.ended.is_some() {
            return;
        }
        match event {
            Event::Start(start) => return self.begin(start),
            _ if !self.begun => self.begin(&Start::default()),
            _ => {}
        }
        let Self { object, output, sink, .. } = self;
        if !matches!(event, Event::Logprobs { .. }) {
            output.flush(&[], sink);
        }
        match event {
            Event::Start(_) => {}
            Event::Open { choice, block, what } => output.open((*choice, *block), what, object, sink),
            Event::Delta { choice, block, delta } => output.delta((*choice, *block), delta, object, sink),
            Event::Close { choice, block } => output.close((*choice, *block), object, sink),
            Event::Logprobs { choice, value } => output.add_logprobs(*choice, value, sink),
            Event::Finish { choice, finish } => output.finish(*choice, finish, object, sink),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Extra(fields) => self.extra.extend(fields.clone()),
            Event::Error(error) => self.fail(error),
            Event::End => self.end(self.output.status()),
        }
    }

    /// Adds an item that no event can say.
    pub(super) fn whole(&mut self, choice: u32, prefix: &str, fields: Map<String, Value>) {
        self.output.whole(choice, prefix, fields, &self.object, &mut self.sink);
    }

    /// The response, once it has ended.
    pub(super) fn into_response(self) -> Vec<u8> {
        self.ended.unwrap_or_default().into_bytes()
    }

    fn begin(&mut self, start: &Start) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        self.object.begin(start);
        let status = Status::plain("in_progress");
        for kind in ["response.created", "response.in_progress"] {
            let object = &self.object;
            self.sink.emit_members(kind, || {
                format!("\"response\":{}", object.write(&status, Vec::new(), None, &Map::new()))
            });
        }
    }

    fn fail(&mut self, error: &ProviderError) {
        let status = Status::failed(error, &self.provider);
        let message = format!("{} error: {}", self.provider, error.message);
        self.sink.emit("error", || {
            error_fields(&message, error.kind.as_deref(), code(error), error.param.as_deref())
        });
        self.end(status);
    }

    fn end(&mut self, status: Status) {
        if let Some(finish) = self.output.first_finish().filter(|_| !self.object.strict) {
            for (name, value) in [("finish_reason", &finish.raw), ("stop_sequence", &finish.stop_sequence)] {
                if let Some(value) = value {
                    self.extra.insert(name.to_owned(), Value::from(value.as_str()));
                }
            }
        }
        let output = self.output.take(self.object.strict);
        let response = self.object.write(&status, output, self.usage, &self.extra);
        self.sink.emit_members(&format!("response.{}", status.word), || format!("\"response\":{response}"));
        self.ended = Some(response);
    }
}

impl WriteEvents for Writer {
    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        self.take(event);
        self.sink.take(out);
    }
}

fn asks_for_logprobs(request_body: &[u8]) -> bool {
    let request: RawFields<'_> = serde_json::from_slice(request_body).unwrap_or_default();
    let include: Vec<String> = request.read("include").unwrap_or_default();
    include.iter().any(|name| name == LOGPROBS) || request.read::<u64>("top_logprobs").is_some_and(|n| n > 0)
}

/// Fields of an `error` event. The reference has them flat, the service itself sends them in an object, and SDKs throw
/// an error only for the latter: so both are written.
pub(super) fn error_fields(message: &str, kind: Option<&str>, code: &str, param: Option<&str>) -> Value {
    json!({
        "code": code,
        "message": message,
        "param": param,
        "error": { "type": kind, "code": code, "message": message, "param": param },
    })
}
