//! The log and the received requests: order and causes.

use http::Request;
use http_body_util::Full;
use mock_provider::Options;
use serde_json::{Value, json};

use crate::harness::{Mock, chat, post, read_until, streamed};

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn the_log_tells_each_step_in_order() {
    let mock = Mock::start().await;
    for (body, steps) in [
        (chat("mock?log"), vec!["started", "first_byte", "finished"]),
        (chat("mock?log&status=500"), vec!["started", "first_byte", "finished"]),
        (chat("mock?log&abort=9"), vec!["started", "first_byte", "aborted"]),
        (streamed("mock?log&chunks=2"), vec!["started", "first_byte", "chunk 1", "chunk 2", "finished"]),
    ] {
        let last = (*steps.last().expect("steps")).to_owned();
        let mock = Mock::start().await;
        mock.post(CHAT, &body).await;
        assert_eq!(mock.events_until(&last).await, steps, "{body}");
    }
    mock.chat("mock").await;
    assert_eq!(mock.get("/log").await, json!({"events": [], "next": 0}), "nobody asked");
}

#[tokio::test]
async fn a_disconnect_is_seen_before_the_next_chunk() {
    for model in ["mock?log&chunks=9&gap=60m", "mock?log&chunks=9&hang=stream&hang-after=1"] {
        let mock = Mock::start().await;
        let mut client = mock.client().await;
        let response = client.open(post(CHAT, &streamed(model))).await.expect("headers");
        read_until(&mut response.into_body(), "\"content\":\"mock").await;
        drop(client);
        let events = mock.events_until("client_disconnected").await;
        assert_eq!(events, ["started", "first_byte", "chunk 1", "client_disconnected"], "{model}");
    }
}

#[tokio::test]
async fn hanging_ends_when_the_client_goes_away() {
    for (body, steps) in [
        (chat("mock?log&hang=headers"), vec!["started"]),
        (chat("mock?log&delay=60m"), vec!["started"]),
        (streamed("mock?log&hang=stream&hang-after=0"), vec!["started", "first_byte"]),
        (chat("mock?log&hang=stream"), vec!["started", "first_byte", "chunk 1"]),
        (streamed("mock?log&hang=stream"), vec!["started", "first_byte", "chunk 1", "chunk 2"]),
        (chat("mock?log&drip=60m"), vec!["started", "first_byte"]),
    ] {
        let mock = Mock::start().await;
        let mut client = mock.client().await;
        let reached = (*steps.last().expect("steps")).to_owned();
        let (answer, mut events) = {
            let answer = client.open(post(CHAT, &body));
            let mut answer = std::pin::pin!(answer);
            let reached = mock.events_until(&reached);
            let mut reached = std::pin::pin!(reached);
            // Headers may come first, last or never; what counts is how far the mock got.
            tokio::select! {
                biased;
                events = &mut reached => (None, events),
                answer = &mut answer => (Some(answer.expect("headers")), reached.await),
            }
        };
        assert_eq!(events, steps, "{body}");
        drop((answer, client));
        events = mock.events_until("client_disconnected").await;
        assert_eq!(events[..events.len() - 1], steps, "{body}");
    }
}

#[tokio::test]
async fn events_name_the_call_and_can_be_followed() {
    let mock = Mock::start_with(Options { log: true, ..Options::default() }).await;
    let mut request = post(CHAT, &chat("mock"));
    request.headers_mut().insert("pointsman-attempt-id", "r1.1".parse().expect("header"));
    mock.send(request).await;
    mock.events_until("finished").await;
    let first = json!({"n": 1, "attempt_id": "r1.1", "model": "mock", "what": "started"});
    assert_eq!(mock.get("/log").await["events"][0], first);
    assert_eq!(mock.get("/log?after=1").await["events"][0]["n"], 2);
    assert_eq!(mock.get("/log?after=3&wait=1ms").await, json!({"events": [], "next": 3}));

    let (waited, _) = tokio::join!(mock.get("/log?after=3&wait=30s"), mock.chat("mock"));
    assert_eq!(waited["events"][0]["n"], 4, "the wait ends with the event");
    for bad in ["/log?after=x", "/log?wait=5", "/requests?last=0", "/requests?last=101"] {
        let reply = mock.send(Request::get(bad).body(Full::default()).expect("request")).await;
        assert_eq!(reply.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn received_requests_show_what_arrived() {
    let mock = Mock::start().await;
    mock.chat("mock").await;
    assert_eq!(mock.get("/requests").await, json!({"requests": []}), "nobody asked");
    let body = chat("mock?log");
    let mut request = post("/v1/chat/completions?a=b", &body);
    request.headers_mut().insert("authorization", "Bearer canary".parse().expect("header"));
    mock.send(request).await;
    let mut large = chat("mock?log");
    large["messages"][1]["content"] = "x".repeat(100_000).into();
    mock.post(CHAT, &large).await;

    let requests = mock.get("/requests").await["requests"].clone();
    let first = &requests[0];
    assert_eq!((&first["method"], &first["path"]), (&json!("POST"), &json!("/v1/chat/completions?a=b")));
    assert_eq!(first["headers"]["authorization"], "Bearer canary");
    assert_eq!(
        first["body"].as_str().map(|body| serde_json::from_str::<Value>(body).expect("json")),
        Some(body)
    );
    assert_eq!(requests[1]["body"].as_str().map(str::len), Some(65_536));
    let last = mock.get("/requests?last=1").await["requests"].clone();
    assert_eq!(last, json!([requests[1]]));
    for _ in 0..120 {
        mock.chat("mock?log").await;
    }
    assert_eq!(mock.get("/requests").await["requests"].as_array().map(Vec::len), Some(100));
}
