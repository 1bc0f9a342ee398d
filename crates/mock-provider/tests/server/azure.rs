//! Azure's addresses, keys and tokens around OpenAI's bodies.

use serde_json::{Value, json};

use crate::harness::{Mock, chat, encoded, post_with, sse, streamed};
use crate::oauth::form;

const CHAT: &str = "/openai/deployments/mock/chat/completions?api-version=2024-10-21";
const KEY: &[(&str, &str)] = &[("api-key", "k")];

#[tokio::test]
async fn a_deployment_is_the_model() {
    let mock = Mock::start().await;
    let path =
        format!("/openai/deployments/{}/chat/completions?api-version=2024-10-21", encoded("gpt?words=2"));
    let reply = mock.send(post_with(&path, KEY, &chat("ignored"))).await;
    let answer = reply.json();
    assert_eq!(
        (&answer["model"], &answer["choices"][0]["message"]["content"]),
        (&json!("gpt?words=2"), &json!("gpt heard:"))
    );
    assert_eq!(answer["prompt_filter_results"][0]["content_filter_results"]["hate"]["filtered"], false);
    assert!(
        answer["choices"][0]["content_filter_results"].is_object()
            && reply.header("apim-request-id").is_some()
    );
    let stream = mock.send(post_with(CHAT, KEY, &streamed("ignored"))).await;
    let first = &sse(&stream.body)[0].1;
    assert_eq!((&first["choices"], first["prompt_filter_results"].is_array()), (&json!([]), true));
    let path = "/openai/deployments/mock/embeddings?api-version=2025-03-01-preview";
    let embedded = mock.send(post_with(path, KEY, &json!({"input": "a"}))).await.json();
    assert_eq!(embedded["data"].as_array().map(Vec::len), Some(1));
    let filtered =
        format!("/openai/deployments/{}/chat/completions?api-version=2024-10-21", encoded("gpt?filtered"));
    let filtered = mock.send(post_with(&filtered, KEY, &chat("x"))).await.json();
    assert_eq!(filtered["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(filtered["choices"][0]["content_filter_results"]["hate"]["filtered"], true);
}

#[tokio::test]
async fn newer_addresses_name_the_model_in_the_body() {
    let mock = Mock::start().await;
    for (path, body) in [
        ("/openai/v1/chat/completions", chat("gpt")),
        ("/openai/v1/responses?api-version=preview", json!({"model": "gpt", "input": "hello world"})),
        ("/models/chat/completions?api-version=2024-05-01-preview", chat("gpt")),
    ] {
        let reply = mock.send(post_with(path, KEY, &body)).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["model"]), (200, &json!("gpt")), "{path}");
    }
    let mut body = chat("gpt");
    body["top_k"] = 3.into();
    let path = "/models/chat/completions?api-version=2024-05-01-preview";
    let refused = mock.send(post_with(path, KEY, &body)).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["param"]), (400, &json!("top_k")));
    let passed = [KEY, &[("extra-parameters", "pass-through")]].concat();
    assert_eq!(mock.send(post_with(path, &passed, &body)).await.status, 200);
}

#[tokio::test]
async fn a_version_and_a_key_or_token_are_needed() {
    let mock = Mock::start().await;
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", "mock-client"),
        ("client_secret", "mock-secret"),
        ("scope", "https://cognitiveservices.azure.com/.default"),
    ];
    let token = mock.send(form("/tenant/oauth2/v2.0/token", &fields)).await.json();
    let token = format!("Bearer {}", token["access_token"].as_str().expect("token"));
    let status = async |path: &str, headers: &[(&str, &str)]| {
        let reply = mock.send(post_with(path, headers, &chat("x"))).await;
        let code: Value =
            if reply.status == 200 { Value::Null } else { reply.json()["error"]["code"].clone() };
        (reply.status.as_u16(), code)
    };
    assert_eq!(status(CHAT, KEY).await, (200, Value::Null));
    assert_eq!(status(CHAT, &[("authorization", &token)]).await, (200, Value::Null));
    assert_eq!(status(CHAT, &[]).await, (401, json!("401")));
    assert_eq!(status(CHAT, &[("authorization", "Bearer k")]).await, (401, json!("401")));
    let path = CHAT.split('?').next().expect("path");
    assert_eq!(status(path, KEY).await, (404, json!("404")));
    assert_eq!(status(&format!("{path}?api-version=latest"), KEY).await, (404, json!("404")));
}
