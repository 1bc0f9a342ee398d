//! Deadlines, cancellation, asynchronous requests, full queues, dead letters.

use std::time::Duration;

use async_nats::HeaderMap;
use reqwest::Method;
use serde_json::json;
use system_tests::harness::client::{Client, Observer, chat};
use system_tests::harness::{Broker, Mock, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn asynchronous_requests_are_taken_on_and_read_by_id() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let accepted = client.send(client.chat("mock?delay=200ms").header("prefer", "respond-async")).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let id = accepted.body["id"].as_str().unwrap();
    assert_eq!(accepted.headers["location"], format!("/v1/requests/{id}"));
    let ended = client.wait_for(id, PATIENCE).await;
    assert_eq!(
        (ended["status"].as_str(), ended["result"]["status"].as_u64()),
        (Some("answered"), Some(200)),
        "{ended}"
    );
    assert_eq!(ended["attempts"].as_array().map(Vec::len), Some(1));
    let verbatim = client.send(client.request(Method::GET, &format!("/v1/requests/{id}/result"))).await;
    assert!(verbatim.status == 200 && !verbatim.content().is_empty(), "{}", verbatim.text);

    let quick = client.send(client.chat("mock").header("prefer", "wait=10")).await;
    assert_eq!(quick.status, 200, "{}", quick.text);
    let slow = client.send(client.chat("mock?delay=3s").header("prefer", "wait=1")).await;
    assert_eq!(slow.status, 202, "{}", slow.text);
    let missing = client.send(client.request(Method::GET, "/v1/requests/nosuch")).await;
    assert_eq!(missing.status, 404, "{}", missing.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passed_deadline_ends_the_request_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::up(dir.path()).set("work.sweep", "300ms").ready();
    let client = Client::new(&gateway.http());
    let timed = client.send(client.chat("mock?hang=headers").header("pointsman-timeout", "700ms")).await;
    assert_eq!(
        (timed.status, timed.body["error"]["code"].as_str()),
        (504, Some("deadline_exceeded")),
        "{}",
        timed.text
    );
    let observer = Observer::connect(&gateway.nats()).await;
    let id = &timed.headers["pointsman-request-id"];
    let (outcome, _) = eventually("it is recorded", PATIENCE, || async { observer.outcome(id).await }).await;
    assert_eq!(outcome.kind.as_str(), "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_no_worker_takes_expires() {
    let dir = tempfile::tempdir().unwrap();
    let gateway =
        crate::up(dir.path()).arg("--roles").arg("http-shim,router").set("work.sweep", "300ms").ready();
    let client = Client::new(&gateway.http());
    let request = client.chat("mock").header("pointsman-timeout", "1s").header("prefer", "respond-async");
    let accepted = client.send(request).await;
    let ended = client.wait_for(accepted.body["id"].as_str().unwrap(), PATIENCE).await;
    assert_eq!(ended["status"], "expired", "{ended}");
    let observer = Observer::connect(&gateway.nats()).await;
    eventually("nothing is left", PATIENCE, || async {
        (observer.depth("LLM_CALL").await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_cancels_the_provider_call() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let (client, mock) = (Client::new(&gateway.http()), Mock::at(&gateway.mock()));
    let mut body =
        chat("mock?chunks=50&gap=400ms&log", "a long story about many words that go on and on and on");
    body["stream"] = json!(true);
    let mut response = client.post_chat(&body).send().await.unwrap();
    let id = response.headers()["pointsman-request-id"].to_str().unwrap().to_owned();
    response.chunk().await.unwrap();
    drop(response);
    let events = eventually("the mock sees the disconnect", PATIENCE, || async {
        let log = mock.get("/log").await;
        let events: Vec<String> = log["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["what"].as_str().unwrap().to_owned())
            .collect();
        events.contains(&"client_disconnected".to_owned()).then_some(events)
    })
    .await;
    let chunks = events.iter().filter(|w| *w == "chunk").count();
    assert!(chunks <= 4, "the provider went on for {chunks} chunks: {events:?}");
    let observer = Observer::connect(&gateway.nats()).await;
    let (outcome, _) = eventually("it is recorded", PATIENCE, || async { observer.outcome(&id).await }).await;
    assert_eq!(outcome.kind.as_str(), "cancelled", "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_disconnect_finish_lets_the_call_finish() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::up(dir.path()).set("http.on_disconnect", "finish").ready();
    let client = Client::new(&gateway.http());
    let request = client.chat("mock?delay=500ms").header("pointsman-request-id", "goes-on");
    let gone = tokio::time::timeout(Duration::from_millis(200), request.send()).await;
    assert!(gone.is_err(), "the client left before the answer");
    let observer = Observer::connect(&gateway.nats()).await;
    let (outcome, _) =
        eventually("it is recorded", PATIENCE, || async { observer.outcome("goes-on").await }).await;
    assert_eq!(outcome.kind.as_str(), "answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_retry_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let config = json!({ "provider": "mock", "retry": { "attempts": 1, "use_retry_after_header": true } });
    let request =
        client.chat("mock?status=429&retry-after=50").header("x-portkey-config", config.to_string());
    let accepted = client.send(request.header("prefer", "respond-async")).await;
    let id = accepted.body["id"].as_str().unwrap().to_owned();
    let observer = Observer::connect(&gateway.nats()).await;
    eventually("the retry waits", PATIENCE, || async {
        (observer.depth("LLM_SCHEDULE").await == 1).then_some(())
    })
    .await;
    client.send(client.request(Method::DELETE, &format!("/v1/requests/{id}"))).await;
    assert_eq!(client.wait_for(&id, PATIENCE).await["status"], "cancelled");
    assert_eq!(observer.depth("LLM_SCHEDULE").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_backlog_is_a_429_and_nothing_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path().join("nats"));
    let data = dir.path().join("data").display().to_string();
    let run = |roles: &[&str]| {
        let arguments: Vec<&str> = ["run"].iter().chain(roles).copied().collect();
        crate::pointsman(dir.path(), &arguments)
            .arg("--nats")
            .arg(broker.url())
            .arg("--data-dir")
            .arg(&data)
            .arg("--listen")
            .arg("127.0.0.1:0")
            .set("limits.lane_backlog", "5")
    };
    let shim = run(&["http-shim"]).ready();
    let mock = crate::pointsman(dir.path(), &["mock"]).ready();
    let client = Client::new(&shim.http());
    let mut accepted = Vec::new();
    let refused = loop {
        let body = chat("mock", "hello");
        let request =
            client.post_chat(&body).header("prefer", "respond-async").header("x-portkey-provider", "double");
        let answer = client.send(request.header("x-portkey-custom-host", mock.mock())).await;
        match answer.status {
            202 => accepted.push(answer.body["id"].as_str().unwrap().to_owned()),
            400 => {
                // The provider is not registered yet: name it by a known slug instead.
                let request = client
                    .post_chat(&body)
                    .header("prefer", "respond-async")
                    .header("x-portkey-provider", "openai");
                let answer = client.send(request.header("x-portkey-custom-host", mock.mock())).await;
                match answer.status {
                    202 => accepted.push(answer.body["id"].as_str().unwrap().to_owned()),
                    _ => break answer,
                }
            }
            _ => break answer,
        }
        assert!(accepted.len() <= 5, "the backlog has no limit");
    };
    assert_eq!(refused.status, 429, "{}", refused.text);
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(accepted.len(), 5);
    let _work = run(&["router", "provider-worker"]).ready();
    for id in accepted {
        let ended = client.wait_for(&id, PATIENCE).await;
        assert_eq!(ended["status"], "answered", "{ended}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_call_queues_make_requests_wait_and_end_them_all() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::up(dir.path()).set("limits.call_backlog", "3").set("work.worker_slots", "1").ready();
    let client = Client::new(&gateway.http());
    let mut ids = Vec::new();
    for _ in 0..12 {
        let accepted = client.send(client.chat("mock?delay=50ms").header("prefer", "respond-async")).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text);
        ids.push(accepted.body["id"].as_str().unwrap().to_owned());
    }
    for id in ids {
        assert_eq!(client.wait_for(&id, Duration::from_secs(40)).await["status"], "answered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_messages_are_answered_kept_and_can_be_redriven() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let observer = Observer::connect(&gateway.nats()).await;
    let mut answers = observer.client().subscribe("answers").await.unwrap();
    observer.client().flush().await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Pointsman-Reply-To", "answers");
    observer
        .js()
        .publish_with_headers("llm.request.chat", headers, "{\"model\":1}".into())
        .await
        .unwrap()
        .await
        .unwrap();
    use futures::StreamExt as _;
    let answer = tokio::time::timeout(PATIENCE, answers.next()).await.expect("an answer").unwrap();
    let text = String::from_utf8_lossy(&answer.payload).into_owned();
    assert!(text.contains("messages") || text.contains("model"), "{text}");
    assert_eq!(answer.headers.unwrap().get("Pointsman-Status").unwrap().as_str(), "400");

    // Raw bytes where an envelope belongs: nobody waits, but they are kept as well.
    observer.js().publish("llm.call.mock.foreground", "garbage".into()).await.unwrap().await.unwrap();
    eventually("both are kept", PATIENCE, || async { (observer.depth("LLM_DEAD").await == 2).then_some(()) })
        .await;
    let dead = |arguments: &[&str]| {
        let nats = gateway.nats();
        crate::pointsman(dir.path(), arguments).arg("--json").arg("--nats").arg(nats).finish()
    };
    let listed = dead(&["dead", "ls"]).json();
    let letters = listed["dead"].as_array().unwrap();
    assert_eq!(letters.len(), 2, "{listed}");
    assert!(
        letters.iter().any(|l| l["stage"] == "router")
            && letters.iter().any(|l| l["stage"] == "provider-worker"),
        "{listed}"
    );
    let number = letters[0]["number"].to_string();
    let shown = dead(&["dead", "show", &number]).json();
    assert!(
        shown["headers"]["Pointsman-Reason"].is_string() || shown["headers"]["Pointsman-Reason"].is_null(),
        "{shown}"
    );
    let redriven = dead(&["dead", "redrive", &number]);
    assert!(redriven.status.success(), "{redriven:?}");
    // It is as malformed as before, so it comes back with a new number.
    eventually("it is kept again", PATIENCE, || async {
        let numbers: Vec<String> = dead(&["dead", "ls"]).json()["dead"]
            .as_array()?
            .iter()
            .map(|l| l["number"].to_string())
            .collect();
        (numbers.len() == 2 && !numbers.contains(&number)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_put_aside_can_be_redriven_to_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::up(dir.path()).arg("--roles").arg("http-shim,router").ready();
    let client = Client::new(&gateway.http());
    let observer = Observer::connect(&gateway.nats()).await;
    // Too large for a message: the letter only refers to it.
    let large = chat("mock", &"word ".repeat(60 * 1024));
    let accepted = client.send(client.post_chat(&large).header("prefer", "respond-async")).await;
    let id = accepted.body["id"].as_str().unwrap().to_owned();
    let call =
        eventually("the call waits", PATIENCE, || async { observer.contents("LLM_CALL").await.pop() }).await;
    // As an operator finds it after ten deliveries: the whole call, its reason, and the request recorded as dead.
    let bus = observer.bus(&gateway.nats()).await;
    let (mut envelope, body, _) = domain::Envelope::decode(&call.2.clone().into()).unwrap();
    let err = domain::ApiError::new(500, "dead_lettered", "put aside");
    let (outcome, answer) =
        domain::Outcome::error(&envelope, domain::outcome::Kind::Dead, &err, bus.clock().now());
    bus.end(&envelope, &outcome, &answer, bus::requests::Ending::default()).await.unwrap();
    envelope.asynchronous = true;
    let mut headers = HeaderMap::new();
    headers.insert("Pointsman-Subject", call.0.as_str());
    headers.insert("Pointsman-Reason", "delivered 11 times without an ending");
    let letter = envelope.encode(&body, &[]);
    observer
        .js()
        .publish_with_headers("llm.dead.provider-worker", headers, letter)
        .await
        .unwrap()
        .await
        .unwrap();
    observer.js().get_stream("LLM_CALL").await.unwrap().purge().await.unwrap();
    assert_eq!(client.wait_for(&id, PATIENCE).await["status"], "dead");

    let data = dir.path().join("data").display().to_string();
    let _worker = crate::pointsman(dir.path(), &["run", "provider-worker", "--nats"])
        .arg(gateway.nats())
        .arg("--data-dir")
        .arg(data)
        .ready();
    let redriven =
        crate::pointsman(dir.path(), &["dead", "redrive", "all", "--nats"]).arg(gateway.nats()).finish();
    assert!(redriven.status.success(), "{redriven:?}");
    eventually("it is answered", PATIENCE, || async {
        let (outcome, _) = observer.outcome(&id).await?;
        (outcome.kind.as_str() == "answered").then_some(())
    })
    .await;
    assert_eq!(observer.depth("LLM_DEAD").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_longer_than_the_acknowledgement_wait_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::up(dir.path()).set("work.ack_wait", "1s").set("work.progress", "300ms").ready();
    let (client, mock) = (Client::new(&gateway.http()), Mock::at(&gateway.mock()));
    let answer = client.send(client.chat("mock?delay=4s")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let rows = mock.rows("mock?delay=4s").await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    let observer = Observer::connect(&gateway.nats()).await;
    let id = &answer.headers["pointsman-request-id"];
    let (outcome, _) = eventually("it is recorded", PATIENCE, || async { observer.outcome(id).await }).await;
    assert!(outcome.attempts.len() == 1 && !outcome.attempts[0].duplicate_possible, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_falls_silent_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mock = crate::pointsman(dir.path(), &["mock"]).ready();
    let gateway = crate::up(dir.path())
        .set("providers.slow.base_url", &mock.mock())
        .set("providers.slow.idle_timeout", "500ms")
        .set("providers.slow.first_byte_timeout", "700ms")
        .set("providers.slow.total_timeout", "2s")
        .ready();
    let client = Client::new(&gateway.http());
    let silent = client.send(client.chat("m?hang=headers")).await;
    assert_eq!(silent.status, 408, "{}", silent.text);
    assert!(silent.text.contains("700ms"), "{}", silent.text);
    let mut body =
        chat("m?chunks=9&hang=stream&hang-after=2", "one two three four five six seven eight nine");
    body["stream"] = json!(true);
    let cut = client.send(client.post_chat(&body)).await;
    assert!(cut.text.contains("broke off") && cut.text.contains("500ms"), "{}", cut.text);
    body["model"] = json!("m?chunks=50&gap=100ms&words=50");
    let slow = client.send(client.post_chat(&body)).await;
    assert!(slow.text.contains("broke off") && slow.text.contains("2s"), "{}", slow.text);
}
