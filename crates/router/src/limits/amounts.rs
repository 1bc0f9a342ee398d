//! What a call needs of every limit that applies to it, and what callers hear where there is too little.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use domain::config::Target;
use domain::config::params::Changes;
use domain::limit::{Asked, Bucket, Exceeded, Level, Unit, Unreachable, Window, Worst, worst};
use domain::model::{Models as _, NanoUsd};
use domain::policy::Spender;
use domain::{ApiError, Envelope, Operation, Timestamp};
use providers::models;
use providers::resolve::Resolved;
use serde_json::{Map, Value};

use super::{Refused, Want};
use crate::act::{NotCalled, Router, Trouble};
use crate::target::dropped;

/// What a call needs, and what has to be changed in it so that it cannot need more.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    pub(crate) wants: Vec<Want>,
    /// Most tokens of an answer, where nothing else bounds them.
    pub(crate) send_limit: Option<u64>,
}

/// Why a call is not made, as callers hear it.
#[derive(Debug)]
pub(crate) struct Limited {
    pub(crate) level: Level,
    pub(crate) error: ApiError,
    /// `x-ratelimit-*`.
    pub(crate) headers: BTreeMap<String, String>,
    /// Key of the bucket.
    pub(crate) bucket: String,
    /// When there may be room. None: nobody can say.
    pub(crate) opens_at: Option<Timestamp>,
    /// Calls under way may give some back before.
    pub(crate) may_open_sooner: bool,
}

impl Router {
    /// Whether limits of its key and its workspace let a request be answered without a call: it counts as one, and
    /// nothing may be used up.
    pub(crate) async fn admits(&self, envelope: &Envelope, resolved: &Resolved) -> Result<bool, Trouble> {
        if envelope.counted || !self.ctx.policy().read(|policy| policy.has_limits(&envelope.workspace)) {
            return Ok(true);
        }
        let of_request = |bucket: &Bucket| matches!(bucket.limit.level, Level::ApiKey | Level::Workspace);
        let buckets = self.buckets(envelope, resolved).into_iter().filter(of_request);
        // One of whatever is counted: there has to be that much left.
        let wants: Vec<Want> = buckets.map(|bucket| Want { bucket, amount: 1 }).collect();
        let number = envelope.numbers_used + 1;
        let admitted = self.limits.reserve(envelope, number, &wants).await.is_ok();
        self.limits.give_back(&envelope.request, number);
        Ok(admitted)
    }

    /// The buckets of all limits that apply to a call.
    fn buckets(&self, envelope: &Envelope, resolved: &Resolved) -> Vec<Bucket> {
        let metadata: Option<Map<String, Value>> =
            envelope.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let config = envelope.config.to_string();
        let spender = Spender {
            workspace: &envelope.workspace,
            key: envelope.key.as_ref(),
            user: envelope.user.as_deref(),
            metadata: metadata.as_ref(),
            config: Some(config.as_str()),
            operation: envelope.operation,
            model: envelope.model.as_deref(),
            provider: &resolved.provider,
            virtual_key: resolved.virtual_key.as_ref(),
        };
        self.ctx.policy().read(|policy| policy.buckets(&spender))
    }

