//! One life of a nats-server process.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::broker::config::Files;

/// Large streams are read before the server answers.
const START: Duration = Duration::from_secs(300);
const STOP: Duration = Duration::from_secs(10);

/// A server that answers. Dropping it kills it.
pub(super) struct Server {
    child: Child,
    pub(super) pid: u32,
    pub(super) port: u16,
    pub(super) monitoring_url: String,
}

/// What the server writes down about its listeners.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
    monitoring: Vec<String>,
}

impl Server {
    /// Starts the server on the written config and waits until it answers.
    pub(super) async fn start(binary: &Path, files: &Files) -> anyhow::Result<Self> {
        files.forget_ports()?;
        let output =
            File::create(files.output()).with_context(|| format!("create {}", files.output().display()))?;
        let mut child = Command::new(binary)
            .arg("--config")
            .arg(files.config())
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("share the output file")?)
            .stderr(output)
            // Ctrl-C goes to the whole group of the terminal, but the broker has to outlive the draining roles.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let pid = child.id().context("nats-server ended at once")?;
        // The server writes the same as soon as it can; until then nobody else would know of it.
        std::fs::write(files.pid(), pid.to_string())
            .with_context(|| format!("write {}", files.pid().display()))?;
        let ports = wait_ports(&mut child, files, &files.ports(binary, pid)).await?;
        let first =
            |urls: &[String]| urls.first().cloned().context("nats-server did not say where it listens");
        let (nats, monitoring_url) = (first(&ports.nats)?, first(&ports.monitoring)?);
        let port = port_of(&nats)?;
        wait_healthy(&mut child, files, &monitoring_url).await?;
        Ok(Self { child, pid, port, monitoring_url })
    }

    /// Waits for the process to end by itself.
    pub(super) async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        self.child.wait().await.context("wait for nats-server")
    }

    /// Asks the process to end, and makes it.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)) {
            // It may end at this very moment, which the wait will tell.
            let _ = kill_process(pid, Signal::TERM);
        }
        if let Ok(ended) = timeout(STOP, self.child.wait()).await {
            ended.context("wait for nats-server")?;
            return Ok(());
        }
        warn!(pid = self.pid, after = ?STOP, "nats-server did not stop; killing it");
        self.child.kill().await.context("kill nats-server")
    }
}

async fn wait_ports(child: &mut Child, files: &Files, path: &Path) -> anyhow::Result<Ports> {
    let mut patience = Patience::new();
    loop {
        // The file may be there before its text.
        if let Some(ports) = std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            return Ok(ports);
        }
        patience.pause(child, files).await?;
    }
}

async fn wait_healthy(child: &mut Child, files: &Files, monitoring_url: &str) -> anyhow::Result<()> {
    let mut patience = Patience::new();
    while !is_healthy(monitoring_url).await {
        patience.pause(child, files).await?;
    }
    Ok(())
}

/// A pause between two looks, as long as the child lives and the time is not up.
struct Patience {
    until: Instant,
    next_word: Instant,
}

impl Patience {
    const WORD: Duration = Duration::from_secs(5);

    fn new() -> Self {
        let now = Instant::now();
        Self { until: now + START, next_word: now + Self::WORD }
    }

    async fn pause(&mut self, child: &mut Child, files: &Files) -> anyhow::Result<()> {
        if let Some(status) = child.try_wait().context("look after nats-server")? {
            bail!("nats-server ended at its start ({status}): {}", last_words(files));
        }
        let now = Instant::now();
        if now > self.until {
            bail!("nats-server does not answer after {START:?}: {}", last_words(files));
        }
        if now > self.next_word {
            info!("nats-server is still reading its data");
            self.next_word = now + Self::WORD;
        }
        sleep(Duration::from_millis(5)).await;
        Ok(())
    }
}

/// One request, without an HTTP client: the address is our own, the answer a status.
async fn is_healthy(monitoring_url: &str) -> bool {
    let address = monitoring_url.trim_start_matches("http://");
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<bool, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    matches!(timeout(Duration::from_secs(2), asked).await, Ok(Ok(true)))
}

fn port_of(url: &str) -> anyhow::Result<u16> {
    let port = url.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.ok_or_else(|| anyhow!("nats-server says that it listens on `{url}`"))
}

/// What the server has said before its end, in one line. What it prints instead of logging it dies of.
pub(super) fn last_words(files: &Files) -> String {
    let lines = |text: String| {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let printed = lines(std::fs::read_to_string(files.output()).unwrap_or_default());
    if !printed.is_empty() {
        return printed[..printed.len().min(3)].join("; ");
    }
    let logged = lines(tail(&files.log()).unwrap_or_default());
    match logged.len() {
        0 => "it said nothing".to_owned(),
        many => logged[many.saturating_sub(5)..].join("; "),
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    const BYTES: u64 = 4096;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
