//! API keys: made, shown once, rotated with an overlap, archived. Only a hash of the secret is kept.

use std::sync::Arc;
use std::time::Duration;

use bus::identity;
use domain::policy::{ApiKey, ApiKeyKind, Caps, Defaults, Key, PreviousSecret, Scope, Status};
use domain::{Slug, Workspace};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Answer, Counted, Plan, Subject, date, list, write};
use crate::body::{self, DefaultsBody, Flag, When, given};
use crate::call::{Call, parse_status};
use crate::refusal::Refusal;

/// How long a replaced secret stays good unless the rotation says otherwise.
const OVERLAP: Duration = Duration::from_secs(30 * 60);

/// An API key: new, or what changes of one. On a change, what is not given stays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ApiKeyBody {
    /// As in the path.
    id: Option<String>,
    /// As in the path.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// As in the path.
    #[serde(rename = "sub-type")]
    sub_type: Option<String>,
    /// Its name for people. Needed for a new one.
    name: Option<String>,
    /// What it is for.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    description: Option<Option<String>>,
    /// The person it belongs to; needed for a user's key.
    user_id: Option<String>,
    /// What it may do, as in `completions.write`, `configs.*`, `*`. Not more than the caller may.
    scopes: Option<Vec<String>>,
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
    /// `{"rotation_period": "monthly", "key_transition_period_ms": …}`.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<Value>")]
    rotation_policy: Option<Option<Value>>,
    /// Who is told about alerts.
    alert_emails: Option<Vec<String>>,
    /// When it stops working.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<When>")]
    expires_at: Option<Option<When>>,
    /// `active` or `archived`.
    status: Option<String>,
    /// Who keeps it in line with files elsewhere, as `pointsman apply` does.
    managed_by: Option<String>,
    /// Workspace it belongs to.
    #[serde(rename = "workspace_id")]
    _workspace_id: Option<String>,
}

/// A rotation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotate {
    /// How long the old secret stays good, in milliseconds. Half an hour unless the key's policy says otherwise.
    key_transition_period_ms: Option<u64>,
    /// Workspace the key belongs to.
    #[serde(rename = "workspace_id")]
    _workspace_id: Option<String>,
}

pub(crate) fn index(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (status, page) = (call.query.status()?, call.query.page()?);
    let everywhere = call.caller.is_administrator() && !call.names_workspace;
    let mut keys = call.policy.api_keys((!everywhere).then_some(&call.workspace));
    let listable = |kind| call.caller.allows(&scope(kind, "list"));
    let kinds = [ApiKeyKind::OrganisationService, ApiKeyKind::WorkspaceService, ApiKeyKind::WorkspaceUser];
    if !kinds.into_iter().any(listable) {
        call.caller.must_have(&scope(ApiKeyKind::WorkspaceService, "list"))?;
    }
    keys.retain(|key| key.status == status && sees(call, key) && listable(key.kind));
    let places: Vec<Option<Key>> =
        page.of(&keys).iter().map(|key| Some(Key::ApiKey(key.id.clone()))).collect();
    let answer = list(keys, page, |key| {
        let mut shown = shown(&key);
        shown["revision"] = json!(call.policy.sequence(&Key::ApiKey(key.id.clone())));
        shown
    });
    Ok(answer.counting(call.policy, places.into_iter()))
}

pub(crate) fn read(call: &Call<'_>) -> Result<Answer, Refusal> {
    let key = current(call, "read")?;
    let place = Key::ApiKey(key.id.clone());
    let counted = Counted::new(shown(&key), call.policy.sequence(&place));
    Ok(Answer::Counted(counted.at("", call.policy.limits_of(&place))))
}

