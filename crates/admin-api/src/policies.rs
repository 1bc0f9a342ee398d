//! Policies of usage and rates: limits on the requests of a workspace that fulfil conditions.

use std::sync::Arc;

use domain::policy::{Declared, Key, LimitPolicy, PolicyKind, Status};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Counted, Plan, Subject, date, list, write};
use crate::body::{self, given};
use crate::call::{Call, given_slug, parse_status};
use crate::refusal::Refusal;
use crate::usage;

/// A budget: new, or what changes of one. On a change, what is not given stays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UsagePolicyBody {
    /// Its name for people.
    name: Option<String>,
    /// Its id. Made from the name if it is not given.
    slug: Option<String>,
    /// All have to be fulfilled, as in `[{"key": "metadata.team", "value": ["red", "blue"]}]`.
    conditions: Option<Vec<Value>>,
    /// Each combination of values is counted alone, as in `[{"key": "user"}]`.
    group_by: Option<Vec<Value>>,
    /// What is counted: `cost`, `tokens`, `requests`, `input_tokens` or `output_tokens`.
    #[serde(rename = "type", deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    unit: Option<Option<Value>>,
    /// The most that may be used: US dollars for `cost`.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<f64>")]
    credit_limit: Option<Option<Value>>,
    /// From here on somebody is told, in the unit of `credit_limit`.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<f64>")]
    alert_threshold: Option<Option<Value>>,
    /// `daily`, `weekly` or `monthly`; without it the budget is for all time.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    periodic_reset: Option<Option<Value>>,
    /// 1 to 365, instead of `periodic_reset`.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<u16>")]
    periodic_reset_days: Option<Option<Value>>,
    /// When the next period begins.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    next_usage_reset_at: Option<Option<Value>>,
    /// Nothing is refused: it is counted and told.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<bool>")]
    soft: Option<Option<Value>>,
    /// What happens while the counts cannot be reached: `open` or `closed`, the usual.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    on_unreachable: Option<Option<Value>>,
    /// `active` or `archived`.
    status: Option<String>,
    /// Who keeps it in line with files elsewhere, as `pointsman apply` does.
    managed_by: Option<String>,
    /// Workspace it belongs to.
    #[serde(rename = "workspace_id")]
    _workspace_id: Option<String>,
}

/// A rate: new, or what changes of one. On a change, what is not given stays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RatePolicyBody {
    /// Its name for people.
    name: Option<String>,
    /// Its id. Made from the name if it is not given.
    slug: Option<String>,
    /// All have to be fulfilled, as in `[{"key": "metadata.team", "value": ["red", "blue"]}]`.
    conditions: Option<Vec<Value>>,
    /// Each combination of values is counted alone, as in `[{"key": "user"}]`.
    group_by: Option<Vec<Value>>,
    /// What is counted: `requests`, `tokens`, `input_tokens`, `output_tokens` or `concurrent`.
    #[serde(rename = "type", deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    what: Option<Option<Value>>,
    /// `rps`, `rpm`, `rph`, `rpd` or `rpw`; none for `concurrent`.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    unit: Option<Option<Value>>,
    /// The most in that time.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<u64>")]
    value: Option<Option<Value>>,
    /// Nothing is refused: it is counted.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<bool>")]
    soft: Option<Option<Value>>,
    /// What happens while the counts cannot be reached: `open`, the usual, or `closed`.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    on_unreachable: Option<Option<Value>>,
    /// `active` or `archived`.
    status: Option<String>,
    /// Who keeps it in line with files elsewhere, as `pointsman apply` does.
    managed_by: Option<String>,
    /// Workspace it belongs to.
    #[serde(rename = "workspace_id")]
    _workspace_id: Option<String>,
}

/// What a body of either kind brings.
struct Body {
    name: Option<String>,
    slug: Option<String>,
    conditions: Option<Vec<Value>>,
    group_by: Option<Vec<Value>>,
    /// Fields of the cap: set, or taken away.
    cap: Vec<(&'static str, Option<Option<Value>>)>,
    status: Option<String>,
    managed_by: Option<String>,
}

/// One of the two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape(PolicyKind);

impl Shape {
    fn word(self) -> &'static str {
        match self.0 {
            PolicyKind::Usage => "usage limits policy",
            PolicyKind::Rate => "rate limits policy",
        }
    }

