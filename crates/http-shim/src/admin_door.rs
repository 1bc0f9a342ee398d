//! Questions to the admin API: the caller is told from others here, the role `admin-api` answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bus::Unanswered;
use bytes::Bytes;
use domain::admin::{self, BODY_LIMIT, Reply};
use domain::policy::Identity;
use domain::{ApiError, RequestId};
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::access::{authenticate, identity_of};
use crate::answer;
use crate::body::{self, Body};
use crate::exports;
use crate::gateway::Gateway;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long nobody may listen, as between two processes of the role.
const NOBODY: Duration = Duration::from_secs(2);

/// How often it is looked whether somebody listens again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long the role may take to believe who asks.
const SAID: Duration = Duration::from_secs(60);

/// The sequence of the policy that a caller has seen.
const SEQUENCE: &str = "pointsman-policy-sequence";

/// Headers that the role looks at.
const PASSED_ON: [&str; 4] = ["if-match", "idempotency-key", "x-pointsman-workspace", SEQUENCE];

/// Documents about the API itself; everybody may read them.
const OPEN: [&str; 2] = ["/admin", "/v1/openapi.json"];

/// Where the admin API's paths begin.
const PLACES: [&str; 10] = [
    "/v1/configs",
    "/v1/virtual-keys",
    "/v1/providers",
    "/v1/integrations",
    "/v1/api-keys",
    "/v1/policies",
    "/v1/limits",
    "/v1/admin",
    "/v1/analytics",
    "/v1/audit-logs",
];

/// Whether a path belongs to the admin API.
pub(crate) fn owns(path: &str) -> bool {
    let below =
        |place: &str| path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    OPEN.contains(&path) || PLACES.into_iter().any(below)
}

/// Passes a question on and brings the answer back.
pub(crate) async fn forward(gateway: &Arc<Gateway>, request: Request<Incoming>) -> Response<Body> {
    let (parts, incoming) = request.into_parts();
    let id = gateway.fresh_id();
    let answered = match ask(gateway, &parts, incoming, &id).await {
        Ok((reply, body)) => answer_with(gateway, reply, body).await,
        Err(err) => refused(&err),
    };
    let mut response = answered;
    answer::name_request(response.headers_mut(), &id);
    response
}

/// The answer; an export is read from the ledger here.
async fn answer_with(gateway: &Arc<Gateway>, mut reply: Reply, body: Bytes) -> Response<Body> {
    let order = reply.headers.remove(export::HEADER);
    let kind = reply.headers.get("content-type").map_or("application/json", String::as_str);
    let mut response = answer::start(reply.status, kind, &reply.headers, body);
    if let Some(order) = order {
        match exports::body(gateway.ctx.bus().clone(), &order).await {
            Ok(body) => *response.body_mut() = body,
            Err(err) => return refused(&err),
        }
    }
    response
}

async fn ask(
    gateway: &Arc<Gateway>,
    parts: &Parts,
    incoming: Incoming,
    id: &RequestId,
) -> Result<(Reply, Bytes), ApiError> {
    // The body is read first: a client that is still sending does not read a refusal.
    let body = body::read(&parts.headers, incoming, BODY_LIMIT).await.map_err(limited)?;
    let now = gateway.ctx.clock().now();
    let access = &gateway.options.access;
    let identity = if OPEN.contains(&parts.uri.path()) {
        Identity::default()
    } else {
        let get = |name: &str| text(&parts.headers, name);
        let key = authenticate(access, gateway.ctx.policy(), &get, now)?;
        let identity = identity_of(key.as_deref());
        check_site(&parts.headers, &identity)?;
        identity
    };
    if !body.is_empty() {
        body::media_type(domain::Operation::Chat, &parts.headers)?;
    }
    let peer = parts.extensions.get::<SocketAddr>();
    let mut question = admin::Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: passed_on(&parts.headers, gateway.policy_seen.load(Ordering::Relaxed)),
        identity: String::new(),
        ip: peer.map(|peer| peer.ip().to_string()),
        request_id: id.clone(),
    };
    question.identity = access.say(&identity, &question.purpose(), now.plus(SAID));
    let (reply, body) = send(gateway, admin::encode(&question, &body)).await?;
    if let Some(seen) = reply.headers.get(SEQUENCE).and_then(|text| text.parse().ok()) {
        gateway.policy_seen.fetch_max(seen, Ordering::Relaxed);
    }
    Ok((reply, body))
}

