//! The figures, as JSON and as a table.

use std::fmt;

use serde::Serialize;

use super::measure::{Findings, Round, SLOW, STREAMS, THROUGHPUT};
use super::options::{Options, Pace};
use super::stats::median;

/// Medians over the rounds of one run. A figure that could not be taken is null.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub rate: u32,
    pub rounds: u32,
    pub seconds: f64,
    /// The first is the baseline of the others' added latency.
    pub targets: Vec<TargetReport>,
}

#[derive(Debug, Clone, Serialize)]
pub struct TargetReport {
    pub name: String,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub added_p50_ms: Option<f64>,
    pub added_p99_ms: Option<f64>,
    pub max_rps: Option<f64>,
    pub slow_rps: Option<f64>,
    pub streams_per_second: Option<f64>,
    pub first_chunk_p50_ms: Option<f64>,
    pub first_chunk_p99_ms: Option<f64>,
    /// Of all its processes together, while the greatest throughput was sought.
    pub cpu_seconds_per_10k: Option<f64>,
    pub writes_per_request: Option<f64>,
    pub processes: Vec<ProcessReport>,
    /// Over all rounds.
    pub errors: Errors,
    pub first_error: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ProcessReport {
    pub name: String,
    pub pid: u32,
    pub cpu_seconds_per_10k: Option<f64>,
    pub rss_idle_mb: Option<f64>,
    pub rss_after_mb: Option<f64>,
}

/// Failed requests per measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Errors {
    pub latency: u64,
    pub throughput: u64,
    pub slow: u64,
    pub streams: u64,
}

impl Report {
    pub(super) fn new(options: &Options, pace: Pace, findings: &[Findings]) -> Self {
        let mut targets: Vec<TargetReport> = findings.iter().map(TargetReport::new).collect();
        if let [baseline, others @ ..] = &mut targets[..] {
            for other in others {
                other.added_p50_ms = difference(other.p50_ms, baseline.p50_ms);
                other.added_p99_ms = difference(other.p99_ms, baseline.p99_ms);
            }
        }
        Self { rate: options.rate, rounds: pace.rounds, seconds: pace.measure.as_secs_f64(), targets }
    }
}

fn difference(figure: Option<f64>, baseline: Option<f64>) -> Option<f64> {
    Some(figure? - baseline?)
}

impl TargetReport {
    fn new(found: &Findings) -> Self {
        let rounds = &found.rounds;
        let middle = |figure: fn(&Round) -> Option<f64>| median(rounds.iter().map(figure));
        let sum = |errors: fn(&Round) -> u64| rounds.iter().map(errors).sum();
        let processes = processes(found);
        let cpu: Vec<f64> = processes.iter().filter_map(|process| process.cpu_seconds_per_10k).collect();
        Self {
            name: found.target.name.clone(),
            p50_ms: middle(|round| round.p50_ms),
            p99_ms: middle(|round| round.p99_ms),
            added_p50_ms: None,
            added_p99_ms: None,
            max_rps: middle(|round| round.max_rps),
            slow_rps: middle(|round| round.slow_rps),
            streams_per_second: middle(|round| round.streams_per_second),
            first_chunk_p50_ms: middle(|round| round.first_chunk_p50_ms),
            first_chunk_p99_ms: middle(|round| round.first_chunk_p99_ms),
            // A sum that leaves a process out would look like a cheaper target.
            cpu_seconds_per_10k: (!cpu.is_empty() && cpu.len() == processes.len()).then(|| cpu.iter().sum()),
            writes_per_request: middle(|round| round.writes_per_request),
            processes,
            errors: Errors {
                latency: sum(|round| round.latency_errors),
                throughput: sum(|round| round.throughput_errors),
                slow: sum(|round| round.slow_errors),
                streams: sum(|round| round.stream_errors),
            },
            first_error: rounds.iter().find_map(|round| round.first_error.clone()),
        }
    }
}

