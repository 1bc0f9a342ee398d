//! A plain HTTP client of the gateway, and of the broker beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::event::Kind;
use domain::{Event, Record, RequestId, Workspace};
use futures::StreamExt as _;
use reqwest::{Method, Response};
use serde_json::{Value, json};

/// Talks to a gateway.
#[derive(Clone, Debug)]
pub struct Client {
    root: String,
    http: reqwest::Client,
}

impl Client {
    /// A client of the gateway at a base URL without `/v1`.
    pub fn new(root: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build();
        Self { root: root.to_owned(), http: http.expect("an HTTP client") }
    }

    /// A request to a path.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.root))
    }

    /// A chat request that has not been sent: one user message.
    pub fn chat(&self, model: &str) -> reqwest::RequestBuilder {
        self.post_chat(&chat(model, "hello there"))
    }

    /// A chat request with a body of one's own.
    pub fn post_chat(&self, body: &Value) -> reqwest::RequestBuilder {
        self.request(Method::POST, "/v1/chat/completions").json(body)
    }

    /// Sends and reads the answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        Answer::read(request.send().await.expect("reach the gateway")).await
    }

    /// Polls an asynchronous request until it has ended.
    pub async fn wait_for(&self, id: &str, patience: Duration) -> Value {
        super::eventually(&format!("request {id} ends"), patience, || async {
            let answer = self.send(self.request(Method::GET, &format!("/v1/requests/{id}"))).await;
            let ended =
                !matches!(answer.body["status"].as_str(), Some("accepted" | "running" | "cancelling") | None);
            ended.then_some(answer.body)
        })
        .await
    }
}

/// A chat body with one user message.
pub fn chat(model: &str, text: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": text }] })
}

/// An HTTP answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers, one value each.
    pub headers: BTreeMap<String, String>,
    /// Body as text.
    pub text: String,
    /// Body as JSON; null if it is none.
    pub body: Value,
}

impl Answer {
    async fn read(response: Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers();
        let headers =
            headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap_or_default().to_owned())).collect();
        let text = response.text().await.expect("read the answer");
        let body = serde_json::from_str(&text).unwrap_or_default();
        Self { status, headers, text, body }
    }

    /// The text of the first choice.
    pub fn content(&self) -> &str {
        self.body["choices"][0]["message"]["content"].as_str().unwrap_or_default()
    }

    /// The data of a streamed answer's events, in order.
    pub fn events(&self) -> Vec<String> {
        self.text.split("\n\n").filter_map(|e| e.strip_prefix("data: ")).map(str::to_owned).collect()
    }

    /// The text of all pieces of a streamed answer.
    pub fn streamed(&self) -> String {
        let piece = |event: &String| {
            let value: Value = serde_json::from_str(event).ok()?;
            value["choices"][0]["delta"]["content"].as_str().map(str::to_owned)
        };
        self.events().iter().filter_map(piece).collect()
    }
}

/// What lies on the broker, as a reader beside the gateway sees it.
pub struct Observer {
    client: async_nats::Client,
    js: async_nats::jetstream::Context,
}

impl Observer {
    /// Connects to a broker.
    pub async fn connect(url: &str) -> Self {
        let client = async_nats::connect(url).await.expect("connect to the broker");
        let js = async_nats::jetstream::new(client.clone());
        Self { client, js }
    }

    /// The plain client.
    pub fn client(&self) -> &async_nats::Client {
        &self.client
    }

    /// JetStream.
    pub fn js(&self) -> &async_nats::jetstream::Context {
        &self.js
    }

    /// The bus as the roles use it.
    pub async fn bus(&self, url: &str) -> bus::Bus {
        let options = bus::Options {
            url: url.to_owned(),
            credentials_file: None,
            name: "observer".to_owned(),
            replicas: 1,
            memory: false,
            lane_backlog: 1000,
            call_backlog: 1000,
            cache_bytes: None,
            ack_wait: Duration::from_secs(30),
            progress: Duration::from_secs(10),
            result_ttl: Duration::from_secs(900),
            result_ttl_async: Duration::from_secs(900),
            responses_ttl: Duration::from_secs(900),
            inline_body: 256 * 1024,
            store_limit: 1 << 30,
            request_bytes: None,
        };
        bus::Bus::connect(options).await.expect("connect as a role does")
    }

    /// Everything that lies in a stream: subject, headers and payload as text.
    pub async fn contents(&self, stream: &str) -> Vec<(String, String, Vec<u8>)> {
        let stream = self.js.get_stream(stream).await.expect("the stream exists");
        let state = &stream.cached_info().state;
        let mut found = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            if let Ok(message) = stream.get_raw_message(sequence).await {
                let headers = format!("{:?}", message.headers);
                found.push((message.subject.to_string(), headers, message.payload.to_vec()));
            }
        }
        found
    }

    /// How many messages a stream holds.
    pub async fn depth(&self, stream: &str) -> u64 {
        self.js.get_stream(stream).await.expect("the stream exists").cached_info().state.messages
    }

    /// All events so far, in order.
    pub async fn events(&self) -> Vec<Event> {
        let config = async_nats::jetstream::consumer::pull::OrderedConfig::default();
        let mut stream = self.js.get_stream("LLM_EVENT").await.expect("the stream exists");
        let last = stream.info().await.expect("stream info").state.last_sequence;
        if stream.cached_info().state.messages == 0 {
            return Vec::new();
        }
        let consumer = stream.create_consumer(config).await.expect("an ordered consumer");
        let mut messages = consumer.messages().await.expect("messages of an ordered consumer");
        let mut events = Vec::new();
        while let Some(message) = messages.next().await {
            let Ok(message) = message else { continue };
            events.push(serde_json::from_slice(&message.payload).expect("an event"));
            if message.info().expect("message info").stream_sequence >= last {
                break;
            }
        }
        events
    }

    /// Events of one request, repeated reports left out.
    pub async fn events_of(&self, request: &str) -> Vec<Event> {
        let mut seen = std::collections::BTreeSet::new();
        let events = self.events().await.into_iter().filter(|e| e.request.as_str() == request);
        events.filter(|e| seen.insert(e.id.clone())).collect()
    }

    /// Attempt events, repeated reports left out.
    pub async fn attempts(&self) -> Vec<Event> {
        let mut seen = std::collections::BTreeSet::new();
        let events = self.events().await.into_iter().filter(|e| e.kind == Kind::AttemptFinished);
        events.filter(|e| seen.insert(e.id.clone())).collect()
    }

    /// The stored outcome of a request, with its inline body.
    pub async fn outcome(&self, request: &str) -> Option<(domain::Outcome, Vec<u8>)> {
        let request = RequestId::parse(request).expect("a request id");
        let workspace = request.as_str().split_once('~').and_then(|(name, _)| Workspace::parse(name).ok());
        let subject = bus::subject::result(&workspace.unwrap_or_default(), &request);
        let stream = self.js.get_stream("LLM_RESULT").await.expect("the stream exists");
        let message = stream.get_last_raw_message_by_subject(&subject).await.ok()?;
        match Record::decode(&message.payload).expect("a record") {
            (Record::Final(outcome), body) => Some((*outcome, body.to_vec())),
            (Record::Fence { .. }, _) => None,
        }
    }
}
