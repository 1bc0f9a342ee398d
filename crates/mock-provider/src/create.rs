//! Answers `POST /v1/…`: reads the request, decides the answer, then lets the script have its way with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::{ApiError, Operation};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::answer::{Draft, hash};
use crate::call::Call;
use crate::embedding;
use crate::player::{Body, Content, Cut, play};
use crate::request::{self, Ask};
use crate::script::{Hang, Malformed, Script, Step};
use crate::server::State;
use crate::stream::{error_event, pieces};
use crate::value::{MAX_SIZE, RetryAfter};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// How one call will go.
struct Plan {
    /// Names the answer: the same for the same request.
    id: u64,
    /// Empty if the request does not say.
    model: String,
    step: Step,
    answer: Answer,
}

/// An answer that has been decided but not sent.
struct Answer {
    status: StatusCode,
    content_type: HeaderValue,
    retry_after: Option<RetryAfter>,
    content: Content,
    input_tokens: u64,
    /// Generated before the first byte; the chunks of a stream are counted as they leave.
    output_tokens: u64,
}

/// Answers one call. A cut ends the connection.
pub(crate) async fn create(
    state: &Arc<State>,
    operation: Operation,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let attempt_id = attempt_id(&parts.headers);
    let (bytes, plan) = match Limited::new(body, MAX_SIZE).collect().await {
        Ok(body) => {
            let bytes = body.to_bytes();
            let plan = Plan::new(state, operation, &bytes, attempt_id.as_deref());
            (bytes, plan)
        }
        Err(err) if err.is::<LengthLimitError>() => {
            let err =
                ApiError::new(413, "request_too_large", format!("the body is larger than {MAX_SIZE} bytes"));
            (Bytes::new(), Plan::refused(0, "", Step::default(), &err))
        }
        Err(_) => return Err(Cut),
    };
    let Plan { id, model, step, answer } = plan;
    let logged = state.options.log || step.log;
    if logged {
        state.log.receive(&parts, &bytes);
    }
    let mut call = Call::start(state, attempt_id, &model, logged);
    if step.hang == Some(Hang::Headers) {
        std::future::pending::<()>().await;
    }
    if !step.delay.is_zero() {
        tokio::time::sleep(step.delay).await;
    }
    if step.abort == Some(0) {
        call.aborted();
        return Err(Cut);
    }
    call.answered(answer.status, answer.input_tokens, answer.output_tokens);
    Ok(answer.respond(call, &step, id))
}

fn attempt_id(headers: &HeaderMap) -> Option<Arc<str>> {
    headers.get(domain::headers::ATTEMPT_ID)?.to_str().ok().map(Arc::from)
}

impl Plan {
    fn new(state: &State, operation: Operation, bytes: &[u8], attempt_id: Option<&str>) -> Self {
        let id = hash(0, bytes);
        let body = match request::Body::parse(bytes) {
            Ok(body) => body,
            Err(err) => return Self::refused(id, "", Step::default(), &err),
        };
        let model = match body.model() {
            Ok(model) => model,
            Err(err) => return Self::refused(id, "", Step::default(), &err),
        };
        let script = match Script::parse(model) {
            Ok(script) => script,
            Err(err) => return Self::refused(id, model, Step::default(), &err),
        };
        let position = if script.is_sequence() { state.sequences.advance(model, attempt_id) } else { 0 };
        let step = script.step(position);
        let answer = match body.ask(operation) {
            Ok(ask) => {
                let limited = step.rate.and_then(|rate| state.sequences.limited(model, rate, Instant::now()));
                Answer::decide(&ask, model, script.base, &step, limited, id)
            }
            // What cannot be answered is refused at once, whatever else the script wants.
            Err(err) => {
                let step = Step { log: step.log, ..Step::default() };
                return Self::refused(id, model, step, &err);
            }
        };
        Self { id, model: model.to_owned(), step, answer }
    }

    fn refused(id: u64, model: &str, step: Step, err: &ApiError) -> Self {
        Self { id, model: model.to_owned(), answer: Answer::error(err), step }
    }
}

