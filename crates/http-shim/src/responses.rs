//! Responses that are kept here: looked at, listed, cancelled, deleted by id, and begun in the background.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bus::responses::{Found, Response as Kept};
use bytes::Bytes;
use domain::conversation::Ending;
use domain::outcome::Kind;
use domain::policy::Identity;
use domain::{ApiError, RequestId};
use http::{HeaderMap, Response};
use providers::chat::About;
use providers::responses::{self as dialect, Page, Stage};
use serde::Deserialize;
use serde_json::json;

use crate::body::Body;
use crate::gateway::Gateway;
use crate::intake::Order;
use crate::routes::{Act, unescape};
use crate::{answer, errors, requests};

/// How long after its deadline whoever ends a request may take to say so.
const GRACE: Duration = Duration::from_secs(3600);

/// Does what is wanted of a response. None: it is not kept here, so that a provider has to be asked.
pub(crate) async fn serve(
    gateway: &Arc<Gateway>,
    (act, id, query): (Act, &str, Option<&str>),
    headers: &HeaderMap,
) -> Option<Response<Body>> {
    let served = served(gateway, act, id, query.unwrap_or_default(), headers).await;
    served.unwrap_or_else(|err| Some(answer::error(&err)))
}

async fn served(
    gateway: &Arc<Gateway>,
    act: Act,
    id: &str,
    query: &str,
    headers: &HeaderMap,
) -> Result<Option<Response<Body>>, ApiError> {
    let scope = if matches!(act, Act::Show | Act::List) { "logs.view" } else { "completions.write" };
    let identity = requests::asker(gateway, scope, headers)?;
    let local = dialect::request_id(id).and_then(|local| RequestId::choose(local).ok());
    let Some(request) = local.map(|local| local.within(&identity.workspace)) else { return Ok(None) };
    let asked = Asked { gateway, identity, request, id };
    let found = match asked.find().await? {
        Kept::Found(found) => found,
        Kept::Unknown if !asked.request.is_made_here() => return Ok(None),
        Kept::Unknown | Kept::Deleted => return Err(unknown(id)),
    };
    let done = match act {
        Act::Show => asked.show(&found, query).await,
        Act::List => asked.list(&found, query).await,
        Act::Cancel => asked.cancel(&found).await,
        Act::Delete => asked.delete(&found).await,
    };
    done.map(Some)
}

/// Begins a response in the background, or finds the one that was begun under this id. Gives the response object.
pub(crate) async fn begin(gateway: &Arc<Gateway>, mut order: Order, body: Bytes) -> Result<Bytes, ApiError> {
    let id = dialect::response_id(order.request.local());
    let asked = Asked { gateway, identity: order.identity.clone(), request: order.request.clone(), id: &id };
    match if order.chosen { asked.find().await? } else { Kept::Unknown } {
        Kept::Unknown => {}
        Kept::Found(found) => return asked.object(&found).await,
        Kept::Deleted => {
            let message = format!("`{id}` was deleted, and its id is not used again; choose another");
            let err = ApiError::new(409, "request_id_used", message);
            return Err(err.with_param(domain::headers::REQUEST_ID));
        }
    }
    let accepted_at = gateway.ctx.clock().now();
    let about = About {
        provider: "",
        model: order.facts.model.as_deref().unwrap_or_default(),
        id: order.request.local(),
        now: accepted_at.0 / 1000,
        strict: true,
        include_usage: true,
    };
    let object = dialect::write_stage(Stage::Queued, &about, &body);
    gateway.submit_asynchronous(&mut order, body, false).await?;
    Ok(Bytes::from(object))
}

/// Which response is meant, and by whom.
struct Asked<'a> {
    gateway: &'a Arc<Gateway>,
    identity: Identity,
    request: RequestId,
    id: &'a str,
}

/// How far a response is.
enum State {
    Queued,
    InProgress,
    /// Its end never came.
    Missing,
    Ended(Box<Ending>, Bytes),
}

