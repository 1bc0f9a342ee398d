//! One question after the other: understood, planned against the policy, stored, answered.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bus::audit::PolicyChange;
use bus::service::Question;
use bus::{Headers, PutError, identity};
use bytes::Bytes;
use domain::admin::{BODY_LIMIT, Reply, Request, decode, encode};
use domain::audit::Entry;
use domain::{RequestId, Slug};
use rand::TryRng as _;
use role::Ctx;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::{error, warn};

use crate::answer::{Answer, Plan, in_both_envelopes, stamp};
use crate::audit_log::{self, MOST};
use crate::call::{Call, Caller, Query};
use crate::options::Options;
use crate::refusal::Refusal;
use crate::routes::{self, Needs, Route};
use crate::{analytics, cache, targets, usage};

/// Largest answer: it has to fit into one message.
const REPLY_LIMIT: usize = 900 * 1024;

/// How long a change may take to be seen by its own process before it is answered all the same.
const SEEN: Duration = Duration::from_secs(3);

/// How often a change is planned again because somebody else was first.
const TRIES: u32 = 20;

/// Where questions are answered.
pub(crate) struct Door {
    pub(crate) ctx: Ctx,
    pub(crate) options: Options,
}

/// An answer before it is framed.
struct Said {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Bytes,
}

/// What is kept of an answer, for a question that is sent again.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// Hash of what was asked.
    asked: String,
    status: u16,
    body: Value,
    /// How far the change's sequence is behind this record's.
    behind: u64,
}

/// The question's own key against being done twice.
struct Once {
    place: String,
    asked: String,
}

impl Door {
    /// Answers one question.
    pub(crate) async fn answer(self: Arc<Self>, question: Question) {
        let said = match decode::<Request>(&question.payload()) {
            Ok((request, body)) => self.reply(&request, &body).await,
            Err(err) => Err(Refusal::invalid("body", format!("the question cannot be read: {err}"))),
        };
        let said = said.and_then(|said| match said.body.len() > REPLY_LIMIT {
            true => Err(Refusal::too_large(
                "the answer does not fit into one message; ask with a smaller `page_size`",
            )),
            false => Ok(said),
        });
        let said = said.unwrap_or_else(|refusal| Said::json(refusal.status, &refusal.body()));
        let head = Reply { status: said.status, headers: said.headers };
        question.answer(Headers::new(), encode(&head, &said.body)).await;
    }

    async fn reply(&self, request: &Request, body: &Bytes) -> Result<Said, Refusal> {
        self.catch_up(request).await;
        let (route, params) = routes::find(&request.method, &request.path)?;
        if body.len() > BODY_LIMIT {
            let message =
                format!("the body is larger than {BODY_LIMIT} bytes, the most that the admin API takes");
            return Err(Refusal::too_large(message));
        }
        let query = Query::parse(&request.query);
        query.only(route.query)?;
        let parsed = match (route.body, body.is_empty()) {
            (Some(_), false) => serde_json::from_slice(body)
                .map_err(|err| Refusal::invalid("body", format!("the body is not JSON: {err}")))?,
            _ => Value::Null,
        };
        let caller = self.caller(route, request)?;
        let once = once(request, body, &caller)?;
        if let Some(said) = self.said_before(once.as_ref()).await? {
            return Ok(said);
        }
        let entropy = entropy()?;
        for tried in 1..=TRIES {
            let answer = self.decide(route, &params, &query, &parsed, request, &caller, entropy)?;
            let plan = match self.perform(answer, request, &caller).await? {
                ControlFlow::Break(said) => return Ok(said),
                ControlFlow::Continue(plan) => plan,
            };
            let change = change(&plan, request, &caller, once.as_ref(), self.ctx.clock().now());
            match self.ctx.bus().change_policy(&change).await {
                Ok(sequence) => return self.changed(plan, sequence).await,
                Err(PutError::Conflict) => self.somebody_was_first(tried, once.as_ref()).await?,
                Err(err) => return Err(not_stored(&err)),
            }
            if let Some(said) = self.said_before(once.as_ref()).await? {
                return Ok(said);
            }
        }
        Err(Refusal::unavailable("others keep changing the same entity; try again"))
    }

