//! Circuit breakers: one router's failures protect the others, one request tries a target again, people see and reset.

use std::path::Path;
use std::time::Duration;

use domain::health::{Availability, TargetHealth};
use serde_json::{Value, json};
use system_tests::harness::client::{Answer, Client, Observer};
use system_tests::harness::process::Start;
use system_tests::harness::{Broker, Mock, Pointsman, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

/// A broker, two mock providers that settings call `bad` and `good`, and everything but routers.
struct Cluster {
    dir: tempfile::TempDir,
    broker: Broker,
    mock: Mock,
    _providers: Pointsman,
    shim: Option<Pointsman>,
}

impl Cluster {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(dir.path().join("nats"));
        let providers = crate::pointsman(dir.path(), &["mock"]).ready();
        let mock = Mock::at(&providers.mock());
        let mut cluster = Self { dir, broker, mock, _providers: providers, shim: None };
        cluster.shim = Some(cluster.run(&["http-shim", "provider-worker"]).ready());
        cluster
    }

    fn run(&self, roles: &[&str]) -> Start {
        let arguments: Vec<&str> = ["run"].iter().chain(roles).copied().collect();
        let url = self.mock.url();
        crate::pointsman(self.dir.path(), &arguments)
            .arg("--nats")
            .arg(self.broker.url())
            .arg("--data-dir")
            .arg(self.dir.path().join("data").display().to_string())
            .arg("--listen")
            .arg("127.0.0.1:0")
            .set("providers.bad.base_url", &url)
            .set("providers.good.base_url", &url)
            .set("route.provider", "good")
            .set("health.shortest_cooldown", "1s")
            // What a frozen router holds soon goes to another.
            .set("work.ack_wait", "2s")
            .set("work.progress", "500ms")
    }

    fn router(&self) -> Pointsman {
        self.run(&["router"]).ready()
    }

    fn client(&self) -> Client {
        Client::new(&self.shim.as_ref().unwrap().http())
    }

    async fn ask(&self, config: &Value) -> Answer {
        let client = self.client();
        client.send(client.chat("any").header("x-portkey-config", config.to_string())).await
    }

    async fn observer(&self) -> (Observer, bus::Bus) {
        let observer = Observer::connect(&self.broker.url()).await;
        let bus = observer.bus(&self.broker.url()).await;
        (observer, bus)
    }

    fn cli(&self, arguments: &[&str]) -> Value {
        let finished = command(self.dir.path(), arguments, &self.broker.url()).finish();
        assert!(finished.status.success(), "{finished:?}");
        finished.json()
    }

    async fn calls(&self, model: &str) -> usize {
        self.mock.rows(model).await.len()
    }
}

fn command(dir: &Path, arguments: &[&str], nats: &str) -> Start {
    crate::pointsman(dir, arguments).arg("--json").arg("--nats").arg(nats)
}

/// Falls back from a target that fails as told to one that works; three failures open the circuit.
fn config(first: &str, cooldown: &str) -> Value {
    json!({
        "strategy": {
            "mode": "fallback",
            "cb_config": { "failure_threshold": 3, "cooldown_interval": cooldown },
        },
        "targets": [
            { "provider": "bad", "override_params": { "model": first } },
            { "provider": "good", "override_params": { "model": "good" } },
        ],
    })
}

/// Waits until a router says so of `bad`.
async fn bad_is(bus: &bus::Bus, state: Availability) -> TargetHealth {
    eventually(&format!("the target is {}", state.as_str()), PATIENCE, || async {
        let targets = bus.targets_health().await.ok()?;
        targets.into_iter().find(|t| t.target == "default/bad" && t.state == state)
    })
    .await
}