pub(crate) fn create(call: &Call<'_>) -> Result<Answer, Refusal> {
    let kind = kind(call)?;
    call.caller.must_have(&scope(kind, "create"))?;
    if kind == ApiKeyKind::OrganisationService && !call.caller.is_administrator() {
        return Err(Refusal::forbidden("only an organisation's API key can make another"));
    }
    let mut new: ApiKeyBody = body::read(call.body)?;
    call.must_be_in_path("type", 0, new.kind.as_deref())?;
    call.must_be_in_path("sub-type", 1, new.sub_type.as_deref())?;
    if new.id.is_some() {
        return Err(Refusal::invalid("id", "`id` cannot be chosen; leave it out"));
    }
    call.must_be_open()?;
    let needed = |field: &str| Refusal::invalid(field, format!("`{field}` is missing"));
    let name = new.name.take().ok_or_else(|| needed("name"))?;
    if kind == ApiKeyKind::WorkspaceUser && new.user_id.is_none() {
        return Err(needed("user_id"));
    }
    let workspace = match kind {
        ApiKeyKind::OrganisationService => Workspace::default(),
        _ => call.workspace.clone(),
    };
    // No `_`, which ends the id in the key's text.
    let id: String = call.entropy[38..46].iter().map(|byte| format!("{byte:02x}")).collect();
    let id = Slug::parse(&format!("k{id}")).map_err(|_| Refusal::unavailable("no id for the key"))?;
    let secret = secret(call);
    let mut key = ApiKey {
        id: id.clone(),
        kind,
        workspace,
        name,
        description: None,
        user_id: None,
        hash: identity::hash(&secret),
        previous: None,
        scopes: Scope::usual(kind),
        defaults: Defaults::default(),
        caps: Caps::default(),
        rotation_policy: Value::Null,
        alert_emails: Vec::new(),
        expires_at: None,
        status: Status::Active,
        managed_by: None,
        created: call.stamp(),
        updated: call.stamp(),
    };
    set(call, &mut key, new)?;
    check_scopes(call, &key)?;
    let after = shown(&key);
    let writes = vec![write(Key::ApiKey(id.clone()), &key, None)];
    let mut plan = Plan::new(subject(&key), "create", (Value::Null, after), writes);
    plan.once = vec![("key", ApiKey::text(&id, &secret))];
    Ok(plan.replying(201, json!({ "id": id, "object": "api-key" })))
}

pub(crate) fn update(call: &Call<'_>) -> Result<Answer, Refusal> {
    let change: ApiKeyBody = body::read(call.body)?;
    let resets = change.reset_usage == Some(Flag(true));
    let old = current(call, "update")?;
    call.must_be_in_path("id", 0, change.id.as_deref())?;
    if let Some(field) =
        [("type", &change.kind), ("sub-type", &change.sub_type)].into_iter().find(|(_, f)| f.is_some())
    {
        let message = format!("`{}` cannot be changed; create another key and delete this one", field.0);
        return Err(Refusal::invalid(field.0, message));
    }
    let revision = call.revision(&Key::ApiKey(old.id.clone()))?;
    let mut new = ApiKey { updated: call.stamp(), ..(*old).clone() };
    set(call, &mut new, change)?;
    check_scopes(call, &new)?;
    let views = (shown(&old), shown(&new));
    let after = views.1.clone();
    let writes = vec![write(Key::ApiKey(new.id.clone()), &new, revision)];
    let mut plan = Plan::new(subject(&new), "update", views, writes);
    if resets {
        plan = plan.resetting(&new.limits().map_err(|err| body::cap(&err))?);
    }
    Ok(plan.replying(200, after))
}

pub(crate) fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let old = current(call, "delete")?;
    let revision = call.revision(&Key::ApiKey(old.id.clone()))?;
    let new = ApiKey { status: Status::Archived, updated: call.stamp(), ..(*old).clone() };
    let views = (shown(&old), shown(&new));
    let writes = vec![write(Key::ApiKey(new.id.clone()), &new, revision)];
    Ok(Plan::new(subject(&new), "delete", views, writes).replying(200, json!({})))
}

pub(crate) fn rotate(call: &Call<'_>) -> Result<Answer, Refusal> {
    let empty = json!({});
    let body = if call.body.is_null() { &empty } else { call.body };
    let asked: Rotate = body::read(body)?;
    let old = current(call, "update")?;
    // Whoever rotates a key holds it afterwards.
    check_scopes(call, &old)?;
    if old.status == Status::Archived {
        return Err(Refusal::conflict("status", "the API key was archived; make it active first"));
    }
    let revision = call.revision(&Key::ApiKey(old.id.clone()))?;
    let declared = old.rotation_policy["key_transition_period_ms"].as_u64();
    let overlap = asked.key_transition_period_ms.or(declared).map_or(OVERLAP, Duration::from_millis);
    let secret = secret(call);
    let new = ApiKey {
        hash: identity::hash(&secret),
        previous: (!overlap.is_zero())
            .then(|| PreviousSecret { hash: old.hash.clone(), until: call.now.plus(overlap) }),
        updated: call.stamp(),
        ..(*old).clone()
    };
    let views = (shown(&old), shown(&new));
    let writes = vec![write(Key::ApiKey(new.id.clone()), &new, revision)];
    let mut plan = Plan::new(subject(&new), "rotate", views, writes);
    plan.once = vec![("key", ApiKey::text(&new.id, &secret))];
    Ok(plan.replying(200, json!({ "id": new.id, "object": "api-key" })))
}

