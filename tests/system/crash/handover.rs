//! A worker dies between telling how its attempts failed and acknowledging their calls.

use futures::StreamExt as _;
use system_tests::crash::shape::{SHAPES, Shape};
use system_tests::crash::{Part, Sent, killer::blocking, load, now, settle};
use system_tests::harness::Observer;

use super::{check, cluster};

/// So many that some are in just that state when the worker dies.
const REQUESTS: usize = 150;

/// The second call outlasts the acknowledgement wait of the first one, which is delivered again meanwhile.
const CONFIG: &str = r#"{"strategy":{"mode":"fallback"},"targets":[
    {"provider":"double","override_params":{"model":"mock?status=500&delay=700ms"}},
    {"provider":"double","override_params":{"model":"mock?delay=3s"}}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_was_told_before_its_worker_died_is_not_given_up_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = cluster(dir.path());
    blocking(|| cluster.kill(Part::Worker(1)));
    let observer = Observer::connect(&cluster.nats()).await;
    let mut failures = observer.client().subscribe("llm.fallback.>").await.unwrap();
    let js = load::connect(&cluster.nats()).await;
    let shape = Shape { config: CONFIG, ..*SHAPES.iter().find(|s| s.name == "slow fallback").unwrap() };
    let from = now();
    let publishes = (0..REQUESTS).map(|n| {
        let (js, id) = (&js, format!("r-{n}"));
        async move {
            let offers = load::publish(js, &id, &shape).await.expect("the broker takes the request");
            Sent { id, shape, from, to: now(), accepted: true, offers, seen: None }
        }
    });
    let sent = futures::future::join_all(publishes).await;
    for _ in 0..REQUESTS / 3 {
        failures.next().await.expect("attempts fail");
    }
    blocking(|| {
        cluster.kill(Part::Worker(0));
        cluster.restart(Part::Worker(0));
        cluster.restart(Part::Worker(1));
    });
    let books = settle(&cluster, sent, "r").await;
    check(&books, "died between telling and acknowledging");
}
