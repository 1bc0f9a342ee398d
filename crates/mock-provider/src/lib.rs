//! A scriptable provider double that speaks the OpenAI dialect and keeps its own bill.
//! Answers are a function of the request; faults are asked for in the model name, see [`HELP`].

mod answer;
mod bill;
mod call;
mod create;
mod embedding;
mod help;
mod log;
mod player;
mod request;
mod script;
mod sequence;
mod server;
mod stream;
mod value;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use crate::help::HELP;

/// How a mock provider is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Keep the log and the received requests of every call, not only of those whose model carries `log`.
    pub log: bool,
}

/// Serves until shutdown, which cuts what is still open after half a second. Fails only if it cannot start.
pub async fn run(listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    run_with(listener, Options::default(), shutdown).await
}

/// As [`run`], with options.
pub async fn run_with(
    listener: TcpListener,
    options: Options,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    server::serve(listener, options, shutdown).await
}
