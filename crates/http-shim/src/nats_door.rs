//! Questions by request-reply over the bus.

use std::sync::Arc;

use bus::Headers;
use bus::service::{Question, Service};
use bytes::Bytes;
use domain::frame::Head;
use domain::operation::UnknownWord;
use domain::{ApiError, BodyRef, Operation, Outcome, RequestId, headers};
use serde::Deserialize;
use telemetry::TraceContext;
use tracing::debug;

use crate::gateway::Gateway;
use crate::intake::{Door, Intake, Order, set};
use crate::waiting::{Pending, Step};
use crate::{responses, submit};

/// Largest piece of an answer in one message, well below what brokers accept.
const PIECE: usize = 512 * 1024;

/// Answers questions until the process drains.
pub(crate) async fn serve(gateway: Arc<Gateway>, mut service: Service) {
    let drained = gateway.ctx.draining().clone();
    loop {
        tokio::select! {
            () = drained.cancelled() => break,
            question = service.next() => match question {
                Some(question) => gateway.ctx.job(answer(Arc::clone(&gateway), question)),
                None => return debug!("the request-reply service has ended"),
            }
        }
    }
    service.stop().await;
    while let Some(question) = service.next().await {
        gateway.ctx.job(answer(Arc::clone(&gateway), question));
    }
}

/// Answers one question.
async fn answer(gateway: Arc<Gateway>, question: Question) {
    match take(&gateway, &question).await {
        Ok((order, body)) => {
            let request = order.request.clone();
            if let Err(err) = answered(&gateway, &question, order, body).await {
                refuse(&question, Some(&request), &err, None).await;
            }
        }
        Err(err) => refuse(&question, None, &err, None).await,
    }
}

async fn take(gateway: &Gateway, question: &Question) -> Result<(Order, Bytes), ApiError> {
    let operation: Operation = question.operation().parse().map_err(|err: UnknownWord| {
        ApiError::bad_request("operation", "unknown_operation", err.to_string())
    })?;
    let body = question.payload();
    let identity = gateway.admit(&|name| question.header(name))?;
    let content_type = question.header(headers::CONTENT_TYPE).filter(|value| !headers::is_json(value));
    let facts = submit::facts(operation, content_type, &body).await;
    let intake = Intake {
        door: Door::Nats,
        operation,
        content_type: content_type.map(str::to_owned),
        passthrough: None,
        provider_options: serde_json::Map::new(),
        facts,
        registry: &gateway.ctx.registry(),
        policy: gateway.ctx.policy(),
        identity,
        options: &gateway.options,
        now: gateway.ctx.clock().now(),
        fresh: gateway.fresh_id(),
        asynchronous: false,
        trace: TraceContext::next_hop(question.header(headers::TRACEPARENT)),
    };
    let order = intake.check(&|name| question.header(name))?;
    Ok((order, body))
}

async fn answered(
    gateway: &Arc<Gateway>,
    question: &Question,
    mut order: Order,
    body: Bytes,
) -> Result<(), ApiError> {
    let request = order.request.clone();
    if order.facts.conversation.background {
        let object = responses::begin(gateway, order, body).await?;
        accepted(question, &request, "200", object).await;
        return Ok(());
    }
    if order.chosen
        && let Some((outcome, body)) = gateway.ended(&order.identity.workspace, &request).await?
    {
        whole(question, *outcome, body).await;
        return Ok(());
    }
    if order.asynchronous {
        let known = order.chosen && gateway.is_under_way(&request).await?;
        if !known {
            gateway.submit_asynchronous(&mut order, body, false).await?;
        }
        let body = serde_json::json!({ "id": request.local(), "status": "accepted" }).to_string();
        accepted(question, &request, "202", Bytes::from(body)).await;
        return Ok(());
    }
    let mut pending = gateway.submit(&mut order, body).await?;
    match pending.next().await {
        Step::Whole(outcome, body) => whole(question, *outcome, body).await,
        Step::Failed(err) => return Err(err),
        Step::Begin(head) if order.facts.stream => pieces(question, &head, &request, pending).await,
        Step::Begin(_) | Step::Bytes(_) | Step::Done(_) => {
            let (outcome, body) = pending.collect().await?;
            whole(question, *outcome, body).await;
        }
    }
    Ok(())
}

/// The whole answer, in several messages if it is large.
async fn whole(question: &Question, mut outcome: Outcome, body: Bytes) {
    // The bytes come along, wherever they are stored.
    outcome.body = BodyRef::Inline { size: body.len() };
    let mut told = bus::headers_of::answer(&outcome);
    if outcome.status >= 400 {
        service_error(&mut told, &outcome.status.to_string(), &error_text(&body));
    }
    if body.len() <= PIECE {
        set(&mut told, headers::FINAL, "true");
        return question.answer(told, body).await;
    }
    let count = body.len().div_ceil(PIECE);
    for number in 0..count {
        let bytes = body.slice(number * PIECE..body.len().min((number + 1) * PIECE));
        let mut headers = told.clone();
        set(&mut headers, headers::SEQUENCE, &number.to_string());
        if number + 1 == count {
            set(&mut headers, headers::FINAL, "true");
        }
        question.answer(headers, bytes).await;
    }
}

