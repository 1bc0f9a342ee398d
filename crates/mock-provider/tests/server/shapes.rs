//! Answers have OpenAI's shapes, and the same request has the same answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::{Mock, chat, post};

/// Text of all choices, put together from the events of a stream.
fn joined(events: &[Value], choices: usize) -> Vec<String> {
    let mut texts = vec![String::new(); choices];
    for choice in events.iter().flat_map(|event| event["choices"].as_array().expect("choices")) {
        let text = choice["delta"]["content"].as_str().or(choice["text"].as_str()).unwrap_or("");
        texts[usize::try_from(choice["index"].as_u64().expect("index")).expect("small")].push_str(text);
    }
    texts
}

fn texts(answer: &Value) -> Vec<String> {
    let text =
        |choice: &Value| choice["message"]["content"].as_str().or(choice["text"].as_str()).map(str::to_owned);
    answer["choices"].as_array().expect("choices").iter().map(|choice| text(choice).expect("text")).collect()
}

#[tokio::test]
async fn a_chat_answer_is_complete_and_always_the_same() {
    let mock = Mock::start().await;
    let first = mock.chat("mock").await;
    assert_eq!((first.status.as_u16(), first.header("content-type")), (200, Some("application/json")));
    let id = first.json()["id"].as_str().expect("id").to_owned();
    assert!(id.starts_with("chatcmpl-"), "{id}");
    assert_eq!(
        first.json(),
        json!({
            "id": id, "object": "chat.completion", "created": 1_700_000_000, "model": "mock",
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": "mock heard: hello world", "refusal": null},
                "logprobs": null,
                "finish_reason": "stop",
            }],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        })
    );
    let second = mock.chat("mock").await;
    assert_eq!((first.body, &first.headers["x-request-id"]), (second.body, &second.headers["x-request-id"]));
    assert_ne!(mock.chat("other").await.json()["id"], id);
}

/// The only choice of a chat event.
fn said(delta: Value, finish: Value) -> Value {
    json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}])
}

#[tokio::test]
async fn a_chat_stream_is_written_as_openai_writes_it() {
    let mock = Mock::start().await;
    let mut body = chat("mock?chunks=2");
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    let reply = mock.post("/v1/chat/completions", &body).await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let events = reply.events();
    let choices: Vec<_> = events.iter().map(|event| event["choices"].clone()).collect();
    let expected = [
        said(json!({"role": "assistant", "content": ""}), Value::Null),
        said(json!({"content": "mock heard:"}), Value::Null),
        said(json!({"content": " hello world"}), Value::Null),
        said(json!({}), json!("stop")),
        json!([]),
    ];
    assert_eq!(choices, expected);
    for event in &events {
        assert_eq!(
            (&event["object"], &event["model"]),
            (&json!("chat.completion.chunk"), &json!("mock?chunks=2"))
        );
        assert_eq!((&event["id"], &event["created"]), (&events[0]["id"], &json!(1_700_000_000)));
    }
    let usages: Vec<_> = events.iter().map(|event| event.get("usage").cloned()).collect();
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7});
    let null = Some(Value::Null);
    assert_eq!(usages, [null.clone(), null.clone(), null.clone(), null, Some(usage)]);

    body["stream_options"] = Value::Null;
    let events = mock.post("/v1/chat/completions", &body).await.events();
    assert!(events.len() == 4 && events.iter().all(|event| event.get("usage").is_none()), "{events:?}");
}

#[tokio::test]
async fn streams_carry_the_text_of_the_plain_answer() {
    let mock = Mock::start().await;
    for (path, prompt) in [
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": "tell me, é?"}]})),
        ("/v1/completions", json!({"prompt": "once upon"})),
        ("/v1/completions", json!({"prompt": ["one", "two and more words"], "n": 2})),
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": "x"}], "n": 3})),
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": "x y z"}], "max_tokens": 4}),
        ),
    ] {
        for model in ["mock", "mock?chunks=7", "mock?words=30&chunks=4", "mock?words=0", "mock?size=20KB"] {
            let mut body = prompt.clone();
            body["model"] = model.into();
            let plain = mock.post(path, &body).await.json();
            body["stream"] = true.into();
            let events = mock.post(path, &body).await.events();
            assert_eq!(joined(&events, texts(&plain).len()), texts(&plain), "{body}");
            let finish = |choices: &Value| choices[0]["finish_reason"].clone();
            let streamed_finish = events.iter().map(|event| finish(&event["choices"])).find(|f| !f.is_null());
            assert_eq!(streamed_finish, Some(finish(&plain["choices"])), "{body}");
        }
    }
}

