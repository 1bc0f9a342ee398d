//! Whose requests they are: API keys, workspaces, stored configs and virtual keys on a request's way.

use std::path::Path;
use std::time::Duration;

use async_nats::HeaderMap;
use domain::{RequestId, Workspace};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::harness::client::{Answer, Client, Observer, chat};
use system_tests::harness::{Mock, Pointsman, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway with access control, and its first administrator.
struct Site {
    gateway: Pointsman,
    client: Client,
    admin: String,
}

impl Site {
    fn start(dir: &Path) -> Self {
        let gateway = crate::up(dir).set("auth.mode", "on").ready();
        let client = Client::new(&gateway.http());
        let admin = std::fs::read_to_string(dir.join("data/admin.key")).unwrap().trim().to_owned();
        Self { gateway, client, admin }
    }

    async fn as_who(&self, key: &str, method: Method, path: &str, body: &Value) -> Answer {
        let request = self.client.request(method, path).bearer_auth(key);
        self.client.send(if body.is_null() { request } else { request.json(body) }).await
    }

    async fn administer(&self, method: Method, path: &str, body: &Value) -> Answer {
        let answer = self.as_who(&self.admin, method, path, body).await;
        assert!(answer.status < 300, "{path}: {}", answer.text);
        answer
    }

    /// A workspace and a key of it.
    async fn workspace(&self, name: &str, more: Value) -> String {
        self.administer(Method::POST, "/v1/admin/workspaces", &json!({ "name": name, "slug": name })).await;
        let mut body = json!({ "name": "app", "workspace_id": name });
        for (field, value) in more.as_object().unwrap() {
            body[field] = value.clone();
        }
        let made = self.administer(Method::POST, "/v1/api-keys/workspace/service", &body).await;
        made.body["key"].as_str().unwrap().to_owned()
    }

    async fn chat(&self, key: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let request = self.client.request(Method::POST, "/v1/chat/completions").bearer_auth(key).json(body);
        self.client.send(headers.iter().fold(request, |r, (name, value)| r.header(*name, *value))).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_says_whose_request_it_is_and_nobody_else_sees_it() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(dir.path());
    let body = chat("mock", "hello");
    let nobody = site.client.send(site.client.post_chat(&body)).await;
    assert_eq!((nobody.status, &nobody.body["error"]["code"]), (401, &json!("03")), "{}", nobody.text);
    assert_eq!(site.chat("sk-of-a-provider", &body, &[]).await.status, 401);
    let (acme, other) = (site.workspace("acme", json!({})).await, site.workspace("other", json!({})).await);

    // The same id in two workspaces: neither meets the other.
    let chosen = [("Pointsman-Request-Id", "order-1")];
    let first = site.chat(&acme, &chat("mock", "from acme"), &chosen).await;
    let second = site.chat(&other, &chat("mock", "from other"), &chosen).await;
    for (answer, text) in [(&first, "acme"), (&second, "other")] {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.headers["pointsman-request-id"], "order-1");
        assert!(answer.content().contains(text), "{}", answer.text);
    }
    let read = |key: String, method: Method| {
        let site = &site;
        async move { site.as_who(&key, method, "/v1/requests/order-1", &Value::Null).await }
    };
    for (key, text) in [(&acme, "from acme"), (&other, "from other")] {
        let shown = eventually("the answer is on record", PATIENCE, || async {
            let shown = read(key.clone(), Method::GET).await;
            (shown.body["status"] == "answered").then_some(shown)
        })
        .await;
        assert!(shown.text.contains(text), "{}", shown.text);
    }
    assert_eq!(read(site.admin.clone(), Method::GET).await.status, 404, "the default workspace has none");
    assert_eq!(site.as_who(&acme, Method::GET, "/v1/requests/other~order-1", &Value::Null).await.status, 404);

    // Nor can one cancel what another runs.
    let slow = [("Pointsman-Request-Id", "slow"), ("Prefer", "respond-async")];
    let accepted = site.chat(&acme, &chat("mock?delay=2s", "slow"), &slow).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    assert_eq!(site.as_who(&other, Method::DELETE, "/v1/requests/slow", &Value::Null).await.status, 404);
    eventually("the request ends", PATIENCE, || async {
        let shown = site.as_who(&acme, Method::GET, "/v1/requests/slow", &Value::Null).await;
        (shown.body["status"] == "answered").then_some(())
    })
    .await;

    let observer = Observer::connect(&site.gateway.nats()).await;
    let attempts = observer.attempts().await;
    let mut owners: Vec<&str> = attempts.iter().map(|event| event.workspace.as_str()).collect();
    owners.sort_unstable();
    assert_eq!(owners, ["acme", "acme", "other"]);
    for stream in ["LLM_RESULT", "LLM_EVENT", "LLM_STATE", "LLM_DEAD", "KV_llm_policy"] {
        let secret = acme.rsplit_once('_').unwrap().1.as_bytes();
        for (subject, _, payload) in observer.contents(stream).await {
            assert!(
                !payload.windows(secret.len()).any(|part| part == secret),
                "{subject} holds a key's secret"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_may_not_do_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(dir.path());
    let reader = site.workspace("acme", json!({ "scopes": ["models.list"] })).await;
    let refused = site.chat(&reader, &chat("mock", "hello"), &[]).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (403, &json!("033")), "{}", refused.text);
    let made = site
        .administer(
            Method::POST,
            "/v1/api-keys/workspace/service",
            &json!({ "name": "short", "workspace_id": "acme", "expires_at": "2030-01-01T00:00:00Z" }),
        )
        .await;
    let (id, key) = (made.body["id"].as_str().unwrap(), made.body["key"].as_str().unwrap());
    assert_eq!(site.chat(key, &chat("mock", "hello"), &[]).await.status, 200);
    site.administer(Method::DELETE, &format!("/v1/api-keys/{id}"), &Value::Null).await;
    assert_eq!(site.chat(key, &chat("mock", "hello"), &[]).await.status, 401, "at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_show_a_key_and_cannot_say_who_they_are_without() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(dir.path());
    let key = site.workspace("acme", json!({})).await;
    let observer = Observer::connect(&site.gateway.nats()).await;
    let publish = |headers: Vec<(&'static str, String)>| {
        let observer = &observer;
        async move {
            let client = observer.client();
            let inbox = client.new_inbox();
            let mut replies = client.subscribe(inbox.clone()).await.unwrap();
            let mut map = HeaderMap::new();
            map.insert("Pointsman-Reply-To", inbox.as_str());
            for (name, value) in headers {
                map.insert(name, value.as_str());
            }
            let body = chat("mock", "over the bus").to_string();
            let sent = observer.js().publish_with_headers("llm.request.chat", map, body.into()).await;
            sent.unwrap().await.unwrap();
            let reply = tokio::time::timeout(PATIENCE, replies.next()).await.expect("an answer").unwrap();
            let status = bus::header(reply.headers.as_ref(), "Pointsman-Status").unwrap().to_owned();
            (status, String::from_utf8_lossy(&reply.payload).into_owned())
        }
    };
    let (status, text) = publish(vec![]).await;
    assert_eq!(status, "401", "{text}");
    let forged = bus::identity::Access::default().say(
        &domain::policy::Identity::default(),
        "mine",
        domain::Timestamp(u64::MAX),
    );
    let forged = vec![("Pointsman-Identity", forged + ";00"), ("Pointsman-Request-Id", "mine".to_owned())];
    let (status, text) = publish(forged).await;
    assert_eq!(status, "401", "{text}");
    let (status, text) = publish(vec![("Pointsman-Key", "pm_nobody_x".to_owned())]).await;
    assert_eq!(status, "401", "{text}");
    let shown = vec![("Pointsman-Key", key.clone()), ("Pointsman-Request-Id", "job-1".to_owned())];
    let (status, text) = publish(shown).await;
    assert_eq!(status, "200", "{text}");
    let acme = Workspace::parse("acme").unwrap();
    let id = RequestId::choose("job-1").unwrap().within(&acme);
    assert!(observer.outcome(id.as_str()).await.is_some(), "it ended in its workspace");

    let mut map = HeaderMap::new();
    map.insert("Pointsman-Key", key.as_str());
    let question = chat("mock", "asked").to_string();
    let asked = observer.client().request_with_headers("llm.ask.chat", map, question.clone().into()).await;
    assert_eq!(bus::header(asked.unwrap().headers.as_ref(), "Pointsman-Status"), Some("200"));
    let refused = observer.client().request("llm.ask.chat", question.into()).await.unwrap();
    assert_eq!(bus::header(refused.headers.as_ref(), "Pointsman-Status"), Some("401"));
    let secret = key.rsplit_once('_').unwrap().1.as_bytes();
    for stream in ["LLM_RESULT", "LLM_EVENT", "LLM_STATE", "LLM_DEAD", "LLM_CALL"] {
        for (subject, headers, payload) in observer.contents(stream).await {
            let whole = [headers.as_bytes(), &payload].concat();
            assert!(
                !whole.windows(secret.len()).any(|part| part == secret),
                "{subject} holds a key's secret"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn defaults_of_keys_and_workspaces_apply_and_can_be_fixed() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(dir.path());
    let key = site.workspace("acme", json!({})).await;
    let config = |model: &str| json!({ "provider": "mock", "override_params": { "model": model } });
    for (slug, model) in [("a", "of-config-a"), ("b", "of-config-b")] {
        let body = json!({ "name": slug, "slug": slug, "workspace_id": "acme", "config": config(model) });
        site.administer(Method::POST, "/v1/configs", &body).await;
    }
    let asked = |key: String, config: Option<String>| {
        let site = &site;
        async move {
            let headers: Vec<(&str, &str)> =
                config.iter().map(|c| ("x-portkey-config", c.as_str())).collect();
            site.chat(&key, &chat("mine", "hello"), &headers).await
        }
    };
    assert_eq!(asked(key.clone(), None).await.body["model"], "mine", "the route of the settings");
    assert_eq!(asked(key.clone(), Some("pc-a".to_owned())).await.body["model"], "of-config-a");
    let unknown = asked(key.clone(), Some("pc-none".to_owned())).await;
    assert_eq!(unknown.status, 400, "{}", unknown.text);
    assert!(unknown.text.contains("Invalid config id passed"), "{}", unknown.text);
    let defaults = json!({ "defaults": { "config_id": "pc-a", "metadata": { "team": "x" } } });
    site.administer(Method::PUT, "/v1/admin/workspaces/acme", &defaults).await;
    assert_eq!(asked(key.clone(), None).await.body["model"], "of-config-a", "the workspace's default");
    let fixed = json!({
        "name": "fixed", "workspace_id": "acme",
        "defaults": { "config_id": "pc-b", "allow_config_override": false },
    });
    let made = site.administer(Method::POST, "/v1/api-keys/workspace/service", &fixed).await;
    let fixed = made.body["key"].as_str().unwrap().to_owned();
    let answer = asked(fixed.clone(), None).await;
    assert_eq!(answer.body["model"], "of-config-b", "the key's default: {}", answer.text);
    let refused = asked(fixed, Some("pc-a".to_owned())).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains("Cannot override default config set for this API key."),
        "{}",
        refused.text
    );
    let observer = Observer::connect(&site.gateway.nats()).await;
    let told = observer.attempts().await;
    let configs: Vec<&str> = told.iter().map(|event| event.config.as_str()).collect();
    assert!(configs.contains(&"pc-a@1") && configs.contains(&"pc-b@1"), "{configs:?}");
    assert!(told.iter().any(|event| event.metadata.as_deref() == Some(r#"{"team":"x"}"#)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_finishes_on_the_version_it_began_with() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let config = |model: &str| json!({ "provider": "mock", "override_params": { "model": model }, "retry": { "attempts": 1 } });
    let body = json!({ "name": "live", "slug": "live", "config": config("first?status=500,200") });
    let made = client.send(client.request(Method::POST, "/v1/configs").json(&body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let mock = Mock::at(&gateway.mock());
    let ask = || client.send(client.chat("any").header("x-portkey-config", "pc-live"));
    let (old, ()) = tokio::join!(ask(), async {
        // Changed while the request waits for its retry.
        eventually("the first attempt", PATIENCE, || async {
            (!mock.rows("first").await.is_empty()).then_some(())
        })
        .await;
        let change = json!({ "config": config("second") });
        let changed = client.send(client.request(Method::PUT, "/v1/configs/pc-live").json(&change)).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        assert_eq!(ask().await.body["model"], "second", "who comes later gets the new one at once");
    });
    assert_eq!((old.status, &old.body["model"]), (200, &json!("first?status=500,200")), "{}", old.text);
    let bad = json!({ "config": { "strategy": { "mode": "fallbak" }, "targets": [] } });
    let refused = client.send(client.request(Method::PUT, "/v1/configs/pc-live").json(&bad)).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert_eq!(ask().await.body["model"], "second", "the last good one stays");
}

/// What the mock was shown as credential, newest last.
async fn credentials(mock: &Mock, model: &str) -> Vec<String> {
    let seen = mock.get("/requests?last=100").await;
    let of_model = |request: &&Value| {
        let body = &request["body"];
        let body: Value = body.as_str().map_or_else(|| body.clone(), |t| serde_json::from_str(t).unwrap());
        body["model"].as_str().is_some_and(|name| name.starts_with(model))
    };
    let all = seen["requests"].as_array().unwrap();
    let header = |request: &Value| request["headers"]["authorization"].as_str().unwrap_or("none").to_owned();
    all.iter().filter(of_model).map(header).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_keys_credential_counts_at_the_moment_of_the_call() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let mock = Mock::at(&gateway.mock());
    let send = |method: Method, path: &'static str, body: Value| {
        let client = &client;
        async move {
            let answer = client.send(client.request(method, path).json(&body)).await;
            assert!(answer.status < 300, "{path}: {}", answer.text);
        }
    };
    let key = json!({ "name": "account", "slug": "account", "provider": "mock", "key": "sk-one" });
    send(Method::POST, "/v1/virtual-keys", key).await;
    let config = json!({
        "strategy": { "mode": "fallback" },
        "targets": [
            { "virtual_key": "account", "retry": { "attempts": 1 } },
            { "provider": "mock", "override_params": { "model": "spare" } },
        ],
    })
    .to_string();
    let ask = |model: &'static str| client.send(client.chat(model).header("x-portkey-config", &config));
    let first = ask("plain?log").await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(credentials(&mock, "plain").await, ["Bearer sk-one"]);

    // Rotated between two attempts of one request.
    let (answer, ()) = tokio::join!(ask("rotated?log&status=500,200"), async {
        eventually("the first attempt", PATIENCE, || async {
            (!mock.rows("rotated").await.is_empty()).then_some(())
        })
        .await;
        send(Method::PUT, "/v1/virtual-keys/account", json!({ "key": "sk-two" })).await;
    });
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(credentials(&mock, "rotated").await, ["Bearer sk-one", "Bearer sk-two"]);

    // What it may not be used for goes to the next target, and so does everything once it is revoked.
    send(Method::PUT, "/v1/virtual-keys/account", json!({ "models": ["gpt-*"] })).await;
    assert_eq!(ask("other-model").await.body["model"], "spare");
    assert_eq!(ask("gpt-4o").await.body["model"], "gpt-4o");
    send(Method::DELETE, "/v1/virtual-keys/account", json!({})).await;
    let after = ask("gpt-4o").await;
    assert_eq!((after.status, &after.body["model"]), (200, &json!("spare")), "{}", after.text);
    let alone =
        client.send(client.chat("gpt-4o").header("x-portkey-config", r#"{"virtual_key":"account"}"#)).await;
    assert_eq!((alone.status, &alone.body["error"]["code"]), (401, &json!("01")), "{}", alone.text);
    let observer = Observer::connect(&gateway.nats()).await;
    for stream in ["KV_llm_policy", "LLM_EVENT", "LLM_RESULT", "LLM_STATE", "LLM_DEAD"] {
        for (subject, headers, payload) in observer.contents(stream).await {
            let whole = [headers.as_bytes(), &payload].concat();
            let clear = |secret: &[u8]| whole.windows(secret.len()).any(|part| part == secret);
            assert!(!clear(b"sk-one") && !clear(b"sk-two"), "{subject} holds a credential in clear");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn provider_and_config_may_stand_in_the_body_and_no_provider_sees_them() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let mock = Mock::at(&gateway.mock());
    let mut body = chat("in-body?log", "hello");
    body["config"] = json!({ "provider": "mock", "override_params": { "temperature": 0.5 } });
    body["seed"] = json!(7);
    let answer = client.send(client.post_chat(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    body["config"] = json!({ "provider": "nobody" });
    let header = client.post_chat(&body).header("x-portkey-config", r#"{"provider":"mock"}"#);
    assert_eq!(client.send(header).await.status, 200, "a header wins");
    let unknown = client.send(client.post_chat(&body)).await;
    assert_eq!((unknown.status, &unknown.body["error"]["code"]), (400, &json!("unknown_provider")));
    body["config"] = json!({ "provider": "openai", "api_key": "sk-canary" });
    let clear = client.send(client.post_chat(&body)).await;
    assert_eq!((clear.status, &clear.body["error"]["code"]), (400, &json!("credential_in_clear")));
    let mut named = chat("in-body?log", "hello");
    named["provider"] = json!("mock");
    assert_eq!(client.send(client.post_chat(&named)).await.status, 200);
    let seen = mock.get("/requests?last=100").await;
    let bodies = seen["requests"].as_array().unwrap().iter().map(|request| match &request["body"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        other => other.clone(),
    });
    let bodies: Vec<Value> = bodies.collect();
    assert_eq!(bodies.len(), 3);
    assert_eq!((&bodies[0]["temperature"], &bodies[0]["seed"]), (&json!(0.5), &json!(7)));
    assert!(
        bodies.iter().all(|body| body.get("config").is_none() && body.get("provider").is_none()),
        "{bodies:?}"
    );
}

/// Publishes a chat request with its body in the object store, as `Pointsman-Body` says. Returns status and text.
async fn publish_stored(
    observer: &Observer,
    object: &str,
    size: usize,
    headers: &[(&str, &str)],
) -> (String, String) {
    let client = observer.client();
    let inbox = client.new_inbox();
    let mut replies = client.subscribe(inbox.clone()).await.unwrap();
    let mut map = HeaderMap::new();
    map.insert("Pointsman-Reply-To", inbox.as_str());
    map.insert("Pointsman-Body", format!("{object};{size}").as_str());
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    let sent = observer.js().publish_with_headers("llm.request.chat", map, "".into()).await;
    sent.unwrap().await.unwrap();
    let reply = tokio::time::timeout(PATIENCE, replies.next()).await.expect("an answer").unwrap();
    let status = bus::header(reply.headers.as_ref(), "Pointsman-Status").unwrap().to_owned();
    (status, String::from_utf8_lossy(&reply.payload).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_large_request_is_redriven_in_its_workspace() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(dir.path());
    let (key, other) = (site.workspace("acme", json!({})).await, site.workspace("other", json!({})).await);
    let observer = Observer::connect(&site.gateway.nats()).await;
    let bus = observer.bus(&site.gateway.nats()).await;
    let id = RequestId::choose("job-7").unwrap().within(&Workspace::parse("acme").unwrap());
    let body = bytes::Bytes::from(chat("mock", &"word ".repeat(60 * 1024)).to_string());
    let size = body.len();
    let (stored, _) = bus.stow(&id, "request", body).await.unwrap();
    let domain::BodyRef::Stored { object, .. } = stored else { panic!("it is large") };
    let headers = [
        ("Pointsman-Key", key.as_str()),
        ("Pointsman-Request-Id", "job-7"),
        ("Pointsman-Config", "pc-later"),
    ];
    let (status, text) = publish_stored(&observer, &object, size, &headers).await;
    assert_eq!(status, "400", "{text}");
    assert!(text.contains("pc-later"), "{text}");

    // Nobody else reads it, or has it deleted, by naming it.
    let thief = [("Pointsman-Key", other.as_str()), ("Pointsman-Request-Id", "mine")];
    let (status, text) = publish_stored(&observer, &object, size, &thief).await;
    assert_eq!(status, "400", "{text}");
    assert!(text.contains("other~mine.request"), "{text}");
    let letters = observer.contents("LLM_DEAD").await;
    let secret = key.rsplit_once('_').unwrap().1;
    assert!(!letters.iter().any(|(_, headers, _)| headers.contains(secret)), "{letters:?}");
    assert_eq!(bus.forget_bodies(Duration::ZERO).await.unwrap(), 0, "the letter needs it");

    let config =
        json!({ "name": "later", "slug": "later", "workspace_id": "acme", "config": { "provider": "mock" } });
    site.administer(Method::POST, "/v1/configs", &config).await;
    let nats = site.gateway.nats();
    let numbers =
        crate::pointsman(dir.path(), &["dead", "ls", "--json", "--nats"]).arg(&nats).finish().json();
    let first = numbers["dead"][0]["number"].to_string();
    let redriven = crate::pointsman(dir.path(), &["dead", "redrive", &first, "--nats"]).arg(&nats).finish();
    assert!(redriven.status.success(), "{redriven:?}");
    let answered = eventually("it is answered", PATIENCE, || async {
        let shown = site.as_who(&key, Method::GET, "/v1/requests/job-7", &Value::Null).await;
        (shown.body["status"] == "answered").then_some(shown)
    })
    .await;
    assert_eq!(answered.body["config"], "pc-later@1", "{}", answered.text);
    let gone = || async {
        let body = domain::BodyRef::Stored { object: object.clone(), size };
        bus.fetch(&body, bytes::Bytes::new()).await.is_err().then_some(())
    };
    eventually("the body is forgotten", PATIENCE, gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_other_workspaces_are_forgotten_with_their_requests() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start(dir.path());
    let key = site.workspace("acme", json!({})).await;
    let chosen = [("Pointsman-Request-Id", "big"), ("Prefer", "respond-async")];
    let accepted = site.chat(&key, &chat("mock?size=1MB", "hello"), &chosen).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let result = || async { site.as_who(&key, Method::GET, "/v1/requests/big/result", &Value::Null).await };
    eventually("it is answered", PATIENCE, || async { (result().await.status == 200).then_some(()) }).await;
    let observer = Observer::connect(&site.gateway.nats()).await;
    let bus = observer.bus(&site.gateway.nats()).await;
    let id = RequestId::choose("big").unwrap().within(&Workspace::parse("acme").unwrap());
    let left = bytes::Bytes::from(vec![0; 300 * 1024]);
    bus.stow(&id, "request", left).await.unwrap();
    assert_eq!(
        bus.forget_bodies(Duration::ZERO).await.unwrap(),
        1,
        "what the request left, and not its answer"
    );
    assert!(result().await.text.len() > 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_gets_the_version_in_force_whichever_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let config = |model: &str| json!({ "provider": "mock", "override_params": { "model": model } });
    let made = json!({ "name": "live", "slug": "live", "config": config("first") });
    assert_eq!(client.send(client.request(Method::POST, "/v1/configs").json(&made)).await.status, 201);
    let change = json!({ "config": config("second") });
    let changed = client.send(client.request(Method::PUT, "/v1/configs/pc-live").json(&change)).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let observer = Observer::connect(&gateway.nats()).await;
    let inbox = observer.client().new_inbox();
    let mut replies = observer.client().subscribe(inbox.clone()).await.unwrap();
    let mut map = HeaderMap::new();
    for (name, value) in [
        ("Pointsman-Reply-To", inbox.as_str()),
        ("Pointsman-Config", "pc-live"),
        ("Pointsman-Config-Version", "1"),
    ] {
        map.insert(name, value);
    }
    let body = chat("any", "hello").to_string();
    let sent = observer.js().publish_with_headers("llm.request.chat", map, body.into()).await;
    sent.unwrap().await.unwrap();
    let reply = tokio::time::timeout(PATIENCE, replies.next()).await.expect("an answer").unwrap();
    let answer: Value = serde_json::from_slice(&reply.payload).unwrap();
    assert_eq!(answer["model"], "second", "{answer}");
}
