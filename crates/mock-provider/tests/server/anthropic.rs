//! Anthropic Messages, as its own SDK would see them.

use serde_json::{Value, json};

use crate::harness::{Mock, Reply, post_with, sse};

const PATH: &str = "/anthropic/v1/messages";
pub(crate) const HEADERS: &[(&str, &str)] = &[("x-api-key", "k"), ("anthropic-version", "2023-06-01")];
pub(crate) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=";

fn body(extra: Value) -> Value {
    let mut body = json!({
        "model": "claude", "max_tokens": 4096,
        "messages": [{"role": "user", "content": "hello world"}],
    });
    for (name, value) in extra.as_object().expect("object") {
        body[name] = value.clone();
    }
    body
}

async fn send(mock: &Mock, extra: Value) -> Reply {
    mock.send(post_with(PATH, HEADERS, &body(extra))).await
}

async fn answer(mock: &Mock, extra: Value) -> Value {
    let reply = send(mock, extra.clone()).await;
    assert_eq!(reply.status, 200, "{extra}: {:?}", reply.body);
    reply.json()
}

fn weather() -> Value {
    json!([
        {"name": "weather", "input_schema": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
        }},
        {"name": "time", "input_schema": {"type": "object"}},
    ])
}

#[tokio::test]
async fn an_answer_is_a_message() {
    let mock = Mock::start().await;
    let reply = send(&mock, json!({"system": [{"type": "text", "text": "be kind"}]})).await;
    let id = reply.json()["id"].as_str().expect("id").to_owned();
    assert!(id.starts_with("msg_") && reply.header("request-id").is_some());
    assert_eq!(
        reply.json(),
        json!({
            "id": id, "type": "message", "role": "assistant", "model": "claude",
            "content": [{"type": "text", "text": "claude heard: hello world"}],
            "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {
                "input_tokens": 4, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 4, "service_tier": "standard",
            },
        })
    );
}

#[tokio::test]
async fn a_stream_opens_and_closes_every_block() {
    let mock = Mock::start().await;
    let extra = json!({"stream": true, "thinking": {"type": "enabled", "budget_tokens": 1024}});
    let reply = send(&mock, extra.clone()).await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let events = sse(&reply.body);
    for (name, data) in &events {
        assert_eq!(data["type"], *name);
    }
    let mut names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    let mut plain = extra;
    plain["stream"] = false.into();
    let whole = answer(&mock, plain).await;
    let joined = |kind: &str, field: &str| -> String {
        let deltas = events.iter().map(|(_, data)| &data["delta"]).filter(|delta| delta["type"] == kind);
        deltas.map(|delta| delta[field].as_str().expect("text")).collect()
    };
    assert_eq!(whole["content"][0]["thinking"], joined("thinking_delta", "thinking"));
    assert_eq!(whole["content"][0]["signature"], joined("signature_delta", "signature"));
    assert_eq!(whole["content"][1]["text"], joined("text_delta", "text"));
    let last = &events[events.len() - 2].1;
    assert_eq!((&last["usage"], &last["delta"]["stop_reason"]), (&whole["usage"], &json!("end_turn")));
    assert_eq!(whole["usage"]["output_tokens_details"]["thinking_tokens"], 4);
}

#[tokio::test]
async fn tools_are_called_and_their_results_are_answered() {
    let mock = Mock::start().await;
    for (extra, calls) in [
        (json!({"tools": weather()}), 0),
        (json!({"tools": weather(), "tool_choice": {"type": "any"}}), 1),
        (json!({"tools": weather(), "tool_choice": {"type": "tool", "name": "time"}}), 1),
        (json!({"tools": weather(), "model": "claude?tools=2"}), 2),
        (
            json!({
                "tools": weather(), "model": "claude?tools=2",
                "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
            }),
            1,
        ),
        (json!({"tools": weather(), "model": "claude?tools=2", "tool_choice": {"type": "none"}}), 0),
    ] {
        let answer = answer(&mock, extra.clone()).await;
        let found = answer["content"].as_array().expect("blocks").iter().filter(|b| b["type"] == "tool_use");
        assert_eq!(found.count(), calls, "{extra}");
        assert_eq!(answer["stop_reason"] == "tool_use", calls > 0);
    }
    let called = answer(&mock, json!({"tools": weather(), "tool_choice": {"type": "any"}})).await;
    assert_eq!(called["content"][0]["input"], json!({"city": "hello world"}));
    let id = &called["content"][0]["id"];
    let result =
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "21 C"}]});
    let history = json!([
        {"role": "user", "content": "hello world"},
        {"role": "assistant", "content": called["content"]},
        result,
    ]);
    let extra = json!({"model": "claude?tools=1", "tools": weather(), "messages": history});
    assert_eq!(answer(&mock, extra).await["content"][0]["text"], "claude heard: 21 C");
    let streamed =
        send(&mock, json!({"tools": weather(), "tool_choice": {"type": "any"}, "stream": true})).await;
    let parts = sse(&streamed.body);
    let arguments: String =
        parts.iter().filter_map(|(_, data)| data["delta"]["partial_json"].as_str()).collect();
    assert_eq!(arguments, "{\"city\":\"hello world\"}");
}

