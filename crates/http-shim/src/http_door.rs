//! Questions over HTTP.

use std::sync::Arc;

use domain::config::provider_options;
use domain::envelope::Passthrough;
use domain::{ApiError, Operation, RequestId, headers};
use http::header::LOCATION;
use http::{HeaderMap, HeaderName, Request, Response};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use telemetry::TraceContext;

use crate::body::{self, Body};
use crate::gateway::Gateway;
use crate::intake::{Door, Intake, Order};
use crate::prefer::Preference;
use crate::waiting::{Pending, Step};
use crate::{answer, responses, submit};

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Answers a question for a model.
pub(crate) async fn ask(
    gateway: &Arc<Gateway>,
    (operation, passthrough): (Operation, Option<Passthrough>),
    request: Request<Incoming>,
) -> Response<Body> {
    let (parts, incoming) = request.into_parts();
    let trace = TraceContext::next_hop(text(&parts.headers, headers::TRACEPARENT));
    let trace_id = match text(&parts.headers, headers::TRACE_ID) {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => trace.trace_id(),
    };
    let asked = Asked { operation, passthrough };
    let mut response = match take(gateway, asked, &parts.headers, incoming, trace).await {
        Ok(question) => question.answer(gateway).await,
        Err(err) => answer::refusal(operation, &err),
    };
    answer::name_trace(response.headers_mut(), &trace_id);
    response
}

/// What a question's path says.
struct Asked {
    operation: Operation,
    passthrough: Option<Passthrough>,
}

/// A checked question and its body.
struct Question {
    order: Order,
    body: bytes::Bytes,
    preference: Preference,
}

async fn take(
    gateway: &Arc<Gateway>,
    Asked { operation, passthrough }: Asked,
    headers: &HeaderMap,
    incoming: Incoming,
    trace: TraceContext,
) -> Result<Question, ApiError> {
    check_text(headers)?;
    let preference = Preference::read(headers)?;
    // The body is read first: a client that is still sending does not read a refusal.
    let body = body::read(headers, incoming, gateway.options.body_limit).await?;
    let content_type = body::media_type(operation, headers)?;
    let identity = gateway.admit(&|name| text(headers, name))?;
    // Headers are judged first: what is wrong with them concerns every request of that client.
    let facts = submit::facts(operation, content_type.as_deref(), &body).await;
    let intake = Intake {
        door: Door::Http,
        operation,
        content_type,
        passthrough,
        provider_options: provider_options(headers),
        facts,
        registry: &gateway.ctx.registry(),
        policy: gateway.ctx.policy(),
        identity,
        options: &gateway.options,
        now: gateway.ctx.clock().now(),
        fresh: gateway.fresh_id(),
        asynchronous: preference.is_asynchronous(),
        trace,
    };
    let order = intake.check(&|name| text(headers, name))?;
    Ok(Question { order, body, preference })
}

impl Question {
    async fn answer(self, gateway: &Arc<Gateway>) -> Response<Body> {
        let (request, operation) = (self.order.request.clone(), self.order.operation);
        self.answered(gateway).await.unwrap_or_else(|err| {
            let mut response = answer::refusal(operation, &err);
            answer::name_request(response.headers_mut(), &request);
            response
        })
    }

    async fn answered(mut self, gateway: &Arc<Gateway>) -> Result<Response<Body>, ApiError> {
        let (request, stream) = (self.order.request.clone(), self.order.facts.stream);
        if self.order.facts.conversation.background {
            return Ok(responses::respond(&request, responses::begin(gateway, self.order, self.body).await?));
        }
        if self.order.chosen
            && let Some(response) = self.answered_before(gateway).await?
        {
            return Ok(response);
        }
        if !self.order.asynchronous {
            let pending = gateway.submit(&mut self.order, self.body).await?;
            return respond(pending, self.order.operation, &request, stream).await;
        }
        let wait = self.preference.wait.filter(|wait| !wait.is_zero());
        let pending = gateway.submit_asynchronous(&mut self.order, self.body, wait.is_some()).await?;
        let (Some(mut pending), Some(wait)) = (pending, wait) else {
            return Ok(accepted(&request, self.preference));
        };
        let first = tokio::time::timeout(wait, pending.next()).await;
        let Ok(first) = first else { return Ok(accepted(&request, self.preference)) };
        let mut response = begin(first, pending, self.order.operation, &request, stream).await?;
        if let Some(applied) = self.preference.applied(true) {
            answer::put(response.headers_mut(), PREFERENCE_APPLIED, &applied);
        }
        Ok(response)
    }