    /// Portkey's word.
    fn object(self) -> &'static str {
        match self.0 {
            PolicyKind::Usage => "policy_usage_limits",
            PolicyKind::Rate => "policy_rate_limits",
        }
    }

    fn body(self, call: &Call<'_>) -> Result<Body, Refusal> {
        match self.0 {
            PolicyKind::Usage => {
                let body: UsagePolicyBody = body::read(call.body)?;
                Ok(Body {
                    name: body.name,
                    slug: body.slug,
                    conditions: body.conditions,
                    group_by: body.group_by,
                    cap: vec![
                        ("type", body.unit),
                        ("credit_limit", body.credit_limit),
                        ("alert_threshold", body.alert_threshold),
                        ("periodic_reset", body.periodic_reset),
                        ("periodic_reset_days", body.periodic_reset_days),
                        ("next_usage_reset_at", body.next_usage_reset_at),
                        ("soft", body.soft),
                        ("on_unreachable", body.on_unreachable),
                    ],
                    status: body.status,
                    managed_by: body.managed_by,
                })
            }
            PolicyKind::Rate => {
                let body: RatePolicyBody = body::read(call.body)?;
                Ok(Body {
                    name: body.name,
                    slug: body.slug,
                    conditions: body.conditions,
                    group_by: body.group_by,
                    cap: vec![
                        ("type", body.what),
                        ("unit", body.unit),
                        ("value", body.value),
                        ("soft", body.soft),
                        ("on_unreachable", body.on_unreachable),
                    ],
                    status: body.status,
                    managed_by: body.managed_by,
                })
            }
        }
    }

    fn index(self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let (status, page) = (call.query.status()?, call.query.page()?);
        let mut all = call.policy.limit_policies(&call.workspace);
        all.retain(|policy| policy.kind == self.0 && policy.status == status);
        let answer = list(all.clone(), page, |policy| {
            let mut shown = self.shown(&policy);
            shown["revision"] = json!(call.policy.sequence(&place(&policy)));
            shown
        });
        Ok(answer.counting(call.policy, page.of(&all).iter().map(|policy| countable(call, policy))))
    }

    fn read(self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let policy = self.current(call)?;
        let mut counted = Counted::new(self.shown(&policy), call.policy.sequence(&place(&policy)));
        if let Some(key) = countable(call, &policy) {
            counted = counted.at("", call.policy.limits_of(&key));
        }
        Ok(Answer::Counted(counted))
    }

    fn create(self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let mut new = self.body(call)?;
        call.must_be_open()?;
        let name = new.name.take().unwrap_or_else(|| self.word().to_owned());
        let text = new.slug.take().unwrap_or_else(|| call.slug_of(&name, true));
        let id = given_slug(&text)?;
        if call.policy.limit_policy(&call.workspace, &id).is_some() {
            let message = format!("`slug`: `{id}` is there already, perhaps archived; choose another");
            return Err(Refusal::conflict("slug", message));
        }
        let mut policy = LimitPolicy {
            id,
            workspace: call.workspace.clone(),
            kind: self.0,
            name,
            conditions: Vec::new(),
            group_by: Vec::new(),
            cap: Map::new(),
            status: Status::Active,
            managed_by: None,
            created: call.stamp(),
            updated: call.stamp(),
        };
        set(&mut policy, new)?;
        let after = self.shown(&policy);
        let writes = vec![write(place(&policy), &policy, None)];
        let plan = Plan::new(self.subject(&policy), "create", (Value::Null, after.clone()), writes);
        Ok(plan.replying(201, after))
    }

    fn update(self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let change = self.body(call)?;
        let old = self.current(call)?;
        let revision = call.revision(&place(&old))?;
        if change.slug.as_deref().is_some_and(|slug| slug != old.id.as_str()) {
            let message = "`slug` cannot be changed; create another and delete this one";
            return Err(Refusal::invalid("slug", message));
        }
        let mut new = LimitPolicy { updated: call.stamp(), ..(*old).clone() };
        set(&mut new, change)?;
        let views = (self.shown(&old), self.shown(&new));
        let after = views.1.clone();
        let writes = vec![write(place(&new), &new, revision)];
        Ok(Plan::new(self.subject(&new), "update", views, writes).replying(200, after))
    }

    fn delete(self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let old = self.current(call)?;
        let revision = call.revision(&place(&old))?;
        let new = LimitPolicy { status: Status::Archived, updated: call.stamp(), ..(*old).clone() };
        let views = (self.shown(&old), self.shown(&new));
        let writes = vec![write(place(&new), &new, revision)];
        Ok(Plan::new(self.subject(&new), "delete", views, writes).replying(200, json!({})))
    }

    fn entities(self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let policy = self.current(call)?;
        Ok(Answer::Buckets(usage::rows(call.policy, declared(call, &policy)), call.query.page()?))
    }

    fn reset(self, call: &Call<'_>) -> Result<Answer, Refusal> {
        if !call.body.is_null() {
            body::read::<crate::targets::Reset>(call.body)?;
        }
        let policy = self.current(call)?;
        let entity = call.params.get(1).copied().unwrap_or_default();
        let views = (Value::Null, json!({ "entity": entity, "used": 0 }));
        let plan = Plan::new(self.subject(&policy), "reset", views, Vec::new());
        Ok(Answer::ResetCount(
            Box::new(plan),
            usage::rows(call.policy, declared(call, &policy)),
            entity.to_owned(),
        ))
    }

    fn current(self, call: &Call<'_>) -> Result<Arc<LimitPolicy>, Refusal> {
        let id = call.slug(self.word())?;
        let found = call.policy.limit_policy(&call.workspace, &id).filter(|policy| policy.kind == self.0);
        found.ok_or_else(|| Refusal::not_found(self.word(), id.as_str()))
    }

    fn subject(self, policy: &LimitPolicy) -> Subject {
        Subject { resource: self.object(), id: policy.id.to_string(), workspace: policy.workspace.clone() }
    }

    fn shown(self, policy: &LimitPolicy) -> Value {
        let mut shown = json!({
            "id": policy.id, "slug": policy.id, "object": self.object(), "name": policy.name,
            "conditions": policy.conditions, "group_by": policy.group_by,
        });
        for (field, value) in &policy.cap {
            shown[field] = value.clone();
        }
        let rest = json!({
            "status": policy.status, "workspace_id": policy.workspace,
            "created_at": date(policy.created.at), "last_updated_at": date(policy.updated.at),
            "created_by": policy.created.by, "updated_by": policy.updated.by, "managed_by": policy.managed_by,
        });
        if let (Some(shown), Value::Object(rest)) = (shown.as_object_mut(), rest) {
            shown.extend(rest);
        }
        shown
    }
}

