//! A broker that runs full refuses, and loses nothing.

use std::time::Duration;

use async_nats::HeaderMap;
use system_tests::harness::client::{Client, Observer, chat};
use system_tests::harness::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_before_the_store_was_full_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let gateway =
        crate::up(dir.path()).arg("--roles").arg("http-shim").set("nats.max_store", "64MiB").ready();
    let observer = Observer::connect(&gateway.nats()).await;
    let client = Client::new(&gateway.http());
    let body = chat("mock?words=3", &"word ".repeat(40_000)).to_string();
    let mut accepted = Vec::new();
    let refusal = loop {
        let id = format!("fills-{}", accepted.len());
        let mut headers = HeaderMap::new();
        headers.insert("Pointsman-Request-Id", id.as_str());
        let stored = observer.js().publish_with_headers("llm.request.chat", headers, body.clone().into());
        match stored.await.unwrap().await {
            Ok(_) => accepted.push(id),
            Err(err) => break err,
        }
        assert!(accepted.len() < 400, "the store has no limit");
    };
    assert!(accepted.len() > 50, "{} requests fit: {refusal}", accepted.len());

    // The HTTP door looks at the store every two seconds.
    let refused = eventually("the HTTP door refuses", PATIENCE, || async {
        let answer = client.send(client.chat("mock").header("prefer", "respond-async")).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");

    let data = dir.path().join("data").display().to_string();
    let _work = crate::pointsman(dir.path(), &["run", "router", "provider-worker", "--nats"])
        .arg(gateway.nats())
        .arg("--data-dir")
        .arg(data)
        .ready();
    for id in &accepted {
        let (outcome, _) =
            eventually("it is answered", PATIENCE, || async { observer.outcome(id).await }).await;
        assert_eq!(outcome.kind.as_str(), "answered", "{id}: {outcome:?}");
    }
    eventually("new requests are welcome again", PATIENCE, || async {
        let answer = client.send(client.chat("mock")).await;
        (answer.status == 200).then_some(())
    })
    .await;
}
