//! A small HTTP server for the driver's own tests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// What the server answers to one request.
#[derive(Clone)]
pub(super) struct Reply {
    status: StatusCode,
    body: &'static str,
    after: Duration,
    together: Option<Arc<Barrier>>,
    close: bool,
    cut: bool,
}

impl Reply {
    pub(super) fn whole(body: &'static str) -> Self {
        Self { status: StatusCode::OK, body, after: Duration::ZERO, together: None, close: false, cut: false }
    }

    pub(super) fn status(status: u16) -> Self {
        Self { status: StatusCode::from_u16(status).unwrap(), ..Self::whole("refused") }
    }

    /// Answers, then closes the connection.
    pub(super) fn last(body: &'static str) -> Self {
        Self { close: true, ..Self::whole(body) }
    }

    /// Breaks the connection after these bytes of a longer body.
    pub(super) fn cut(body: &'static str) -> Self {
        Self { cut: true, ..Self::whole(body) }
    }

    pub(super) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    /// Answers only when as many requests wait as the barrier asks for.
    pub(super) fn together(self, barrier: &Arc<Barrier>) -> Self {
        Self { together: Some(barrier.clone()), ..self }
    }

    async fn answer(self) -> Response<impl hyper::body::Body<Data = Bytes, Error = &'static str> + use<>> {
        if let Some(barrier) = &self.together {
            barrier.wait().await;
        }
        if !self.after.is_zero() {
            tokio::time::sleep(self.after).await;
        }
        let mut frames = vec![Ok(Frame::data(Bytes::from_static(self.body.as_bytes())))];
        if self.cut {
            frames.push(Err("cut on purpose"));
        }
        // Yielding lets hyper send what it has before the next frame cuts the connection.
        let frames = futures::stream::iter(frames).then(async |frame| {
            tokio::task::yield_now().await;
            frame
        });
        let mut response = Response::new(StreamBody::new(frames.boxed()));
        *response.status_mut() = self.status;
        if self.close {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A request as it arrived.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) connection: usize,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

type Script = Arc<dyn Fn(usize) -> Reply + Send + Sync>;

/// Serves until dropped.
pub(super) struct TestServer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl TestServer {
    /// The script is told how many requests came before.
    pub(super) async fn start(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, seen.clone(), Arc::new(script)));
        Self { address, seen, _tasks: tasks }
    }

    pub(super) fn base(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<Vec<Seen>>>, script: Script) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        connections.spawn(serve(connections.len(), stream, seen.clone(), script.clone()));
    }
}

async fn serve(connection: usize, stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, script: Script) {
    let service = service_fn(|request: Request<Incoming>| {
        let (seen, script) = (seen.clone(), script.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let path = parts.uri.path().to_owned();
            let before = {
                let mut seen = seen.lock();
                seen.push(Seen { connection, path, headers: parts.headers, body });
                seen.len() - 1
            };
            Ok::<_, Infallible>(script(before).answer().await)
        }
    });
    // A client that goes away, or a body cut on purpose, ends the connection with an error.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
