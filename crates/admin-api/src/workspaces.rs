//! Workspaces: made before there are keys in them, archived with all their keys. `default` is always there.

use domain::policy::{Caps, Defaults, Key, Stamp, Status, WorkspaceRecord};
use domain::{Timestamp, Workspace};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Answer, Counted, Plan, Subject, date, list, write};
use crate::body::{self, DefaultsBody, Flag, given};
use crate::call::{Call, parse_status};
use crate::refusal::Refusal;

/// A workspace: new, or what changes of one. On a change, what is not given stays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WorkspaceBody {
    /// Its name for people. Needed for a new one.
    name: Option<String>,
    /// Its id. Made from the name if it is not given.
    slug: Option<String>,
    /// What it is for.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    description: Option<Option<String>>,
    /// Values for its requests.
    defaults: Option<DefaultsBody>,
    /// Budgets.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<Value>")]
    usage_limits: Option<Option<Value>>,
    /// Rates.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<Value>")]
    rate_limits: Option<Option<Value>>,
    /// Budgets begin anew; only on a change.
    reset_usage: Option<Flag>,
    /// Nobody: access is by API keys, and there are no users to be named.
    users: Option<Vec<Value>>,
    /// `active` or `archived`.
    status: Option<String>,
}

pub(crate) fn index(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (status, page) = (call.query.status()?, call.query.page()?);
    let mut all: Vec<WorkspaceRecord> =
        call.policy.workspaces().iter().map(|record| (**record).clone()).collect();
    if !all.iter().any(|record| record.slug == Workspace::default()) {
        all.insert(0, unrecorded());
    }
    all.retain(|record| record.status == status && sees(call, &record.slug));
    if let Some(part) = call.query.get("name") {
        all.retain(|record| record.name.to_lowercase().contains(&part.to_lowercase()));
    }
    if let Some(name) = call.query.get("exact_name") {
        all.retain(|record| record.name == name);
    }
    let places: Vec<Option<Key>> = page.of(&all).iter().map(|record| Some(key(record))).collect();
    let answer = list(all, page, |record| {
        let mut shown = shown(&record);
        shown["revision"] = json!(call.policy.sequence(&key(&record)).unwrap_or(0));
        shown
    });
    Ok(answer.counting(call.policy, places.into_iter()))
}

pub(crate) fn read(call: &Call<'_>) -> Result<Answer, Refusal> {
    let record = current(call)?;
    let place = key(&record);
    let counted = Counted::new(shown(&record), Some(call.policy.sequence(&place).unwrap_or(0)));
    Ok(Answer::Counted(counted.at("", call.policy.limits_of(&place))))
}

pub(crate) fn create(call: &Call<'_>) -> Result<Answer, Refusal> {
    must_administer(call)?;
    let mut new: WorkspaceBody = body::read(call.body)?;
    let name = new.name.take().ok_or_else(|| Refusal::invalid("name", "`name` is missing"))?;
    let text = new.slug.take().unwrap_or_else(|| call.slug_of(&name, false));
    let slug = Workspace::parse(&text).map_err(|err| Refusal::invalid("slug", format!("`slug`: {err}")))?;
    if slug == Workspace::default() || call.policy.workspace(&slug).is_some() {
        let message = format!("`slug`: `{slug}` is there already, perhaps archived; choose another");
        return Err(Refusal::conflict("slug", message));
    }
    let mut record = WorkspaceRecord {
        slug,
        name,
        description: None,
        defaults: Defaults::default(),
        caps: Caps::default(),
        status: Status::Active,
        created: call.stamp(),
        updated: call.stamp(),
    };
    set(call, &mut record, new)?;
    let after = shown(&record);
    let writes = vec![write(key(&record), &record, None)];
    let plan = Plan::new(subject(&record), "create", (Value::Null, after.clone()), writes);
    Ok(plan.replying(201, after))
}

