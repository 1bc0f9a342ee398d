//! Processes that are asked to stop: they finish what they have begun, and nobody notices that they were replaced.

use std::time::Duration;

use system_tests::crash::load::Volume;
use system_tests::crash::{Load, Part, killer::blocking, settle};
use system_tests::harness::client::Client;
use system_tests::harness::{Signal, eventually};

use super::{check, cluster};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_every_role_costs_no_client_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = cluster(dir.path());
    let volume = Volume { clients: 6, ..Volume::default() };
    let load = Load::start("r", 1, &cluster.nats(), &cluster.http(), volume).await;
    for part in [Part::Worker(0), Part::Router(0), Part::Shim, Part::Worker(1), Part::Router(1), Part::Shim] {
        let before = load.count();
        eventually("load flows", PATIENCE, || async { (load.count() > before + 20).then_some(()) }).await;
        let ended = blocking(|| cluster.roll(part));
        assert!(ended.success(), "{part:?} ended with {ended}");
    }
    let sent = load.stop().await;
    let books = settle(&cluster, sent, "r").await;
    assert_eq!(books.faults.len(), 0, "nothing was killed, so nothing excuses an error");
    check(&books, "rolling restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_to_stop_finishes_its_call() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = cluster(dir.path());
    blocking(|| cluster.kill(Part::Worker(1)));
    let client = Client::new(&cluster.http());
    let request = client.chat("mock?delay=1500ms");
    let mut asking = tokio::task::JoinSet::new();
    asking.spawn(async move { client.send(request).await });
    eventually("the call is under way", PATIENCE, || async {
        (cluster.mock().rows("mock").await.len() == 1).then_some(())
    })
    .await;
    cluster.role(Part::Worker(0)).unwrap().signal(Signal::Term);
    let answer = asking.join_next().await.unwrap().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    let ended = blocking(|| cluster.wait(Part::Worker(0), PATIENCE));
    assert_eq!(ended.code(), Some(0));
    assert_eq!(cluster.mock().rows("mock").await.len(), 1, "the call was made once");
}
