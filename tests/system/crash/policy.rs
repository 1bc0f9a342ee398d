//! Routing documents and accounts change while those who change them and those who decide by them are killed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::crash::{Cluster, Killer, Part, killer};
use system_tests::harness::client::{Answer, Client};
use system_tests::harness::eventually;

use crate::BINARY;

const PATIENCE: Duration = Duration::from_secs(30);

/// What the writer knows: what it offered, and what was acknowledged.
#[derive(Default)]
struct Written {
    offered: HashSet<String>,
    /// Version and model, in order.
    configs: Vec<(u64, String)>,
    secrets: Vec<String>,
}

async fn ask(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    client.send(client.request(method, path).json(body)).await
}

fn config(model: &str) -> Value {
    json!({ "provider": "@account", "override_params": { "model": model } })
}

/// Changes the config and rotates the account's credential until told to stop. What was not acknowledged may have
/// been made.
async fn write(client: Client, written: Arc<Mutex<Written>>, stop: Arc<AtomicBool>) {
    let mut n = 1;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let (model, secret) = (format!("live-{n}?log"), format!("sk-{n}"));
        written.lock().offered.insert(model.clone());
        let put =
            ask(&client, Method::PUT, "/v1/configs/pc-live", &json!({ "config": config(&model) })).await;
        if put.status == 200 {
            let version = put.body["data"]["version"].as_u64().unwrap();
            written.lock().configs.push((version, model));
        }
        assert!([200, 503, 504].contains(&put.status), "{}", put.text);
        let put = ask(&client, Method::PUT, "/v1/virtual-keys/account", &json!({ "key": secret })).await;
        if put.status == 200 {
            written.lock().secrets.push(secret);
        }
        assert!([200, 503, 504].contains(&put.status), "{}", put.text);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Asks until told to stop; returns the models that answered. Every request is answered.
async fn read(client: Client, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut models = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let answer = client.send(client.chat("any").header("x-portkey-config", "pc-live")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        models.push(answer.body["model"].as_str().unwrap().to_owned());
    }
    models
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_routers_and_administrators_lose_no_change_and_no_request() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let mut parts = vec![Part::Shim];
    parts.extend((0..2).flat_map(|n| [Part::Router(n), Part::Worker(n), Part::Admin(n)]));
    let mut cluster = killer::blocking(|| Cluster::start_with(BINARY, dir.path().to_owned(), &parts));
    let client = Client::new(&cluster.http());
    let account = json!({ "name": "account", "slug": "account", "provider": "double", "key": "sk-1" });
    let made = ask(&client, Method::POST, "/v1/virtual-keys", &account).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let live = json!({ "name": "live", "slug": "live", "config": config("live-1?log") });
    let made = ask(&client, Method::POST, "/v1/configs", &live).await;
    assert_eq!(made.status, 201, "{}", made.text);

    let (written, stop) = (Arc::new(Mutex::new(Written::default())), Arc::new(AtomicBool::new(false)));
    written.lock().offered.insert("live-1?log".to_owned());
    let writer = tokio::spawn(write(client.clone(), Arc::clone(&written), Arc::clone(&stop)));
    let readers: Vec<_> = (0..3).map(|_| tokio::spawn(read(client.clone(), Arc::clone(&stop)))).collect();
    let mut killer = Killer::new(seed, killer::POLICY);
    for _ in 0..5 {
        killer.round(&mut cluster).await;
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.expect("the writer does not fail");
    let mut answered = Vec::new();
    for reader in readers {
        answered.extend(reader.await.expect("every request is answered"));
    }
    let written = Arc::into_inner(written).unwrap().into_inner();
    assert!(answered.len() > 30 && written.configs.len() > 5, "seed {seed}: {} answers", answered.len());

    // What was acknowledged is stored as it was acknowledged, under a version of its own.
    let listed = ask(&client, Method::GET, "/v1/configs/pc-live/versions?page_size=1000", &Value::Null).await;
    let versions = listed.body["data"].as_array().unwrap();
    let of = |version: &Value| {
        let document: Value = serde_json::from_str(version["config"].as_str().unwrap()).unwrap();
        let model = document["override_params"]["model"].as_str().unwrap().to_owned();
        (version["version"].as_u64().unwrap(), model)
    };
    let stored: HashSet<(u64, String)> = versions.iter().map(of).collect();
    for change in &written.configs {
        assert!(stored.contains(change), "seed {seed}: {change:?} was acknowledged and is not stored");
    }
    let models: HashSet<&String> = stored.iter().map(|(_, model)| model).collect();
    assert_eq!(models.len(), stored.len(), "seed {seed}: a change was made twice");
    assert!(models.iter().all(|model| written.offered.contains(*model)));
    for model in &answered {
        assert!(models.contains(model), "seed {seed}: answered from `{model}`, which is no version");
    }

    // The last acknowledged change is what everybody serves in the end.
    let last = json!({ "config": config("last?log") });
    let put = ask(&client, Method::PUT, "/v1/configs/pc-live", &last).await;
    assert_eq!(put.status, 200, "{}", put.text);
    let put = ask(&client, Method::PUT, "/v1/virtual-keys/account", &json!({ "key": "sk-last" })).await;
    assert_eq!(put.status, 200, "{}", put.text);
    let serves = || async {
        let answer = client.send(client.chat("any").header("x-portkey-config", "pc-live")).await;
        answer.body["model"] == "last?log"
    };
    eventually("the last version is served", PATIENCE, || async { serves().await.then_some(()) }).await;
    for _ in 0..20 {
        assert!(serves().await, "seed {seed}: an older version was served again");
    }
    eventually("the last credential is used", PATIENCE, || async {
        for _ in 0..10 {
            assert!(serves().await, "seed {seed}: an older version was served again");
        }
        let seen = cluster.mock().get("/requests?last=10").await;
        let mut shown = seen["requests"].as_array().unwrap().iter();
        shown.all(|request| request["headers"]["authorization"] == "Bearer sk-last").then_some(())
    })
    .await;
}