#[tokio::test]
async fn thoughts_come_back_only_with_their_signature() {
    let mock = Mock::start().await;
    let thinking = json!({"type": "enabled", "budget_tokens": 2048});
    let first =
        answer(&mock, json!({"model": "claude?tools=1", "tools": weather(), "thinking": thinking})).await;
    let id = &first["content"][1]["id"];
    let next = |content: Value| {
        json!({"tools": weather(), "thinking": thinking, "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": content},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id}]},
        ]})
    };
    answer(&mock, next(first["content"].clone())).await;
    let mut forged = first["content"].clone();
    forged[0]["thinking"] = "something else".into();
    let message = send(&mock, next(forged)).await.json()["error"]["message"].clone();
    assert!(
        message.as_str().is_some_and(|text| text.starts_with("messages.1.content.0: invalid `signature`"))
    );
    let refused = send(&mock, next(json!([first["content"][1]]))).await;
    assert_eq!(refused.status, 400, "the thought is gone");
}

#[tokio::test]
async fn markers_limits_and_formats_are_kept() {
    let mock = Mock::start().await;
    let marker = json!({"type": "ephemeral"});
    let system = json!([{"type": "text", "text": "one two three", "cache_control": marker}]);
    let usage = answer(&mock, json!({"system": system, "model": "claude?cached=2"})).await["usage"].clone();
    assert_eq!(
        (&usage["input_tokens"], &usage["cache_creation_input_tokens"], &usage["cache_read_input_tokens"]),
        (&json!(2), &json!(1), &json!(2))
    );
    let cut = answer(&mock, json!({"max_tokens": 2})).await;
    assert_eq!(
        (&cut["stop_reason"], &cut["content"][0]["text"]),
        (&json!("max_tokens"), &json!("claude heard:"))
    );
    let stopped = answer(&mock, json!({"stop_sequences": ["world"]})).await;
    assert_eq!(
        (&stopped["stop_reason"], &stopped["stop_sequence"]),
        (&json!("stop_sequence"), &json!("world"))
    );
    let refused = answer(&mock, json!({"model": "claude?filtered"})).await;
    assert_eq!((&refused["stop_reason"], &refused["content"]), (&json!("refusal"), &json!([])));
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["n"],
        "properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}},
    });
    let format = json!({"type": "json_schema", "schema": schema});
    let structured = answer(&mock, json!({"output_config": {"format": format}})).await;
    assert_eq!(structured["content"][0]["text"], "{\"n\":1}");
    let beta = [HEADERS, &[("anthropic-beta", "structured-outputs-2025-11-13")]].concat();
    let old = mock.send(post_with(PATH, &beta, &body(json!({"output_format": format})))).await;
    assert_eq!(old.json()["content"][0]["text"], "{\"n\":1}");
    let image = json!({"type": "base64", "media_type": "image/png", "data": PNG});
    let shown = json!([{"role": "user", "content": [
        {"type": "text", "text": "what is it"}, {"type": "image", "source": image},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQ="}},
    ]}]);
    let seen = answer(&mock, json!({"messages": shown})).await;
    assert_eq!(seen["content"][0]["text"], "claude heard: what is it [image/png,68B] [application/pdf,8B]");
}

#[tokio::test]
async fn tokens_are_counted_without_a_bill() {
    let mock = Mock::start().await;
    let request = json!({"model": "claude", "messages": [{"role": "user", "content": "a b c"}]});
    let counted = mock.send(post_with("/v1/messages/count_tokens", HEADERS, &request)).await;
    assert_eq!(counted.json(), json!({"input_tokens": 3}));
    assert_eq!(mock.only_row().await["input_tokens"], 0);
    let refused = mock.send(post_with("/v1/messages/count_tokens", HEADERS, &body(json!({})))).await;
    assert_eq!(refused.json()["error"]["message"], "max_tokens: Extra inputs are not permitted");
}

