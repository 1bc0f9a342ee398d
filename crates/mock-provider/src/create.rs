//! Answers calls of providers' addresses: reads the request, decides the answer, then lets the script have its way
//! with it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use domain::ApiError;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::call::Call;
use crate::chat::Setting;
use crate::endpoint::{Asked, Endpoint, Manner, Received};
use crate::player::{Body, Content, Cut, play};
use crate::script::{Hang, Malformed, Script, Step};
use crate::sequence::Standing;
use crate::server::State;
use crate::text::hash;
use crate::value::{MAX_SIZE, RetryAfter};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
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
    error_header: Option<(&'static str, String)>,
    /// Where the call stands before a wall.
    standing: Option<Standing>,
    content: Content,
    input_tokens: u64,
    /// Generated before the first byte; the chunks of a stream are counted as they leave.
    output_tokens: u64,
}

/// Answers one call. A cut ends the connection.
pub(crate) async fn create(
    state: &Arc<State>,
    endpoint: &'static dyn Endpoint,
    captured: &[String],
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let attempt_id = attempt_id(&parts.headers);
    let manner = endpoint.manner();
    let (bytes, plan) = match Limited::new(body, MAX_SIZE).collect().await {
        Ok(body) => {
            let bytes = body.to_bytes();
            let received = Received { parts: &parts, bytes: &bytes, captured, state };
            let plan = Plan::new(endpoint, &received, attempt_id.as_deref());
            (bytes, plan)
        }
        Err(err) if err.is::<LengthLimitError>() => {
            let err =
                ApiError::new(413, "request_too_large", format!("the body is larger than {MAX_SIZE} bytes"));
            (Bytes::new(), Plan::refused(manner, 0, "", Step::default(), &err))
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
    Ok(answer.respond(call, &step, manner, id))
}

fn attempt_id(headers: &HeaderMap) -> Option<Arc<str>> {
    headers.get(domain::headers::ATTEMPT_ID)?.to_str().ok().map(Arc::from)
}

impl Plan {
    fn new(endpoint: &'static dyn Endpoint, received: &Received<'_>, attempt_id: Option<&str>) -> Self {
        let (manner, state) = (endpoint.manner(), received.state);
        let id = hash(0, received.bytes);
        let admitted = endpoint.admit(received);
        let understood = match endpoint.read(received) {
            Ok(understood) => understood,
            Err(err) => {
                let err = admitted.as_ref().err().unwrap_or(&err);
                return Self::refused(manner, id, "", Step::default(), err);
            }
        };
        let model = understood.model.as_ref();
        let script = match Script::parse(model) {
            Ok(script) => script,
            Err(err) => return Self::refused(manner, id, model, Step::default(), &err),
        };
        // What cannot be answered is refused at once, whatever else the script wants.
        let refused = |log: bool, err: &ApiError| {
            Self::refused(manner, id, model, Step { log, ..Step::default() }, err)
        };
        if let Err(err) = admitted {
            return refused(script.step(0).log, &err);
        }
        let position = if script.is_sequence() { state.sequences.advance(model, attempt_id) } else { 0 };
        let step = script.step(position);
        let asked = match (understood.ask)() {
            Ok(asked) => asked,
            Err(err) => return refused(step.log, &err),
        };
        let limited = step.rate.and_then(|rate| state.sequences.limited(model, rate, Instant::now()));
        let standing = step.wall.map(|wall| state.sequences.before_wall(model, wall, Instant::now()));
        let limited = limited.or(standing.filter(|s| s.refused).map(|s| s.reset));
        let setting = Setting { model, base: script.base, step: &step, id };
        let answer = Answer::decide(asked, setting, manner, limited.map(RetryAfter::Exact));
        let answer = Answer { standing, ..answer };
        Self { id, model: model.to_owned(), step, answer }
    }

    fn refused(manner: &dyn Manner, id: u64, model: &str, step: Step, err: &ApiError) -> Self {
        Self { id, model: model.to_owned(), answer: Answer::error(manner, err, id), step }
    }
}

impl Answer {
    fn decide(
        asked: Asked<'_>,
        setting: Setting<'_>,
        manner: &dyn Manner,
        limited: Option<RetryAfter>,
    ) -> Self {
        let Setting { step, id, .. } = setting;
        if limited.is_some() {
            let err = ApiError::new(429, "rate_limit_exceeded", "more calls than the model name allows");
            return Self::error(manner, &waiting(err, limited), id).after(limited).scripted(step);
        }
        if !step.status.is_success() {
            let err = ApiError::new(step.status.as_u16(), "scripted_status", scripted_message(step));
            let err = waiting(err, step.retry_after);
            return Self::error(manner, &err, id).after(step.retry_after).scripted(step);
        }
        if step.error_body {
            let err = ApiError::new(500, "scripted_error_body", scripted_message(step));
            let mut answer = Self { status: step.status, ..Self::error(manner, &err, id) };
            if let Some(errors) = asked.errors {
                let made = errors(&err);
                (answer.content, answer.content_type) = (made.content, made.content_type);
            }
            return answer.scripted(step);
        }
        let made = (asked.make)(setting);
        let answer = Self {
            status: step.status,
            content_type: made.content_type,
            retry_after: None,
            error_header: None,
            standing: None,
            content: made.content,
            input_tokens: asked.input_tokens,
            output_tokens: made.output_tokens,
        };
        answer.scripted(step)
    }

    fn error(manner: &dyn Manner, err: &ApiError, id: u64) -> Self {
        Self {
            status: StatusCode::from_u16(err.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            content_type: JSON,
            retry_after: None,
            error_header: manner.error_header(err),
            standing: None,
            content: Content::Whole(manner.error(err, id).into()),
            input_tokens: 0,
            output_tokens: 0,
        }
    }

    fn after(self, retry_after: Option<RetryAfter>) -> Self {
        Self { retry_after, ..self }
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

    fn respond(self, call: Call, step: &Step, manner: &dyn Manner, id: u64) -> Response<Body> {
        let length = match &self.content {
            Content::Whole(body) => Some(body.len()),
            Content::Stream(_) => None,
        };
        let mut response = Response::new(play(call, self.content, step));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type);
        let told = self.standing.map_or_else(Vec::new, told);
        for (name, value) in manner.headers(id).into_iter().chain(self.error_header).chain(told) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        match self.retry_after {
            Some(RetryAfter::Seconds(seconds)) => drop(headers.insert(RETRY_AFTER, seconds.into())),
            Some(exact @ RetryAfter::Exact(_)) => {
                headers.insert(RETRY_AFTER_MS, exact.millis().into());
                headers.insert(RETRY_AFTER, exact.seconds().into());
            }
            None => {}
        }
        response
    }
}

/// The headers that tell of a wall, as OpenAI writes them.
fn told(standing: Standing) -> Vec<(&'static str, String)> {
    vec![
        ("x-ratelimit-limit-requests", standing.limit.to_string()),
        ("x-ratelimit-remaining-requests", standing.remaining.to_string()),
        ("x-ratelimit-reset-requests", format!("{}ms", standing.reset.as_nanos().div_ceil(1_000_000))),
    ]
}

/// Some dialects say the wait in the error, too.
fn waiting(err: ApiError, wait: Option<RetryAfter>) -> ApiError {
    match wait {
        Some(wait) => err.with_retry_after(wait.seconds()),
        None => err,
    }
}

/// Says who wanted the error, and is as long as the script wants.
fn scripted_message(step: &Step) -> String {
    let mut message =
        format!("the script in the model name asks for this error (status {})", step.status.as_u16());
    let filler = step.size.unwrap_or(0).saturating_sub(message.len());
    message.extend(std::iter::repeat_n('.', filler));
    message
}
