//! The call itself: one HTTP request with all its timeouts.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::Duration;

use bus::work::Delivery;
use bytes::{Bytes, BytesMut};
use domain::config::Unsupported;
use domain::headers::{DROPPED_PARAMS, PROVIDER_REQUEST_ID};
use domain::model::Models as _;
use domain::quota::{Quota, Said};
use domain::{ApiError, ErrorClass, Operation, Timestamp};
use providers::exchange::{Exchange, Outgoing};
use providers::openai::{self, Told};
use providers::{models, quota, refusal, responses};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::answer::{Answer, Made, Whole, retry_after_ms};
use crate::handle::{Task, Worker};
use crate::prove::{Account, Signable, header_name, header_value};
use crate::secrets::NoSecret;

/// Largest answer that is taken, in bytes.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

const JSON: &str = "application/json";

/// Most bytes of a provider's headers that are passed on.
const MAX_HEADERS: usize = 8 * 1024;

/// Longest list of parameters that were dropped, in bytes.
const MAX_DROPPED: usize = 1024;

impl Worker {
    /// Makes the call and forwards a stream as it comes. Ends early when cancelled, at the deadline, and on stopping.
    pub(crate) async fn call(&self, delivery: &Delivery, task: &Task, cancel: &CancellationToken) -> Made {
        let mut forward = crate::stream::Forward::new(self, delivery, task);
        let limit = task.envelope.deadline.since(self.ctx.clock().now());
        let total = task.call.timeouts.total;
        let interrupted = tokio::select! {
            made = self.exchange(task, &mut forward) => return made,
            () = cancel.cancelled() => Made::failure(499, ErrorClass::Cancelled, "cancelled by the caller"),
            () = tokio::time::sleep(limit) => Made::failure(504, ErrorClass::Deadline, "the request's deadline passed"),
            () = tokio::time::sleep(total) => {
                Made::failure(408, ErrorClass::Timeout, format!("no complete answer within {}", text(total)))
            }
            () = self.ctx.stopping().cancelled() => {
                Made::failure(503, ErrorClass::Shutdown, "the worker was stopped during the call")
            }
        };
        forward.break_off(interrupted).await
    }

