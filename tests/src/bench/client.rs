//! A lean HTTP/1.1 client: one connection per slot, driven by the task that uses it, so that the driver costs
//! little of the machine it shares with what it measures.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

/// After this long an unanswered request is an error and its connection is given up.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where chat completions are posted to.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    address: SocketAddr,
    path: Uri,
    headers: HeaderMap,
}

impl Endpoint {
    /// Looks the host up once, so that no request pays for it.
    pub(super) async fn resolve(base: &str, extra: &[(HeaderName, HeaderValue)]) -> anyhow::Result<Self> {
        let uri: Uri = base.parse().with_context(|| format!("`{base}` is not a URL"))?;
        let scheme = uri.scheme_str();
        ensure!(scheme == Some("http"), "`{base}` is not plain http, write http://host:port/v1");
        let authority = uri.authority().with_context(|| format!("`{base}` has no host"))?.as_str();
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let address = tokio::net::lookup_host((host, uri.port_u16().unwrap_or(80)))
            .await
            .with_context(|| format!("look up the host of `{base}`"))?
            .next()
            .with_context(|| format!("the host of `{base}` has no address"))?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, authority.parse().with_context(|| format!("use the host of `{base}`"))?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(extra.iter().cloned());
        let path = format!("{}/chat/completions", uri.path().trim_end_matches('/'));
        Ok(Self {
            address,
            path: path.parse().with_context(|| format!("use the path of `{base}`"))?,
            headers,
        })
    }
}

/// What must come back for a call to count as answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    Whole,
    /// A complete event stream of at least this many chunks.
    Stream {
        chunks: usize,
    },
}

/// One request, sent again and again.
#[derive(Debug)]
pub(super) struct Call {
    endpoint: Endpoint,
    body: Bytes,
    expect: Expect,
}

impl Call {
    /// A chat completion with a body of about 1 KB.
    pub(super) fn chat(endpoint: &Endpoint, model: &str, expect: Expect) -> Arc<Self> {
        let stream = matches!(expect, Expect::Stream { .. });
        let content = "The quick brown fox jumps over the lazy dog. ".repeat(20);
        let body =
            json!({ "model": model, "messages": [{ "role": "user", "content": content }], "stream": stream });
        Arc::new(Self { endpoint: endpoint.clone(), body: Bytes::from(body.to_string()), expect })
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = self.endpoint.path.clone();
        *request.headers_mut() = self.endpoint.headers.clone();
        request
    }
}

/// One place in flight, with the connection it keeps from call to call.
pub(super) struct Slot {
    call: Arc<Call>,
    connection: Option<Connection>,
}

impl Slot {
    pub(super) fn new(call: Arc<Call>) -> Self {
        Self { call, connection: None }
    }

    /// Makes the call and returns when the first bytes of the answer's body arrived.
    pub(super) async fn send(&mut self) -> anyhow::Result<Instant> {
        let answered = tokio::time::timeout(TIMEOUT, self.try_send()).await;
        let answered = answered.unwrap_or_else(|_| bail!("no complete answer within {TIMEOUT:?}"));
        if answered.is_err() {
            self.connection = None;
        }
        answered
    }

    /// Connects unless a usable connection is there.
    pub(super) async fn connect(&mut self) -> anyhow::Result<()> {
        // A server may have closed a connection that lay idle; that is no failure of the next call.
        let reusable = match &mut self.connection {
            Some(connection) => connection.is_open().await,
            None => false,
        };
        if !reusable {
            self.connection = Some(Connection::open(self.call.endpoint.address).await?);
        }
        Ok(())
    }

    async fn try_send(&mut self) -> anyhow::Result<Instant> {
        self.connect().await?;
        let connection = self.connection.as_mut().context("use the open connection")?;
        let response = connection.send(self.call.request()).await?;
        let status = response.status();
        let (first, body) = connection.receive(response).await?;
        check(status, &body, self.call.expect)?;
        first.context("the answer has no body")
    }
}

/// Whether the answer is what was asked for.
fn check(status: StatusCode, body: &[u8], expect: Expect) -> anyhow::Result<()> {
    if status != StatusCode::OK {
        let start: String = String::from_utf8_lossy(body).chars().take(300).collect();
        bail!("status {}: {}", status.as_u16(), start.trim());
    }
    let Expect::Stream { chunks: expected } = expect else { return Ok(()) };
    let events = || body.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
    let done = events().next_back().is_some_and(|event| event.trim_ascii() == b"[DONE]");
    ensure!(done, "the stream ended without [DONE]");
    let chunks = events().count() - 1;
    ensure!(chunks >= expected, "the stream has {chunks} chunks instead of {expected}");
    Ok(())
}

type Driver = Pin<Box<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>>;

struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once the connection has ended.
    driver: Option<Driver>,
}

