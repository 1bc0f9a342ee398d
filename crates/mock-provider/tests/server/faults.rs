//! Every parameter of the script language, seen from the client.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Mock, Reply, chat, post, streamed};

const CHAT: &str = "/v1/chat/completions";

async fn statuses(mock: &Mock, model: &str, calls: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..calls {
        statuses.push(mock.chat(model).await.status.as_u16());
    }
    statuses
}

#[tokio::test]
async fn statuses_follow_the_list_and_stay_on_the_last() {
    let mock = Mock::start().await;
    for (model, expected) in [
        ("mock?status=503", [503, 503, 503, 503]),
        ("mock?status=500,429,200", [500, 429, 200, 200]),
        ("mock?status=200,201", [200, 201, 201, 201]),
        ("mock?status=302,200", [302, 200, 200, 200]),
    ] {
        assert_eq!(statuses(&mock, model, 4).await, expected, "{model}");
    }
}

#[tokio::test]
async fn attempts_of_one_request_share_a_position() {
    let mock = Mock::start().await;
    let model = "mock?status=500,429,200";
    let mut seen = Vec::new();
    for id in [Some("a.1"), Some("b.1"), Some("a.3"), None, Some("b.2"), Some("a.7")] {
        let mut request = post(CHAT, &chat(model));
        if let Some(id) = id {
            request.headers_mut().insert("pointsman-attempt-id", id.parse().expect("header"));
        }
        seen.push(mock.send(request).await.status.as_u16());
    }
    assert_eq!(seen, [500, 500, 429, 500, 429, 200]);
}

#[tokio::test]
async fn errors_have_openais_shape_and_say_when_to_come_back() {
    let mock = Mock::start().await;
    for (model, after, after_ms) in [
        ("mock?status=429", None, None),
        ("mock?status=429&retry-after=2", Some("2"), None),
        ("mock?status=503&retry-after=500ms", Some("1"), Some("500")),
        ("mock?retry-after=2", None, None),
    ] {
        let reply = mock.chat(model).await;
        assert_eq!(
            (reply.header("retry-after"), reply.header("retry-after-ms")),
            (after, after_ms),
            "{model}"
        );
        let error = &reply.json()["error"];
        assert_eq!(error.is_object(), !reply.status.is_success(), "{model}");
    }
    assert_eq!(mock.chat("mock?status=429").await.json()["error"]["type"], "rate_limit_error");
}

#[tokio::test]
async fn a_rate_refuses_what_is_above_it_per_model_name() {
    let mock = Mock::start().await;
    assert_eq!(statuses(&mock, "mock?rate=2/m", 4).await, [200, 200, 429, 429]);
    assert_eq!(statuses(&mock, "other?rate=2/m", 1).await, [200]);
    let refused = mock.chat("mock?rate=2/m").await;
    let wait: u64 = refused.header("retry-after").expect("header").parse().expect("seconds");
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");
}

#[tokio::test]
async fn delays_gaps_and_drips_take_their_time() {
    let mock = Mock::start().await;
    let took = async |body: &Value| {
        let start = Instant::now();
        let reply = mock.post(CHAT, body).await;
        assert_eq!((reply.status.as_u16(), reply.broken), (200, false), "{body}");
        (start.elapsed(), reply)
    };
    let ms = Duration::from_millis;
    assert!(took(&chat("mock?delay=120ms")).await.0 >= ms(120));
    let (gaps, reply) = took(&streamed("mock?chunks=5&gap=20ms")).await;
    assert!(gaps >= ms(80), "{gaps:?}");
    assert_eq!(reply.events().len(), 7);
    for body in [chat("mock?drip=1ms"), streamed("mock?drip=1ms&chunks=1&words=1")] {
        let (dripped, reply) = took(&body).await;
        assert!(dripped >= ms(reply.body.len() as u64 - 1), "{dripped:?} for {} bytes", reply.body.len());
        assert!(reply.body.len() > 100);
    }
}

#[tokio::test]
async fn length_is_what_the_script_says() {
    let mock = Mock::start().await;
    let content =
        |reply: &Reply| reply.json()["choices"][0]["message"]["content"].as_str().expect("text").to_owned();
    let words = mock.chat("mock?words=50").await;
    assert_eq!(content(&words).split(' ').count(), 50);
    assert_eq!(words.json()["usage"]["completion_tokens"], 50);
    assert!(content(&mock.chat("mock?size=5MB").await).len() >= 5_000_000);
    let error = mock.chat("mock?size=64KiB&status=500").await;
    assert!(error.body.len() >= 65_536 && error.json()["error"]["code"] == "scripted_status");
    let chunks = mock.post(CHAT, &streamed("mock?chunks=20")).await.events();
    assert_eq!(chunks.len(), 22, "role, content, finish");
}

