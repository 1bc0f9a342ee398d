//! How many events the ledger books in a second, and how far it is behind while they come at a rate.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::event::{End, Kind};
use domain::model::NanoUsd;
use domain::{Attempt, AttemptId, Event, RequestId, Timestamp, Usage, outcome};
use serde::Serialize;

use crate::harness::process::Start;
use crate::harness::{Broker, Observer, Postgres};

/// The role that keeps the ledger, and its reader of events.
const ROLE: &str = "cost-accounting";

/// What was measured on one database.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The database.
    pub database: &'static str,
    /// Events that waited when the ledger began.
    pub events: u64,
    /// Booked in a second while it caught up.
    pub events_per_second: u64,
    /// Events that were then published in a second.
    pub rate: u64,
    /// Most events that were not booked yet meanwhile.
    pub most_behind: u64,
    /// Longest that an event was not booked yet meanwhile.
    pub longest_ms: u64,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { database, events, events_per_second, rate, most_behind, longest_ms } = self;
        writeln!(
            f,
            "{database:<10} {events_per_second:>6} events/s of {events} that waited; at {rate} events/s at most \
             {most_behind} behind, {longest_ms} ms"
        )
    }
}

/// Measures both databases. `binary` is the `pointsman` command; None: it is built as it is released.
pub async fn run(
    binary: Option<&Path>,
    events: u64,
    rate: u64,
    seconds: u64,
) -> anyhow::Result<Vec<Measured>> {
    let binary = match binary {
        Some(binary) => binary.to_owned(),
        None => super::gateway::build().await?,
    };
    let binary = &binary.display().to_string();
    let postgres = tokio::task::block_in_place(Postgres::start);
    let mut all = Vec::new();
    for (database, url) in [("sqlite", String::new()), ("postgres", postgres.database("ledger"))] {
        let dir = tempfile::tempdir().context("create a directory")?;
        all.push(measure(binary, dir.path(), database, &url, events, (rate, seconds)).await?);
    }
    Ok(all)
}

async fn measure(
    binary: &str,
    dir: &Path,
    database: &'static str,
    url: &str,
    events: u64,
    (rate, seconds): (u64, u64),
) -> anyhow::Result<Measured> {
    let broker = tokio::task::block_in_place(|| Broker::start(dir.join("nats")));
    let observer = Observer::connect(&broker.url()).await;
    let bus = observer.bus(&broker.url()).await;
    bus.ensure_streams().await?;
    publish(&observer, 0..events).await?;
    let data = dir.join("data").display().to_string();
    let arguments = ["run", ROLE, "--nats", &broker.url(), "--data-dir", &data];
    let start = Start::new(binary, dir, &arguments).set("ledger.url", &format!("\"{url}\""));
    let begun = Instant::now();
    let _role = tokio::task::block_in_place(|| start.ready());
    // Counted from the first booked event on: starting the process is not booking.
    let mut first: Option<(Instant, u64)> = None;
    let caught_up = loop {
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(600), "the ledger did not catch up");
        if let Ok(position) = bus.event_position(ROLE).await {
            if position.behind == 0 {
                break Instant::now();
            }
            if first.is_none() && position.behind < events {
                first = Some((Instant::now(), position.behind));
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let (since, left) = first.unwrap_or((begun, events));
    let took = caught_up.duration_since(since).as_secs_f64().max(0.001);
    let (most_behind, longest_ms) = under_load(&observer, &bus, events, rate, seconds).await?;
    let events_per_second = (left as f64 / took) as u64;
    Ok(Measured { database, events, events_per_second, rate, most_behind, longest_ms })
}

/// Publishes at a rate and looks how far the ledger is behind.
async fn under_load(
    observer: &Observer,
    bus: &bus::Bus,
    from: u64,
    rate: u64,
    seconds: u64,
) -> anyhow::Result<(u64, u64)> {
    let (mut most_behind, mut longest_ms) = (0, 0);
    let begun = Instant::now();
    for tick in 0..seconds * 20 {
        let at = from + tick * rate / 20;
        publish(observer, at..from + (tick + 1) * rate / 20).await?;
        let position = bus.event_position(ROLE).await?;
        most_behind = most_behind.max(position.behind);
        let late = bus.clock().now().since(position.through);
        longest_ms = longest_ms.max(domain::time::millis(late));
        let next = begun + Duration::from_millis((tick + 1) * 50);
        tokio::time::sleep_until(next.into()).await;
    }
    Ok((most_behind, longest_ms))
}

async fn publish(observer: &Observer, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
    let mut acknowledged = Vec::new();
    for number in numbers {
        let event = event(number)?;
        let subject = bus::subject::event(&event.workspace, event.kind);
        let payload = bytes::Bytes::from(serde_json::to_vec(&event)?);
        acknowledged.push(observer.js().publish(subject, payload).await?);
        if acknowledged.len() == 500 {
            for ack in acknowledged.drain(..) {
                ack.await?;
            }
        }
    }
    for ack in acknowledged {
        ack.await?;
    }
    Ok(())
}

/// A request that was answered at the first attempt.
fn event(number: u64) -> anyhow::Result<Event> {
    let request = RequestId::parse(&format!("bench-{number}"))?;
    let at = crate::crash::now();
    let attempt = Attempt {
        status: Some(200),
        model: Some("gpt-4o".to_owned()),
        usage: Some(Usage { input: 1000, output: 100, ..Usage::default() }),
        cost: Some(NanoUsd(3_500_000)),
        price: Some("bench".to_owned()),
        ..Attempt::new(1, "config", "openai", Timestamp(at.0.saturating_sub(800)), at)
    };
    let end = End { outcome: outcome::Kind::Answered, status: 200 };
    let event = serde_json::json!({
        "v": domain::event::VERSION,
        "id": format!("{request}.1.finished"),
        "kind": Kind::AttemptFinished,
        "at": at,
        "request": request,
        "workspace": "default",
        "causation": request,
        "operation": "chat",
        "lane": "interactive",
        "config": "bench",
        "user": format!("user-{}", number % 100),
        "metadata": format!(r#"{{"team":"team-{}"}}"#, number % 10),
        "attempt_id": AttemptId::new(request.clone(), 1),
        "attempt": attempt,
        "final": true,
        "outcome": end.outcome,
        "status": end.status,
        "total_ms": 800,
    });
    Ok(serde_json::from_value(event)?)
}
