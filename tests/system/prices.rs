//! What answers cost: counted by the worker, shown to callers who may see it, estimated where nobody reports usage.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::harness::client::{Answer, Client, Observer};
use system_tests::harness::{Mock, eventually};

use crate::{gateway, up};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the mock charges for these tokens, in nano-USD: 2.50 and 10 USD per million.
fn charged(input: u64, output: u64) -> u64 {
    input * 2500 + output * 10_000
}

/// Nano-USD of a number of dollars, as the bytes of an answer have it.
fn nano(dollars: &str) -> u64 {
    let (whole, fraction) = dollars.split_once('.').unwrap_or((dollars, ""));
    format!("{whole}{fraction:0<9}").parse().unwrap_or_else(|_| panic!("{dollars} is no number of dollars"))
}

/// Operations that count tokens, each with a body and the names of its counts.
fn questions() -> [(&'static str, Value, [&'static str; 2]); 5] {
    let messages = json!([{ "role": "user", "content": "hello there" }]);
    let counts = ["prompt_tokens", "completion_tokens"];
    [
        ("/v1/chat/completions", json!({ "model": "mock", "messages": messages }), counts),
        ("/v1/completions", json!({ "model": "mock", "prompt": "hello there" }), counts),
        ("/v1/embeddings", json!({ "model": "mock", "input": "hello there" }), counts),
        (
            "/v1/messages",
            json!({ "model": "mock", "messages": messages, "max_tokens": 100 }),
            ["input_tokens", "output_tokens"],
        ),
        (
            "/v1/responses",
            json!({ "model": "mock", "input": "hello there" }),
            ["input_tokens", "output_tokens"],
        ),
    ]
}

async fn ask(client: &Client, path: &str, body: &Value) -> Answer {
    let answer = client.send(client.request(Method::POST, path).json(body)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer
}

#[track_caller]
fn check_usage(path: &str, usage: &Value, counts: [&str; 2], shown: &str) {
    let [input, output] = counts.map(|name| usage[name].as_u64().unwrap_or(0));
    assert!(input > 0, "{path}: {usage}");
    assert_eq!(nano(shown), charged(input, output), "{path}: {usage}");
    assert_eq!(usage["estimated_cost"].as_f64(), shown.parse().ok(), "{path}: {usage}");
}

#[tokio::test]
async fn answers_say_what_they_cost_in_every_dialect() {
    let dir = tempfile::tempdir().unwrap();
    let pointsman = up(dir.path()).set("http.show_cost", "true").ready();
    let client = Client::new(&pointsman.http());
    for (path, mut body, counts) in questions() {
        let answer = ask(&client, path, &body).await;
        check_usage(path, &answer.body["usage"], counts, &answer.headers["x-pointsman-cost"]);
        if path == "/v1/embeddings" {
            continue;
        }
        body["stream"] = json!(true);
        if counts[0] == "prompt_tokens" {
            body["stream_options"] = json!({ "include_usage": true });
        }
        let streamed = ask(&client, path, &body).await;
        let shown: Vec<&str> = streamed.text.split("\"estimated_cost\":").skip(1).collect();
        assert_eq!(shown.len(), 1, "{path}: {}", streamed.text);
        let dollars = shown[0].split('}').next().unwrap();
        let whole = &answer.headers["x-pointsman-cost"];
        assert_eq!(dollars, whole, "{path}: streamed or not, it is the same answer");
    }
}

#[tokio::test]
async fn nobody_sees_a_cost_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let pointsman = gateway(dir.path());
    let client = Client::new(&pointsman.http());
    for (path, body, _) in questions() {
        let answer = ask(&client, path, &body).await;
        assert!(!answer.headers.contains_key("x-pointsman-cost"), "{path}");
        assert!(!answer.text.contains("estimated_cost"), "{path}: {}", answer.text);
    }
    // It is counted all the same.
    let observer = Observer::connect(&pointsman.nats()).await;
    let attempts = eventually("five attempts", PATIENCE, || async {
        let attempts = observer.attempts().await;
        (attempts.len() == 5).then_some(attempts)
    })
    .await;
    for event in attempts {
        let attempt = event.attempt.unwrap();
        let usage = attempt.usage.unwrap();
        assert_eq!(attempt.cost.map(|cost| cost.0), Some(charged(usage.input, usage.output)));
        assert!(attempt.price.is_some() && !attempt.estimated);
    }
}

#[tokio::test]
async fn usage_that_nobody_reports_is_estimated() {
    let dir = tempfile::tempdir().unwrap();
    let pointsman = gateway(dir.path());
    let client = Client::new(&pointsman.http());
    let words = "the quick brown fox jumps over the lazy dog and runs home ".repeat(20);
    let messages = json!([{ "role": "user", "content": words }]);
    for (model, stream) in
        [("plain?usage=none&words=100", false), ("piece?usage=none&words=100&chunks=20", true)]
    {
        let body = json!({ "model": model, "messages": messages, "stream": stream });
        ask(&client, "/v1/chat/completions", &body).await;
    }
    // A stream that breaks off was paid for as far as it came.
    let body = json!({ "model": "cut?usage=none&words=100&chunks=20&abort=3000", "messages": messages, "stream": true });
    client.send(client.post_chat(&body)).await;
    let observer = Observer::connect(&pointsman.nats()).await;
    let attempts = eventually("three attempts", PATIENCE, || async {
        let attempts = observer.attempts().await;
        (attempts.len() == 3).then_some(attempts)
    })
    .await;
    let mock = Mock::at(&pointsman.mock());
    for event in attempts {
        let attempt = event.attempt.unwrap();
        let model = attempt.model.clone().unwrap();
        let usage = attempt.usage.unwrap_or_else(|| panic!("{model} has no usage"));
        assert!(attempt.estimated && attempt.cost.is_some_and(|cost| cost.0 > 0), "{model}");
        // The mock counts words; plain English words are one token, long ones up to three.
        let billed = mock.rows(&model).await.remove(0);
        let near = |ours: u64, theirs: u64| ours * 2 >= theirs && ours <= theirs * 3 + 20;
        assert!(near(usage.input, billed.input_tokens), "{model}: {usage:?} {billed:?}");
        if !model.starts_with("cut") {
            assert!(near(usage.output, billed.output_tokens), "{model}: {usage:?} {billed:?}");
        } else {
            assert!(usage.output > 0 && usage.output < 300, "{model}: {usage:?} {billed:?}");
        }
    }
}
