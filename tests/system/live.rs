//! Changes of the policy reach every process: after a broker's restart, in bulk, and where breakers look.

use std::time::Duration;

use bus::policy::PolicyView;
use domain::Workspace;
use domain::health::Availability;
use domain::policy::Key;
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::harness::client::{Client, Observer};
use system_tests::harness::{Broker, Mock, Pointsman, Signal, eventually};

/// Well below the time after which processes look by themselves whether they missed something.
const PATIENCE: Duration = Duration::from_secs(15);

async fn done(client: &Client, method: Method, path: &str, body: Value) {
    let answer = client.send(client.request(method, path).json(&body)).await;
    assert!(answer.status < 300, "{path}: {}", answer.text);
}

/// Changes a record behind everybody's back.
async fn change(bus: &bus::Bus, key: &Key, change: impl Fn(&mut Value)) {
    let there = bus.policy_record(key).await.unwrap().expect("the record is there");
    let mut record: Value = serde_json::from_slice(&there.payload).unwrap();
    change(&mut record);
    bus.put_policy(key, record.to_string().into(), there.sequence).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_broker_everybody_serves_what_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path().join("nats"));
    let mock = crate::pointsman(dir.path(), &["mock"]).ready();
    let run = |roles: &[&str]| -> Pointsman {
        let arguments = [&["run"], roles].concat();
        let data = dir.path().join("data").display().to_string();
        let start = crate::pointsman(dir.path(), &arguments).arg("--nats").arg(broker.url());
        let start = start.arg("--listen").arg("127.0.0.1:0").arg("--data-dir").arg(data);
        start.set("providers.double.base_url", &format!("\"{}\"", mock.mock())).ready()
    };
    let gateway = run(&["http-shim"]);
    let others = [run(&["admin-api"]), run(&["router"]), run(&["provider-worker"])];
    let client = Client::new(&gateway.http());
    let account = json!({ "name": "a", "slug": "account", "provider": "double", "key": "sk-old" });
    done(&client, Method::POST, "/v1/virtual-keys", account).await;
    let config = |model: &str| json!({ "provider": "@account", "override_params": { "model": model } });
    let live = json!({ "name": "live", "slug": "live", "config": config("old?log") });
    done(&client, Method::POST, "/v1/configs", live).await;
    let ask = || client.send(client.chat("any").header("x-portkey-config", "pc-live"));
    eventually("the config is known", PATIENCE, || async {
        (ask().await.body["model"] == "old?log").then_some(())
    })
    .await;

    // Nobody hears of the changes: all are frozen, and what the broker told them died with it.
    let everybody = || std::iter::once(&gateway).chain(&others);
    everybody().for_each(|process| process.signal(Signal::Stop));
    tokio::task::block_in_place(|| broker.restart());
    let observer = Observer::connect(&broker.url()).await;
    let bus = observer.bus(&broker.url()).await;
    let slug = domain::Slug::parse("pc-live").unwrap();
    let version = |n| Key::Version(Workspace::default(), slug.clone(), n);
    let there = bus.policy_record(&version(1)).await.unwrap().unwrap();
    let mut record: Value = serde_json::from_slice(&there.payload).unwrap();
    (record["version"], record["document"]) = (json!(2), config("new?log"));
    bus.put_policy(&version(2), record.to_string().into(), 0).await.unwrap();
    change(&bus, &Key::Config(Workspace::default(), slug.clone()), |head| {
        (head["version"], head["latest"]) = (json!(2), json!(2));
    })
    .await;
    let account = Key::VirtualKey(Workspace::default(), domain::Slug::parse("account").unwrap());
    change(&bus, &account, |key| key["models"] = json!(["new*"])).await;
    tokio::task::block_in_place(|| broker.restart());
    everybody().for_each(|process| process.signal(Signal::Continue));

    eventually("the new version is served", PATIENCE, || async {
        let answer = ask().await;
        (answer.status == 200 && answer.body["model"] == "new?log").then_some(())
    })
    .await;
    // The router knows what the account allows, the admin API what is in force, the worker the credential.
    eventually("the account allows nothing else", PATIENCE, || async {
        let old = config("old").to_string();
        (client.send(client.chat("any").header("x-portkey-config", old)).await.status == 412).then_some(())
    })
    .await;
    eventually("the admin API shows it", PATIENCE, || async {
        let shown = client.send(client.request(Method::GET, "/v1/configs/pc-live")).await;
        (shown.body["data"]["version"] == 2).then_some(())
    })
    .await;
    done(&client, Method::PUT, "/v1/virtual-keys/account", json!({ "key": "sk-new" })).await;
    eventually("the new credential is used", PATIENCE, || async {
        assert_eq!(ask().await.status, 200);
        let seen = Mock::at(&mock.mock()).get("/requests?last=1").await;
        (seen["requests"][0]["headers"]["authorization"] == "Bearer sk-new").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_reads_all_records_however_many_and_large() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::up(dir.path()).arg("--roles").arg("admin-api").ready();
    let observer = Observer::connect(&gateway.nats()).await;
    let bus = observer.bus(&gateway.nats()).await;
    let stamp = json!({ "at": 1, "by": "test" });
    // More than one question brings, by number and by bytes.
    let sizes = (0..1100).map(|n| (n, 10)).chain((1100..1190).map(|n| (n, 900 * 1024)));
    let put = |(n, size): (u32, usize)| {
        let (bus, stamp) = (bus.clone(), stamp.clone());
        async move {
            let name = format!("w{n}");
            let record = json!({
                "slug": name, "name": name, "description": "x".repeat(size), "created": stamp, "updated": stamp,
            });
            let key = Key::Workspace(Workspace::parse(&name).unwrap());
            bus.put_policy(&key, record.to_string().into(), 0).await.unwrap()
        }
    };
    let last =
        futures::stream::iter(sizes.map(put)).buffer_unordered(16).fold(0, async |a: u64, b| a.max(b)).await;
    let view = PolicyView::default();
    bus.load_policy(&view).await.unwrap();
    assert_eq!((view.applied(), view.read(|policy| policy.workspaces().len())), (last, 1190));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_credential_closes_the_circuit_that_the_old_one_opened() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let observer = Observer::connect(&gateway.nats()).await;
    let bus = observer.bus(&gateway.nats()).await;
    let account = json!({ "name": "a", "slug": "account", "provider": "mock", "key": "sk-old" });
    done(&client, Method::POST, "/v1/virtual-keys", account).await;
    let config = json!({
        "strategy": {
            "mode": "fallback",
            "on_status_codes": [401],
            "cb_config": { "failure_threshold": 2, "cooldown_interval": "10m", "failure_status_codes": [401] },
        },
        "targets": [
            { "virtual_key": "account", "override_params": { "model": "refused?status=401" } },
            { "provider": "mock", "override_params": { "model": "spare" } },
        ],
    })
    .to_string();
    let account_is = |state: Availability| {
        let bus = &bus;
        eventually("the circuit changes", PATIENCE, move || async move {
            let targets = bus.targets_health().await.ok()?;
            targets.into_iter().find(|t| t.target == "default/account" && t.state == state)
        })
    };
    for _ in 0..3 {
        assert_eq!(client.send(client.chat("any").header("x-portkey-config", &config)).await.status, 200);
    }
    account_is(Availability::Open).await;
    done(&client, Method::PUT, "/v1/virtual-keys/account", json!({ "key": "sk-new" })).await;
    account_is(Availability::Closed).await;
}
