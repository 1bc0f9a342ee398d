//! What limits have counted, as callers see it. The counts are read by whoever answers; here they only get their form.

use std::collections::HashMap;
use std::sync::Arc;

use bus::audit::PolicyChange;
use bus::state::ReadError;
use bus::{Bus, identity};
use domain::limit::{Account, Limit, Reset, Unit, Window};
use domain::model::NanoUsd;
use domain::policy::Declared;
use domain::{Policy, Timestamp, Workspace};
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Counted, Place, date, listed};
use crate::call::{Call, Page};
use crate::refusal::Refusal;

/// Up to so many counts are read one by one; more are read with all the others.
const FEW: usize = 50;

/// Counts by the keys of their buckets.
pub(crate) type Counts = HashMap<String, Account>;

/// A limit with whom it belongs to, to be shown with its counts.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) declared: Declared,
    pub(crate) workspace: Option<Workspace>,
}

/// Which of a list of limits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Budgets,
    Rates,
}

/// Every limit in force with its counts.
pub(crate) fn index(call: &Call<'_>) -> Result<Answer, Refusal> {
    let wanted = match call.query.get("type") {
        None | Some("all") => Wanted::All,
        Some("budgets") => Wanted::Budgets,
        Some("rates") => Wanted::Rates,
        Some(other) => {
            let message = format!("query parameter `type`: `{other}` is none of `budgets`, `rates`, `all`");
            return Err(Refusal::invalid("type", message));
        }
    };
    let everywhere = call.caller.is_administrator() && !call.names_workspace;
    let mut all = call.policy.declared_limits((!everywhere).then_some(&call.workspace));
    all.retain(|one| wanted == Wanted::All || one.limit.is_budget() == (wanted == Wanted::Budgets));
    Ok(Answer::Buckets(rows(call.policy, all), call.query.page()?))
}

/// Limits with the workspaces that they belong to.
pub(crate) fn rows(policy: &Policy, all: Vec<Declared>) -> Vec<Row> {
    all.into_iter().map(|declared| Row { workspace: declared.workspace(policy).cloned(), declared }).collect()
}

/// The counts that rows show.
pub(crate) async fn read_rows(bus: &Bus, rows: &[Row]) -> Result<Counts, ReadError> {
    if rows.iter().any(|row| row.declared.grouped) {
        return all(bus).await;
    }
    read(bus, rows.iter().map(|row| &row.declared.limit)).await
}

/// The counts of limits that are not grouped.
pub(crate) async fn read<'l>(
    bus: &Bus,
    limits: impl Iterator<Item = &'l Arc<Limit>> + Send,
) -> Result<Counts, ReadError> {
    let names: Vec<String> = limits.map(|limit| limit.name()).collect();
    if names.len() > FEW {
        return all(bus).await;
    }
    let mut counts = Counts::new();
    for name in names {
        if let (Some(account), _) = bus.limit_account(&name).await? {
            counts.insert(name, account);
        }
    }
    Ok(counts)
}

async fn all(bus: &Bus) -> Result<Counts, ReadError> {
    let accounts = bus.limit_accounts().await?;
    Ok(accounts.into_iter().map(|account| (account.bucket.clone(), account)).collect())
}

/// Puts the counts of its limits into a document: `usage`, and the status of an entity whose budget is used up.
pub(crate) fn fill(counted: Counted, counts: &Counts, now: Timestamp) -> (Value, Option<u64>) {
    let mut body = counted.body;
    for Place { pointer, limits } in &counted.places {
        let Some(entity) = body.pointer_mut(pointer).filter(|entity| entity.is_object()) else { continue };
        let lines = limits.iter().map(|limit| Value::Object(line(limit, counts.get(&limit.name()), now)));
        let lines: Vec<Value> = lines.collect();
        let exhausted = lines
            .iter()
            .zip(limits)
            .any(|(line, limit)| limit.is_budget() && !limit.soft && line["status"] == "exhausted");
        entity["usage"] = Value::Array(lines);
        if exhausted && entity["status"] == "active" {
            entity["status"] = json!("exhausted");
        }
    }
    (body, counted.revision)
}

/// The buckets of limits as a page of a list.
pub(crate) fn shown(rows: &[Row], counts: &Counts, page: Page, now: Timestamp) -> Value {
    let mut all: Vec<Value> = Vec::new();
    for row in rows {
        let limit = &row.declared.limit;
        let name = limit.name();
        if !row.declared.grouped {
            all.push(bucket(row, &name, "", counts.get(&name), now));
            continue;
        }
        let mut own: Vec<(&String, &Account)> =
            counts.iter().filter(|(key, _)| group_of(&name, key).is_some()).collect();
        own.sort_by_key(|(key, _)| *key);
        let lines = own.into_iter().map(|(key, account)| {
            bucket(row, key, group_of(&name, key).unwrap_or_default(), Some(account), now)
        });
        all.extend(lines);
    }
    listed(all, page, |line| line)
}

