//! Every dialect to every format, over the broker, against a provider that speaks the format and checks signatures.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::harness::client::{Answer, Client, Observer};
use system_tests::harness::{Mock, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

/// Targets of one mock provider in several formats.
struct Targets {
    root: String,
    service_account: String,
}

impl Targets {
    async fn at(mock: &str) -> Self {
        let root = mock.trim_end_matches("/v1").to_owned();
        let service_account = Mock::at(mock).get("/google/service-account").await.to_string();
        Self { root, service_account }
    }

    fn openai(&self) -> Value {
        json!({ "provider": "openai", "api_key": "sk-1", "custom_host": format!("{}/v1", self.root) })
    }

    fn anthropic(&self) -> Value {
        json!({ "provider": "anthropic", "api_key": "sk-ant-1", "custom_host": format!("{}/anthropic/v1", self.root) })
    }

    fn gemini(&self) -> Value {
        json!({ "provider": "google", "api_key": "AIza1", "custom_host": format!("{}/v1beta", self.root) })
    }

    fn vertex(&self) -> Value {
        json!({ "provider": "vertex-ai", "vertex_project_id": "project", "vertex_region": "europe-west4",
                "vertex_service_account_json": self.service_account, "custom_host": format!("{}/v1", self.root) })
    }

    fn bedrock(&self) -> Value {
        json!({ "provider": "bedrock", "aws_access_key_id": "AKIDEXAMPLE", "aws_region": "us-east-1",
                "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "custom_host": self.root })
    }

    fn all(&self) -> [(&'static str, Value); 5] {
        [
            ("openai", self.openai()),
            ("anthropic", self.anthropic()),
            ("google", self.gemini()),
            ("vertex-ai", self.vertex()),
            ("bedrock", self.bedrock()),
        ]
    }
}

/// The same question in three dialects: path, body.
fn questions(model: &str, stream: bool) -> [(&'static str, Value); 3] {
    let messages = json!([{ "role": "user", "content": "hello there" }]);
    [
        ("/v1/chat/completions", json!({ "model": model, "messages": messages, "stream": stream })),
        (
            "/v1/messages",
            json!({ "model": model, "messages": messages, "stream": stream, "max_tokens": 100 }),
        ),
        ("/v1/responses", json!({ "model": model, "input": "hello there", "stream": stream })),
    ]
}

async fn ask(client: &Client, path: &str, body: &Value, config: &Value) -> Answer {
    let request = client.request(Method::POST, path).json(body);
    client.send(request.header("x-portkey-config", config.to_string())).await
}

/// The text of an answer in the dialect of a path.
fn text(path: &str, answer: &Answer) -> String {
    let place = match path {
        "/v1/chat/completions" => "/choices/0/message/content",
        "/v1/messages" => "/content/0/text",
        _ => "/output/0/content/0/text",
    };
    answer.body.pointer(place).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The text of a streamed answer, and whether it says that it is complete.
fn streamed(path: &str, answer: &Answer) -> (String, bool) {
    let data = answer.text.lines().filter_map(|line| line.strip_prefix("data: "));
    let (mut text, mut complete) = (String::new(), false);
    for data in data {
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        let (place, end) = match path {
            "/v1/chat/completions" => ("/choices/0/delta/content", data == "[DONE]"),
            "/v1/messages" => ("/delta/text", event["type"] == "message_stop"),
            _ if event["type"] == "response.output_text.delta" => ("/delta", false),
            _ => ("/nothing", event["type"] == "response.completed"),
        };
        text.push_str(event.pointer(place).and_then(Value::as_str).unwrap_or_default());
        complete |= end;
    }
    (text, complete)
}

fn open(dir: &std::path::Path) -> system_tests::harness::Pointsman {
    crate::up(dir).set("http.trusted_custom_hosts", r#"["127.0.0.1"]"#).ready()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dialect_is_answered_by_every_format_and_every_token_is_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = open(dir.path());
    let (client, mock) = (Client::new(&gateway.http()), Mock::at(&gateway.mock()));
    let targets = Targets::at(&gateway.mock()).await;
    let observer = Observer::connect(&gateway.nats()).await;
    let mut ids = Vec::new();
    for (provider, config) in targets.all() {
        for stream in [false, true] {
            for (path, body) in questions(&format!("{provider}-model"), stream) {
                let what = format!("{path} {provider} stream: {stream}");
                let answer = ask(&client, path, &body, &config).await;
                assert_eq!(answer.status, 200, "{what}: {}", answer.text);
                assert_eq!(answer.headers["x-pointsman-provider"], provider, "{what}");
                let heard = format!("{provider}-model heard: hello there");
                if stream {
                    assert_eq!(streamed(path, &answer), (heard, true), "{what}: {}", answer.text);
                } else {
                    assert_eq!(text(path, &answer), heard, "{what}: {}", answer.text);
                }
                ids.push((what, answer.headers["pointsman-request-id"].clone()));
            }
        }
    }
    let events = eventually("every attempt is reported", PATIENCE, || async {
        let events = observer.attempts().await;
        (events.len() == ids.len()).then_some(events)
    })
    .await;
    let recorded = |count: fn(&domain::Usage) -> u64| -> u64 {
        events.iter().filter_map(|event| event.attempt.as_ref()?.usage.as_ref().map(count)).sum()
    };
    let bill = mock.bill().await;
    assert_eq!(bill.attempts.len(), ids.len());
    let billed = |count: fn(&system_tests::harness::mock::Row) -> u64| -> u64 {
        bill.attempts.iter().map(count).sum()
    };
    assert_eq!(recorded(|usage| usage.input), billed(|row| row.input_tokens));
    assert_eq!(recorded(|usage| usage.output), billed(|row| row.output_tokens));
    for (what, id) in ids {
        let event = events.iter().find(|event| event.request.local() == id).expect("its event");
        assert!(event.attempt.as_ref().unwrap().usage.is_some(), "{what} has no usage");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_cannot_take_is_reported_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = open(dir.path());
    let (client, mock) = (Client::new(&gateway.http()), Mock::at(&gateway.mock()));
    let targets = Targets::at(&gateway.mock()).await;
    let mut body = questions("claude-sonnet-4-5", false)[0].1.clone();
    body["logit_bias"] = json!({ "50256": -100 });
    body["seed"] = json!(7);
    let answer = ask(&client, "/v1/chat/completions", &body, &targets.anthropic()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let dropped = &answer.headers["x-pointsman-dropped-params"];
    assert!(dropped.contains("logit_bias") && dropped.contains("seed"), "{dropped}");
    let shown = client
        .send(
            client.request(Method::GET, &format!("/v1/requests/{}", answer.headers["pointsman-request-id"])),
        )
        .await;
    let recorded = &shown.body["attempts"][0]["dropped"];
    assert!(recorded.as_array().is_some_and(|names| names.contains(&json!("seed"))), "{}", shown.text);

    let calls = mock.bill().await.attempts.len();
    let mut strict = targets.anthropic();
    strict["unsupported_params"] = json!("reject");
    let refused = ask(&client, "/v1/chat/completions", &body, &strict).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert_eq!(refused.body["error"]["code"], "unsupported_parameter");
    assert!(refused.text.contains("logit_bias") && refused.text.contains("anthropic"), "{}", refused.text);
    assert_eq!(mock.bill().await.attempts.len(), calls, "nothing was sent");

    // A target that refuses leaves the request to the next.
    let both = json!({ "strategy": { "mode": "fallback" }, "targets": [strict, targets.openai()] });
    let answer = ask(&client, "/v1/chat/completions", &body, &both).await;
    assert_eq!(
        (answer.status, answer.headers["x-pointsman-provider"].as_str()),
        (200, "openai"),
        "{}",
        answer.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_come_in_the_callers_dialect() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = open(dir.path());
    let client = Client::new(&gateway.http());
    let targets = Targets::at(&gateway.mock()).await;
    for (provider, config) in targets.all() {
        for (path, body) in questions("fails?status=429&retry-after=3", false) {
            let what = format!("{path} {provider}");
            let answer = ask(&client, path, &body, &config).await;
            assert_eq!(answer.status, 429, "{what}: {}", answer.text);
            assert_eq!(answer.headers["retry-after"], "3", "{what}");
            let message = answer.body["error"]["message"].as_str().unwrap_or_default();
            assert!(message.starts_with(&format!("{provider} error: ")), "{what}: {}", answer.text);
            if path == "/v1/messages" {
                assert_eq!(answer.body["type"], "error", "{what}");
                assert_eq!(answer.body["error"]["type"], "rate_limit_error", "{what}");
            }
        }
        // In the middle of a stream the status has been sent; the error is an event of the caller's dialect.
        for (path, body) in questions("breaks?chunks=6&error-after=2", true) {
            let what = format!("{path} {provider}");
            let answer = ask(&client, path, &body, &config).await;
            assert_eq!(answer.status, 200, "{what}: {}", answer.text);
            let (said, complete) = streamed(path, &answer);
            assert!(!said.is_empty() && !complete, "{what}: {}", answer.text);
            let last = answer.text.trim_end().rsplit("\n\n").next().unwrap_or_default();
            assert!(last.contains("error"), "{what}: {}", answer.text);
        }
    }
    // Ours as well.
    let answer =
        client.send(client.request(Method::POST, "/v1/messages").json(&json!({ "model": "m" }))).await;
    assert_eq!((answer.status, &answer.body["type"]), (400, &json!("error")), "{}", answer.text);
    assert_eq!(answer.body["error"]["type"], "invalid_request_error");
    assert!(answer.body["error"]["message"].as_str().unwrap_or_default().contains("messages"));
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_and_access_tokens_are_checked_by_the_other_side() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = open(dir.path());
    let client = Client::new(&gateway.http());
    let targets = Targets::at(&gateway.mock()).await;
    let body = &questions("m", false)[0].1;
    let chat = |config: Value| {
        let client = client.clone();
        async move { ask(&client, "/v1/chat/completions", body, &config).await }
    };
    let mut wrong = targets.bedrock();
    wrong["aws_secret_access_key"] = json!("another");
    let answer = chat(wrong).await;
    assert_eq!(answer.status, 403, "{}", answer.text);
    let mut nowhere = targets.bedrock();
    nowhere.as_object_mut().unwrap().remove("aws_region");
    nowhere.as_object_mut().unwrap().remove("custom_host");
    let answer = chat(nowhere).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("aws_region") && answer.text.contains("bedrock"), "{}", answer.text);
    let temporary = json!({ "provider": "bedrock", "aws_access_key_id": "ASIAEXAMPLE", "aws_region": "us-east-1",
        "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYSESSIONKEY", "aws_session_token": "mock-session-token",
        "custom_host": targets.root });
    assert_eq!(chat(temporary).await.status, 200);
    let by_header = client
        .request(Method::POST, "/v1/chat/completions")
        .json(body)
        .header("x-portkey-provider", "bedrock")
        .header("x-portkey-custom-host", &targets.root)
        .header("x-portkey-aws-access-key-id", "AKIDEXAMPLE")
        .header("x-portkey-aws-secret-access-key", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
        .header("x-portkey-aws-region", "us-east-1");
    let answer = client.send(by_header).await;
    assert_eq!(answer.status, 200, "{}", answer.text);

    let mut refused = targets.vertex();
    let mut account: Value = serde_json::from_str(&targets.service_account).unwrap();
    account["token_uri"] = json!(format!("{}?status=401", account["token_uri"].as_str().unwrap()));
    refused["vertex_service_account_json"] = json!(account.to_string());
    let answer = chat(refused).await;
    assert_eq!(answer.status, 401, "{}", answer.text);
    assert!(answer.text.contains("token endpoint"), "{}", answer.text);
    // The key file may also be the credential, and Claude is spoken to by its own API there.
    let claude = json!({ "provider": "vertex-ai", "vertex_project_id": "project", "vertex_region": "europe-west4",
        "api_key": targets.service_account, "custom_host": format!("{}/v1", targets.root),
        "override_params": { "model": "anthropic.claude-sonnet-4-5" } });
    let answer = chat(claude).await;
    assert_eq!(
        (answer.status, answer.content()),
        (200, "claude-sonnet-4-5 heard: hello there"),
        "{}",
        answer.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_ask_in_their_dialect_over_the_bus() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = open(dir.path());
    let observer = Observer::connect(&gateway.nats()).await;
    let body = questions("m", false)[1].1.to_string();
    let mut inbox = observer.client().subscribe("answers").await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Pointsman-Reply-To", "answers");
    let subject = "llm.request.messages";
    observer.js().publish_with_headers(subject, headers, body.clone().into()).await.unwrap().await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, futures::StreamExt::next(&mut inbox)).await.unwrap().unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer["content"][0]["text"], "m heard: hello there", "{answer}");
    let asked = observer.client().request("llm.ask.messages", body.into()).await.unwrap();
    let asked: Value = serde_json::from_slice(&asked.payload).unwrap();
    assert_eq!(asked["type"], "message", "{asked}");
}
