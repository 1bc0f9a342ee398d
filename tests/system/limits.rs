//! Rates and budgets: exact over any number of routers, kept through kills, and what callers hear at a limit.

use std::time::{Duration, Instant};

use domain::event::{Kind, Level as Crossing};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::harness::client::{Answer, Client, Observer, chat};
use system_tests::harness::process::Start;
use system_tests::harness::{Broker, Mock, Pointsman, eventually};

const PATIENCE: Duration = Duration::from_secs(40);

/// A broker, a mock provider that settings call `paid` and whose every token costs a milli-dollar, a gateway and a
/// worker. Routers come and go.
struct Cluster {
    dir: tempfile::TempDir,
    broker: Broker,
    mock: Mock,
    _provider: Pointsman,
    shim: Option<Pointsman>,
}

impl Cluster {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(dir.path().join("nats"));
        let provider = crate::pointsman(dir.path(), &["mock"]).ready();
        let mock = Mock::at(&provider.mock());
        let mut cluster = Self { dir, broker, mock, _provider: provider, shim: None };
        cluster.shim = Some(cluster.run(&["http-shim", "admin-api", "provider-worker"]).ready());
        cluster
    }

    fn run(&self, roles: &[&str]) -> Start {
        let arguments: Vec<&str> = ["run"].iter().chain(roles).copied().collect();
        crate::pointsman(self.dir.path(), &arguments)
            .arg("--nats")
            .arg(self.broker.url())
            .arg("--data-dir")
            .arg(self.dir.path().join("data").display().to_string())
            .arg("--listen")
            .arg("127.0.0.1:0")
            .set("providers.paid.base_url", &self.mock.url())
            .set("providers.paid.price.input", "1000")
            .set("providers.paid.price.output", "1000")
            .set("providers.unpriced.base_url", &self.mock.url())
            .set("route.provider", "paid")
            .set("work.ack_wait", "2s")
            .set("work.progress", "500ms")
    }

    fn router(&self) -> Pointsman {
        self.run(&["router"]).ready()
    }

    fn client(&self) -> Client {
        Client::new(&self.shim.as_ref().unwrap().http())
    }

    /// A virtual key with limits.
    async fn key(&self, slug: &str, provider: &str, limits: Value) {
        let mut body = json!({ "name": slug, "slug": slug, "provider": provider, "key": "sk-test" });
        for (field, value) in limits.as_object().unwrap() {
            body[field] = value.clone();
        }
        let client = self.client();
        let made = client.send(client.request(Method::POST, "/v1/virtual-keys").json(&body)).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }

    async fn observer(&self) -> Observer {
        Observer::connect(&self.broker.url()).await
    }
}

fn ask(client: &Client, key: &str, body: &Value) -> reqwest::RequestBuilder {
    client.post_chat(body).header("x-portkey-virtual-key", key)
}

