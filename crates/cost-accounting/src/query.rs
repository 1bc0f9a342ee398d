//! Questions as statements, and rows as answers.

use std::collections::BTreeMap;

use domain::Timestamp;
use domain::model::NanoUsd;
use domain::spend::{
    DEFAULT_LIMIT, Dimension, Interval, Latency, MAX_KEYS, MAX_LIMIT, Order, Query, Report, Row, Selection,
    label, parse_label,
};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::line::{Value, answered};
use crate::store::{Statement, count, known, text};

/// Why a question is not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("at most {MAX_KEYS} dimensions can be grouped by at once; this question has {0}")]
    TooManyKeys(usize),
    #[error("`{value}` is no {interval}: write its beginning as the answers do, as in `{example}`")]
    NoTime { value: String, interval: Interval, example: String },
    #[error("the ledger's database failed: {0}")]
    Database(#[from] sqlx::Error),
}

/// Which of the two tables a part of a statement reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Attempts,
    Requests,
}

const DAY: u64 = 86_400_000;

/// A statement's keys and conditions on one table.
pub(crate) struct Part {
    keys: Vec<String>,
    from: String,
    condition: String,
}

impl Part {
    /// Keys, tables and conditions; what the question says is bound to `statement`.
    pub(crate) fn new(
        statement: &mut Statement,
        table: Table,
        select: &Selection,
        keys: &[Dimension],
    ) -> Result<Self, QueryError> {
        let mut joins = Joins::default();
        let keys = keys.iter().map(|key| joins.expression(statement, table, key)).collect();
        let mut conditions = Vec::new();
        if let Some(since) = select.since {
            conditions.push(format!("e.ended_at >= {}", statement.bind(Value::from(since.0))));
        }
        if let Some(until) = select.until {
            conditions.push(format!("e.ended_at < {}", statement.bind(Value::from(until.0))));
        }
        if let Some(workspace) = &select.workspace {
            conditions.push(format!("e.workspace = {}", statement.bind(Value::from(workspace.as_str()))));
        }
        for (dimension, values) in &select.filters {
            let expression = joins.expression(statement, table, dimension);
            let values: Result<Vec<String>, QueryError> = values
                .iter()
                .map(|value| Ok(statement.bind(Value::from(&*stored(dimension, value)?))))
                .collect();
            let values = values?;
            conditions.push(match values.is_empty() {
                true => "1 = 0".to_owned(),
                false => format!("{expression} IN ({})", values.join(", ")),
            });
        }
        let condition = if conditions.is_empty() { "1 = 1".to_owned() } else { conditions.join(" AND ") };
        let name = if table == Table::Attempts { "attempts" } else { "requests" };
        Ok(Self { keys, from: format!("{name} e{}", joins.sql), condition })
    }

    /// Where the rows come from, and which ones.
    pub(crate) fn source(&self) -> String {
        format!("FROM {} WHERE {}", self.from, self.condition)
    }

    /// `… AS k0, … AS k1, `
    fn named_keys(&self) -> String {
        self.keys.iter().enumerate().map(|(n, key)| format!("{key} AS k{n}, ")).collect()
    }
}

/// Joins with the metadata, one for each key of it.
#[derive(Default)]
struct Joins {
    sql: String,
    count: usize,
}

impl Joins {
    fn expression(&mut self, statement: &mut Statement, table: Table, dimension: &Dimension) -> String {
        let column = match dimension {
            Dimension::Workspace => "e.workspace",
            Dimension::ApiKey => "e.api_key",
            Dimension::VirtualKey => "e.virtual_key",
            Dimension::Provider => "e.provider",
            Dimension::Model => "e.model",
            Dimension::Operation => "e.operation",
            Dimension::Config => "e.config",
            Dimension::User => "e.user_name",
            Dimension::CacheStatus => "e.cache_status",
            Dimension::Status => return "CAST(e.status AS TEXT)".to_owned(),
            Dimension::Time(Interval::Hour) => return span("e.ended_at - e.ended_at % 3600000"),
            Dimension::Time(Interval::Day) => return span("e.ended_at - e.ended_at % 86400000"),
            // 1970 began on a Thursday: the first Monday is four days later.
            Dimension::Time(Interval::Week) => {
                let back = format!("(e.ended_at + {}) % {}", 3 * DAY, 7 * DAY);
                return span(&format!("e.ended_at - {back}"));
            }
            Dimension::Time(Interval::Month) => return span("e.month_at"),
            Dimension::Metadata(name) => return self.metadata(statement, table, name),
        };
        column.to_owned()
    }

    fn metadata(&mut self, statement: &mut Statement, table: Table, name: &str) -> String {
        let alias = format!("m{}", self.count);
        self.count += 1;
        let request = if table == Table::Attempts { "e.request" } else { "e.id" };
        let name = statement.bind(Value::from(name));
        self.sql.push_str(&format!(
            " LEFT JOIN metadata {alias} ON {alias}.request = {request} AND {alias}.name = {name}"
        ));
        format!("{alias}.value")
    }
}

