//! What it costs every process to hold the stored policy: start-up time, memory, lookups.

use std::fmt;
use std::time::Instant;

use anyhow::Context as _;
use bus::Bus;
use bus::identity::{authenticate, hash};
use bus::policy::PolicyView;
use domain::policy::{ApiKey, Key};
use domain::{Slug, Timestamp, Workspace};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde_json::{Value, json};

use super::process::Process;
use crate::harness::{Broker, Observer};

/// Records written at once while the store is filled.
const WRITERS: usize = 256;

/// Changes whose way into another process is timed.
const CHANGES: usize = 200;

/// Lookups that a figure is the mean of.
const LOOKUPS: usize = 100_000;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyReport {
    /// Configs, each with one version.
    pub configs: usize,
    /// API keys.
    pub api_keys: usize,
    /// Seconds for reading everything from the broker into the index.
    pub load_seconds: f64,
    /// What the process's resident memory grew by, in megabytes.
    pub memory_mb: f64,
    /// Microseconds for authenticating one API key, hashing included.
    pub authenticate_us: f64,
    /// Microseconds for finding one config with its version.
    pub config_us: f64,
    /// Milliseconds from storing a change to its being in force on another connection: median, and slowest of all.
    pub live_ms: (f64, f64),
}

impl fmt::Display for PolicyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} configs and {} API keys", self.configs, self.api_keys)?;
        writeln!(f, "  load          {:>8.2} s", self.load_seconds)?;
        writeln!(f, "  memory        {:>8.0} MB", self.memory_mb)?;
        writeln!(f, "  authenticate  {:>8.2} us", self.authenticate_us)?;
        writeln!(f, "  find a config {:>8.2} us", self.config_us)?;
        writeln!(f, "  change live   {:>8.2} ms, at most {:.2}", self.live_ms.0, self.live_ms.1)
    }
}

/// Fills a broker of its own, then loads it as a process does that starts.
pub async fn run(configs: usize, api_keys: usize) -> anyhow::Result<PolicyReport> {
    let dir = tempfile::tempdir().context("make a directory for the broker")?;
    let broker = Broker::start(dir.path().to_owned());
    let bus = Observer::connect(&broker.url()).await.bus(&broker.url()).await;
    bus.ensure_streams().await?;
    fill(&bus, configs, api_keys).await?;

    let process = Process { name: "bench".to_owned(), pid: std::process::id() };
    let before = process.rss_mb().context("read this process's memory")?;
    let view = PolicyView::default();
    let begun = Instant::now();
    bus.load_policy(&view).await?;
    let load_seconds = begun.elapsed().as_secs_f64();
    let memory_mb = process.rss_mb().context("read this process's memory")? - before;
    let authenticate_us = mean(|n| {
        let text = ApiKey::text(&key_id(n % api_keys), &secret(n % api_keys));
        view.read(|policy| authenticate(policy, &text, Timestamp(1)).is_ok())
    })?;
    let config_us = mean(|n| {
        let slug = config_slug(n % configs);
        view.read(|policy| policy.config(&Workspace::default(), &slug).is_some())
    })?;
    let live_ms = live(&bus, &broker.url(), view).await?;
    Ok(PolicyReport { configs, api_keys, load_seconds, memory_mb, authenticate_us, config_us, live_ms })
}

/// Changes one record again and again, and waits for each to be in force on a connection of its own.
async fn live(bus: &Bus, url: &str, view: PolicyView) -> anyhow::Result<(f64, f64)> {
    let elsewhere = Observer::connect(url).await.bus(url).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let following = tokio::spawn(elsewhere.follow_policy(view.clone(), stop.clone()));
    let workspace = Workspace::parse("bench")?;
    let key = Key::Workspace(workspace.clone());
    let (mut sequence, mut took) = (0, Vec::new());
    for n in 0..=CHANGES {
        let stamp = json!({ "at": n, "by": "bench" });
        let record = json!({ "slug": workspace, "name": format!("{n}"), "created": stamp, "updated": stamp });
        let begun = Instant::now();
        sequence = bus.put_policy(&key, record.to_string().into(), sequence).await?;
        let mut changes = view.changes();
        changes.wait_for(|applied| *applied >= sequence).await?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    stop.cancel();
    following.await?;
    // The first one may have waited for the subscription.
    took.remove(0);
    took.sort_by(f64::total_cmp);
    Ok((took[took.len() / 2], took[took.len() - 1]))
}

/// Microseconds per lookup.
fn mean(look: impl Fn(usize) -> bool) -> anyhow::Result<f64> {
    let begun = Instant::now();
    // Neighbours in the store are not neighbours in the index: a stride visits them in another order.
    let found = (0..LOOKUPS).filter(|n| look(n * 7919)).count();
    anyhow::ensure!(found == LOOKUPS, "only {found} of {LOOKUPS} lookups found something");
    Ok(begun.elapsed().as_secs_f64() * 1e6 / LOOKUPS as f64)
}

fn config_slug(n: usize) -> Slug {
    Slug::parse(&format!("pc-{n}")).expect("digits make a slug")
}

fn key_id(n: usize) -> Slug {
    Slug::parse(&format!("k{n}")).expect("digits make a slug")
}

fn secret(n: usize) -> String {
    format!("{n:064x}")
}

async fn fill(bus: &Bus, configs: usize, api_keys: usize) -> anyhow::Result<()> {
    let stamp = json!({ "at": 1, "by": "bench" });
    let home = Workspace::default();
    let of_config = |n: usize| {
        let slug = config_slug(n);
        let target =
            json!({ "provider": "openai", "override_params": { "model": "gpt-4o", "temperature": 0.5 } });
        let document = json!({ "strategy": { "mode": "fallback" }, "targets": [target, target, target] });
        let version =
            json!({ "slug": slug, "workspace": home, "version": 1, "document": document, "created": stamp });
        let head = json!({
            "slug": slug, "workspace": home, "name": "c", "version": 1, "latest": 1, "created": stamp, "updated": stamp,
        });
        [(Key::Version(home.clone(), slug.clone(), 1), version), (Key::Config(home.clone(), slug), head)]
    };
    let of_key = |n: usize| {
        let record = json!({
            "id": key_id(n), "kind": "workspace-service", "workspace": home, "name": "application",
            "hash": hash(&secret(n)), "scopes": ["completions.write", "models.list"],
            "created": stamp, "updated": stamp,
        });
        (Key::ApiKey(key_id(n)), record)
    };
    let records = (0..configs).flat_map(of_config).chain((0..api_keys).map(of_key));
    let store = |(key, record): (Key, Value)| async move {
        bus.put_policy(&key, record.to_string().into(), 0).await.map(|_| ())
    };
    let stored = futures::stream::iter(records).map(store).buffer_unordered(WRITERS);
    stored.try_collect::<()>().await.context("fill the store")
}
