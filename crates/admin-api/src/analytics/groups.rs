//! Portkey's groups: requests and cost by one dimension, page by page.

use domain::spend::{Dimension, Order, Query, Report, Row};
use serde_json::{Map, Value, json};

use super::graphs::{MOST_ROWS, TIME, USUAL, must_be_whole};
use super::{Asked, Shape, cents, filters, quotient, range};
use crate::answer::Answer;
use crate::body::suggest;
use crate::call::{Call, Page};
use crate::refusal::Refusal;

/// How rows of a group are shown.
#[derive(Debug)]
pub(crate) struct Group {
    /// The field that holds the dimension's value.
    field: &'static str,
    /// The page, where the order is the other way round and all rows are read.
    upwards: Option<Page>,
}

/// Names of groups, the dimension, and the field that holds its value.
const GROUPS: &[(&str, Dimension, &str)] = &[
    ("users", Dimension::User, "user"),
    ("ai-models", Dimension::Model, "ai_model"),
    ("model", Dimension::Model, "model"),
    ("provider", Dimension::Provider, "provider"),
    ("ai_service", Dimension::Provider, "ai_service"),
    ("api_key", Dimension::ApiKey, "api_key"),
    ("virtual_key", Dimension::VirtualKey, "virtual_key"),
    ("config", Dimension::Config, "config"),
    ("workspace", Dimension::Workspace, "workspace"),
    ("workspaces", Dimension::Workspace, "workspace"),
    ("status_code", Dimension::Status, "status_code"),
];

/// Answers with the groups of a dimension.
pub(crate) fn by_name(call: &Call<'_>) -> Result<Answer, Refusal> {
    let name = call.params.first().copied().unwrap_or_default();
    let found = GROUPS.iter().find(|(known, ..)| *known == name);
    let Some((_, dimension, field)) = found else {
        let mut known: Vec<&str> = GROUPS.iter().map(|(known, ..)| *known).collect();
        known.push("metadata/{key}");
        let name: String = name.chars().take(100).collect();
        return Err(Refusal::no_route(format!(
            "there are no groups by `{name}`; {}",
            suggest(&name, &known)
        )));
    };
    ask(call, dimension.clone(), field)
}

/// Answers with the groups of a key of the metadata.
pub(crate) fn by_metadata(call: &Call<'_>) -> Result<Answer, Refusal> {
    let key = call.params.first().copied().unwrap_or_default();
    // The path comes as it was sent.
    let key = url::form_urlencoded::parse(format!("k={}", key.replace('+', "%2B")).as_bytes())
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned());
    ask(call, Dimension::Metadata(key), "metadata_value")
}

fn ask(call: &Call<'_>, dimension: Dimension, field: &'static str) -> Result<Answer, Refusal> {
    let mut select = range::select(call, TIME, Some(USUAL))?;
    filters::by_portkey(call, &mut select)?;
    let order = match call.query.get("order_by") {
        None | Some("cost") => Order::Cost,
        Some("requests") => Order::Requests,
        Some("tokens" | "total_tokens") => Order::Tokens,
        Some(other) => {
            let message = format!("`order_by`: `{other}` is unknown; write `cost`, `requests` or `tokens`");
            return Err(Refusal::invalid("order_by", message));
        }
    };
    let page = call.query.page()?;
    let upwards = match call.query.get("order_by_type").map(str::to_ascii_lowercase).as_deref() {
        None | Some("desc") => None,
        Some("asc") => Some(page),
        Some(other) => {
            let message = format!("`order_by_type`: `{other}` is unknown; write `asc` or `desc`");
            return Err(Refusal::invalid("order_by_type", message));
        }
    };
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let (limit, offset) = match upwards {
        None => (number(page.size), number(page.start())),
        Some(_) => (MOST_ROWS, 0),
    };
    let query = Query { select, group_by: vec![dimension], order, limit, offset, ..Query::default() };
    Asked::answer(query, Shape::Group(Group { field, upwards }))
}

/// The page as callers see it.
pub(super) fn shown(group: &Group, report: &Report) -> Result<Value, Refusal> {
    let data: Vec<Value> = match group.upwards {
        None => report.rows.iter().map(|row| one(group.field, row)).collect(),
        Some(page) => {
            must_be_whole(report)?;
            let rows = report.rows.iter().rev().skip(page.start()).take(page.size);
            rows.map(|row| one(group.field, row)).collect()
        }
    };
    Ok(json!({ "object": "list", "total": report.groups, "data": data }))
}

fn one(field: &str, row: &Row) -> Value {
    let value = row.keys.first().and_then(|(_, value)| value.as_deref());
    let tokens = row.input_tokens.saturating_add(row.output_tokens);
    let mut one = Map::from_iter([
        (field.to_owned(), json!(value)),
        ("requests".to_owned(), json!(row.requests)),
        ("cost".to_owned(), cents(row.cost)),
        ("total_tokens".to_owned(), json!(tokens)),
        ("avg_tokens".to_owned(), quotient(tokens, row.requests)),
        ("object".to_owned(), json!("analytics-group")),
    ]);
    if row.unknown_cost_attempts > 0 {
        one.insert("unknown_cost_attempts".to_owned(), json!(row.unknown_cost_attempts));
    }
    Value::Object(one)
}
