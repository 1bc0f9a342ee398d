//! Keeps a nats-server running on one port.

use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::broker::child::{Server, last_words};
use crate::broker::config::{BrokerOptions, Files, is_free};
use crate::broker::orphan;
use crate::datadir::DataDir;

/// Failed starts in a row after which it is given up.
const ATTEMPTS: u32 = 10;
/// A server that lived this long did not die of its start.
const SETTLED: Duration = Duration::from_secs(10);

/// A nats-server of our own that answers. Dropping it kills the server; [`Broker::supervise`] keeps it alive.
pub struct Broker {
    options: BrokerOptions,
    files: Files,
    server: Server,
    port: u16,
    running: watch::Sender<Option<Running>>,
    /// Ours until the server is gone: fields are dropped in this order.
    _lock: DataDir,
}

/// The process that answers now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its number.
    pub pid: u32,
    /// Where it tells about itself.
    pub monitoring_url: String,
}

impl Broker {
    /// Ends what an earlier run left behind, starts the server and waits until it answers.
    pub async fn start(options: BrokerOptions) -> anyhow::Result<Self> {
        let dir = options.dir.clone();
        let opened = tokio::task::spawn_blocking(move || Files::open(&dir)).await;
        let (lock, files) = opened.context("prepare the broker's directory")??;
        orphan::end(&files).await?;
        let wanted = wanted_port(&options, &files);
        let server = launch(&options, &files, wanted).await.context("start nats-server")?;
        let port = server.port;
        files.remember_port(port)?;
        info!(pid = server.pid, port, dir = %files.dir.display(), "nats-server answers");
        let (running, _) = watch::channel(None);
        let broker = Self { options, files, server, port, running, _lock: lock };
        broker.announce();
        Ok(broker)
    }

    /// Where clients connect; it stays the same when the server is started again.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where the server tells about itself; it changes when the server is started again.
    pub fn monitoring_url(&self) -> String {
        self.server.monitoring_url.clone()
    }

    /// The process; it changes when the server is started again.
    pub fn pid(&self) -> u32 {
        self.server.pid
    }

    /// Follows the process: None while there is none.
    pub fn running(&self) -> watch::Receiver<Option<Running>> {
        self.running.subscribe()
    }

    /// Starts the server again whenever it ends, until shutdown. Fails only if it cannot be started any more.
    pub async fn supervise(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let since = Instant::now();
            let ended = tokio::select! {
                ended = self.server.ended() => ended?,
                () = shutdown.cancelled() => return self.stop().await,
            };
            self.running.send_replace(None);
            let said = last_words(&self.files);
            error!(pid = self.server.pid, status = %ended, said, "nats-server ended; starting it again");
            if since.elapsed() > SETTLED {
                backoff.next = Duration::ZERO;
            }
            tokio::select! {
                started = start_again(&self.options, &self.files, self.port, &mut backoff) => self.server = started?,
                () = shutdown.cancelled() => return Ok(()),
            }
            info!(pid = self.server.pid, port = self.port, "nats-server answers again");
            self.announce();
        }
    }

    fn announce(&self) {
        let Server { pid, monitoring_url, .. } = &self.server;
        self.running.send_replace(Some(Running { pid: *pid, monitoring_url: monitoring_url.clone() }));
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.running.send_replace(None);
        self.server.stop().await?;
        // A note about a process that is gone would only raise questions.
        let _ = std::fs::remove_file(self.files.pid());
        Ok(())
    }
}

/// The configured port, else the one of the last time if nobody has taken it.
fn wanted_port(options: &BrokerOptions, files: &Files) -> u16 {
    match files.remembered_port() {
        _ if options.port != 0 => options.port,
        Some(port) if is_free(port) => port,
        Some(port) => {
            warn!(port, "the last port is taken; choosing another");
            0
        }
        None => 0,
    }
}

async fn launch(options: &BrokerOptions, files: &Files, port: u16) -> anyhow::Result<Server> {
    let (writer, told) = (files.clone(), options.clone());
    tokio::task::spawn_blocking(move || writer.write_config(&told, port))
        .await
        .context("write the config")??;
    Server::start(&options.binary, files).await
}

/// Pauses between starts: none at first, then growing.
struct Backoff {
    next: Duration,
    first: Duration,
    longest: Duration,
}

impl Backoff {
    fn new(first: Duration, longest: Duration) -> Self {
        Self { next: Duration::ZERO, first, longest }
    }

    async fn pause(&mut self) {
        sleep(self.next).await;
        self.next = (self.next * 2).clamp(self.first, self.longest);
    }
}

/// Starts the server on the port that clients know.
async fn start_again(
    options: &BrokerOptions,
    files: &Files,
    port: u16,
    backoff: &mut Backoff,
) -> anyhow::Result<Server> {
    let mut failures = 0;
    loop {
        backoff.pause().await;
        match launch(options, files, port).await {
            Ok(server) => return Ok(server),
            Err(err) => {
                failures += 1;
                if failures == ATTEMPTS {
                    return Err(
                        err.context(format!("nats-server could not be started {ATTEMPTS} times in a row"))
                    );
                }
                error!(err = format!("{err:#}"), failures, "nats-server could not be started; trying again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::tests::{options, script};

    #[tokio::test]
    async fn it_is_given_up_when_it_cannot_be_started_ten_times() {
        let dir = tempfile::tempdir().unwrap();
        let binary = script(dir.path(), "echo start >> \"$0.starts\"; echo no space left >&2; exit 3");
        let options = options(binary.clone(), &dir.path().join("broker"));
        let (_lock, files) = Files::open(&options.dir).unwrap();
        let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(2));
        let err = start_again(&options, &files, 1, &mut backoff).await.err().expect("it never starts");
        let text = format!("{err:#}");
        let expected = "nats-server could not be started 10 times in a row: \
                        nats-server ended at its start (exit status: 3): no space left";
        assert_eq!(text, expected);
        let starts = std::fs::read_to_string(binary.with_extension("starts")).unwrap();
        assert_eq!(starts.lines().count(), 10);
        assert_eq!(backoff.next, Duration::from_millis(2));
    }
}
