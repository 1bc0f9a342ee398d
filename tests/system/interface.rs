//! The interface that scripts rely on: ready line, exit codes, JSON shapes, help. What is written here stays stable.

mod commands;
mod offline;
mod shape;
mod starting;

use std::path::Path;
use std::time::Duration;

use system_tests::harness::process::{Finished, Start};

/// How long a command may take that does not wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command to its end and says what came of it; a command that hangs fails.
async fn finish(start: Start) -> Finished {
    let what = format!("{start:?}");
    let running = tokio::task::spawn_blocking(move || start.finish());
    let finished = tokio::time::timeout(PATIENCE, running).await;
    finished
        .unwrap_or_else(|_| panic!("{what} did not end within {PATIENCE:?}"))
        .expect("the command was run")
}

/// Runs a command in the data directory that [`crate::up`] uses.
async fn command(dir: &Path, arguments: &[&str]) -> Finished {
    let data = dir.join("data").display().to_string();
    finish(crate::pointsman(dir, arguments).arg("--data-dir").arg(data)).await
}

/// Runs a command with `--json` that must exit with `code`.
async fn json(dir: &Path, arguments: &[&str], code: i32) -> serde_json::Value {
    let finished = command(dir, &[arguments, &["--json"]].concat()).await;
    assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {finished:?}");
    assert_eq!(
        finished.stdout.trim_end().lines().count(),
        1,
        "one line of JSON from {arguments:?}: {}",
        finished.stdout
    );
    finished.json()
}
