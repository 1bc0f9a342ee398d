//! What the cache costs and saves: hits and misses beside the way to the provider, look-ups and stores in a second, and
//! calls saved where some questions are asked more often than others.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use domain::Workspace;
use domain::cache::Question;
use futures::StreamExt as _;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use serde_json::{Value, json};

use super::stats::Samples;
use crate::harness::client::{Answer, Client, chat};
use crate::harness::models::minilm;
use crate::harness::process::Start;
use crate::harness::{Mock, Observer};

/// About 50 tokens.
const QUESTION: &str = "I bought a pair of running shoes in your online shop three weeks ago and they do not fit. How can \
                        I send them back, who pays for the parcel, and how long does it take until I have my money back?";

/// The same in other words.
const AGAIN: &str = "Please: I bought a pair of running shoes in your online shop three weeks ago and they don't fit. How \
                     can I send them back, who pays for the parcel, and how long does it take until I have my money back?";

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Middle and 99th percentile in milliseconds, by way: `direct` to the mock, `off` without a cache, `miss`, `hit`,
    /// `semantic hit`, `semantic miss`.
    pub latency_ms: Vec<(&'static str, Option<f64>, Option<f64>)>,
    /// Look-ups of the same request in a second, 32 at once.
    pub lookups_per_second: u64,
    /// Answers stored in a second, from the first question to the last entry.
    pub stores_per_second: u64,
    /// Requests of the skewed load.
    pub requests: u64,
    /// Calls of providers that they led to.
    pub calls: u64,
    /// Different questions among them.
    pub questions: u64,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:<14} {:>9} {:>9}", "way", "p50 ms", "p99 ms")?;
        for (way, middle, late) in &self.latency_ms {
            let number = |value: &Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.2}"));
            writeln!(f, "{way:<14} {:>9} {:>9}", number(middle), number(late))?;
        }
        let Self { lookups_per_second, stores_per_second, requests, calls, questions, .. } = self;
        writeln!(f, "look-ups/s      {lookups_per_second}")?;
        writeln!(f, "stores/s        {stores_per_second}")?;
        writeln!(f, "skewed load     {requests} requests, {questions} questions, {calls} calls")
    }
}

/// Measures everything. `binary` is the `pointsman` command; None: it is built as it is released.
pub async fn run(binary: Option<&Path>, rounds: usize) -> anyhow::Result<Measured> {
    let binary = match binary {
        Some(binary) => binary.to_owned(),
        None => super::gateway::build().await?,
    };
    let dir = tempfile::tempdir().context("create a directory")?;
    let data = dir.path().join("data").display().to_string();
    let arguments = ["up", "--listen", "127.0.0.1:0", "--data-dir", &data];
    let start = Start::new(&binary.display().to_string(), dir.path(), &arguments);
    let model = tokio::task::block_in_place(minilm).display().to_string();
    let start = start.set("cache.embedder.dir", &model).set("log.level", "warn");
    let gateway = tokio::task::block_in_place(|| start.ready());
    let bench = Bench {
        client: Client::new(&gateway.http()),
        mock: Mock::at(&gateway.mock()),
        bus: Observer::connect(&gateway.nats()).await.bus(&gateway.nats()).await,
    };
    let latency_ms = bench.latencies(rounds).await?;
    let stores_per_second = bench.stores(rounds as u64 * 5).await?;
    let lookups_per_second = bench.lookups(Duration::from_secs(3)).await?;
    let (requests, questions) = (rounds as u64 * 10, rounds as u64);
    let calls = bench.skewed(requests, questions).await?;
    Ok(Measured { latency_ms, lookups_per_second, stores_per_second, requests, calls, questions })
}

struct Bench {
    client: Client,
    mock: Mock,
    bus: bus::Bus,
}

impl Bench {
    async fn ask(&self, mode: &str, body: &Value) -> Answer {
        let config = match mode {
            "off" => json!({ "provider": "mock" }),
            mode => json!({ "provider": "mock", "cache": { "mode": mode } }),
        };
        self.client.send(self.client.post_chat(body).header("x-portkey-config", config.to_string())).await
    }

