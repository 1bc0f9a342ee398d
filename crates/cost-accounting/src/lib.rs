//! Keeps the ledger: what every attempt and request took and cost, in SQL, from the events that tell of them.
//!
//! A side reader: it may lag, stop or be rebuilt without slowing a request. A line is keyed by the attempt's or the
//! request's id, and an event is acknowledged after the commit, so that repeating anything changes nothing.

mod check;
mod consume;
mod door;
mod entries;
mod lease;
mod line;
mod options;
mod query;
mod rebuild;
mod reprice;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use anyhow::Context as _;
use domain::event::Kind;
use role::Ctx;
use tracing::{error, info, warn};

use crate::lease::Lease;
pub use crate::options::{Database, Options};
use crate::store::{Statement, Store};

/// The crate's name is the role's name, everywhere.
pub const NAME: &str = env!("CARGO_PKG_NAME");

/// The events that are booked.
const KINDS: &[Kind] = &[Kind::AttemptFinished, Kind::RequestFinished];

/// How long to wait before a database that could not be opened is tried again.
const OPEN_AGAIN: std::time::Duration = std::time::Duration::from_secs(3);

/// The books and what is needed to keep them.
struct Ledger {
    ctx: Ctx,
    store: Store,
    database: Database,
    batch: usize,
    rebuilding: tokio::sync::Mutex<()>,
}

/// Runs until shutdown. Fails if the books cannot be opened, or if another process keeps those in a file.
pub async fn run(ctx: Ctx, options: Options) -> anyhow::Result<()> {
    let database = options.database;
    let Some(store) = open(&ctx, &database).await? else { return Ok(()) };
    let mut lease = match store.is_file() {
        true => Some(Lease::take(ctx.bus(), &database).await?),
        false => None,
    };
    info!(%database, "the ledger is open");
    let rebuilding = tokio::sync::Mutex::new(());
    let ledger =
        Arc::new(Ledger { ctx: ctx.clone(), store, database, batch: options.batch.max(1), rebuilding });
    ledger.compare_with_the_stream().await;
    let ended = tokio::select! {
        ended = serve(&ledger) => ended,
        () = consume::run(&ledger) => Ok(()),
        lost = keep(lease.as_mut()) => Err(lost),
    };
    ctx.finish().await;
    if let (Some(lease), Ok(())) = (lease, &ended) {
        lease.give_back().await;
    }
    ended
}

/// Opens the database, and waits for one that is elsewhere. None: the role was told to stop meanwhile.
async fn open(ctx: &Ctx, database: &Database) -> anyhow::Result<Option<Store>> {
    loop {
        match Store::open(database).await {
            Ok(store) => return Ok(Some(store)),
            Err(err) if matches!(database, Database::File(_)) => return Err(err),
            Err(err) => {
                error!(
                    err = format!("{err:#}"),
                    "the ledger cannot be opened; events wait on the broker until it can"
                );
            }
        }
        tokio::select! {
            () = ctx.draining().cancelled() => return Ok(None),
            () = tokio::time::sleep(OPEN_AGAIN) => {}
        }
    }
}

async fn keep(lease: Option<&mut Lease>) -> anyhow::Error {
    match lease {
        Some(lease) => lease.keep().await,
        None => std::future::pending().await,
    }
}

/// Answers questions until the role is told to stop.
async fn serve(ledger: &Arc<Ledger>) -> anyhow::Result<()> {
    let ctx = &ledger.ctx;
    // Questions ask for the reader's position, so it has to be there first.
    ctx.bus().event_reader(NAME, KINDS, ledger.batch).await.context("set up the reader of events")?;
    let mut service = ctx.bus().serve_ledger(env!("CARGO_PKG_VERSION")).await?;
    ctx.helper("lag", consume::measure(Arc::clone(ledger)));
    while let Some(question) = service.next().await {
        ctx.job(Arc::clone(ledger).answer(question));
    }
    // The consumer ends when the role is told to stop.
    std::future::pending().await
}

impl Ledger {
    /// Warns about books that lack what was acknowledged, as after a lost file.
    async fn compare_with_the_stream(&self) {
        let Ok(position) = self.ctx.bus().event_position(NAME).await else { return };
        let Ok(mut reading) = self.store.reading().await else { return };
        let lines = Statement::new("SELECT COUNT(*) FROM (SELECT 1 FROM requests LIMIT 1) x");
        if position.floor > 0 && lines.number(&mut reading).await.is_ok_and(|lines| lines == 0) {
            warn!(
                database = %self.database,
                "the books are empty although events were booked before: another file or database? \
                 `pointsman ledger rebuild` makes them anew from the events that are left"
            );
        }
    }
}
