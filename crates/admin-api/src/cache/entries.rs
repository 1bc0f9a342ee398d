//! Entries as callers see them.

use bus::Bus;
use bus::cache::{Ask, List, Listed, Shown};
use domain::cache::{Entry, Selection};
use domain::{RequestId, Workspace};
use serde_json::{Value, json};

use super::{PATIENCE, ask_node, unanswered};
use crate::answer::date;
use crate::call::Page;
use crate::refusal::Refusal;

/// Entries asked for at once. A node gives fewer if they do not fit into a message.
const AT_ONCE: usize = 1000;

/// Characters of a question in a list; the entry itself shows all of it.
const SHOWN: usize = 200;

/// Reads a page. Nodes only know what comes after an entry, so the pages before it are read as well.
pub(super) async fn list(
    bus: &Bus,
    workspace: &Workspace,
    selection: Option<&Selection>,
    page: Page,
) -> Result<Value, Refusal> {
    let mut data = Vec::new();
    let (mut passed, mut after) = (0, None);
    let end = page.start().saturating_add(page.size);
    let total = loop {
        let limit = AT_ONCE.min(end - passed);
        let list = List { workspace: workspace.clone(), selection: selection.cloned(), after, limit };
        let listed: Listed =
            ask_node(bus, &Ask::List(list), PATIENCE).await.map_err(|err| unanswered(&err))?;
        let Some(last) = listed.entries.last() else { break listed.total };
        after = Some((last.stored_at, last.id.clone()));
        for entry in listed.entries.iter().take(end - passed) {
            if passed >= page.start() {
                data.push(in_list(entry));
            }
            passed += 1;
        }
        if passed >= end || passed as u64 >= listed.total {
            break listed.total;
        }
    };
    Ok(json!({ "object": "list", "success": true, "total": total, "data": data }))
}

/// An entry with its answer.
pub(super) fn whole(shown: &Shown) -> Value {
    let entry = &shown.entry;
    let mut one = one(entry);
    one["text"] = json!(entry.text);
    one["partition"] = json!(entry.partition);
    one["headers"] = json!(entry.headers);
    one["usage"] = json!(entry.usage);
    one["hits"] = json!(shown.hits);
    one["answer"] = json!(shown.answer);
    one
}

/// An entry in a list: without its answer, and with the beginning of its question only.
pub(super) fn in_list(entry: &Entry) -> Value {
    let mut one = one(entry);
    let shortened = |text: &String| match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.clone(),
    };
    one["text"] = json!(entry.text.as_ref().map(shortened));
    one
}

fn one(entry: &Entry) -> Value {
    json!({
        "id": entry.id.local(), "object": "cache_entry", "workspace_id": entry.workspace, "key": entry.key,
        "namespace": entry.namespace, "tags": entry.tags, "operation": entry.operation,
        "provider": entry.provider, "model": entry.model, "asked_at": date(entry.asked_at),
        "stored_at": date(entry.stored_at), "expires_at": date(entry.expires_at),
        "content_type": entry.content_type, "size": entry.size,
        "cost_usd": entry.cost.map(|cost| cost.dollars()),
    })
}

/// Why an entry is not shown: a node that does not have it says no more than one that fails.
pub(super) async fn missing(bus: &Bus, workspace: &Workspace, id: &RequestId, reason: String) -> Refusal {
    let selection = Some(Selection { ids: vec![id.clone()], ..Selection::default() });
    let ask = Ask::List(List { workspace: workspace.clone(), selection, after: None, limit: 0 });
    match ask_node::<Listed>(bus, &ask, PATIENCE).await {
        Ok(listed) if listed.total == 0 => unknown(id.local()),
        Ok(_) => Refusal::unavailable(reason),
        Err(err) => unanswered(&err),
    }
}

pub(super) fn unknown(id: &str) -> Refusal {
    Refusal::not_found("entry of the cache", id)
}