    /// Asks in turn, so that all ways have the same noise.
    async fn latencies(
        &self,
        rounds: usize,
    ) -> anyhow::Result<Vec<(&'static str, Option<f64>, Option<f64>)>> {
        let mock = Client::new(self.mock.url().trim_end_matches("/v1"));
        self.ask("simple", &chat("mock", "always the same")).await;
        let warm = Instant::now();
        // The model is loaded with the first text, and the answer gets its vector a moment later.
        self.ask("semantic", &chat("mock", QUESTION)).await;
        while self.bus.cache_nodes().await.iter().all(|node| node.vectors == 0) {
            ensure!(warm.elapsed() < Duration::from_secs(60), "the question never got a vector");
        }
        let ways = ["direct", "off", "miss", "hit", "semantic hit", "semantic miss"];
        let mut samples = vec![Samples::default(); ways.len()];
        for round in 0..rounds {
            for (way, samples) in ways.iter().zip(&mut samples) {
                let fresh = chat("mock", &format!("round {round} of {way}"));
                let begun = Instant::now();
                let answer = match *way {
                    "direct" => mock.send(mock.post_chat(&fresh)).await,
                    "off" => self.ask("off", &fresh).await,
                    "miss" => self.ask("simple", &fresh).await,
                    "hit" => self.ask("simple", &chat("mock", "always the same")).await,
                    "semantic hit" => self.ask("semantic", &chat("mock", AGAIN)).await,
                    _ => self.ask("semantic", &chat("mock", &format!("{QUESTION} Order {round}."))).await,
                };
                samples.push(begun.elapsed());
                ensure!(answer.status == 200, "{way}: {}", answer.text);
                let status = answer.headers.get("x-portkey-cache-status").map_or("", String::as_str);
                let expected = way.to_uppercase();
                ensure!(["direct", "off"].contains(way) || status == expected, "{way} was {status}");
            }
        }
        let row = |(way, samples): (&&'static str, Samples)| {
            let [middle, late] = samples.percentiles_ms([50.0, 99.0]);
            (*way, middle, late)
        };
        Ok(ways.iter().zip(samples).map(row).collect())
    }

    async fn entries(&self) -> u64 {
        self.bus.cache_nodes().await.iter().map(|node| node.entries).sum()
    }

    async fn stores(&self, count: u64) -> anyhow::Result<u64> {
        let before = self.entries().await;
        let begun = Instant::now();
        let asks = (0..count).map(|index| async move {
            self.ask("simple", &chat("mock", &format!("store {index}"))).await;
        });
        futures::stream::iter(asks).buffer_unordered(32).collect::<Vec<()>>().await;
        while self.entries().await < before + count {
            ensure!(begun.elapsed() < Duration::from_secs(120), "not everything was stored");
        }
        // The last question about the entries took half a second of waiting for other nodes.
        Ok((count as f64 / begun.elapsed().saturating_sub(Duration::from_millis(500)).as_secs_f64()) as u64)
    }

    async fn lookups(&self, time: Duration) -> anyhow::Result<u64> {
        let question = Question {
            workspace: Workspace::default(),
            key: "nobody's".to_owned(),
            partition: "nobody's".to_owned(),
            text: None,
            threshold: None,
            max_age: None,
        };
        let begun = Instant::now();
        let asker = || async {
            let mut asked = 0_u64;
            while begun.elapsed() < time {
                self.bus.look_up(&question, Duration::from_secs(5)).await?;
                asked += 1;
            }
            anyhow::Ok(asked)
        };
        let asked = futures::future::try_join_all((0..32).map(|_| asker())).await?;
        Ok((asked.iter().sum::<u64>() as f64 / begun.elapsed().as_secs_f64()) as u64)
    }

    /// The question of rank n is asked 1/n as often as the first. Returns the calls of the provider.
    async fn skewed(&self, requests: u64, questions: u64) -> anyhow::Result<u64> {
        let calls = async || -> anyhow::Result<u64> {
            let bill = self.mock.get("/bill").await;
            bill["models"]["mock"]["calls"].as_u64().context("the mock's bill has no calls")
        };
        let before = calls().await?;
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        let weights: Vec<f64> = (1..=questions).map(|rank| 1.0 / rank as f64).collect();
        let all: f64 = weights.iter().sum();
        let mut draw = || {
            let mut left = random.random::<f64>() * all;
            weights.iter().position(|weight| {
                left -= weight;
                left <= 0.0
            })
        };
        let drawn: Vec<usize> = (0..requests).map(|_| draw().unwrap_or(0)).collect();
        let asks = drawn.into_iter().map(|rank| async move {
            self.ask("simple", &chat("mock", &format!("skewed question {rank}"))).await;
        });
        futures::stream::iter(asks).buffer_unordered(16).collect::<Vec<()>>().await;
        Ok(calls().await? - before)
    }
}
