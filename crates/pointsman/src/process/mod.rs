//! Starting and stopping: the broker, the mock provider, the roles, and the order in which they go.

mod listener;
pub(crate) mod register;
mod roles;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bus::Bus;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::broker::{self, Broker, BrokerOptions};
use crate::cli;
use crate::datadir::{ADMIN_KEY, DataDir};
use crate::link;
use crate::output::Output;
use crate::process::roles::{Roles, Serving};
use crate::ready::Ready;
use crate::settings::Settings;

/// How long everything may take to answer after it was started.
const START: Duration = Duration::from_secs(60);

/// Starts everything and runs until told to stop.
pub(crate) async fn up(
    up: cli::Up,
    output: Output,
    settings: Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let wanted = cli::parse_roles(&up.roles)?;
    let listen = up.listen.unwrap_or(settings.http.listen);
    listener::check_remote(listen, &settings)?;
    let data_dir = DataDir::open(&settings.data_dir)?;
    let metrics = start_telemetry(&settings)?;
    let mut stop = Signals::listen()?;
    let supervised = start_broker(&settings, env).await?;
    let url = supervised.as_ref().map_or_else(|| settings.nats.url.clone(), |s| s.url.clone());
    let bus =
        connect(&settings, &url, "up", request_bytes(&settings, supervised.is_some()), &mut stop).await?;
    let mock = Mock::start_if_wanted(&settings).await?;
    let keys = register::keyring(&settings, Some(&data_dir))?;
    let access = register::access(&settings, Some(&data_dir))?;
    register::settings(&bus, true, &settings, mock.as_ref().map(|m| m.url.as_str()), &keys.current).await?;
    if let Some(path) = register::first_administrator(&bus, &settings, &data_dir).await? {
        info!(path = %path.display(), "made the first administrator's API key");
    }
    let roles = if wanted.is_empty() {
        None
    } else {
        let socket = listener::bind(listen, settings.http.reuse_port)?;
        let env = env.clone();
        let serving = Serving { bus: bus.clone(), settings: settings.clone(), keys, access, env, metrics };
        Some(Roles::start(&wanted, serving, socket).await?)
    };
    let http = roles.as_ref().map(|r| r.url.clone());
    let ready = Ready {
        metrics: http.as_ref().map(|h| format!("{h}/metrics")),
        http,
        nats: url,
        mock: mock.as_ref().map(|m| format!("{}/v1", m.url)),
    };
    if let Some(roles) = &roles {
        roles.wait_ready(START).await?;
    }
    ready.note(&settings.data_dir)?;
    ready.announce(output);
    hint(output, &ready, &settings);
    let ended = run_until(&mut stop, roles, &settings).await;
    Ready::forget(&settings.data_dir);
    bus.close().await;
    if let Some(mock) = mock {
        mock.stop().await;
    }
    if let Some(supervised) = supervised {
        supervised.stop().await;
    }
    drop(data_dir);
    ended.map(|()| ExitCode::SUCCESS)
}

/// Starts chosen roles and runs until told to stop.
pub(crate) async fn run(
    run: cli::Run,
    output: Output,
    settings: Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let has_gateway = run.roles.contains(&cli::Role::HttpShim);
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let listen = run.listen.unwrap_or(if has_gateway { settings.http.listen } else { elsewhere });
    listener::check_remote(listen, &settings)?;
    let metrics = start_telemetry(&settings)?;
    let mut stop = Signals::listen()?;
    let url = link::url(&settings)?;
    let bus = connect(&settings, &url, "run", None, &mut stop).await?;
    let keys = register::keyring(&settings, None)?;
    let access = register::access(&settings, None)?;
    if !settings.providers.is_empty() || settings.route.is_some() {
        register::settings(&bus, false, &settings, None, &keys.current).await?;
    }
    let socket = listener::bind(listen, run.reuse_port || settings.http.reuse_port)?;
    let env = env.clone();
    let serving = Serving { bus: bus.clone(), settings: settings.clone(), keys, access, env, metrics };
    let roles = Roles::start(&run.roles, serving, socket).await?;
    roles.wait_ready(START).await?;
    let (registry, _) = bus.registry().await?;
    let ready = Ready {
        http: Some(roles.url.clone()),
        nats: url,
        mock: registry.mock.map(|m| format!("{m}/v1")),
        metrics: Some(format!("{}/metrics", roles.url)),
    };
    ready.announce(output);
    let ended = run_until(&mut stop, Some(roles), &settings).await;
    bus.close().await;
    ended.map(|()| ExitCode::SUCCESS)
}

/// Runs the mock provider alone.
pub(crate) async fn mock(mock: cli::Mock, output: Output, settings: &Settings) -> anyhow::Result<ExitCode> {
    telemetry::log::init(settings.log.format(), &settings.log.level, colour())?;
    let mut stop = Signals::listen()?;
    let running = Mock::start(mock.listen).await?;
    let url = format!("{}/v1", running.url);
    output.line(format!("ready mock={url}"));
    output.value(&serde_json::json!({ "mock": url }));
    stop.wait().await;
    running.stop().await;
    Ok(ExitCode::SUCCESS)
}

fn start_telemetry(settings: &Settings) -> anyhow::Result<telemetry::metric::Printer> {
    telemetry::log::init(settings.log.format(), &settings.log.level, colour())?;
    telemetry::metric::init()
}

fn colour() -> bool {
    use std::io::IsTerminal as _;
    std::io::stderr().is_terminal()
}

