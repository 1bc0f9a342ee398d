//! Which path leads where.

use std::borrow::Cow;

use domain::{ApiError, Operation};
use http::Method;

use crate::admin_door;

/// Where a request leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// A question for a model.
    Ask(Operation),
    /// Something that only the provider knows: its path.
    Pass(&'a str),
    /// The list of models.
    Models,
    /// One model.
    Model(Cow<'a, str>),
    /// What became of a request.
    Request(&'a str),
    /// The answer of a request, as it came.
    Answer(&'a str),
    /// Cancelling a request.
    Cancel(&'a str),
    /// What is wanted of a response, its id, and its path at a provider, if it is kept there.
    Response(Act, &'a str, &'a str),
    /// The admin API, whatever the method.
    Admin,
    /// Whether the process lives.
    Health,
    /// Whether the process can serve.
    Ready,
    /// What was measured.
    Metrics,
}

/// What is wanted of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// To look at it.
    Show,
    /// To list what was asked.
    List,
    /// To end it before it ends by itself.
    Cancel,
    /// To forget it.
    Delete,
}

/// Why a request leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// There is no such path.
    Path,
    /// The path wants one of these methods.
    Method(&'static str),
}

const PATHS: &str = "POST /v1/chat/completions, POST /v1/messages, POST /v1/responses, POST /v1/embeddings and the \
                     other OpenAI operations, GET and DELETE \
                     /v1/responses/{id}, POST /v1/responses/{id}/cancel, GET /v1/responses/{id}/input_items, \
                     GET /v1/models, GET /v1/models/{model}, any other path of a provider below /v1, GET and DELETE /v1/requests/{id}, GET /v1/requests/{id}/result, \
                     the admin API (GET /v1/openapi.json, GET /admin), \
                     GET /health, GET /ready, GET /metrics";

impl Miss {
    /// What the caller is told.
    pub(crate) fn error(&self, method: &Method, path: &str) -> ApiError {
        match self {
            Self::Path => {
                let path: String = path.chars().take(200).collect();
                ApiError::new(404, "unknown_path", format!("nothing is at `{path}`; there are: {PATHS}"))
            }
            Self::Method(allowed) => ApiError::new(
                405,
                "method_not_allowed",
                format!("`{path}` does not take {method}; use {allowed}"),
            ),
        }
    }
}

/// Finds where a request leads.
pub(crate) fn find<'a>(method: &Method, path: &'a str) -> Result<Route<'a>, Miss> {
    let get = |route| {
        if matches!(*method, Method::GET | Method::HEAD) { Ok(route) } else { Err(Miss::Method("GET")) }
    };
    let ask = |operation| {
        if *method == Method::POST { Ok(Route::Ask(operation)) } else { Err(Miss::Method("POST")) }
    };
    if let Some(operation) = Operation::of_path(path) {
        return ask(operation);
    }
    match path {
        "/v1/models" => return get(Route::Models),
        "/health" => return get(Route::Health),
        "/ready" => return get(Route::Ready),
        "/metrics" => return get(Route::Metrics),
        path if admin_door::owns(path) => return Ok(Route::Admin),
        _ => {}
    }
    if let Some(model) = path.strip_prefix("/v1/models/").filter(|model| !model.is_empty()) {
        return get(Route::Model(unescape(model)));
    }
    if let Some(rest) = path.strip_prefix("/v1/responses/").filter(|rest| rest.starts_with("resp_")) {
        return response(method, rest, path);
    }
    match path.strip_prefix("/v1/requests/").map(|rest| rest.split_once('/').unwrap_or((rest, ""))) {
        Some((id, "")) if !id.is_empty() && !path.ends_with('/') => match *method {
            Method::DELETE => Ok(Route::Cancel(id)),
            Method::GET | Method::HEAD => Ok(Route::Request(id)),
            _ => Err(Miss::Method("GET, DELETE")),
        },
        Some((id, "result")) if !id.is_empty() => get(Route::Answer(id)),
        Some(_) => Err(Miss::Path),
        None => pass(path),
    }
}

fn response<'a>(method: &Method, rest: &'a str, path: &'a str) -> Result<Route<'a>, Miss> {
    let (id, what) = rest.split_once('/').unwrap_or((rest, ""));
    let is_get = matches!(*method, Method::GET | Method::HEAD);
    let act = match what {
        "" if is_get => Act::Show,
        "" if *method == Method::DELETE => Act::Delete,
        "" => return Err(Miss::Method("GET, DELETE")),
        "input_items" if is_get => Act::List,
        "input_items" => return Err(Miss::Method("GET")),
        "cancel" if *method == Method::POST => Act::Cancel,
        "cancel" => return Err(Miss::Method("POST")),
        _ => return pass(path),
    };
    Ok(Route::Response(act, id, &path["/v1".len()..]))
}

/// What is below `/v1/` and nothing of ours is the provider's. `/v1/proxy/…` is Portkey's older way to say so.
fn pass(path: &str) -> Result<Route<'_>, Miss> {
    let rest = path.strip_prefix("/v1/proxy").or_else(|| path.strip_prefix("/v1"));
    match rest.filter(|rest| rest.len() > 1 && rest.starts_with('/')) {
        Some(rest) => Ok(Route::Pass(rest)),
        None => Err(Miss::Path),
    }
}

