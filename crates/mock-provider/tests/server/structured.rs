//! Tools, structured output and media of OpenAI's chat completions.

use serde_json::{Value, json};

use crate::anthropic::PNG;
use crate::harness::{Mock, Reply, chat, post};

const CHAT: &str = "/v1/chat/completions";

fn body(extra: Value) -> Value {
    let mut body = chat("mock");
    for (name, value) in extra.as_object().expect("object") {
        body[name] = value.clone();
    }
    body
}

async fn send(mock: &Mock, extra: Value) -> Reply {
    mock.send(post(CHAT, &body(extra))).await
}

async fn choice(mock: &Mock, extra: Value) -> Value {
    let reply = send(mock, extra.clone()).await;
    assert_eq!(reply.status, 200, "{extra}: {:?}", reply.body);
    reply.json()["choices"][0].clone()
}

fn tools() -> Value {
    let function = |name: &str| {
        let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        json!({"type": "function", "function": {"name": name, "parameters": parameters}})
    };
    json!([function("weather"), function("time")])
}

#[tokio::test]
async fn tools_are_called_as_request_or_script_want() {
    let mock = Mock::start().await;
    let named = json!({"type": "function", "function": {"name": "time"}});
    for (extra, names) in [
        (json!({"tools": tools()}), vec![]),
        (json!({"tools": tools(), "tool_choice": "required"}), vec!["weather"]),
        (json!({"tools": tools(), "tool_choice": named}), vec!["time"]),
        (json!({"tools": tools(), "model": "mock?tools=2"}), vec!["weather", "time"]),
        (json!({"tools": tools(), "model": "mock?tools=2", "parallel_tool_calls": false}), vec!["weather"]),
        (json!({"tools": tools(), "model": "mock?tools=2", "tool_choice": "none"}), vec![]),
    ] {
        let choice = choice(&mock, extra.clone()).await;
        let calls = choice["message"]["tool_calls"].as_array().cloned().unwrap_or_default();
        let found: Vec<_> =
            calls.iter().map(|call| call["function"]["name"].as_str().expect("name")).collect();
        assert_eq!(found, names, "{extra}");
        assert_eq!(choice["finish_reason"], if names.is_empty() { "stop" } else { "tool_calls" });
        assert_eq!(choice["message"]["content"].is_null(), !names.is_empty());
    }
    let called = choice(&mock, json!({"tools": tools(), "tool_choice": "required"})).await["message"].clone();
    let id = &called["tool_calls"][0]["id"];
    let history = json!([{"role": "user", "content": "q"}, called, {"role": "tool", "tool_call_id": id, "content": "21 C"}]);
    let answered =
        choice(&mock, json!({"model": "mock?tools=1", "tools": tools(), "messages": history})).await;
    assert_eq!(answered["message"]["content"], "mock heard: 21 C");
}

#[tokio::test]
async fn streamed_calls_come_in_pieces() {
    let mock = Mock::start().await;
    let extra = json!({"tools": tools(), "model": "mock?tools=2&thinking=2", "stream": true});
    let events = send(&mock, extra).await.events();
    let deltas: Vec<_> = events.iter().map(|event| &event["choices"][0]["delta"]).collect();
    assert_eq!(deltas[0], &json!({"role": "assistant", "content": null}));
    let thought: String = deltas.iter().filter_map(|delta| delta["reasoning_content"].as_str()).collect();
    assert_eq!(thought, "mock thinks:");
    for index in 0..2 {
        let parts: Vec<_> = deltas
            .iter()
            .filter_map(|delta| delta["tool_calls"].get(0))
            .filter(|call| call["index"] == index)
            .collect();
        assert!(parts.len() > 2 && parts[0]["id"].is_string() && parts[1].get("id").is_none(), "{parts:?}");
        let arguments: String =
            parts.iter().filter_map(|part| part["function"]["arguments"].as_str()).collect();
        assert_eq!(arguments, "{\"city\":\"hello world\"}");
    }
}

#[tokio::test]
async fn json_stop_and_logprobs_are_kept() {
    let mock = Mock::start().await;
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["steps", "kind"],
        "properties": {"steps": {"type": "array", "items": {"$ref": "#/$defs/step"}}, "kind": {"enum": ["a", "b"]}},
        "$defs": {"step": {
            "type": "object", "additionalProperties": false, "required": ["n"], "properties": {"n": {"type": "integer"}},
        }},
    });
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "s", "strict": true, "schema": schema}});
    let structured = choice(&mock, json!({"response_format": format})).await;
    assert_eq!(structured["message"]["content"], "{\"steps\":[{\"n\":1}],\"kind\":\"a\"}");
    let stopped = choice(&mock, json!({"stop": ["world"]})).await;
    assert_eq!(
        (&stopped["message"]["content"], &stopped["finish_reason"]),
        (&json!("mock heard: hello"), &json!("stop"))
    );
    let told =
        choice(&mock, json!({"logprobs": true, "top_logprobs": 2})).await["logprobs"]["content"].clone();
    let joined: String =
        told.as_array().expect("tokens").iter().filter_map(|token| token["token"].as_str()).collect();
    assert_eq!(joined, "mock heard: hello world");
    assert_eq!(told[0]["top_logprobs"].as_array().map(Vec::len), Some(2));
    let usage = send(&mock, json!({"model": "mock?cached=2&thinking=5"})).await.json()["usage"].clone();
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 2);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 5);
    assert_eq!(usage["completion_tokens"], 9);
}

#[tokio::test]
async fn pictures_sound_and_files_are_looked_at() {
    let mock = Mock::start().await;
    let user = |parts: Value| json!({"messages": [{"role": "user", "content": parts}]});
    let seen = choice(&mock, user(json!([
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}"), "detail": "low"}},
        {"type": "input_audio", "input_audio": {"format": "wav", "data": "AAAA"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQ="}},
    ]))).await;
    assert_eq!(
        seen["message"]["content"],
        "mock heard: look [image/png,68B] [audio/wav,3B] [application/pdf,8B]"
    );
    let refused =
        send(&mock, user(json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}])))
            .await;
    assert_eq!(refused.json()["error"]["param"], "messages[0].content[0].image_url.url");
}