impl Asked<'_> {
    async fn find(&self) -> Result<Kept, ApiError> {
        let kept = self.gateway.ctx.bus().response(&self.identity.workspace, &self.request).await;
        kept.map_err(|err| errors::unreadable(&err))
    }

    async fn show(&self, found: &Found, query: &str) -> Result<Response<Body>, ApiError> {
        if parameter(query, "stream").is_some_and(|value| value == "true") {
            let message = "`stream` is true, but what is kept is not streamed again; leave `stream` out";
            return Err(ApiError::bad_request("stream", "unsupported_parameter", message));
        }
        Ok(respond(&self.request, self.object(found).await?))
    }

    async fn list(&self, found: &Found, query: &str) -> Result<Response<Body>, ApiError> {
        let get = |name| parameter(query, name);
        let (limit, after, order) = (get("limit"), get("after"), get("order"));
        let page = Page::parse(limit.as_deref(), after.as_deref(), order.as_deref())?;
        let question = self.question(found).await?;
        Ok(respond(&self.request, Bytes::from(dialect::input_items(&question, self.id, &page)?)))
    }

    /// Safe to repeat; a response that has ended stays as it is.
    async fn cancel(&self, found: &Found) -> Result<Response<Body>, ApiError> {
        if !found.turn.background {
            let message = "Cannot cancel a synchronous response: whoever asked for it hangs up instead";
            return Err(ApiError::bad_request("id", "not_in_background", message));
        }
        self.call_off(found).await?;
        Ok(respond(&self.request, self.object(found).await?))
    }

    async fn delete(&self, found: &Found) -> Result<Response<Body>, ApiError> {
        self.call_off(found).await?;
        let deleted = self.gateway.ctx.bus().delete_response(&self.identity.workspace, &self.request).await;
        if !deleted.map_err(|err| errors::not_kept(&err))? {
            return Err(unknown(self.id));
        }
        Ok(answer::json(200, &json!({ "id": self.id, "object": "response", "deleted": true })))
    }

    /// Cancels a response that has not ended.
    async fn call_off(&self, found: &Found) -> Result<(), ApiError> {
        if let State::Ended(..) = self.state(found).await? {
            return Ok(());
        }
        let keep = found.turn.deadline.since(self.gateway.ctx.clock().now());
        requests::call_off(self.gateway, &self.identity.workspace, &self.request, keep).await.map(drop)
    }

    async fn question(&self, found: &Found) -> Result<Bytes, ApiError> {
        self.gateway.ctx.bus().question_of(found).await.map_err(|err| self.no_body(&err))
    }

    fn no_body(&self, err: &bus::bodies::BodyError) -> ApiError {
        if err.is_gone() { unknown(self.id) } else { errors::body_lost(err) }
    }

    async fn state(&self, found: &Found) -> Result<State, ApiError> {
        let (gateway, bus) = (self.gateway, self.gateway.ctx.bus());
        if let Some(ending) = &found.turn.ending {
            let body = bus.answer_of(found).await.map_err(|err| self.no_body(&err))?;
            return Ok(State::Ended(Box::new(ending.clone()), body));
        }
        // Its end may be known before it is kept.
        if let Some((outcome, body)) = gateway.ended(&self.identity.workspace, &self.request).await? {
            return Ok(State::Ended(Box::new(Ending::of(&outcome)), body));
        }
        if gateway.ctx.clock().now().since(found.turn.deadline) > GRACE {
            return Ok(State::Missing);
        }
        let claim = bus.claim_of(&self.request, 1).await.map_err(|err| errors::unreadable(&err))?;
        Ok(if claim.is_some() { State::InProgress } else { State::Queued })
    }

    /// The response object as it is now.
    async fn object(&self, found: &Found) -> Result<Bytes, ApiError> {
        let (ending, body) = match self.state(found).await? {
            State::Ended(ending, body) => (ending, body),
            State::Queued => return self.stage(found, Stage::Queued, None).await,
            State::InProgress => return self.stage(found, Stage::InProgress, None).await,
            State::Missing => {
                let (code, message) = ("server_error", "the request did not end by its deadline");
                return self.stage(found, Stage::Failed { code, message }, None).await;
            }
        };
        let provider = ending.provider.as_deref();
        let answered = ending.kind == Kind::Answered && !ending.truncated;
        let object = dialect::object_of(&body).filter(|object| answered && dialect::has_output(object));
        if let Some(object) = object {
            // A provider that speaks this dialect gave it an id of its own.
            return Ok(Bytes::from(dialect::with_id(&object, self.id)));
        }
        if ending.kind == Kind::Cancelled {
            return self.stage(found, Stage::Cancelled, provider).await;
        }
        let (code, message) = reason(&body);
        self.stage(found, Stage::Failed { code: &code, message: &message }, provider).await
    }

    async fn stage(
        &self,
        found: &Found,
        stage: Stage<'_>,
        provider: Option<&str>,
    ) -> Result<Bytes, ApiError> {
        let about = About {
            provider: provider.unwrap_or_default(),
            model: found.turn.model.as_deref().unwrap_or_default(),
            id: self.request.local(),
            now: found.turn.accepted_at.0 / 1000,
            strict: true,
            include_usage: true,
        };
        let question = self.question(found).await?;
        Ok(Bytes::from(dialect::write_stage(stage, &about, &question)))
    }
}