    /// A request that is sent again gets the answer it had, or joins the one that is under way.
    async fn answered_before(&self, gateway: &Arc<Gateway>) -> Result<Option<Response<Body>>, ApiError> {
        let order = &self.order;
        let at_once = order.asynchronous && self.preference.wait.is_none();
        if let Some((outcome, body)) = gateway.ended(&order.identity.workspace, &order.request).await? {
            let again = if at_once {
                accepted(&order.request, self.preference)
            } else {
                answer::whole(&outcome, body)
            };
            return Ok(Some(again));
        }
        if order.asynchronous && gateway.is_under_way(&order.request).await? {
            return Ok(Some(accepted(&order.request, self.preference)));
        }
        Ok(None)
    }
}

async fn respond(
    mut pending: Pending,
    operation: Operation,
    request: &RequestId,
    stream: bool,
) -> Result<Response<Body>, ApiError> {
    let first = pending.next().await;
    begin(first, pending, operation, request, stream).await
}

async fn begin(
    first: Step,
    mut pending: Pending,
    operation: Operation,
    request: &RequestId,
    stream: bool,
) -> Result<Response<Body>, ApiError> {
    match first {
        Step::Whole(outcome, body) => Ok(answer::whole(&outcome, body)),
        Step::Failed(err) => Err(err),
        Step::Begin(head) if stream => Ok(answer::pieces(&head, operation, request, pending)),
        Step::Begin(_) | Step::Bytes(_) | Step::Done(_) => {
            let (outcome, body) = pending.collect().await?;
            Ok(answer::whole(&outcome, body))
        }
    }
}

/// The request is kept; its answer can be read by id.
fn accepted(request: &RequestId, preference: Preference) -> Response<Body> {
    let mut response = answer::json(202, &json!({ "id": request.local(), "status": "accepted" }));
    let headers = response.headers_mut();
    answer::put(headers, LOCATION, &format!("/v1/requests/{}", request.local()));
    if let Some(applied) = preference.applied(false) {
        answer::put(headers, PREFERENCE_APPLIED, &applied);
    }
    answer::name_request(headers, request);
    response
}

/// What the headers say to the provider that they name.
fn provider_options(headers: &HeaderMap) -> Map<String, Value> {
    let own = |(name, value): (&HeaderName, &http::HeaderValue)| {
        let key = provider_options::of_header(name.as_str())?;
        Some((key.to_owned(), Value::from(std::str::from_utf8(value.as_bytes()).ok()?)))
    };
    headers.iter().filter_map(own).collect()
}

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
}

/// Refuses options that are not text, instead of overlooking them.
fn check_text(headers: &HeaderMap) -> Result<(), ApiError> {
    let ours = |name: &HeaderName| {
        name.as_str().starts_with("pointsman-") || name.as_str().starts_with("x-portkey-")
    };
    let bad =
        headers.iter().find(|(name, value)| ours(name) && std::str::from_utf8(value.as_bytes()).is_err());
    match bad {
        Some((name, _)) => {
            let message = format!("header `{name}`: the value is not UTF-8");
            Err(ApiError::bad_request(name.as_str(), "invalid_header", message))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_are_not_text_are_refused_by_name() {
        let value = |bytes: &[u8]| http::HeaderValue::from_bytes(bytes).unwrap();
        let name = |name: &'static str| HeaderName::from_static(name);
        let fine = HeaderMap::from_iter([
            (name("x-portkey-metadata"), value("{\"team\":\"süß\"}".as_bytes())),
            (name("user-agent"), value(b"\xff")),
        ]);
        assert_eq!(check_text(&fine), Ok(()));
        assert_eq!(text(&fine, "X-Portkey-Metadata"), Some("{\"team\":\"süß\"}"));
        let bad = HeaderMap::from_iter([(name("pointsman-timeout"), value(b"30\xff"))]);
        assert_eq!(check_text(&bad).unwrap_err().param.as_deref(), Some("pointsman-timeout"));
    }

    #[test]
    fn an_accepted_request_says_where_its_answer_will_be() {
        let request = RequestId::parse("r1").unwrap();
        let response = accepted(&request, Preference { respond_async: true, wait: None });
        assert_eq!(response.status(), 202);
        assert_eq!(response.headers()["location"], "/v1/requests/r1");
        assert_eq!(response.headers()["preference-applied"], "respond-async");
        assert_eq!(response.headers()["pointsman-request-id"], "r1");
    }
}
