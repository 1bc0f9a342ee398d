//! A credential that a caller brings never travels, and is never kept, in clear.

use std::time::Duration;

use serde_json::json;
use system_tests::harness::client::{Client, Observer};
use system_tests::harness::process::Start;
use system_tests::harness::{Mock, eventually};

const CANARY: &str = "sk-canary-5f1d3c";

#[tokio::test(flavor = "multi_thread")]
async fn inline_credentials_reach_the_provider_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::up(dir.path()).set("log.level", "debug").set("limits.result_ttl", "1h").ready();
    let (client, mock) = (Client::new(&gateway.http()), Mock::at(&gateway.mock()));
    let observer = Observer::connect(&gateway.nats()).await;

    let header = client
        .chat("by-header?log")
        .header("x-portkey-provider", "openai")
        .header("authorization", format!("Bearer {CANARY}-1"));
    let answer = client.send(header.header("x-portkey-custom-host", mock.url())).await;
    assert_eq!(answer.status, 200, "{}", answer.text);

    let config = json!({ "strategy": { "mode": "fallback" }, "targets": [
        { "provider": "openai", "api_key": format!("{CANARY}-2"), "custom_host": mock.url(), "override_params": { "model": "fails?status=500&log" } },
        { "provider": "openai", "api_key": format!("{CANARY}-3"), "custom_host": mock.url(), "forward_headers": ["x-tenant-secret"],
          "override_params": { "model": "by-config?log" } },
    ] });
    let inside = client
        .chat("any")
        .header("x-portkey-config", config.to_string())
        .header("x-tenant-secret", format!("{CANARY}-4"));
    let answer = client.send(inside).await;
    assert_eq!(answer.status, 200, "{}", answer.text);

    // A waiting retry keeps the credential for a while, sealed.
    let waiting = json!({ "provider": "openai", "api_key": format!("{CANARY}-5"), "custom_host": mock.url(),
                          "retry": { "attempts": 1, "use_retry_after_header": true } });
    let request =
        client.chat("waits?status=429&retry-after=50").header("x-portkey-config", waiting.to_string());
    client.send(request.header("prefer", "respond-async")).await;
    eventually("the retry waits", Duration::from_secs(20), || async {
        (observer.depth("LLM_SCHEDULE").await > 0).then_some(())
    })
    .await;

    let seen = mock.get("/requests?last=50").await.to_string();
    for n in 1..=4 {
        assert!(seen.contains(&format!("{CANARY}-{n}")), "credential {n} did not arrive: {seen}");
    }

    for stream in [
        "LLM_REQUEST",
        "LLM_CALL",
        "LLM_FALLBACK",
        "LLM_SCHEDULE",
        "LLM_STATE",
        "LLM_RESULT",
        "LLM_EVENT",
        "LLM_DEAD",
        "KV_llm_registry",
    ] {
        for (subject, headers, payload) in observer.contents(stream).await {
            let text = String::from_utf8_lossy(&payload);
            assert!(
                !text.contains(CANARY) && !headers.contains(CANARY),
                "{stream} {subject} holds the credential"
            );
        }
    }
    // What has been acknowledged is still on disk for a while.
    for file in files(&dir.path().join("data")) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let found = bytes.windows(CANARY.len()).any(|w| w == CANARY.as_bytes());
        assert!(!found, "{} holds the credential", file.display());
    }
    assert!(!gateway.log().contains(CANARY), "the log holds the credential");
}

fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

/// Two key pairs: 32 times 7, 32 times 8.
const PAIRS: [&str; 2] =
    ["BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=", "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg="];

#[tokio::test(flavor = "multi_thread")]
async fn a_key_pair_is_replaced_while_requests_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = |n: usize| {
        let path = dir.path().join(format!("pair-{n}"));
        std::fs::write(&path, PAIRS[n]).unwrap();
        path.display().to_string()
    };
    let files = [file(0), file(1)];
    let with = |start: Start, current: usize, other: usize| {
        let start = start.set("sealing.private_key_file", &files[current]);
        start.set("sealing.other_key_files", &format!("[{:?}]", files[other]))
    };
    let up = crate::up(dir.path()).arg("--roles").arg("http-shim,router,admin-api");
    let gateway = with(up, 0, 1).ready();
    let data = dir.path().join("data").display().to_string();
    let worker = |current: usize, other: usize| {
        let run = ["run", "provider-worker", "--listen", "127.0.0.1:0", "--nats"];
        let start = crate::pointsman(dir.path(), &run).arg(gateway.nats()).arg("--data-dir").arg(&data);
        with(start, current, other).ready()
    };
    let mut first = worker(0, 1);
    let client = Client::new(&gateway.http());
    let account = |slug: &'static str| {
        let client = &client;
        async move {
            let body = json!({ "name": slug, "slug": slug, "provider": "mock", "key": format!("sk-{slug}") });
            client.send(client.request(reqwest::Method::POST, "/v1/virtual-keys").json(&body)).await
        }
    };
    let ask = |slug: &'static str| {
        let request =
            client.chat("paired?log").header("x-portkey-config", json!({ "virtual_key": slug }).to_string());
        client.send(request)
    };
    let made = eventually("a worker has published its key", Duration::from_secs(20), || async {
        let made = account("old").await;
        (made.status == 201).then_some(made)
    })
    .await;
    assert_eq!(made.body["data"]["slug"], "old");
    assert_eq!(ask("old").await.status, 200);
    // The next worker has the new pair as its own and still opens what was sealed for the old one.
    let _second = worker(1, 0);
    assert!(first.stop(Duration::from_secs(20)).success());
    assert_eq!(ask("old").await.status, 200, "sealed for the old pair");
    let observer = Observer::connect(&gateway.nats()).await;
    let sealed_for = |records: &[(String, String, Vec<u8>)], slug: &str| {
        let ours =
            records.iter().rfind(|(subject, ..)| subject.ends_with(&format!("virtual.default.{slug}")));
        let record: serde_json::Value = serde_json::from_slice(&ours.unwrap().2).unwrap();
        record["secret"]["sealed"].as_str().unwrap().split(':').nth(1).unwrap().to_owned()
    };
    eventually("credentials are sealed for the new pair", Duration::from_secs(20), || async {
        account("new").await;
        let records = observer.contents("KV_llm_policy").await;
        (sealed_for(&records, "new") != sealed_for(&records, "old")).then_some(())
    })
    .await;
    assert_eq!(ask("new").await.status, 200);
    let seen = Mock::at(&gateway.mock()).get("/requests?last=10").await.to_string();
    assert!(seen.contains("Bearer sk-old") && seen.contains("Bearer sk-new"), "{seen}");
}
