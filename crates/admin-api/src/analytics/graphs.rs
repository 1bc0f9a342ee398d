//! Portkey's graphs: figures by time, and a summary of them.

use std::collections::{BTreeMap, BTreeSet};

use domain::Timestamp;
use domain::model::NanoUsd;
use domain::spend::{Dimension, Interval, Order, Query, Report, Row, floor, parse_label};
use serde_json::{Map, Value, json};

use super::{Asked, Shape, cents, filters, quotient, range};
use crate::answer::{Answer, date};
use crate::body::suggest;
use crate::call::Call;
use crate::refusal::Refusal;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// The time that is shown if nobody says when it begins.
pub(super) const USUAL: u64 = 30 * DAY;

/// Most points of a graph.
const MOST_POINTS: u64 = 5000;

/// Most rows that are read for one: a person's each day is one.
pub(super) const MOST_ROWS: u32 = 50_000;

/// Where Portkey's questions say which time is meant.
pub(super) const TIME: [&str; 2] = ["time_of_generation_min", "time_of_generation_max"];

macro_rules! graphs {
    ($($(#[$doc:meta])* $handler:ident => $graph:ident,)+) => {
        /// What a graph shows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Graph { $($(#[$doc])* $graph),+ }

        $($(#[$doc])*
        pub(crate) fn $handler(call: &Call<'_>) -> Result<Answer, Refusal> {
            ask(call, Graph::$graph)
        })+
    };
}

graphs! {
    /// Cents spent.
    cost => Cost,
    /// Tokens read and written.
    tokens => Tokens,
    /// Requests that ended.
    requests => Requests,
    /// Requests that were answered although an attempt had failed.
    rescued => Rescued,
    /// People who asked.
    users => Users,
    /// Requests per person.
    user_requests => UserRequests,
    /// Milliseconds that requests took.
    latency => Latency,
    /// Requests without an answer.
    errors => Errors,
    /// The same as a percentage.
    error_rate => ErrorRate,
    /// The same by status.
    status_codes => StatusCodes,
    /// The same by status and time.
    error_stacks => ErrorStacks,
    /// Answers from the cache.
    cache_hit_rate => CacheHitRate,
    /// Milliseconds that answers from the cache took.
    cache_latency => CacheLatency,
    /// What the cache did.
    cache_summary => CacheSummary,
}

fn ask(call: &Call<'_>, graph: Graph) -> Result<Answer, Refusal> {
    let mut select = range::select(call, TIME, Some(USUAL))?;
    filters::by_portkey(call, &mut select)?;
    let length = select.until.unwrap_or(call.now).0.saturating_sub(select.since.unwrap_or_default().0);
    let interval = interval(call, length)?;
    let timed = !matches!(graph, Graph::StatusCodes | Graph::CacheSummary);
    let group_by = match graph {
        Graph::Users | Graph::UserRequests => vec![Dimension::User],
        Graph::StatusCodes | Graph::ErrorStacks => vec![Dimension::Status],
        Graph::CacheHitRate | Graph::CacheSummary => vec![Dimension::CacheStatus],
        _ => Vec::new(),
    };
    let cached = select.filters.iter().any(|(dimension, _)| *dimension == Dimension::CacheStatus);
    if graph == Graph::CacheLatency && !cached {
        let hits = ["hit", "semantic_hit"].map(str::to_owned).to_vec();
        select.filters.push((Dimension::CacheStatus, hits));
    }
    let query = Query {
        select,
        group_by,
        interval: timed.then_some(interval),
        order: Order::Keys,
        limit: MOST_ROWS,
        offset: 0,
        latency: matches!(graph, Graph::Latency | Graph::CacheLatency | Graph::CacheSummary),
    };
    Asked::answer(query, Shape::Graph(graph))
}

/// The interval that is asked for, else one that gives a readable number of points.
fn interval(call: &Call<'_>, length: u64) -> Result<Interval, Refusal> {
    let Some(text) = call.query.get("interval") else {
        return Ok(match length {
            _ if length <= 2 * DAY => Interval::Hour,
            _ if length <= 92 * DAY => Interval::Day,
            _ if length <= 730 * DAY => Interval::Week,
            _ => Interval::Month,
        });
    };
    let known: Vec<&str> = Interval::ALL.iter().map(|interval| interval.as_str()).collect();
    let interval: Interval = text.parse().map_err(|_| {
        Refusal::invalid("interval", format!("`interval`: `{text}` is unknown; {}", suggest(text, &known)))
    })?;
    let points = length / (next(Timestamp(0), interval).0);
    if points > MOST_POINTS {
        let message = format!(
            "`interval`: that would be {points} points, and {MOST_POINTS} is the most; write a longer one"
        );
        return Err(Refusal::invalid("interval", message));
    }
    Ok(interval)
}

/// The beginning of the next span.
fn next(at: Timestamp, interval: Interval) -> Timestamp {
    match interval {
        Interval::Hour => Timestamp(at.0 + HOUR),
        Interval::Day => Timestamp(at.0 + DAY),
        Interval::Week => Timestamp(at.0 + 7 * DAY),
        Interval::Month => floor(Timestamp(at.0 + 32 * DAY), interval),
    }
}

/// Refuses an answer that had to be cut: its sums would be wrong.
pub(super) fn must_be_whole(report: &Report) -> Result<(), Refusal> {
    if report.groups <= report.rows.len() as u64 {
        return Ok(());
    }
    let message = format!(
        "`{}`: {} groups are in this time, and {MOST_ROWS} is the most; ask for a shorter time or for fewer values",
        TIME[0], report.groups
    );
    Err(Refusal::invalid(TIME[0], message))
}

/// The graph as callers see it.
pub(super) fn shown(graph: Graph, query: &Query, report: &Report) -> Result<Value, Refusal> {
    must_be_whole(report)?;
    if graph == Graph::CacheSummary {
        return Ok(json!({ "summary": of_cache(report), "object": "analytics-summary" }));
    }
    let points: Vec<Value> = match query.interval {
        Some(interval) => by_time(graph, query, interval, report),
        None => failures(&report.rows, "status_code"),
    };
    Ok(json!({
        "summary": summary(graph, report),
        "data_points": points,
        "object": "analytics-graph",
    }))
}

fn by_time(graph: Graph, query: &Query, interval: Interval, report: &Report) -> Vec<Value> {
    let mut spans: BTreeMap<Timestamp, Vec<Row>> = BTreeMap::new();
    if let Some(since) = query.select.since {
        let end = query.select.until.unwrap_or(report.through);
        let mut at = floor(since, interval);
        while at < end {
            spans.insert(at, Vec::new());
            at = next(at, interval);
        }
    }
    for row in &report.rows {
        if let Some(at) = key(row, interval.as_str()).and_then(|label| parse_label(label, interval)) {
            spans.entry(at).or_default().push(row.clone());
        }
    }
    let mut saved = [NanoUsd(0); 2];
    let point = |(at, rows): (Timestamp, Vec<Row>)| {
        let mut point = Map::from_iter([("timestamp".to_owned(), date(at))]);
        point.extend(figures(graph, &rows, &mut saved));
        Value::Object(point)
    };
    spans.into_iter().map(point).collect()
}

/// The figures of one span of time.
fn figures(graph: Graph, rows: &[Row], saved: &mut [NanoUsd; 2]) -> Map<String, Value> {
    let sum = sum(rows);
    let figures = match graph {
        Graph::Users => json!({ "total": people(rows).len() }),
        Graph::UserRequests => json!({ "avg": per_person(rows) }),
        Graph::ErrorStacks => json!({ "stats": failures(rows, "response_status_code") }),
        Graph::CacheHitRate => {
            let [simple, semantic] = ["hit", "semantic_hit"].map(|status| of_status(rows, status));
            for (total, row) in saved.iter_mut().zip([&simple, &semantic]) {
                total.0 = total.0.saturating_add(row.saved.0);
            }
            json!({
                "simple_hits": simple.requests,
                "semantic_hits": semantic.requests,
                "rate": percentage(sum.cache_hits, sum.requests),
                "cumulative_simple_cache_savings": cents(saved[0]),
                "cumulative_semantic_cache_savings": cents(saved[1]),
            })
        }
        graph => plain(graph, &sum),
    };
    match figures {
        Value::Object(figures) => figures,
        _ => Map::new(),
    }
}

/// Figures that a sum has, of a span or of all.
fn plain(graph: Graph, sum: &Row) -> Value {
    let tokens = sum.input_tokens.saturating_add(sum.output_tokens);
    match graph {
        Graph::Cost => {
            let avg = NanoUsd(sum.cost.0.checked_div(sum.requests).unwrap_or(0));
            json!({ "total": cents(sum.cost), "avg": cents(avg) })
        }
        Graph::Tokens => json!({ "total": tokens, "avg": quotient(tokens, sum.requests) }),
        Graph::Rescued => json!({ "total": sum.rescued }),
        // Without requests there is nothing that could have taken long.
        Graph::Latency => match sum.latency_ms {
            Some(latency) => json!(latency),
            None => json!({ "avg": null, "p50": null, "p90": null, "p99": null }),
        },
        Graph::CacheLatency => json!({ "avg": sum.latency_ms.map(|latency| latency.avg) }),
        Graph::Errors | Graph::ErrorStacks => json!({ "total": sum.errors }),
        Graph::ErrorRate => json!({ "rate": percentage(sum.errors, sum.requests) }),
        _ => json!({ "total": sum.requests }),
    }
}

fn summary(graph: Graph, report: &Report) -> Value {
    let total = &report.total;
    match graph {
        Graph::Users => json!({ "total": people(&report.rows).len() }),
        Graph::UserRequests => {
            let people = people(&report.rows).len();
            let asked = of_people(&report.rows);
            json!({ "total": asked, "unique": people, "avg": quotient(asked, people as u64) })
        }
        Graph::StatusCodes => {
            let codes = report.rows.iter().filter(|row| row.errors > 0).count();
            json!({ "total_errors": total.errors, "unique_error_codes": codes })
        }
        Graph::CacheHitRate => {
            json!({ "total": total.cache_hits, "rate": percentage(total.cache_hits, total.requests) })
        }
        graph => plain(graph, total),
    }
}

/// What the cache did, and how much faster its answers were than others, as a percentage.
fn of_cache(report: &Report) -> Value {
    let average = |hits: bool| {
        let (mut requests, mut took) = (0_u64, 0_u64);
        let is_hit = |row: &&Row| matches!(key(row, "cache_status"), Some("hit" | "semantic_hit"));
        for row in report.rows.iter().filter(|row| is_hit(row) == hits) {
            requests += row.requests;
            took += row.requests * row.latency_ms.unwrap_or_default().avg;
        }
        took.checked_div(requests)
    };
    let (hit, other) = (average(true), average(false));
    let speedup = hit.zip(other).map(|(hit, other)| percentage(other.saturating_sub(hit), other));
    json!({
        "hits": report.total.cache_hits,
        "avg_latency": hit,
        "total_requests": report.total.requests,
        "cache_speedup": speedup,
    })
}

/// Statuses with the number of requests that ended so without an answer.
fn failures(rows: &[Row], field: &str) -> Vec<Value> {
    let failed = rows.iter().filter(|row| row.errors > 0);
    let one = |row: &Row| {
        let status = key(row, "status").and_then(|status| status.parse::<u16>().ok());
        json!({ field: status, "count": row.errors })
    };
    failed.map(one).collect()
}

fn key<'r>(row: &'r Row, name: &str) -> Option<&'r str> {
    row.keys.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.as_deref())
}

fn people(rows: &[Row]) -> BTreeSet<&str> {
    rows.iter().filter(|row| row.requests > 0).filter_map(|row| key(row, "user")).collect()
}

/// Requests of which it is known who asked.
fn of_people(rows: &[Row]) -> u64 {
    rows.iter().filter(|row| key(row, "user").is_some()).map(|row| row.requests).sum()
}

fn per_person(rows: &[Row]) -> Value {
    quotient(of_people(rows), people(rows).len() as u64)
}

fn of_status(rows: &[Row], status: &str) -> Row {
    let found: Vec<Row> =
        rows.iter().filter(|row| key(row, "cache_status") == Some(status)).cloned().collect();
    sum(&found)
}

fn sum(rows: &[Row]) -> Row {
    let mut sum = Row::default();
    for row in rows {
        sum.add(row);
    }
    // A latency is that of a single row: percentiles do not add up.
    if let [only] = rows {
        sum.latency_ms = only.latency_ms;
    }
    sum
}

fn percentage(part: u64, whole: u64) -> Value {
    quotient(part.saturating_mul(100), whole)
}
