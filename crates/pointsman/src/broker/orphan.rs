//! A server of ours that outlived its supervisor.
//!
//! If pointsman was killed, its nats-server goes on and holds files and port. The pid file names it; pids come again,
//! so the command line has to name our config, too.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::broker::config::{Files, is_free};

/// How long a server may take to stop in good order; a stopped process never will.
const PATIENCE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(10);

/// Ends what an earlier supervisor has left running, and waits until its place is free.
pub(super) async fn end(files: &Files) -> anyhow::Result<()> {
    let Some(pid) = pid_in(&files.pid()) else { return Ok(()) };
    let config = files.config();
    if !is_ours(pid, &config).await {
        return Ok(());
    }
    stop(pid, &config).await?;
    // A process that is being taken down loses its command line before its sockets.
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until && files.remembered_port().is_some_and(|port| !is_free(port)) {
        sleep(STEP).await;
    }
    Ok(())
}

async fn stop(pid: Pid, config: &Path) -> anyhow::Result<()> {
    info!(pid = pid.as_raw_nonzero().get(), "stopping the nats-server of an earlier run");
    for signal in [Signal::TERM, Signal::KILL] {
        // It may be gone meanwhile, which the next look will tell.
        let _ = kill_process(pid, signal);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if !is_ours(pid, config).await {
                return Ok(());
            }
            sleep(STEP).await;
        }
    }
    bail!("nats-server (pid {}) of an earlier run cannot be stopped", pid.as_raw_nonzero())
}

fn pid_in(file: &Path) -> Option<Pid> {
    let number = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    Pid::from_raw(number)
}

/// Whether the process runs with our config. A process that is dead but not yet collected has no command line.
async fn is_ours(pid: Pid, config: &Path) -> bool {
    match command_line(pid).await {
        Ok(line) => line.contains(&config.display().to_string()),
        Err(_) => false,
    }
}

async fn command_line(pid: Pid) -> anyhow::Result<String> {
    let pid = pid.as_raw_nonzero().get();
    if cfg!(target_os = "linux") {
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline"))?;
        return Ok(String::from_utf8_lossy(&bytes).replace('\0', " "));
    }
    let mut ps = tokio::process::Command::new("ps");
    let output =
        ps.args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output().await.context("run ps")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
