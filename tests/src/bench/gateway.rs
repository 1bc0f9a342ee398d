//! Builds, starts and stops the gateway that is measured when no URL was given.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::process::{self, Process};

/// Long enough for a first start that has to fetch the broker.
const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(60);

/// The line that `pointsman up --json` prints when everything answers; it may have more fields.
#[derive(Debug, Deserialize)]
pub(super) struct Ready {
    pub(super) http: String,
    pub(super) nats: String,
    pub(super) mock: String,
}

/// A gateway with its broker and mock, on free ports and a data directory of its own.
pub(super) struct Gateway {
    ready: Ready,
    child: Running,
    /// Kept open, so that later output does not fail.
    _stdout: BufReader<ChildStdout>,
    _directory: TempDir,
}

/// Builds the gateway as it is released and returns its path, so that no stale binary is measured.
pub(super) async fn build() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("find the path of this program")?;
    // Cargo puts binaries into <target>/<profile>/.
    let target = own.ancestors().nth(2).context("find the target directory of this program")?;
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--package", "pointsman", "--bin", "pointsman"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")])
        .arg("--target-dir")
        .arg(target)
        .status()
        .await
        .context("run cargo to build the gateway")?;
    ensure!(status.success(), "cargo could not build the gateway, or give one with --binary PATH");
    Ok(target.join("release/pointsman"))
}

impl Gateway {
    pub(super) async fn start(binary: &Path) -> anyhow::Result<Self> {
        let directory = TempDir::with_prefix("pointsman-bench-").context("create a data directory")?;
        let mut command = Command::new(binary);
        command.args(["up", "--listen", "127.0.0.1:0", "--json", "--data-dir"]).arg(directory.path());
        Self::start_command(command, directory).await
    }

    async fn start_command(mut command: Command, directory: TempDir) -> anyhow::Result<Self> {
        let log = directory.path().join("bench-stderr.log");
        let stderr = std::fs::File::create(&log).context("create the gateway's log file")?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let child = command.spawn().with_context(|| format!("start {:?}", command.as_std().get_program()))?;
        let mut child = Running(child);
        let mut stdout = BufReader::new(child.0.stdout.take().context("read the gateway's output")?);
        match first_line(&mut stdout).await {
            Ok(ready) => Ok(Self { ready, child, _stdout: stdout, _directory: directory }),
            Err(error) => {
                let stopped = child.stop().await;
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(20)..].join("\n");
                let ended = stopped.err().map(|error| format!("{error:#}\n")).unwrap_or_default();
                Err(error.context(format!("the gateway did not start\n{ended}{end}")))
            }
        }
    }

    pub(super) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The gateway itself, then what it has started: its nats-server.
    pub(super) fn processes(&self) -> anyhow::Result<Vec<Process>> {
        let pid = self.child.0.id().context("the gateway has ended")?;
        let mut processes = vec![Process { name: "pointsman".into(), pid }];
        processes.extend(process::children(pid)?);
        Ok(processes)
    }

    /// Asks it to drain and waits until it has ended, which must be without an error.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.stop().await
    }
}

async fn first_line(stdout: &mut BufReader<ChildStdout>) -> anyhow::Result<Ready> {
    let mut line = String::new();
    match tokio::time::timeout(START, stdout.read_line(&mut line)).await {
        Err(_) => bail!("no ready line within {START:?}"),
        Ok(Err(error)) => Err(error).context("read its ready line"),
        Ok(Ok(0)) => bail!("it closed its output without a ready line"),
        Ok(Ok(_)) => serde_json::from_str(&line)
            .with_context(|| format!("its first line is not a ready line: `{}`", line.trim())),
    }
}

/// A child that is asked to stop even when the benchmark fails: killed, it would leave its nats-server behind.
struct Running(Child);

impl Running {
    async fn stop(&mut self) -> anyhow::Result<()> {
        self.ask_to_stop();
        let ended = tokio::time::timeout(STOP, self.0.wait()).await;
        let status = match ended {
            Ok(status) => status.context("wait for the gateway to end")?,
            Err(_) => {
                self.0.kill().await.context("kill the gateway")?;
                bail!("the gateway did not end within {STOP:?} after SIGTERM");
            }
        };
        ensure!(status.success(), "the gateway ended with {status}");
        Ok(())
    }

    fn ask_to_stop(&self) {
        let pid = self.0.id().and_then(|pid| pid.try_into().ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It fails only if the process has just ended, which is what is wanted.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ask_to_stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str = r#"{"http":"http://127.0.0.1:1","nats":"nats://127.0.0.1:2","mock":"http://127.0.0.1:3/v1","metrics":"http://127.0.0.1:4","more":1}"#;

    async fn start(script: &str) -> anyhow::Result<Gateway> {
        let mut command = Command::new("sh");
        command.args(["-c", script, READY]);
        Gateway::start_command(command, TempDir::new().unwrap()).await
    }

    #[tokio::test]
    async fn the_ready_line_is_read_and_the_child_found_and_stopped() {
        // `cat` stands for the broker: it waits on a pipe that only its own shell holds open.
        let gateway = start(
            r#"mkfifo_dir=$(mktemp -d); mkfifo $mkfifo_dir/p; cat <>$mkfifo_dir/p & child=$!
               trap 'kill $child; rm -r $mkfifo_dir; exit 0' TERM; echo "$0"; wait"#,
        )
        .await
        .unwrap();
        assert_eq!(gateway.ready().http, "http://127.0.0.1:1");
        assert_eq!(gateway.ready().mock, "http://127.0.0.1:3/v1");
        let processes = gateway.processes().unwrap();
        assert_eq!(processes.len(), 2, "{processes:?}");
        assert_eq!(processes[0].name, "pointsman");
        gateway.stop().await.unwrap();
        assert_eq!(processes[0].cpu_seconds(), None);
    }

    #[tokio::test]
    async fn a_gateway_that_does_not_start_is_an_error_with_its_log() {
        for (script, reason) in [
            ("echo no broker >&2; exit 3", "no broker"),
            ("echo no broker >&2; exit 3", "exit status: 3"),
            ("echo hello", "`hello`"),
        ] {
            let error = start(script).await.err().unwrap();
            assert!(format!("{error:#}").contains(reason), "{error:#}");
        }
    }

    #[tokio::test]
    async fn a_gateway_that_ends_badly_is_an_error() {
        let gateway = start(r#"trap 'exit 7' TERM; echo "$0"; while :; do sleep 0.01; done"#).await.unwrap();
        let error = gateway.stop().await.unwrap_err();
        assert!(error.to_string().contains("exit status: 7"), "{error:#}");
    }
}