    /// Answers what stores nothing; what is a change comes back.
    async fn perform(
        &self,
        answer: Answer,
        request: &Request,
        caller: &Caller,
    ) -> Result<ControlFlow<Said, Plan>, Refusal> {
        let (bus, now) = (self.ctx.bus(), self.ctx.clock().now());
        let said = match answer {
            Answer::Change(plan) => return Ok(ControlFlow::Continue(*plan)),
            Answer::Found(body, revision) => found(body, revision),
            Answer::Text(kind, text) => Said::text(kind, text),
            Answer::Audit(filter, page) => {
                let audit = bus.audit(&filter, MOST).await.map_err(unreadable)?;
                Said::json(200, &audit_log::shown(audit, page))
            }
            Answer::Targets(workspace, page) => {
                let all = bus.targets_health().await.map_err(unreadable)?;
                Said::json(200, &targets::shown(all, workspace.as_ref(), page))
            }
            Answer::Reset(plan) => {
                let change = change(&plan, request, caller, None, now);
                targets::close(bus, &change, &caller.actor()).await?;
                Said::json(200, &json!({}))
            }
            Answer::Counted(counted) => {
                let limits = counted.places.iter().flat_map(|place| &place.limits);
                let counts = usage::read(bus, limits).await.map_err(unreadable)?;
                let (body, revision) = usage::fill(counted, &counts, now);
                found(body, revision)
            }
            Answer::Buckets(rows, page) => {
                let counts = usage::read_rows(bus, &rows).await.map_err(unreadable)?;
                Said::json(200, &usage::shown(&rows, &counts, page, now))
            }
            Answer::ResetCount(plan, rows, id) => {
                let change = change(&plan, request, caller, None, now);
                usage::reset(bus, &change, &rows, &id).await?;
                Said::json(200, &json!({}))
            }
            Answer::Export(order) => {
                let mut said = Said::text(order.format.media_type(), "");
                said.headers.insert(export::HEADER.to_owned(), json!(order).to_string());
                said
            }
            Answer::Cache(asked) => Said::json(200, &cache::answer(bus, &asked, now).await?),
            Answer::Invalidate(plan, selection) => {
                let change = change(&plan, request, caller, None, now);
                Said::json(200, &cache::take_out(bus, change, *selection).await?)
            }
            Answer::Books(asked) => {
                let report = analytics::read(bus, &asked).await?;
                Said::json(200, &analytics::shown(&asked, &report)?)
            }
        };
        Ok(ControlFlow::Break(said))
    }

    /// A caller who has seen a change sees it here, too.
    async fn catch_up(&self, request: &Request) {
        let seen = request.headers.get("pointsman-policy-sequence").and_then(|text| text.parse().ok());
        let Some(seen) = seen else { return };
        // Bounded: anybody may write any number.
        self.ctx.bus().policy_reached(self.ctx.policy(), seen, Duration::from_millis(500)).await;
    }

