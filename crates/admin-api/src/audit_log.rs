//! The audit log: who changed what, when, and how it was before.

use domain::Timestamp;
use domain::audit::{Entry, Filter};
use serde_json::{Value, json};

use crate::answer::{Answer, date};
use crate::body::parse_when;
use crate::call::{Call, Page};
use crate::refusal::Refusal;

/// Most entries looked through for one page.
pub(crate) const MOST: usize = 10_000;

pub(crate) fn index(call: &Call<'_>) -> Result<Answer, Refusal> {
    let time = |name: &str| -> Result<Option<Timestamp>, Refusal> {
        let Some(text) = call.query.get(name) else { return Ok(None) };
        let wrong = || {
            Refusal::invalid(
                name,
                format!("`{name}`: write `2027-01-31T12:00:00Z` or milliseconds since 1970"),
            )
        };
        parse_when(text).map(Some).ok_or_else(wrong)
    };
    let text = |name: &str| call.query.get(name).map(str::to_owned);
    let everywhere = call.caller.is_administrator() && !call.names_workspace;
    let filter = Filter {
        workspace: (!everywhere).then(|| call.workspace.clone()),
        from: time("start_time")?,
        until: time("end_time")?,
        actor: text("actor"),
        resource: text("resource"),
        action: text("action"),
    };
    Ok(Answer::Audit(filter, call.query.page()?))
}

/// The page as callers see it, newest first.
pub(crate) fn shown(audit: bus::audit::Audit, page: Page) -> Value {
    let total = audit.entries.len();
    let data: Vec<Value> =
        audit.entries.into_iter().skip(page.start()).take(page.size).map(|entry| one(&entry)).collect();
    let mut shown = json!({ "object": "list", "success": true, "total": total, "data": data });
    if audit.more {
        // The total is that of the newest only.
        shown["more"] = json!(true);
    }
    shown
}

fn one(entry: &Entry) -> Value {
    json!({
        "id": entry.id, "time": date(entry.time), "actor": entry.actor, "action": entry.action,
        "resource": entry.resource, "resource_id": entry.resource_id, "workspace_id": entry.workspace_id,
        "before": entry.before, "after": entry.after, "ip": entry.ip, "request_id": entry.request_id,
    })
}
