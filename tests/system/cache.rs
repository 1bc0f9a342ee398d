//! Answers that are given again: to whom, in which form, and when not.

mod collapse;
mod failure;
mod semantic;

use std::path::Path;
use std::time::Duration;

use domain::cache::Status;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::harness::client::{Answer, Client, Observer, chat};
use system_tests::harness::process::Start;
use system_tests::harness::{Mock, Pointsman, eventually};
use tokio::runtime::Handle;

use crate::up;

const PATIENCE: Duration = Duration::from_secs(20);

const STATUS: &str = "x-portkey-cache-status";
const CONFIG: &str = "x-portkey-config";

/// A gateway with everything, and clients of it.
struct Gateway {
    dir: tempfile::TempDir,
    pointsman: Pointsman,
    client: Client,
    mock: Mock,
}

impl Gateway {
    fn start() -> Self {
        Self::start_with(|start| start)
    }

    fn start_with(set: impl FnOnce(Start) -> Start) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pointsman = set(up(dir.path()).set("cache.lookup_timeout", "2s")).ready();
        // Requests before the cache answers go to providers without it.
        tokio::task::block_in_place(|| Handle::current().block_on(stored(&pointsman, 0)));
        let client = Client::new(&pointsman.http());
        let mock = Mock::at(&pointsman.mock());
        Self { dir, pointsman, client, mock }
    }

    /// Sends a chat with a config that has this `cache`.
    async fn ask(&self, cache: &Value, body: &Value) -> Answer {
        self.ask_at("/v1/chat/completions", cache, body, &[]).await
    }

    async fn ask_at(&self, path: &str, cache: &Value, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let request = self.client.request(Method::POST, path).json(body);
        let request = request.header(CONFIG, json!({ "cache": cache, "provider": "mock" }).to_string());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.client.send(request).await
    }

    /// Calls that the mock has had for a model.
    async fn calls(&self, model: &str) -> u64 {
        let bill = self.mock.get("/bill").await;
        bill["models"][model]["calls"].as_u64().unwrap_or(0)
    }

    /// Waits until a node holds so many answers.
    async fn stored(&self, entries: u64) {
        stored(&self.pointsman, entries).await;
    }
}

