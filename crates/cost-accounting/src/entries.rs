//! Single rows, page by page, for exports.

use domain::model::NanoUsd;
use domain::spend::{DEFAULT_LIMIT, Entries, EntriesQuery, Entry, Place};
use domain::{Timestamp, Usage};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::line::Value;
use crate::query::{Part, QueryError, Table};
use crate::store::{Statement, count, known, text};

/// Most entries of one page.
const MOST: u32 = 1000;

/// What is read of either table, in the order in which [`entry`] reads it.
const OF_ATTEMPTS: &str = "e.id, e.request, e.ended_at, e.workspace, e.api_key, e.virtual_key, e.provider, e.model, \
     e.model_asked, e.operation, e.lane, e.config, e.user_name, e.status, e.error, e.outcome, e.cache_status, \
     CAST(NULL AS BIGINT), e.counted, e.input, e.output, e.cached_input, e.cache_write, e.cache_write_long, \
     e.reasoning, e.audio_input, e.audio_output, e.images, e.searches, e.cost_nano, e.price, e.tier, e.region, \
     e.estimated, e.duplicate_possible, e.streamed, e.ended_request, e.queued_ms, e.first_byte_ms, e.duration_ms, \
     CAST(NULL AS BIGINT), e.metadata";

const OF_REQUESTS: &str = "e.id, e.id, e.ended_at, e.workspace, e.api_key, e.virtual_key, e.provider, e.model, \
     CAST(NULL AS TEXT), e.operation, e.lane, e.config, e.user_name, e.status, CAST(NULL AS TEXT), e.outcome, \
     e.cache_status, e.saved_nano, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, CAST(NULL AS BIGINT), CAST(NULL AS TEXT), \
     CAST(NULL AS TEXT), CAST(NULL AS TEXT), 0, 0, e.streamed, 1, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), \
     e.total_ms, e.attempts, e.metadata";

/// One page of the rows that are meant.
pub(crate) async fn page(
    on: &mut AnyConnection,
    query: &EntriesQuery,
    through: Timestamp,
) -> Result<Entries, QueryError> {
    let (table, columns) =
        if query.requests { (Table::Requests, OF_REQUESTS) } else { (Table::Attempts, OF_ATTEMPTS) };
    let mut statement = Statement::new("");
    let part = Part::new(&mut statement, table, &query.select, &[])?;
    let behind = match &query.after {
        None => String::new(),
        Some(Place { at, id }) => {
            let at = statement.bind(Value::from(at.0));
            let id = statement.bind(Value::from(id.as_str()));
            format!(" AND (e.ended_at > {at} OR (e.ended_at = {at} AND e.id > {id}))")
        }
    };
    let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit.min(MOST) };
    let source = part.source();
    statement.sql =
        format!("SELECT {columns} {source}{behind} ORDER BY e.ended_at, e.id LIMIT {}", limit + 1);
    let rows = statement.rows(on).await?;
    let entries: sqlx::Result<Vec<Entry>> = rows.iter().take(limit as usize).map(entry).collect();
    let entries = entries?;
    let more = rows.len() > entries.len();
    let next = entries.last().filter(|_| more).map(|last| Place { at: last.at, id: last.id.clone() });
    Ok(Entries { entries, next, through })
}

/// Reads the fields of a row one after the other.
struct Fields<'a> {
    row: &'a AnyRow,
    next: usize,
}

impl Fields<'_> {
    fn place(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    fn text(&mut self) -> sqlx::Result<Option<String>> {
        let place = self.place();
        text(self.row, place)
    }

    fn word(&mut self) -> sqlx::Result<String> {
        Ok(self.text()?.unwrap_or_default())
    }

    fn known(&mut self) -> sqlx::Result<Option<u64>> {
        let place = self.place();
        known(self.row, place)
    }

    fn count(&mut self) -> sqlx::Result<u64> {
        let place = self.place();
        count(self.row, place)
    }

    fn flag(&mut self) -> sqlx::Result<bool> {
        Ok(self.count()? != 0)
    }

    fn usage(&mut self) -> sqlx::Result<Option<Usage>> {
        let counted = self.flag()?;
        let usage = Usage {
            input: self.count()?,
            output: self.count()?,
            cached_input: self.count()?,
            cache_write: self.count()?,
            cache_write_long: self.count()?,
            reasoning: self.count()?,
            audio_input: self.count()?,
            audio_output: self.count()?,
            images: self.count()?,
            searches: self.count()?,
        };
        Ok(counted.then_some(usage))
    }
}

fn entry(row: &AnyRow) -> sqlx::Result<Entry> {
    let mut fields = Fields { row, next: 0 };
    // In the order of the columns above.
    Ok(Entry {
        id: fields.word()?,
        request: fields.word()?,
        at: Timestamp(fields.count()?),
        workspace: fields.word()?,
        api_key: fields.text()?,
        virtual_key: fields.text()?,
        provider: fields.text()?,
        model: fields.text()?,
        model_asked: fields.text()?,
        operation: fields.word()?,
        lane: fields.word()?,
        config: fields.word()?,
        user: fields.text()?,
        status: fields.known()?.and_then(|status| u16::try_from(status).ok()),
        error: fields.text()?,
        outcome: fields.text()?,
        cache_status: fields.text()?,
        saved: fields.known()?.map(NanoUsd),
        usage: fields.usage()?,
        cost: fields.known()?.map(NanoUsd),
        price: fields.text()?,
        tier: fields.text()?,
        region: fields.text()?,
        estimated: fields.flag()?,
        duplicate_possible: fields.flag()?,
        streamed: fields.flag()?,
        last: fields.flag()?,
        queued_ms: fields.known()?,
        first_byte_ms: fields.known()?,
        duration_ms: fields.known()?,
        attempts: fields.known()?,
        metadata: fields.text()?,
    })
}
