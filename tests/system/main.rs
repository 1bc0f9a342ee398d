//! The system tests: real brokers, real processes, real clients.

mod access;
mod admin;
mod alerts;
mod bad_input;
mod bodies;
mod cache;
mod clients;
mod crash;
mod dialects;
mod doors;
mod embedding;
mod gitops;
mod health;
mod interface;
mod ledger;
mod life;
mod limits;
mod live;
mod operations;
mod policies;
mod portkey;
mod prices;
mod quota;
mod responses;
mod routing;
mod secrets;
mod spend;
mod storage;
mod stored;
mod structure;

use std::path::Path;

use system_tests::harness::Pointsman;
use system_tests::harness::process::Start;

/// The binary that was built with these tests.
const BINARY: &str = env!("CARGO_BIN_EXE_pointsman-under-test");

/// A start of the binary with these arguments; logs go into `dir`.
fn pointsman(dir: &Path, arguments: &[&str]) -> Start {
    Start::new(BINARY, dir, arguments)
}

/// A start of everything on free ports, with its data in `dir`.
fn up(dir: &Path) -> Start {
    let data = dir.join("data");
    pointsman(dir, &["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data.display().to_string())
}

/// Everything, started with defaults.
fn gateway(dir: &Path) -> Pointsman {
    up(dir).ready()
}