    fn caller(&self, route: &Route, request: &Request) -> Result<Caller, Refusal> {
        let now = self.ctx.clock().now();
        let identity = match route.needs {
            Needs::Nothing => domain::policy::Identity::default(),
            Needs::Scope(_) | Needs::ScopeOfKey(_) => self
                .options
                .access
                .believe(&request.identity, &request.purpose(), now)
                .map_err(|err| Refusal::unauthenticated(err.to_string()))?,
        };
        let caller = self.ctx.policy().read(|policy| Caller::new(identity, policy, now))?;
        if let Needs::Scope(scope) = route.needs {
            caller.must_have(scope)?;
        }
        Ok(caller)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one question, taken apart once")]
    fn decide(
        &self,
        route: &Route,
        params: &[&str],
        query: &Query,
        body: &Value,
        request: &Request,
        caller: &Caller,
        entropy: [u8; 48],
    ) -> Result<Answer, Refusal> {
        let asked = match body.get("workspace_id") {
            Some(Value::String(text)) => Some(text.as_str()),
            Some(Value::Null) | None => query
                .get("workspace_id")
                .or_else(|| request.headers.get("x-pointsman-workspace").map(String::as_str)),
            Some(_) => {
                return Err(Refusal::invalid("workspace_id", "`workspace_id`: write a workspace's slug"));
            }
        };
        self.ctx.policy().read(|policy| {
            let call = Call {
                params: params.to_vec(),
                query: query.clone(),
                body,
                if_match: if_match(request)?,
                caller,
                workspace: caller.workspace(policy, asked)?,
                names_workspace: asked.is_some(),
                policy,
                registry: &self.ctx.registry(),
                options: &self.options,
                now: self.ctx.clock().now(),
                entropy,
            };
            (route.handler)(&call)
        })
    }

    /// The answer that the same question had before.
    async fn said_before(&self, once: Option<&Once>) -> Result<Option<Said>, Refusal> {
        let Some(once) = once else { return Ok(None) };
        let Some(there) = self.ctx.bus().remembered(&once.place).await.map_err(unreadable)? else {
            return Ok(None);
        };
        let kept: Kept = serde_json::from_slice(&there.payload)
            .map_err(|err| Refusal::unavailable(format!("the earlier answer cannot be read: {err}")))?;
        if kept.asked != once.asked {
            let message =
                "header `Idempotency-Key`: the same key came with another body before; use a fresh key";
            return Err(Refusal::conflict("Idempotency-Key", message));
        }
        let revision = there.sequence + kept.behind;
        self.ctx.bus().policy_reached(self.ctx.policy(), revision, SEEN).await;
        let mut said = changed(kept.status, kept.body, revision);
        said.headers.insert("idempotent-replayed".to_owned(), "true".to_owned());
        Ok(Some(said))
    }

    /// Answers a change that is stored, once this process sees it.
    async fn changed(&self, plan: Plan, sequence: u64) -> Result<Said, Refusal> {
        if !self.ctx.bus().policy_reached(self.ctx.policy(), sequence, SEEN).await {
            warn!(sequence, "a change was stored, but this process does not see it yet");
        }
        for bucket in &plan.resets {
            self.ctx.bus().reset_limit(bucket).await.map_err(|err| {
                warn!(%err, bucket, "a count was not reset");
                Refusal::unavailable(format!(
                    "the change is stored, but the count `{bucket}` was not reset; send the change again"
                ))
            })?;
        }
        let mut body = plan.reply;
        for (name, secret) in plan.once {
            body[name] = Value::from(secret);
        }
        Ok(changed(plan.status, body, sequence))
    }

    async fn somebody_was_first(&self, tried: u32, once: Option<&Once>) -> Result<(), Refusal> {
        if let Err(err) = self.ctx.bus().load_policy(self.ctx.policy()).await {
            return Err(unreadable(err));
        }
        // A replica may lag behind the leader that refused, and who was first may be at it again.
        let wait = Duration::from_millis(u64::from(tried.min(10)) * 5 + rand::random_range(0..10));
        if tried > 1 || once.is_none() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

impl Said {
    fn json(status: u16, body: &Value) -> Self {
        let mut said = Self::text("application/json", "");
        (said.status, said.body) = (status, Bytes::from(body.to_string()));
        said
    }

    fn text(kind: &str, text: &'static str) -> Self {
        let headers = [("content-type", kind), ("cache-control", "no-store")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { status: 200, headers, body: Bytes::from_static(text.as_bytes()) }
    }
}

fn found(body: Value, revision: Option<u64>) -> Said {
    let mut body = match revision {
        Some(revision) => stamp(body, revision),
        None => body,
    };
    let mut said = Said::json(200, &body);
    // What does not fit twice is under `data` only.
    if said.body.len() <= REPLY_LIMIT / 2 {
        in_both_envelopes(&mut body);
        said = Said::json(200, &body);
    }
    let Some(revision) = revision else { return said };
    said.headers.insert("etag".to_owned(), format!("\"{revision}\""));
    said
}

fn changed(status: u16, body: Value, sequence: u64) -> Said {
    let mut said = found(body, Some(sequence));
    said.status = status;
    said.headers.insert("pointsman-policy-sequence".to_owned(), sequence.to_string());
    said
}

/// What is stored for a plan.
fn change(
    plan: &Plan,
    request: &Request,
    caller: &Caller,
    once: Option<&Once>,
    now: domain::Timestamp,
) -> PolicyChange {
    let audit = Entry {
        id: RequestId::fresh(now.0, rand::random()),
        time: now,
        actor: caller.actor(),
        action: format!("{}.{}", plan.subject.resource, plan.verb),
        resource: plan.subject.resource.to_owned(),
        resource_id: plan.subject.id.clone(),
        workspace_id: plan.subject.workspace.clone(),
        before: plan.before.clone(),
        after: plan.after.clone(),
        ip: request.ip.clone(),
        request_id: Some(request.request_id.clone()),
    };
    let mut change = PolicyChange { writes: plan.writes.clone(), audit, answer: None };
    if let Some(once) = once {
        let kept = json!(Kept {
            asked: once.asked.clone(),
            status: plan.status,
            body: plan.reply.clone(),
            behind: change.behind_answer(),
        });
        change.answer = Some((once.place.clone(), Bytes::from(kept.to_string())));
    }
    change
}

/// The key under which a question's answer is remembered. It is the caller's own: others may use the same text.
fn once(request: &Request, body: &Bytes, caller: &Caller) -> Result<Option<Once>, Refusal> {
    let Some(key) = request.headers.get("idempotency-key").filter(|_| request.method == "POST") else {
        return Ok(None);
    };
    if key.is_empty() || key.len() > 255 {
        return Err(Refusal::invalid(
            "Idempotency-Key",
            "header `Idempotency-Key`: write 1 to 255 characters",
        ));
    }
    let who = caller.key.as_ref().map_or("", |key| Slug::as_str(&key.id));
    let workspace = request.headers.get("x-pointsman-workspace").map_or("", String::as_str);
    let place = identity::hash(&format!("{who}\n{} {}\n{key}", request.method, request.path));
    let asked = identity::hash(&format!("{workspace}\n{}\n{}", request.query, String::from_utf8_lossy(body)));
    Ok(Some(Once { place, asked }))
}

fn if_match(request: &Request) -> Result<Option<u64>, Refusal> {
    let Some(text) = request.headers.get("if-match").filter(|text| *text != "*") else { return Ok(None) };
    let revision = text.trim().trim_start_matches("W/").trim_matches('"').parse();
    revision.map(Some).map_err(|_| {
        let message =
            format!("header `If-Match`: `{text}` is no revision; send the `ETag` of the entity as it came");
        Refusal::invalid("If-Match", message)
    })
}

/// From the operating system's source.
fn entropy() -> Result<[u8; 48], Refusal> {
    let mut bytes = [0; 48];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(|err| {
        error!(%err, "the operating system gives no random numbers");
        Refusal::unavailable("the operating system gives no random numbers")
    })?;
    Ok(bytes)
}

fn unreadable(err: bus::state::ReadError) -> Refusal {
    warn!(%err, "could not read from the broker");
    Refusal::unavailable("the broker could not be asked; try again")
}

fn not_stored(err: &PutError) -> Refusal {
    warn!(%err, "a change was not stored");
    match err {
        PutError::TooLarge(_) => {
            Refusal::too_large("the entity does not fit into one message; make it smaller")
        }
        PutError::StorageFull | PutError::BacklogFull => {
            Refusal::unavailable("the broker's storage is full, so nothing can be changed")
        }
        PutError::Conflict | PutError::Unavailable(_) => Refusal::unavailable(
            "the broker did not confirm the change, so it may or may not have been made; read the entity, \
             or send the question again with the same `Idempotency-Key`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_that_does_not_fit_twice_is_under_data_only() {
        for (length, top) in [(10, json!("pc-a")), (REPLY_LIMIT / 2, Value::Null)] {
            let entity = json!({ "success": true, "data": { "id": "pc-a", "config": "x".repeat(length) } });
            let said = found(entity, Some(7));
            assert!(said.body.len() <= REPLY_LIMIT, "{length}");
            let body: Value = serde_json::from_slice(&said.body).unwrap();
            assert_eq!(
                (&body["data"]["id"], &body["data"]["revision"]),
                (&json!("pc-a"), &json!(7)),
                "{length}"
            );
            assert_eq!(body["id"], top, "{length}");
            assert_eq!(said.headers["etag"], "\"7\"");
        }
    }
}