#[tokio::test]
async fn what_anthropic_refuses_is_refused() {
    let mock = Mock::start().await;
    let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let says = |role: &str, content: Value| json!({"role": role, "content": content});
    let call = json!([{"type": "tool_use", "id": "t", "name": "weather", "input": {}}]);
    let result = json!([{"type": "tool_result", "tool_use_id": "t"}]);
    let with = |messages: Value| json!({"tools": weather(), "messages": messages});
    for (extra, place) in [
        (json!({"max_tokens": null}), "max_tokens"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"n": 2}), "n"),
        (json!({"temperature": 1.5}), "temperature"),
        (json!({"output_format": {"type": "json_schema", "schema": {}}}), "output_format"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": [says("assistant", json!("hi"))]}), "messages"),
        (json!({"messages": [says("robot", json!("hi"))]}), "messages.0.role"),
        (user(json!("")), "messages.0"),
        (user(json!([{"type": "text", "text": ""}])), "messages.0.content.0.text"),
        (user(json!([{"type": "image_url", "image_url": {}}])), "messages.0.content.0.type"),
        (
            user(
                json!([{"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": PNG}}]),
            ),
            "messages.0.content.0.image.source.base64.data",
        ),
        (
            user(json!([{"type": "image", "source": {"type": "url", "url": "http://a/b.png"}}])),
            "messages.0.content.0.image.source.url.url",
        ),
        (user(result.clone()), "messages.0.content.0"),
        (with(json!([says("user", json!("q")), says("assistant", call.clone())])), "messages.1"),
        (
            with(json!([
                says("user", json!("q")),
                says("assistant", call.clone()),
                says("user", json!("x"))
            ])),
            "messages.1",
        ),
        (
            with(json!([
                says("user", json!("q")),
                says("assistant", call.clone()),
                says(
                    "user",
                    json!([
                        {"type": "text", "text": "x"}, result[0],
                    ])
                )
            ])),
            "messages.2.content.1",
        ),
        (
            json!({"messages": [says("user", json!("q")), says("assistant", call), says("user", result)]}),
            "tools",
        ),
        (json!({"messages": [says("user", json!("q")), says("assistant", json!("so "))]}), "messages"),
        (json!({"tools": [{"name": "f"}]}), "tools.0.custom"),
        (json!({"tools": [{"name": "f", "input_schema": {}}]}), "tools.0.custom.input_schema.type"),
        (json!({"tool_choice": {"type": "any"}}), "tool_choice"),
        (json!({"tools": weather(), "tool_choice": {"type": "tool", "name": "x"}}), "tool_choice.name"),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 5000}}), "max_tokens"),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 5}}), "thinking.budget_tokens"),
        (
            json!({"thinking": {"type": "adaptive"}, "tools": weather(), "tool_choice": {"type": "any"}}),
            "thinking",
        ),
        (
            json!({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}),
            "output_config.format.schema",
        ),
    ] {
        let reply = send(&mock, extra.clone()).await;
        let told = reply.json();
        assert_eq!((reply.status.as_u16(), &told["type"]), (400, &json!("error")), "{extra}: {told}");
        assert_eq!(told["error"]["type"], "invalid_request_error");
        assert_eq!(told["request_id"].as_str(), reply.header("request-id"));
        let message = told["error"]["message"].as_str().expect("text");
        assert_eq!(message.split(": ").next(), Some(place), "{extra}: {message}");
    }
}

#[tokio::test]
async fn the_newest_version_takes_less() {
    let mock = Mock::start().await;
    let cited = json!([{"type": "char_location"}]);
    let document =
        json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}});
    for extra in [
        json!({"temperature": 1.0}),
        json!({"top_p": 0.5}),
        json!({"top_k": 5}),
        json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "citations": cited}]}]}),
        json!({"messages": [
            {"role": "user", "content": "a"}, {"role": "assistant", "content": [document]}, {"role": "user", "content": "b"},
        ]}),
    ] {
        let newest = [("x-api-key", "k"), ("anthropic-version", "2026-10-21")];
        let refused = mock.send(post_with(PATH, &newest, &body(extra.clone()))).await;
        assert_eq!(refused.status, 400, "{extra}");
        answer(&mock, extra).await;
    }
}

#[tokio::test]
async fn a_key_and_a_version_are_needed() {
    let mock = Mock::start().await;
    let version = ("anthropic-version", "2023-06-01");
    for (headers, status) in [
        (vec![version, ("x-api-key", "k")], 200),
        (vec![version, ("authorization", "Bearer k")], 200),
        (vec![version], 401),
        (vec![version, ("authorization", "Basic k")], 401),
        (vec![("x-api-key", "k"), ("anthropic-version", "2026-10-21")], 200),
        (vec![version, ("api-key", "k")], 200),
        (vec![("x-api-key", "k")], 400),
        (vec![("x-api-key", "k"), ("anthropic-version", "2040-01-01")], 400),
    ] {
        let reply = mock.send(post_with(PATH, &headers, &body(json!({})))).await;
        assert_eq!(reply.status.as_u16(), status, "{headers:?}: {:?}", reply.body);
        if status == 401 {
            assert_eq!(reply.json()["error"]["type"], "authentication_error");
        }
    }
}
