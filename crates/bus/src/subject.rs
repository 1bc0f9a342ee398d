//! Every subject of the system. No other file contains one.

use domain::operation::Class;
use domain::{Lane, Operation, RequestId, Workspace, event};

/// Stream of accepted requests.
pub const REQUEST_STREAM: &str = "LLM_REQUEST";
/// Stream of provider calls.
pub const CALL_STREAM: &str = "LLM_CALL";
/// Stream of failed attempts and due retries.
pub const FALLBACK_STREAM: &str = "LLM_FALLBACK";
/// Stream of delayed retries.
pub const SCHEDULE_STREAM: &str = "LLM_SCHEDULE";
/// Stream of compare-and-set records.
pub const STATE_STREAM: &str = "LLM_STATE";
/// Stream of outcomes.
pub const RESULT_STREAM: &str = "LLM_RESULT";
/// Stream of responses that can be looked at and continued.
pub const RESPONSE_STREAM: &str = "LLM_RESPONSE";
/// Stream of events.
pub const EVENT_STREAM: &str = "LLM_EVENT";
/// Stream of what limits have counted.
pub const LIMIT_STREAM: &str = "LLM_LIMIT";
/// Stream of answers that may be given again.
pub const CACHE_STREAM: &str = "LLM_CACHE";
/// Stream of dead letters.
pub const DEAD_STREAM: &str = "LLM_DEAD";
/// Stream of what alerts said, what became of it, and what they remember.
pub const ALERT_STREAM: &str = "LLM_ALERT";
/// Stream of notices on their way to channels.
pub const NOTICE_STREAM: &str = "LLM_NOTICE";
/// Key-value bucket of providers and the default route.
pub const REGISTRY_BUCKET: &str = "llm_registry";
/// Object store bucket of large bodies.
pub const BODY_BUCKET: &str = "llm_bodies";
/// Object store bucket of large bodies of kept responses.
pub const RESPONSE_BUCKET: &str = "llm_responses";
/// The stream behind [`RESPONSE_BUCKET`].
pub(crate) const RESPONSE_BUCKET_STREAM: &str = "OBJ_llm_responses";

/// All requests that reach a router, lane by lane.
pub fn request_filters(lane: Lane) -> Vec<String> {
    let mut filters = vec![format!("llm.request.*.{lane}")];
    if lane == Lane::Normal {
        filters.push("llm.request.*".to_owned());
    }
    filters
}

/// Where a request is accepted.
pub fn request(operation: Operation, lane: Lane) -> String {
    format!("llm.request.{operation}.{lane}")
}

/// The operation word and the lane of a request subject. A subject without a lane is `normal`.
pub fn parse_request(subject: &str) -> Option<(&str, Lane)> {
    let mut tokens = subject.strip_prefix("llm.request.")?.split('.');
    let operation = tokens.next()?;
    let lane = tokens.next().map_or(Some(Lane::Normal), |word| word.parse().ok())?;
    tokens.next().is_none().then_some((operation, lane))
}

/// Request-reply door of the gateways, for all operations.
pub const ASK_ALL: &str = "llm.ask.*";

/// The operation word of a request-reply subject.
pub fn parse_ask(subject: &str) -> Option<&str> {
    subject.strip_prefix("llm.ask.")
}

/// Calls to one target, by class.
pub fn call(target: &str, class: Class) -> String {
    format!("llm.call.{target}.{class}")
}

/// Calls to one target, all classes.
pub fn call_all(target: &str) -> String {
    format!("llm.call.{target}.*")
}

/// All calls.
pub const CALL_EVERYTHING: &str = "llm.call.>";

/// The message that stands for a router: calls of its are taken only while it is there.
pub(crate) fn fence(router: &str, number: usize) -> String {
    format!("llm.fence.{}.{number}", token(router))
}

/// All fences of a router.
pub(crate) fn fences(router: &str) -> String {
    format!("llm.fence.{}.*", token(router))
}

/// What a bucket of a limit has counted; `place` is one token.
pub(crate) fn limit(place: &str) -> String {
    format!("llm.limit.{place}")
}

/// What all buckets have counted.
pub(crate) const LIMITS: &str = "llm.limit.*";

/// Somebody needs what routers hold of a bucket.
pub(crate) const LIMIT_RECALL: &str = "llm.recall";

/// Every attempt that ended.
pub(crate) const ATTEMPTS_ENDED: &str = "llm.event.*.attempt.finished";

/// Every request that ended without an attempt to say so.
pub(crate) const REQUESTS_ENDED: &str = "llm.event.*.request.finished";

/// The target of a call subject.
pub fn parse_call(subject: &str) -> Option<&str> {
    subject.strip_prefix("llm.call.")?.split('.').next()
}

/// Failed attempts at a target.
pub fn fallback(target: &str) -> String {
    format!("llm.fallback.{target}")
}

/// All failed attempts and due retries.
pub const FALLBACK_ALL: &str = "llm.fallback.*";

