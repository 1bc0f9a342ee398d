//! Serves the OpenAI HTTP API and NATS request-reply from the message bus.
//!
//! A request is checked, its credentials are sealed, it is published; its answer comes back in frames on this
//! process's own reply subject. What frames leave open is read from the stored result.

mod access;
mod admin;
mod admin_door;
mod answer;
mod assembly;
mod board;
mod body;
mod errors;
mod exports;
mod gateway;
mod http_door;
mod intake;
mod models;
mod nats_door;
mod options;
mod prefer;
mod requests;
mod responses;
mod routes;
mod server;
mod submit;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domain::envelope::Passthrough;
use http::{Request, Response};
use hyper::body::Incoming;
use role::Ctx;
use telemetry::metric::{self, Printer};
use tokio::net::TcpListener;

use crate::body::Body;
use crate::gateway::Gateway;
pub use crate::options::{OnDisconnect, Options};
use crate::routes::{Miss, Route};

/// The crate's name is the role's name, everywhere.
pub const NAME: &str = env!("CARGO_PKG_NAME");

/// Runs until shutdown: HTTP on `listener`, request-reply over the bus.
pub async fn run(ctx: Ctx, listener: TcpListener, options: Options, metrics: Printer) -> anyhow::Result<()> {
    let grace = options.drain_grace;
    let gateway = Gateway::start(ctx.clone(), options, metrics).await.context("listen for replies")?;
    let service = ctx.bus().serve(env!("CARGO_PKG_VERSION")).await?;
    ctx.job(nats_door::serve(Arc::clone(&gateway), service));
    let handler = {
        let gateway = Arc::clone(&gateway);
        move |request| handle(Arc::clone(&gateway), request)
    };
    server::serve(&ctx, listener, grace, handler).await;
    let finished = ctx.finish();
    tokio::pin!(finished);
    tokio::select! {
        () = &mut finished => return Ok(()),
        () = ctx.stopping().cancelled() => gateway.stop_waiting(),
    }
    finished.await;
    Ok(())
}

/// The small listener of processes without a gateway: `/health`, `/ready`, `/metrics`. Runs until shutdown.
pub async fn run_admin(ctx: Ctx, listener: TcpListener, metrics: Printer) -> anyhow::Result<()> {
    let handler = {
        let ctx = ctx.clone();
        move |request| admin::serve(ctx.clone(), metrics.clone(), request)
    };
    server::serve(&ctx, listener, Duration::ZERO, handler).await;
    ctx.finish().await;
    Ok(())
}

async fn handle(gateway: Arc<Gateway>, request: Request<Incoming>) -> Response<Body> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let (label, response) = match routes::find(&method, uri.path()) {
        Ok(Route::Ask(operation)) => {
            (operation.as_str(), http_door::ask(&gateway, (operation, None), request).await)
        }
        Ok(Route::Pass(path)) => pass(&gateway, &method, path, uri.query(), request).await,
        Ok(Route::Models) => ("models", listed(&gateway, &request, models::list)),
        Ok(Route::Model(id)) => {
            ("models", listed(&gateway, &request, |seen, wanted| models::one(seen, wanted, &id)))
        }
        Ok(Route::Request(id)) => ("requests", requests::show(&gateway, id, request.headers()).await),
        Ok(Route::Answer(id)) => ("requests", requests::result(&gateway, id, request.headers()).await),
        Ok(Route::Cancel(id)) => ("requests", requests::cancel(&gateway, id, request.headers()).await),
        Ok(Route::Response(act, id, path)) => {
            match responses::serve(&gateway, (act, id, uri.query()), request.headers()).await {
                Some(response) => ("responses", response),
                // It is the provider's.
                None => pass(&gateway, &method, path, uri.query(), request).await,
            }
        }
        Ok(Route::Admin) => ("admin", admin_door::forward(&gateway, request).await),
        Ok(Route::Health) => ("admin", admin::health()),
        Ok(Route::Ready) => ("admin", admin::ready(gateway.not_ready())),
        Ok(Route::Metrics) => ("admin", admin::metrics(&gateway.metrics)),
        Err(miss) => ("none", missed(&miss, &method, uri.path())),
    };
    let status = response.status().as_str().to_owned();
    metrics::counter!(metric::HTTP_ANSWERS, "operation" => label, "status" => status).increment(1);
    response
}

/// Something that only the provider knows.
async fn pass(
    gateway: &Arc<Gateway>,
    method: &http::Method,
    path: &str,
    query: Option<&str>,
    request: Request<Incoming>,
) -> (&'static str, Response<Body>) {
    let operation = domain::Operation::Passthrough;
    let path_and_query = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let response = match Passthrough::new(method.as_str(), &path_and_query) {
        Ok(through) => http_door::ask(gateway, (operation, Some(through)), request).await,
        Err(err) => answer::refusal(operation, &err),
    };
    (operation.as_str(), response)
}

/// Models, for whoever may ask one or list them.
fn listed(
    gateway: &Gateway,
    request: &Request<Incoming>,
    show: impl FnOnce(&models::Seen<'_>, &models::Wanted) -> Response<Body>,
) -> Response<Body> {
    let get = |name: &str| http_door::text(request.headers(), name);
    let anthropic = get("anthropic-version").is_some();
    let all = get("x-portkey-fetch-integrated-models").is_some_and(|word| word.eq_ignore_ascii_case("true"));
    let named = get("x-portkey-virtual-key").or_else(|| get("x-portkey-provider")).filter(|_| !all);
    let identity = gateway.allow("models.list", &get).or_else(|_| gateway.admit(&get));
    let wanted = models::Wanted::read(request.uri().query(), named, anthropic);
    let (identity, wanted) = match identity.and_then(|identity| Ok((identity, wanted?))) {
        Ok(both) => both,
        Err(err) => return models::refusal(&err, anthropic),
    };
    let (registry, now) = (gateway.ctx.registry(), gateway.ctx.clock().now());
    gateway.ctx.policy().read(|policy| {
        let seen = models::Seen { registry: &registry, policy, workspace: &identity.workspace, now };
        show(&seen, &wanted)
    })
}

fn missed(miss: &Miss, method: &http::Method, path: &str) -> Response<Body> {
    let mut response = answer::error(&miss.error(method, path));
    if let Miss::Method(allowed) = miss {
        answer::put(response.headers_mut(), http::header::ALLOW, allowed);
    }
    response
}