/// Undoes percent-encoding. What is not well-formed stays as it is.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &Method, path: &str, expected: Result<Route<'_>, Miss>) {
        assert_eq!(find(method, path), expected, "{method} {path}");
    }

    #[test]
    fn paths_lead_to_their_routes() {
        let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
        check(&post, "/v1/chat/completions", Ok(Route::Ask(Operation::Chat)));
        check(&post, "/v1/completions", Ok(Route::Ask(Operation::Completions)));
        check(&post, "/v1/embeddings", Ok(Route::Ask(Operation::Embeddings)));
        check(&post, "/v1/messages", Ok(Route::Ask(Operation::Messages)));
        check(&post, "/v1/messages/count_tokens", Ok(Route::Ask(Operation::CountTokens)));
        check(&post, "/v1/audio/speech", Ok(Route::Ask(Operation::Speech)));
        check(&get, "/v1/files/f-1", Ok(Route::Pass("/files/f-1")));
        check(&delete, "/v1/proxy/files/f-1", Ok(Route::Pass("/files/f-1")));
        check(&get, "/v1/models", Ok(Route::Models));
        check(&get, "/v1/models/meta/llama-3", Ok(Route::Model("meta/llama-3".into())));
        check(&get, "/v1/models/meta%2Fllama%3", Ok(Route::Model("meta/llama%3".into())));
        check(&get, "/v1/requests/r1", Ok(Route::Request("r1")));
        check(&get, "/v1/requests/r1/result", Ok(Route::Answer("r1")));
        check(&delete, "/v1/requests/r1", Ok(Route::Cancel("r1")));
        for (method, path, act) in [
            (&get, "/responses/resp_r1", Act::Show),
            (&delete, "/responses/resp_r1", Act::Delete),
            (&get, "/responses/resp_r1/input_items", Act::List),
            (&post, "/responses/resp_r1/cancel", Act::Cancel),
        ] {
            check(method, &format!("/v1{path}"), Ok(Route::Response(act, "resp_r1", path)));
        }
        check(&post, "/v1/responses/input_tokens", Ok(Route::Pass("/responses/input_tokens")));
        check(&get, "/v1/responses/resp_r1/x", Ok(Route::Pass("/responses/resp_r1/x")));
        check(&delete, "/v1/configs/pc-a", Ok(Route::Admin));
        check(&Method::HEAD, "/health", Ok(Route::Health));
        check(&get, "/ready", Ok(Route::Ready));
        check(&get, "/metrics", Ok(Route::Metrics));
    }

    #[test]
    fn what_leads_nowhere_is_told_what_does() {
        let (get, post) = (Method::GET, Method::POST);
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v1/proxy",
            "/v2/chat",
            "/v1/requests/",
            "/v1/requests/a/b",
            "/v1/requests/a/",
        ] {
            check(&get, path, Err(Miss::Path));
        }
        check(&get, "/v1/chat/completions", Err(Miss::Method("POST")));
        check(&post, "/v1/models", Err(Miss::Method("GET")));
        check(&post, "/v1/responses/resp_r1", Err(Miss::Method("GET, DELETE")));
        check(&get, "/v1/responses/resp_r1/cancel", Err(Miss::Method("POST")));
        check(&Method::DELETE, "/v1/responses/resp_r1/input_items", Err(Miss::Method("GET")));
        check(&post, "/v1/requests/r1", Err(Miss::Method("GET, DELETE")));
        assert!(Miss::Path.error(&get, "/x").message.contains("POST /v1/chat/completions"));
        assert_eq!(Miss::Method("GET").error(&post, "/v1/models").status, 405);
    }
}
