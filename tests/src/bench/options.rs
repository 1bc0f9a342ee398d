//! What the benchmark command accepts.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand};
use hyper::header::{HeaderName, HeaderValue};

/// Measures OpenAI-compatible URLs side by side: latency, throughput, streams, CPU, memory, broker writes.
///
/// Without --url it builds and starts `pointsman up` with its mock provider, and compares the way through the
/// gateway with the mock called directly. All figures are medians over interleaved rounds.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench")]
pub struct Options {
    /// A base URL to measure, as NAME=http://host:port/v1. Repeatable; the first is what others are compared with.
    #[arg(long = "url", value_name = "NAME=URL")]
    pub urls: Vec<NamedUrl>,

    /// A process whose CPU and memory belong to a URL, as NAME:process=PID. Repeatable.
    #[arg(long = "pid", value_name = "NAME:PROCESS=PID", requires = "urls")]
    pub pids: Vec<NamedPid>,

    /// The broker whose JetStream writes are counted; when the gateway is started here, its own is used.
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,

    /// The gateway binary to start, instead of building the one of this workspace.
    #[arg(long, value_name = "PATH", conflicts_with = "urls")]
    pub binary: Option<PathBuf>,

    /// A header sent with every request, as `name: value`. Repeatable.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<Header>,

    /// Model name of the latency and throughput measurements.
    #[arg(long, default_value = "mock")]
    pub model: String,

    /// Model name that answers after 50 ms.
    #[arg(long, default_value = "mock?delay=50ms")]
    pub slow_model: String,

    /// Model name that streams at least as many chunks as --chunks says.
    #[arg(long, default_value = "mock?chunks=20")]
    pub stream_model: String,

    /// A stream with fewer chunks than this counts as an error.
    #[arg(long, default_value_t = 20)]
    pub chunks: usize,

    /// Requests per second of the latency measurement.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,

    /// Rounds to take the medians over [default: 3, with --quick 1].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: Option<u32>,

    /// Seconds per measurement, warm-up apart [default: 5, with --quick 0.15].
    #[arg(long, value_parser = parse_seconds)]
    pub seconds: Option<Duration>,

    /// A smoke run of about two seconds; its figures mean little.
    #[arg(long)]
    pub quick: bool,

    /// Print the figures as JSON instead of a table.
    #[arg(long)]
    pub json: bool,

    /// Measure something else than requests.
    #[command(subcommand)]
    pub what: Option<What>,
}

/// What is measured instead of requests.
#[derive(Debug, Clone, Subcommand)]
pub enum What {
    /// What it costs every process to hold the stored policy.
    Policy {
        /// Configs in the store.
        #[arg(long, default_value_t = 10_000, value_parser = at_least_one)]
        configs: usize,
        /// API keys in the store.
        #[arg(long, default_value_t = 100_000, value_parser = at_least_one)]
        api_keys: usize,
    },
    /// What hits, misses and look-ups of the cache cost, and how many calls it saves.
    Cache {
        /// Requests of each kind.
        #[arg(long, default_value_t = 300, value_parser = at_least_one)]
        rounds: usize,
    },
    /// How fast the ledger books events, on SQLite and on PostgreSQL, and how far it lags under load.
    Ledger {
        /// Events that wait when it starts.
        #[arg(long, default_value_t = 100_000)]
        events: u64,
        /// Events in a second afterwards.
        #[arg(long, default_value_t = 5_000)]
        rate: u64,
        /// How long they come.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
}

fn at_least_one(text: &str) -> anyhow::Result<usize> {
    let count = text.parse().context("write a number")?;
    ensure!(count > 0, "write 1 or more");
    Ok(count)
}

/// How long everything takes, derived from the flags.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) rounds: u32,
    pub(super) measure: Duration,
    pub(super) warm_up: Duration,
    /// How long the broker must have been quiet before late work counts as done.
    pub(super) quiet: Duration,
}

impl Options {
    pub(super) fn pace(&self) -> Pace {
        let (rounds, measure, warm_up, quiet) =
            if self.quick { (1, 150, 50, 20) } else { (3, 5000, 1000, 250) };
        Pace {
            rounds: self.rounds.unwrap_or(rounds),
            measure: self.seconds.unwrap_or(Duration::from_millis(measure)),
            warm_up: Duration::from_millis(warm_up),
            quiet: Duration::from_millis(quiet),
        }
    }

    pub(super) fn header_pairs(&self) -> Vec<(HeaderName, HeaderValue)> {
        self.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect()
    }