fn processes(found: &Findings) -> Vec<ProcessReport> {
    let of = |figures: &[Option<f64>], index: usize| figures.get(index).copied().flatten();
    let report = |(index, process): (usize, &super::process::Process)| ProcessReport {
        name: process.name.clone(),
        pid: process.pid,
        cpu_seconds_per_10k: median(found.rounds.iter().map(|round| of(&round.cpu, index)))
            .map(|seconds| seconds * 10_000.0),
        rss_idle_mb: of(&found.rss_idle, index),
        rss_after_mb: of(&found.rss_after, index),
    };
    found.target.processes.iter().enumerate().map(report).collect()
}

/// The table: a row per figure, a column per target.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let widths: Vec<usize> = (0..=self.targets.len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        for row in &rows {
            write!(f, "{:width$}", row[0], width = widths[0])?;
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "medians of {} round(s), {} s per measurement", self.rounds, self.seconds)?;
        for target in &self.targets {
            if let Some(error) = &target.first_error {
                writeln!(f, "first error of {}: {error}", target.name)?;
            }
        }
        Ok(())
    }
}

type Figure = fn(&TargetReport) -> Option<f64>;
type ErrorCount = fn(&Errors) -> u64;
type ProcessFigure = fn(&ProcessReport) -> Option<f64>;

impl Report {
    fn rows(&self) -> Vec<Vec<String>> {
        let rate = self.rate;
        let figures: [(String, usize, Figure); 9] = [
            (format!("p50 ms at {rate} rps"), 2, |target| target.p50_ms),
            (format!("p99 ms at {rate} rps"), 2, |target| target.p99_ms),
            ("  added p50 ms".into(), 2, |target| target.added_p50_ms),
            ("  added p99 ms".into(), 2, |target| target.added_p99_ms),
            (format!("rps, {THROUGHPUT} in flight"), 0, |target| target.max_rps),
            (format!("rps, slow model, {SLOW} in flight"), 0, |target| target.slow_rps),
            (format!("streams/s, {STREAMS} in flight"), 0, |target| target.streams_per_second),
            ("  first chunk p50 ms".into(), 2, |target| target.first_chunk_p50_ms),
            ("  first chunk p99 ms".into(), 2, |target| target.first_chunk_p99_ms),
        ];
        let mut rows = vec![self.row("", |target| target.name.clone())];
        for (label, decimals, figure) in figures {
            rows.push(self.row(&label, |target| number(figure(target), decimals)));
        }
        rows.push(self.row("CPU s per 10 000 requests", |target| number(target.cpu_seconds_per_10k, 2)));
        rows.extend(self.process_rows("", 2, |process| process.cpu_seconds_per_10k));
        rows.push(self.row("JetStream writes per request", |target| number(target.writes_per_request, 2)));
        rows.extend(self.process_rows("RSS MB idle, ", 1, |process| process.rss_idle_mb));
        rows.extend(self.process_rows("RSS MB after load, ", 1, |process| process.rss_after_mb));
        let errors: [(&str, ErrorCount); 4] = [
            ("errors at fixed rate", |errors| errors.latency),
            ("errors at full throughput", |errors| errors.throughput),
            ("errors of slow model", |errors| errors.slow),
            ("errors of streams", |errors| errors.streams),
        ];
        rows.extend(errors.map(|(label, count)| self.row(label, |target| count(&target.errors).to_string())));
        rows
    }

    fn row(&self, label: &str, cell: impl Fn(&TargetReport) -> String) -> Vec<String> {
        std::iter::once(label.to_owned()).chain(self.targets.iter().map(cell)).collect()
    }

    /// One row per process name, in the order of their first appearance.
    fn process_rows(&self, label: &str, decimals: usize, figure: ProcessFigure) -> Vec<Vec<String>> {
        let mut names: Vec<&str> = Vec::new();
        for process in self.targets.iter().flat_map(|target| &target.processes) {
            if !names.contains(&process.name.as_str()) {
                names.push(&process.name);
            }
        }
        let cell = |target: &TargetReport, name: &str| {
            let process = target.processes.iter().find(|process| process.name == name);
            number(process.and_then(figure), decimals)
        };
        names.iter().map(|name| self.row(&format!("  {label}{name}"), |target| cell(target, name))).collect()
    }
}