    /// What limits have to set aside for a call.
    pub(crate) async fn needs(
        &self,
        envelope: &Envelope,
        target: &Target,
        resolved: &Resolved,
        body: &Bytes,
    ) -> Result<Needs, NotCalled> {
        if !self.ctx.policy().read(|policy| policy.has_limits(&envelope.workspace)) {
            return Ok(Needs::default());
        }
        let buckets = self.buckets(envelope, resolved);
        // A request is counted once, whatever targets it is sent to; a target counts each of its calls.
        let counts = |bucket: &Bucket| {
            let of_request = matches!(bucket.limit.level, Level::ApiKey | Level::Workspace);
            !envelope.counted || !of_request || bucket.limit.unit != Unit::Requests
        };
        let buckets: Vec<Bucket> = buckets.into_iter().filter(counts).collect();
        if buckets.iter().all(|b| matches!(b.limit.unit, Unit::Requests | Unit::Concurrent)) {
            let wants = buckets.into_iter().map(|bucket| Want { bucket, amount: 1 }).collect();
            return Ok(Needs { wants, send_limit: None });
        }
        let body = self.ctx.bus().fetch(&envelope.body, body.clone()).await;
        let body = body.map_err(|err| NotCalled::Trouble(err.into()))?;
        let most = self.worst_of(envelope, target, resolved, &body);
        let mut wants = Vec::with_capacity(buckets.len());
        for bucket in buckets {
            let amount = match bucket.limit.unit {
                Unit::Requests | Unit::Concurrent => 1,
                Unit::Tokens => most.input.saturating_add(most.output),
                Unit::InputTokens => most.input,
                Unit::OutputTokens => most.output,
                Unit::Cost => match most.cost {
                    Some(NanoUsd(nano)) => nano,
                    None if bucket.limit.soft => 0,
                    None => return Err(NotCalled::Limited(Box::new(unpriced(&bucket, envelope, resolved)))),
                },
            };
            wants.push(Want { bucket, amount });
        }
        Ok(Needs { wants, send_limit: most.send_limit })
    }

    fn worst_of(&self, envelope: &Envelope, target: &Target, resolved: &Resolved, body: &Bytes) -> Worst {
        let drops = dropped(target, envelope);
        let changes =
            Changes { defaults: &target.default_params, overrides: &target.override_params, drops: &drops };
        let asked = Asked::read(body, &changes);
        let named = resolved.model.as_deref().or(envelope.model.as_deref());
        let model = changes.model(named);
        let registry = self.ctx.registry();
        let known = models::View::new(&registry);
        let info = model.as_deref().and_then(|model| known.find(&resolved.provider, model));
        let price = known.price_of(&resolved.provider, model.as_deref().unwrap_or_default());
        let price = price.or(self.options.ceiling_price.as_ref());
        let reads_only = |method: &str| matches!(method, "GET" | "DELETE");
        if envelope.passthrough.as_ref().is_some_and(|through| reads_only(&through.method)) {
            return Worst { input: 0, output: 0, cost: Some(NanoUsd(0)), send_limit: None };
        }
        let operation = resolved.operation.unwrap_or(envelope.operation);
        worst(operation, &asked, info, price)
    }
}

impl Needs {
    /// The field that bounds an answer, for a body that does not, in the caller's dialect.
    pub(crate) fn bound(&self, operation: Operation) -> Option<(&'static str, Value)> {
        let field = match operation {
            Operation::Responses => "max_output_tokens",
            Operation::Chat | Operation::Completions | Operation::Messages => "max_tokens",
            _ => return None,
        };
        self.send_limit.map(|tokens| (field, Value::from(tokens)))
    }
}

impl Limited {
    /// What callers hear of a refusal.
    pub(crate) fn of(refused: &Refused, envelope: &Envelope, now: Timestamp) -> Self {
        match refused {
            Refused::Exceeded(exceeded) => exceeded_error(exceeded, now),
            Refused::Unreachable(bucket) => unreachable_error(bucket, envelope),
        }
    }
}

/// A budget in money cannot be kept where nobody knows what things cost.
fn unpriced(bucket: &Bucket, envelope: &Envelope, resolved: &Resolved) -> Limited {
    let model = resolved.model.as_deref().or(envelope.model.as_deref()).unwrap_or("(none)");
    let message = format!(
        "nobody knows what `{model}` costs at `{}`, so {} cannot be kept: give its price in the settings \
         (`[models.\"{}/{model}\"] price = {{ input = …, output = … }}`), the provider's, or `limits.ceiling_price`",
        resolved.provider,
        owner(bucket),
        resolved.provider,
    );
    Limited {
        level: bucket.limit.level,
        error: ApiError::new(412, "price_unknown", message),
        headers: BTreeMap::new(),
        bucket: bucket.key(),
        opens_at: None,
        may_open_sooner: false,
    }
}

