//! Answers to other words of the same meaning, with a real model.

use std::time::Duration;

use serde_json::{Value, json};
use system_tests::harness::client::chat;
use system_tests::harness::eventually;
use system_tests::harness::process::Start;

use super::{Gateway, PATIENCE, STATUS, check_status};

fn semantic() -> Value {
    json!({ "mode": "semantic" })
}

fn with_model(start: Start) -> Start {
    start
        .set("cache.embedder.dir", &system_tests::harness::models::minilm().display().to_string())
        .set("cache.lookup_timeout", "2s")
}

/// Asks until the model is loaded and the question has an answer with a vector.
async fn warm(gateway: &Gateway, text: &str) {
    eventually("the model is ready and the answer has a vector", Duration::from_secs(60), || async {
        gateway.ask(&semantic(), &chat("mock", text)).await;
        let stats = gateway.client.request(reqwest::Method::GET, "/v1/admin/cache/stats");
        let stats = gateway.client.send(stats).await;
        let vectors = stats.body["nodes"][0]["vectors"].as_u64().unwrap_or(0);
        (vectors > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_meaning_is_answered_and_the_opposite_is_not() {
    let gateway = Gateway::start_with(with_model);
    warm(&gateway, "How can I cancel my subscription?").await;
    let hit = gateway.ask(&semantic(), &chat("mock", "What are the steps to cancel my subscription?")).await;
    check_status(&hit, "SEMANTIC HIT");
    let score: f64 = hit.headers["x-pointsman-cache-score"].parse().unwrap();
    assert!((0.8..=1.0).contains(&score), "{score}");
    assert!(hit.headers.contains_key("x-pointsman-cache-entry"));
    // The same but for case and the mark at its end.
    let hit = gateway.ask(&semantic(), &chat("mock", "how can i cancel my subscription")).await;
    check_status(&hit, "SEMANTIC HIT");
    for other in [
        "How can I renew my subscription?",
        "How can I cancel my subscription without a fee?",
        "How can't I cancel my subscription?",
        "Why did you cancel my subscription?",
    ] {
        let answer = gateway.ask(&semantic(), &chat("mock", other)).await;
        check_status(&answer, "SEMANTIC MISS");
    }
    // Everything but the last message has to be the same.
    let mut body = chat("mock", "What are the steps to cancel my subscription?");
    body["temperature"] = json!(0.2);
    check_status(&gateway.ask(&semantic(), &body).await, "SEMANTIC MISS");
    let body = json!({ "model": "mock", "messages": [
        { "role": "system", "content": "Answer in French." },
        { "role": "user", "content": "What are the steps to cancel my subscription?" },
    ] });
    check_status(&gateway.ask(&semantic(), &body).await, "SEMANTIC MISS");
    // Where the config wants the same request only, meaning does not count.
    let simple = json!({ "mode": "simple" });
    let other = chat("mock", "Tell me how to cancel my subscription");
    check_status(&gateway.ask(&simple, &other).await, "MISS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_would_be_cut_is_never_compared() {
    let gateway = Gateway::start_with(with_model);
    let long = |end: &str| {
        format!("{} {end}", "The quarterly report of the sales team says many things. ".repeat(40))
    };
    warm(&gateway, "What does the report say?").await;
    check_status(
        &gateway.ask(&semantic(), &chat("mock", &long("What is the revenue?"))).await,
        "SEMANTIC MISS",
    );
    tokio::time::sleep(Duration::from_secs(6)).await;
    check_status(&gateway.ask(&semantic(), &chat("mock", &long("Write a poem."))).await, "SEMANTIC MISS");
    check_status(&gateway.ask(&semantic(), &chat("mock", &long("What is the revenue?"))).await, "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_answers_nobody_and_is_on_record() {
    let gateway = Gateway::start_with(with_model);
    let shadow = json!({ "mode": "shadow" });
    warm(&gateway, "How can I cancel my subscription?").await;
    let before = gateway.calls("mock").await;
    let text = "What are the steps to cancel my subscription?";
    let answer = gateway.ask(&shadow, &chat("mock", text)).await;
    check_status(&answer, "SEMANTIC MISS");
    assert_eq!(gateway.calls("mock").await, before + 1);
    assert!(answer.headers.contains_key("x-pointsman-cache-score"), "{:?}", answer.headers);
    let observer = system_tests::harness::client::Observer::connect(&gateway.pointsman.nats()).await;
    let id = &answer.headers["pointsman-request-id"];
    let event = eventually("the event", PATIENCE, || async {
        observer.events_of(id).await.into_iter().find(|event| event.last)
    })
    .await;
    let seen = event.cache.unwrap().shadow.unwrap();
    assert_eq!(seen.status, domain::cache::Status::SemanticHit);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_library_the_same_requests_are_still_answered() {
    let gateway = Gateway::start_with(|start| {
        with_model(start).set("cache.embedder.library", "/nowhere/libonnxruntime.so")
    });
    let body = chat("mock", "hello there");
    assert_eq!(gateway.ask(&semantic(), &body).await.headers[STATUS], "SEMANTIC MISS");
    check_status(&gateway.ask(&semantic(), &body).await, "HIT");
    let off = eventually("the embedder is off", PATIENCE, || async {
        let stats = gateway.client.request(reqwest::Method::GET, "/v1/admin/cache/stats");
        let stats = gateway.client.send(stats).await;
        let state = stats.body["nodes"][0]["embedder"].as_str().unwrap_or_default().to_owned();
        state.contains("/nowhere/").then_some(state)
    })
    .await;
    assert!(off.contains("libonnxruntime"), "{off}");
    let log = gateway.pointsman.log();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("/nowhere/")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
}
