//! OpenAI's Responses.

use serde_json::{Value, json};

use crate::anthropic::PNG;
use crate::harness::{Mock, Reply, post, sse};

fn body(extra: Value) -> Value {
    let mut body = json!({"model": "mock", "input": "hello world"});
    for (name, value) in extra.as_object().expect("object") {
        body[name] = value.clone();
    }
    body
}

async fn send(mock: &Mock, extra: Value) -> Reply {
    mock.send(post("/v1/responses", &body(extra))).await
}

async fn answer(mock: &Mock, extra: Value) -> Value {
    let reply = send(mock, extra.clone()).await;
    assert_eq!(reply.status, 200, "{extra}: {:?}", reply.body);
    reply.json()
}

fn tools() -> Value {
    json!([{"type": "function", "name": "weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}},
    }}])
}

#[tokio::test]
async fn a_response_repeats_the_request_and_has_output() {
    let mock = Mock::start().await;
    let response =
        answer(&mock, json!({"instructions": "short", "temperature": 0.5, "previous_response_id": "resp_1"}))
            .await;
    for (field, expected) in [
        ("object", json!("response")),
        ("status", json!("completed")),
        ("model", json!("mock")),
        ("temperature", json!(0.5)),
        ("instructions", json!("short")),
        ("previous_response_id", json!("resp_1")),
        ("error", Value::Null),
        ("incomplete_details", Value::Null),
    ] {
        assert_eq!(response[field], expected, "{field}");
    }
    let message = &response["output"][0];
    assert_eq!((&message["type"], &message["status"]), (&json!("message"), &json!("completed")));
    let part =
        json!({"type": "output_text", "text": "mock heard: hello world", "annotations": [], "logprobs": []});
    assert_eq!(message["content"], json!([part]));
    assert_eq!(
        response["usage"],
        json!({
            "input_tokens": 3, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 7,
        })
    );
    let cut = answer(&mock, json!({"max_output_tokens": 16, "model": "mock?words=20"})).await;
    assert_eq!(
        (&cut["status"], &cut["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
}

#[tokio::test]
async fn a_stream_numbers_its_events_and_ends_with_the_whole_response() {
    let mock = Mock::start().await;
    let extra =
        json!({"model": "mock?tools=1&thinking=3", "tools": tools(), "reasoning": {"summary": "auto"}});
    let whole = answer(&mock, extra.clone()).await;
    let mut streamed = extra;
    streamed["stream"] = true.into();
    let events = sse(&send(&mock, streamed).await.body);
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(number)));
    }
    let mut names: Vec<_> =
        events.iter().map(|(name, _)| name.strip_prefix("response.").expect("name")).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
    let mut last = events.last().expect("events").1["response"].clone();
    // The bodies differ by `stream`, and so do the names of the answers.
    let id = last["id"].as_str().expect("id").trim_start_matches("resp_").to_owned();
    let own = whole["id"].as_str().expect("id").trim_start_matches("resp_").to_owned();
    last = serde_json::from_str(&last.to_string().replace(&id, &own)).expect("json");
    assert_eq!(last, whole);
    assert_eq!(whole["output"][1]["arguments"], "{\"city\":\"hello world\"}");
    assert_eq!(whole["usage"]["output_tokens_details"]["reasoning_tokens"], 3);
}

#[tokio::test]
async fn outputs_images_and_formats_are_understood() {
    let mock = Mock::start().await;
    let text = |response: &Value| response["output"][0]["content"][0]["text"].as_str().map(str::to_owned);
    let items = json!([
        {"role": "user", "content": "q"},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "21 C"},
    ]);
    let extra = json!({"model": "mock?tools=1", "input": items, "tools": tools()});
    assert_eq!(text(&answer(&mock, extra).await).as_deref(), Some("mock heard: 21 C"));
    let continued = json!([{"type": "function_call_output", "call_id": "c", "output": "21 C"}]);
    let extra = json!({"input": continued, "previous_response_id": "resp_1"});
    assert_eq!(text(&answer(&mock, extra).await).as_deref(), Some("mock heard: 21 C"));
    let parts = json!([
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": format!("data:image/png;base64,{PNG}")},
    ]);
    let seen = answer(&mock, json!({"input": [{"role": "user", "content": parts}]})).await;
    assert_eq!(text(&seen).as_deref(), Some("mock heard: look [image/png,68B]"));
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["n"], "properties": {"n": {"type": "integer"}},
    });
    let format = json!({"type": "json_schema", "name": "s", "strict": true, "schema": schema});
    let structured = answer(&mock, json!({"text": {"format": format}})).await;
    assert_eq!(text(&structured).as_deref(), Some("{\"n\":1}"));
}

#[tokio::test]
async fn what_openai_refuses_is_refused() {
    let mock = Mock::start().await;
    let items = |items: Value| json!({"input": items});
    for (extra, param) in [
        (json!({"messages": []}), "messages"),
        (json!({"input": null}), "input"),
        (json!({"input": []}), "input"),
        (json!({"max_output_tokens": 2}), "max_output_tokens"),
        (json!({"stream_options": {}}), "stream_options"),
        (json!({"reasoning": {"effort": "much"}}), "reasoning.effort"),
        (items(json!([{"type": "thing"}])), "input[0].type"),
        (items(json!([{"role": "tool", "content": "x"}])), "input[0].role"),
        (
            items(json!([{"role": "user", "content": [{"type": "text", "text": "x"}]}])),
            "input[0].content[0].type",
        ),
        (items(json!([{"type": "function_call_output", "call_id": "c", "output": "x"}])), "input[0]"),
        (items(json!([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}])), "input"),
        (
            items(json!([{"type": "reasoning", "summary": [], "encrypted_content": "x"}])),
            "input[0].encrypted_content",
        ),
        (json!({"tools": [{"type": "function", "function": {"name": "f"}}]}), "tools[0].name"),
        (json!({"tool_choice": "auto"}), "tool_choice"),
        (json!({"text": {"format": {"type": "json_object"}}}), "input"),
        (json!({"text": {"format": {"type": "json_schema", "schema": {}}}}), "text.format.name"),
    ] {
        let reply = send(&mock, extra.clone()).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status.as_u16(), error["param"].as_str()), (400, Some(param)), "{extra}: {error}");
    }
}
