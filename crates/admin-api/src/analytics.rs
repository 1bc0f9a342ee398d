//! Questions to the ledger: what is asked is understood here, without asking; the answer gets its form here, too.

mod export;
mod filters;
mod graphs;
mod groups;
mod range;
mod spend;
#[cfg(test)]
mod tests;

use bus::Bus;
use bus::ledger::LedgerError;
use domain::model::NanoUsd;
use domain::spend::{Query, Report};
use serde_json::Value;

pub(crate) use self::export::index as export;
pub(crate) use self::graphs::{
    cache_hit_rate, cache_latency, cache_summary, cost, error_rate, error_stacks, errors, latency, requests,
    rescued, status_codes, tokens, user_requests, users,
};
pub(crate) use self::groups::{by_metadata, by_name};
pub(crate) use self::range::moment;
pub(crate) use self::spend::index as spend;
use crate::answer::Answer;
use crate::refusal::Refusal;

/// A question to the ledger, and how its answer is shown.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) query: Query,
    pub(crate) shape: Shape,
}

/// How an answer of the ledger is shown.
#[derive(Debug)]
pub(crate) enum Shape {
    /// All counts of each row.
    Spend,
    /// One of Portkey's graphs.
    Graph(graphs::Graph),
    /// One of Portkey's groups.
    Group(groups::Group),
}

impl Asked {
    fn answer(query: Query, shape: Shape) -> Result<Answer, Refusal> {
        Ok(Answer::Books(Box::new(Self { query, shape })))
    }
}

/// Asks the ledger. It answers with as many rows as fit into a message; the others are asked for after these.
pub(crate) async fn read(bus: &Bus, asked: &Asked) -> Result<Report, Refusal> {
    let mut query = asked.query.clone();
    let mut report = bus.spend(query.clone()).await.map_err(unanswered)?;
    let behind = u64::from(query.offset);
    loop {
        let got = report.rows.len();
        let wanted = u64::from(asked.query.limit).min(report.groups.saturating_sub(behind));
        if got as u64 >= wanted {
            return Ok(report);
        }
        query.offset = asked.query.offset.saturating_add(u32::try_from(got).unwrap_or(u32::MAX));
        query.limit = u32::try_from(wanted - got as u64).unwrap_or(u32::MAX);
        let more = bus.spend(query.clone()).await.map_err(unanswered)?;
        if more.rows.is_empty() {
            return Ok(report);
        }
        report.rows.extend(more.rows);
    }
}

/// The answer as callers see it.
pub(crate) fn shown(asked: &Asked, report: &Report) -> Result<Value, Refusal> {
    match &asked.shape {
        Shape::Spend => Ok(spend::shown(&asked.query, report)),
        Shape::Graph(graph) => graphs::shown(*graph, &asked.query, report),
        Shape::Group(group) => groups::shown(group, report),
    }
}

/// What was asked is checked before, so a ledger that refuses it has a trouble of its own.
fn unanswered(err: LedgerError) -> Refusal {
    match err {
        LedgerError::Late => Refusal::unavailable(format!("{err}; ask for a shorter time")),
        LedgerError::Nobody | LedgerError::Refused(_) | LedgerError::Malformed(_) => {
            tracing::warn!(%err, "the ledger could not be asked");
            Refusal::unavailable(err.to_string())
        }
    }
}

/// A cost in Portkey's unit: US cents, exact.
fn cents(cost: NanoUsd) -> Value {
    const CENT: u64 = 10_000_000;
    decimal(&format!("{}.{:07}", cost.0 / CENT, cost.0 % CENT))
}

/// A quotient with two digits, rounded down; 0 where there is nothing to divide by.
fn quotient(part: u64, whole: u64) -> Value {
    let hundredths = (u128::from(part) * 100).checked_div(u128::from(whole)).unwrap_or(0);
    decimal(&format!("{}.{:02}", hundredths / 100, hundredths % 100))
}

fn decimal(text: &str) -> Value {
    let shortest = text.trim_end_matches('0').trim_end_matches('.');
    serde_json::from_str(shortest).unwrap_or_default()
}
