//! What became of a request: read by id, cancelled by id.

use std::sync::Arc;
use std::time::Duration;

use bus::limits::InLine;
use bus::state::Status;
use bytes::Bytes;
use domain::event::{Decision, decisions};
use domain::policy::Identity;
use domain::{ApiError, Attempt, Operation, Outcome, RequestId, Timestamp, Workspace};
use http::{HeaderMap, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::board::Running;
use crate::body::Body;
use crate::gateway::Gateway;
use crate::{answer, errors};

/// How long a cancelling caller waits for the ending.
const CANCEL_WAIT: Duration = Duration::from_secs(1);
/// How often the ending is looked for meanwhile.
const CANCEL_POLL: Duration = Duration::from_millis(25);

/// A request that has not ended.
#[derive(Serialize)]
struct Open<'a> {
    id: &'a str,
    status: &'static str,
    operation: Operation,
    model: Option<&'a str>,
    accepted_at: Timestamp,
    deadline: Timestamp,
    /// Set while it waits for room in a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Line<'a>>,
}

/// The line that a request stands in.
#[derive(Serialize)]
struct Line<'a> {
    /// The limit, and which of its buckets.
    limit: &'a str,
    position: u64,
    since: Timestamp,
    /// When there may be room. Null: nobody can say.
    until: Option<Timestamp>,
}

impl<'a> Line<'a> {
    fn of(line: &'a InLine) -> Self {
        let InLine { waiting, position } = line;
        Self { limit: &waiting.bucket, position: *position, since: waiting.since, until: waiting.until }
    }
}

/// A request that has ended.
#[derive(Serialize)]
struct Closed<'a> {
    id: &'a str,
    status: &'static str,
    operation: Operation,
    model: Option<&'a str>,
    accepted_at: Timestamp,
    finished_at: Timestamp,
    config: &'a str,
    attempts: &'a [Attempt],
    decisions: Vec<Decision>,
    result: Answer<'a>,
}

#[derive(Serialize)]
struct Answer<'a> {
    status: u16,
    content_type: &'a str,
    body: Text<'a>,
}