fn unreachable_error(bucket: &Bucket, envelope: &Envelope) -> Limited {
    let message = format!(
        "what is left of {} cannot be read or written now, and it is not exceeded for that; try again",
        owner(bucket)
    );
    tracing::warn!(request = %envelope.request, bucket = bucket.key(), "refused: the limit's count cannot be reached");
    debug_assert_eq!(bucket.limit.unreachable, Unreachable::Closed);
    Limited {
        level: bucket.limit.level,
        error: ApiError::new(503, "limit_unreachable", message).with_retry_after(1),
        headers: BTreeMap::new(),
        bucket: bucket.key(),
        opens_at: None,
        may_open_sooner: true,
    }
}

/// Whose limit, for people.
fn owner(bucket: &Bucket) -> String {
    let limit = &bucket.limit;
    let whose = match limit.level {
        Level::ApiKey => "the API key",
        Level::Workspace => "the workspace",
        Level::VirtualKey => "the virtual key",
        Level::Policy => "the policy",
    };
    let mut text = format!("the limit of {whose} `{}`", limit.owner);
    if !bucket.tuple.is_empty() {
        text.push_str(&format!(" for {}", bucket.tuple));
    }
    format!("{text} ({limit})")
}

fn amount(unit: Unit, amount: u64) -> String {
    match unit {
        Unit::Cost => NanoUsd(amount).to_string(),
        Unit::Concurrent => format!("{amount} calls"),
        unit => format!("{amount} {}", unit.as_str().replace('_', " ")),
    }
}

fn exceeded_error(exceeded: &Exceeded, now: Timestamp) -> Limited {
    let Exceeded { bucket, wanted, left, opens_at, in_use } = exceeded;
    let limit = &bucket.limit;
    let is_budget = limit.is_budget();
    let mut message = format!(
        "{} leaves {}, and this call may take {}",
        owner(bucket),
        amount(limit.unit, *left),
        amount(limit.unit, *wanted)
    );
    if *wanted > limit.cap {
        message
            .push_str("; it never leaves that much: ask for fewer tokens (`max_tokens`), or raise the limit");
    } else if let Some(at) = opens_at {
        message.push_str(&format!("; there is room again {}", moment(*at, now)));
    } else if is_budget {
        message.push_str("; raise it or reset what it has counted");
    }
    let (code, kind, portkeys) = portkeys_words(bucket, is_budget);
    let mut error = ApiError::new(if is_budget { 412 } else { 429 }, code, message);
    error.kind = kind.to_owned();
    if let Some(words) = portkeys {
        error = error.in_portkeys_words(&words);
    }
    let wait = match limit.window {
        Window::Held => Some(Duration::from_secs(1)),
        _ => opens_at.map(|at| at.since(now)),
    };
    let seconds = wait.map(|wait| wait.as_millis().div_ceil(1000).max(1));
    error.retry_after = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Limited {
        level: limit.level,
        headers: rate_headers(exceeded, wait),
        error,
        bucket: bucket.key(),
        opens_at: *opens_at,
        may_open_sooner: *in_use || limit.window == Window::Held,
    }
}