fn counted(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_by_all_routers_together_and_says_when_to_come_back() {
    let cluster = Cluster::start();
    let _routers: Vec<Pointsman> = (0..3).map(|_| cluster.router()).collect();
    cluster
        .key("slow", "paid", json!({ "rate_limits": [{ "type": "requests", "unit": "rpm", "value": 7 }] }))
        .await;
    let client = cluster.client();
    let body = chat("rated", "hello");
    let answers = join_all((0..40).map(|_| client.send(ask(&client, "slow", &body)))).await;
    assert_eq!(
        (counted(&answers, 200), counted(&answers, 429)),
        (7, 33),
        "{:?}",
        answers.last().map(|a| &a.text)
    );
    assert_eq!(cluster.mock.rows("rated").await.len(), 7);
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    let wait: u64 = refused.headers["retry-after"].parse().unwrap();
    assert!((50..=63).contains(&wait), "{wait}");
    assert_eq!(refused.headers["x-ratelimit-limit-requests"], "7");
    assert_eq!(refused.headers["x-ratelimit-remaining-requests"], "0");
    assert_eq!(refused.body["error"]["type"], "virtual_key_rate_limit_error", "{}", refused.text);
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("`default.slow`") && message.contains("7 requests rpm"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_set_aside_and_what_was_not_used_comes_back() {
    let cluster = Cluster::start();
    let _router = cluster.router();
    cluster
        .key("tok", "paid", json!({ "rate_limits": [{ "type": "tokens", "unit": "rph", "value": 2000 }] }))
        .await;
    let client = cluster.client();
    let mut body = chat("counted", "hello");
    // Far more is set aside for each of them than it uses: one after the other many fit, at once few.
    body["max_tokens"] = json!(900);
    for _ in 0..4 {
        eventually("there is room again", PATIENCE, || async {
            let answer = client.send(ask(&client, "tok", &body)).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
    body["max_tokens"] = json!(5000);
    let refused = client.send(ask(&client, "tok", &body)).await;
    assert_eq!(refused.status, 429, "{}", refused.text);
    assert!(refused.text.contains("never leaves that much"), "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_so_many_calls_run_at_one_time() {
    let cluster = Cluster::start();
    let _routers = [cluster.router(), cluster.router()];
    cluster.key("few", "paid", json!({ "rate_limits": [{ "type": "concurrent", "value": 3 }] })).await;
    let client = cluster.client();
    let body = chat("held?delay=1500ms", "hello");
    let answers = join_all((0..12).map(|_| client.send(ask(&client, "few", &body)))).await;
    assert_eq!(
        (counted(&answers, 200), counted(&answers, 429)),
        (3, 9),
        "{:?}",
        answers.last().map(|a| &a.text)
    );
    eventually("the calls are over", PATIENCE, || async {
        (client.send(ask(&client, "few", &chat("held", "again"))).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_limit_the_config_says_refuse_wait_or_go_on() {
    let cluster = Cluster::start();
    let _router = cluster.router();
    cluster
        .key("tight", "paid", json!({ "rate_limits": [{ "type": "requests", "unit": "rps", "value": 1 }] }))
        .await;
    let client = cluster.client();
    let config = |on_limit: &str, statuses: Value| {
        json!({
            "strategy": { "mode": "fallback", "on_status_codes": statuses }, "on_limit": on_limit,
            "targets": [{ "provider": "@tight" }, { "provider": "paid" }],
        })
        .to_string()
    };
    let send = |config: String| {
        let request = client.chat("choice").header("x-portkey-config", config);
        client.send(request)
    };
    let all = |config: String| join_all((0..6).map(move |_| config.clone()).map(send));

    // As at Portkey: a 429 of the target, which the list names or not.
    let usual = all(config("usual", json!([429]))).await;
    assert_eq!(counted(&usual, 200), 6, "{:?}", usual[0].text);
    assert!(usual.iter().any(|a| a.headers["x-portkey-last-used-option-index"] == "config.targets[1]"));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let listed = all(config("usual", json!([500]))).await;
    assert_eq!((counted(&listed, 200), counted(&listed, 429)), (1, 5));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let onward = all(config("fallback", json!([500]))).await;
    assert_eq!(counted(&onward, 200), 6, "{:?}", onward[0].text);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let refused = all(config("reject", json!([429]))).await;
    assert_eq!((counted(&refused, 200), counted(&refused, 429)), (1, 5));
    tokio::time::sleep(Duration::from_millis(1200)).await;

    let begun = Instant::now();
    let waited = all(config("wait", json!([429]))).await;
    assert_eq!(counted(&waited, 200), 6, "{:?}", waited.iter().map(|a| &a.text).collect::<Vec<_>>());
    assert!(begun.elapsed() >= Duration::from_millis(4500), "{:?}", begun.elapsed());
    assert!(waited.iter().all(|a| a.headers["x-portkey-last-used-option-index"] == "config.targets[0]"));

    // Those who ask hear where in the line they are.
    cluster.key("line", "paid", json!({ "rate_limits": [{ "type": "concurrent", "value": 1 }] })).await;
    let config = json!({ "provider": "@line", "on_limit": "wait" }).to_string();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let request = client
            .chat("line?delay=4s")
            .header("x-portkey-config", &config)
            .header("Prefer", "respond-async");
        let accepted = client.send(request).await;
        ids.push(accepted.body["id"].as_str().unwrap_or_else(|| panic!("{}", accepted.text)).to_owned());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let last = eventually("the last is the second in the line", PATIENCE, || async {
        let path = format!("/v1/requests/{}", ids[2]);
        let shown = client.send(client.request(Method::GET, &path)).await;
        (shown.body["waiting"]["position"] == 2).then_some(shown)
    })
    .await;
    assert!(
        last.body["waiting"]["limit"].as_str().unwrap().contains("line.concurrent.held"),
        "{}",
        last.text
    );

    // Nobody waits for what comes after the deadline.
    cluster
        .key("rare", "paid", json!({ "rate_limits": [{ "type": "requests", "unit": "rph", "value": 1 }] }))
        .await;
    let config = json!({ "provider": "@rare", "on_limit": "wait" }).to_string();
    let ask = || client.chat("choice").header("x-portkey-config", &config).header("Pointsman-Timeout", "20s");
    assert_eq!(client.send(ask()).await.status, 200);
    let begun = Instant::now();
    let refused = client.send(ask()).await;
    assert_eq!(refused.status, 429, "{}", refused.text);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_need_a_price_tell_of_themselves_and_come_in_portkeys_shape() {
    let cluster = Cluster::start();
    let _router = cluster.router();
    let budget = |usd: f64| json!({ "usage_limits": { "type": "cost", "credit_limit": usd, "alert_threshold": 0.02 } });
    cluster.key("unpriced", "unpriced", budget(1.0)).await;
    cluster.key("small", "paid", budget(0.5)).await;
    let client = cluster.client();
    let unknown = client.send(ask(&client, "unpriced", &chat("who-knows", "hello"))).await;
    assert_eq!(
        (unknown.status, &unknown.body["error"]["code"]),
        (412, &json!("price_unknown")),
        "{}",
        unknown.text
    );
    let mut body = chat("priced?words=20", "hello");
    body["max_tokens"] = json!(20);
    let mut answered = 0;
    let refused = loop {
        let answer = client.send(ask(&client, "small", &body)).await;
        if answer.status != 200 {
            break answer;
        }
        answered += 1;
        // What was not used is free again only when the end of the call was heard.
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(answered >= 5, "{answered}: {}", refused.text);
    assert_eq!((refused.status, &refused.body["error"]["code"]), (412, &json!("04")), "{}", refused.text);
    assert_eq!(refused.body["error"]["type"], "virtual_key_exhaust_error");
    let observer = cluster.observer().await;
    let crossings = eventually("both crossings are told", PATIENCE, || async {
        let events = observer.events().await;
        let told: Vec<_> = events.into_iter().filter(|event| event.kind == Kind::LimitCrossed).collect();
        (told.len() >= 2).then_some(told)
    })
    .await;
    let levels: Vec<_> = crossings.iter().map(|event| event.limit.as_ref().unwrap().level).collect();
    assert_eq!(levels, [Crossing::Threshold, Crossing::Exhausted]);
}

/// What calls cost by the provider's own count, in milli-dollars.
async fn spent(mock: &Mock, model: &str) -> u64 {
    mock.rows(model).await.iter().map(|row| row.input_tokens + row.output_tokens).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_budget_is_exceeded_by_four_routers_that_are_killed() {
    let cluster = Cluster::start();
    let mut routers: Vec<Pointsman> = (0..4).map(|_| cluster.router()).collect();
    cluster.key("five", "paid", json!({ "usage_limits": { "type": "cost", "credit_limit": 5 } })).await;
    let client = cluster.client();
    let mut body = chat("five?words=15", "hello");
    body["max_tokens"] = json!(15);
    let worst = u64::try_from(body.to_string().len()).unwrap() + 15;
    let mut answered = 0;
    for round in 0..4 {
        let asking = join_all((0..60).map(|_| client.send(ask(&client, "five", &body))));
        let killing = async {
            tokio::time::sleep(Duration::from_millis(40 + 30 * round)).await;
            routers.remove(0).kill();
            routers.push(cluster.router());
        };
        let (answers, ()) = tokio::join!(asking, killing);
        answered += counted(&answers, 200);
        let other: Vec<_> = answers.iter().filter(|a| a.status != 200 && a.status != 412).collect();
        assert!(other.is_empty(), "{:?}", other.first());
        assert!(spent(&cluster.mock, "five").await <= 5000, "round {round}");
    }
    // Everything that was set aside and not used comes back, whoever had it; then one after the other what is left.
    let mut refusals = 0;
    while refusals < 12 {
        let answer = client.send(ask(&client, "five", &body)).await;
        match answer.status {
            200 => {
                answered += 1;
                refusals = 0;
            }
            412 => {
                refusals += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            _ => panic!("{}", answer.text),
        }
    }
    let spent = spent(&cluster.mock, "five").await;
    assert!(spent <= 5000, "{spent} milli-dollars");
    let lost = cluster.observer().await.attempts().await;
    let unknown =
        lost.iter().filter(|event| event.attempt.as_ref().is_some_and(|a| a.usage.is_none())).count();
    let uncertain = u64::try_from(unknown).unwrap() * worst;
    assert!(5000 - spent < worst + uncertain, "{spent} spent, {worst} at most per call, {unknown} unknown");
    assert!(answered > 30, "{answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rate_is_exceeded_by_routers_that_are_killed() {
    let cluster = Cluster::start();
    let mut routers: Vec<Pointsman> = (0..3).map(|_| cluster.router()).collect();
    cluster
        .key("calls", "paid", json!({ "rate_limits": [{ "type": "requests", "unit": "rph", "value": 60 }] }))
        .await;
    cluster
        .key("words", "paid", json!({ "rate_limits": [{ "type": "tokens", "unit": "rph", "value": 4000 }] }))
        .await;
    let client = cluster.client();
    let mut answered = 0;
    for round in 0..3 {
        let bodies = ["calls", "words"].map(|key| {
            let mut body = chat(&format!("{key}?words=5"), "hello");
            body["max_tokens"] = json!(20);
            (key, body)
        });
        let eighty = bodies.iter().cycle().take(80);
        let asking = eighty.map(|(key, body)| client.send(ask(&client, key, body)));
        let killing = async {
            tokio::time::sleep(Duration::from_millis(30 + 40 * round)).await;
            routers.remove(0).kill();
            routers.push(cluster.router());
        };
        let (answers, ()) = tokio::join!(join_all(asking), killing);
        answered += counted(&answers, 200);
        assert_eq!(counted(&answers, 200) + counted(&answers, 429), answers.len());
    }
    let calls = cluster.mock.rows("calls").await.len();
    assert!(calls <= 60, "{calls}");
    // A thousandth of a dollar each.
    let tokens = spent(&cluster.mock, "words").await;
    assert!(tokens <= 4000, "{tokens}");
    assert!(answered >= 20, "{answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_count_a_budget_is_closed_and_a_rate_open() {
    let cluster = Cluster::start();
    let _router = cluster.router();
    cluster
        .key("closed", "paid", json!({ "usage_limits": { "type": "tokens", "credit_limit": 100_000 } }))
        .await;
    let rate = |extra: Value| {
        let mut rate = json!({ "type": "requests", "unit": "rpm", "value": 1000 });
        rate.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({ "rate_limits": [rate] })
    };
    cluster.key("open", "paid", rate(json!({}))).await;
    cluster.key("strict", "paid", rate(json!({ "on_unreachable": "closed" }))).await;
    let client = cluster.client();
    let mut body = chat("unreachable", "hello");
    body["max_tokens"] = json!(10);
    assert_eq!(client.send(ask(&client, "closed", &body)).await.status, 200);
    cluster.observer().await.js().delete_stream("LLM_LIMIT").await.unwrap();
    // What the router still has it may give out; it asks again when that is used up or given back.
    eventually("the budget is closed", PATIENCE, || async {
        let answer = client.send(ask(&client, "closed", &body)).await;
        (answer.status == 503 && answer.body["error"]["code"] == "limit_unreachable").then_some(())
    })
    .await;
    assert_eq!(client.send(ask(&client, "open", &body)).await.status, 200);
    assert_eq!(client.send(ask(&client, "strict", &body)).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_keys_and_workspaces_refuse_before_any_target() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::up(dir.path()).set("auth.mode", "on").ready();
    let client = Client::new(&gateway.http());
    let admin = std::fs::read_to_string(dir.path().join("data/admin.key")).unwrap().trim().to_owned();
    let administer = async |path: &str, body: Value| {
        let answer = client.send(client.request(Method::POST, path).bearer_auth(&admin).json(&body)).await;
        assert!(answer.status < 300, "{path}: {}", answer.text);
        answer.body
    };
    administer(
        "/v1/admin/workspaces",
        json!({ "name": "w", "slug": "w", "rate_limits": [{ "type": "requests", "unit": "rph", "value": 5 }] }),
    )
    .await;
    administer("/v1/admin/workspaces", json!({ "name": "v", "slug": "v" })).await;
    let limits = json!([{ "type": "requests", "unit": "rph", "value": 2 }]);
    let mut keys = Vec::new();
    for name in ["a", "b", "c"] {
        let body = json!({ "name": name, "workspace_id": "w", "rate_limits": limits });
        let made = administer("/v1/api-keys/workspace/service", body).await;
        keys.push(made["key"].as_str().unwrap().to_owned());
    }
    let mut answers = Vec::new();
    for key in &keys {
        for _ in 0..3 {
            answers.push(client.send(client.chat("mock").bearer_auth(key)).await);
        }
    }
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 429, 200, 200, 429, 200, 429, 429]);
    // A target that a limit of its own leaves out is no way around the key's.
    administer(
        "/v1/virtual-keys",
        json!({
            "name": "none", "slug": "none", "provider": "mock", "key": "sk-test", "workspace_id": "v",
            "rate_limits": [{ "type": "tokens", "unit": "rph", "value": 1 }],
        }),
    )
    .await;
    let made = administer(
        "/v1/api-keys/workspace/service",
        json!({ "name": "d", "workspace_id": "v", "rate_limits": limits }),
    )
    .await;
    let config = json!({
        "strategy": { "mode": "fallback" }, "targets": [{ "provider": "@none" }, { "provider": "mock" }],
    });
    let mut around = Vec::new();
    for _ in 0..3 {
        let request = client.chat("mock").bearer_auth(made["key"].as_str().unwrap());
        around.push(client.send(request.header("x-portkey-config", config.to_string())).await.status);
    }
    assert_eq!(around, [200, 200, 429]);
    let words = |index: usize| answers[index].body["message"].as_str().unwrap().to_owned();
    assert!(
        words(2).starts_with("Portkey Error: apikey ") && words(2).ends_with("Error Code: 05"),
        "{}",
        words(2)
    );
    assert!(words(7).starts_with("Portkey Error: workspace w rate limit exceeded"), "{}", words(7));
}