fn number(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::super::client::Endpoint;
    use super::super::measure::Target;
    use super::super::process::Process;
    use super::*;

    async fn found(name: &str, processes: &[&str], rounds: Vec<Round>) -> Findings {
        let processes: Vec<Process> =
            processes.iter().map(|name| Process { name: (*name).into(), pid: 1 }).collect();
        let endpoint = Endpoint::resolve("http://127.0.0.1:1/v1", &[]).await.unwrap();
        let rss = vec![Some(20.0); processes.len()];
        let target = Target { name: name.into(), endpoint, processes };
        Findings { target, rss_idle: rss.clone(), rss_after: rss, rounds }
    }

    fn report(findings: &[Findings]) -> Report {
        let pace = Pace {
            rounds: 3,
            measure: Duration::from_secs(5),
            warm_up: Duration::ZERO,
            quiet: Duration::ZERO,
        };
        Report::new(&Options::parse_from(["bench"]), pace, findings)
    }

    fn round(p50: f64, cpu: &[Option<f64>], errors: u64) -> Round {
        Round { p50_ms: Some(p50), cpu: cpu.to_vec(), slow_errors: errors, ..Round::default() }
    }

    #[tokio::test]
    async fn figures_are_medians_errors_are_sums_and_latency_is_compared_with_the_first() {
        let direct =
            found("mock", &[], vec![round(0.2, &[], 0), round(0.1, &[], 0), round(0.3, &[], 0)]).await;
        let cpu = |seconds: f64| [Some(seconds), Some(0.00005)];
        let rounds =
            vec![round(0.9, &cpu(0.0001), 1), round(0.7, &cpu(0.0003), 2), round(8.0, &cpu(0.0002), 4)];
        let report = report(&[direct, found("gateway", &["pointsman", "nats-server"], rounds).await]);
        let gateway = &report.targets[1];
        assert_eq!(gateway.p50_ms, Some(0.9));
        assert!((gateway.added_p50_ms.unwrap() - 0.7).abs() < 1e-9);
        assert_eq!(gateway.added_p99_ms, None);
        assert!((gateway.cpu_seconds_per_10k.unwrap() - 2.5).abs() < 1e-9);
        assert_eq!(gateway.errors, Errors { latency: 0, throughput: 0, slow: 7, streams: 0 });
        assert_eq!(report.targets[0].added_p50_ms, None);
        assert_eq!(report.targets[0].cpu_seconds_per_10k, None);
    }

    #[tokio::test]
    async fn no_total_is_given_when_a_process_could_not_be_read() {
        let rounds = vec![round(1.0, &[Some(0.1), None], 0)];
        let report = report(&[found("gateway", &["pointsman", "nats-server"], rounds).await]);
        assert_eq!(report.targets[0].cpu_seconds_per_10k, None);
    }

    #[tokio::test]
    async fn the_table_has_a_column_per_target_and_a_dash_for_what_is_unknown() {
        let mut failed = round(1.0, &[Some(0.0001)], 3);
        failed.first_error = Some("status 503: busy".into());
        let report = report(&[
            found("mock", &[], Vec::new()).await,
            found("gateway", &["pointsman"], vec![failed]).await,
        ]);
        let table = report.to_string();
        let row = |label: &str| -> Vec<String> {
            let line = table.lines().find(|line| line.trim_start().starts_with(label)).unwrap();
            let cells = line.trim_start().strip_prefix(label).unwrap();
            cells.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(row("p50 ms at 200 rps"), ["-", "1.00"]);
        assert_eq!(row("CPU s per 10 000 requests"), ["-", "1.00"]);
        assert_eq!(row("pointsman"), ["-", "1.00"]);
        assert_eq!(row("RSS MB idle, pointsman"), ["-", "20.0"]);
        assert_eq!(row("errors of slow model"), ["0", "3"]);
        assert!(table.contains("first error of gateway: status 503: busy"), "{table}");
        assert!(!table.contains("NaN") && !table.contains("inf"), "{table}");
    }
}
