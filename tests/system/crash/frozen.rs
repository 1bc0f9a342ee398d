//! A worker that is frozen for longer than the acknowledgement wait has been given up; waking up it changes nothing.

use std::time::Duration;

use domain::ErrorClass;
use system_tests::crash::shape::SHAPES;
use system_tests::crash::{Part, Sent, killer::blocking, load, now, settle};
use system_tests::harness::{Observer, eventually};

use super::{check, cluster};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_wakes_up_changes_no_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = cluster(dir.path());
    let observer = Observer::connect(&cluster.nats()).await;
    // The first call is slow, the one that replaces it is not.
    let shape = system_tests::crash::shape::Shape { model: "mock?delay=4s,0ms&log", ..SHAPES[0] };
    // The owner of the claim cannot be chosen, so the second worker comes when the first one has the call.
    blocking(|| cluster.kill(Part::Worker(1)));
    let from = now();
    let js = load::connect(&cluster.nats()).await;
    let offers = load::publish(&js, "r-1", &shape).await.expect("the broker takes the request");
    eventually("the first call is under way", PATIENCE, || async {
        (cluster.mock().rows("mock").await.len() == 1).then_some(())
    })
    .await;
    cluster.pause(Part::Worker(0));
    blocking(|| cluster.restart(Part::Worker(1)));
    let before = eventually("the second worker answers", PATIENCE, || observer.outcome("r-1")).await;
    assert_eq!(before.0.attempts.iter().map(|a| a.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(before.0.attempts[0].error, Some(ErrorClass::Lost));
    assert!(before.0.attempts[0].duplicate_possible);
    assert_eq!(before.0.status, 200);

    cluster.resume(Part::Worker(0));
    eventually("the first worker notices that it was given up", PATIENCE, || async {
        let log = cluster.role(Part::Worker(0)).unwrap().log();
        log.contains("had been given up for lost").then_some(())
    })
    .await;
    let after = observer.outcome("r-1").await.unwrap();
    assert_eq!(after, before);
    let sent = Sent { id: "r-1".into(), shape, from, to: now(), accepted: true, offers, seen: None };
    let books = settle(&cluster, vec![sent], "r").await;
    check(&books, "frozen worker");
    assert_eq!(books.rows.len(), 2, "{:?}", books.rows);
    assert_eq!(books.events.iter().filter(|e| e.last).count(), 1);
}