fn place(policy: &LimitPolicy) -> Key {
    Key::Policy(policy.workspace.clone(), policy.id.clone())
}

/// The place of a policy with one count; those of others are its entities.
fn countable(call: &Call<'_>, policy: &LimitPolicy) -> Option<Key> {
    Some(place(policy)).filter(|key| !call.policy.is_grouped(key))
}

fn declared(call: &Call<'_>, policy: &LimitPolicy) -> Vec<Declared> {
    let key = place(policy);
    let grouped = call.policy.is_grouped(&key);
    let one = |limit| Declared { key: key.clone(), name: policy.name.clone(), limit, grouped };
    call.policy.limits_of(&key).into_iter().map(one).collect()
}

/// Takes over what a body brings, checked as a whole.
fn set(policy: &mut LimitPolicy, body: Body) -> Result<(), Refusal> {
    if let Some(name) = body.name {
        policy.name = name;
    }
    if let Some(owner) = body.managed_by {
        policy.managed_by = Some(owner);
    }
    if let Some(conditions) = body.conditions {
        policy.conditions = conditions;
    }
    if let Some(groups) = body.group_by {
        policy.group_by = groups;
    }
    for (field, value) in body.cap {
        match value {
            None => {}
            Some(None | Some(Value::Null)) => drop(policy.cap.shift_remove(field)),
            Some(Some(value)) => drop(policy.cap.insert(field.to_owned(), value)),
        }
    }
    if let Some(status) = body.status {
        policy.status = parse_status("status", &status)?;
    }
    policy.rule().map(drop).map_err(|err| body::cap(&err))
}

macro_rules! handlers {
    ($module:ident, $kind:ident, $($name:ident),+) => {
        pub(crate) mod $module {
            use super::{Answer, Call, PolicyKind, Refusal, Shape};

            $(pub(crate) fn $name(call: &Call<'_>) -> Result<Answer, Refusal> {
                Shape(PolicyKind::$kind).$name(call)
            })+
        }
    };
}

handlers!(usage_limits, Usage, index, read, create, update, delete, entities, reset);
handlers!(rate_limits, Rate, index, read, create, update, delete, entities, reset);
