//! Accepts connections, finds the handler, and stops in time.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use domain::ApiError;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::Options;
use crate::bill::Bill;
use crate::create::create;
use crate::dialect::oauth::Tokens;
use crate::log::{KEPT_REQUESTS, Log};
use crate::player::{Body, Cut, full};
use crate::route::Route;
use crate::sequence::Sequences;
use crate::text::CREATED;
use crate::value;

/// How long open calls have to end after the stop signal.
const GRACE: Duration = Duration::from_millis(500);

/// Longest wait of `GET /log`.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What all calls share.
pub(crate) struct State {
    pub(crate) options: Options,
    pub(crate) bill: Bill,
    pub(crate) log: Log,
    pub(crate) sequences: Sequences,
    pub(crate) tokens: Tokens,
    pub(crate) shutdown: CancellationToken,
}

/// Serves until shutdown, then cuts what does not end by itself.
pub(crate) async fn serve(
    listener: TcpListener,
    options: Options,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let state = Arc::new(State {
        options,
        bill: Bill::default(),
        log: Log::default(),
        sequences: Sequences::default(),
        tokens: Tokens::default(),
        shutdown: shutdown.clone(),
    });
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => spawn(&connections, connection(stream, Arc::clone(&state))),
            Err(err) => {
                // Out of file descriptors, most likely: connections that end make room again.
                warn!(%err, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the mock runs outside any role; its tracker waits for the tasks"
)]
fn spawn(connections: &TaskTracker, connection: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(connections.track_future(connection));
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    if let Err(err) = stream.set_nodelay(true) {
        debug!(%err, "could not switch off Nagle's algorithm");
    }
    let shutdown = state.shutdown.clone();
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { answer(&state, request).await }
    });
    let mut connection =
        std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(err) = ended {
        debug!(%err, "a connection ended early");
    }
}

async fn answer(state: &Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let path = request.uri().path();
    let Some(route) = Route::find(path) else {
        let message = format!(
            "no `{path}` here: the mock answers the addresses of OpenAI, Anthropic, Gemini, Vertex AI, Bedrock, \
             Azure, Cohere, Ollama and Workers AI, and /bill, /log, /requests and /health; `--help` lists them"
        );
        return Ok(refuse(&ApiError::new(404, "unknown_path", message)));
    };
    let methods = route.methods();
    if !methods.is_empty() && !methods.split(", ").any(|method| method == request.method().as_str()) {
        let message = format!("{} is not for `{path}`: use {}", request.method(), methods);
        let mut response = refuse(&ApiError::new(405, "method_not_allowed", message));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        return Ok(response);
    }
    let query = Query(request.uri().query().unwrap_or(""));
    Ok(match route {
        Route::Create { endpoint, captured, .. } => {
            return create(state, endpoint, &captured, request).await;
        }
        Route::Models => ok(models()),
        Route::Bill if request.method() == Method::DELETE => {
            state.bill.clear();
            let mut response = Response::new(full(""));
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Route::Bill => ok(state.bill.report()),
        Route::Log => log(state, &query).await.unwrap_or_else(|err| refuse(&err)),
        Route::Requests => requests(state, &query).unwrap_or_else(|err| refuse(&err)),
        Route::Health => ok(r#"{"status":"ok"}"#),
    })
}

fn models() -> Vec<u8> {
    let model = json!({"id": "mock", "object": "model", "created": CREATED, "owned_by": "mock-provider"});
    json!({"object": "list", "data": [model]}).to_string().into_bytes()
}

async fn log(state: &State, query: &Query<'_>) -> Result<Response<Body>, ApiError> {
    let after = query.get("after", "a number as 17", |v| u64::from_str(v).ok())?.unwrap_or(0);
    let wait = query.get("wait", "a duration as 5s", value::duration)?.unwrap_or_default();
    Ok(ok(state.log.after(after, wait.min(MAX_WAIT)).await))
}

fn requests(state: &State, query: &Query<'_>) -> Result<Response<Body>, ApiError> {
    let last = query.get("last", "1 to 100", |v| value::count(v, 1, KEPT_REQUESTS))?;
    Ok(ok(state.log.requests(last.unwrap_or(KEPT_REQUESTS))))
}

/// The part of an address after `?`.
struct Query<'q>(&'q str);

impl Query<'_> {
    fn get<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.0.split('&').filter_map(|p| p.split_once('=')).find(|(n, _)| *n == name)
        else {
            return Ok(None);
        };
        let refusal = || {
            let message = format!("`{name}={}` in the query: write {expected}", value.1);
            ApiError::bad_request(name, "invalid_query", message)
        };
        parse(value.1).map(Some).ok_or_else(refusal)
    }
}

fn ok(body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refuse(err: &ApiError) -> Response<Body> {
    let mut response = ok(err.openai_body());
    *response.status_mut() = StatusCode::from_u16(err.status).unwrap_or(StatusCode::BAD_REQUEST);
    response
}
