//! Limits that providers tell of: routers stop before the wall, and not at it.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};
use system_tests::harness::client::{Client, Observer};
use system_tests::harness::process::Start;
use system_tests::harness::{Broker, Mock, Pointsman, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

/// Calls that the provider takes per window, and how long that is: a run of the test crosses few of them.
const WALL: u32 = 5;
const WINDOW: &str = "5s";

/// Requests of one run, and how many are on their way at once.
const REQUESTS: usize = 120;
const AT_ONCE: usize = 6;

/// Falls back from a provider with a wall to one without.
fn config(model: &str) -> Value {
    json!({
        "strategy": { "mode": "fallback" },
        "targets": [
            { "provider": "walled", "override_params": { "model": format!("{model}?wall={WALL}/{WINDOW}") } },
            { "provider": "free", "override_params": { "model": "free" } },
        ],
    })
}

struct Cluster {
    dir: tempfile::TempDir,
    broker: Broker,
    mock: Mock,
    _providers: Pointsman,
    shim: Pointsman,
}

impl Cluster {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(dir.path().join("nats"));
        let providers = crate::pointsman(dir.path(), &["mock"]).ready();
        let mock = Mock::at(&providers.mock());
        let shim = run(dir.path(), &broker, &mock, &["http-shim", "provider-worker"]).ready();
        Self { dir, broker, mock, _providers: providers, shim }
    }

    /// Two routers that heed what providers say, or do not.
    fn routers(&self, heed: bool) -> [Pointsman; 2] {
        let start = || run(self.dir.path(), &self.broker, &self.mock, &["router"]);
        [(); 2].map(|()| start().set("health.provider_limits", &heed.to_string()).ready())
    }

    /// Asks many times; all are answered. Returns how many calls the wall stopped.
    async fn refused(&self, model: &str) -> usize {
        let client = Client::new(&self.shim.http());
        let config = config(model).to_string();
        let ask =
            |_| async { client.send(client.chat("any").header("x-portkey-config", config.clone())).await };
        let answers: Vec<_> =
            futures::stream::iter(0..REQUESTS).map(ask).buffer_unordered(AT_ONCE).collect().await;
        for answer in &answers {
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        let rows = self.mock.rows(&format!("{model}?")).await;
        assert!(rows.iter().any(|row| row.status == Some(200)), "the walled provider is used");
        rows.iter().filter(|row| row.status == Some(429)).count()
    }
}

fn run(dir: &Path, broker: &Broker, mock: &Mock, roles: &[&str]) -> Start {
    let arguments: Vec<&str> = ["run"].iter().chain(roles).copied().collect();
    crate::pointsman(dir, &arguments)
        .arg("--nats")
        .arg(broker.url())
        .arg("--data-dir")
        .arg(dir.join("data").display().to_string())
        .arg("--listen")
        .arg("127.0.0.1:0")
        .set("providers.walled.base_url", &mock.url())
        .set("providers.free.base_url", &mock.url())
        .set("route.provider", "free")
}

#[tokio::test(flavor = "multi_thread")]
async fn routers_that_heed_what_is_left_hardly_ever_meet_the_wall() {
    let cluster = Cluster::start();
    let routers = cluster.routers(false);
    let blind = cluster.refused("blind").await;
    drop(routers);
    let _routers = cluster.routers(true);
    let heeding = cluster.refused("heeding").await;
    // Blind, every request meets the wall but those that its few windows let through. Heeding, at most those that are
    // on their way when a window's last call is counted, before the others hear of it.
    assert!(blind >= REQUESTS / 2, "{blind} calls of {REQUESTS} met the wall");
    assert!(heeding * 5 <= blind, "{heeding} calls met the wall, {blind} without the estimate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_target_waits_for_room_and_people_see_what_is_left() {
    let cluster = Cluster::start();
    let observer = Observer::connect(&cluster.broker.url()).await;
    let bus = observer.bus(&cluster.broker.url()).await;
    let routers = cluster.routers(true);
    let client = Client::new(&cluster.shim.http());
    let target = json!({ "provider": "walled", "override_params": { "model": "one?wall=2/8s" } }).to_string();
    let ask = || client.send(client.chat("any").header("x-portkey-config", target.clone()));
    for left in [1, 0] {
        assert_eq!(ask().await.status, 200);
        eventually("the router knows what is left", PATIENCE, || async {
            let targets = bus.targets_health().await.ok()?;
            let walled = targets.into_iter().find(|health| health.target == "default/walled")?;
            (walled.limits.first()?.requests? <= left).then_some(())
        })
        .await;
    }
    // There is no other target, so these wait for the next window instead of being refused.
    for answer in [ask().await, ask().await] {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let rows = cluster.mock.rows("one").await;
    assert_eq!(rows.iter().filter(|row| row.status == Some(429)).count(), 0, "{rows:?}");

    let table =
        crate::pointsman(cluster.dir.path(), &["targets", "--nats"]).arg(cluster.broker.url()).finish();
    assert!(table.stdout.contains("one?wall=2/8s: ") && table.stdout.contains("requests"), "{table:?}");
    eventually("the metrics say so", PATIENCE, || async {
        let text = reqwest::get(format!("{}/metrics", routers[0].http())).await.ok()?.text().await.ok()?;
        text.contains("pointsman_target_requests_left{target=\"default/walled\"}").then_some(())
    })
    .await;
}
