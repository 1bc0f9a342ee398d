//! The sections of the settings file, each with its defaults.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use domain::next::OnLost;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::settings::provider::{Secret, hidden, url_without_password};
use crate::settings::units::{self, ByteSize, SyncInterval};

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

const fn hours(count: u64) -> Duration {
    minutes(60 * count)
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn path_if_any(path: &str) -> Option<PathBuf> {
    (!path.is_empty()).then(|| PathBuf::from(path))
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// A level, or a list such as `info,router=debug`.
    pub level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Human, level: "info".to_owned() }
    }
}

impl Log {
    /// The format, as the logger names it.
    pub fn format(&self) -> telemetry::log::Format {
        match self.format {
            LogFormat::Human => telemetry::log::Format::Human,
            LogFormat::Json => telemetry::log::Format::Json,
        }
    }
}

/// The HTTP API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Http {
    /// Address and port.
    #[serde(with = "units::address")]
    pub listen: SocketAddr,
    /// Let another process listen on the same port, for restarts without a gap.
    pub reuse_port: bool,
    /// Largest request body.
    pub body_limit: ByteSize,
    /// What becomes of a request whose caller went away.
    pub on_disconnect: OnDisconnect,
    /// Hosts that callers may name although they are not public.
    pub trusted_custom_hosts: Vec<String>,
    /// Answers say what they cost; where callers show API keys, the key's record says whether.
    pub show_cost: bool,
}

/// What becomes of a request whose caller went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// It is cancelled, the provider call included.
    Cancel,
    /// It goes on; its result can be read by id.
    Finish,
}

impl OnDisconnect {
    /// Whether the request is cancelled.
    pub fn is_cancel(self) -> bool {
        self == Self::Cancel
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: loopback(8787),
            reuse_port: false,
            body_limit: ByteSize::mib(64),
            on_disconnect: OnDisconnect::Cancel,
            trusted_custom_hosts: ["localhost", "127.0.0.1", "::1", "host.docker.internal"]
                .map(str::to_owned)
                .into(),
            show_cost: false,
        }
    }
}

/// The broker.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Nats {
    /// Addresses, separated by commas; empty: one of our own is started.
    #[serde(serialize_with = "url_without_password")]
    pub url: String,
    /// A NATS credentials file; empty: none.
    pub credentials_file: String,
    /// Copies of each stream.
    pub replicas: usize,
    /// Where streams are kept.
    pub storage: Storage,
    /// Path of a nats-server binary; empty: the one on PATH, else a fetched one.
    pub server: String,
    /// Port of our own server; 0: any.
    pub port: u16,
    /// File storage of our own server.
    pub max_store: ByteSize,
    /// How often our own server flushes to disk.
    pub sync_interval: SyncInterval,
}

/// Where streams are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// On disk.
    File,
    /// In memory.
    Memory,
}

impl Storage {
    /// Whether streams are kept in memory.
    pub fn is_memory(self) -> bool {
        self == Self::Memory
    }
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: String::new(),
            credentials_file: String::new(),
            replicas: 1,
            storage: Storage::File,
            server: String::new(),
            port: 0,
            max_store: ByteSize::gib(10),
            sync_interval: SyncInterval::Every(minutes(2)),
        }
    }
}

impl Nats {
    /// The credentials file, if one is named.
    pub fn credentials_file(&self) -> Option<PathBuf> {
        path_if_any(&self.credentials_file)
    }

    /// The nats-server binary, if one is named.
    pub fn server(&self) -> Option<PathBuf> {
        path_if_any(&self.server)
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hidden(self, f)
    }
}

/// How much is kept, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Limits {
    /// Larger bodies travel by object store.
    pub inline_body: ByteSize,
    /// Waiting requests per operation and lane.
    pub lane_backlog: i64,
    /// Waiting calls per target and class.
    pub call_backlog: i64,
    /// Share of the broker's storage above which nothing new is accepted.
    pub storage_percent: u8,
    /// How long an outcome is kept that somebody waited for.
    #[serde(with = "units::duration")]
    pub result_ttl: Duration,
    /// How long an outcome is kept that nobody waited for.
    #[serde(with = "units::duration")]
    pub result_ttl_async: Duration,
    /// How long a response is kept that can be looked at and continued.
    #[serde(with = "units::duration")]
    pub responses_ttl: Duration,
    /// What models are taken to cost whose price is not known, where a budget in money has to be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling_price: Option<providers::models::Rates>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            inline_body: ByteSize::kib(256),
            lane_backlog: 100_000,
            call_backlog: 10_000,
            storage_percent: 70,
            result_ttl: minutes(15),
            result_ttl_async: hours(24),
            responses_ttl: hours(30 * 24),
            ceiling_price: None,
        }
    }
}

/// How long requests may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Deadlines {
    /// Requests that somebody waits for.
    #[serde(with = "units::duration")]
    pub interactive: Duration,
    /// Requests that nobody waits for.
    #[serde(with = "units::duration")]
    pub asynchronous: Duration,
    /// The most that a request may ask for.
    #[serde(with = "units::duration")]
    pub maximum: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { interactive: minutes(10), asynchronous: hours(24), maximum: hours(7 * 24) }
    }
}

