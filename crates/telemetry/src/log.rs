//! Logs go to standard error; standard output belongs to commands.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people, coloured on a terminal.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// Starts logging. `filter` is a level or a list such as `info,bus=debug`.
pub fn init(format: Format, filter: &str, colour: bool) -> anyhow::Result<()> {
    // The broker client repeats every connection event, which the bus reports already.
    let filter = EnvFilter::try_new(format!("{filter},async_nats=off"))
        .with_context(|| format!("log level `{filter}`: write for example `info` or `info,router=debug`"))?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        Format::Human => registry.with(lines.with_ansi(colour)).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .context("start logging")
}