async fn send(gateway: &Gateway, message: Bytes) -> Result<(Reply, Bytes), ApiError> {
    let (begun, bus) = (Instant::now(), gateway.ctx.bus());
    let unavailable = |message: &str| ApiError::new(503, "unavailable", message).with_retry_after(1);
    let answer = loop {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        match bus.question(bus::subject::ADMIN.to_owned(), message.clone(), left).await {
            Ok(answer) => break answer,
            Err(Unanswered::Late) => {
                let message = "the admin API did not answer in time; a change may or may not have been made: \
                               send it again with the same `Idempotency-Key`, or read the entity";
                return Err(ApiError::new(504, "timeout", message));
            }
            Err(Unanswered::Nobody) if begun.elapsed() > NOBODY => {
                return Err(unavailable(
                    "no process answers the admin API; start one with `pointsman run admin-api`",
                ));
            }
            Err(Unanswered::Nobody) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    };
    admin::decode(&answer.payload).map_err(|_| unavailable("the admin API's answer cannot be read"))
}

/// What the role has to know of the headers. Whoever asks through this process sees what it changed.
fn passed_on(headers: &HeaderMap, seen: u64) -> BTreeMap<String, String> {
    let one = |name: &str| Some((name.to_owned(), text(headers, name)?.to_owned()));
    let mut passed: BTreeMap<String, String> = PASSED_ON.into_iter().filter_map(one).collect();
    let theirs = passed.get(SEQUENCE).and_then(|text| text.parse().ok()).unwrap_or(0);
    passed.insert(SEQUENCE.to_owned(), seen.max(theirs).to_string());
    passed
}

/// Without a key, other sites' pages in the administrator's browser could ask as well as anybody.
fn check_site(headers: &HeaderMap, identity: &Identity) -> Result<(), ApiError> {
    let site = text(headers, "sec-fetch-site").unwrap_or("none");
    if identity.key.is_some() || matches!(site, "none" | "same-origin") {
        return Ok(());
    }
    let message = "pages of other sites may ask the admin API only with an API key";
    Err(ApiError::new(403, "cross_site", message).with_param("Sec-Fetch-Site"))
}

fn limited(err: ApiError) -> ApiError {
    if err.status != 413 {
        return err;
    }
    let message = format!("the body is larger than {BODY_LIMIT} bytes, the most that the admin API takes");
    ApiError { message, ..err }
}

fn refused(err: &ApiError) -> Response<Body> {
    let body = admin::refusal(err.status, &err.kind, &err.message, err.param.as_deref());
    let mut response = answer::json(err.status, &body);
    if let Some(seconds) = err.retry_after {
        response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from(seconds));
    }
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_apis_paths_are_known_by_their_first_words() {
        for path in ["/admin", "/v1/openapi.json", "/v1/configs", "/v1/configs/pc-a", "/v1/admin/workspaces"]
        {
            assert!(owns(path), "{path}");
        }
        for path in ["/", "/v1/configsx", "/admin/x", "/v1/models", "/v1/chat/completions"] {
            assert!(!owns(path), "{path}");
        }
    }

    #[test]
    fn other_sites_need_a_key() {
        let from = |site: &'static str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("sec-fetch-site"),
                http::HeaderValue::from_static(site),
            )])
        };
        let nobody = Identity::default();
        let somebody = Identity { key: Some(domain::Slug::parse("k1").unwrap()), ..Identity::default() };
        assert!(check_site(&HeaderMap::new(), &nobody).is_ok());
        assert!(check_site(&from("same-origin"), &nobody).is_ok());
        assert_eq!(check_site(&from("cross-site"), &nobody).unwrap_err().status, 403);
        assert!(check_site(&from("cross-site"), &somebody).is_ok());
    }

    #[test]
    fn the_newest_sequence_that_anybody_saw_is_passed_on() {
        let mut headers = HeaderMap::new();
        assert_eq!(passed_on(&headers, 7)[SEQUENCE], "7");
        headers.insert(SEQUENCE, http::HeaderValue::from_static("9"));
        headers.insert("if-match", http::HeaderValue::from_static("\"3\""));
        headers.insert("cookie", http::HeaderValue::from_static("x"));
        let passed = passed_on(&headers, 7);
        assert_eq!((passed[SEQUENCE].as_str(), passed["if-match"].as_str()), ("9", "\"3\""));
        assert_eq!(passed.len(), 2);
    }
}