/// A streamed answer: one message per piece, then one without bytes.
async fn pieces(question: &Question, head: &Head, request: &RequestId, mut pending: Pending) {
    let mut sequence = 0u64;
    loop {
        match pending.next().await {
            Step::Begin(_) => {}
            Step::Bytes(mut bytes) => {
                while !bytes.is_empty() {
                    let piece = bytes.split_to(bytes.len().min(PIECE));
                    question.answer(piece_headers(head, request, sequence), piece).await;
                    sequence += 1;
                }
            }
            Step::Done(outcome) | Step::Whole(outcome, _) => {
                let mut told = bus::headers_of::answer(&outcome);
                set(&mut told, headers::STATUS, &head.status.to_string());
                return last(question, told, sequence).await;
            }
            Step::Failed(err) => return refuse(question, Some(request), &err, Some(sequence)).await,
        }
    }
}

fn piece_headers(head: &Head, request: &RequestId, sequence: u64) -> Headers {
    let mut out = Headers::new();
    set(&mut out, headers::SEQUENCE, &sequence.to_string());
    set(&mut out, headers::REQUEST_ID, request.local());
    // What a reader needs to know before the first byte comes with it.
    if sequence == 0 {
        set(&mut out, headers::STATUS, &head.status.to_string());
        set(&mut out, "Content-Type", &head.content_type);
        let (path, provider) = (Some(head.path.as_str()), Some(head.provider.as_str()));
        bus::headers_of::route(&mut out, path, provider, head.retry_count, head.cache.as_deref());
    }
    out
}

async fn last(question: &Question, mut told: Headers, sequence: u64) {
    set(&mut told, headers::SEQUENCE, &sequence.to_string());
    set(&mut told, headers::FINAL, "true");
    question.answer(told, Bytes::new()).await;
}

/// The request is kept; its answer can be read by id.
async fn accepted(question: &Question, request: &RequestId, status: &str, body: Bytes) {
    let mut told = Headers::new();
    set(&mut told, headers::REQUEST_ID, request.local());
    set(&mut told, headers::STATUS, status);
    set(&mut told, "Content-Type", "application/json");
    set(&mut told, headers::FINAL, "true");
    question.answer(told, body).await;
}

/// An error, alone or at the end of a streamed answer.
async fn refuse(question: &Question, request: Option<&RequestId>, err: &ApiError, sequence: Option<u64>) {
    let mut told = error_headers(request, err);
    let operation = question.operation().parse().unwrap_or(Operation::Chat);
    match sequence {
        None => {
            set(&mut told, headers::FINAL, "true");
            question.answer(told, Bytes::from(err.body_for(operation))).await;
        }
        Some(sequence) => {
            let mut event = told.clone();
            set(&mut event, headers::SEQUENCE, &sequence.to_string());
            question.answer(event, crate::answer::error_event(operation, err)).await;
            last(question, told, sequence + 1).await;
        }
    }
}

fn error_headers(request: Option<&RequestId>, err: &ApiError) -> Headers {
    let mut told = Headers::new();
    if let Some(request) = request {
        set(&mut told, headers::REQUEST_ID, request.local());
    }
    set(&mut told, headers::STATUS, &err.status.to_string());
    set(&mut told, "Content-Type", "application/json");
    if let Some(seconds) = err.retry_after {
        set(&mut told, "Retry-After", &seconds.to_string());
    }
    service_error(&mut told, &err.status.to_string(), &err.message);
    told
}

/// What an error answer says: its message, or its beginning if it has another shape.
fn error_text(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        error: Message,
    }
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let text = match serde_json::from_slice::<Answer>(body) {
        Ok(answer) => answer.error.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    text.chars().take(300).collect()
}

/// Marks an answer as an error in the way of NATS micro services.
fn service_error(told: &mut Headers, code: &str, text: &str) {
    set(told, "Nats-Service-Error-Code", code);
    set(told, "Nats-Service-Error", text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_carry_their_status_in_both_ways() {
        let request = RequestId::parse("r1").unwrap();
        let err = ApiError::new(503, "unavailable", "away\nfor a while").with_retry_after(5);
        let told = error_headers(Some(&request), &err);
        for (name, value) in [
            ("Pointsman-Request-Id", "r1"),
            ("Pointsman-Status", "503"),
            ("Retry-After", "5"),
            ("Nats-Service-Error-Code", "503"),
            ("Nats-Service-Error", "away for a while"),
        ] {
            assert_eq!(bus::header(Some(&told), name), Some(value), "{name}");
        }
    }

    #[test]
    fn a_providers_error_is_told_by_its_message() {
        assert_eq!(error_text(br#"{"error":{"message":"no such model","code":null}}"#), "no such model");
        assert_eq!(error_text(b"<html>"), "<html>");
    }

    #[test]
    fn the_first_piece_says_what_follows() {
        let head = Head {
            status: 200,
            content_type: "text/event-stream".to_owned(),
            headers: Default::default(),
            path: "config".to_owned(),
            provider: "mock".to_owned(),
            retry_count: 0,
            cache: None,
        };
        let request = RequestId::parse("r1").unwrap();
        let (first, second) = (piece_headers(&head, &request, 0), piece_headers(&head, &request, 1));
        assert_eq!(bus::header(Some(&first), headers::STATUS), Some("200"));
        assert_eq!(bus::header(Some(&second), headers::STATUS), None);
        assert_eq!(bus::header(Some(&second), headers::SEQUENCE), Some("1"));
    }
}
