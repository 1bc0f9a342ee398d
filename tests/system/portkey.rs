//! Portkey's observable behaviour, from outside: the golden vectors of `portkey/vectors.json`, played over HTTP,
//! request-reply and published requests.
//!
//! A vector is a request and what has to come of it:
//! - `request`: `path`, `headers`, `config` and `metadata` (JSON, sent as headers), `body` or `raw`, `content_type`
//!   (null: none). Unless it is `bare` or has a config or a provider, it names the provider `openai`; unless it is `bare`
//!   or `direct`, the host of that provider is the mock's. A config that is `stored` first is named by its id.
//! - `doors`: where it is played (default: all). `repeat`: how often.
//! - `expect`: `status`; `headers`; `exact` is the body, `body` a part of it, `contains` parts of its strings; `text` are
//!   parts of a streamed body; `calls` are the models that the mock was asked for, in order; `upstream` are its requests
//!   (with `&log` in the model's script): `path`, `headers`, `absent` headers and part of the `body`; `shares` of
//!   repeated calls by model; `at_least_ms` and `at_most_ms`.
//! - `{id}` stands for something of this one play's own, `{mock}` for the mock's URL; a model is `{id}-m` and so on.

mod door;
mod expect;

use std::collections::BTreeMap;
use std::path::Path;

use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use system_tests::harness::{Mock, Pointsman};

use door::{Door, Doors};

const VECTORS: &str = include_str!("portkey/vectors.json");

/// Plays at a time: most of a play is waiting for a retry.
const AT_ONCE: usize = 24;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    group: u32,
    name: String,
    #[serde(default)]
    doors: Vec<Door>,
    #[serde(default = "once")]
    repeat: usize,
    request: Request,
    expect: expect::Expect,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Request {
    path: Option<String>,
    headers: BTreeMap<String, String>,
    config: Option<Value>,
    stored: Option<Value>,
    metadata: Option<Value>,
    body: Option<Value>,
    raw: Option<String>,
    #[serde(deserialize_with = "some")]
    content_type: Option<Option<String>>,
    bare: bool,
    direct: bool,
}

/// A null that was written is not a field that was left out.
fn some<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(value).map(Some)
}

fn once() -> usize {
    1
}

/// A vector's request with everything filled in.
struct Play {
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Vector {
    fn play(&self, door: Door, id: &str, mock: &str) -> Play {
        let request = &self.request;
        let fill = |text: &str| fill(text, id, mock);
        let mut headers: BTreeMap<String, String> =
            request.headers.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
        if let Some(config) = &request.config {
            let mut config = config.clone();
            if door != Door::Http {
                // In clear they do not travel on the bus.
                without_credentials(&mut config);
            }
            headers.insert("x-portkey-config".to_owned(), fill(&config.to_string()));
        }
        if request.stored.is_some() {
            headers.insert("x-portkey-config".to_owned(), format!("pc-{id}"));
        }
        if let Some(metadata) = &request.metadata {
            headers.insert("x-portkey-metadata".to_owned(), metadata.to_string());
        }
        let named = ["x-portkey-config", "x-portkey-provider"].iter().any(|name| headers.contains_key(*name));
        if !request.bare && !named {
            headers.insert("x-portkey-provider".to_owned(), "openai".to_owned());
        }
        if !request.bare && !request.direct {
            headers.insert("x-portkey-custom-host".to_owned(), mock.to_owned());
        }
        let content_type =
            request.content_type.clone().unwrap_or_else(|| Some("application/json".to_owned()));
        if let Some(content_type) = content_type.filter(|_| door == Door::Http) {
            headers.insert("content-type".to_owned(), content_type);
        }
        let asked = || {
            let chat =
                json!({ "model": "{id}-m", "messages": [{ "role": "user", "content": "hello there" }] });
            request.body.clone().unwrap_or(chat).to_string()
        };
        Play {
            path: request.path.clone().unwrap_or_else(|| "/v1/chat/completions".to_owned()),
            headers,
            body: fill(&request.raw.clone().unwrap_or_else(asked)),
        }
    }
}

fn without_credentials(config: &mut Value) {
    match config {
        Value::Object(map) => {
            map.remove("api_key");
            map.values_mut().for_each(without_credentials);
        }
        Value::Array(items) => items.iter_mut().for_each(without_credentials),
        _ => {}
    }
}

fn fill(text: &str, id: &str, mock: &str) -> String {
    let by_name = mock.replace("127.0.0.1", "localhost");
    text.replace("{id}", id).replace("{mock_by_name}", &by_name).replace("{mock}", mock)
}

/// A gateway without a provider of its own, so that a request has to name one; its upstream is a mock.
fn start(dir: &Path) -> (Pointsman, Pointsman, Mock) {
    let mock = crate::pointsman(dir, &["mock", "--listen", "127.0.0.1:0"]).ready();
    let gateway = crate::up(dir).set("mock.enabled", "never").ready();
    let view = Mock::at(&mock.mock());
    (gateway, mock, view)
}

#[tokio::test(flavor = "multi_thread")]
async fn golden_vectors_hold_at_every_door() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).expect("the vectors are understood");
    let dir = tempfile::tempdir().unwrap();
    let (gateway, _running, mock) = start(dir.path());
    let doors = Doors::open(&gateway).await;
    let mut plays = Vec::new();
    for (number, vector) in vectors.iter().enumerate() {
        let everywhere = [Door::Http, Door::Ask, Door::Request];
        let chosen = if vector.doors.is_empty() { everywhere.to_vec() } else { vector.doors.clone() };
        plays.extend(chosen.into_iter().map(|door| (number, vector, door)));
    }
    let count = plays.len();
    let played = futures::stream::iter(plays).map(|(number, vector, door)| {
        let (doors, mock) = (&doors, &mock);
        async move {
            let id = format!("v{number}{}", door.letter());
            let found = play(vector, door, &id, doors, mock).await;
            found.err().map(|why| format!("{} · {} · {door:?}:\n    {why}", vector.group, vector.name))
        }
    });
    let failures: Vec<String> =
        played.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    println!("{} vectors, {count} plays, {} failures", vectors.len(), failures.len());
    assert!(failures.is_empty(), "{} of {count} plays:\n{}", failures.len(), failures.join("\n"));
}

async fn play(vector: &Vector, door: Door, id: &str, doors: &Doors, mock: &Mock) -> Result<(), String> {
    let play = vector.play(door, id, &mock.url());
    if let Some(config) = &vector.request.stored {
        let config = fill(&config.to_string(), id, &mock.url());
        doors.store(&json!({ "name": vector.name, "slug": id, "config": config })).await;
    }
    for _ in 0..vector.repeat {
        let begun = std::time::Instant::now();
        let answer = doors.send(door, &play).await;
        vector.expect.check(&answer, door, begun.elapsed(), |text| fill(text, id, &mock.url()))?;
    }
    vector.expect.check_calls(mock, id, |text| fill(text, id, &mock.url())).await
}
