//! The operations beside chat, whole and over the broker: forms with files, sound, pictures, counts.

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::harness::client::{Answer, Client};

fn open(dir: &std::path::Path) -> (system_tests::harness::Pointsman, Client) {
    let gateway = crate::up(dir).set("http.trusted_custom_hosts", r#"["127.0.0.1"]"#).ready();
    let client = Client::new(&gateway.http());
    (gateway, client)
}

/// A target at the mock provider under the name of a provider.
fn at(mock: &str, provider: &str, path: &str) -> String {
    let root = mock.trim_end_matches("/v1");
    json!({ "provider": provider, "api_key": "sk-1", "custom_host": format!("{root}{path}") }).to_string()
}

async fn post(client: &Client, path: &str, config: &str, body: &Value) -> Answer {
    let request = client.request(Method::POST, path).header("x-portkey-config", config).json(body);
    let answer = client.send(request).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer
}

/// Sends a form of texts and one file: its field, its name, its content.
async fn form(
    client: &Client,
    path: &str,
    config: &str,
    texts: &[(&str, &str)],
    (field, name, content): (&str, &str, &[u8]),
) -> Answer {
    let mut body = Vec::new();
    for (name, text) in texts {
        let part = format!("--xx\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head =
        format!("--xx\r\ncontent-disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\r\n");
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n--xx--\r\n");
    let request = client.request(Method::POST, path).header("x-portkey-config", config);
    let answer =
        client.send(request.header("content-type", "multipart/form-data; boundary=xx").body(body)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_openais_api_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (gateway, client) = open(dir.path());
    let config = at(&gateway.mock(), "openai", "/v1");

    let moderated = json!({ "model": "omni-moderation-latest", "input": "hello" });
    let answer = post(&client, "/v1/moderations", &config, &moderated).await;
    assert_eq!(answer.body["results"][0]["flagged"], false, "{}", answer.text);

    let drawn = json!({ "model": "gpt-image-1", "prompt": "a lamp", "n": 1 });
    let answer = post(&client, "/v1/images/generations", &config, &drawn).await;
    assert!(answer.body["data"][0]["b64_json"].is_string(), "{}", answer.text);

    let spoken = json!({ "model": "gpt-4o-mini-tts", "input": "hello there", "voice": "alloy", "response_format": "wav" });
    let answer = post(&client, "/v1/audio/speech", &config, &spoken).await;
    assert_eq!(answer.headers["content-type"], "audio/wav");
    assert!(answer.text.starts_with("RIFF"), "sound comes as it is");

    let ogg = ("file", "speech.ogg", &b"OggS sound"[..]);
    let answer = form(&client, "/v1/audio/transcriptions", &config, &[("model", "whisper-1")], ogg).await;
    assert!(answer.body["text"].as_str().unwrap().contains("speech.ogg 10B"), "{}", answer.text);
    let answer = form(&client, "/v1/audio/translations", &config, &[("model", "whisper-1")], ogg).await;
    assert!(answer.body["text"].is_string(), "{}", answer.text);

    let png = ("image", "lamp.png", &b"\x89PNG\r\n\x1a\nrest"[..]);
    let texts = [("model", "gpt-image-1"), ("prompt", "brighter")];
    let answer = form(&client, "/v1/images/edits", &config, &texts, png).await;
    assert!(answer.body["data"][0]["b64_json"].is_string(), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_put_in_order_and_tokens_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (gateway, client) = open(dir.path());

    let ranked =
        json!({ "model": "rerank-1", "query": "lamp", "documents": ["a chair", "a lamp"], "top_n": 1 });
    let together = at(&gateway.mock(), "together-ai", "/v1");
    let answer = post(&client, "/v1/rerank", &together, &ranked).await;
    assert!(answer.body["results"][0]["index"].is_u64(), "{}", answer.text);

    let counted =
        json!({ "model": "claude-sonnet-4-5", "messages": [{ "role": "user", "content": "hello there" }] });
    let anthropic = at(&gateway.mock(), "anthropic", "/anthropic/v1");
    let answer = post(&client, "/v1/messages/count_tokens", &anthropic, &counted).await;
    assert!(answer.body["input_tokens"].as_u64().unwrap() > 0, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_does_not_offer_is_refused_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (gateway, client) = open(dir.path());
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hello" }] });
    for (provider, code, part) in [
        ("replicate", "unsupported_operation", "paths of its own"),
        ("voyage", "unsupported_operation", "it offers embeddings, rerank"),
        ("anyscale", "provider_retired", "closed its public endpoints"),
        ("modal", "missing_provider_option", "providers.modal.base_url"),
    ] {
        let request = client.request(Method::POST, "/v1/chat/completions").json(&body);
        let answer = client.send(request.header("x-portkey-provider", provider)).await;
        assert_eq!(
            (answer.status, answer.body["error"]["code"].as_str()),
            (400, Some(code)),
            "{}",
            answer.text
        );
        assert!(answer.text.contains(part), "{provider}: {}", answer.text);
    }
    let bill = system_tests::harness::Mock::at(&gateway.mock()).bill().await;
    assert_eq!(bill.attempts.len(), 0);
}