/// How work is taken and handed back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Work {
    /// After this silence a worker's message goes to another.
    #[serde(with = "units::duration")]
    pub ack_wait: Duration,
    /// How often a running call says that it runs.
    #[serde(with = "units::duration")]
    pub progress: Duration,
    /// How long work may finish after the order to stop.
    #[serde(with = "units::duration")]
    pub drain: Duration,
    /// How often overdue requests are looked for.
    #[serde(with = "units::duration")]
    pub sweep: Duration,
    /// What to do about an attempt whose worker vanished.
    pub on_lost: OnLost,
    /// Messages in a router's hands at once.
    pub router_in_flight: usize,
    /// Calls that one worker process makes at once, per target.
    pub worker_slots: usize,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            ack_wait: Duration::from_secs(30),
            progress: Duration::from_secs(10),
            drain: Duration::from_secs(30),
            sweep: Duration::from_secs(5),
            on_lost: OnLost::Retry,
            router_in_flight: 1024,
            worker_slots: 512,
        }
    }
}

/// Who may use the gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Auth {
    /// Whether callers have to show an API key.
    pub mode: AuthMode,
    /// 32 bytes in base64, the same for all processes.
    pub cluster_secret: Secret,
    /// A file with the same.
    pub cluster_secret_file: String,
    /// Producers may show API keys on messages.
    pub keys_over_nats: bool,
}

/// Whether callers have to show an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// They need not; only on this machine.
    Off,
    /// They have to.
    On,
}

impl AuthMode {
    /// Whether callers have to show an API key.
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: AuthMode::Off,
            cluster_secret: Secret::default(),
            cluster_secret_file: String::new(),
            keys_over_nats: true,
        }
    }
}

impl Auth {
    /// The cluster secret's text, if settings name one.
    pub fn cluster_secret(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        text_or_file(&self.cluster_secret, &self.cluster_secret_file, "auth.cluster_secret_file")
    }
}

/// Where virtual keys may get credentials from, besides their own records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Secrets {
    /// Environment variables, `*` stands for any text.
    pub environment: Vec<String>,
    /// Directory of files; empty: none.
    pub dir: String,
}

impl Secrets {
    /// The directory, if one is named.
    pub fn dir(&self) -> Option<PathBuf> {
        path_if_any(&self.dir)
    }

    /// Whether a virtual key may refer to an environment variable.
    pub fn allows(&self, name: &str) -> bool {
        self.environment.iter().any(|pattern| domain::policy::matches(pattern, name))
    }
}

/// The text of a secret that may also lie in a file.
fn text_or_file(text: &Secret, file: &str, key: &str) -> anyhow::Result<Option<Zeroizing<String>>> {
    if !text.expose().is_empty() {
        return Ok(Some(Zeroizing::new(text.expose().to_owned())));
    }
    let Some(path) = path_if_any(file) else { return Ok(None) };
    let text = std::fs::read_to_string(&path)
        .map(Zeroizing::new)
        .with_context(|| format!("read {key} {}", path.display()))?;
    Ok(Some(Zeroizing::new(text.trim().to_owned())))
}

/// How failing targets are left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Health {
    /// Shortest `cooldown_interval` that a config may ask for.
    #[serde(with = "units::duration")]
    pub shortest_cooldown: Duration,
    /// Targets are left alone while their providers' limits are estimated to leave no room.
    pub provider_limits: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self { shortest_cooldown: domain::breaker::SHORTEST_COOLDOWN, provider_limits: true }
    }
}

/// Where the books are kept.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Ledger {
    /// The database; empty: a SQLite file in the data directory.
    #[serde(serialize_with = "url_without_password")]
    pub url: String,
    /// Most events that are booked in one transaction.
    pub batch: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { url: String::new(), batch: 1000 }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hidden(self, f)
    }
}

impl Ledger {
    /// Where the books are, for a process with this data directory.
    pub fn database(&self, data_dir: &Path) -> cost_accounting::Database {
        let file = |path: &Path| cost_accounting::Database::File(path.to_owned());
        match self.url.strip_prefix("sqlite:") {
            Some(path) => file(Path::new(path)),
            None if self.url.is_empty() => file(&data_dir.join("ledger.db")),
            None => cost_accounting::Database::Url(self.url.clone()),
        }
    }
}

/// The key that opens credentials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Sealing {
    /// 32 bytes in base64.
    pub private_key: Secret,
    /// A file with the same.
    pub private_key_file: String,
    /// Files with further keys that open credentials: one that is to come, or one that was replaced.
    pub other_key_files: Vec<PathBuf>,
}

impl Sealing {
    /// The key's text, if settings name one.
    pub fn private_key(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        text_or_file(&self.private_key, &self.private_key_file, "sealing.private_key_file")
    }
}

/// The mock provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Mock {
    /// When it is started.
    pub enabled: MockEnabled,
    /// Address and port.
    #[serde(with = "units::address")]
    pub listen: SocketAddr,
}

/// When the mock provider is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MockEnabled {
    /// While no provider is configured.
    Auto,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

impl Default for Mock {
    fn default() -> Self {
        Self { enabled: MockEnabled::Auto, listen: loopback(0) }
    }
}

impl Mock {
    /// Whether to start it.
    pub fn wanted(&self, no_providers: bool) -> bool {
        match self.enabled {
            MockEnabled::Auto => no_providers,
            MockEnabled::Always => true,
            MockEnabled::Never => false,
        }
    }
}
