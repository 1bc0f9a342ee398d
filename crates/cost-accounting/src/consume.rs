//! Events into the books: taken in batches, booked in one transaction, acknowledged after it.

use std::time::Duration;

use bus::events::EventReader;
use bus::work::Delivery;
use domain::Event;
use telemetry::metric::{LEDGER_BATCH_SECONDS, LEDGER_EVENTS, LEDGER_LAG, LEDGER_LAG_SECONDS};
use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use crate::Ledger;
use crate::line::{Booking, book};
use crate::store::Books;

/// Waits between tries to reach the broker or the database.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);

/// How often an operator is told that the database is still away.
const REMIND: Duration = Duration::from_secs(60);

/// How often it is measured how far the books are behind.
const MEASURE: Duration = Duration::from_secs(5);

/// Takes events until the role is told to stop.
pub(crate) async fn run(ledger: &Ledger) {
    let mut wait = SHORTEST;
    while !ledger.ctx.draining().is_cancelled() {
        ledger.ctx.bus().wait_up().await;
        let ended = match ledger.ctx.bus().event_reader(crate::NAME, crate::KINDS, ledger.batch).await {
            Ok(reader) => follow(ledger, reader, &mut wait).await,
            Err(err) => Err(err),
        };
        if let Err(err) = ended {
            debug!(err = format!("{err:#}"), "could not take events; trying again");
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST);
        }
    }
}

async fn follow(ledger: &Ledger, mut reader: EventReader, wait: &mut Duration) -> anyhow::Result<()> {
    loop {
        let batch = tokio::select! {
            () = ledger.ctx.draining().cancelled() => return Ok(()),
            batch = reader.next() => batch?,
        };
        *wait = SHORTEST;
        if !batch.is_empty() && !settle(ledger, batch).await {
            return Ok(());
        }
    }
}

/// Books a batch and acknowledges it. Returns whether that was done before the role had to stop.
async fn settle(ledger: &Ledger, batch: Vec<Delivery>) -> bool {
    let begun = Instant::now();
    let mut good = Vec::with_capacity(batch.len());
    for delivery in batch {
        match serde_json::from_slice::<Event>(delivery.payload()) {
            Ok(event) => good.push((delivery, event)),
            Err(err) => put_aside(ledger, &delivery, &err.to_string()).await,
        }
    }
    let bookings =
        || good.iter().map(|(delivery, event)| book(event, delivery.sequence)).collect::<Vec<Booking>>();
    let mut wait = SHORTEST;
    let mut told: Option<Instant> = None;
    let away = Instant::now();
    // Nothing more is taken meanwhile: what waits is safe on the broker.
    while let Err(err) = ledger.store.book(Books::Kept, bookings()).await {
        if told.is_none_or(|told| told.elapsed() > REMIND) {
            let (events, database) = (good.len(), &ledger.database);
            error!(%err, events, %database, "the ledger cannot be written; events wait on the broker until it can");
            told = Some(Instant::now());
        }
        tokio::select! {
            () = ledger.ctx.draining().cancelled() => return false,
            () = sleep(wait) => wait = (wait * 2).min(LONGEST),
        }
    }
    if told.is_some() {
        info!(away = ?away.elapsed(), "the ledger can be written again");
    }
    for (delivery, _) in &good {
        delivery.ack().await;
    }
    metrics::counter!(LEDGER_EVENTS).increment(good.len() as u64);
    metrics::histogram!(LEDGER_BATCH_SECONDS).record(begun.elapsed().as_secs_f64());
    true
}

/// What cannot be read cannot be booked; an operator has to look at it.
async fn put_aside(ledger: &Ledger, delivery: &Delivery, reason: &str) {
    warn!(sequence = delivery.sequence, reason, "an event cannot be read and is put aside");
    let keep = |_: &str, value: &str| Some(value.to_owned());
    match ledger.ctx.bus().dead_letter(crate::NAME, delivery, reason, keep, &[]).await {
        Ok(_) => delivery.ack().await,
        // It comes back.
        Err(err) => warn!(%err, "could not put an event aside; it will be tried again"),
    }
}

/// Measures how far the books are behind, for as long as the role runs.
pub(crate) async fn measure(ledger: std::sync::Arc<Ledger>) {
    loop {
        sleep(MEASURE).await;
        let bus = ledger.ctx.bus();
        if let Ok(position) = bus.event_position(crate::NAME).await {
            let late = bus.clock().now().since(position.through);
            metrics::gauge!(LEDGER_LAG).set(position.behind as f64);
            metrics::gauge!(LEDGER_LAG_SECONDS).set(late.as_secs_f64());
        }
    }
}