/// Connects, waiting as long as it takes: a broker may come later. Creates or updates the streams.
async fn connect(
    settings: &Settings,
    url: &str,
    what: &str,
    request_bytes: Option<i64>,
    stop: &mut Signals,
) -> anyhow::Result<Bus> {
    let name = format!("pointsman-{what}-{}", std::process::id());
    let connecting = async {
        let options = bus::Options { request_bytes, ..link::options(settings, url, &name) };
        let bus = Bus::connect(options).await?;
        let mut wait = Duration::from_millis(200);
        loop {
            match bus.ensure_streams().await {
                Ok(()) => break,
                Err(err @ bus::TopologyError::Incompatible { .. }) => return Err(err.into()),
                Err(err) if wait > Duration::from_secs(5) => return Err(err).context("set up the streams"),
                Err(err) => warn!(%err, "setting up the streams; trying again"),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        let offset = bus.read_clock().await?;
        if offset.abs() > 1000 {
            warn!(offset_ms = offset, "this machine's clock differs from the broker's; times are corrected");
        }
        Ok::<Bus, anyhow::Error>(bus)
    };
    let waiting = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        info!(url, "waiting for the broker");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        connected = connecting => connected.with_context(|| format!("use the broker at {url}")),
        () = waiting => bail!("unreachable"),
        () = stop.wait() => bail!("stopped while waiting for the broker at {url}"),
    }
}

/// What producers may fill of our own broker, so that accepted work always finds room to finish.
fn request_bytes(settings: &Settings, ours: bool) -> Option<i64> {
    let bytes = settings.nats.max_store.bytes() / 100 * usize::from(settings.limits.storage_percent);
    (ours && !settings.nats.storage.is_memory()).then(|| i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// A nats-server of ours.
struct Supervised {
    url: String,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Supervised {
    async fn stop(self) {
        self.stop.cancel();
        match self.task.await {
            Ok(Ok(())) => {}
            Ok(Err(err)) => warn!(err = format!("{err:#}"), "stopping nats-server"),
            Err(err) => warn!(%err, "stopping nats-server"),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the supervisor outlives all roles")]
async fn start_broker(
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<Option<Supervised>> {
    if !settings.nats.url.is_empty() {
        return Ok(None);
    }
    let cache = broker::cache_dir(env);
    let configured = settings.nats.server();
    let binary = tokio::task::spawn_blocking(move || broker::locate(configured.as_deref(), &cache)).await??;
    let options = BrokerOptions {
        binary,
        dir: settings.data_dir.join("nats"),
        port: settings.nats.port,
        max_store: settings.nats.max_store.bytes() as u64,
        sync_interval: settings.nats.sync_interval.clone(),
    };
    let broker = Broker::start(options).await?;
    let (url, stop) = (broker.url(), CancellationToken::new());
    let task = tokio::spawn(broker.supervise(stop.clone()));
    Ok(Some(Supervised { url, stop, task }))
}

/// A mock provider in this process.
struct Mock {
    url: String,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Mock {
    async fn start_if_wanted(settings: &Settings) -> anyhow::Result<Option<Self>> {
        let wanted = settings.mock.wanted(settings.providers.is_empty());
        if !wanted {
            return Ok(None);
        }
        Self::start(settings.mock.listen).await.map(Some)
    }

    #[expect(clippy::disallowed_methods, reason = "it stands for a process of somebody else's")]
    async fn start(listen: SocketAddr) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind(listen)
            .await
            .with_context(|| format!("listen on {listen} for the mock"))?;
        let url = format!("http://{}", listener.local_addr()?);
        let stop = CancellationToken::new();
        let task = tokio::spawn(mock_provider::run(listener, stop.clone()));
        Ok(Self { url, stop, task })
    }

    async fn stop(self) {
        self.stop.cancel();
        if let Ok(Err(err)) = self.task.await {
            warn!(err = format!("{err:#}"), "stopping the mock provider");
        }
    }
}

/// Waits for a signal or for a role to fail, then stops the roles in order.
async fn run_until(stop: &mut Signals, roles: Option<Roles>, settings: &Settings) -> anyhow::Result<()> {
    let Some(mut roles) = roles else {
        stop.wait().await;
        return Ok(());
    };
    let failed = tokio::select! {
        () = stop.wait() => None,
        failed = roles.failed() => Some(failed),
    };
    info!(deadline = ?settings.work.drain, "draining; a second signal stops at once");
    tokio::select! {
        () = roles.drain(settings.work.drain) => {}
        () = stop.wait() => roles.stop_now().await,
    }
    match failed {
        Some(err) => Err(err),
        None => Ok(()),
    }
}

fn hint(output: Output, ready: &Ready, settings: &Settings) {
    let Some(http) = &ready.http else { return };
    let key = settings.data_dir.join(ADMIN_KEY);
    let (shown, any) = match settings.auth.mode.is_on() {
        true => (
            format!("-H \"authorization: Bearer $(cat {})\" \\\n    ", key.display()),
            "a key that `pointsman keys create` prints",
        ),
        false => (String::new(), "any API key"),
    };
    output.line(format!(
        "\nTry, in another terminal:\n  \
         pointsman ask \"why is the sky blue?\"\n  \
         curl {http}/v1/chat/completions -H 'content-type: application/json' \\\n    {shown}\
         -d '{{\"model\":\"mock\",\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'\n\
         Any OpenAI SDK: base_url={http}/v1, {any}. Stop with Ctrl-C."
    ));
}

/// SIGTERM and SIGINT.
struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