/// Waits until each node of a gateway's broker holds so many answers.
async fn stored(pointsman: &Pointsman, entries: u64) {
    let observer = Observer::connect(&pointsman.nats()).await;
    let bus = observer.bus(&pointsman.nats()).await;
    // What a busy machine did not acknowledge in time comes again after half a minute.
    let until = tokio::time::Instant::now() + 3 * PATIENCE;
    loop {
        let nodes = bus.cache_nodes().await;
        if !nodes.is_empty() && nodes.iter().all(|node| node.entries == entries) {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "{entries} answers are not kept: {nodes:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn simple() -> Value {
    json!({ "mode": "simple" })
}

#[track_caller]
fn check_status(answer: &Answer, expected: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text);
    for name in [STATUS, "x-pointsman-cache-status"] {
        assert_eq!(answer.headers.get(name).map(String::as_str), Some(expected), "{}", answer.text);
    }
}

/// Operations whose answers are kept, each with a body.
fn questions() -> Vec<(&'static str, Value)> {
    let messages = json!([{ "role": "user", "content": "hello there" }]);
    vec![
        ("/v1/chat/completions", json!({ "model": "a", "messages": messages })),
        ("/v1/completions", json!({ "model": "b", "prompt": "hello there" })),
        ("/v1/embeddings", json!({ "model": "c", "input": "hello there" })),
        ("/v1/messages", json!({ "model": "d", "messages": messages, "max_tokens": 100 })),
        ("/v1/responses", json!({ "model": "e", "input": "hello there", "store": false })),
        ("/v1/moderations", json!({ "model": "f", "input": "hello there" })),
        ("/v1/rerank", json!({ "model": "g", "query": "hello", "documents": ["hello", "there"] })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_answered_once_in_every_dialect() {
    let gateway = Gateway::start();
    for (path, body) in questions() {
        let first = gateway.ask_at(path, &simple(), &body, &[]).await;
        check_status(&first, "MISS");
        let second = gateway.ask_at(path, &simple(), &body, &[]).await;
        check_status(&second, "HIT");
        assert_eq!(second.body, first.body, "{path}");
        assert_eq!(second.headers["x-portkey-provider"], "mock");
        assert_eq!(second.headers["x-portkey-retry-attempt-count"], "0");
        let entry = &first.headers["pointsman-request-id"];
        assert_eq!(&second.headers["x-pointsman-cache-entry"], entry, "{path}");
        assert!(second.headers.contains_key("x-pointsman-cache-age"), "{path}");
        assert_ne!(&second.headers["pointsman-request-id"], entry);
        let model = body["model"].as_str().unwrap();
        assert_eq!(gateway.calls(model).await, 1, "{path}");
    }
    gateway.stored(7).await;
    // From the store now, not from the answer that had just been given.
    tokio::time::sleep(Duration::from_secs(6)).await;
    for (path, body) in questions() {
        let again = gateway.ask_at(path, &simple(), &body, &[]).await;
        check_status(&again, "HIT");
        assert!(!again.headers.contains_key("x-pointsman-cache-shared"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streamed_and_whole_answers_serve_each_other() {
    let gateway = Gateway::start();
    for (path, mut body) in questions() {
        if ["/v1/embeddings", "/v1/moderations", "/v1/rerank"].contains(&path) {
            continue;
        }
        for begins_streamed in [false, true] {
            body["user"] = json!(begins_streamed.to_string());
            if path == "/v1/messages" {
                body.as_object_mut().unwrap().remove("user");
                body["metadata"] = json!({ "user_id": begins_streamed.to_string() });
            }
            body["stream"] = json!(begins_streamed);
            let first = gateway.ask_at(path, &simple(), &body, &[]).await;
            check_status(&first, "MISS");
            body["stream"] = json!(!begins_streamed);
            let second = gateway.ask_at(path, &simple(), &body, &[]).await;
            check_status(&second, "HIT");
            let streamed = if begins_streamed { &first } else { &second };
            let whole = if begins_streamed { &second } else { &first };
            assert!(streamed.headers["content-type"].starts_with("text/event-stream"), "{path}");
            assert!(whole.headers["content-type"].starts_with("application/json"), "{path}");
            let usage = &whole.body["usage"];
            assert!(usage.is_object(), "{path}: {}", whole.text);
            body["stream"] = json!(begins_streamed);
            let third = gateway.ask_at(path, &simple(), &body, &[]).await;
            check_status(&third, "HIT");
        }
    }
    let body = json!({ "model": "s", "messages": [{ "role": "user", "content": "hi" }], "stream": true });
    let first = gateway.ask(&simple(), &body).await;
    let second = gateway.ask(&simple(), &body).await;
    check_status(&second, "HIT");
    assert_eq!(second.streamed(), first.streamed());
    assert_eq!(second.events().last().unwrap(), "[DONE]");
    assert!(!second.text.contains("\"usage\":{"), "nobody asked for it: {}", second.text);
}

/// Everything that shapes an answer: change one of it and it is another request.
fn changes() -> Vec<(&'static str, Value)> {
    vec![
        ("temperature", json!(0.5)),
        ("top_p", json!(0.5)),
        ("max_tokens", json!(50)),
        ("seed", json!(7)),
        ("stop", json!(["."])),
        ("user", json!("ann")),
        ("n", json!(2)),
        ("response_format", json!({ "type": "text" })),
        ("logit_bias", json!({ "5": 1 })),
        ("tools", json!([{ "type": "function", "function": { "name": "f", "parameters": {} } }])),
        ("model", json!("other")),
        ("a_field_of_tomorrow", json!(true)),
        (
            "messages",
            json!([{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "hello there" }]),
        ),
        (
            "messages",
            json!([
                { "role": "user", "content": "hi" }, { "role": "assistant", "content": "hi" },
                { "role": "user", "content": "hello there" },
            ]),
        ),
        ("messages", json!([{ "role": "user", "content": "hello there", "name": "ann" }])),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_shapes_the_answer_has_to_be_the_same() {
    let gateway = Gateway::start();
    let body = chat("mock", "hello there");
    check_status(&gateway.ask(&simple(), &body).await, "MISS");
    for (field, value) in changes() {
        let mut other = body.clone();
        other[field] = value;
        for expected in ["MISS", "HIT"] {
            let answer = gateway.ask(&simple(), &other).await;
            assert_eq!(answer.headers[STATUS], expected, "{field}: {}", answer.text);
        }
    }
    // The order of fields does not matter, nor how it is delivered.
    let text = r#"{"stream":false,"messages":[{"content":"hello there","role":"user"}],"model":"mock"}"#;
    let request = gateway.client.request(Method::POST, "/v1/chat/completions");
    let request = request.header("content-type", "application/json").body(text);
    let request = request.header(CONFIG, json!({ "cache": simple(), "provider": "mock" }).to_string());
    check_status(&gateway.client.send(request).await, "HIT");
    // What the config changes counts as well.
    let config = json!({ "cache": simple(), "provider": "mock", "override_params": { "temperature": 0.1 } });
    let request = gateway.client.post_chat(&body).header(CONFIG, config.to_string());
    check_status(&gateway.client.send(request).await, "MISS");
    let metadata = |value: &'static str| [("x-portkey-metadata", value)];
    let at = "/v1/chat/completions";
    let red = metadata("{\"team\":\"red\"}");
    check_status(&gateway.ask_at(at, &simple(), &body, &red).await, "MISS");
    check_status(&gateway.ask_at(at, &simple(), &body, &red).await, "HIT");
    // With a namespace metadata does not count.
    let named = |value| [("x-portkey-metadata", value), ("x-portkey-cache-namespace", "faq")];
    check_status(&gateway.ask_at(at, &simple(), &body, &named("{\"team\":\"red\"}")).await, "MISS");
    check_status(&gateway.ask_at(at, &simple(), &body, &named("{\"team\":\"blue\"}")).await, "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_never_share_answers() {
    let gateway = Gateway::start_with(|start| start.set("auth.mode", "on"));
    let admin = std::fs::read_to_string(gateway.dir.path().join("data/admin.key")).unwrap();
    let administer = async |path: &str, body: Value| {
        let request = gateway.client.request(Method::POST, path).bearer_auth(admin.trim()).json(&body);
        let answer = gateway.client.send(request).await;
        assert!(answer.status < 300, "{path}: {}", answer.text);
        answer.body
    };
    let mut keys = Vec::new();
    for slug in ["w", "v"] {
        administer("/v1/admin/workspaces", json!({ "name": slug, "slug": slug })).await;
        let made =
            administer("/v1/api-keys/workspace/service", json!({ "name": slug, "workspace_id": slug })).await;
        keys.push(made["key"].as_str().unwrap().to_owned());
    }
    let config = json!({ "cache": { "mode": "semantic" }, "provider": "mock" }).to_string();
    for key in &keys {
        for namespace in ["", "shared"] {
            let mut statuses = Vec::new();
            for _ in 0..2 {
                let request = gateway.client.chat("mock").bearer_auth(key).header(CONFIG, &config);
                let request = request.header("x-portkey-cache-namespace", namespace);
                let answer = gateway.client.send(request).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                statuses.push(answer.headers[STATUS].clone());
            }
            assert_eq!(statuses, ["SEMANTIC MISS", "HIT"], "{namespace}");
        }
    }
    assert_eq!(gateway.calls("mock").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_say_what_may_be_kept_and_for_how_long() {
    let gateway = Gateway::start();
    let at = "/v1/chat/completions";
    let ask = async |text: &str, header: (&str, &str)| {
        gateway.ask_at(at, &simple(), &chat("mock", text), &[header]).await
    };
    let none = ("x-nothing", "");
    check_status(&ask("a", ("cache-control", "no-store")).await, "MISS");
    check_status(&ask("a", none).await, "MISS");
    let before = ask("a", none).await;
    check_status(&before, "HIT");
    // A new answer takes the place of the old one.
    for (index, refresh) in
        [("cache-control", "no-cache"), ("x-portkey-cache-force-refresh", "true")].iter().enumerate()
    {
        let fresh = ask("a", *refresh).await;
        check_status(&fresh, "REFRESH");
        let id = fresh.headers["pointsman-request-id"].clone();
        eventually("the new answer is kept", PATIENCE, || async {
            let hit = ask("a", none).await;
            (hit.headers.get("x-pointsman-cache-entry") == Some(&id)).then_some(())
        })
        .await;
        assert_eq!(gateway.calls("mock").await, 3 + index as u64);
    }
    check_status(&ask("b", ("x-portkey-debug", "false")).await, "DISABLED");
    check_status(&ask("b", none).await, "MISS");
    check_status(&ask("b", ("x-portkey-debug", "false")).await, "DISABLED");
    // An answer is good for so long, and no longer.
    check_status(&ask("c", ("cache-control", "max-age=7")).await, "MISS");
    tokio::time::sleep(Duration::from_secs(6)).await;
    check_status(&ask("c", none).await, "HIT");
    check_status(&ask("c", ("cache-control", "max-age=2")).await, "MISS");
    tokio::time::sleep(Duration::from_secs(8)).await;
    check_status(&ask("c", none).await, "MISS");
    let refused = ask("d", ("x-portkey-cache-force-refresh", "perhaps")).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.text.contains("neither `true` nor `false`"), "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_given_again_is_not_kept() {
    let gateway = Gateway::start();
    let twice = async |cache: Value, body: Value| {
        let mut statuses = Vec::new();
        for _ in 0..2 {
            let answer = gateway.ask(&cache, &body).await;
            statuses.push((answer.status, answer.headers[STATUS].clone()));
            // Longer than an answer is shared that has just been given.
            tokio::time::sleep(Duration::from_millis(5_500)).await;
        }
        statuses
    };
    let tools = json!([{ "type": "function", "function": { "name": "f", "parameters": {} } }]);
    let with = |model: &str, field: &str, value: Value| {
        let mut body = chat(model, "hello there");
        body[field] = value;
        body
    };
    let miss = |status: u16| vec![(status, "MISS".to_owned()); 2];
    let hit = vec![(200, "MISS".to_owned()), (200, "HIT".to_owned())];
    let allowing = json!({ "mode": "simple", "tool_calls": true, "max_temperature": 2 });
    let (failed, cut, filtered, called, hot, hot_allowed, called_allowed, kept) = tokio::join!(
        twice(simple(), chat("mock?status=400", "hello there")),
        twice(simple(), with("mock?words=50", "max_tokens", json!(5))),
        twice(simple(), chat("mock?filtered", "hello there")),
        twice(simple(), with("mock?tools=1", "tools", tools.clone())),
        twice(simple(), with("mock", "temperature", json!(1.5))),
        twice(allowing.clone(), with("mock", "temperature", json!(1.6))),
        twice(allowing.clone(), with("mock?tools=1&words=3", "tools", tools.clone())),
        twice(simple(), chat("mock", "keep this")),
    );
    assert_eq!(failed, miss(400));
    assert_eq!(cut, miss(200));
    assert_eq!(filtered, miss(200));
    assert_eq!(called, miss(200));
    assert_eq!(hot, miss(200));
    assert_eq!(hot_allowed, hit);
    assert_eq!(called_allowed, hit);
    assert_eq!(kept, hit);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_say_what_the_cache_saved() {
    let gateway = Gateway::start_with(|start| start.set("http.show_cost", "true"));
    let body = chat("mock", "hello there");
    let first = gateway.ask(&simple(), &body).await;
    let second = gateway.ask(&simple(), &body).await;
    check_status(&second, "HIT");
    let cost = &first.headers["x-pointsman-cost"];
    assert_eq!(&second.headers["x-pointsman-cache-saved-cost"], cost);
    let usage = &first.body["usage"];
    assert_eq!(&second.headers["x-pointsman-cache-saved-tokens"], &usage["total_tokens"].to_string());
    assert_eq!(second.body["usage"]["total_tokens"], usage["total_tokens"]);
    assert_eq!(second.body["usage"]["estimated_cost"].as_f64(), Some(0.0), "{}", second.text);
    let observer = Observer::connect(&gateway.pointsman.nats()).await;
    let id = &second.headers["pointsman-request-id"];
    let events = eventually("the event", PATIENCE, || async {
        let events = observer.events_of(id).await;
        (!events.is_empty()).then_some(events)
    })
    .await;
    let part = events[0].cache.as_ref().unwrap();
    assert_eq!(part.status, Status::Hit);
    assert_eq!(part.entry.as_ref().unwrap().as_str(), first.headers["pointsman-request-id"]);
    assert!(events[0].attempt.is_none() && events[0].last);
    eventually("the books", PATIENCE, || async {
        let path = "/v1/admin/analytics/spend?group_by=cache_status";
        let report = gateway.client.send(gateway.client.request(Method::GET, path)).await.text;
        (report.contains("\"hit\"") && report.contains("\"miss\"")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_limit_lets_no_answer_through() {
    let gateway = Gateway::start_with(|start| start.set("auth.mode", "on"));
    let admin = std::fs::read_to_string(gateway.dir.path().join("data/admin.key")).unwrap();
    let limits = json!([{ "type": "requests", "unit": "rph", "value": 3 }]);
    let body = json!({ "name": "k", "rate_limits": limits });
    let request = gateway.client.request(Method::POST, "/v1/api-keys/workspace/service");
    let made = gateway.client.send(request.bearer_auth(admin.trim()).json(&body)).await;
    let key = made.body["key"].as_str().unwrap().to_owned();
    let config = json!({ "cache": simple(), "provider": "mock" }).to_string();
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let request = gateway.client.chat("mock").bearer_auth(&key).header(CONFIG, &config);
        let answer = gateway.client.send(request).await;
        statuses.push((answer.status, answer.headers[STATUS].clone()));
    }
    let expected = [(200, "MISS"), (200, "HIT"), (200, "HIT"), (429, "MISS"), (429, "MISS")];
    assert_eq!(statuses, expected.map(|(status, word)| (status, word.to_owned())));
    assert_eq!(gateway.calls("mock").await, 1);
}

/// Whether a folder of a gateway has a store.
fn store_of(dir: &Path) -> std::path::PathBuf {
    dir.join("data/cache")
}
