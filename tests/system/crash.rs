//! Processes die at random moments under load; nothing accepted is lost, and the books agree.
//!
//! The long version is `cargo run --release -p system-tests --bin soak -- --minutes 30`.

mod broker;
mod duplicates;
mod frozen;
mod handover;
mod leaving;
mod policy;

use std::path::Path;

use system_tests::crash::load::Volume;
use system_tests::crash::{Books, Cluster, Killer, Load, Victims, killer, settle, violations};

use crate::BINARY;

/// Starts the processes of the scenario.
fn cluster(dir: &Path) -> Cluster {
    killer::blocking(|| Cluster::start(BINARY, dir.to_owned()))
}

/// Puts load on fresh processes, hits these victims for some rounds, and checks the books.
async fn survives(victims: Victims, rounds: u32) -> Books {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = cluster(dir.path());
    let load = Load::start("r", seed, &cluster.nats(), &cluster.http(), Volume::default()).await;
    let mut killer = Killer::new(seed, victims);
    for _ in 0..rounds {
        killer.round(&mut cluster).await;
    }
    let sent = load.stop().await;
    let books = settle(&cluster, sent, "r").await;
    check(&books, &format!("seed {seed}"));
    assert!(books.sent.len() > 30, "seed {seed}: only {} requests were sent", books.sent.len());
    books
}

#[track_caller]
fn check(books: &Books, what: &str) {
    let found = violations(books);
    assert!(
        found.is_empty(),
        "{what}: {} violations\n{}\nfaults: {:#?}",
        found.len(),
        found.join("\n"),
        books.faults
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_workers_lose_nothing() {
    survives(killer::WORKERS, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_routers_lose_nothing() {
    let books = survives(killer::ROUTERS, 4).await;
    let lost = books.events.iter().filter(|e| e.attempt.as_ref().is_some_and(|a| a.duplicate_possible));
    assert_eq!(lost.count(), 0, "a router makes no calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_loses_nothing_that_it_accepted() {
    survives(killer::SHIM, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_loses_nothing_that_it_accepted() {
    survives(killer::BROKER, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_may_be_killed_at_once() {
    survives(Victims::Any, 5).await;
}
