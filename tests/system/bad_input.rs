//! Whatever is wrong is said in OpenAI's error shape, with the field and the fix.

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::harness::client::{Answer, Client, chat};

#[track_caller]
fn refused(answer: &Answer, status: u16, param: Value, part: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    let error = &answer.body["error"];
    assert_eq!(error["param"], param, "{}", answer.text);
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(part), "`{part}` is not in: {message}");
    assert!(error["type"].is_string() && error["code"].is_string(), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_4xx_that_name_the_field() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let raw = |body: &'static [u8]| {
        client
            .request(Method::POST, "/v1/chat/completions")
            .header("content-type", "application/json")
            .body(body)
    };
    refused(&client.send(raw(b"{\"model\":")).await, 400, Value::Null, "not a JSON object");
    refused(&client.send(raw(b"")).await, 400, Value::Null, "empty");
    refused(&client.send(raw(b"{\"model\":\"\xff\",\"messages\":[]}")).await, 400, Value::Null, "UTF-8");
    refused(&client.send(client.post_chat(&json!({ "messages": [] }))).await, 400, json!("model"), "missing");
    refused(
        &client.send(client.post_chat(&json!({ "model": "mock" }))).await,
        400,
        json!("messages"),
        "missing",
    );
    let words = json!({ "model": "mock", "messages": "hi" });
    refused(&client.send(client.post_chat(&words)).await, 400, json!("messages"), "must be an array");

    let with = |name: &str, value: &str| client.chat("mock").header(name, value);
    let config = |text: &str| client.send(with("x-portkey-config", text));
    refused(&config("{nonsense}").await, 400, json!("config"), "not valid JSON");
    refused(
        &config("{\"strategy\":{\"mode\":\"fallback\"},\"targets\":[]}").await,
        400,
        json!("config.targets"),
        "at least one",
    );
    refused(
        &config("{\"provider\":\"mock\",\"retyr\":{}}").await,
        400,
        json!("config.retyr"),
        "did you mean `retry`",
    );
    let unknown = client.send(with("x-portkey-provider", "nosuch")).await;
    refused(&unknown, 400, unknown.body["error"]["param"].clone(), "nosuch");
    let metadata = client.send(with("x-portkey-metadata", "[1]")).await;
    refused(&metadata, 400, json!("x-portkey-metadata"), "JSON object");
    let late = client.send(with("pointsman-deadline", "2001-01-01T00:00:00Z")).await;
    refused(&late, 400, json!("Pointsman-Deadline"), "deadline");
    let inside = client
        .send(with("x-portkey-provider", "openai").header("x-portkey-custom-host", "http://10.1.2.3/v1"))
        .await;
    assert_eq!(inside.status, 400, "{}", inside.text);

    let lost = client.send(client.request(Method::GET, "/nothing")).await;
    assert_eq!(lost.status, 404, "{}", lost.text);
    assert!(lost.body["error"]["message"].is_string(), "{}", lost.text);
    let method = client.send(client.request(Method::GET, "/v1/chat/completions")).await;
    assert_eq!(method.status, 405, "{}", method.text);
    assert_eq!(client.send(client.post_chat(&chat("mock", "still here"))).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_said_over_nats() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let nats = async_nats::connect(gateway.nats()).await.unwrap();
    let ask = |subject: &'static str, headers: Vec<(&'static str, &'static str)>, body: &'static str| {
        let nats = nats.clone();
        async move {
            let mut map = async_nats::HeaderMap::new();
            for (name, value) in headers {
                map.insert(name, value);
            }
            let answer = nats.request_with_headers(subject, map, body.into()).await.unwrap();
            let status = answer
                .headers
                .as_ref()
                .and_then(|h| h.get("Nats-Service-Error-Code"))
                .map(|v| v.as_str().to_owned());
            (status, serde_json::from_slice::<Value>(&answer.payload).unwrap_or_default())
        }
    };
    let good = "{\"model\":\"mock\",\"messages\":[]}";
    for (headers, body, part) in [
        (vec![], "{", "not a JSON object"),
        (vec![], "{\"model\":\"mock\"}", "`messages` is missing"),
        (vec![("x-portkey-config", "{}{")], good, "JSON"),
        (vec![("Pointsman-Timeout", "soon")], good, "number with a unit"),
        (vec![("authorization", "Bearer sk-x")], good, "does not travel"),
    ] {
        let (status, answer) = ask("llm.ask.chat", headers, body).await;
        let message = answer["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(part), "`{part}` is not in: {answer}");
        assert_eq!(status.as_deref(), Some("400"));
    }
}
