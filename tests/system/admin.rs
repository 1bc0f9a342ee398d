//! The admin API over HTTP, against real processes.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::harness::client::{Answer, Client, Observer};
use system_tests::harness::{Broker, Signal, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

async fn ask(client: &Client, method: &str, path: &str, body: &Value) -> Answer {
    let request = client.request(method.parse::<Method>().unwrap(), path);
    client.send(if body.is_null() { request } else { request.json(body) }).await
}

async fn get(client: &Client, path: &str) -> Answer {
    ask(client, "GET", path, &Value::Null).await
}

#[tokio::test(flavor = "multi_thread")]
async fn entities_are_made_read_changed_and_archived() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    for (path, new, change) in [
        (
            "/v1/configs",
            json!({ "name": "c", "slug": "e", "config": { "provider": "mock" } }),
            json!({ "name": "d" }),
        ),
        (
            "/v1/virtual-keys",
            json!({ "name": "v", "slug": "v", "provider": "mock", "key": "sk-canary" }),
            json!({ "note": "n" }),
        ),
        (
            "/v1/integrations",
            json!({ "name": "i", "slug": "i", "ai_provider_id": "mock", "key": "sk-canary" }),
            json!({ "description": "n" }),
        ),
        ("/v1/providers", json!({ "name": "p", "slug": "p", "integration_id": "i" }), json!({ "note": "n" })),
        ("/v1/admin/workspaces", json!({ "name": "w", "slug": "w" }), json!({ "description": "n" })),
    ] {
        let made = ask(&client, "POST", path, &new).await;
        assert_eq!(made.status, 201, "{path}: {}", made.text);
        let entity = if made.body["data"].is_object() { &made.body["data"] } else { &made.body };
        let one = format!("{path}/{}", entity["slug"].as_str().unwrap());
        let read = get(&client, &one).await;
        assert_eq!((read.status, &read.headers["etag"]), (200, &made.headers["etag"]), "{}", read.text);
        assert!(!read.text.contains("canary") && !read.text.contains("sealed:"), "{}", read.text);

        let stale = client.request(Method::PUT, &one).header("if-match", "\"1\"").json(&change);
        let stale = client.send(stale).await;
        assert_eq!((stale.status, &stale.body["error"]["code"]), (412, &json!("AB07")), "{}", stale.text);
        let fresh = client.request(Method::PUT, &one).header("if-match", &made.headers["etag"]).json(&change);
        let fresh = client.send(fresh).await;
        assert_eq!(fresh.status, 200, "{}", fresh.text);
        assert_ne!(fresh.headers["etag"], made.headers["etag"]);

        let listed = get(&client, path).await;
        assert!(listed.body["total"].as_u64().unwrap() >= 1, "{}", listed.text);
        let deleted = ask(&client, "DELETE", &one, &Value::Null).await;
        assert_eq!((deleted.status, deleted.text.as_str()), (200, "{}"));
        let archived = get(&client, &format!("{path}?status=archived")).await;
        assert!(archived.text.contains("\"archived\""), "{}", archived.text);
    }
    let missing = get(&client, "/v1/configs/pc-nothing").await;
    assert_eq!((missing.status, &missing.body["success"]), (404, &json!(false)), "{}", missing.text);
    let unknown = ask(&client, "POST", "/v1/configs", &json!({ "nmae": "x" })).await;
    assert_eq!((unknown.status, &unknown.body["error"]["param"]), (400, &json!("nmae")));
    assert!(unknown.body["data"]["message"].as_str().unwrap().contains("`name`"), "{}", unknown.text);
    let huge = json!({ "name": "x".repeat(600 * 1024) });
    assert_eq!(ask(&client, "POST", "/v1/configs", &huge).await.status, 413);
    assert_eq!(ask(&client, "PATCH", "/v1/configs", &json!({})).await.status, 405);
    let page = get(&client, "/admin").await;
    assert!(page.headers["content-type"].starts_with("text/html"), "{:?}", page.headers);
    assert_eq!(get(&client, "/v1/openapi.json").await.body["openapi"], "3.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_roll_back_and_every_change_is_in_the_audit_log() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let config = |key: &str| json!({ "provider": "openai", "api_key": key });
    ask(
        &client,
        "POST",
        "/v1/virtual-keys",
        &json!({ "name": "first", "provider": "mock", "key": "sk-canary-0" }),
    )
    .await;
    let made = ask(
        &client,
        "POST",
        "/v1/configs",
        &json!({ "name": "a", "slug": "a", "config": config("sk-canary-1") }),
    )
    .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let changed = ask(&client, "PUT", "/v1/configs/pc-a", &json!({ "config": config("sk-canary-2") })).await;
    assert_eq!(changed.body["data"]["version"], 2, "{}", changed.text);
    let back = ask(&client, "POST", "/v1/configs/pc-a/rollback", &json!({ "version": 1 })).await;
    assert_eq!(back.body["data"]["version"], 1, "{}", back.text);
    let versions = get(&client, "/v1/configs/pc-a/versions").await;
    assert_eq!(versions.body["total"], 2, "{}", versions.text);
    assert_eq!(versions.body["data"][1]["in_force"], true);

    let log = get(&client, "/v1/audit-logs?resource=config").await;
    let actions: Vec<&str> =
        log.body["data"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["config.rollback", "config.update", "config.create"], "newest first");
    let update = &log.body["data"][1];
    assert_eq!((&update["before"]["version"], &update["after"]["version"]), (&json!(1), &json!(2)));
    assert_eq!(update["actor"], "local");
    assert_eq!(update["ip"], "127.0.0.1");
    let since = log.body["data"][0]["time"].as_str().unwrap();
    let later = get(&client, &format!("/v1/audit-logs?resource=config&start_time={since}")).await;
    assert_eq!(later.body["total"], 1, "{}", later.text);
    let earlier = get(&client, &format!("/v1/audit-logs?resource=config&end_time={since}")).await;
    assert_eq!(earlier.body["total"], 2, "{}", earlier.text);
    let paged = get(&client, "/v1/audit-logs?page_size=1&current_page=3").await;
    assert_eq!(paged.body["data"][0]["action"], "virtual_key.create", "{}", paged.text);
    assert_eq!(get(&client, "/v1/audit-logs?workspace_id=default&action=update").await.body["total"], 1);

    let observer = Observer::connect(&gateway.nats()).await;
    for (subject, _, payload) in observer.contents("KV_llm_policy").await {
        let text = String::from_utf8_lossy(&payload);
        assert!(!text.contains("canary"), "{subject}: {text}");
        assert!(!subject.contains("audit") || !text.contains("sealed:"), "{subject}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_sent_again_creates_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let post = |path: &str, body: &Value| {
        client.request(Method::POST, path).header("idempotency-key", "once-1").json(body)
    };
    let config = json!({ "name": "same", "config": { "provider": "mock" } });
    let (first, again, third) = tokio::join!(
        client.send(post("/v1/configs", &config)),
        client.send(post("/v1/configs", &config)),
        client.send(post("/v1/configs", &config)),
    );
    assert_eq!(first.status, 201, "{}", first.text);
    assert_eq!((&first.body, &first.headers["etag"]), (&again.body, &again.headers["etag"]));
    assert_eq!(first.body, third.body);
    assert_eq!(get(&client, "/v1/configs").await.body["total"], 1);
    let other =
        client.send(post("/v1/configs", &json!({ "name": "other", "config": { "provider": "mock" } }))).await;
    assert_eq!(other.status, 409, "{}", other.text);

    let key = json!({ "name": "k" });
    let made = client.send(post("/v1/api-keys/workspace/service", &key)).await;
    let replayed = client.send(post("/v1/api-keys/workspace/service", &key)).await;
    assert_eq!(made.body["id"], replayed.body["id"], "{}", replayed.text);
    assert!(made.body["key"].as_str().unwrap().starts_with("pm_"));
    assert!(replayed.body["key"].is_null(), "the secret is kept nowhere: {}", replayed.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_open_their_own_workspace_only_and_rotate() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let mut keys = Vec::new();
    for workspace in ["acme", "other"] {
        ask(&client, "POST", "/v1/admin/workspaces", &json!({ "name": workspace })).await;
        let body = json!({ "name": "k", "workspace_id": workspace, "scopes": ["*"] });
        let made = ask(&client, "POST", "/v1/api-keys/workspace/service", &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        keys.push((
            made.body["id"].as_str().unwrap().to_owned(),
            made.body["key"].as_str().unwrap().to_owned(),
        ));
    }
    let with =
        |key: &str, method: Method, path: &str| client.request(method, path).header("x-portkey-api-key", key);
    let config = json!({ "name": "c", "slug": "c", "config": { "provider": "mock" } });
    let made = client.send(with(&keys[0].1, Method::POST, "/v1/configs").json(&config)).await;
    assert_eq!(made.body["data"]["workspace_id"], "acme", "{}", made.text);
    assert_eq!(made.body["data"]["created_by"], keys[0].0);
    assert_eq!(client.send(with(&keys[0].1, Method::GET, "/v1/configs/pc-c")).await.status, 200);
    for path in
        ["/v1/configs/pc-c", "/v1/configs/pc-c?workspace_id=acme", &format!("/v1/api-keys/{}", keys[0].0)]
    {
        assert_eq!(client.send(with(&keys[1].1, Method::GET, path)).await.status, 404, "{path}");
    }
    let log = client.send(with(&keys[1].1, Method::GET, "/v1/audit-logs")).await;
    assert!(!log.text.contains("acme"), "{}", log.text);
    assert_eq!(client.send(with("pm_k1_wrong", Method::GET, "/v1/configs")).await.status, 401);

    let rotate = format!("/v1/api-keys/{}/rotate", keys[0].0);
    let rotated = client
        .send(with(&keys[0].1, Method::POST, &rotate).json(&json!({ "key_transition_period_ms": 0 })))
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    assert_eq!(
        client.send(with(&keys[0].1, Method::GET, "/v1/configs")).await.status,
        401,
        "no overlap was asked for"
    );
    let fresh = rotated.body["key"].as_str().unwrap();
    assert_eq!(client.send(with(fresh, Method::GET, "/v1/configs")).await.status, 200);
    ask(&client, "DELETE", "/v1/admin/workspaces/acme", &Value::Null).await;
    assert_eq!(
        client.send(with(fresh, Method::GET, "/v1/configs")).await.status,
        401,
        "its workspace is archived"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_access_control_nobody_gets_past_the_gateway_or_around_it() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::up(dir.path()).set("auth.mode", "on").ready();
    let client = Client::new(&gateway.http());
    let nobody = get(&client, "/v1/configs").await;
    assert_eq!((nobody.status, &nobody.body["error"]["code"]), (401, &json!("AB05")), "{}", nobody.text);
    assert_eq!(get(&client, "/v1/openapi.json").await.status, 200, "the document is for everybody");

    let bus = Observer::connect(&gateway.nats()).await.bus(&gateway.nats()).await;
    let id = domain::Slug::parse("root").unwrap();
    let stamp = json!({ "at": 1, "by": "test" });
    let record = json!({
        "id": id, "kind": "organisation-service", "workspace": "default", "name": "root", "scopes": ["*"],
        "hash": bus::identity::hash("s3cret"), "created": stamp, "updated": stamp,
    });
    let key = domain::policy::Key::ApiKey(id);
    bus.put_policy(&key, record.to_string().into(), 0).await.unwrap();
    let with = |key: &str, method: Method, path: &str| client.request(method, path).bearer_auth(key);
    eventually("the key is known", PATIENCE, || async {
        (client.send(with("pm_root_s3cret", Method::GET, "/v1/configs")).await.status == 200).then_some(())
    })
    .await;
    client
        .send(with("pm_root_s3cret", Method::POST, "/v1/admin/workspaces").json(&json!({ "name": "acme" })))
        .await;
    let body = json!({ "name": "k", "workspace_id": "acme", "scopes": ["configs.read", "configs.list"] });
    let made =
        client.send(with("pm_root_s3cret", Method::POST, "/v1/api-keys/workspace/service").json(&body)).await;
    let weak = made.body["key"].as_str().unwrap();
    assert_eq!(client.send(with(weak, Method::GET, "/v1/configs")).await.status, 200);
    let config = json!({ "name": "c", "config": { "provider": "mock" } });
    let forbidden = client.send(with(weak, Method::POST, "/v1/configs").json(&config)).await;
    assert_eq!(
        (forbidden.status, &forbidden.body["error"]["code"]),
        (403, &json!("AB03")),
        "{}",
        forbidden.text
    );
    assert_eq!(client.send(with("pm_root_s3cret", Method::GET, "/v1/audit-logs")).await.body["total"], 2);

    // Whoever reaches the broker cannot say who they are: only the installation's secret can.
    let question = domain::admin::Request {
        method: "GET".to_owned(),
        path: "/v1/configs".to_owned(),
        query: String::new(),
        headers: [].into(),
        identity: bus::identity::Access::default().say(
            &domain::policy::Identity::default(),
            "admin:GET /v1/configs",
            domain::Timestamp(u64::MAX),
        ),
        ip: None,
        request_id: domain::RequestId::parse("r1").unwrap(),
    };
    let question = domain::admin::encode(&question, b"");
    let answer = bus.question(bus::subject::ADMIN.to_owned(), question, PATIENCE).await.unwrap();
    let (reply, _) = domain::admin::decode::<domain::admin::Reply>(&answer.payload).unwrap();
    assert_eq!(reply.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_agree_and_the_death_of_one_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path().join("broker"));
    let run = |roles: &[&str]| {
        let arguments: Vec<&str> = [&["run"], roles].concat();
        let start = crate::pointsman(dir.path(), &arguments).arg("--nats").arg(broker.url());
        start
            .arg("--listen")
            .arg("127.0.0.1:0")
            .arg("--data-dir")
            .arg(dir.path().join("data").display().to_string())
    };
    let first = run(&["http-shim", "admin-api", "router"]).ready();
    let second = run(&["http-shim", "admin-api"]).ready();
    let (one, two) = (Client::new(&first.http()), Client::new(&second.http()));
    // Whichever process answers, the same caller reads what it wrote; the other sees it without a restart.
    for n in 0..20 {
        let slug = format!("w{n}");
        let made = ask(&one, "POST", "/v1/admin/workspaces", &json!({ "name": "w", "slug": slug })).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let path = format!("/v1/admin/workspaces/{slug}");
        assert_eq!(get(&one, &path).await.status, 200, "read your writes");
        eventually("the other process sees it", PATIENCE, || async {
            (get(&two, &path).await.status == 200).then_some(())
        })
        .await;
    }
    // Both change the same entity at once: nobody's change is lost, and none is refused.
    let writers = (0..10).map(|n| {
        let client = if n % 2 == 0 { one.clone() } else { two.clone() };
        async move {
            let body = json!({ "description": format!("d{n}") });
            ask(&client, "PUT", "/v1/admin/workspaces/w0", &body).await.status
        }
    });
    let statuses = futures::future::join_all(writers).await;
    assert_eq!(statuses, vec![200; 10]);
    let log = get(&one, "/v1/audit-logs?workspace_id=w0&action=update").await;
    assert_eq!(log.body["total"], 10, "{}", log.text);

    // One dies in the middle of changes: each is there whole, with its entry, or not at all.
    let writing = {
        let client = one.clone();
        async move {
            for n in 0..60 {
                ask(
                    &client,
                    "POST",
                    "/v1/admin/workspaces",
                    &json!({ "name": "k", "slug": format!("k{n}") }),
                )
                .await;
            }
        }
    };
    let killing = async {
        eventually("some changes are made", PATIENCE, || async {
            let made = get(&two, "/v1/audit-logs?action=create").await.body["total"].as_u64();
            (made > Some(30)).then_some(())
        })
        .await;
        system_tests::harness::process::signal(second.pid(), Signal::Kill);
    };
    tokio::join!(writing, killing);
    let count = |answer: &Answer| answer.body["total"].as_u64().unwrap();
    let workspaces = get(&one, "/v1/admin/workspaces?page_size=1000").await;
    let created = get(&one, "/v1/audit-logs?action=workspace.create").await;
    // All but `default` were made here.
    assert_eq!(count(&workspaces) - 1, count(&created), "{}", created.text);
    assert!(count(&created) >= 70, "{}", created.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_role_the_gateway_says_what_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path().join("broker"));
    let start = crate::pointsman(dir.path(), &["run", "http-shim"]).arg("--nats").arg(broker.url());
    let data = dir.path().join("data").display().to_string();
    let gateway = start.arg("--listen").arg("127.0.0.1:0").arg("--data-dir").arg(data).ready();
    let client = Client::new(&gateway.http());
    let answer = get(&client, "/v1/configs").await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.body["error"]["message"].as_str().unwrap().contains("pointsman run admin-api"));
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_shown_and_reset_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    assert_eq!(client.send(client.chat("mock")).await.status, 200);
    let target = eventually("a target is known", PATIENCE, || async {
        let shown = get(&client, "/v1/admin/targets").await;
        shown.body["data"][0]["target"].as_str().map(str::to_owned)
    })
    .await;
    let path = format!("/v1/admin/targets/{}/reset", target.replace('/', "%2F"));
    let reset = ask(&client, "POST", &path, &Value::Null).await;
    assert_eq!(reset.status, 200, "{}", reset.text);
    let log = get(&client, "/v1/audit-logs?resource=target").await;
    assert_eq!(log.body["data"][0]["resource_id"], target, "{}", log.text);
    eventually("the reset is seen", PATIENCE, || async {
        let shown = get(&client, "/v1/admin/targets").await;
        (!shown.body["data"][0]["reset"].is_null()).then_some(())
    })
    .await;
    let unknown = ask(&client, "POST", "/v1/admin/targets/default%2Fnothing/reset", &Value::Null).await;
    assert_eq!(unknown.status, 404, "{}", unknown.text);
}
