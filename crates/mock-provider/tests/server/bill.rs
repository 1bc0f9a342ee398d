//! The bill: a row per received call, whatever became of it.

use serde_json::{Value, json};

use crate::harness::{Mock, Reply, chat, post, read_until, streamed};

const CHAT: &str = "/v1/chat/completions";

fn row(id: Value, model: &str, status: u16, input: u64, output: u64) -> Value {
    json!({
        "attempt_id": id,
        "model": model,
        "status": status,
        "input_tokens": input,
        "output_tokens": output,
    })
}

fn totals(calls: u64, input: u64, output: u64) -> Value {
    json!({"calls": calls, "input_tokens": input, "output_tokens": output})
}

#[tokio::test]
async fn every_call_is_a_row_and_totals_are_per_model_name() {
    let mock = Mock::start().await;
    let mut request = post(CHAT, &chat("mock"));
    request.headers_mut().insert("pointsman-attempt-id", "r1.2".parse().expect("header"));
    mock.send(request).await;
    mock.post(CHAT, &streamed("mock")).await;
    mock.chat("mock?status=500").await;
    mock.chat("mock?error-body").await;
    mock.chat("mock?colour=red").await;
    mock.post("/v1/embeddings", &json!({"model": "mock", "input": ["a b", "c"]})).await;
    mock.post(CHAT, &json!([])).await;
    assert_eq!(
        mock.get("/bill").await,
        json!({
            "models": {
                "": totals(1, 0, 0),
                "mock": totals(3, 9, 8),
                "mock?colour=red": totals(1, 0, 0),
                "mock?error-body": totals(1, 0, 0),
                "mock?status=500": totals(1, 0, 0),
            },
            "attempts": [
                row(json!("r1.2"), "mock", 200, 3, 4),
                row(Value::Null, "mock", 200, 3, 4),
                row(Value::Null, "mock?status=500", 500, 0, 0),
                row(Value::Null, "mock?error-body", 200, 0, 0),
                row(Value::Null, "mock?colour=red", 400, 0, 0),
                row(Value::Null, "mock", 200, 3, 0),
                row(Value::Null, "", 400, 0, 0),
            ],
        })
    );
}

#[tokio::test]
async fn a_cleared_bill_is_empty() {
    let mock = Mock::start().await;
    mock.chat("mock").await;
    let delete = http::Request::delete("/bill").body(http_body_util::Full::default()).expect("request");
    assert_eq!(mock.send(delete).await.status, 204);
    assert_eq!(mock.get("/bill").await, json!({"models": {}, "attempts": []}));
}

#[tokio::test]
async fn a_stream_is_billed_as_far_as_it_went() {
    let mock = Mock::start().await;
    let mut client = mock.client().await;
    let body = streamed("mock?log&words=10&chunks=5&gap=60m");
    let response = client.open(post(CHAT, &body)).await.expect("headers");
    read_until(&mut response.into_body(), "heard:").await;
    let row = mock.only_row().await;
    assert_eq!(
        (&row["status"], &row["input_tokens"], &row["output_tokens"]),
        (&json!(200), &json!(3), &json!(2))
    );
    drop(client);
    mock.events_until("client_disconnected").await;
    assert_eq!(mock.only_row().await, row, "nothing is generated for a client that has gone");
}

#[tokio::test]
async fn a_stream_that_is_cut_stays_billed() {
    let mock = Mock::start().await;
    let reply = mock.post(CHAT, &streamed("mock?words=20&chunks=10&abort=600")).await;
    assert!(reply.broken);
    let row = mock.only_row().await;
    let billed = row["output_tokens"].as_u64().expect("count");
    assert_eq!((&row["status"], &row["input_tokens"]), (&json!(200), &json!(3)));
    assert!((2..20).contains(&billed), "{billed}");
}

#[tokio::test]
async fn calls_without_headers_have_no_status() {
    for model in ["mock?log&hang=headers", "mock?log&delay=60m"] {
        let mock = Mock::start().await;
        let mut client = mock.client().await;
        let request = post(CHAT, &chat(model));
        tokio::select! {
            answer = client.open(request) => panic!("{model} answered {answer:?}"),
            _ = mock.events_until("started") => {}
        }
        let row = mock.only_row().await;
        assert_eq!((&row["model"], &row["status"]), (&json!(model), &Value::Null));
        assert_eq!((&row["input_tokens"], &row["output_tokens"]), (&json!(0), &json!(0)));
    }
    let mock = Mock::start().await;
    let answer = mock.client().await.open(post(CHAT, &chat("mock?abort=0"))).await;
    assert!(answer.is_err());
    assert_eq!(mock.only_row().await["status"], Value::Null);
}

#[tokio::test]
async fn many_calls_at_once_are_all_billed() {
    let mock = Mock::start().await;
    let calls = (0..8).map(async |_| {
        let mut client = mock.client().await;
        for _ in 0..50 {
            let reply = Reply::read(client.open(post(CHAT, &chat("mock"))).await.expect("answer")).await;
            assert_eq!(reply.status, 200);
        }
    });
    futures::future::join_all(calls).await;
    let bill = mock.get("/bill").await;
    assert_eq!(bill["models"]["mock"], json!({"calls": 400, "input_tokens": 1200, "output_tokens": 1600}));
    assert_eq!(bill["attempts"].as_array().map(Vec::len), Some(400));
}