impl Answer {
    fn decide(ask: &Ask, model: &str, base: &str, step: &Step, limited: Option<Duration>, id: u64) -> Self {
        if let Some(wait) = limited {
            let err =
                ApiError::new(429, "rate_limit_exceeded", "more calls than `rate` in the model name allows");
            return Self { retry_after: Some(RetryAfter::Exact(wait)), ..Self::error(&err) }.scripted(step);
        }
        if !step.status.is_success() {
            let err = ApiError::new(step.status.as_u16(), "scripted_status", scripted_message(step));
            return Self { retry_after: step.retry_after, ..Self::error(&err) }.scripted(step);
        }
        if step.error_body {
            let err = ApiError::new(500, "scripted_error_body", scripted_message(step));
            return Self { status: step.status, ..Self::error(&err) }.streamed_if(ask.stream).scripted(step);
        }
        let (content, output_tokens) = content(ask, model, base, step, id);
        let content_type = if ask.stream { EVENTS } else { JSON };
        let (status, input_tokens) = (step.status, ask.input_tokens);
        Self { status, content_type, retry_after: None, content, input_tokens, output_tokens }.scripted(step)
    }

    fn error(err: &ApiError) -> Self {
        Self {
            status: StatusCode::from_u16(err.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            content_type: JSON,
            retry_after: None,
            content: Content::Whole(err.openai_body().into()),
            input_tokens: 0,
            output_tokens: 0,
        }
    }

    /// An error inside a stream is an event of it.
    fn streamed_if(self, stream: bool) -> Self {
        match self.content {
            Content::Whole(body) if stream => {
                let content = Content::Stream(Box::new(std::iter::once(error_event(&body))));
                Self { content_type: EVENTS, content, ..self }
            }
            content => Self { content, ..self },
        }
    }

    /// Faults of the whole body; those of streams are made where events are written.
    fn scripted(mut self, step: &Step) -> Self {
        if let Some(content_type) = &step.content_type {
            self.content_type = content_type.clone();
        }
        if let (Content::Whole(body), Some(Malformed::Json)) = (&mut self.content, step.malformed) {
            body.truncate(body.len() * 2 / 3);
        }
        self
    }

    fn respond(self, call: Call, step: &Step, id: u64) -> Response<Body> {
        let length = match &self.content {
            Content::Whole(body) => Some(body.len()),
            Content::Stream(_) => None,
        };
        let mut response = Response::new(play(call, self.content, step));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type);
        headers.insert("openai-processing-ms", HeaderValue::from_static("0"));
        if let Ok(id) = HeaderValue::from_str(&format!("req_{id:016x}")) {
            headers.insert("x-request-id", id);
        }
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        match self.retry_after {
            Some(RetryAfter::Seconds(seconds)) => drop(headers.insert(RETRY_AFTER, seconds.into())),
            Some(RetryAfter::Exact(wait)) => {
                let ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
                headers.insert(RETRY_AFTER_MS, ms.into());
                headers.insert(RETRY_AFTER, ms.div_ceil(1000).into());
            }
            None => {}
        }
        response
    }
}

/// The answer itself, and the tokens that are generated before it starts.
fn content(ask: &Ask, model: &str, base: &str, step: &Step, id: u64) -> (Content, u64) {
    if ask.operation == Operation::Embeddings {
        return (Content::Whole(embedding::whole(ask, model, base, step).into()), 0);
    }
    let draft = Draft::new(ask, model, base, step, id);
    if ask.stream {
        return (Content::Stream(pieces(draft, ask, step)), 0);
    }
    (Content::Whole(draft.whole(step.usage).into()), draft.usage.completion_tokens)
}

/// Says who wanted the error, and is as long as the script wants.
fn scripted_message(step: &Step) -> String {
    let mut message =
        format!("the script in the model name asks for this error (status {})", step.status.as_u16());
    let filler = step.size.unwrap_or(0).saturating_sub(message.len());
    message.extend(std::iter::repeat_n('.', filler));
    message
}