#[tokio::test]
async fn an_abort_cuts_the_connection_at_the_byte() {
    let mock = Mock::start().await;
    for body in [chat("mock?abort=100"), streamed("mock?abort=100"), chat("mock?abort=100&status=500")] {
        let reply = mock.post(CHAT, &body).await;
        assert_eq!((reply.body.len(), reply.broken), (100, true), "{body}");
    }
    let reply = mock.chat("mock?abort=100000").await;
    assert_eq!(
        (reply.json()["object"].as_str(), reply.broken),
        (Some("chat.completion"), false),
        "too short to cut"
    );
    let dripped = mock.chat("mock?abort=3&drip=1ms").await;
    assert_eq!((&dripped.body[..], dripped.broken), (&b"{\"i"[..], true));
    for body in [chat("mock?abort=0"), streamed("mock?abort=0")] {
        let failed = mock.client().await.open(post(CHAT, &body)).await;
        assert!(failed.is_err_and(|err| err.is_incomplete_message()), "{body}");
    }
    assert!(mock.client().await.open(post(CHAT, &chat("mock?abort=0,no"))).await.is_err());
    assert_eq!(mock.chat("mock?abort=0,no").await.status, 200, "the second call is spared");
}

#[tokio::test]
async fn malformed_answers_do_not_parse() {
    let mock = Mock::start().await;
    let parses = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).is_ok();
    for model in ["mock?malformed=json", "mock?malformed=json&status=500"] {
        let reply = mock.chat(model).await;
        assert!(!parses(&reply.body) && !reply.broken, "{model}");
    }
    let data = |reply: &Reply| -> Vec<Vec<u8>> {
        let text = String::from_utf8(reply.body.to_vec()).expect("text");
        text.split_terminator("\n\n")
            .map(|e| e.replace("\ndata: ", "\n").replacen("data: ", "", 1).into())
            .collect()
    };
    let json = mock.post(CHAT, &streamed("mock?malformed=json&chunks=3")).await;
    let good: Vec<_> = data(&json).iter().map(|event| parses(event)).collect();
    assert_eq!(
        good,
        [true, false, true, true, true, false],
        "role, broken, content, content, finish, [DONE]"
    );
    let sse = mock.post(CHAT, &streamed("mock?malformed=sse&chunks=3")).await;
    let good: Vec<_> = data(&sse).iter().map(|event| parses(event)).collect();
    assert_eq!(good, [true, false, true, true], "role, two in one, content, finish");
    assert!(
        mock.chat("mock?malformed=sse").await.json()["choices"].is_array(),
        "nothing to break without a stream"
    );
}

#[tokio::test]
async fn usage_can_be_left_out() {
    let mock = Mock::start().await;
    assert!(mock.chat("mock?usage=full").await.json()["usage"].is_object());
    assert!(mock.chat("mock?usage=none").await.json().get("usage").is_none());
    let mut body = streamed("mock?usage=none&chunks=1");
    body["stream_options"] = json!({"include_usage": true});
    let events = mock.post(CHAT, &body).await.events();
    assert!(events.len() == 3 && events.iter().all(|event| event.get("usage").is_none()));
    let embeddings = json!({"model": "mock?usage=none", "input": "a"});
    assert!(mock.post("/v1/embeddings", &embeddings).await.json().get("usage").is_none());
}

#[tokio::test]
async fn content_type_and_error_body_lie() {
    let mock = Mock::start().await;
    let html = mock.chat("mock?content-type=text/html").await;
    assert_eq!(html.header("content-type"), Some("text/html"));
    assert!(html.json()["choices"].is_array());
    let stream = mock.post(CHAT, &streamed("mock?content-type=application/json")).await;
    assert_eq!(stream.header("content-type"), Some("application/json"));

    let plain = mock.chat("mock?error-body").await;
    assert_eq!((plain.status.as_u16(), &plain.json()["error"]["code"]), (200, &json!("scripted_error_body")));
    let stream = mock.post(CHAT, &streamed("mock?error-body")).await;
    assert_eq!(stream.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let text = std::str::from_utf8(&stream.body).expect("text");
    assert!(text.starts_with("data: {\"error\":{") && text.ends_with("}}\n\n"), "{text}");
}