/// A document about a response.
pub(crate) fn respond(request: &RequestId, body: Bytes) -> Response<Body> {
    let mut response = answer::start(200, "application/json", &BTreeMap::new(), body);
    answer::name_request(response.headers_mut(), request);
    response
}

/// OpenAI's words.
fn unknown(id: &str) -> ApiError {
    let id: String = id.chars().take(100).collect();
    let message = format!("Response with id '{id}' not found.");
    let err = ApiError::new(404, "response_not_found", message).with_param("id");
    ApiError { kind: "invalid_request_error".to_owned(), ..err }
}

/// Code and message of an error in OpenAI's shape.
fn reason(body: &[u8]) -> (String, String) {
    #[derive(Deserialize)]
    struct Failed {
        error: Reason,
    }
    #[derive(Deserialize)]
    struct Reason {
        #[serde(default)]
        code: Option<String>,
        #[serde(default)]
        message: Option<String>,
    }
    let failed = serde_json::from_slice::<Failed>(body).ok().map(|failed| failed.error);
    let (code, message) = failed.map_or((None, None), |reason| (reason.code, reason.message));
    (
        code.unwrap_or_else(|| "server_error".to_owned()),
        message.unwrap_or_else(|| "the answer broke off or cannot be read".to_owned()),
    )
}

/// A parameter of a query.
fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.into_iter().find(|(given, _)| *given == name)?;
    Some(unescape(&value.replace('+', " ")).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_by_its_own_words() {
        let body = br#"{"error":{"message":"mock error: oops","type":"t","param":null,"code":"rate_limit"}}"#;
        assert_eq!(reason(body), ("rate_limit".to_owned(), "mock error: oops".to_owned()));
        let body = br#"{"error":{"message":"oops","code":null}}"#;
        assert_eq!(reason(body), ("server_error".to_owned(), "oops".to_owned()));
        for body in [&b"{\"error\":{\"code\":7}}"[..], b"", b"<html>", b"{}"] {
            assert_eq!(reason(body).0, "server_error");
        }
    }

    #[test]
    fn parameters_are_found_and_decoded() {
        let query = "limit=2&after=msg%5F1+x&stream";
        assert_eq!(parameter(query, "limit").as_deref(), Some("2"));
        assert_eq!(parameter(query, "after").as_deref(), Some("msg_1 x"));
        assert_eq!(parameter(query, "stream").as_deref(), Some(""));
        assert_eq!(parameter(query, "order"), None);
        assert_eq!(parameter("", "order"), None);
    }

    #[test]
    fn an_unknown_response_is_a_404_in_openais_words() {
        let err = unknown("resp_1");
        assert_eq!((err.status, err.kind.as_str()), (404, "invalid_request_error"));
        assert_eq!(err.message, "Response with id 'resp_1' not found.");
    }
}
