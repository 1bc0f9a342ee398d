//! A mock on a free port, and a client that keeps bytes, headers and connections in sight.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use mock_provider::{Options, run_with};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes; only a test that would hang for ever meets it.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Mock {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    serving: JoinSet<anyhow::Result<()>>,
}

/// One connection. Dropping it closes the socket.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    _connection: JoinSet<()>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the connection ended before the body did.
    pub(crate) broken: bool,
}

impl Mock {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub(crate) async fn start_with(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let mut serving = JoinSet::new();
        serving.spawn(run_with(listener, options, stop.clone()));
        Self { address, stop, serving }
    }

    /// Stops the mock and waits until it has stopped.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let stopped = tokio::time::timeout(PATIENCE, self.serving.join_next()).await.expect("stops");
        stopped.expect("a task").expect("no panic").expect("no error");
    }

    pub(crate) async fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.expect("connect");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("handshake");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(connection.await) });
        let host = self.address.to_string().parse().expect("an address");
        Client { sender, host, _connection: tasks }
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        Reply::read(self.client().await.open(request).await.expect("an answer")).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let reply = self.send(Request::get(path).body(Full::default()).expect("request")).await;
        assert_eq!(reply.status, 200, "{path}: {:?}", reply.body);
        reply.json()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(post(path, body)).await
    }

    pub(crate) async fn chat(&self, model: &str) -> Reply {
        self.post("/v1/chat/completions", &chat(model)).await
    }

    /// The row of the only call.
    pub(crate) async fn only_row(&self) -> Value {
        let bill = self.get("/bill").await;
        assert_eq!(bill["attempts"].as_array().map(Vec::len), Some(1), "{bill}");
        bill["attempts"][0].clone()
    }

    /// All events until `last` is among them, as words such as `chunk 1`.
    pub(crate) async fn events_until(&self, last: &str) -> Vec<String> {
        let (mut seen, mut after) = (Vec::new(), 0);
        let seen_all = async {
            while !seen.iter().any(|event| event == last) {
                let page = self.get(&format!("/log?after={after}&wait=5s")).await;
                after = page["next"].as_u64().expect("next");
                seen.extend(page["events"].as_array().expect("events").iter().map(event_words));
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, seen_all).await;
        in_time.unwrap_or_else(|_| panic!("`{last}` did not happen"));
        seen
    }
}

impl Client {
    pub(crate) async fn open(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        request.headers_mut().entry(HOST).or_insert_with(|| self.host.clone());
        tokio::time::timeout(PATIENCE, self.sender.send_request(request)).await.expect("not for ever")
    }
}

impl Reply {
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (parts, mut body) = response.into_parts();
        let (mut bytes, mut broken) = (Vec::new(), false);
        while let Some(frame) = tokio::time::timeout(PATIENCE, body.frame()).await.expect("not for ever") {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => broken = true,
            }
        }
        Self { status: parts.status, headers: parts.headers, body: bytes.into(), broken }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|err| panic!("{err}: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// Data of the events of a stream that ends with `[DONE]`.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.body).expect("text");
        let events = text.strip_suffix("data: [DONE]\n\n").unwrap_or_else(|| panic!("not done: {text}"));
        let data = |event: &str| {
            let data = event.strip_prefix("data: ").unwrap_or_else(|| panic!("no event: {event}"));
            serde_json::from_str(data).unwrap_or_else(|err| panic!("{err}: {event}"))
        };
        events.split_terminator("\n\n").map(data).collect()
    }
}

/// Reads the body until it holds `needle`.
pub(crate) async fn read_until(body: &mut Incoming, needle: &str) {
    let mut seen = String::new();
    while !seen.contains(needle) {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("not for ever");
        let frame = frame.expect("more").expect("not broken");
        seen.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("text"));
    }
}

/// A request with headers.
pub(crate) fn post_with(path: &str, headers: &[(&str, &str)], body: &Value) -> Request<Full<Bytes>> {
    let request =
        headers.iter().fold(Request::post(path), |request, (name, value)| request.header(*name, *value));
    request.body(Full::from(body.to_string())).expect("request")
}

/// The time of day, for what is signed with it.
#[expect(clippy::disallowed_methods, reason = "a client of somebody else's has its own clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// A model's name as part of a path.
pub(crate) fn encoded(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(byte).collect()
}

/// Name and data of every server-sent event.
#[track_caller]
pub(crate) fn sse(body: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(body).expect("text").replace("\r\n", "\n");
    let event = |event: &str| {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let data = field("data: ");
        let data = serde_json::from_str(data).unwrap_or_else(|_| Value::String(data.to_owned()));
        (field("event: ").to_owned(), data)
    };
    text.split_terminator("\n\n").map(event).collect()
}

pub(crate) fn post(path: &str, body: &Value) -> Request<Full<Bytes>> {
    Request::post(path).body(Full::from(body.to_string())).expect("request")
}

/// A chat request of three words, with a line of history.
pub(crate) fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [
        {"role": "system", "content": "short"},
        {"role": "user", "content": "hello world"},
    ]})
}

/// As [`chat`], streamed.
pub(crate) fn streamed(model: &str) -> Value {
    let mut body = chat(model);
    body["stream"] = true.into();
    body
}

fn event_words(event: &Value) -> String {
    let what = event["what"].as_str().expect("what");
    event["chunk"].as_u64().map_or_else(|| what.to_owned(), |chunk| format!("{what} {chunk}"))
}