/// A delayed retry; one per request and number.
pub fn schedule(request: &RequestId, number: u32) -> String {
    format!("llm.schedule.{request}.{number}")
}

/// All delayed retries.
pub(crate) const SCHEDULES: &str = "llm.schedule.>";

/// All delayed retries of a request.
pub fn schedules(request: &RequestId) -> String {
    format!("llm.schedule.{request}.*")
}

/// Where a delayed retry comes out; arrives as [`fallback`].
pub fn due(target: &str) -> String {
    format!("llm.due.{target}")
}

/// Frames of an answer, for the gateway that holds the connection.
pub fn reply(gateway: &str, request: &RequestId) -> String {
    format!("llm.reply.{gateway}.{request}")
}

/// All frames for one gateway.
pub fn reply_all(gateway: &str) -> String {
    format!("llm.reply.{gateway}.*")
}

/// The claim of an attempt.
pub fn claim(request: &RequestId, number: u32) -> String {
    format!("llm.state.{request}.claim.{number}")
}

/// The durable cancel flag of a request.
pub fn cancel_flag(request: &RequestId) -> String {
    format!("llm.state.{request}.cancel")
}

/// The status of an asynchronous request.
pub fn status(request: &RequestId) -> String {
    format!("llm.state.{request}.status")
}

/// Status records of all asynchronous requests.
pub const STATUS_ALL: &str = "llm.state.*.status";

/// A lease that one process holds at a time.
pub fn lease(name: &str) -> String {
    format!("llm.state.=lease.{name}")
}

/// Where the broker's clock is read.
pub fn clock(process: &str) -> String {
    format!("llm.state.=clock.{process}")
}

/// How a request ended.
pub fn result(workspace: &Workspace, request: &RequestId) -> String {
    format!("llm.result.{workspace}.{request}")
}

/// All outcomes.
pub const RESULT_ALL: &str = "llm.result.>";

/// A response that is kept.
pub fn response(workspace: &Workspace, request: &RequestId) -> String {
    format!("llm.response.{workspace}.{request}")
}

/// Something that happened.
pub fn event(workspace: &Workspace, kind: event::Kind) -> String {
    format!("llm.event.{workspace}.{}", kind.as_str())
}

/// Everything of one kind that happened, in all workspaces.
pub fn events_of(kind: event::Kind) -> String {
    format!("llm.event.*.{}", kind.as_str())
}

/// All events.
pub const EVENT_ALL: &str = "llm.event.>";

/// Aborts a request wherever it is in flight.
pub fn cancel(request: &RequestId) -> String {
    format!("llm.cancel.{request}")
}

/// All cancellations.
pub const CANCEL_ALL: &str = "llm.cancel.*";

/// The request of a subject whose last token is a request id.
pub fn last_token(subject: &str) -> &str {
    subject.rsplit('.').next().unwrap_or(subject)
}

/// Messages put aside at a stage.
pub fn dead(stage: &str) -> String {
    format!("llm.dead.{stage}")
}

/// All messages put aside.
pub const DEAD_ALL: &str = "llm.dead.*";

/// What alerts remember: one record for all.
pub(crate) const ALERT_RECORD: &str = "llm.alert.record";

/// A notice, for the history.
pub(crate) fn alert_notice(notice: &str) -> String {
    format!("llm.alert.notice.{notice}")
}

/// All notices.
pub(crate) const ALERT_NOTICES: &str = "llm.alert.notice.*";

/// What became of a notice at a channel.
pub(crate) fn alert_delivery(notice: &str, channel: &str) -> String {
    format!("llm.alert.delivery.{notice}.{}", token(channel))
}

/// What became of all notices.
pub(crate) const ALERT_DELIVERIES: &str = "llm.alert.delivery.*.*";

/// A notice on its way to a channel.
pub(crate) fn notice(channel: &str) -> String {
    format!("llm.notice.{}", token(channel))
}

/// All notices on their way.
pub(crate) const NOTICE_ALL: &str = "llm.notice.*";

/// A notice that waits for its next try; one for each notice, channel and try.
pub(crate) fn notice_later(notice: &str, channel: &str, attempt: u32) -> String {
    format!("llm.notice.{}.later.{notice}.{attempt}", token(channel))
}

/// Asks a worker whether it still runs an attempt.
pub fn worker(worker: &str) -> String {
    format!("llm.lookup.worker.{worker}")
}

/// What a process has seen of targets, for all routers.
pub fn health(process: &str) -> String {
    format!("llm.health.{process}")
}

/// What all processes have seen of targets.
pub const HEALTH_ALL: &str = "llm.health.*";

/// Asks any router how the targets do.
pub const HEALTH_QUESTION: &str = "llm.lookup.health";

/// Stream of the targets' records.
pub const HEALTH_STREAM: &str = "KV_llm_health";

