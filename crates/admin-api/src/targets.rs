//! How targets do, and closing their circuits by an administrator's word.

use bus::Bus;
use bus::audit::PolicyChange;
use domain::Workspace;
use domain::health::TargetHealth;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::answer::{Answer, Plan, Subject, listed};
use crate::body;
use crate::call::{Call, Page};
use crate::refusal::Refusal;

/// A reset has nothing to say.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reset {}

pub(crate) fn index(call: &Call<'_>) -> Result<Answer, Refusal> {
    let everywhere = call.caller.is_administrator() && !call.names_workspace;
    Ok(Answer::Targets((!everywhere).then(|| call.workspace.clone()), call.query.page()?))
}

pub(crate) fn reset(call: &Call<'_>) -> Result<Answer, Refusal> {
    if !call.body.is_null() {
        body::read::<Reset>(call.body)?;
    }
    let target = unescape(call.params.first().copied().unwrap_or_default());
    let owner = owner(&target).ok_or_else(|| Refusal::not_found("target", &target))?;
    let own = call.caller.identity.workspace == owner;
    if !own && !call.caller.is_administrator() {
        return Err(Refusal::not_found("target", &target));
    }
    let subject = Subject { resource: "target", id: target, workspace: owner };
    let views = (Value::Null, json!({ "circuits": "closed" }));
    let plan = Plan::new(subject, "reset", views, Vec::new());
    Ok(Answer::Reset(Box::new(plan)))
}

/// The targets of a workspace, or of all.
pub(crate) fn shown(mut targets: Vec<TargetHealth>, workspace: Option<&Workspace>, page: Page) -> Value {
    targets.retain(|health| workspace.is_none_or(|w| owner(&health.target).as_ref() == Some(w)));
    targets.sort_by(|a, b| a.target.cmp(&b.target));
    listed(targets, page, |health| json!(health))
}

/// Records who wanted it, then does it: what was done without a record could not be explained.
pub(crate) async fn close(bus: &Bus, change: &PolicyChange, by: &str) -> Result<(), Refusal> {
    let unavailable = |err: &dyn std::fmt::Display| {
        tracing::warn!(%err, "a target was not reset");
        Refusal::unavailable("the broker could not be asked; try again")
    };
    let target = change.audit.resource_id.as_str();
    let known = bus.targets_health().await.map_err(|err| unavailable(&err))?;
    if !known.iter().any(|health| health.target == target) {
        return Err(Refusal::not_found("target", target));
    }
    bus.change_policy(change).await.map_err(|err| unavailable(&err))?;
    bus.reset_target(target, by).await.map_err(|err| unavailable(&err))
}

/// Targets are named `<workspace>/<queue>`.
fn owner(target: &str) -> Option<Workspace> {
    target.split_once('/').and_then(|(workspace, _)| Workspace::parse(workspace).ok())
}

/// Undoes percent-encoding: a target's name has a `/` in it.
fn unescape(text: &str) -> String {
    let pair = format!("target={}", text.replace('+', "%2B"));
    form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}