    async fn exchange(&self, task: &Task, forward: &mut crate::stream::Forward<'_>) -> Made {
        let model = task.call.changes().model(task.envelope.model.as_deref()).unwrap_or_default();
        let now = self.ctx.clock().now().0 / 1000;
        let exchange = Exchange::of(&task.envelope, &task.call, &model, task.envelope.request.local(), now);
        let (request, asked) = match self.prepare(task, &exchange).await {
            Ok(prepared) => prepared,
            Err(not_sent) => return not_sent.made(task),
        };
        let begun = Instant::now();
        let own = task.call.request_timeout_ms.map(Duration::from_millis);
        let patience = own.unwrap_or(Duration::MAX).min(task.call.timeouts.first_byte);
        let response = match tokio::time::timeout(patience, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(err)) => return unreachable_or_broken(&err),
            Err(_) if own == Some(patience) => {
                let message =
                    format!("Request exceeded the timeout sent in the request: {}ms", patience.as_millis());
                return Made::failure(408, ErrorClass::Timeout, message);
            }
            Err(_) => {
                let message = format!("no response headers within {}", text(patience));
                return Made::failure(408, ErrorClass::Timeout, message);
            }
        };
        let header = |name: &str| response.headers().get(name)?.to_str().ok();
        let now = self.ctx.clock().now();
        let quota = quota::read(header, now);
        self.heard(task, &response, quota, now);
        let mut made = self.read(&exchange, &asked, task, response, forward, begun).await;
        made.first_byte = made.first_byte.or(Some(begun.elapsed()));
        made.dropped = asked.dropped;
        made.quota = quota;
        made
    }

    /// Tells routers what the head of an answer says of the provider's limits.
    fn heard(&self, task: &Task, response: &reqwest::Response, quota: Option<Quota>, now: Timestamp) {
        let asked = retry_after_ms(response.headers()).filter(|_| response.status().as_u16() == 429);
        if quota.is_none() && asked.is_none() {
            return;
        }
        let said = Said {
            started_at: task.started_at,
            decided_at: task.call.decided_at,
            at: now,
            quota: quota.unwrap_or_default(),
            shut_until: asked.map(|ms| now.plus(Duration::from_millis(ms))),
        };
        self.observer.said(task.call.watch.as_ref(), &said);
    }

    async fn prepare(
        &self,
        task: &Task,
        exchange: &Exchange<'_>,
    ) -> Result<(reqwest::RequestBuilder, Asked), NotSent> {
        let call = &task.call;
        let bus = self.ctx.bus();
        let fetched = bus.fetch(&task.envelope.body, task.body.clone()).await;
        let body = fetched.map_err(|err| NotSent::Unprepared(err.to_string()))?;
        let registry = self.ctx.registry();
        let name = call.model.as_deref().unwrap_or(exchange.about.model);
        let known = models::View::new(&registry);
        let ours = responses::to_send(&body, &task.envelope.conversation).map(Bytes::from);
        let outgoing = exchange.request(ours.as_ref().unwrap_or(&body), known.find(&call.provider, name))?;
        if call.unsupported == Unsupported::Warn && !outgoing.dropped.is_empty() {
            let (provider, dropped) = (&call.provider, &outgoing.dropped);
            warn!(attempt = %task.id, provider, ?dropped, "the provider does not take these parameters");
        }
        let account = self.account(task).await?;
        let url = format!("{}{}", call.base_url, call.path(task.envelope.operation));
        if call.untrusted_host {
            // A literal address never reaches the resolver, so it is looked at here.
            domain::host::check_custom_host(&call.base_url, &[])
                .map_err(|err| NotSent::Unprepared(err.to_string()))?;
        }
        let client = self.clients.get(call.timeouts.connect, call.untrusted_host);
        let client = client.map_err(|err| NotSent::Unprepared(err.to_string()))?;
        let mut headers = own_headers(task, &outgoing).map_err(NotSent::Unprepared)?;
        let method = task.envelope.passthrough.as_ref().map_or("POST", |through| through.method.as_str());
        let request = Signable { method, url: &url, body: &outgoing.body };
        self.prove(task, &account, &request, &mut headers).await?;
        let method =
            Method::from_bytes(method.as_bytes()).map_err(|err| NotSent::Unprepared(err.to_string()))?;
        let request = client.request(method, url).headers(headers);
        let request = if outgoing.body.is_empty() { request } else { request.body(outgoing.body) };
        Ok((request, Asked { body, dropped: outgoing.dropped }))
    }

    /// Credential and options as they are at this moment.
    async fn account(&self, task: &Task) -> Result<Account, NoSecret> {
        let call = &task.call;
        match (&call.virtual_key, &call.credential) {
            (Some(named), _) => {
                let (secret, own) = self.secrets.of(named, &task.envelope.workspace).await?;
                let mut options = call.options.clone();
                for (name, value) in own {
                    options.entry(name).or_insert(value);
                }
                Ok(Account { secret, options })
            }
            (None, Some(sealed)) => {
                let opened = self.secrets.open(sealed);
                let secret = opened.map_err(|err| {
                    NoSecret::Unreadable(format!("the credential could not be opened: {err}"))
                })?;
                Ok(Account { secret: Some(secret), options: call.options.clone() })
            }
            (None, None) => Ok(Account { secret: None, options: call.options.clone() }),
        }
    }

    async fn read(
        &self,
        exchange: &Exchange<'_>,
        asked: &Asked,
        task: &Task,
        response: reqwest::Response,
        forward: &mut crate::stream::Forward<'_>,
        begun: Instant,
    ) -> Made {
        let status = response.status().as_u16();
        let headers = passed_on(response.headers(), &asked.dropped);
        let content_type = content_type(response.headers());
        let retry_after = retry_after_ms(response.headers());
        if !(200..300).contains(&status) {
            let body = collect(response, task.call.timeouts.idle)
                .await
                .map_or_else(|_| Bytes::new(), |(body, _)| body);
            // Its words may repeat the prompt or the credential; only its code goes on record.
            let code = refusal::code(&body);
            let message = match &code {
                Some(code) => format!("status {status}, {code}"),
                None => format!("status {status}"),
            };
            let mut made = Made::failure(status, ErrorClass::of_status(status), message);
            made.code = code;
            made.retry_after_ms = retry_after;
            let passes = exchange.operation == Operation::Passthrough;
            let content_type = if passes { content_type } else { JSON.to_owned() };
            let body = exchange.failure(status, &body);
            made.answer = Answer::Failed(Whole { status, content_type, headers, body });
            return made;
        }
        if task.envelope.stream && is_stream(&content_type) {
            return match exchange.relay(&asked.body) {
                Ok(mut relay) => {
                    if task.envelope.show_cost {
                        relay.show(crate::bill::costs(task, self.ctx.registry()));
                    }
                    forward.stream(relay, response, status, headers, begun).await
                }
                Err(err) => NotSent::from(err).made(task),
            };
        }
        match collect(response, task.call.timeouts.idle).await {
            Ok((body, first_byte)) => {
                let answer = Whole { status, content_type, headers, body };
                whole(exchange, asked, answer, first_byte - begun)
            }
            // Its head had come, so the prompt was read.
            Err(made) => Made { seen: Some(Bytes::new()), ..made },
        }
    }
}

