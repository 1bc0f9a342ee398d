//! What makes a request the same as another, or alike: everything that shapes the answer, in a hash.

use bytes::Bytes;
use domain::cache::{self, Question, Status, Ticket};
use domain::config::cache::Mode;
use domain::config::params::Changes;
use domain::config::{Cache, Target};
use domain::{Envelope, Operation};
use providers::resolve::Resolved;
use providers::stored;
use serde_json::{Map, Value, json};

use super::inline;
use crate::target::dropped;

/// Raised when something else goes into the hashes: what was kept before is not found any more.
const VERSION: u32 = 1;

/// What is asked of the cache, and under what an answer is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) question: Question,
    /// None: the answer is not kept.
    pub(crate) ticket: Option<Ticket>,
}

impl Plan {
    /// The status of a request that has no answer in the cache.
    pub(crate) fn miss(&self) -> Status {
        if self.question.text.is_some() { Status::SemanticMiss } else { Status::Miss }
    }
}

/// Operations whose answers are kept.
fn keeps(envelope: &Envelope) -> bool {
    match envelope.operation {
        Operation::Chat
        | Operation::Completions
        | Operation::Messages
        | Operation::Embeddings
        | Operation::Moderations
        | Operation::Rerank
        | Operation::Images
        | Operation::CountTokens => true,
        // What goes on from an earlier response depends on more than the request.
        Operation::Responses => envelope.conversation.previous.is_none() && !envelope.conversation.background,
        _ => false,
    }
}

/// What is asked of the cache for a request at a target. None: the cache has no part in it.
pub(crate) fn plan(
    envelope: &Envelope,
    target: &Target,
    cache: &Cache,
    resolved: &Resolved,
    body: &Bytes,
    threshold: f64,
) -> Option<Plan> {
    let wishes = &envelope.wishes;
    // Nobody here can read headers that are sealed for the provider, and they may shape the answer.
    let sealed = envelope.forward.is_some() && !target.forward_headers.is_empty();
    if wishes.private || sealed || !inline(envelope) || !keeps(envelope) {
        return None;
    }
    let body = effective(envelope, target, resolved, body)?;
    if body.get("conversation").is_some_and(|conversation| !conversation.is_null()) {
        return None;
    }
    let question = match cache.mode {
        Mode::Simple => None,
        Mode::Semantic | Mode::Shadow => stored::question(envelope.operation, &body),
    };
    let question = question.filter(|question| question.text.len() <= cache::LONGEST_TEXT);
    let same = stored::same_request(&body);
    let key = hash(envelope, target, resolved, &same);
    let partition = match &question {
        Some(question) => hash(envelope, target, resolved, &rest(&question.rest)),
        None => key.clone(),
    };
    let text = question.map(|question| question.text.to_owned());
    let hot = body.get("temperature").and_then(Value::as_f64).unwrap_or(0.0)
        > cache.max_temperature.unwrap_or(cache::USUAL_TEMPERATURE);
    let ticket = Ticket {
        key: key.clone(),
        partition: partition.clone(),
        text: text.clone(),
        namespace: wishes.namespace.clone(),
        tags: cache.tags.iter().chain(&wishes.tags).cloned().collect(),
        max_age: max_age(envelope, cache),
        tool_calls: cache.tool_calls,
    };
    let question = Question {
        workspace: envelope.workspace.clone(),
        key,
        partition,
        text,
        threshold: Some(cache.similarity_threshold.unwrap_or(threshold)),
        max_age: wishes.max_age,
    };
    Some(Plan { question, ticket: Some(ticket).filter(|_| !wishes.no_store && !hot) })
}

/// How long the answer is good: what the caller says counts where the config says nothing, or more.
fn max_age(envelope: &Envelope, cache: &Cache) -> std::time::Duration {
    let asked = envelope.wishes.max_age.filter(|age| !age.is_zero());
    match (cache.max_age, asked) {
        (Some(ours), Some(theirs)) => ours.min(theirs),
        (Some(age), None) | (None, Some(age)) => age,
        (None, None) => cache::USUAL_AGE,
    }
}

/// The body as the provider gets it, in the caller's dialect.
fn effective(
    envelope: &Envelope,
    target: &Target,
    resolved: &Resolved,
    body: &Bytes,
) -> Option<Map<String, Value>> {
    let mut body: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let drops = dropped(target, envelope);
    let changes =
        Changes { defaults: &target.default_params, overrides: &target.override_params, drops: &drops };
    let named = body.get("model").and_then(Value::as_str).map(str::to_owned);
    let model = resolved.model.clone().or_else(|| changes.model(named.as_deref()));
    for (name, value) in changes.defaults {
        body.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for (name, value) in changes.overrides {
        body.insert(name.clone(), value.clone());
    }
    for path in changes.drops {
        path.remove_from(&mut body);
    }
    body.insert("model".to_owned(), model.map_or(Value::Null, Value::from));
    Some(body)
}

fn rest(rest: &Value) -> Value {
    rest.as_object().map_or(Value::Null, stored::same_request)
}

/// Everything that shapes the answer.
fn hash(envelope: &Envelope, target: &Target, resolved: &Resolved, body: &Value) -> String {
    let metadata = || envelope.metadata.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let scope = match &envelope.wishes.namespace {
        Some(namespace) => json!({ "namespace": namespace }),
        None => json!({ "metadata": metadata() }),
    };
    let all = json!({
        "v": VERSION,
        "workspace": envelope.workspace,
        "scope": scope,
        "operation": envelope.operation,
        "asks": resolved.operation,
        "provider": resolved.provider,
        "format": resolved.format,
        "url": resolved.base_url,
        "path": resolved.path_and_query,
        "headers": resolved.headers,
        "unsupported": target.unsupported_params,
        "strict": target.strict_open_ai_compliance,
        "cost": envelope.show_cost,
        "keep": envelope.conversation.keep,
        "body": body,
    });
    cache::hash(&stored::canonical(&all))
}

#[cfg(test)]
mod tests;
