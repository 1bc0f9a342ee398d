//! The crash scenario for long: load on real processes that are killed at random, round after round.
//! Prints a summary and fails when an accepted request was lost or the books do not agree.

#![expect(clippy::print_stdout, reason = "the summary is this program's purpose")]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use system_tests::crash::load::Volume;
use system_tests::crash::{Books, Cluster, Killer, Load, Victims, settle, violations};

/// Kill processes at random under load and check that nothing accepted is lost.
#[derive(Debug, Parser)]
struct Options {
    /// How long to go on
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Repeats the choices of an earlier run; default: a new one, which is printed
    #[arg(long)]
    seed: Option<u64>,
    /// Hits between two checks of the books
    #[arg(long, default_value_t = 12)]
    hits: u32,
}

/// Name under which this program is the gateway, so that the processes are never older than the soak itself.
const GATEWAY: &str = "pointsman-under-soak";

fn main() -> anyhow::Result<ExitCode> {
    let called = std::env::args_os().next().unwrap_or_default();
    if Path::new(&called).file_name().is_some_and(|name| name == GATEWAY) {
        return Ok(pointsman::main());
    }
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    runtime.block_on(soak(&options))
}

/// Sums over all checks.
#[derive(Default)]
struct Sums {
    sent: usize,
    accepted: usize,
    attempts: usize,
    lost: usize,
    kills: usize,
    violations: usize,
}

async fn soak(options: &Options) -> anyhow::Result<ExitCode> {
    let seed = options.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let dir = tempfile::tempdir().context("create a directory for data and logs")?;
    let gateway = dir.path().join(GATEWAY);
    std::os::unix::fs::symlink(std::env::current_exe()?, &gateway).context("link the gateway")?;
    let gateway = gateway.display().to_string();
    let mut cluster = tokio::task::block_in_place(|| Cluster::start(&gateway, dir.path().to_owned()));
    let mut killer = Killer::new(seed, Victims::Any);
    let (mut sums, begun) = (Sums::default(), Instant::now());
    for phase in 0.. {
        if begun.elapsed() >= Duration::from_secs_f64(options.minutes * 60.0) {
            break;
        }
        let prefix = format!("s{phase}");
        let load =
            Load::start(&prefix, seed ^ (phase << 16), &cluster.nats(), &cluster.http(), Volume::default())
                .await;
        let before = cluster.faults().len();
        for _ in 0..options.hits {
            killer.round(&mut cluster).await;
        }
        let books = settle(&cluster, load.stop().await, &prefix).await;
        sums.add(&books, books.faults.len() - before);
        println!("{:>6.1} min  {sums}", begun.elapsed().as_secs_f64() / 60.0);
        for violation in violations(&books) {
            sums.violations += 1;
            println!("VIOLATION {violation}");
        }
        if sums.violations > 0 {
            println!("faults of this phase: {:#?}", &books.faults[before..]);
            println!("seed {seed}; logs and data are kept in {}", dir.keep().display());
            return Ok(ExitCode::FAILURE);
        }
    }
    println!("seed {seed}: {sums}; no violations");
    Ok(ExitCode::SUCCESS)
}

impl Sums {
    fn add(&mut self, books: &Books, kills: usize) {
        self.sent += books.sent.len();
        self.accepted += books.sent.iter().filter(|sent| sent.accepted).count();
        let attempts = books.events.iter().filter_map(|event| event.attempt.as_ref());
        self.attempts += attempts.clone().count();
        self.lost += attempts.filter(|attempt| attempt.duplicate_possible).count();
        self.kills += kills;
    }
}

impl std::fmt::Display for Sums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sent, accepted, attempts, lost, kills, .. } = self;
        write!(f, "{sent} requests ({accepted} accepted), {attempts} attempts ({lost} lost), {kills} hits")
    }
}