/// What was asked.
struct Asked {
    /// The caller's body.
    body: Bytes,
    /// Parameters that the provider cannot take.
    dropped: Vec<String>,
}

/// Why nothing was sent.
enum NotSent {
    /// The caller's request cannot be said to this provider.
    Refused(Box<ApiError>),
    /// There is no credential.
    NoSecret(NoSecret),
    /// Something else on our side.
    Unprepared(String),
}

impl From<ApiError> for NotSent {
    fn from(err: ApiError) -> Self {
        Self::Refused(Box::new(err))
    }
}

impl From<NoSecret> for NotSent {
    fn from(err: NoSecret) -> Self {
        Self::NoSecret(err)
    }
}

impl NotSent {
    fn made(self, task: &Task) -> Made {
        match self {
            Self::Refused(err) => {
                // The message may quote the request; what goes on record is the place.
                let place = err.param.as_deref().map_or_else(String::new, |param| format!(" at `{param}`"));
                let code = err.code.clone().unwrap_or_default();
                let message = format!("not sent: {code}{place}");
                let body = Bytes::from(err.body_for(task.envelope.operation));
                let headers = BTreeMap::new();
                Made {
                    code: err.code.clone(),
                    answer: Answer::Failed(Whole {
                        status: err.status,
                        content_type: JSON.to_owned(),
                        headers,
                        body,
                    }),
                    ..Made::failure(err.status, ErrorClass::Unsupported, message)
                }
            }
            Self::NoSecret(NoSecret::Revoked(message)) => Made::failure(401, ErrorClass::Unusable, message),
            Self::NoSecret(NoSecret::Refused(message)) => {
                Made::failure(401, ErrorClass::Authentication, message)
            }
            Self::NoSecret(NoSecret::Unreadable(message)) | Self::Unprepared(message) => {
                Made::failure(500, ErrorClass::Misconfigured, message)
            }
        }
    }
}

/// The headers that are no secret.
fn own_headers(task: &Task, outgoing: &Outgoing) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let content_type = outgoing.content_type.as_deref().unwrap_or(JSON);
    if !outgoing.body.is_empty() {
        headers.insert(CONTENT_TYPE, header_value("content-type", content_type)?);
    }
    for (name, value) in &task.call.headers {
        headers.insert(header_name(name)?, header_value(name, value)?);
    }
    let id = header_value(domain::headers::ATTEMPT_ID, &task.id.to_string())?;
    headers.insert(HeaderName::from_static(domain::headers::ATTEMPT_ID), id);
    if let Some(trace) = &task.envelope.traceparent {
        let next = telemetry::TraceContext::next_hop(Some(trace)).to_string();
        headers.insert(
            HeaderName::from_static(domain::headers::TRACEPARENT),
            header_value("traceparent", &next)?,
        );
    }
    Ok(headers)
}

/// Media types of answers that come in pieces.
fn is_stream(content_type: &str) -> bool {
    [
        "text/event-stream",
        "application/vnd.amazon.eventstream",
        "application/x-ndjson",
        "application/stream+json",
    ]
    .iter()
    .any(|known| content_type.starts_with(known))
}