    /// Checks what single flags cannot: that names are unique and that every process belongs to a URL.
    pub(super) fn validate(&self) -> anyhow::Result<()> {
        let names: Vec<&str> = self.urls.iter().map(|named| named.name.as_str()).collect();
        for (index, name) in names.iter().enumerate() {
            ensure!(!names[..index].contains(name), "--url names `{name}` twice, give each URL its own name");
        }
        for (index, pid) in self.pids.iter().enumerate() {
            let twice = self.pids[..index]
                .iter()
                .any(|other| (&other.target, &other.process) == (&pid.target, &pid.process));
            ensure!(!twice, "--pid gives `{}:{}` twice, name each process apart", pid.target, pid.process);
            if !names.contains(&pid.target.as_str()) {
                let known = names.join(", ");
                bail!("--pid names `{}`, but no --url has that name (names: {known})", pid.target);
            }
        }
        Ok(())
    }
}

/// `NAME=URL`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedUrl {
    pub name: String,
    pub url: String,
}

impl FromStr for NamedUrl {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text.split_once('=') {
            Some((name, url)) if !name.is_empty() && !name.contains([':', '/']) => {
                Ok(Self { name: name.into(), url: url.into() })
            }
            _ => bail!("`{text}` has no name, write NAME=http://host:port/v1"),
        }
    }
}

/// `NAME:PROCESS=PID`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPid {
    pub target: String,
    pub process: String,
    pub pid: u32,
}

impl FromStr for NamedPid {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parts = text.rsplit_once('=').and_then(|(left, pid)| Some((left.split_once(':')?, pid)));
        let Some(((target, process), pid)) = parts else {
            bail!("`{text}` is not a named process, write NAME:PROCESS=PID");
        };
        let pid = pid.parse().with_context(|| format!("`{pid}` in `{text}` is not a process id"))?;
        Ok(Self { target: target.into(), process: process.into(), pid })
    }
}

/// `name: value`
#[derive(Debug, Clone)]
pub struct Header {
    name: HeaderName,
    value: HeaderValue,
}

impl FromStr for Header {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let Some((name, value)) = text.split_once(':') else {
            bail!("the header has no colon, write `name: value`");
        };
        let value =
            value.trim().parse().with_context(|| format!("the value of header `{name}` is not ASCII"))?;
        Ok(Self {
            name: name.trim().parse().with_context(|| format!("`{name}` is not a header name"))?,
            value,
        })
    }
}

fn parse_seconds(text: &str) -> anyhow::Result<Duration> {
    match text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(duration) if !duration.is_zero() => Ok(duration),
        _ => bail!("`{text}` is not a number of seconds above 0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parsed(flags: &[&str]) -> Options {
        Options::try_parse_from(["bench"].iter().chain(flags)).unwrap()
    }

    #[test]
    fn a_url_keeps_everything_after_its_name() {
        let options = parsed(&["--url", "direct=http://127.0.0.1:1/v1?a=b"]);
        let expected = NamedUrl { name: "direct".into(), url: "http://127.0.0.1:1/v1?a=b".into() };
        assert_eq!(options.urls, [expected]);
    }

    #[test]
    fn a_url_without_a_name_is_refused() {
        for text in ["http://127.0.0.1:1/v1", "http://127.0.0.1/v1?a=b", "=http://127.0.0.1"] {
            assert!(text.parse::<NamedUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_process_is_named_by_its_target_and_itself() {
        let expected = NamedPid { target: "gateway".into(), process: "nats-server".into(), pid: 42 };
        assert_eq!("gateway:nats-server=42".parse::<NamedPid>().unwrap(), expected);
        for text in ["gateway=42", "gateway:nats", "gateway:nats=x"] {
            assert!(text.parse::<NamedPid>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_process_of_an_unknown_target_is_refused_with_the_known_names() {
        let options = parsed(&["--url", "a=http://h/v1", "--url", "b=http://h/v1", "--pid", "c:x=1"]);
        let error = options.validate().unwrap_err().to_string();
        assert!(error.contains("`c`") && error.contains("a, b"), "{error}");
    }

    #[test]
    fn two_urls_of_one_name_are_refused() {
        let options = parsed(&["--url", "a=http://h/v1", "--url", "a=http://g/v1"]);
        assert!(options.validate().unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn two_processes_of_one_name_are_refused_within_a_target_only() {
        let urls = ["--url", "a=http://h/v1", "--url", "b=http://g/v1", "--pid", "a:x=1", "--pid"];
        assert!(parsed(&[&urls[..], &["b:x=2"]].concat()).validate().is_ok());
        let error = parsed(&[&urls[..], &["a:x=2"]].concat()).validate().unwrap_err().to_string();
        assert!(error.contains("`a:x` twice"), "{error}");
    }

    #[test]
    fn explicit_lengths_win_over_quick() {
        let pace = parsed(&["--quick", "--rounds", "2", "--seconds", "0.5"]).pace();
        assert_eq!((pace.rounds, pace.measure), (2, Duration::from_millis(500)));
        for text in ["0", "-1", "NaN", "x"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
