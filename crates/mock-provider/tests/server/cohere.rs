//! Cohere v2.

use serde_json::{Value, json};

use crate::anthropic::PNG;
use crate::harness::{Mock, Reply, post_with, sse};

const KEY: &[(&str, &str)] = &[("authorization", "Bearer k")];

fn body(extra: Value) -> Value {
    let mut body = json!({"model": "mock", "messages": [{"role": "user", "content": "hello world"}]});
    for (name, value) in extra.as_object().expect("object") {
        body[name] = value.clone();
    }
    body
}

async fn send(mock: &Mock, extra: Value) -> Reply {
    mock.send(post_with("/v2/chat", KEY, &body(extra))).await
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
async fn an_answer_has_content_usage_and_citations() {
    let mock = Mock::start().await;
    let documents = json!(["one two", {"data": {"text": "three"}, "id": "d"}]);
    let answer = answer(
        &mock,
        json!({"model": "mock?cached=1", "documents": documents, "thinking": {"type": "enabled"}}),
    )
    .await;
    let content = &answer["message"]["content"];
    assert_eq!(
        (&content[0]["type"], &content[1]["text"]),
        (&json!("thinking"), &json!("mock heard: hello world"))
    );
    let citation = &answer["message"]["citations"][0];
    assert_eq!(
        (&citation["text"], &citation["sources"][0]["document"]["text"]),
        (&json!("mock"), &json!("one two"))
    );
    assert_eq!(
        answer["usage"],
        json!({
            "billed_units": {"input_tokens": 5, "output_tokens": 8}, "tokens": {"input_tokens": 5, "output_tokens": 8},
            "cached_tokens": 1,
        })
    );
    assert_eq!(answer["finish_reason"], "COMPLETE");
}

#[tokio::test]
async fn a_stream_names_its_events() {
    let mock = Mock::start().await;
    let events =
        sse(&send(&mock, json!({"model": "mock?tools=1", "tools": tools(), "stream": true})).await.body);
    let mut names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "message-start",
            "tool-plan-delta",
            "tool-call-start",
            "tool-call-delta",
            "tool-call-end",
            "message-end"
        ]
    );
    let arguments = "/delta/message/tool_calls/function/arguments";
    let arguments: String = events.iter().filter_map(|(_, data)| data.pointer(arguments)?.as_str()).collect();
    assert_eq!(arguments, "{\"city\":\"hello world\"}");
    let last = &events.last().expect("events").1;
    assert_eq!(last["delta"]["finish_reason"], "TOOL_CALL");
    let events = sse(&send(&mock, json!({"documents": ["a"], "stream": true})).await.body);
    let mut names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    let expected = [
        "message-start",
        "content-start",
        "content-delta",
        "content-end",
        "citation-start",
        "citation-end",
        "message-end",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn tools_results_images_and_formats_are_understood() {
    let mock = Mock::start().await;
    let called = answer(&mock, json!({"tools": tools(), "tool_choice": "REQUIRED"})).await["message"].clone();
    assert!(called["tool_plan"].is_string());
    let id = &called["tool_calls"][0]["id"];
    let result = json!({"role": "tool", "tool_call_id": id, "content": [{"type": "document", "document": {"data": "21 C"}}]});
    let history = json!([{"role": "user", "content": "q"}, called, result]);
    let done = answer(&mock, json!({"model": "mock?tools=1", "tools": tools(), "messages": history})).await;
    assert_eq!(done["message"]["content"][0]["text"], "mock heard: 21 C");
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let structured =
        answer(&mock, json!({"response_format": {"type": "json_object", "json_schema": schema}})).await;
    assert_eq!(structured["message"]["content"][0]["text"], "{\"n\":1}");
    let image = json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}});
    let seen = answer(&mock, json!({"messages": [{"role": "user", "content": [image]}]})).await;
    assert_eq!(seen["message"]["content"][0]["text"], "mock heard: [image/png,68B]");
    for (extra, reason) in [
        (json!({"max_tokens": 1}), "MAX_TOKENS"),
        (json!({"stop_sequences": ["hello"]}), "STOP_SEQUENCE"),
        (json!({"model": "mock?filtered"}), "ERROR"),
    ] {
        assert_eq!(answer(&mock, extra).await["finish_reason"], reason);
    }
}

#[tokio::test]
async fn embeddings_and_ranks_have_their_own_shapes() {
    let mock = Mock::start().await;
    let embed = json!({
        "model": "mock", "texts": ["a b"], "input_type": "search_query", "output_dimension": 16,
        "embedding_types": ["float", "int8", "ubinary"],
    });
    let embedded = mock.send(post_with("/v2/embed", KEY, &embed)).await.json();
    for (kind, length) in [("float", 16), ("int8", 16), ("ubinary", 2)] {
        assert_eq!(embedded["embeddings"][kind][0].as_array().map(Vec::len), Some(length), "{kind}");
    }
    assert_eq!(embedded["meta"]["billed_units"]["input_tokens"], 2);
    for bad in [
        json!({"model": "mock", "texts": ["a"]}),
        json!({"model": "mock", "input_type": "search_query"}),
        json!({"model": "mock", "input_type": "search_query", "texts": vec!["a"; 97]}),
        json!({"model": "mock", "input_type": "image", "images": ["x"]}),
    ] {
        assert_eq!(mock.send(post_with("/v2/embed", KEY, &bad)).await.status, 400);
    }
    let rerank =
        json!({"model": "mock", "query": "red fox", "documents": ["nothing", "red fox"], "top_n": 1});
    let ranked = mock.send(post_with("/v2/rerank", KEY, &rerank)).await.json();
    assert_eq!(ranked["results"], json!([{"index": 1, "relevance_score": 1.0}]));
}

#[tokio::test]
async fn what_cohere_refuses_is_refused() {
    let mock = Mock::start().await;
    let messages = |messages: Value| json!({"messages": messages});
    for (extra, place) in [
        (json!({"n": 2}), "n"),
        (json!({"messages": []}), "messages"),
        (messages(json!([{"role": "system", "content": "a"}])), "messages"),
        (
            messages(json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])),
            "messages",
        ),
        (messages(json!([{"role": "tool", "tool_call_id": "t", "content": "a"}])), "messages[0]"),
        (messages(json!([{"role": "developer", "content": "a"}])), "messages[0].role"),
        (json!({"tool_choice": "REQUIRED"}), "tool_choice"),
        (json!({"tool_choice": "any", "tools": tools()}), "tool_choice"),
        (json!({"p": 1.0}), "p"),
        (json!({"frequency_penalty": -1.0}), "frequency_penalty"),
        (json!({"response_format": {"type": "json_object"}, "tools": tools()}), "response_format"),
        (
            json!({"response_format": {"type": "json_object", "json_schema": {"type": "object"}}}),
            "response_format.json_schema",
        ),
    ] {
        let reply = send(&mock, extra.clone()).await;
        let told = reply.json()["message"].as_str().expect("text").to_owned();
        assert_eq!(reply.status, 400, "{extra}");
        assert_eq!(told.split(": ").nth(1), Some(place), "{extra}: {told}");
    }
    assert_eq!(mock.send(post_with("/v2/chat", &[], &body(json!({})))).await.status, 401);
}
