//! The command line.

mod alerts;
mod cache;
mod ledger;
mod policy;
mod spend;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use domain::model::Capability;

pub use alerts::Alerts;
pub use cache::{Cache, CacheInvalidate, CacheLs, CacheWarm, CacheWhich};
pub use ledger::{Ledger, LedgerReprice};
pub use policy::{
    Apply, Audit, Credential, Diff, Explain, Files, Gateway, Get, History, KeyType, Keys, Kinds, Limits,
    Lint, Rollback, Route, Try, VirtualKeys, Workspaces,
};
pub use spend::{Spend, SpendCommand, SpendExport, SpendTable, SpendWhich};

/// An event-driven gateway to language models: accepted requests are never lost.
#[derive(Debug, Parser)]
#[command(name = "pointsman", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command understands.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Print JSON on standard output, for scripts
    #[arg(long, global = true)]
    pub json: bool,
    /// Settings file (TOML); `pointsman check FILE` validates one
    #[arg(long, global = true, value_name = "FILE", env = "POINTSMAN_SETTINGS")]
    pub settings: Option<PathBuf>,
    /// Set one key, as in `--set http.body_limit=10MiB`; beats environment and file
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Where data and keys live
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Broker to use, as in nats://127.0.0.1:4222; several are separated by commas
    #[arg(long, global = true, value_name = "URL")]
    pub nats: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start everything: a broker, all roles, and a mock provider while none is configured
    Up(Up),
    /// Start chosen roles against a broker
    Run(Run),
    /// Start only the mock provider
    #[command(long_about = mock_provider::HELP)]
    Mock(Mock),
    /// Ask one question and print the answer as it comes
    Ask(Ask),
    /// Publish one request to the broker and print its id, or wait for the answer
    Publish(Publish),
    /// Look at requests, and cancel them
    #[command(subcommand)]
    Requests(Requests),
    /// Messages that could not be processed
    #[command(subcommand)]
    Dead(Dead),
    /// How the targets do: circuits, failures, latency; and close a circuit by hand
    Targets(Targets),
    /// Bring what is stored in line with files: configs, virtual keys, API keys, workspaces, policies
    #[command(long_about = crate::commands::apply::HELP)]
    Apply(Apply),
    /// Show what `apply` would change; exits with 0 if nothing, with 2 if something
    Diff(Diff),
    /// Look at what is stored
    Get(Get),
    /// Put an earlier version of a config in force
    Rollback(Rollback),
    /// Versions of a config: who made which, and when
    History(History),
    /// Check configs and documents without a gateway
    Lint(Lint),
    /// API keys: what callers show
    #[command(subcommand)]
    Keys(Keys),
    /// Virtual keys: provider accounts that requests name
    #[command(subcommand)]
    VirtualKeys(VirtualKeys),
    /// Workspaces: the isolated units that everything belongs to
    #[command(subcommand)]
    Workspaces(Workspaces),
    /// What is used of each budget, and when it begins anew
    Budgets(Limits),
    /// What is used of each limit: budgets and rates
    Limits(Limits),
    /// Who changed what, and when
    Audit(Audit),
    /// Try out routing decisions
    #[command(subcommand)]
    Route(Route),
    /// What was decided for a request, and why
    Explain(Explain),
    /// What requests took and cost: by model, by team, by day, or by anything else
    Spend(Spend),
    /// The ledger: check it, make it anew from the events, count costs again
    #[command(subcommand)]
    Ledger(Ledger),
    /// Alerts: what is watched and raised, what was said to whom; and trying channels out
    #[command(subcommand)]
    Alerts(Alerts),
    /// The cache: what it holds and how it does, taking entries out, filling it
    #[command(subcommand)]
    Cache(Cache),
    /// What exists on the broker: depth, lag, in flight
    Streams,
    /// Check broker, streams, clocks, storage and providers, and say how to fix what is wrong
    Doctor,
    /// Validate a settings file without starting anything
    Check(Check),
    /// List the models that are known by name or from the settings, with abilities and prices
    #[command(args_conflicts_with_subcommands = true)]
    Models(Models),
    /// List the providers that are known by name, and what they offer
    Providers(Providers),
    /// Print a completion script for a shell
    Completions {
        /// The shell to complete for
        shell: Shell,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// HTTP API and request-reply door
    HttpShim,
    /// Answers the admin API: configs, virtual keys, API keys, workspaces
    AdminApi,
    /// Decides where requests go
    Router,
    /// Calls providers
    ProviderWorker,
    /// Keeps the ledger: what everything took and cost
    CostAccounting,
    /// Tells people when something is wrong
    Alerts,
}

impl Role {
    /// Every role, in the order in which requests come to them.
    pub const ALL: &'static [Self] = &[
        Self::HttpShim,
        Self::AdminApi,
        Self::Router,
        Self::ProviderWorker,
        Self::CostAccounting,
        Self::Alerts,
    ];
}

#[derive(Debug, Args)]
pub struct Up {
    /// Address of the HTTP API; port 0 means any free one
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Roles to start: `all`, `none`, or a list such as `router,provider-worker`
    #[arg(long, default_value = "all", value_name = "ROLES")]
    pub roles: String,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Roles to start in this process
    #[arg(required = true, value_enum)]
    pub roles: Vec<Role>,
    /// Address of the HTTP API, or of health and metrics where there is none; port 0 means any free one
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Share the port with another process, for restarts without a gap
    #[arg(long)]
    pub reuse_port: bool,
}