fn answered_by(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.text);
    &answer.headers["x-portkey-last-used-option-index"]
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_through_one_router_protect_the_other_and_one_that_starts_later() {
    let cluster = Cluster::start();
    let (_observer, bus) = cluster.observer().await;
    let config = config("bad?status=503", "10m");
    let mut first = cluster.router();
    // The other one listens, but takes no requests while it is frozen: all failures go through the first.
    let second = cluster.router();
    second.signal(system_tests::harness::Signal::Stop);
    let mut asked = 0;
    while cluster.calls("bad").await < 3 {
        asked += 1;
        assert!(asked < 10, "the target is called every time");
        assert_eq!(answered_by(&cluster.ask(&config).await), "config.targets[1]");
    }
    let health = bad_is(&bus, Availability::Open).await;
    assert_eq!((health.failures, health.reason.unwrap().as_str()), (3, "server_error"), "{health:?}");
    second.signal(system_tests::harness::Signal::Continue);
    assert!(first.stop(PATIENCE).success());

    // Only the second is left.
    bad_is(&bus, Availability::Open).await;
    for _ in 0..5 {
        assert_eq!(answered_by(&cluster.ask(&config).await), "config.targets[1]");
    }
    assert_eq!(cluster.calls("bad").await, 3, "nobody called it again");

    let mut second = second;
    assert!(second.stop(PATIENCE).success());
    let _third = cluster.router();
    for _ in 0..5 {
        assert_eq!(answered_by(&cluster.ask(&config).await), "config.targets[1]");
    }
    assert_eq!(cluster.calls("bad").await, 3, "a router that started later knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_mistakes_never_open_it() {
    let cluster = Cluster::start();
    let (_observer, bus) = cluster.observer().await;
    let _routers = [cluster.router(), cluster.router()];
    for status in [400, 404, 422] {
        let config = config(&format!("bad?status={status}"), "10m");
        for _ in 0..4 {
            assert_eq!(answered_by(&cluster.ask(&config).await), "config.targets[1]");
        }
    }
    assert_eq!(cluster.calls("bad").await, 12, "it was called every time");
    let health = bad_is(&bus, Availability::Closed).await;
    assert_eq!(health.last_error.unwrap().fault.as_str(), "bad_request", "{health:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_tries_the_target_and_closes_the_circuit() {
    let cluster = Cluster::start();
    let (_observer, bus) = cluster.observer().await;
    let _routers = [cluster.router(), cluster.router()];
    let failing = config("bad?status=503", "1s");
    for _ in 0..3 {
        assert_eq!(answered_by(&cluster.ask(&failing).await), "config.targets[1]");
    }
    bad_is(&bus, Availability::HalfOpen).await;
    // The circuit is the target's, not the model's: what comes next takes long and works.
    let slow = config("works?delay=1500ms", "1s");
    let asked = futures::future::join_all((0..6).map(|_| cluster.ask(&slow))).await;
    let tried = asked.iter().filter(|answer| answered_by(answer) == "config.targets[0]").count();
    assert_eq!((tried, cluster.calls("works").await), (1, 1), "one at a time");
    bad_is(&bus, Availability::Closed).await;
    assert_eq!(answered_by(&cluster.ask(&config("works", "1s")).await), "config.targets[0]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_try_opens_it_again_and_the_request_falls_back() {
    let cluster = Cluster::start();
    let (_observer, bus) = cluster.observer().await;
    let _routers = [cluster.router(), cluster.router()];
    let failing = config("bad?status=503", "1s");
    for _ in 0..3 {
        cluster.ask(&failing).await;
    }
    bad_is(&bus, Availability::HalfOpen).await;
    assert_eq!(answered_by(&cluster.ask(&failing).await), "config.targets[1]");
    assert_eq!(cluster.calls("bad").await, 4, "it was tried once");
    let health = bad_is(&bus, Availability::Open).await;
    assert_eq!(health.failures, 4, "{health:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_target_is_open_the_breaker_is_bypassed() {
    let cluster = Cluster::start();
    let (_observer, bus) = cluster.observer().await;
    let _router = cluster.router();
    let mut config = config("bad?status=503", "10m");
    config["targets"].as_array_mut().unwrap().pop();
    for _ in 0..3 {
        assert_eq!(cluster.ask(&config).await.status, 503);
    }
    bad_is(&bus, Availability::Open).await;
    assert_eq!(cluster.ask(&config).await.status, 503);
    assert_eq!(cluster.calls("bad").await, 4, "there is nothing else to call");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_the_targets_and_reset_them() {
    let cluster = Cluster::start();
    let (_observer, bus) = cluster.observer().await;
    let routers = [cluster.router(), cluster.router()];
    let config = config("bad?status=500", "10m");
    for _ in 0..3 {
        cluster.ask(&config).await;
    }
    bad_is(&bus, Availability::Open).await;
    let shown = cluster.cli(&["targets"]);
    let bad = shown["targets"].as_array().unwrap().iter().find(|t| t["target"] == "default/bad").unwrap();
    assert_eq!((&bad["state"], &bad["reason"]), (&json!("open"), &json!("server_error")), "{bad}");
    assert_eq!((&bad["failures"], &bad["last_error"]["status"]), (&json!(3), &json!(500)), "{bad}");
    let table =
        crate::pointsman(cluster.dir.path(), &["targets", "--nats"]).arg(cluster.broker.url()).finish();
    assert!(table.stdout.contains("default/bad") && table.stdout.contains("open"), "{table:?}");
    eventually("the metrics say so", PATIENCE, || async {
        let text = reqwest::get(format!("{}/metrics", routers[0].http())).await.ok()?.text().await.ok()?;
        let state = text.contains("pointsman_breaker_state{target=\"default/bad\"} 2");
        let opened =
            text.contains("pointsman_breaker_opened_total{target=\"default/bad\",reason=\"server_error\"} 1");
        (state && opened).then_some(())
    })
    .await;

    let unknown = command(cluster.dir.path(), &["targets", "reset", "default/nobody"], &cluster.broker.url());
    let unknown = unknown.finish();
    assert!(!unknown.status.success() && unknown.stderr.contains("default/bad"), "{unknown:?}");
    assert_eq!(cluster.cli(&["targets", "reset", "default/bad"])["reset"], true);
    bad_is(&bus, Availability::Closed).await;
    cluster.ask(&config).await;
    assert_eq!(cluster.calls("bad").await, 4, "it is called again");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_breaker_health_is_recorded_and_nothing_is_skipped() {
    let cluster = Cluster::start();
    let (_observer, bus) = cluster.observer().await;
    let _router = cluster.router();
    let mut config = config("bad?status=503", "10m");
    config["strategy"].as_object_mut().unwrap().remove("cb_config");
    for _ in 0..6 {
        assert_eq!(answered_by(&cluster.ask(&config).await), "config.targets[1]");
    }
    assert_eq!(cluster.calls("bad").await, 6);
    let targets = eventually("both are in the book", PATIENCE, || async {
        let targets = bus.targets_health().await.ok()?;
        let good = targets.iter().any(|t| t.target == "default/good" && t.latency_ms.is_some());
        let bad = targets.iter().any(|t| t.target == "default/bad" && t.failures == 6);
        let idle = targets.iter().all(|t| t.in_flight == Some(0));
        (good && bad && idle).then_some(targets)
    })
    .await;
    assert!(targets.iter().all(|t| t.state == Availability::Closed), "{targets:?}");
}
