//! Ollama's own API.

use serde_json::{Value, json};

use crate::anthropic::PNG;
use crate::harness::{Mock, Reply, post};

async fn send(mock: &Mock, extra: Value) -> Reply {
    let mut body =
        json!({"model": "mock", "stream": false, "messages": [{"role": "user", "content": "hello world"}]});
    for (name, value) in extra.as_object().expect("object") {
        body[name] = value.clone();
    }
    mock.send(post("/api/chat", &body)).await
}

async fn answer(mock: &Mock, extra: Value) -> Value {
    let reply = send(mock, extra.clone()).await;
    assert_eq!(reply.status, 200, "{extra}: {:?}", reply.body);
    reply.json()
}

fn tools() -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    json!([{"type": "function", "function": {"name": "weather", "parameters": parameters}}])
}

#[tokio::test]
async fn answers_are_streamed_unless_it_is_not_wanted() {
    let mock = Mock::start().await;
    let whole = answer(&mock, json!({"think": true})).await;
    assert_eq!((&whole["done"], &whole["done_reason"]), (&json!(true), &json!("stop")));
    assert_eq!(whole["message"]["thinking"], "mock thinks: hello world");
    assert_eq!((&whole["prompt_eval_count"], &whole["eval_count"]), (&json!(2), &json!(8)));
    let stream = send(&mock, json!({"stream": null, "model": "mock?chunks=2"})).await;
    assert_eq!(stream.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = std::str::from_utf8(&stream.body)
        .expect("text")
        .lines()
        .map(|line| serde_json::from_str(line).expect("json"))
        .collect();
    let done: Vec<_> = lines.iter().map(|line| line["done"] == true).collect();
    assert_eq!(done, [false, false, true]);
}

#[tokio::test]
async fn tools_formats_images_and_options_are_understood() {
    let mock = Mock::start().await;
    let called = answer(&mock, json!({"model": "mock?tools=1", "tools": tools()})).await["message"].clone();
    let call = json!({"function": {"name": "weather", "arguments": {"city": "hello world"}}});
    assert_eq!(called["tool_calls"], json!([call]));
    let history = json!([{"role": "user", "content": "q"}, called, {"role": "tool", "tool_name": "weather", "content": "21 C"}]);
    let done = answer(&mock, json!({"model": "mock?tools=1", "tools": tools(), "messages": history})).await;
    assert_eq!(done["message"]["content"], "mock heard: 21 C");
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    assert_eq!(answer(&mock, json!({"format": schema})).await["message"]["content"], "{\"n\":1}");
    let cut = answer(&mock, json!({"options": {"num_predict": 1, "stop": ["x"]}})).await;
    assert_eq!((&cut["message"]["content"], &cut["done_reason"]), (&json!("mock"), &json!("length")));
    let shown = json!([{"role": "user", "content": "look", "images": [PNG]}]);
    assert_eq!(
        answer(&mock, json!({"messages": shown})).await["message"]["content"],
        "mock heard: look [image/png,68B]"
    );
}

#[tokio::test]
async fn embeddings_are_lists() {
    let mock = Mock::start().await;
    let embed = async |body: Value| mock.send(post("/api/embed", &body)).await;
    let one = embed(json!({"model": "mock", "input": "a b", "dimensions": 8})).await.json();
    assert_eq!(
        (one["embeddings"][0].as_array().map(Vec::len), &one["prompt_eval_count"]),
        (Some(8), &json!(2))
    );
    let many = embed(json!({"model": "mock", "input": ["a", "b"]})).await.json();
    assert_eq!(many["embeddings"].as_array().map(Vec::len), Some(2));
    assert_eq!(embed(json!({"model": "mock", "input": [1]})).await.status, 400);
}

#[tokio::test]
async fn what_ollama_refuses_is_refused() {
    let mock = Mock::start().await;
    let message = |message: Value| json!({"messages": [message]});
    let call = json!([{"function": {"name": "f", "arguments": "{}"}}]);
    for (extra, place) in [
        (json!({"model": ""}), "model"),
        (json!({"messages": null}), "messages"),
        (message(json!({"role": "user", "content": [{"type": "text"}]})), "messages[0].content"),
        (
            message(json!({"role": "user", "content": "a", "images": ["data:image/png;base64,AA=="]})),
            "messages[0].images[0]",
        ),
        (
            message(json!({"role": "assistant", "tool_calls": call})),
            "messages[0].tool_calls[0].function.arguments",
        ),
        (message(json!({"role": "developer", "content": "a"})), "messages[0].role"),
        (json!({"format": "yaml"}), "format"),
        (json!({"options": []}), "options"),
        (json!({"tools": [{"type": "function", "function": {}}]}), "tools[0].function.name"),
    ] {
        let reply = send(&mock, extra.clone()).await;
        let told = reply.json()["error"].as_str().expect("text").to_owned();
        assert_eq!((reply.status.as_u16(), told.split(' ').next()), (400, Some(place)), "{extra}: {told}");
    }
}