/// What tells a bucket from the others of its limit. None: it is another limit's.
pub(crate) fn group_of<'k>(name: &str, key: &'k str) -> Option<&'k str> {
    key.strip_prefix(name)?.strip_prefix('/')
}

/// A bucket's name in addresses: as long for all, and without anything that has a meaning there.
pub(crate) fn id(key: &str) -> String {
    identity::hash(key).chars().take(24).collect()
}

fn bucket(row: &Row, key: &str, group: &str, account: Option<&Account>, now: Timestamp) -> Value {
    let Declared { name, limit, .. } = &row.declared;
    let mut line = line(limit, account, now);
    let named = [
        ("id", json!(id(key))),
        ("object", json!("limit")),
        ("bucket", json!(key)),
        ("level", json!(limit.level)),
        ("owner", json!(limit.owner)),
        ("name", json!(name)),
        ("workspace_id", json!(row.workspace)),
        ("value_key", json!(group)),
    ];
    for (field, value) in named {
        line.insert(field.to_owned(), value);
    }
    Value::Object(line)
}

/// What is used of a limit. `reserved` is what routers hold for calls that are under way or about to come; used,
/// reserved and left make up the cap, as long as no call used more than was set aside for it.
fn line(limit: &Limit, account: Option<&Account>, now: Timestamp) -> Map<String, Value> {
    let used = account.map_or(0, |account| account.used(now));
    let reserved = account.map_or(0, |account| account.granted(now));
    let left = limit.cap.saturating_sub(used).saturating_sub(reserved);
    let exhausted = used >= limit.cap;
    let fields = [
        ("type", json!(limit.unit)),
        ("kind", json!(if limit.is_budget() { "budget" } else { "rate" })),
        ("period", period(limit)),
        ("limit", amount(limit.unit, limit.cap)),
        ("used", amount(limit.unit, used)),
        ("reserved", amount(limit.unit, reserved)),
        ("left", amount(limit.unit, left)),
        ("percentage", percentage(used, limit.cap)),
        ("alert_threshold", limit.alert_at.map_or(Value::Null, |at| amount(limit.unit, at))),
        ("soft", json!(limit.soft)),
        ("resets_at", limit.window.resets_at(now).map_or(Value::Null, date)),
        ("status", json!(if exhausted { "exhausted" } else { "active" })),
    ];
    fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect()
}

/// The word of the period; null: there is none.
fn period(limit: &Limit) -> Value {
    match limit.window {
        Window::Fixed(Reset::Never) | Window::Held => Value::Null,
        window => json!(window.to_string()),
    }
}

/// Dollars for costs, whole numbers for everything else.
fn amount(unit: Unit, amount: u64) -> Value {
    match unit {
        Unit::Cost => serde_json::from_str(&NanoUsd(amount).dollars()).unwrap_or_default(),
        _ => json!(amount),
    }
}

/// With two digits after the point, rounded down, so that 100 means all.
fn percentage(used: u64, cap: u64) -> Value {
    if cap == 0 {
        return json!(100);
    }
    let hundredths = u128::from(used) * 10_000 / u128::from(cap);
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    let shortest = text.trim_end_matches('0').trim_end_matches('.');
    serde_json::from_str(shortest).unwrap_or_default()
}

/// Records who wanted it, then lets the count of one bucket begin anew.
pub(crate) async fn reset(
    bus: &Bus,
    change: &PolicyChange,
    rows: &[Row],
    wanted: &str,
) -> Result<(), Refusal> {
    let unavailable = |err: &dyn std::fmt::Display| {
        tracing::warn!(%err, "a count was not reset");
        Refusal::unavailable("the broker could not be asked; try again")
    };
    let counts = read_rows(bus, rows).await.map_err(|err| unavailable(&err))?;
    let of_these = |key: &str| {
        rows.iter().any(|row| {
            let name = row.declared.limit.name();
            if row.declared.grouped { group_of(&name, key).is_some() } else { name == key }
        })
    };
    let found = counts.keys().find(|key| of_these(key) && id(key) == wanted);
    let bucket = found.ok_or_else(|| Refusal::not_found("entity of the policy", wanted))?;
    bus.change_policy(change).await.map_err(|err| unavailable(&err))?;
    bus.reset_limit(bucket).await.map(drop).map_err(|err| unavailable(&err))
}