impl Connection {
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.context("prepare a connection")?;
        Ok(Self { sender, driver: Some(Box::pin(driver)) })
    }

    async fn is_open(&mut self) -> bool {
        poll_fn(|cx| {
            poll_driver(&mut self.driver, cx);
            Poll::Ready(())
        })
        .await;
        self.driver.is_some() && !self.sender.is_closed()
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Incoming>> {
        let sender = &mut self.sender;
        let sent = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        driven(&mut self.driver, sent).await.context("send the request and wait for the answer")
    }

    /// The whole body and when its first bytes came.
    async fn receive(&mut self, response: Response<Incoming>) -> anyhow::Result<(Option<Instant>, Vec<u8>)> {
        let mut body = response.into_body();
        let mut first = None;
        let mut received = Vec::new();
        while let Some(frame) = driven(&mut self.driver, body.frame()).await {
            if let Ok(data) = frame.context("read the answer")?.into_data()
                && !data.is_empty()
            {
                first.get_or_insert_with(Instant::now);
                received.extend_from_slice(&data);
            }
        }
        Ok((first, received))
    }
}

/// Waits for a future while moving the connection it depends on; no second task has to be woken for that.
async fn driven<F: Future>(driver: &mut Option<Driver>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        poll_driver(driver, cx);
        future.as_mut().poll(cx)
    })
    .await
}

/// How a connection ended is told by the call that used it, so the driver's own result is not needed.
fn poll_driver(driver: &mut Option<Driver>, cx: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(cx).is_ready()) {
        *driver = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_server::{Reply, TestServer};
    use super::*;

    const STREAM: Expect = Expect::Stream { chunks: 2 };

    #[track_caller]
    fn refused(status: u16, body: &str, expect: Expect, reason: &str) {
        let error = check(StatusCode::from_u16(status).unwrap(), body.as_bytes(), expect).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }

    #[test]
    fn only_complete_answers_count() {
        let ok = |body: &str, expect| check(StatusCode::OK, body.as_bytes(), expect).unwrap();
        ok("{}", Expect::Whole);
        ok("data: 1\n\n: ping\n\ndata: 2\n\ndata: [DONE]\n\n", STREAM);
        ok("data:1\r\n\r\ndata:2\r\n\r\ndata:[DONE]\r\n\r\n", STREAM);
        refused(429, "slow down", Expect::Whole, "429: slow down");
        refused(204, "", Expect::Whole, "status 204");
        refused(200, "data: 1\n\ndata: 2\n\n", STREAM, "without [DONE]");
        refused(200, "data: 1\n\ndata: [DONE]\n\n", STREAM, "1 chunks instead of 2");
        refused(200, "", STREAM, "without [DONE]");
    }

    #[tokio::test]
    async fn only_plain_http_is_spoken() {
        for base in ["https://127.0.0.1/v1", "127.0.0.1:80", "/v1", "http://"] {
            assert!(Endpoint::resolve(base, &[]).await.is_err(), "{base}");
        }
        for base in ["http://127.0.0.1:80/v1/", "http://[::1]:80/v1"] {
            assert_eq!(Endpoint::resolve(base, &[]).await.unwrap().path, "/v1/chat/completions", "{base}");
        }
    }

    #[tokio::test]
    async fn a_call_carries_its_model_its_headers_and_about_a_kilobyte() {
        let server = TestServer::start(|_| Reply::whole("{}")).await;
        let header = (HeaderName::from_static("authorization"), HeaderValue::from_static("Bearer x"));
        let endpoint = Endpoint::resolve(&server.base(), &[header]).await.unwrap();
        Slot::new(Call::chat(&endpoint, "mock?delay=0", Expect::Whole)).send().await.unwrap();
        let seen = server.seen();
        assert_eq!(seen[0].path, "/v1/chat/completions");
        assert_eq!(seen[0].headers["authorization"], "Bearer x");
        let body: serde_json::Value = serde_json::from_slice(&seen[0].body).unwrap();
        assert_eq!((&body["model"], &body["stream"]), (&json!("mock?delay=0"), &json!(false)));
        assert!((900..1200).contains(&seen[0].body.len()), "{}", seen[0].body.len());
    }

    #[tokio::test]
    async fn a_slot_keeps_its_connection_until_the_server_closes_it() {
        let server = TestServer::start(|n| if n == 1 { Reply::last("{}") } else { Reply::whole("{}") }).await;
        let endpoint = Endpoint::resolve(&server.base(), &[]).await.unwrap();
        let mut slot = Slot::new(Call::chat(&endpoint, "mock", Expect::Whole));
        for _ in 0..4 {
            slot.send().await.unwrap();
        }
        let connections: Vec<usize> = server.seen().iter().map(|request| request.connection).collect();
        assert_eq!(connections, [0, 0, 1, 1]);
    }

    #[tokio::test]
    async fn a_failed_call_does_not_spoil_the_next() {
        let server = TestServer::start(|n| if n == 0 { Reply::cut("{") } else { Reply::whole("{}") }).await;
        let endpoint = Endpoint::resolve(&server.base(), &[]).await.unwrap();
        let mut slot = Slot::new(Call::chat(&endpoint, "mock", Expect::Whole));
        let error = slot.send().await.unwrap_err();
        assert!(format!("{error:#}").contains("read the answer"), "{error:#}");
        slot.send().await.unwrap();
    }
}
