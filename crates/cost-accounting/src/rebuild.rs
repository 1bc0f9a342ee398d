//! The books made anew from the events, compared with those that are kept, and put in their place.

use anyhow::Context as _;
use bus::ledger::Rebuilt;
use domain::Event;
use domain::model::NanoUsd;
use sqlx::AnyConnection;

use crate::Ledger;
use crate::line::{ATTEMPTS, Booking, REQUESTS, Value, book};
use crate::store::{Books, Statement, text};

/// Events that are read at a time.
const BATCH: usize = 1000;

/// Rows that differ and are named.
const EXAMPLES: u32 = 10;

/// Makes the books anew, up to what the kept ones have acknowledged; what comes later is in them anyhow.
pub(crate) async fn run(ledger: &Ledger) -> anyhow::Result<Rebuilt> {
    let _alone = ledger.rebuilding.try_lock().context("the books are being made anew already")?;
    let bus = ledger.ctx.bus();
    let extent = bus.event_extent().await?;
    let through = bus.event_position(crate::NAME).await?.floor;
    clear(ledger).await?;
    let events = reread(ledger, extent.first, through).await?;
    let mut done = Rebuilt { through, events, ..Rebuilt::default() };
    let mut change = ledger.store.change().await?;
    let on = &mut *change.transaction;
    done.before = sum(on).await?;
    keep_prices(on).await?;
    let since = extent.since.map_or(u64::MAX, |since| since.0);
    for (table, columns) in [("attempts", ATTEMPTS), ("requests", REQUESTS)] {
        replace(on, table, columns, through, since, &mut done).await?;
    }
    replace_metadata(on).await?;
    done.after = sum(on).await?;
    change.commit().await?;
    clear(ledger).await?;
    Ok(done)
}

async fn clear(ledger: &Ledger) -> anyhow::Result<()> {
    let mut change = ledger.store.change().await?;
    for table in ["attempts", "requests", "metadata"] {
        Statement::new(format!("DELETE FROM rebuilt_{table}")).execute(&mut change.transaction).await?;
    }
    Ok(change.commit().await?)
}

/// Books every event of the stream once more. Returns how many there were.
async fn reread(ledger: &Ledger, first: u64, through: u64) -> anyhow::Result<u64> {
    let mut events = 0;
    let mut next = first.max(1);
    while next <= through {
        let mut reader = ledger.ctx.bus().reread_events(crate::KINDS, next, BATCH).await?;
        let batch = reader.next().await?;
        let Some(last) = batch.last() else { break };
        next = last.sequence + 1;
        let mut bookings: Vec<Booking> = Vec::with_capacity(batch.len());
        for delivery in batch.iter().filter(|delivery| delivery.sequence <= through) {
            // One that cannot be read was put aside when it was first seen.
            if let Ok(event) = serde_json::from_slice::<Event>(delivery.payload()) {
                bookings.push(book(&event, delivery.sequence));
                events += 1;
            }
        }
        ledger.store.book(Books::Rebuilt, bookings).await?;
    }
    Ok(events)
}

async fn sum(on: &mut AnyConnection) -> anyhow::Result<NanoUsd> {
    let sum = Statement::new("SELECT CAST(COALESCE(SUM(cost_nano), 0) AS BIGINT) FROM attempts");
    Ok(NanoUsd(sum.number(on).await?))
}

/// What was priced again by hand is not undone by making the books anew.
async fn keep_prices(on: &mut AnyConnection) -> anyhow::Result<()> {
    let old = |column: &str| format!("(SELECT a.{column} FROM attempts a WHERE a.id = rebuilt_attempts.id)");
    let sql = format!(
        "UPDATE rebuilt_attempts SET cost_nano = {}, price = {}, repriced = 1 \
         WHERE id IN (SELECT id FROM attempts WHERE repriced = 1)",
        old("cost_nano"),
        old("price"),
    );
    Statement::new(sql).execute(on).await?;
    Ok(())
}

/// Compares a table row by row, and makes it what its new version says.
async fn replace(
    on: &mut AnyConnection,
    table: &str,
    columns: &[&str],
    through: u64,
    since: u64,
    done: &mut Rebuilt,
) -> anyhow::Result<()> {
    let unlike: Vec<String> = columns.iter().map(|c| format!("o.{c} IS DISTINCT FROM n.{c}")).collect();
    // What was booked beyond `through` meanwhile is as new as it can be.
    let with = |sql: &str| {
        let mut statement = Statement::new(sql);
        statement.bind(Value::from(through));
        statement
    };
    let missing = format!(
        "FROM rebuilt_{table} n WHERE NOT EXISTS (SELECT 1 FROM {table} o WHERE o.id = n.id) AND n.sequence <= $1"
    );
    let different = format!(
        "FROM rebuilt_{table} n JOIN {table} o ON o.id = n.id WHERE o.sequence <= $1 AND ({})",
        unlike.join(" OR ")
    );
    let unheard = format!(
        "FROM {table} o WHERE o.sequence <= $1 AND NOT EXISTS (SELECT 1 FROM rebuilt_{table} n WHERE n.id = o.id)"
    );
    let extra = format!("{unheard} AND o.ended_at >= $2");
    for (what, found) in [("missing", &missing), ("different", &different)] {
        for row in with(&format!("SELECT n.id {found} ORDER BY n.id LIMIT {EXAMPLES}")).rows(on).await? {
            done.examples.push(format!("{what} in {table}: {}", text(&row, 0)?.unwrap_or_default()));
        }
    }
    done.rows += Statement::new(format!("SELECT COUNT(*) FROM rebuilt_{table}")).number(on).await?;
    done.missing += with(&format!("SELECT COUNT(*) {missing}")).number(on).await?;
    done.different += with(&format!("SELECT COUNT(*) {different}")).number(on).await?;
    let mut older = with(&format!("SELECT COUNT(*) {unheard} AND o.ended_at < $2"));
    older.bind(Value::from(since));
    done.kept += older.number(on).await?;
    let mut delete = with(&format!("DELETE FROM {table} WHERE id IN (SELECT o.id {extra})"));
    delete.bind(Value::from(since));
    done.extra += delete.execute(on).await?;
    with(&format!("DELETE FROM {table} WHERE id IN (SELECT n.id {different})")).execute(on).await?;
    let list = columns.join(", ");
    with(&format!("INSERT INTO {table} ({list}) SELECT {list} {missing}")).execute(on).await?;
    Ok(())
}

async fn replace_metadata(on: &mut AnyConnection) -> anyhow::Result<()> {
    let unlike = "SELECT COUNT(*) FROM (SELECT request, name, value FROM rebuilt_metadata \
                  EXCEPT SELECT request, name, value FROM metadata) x";
    if Statement::new(unlike).number(on).await? == 0 {
        return Ok(());
    }
    let delete = "DELETE FROM metadata WHERE request IN (SELECT request FROM rebuilt_metadata)";
    Statement::new(delete).execute(on).await?;
    let insert =
        "INSERT INTO metadata (request, name, value) SELECT request, name, value FROM rebuilt_metadata";
    Statement::new(insert).execute(on).await?;
    Ok(())
}