/// 256 random bits in hexadecimal.
fn secret(call: &Call<'_>) -> String {
    call.entropy[..32].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn kind(call: &Call<'_>) -> Result<ApiKeyKind, Refusal> {
    match call.params.as_slice() {
        ["organisation", "service"] => Ok(ApiKeyKind::OrganisationService),
        ["workspace", "service"] => Ok(ApiKeyKind::WorkspaceService),
        ["workspace", "user"] => Ok(ApiKeyKind::WorkspaceUser),
        other => Err(Refusal::no_route(format!(
            "there are no keys of the kind `{}`; use organisation/service, workspace/service or workspace/user",
            other.join("/")
        ))),
    }
}

fn scope(kind: ApiKeyKind, verb: &str) -> String {
    let noun = match kind {
        ApiKeyKind::OrganisationService => "organisation_service_api_keys",
        ApiKeyKind::WorkspaceService => "workspace_service_api_keys",
        ApiKeyKind::WorkspaceUser => "workspace_user_api_keys",
    };
    format!("{noun}.{verb}")
}

/// Whether the key lies where the caller may look at all.
fn sees(call: &Call<'_>, key: &ApiKey) -> bool {
    let administrator = call.caller.is_administrator();
    if key.kind == ApiKeyKind::OrganisationService {
        return administrator;
    }
    key.workspace == call.workspace || (administrator && !call.names_workspace)
}

/// The key that the path names, if the caller may do this with it.
fn current(call: &Call<'_>, verb: &str) -> Result<Arc<ApiKey>, Refusal> {
    let id = call.slug("API key")?;
    let key = call.policy.api_key(&id).filter(|key| sees(call, key));
    let key = key.ok_or_else(|| Refusal::not_found("API key", id.as_str()))?;
    call.caller.must_have(&scope(key.kind, verb))?;
    Ok(key)
}

fn subject(key: &ApiKey) -> Subject {
    Subject { resource: "api_key", id: key.id.to_string(), workspace: key.workspace.clone() }
}

/// Nobody gives away more than they have.
fn check_scopes(call: &Call<'_>, key: &ApiKey) -> Result<(), Refusal> {
    match key.scopes.iter().find(|scope| !call.caller.allows(scope.as_str())) {
        None => Ok(()),
        Some(scope) => {
            let message = format!("`scopes`: `{scope}` is more than the API key that asks may do itself");
            Err(Refusal { param: Some("scopes".to_owned()), ..Refusal::forbidden(message) })
        }
    }
}

fn set(call: &Call<'_>, key: &mut ApiKey, body: ApiKeyBody) -> Result<(), Refusal> {
    if let Some(name) = body.name {
        key.name = name;
    }
    if let Some(owner) = body.managed_by {
        key.managed_by = Some(owner);
    }
    if let Some(description) = body.description {
        key.description = description;
    }
    if let Some(user) = body.user_id {
        key.user_id = Some(user);
    }
    if let Some(words) = body.scopes {
        let parsed = words.iter().enumerate().map(|(at, word)| {
            let param = format!("scopes[{at}]");
            Scope::parse(word).map_err(|err| Refusal::invalid(&param, format!("`{param}`: {err}")))
        });
        key.scopes = parsed.collect::<Result<_, _>>()?;
    }
    if let Some(defaults) = body.defaults {
        key.defaults = defaults.check(call, &key.workspace)?;
    }
    body::set_caps(&mut key.caps, body.usage_limits, body.rate_limits);
    if let Some(policy) = body.rotation_policy {
        let policy = policy.unwrap_or_default();
        if !policy.is_null() && !policy.is_object() {
            return Err(Refusal::invalid("rotation_policy", "`rotation_policy`: write an object"));
        }
        key.rotation_policy = policy;
    }
    if let Some(emails) = body.alert_emails {
        key.alert_emails = emails;
    }
    if let Some(at) = body.expires_at {
        key.expires_at = at.map(|at| at.0);
    }
    if let Some(status) = body.status {
        key.status = parse_status("status", &status)?;
    }
    key.limits().map(drop).map_err(|err| body::cap(&err))
}

/// A key as callers see it; neither its secret nor the hash is.
fn shown(key: &ApiKey) -> Value {
    json!({
        "id": key.id, "object": "api-key", "type": key.kind, "name": key.name, "description": key.description,
        "masked_key": ApiKey::text(&key.id, "***"), "user_id": key.user_id, "workspace_id": key.workspace,
        "scopes": key.scopes, "defaults": key.defaults, "usage_limits": key.caps.usage_limits,
        "rate_limits": key.caps.rate_limits, "rotation_policy": key.rotation_policy,
        "previous_until": key.previous.as_ref().map(|previous| date(previous.until)),
        "alert_emails": key.alert_emails, "expires_at": key.expires_at.map(date), "status": key.status,
        "created_at": date(key.created.at), "last_updated_at": date(key.updated.at),
        "created_by": key.created.by, "updated_by": key.updated.by, "managed_by": key.managed_by,
    })
}
