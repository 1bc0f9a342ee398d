//! Whether the process lives, whether it can serve, and what it measured.

use domain::ApiError;
use http::{Request, Response};
use hyper::body::Incoming;
use role::Ctx;
use serde_json::json;
use telemetry::metric::Printer;

use crate::answer;
use crate::body::Body;
use crate::routes::{self, Route};

/// Content type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The process lives.
pub(crate) fn health() -> Response<Body> {
    answer::json(200, &json!({ "status": "ok" }))
}

/// The process can serve, unless there is a reason why not.
pub(crate) fn ready(not_ready: Option<&str>) -> Response<Body> {
    match not_ready {
        None => answer::json(200, &json!({ "status": "ready" })),
        Some(reason) => answer::json(503, &json!({ "status": "not ready", "reason": reason })),
    }
}

/// What was measured.
pub(crate) fn metrics(printer: &Printer) -> Response<Body> {
    answer::text(200, METRICS_TYPE, printer.print())
}

/// Serves a process that has no gateway.
pub(crate) async fn serve(ctx: Ctx, metrics_of: Printer, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    match routes::find(request.method(), path) {
        Ok(Route::Health) => health(),
        Ok(Route::Ready) => ready(not_ready(&ctx)),
        Ok(Route::Metrics) => metrics(&metrics_of),
        _ => {
            let message =
                format!("this process has no gateway: nothing is at `{path}` but /health, /ready, /metrics");
            answer::error(&ApiError::new(404, "unknown_path", message))
        }
    }
}

fn not_ready(ctx: &Ctx) -> Option<&'static str> {
    if ctx.draining().is_cancelled() {
        return Some("this process is stopping");
    }
    (!ctx.bus().is_up()).then_some("the broker cannot be reached")
}