/// A body inside a JSON document: as JSON if it is some, else as text.
#[derive(Serialize)]
#[serde(untagged)]
enum Text<'a> {
    Json(&'a RawValue),
    Plain(std::borrow::Cow<'a, str>),
}

/// What is known of a request.
enum Found {
    Ended(Box<Outcome>, Bytes),
    Accepted(Status, Option<InLine>),
    Running(Running, Option<InLine>),
}

/// Shows a request.
pub(crate) async fn show(gateway: &Arc<Gateway>, id: &str, headers: &HeaderMap) -> Response<Body> {
    match find(gateway, "logs.view", id, headers).await {
        Ok((about, found)) => found.show(200, &about.request),
        Err(err) => answer::error(&err),
    }
}

/// Gives the answer as it came.
pub(crate) async fn result(gateway: &Arc<Gateway>, id: &str, headers: &HeaderMap) -> Response<Body> {
    match find(gateway, "logs.view", id, headers).await {
        Ok((_, Found::Ended(outcome, body))) => answer::whole(&outcome, body),
        Ok((about, found)) => found.show(202, &about.request),
        Err(err) => answer::error(&err),
    }
}

/// Cancels a request. Safe to repeat; one that has ended stays as it is.
pub(crate) async fn cancel(gateway: &Arc<Gateway>, id: &str, headers: &HeaderMap) -> Response<Body> {
    cancelled(gateway, id, headers).await.unwrap_or_else(|err| answer::error(&err))
}

async fn cancelled(
    gateway: &Arc<Gateway>,
    text: &str,
    headers: &HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let about = about(gateway, "completions.write", text, headers)?;
    let known = match look(gateway, &about, text).await {
        Ok(ended @ Found::Ended(..)) => return Ok(ended.show(200, &about.request)),
        Ok(known) => Ok(known),
        Err(err) if err.status == 404 => Err(err),
        Err(err) => return Err(err),
    };
    // Another gateway may hold it, so an id that is unknown here is cancelled as well.
    let keep = match &known {
        Ok(found) => found.deadline().since(gateway.ctx.clock().now()),
        Err(_) => gateway.ctx.bus().longest_life(),
    };
    match call_off(gateway, &about.workspace, &about.request, keep).await? {
        Some((outcome, body)) => Ok(Found::Ended(outcome, body).show(200, &about.request)),
        None => known.map(|found| found.show(202, &about.request)),
    }
}

/// Cancels a request, and waits a moment for its ending. `keep`: how long it may still be under way.
pub(crate) async fn call_off(
    gateway: &Gateway,
    workspace: &Workspace,
    request: &RequestId,
    keep: Duration,
) -> Result<Option<(Box<Outcome>, Bytes)>, ApiError> {
    let bus = gateway.ctx.bus();
    bus.cancel(request, keep).await.map_err(|err| errors::not_accepted(&err))?;
    bus.hasten(request).await.map_err(|err| errors::not_accepted(&err))?;
    let until = Instant::now() + CANCEL_WAIT;
    while Instant::now() < until {
        if let Some(ended) = gateway.ended(workspace, request).await? {
            return Ok(Some(ended));
        }
        tokio::time::sleep(CANCEL_POLL).await;
    }
    Ok(None)
}

/// Which request is meant, and whose.
struct About {
    workspace: Workspace,
    request: RequestId,
}

/// Who asks about a request. Who may ask for answers may also read what became of it.
pub(crate) fn asker(gateway: &Gateway, scope: &str, headers: &HeaderMap) -> Result<Identity, ApiError> {
    let get = |name: &str| crate::http_door::text(headers, name);
    gateway.allow(scope, &get).or_else(|err| match err.status {
        403 => gateway.admit(&get),
        _ => Err(err),
    })
}

fn about(gateway: &Arc<Gateway>, scope: &str, text: &str, headers: &HeaderMap) -> Result<About, ApiError> {
    let identity = asker(gateway, scope, headers)?;
    let request = RequestId::choose(text).map_err(|_| unknown(text))?.within(&identity.workspace);
    Ok(About { workspace: identity.workspace, request })
}

async fn find(
    gateway: &Arc<Gateway>,
    scope: &str,
    text: &str,
    headers: &HeaderMap,
) -> Result<(About, Found), ApiError> {
    let about = about(gateway, scope, text, headers)?;
    let found = look(gateway, &about, text).await?;
    Ok((about, found))
}

async fn look(gateway: &Arc<Gateway>, about: &About, text: &str) -> Result<Found, ApiError> {
    let About { workspace, request } = about;
    if let Some((outcome, body)) = gateway.ended(workspace, request).await? {
        return Ok(Found::Ended(outcome, body));
    }
    if let Some(status) = gateway.ctx.bus().status(request).await.map_err(|err| errors::unreadable(&err))? {
        return Ok(Found::Accepted(status, in_line(gateway, request).await));
    }
    let running = gateway.board.running(request).ok_or_else(|| unknown(text))?;
    Ok(Found::Running(running, in_line(gateway, request).await))
}

/// Whether it waits for room in a limit; who cannot be asked says nothing.
async fn in_line(gateway: &Gateway, request: &RequestId) -> Option<InLine> {
    gateway.ctx.bus().waiting(request).await.ok().flatten()
}

fn unknown(id: &str) -> ApiError {
    let id: String = id.chars().take(domain::id::MAX_LEN).collect();
    let message =
        format!("no request `{id}` is known; its result may have expired, or it was never accepted");
    ApiError::new(404, "unknown_request", message).with_param("id")
}

impl Found {
    fn deadline(&self) -> Timestamp {
        match self {
            Self::Ended(outcome, _) => outcome.finished_at,
            Self::Accepted(status, _) => status.deadline,
            Self::Running(running, _) => running.deadline,
        }
    }

    fn show(&self, status: u16, request: &RequestId) -> Response<Body> {
        let id = request.local();
        let mut response = match self {
            Self::Ended(outcome, body) => answer::json(status, &closed(outcome, body)),
            Self::Accepted(Status { accepted_at, deadline, operation, model }, line) => {
                let (accepted_at, deadline, operation) = (*accepted_at, *deadline, *operation);
                let (model, waiting) = (model.as_deref(), line.as_ref().map(Line::of));
                let open = Open { id, status: "accepted", operation, model, accepted_at, deadline, waiting };
                answer::json(status, &open)
            }
            Self::Running(Running { accepted_at, deadline, operation, model }, line) => {
                let (accepted_at, deadline, operation) = (*accepted_at, *deadline, *operation);
                let (model, waiting) = (model.as_deref(), line.as_ref().map(Line::of));
                let open = Open { id, status: "running", operation, model, accepted_at, deadline, waiting };
                answer::json(status, &open)
            }
        };
        answer::name_request(response.headers_mut(), request);
        response
    }
}

fn closed<'a>(outcome: &'a Outcome, body: &'a Bytes) -> Closed<'a> {
    Closed {
        id: outcome.request.local(),
        status: outcome.kind.as_str(),
        operation: outcome.operation,
        model: outcome.model.as_deref(),
        accepted_at: outcome.accepted_at,
        finished_at: outcome.finished_at,
        config: &outcome.config,
        attempts: &outcome.attempts,
        decisions: decisions(&outcome.attempts),
        result: Answer {
            status: outcome.status,
            content_type: &outcome.content_type,
            body: body_text(&outcome.content_type, body),
        },
    }
}

fn body_text<'a>(content_type: &str, body: &'a [u8]) -> Text<'a> {
    if content_type.contains("json")
        && let Ok(json) = serde_json::from_slice(body)
    {
        return Text::Json(json);
    }
    Text::Plain(String::from_utf8_lossy(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_shown_as_json_where_they_are_json() {
        let shown = |content_type, body: &'static str| {
            serde_json::to_string(&body_text(content_type, body.as_bytes())).unwrap()
        };
        assert_eq!(shown("application/json", "{\"a\":1.50}"), "{\"a\":1.50}");
        assert_eq!(shown("application/json; charset=utf-8", "[1]"), "[1]");
        assert_eq!(shown("application/json", "oops"), "\"oops\"");
        assert_eq!(shown("text/event-stream", "data: {}\n\n"), "\"data: {}\\n\\n\"");
    }
}
