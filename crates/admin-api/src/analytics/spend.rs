//! `GET /v1/admin/analytics/spend`: all counts, by any dimensions.

use domain::spend::{Dimension, Interval, MAX_KEYS, MAX_LIMIT, Order, Query, Report, Row};
use serde_json::{Map, Value, json};

use super::{Asked, Shape, filters, range};
use crate::answer::{Answer, date};
use crate::body::suggest;
use crate::call::Call;
use crate::refusal::Refusal;

/// Rows of an answer if nobody says how many.
const USUAL: u32 = 1000;

/// Most bytes of the rows of one answer; the caller asks for the others after them.
const MOST: usize = 700 * 1024;

/// Answers with sums by group.
pub(crate) fn index(call: &Call<'_>) -> Result<Answer, Refusal> {
    let mut select = range::select(call, ["start_date", "end_date"], None)?;
    filters::by_dimension(call, &mut select);
    let words = call.query.get("group_by").unwrap_or_default();
    let words = words.split(',').filter(|word| !word.trim().is_empty());
    let group_by = words.map(|word| filters::dimension("group_by", word)).collect::<Result<Vec<_>, _>>()?;
    let known: Vec<&str> = Interval::ALL.iter().map(|interval| interval.as_str()).collect();
    let interval = word::<Interval>(call, "interval", &known)?;
    let known: Vec<&str> = Order::ALL.iter().map(|order| order.as_str()).collect();
    let timed = interval.is_some() || group_by.iter().any(|key| matches!(key, Dimension::Time(_)));
    let usual = if timed { Order::Keys } else { Order::Cost };
    let order = word(call, "order_by", &known)?.unwrap_or(usual);
    let limit = number(call, "limit", 1, MAX_LIMIT)?.unwrap_or(USUAL);
    let offset = number(call, "offset", 0, u32::MAX)?.unwrap_or(0);
    let latency = match call.query.get("latency") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            let message = format!("`latency`: `{other}` is neither true nor false");
            return Err(Refusal::invalid("latency", message));
        }
    };
    let query = Query { select, group_by, interval, order, limit, offset, latency };
    let keys = query.dimensions().len();
    if keys > MAX_KEYS {
        let message = format!("`group_by`: {keys} dimensions; at most {MAX_KEYS} can be grouped by at once");
        return Err(Refusal::invalid("group_by", message));
    }
    Asked::answer(query, Shape::Spend)
}

fn word<T: std::str::FromStr>(call: &Call<'_>, name: &str, known: &[&str]) -> Result<Option<T>, Refusal> {
    let Some(text) = call.query.get(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        Refusal::invalid(name, format!("`{name}`: `{text}` is unknown; {}", suggest(text, known)))
    })
}

fn number(call: &Call<'_>, name: &str, least: u32, most: u32) -> Result<Option<u32>, Refusal> {
    let Some(text) = call.query.get(name) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.map(Some).ok_or_else(|| {
        Refusal::invalid(name, format!("`{name}`: `{text}` is no number from {least} to {most}"))
    })
}

/// The report as callers see it. Costs are decimal texts: a number would be rounded by whoever reads it.
pub(super) fn shown(query: &Query, report: &Report) -> Value {
    let mut rows = Vec::new();
    let mut bytes = 0;
    for row in &report.rows {
        let row = Value::Object(one(row));
        bytes += row.to_string().len();
        if bytes > MOST {
            break;
        }
        rows.push(row);
    }
    let next = u64::from(query.offset) + rows.len() as u64;
    json!({
        "object": "list",
        "start_date": query.select.since.map(date),
        "end_date": query.select.until.map(date),
        "rows": rows,
        "total": one(&Row { keys: Vec::new(), ..report.total.clone() }),
        "groups": report.groups,
        "next_offset": (next < report.groups).then_some(next),
        "through": date(report.through),
    })
}

fn one(row: &Row) -> Map<String, Value> {
    let keys = row.keys.iter().map(|(name, value)| (name.clone(), json!(value)));
    let counts = Row::SUMS.iter().zip(row.sums()).map(|(name, sum)| ((*name).to_owned(), json!(sum)));
    let mut one: Map<String, Value> = keys.chain(counts).collect();
    one.insert("cost_usd".to_owned(), json!(row.cost.dollars()));
    one.insert("saved_usd".to_owned(), json!(row.saved.dollars()));
    if let Some(latency) = &row.latency_ms {
        one.insert("latency_ms".to_owned(), json!(latency));
    }
    one
}