fn span(begin: &str) -> String {
    format!("CAST({begin} AS TEXT)")
}

/// A value of a filter as the books hold it.
fn stored(dimension: &Dimension, value: &str) -> Result<String, QueryError> {
    let Dimension::Time(interval) = dimension else { return Ok(value.to_owned()) };
    let no_time = || QueryError::NoTime {
        value: value.to_owned(),
        interval: *interval,
        example: label(Timestamp(1_795_219_200_000), *interval),
    };
    parse_label(value, *interval).map(|at| at.0.to_string()).ok_or_else(no_time)
}

/// A key as answers name it.
fn named(dimension: &Dimension, value: Option<String>) -> Option<String> {
    match (dimension, value) {
        (Dimension::Time(interval), Some(value)) => {
            Some(value.parse().map_or(value, |at| label(Timestamp(at), *interval)))
        }
        (_, value) => value,
    }
}

/// What is summed: name, on attempts, on requests. The order is that of [`Row::sums`], then cost and savings.
fn sums() -> Vec<(&'static str, String, String)> {
    let zero = || "0".to_owned();
    let attempts = |name, expression: &str| (name, expression.to_owned(), zero());
    let requests = |name, expression: String| (name, zero(), expression);
    let answered = answered();
    vec![
        requests("requests", "1".to_owned()),
        attempts("attempts", "1"),
        requests("errors", format!("CASE WHEN e.outcome = '{answered}' THEN 0 ELSE 1 END")),
        requests(
            "rescued",
            format!("CASE WHEN e.outcome = '{answered}' AND e.attempts > 1 THEN 1 ELSE 0 END"),
        ),
        requests(
            "cache_hits",
            "CASE WHEN e.cache_status IN ('hit', 'semantic_hit') THEN 1 ELSE 0 END".to_owned(),
        ),
        attempts("input_tokens", "e.input"),
        attempts("output_tokens", "e.output"),
        attempts("cached_input_tokens", "e.cached_input"),
        attempts("cache_write_tokens", "e.cache_write"),
        attempts("cache_write_long_tokens", "e.cache_write_long"),
        attempts("reasoning_tokens", "e.reasoning"),
        attempts("audio_input_tokens", "e.audio_input"),
        attempts("audio_output_tokens", "e.audio_output"),
        attempts("images", "e.images"),
        attempts("searches", "e.searches"),
        attempts("unknown_cost_attempts", UNKNOWN),
        attempts("estimated_attempts", "e.estimated"),
        attempts("duplicate_possible_attempts", "e.duplicate_possible"),
        attempts("cost", "COALESCE(e.cost_nano, 0)"),
        requests("saved", "COALESCE(e.saved_nano, 0)".to_owned()),
    ]
}

/// 1 for attempts that took something at a price that is not known.
pub(crate) const UNKNOWN: &str =
    "CASE WHEN e.cost_nano IS NULL AND e.input + e.output + e.images + e.searches > 0 THEN 1 ELSE 0 END";

/// Answers a question. All of it is of one moment if `on` is a transaction of [`crate::store::Store::reading`].
pub(crate) async fn report(
    on: &mut AnyConnection,
    query: &Query,
    through: Timestamp,
) -> Result<Report, QueryError> {
    let keys = query.dimensions();
    if keys.len() > MAX_KEYS {
        return Err(QueryError::TooManyKeys(keys.len()));
    }
    let total = groups(on, query, &[]).await?.0.into_iter().next().unwrap_or_default();
    let (rows, groups) =
        if keys.is_empty() { (vec![total.clone()], 1) } else { groups(on, query, &keys).await? };
    let mut report = Report { rows, total, groups, through };
    if query.latency {
        let latencies = latencies(on, query, &keys).await?;
        for row in &mut report.rows {
            row.latency_ms = latencies.get(&row.keys).copied();
        }
        report.total.latency_ms = latencies_of_all(on, query).await?;
    }
    Ok(report)
}

async fn latencies_of_all(on: &mut AnyConnection, query: &Query) -> Result<Option<Latency>, QueryError> {
    Ok(latencies(on, query, &[]).await?.into_values().next())
}