#[tokio::test]
async fn max_tokens_cuts_the_answer() {
    let mock = Mock::start().await;
    for field in ["max_tokens", "max_completion_tokens"] {
        let mut body = chat("mock");
        body[field] = 2.into();
        let answer = mock.post("/v1/chat/completions", &body).await.json();
        assert_eq!(texts(&answer), ["mock heard:"]);
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
        assert_eq!(answer["usage"]["completion_tokens"], 2);
    }
}

#[tokio::test]
async fn completions_answer_every_prompt() {
    let mock = Mock::start().await;
    let body = json!({"model": "mock", "prompt": ["a", "b"]});
    let answer = mock.post("/v1/completions", &body).await.json();
    assert_eq!(
        (&answer["object"], texts(&answer)),
        (&json!("text_completion"), vec!["mock heard: a".to_owned(), "mock heard: b".to_owned()])
    );
    assert_eq!(answer["usage"], json!({"prompt_tokens": 2, "completion_tokens": 6, "total_tokens": 8}));
}

#[tokio::test]
async fn embeddings_come_as_numbers_or_base64() {
    let mock = Mock::start().await;
    let mut body = json!({"model": "mock?dimensions=8", "input": ["one two", "three"]});
    let answer = mock.post("/v1/embeddings", &body).await.json();
    assert_eq!(
        (&answer["object"], &answer["usage"]),
        (&json!("list"), &json!({"prompt_tokens": 3, "total_tokens": 3}))
    );
    let floats = |answer: &Value, at: usize| -> Vec<f32> {
        assert_eq!(
            (&answer["data"][at]["object"], &answer["data"][at]["index"]),
            (&json!("embedding"), &json!(at))
        );
        serde_json::from_value(answer["data"][at]["embedding"].clone()).expect("numbers")
    };
    assert_eq!(floats(&answer, 0).len(), 8);
    assert_ne!(floats(&answer, 0), floats(&answer, 1));

    body["encoding_format"] = "base64".into();
    let encoded = mock.post("/v1/embeddings", &body).await.json();
    let bytes = STANDARD.decode(encoded["data"][1]["embedding"].as_str().expect("text")).expect("base64");
    let decoded: Vec<_> =
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four"))).collect();
    assert_eq!(decoded, floats(&answer, 1));

    body["dimensions"] = 5.into();
    body["encoding_format"] = "float".into();
    assert_eq!(floats(&mock.post("/v1/embeddings", &body).await.json(), 0).len(), 5, "the request wins");

    let many = json!({"model": "mock", "input": vec!["word"; 2048]});
    let answer = mock.post("/v1/embeddings", &many).await.json();
    assert_eq!((answer["data"].as_array().map(Vec::len), floats(&answer, 2047).len()), (Some(2048), 16));
}

#[tokio::test]
async fn mistakes_are_answered_in_openais_error_shape() {
    let mock = Mock::start().await;
    let raw = |path: &str, body: &'static [u8]| {
        http::Request::post(path).body(http_body_util::Full::from(body)).expect("request")
    };
    for (request, status, param) in [
        (raw("/v1/chat/completions", b"{not json"), 400, Value::Null),
        (raw("/v1/chat/completions", b"{\"model\":\"\xff\"}"), 400, Value::Null),
        (post("/v1/chat/completions", &json!({"messages": []})), 400, json!("model")),
        (post("/v1/chat/completions", &json!({"model": "mock"})), 400, json!("messages")),
        (post("/v1/completions", &json!({"model": "mock"})), 400, json!("prompt")),
        (post("/v1/embeddings", &json!({"model": "mock"})), 400, json!("input")),
        (post("/v1/chat/completions", &chat("mock?colour=red")), 400, json!("model")),
        (post("/v1/chat/completions", &chat("mock?status=ok")), 400, json!("model")),
        (post("/chat/completions", &chat("mock")), 404, Value::Null),
        (post("/v1/models", &json!({})), 405, Value::Null),
    ] {
        let what = request.uri().clone();
        let reply = mock.send(request).await;
        let error = reply.json()["error"].clone();
        assert_eq!((reply.status.as_u16(), &error["param"]), (status, &param), "{what}: {error}");
        assert!(
            error["message"].is_string() && error["type"].is_string() && error["code"].is_string(),
            "{error}"
        );
    }
    assert!(
        mock.chat("mock?colour=red").await.json()["error"]["message"]
            .as_str()
            .expect("text")
            .contains("hang-after")
    );
}

#[tokio::test]
async fn models_and_health_answer() {
    let mock = Mock::start().await;
    let models = mock.get("/v1/models").await;
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("mock")));
    assert_eq!(mock.get("/health").await, json!({"status": "ok"}));
}
