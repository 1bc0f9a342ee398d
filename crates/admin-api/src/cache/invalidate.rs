//! `POST /v1/admin/cache/invalidate`: takes entries out of the cache.

use std::time::Duration;

use bus::audit::PolicyChange;
use bus::cache::{Ask, List, Listed};
use bus::{Bus, PutError};
use domain::cache::Selection;
use domain::{Event, Workspace};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ask_node, selection};
use crate::answer::{Answer, Plan, Subject, date};
use crate::body::{self, When};
use crate::call::Call;
use crate::refusal::Refusal;

/// How long counting what is meant may take: entries are taken out whether or not they could be counted.
const COUNTING: Duration = Duration::from_secs(2);

/// Which entries are taken out. All that is given must hold, and of each list one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Invalidate {
    /// Ids of entries.
    ids: Option<Vec<String>>,
    /// Patterns of keys; `*` stands for any characters.
    keys: Option<Vec<String>>,
    /// Tags.
    tags: Option<Vec<String>>,
    /// Models that answered.
    models: Option<Vec<String>>,
    /// Providers that answered.
    providers: Option<Vec<String>>,
    /// Callers' namespaces.
    namespaces: Option<Vec<String>>,
    /// Stored before this time: a date, a moment, or milliseconds since 1970.
    #[schemars(with = "Option<When>")]
    before: Option<Value>,
    /// Stored so long ago or longer, as in `7d`.
    older_than: Option<String>,
    /// Everything in the workspace; given alone.
    all: bool,
    /// Workspace whose entries they are; that of the API key if it is not given.
    #[serde(rename = "workspace_id")]
    _workspace_id: Option<String>,
}

/// Understands what is to be taken out.
pub(crate) fn index(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = if call.body.is_null() { &json!({}) } else { call.body };
    let selection = selection_of(call, body::read(body)?)?;
    let workspace = call.workspace.clone();
    let subject = Subject { resource: "cache", id: workspace.to_string(), workspace };
    let plan = Plan::new(subject, "invalidate", (Value::Null, shown(&selection)), Vec::new());
    Ok(Answer::Invalidate(Box::new(plan), Box::new(selection)))
}

fn selection_of(call: &Call<'_>, body: Invalidate) -> Result<Selection, Refusal> {
    let all = body.all;
    let before = match &body.before {
        None => None,
        Some(Value::Number(ms)) => Some(ms.to_string()),
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => {
            let message = "`before`: write a date, as in 2026-11-01, a moment, as in 2026-11-01T12:00:00Z, or \
                           milliseconds since 1970";
            return Err(Refusal::invalid("before", message));
        }
    };
    let mut selection = Selection {
        ids: selection::ids("ids", &call.workspace, values("ids", body.ids)?)?,
        keys: values("keys", body.keys)?,
        tags: values("tags", body.tags)?,
        models: values("models", body.models)?,
        providers: values("providers", body.providers)?,
        namespaces: values("namespaces", body.namespaces)?,
        before: selection::before(call.now, before.as_deref(), body.older_than.as_deref())?,
        all: false,
    };
    selection::check_size(&selection)?;
    match (selection.is_empty(), all) {
        (true, false) => Err(Refusal::invalid(
            "body",
            "nothing says which entries are meant: give `ids`, `keys`, `tags`, `models`, `providers`, \
             `namespaces`, `before` or `older_than`, or `\"all\": true` for everything in the workspace",
        )),
        (false, true) => Err(Refusal::invalid(
            "all",
            "`all` means everything in the workspace; leave it or the others out",
        )),
        (_, all) => {
            selection.all = all;
            Ok(selection)
        }
    }
}

/// A list that is given says something: one that came out empty by mistake must not mean everything.
fn values(name: &str, given: Option<Vec<String>>) -> Result<Vec<String>, Refusal> {
    let Some(values) = given else { return Ok(Vec::new()) };
    if values.is_empty() {
        let message = format!("`{name}` is an empty list, which no entry fulfils; fill it or leave it out");
        return Err(Refusal::invalid(name, message));
    }
    match values.iter().position(|value| value.trim().is_empty()) {
        None => Ok(values),
        Some(at) => {
            let place = format!("{name}[{at}]");
            Err(Refusal::invalid(&place, format!("`{place}` is empty; leave it out")))
        }
    }
}

/// A selection as callers see it.
fn shown(selection: &Selection) -> Value {
    let mut shown = json!(selection);
    if !selection.ids.is_empty() {
        shown["ids"] = selection.ids.iter().map(|id| id.local()).collect();
    }
    if let Some(before) = selection.before {
        shown["before"] = date(before);
    }
    shown
}

/// Puts on record who wanted it, then says so to all nodes, those that are not running as well.
pub(crate) async fn take_out(
    bus: &Bus,
    mut change: PolicyChange,
    selection: Selection,
) -> Result<Value, Refusal> {
    let workspace = change.audit.workspace_id.clone();
    let matched = count(bus, &workspace, &selection).await;
    change.audit.after["matched"] = json!(matched.as_ref().ok());
    bus.change_policy(&change).await.map_err(|err| {
        tracing::warn!(%err, "entries of the cache were not taken out");
        Refusal::unavailable(
            "the broker did not put the order on record, so nothing was taken out; try again",
        )
    })?;
    let answer = ordered(&change, &selection, matched);
    let order = Event::cache_invalidated(workspace, change.audit.id.clone(), selection, change.audit.time);
    bus.report(&order).await.map_err(|err| not_told(&err))?;
    Ok(answer)
}

/// How many entries are meant, or why nobody can say.
async fn count(bus: &Bus, workspace: &Workspace, selection: &Selection) -> Result<u64, String> {
    let selection = Some(selection.clone());
    let ask = Ask::List(List { workspace: workspace.clone(), selection, after: None, limit: 0 });
    ask_node::<Listed>(bus, &ask, COUNTING).await.map(|listed| listed.total).map_err(|err| err.to_string())
}

/// What is said of an order that was given.
pub(super) fn ordered(change: &PolicyChange, selection: &Selection, matched: Result<u64, String>) -> Value {
    let mut answer = json!({
        "id": change.audit.id, "object": "cache_invalidation", "workspace_id": change.audit.workspace_id,
        "at": date(change.audit.time), "selection": shown(selection), "matched": matched.as_ref().ok(),
    });
    if let Err(reason) = matched {
        answer["warning"] = json!(format!(
            "entries could not be counted ({reason}); those that are meant are taken out as soon as nodes run"
        ));
    }
    answer
}

fn not_told(err: &PutError) -> Refusal {
    tracing::warn!(%err, "the nodes of the cache were not told what to take out");
    Refusal::unavailable(
        "the broker did not confirm the order, so entries may or may not be taken out; send it again",
    )
}
