//! The call itself: one HTTP request with all its timeouts.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::Duration;

use bus::work::Delivery;
use bytes::{Bytes, BytesMut};
use domain::ErrorClass;
use providers::{failure, openai, refusal};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::answer::{Answer, Made, Whole, retry_after_ms};
use crate::handle::{Task, Worker};
use crate::secrets::NoSecret;

/// Largest answer that is taken, in bytes.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

const JSON: &str = "application/json";

/// Most bytes of a provider's headers that are passed on.
const MAX_HEADERS: usize = 8 * 1024;

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
        let request = match self.prepare(task).await {
            Ok(request) => request,
            Err(NoSecret::Unreadable(message)) => {
                return Made::failure(500, ErrorClass::Misconfigured, message);
            }
            Err(NoSecret::Revoked(message)) => return Made::failure(401, ErrorClass::Unusable, message),
        };
        let begun = Instant::now();
        let asked = task.call.request_timeout_ms.map(Duration::from_millis);
        let patience = asked.unwrap_or(Duration::MAX).min(task.call.timeouts.first_byte);
        let response = match tokio::time::timeout(patience, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(err)) => return unreachable_or_broken(&err),
            Err(_) if asked == Some(patience) => {
                let message =
                    format!("Request exceeded the timeout sent in the request: {}ms", patience.as_millis());
                return Made::failure(408, ErrorClass::Timeout, message);
            }
            Err(_) => {
                let message = format!("no response headers within {}", text(patience));
                return Made::failure(408, ErrorClass::Timeout, message);
            }
        };
        let mut made = self.read(task, response, forward, begun).await;
        made.first_byte = made.first_byte.or(Some(begun.elapsed()));
        made
    }

    async fn prepare(&self, task: &Task) -> Result<reqwest::RequestBuilder, NoSecret> {
        let credential = match (&task.call.virtual_key, &task.call.credential) {
            (Some(named), _) => self.secrets.of(named, &task.envelope.workspace).await?,
            (None, Some(sealed)) => {
                let opened = self.secrets.open(sealed);
                Some(opened.map_err(|err| {
                    NoSecret::Unreadable(format!("the credential could not be opened: {err}"))
                })?)
            }
            (None, None) => None,
        };
        self.prepare_with(task, credential).await.map_err(NoSecret::Unreadable)
    }

    async fn prepare_with(
        &self,
        task: &Task,
        credential: Option<Zeroizing<String>>,
    ) -> Result<reqwest::RequestBuilder, String> {
        let call = &task.call;
        let body = self
            .ctx
            .bus()
            .fetch(&task.envelope.body, task.body.clone())
            .await
            .map_err(|err| err.to_string())?;
        let body = openai::request_body(&body, &call.changes(), task.envelope.stream)
            .map_err(|err| format!("the body is not a JSON object: {err}"))?;
        let url = format!("{}{}", call.base_url, task.envelope.operation.openai_path());
        if call.untrusted_host {
            // A literal address never reaches the resolver, so it is looked at here.
            domain::host::check_custom_host(&call.base_url, &[]).map_err(|err| err.to_string())?;
        }
        let client =
            self.clients.get(call.timeouts.connect, call.untrusted_host).map_err(|err| err.to_string())?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in &call.headers {
            headers.insert(header_name(name)?, header_value(name, value)?);
        }
        self.add_secrets(task, credential, &mut headers)?;
        let id = HeaderValue::from_str(&task.id.to_string()).map_err(|err| err.to_string())?;
        headers.insert(HeaderName::from_static(domain::headers::ATTEMPT_ID), id);
        if let Some(trace) = &task.envelope.traceparent {
            let next = telemetry::TraceContext::next_hop(Some(trace)).to_string();
            headers.insert(
                HeaderName::from_static(domain::headers::TRACEPARENT),
                header_value("traceparent", &next)?,
            );
        }
        Ok(client.post(url).headers(headers).body(body))
    }

    /// The credential, and the caller's headers that the target wants: the only place where they are in clear.
    fn add_secrets(
        &self,
        task: &Task,
        credential: Option<Zeroizing<String>>,
        headers: &mut HeaderMap,
    ) -> Result<(), String> {
        let call = &task.call;
        if let Some(secret) = credential {
            let text = match call.auth.scheme.as_str() {
                "" => secret,
                scheme => Zeroizing::new(format!("{scheme} {}", secret.as_str())),
            };
            let mut value = header_value(&call.auth.header, &text)?;
            value.set_sensitive(true);
            headers.insert(header_name(&call.auth.header)?, value);
        }
        if let (Some(sealed), false) = (&task.envelope.forward, call.forward_headers.is_empty()) {
            let open = self
                .secrets
                .open(sealed)
                .map_err(|err| format!("the headers to forward could not be opened: {err}"))?;
            let values: BTreeMap<String, String> =
                serde_json::from_str(&open).map_err(|err| err.to_string())?;
            for name in &call.forward_headers {
                if let Some(value) = values.get(name) {
                    let mut value = header_value(name, value)?;
                    value.set_sensitive(true);
                    headers.insert(header_name(name)?, value);
                }
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        task: &Task,
        response: reqwest::Response,
        forward: &mut crate::stream::Forward<'_>,
        begun: Instant,
    ) -> Made {
        let status = response.status().as_u16();
        let headers = passed_on(response.headers());
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
            let body = failure::told(&task.call.provider, &body);
            made.answer = Answer::Failed(Whole { status, content_type: JSON.to_owned(), headers, body });
            return made;
        }
        if task.envelope.stream && content_type.starts_with("text/event-stream") {
            return forward.stream(response, status, headers, begun).await;
        }
        match collect(response, task.call.timeouts.idle).await {
            Ok((body, first_byte)) => {
                let answer = Whole { status, content_type, headers, body };
                whole(&task.call.provider, answer, first_byte - begun)
            }
            Err(made) => made,
        }
    }
}

fn whole(provider: &str, answer: Whole, first_byte: Duration) -> Made {
    let invalid = |message: String| Made {
        first_byte: Some(first_byte),
        answer: Answer::Failed(Whole {
            status: 502,
            content_type: JSON.to_owned(),
            headers: answer.headers.clone(),
            body: match openai::error_code(&answer.body) {
                Some(_) => failure::told(provider, &answer.body),
                None => failure::unusable(provider, &answer.body),
            },
        }),
        ..Made::failure(502, ErrorClass::InvalidAnswer, message)
    };
    if !answer.content_type.contains("json") {
        return invalid(format!("the answer's content type is `{}`, not JSON", answer.content_type));
    }
    match openai::told(&answer.body) {
        Err(message) => invalid(message),
        Ok(told) => Made {
            status: answer.status,
            error: None,
            code: None,
            message: None,
            retry_after_ms: None,
            first_byte: Some(first_byte),
            told,
            answer: Answer::Complete(answer),
            forwarded: None,
            sent: Bytes::new(),
        },
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

fn passed_on(headers: &HeaderMap) -> BTreeMap<String, String> {
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
    texts.filter(fits).collect()
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not a header name"))
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(value)
        .map_err(|_| format!("the value of header `{name}` holds characters that headers cannot"))
}
