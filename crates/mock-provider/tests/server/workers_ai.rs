//! Cloudflare Workers AI.

use serde_json::{Value, json};

use crate::harness::{Mock, Reply, post_with, sse};

const KEY: &[(&str, &str)] = &[("authorization", "Bearer k")];

async fn run(mock: &Mock, model: &str, body: Value) -> Reply {
    mock.send(post_with(&format!("/client/v4/accounts/a/ai/run/{model}"), KEY, &body)).await
}

#[tokio::test]
async fn text_comes_in_an_envelope_or_as_events() {
    let mock = Mock::start().await;
    let model = "@cf/meta/llama-3.1-8b-instruct";
    let answer = run(&mock, model, json!({"prompt": "hello world"})).await.json();
    assert_eq!(
        answer,
        json!({
            "result": {
                "response": "@cf/meta/llama-3.1-8b-instruct heard: hello world",
                "usage": {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6},
            },
            "success": true, "errors": [], "messages": [],
        })
    );
    let body = json!({"messages": [{"role": "user", "content": "hello world"}], "stream": true});
    let events = sse(&run(&mock, "mock%3Fchunks=2", body).await.body);
    assert_eq!(events.len(), 4, "two texts, usage, [DONE]: {events:?}");
    assert_eq!((&events[2].1["usage"]["total_tokens"], &events[3].1), (&json!(6), &json!("[DONE]")));
}

#[tokio::test]
async fn tools_json_embeddings_and_ranks_are_understood() {
    let mock = Mock::start().await;
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    for tool in [
        json!({"name": "weather", "description": "d", "parameters": parameters}),
        json!({"type": "function", "function": {"name": "weather", "parameters": parameters}}),
    ] {
        let body = json!({"messages": [{"role": "user", "content": "x"}], "tools": [tool]});
        let answer = run(&mock, "mock%3Ftools=1", body).await.json();
        assert_eq!(answer["result"]["tool_calls"], json!([{"name": "weather", "arguments": {"city": "x"}}]));
    }
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    let format = json!({"type": "json_schema", "json_schema": schema});
    let answer = run(&mock, "mock", json!({"prompt": "x", "response_format": format})).await.json();
    assert_eq!(answer["result"]["response"], "{\"n\":1}");
    let embedded = run(&mock, "mock", json!({"text": ["a", "b"]})).await.json();
    assert_eq!(embedded["result"]["shape"], json!([2, 16]));
    let rerank = json!({"query": "fox", "contexts": [{"text": "a"}, {"text": "fox"}], "top_k": 1});
    assert_eq!(
        run(&mock, "mock", rerank).await.json()["result"]["response"],
        json!([{"id": 1, "score": 1.0}])
    );
}

#[tokio::test]
async fn what_cloudflare_refuses_is_refused() {
    let mock = Mock::start().await;
    for body in [
        json!({}),
        json!({"prompt": "x", "messages": []}),
        json!({"prompt": "x", "n": 2}),
        json!({"prompt": "x", "max_tokens": 0}),
        json!({"messages": [{"role": "developer", "content": "x"}]}),
        json!({"prompt": "x", "response_format": {"type": "json_schema"}}),
        json!({"prompt": "x", "tools": [{"name": "f"}]}),
        json!({"text": []}),
    ] {
        let reply = run(&mock, "mock", body.clone()).await;
        let told = reply.json();
        assert_eq!(
            (reply.status.as_u16(), &told["success"], &told["errors"][0]["code"]),
            (400, &json!(false), &json!(5006)),
            "{body}"
        );
    }
    let unnamed = post_with("/client/v4/accounts/a/ai/run/mock", &[], &json!({"prompt": "x"}));
    assert_eq!(mock.send(unnamed).await.status, 401);
}
