//! The broker is away: at the start, and in the middle of a stream.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};
use system_tests::crash::load::{Seen, judge_stream};
use system_tests::crash::{Part, killer::blocking};
use system_tests::harness::client::{Answer, Client};
use system_tests::harness::process::Start;
use system_tests::harness::{Broker, Mock, Pointsman, eventually};

use super::cluster;
use crate::BINARY;

/// Longer than any answer takes, shorter than giving up.
const PATIENCE: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_are_started_before_the_broker_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let provider = blocking(|| Start::new(BINARY, dir.path(), &["mock", "--listen", "127.0.0.1:0"]).ready());
    let mut broker = blocking(|| Broker::start(dir.path().join("broker")));
    blocking(|| broker.kill());
    let data = dir.path().join("data").display().to_string();
    let roles: Vec<_> = ["http-shim", "router", "provider-worker"]
        .map(|role| {
            let arguments =
                ["run", role, "--listen", "127.0.0.1:0", "--nats", &broker.url(), "--data-dir", &data];
            let start = Start::new(BINARY, dir.path(), &arguments);
            let start = start.set("providers.double.base_url", &format!("\"{}\"", provider.mock()));
            std::thread::spawn(move || start.ready())
        })
        .into();
    // They have said that they wait.
    let waiting = || {
        let logs = std::fs::read_dir(dir.path()).unwrap().filter_map(|entry| {
            let path = entry.unwrap().path();
            path.extension().is_some_and(|e| e == "log").then(|| std::fs::read_to_string(path).unwrap())
        });
        logs.filter(|log| log.contains("waiting for the broker")).count()
    };
    eventually("all roles wait", PATIENCE, || async { (waiting() == 3).then_some(()) }).await;
    assert!(roles.iter().all(|role| !role.is_finished()), "a role is ready without a broker");

    blocking(|| broker.restart());
    let roles: Vec<Pointsman> = blocking(|| roles.into_iter().map(|role| role.join().unwrap()).collect());
    let client = Client::new(&roles[0].http());
    let answer = client.send(client.chat("mock")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(Mock::at(&provider.mock()).bill().await.attempts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_survives_the_broker_or_ends_in_an_honest_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = cluster(dir.path());
    let client = Client::new(&cluster.http());
    let whole = whole_answer(&client).await;
    let body = body();
    let response = client.post_chat(&body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut pieces = response.bytes_stream();
    let mut text = String::new();
    while !text.contains("heard") {
        let piece = pieces.next().await.expect("the stream begins").expect("a piece");
        text.push_str(&String::from_utf8_lossy(&piece));
    }
    blocking(|| cluster.kill(Part::Broker));
    let restart = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        blocking(|| cluster.restart(Part::Broker));
    };
    let rest = async {
        let mut text = text;
        while let Some(piece) = pieces.next().await {
            text.push_str(&String::from_utf8_lossy(&piece.expect("the connection holds")));
        }
        text
    };
    let ((), text) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(restart, rest) }).await.expect("no silence");
    match judge_stream(&text) {
        Seen::Answer(200) => assert_eq!(content(&text), whole),
        Seen::ErrorEvent => assert!(whole.starts_with(&content(&text)), "not a part of the answer: {text}"),
        seen => panic!("{seen:?}: {text}"),
    }
}

/// One stream of about two seconds.
fn body() -> Value {
    json!({
        "model": "mock?chunks=60&gap=30ms", "stream": true,
        "messages": [{ "role": "user", "content": "tell me" }],
    })
}

async fn whole_answer(client: &Client) -> String {
    let answer: Answer = client.send(client.post_chat(&body())).await;
    assert_eq!(judge_stream(&answer.text), Seen::Answer(200));
    answer.streamed()
}

fn content(text: &str) -> String {
    let pieces = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    let pieces = pieces.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    pieces.filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}
