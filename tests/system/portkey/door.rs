//! The doors a request can come by, and what comes back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::Message;
use futures::StreamExt as _;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use system_tests::harness::Pointsman;
use system_tests::harness::client::Client;

use super::Play;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Door {
    /// HTTP.
    Http,
    /// `llm.ask.*`.
    Ask,
    /// `llm.request.*`, answered on a subject.
    Request,
}

impl Door {
    pub(super) fn letter(self) -> char {
        match self {
            Self::Http => 'h',
            Self::Ask => 'a',
            Self::Request => 'r',
        }
    }
}

/// What came back, wherever from.
pub(super) struct Answered {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) text: String,
    /// Null if it is not JSON.
    pub(super) body: Value,
}

pub(super) struct Doors {
    http: Client,
    nats: async_nats::Client,
    count: AtomicU32,
}

impl Doors {
    pub(super) async fn open(gateway: &Pointsman) -> Self {
        let nats = async_nats::connect(gateway.nats()).await.expect("connect to the broker");
        Self { http: Client::new(&gateway.http()), nats, count: AtomicU32::new(0) }
    }

    pub(super) async fn send(&self, door: Door, play: &Play) -> Answered {
        match door {
            Door::Http => self.http(play).await,
            Door::Ask | Door::Request => tokio::time::timeout(PATIENCE, self.bus(door, play))
                .await
                .unwrap_or_else(|_| panic!("no answer within {PATIENCE:?} to {:?}", play.headers)),
        }
    }

    /// Stores a config, as an administrator does.
    pub(super) async fn store(&self, config: &Value) {
        let stored = self.http.send(self.http.request(Method::POST, "/v1/configs").json(config)).await;
        assert_eq!(stored.status, 201, "{config}: {}", stored.text);
    }

    async fn http(&self, play: &Play) -> Answered {
        let mut request = self.http.request(Method::POST, &play.path).body(play.body.clone());
        for (name, value) in &play.headers {
            request = request.header(name, value);
        }
        let answer = self.http.send(request).await;
        Answered { status: answer.status, headers: answer.headers, text: answer.text, body: answer.body }
    }

    async fn bus(&self, door: Door, play: &Play) -> Answered {
        let operation = match play.path.as_str() {
            "/v1/chat/completions" => "chat",
            "/v1/completions" => "completions",
            "/v1/embeddings" => "embeddings",
            other => panic!("no operation is at {other}"),
        };
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        // Not an inbox: a published request may name any subject for its answer.
        let subject = format!("vectors.answers.{number}");
        let mut answers = self.nats.subscribe(subject.clone()).await.expect("subscribe");
        let mut headers = HeaderMap::new();
        for (name, value) in &play.headers {
            headers.insert(name.as_str(), value.as_str());
        }
        let body = play.body.clone().into();
        if door == Door::Ask {
            let asked = format!("llm.ask.{operation}");
            self.nats.publish_with_reply_and_headers(asked, subject, headers, body).await.expect("ask");
        } else {
            headers.insert("Pointsman-Reply-To", subject);
            let request = format!("llm.request.{operation}.interactive");
            let js = async_nats::jetstream::new(self.nats.clone());
            js.publish_with_headers(request, headers, body).await.expect("publish").await.expect("accepted");
        }
        let mut answered =
            Answered { status: 0, headers: BTreeMap::new(), text: String::new(), body: Value::Null };
        while let Some(message) = answers.next().await {
            let last =
                door == Door::Request || header(&message, "Pointsman-Final").as_deref() == Some("true");
            answered.add(message);
            if last {
                break;
            }
        }
        answered.body = serde_json::from_str(&answered.text).unwrap_or_default();
        answered
    }
}

impl Answered {
    fn add(&mut self, message: Message) {
        self.text.push_str(&String::from_utf8_lossy(&message.payload));
        if let Some(status) = header(&message, "Pointsman-Status") {
            self.status = status.parse().expect("a status is a number");
        }
        for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
            let value = values.first().map(ToString::to_string).unwrap_or_default();
            self.headers.insert(name.to_string().to_ascii_lowercase(), value);
        }
    }
}

fn header(message: &Message, name: &str) -> Option<String> {
    message.headers.as_ref()?.get(name).map(ToString::to_string)
}