/// Portkey's code, type and words for the same.
fn portkeys_words(bucket: &Bucket, is_budget: bool) -> (&'static str, &'static str, Option<String>) {
    let owner = &bucket.limit.owner;
    let outer = |words: &str, code: &str| Some(format!("Portkey Error: {words}. Error Code: {code}"));
    match (bucket.limit.level, is_budget) {
        (Level::ApiKey, true) => {
            ("04", "api_key_exhaust_error", outer("Portkey API Key Usage Limit Exceeded", "04"))
        }
        (Level::Workspace, true) => {
            ("04", "workspace_exhaust_error", outer("Portkey Workspace Usage Limit Exceeded", "04"))
        }
        (Level::ApiKey, false) => {
            // The spelling is Portkey's.
            ("05", "api_key_rate_limit_error", outer(&format!("apikey {owner} rate limit exceded"), "05"))
        }
        (Level::Workspace, false) => (
            "05",
            "workspace_rate_limit_error",
            outer(&format!("workspace {owner} rate limit exceeded"), "05"),
        ),
        (Level::VirtualKey, true) => (
            "04",
            "virtual_key_exhaust_error",
            Some(format!("Portkey Virtual Key {owner} Usage Limit Exceeded")),
        ),
        (Level::VirtualKey, false) => (
            "rate_limit_exceeded",
            "virtual_key_rate_limit_error",
            Some(format!("Portkey Virtual Key {owner} Rate Limit Exceeded")),
        ),
        (Level::Policy, true) => (
            "06",
            "usage_limits_policy_exhaust_error",
            Some(format!("Portkey Usage Limits Policy {owner} Exceeded for value key {}", bucket.tuple)),
        ),
        (Level::Policy, false) => (
            "rate_limit_exceeded",
            "rate_limits_policy_exhaust_error",
            Some(format!("Portkey Rate Limit Policy {owner} exceeded for value key {}", bucket.tuple)),
        ),
    }
}

/// The headers by which OpenAI tells of its rates.
fn rate_headers(exceeded: &Exceeded, wait: Option<Duration>) -> BTreeMap<String, String> {
    let limit = &exceeded.bucket.limit;
    let what = match limit.unit {
        Unit::Requests => "requests",
        Unit::Tokens | Unit::InputTokens | Unit::OutputTokens => "tokens",
        Unit::Cost | Unit::Concurrent => return BTreeMap::new(),
    };
    let mut headers = BTreeMap::from([
        (format!("x-ratelimit-limit-{what}"), limit.cap.to_string()),
        (format!("x-ratelimit-remaining-{what}"), exceeded.left.to_string()),
    ]);
    if let Some(wait) = wait {
        let reset = domain::time::format_duration(wait);
        headers.insert(format!("x-ratelimit-reset-{what}"), reset);
    }
    headers
}

fn moment(at: Timestamp, now: Timestamp) -> String {
    let wait = Duration::from_secs(at.since(now).as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX));
    let nanos = i128::from(at.0) * 1_000_000;
    let when = time::OffsetDateTime::from_unix_timestamp_nanos(nanos - nanos % 1_000_000_000).ok();
    let when = when.and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok());
    format!("in {} (at {})", domain::time::format_duration(wait), when.unwrap_or_default())
}

/// What happens to a request that a limit leaves no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It ends.
    Refuse,
    /// It is decided about again after this long.
    Wait(Duration),
    /// It counts as an answer of the target; with `true` the next one is tried whatever statuses are listed.
    Next(bool),
}

/// How often room is looked for that calls under way may leave.
const POLL: Duration = Duration::from_secs(1);

/// What the config wants in such a case.
pub(crate) fn verdict(
    on_limit: domain::config::OnLimit,
    limited: &Limited,
    deadline: Timestamp,
    now: Timestamp,
) -> Verdict {
    use domain::config::OnLimit;
    match on_limit {
        OnLimit::Reject => Verdict::Refuse,
        OnLimit::Fallback => Verdict::Next(true),
        OnLimit::Usual => match limited.level {
            Level::ApiKey | Level::Workspace => Verdict::Refuse,
            Level::VirtualKey | Level::Policy => Verdict::Next(false),
        },
        OnLimit::Wait => {
            let wait = match (limited.opens_at, limited.may_open_sooner) {
                (Some(at), true) => at.since(now).min(POLL),
                (Some(at), false) => at.since(now),
                (None, true) => POLL,
                (None, false) => return Verdict::Refuse,
            };
            // Waiting beyond the deadline helps nobody.
            if now.plus(wait) >= deadline { Verdict::Refuse } else { Verdict::Wait(wait) }
        }
    }
}
