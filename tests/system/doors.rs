//! The three doors: HTTP, a published request, request-reply.

use std::time::Duration;

use async_nats::HeaderMap;
use futures::StreamExt as _;
use serde_json::{Value, json};
use system_tests::harness::client::{Client, Observer, chat};
use system_tests::harness::{Mock, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn http_answers_streams_and_embeds() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());

    let whole = client.send(client.chat("mock")).await;
    assert_eq!(whole.status, 200, "{}", whole.text);
    assert!(!whole.content().is_empty());
    assert_eq!(whole.headers["x-portkey-provider"], "mock");
    assert_eq!(whole.headers["x-portkey-last-used-option-index"], "config");
    assert_eq!(whole.headers["x-portkey-retry-attempt-count"], "0");
    assert!(!whole.headers["x-portkey-trace-id"].is_empty());

    let mut body = chat("mock", "hello there");
    body["stream"] = json!(true);
    let streamed = client.send(client.post_chat(&body)).await;
    assert_eq!(streamed.status, 200, "{}", streamed.text);
    assert!(streamed.headers["content-type"].starts_with("text/event-stream"));
    assert_eq!(streamed.streamed(), whole.content(), "the pieces add up to the answer");
    assert_eq!(streamed.events().last().map(String::as_str), Some("[DONE]"));
    assert!(!streamed.text.contains("\"usage\":{"), "token counts are for callers who ask");

    body["stream_options"] = json!({ "include_usage": true });
    let counted = client.send(client.post_chat(&body)).await;
    assert!(counted.text.contains("\"usage\":{"), "{}", counted.text);

    let text = json!({ "model": "mock", "prompt": "say" });
    let completion = client.send(client.request(reqwest::Method::POST, "/v1/completions").json(&text)).await;
    assert_eq!(completion.status, 200, "{}", completion.text);
    assert!(completion.body["choices"][0]["text"].is_string());

    let input = json!({ "model": "mock", "input": ["a", "b"] });
    let vectors = client.send(client.request(reqwest::Method::POST, "/v1/embeddings").json(&input)).await;
    assert_eq!(vectors.body["data"].as_array().map(Vec::len), Some(2), "{}", vectors.text);

    let models = client.send(client.request(reqwest::Method::GET, "/v1/models")).await;
    assert!(models.body["data"].as_array().unwrap().iter().any(|m| m["id"] == "mock"), "{}", models.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_chunk_is_forwarded_as_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let mut body = chat("mock?chunks=3&hang=stream&hang-after=2&log", "one two three four five six");
    body["stream"] = json!(true);
    let response = client.post_chat(&body).send().await.unwrap();
    let mut pieces = response.bytes_stream();
    let mut seen = String::new();
    // The provider hangs after its second chunk, so what arrives now was not held back until the end.
    let arrived = tokio::time::timeout(PATIENCE, async {
        while !seen.contains("\"content\"") {
            seen.push_str(std::str::from_utf8(&pieces.next().await.unwrap().unwrap()).unwrap());
        }
    });
    arrived.await.expect("a chunk arrives while the provider hangs");
    assert!(!seen.contains("[DONE]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_request_is_answered_on_the_producers_subject() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let observer = Observer::connect(&gateway.nats()).await;
    let mut answers = observer.client().subscribe("my.answers").await.unwrap();
    observer.client().flush().await.unwrap();
    for subject in ["llm.request.chat", "llm.request.chat.interactive", "llm.request.chat.bulk"] {
        let mut headers = HeaderMap::new();
        headers.insert("pointsman-reply-to", "my.answers");
        headers.insert("X-Portkey-Metadata", "{\"team\":\"search\"}");
        headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let body = chat("mock", subject).to_string();
        observer.js().publish_with_headers(subject, headers, body.into()).await.unwrap().await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, answers.next()).await.expect("an answer").unwrap();
        let headers = answer.headers.expect("headers");
        assert_eq!(headers.get("Pointsman-Status").unwrap().as_str(), "200");
        assert_eq!(headers.get("Pointsman-Outcome").unwrap().as_str(), "answered");
        let value: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(value["choices"][0]["message"]["content"].is_string(), "{value}");
        let id = headers.get("Pointsman-Request-Id").unwrap().as_str().to_owned();
        let events = observer.events_of(&id).await;
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(
            events[0].last && events[0].metadata.as_deref() == Some("{\"team\":\"search\"}"),
            "{events:?}"
        );
        let trace = events[0].traceparent.as_deref().unwrap_or_default();
        assert!(trace.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{trace}");
    }
    for stream in ["LLM_REQUEST", "LLM_CALL", "LLM_FALLBACK", "LLM_DEAD"] {
        eventually("the queues are empty", PATIENCE, || async {
            (observer.depth(stream).await == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_id_is_one_request() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let observer = Observer::connect(&gateway.nats()).await;
    let mock = Mock::at(&gateway.mock());
    for _ in 0..3 {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", "only-once");
        headers.insert("Pointsman-Request-Id", "only-once");
        let body = chat("mock?words=3", "once").to_string();
        observer
            .js()
            .publish_with_headers("llm.request.chat", headers, body.into())
            .await
            .unwrap()
            .await
            .unwrap();
    }
    // Without the broker's memory of message ids, the request id still makes it one.
    let mut headers = HeaderMap::new();
    headers.insert("Pointsman-Request-Id", "only-once");
    let body = chat("mock?words=3", "once").to_string();
    observer
        .js()
        .publish_with_headers("llm.request.chat", headers, body.into())
        .await
        .unwrap()
        .await
        .unwrap();
    eventually("it ends", PATIENCE, || async { observer.outcome("only-once").await }).await;
    eventually("the queue is empty", PATIENCE, || async {
        (observer.depth("LLM_REQUEST").await == 0).then_some(())
    })
    .await;
    eventually("no call waits", PATIENCE, || async { (observer.depth("LLM_CALL").await == 0).then_some(()) })
        .await;
    assert_eq!(mock.rows("mock?words=3").await.len(), 1);
    assert_eq!(observer.events_of("only-once").await.iter().filter(|e| e.last).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_reply_answers_whole_and_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let nats = async_nats::connect(gateway.nats()).await.unwrap();
    let answer = nats.request("llm.ask.chat", chat("mock", "hello").to_string().into()).await.unwrap();
    let value: Value = serde_json::from_slice(&answer.payload).unwrap();
    let whole = value["choices"][0]["message"]["content"].as_str().unwrap().to_owned();

    let inbox = nats.new_inbox();
    let mut messages = nats.subscribe(inbox.clone()).await.unwrap();
    let mut body = chat("mock", "hello");
    body["stream"] = json!(true);
    nats.publish_with_reply("llm.ask.chat", inbox, body.to_string().into()).await.unwrap();
    let mut text = String::new();
    loop {
        let message = tokio::time::timeout(PATIENCE, messages.next()).await.expect("the next piece").unwrap();
        text.push_str(std::str::from_utf8(&message.payload).unwrap());
        let headers = message.headers.expect("headers");
        if headers.get("Pointsman-Final").is_some_and(|v| v.as_str() == "true") {
            break;
        }
    }
    let pieces =
        text.split("\n\n").filter_map(|e| serde_json::from_str::<Value>(e.strip_prefix("data: ")?).ok());
    let streamed: String =
        pieces.filter_map(|p| p["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect();
    assert_eq!(streamed, whole);

    let pong = nats.request("$SRV.PING.pointsman", "".into()).await.unwrap();
    assert!(String::from_utf8_lossy(&pong.payload).contains("\"name\":\"pointsman\""));
    let wrong = nats.request("llm.ask.chta", "{}".into()).await.unwrap();
    let text = String::from_utf8_lossy(&wrong.payload).into_owned();
    assert!(text.contains("unknown operation `chta`") && text.contains("embeddings"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_costs_five_writes() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let observer = Observer::connect(&gateway.nats()).await;
    let written = || async {
        let mut sum = 0;
        for stream in [
            "LLM_REQUEST",
            "LLM_CALL",
            "LLM_FALLBACK",
            "LLM_SCHEDULE",
            "LLM_RESULT",
            "LLM_EVENT",
            "LLM_STATE",
        ] {
            let lease = u64::from(stream == "LLM_STATE");
            let info = observer.js().get_stream(stream).await.unwrap();
            // Leases and clock readings are not part of a request.
            let own =
                if lease == 1 { claims(&observer).await } else { info.cached_info().state.last_sequence };
            sum += own;
        }
        sum
    };
    client.send(client.chat("mock")).await;
    eventually("the event is written", PATIENCE, || async {
        (observer.depth("LLM_EVENT").await == 1).then_some(())
    })
    .await;
    let before = written().await;
    for n in 2..=11 {
        assert_eq!(client.send(client.chat("mock")).await.status, 200);
        let depth = || async { (observer.depth("LLM_EVENT").await == n).then_some(()) };
        eventually("the event is written", PATIENCE, depth).await;
    }
    assert_eq!(written().await - before, 10 * 5, "request, call, claim, result, event");
}

async fn claims(observer: &Observer) -> u64 {
    let contents = observer.contents("LLM_STATE").await;
    contents.iter().filter(|(subject, _, _)| subject.contains(".claim.")).count() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_health_answer() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    client.send(client.chat("mock")).await;
    let get = |path: &str| client.send(client.request(reqwest::Method::GET, path));
    assert_eq!(get("/health").await.status, 200);
    assert_eq!(get("/ready").await.status, 200);
    let lines = eventually("the request is counted", PATIENCE, || async {
        let text = get("/metrics").await.text;
        text.contains("pointsman_requests_total").then_some(text)
    });
    let text = lines.await;
    for name in [
        "pointsman_attempts_total",
        "pointsman_stage_duration_seconds",
        "pointsman_request_duration_seconds",
        "pointsman_in_flight",
    ] {
        assert!(text.contains(name), "{name} is missing:\n{text}");
    }
    eventually("queue depth is measured", PATIENCE, || async {
        get("/metrics").await.text.contains("pointsman_queue_depth").then_some(())
    })
    .await;
}