pub(crate) fn update(call: &Call<'_>) -> Result<Answer, Refusal> {
    let change: WorkspaceBody = body::read(call.body)?;
    let resets = change.reset_usage == Some(Flag(true));
    let old = current(call)?;
    must_administer(call)?;
    let revision = call.revision(&key(&old))?;
    if change.slug.as_deref().is_some_and(|slug| slug != old.slug.as_str()) {
        return Err(Refusal::invalid("slug", "`slug` cannot be changed; create another workspace"));
    }
    let mut new = WorkspaceRecord { updated: call.stamp(), ..old.clone() };
    set(call, &mut new, change)?;
    if new.slug == Workspace::default() && new.status == Status::Archived {
        return Err(default_stays());
    }
    let views = (shown(&old), shown(&new));
    let after = views.1.clone();
    let writes = vec![write(key(&new), &new, revision)];
    let mut plan = Plan::new(subject(&new), "update", views, writes);
    if resets {
        plan = plan.resetting(&new.limits().map_err(|err| body::cap(&err))?);
    }
    Ok(plan.replying(200, after))
}

pub(crate) fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let old = current(call)?;
    must_administer(call)?;
    if old.slug == Workspace::default() {
        return Err(default_stays());
    }
    let revision = call.revision(&key(&old))?;
    let new = WorkspaceRecord { status: Status::Archived, updated: call.stamp(), ..old.clone() };
    let views = (shown(&old), shown(&new));
    let writes = vec![write(key(&new), &new, revision)];
    Ok(Plan::new(subject(&new), "delete", views, writes).replying(200, json!({})))
}

fn default_stays() -> Refusal {
    Refusal::conflict(
        "slug",
        "the workspace `default` cannot be archived: requests without a key belong to it",
    )
}

fn must_administer(call: &Call<'_>) -> Result<(), Refusal> {
    if call.caller.is_administrator() {
        return Ok(());
    }
    Err(Refusal::forbidden("workspaces are made and changed with an organisation's API key"))
}

fn sees(call: &Call<'_>, workspace: &Workspace) -> bool {
    call.caller.is_administrator() || call.caller.identity.workspace == *workspace
}

fn key(record: &WorkspaceRecord) -> Key {
    Key::Workspace(record.slug.clone())
}

fn subject(record: &WorkspaceRecord) -> Subject {
    Subject { resource: "workspace", id: record.slug.to_string(), workspace: record.slug.clone() }
}

/// The default workspace before anybody changed it.
fn unrecorded() -> WorkspaceRecord {
    let stamp = Stamp { at: Timestamp(0), by: "installation".to_owned() };
    WorkspaceRecord {
        slug: Workspace::default(),
        name: "Default".to_owned(),
        description: None,
        defaults: Defaults::default(),
        caps: Caps::default(),
        status: Status::Active,
        created: stamp.clone(),
        updated: stamp,
    }
}

fn current(call: &Call<'_>) -> Result<WorkspaceRecord, Refusal> {
    let text = call.params.first().copied().unwrap_or_default();
    let unknown = || Refusal::not_found("workspace", text);
    let slug = Workspace::parse(text).map_err(|_| unknown())?;
    if !sees(call, &slug) {
        return Err(unknown());
    }
    match call.policy.workspace(&slug) {
        Some(record) => Ok((*record).clone()),
        None if slug == Workspace::default() => Ok(unrecorded()),
        None => Err(unknown()),
    }
}

fn set(call: &Call<'_>, record: &mut WorkspaceRecord, body: WorkspaceBody) -> Result<(), Refusal> {
    if body.users.is_some_and(|users| !users.is_empty()) {
        let message = "`users`: there are no users here; create an API key of the workspace for each, and leave this out";
        return Err(Refusal::invalid("users", message));
    }
    if let Some(name) = body.name {
        record.name = name;
    }
    if let Some(description) = body.description {
        record.description = description;
    }
    if let Some(defaults) = body.defaults {
        record.defaults = defaults.check(call, &record.slug)?;
    }
    body::set_caps(&mut record.caps, body.usage_limits, body.rate_limits);
    if let Some(status) = body.status {
        record.status = parse_status("status", &status)?;
    }
    record.limits().map(drop).map_err(|err| body::cap(&err))
}

fn shown(record: &WorkspaceRecord) -> Value {
    json!({
        "id": record.slug, "object": "workspace", "slug": record.slug, "name": record.name,
        "description": record.description, "defaults": record.defaults, "status": record.status,
        "usage_limits": record.caps.usage_limits, "rate_limits": record.caps.rate_limits,
        "created_at": date(record.created.at), "last_updated_at": date(record.updated.at),
        "created_by": record.created.by, "updated_by": record.updated.by,
    })
}
