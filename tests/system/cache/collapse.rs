//! The same request by several callers at once shares one call.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use system_tests::harness::client::{Answer, chat};
use system_tests::harness::{Broker, Mock, Pointsman, eventually};

use super::{CONFIG, Gateway, PATIENCE, STATUS, check_status, simple};

fn shared(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.headers.contains_key("x-pointsman-cache-shared")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_at_once_is_one_call_streamed_or_not() {
    let gateway = Gateway::start();
    for model in ["mock?delay=1s", "mock?delay=1001ms"] {
        let mut body = chat(model, "hello there");
        let asks = (0..24).map(|index| {
            body["stream"] = json!(model.ends_with("ms") || index % 2 == 0);
            let body = body.clone();
            let gateway = &gateway;
            async move { gateway.ask(&simple(), &body).await }
        });
        let answers = join_all(asks).await;
        assert_eq!(gateway.calls(model).await, 1);
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert_eq!(shared(&answers), 23);
        let texts: std::collections::BTreeSet<String> =
            answers
                .iter()
                .map(|answer| {
                    if answer.content().is_empty() { answer.streamed() } else { answer.content().to_owned() }
                })
                .collect();
        assert_eq!(texts.len(), 1, "all have the same text: {texts:?}");
    }
    // Without the cache everybody has a call of his own.
    let plain = (0..5).map(|_| gateway.client.send(gateway.client.chat("mock?delay=300ms")));
    assert!(join_all(plain).await.iter().all(|answer| answer.headers[STATUS] == "DISABLED"));
    assert_eq!(gateway.calls("mock?delay=300ms").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_does_not_take_the_answer_from_those_who_wait() {
    let gateway = Gateway::start();
    let model = "mock?delay=2s";
    let body = chat(model, "hello there");
    let leader = {
        let request = gateway.client.post_chat(&body);
        request.header(CONFIG, json!({ "cache": simple(), "provider": "mock" }).to_string())
    };
    let leader = tokio::time::timeout(Duration::from_millis(700), leader.send());
    let followers = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let cache = simple();
        join_all((0..3).map(|_| gateway.ask(&cache, &body))).await
    };
    let (left, answers) = tokio::join!(leader, followers);
    assert!(left.is_err(), "the leader has left");
    for answer in &answers {
        check_status(answer, "HIT");
    }
    assert_eq!(gateway.calls(model).await, 1);
    // Nobody waits: the call is given up.
    let alone = chat("mock?delay=20s", "hello there");
    let request = gateway.client.post_chat(&alone);
    let request = request.header(CONFIG, json!({ "cache": simple(), "provider": "mock" }).to_string());
    assert!(tokio::time::timeout(Duration::from_millis(700), request.send()).await.is_err());
    eventually("the call is given up", PATIENCE, || async {
        let observer = system_tests::harness::client::Observer::connect(&gateway.pointsman.nats()).await;
        let attempts = observer.attempts().await;
        let cancelled = |event: &domain::Event| {
            event.attempt.as_ref().is_some_and(|a| a.error == Some(domain::ErrorClass::Cancelled))
        };
        attempts.iter().any(cancelled).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_call_fails_one_other_is_made() {
    let gateway = Gateway::start();
    let model = "mock?delay=1500ms";
    let body = chat(model, "hello there");
    let cache = simple();
    // The first has too little time for the answer.
    let hasty = async {
        let at = "/v1/chat/completions";
        gateway.ask_at(at, &cache, &body, &[("pointsman-timeout", "700ms")]).await
    };
    let others = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        join_all((0..11).map(|_| gateway.ask(&cache, &body))).await
    };
    let (hasty, answers) = tokio::join!(hasty, others);
    assert_eq!(hasty.status, 504, "{}", hasty.text);
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(gateway.calls(model).await, 2);
    assert_eq!(shared(&answers), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_survive_the_death_of_their_router() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path().join("nats"));
    let provider = crate::pointsman(dir.path(), &["mock"]).ready();
    let mock = Mock::at(&provider.mock());
    let run = |roles: &[&str]| -> Pointsman {
        let arguments: Vec<&str> = ["run"].iter().chain(roles).copied().collect();
        crate::pointsman(dir.path(), &arguments)
            .arg("--nats")
            .arg(broker.url())
            .arg("--data-dir")
            .arg(dir.path().join("data").display().to_string())
            .arg("--listen")
            .arg("127.0.0.1:0")
            .set("providers.paid.base_url", &mock.url())
            .set("work.ack_wait", "2s")
            .set("work.progress", "500ms")
            .ready()
    };
    let shim = run(&["http-shim", "admin-api", "provider-worker", "semantic-cache"]);
    let (first, _second) = (run(&["router"]), run(&["router"]));
    let client = system_tests::harness::client::Client::new(&shim.http());
    let config = json!({ "cache": simple(), "provider": "paid" }).to_string();
    let model = "mock?delay=4s";
    let asks = (0..16).map(|_| client.send(client.chat(model).header(CONFIG, &config)));
    let kill = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        first.kill();
    };
    let (answers, ()) = tokio::join!(join_all(asks), kill);
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let bill = mock.get("/bill").await;
    assert_eq!(bill["models"][model]["calls"], 1, "{bill}");
}
