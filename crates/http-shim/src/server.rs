//! HTTP connections: accepted, served, and ended without cutting anybody off.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use role::Ctx;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::body::Body;

/// Longest silence before a request's headers are complete, idle connections included. Longer than common
/// clients keep idle connections, so that the client is the one who closes.
const HEADERS_WITHIN: Duration = Duration::from_secs(120);
/// While stopping, how long a new connection may take to begin its first request.
const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(2);
/// After the order to give up, how long error events may take to reach their readers.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves until the process drains, then for `grace` longer, so that balancers can notice. Returns when the
/// listener is closed; open connections are jobs of the context and end after their current request.
pub(crate) async fn serve<H, F>(ctx: &Ctx, listener: TcpListener, grace: Duration, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let closing = CancellationToken::new();
    let start = |accepted: std::io::Result<(TcpStream, std::net::SocketAddr)>| match accepted {
        Ok((stream, _)) => {
            ctx.job(connection(ctx.clone(), stream, closing.clone(), handler.clone()));
            true
        }
        Err(err) => {
            warn!(%err, "could not accept a connection");
            false
        }
    };
    let closed = async {
        ctx.draining().cancelled().await;
        tokio::select! {
            () = tokio::time::sleep(grace) => {}
            () = ctx.stopping().cancelled() => {}
        }
    };
    tokio::pin!(closed);
    loop {
        tokio::select! {
            () = &mut closed => break,
            accepted = listener.accept() => if !start(accepted) {
                // Most likely out of file descriptors: some have to be closed first.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // Connections that the kernel has completed are served as well. Without Tokio's budget, which would feign
    // that there are none.
    while let Some(accepted) = tokio::task::unconstrained(listener.accept()).now_or_never() {
        if !start(accepted) {
            break;
        }
    }
    drop(listener);
    closing.cancel();
}

/// Whether a connection has had a request.
#[derive(Default)]
struct Begun {
    begun: AtomicBool,
    notify: Notify,
}

impl Begun {
    fn set(&self) {
        if !self.begun.swap(true, Ordering::Relaxed) {
            self.notify.notify_one();
        }
    }

    async fn wait(&self) {
        if !self.begun.load(Ordering::Relaxed) {
            self.notify.notified().await;
        }
    }
}

async fn connection<H, F>(ctx: Ctx, stream: TcpStream, closing: CancellationToken, handler: H)
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    if let Err(err) = stream.set_nodelay(true) {
        debug!(%err, "could not set TCP_NODELAY");
    }
    let peer = stream.peer_addr().ok();
    let begun = Arc::new(Begun::default());
    let service = service_fn(|mut request: Request<Incoming>| {
        begun.set();
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let answered = handler(request);
        let draining = ctx.draining();
        async move {
            let mut response = answered.await;
            if draining.is_cancelled() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return log(ended),
        () = closing.cancelled() => {}
    }
    // A client that has just connected is about to ask; closing now would look to it like a failure.
    tokio::select! {
        ended = connection.as_mut() => return log(ended),
        () = begun.wait() => {}
        () = tokio::time::sleep(FIRST_REQUEST_WITHIN) => {}
    }
    connection.as_mut().graceful_shutdown();
    let last_words = async {
        ctx.stopping().cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        ended = connection.as_mut() => log(ended),
        () = last_words => debug!("closed a connection whose client does not read"),
    }
}

fn log(ended: hyper::Result<()>) {
    if let Err(err) = ended {
        // Mostly clients that go away in the middle, which is their right.
        debug!(%err, "a connection broke");
    }
}