fn whole(exchange: &Exchange<'_>, asked: &Asked, answer: Whole, first_byte: Duration) -> Made {
    let provider = exchange.about.provider;
    let invalid = |message: String| Made {
        first_byte: Some(first_byte),
        answer: Answer::Failed(Whole {
            status: 502,
            content_type: JSON.to_owned(),
            headers: answer.headers.clone(),
            body: match openai::error_code(&answer.body) {
                Some(_) => exchange.failure(502, &answer.body),
                None => exchange.unusable(provider, &answer.body),
            },
        }),
        ..Made::failure(502, ErrorClass::InvalidAnswer, message)
    };
    let json = answer.content_type.contains("json");
    let (body, told, content_type) = if exchange.operation.answers_bytes() && exchange.is_native() {
        // What is not judged may still tell its tokens.
        let told = if json { openai::told(&answer.body).unwrap_or_default() } else { Told::default() };
        (answer.body.clone(), told, answer.content_type.clone())
    } else if !json {
        return invalid(format!("the answer's content type is `{}`, not JSON", answer.content_type));
    } else {
        match exchange.answer(&answer.body, &asked.body) {
            Err(message) => return invalid(message),
            Ok((body, told)) => {
                let content_type = exchange.media_type().unwrap_or(&answer.content_type);
                (body, told, content_type.to_owned())
            }
        }
    };
    Made {
        status: answer.status,
        error: None,
        first_byte: Some(first_byte),
        told,
        answer: Answer::Complete(Whole { body, content_type, ..answer }),
        message: None,
        ..Made::failure(0, ErrorClass::Broken, "")
    }
}

/// Reads a body piece by piece, each within the idle timeout. Returns it and when its first byte came.
async fn collect(mut response: reqwest::Response, idle: Duration) -> Result<(Bytes, Instant), Made> {
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut first_byte = Instant::now();
    loop {
        let piece = match tokio::time::timeout(idle, response.chunk()).await {
            Err(_) => {
                let message = format!("no more bytes within {}", text(idle));
                return Err(Made::failure(408, ErrorClass::Timeout, message));
            }
            Ok(Err(err)) => return Err(unreachable_or_broken(&err)),
            Ok(Ok(None)) => break,
            Ok(Ok(Some(piece))) => piece,
        };
        match &first {
            None => {
                first_byte = Instant::now();
                first = Some(piece);
            }
            Some(begun) => {
                if rest.is_empty() {
                    rest.extend_from_slice(begun);
                }
                rest.extend_from_slice(&piece);
            }
        }
        if rest.len() > MAX_ANSWER {
            let message = format!("the answer is larger than {MAX_ANSWER} bytes");
            return Err(Made::failure(502, ErrorClass::InvalidAnswer, message));
        }
    }
    // Most answers come in one piece, which needs no copy.
    let body = if rest.is_empty() { first.unwrap_or_default() } else { rest.freeze() };
    Ok((body, first_byte))
}

/// No connection is a 503, trouble on an open one a 500.
pub(crate) fn unreachable_or_broken(err: &reqwest::Error) -> Made {
    let cause = err.source().map_or_else(|| err.to_string(), |source| format!("{err}: {}", root(source)));
    if err.is_connect() {
        return Made::failure(503, ErrorClass::Unreachable, cause);
    }
    Made::failure(500, ErrorClass::Broken, cause)
}

fn root(err: &dyn std::error::Error) -> String {
    let mut deepest = err;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

pub(crate) fn text(duration: Duration) -> String {
    domain::time::format_duration(duration)
}

fn content_type(headers: &HeaderMap) -> String {
    headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("application/octet-stream")
        .to_ascii_lowercase()
}

/// The provider's headers that the caller sees, and what the provider could not take.
fn passed_on(headers: &HeaderMap, dropped: &[String]) -> BTreeMap<String, String> {
    let kept = headers.iter().filter(|(name, _)| openai::passes_on(name.as_str()));
    let texts =
        kept.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    let mut room = MAX_HEADERS;
    let fits = |(name, value): &(String, String)| {
        let size = name.len() + value.len();
        let fits = size <= room;
        room -= if fits { size } else { 0 };
        fits
    };
    let mut all: BTreeMap<String, String> = texts.filter(fits).collect();
    // The name is taken by the gateway's own id.
    if let Some(id) = headers.get("x-request-id").and_then(|id| id.to_str().ok()) {
        all.insert(PROVIDER_REQUEST_ID.to_owned(), id.to_owned());
    }
    if !dropped.is_empty() {
        let mut list = dropped.join(", ");
        list.retain(|c| c.is_ascii_graphic() || c == ' ');
        list.truncate(MAX_DROPPED);
        all.insert(DROPPED_PARAMS.to_owned(), list);
    }
    all
}
