//! Large requests and answers.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::harness::client::{Client, Observer, chat};
use system_tests::harness::{Mock, eventually};

const MEGABYTE: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_arrive_whole() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let (client, mock) = (Client::new(&gateway.http()), Mock::at(&gateway.mock()));
    let observer = Observer::connect(&gateway.nats()).await;
    for megabytes in [5, 40] {
        let text = "word ".repeat(megabytes * MEGABYTE / 5);
        let model = format!("large{megabytes}?words=5");
        let answer = client.send(client.post_chat(&chat(&model, &text))).await;
        assert_eq!(answer.status, 200, "{megabytes} MB: {}", &answer.text[..answer.text.len().min(500)]);
        let rows = mock.rows(&model).await;
        assert_eq!(rows.len(), 1);
        assert!(rows[0].input_tokens as usize >= megabytes * MEGABYTE / 5, "{rows:?}");
    }
    eventually("request bodies are forgotten", Duration::from_secs(20), || async {
        let bytes = observer.js().get_stream("OBJ_llm_bodies").await.unwrap().cached_info().state.bytes;
        (bytes < MEGABYTE as u64).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_arrive_whole() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let inputs: Vec<String> = (0..2048).map(|n| format!("input number {n}")).collect();
    let body = json!({ "model": "mock?dimensions=256", "input": inputs, "encoding_format": "float" });
    let answer = client.send(client.request(Method::POST, "/v1/embeddings").json(&body)).await;
    assert_eq!(answer.status, 200, "{}", &answer.text[..answer.text.len().min(500)]);
    assert_eq!(answer.body["data"].as_array().map(Vec::len), Some(2048));
    assert!(answer.text.len() > 2 * MEGABYTE, "{} bytes", answer.text.len());

    let big = client.send(client.chat("mock?size=5MB")).await;
    assert_eq!(big.status, 200);
    assert!(big.text.len() >= 5_000_000, "{} bytes", big.text.len());

    let mut long = chat("mock?words=60000&chunks=3000", "tell me everything");
    long["stream"] = json!(true);
    let streamed = client.send(client.post_chat(&long)).await;
    assert_eq!(streamed.events().last().map(String::as_str), Some("[DONE]"));
    assert!(streamed.text.len() > 400_000, "{} bytes", streamed.text.len());
    // The last chunk leaves before the record is confirmed, so that the record may be a moment behind.
    let id = &streamed.headers["pointsman-request-id"];
    let stored = eventually("the answer is on record", Duration::from_secs(20), || async {
        let read = client.send(client.request(Method::GET, &format!("/v1/requests/{id}/result"))).await;
        (read.status == 200).then_some(read)
    })
    .await;
    assert_eq!(stored.text.len(), streamed.text.len(), "the record holds what the caller got");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_is_refused_with_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::up(dir.path()).set("http.body_limit", "1MiB").ready();
    let client = Client::new(&gateway.http());
    let answer = client.send(client.post_chat(&chat("mock", &"x".repeat(2 * MEGABYTE)))).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    let message = answer.body["error"]["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("1048576") || message.contains("1 MiB") || message.contains("1MiB"),
        "{message}"
    );
    let small: Value = chat("mock", "x");
    assert_eq!(client.send(client.post_chat(&small)).await.status, 200, "the gateway goes on");
}
