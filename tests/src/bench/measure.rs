//! Runs the measurements, interleaved over targets and rounds, because a noisy machine would otherwise favour one.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::broker::Writes;
use super::client::{Call, Endpoint, Expect, Slot};
use super::closed_loop::{ClosedLoop, Tally};
use super::open_loop::OpenLoop;
use super::options::{Options, Pace};
use super::process::Process;
use super::report::Report;
use super::stats::ratio;

/// In flight when the greatest throughput is sought.
pub(super) const THROUGHPUT: usize = 64;
/// In flight against a model that takes its time.
pub(super) const SLOW: usize = 256;
/// Streams at once.
pub(super) const STREAMS: usize = 16;
/// Connections of the fixed-rate measurement at most.
const CONNECTIONS: usize = 1024;
/// Work that lags longer than this behind the answers is not waited for.
const SETTLE: Duration = Duration::from_secs(10);

/// One URL to measure.
pub(super) struct Target {
    pub(super) name: String,
    pub(super) endpoint: Endpoint,
    pub(super) processes: Vec<Process>,
}

/// What one round found for one target.
#[derive(Debug, Default, Clone)]
pub(super) struct Round {
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) max_rps: Option<f64>,
    pub(super) slow_rps: Option<f64>,
    pub(super) streams_per_second: Option<f64>,
    pub(super) first_chunk_p50_ms: Option<f64>,
    pub(super) first_chunk_p99_ms: Option<f64>,
    /// CPU seconds per request, in the order of the target's processes.
    pub(super) cpu: Vec<Option<f64>>,
    pub(super) writes_per_request: Option<f64>,
    pub(super) latency_errors: u64,
    pub(super) throughput_errors: u64,
    pub(super) slow_errors: u64,
    pub(super) stream_errors: u64,
    pub(super) first_error: Option<String>,
}

/// Everything found for one target.
pub(super) struct Findings {
    pub(super) target: Target,
    pub(super) rss_idle: Vec<Option<f64>>,
    pub(super) rss_after: Vec<Option<f64>>,
    pub(super) rounds: Vec<Round>,
}

#[derive(Debug, Clone, Copy)]
enum Measurement {
    Latency,
    Throughput,
    Slow,
    Streams,
}

/// Measures all targets and summarises the rounds. A target that does not answer at all is an error.
pub(super) async fn measure(
    options: &Options,
    targets: Vec<Target>,
    writes: Option<Writes>,
    progress: &dyn Fn(&str),
) -> anyhow::Result<Report> {
    let bench = Bench { options, pace: options.pace(), writes };
    bench.settle().await?;
    let mut findings: Vec<Findings> = targets.into_iter().map(Findings::new).collect();
    for target in findings.iter().map(|found| &found.target) {
        let call = Call::chat(&target.endpoint, &options.model, Expect::Whole);
        let answered = Slot::new(call).send().await;
        answered.with_context(|| format!("`{}` does not answer model `{}`", target.name, options.model))?;
    }
    for round in 0..bench.pace.rounds {
        for measurement in
            [Measurement::Latency, Measurement::Throughput, Measurement::Slow, Measurement::Streams]
        {
            for found in &mut findings {
                let name = &found.target.name;
                progress(&format!("round {} of {}: {measurement:?} of {name}", round + 1, bench.pace.rounds));
                bench.one(measurement, found, round as usize).await?;
            }
        }
    }
    for found in &mut findings {
        found.rss_after = found.target.rss();
    }
    Ok(Report::new(options, bench.pace, &findings))
}

impl Findings {
    fn new(target: Target) -> Self {
        Self { rss_idle: target.rss(), rss_after: Vec::new(), rounds: Vec::new(), target }
    }
}

impl Target {
    fn rss(&self) -> Vec<Option<f64>> {
        self.processes.iter().map(Process::rss_mb).collect()
    }

    fn cpu_seconds(&self) -> Vec<Option<f64>> {
        self.processes.iter().map(Process::cpu_seconds).collect()
    }
}

impl Round {
    fn error(&mut self, error: Option<String>) {
        self.first_error = self.first_error.take().or(error);
    }
}