/// The record of a target, `<workspace>/<queue>`.
pub fn health_record(target: &str) -> String {
    let (workspace, queue) = target.split_once('/').unwrap_or(("", target));
    format!("$KV.llm_health.{}.{}", token(workspace), token(queue))
}

/// The records of all targets.
pub const HEALTH_RECORDS: &str = "$KV.llm_health.>";

/// Changes of targets' records, as they happen.
pub const HEALTH_LIVE: &str = "llm.live.health.>";

/// Changes of the registry, as they happen.
pub const REGISTRY_LIVE: &str = "llm.live.registry.>";

/// Asks the broker for a consumer's next messages.
pub(crate) fn pull(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
}

/// The registry itself.
pub const REGISTRY: &str = "$KV.llm_registry.current";

/// Every record of the administrators'.
pub(crate) const POLICY_ALL: &str = "$KV.llm_policy.>";

const POLICY: &str = "$KV.llm_policy.";

/// Changes of the administrators' records, as they happen.
pub(crate) const POLICY_LIVE: &str = "llm.live.policy.>";

/// An administrators' record.
pub(crate) fn policy(key: &str) -> String {
    format!("{POLICY}{key}")
}

/// The key of an administrators' record.
pub(crate) fn parse_policy(subject: &str) -> Option<&str> {
    subject.strip_prefix(POLICY)
}

/// The key of a record in a live change. The broker republishes under the last tokens of the subject.
pub(crate) fn parse_policy_live(subject: &str) -> Option<&str> {
    subject.strip_prefix("llm.live.policy.")
}

/// The audit entry of a change.
pub(crate) fn audit(workspace: &Workspace, entry: &RequestId) -> String {
    format!("llm.audit.{workspace}.{entry}")
}

/// All audit entries, or those of one workspace.
pub(crate) fn audit_all(workspace: Option<&Workspace>) -> String {
    workspace.map_or("llm.audit.>".to_owned(), |workspace| format!("llm.audit.{workspace}.>"))
}

/// What was answered to a question that may be sent twice; `place` is a hash.
pub(crate) fn once(place: &str) -> String {
    format!("llm.once.{place}")
}

/// Questions to the admin API.
pub const ADMIN: &str = "llm.lookup.admin";

/// Questions to the ledger.
pub const LEDGER: &str = "llm.lookup.ledger";

/// Asks the cache for an answer; the nodes share the questions.
pub const CACHE: &str = "llm.lookup.cache";

/// Administrators' questions about entries; the nodes share them.
pub const CACHE_ADMIN: &str = "llm.lookup.cache-admin";

/// Asks all cache nodes how they do.
pub const CACHE_NODES: &str = "llm.lookup.cache-nodes";

/// An answer that may be given again.
pub(crate) fn cache_entry(workspace: &Workspace, request: &RequestId) -> String {
    format!("llm.cache.{workspace}.{request}")
}

/// The request that is called for among the same ones; `key` is a hash.
pub(crate) fn flight(key: &str) -> String {
    format!("llm.state.=flight.{key}")
}

/// Tells that the request has ended that led a key.
pub(crate) fn landed(key: &str) -> String {
    format!("llm.flight.{key}.landed")
}

/// Every such end.
pub(crate) const LANDED_ALL: &str = "llm.flight.*.landed";

/// Asks whether anybody waits for the request that leads a key.
pub(crate) fn followed(key: &str) -> String {
    format!("llm.flight.{key}.followed")
}

/// Every such question.
pub(crate) const FOLLOWED_ALL: &str = "llm.flight.*.followed";

/// The key of a flight's subject.
pub fn parse_flight(subject: &str) -> Option<&str> {
    subject.strip_prefix("llm.flight.")?.split('.').next()
}

/// Asks the broker for messages of a stream without going through a consumer.
pub(crate) fn direct_get(stream: &str) -> String {
    format!("$JS.API.DIRECT.GET.{stream}")
}

/// Tells that a consumer of calls was created or deleted.
pub const CALL_CONSUMERS_CHANGED: &str = "$JS.EVENT.ADVISORY.CONSUMER.*.LLM_CALL.>";

/// Makes any text one subject token: other bytes than letters, digits, `-` and `_` become `=` and two hex digits.
pub fn token(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("={byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_subjects_parse_back() {
        assert_eq!(parse_request(&request(Operation::Chat, Lane::Bulk)), Some(("chat", Lane::Bulk)));
        assert_eq!(parse_request("llm.request.chat"), Some(("chat", Lane::Normal)));
        assert_eq!(parse_request("llm.request.what.interactive"), Some(("what", Lane::Interactive)));
        assert_eq!(parse_request("llm.request.chat.urgent"), None);
    }

    #[test]
    fn tokens_never_split_or_match_other_subjects() {
        assert_eq!(token("openai"), "openai");
        assert_eq!(token("a.b*>c d/é"), "a=2eb=2a=3ec=20d=2f=c3=a9");
    }
}
