//! Every dialect takes the same script, says the same words and pays the same bill.

use serde_json::{Value, json};

use crate::harness::{Mock, Reply, encoded, post_with, sse};
use crate::{anthropic, bedrock, gemini};

/// How a dialect asks `hello world` after a system message of one word.
struct Dialect {
    name: &'static str,
    /// Path and body for a model, streamed or not.
    ask: fn(&str, bool) -> (String, Value),
    headers: &'static [(&'static str, &'static str)],
    /// Where the text is, whole and in an event.
    text: &'static str,
    delta: &'static str,
    /// Where an error says what kind it is, and the kind of a 429, a 529, and of one in the middle of a stream.
    error: (&'static str, &'static str, &'static str, &'static str),
    /// Takes the stream apart.
    events: fn(&[u8]) -> Vec<Value>,
    /// Where token counts are, whole.
    usage: &'static str,
}

fn data(body: &[u8]) -> Vec<Value> {
    sse(body).into_iter().map(|(_, data)| data).collect()
}

const DIALECTS: &[Dialect] = &[
    Dialect {
        name: "openai",
        ask: |model, stream| {
            let messages =
                json!([{"role": "system", "content": "short"}, {"role": "user", "content": "hello world"}]);
            (
                "/v1/chat/completions".to_owned(),
                json!({"model": model, "messages": messages, "stream": stream}),
            )
        },
        headers: &[],
        text: "/choices/0/message/content",
        delta: "/choices/0/delta/content",
        error: ("/error/type", "rate_limit_error", "server_error", "server_error"),
        events: data,
        usage: "/usage",
    },
    Dialect {
        name: "anthropic",
        ask: |model, stream| {
            let messages = json!([{"role": "user", "content": "hello world"}]);
            let body = json!({
                "model": model, "max_tokens": 1_000_000, "system": "short", "messages": messages, "stream": stream,
            });
            ("/v1/messages".to_owned(), body)
        },
        headers: anthropic::HEADERS,
        text: "/content/0/text",
        delta: "/delta/text",
        error: ("/error/type", "rate_limit_error", "overloaded_error", "overloaded_error"),
        events: data,
        usage: "/usage",
    },
    Dialect {
        name: "bedrock",
        ask: |model, stream| {
            let verb = if stream { "converse-stream" } else { "converse" };
            let body = json!({
                "system": [{"text": "short"}], "messages": [{"role": "user", "content": [{"text": "hello world"}]}],
            });
            (format!("/model/{}/{verb}", encoded(model)), body)
        },
        headers: &[("authorization", "Bearer bedrock-api-key")],
        text: "/output/message/content/0/text",
        delta: "/delta/text",
        error: (
            "/:type",
            "ThrottlingException",
            "ServiceUnavailableException",
            "ServiceUnavailableException",
        ),
        events: bedrock::frames,
        usage: "/usage",
    },
    Dialect {
        name: "claude in bedrock",
        ask: |model, stream| {
            let verb = if stream { "invoke-with-response-stream" } else { "invoke" };
            let body = json!({
                "anthropic_version": "bedrock-2023-05-31", "max_tokens": 1_000_000, "system": "short",
                "messages": [{"role": "user", "content": "hello world"}],
            });
            (format!("/model/{}/{verb}", encoded(model)), body)
        },
        headers: &[("authorization", "Bearer bedrock-api-key")],
        text: "/content/0/text",
        delta: "/delta/text",
        error: (
            "/:type",
            "ThrottlingException",
            "ServiceUnavailableException",
            "ServiceUnavailableException",
        ),
        events: bedrock::frames,
        usage: "/usage",
    },
    Dialect {
        name: "gemini",
        ask: |model, stream| {
            let verb = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
            (format!("/v1beta/models/{}:{verb}", encoded(model)), gemini::body())
        },
        headers: gemini::HEADERS,
        text: "/candidates/0/content/parts/0/text",
        delta: "/candidates/0/content/parts/0/text",
        error: ("/error/status", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNAVAILABLE"),
        events: data,
        usage: "/usageMetadata",
    },
    Dialect {
        name: "gemini as an array",
        ask: |model, stream| {
            let verb = if stream { "streamGenerateContent" } else { "generateContent" };
            (format!("/v1beta/models/{}:{verb}", encoded(model)), gemini::body())
        },
        headers: gemini::HEADERS,
        text: "/candidates/0/content/parts/0/text",
        delta: "/candidates/0/content/parts/0/text",
        error: ("/error/status", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNAVAILABLE"),
        events: |body| serde_json::from_slice(body).expect("an array"),
        usage: "/usageMetadata",
    },
    Dialect {
        name: "responses",
        ask: |model, stream| {
            let body =
                json!({"model": model, "instructions": "short", "input": "hello world", "stream": stream});
            ("/v1/responses".to_owned(), body)
        },
        headers: &[],
        text: "/output/0/content/0/text",
        delta: "/delta",
        error: ("/error/type|/code", "rate_limit_error", "server_error", "server_error"),
        events: data,
        usage: "/usage",
    },
    Dialect {
        name: "azure",
        ask: |model, stream| {
            let messages =
                json!([{"role": "system", "content": "short"}, {"role": "user", "content": "hello world"}]);
            let path =
                format!("/openai/deployments/{}/chat/completions?api-version=2024-10-21", encoded(model));
            (path, json!({"messages": messages, "stream": stream}))
        },
        headers: &[("api-key", "k")],
        text: "/choices/0/message/content",
        delta: "/choices/0/delta/content",
        error: ("/error/code", "429", "ServiceUnavailable", "ServiceUnavailable"),
        events: data,
        usage: "/usage",
    },
    Dialect {
        name: "cohere",
        ask: |model, stream| {
            let messages =
                json!([{"role": "system", "content": "short"}, {"role": "user", "content": "hello world"}]);
            ("/v2/chat".to_owned(), json!({"model": model, "messages": messages, "stream": stream}))
        },
        headers: &[("authorization", "Bearer k")],
        text: "/message/content/0/text",
        delta: "/delta/message/content/text",
        error: ("/message|/delta/finish_reason", SCRIPTED_429, SCRIPTED_529, "ERROR"),
        events: data,
        usage: "/usage",
    },
    Dialect {
        name: "ollama",
        ask: |model, stream| {
            let messages =
                json!([{"role": "system", "content": "short"}, {"role": "user", "content": "hello world"}]);
            ("/api/chat".to_owned(), json!({"model": model, "messages": messages, "stream": stream}))
        },
        headers: &[],
        text: "/message/content",
        delta: "/message/content",
        error: (
            "/error",
            SCRIPTED_429,
            SCRIPTED_529,
            "the script in the model name asks for this error in the stream",
        ),
        events: |body| {
            let lines = std::str::from_utf8(body).expect("text").lines();
            lines.map(|line| serde_json::from_str(line).expect("json")).collect()
        },
        usage: "/eval_count",
    },
    Dialect {
        name: "workers ai",
        ask: |model, stream| {
            let messages =
                json!([{"role": "system", "content": "short"}, {"role": "user", "content": "hello world"}]);
            let path = format!("/client/v4/accounts/a/ai/run/{}", encoded(model));
            (path, json!({"messages": messages, "stream": stream}))
        },
        headers: &[("authorization", "Bearer k")],
        text: "/result/response",
        delta: "/response",
        error: ("/errors/0/code", "3036", "3040", "3040"),
        events: data,
        usage: "/result/usage",
    },
];

const SCRIPTED_429: &str = "the script in the model name asks for this error (status 429)";
const SCRIPTED_529: &str = "the script in the model name asks for this error (status 529)";

impl Dialect {
    async fn send(&self, mock: &Mock, script: &str, stream: bool) -> Reply {
        let (path, body) = (self.ask)(&format!("mock{script}"), stream);
        mock.send(post_with(&path, self.headers, &body)).await
    }

    /// What an answer says is wrong; AWS says it in a header.
    fn told(&self, reply: &Reply) -> String {
        reply.header("x-amzn-errortype").map_or_else(|| self.kind(&reply.json()), str::to_owned)
    }

    fn kind(&self, error: &Value) -> String {
        let kind = self.error.0.split('|').find_map(|place| error.pointer(place));
        let kind = kind.unwrap_or_else(|| panic!("{}: {error}", self.name));
        kind.as_str().map_or_else(|| kind.to_string(), str::to_owned)
    }

    fn joined(&self, events: &[Value]) -> String {
        events.iter().filter_map(|event| event.pointer(self.delta)?.as_str()).collect()
    }
}

#[tokio::test]
async fn all_say_the_same_streamed_or_not() {
    for dialect in DIALECTS {
        let mock = Mock::start().await;
        for script in ["", "?chunks=7", "?words=30&chunks=4"] {
            let whole = dialect.send(&mock, script, false).await;
            assert_eq!(whole.status, 200, "{}: {:?}", dialect.name, whole.body);
            let text = whole.json().pointer(dialect.text).and_then(Value::as_str).map(str::to_owned);
            let text = text.unwrap_or_else(|| panic!("{}: {:?}", dialect.name, whole.body));
            assert!(text.starts_with("mock heard: hello world"), "{}: {text}", dialect.name);
            let stream = dialect.send(&mock, script, true).await;
            assert_eq!(dialect.joined(&(dialect.events)(&stream.body)), text, "{}", dialect.name);
        }
    }
}

#[tokio::test]
async fn all_pay_the_same_bill() {
    for dialect in DIALECTS {
        let mock = Mock::start().await;
        dialect.send(&mock, "", false).await;
        dialect.send(&mock, "", true).await;
        dialect.send(&mock, "?status=500", true).await;
        let bill = mock.get("/bill").await;
        let totals = json!({"calls": 2, "input_tokens": 6, "output_tokens": 8});
        assert_eq!(bill["models"]["mock"], totals, "{}", dialect.name);
        let failed = json!({"calls": 1, "input_tokens": 0, "output_tokens": 0});
        assert_eq!(bill["models"]["mock?status=500"], failed, "{}", dialect.name);
        let statuses: Vec<_> =
            bill["attempts"].as_array().expect("rows").iter().map(|row| &row["status"]).collect();
        assert_eq!(statuses, [200, 200, 500], "{}", dialect.name);
    }
}

#[tokio::test]
async fn all_fail_in_their_own_words() {
    for dialect in DIALECTS {
        let mock = Mock::start().await;
        let limited = dialect.send(&mock, "?status=429,529,200&retry-after=2", false).await;
        assert_eq!(
            (limited.status.as_u16(), limited.header("retry-after")),
            (429, Some("2")),
            "{}",
            dialect.name
        );
        assert_eq!(dialect.told(&limited), dialect.error.1, "{}", dialect.name);
        let overloaded = dialect.send(&mock, "?status=429,529,200&retry-after=2", false).await;
        assert_eq!(dialect.told(&overloaded), dialect.error.2, "{}", dialect.name);
        let last = dialect.send(&mock, "?status=429,529,200&retry-after=2", false).await;
        assert_eq!(last.status, 200, "{}", dialect.name);
        let lied = dialect.send(&mock, "?error-body", false).await;
        assert_eq!(lied.status, 200);
        dialect.told(&lied);
        let refused = dialect.send(&mock, "?colour=red", false).await;
        assert_eq!(refused.status, 400);
        dialect.told(&refused);
    }
}

#[tokio::test]
async fn all_break_off_in_mid_stream() {
    for dialect in DIALECTS {
        let mock = Mock::start().await;
        let reply = dialect.send(&mock, "?chunks=4&error-after=2", true).await;
        assert_eq!((reply.status.as_u16(), reply.broken), (200, false), "{}", dialect.name);
        let events = (dialect.events)(&reply.body);
        let (last, before) = events.split_last().expect("events");
        assert_eq!(dialect.joined(before), "mock heard:", "{}", dialect.name);
        let kind = dialect.kind(last);
        assert!(kind.eq_ignore_ascii_case(dialect.error.3), "{}: {last}", dialect.name);
        let row = mock.only_row().await;
        assert_eq!(row["output_tokens"], 2, "{}", dialect.name);

        let only = dialect.send(&mock, "?error-body", true).await;
        let events = (dialect.events)(&only.body);
        assert_eq!(events.len(), 1, "{}", dialect.name);
        dialect.kind(&events[0]);
    }
}

#[tokio::test]
async fn all_can_be_cut_and_garbled() {
    for dialect in DIALECTS {
        let mock = Mock::start().await;
        for stream in [false, true] {
            let cut = dialect.send(&mock, "?abort=40&words=40", stream).await;
            assert_eq!((cut.body.len(), cut.broken), (40, true), "{}", dialect.name);
        }
        let garbled = dialect.send(&mock, "?malformed=json", false).await;
        assert!(serde_json::from_slice::<Value>(&garbled.body).is_err(), "{}", dialect.name);
        let whole = dialect.send(&mock, "?chunks=3", true).await;
        for fault in ["json", "sse"] {
            let broken = dialect.send(&mock, &format!("?chunks=3&malformed={fault}"), true).await;
            assert_eq!((broken.status.as_u16(), broken.broken), (200, false), "{}", dialect.name);
            assert_ne!(broken.body, whole.body, "{} {fault}", dialect.name);
        }
        let silent = dialect.send(&mock, "?usage=none", false).await.json();
        assert_eq!(silent.pointer(dialect.usage), None, "{}", dialect.name);
        let counted = dialect.send(&mock, "", false).await.json();
        assert!(counted.pointer(dialect.usage).is_some(), "{}", dialect.name);
    }
}

#[tokio::test]
async fn requests_are_kept_with_headers_and_body() {
    for dialect in DIALECTS {
        let mock = Mock::start().await;
        dialect.send(&mock, "?log", false).await;
        let requests = mock.get("/requests?last=1").await;
        let kept = &requests["requests"][0];
        let (path, body) = (dialect.ask)("mock?log", false);
        assert_eq!((kept["method"].as_str(), kept["path"].as_str()), (Some("POST"), Some(path.as_str())));
        for (name, value) in dialect.headers {
            assert_eq!(kept["headers"][*name], *value, "{}", dialect.name);
        }
        let sent: Value = serde_json::from_str(kept["body"].as_str().expect("text")).expect("json");
        assert_eq!(sent, body, "{}", dialect.name);
    }
}
