//! Vertex AI: the same models, below a project and with tokens that expire.

use std::time::Duration;

use serde_json::{Value, json};

use crate::gemini;
use crate::harness::{Mock, Reply, encoded, post_with, sse};
use crate::oauth::google_token;

const PROJECT: &str = "/v1/projects/p/locations/us-central1/publishers";

async fn send(mock: &Mock, token: &str, path: &str, body: &Value) -> Reply {
    let token = format!("Bearer {token}");
    mock.send(post_with(&format!("{PROJECT}/{path}"), &[("authorization", &token)], body)).await
}

#[tokio::test]
async fn gemini_answers_below_a_project() {
    let mock = Mock::start().await;
    let token = google_token(&mock, "").await;
    let mut body = gemini::body();
    body["labels"] = json!({"team": "a"});
    let model = encoded("mock?chunks=3");
    let whole = send(&mock, &token, &format!("google/models/{model}:generateContent"), &body).await;
    assert_eq!(whole.json()["candidates"][0]["content"]["parts"][0]["text"], "mock heard: hello world");
    let stream =
        send(&mock, &token, &format!("google/models/{model}:streamGenerateContent?alt=sse"), &body).await;
    assert_eq!(sse(&stream.body).len(), 4);
    let embed = json!({"instances": [{"content": "a b", "task_type": "RETRIEVAL_QUERY"}], "parameters": {"outputDimensionality": 8}});
    let embedded = send(&mock, &token, "google/models/mock:predict", &embed).await.json();
    let embeddings = &embedded["predictions"][0]["embeddings"];
    assert_eq!(embeddings["values"].as_array().map(Vec::len), Some(8));
    assert_eq!(embeddings["statistics"]["token_count"], 2);
}

#[tokio::test]
async fn claude_answers_below_a_project() {
    let mock = Mock::start().await;
    let token = google_token(&mock, "").await;
    let body = |extra: Value| {
        let mut body = json!({
            "anthropic_version": "vertex-2023-10-16", "max_tokens": 99,
            "messages": [{"role": "user", "content": "hello world"}],
        });
        for (name, value) in extra.as_object().expect("object") {
            body[name] = value.clone();
        }
        body
    };
    let raw = "anthropic/models/claude@1:rawPredict";
    let stream = "anthropic/models/claude@1:streamRawPredict";
    let whole = send(&mock, &token, raw, &body(json!({}))).await.json();
    assert_eq!(whole["content"][0]["text"], "claude@1 heard: hello world");
    let streamed = send(&mock, &token, stream, &body(json!({"stream": true}))).await;
    assert_eq!(sse(&streamed.body).first().map(|(name, _)| name.clone()), Some("message_start".to_owned()));
    for (path, extra) in [
        (raw, json!({"model": "claude"})),
        (raw, json!({"anthropic_version": "2023-06-01"})),
        (raw, json!({"stream": true})),
        (stream, json!({})),
    ] {
        let reply = send(&mock, &token, path, &body(extra.clone())).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["type"]), (400, &json!("error")), "{extra}");
    }
}

#[tokio::test]
async fn only_tokens_that_were_given_out_and_live_are_taken() {
    let mock = Mock::start().await;
    let path = "google/models/mock:generateContent";
    for token in ["", "ya29.mock-0"] {
        let reply = send(&mock, token, path, &gemini::body()).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]["status"]),
            (401, &json!("UNAUTHENTICATED"))
        );
    }
    let token = google_token(&mock, "?expires=300ms").await;
    assert_eq!(send(&mock, &token, path, &gemini::body()).await.status, 200);
    let expired = async {
        while send(&mock, &token, path, &gemini::body()).await.status == 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), expired).await.expect("it expires");
}
