//! Fallback, load balancing, retries and their schedules, against a provider that fails as told.

use std::time::Duration;

use domain::event::Reason;
use serde_json::{Value, json};
use system_tests::harness::client::{Answer, Client, Observer, chat};
use system_tests::harness::{Mock, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

async fn with_config(client: &Client, config: &Value, model: &str) -> Answer {
    client.send(client.chat(model).header("x-portkey-config", config.to_string())).await
}

fn target(model: &str) -> Value {
    json!({ "provider": "mock", "override_params": { "model": model } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_target_is_followed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let (client, mock) = (Client::new(&gateway.http()), Mock::at(&gateway.mock()));
    let config = json!({ "strategy": { "mode": "fallback" }, "targets": [target("first?status=503"), target("second")] });
    let answer = with_config(&client, &config, "any").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["x-portkey-last-used-option-index"], "config.targets[1]");
    assert_eq!(mock.rows("first").await.len(), 1);

    let id = &answer.headers["pointsman-request-id"];
    let observer = Observer::connect(&gateway.nats()).await;
    let events = eventually("both attempts are reported", PATIENCE, || async {
        let events = observer.events_of(id).await;
        (events.len() == 2).then_some(events)
    })
    .await;
    assert_eq!(events[0].attempt.as_ref().unwrap().status, Some(503));
    assert!(!events[0].last && events[1].last);
    assert_eq!(events[1].causation, format!("{id}.1"));
    let reasons: Vec<Reason> = events[1].decisions.iter().map(|d| d.reason).collect();
    assert_eq!(reasons, [Reason::First, Reason::Fallback]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_failure_comes_back_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let config = json!({ "strategy": { "mode": "fallback", "on_status_codes": [429] },
                         "targets": [target("a?status=429"), target("b?status=500"), target("c")] });
    let answer = with_config(&client, &config, "any").await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    assert_eq!(answer.headers["x-portkey-last-used-option-index"], "config.targets[1]");
    assert!(answer.body["error"]["message"].is_string());

    let listed = json!({ "strategy": { "mode": "fallback", "on_status_codes": [200] }, "targets": [target("x"), target("y")] });
    let through = with_config(&client, &listed, "any").await;
    assert_eq!(
        (through.status, through.headers["x-portkey-last-used-option-index"].as_str()),
        (200, "config.targets[1]")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_wait_on_the_broker_and_survive_a_restart_of_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let retried = json!({ "provider": "mock", "retry": { "attempts": 2, "on_status_codes": [500] } });
    let answer = with_config(&client, &retried, "retry?status=500,200").await;
    assert_eq!(
        (answer.status, answer.headers["x-portkey-retry-attempt-count"].as_str()),
        (200, "1"),
        "{}",
        answer.text
    );

    let used_up = json!({ "provider": "mock", "retry": { "attempts": 1, "on_status_codes": [503] } });
    let answer = with_config(&client, &used_up, "gone?status=503").await;
    assert_eq!((answer.status, answer.headers["x-portkey-retry-attempt-count"].as_str()), (503, "-1"));

    let asked = json!({ "provider": "mock", "retry": { "attempts": 1, "use_retry_after_header": true } });
    let request =
        client.chat("wait?status=429,200&retry-after=5").header("x-portkey-config", asked.to_string());
    let accepted = client.send(request.header("prefer", "respond-async")).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let id = accepted.body["id"].as_str().unwrap().to_owned();
    let observer = Observer::connect(&gateway.nats()).await;
    eventually("the retry is scheduled", PATIENCE, || async {
        (observer.depth("LLM_SCHEDULE").await == 1).then_some(())
    })
    .await;
    assert!(gateway.stop(PATIENCE).success());

    let gateway = crate::gateway(dir.path());
    let ended = Client::new(&gateway.http()).wait_for(&id, PATIENCE).await;
    // The mock's list advances by what it has seen, and a new mock has seen nothing: both endings are the retry's.
    assert_eq!(ended["attempts"].as_array().map(Vec::len), Some(2), "{ended}");
    let attempts = ended["attempts"].as_array().unwrap();
    let waited = attempts[1]["started_at"].as_u64().unwrap() - attempts[0]["finished_at"].as_u64().unwrap();
    assert!(waited >= 4900, "the provider asked for 5 s, {waited} ms passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_timeout_is_a_408_and_falls_back() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let single = json!({ "provider": "mock", "request_timeout": 300 });
    let answer = with_config(&client, &single, "slow?hang=headers").await;
    assert_eq!(answer.status, 408, "{}", answer.text);
    assert!(answer.body["error"]["message"].as_str().unwrap().contains("300ms"), "{}", answer.text);
    let both = json!({ "strategy": { "mode": "fallback" }, "request_timeout": 300, "targets": [target("slow?hang=headers"), target("fast")] });
    assert_eq!(with_config(&client, &both, "any").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn load_is_balanced_by_weight() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let (client, mock) = (Client::new(&gateway.http()), Mock::at(&gateway.mock()));
    let mut often = target("often");
    often["weight"] = json!(0.8);
    let mut seldom = target("seldom");
    seldom["weight"] = json!(0.2);
    let mut never = target("never");
    never["weight"] = json!(0);
    let config = json!({ "strategy": { "mode": "loadbalance" }, "targets": [often, seldom, never] });
    for _ in 0..60 {
        assert_eq!(with_config(&client, &config, "any").await.status, 200);
    }
    let bill = mock.bill().await;
    let calls = |model: &str| bill.models.get(model).map_or(0, |m| m.calls);
    assert_eq!((calls("often") + calls("seldom"), calls("never")), (60, 0));
    assert!(calls("often") > calls("seldom"), "{:?}", bill.models);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_answers_fall_back_before_the_first_chunk_and_are_told_after() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    for fault in ["malformed=json", "content-type=text/html", "error-body", "abort=0", "abort=5"] {
        let config = json!({ "strategy": { "mode": "fallback" }, "targets": [target(&format!("bad?{fault}")), target("good")] });
        let answer = with_config(&client, &config, "any").await;
        assert_eq!(
            (answer.status, answer.headers["x-portkey-last-used-option-index"].as_str()),
            (200, "config.targets[1]"),
            "{fault}: {}",
            answer.text
        );
    }
    let mut body = chat("cut?chunks=6&gap=5ms&abort=700", "one two three four five six seven eight nine ten");
    body["stream"] = json!(true);
    let answer = client.send(client.post_chat(&body)).await;
    assert_eq!(answer.status, 200);
    let last = answer.events().last().cloned().unwrap_or_default();
    let error: Value = serde_json::from_str(&last).unwrap_or_default();
    assert!(error["error"]["message"].as_str().is_some_and(|m| m.contains("broke off")), "{}", answer.text);
    let observer = Observer::connect(&gateway.nats()).await;
    let id = &answer.headers["pointsman-request-id"];
    let (outcome, _) =
        eventually("the outcome is stored", PATIENCE, || async { observer.outcome(id).await }).await;
    assert!(outcome.truncated && outcome.attempts[0].error.is_some(), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hanging_provider_does_not_hold_up_another() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::up(dir.path()).ready();
    let settings = dir.path().join("two.toml");
    let mock = gateway.mock();
    let text = format!(
        "[providers.hanging]\nbase_url = \"{mock}\"\nconcurrency = 4\n[providers.fast]\nbase_url = \"{mock}\"\nconcurrency = 4\n\
         [route]\nprovider = \"fast\"\n"
    );
    std::fs::write(&settings, text).unwrap();
    let data = dir.path().join("data");
    let second = crate::pointsman(
        dir.path(),
        &["run", "http-shim", "router", "provider-worker", "--listen", "127.0.0.1:0"],
    )
    .arg("--nats")
    .arg(gateway.nats())
    .arg("--settings")
    .arg(settings.display().to_string())
    .arg("--data-dir")
    .arg(data.display().to_string())
    .ready();
    let client = Client::new(&second.http());
    let mut hanging = Vec::new();
    for _ in 0..12 {
        let request = client
            .chat("m?hang=headers")
            .header("x-portkey-provider", "@hanging")
            .header("prefer", "respond-async");
        let accepted = client.send(request).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text);
        hanging.push(accepted.body["id"].as_str().unwrap().to_owned());
    }
    for _ in 0..30 {
        assert_eq!(client.send(client.chat("m").header("x-portkey-provider", "@fast")).await.status, 200);
    }
    for id in hanging {
        client.send(client.request(reqwest::Method::DELETE, &format!("/v1/requests/{id}"))).await;
    }
}