#[derive(Debug, Args)]
pub struct Mock {
    /// Address to listen on; port 0 means any free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub listen: SocketAddr,
}

#[derive(Debug, Args)]
pub struct Ask {
    /// The question
    #[arg(required = true)]
    pub question: Vec<String>,
    /// Model to ask
    #[arg(long, short, default_value = "mock")]
    pub model: String,
    /// Gateway to ask; default: the one that runs in the data directory
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// File with the API key to show; default: POINTSMAN_KEY, else `admin.key` in the data directory
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Routing config: inline JSON, or the `pc-…` of a stored one
    #[arg(long, value_name = "CONFIG")]
    pub config: Option<String>,
}

#[derive(Debug, Args)]
pub struct Publish {
    /// Operation: chat, completions or embeddings
    pub operation: String,
    /// Body as JSON, `@FILE`, or `-` for standard input
    pub body: String,
    /// Lane: interactive, normal or bulk
    #[arg(long, default_value = "normal")]
    pub lane: String,
    /// Header, as in `--header Pointsman-Timeout=30s`
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE")]
    pub headers: Vec<String>,
    /// Wait for the answer and print it
    #[arg(long)]
    pub wait: bool,
}

#[derive(Debug, Subcommand)]
pub enum Requests {
    /// Show one request: status, attempts, answer
    Get {
        /// Its id
        id: String,
    },
    /// List the newest outcomes and asynchronous requests under way
    List {
        /// How many at most
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Cancel a request
    Cancel {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Dead {
    /// List them
    Ls,
    /// Show one, whole
    Show {
        /// Its number, from `dead ls`
        number: u64,
    },
    /// Send one back to where it came from
    Redrive {
        /// Its number, from `dead ls`; `all` for every one
        number: String,
    },
}

#[derive(Debug, Args)]
pub struct Targets {
    #[command(subcommand)]
    pub command: Option<TargetsCommand>,
}

#[derive(Debug, Subcommand)]
pub enum TargetsCommand {
    /// Close all circuits of one target, for all routers
    Reset {
        /// Its name, from `pointsman targets`, as in `default/openai`
        target: String,
    },
}

#[derive(Debug, Args)]
pub struct Check {
    /// The file to validate
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct Models {
    #[command(flatten)]
    pub list: ModelsList,
    #[command(subcommand)]
    pub command: Option<ModelsCommand>,
}

#[derive(Debug, Args)]
pub struct ModelsList {
    /// Only models of this provider
    #[arg(long, value_name = "SLUG")]
    pub provider: Option<String>,
    /// Only models that can do all of these, as in `tools,vision`
    #[arg(long, value_delimiter = ',', value_name = "ABILITIES")]
    pub requires: Vec<Capability>,
    /// Order: by provider and name, by price (of three tokens in for each one out, cheapest first), or by the
    /// longest prompt
    #[arg(long, value_enum, default_value = "name", value_name = "ORDER")]
    pub sort: ModelOrder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModelOrder {
    /// By provider and name
    Name,
    /// By price, cheapest first
    Price,
    /// By context window, largest first
    Context,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Turn a price list of LiteLLM or Portkey (JSON) into settings, `[models."provider/name"]`
    Import(ModelsImport),
}

#[derive(Debug, Args)]
pub struct ModelsImport {
    /// The price list: a file, a URL, or `-` for standard input
    pub source: String,
    /// Only these models, as `provider/name`; default: all
    #[arg(value_name = "MODEL")]
    pub models: Vec<String>,
    /// Only models of this provider; for Portkey's lists, whose prices these are (default: the file's name)
    #[arg(long, value_name = "SLUG")]
    pub provider: Option<String>,
    /// Write here instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Providers {
    /// Only this provider
    #[arg(value_name = "SLUG")]
    pub slug: Option<String>,
    /// Print the table of providers, operations and how they are tested, for a document
    #[arg(long, conflicts_with = "slug")]
    pub markdown: bool,
}

/// Roles of `up --roles`.
pub fn parse_roles(text: &str) -> anyhow::Result<Vec<Role>> {
    match text {
        "all" => Ok(Role::ALL.to_vec()),
        "none" => Ok(Vec::new()),
        list => list
            .split(',')
            .map(|word| {
                Role::from_str(word.trim(), false).map_err(|_| {
                    let known: Vec<String> = Role::ALL
                        .iter()
                        .filter_map(|r| r.to_possible_value())
                        .map(|v| v.get_name().to_owned())
                        .collect();
                    anyhow::anyhow!("unknown role `{word}`: use `all`, `none`, or of {}", known.join(", "))
                })
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn roles_are_all_none_or_a_list() {
        assert_eq!(parse_roles("all").unwrap(), Role::ALL);
        assert!(parse_roles("none").unwrap().is_empty());
        assert_eq!(parse_roles("router, http-shim").unwrap(), [Role::Router, Role::HttpShim]);
        assert!(parse_roles("rooter").unwrap_err().to_string().contains("provider-worker"));
    }
}
