//! The one binary: reads settings, starts the roles asked for, and talks to a running gateway.

mod api;
pub mod broker;
pub mod cli;
mod commands;
pub mod datadir;
mod fetch;
mod link;
pub mod onnxruntime;
mod output;
pub(crate) mod process;
mod ready;
pub mod settings;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::output::{BAD, Output, styled};
use crate::settings::{Settings, Sources};

/// Many small, short-lived messages: measured, the system's allocator costs a fifth more CPU per request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the command line. 0: done; 1: it failed, and standard error says why; 2: the command line is wrong.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(err) => {
            use std::io::Write as _;
            let _ = writeln!(anstream::stderr(), "{} {err:#}", styled(BAD, "error:"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let output = Output::new(cli.global.json);
    // A second installation in the same process (tests) changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Command::Completions { shell } = cli.command {
        let mut command = <Cli as clap::CommandFactory>::command();
        clap_complete::generate(shell, &mut command, "pointsman", &mut std::io::stdout());
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Check(check) = &cli.command {
        return commands::check::run(output, &check.file, &environment());
    }
    let env = environment();
    let mut set = cli.global.set.clone();
    set.extend(flag("data_dir", cli.global.data_dir.as_ref().map(|d| d.display().to_string())));
    set.extend(flag("nats.url", cli.global.nats.clone()));
    let settings = Settings::load(Sources { file: cli.global.settings.as_deref(), env: &env, set: &set })?;
    // Aborting on a failed role must not leave a half-dead process behind, so each command has its own runtime.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(dispatch(cli.command, output, settings, env))?;
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    Ok(code)
}

fn flag(key: &str, value: Option<String>) -> Option<String> {
    value.map(|value| format!("{key}={value}"))
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

async fn dispatch(
    command: Command,
    output: Output,
    settings: Settings,
    env: BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(up) => process::up(up, output, settings, &env).await,
        Command::Run(run) => process::run(run, output, settings, &env).await,
        Command::Mock(mock) => process::mock(mock, output, &settings).await,
        Command::Ask(ask) => commands::ask::run(ask, output, &settings, &env).await,
        Command::Publish(publish) => commands::publish::run(publish, output, &settings, &env).await,
        Command::Requests(requests) => commands::requests::run(requests, output, &settings).await,
        Command::Dead(dead) => commands::dead::run(dead, output, &settings).await,
        Command::Targets(targets) => commands::targets::run(targets, output, &settings).await,
        Command::Ledger(ledger) => commands::ledger::run(ledger, output, &settings).await,
        Command::Alerts(alerts) => commands::alerts::run(alerts, output, &settings).await,
        Command::Budgets(limits) => commands::limits::run(limits, true, output, &settings, &env).await,
        Command::Limits(limits) => commands::limits::run(limits, false, output, &settings, &env).await,
        Command::Spend(spend) => commands::spend::run(spend, output, &settings, &env).await,
        Command::Cache(cache) => commands::cache::run(cache, output, &settings, &env).await,
        Command::Streams => commands::streams::run(output, &settings).await,
        Command::Doctor => commands::doctor::run(output, &settings).await,
        Command::Apply(apply) => commands::apply::run(apply, output, &settings, &env).await,
        Command::Diff(diff) => commands::apply::diff(diff, output, &settings, &env).await,
        Command::Get(get) => commands::get::run(get, output, &settings, &env).await,
        Command::Rollback(rollback) => commands::history::rollback(rollback, output, &settings, &env).await,
        Command::History(history) => commands::history::run(history, output, &settings, &env).await,
        Command::Lint(lint) => commands::lint::run(&lint, output, &env),
        Command::Keys(keys) => commands::keys::run(keys, output, &settings, &env).await,
        Command::VirtualKeys(keys) => commands::virtual_keys::run(keys, output, &settings, &env).await,
        Command::Workspaces(command) => commands::workspaces::run(command, output, &settings, &env).await,
        Command::Audit(audit) => commands::audit::run(audit, output, &settings, &env).await,
        Command::Route(cli::Route::Try(attempt)) => commands::route::run(&attempt, output, &settings, &env),
        Command::Explain(explain) => commands::explain::run(explain, output, &settings, &env).await,
        Command::Models(models) => commands::models::run(models, output, &settings).await,
        Command::Providers(providers) => Ok(commands::providers::run(&providers, output)),
        Command::Check(_) | Command::Completions { .. } => Ok(ExitCode::SUCCESS),
    }
}