/// Sums by group, and how many groups there are without the limit.
async fn groups(
    on: &mut AnyConnection,
    query: &Query,
    keys: &[Dimension],
) -> Result<(Vec<Row>, u64), QueryError> {
    let sums = sums();
    let mut statement = Statement::new("");
    let attempts = Part::new(&mut statement, Table::Attempts, &query.select, keys)?;
    let requests = Part::new(&mut statement, Table::Requests, &query.select, keys)?;
    let list = |of: fn(&(&str, String, String)) -> String| sums.iter().map(of).collect::<Vec<_>>().join(", ");
    let of_attempts = list(|(name, attempts, _)| format!("{attempts} AS {name}"));
    let of_requests = list(|(name, _, requests)| format!("{requests} AS {name}"));
    let summed = list(|(name, ..)| format!("CAST(COALESCE(SUM({name}), 0) AS BIGINT) AS {name}"));
    let names: Vec<String> = (0..keys.len()).map(|n| format!("k{n}")).collect();
    let comma = if names.is_empty() { "" } else { ", " };
    let names_list = names.join(", ");
    let grouped = if names.is_empty() { String::new() } else { format!(" GROUP BY {names_list}") };
    let order = order_of(query.order, &names);
    let (limit, offset) = if names.is_empty() { (1, 0) } else { (limit_of(query.limit), query.offset) };
    statement.sql = format!(
        "SELECT {names_list}{comma}{summed}, CAST(COUNT(*) OVER () AS BIGINT) FROM (\
         SELECT {}{of_attempts} {} UNION ALL SELECT {}{of_requests} {}) x{grouped} \
         ORDER BY {order} LIMIT {limit} OFFSET {offset}",
        attempts.named_keys(),
        attempts.source(),
        requests.named_keys(),
        requests.source(),
    );
    let rows = statement.rows(on).await?;
    let last = keys.len() + sums.len();
    let groups = rows.first().map_or(Ok(0), |row| count(row, last))?;
    let rows: sqlx::Result<Vec<Row>> = rows.iter().map(|row| read(row, keys)).collect();
    Ok((rows?, groups))
}

fn limit_of(asked: u32) -> u32 {
    if asked == 0 { DEFAULT_LIMIT } else { asked.min(MAX_LIMIT) }
}

fn order_of(order: Order, names: &[String]) -> String {
    let by = match order {
        Order::Cost => Some("cost DESC"),
        Order::Requests => Some("requests DESC"),
        Order::Attempts => Some("attempts DESC"),
        Order::Tokens => Some("input_tokens DESC, output_tokens DESC"),
        Order::Keys => None,
    };
    let by = by.map(str::to_owned);
    let keys = names.iter().map(|name| format!("{name} NULLS LAST"));
    let all: Vec<String> = by.into_iter().chain(keys).collect();
    if all.is_empty() { "1".to_owned() } else { all.join(", ") }
}

fn read_keys(row: &AnyRow, keys: &[Dimension]) -> sqlx::Result<Vec<(String, Option<String>)>> {
    let key = |(place, dimension): (usize, &Dimension)| {
        Ok((dimension.to_string(), named(dimension, text(row, place)?)))
    };
    keys.iter().enumerate().map(key).collect()
}

fn read(row: &AnyRow, keys: &[Dimension]) -> sqlx::Result<Row> {
    let mut read = Row { keys: read_keys(row, keys)?, ..Row::default() };
    let mut place = keys.len();
    for sum in read.sums_mut() {
        *sum = count(row, place)?;
        place += 1;
    }
    read.cost = NanoUsd(count(row, place)?);
    read.saved = NanoUsd(count(row, place + 1)?);
    Ok(read)
}

/// How long requests took, by group. By nearest rank, which both databases can say.
async fn latencies(
    on: &mut AnyConnection,
    query: &Query,
    keys: &[Dimension],
) -> Result<BTreeMap<Vec<(String, Option<String>)>, Latency>, QueryError> {
    let mut statement = Statement::new("");
    let part = Part::new(&mut statement, Table::Requests, &query.select, keys)?;
    let names: Vec<String> = (0..keys.len()).map(|n| format!("k{n}")).collect();
    let (list, comma) = (names.join(", "), if names.is_empty() { "" } else { ", " });
    let grouped = if names.is_empty() { String::new() } else { format!("GROUP BY {list}") };
    let partition = if names.is_empty() { String::new() } else { format!("PARTITION BY {list} ") };
    let rank = |percent: u8| format!("MIN(CASE WHEN place * 100 >= size * {percent} THEN ms END)");
    statement.sql = format!(
        "SELECT {list}{comma}CAST(SUM(ms) AS BIGINT) / COUNT(*), {}, {}, {} FROM (\
         SELECT {list}{comma}ms, ROW_NUMBER() OVER ({partition}ORDER BY ms) AS place, COUNT(*) OVER ({partition}) \
         AS size FROM (SELECT {}e.total_ms AS ms {}) x) y {grouped}",
        rank(50),
        rank(90),
        rank(99),
        part.named_keys(),
        part.source(),
    );
    let mut found = BTreeMap::new();
    for row in statement.rows(on).await? {
        let place = keys.len();
        let Some(avg) = known(&row, place)? else { continue };
        let latency = Latency {
            avg,
            p50: count(&row, place + 1)?,
            p90: count(&row, place + 2)?,
            p99: count(&row, place + 3)?,
        };
        found.insert(read_keys(&row, keys)?, latency);
    }
    Ok(found)
}