struct Bench<'a> {
    options: &'a Options,
    pace: Pace,
    writes: Option<Writes>,
}

impl Bench<'_> {
    async fn one(&self, measurement: Measurement, found: &mut Findings, round: usize) -> anyhow::Result<()> {
        if found.rounds.len() <= round {
            found.rounds.push(Round::default());
        }
        let (target, round) = (&found.target, &mut found.rounds[round]);
        match measurement {
            Measurement::Latency => self.latency(target, round).await,
            Measurement::Throughput => self.throughput(target, round).await?,
            Measurement::Slow => self.slow(target, round).await,
            Measurement::Streams => self.streams(target, round).await,
        }
        // What one target has left to do must not burden the next.
        self.settle().await.map(drop)
    }

    async fn latency(&self, target: &Target, round: &mut Round) {
        let Pace { warm_up, measure, .. } = self.pace;
        let open_loop = OpenLoop { rate: self.options.rate, warm_up, measure, connections: CONNECTIONS };
        let call = Call::chat(&target.endpoint, &self.options.model, Expect::Whole);
        let outcome = open_loop.run(&call).await;
        [round.p50_ms, round.p99_ms] = outcome.latency.percentiles_ms([50.0, 99.0]);
        // A request that was never sent would otherwise look like one that never failed.
        round.latency_errors = outcome.scheduled - outcome.answered;
        round.error(outcome.first_error);
    }

    /// CPU and writes are counted around the whole load, until the broker is quiet, and divided by all its
    /// requests, so that work which lags behind the answers is not lost.
    async fn throughput(&self, target: &Target, round: &mut Round) -> anyhow::Result<()> {
        let (written, cpu) = (self.total_writes().await?, target.cpu_seconds());
        let tally = self.closed_loop(target, &self.options.model, Expect::Whole, THROUGHPUT).await;
        let written_after = self.settle().await?;
        let requests = (tally.answered + tally.errors) as f64;
        let cpu_after = target.cpu_seconds();
        let spent = cpu.into_iter().zip(cpu_after).map(|(before, after)| ratio(after? - before?, requests));
        round.cpu = spent.collect();
        round.writes_per_request = written
            .zip(written_after)
            .and_then(|(before, after)| ratio(after.saturating_sub(before) as f64, requests));
        round.max_rps = tally.per_second(self.pace.measure);
        round.throughput_errors = tally.errors;
        round.error(tally.first_error);
        Ok(())
    }

    async fn slow(&self, target: &Target, round: &mut Round) {
        let tally = self.closed_loop(target, &self.options.slow_model, Expect::Whole, SLOW).await;
        round.slow_rps = tally.per_second(self.pace.measure);
        round.slow_errors = tally.errors;
        round.error(tally.first_error);
    }

    async fn streams(&self, target: &Target, round: &mut Round) {
        let expect = Expect::Stream { chunks: self.options.chunks };
        let tally = self.closed_loop(target, &self.options.stream_model, expect, STREAMS).await;
        round.streams_per_second = tally.per_second(self.pace.measure);
        round.stream_errors = tally.errors;
        [round.first_chunk_p50_ms, round.first_chunk_p99_ms] = tally.first_chunk.percentiles_ms([50.0, 99.0]);
        round.error(tally.first_error);
    }

    async fn closed_loop(&self, target: &Target, model: &str, expect: Expect, in_flight: usize) -> Tally {
        let Pace { warm_up, measure, .. } = self.pace;
        let call = Call::chat(&target.endpoint, model, expect);
        ClosedLoop { in_flight, warm_up, measure }.run(&call).await
    }

    async fn total_writes(&self) -> anyhow::Result<Option<u64>> {
        match &self.writes {
            Some(writes) => writes.total().await.map(Some),
            None => Ok(None),
        }
    }

    /// Waits until nothing has been written for a while; without a broker to ask, just for that while.
    /// Returns the broker's writes so far.
    async fn settle(&self) -> anyhow::Result<Option<u64>> {
        let start = Instant::now();
        let mut total = self.total_writes().await?;
        loop {
            tokio::time::sleep(self.pace.quiet).await;
            let now = self.total_writes().await?;
            if now == total || start.elapsed() > SETTLE {
                return Ok(now);
            }
            total = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::test_server::{Reply, TestServer};
    use super::*;

    /// Answers the way every measurement expects, streams included.
    const STREAM: &str = "data: 1\n\ndata: [DONE]\n\n";

    async fn target(name: &str, server: &TestServer) -> Target {
        let endpoint = Endpoint::resolve(&server.base(), &[]).await.unwrap();
        let own = Process { name: "test".into(), pid: std::process::id() };
        let gone = Process { name: "gone".into(), pid: u32::MAX };
        Target { name: name.into(), endpoint, processes: vec![own, gone] }
    }

    fn options() -> Options {
        let flags = ["--quick", "--seconds", "0.05", "--rounds", "2", "--chunks", "1"];
        Options::parse_from(["bench"].into_iter().chain(flags))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_target_is_measured_in_every_round_and_compared_with_the_first() {
        let first_server = TestServer::start(|_| Reply::whole(STREAM)).await;
        let second_server = TestServer::start(|_| Reply::whole(STREAM)).await;
        let targets = vec![target("first", &first_server).await, target("second", &second_server).await];
        let said = parking_lot::Mutex::new(Vec::new());
        let report =
            measure(&options(), targets, None, &|line| said.lock().push(line.to_owned())).await.unwrap();
        let said = said.into_inner();
        assert_eq!(said.len(), 2 * 4 * 2);
        assert!(
            said[1].ends_with("Latency of second") && said[2].ends_with("Throughput of first"),
            "{said:?}"
        );

        for model in ["mock", "mock?delay=50ms", "mock?chunks=20"] {
            let asked =
                |body: &[u8]| serde_json::from_slice::<serde_json::Value>(body).unwrap()["model"] == model;
            assert!(second_server.seen().iter().any(|request| asked(&request.body)), "{model}");
        }
        let figures = serde_json::to_value(&report).unwrap();
        let second = &figures["targets"][1];
        for name in ["p50_ms", "p99_ms", "added_p50_ms", "max_rps", "slow_rps", "streams_per_second"] {
            assert!(second[name].is_f64(), "{name}: {second}");
        }
        assert!(second["processes"][0]["rss_after_mb"].is_f64(), "{second}");
        assert!(second["processes"][1]["cpu_seconds_per_10k"].is_null(), "{second}");
        assert!(second["writes_per_request"].is_null(), "{second}");
        assert!(figures["targets"][0]["added_p50_ms"].is_null(), "{figures}");
        assert!(second["first_error"].is_null(), "{second}");
    }

    #[tokio::test]
    async fn refusals_are_counted_and_quoted() {
        // The first call asks whether the target answers at all.
        let server =
            TestServer::start(|n| if n == 0 { Reply::whole("{}") } else { Reply::status(503) }).await;
        let targets = vec![target("down", &server).await];
        let report = measure(&options(), targets, None, &|_| ()).await.unwrap();
        let figures = serde_json::to_value(&report).unwrap();
        let down = &figures["targets"][0];
        // 200 per second for 0.05 s of warm-up and 0.05 s, twice.
        assert_eq!(down["errors"]["latency"], 40);
        assert!(down["errors"]["streams"].as_u64().unwrap() >= STREAMS as u64, "{down}");
        assert!(down["p50_ms"].is_null(), "{down}");
        assert_eq!(down["max_rps"], 0.0);
        assert_eq!(down["first_error"], "status 503: refused");
    }

    #[tokio::test]
    async fn a_target_that_answers_nothing_is_an_error_with_its_name() {
        let server = TestServer::start(|_| Reply::status(401)).await;
        let targets = vec![target("locked", &server).await];
        let error = measure(&options(), targets, None, &|_| ()).await.err().unwrap();
        let error = format!("{error:#}");
        assert!(error.contains("`locked`") && error.contains("status 401"), "{error}");
    }
}
