//! Doing what was decided.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bus::requests::{Ended, Ending, Stored};
use bus::work::Delivery;
use bus::{PutError, subject};
use bytes::Bytes;
use domain::config::Target;
use domain::health::{Watch, target_key};
use domain::next::{self, Decision, View};
use domain::quota::Need;
use domain::{
    ApiError, Attempt, Call, Config, ConfigSource, Envelope, ErrorClass, Event, Next, Outcome, Refusal,
    Timestamp, outcome,
};
use parking_lot::Mutex;
use providers::resolve::{self, Unresolved};
use role::Ctx;
use tracing::{debug, warn};

use crate::Options;
use crate::cached::{Cached, Door, Flights};
use crate::configs::Configs;
use crate::facts::Reachable;
use crate::health::Book;
use crate::limited::Stopped;
use crate::limits::{Keeper, Limited, Verdict, verdict};
use crate::target::dropped;

/// What a router needs to act.
pub(crate) struct Router {
    pub(crate) ctx: Ctx,
    pub(crate) options: Options,
    pub(crate) configs: Configs,
    pub(crate) health: Arc<Book>,
    pub(crate) limits: Arc<Keeper>,
    /// The way to the cache.
    pub(crate) door: Door,
    /// Who waits here for the answer to the same request.
    pub(crate) flights: Arc<Flights>,
    /// Targets that are known to have consumers, and the limit they were made with.
    pub(crate) targets: Mutex<HashMap<String, usize>>,
}

/// Reasons on record with one attempt, and characters of each.
const MOST_REASONS: usize = 8;
const MOST_WORDS: usize = 200;

/// A target to call.
pub(crate) struct Choice<'a> {
    pub(crate) target: &'a Target,
    pub(crate) why: &'a [String],
    watch: &'a Watch,
}

/// Waits below this are not worth a schedule; the broker's own floor is 250 ms.
const AT_ONCE: Duration = Duration::from_millis(250);

/// Why an input has to come back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Put(#[from] PutError),
    #[error(transparent)]
    End(#[from] bus::requests::EndError),
    #[error(transparent)]
    Read(#[from] bus::state::ReadError),
    #[error(transparent)]
    Body(#[from] bus::bodies::BodyError),
    #[error(transparent)]
    Topology(#[from] bus::TopologyError),
    #[error("this router stops; another one goes on")]
    Stopping,
}

/// A step that ended the request, or did not.
pub(crate) enum Step {
    /// The request goes on; the attempt that led here has been reported.
    GoesOn,
    /// The request has ended, or this input counts no more.
    Over,
    /// The request has gone another way, as this record says.
    Late(Box<Stored>),
}

impl Router {
    pub(crate) fn new(ctx: Ctx, options: Options) -> Self {
        let health = Book::new(ctx.clone(), options.provider_limits);
        let limits = Keeper::new(ctx.clone());
        let flights = Arc::new(Flights::new(options.in_flight / 4));
        Self {
            ctx,
            options,
            configs: Configs::new(),
            health,
            limits,
            door: Door::default(),
            flights,
            targets: Mutex::default(),
        }
    }

    /// Decides about a new request and acts.
    pub(crate) async fn proceed(
        &self,
        envelope: Envelope,
        config: &Arc<Config>,
        body: &Bytes,
        failed: Bytes,
        now: Timestamp,
    ) -> Result<Step, Trouble> {
        self.step(envelope, config, body, failed, now, None, false).await
    }

    /// Decides and acts. `reporting` is the attempt that led here and has not been reported.
    #[expect(clippy::too_many_arguments, reason = "the facts of one decision")]
    pub(crate) async fn step(
        &self,
        mut envelope: Envelope,
        config: &Arc<Config>,
        body: &Bytes,
        failed: Bytes,
        mut now: Timestamp,
        reporting: Option<&Attempt>,
        mut cancelled: bool,
    ) -> Result<Step, Trouble> {
        let mut unreported = reporting;
        let mut failed = failed;
        // Half-open targets that somebody else is trying.
        let mut denied = HashSet::new();
        let gathered = self.gather(&envelope, config, body).await?;
        let registry = self.ctx.registry();
        loop {
            let health = self.health.known(&envelope.workspace, now, &denied);
            let view = View {
                now,
                deadline: envelope.deadline,
                seed: envelope.seed(),
                cancelled,
                on_lost: self.options.on_lost,
                health: &health,
                models: &Reachable::new(&registry),
            };
            let facts = gathered.facts(&envelope);
            let decision = next::next(config, &facts, &envelope.attempts, &view);
            note(&decision, &envelope);
            let why = told(&decision);
            match decision.next {
                Next::Call { target, after } if after < AT_ONCE => {
                    match self.cached(&mut envelope, &target, body, now).await? {
                        Cached::Not => {}
                        Cached::Known(known) => {
                            self.report(&envelope, &mut unreported).await?;
                            if let Some(step) = self.serve(&envelope, &target, *known).await? {
                                return Ok(step);
                            }
                        }
                        Cached::Ended => {
                            now = self.ctx.clock().now();
                            cancelled = now < envelope.deadline;
                            continue;
                        }
                    }
                    // It may have waited for another's answer.
                    now = self.ctx.clock().now();
                    let facts = gathered.facts(&envelope);
                    let need = Need::of(&target, &facts);
                    let Some(watch) = self.permitted(&envelope, &target, need.model, now).await else {
                        denied.insert(target_key(&envelope.workspace, &resolve::queue(&target)));
                        continue;
                    };
                    let counted = self.health.count(&watch, &need, now);
                    let chosen = Choice { target: &target, why: &why, watch: &watch };
                    let called = match self.tell(&envelope, &target, &mut unreported).await {
                        Ok(()) => self.call(&mut envelope, config, &chosen, body, &failed, now).await,
                        Err(err) => Err(err),
                    };
                    if called.is_err() {
                        self.health.take_back(&watch, counted);
                    }
                    if watch.probe && called.is_err() {
                        self.health.give_up_probe(&watch.target);
                    }
                    match called {
                        Ok(()) => return Ok(Step::GoesOn),
                        Err(NotCalled::QueueFull) => {}
                        Err(NotCalled::Unusable(err)) => {
                            self.report(&envelope, &mut unreported).await?;
                            failed = Stopped::unusable(err).note(&mut envelope, &chosen, now);
                        }
                        Err(NotCalled::Limited(limited)) => {
                            self.report(&envelope, &mut unreported).await?;
                            match verdict(target.on_limit, &limited, envelope.deadline, now) {
                                Verdict::Refuse => return self.refuse_limited(&envelope, &limited).await,
                                Verdict::Wait(after) => {
                                    envelope.waiting = Some(limited.waiting(&envelope, now));
                                    self.wait(&mut envelope, "parked", after.max(AT_ONCE), body, &failed)
                                        .await?;
                                    return Ok(Step::GoesOn);
                                }
                                Verdict::Next(leads_on) => {
                                    let stopped = limited.stopped(leads_on);
                                    failed = stopped.note(&mut envelope, &chosen, now);
                                }
                            }
                        }
                        Err(NotCalled::Refused(err)) => {
                            let err = blamed(err, &envelope);
                            return self.end(&envelope, outcome::Kind::Refused, &err, unreported).await;
                        }
                        Err(NotCalled::Trouble(trouble)) => return Err(trouble),
                    }
                }
                Next::Call { target, after } => {
                    self.report(&envelope, &mut unreported).await?;
                    let queue = subject::token(&target.provider);
                    self.wait(&mut envelope, &queue, after, body, &failed).await?;
                    return Ok(Step::GoesOn);
                }
                Next::Park { after } => {
                    self.report(&envelope, &mut unreported).await?;
                    envelope.attempts.retain(|a| a.error != Some(ErrorClass::QueueFull));
                    self.wait(&mut envelope, "parked", after.max(AT_ONCE), body, &failed).await?;
                    return Ok(Step::GoesOn);
                }
                Next::Answer(index) => {
                    return self.answer(&envelope, config, index, (body, failed), unreported).await;
                }
                Next::GiveUp(refusal) => {
                    let (kind, err) = refusal_error(refusal);
                    return self.end(&envelope, kind, &err, unreported).await;
                }
            }
        }
    }

    /// Reports what led here, once it is certain that the request goes on at this target.
    async fn tell(
        &self,
        envelope: &Envelope,
        target: &Target,
        unreported: &mut Option<&Attempt>,
    ) -> Result<(), NotCalled> {
        if unreported.is_some() {
            self.resolve(target, envelope, self.ctx.clock().now()).await?;
            self.report(envelope, unreported).await.map_err(|err| NotCalled::Trouble(err.into()))?;
        }
        Ok(())
    }

    /// Before the next attempt is made: a redelivery that finds the request further on does not report this one.
    async fn report(&self, envelope: &Envelope, unreported: &mut Option<&Attempt>) -> Result<(), PutError> {
        if let Some(attempt) = unreported.take() {
            let event = Event::attempt_finished(envelope, &envelope.attempts, attempt, None);
            self.ctx.bus().report(&event).await?;
        }
        Ok(())
    }

    async fn call(
        &self,
        envelope: &mut Envelope,
        config: &Config,
        chosen: &Choice<'_>,
        body: &Bytes,
        failed: &Bytes,
        now: Timestamp,
    ) -> Result<(), NotCalled> {
        let Choice { target, why, watch } = *chosen;
        let resolved = self.resolve(target, envelope, now).await?;
        let queue = subject::token(&resolved.queue);
        self.ensure_target(&queue, resolved.concurrency).await?;
        let number = envelope.numbers_used + 1;
        let (reserved, default_params) = self.set_aside(envelope, target, &resolved, body).await?;
        envelope.numbers_used = number;
        envelope.counted = true;
        envelope.waiting = None;
        envelope.call = Some(Call {
            number,
            decided_at: now,
            path: target.path.clone(),
            why: why.to_vec(),
            provider: resolved.provider,
            format: resolved.format,
            operation: resolved.operation,
            base_url: resolved.base_url,
            path_and_query: Some(resolved.path_and_query)
                .filter(|path| path != envelope.operation.openai_path()),
            model: resolved.model,
            quirks: resolved.quirks,
            options: resolved.options,
            unsupported: target.unsupported_params,
            lenient: !target.strict_open_ai_compliance,
            untrusted_host: resolved.untrusted_host,
            auth: resolved.auth,
            credential: resolved.credential,
            virtual_key: resolved.virtual_key,
            headers: resolved.headers,
            forward_headers: target.forward_headers.clone(),
            default_params,
            override_params: target.override_params.clone(),
            drop_params: dropped(target, envelope),
            request_timeout_ms: target.request_timeout.map(domain::time::millis),
            timeouts: resolved.timeouts,
            success_is_final: next::success_is_final(config, &envelope.attempts, target),
            watch: Some(watch.clone()),
            hold: reserved.as_ref().map(|reserved| reserved.hold.clone()),
            retry_count: retries_if_answered(config, envelope, target, number, now),
        });
        let payload = envelope.encode(body, failed);
        let class = envelope.lane.class();
        debug!(request = %envelope.request, number, target = target.path, "calling");
        let fence = reserved.as_ref().map(|reserved| &reserved.fence);
        match self.ctx.bus().call(&queue, class, payload, envelope.traceparent.as_deref(), fence).await {
            Ok(_) => Ok(()),
            Err(err @ PutError::Conflict) => {
                self.limits.was_fenced();
                Err(NotCalled::Trouble(err.into()))
            }
            Err(PutError::BacklogFull) => {
                self.limits.give_back(&envelope.request, number);
                envelope.call = None;
                let attempt = Attempt { why: why.to_vec(), ..queue_full(target, number, now) };
                self.health.tell(&attempt, watch).await;
                envelope.attempts.push(attempt);
                Err(NotCalled::QueueFull)
            }
            Err(err) => Err(NotCalled::Trouble(err.into())),
        }
    }

    pub(crate) async fn wait(
        &self,
        envelope: &mut Envelope,
        queue: &str,
        after: Duration,
        body: &Bytes,
        failed: &Bytes,
    ) -> Result<(), PutError> {
        // Without a call the message is a due retry, and its last attempt has been reported.
        envelope.call = None;
        let payload = envelope.encode(body, failed);
        let number = envelope.numbers_used + 1;
        self.ctx.bus().delay(&envelope.request, number, queue, after, payload).await.map(|_| ())
    }

    /// The answer is an attempt's: the last failure unchanged, or a success that needed a second look.
    async fn answer(
        &self,
        envelope: &Envelope,
        config: &Config,
        index: usize,
        (question, body): (&Bytes, Bytes),
        reporting: Option<&Attempt>,
    ) -> Result<Step, Trouble> {
        let attempt = &envelope.attempts[index];
        let failed = envelope.failed.as_ref().filter(|f| f.attempt == attempt.number);
        let Some(failed) = failed else {
            let err = ApiError::new(next::effective_status(attempt), "no_answer", no_answer(attempt));
            return self.end(envelope, outcome::Kind::Refused, &err, reporting).await;
        };
        let status = next::effective_status(attempt);
        let ok = attempt.is_success();
        let outcome = Outcome {
            kind: if ok { outcome::Kind::Answered } else { outcome::Kind::Refused },
            status,
            content_type: failed.content_type.clone(),
            headers: failed.headers.clone(),
            path: Some(attempt.path.clone()),
            provider: Some(attempt.provider.clone()),
            retry_count: next::retry_count(config, &envelope.attempts, index),
            kept: ok && failed.kept,
            body: failed.body.clone(),
            ..Outcome::blank(envelope, self.ctx.clock().now())
        };
        let how = Ending { reporting, gateway_told: false, question: Some(question) };
        Ok(over(self.ctx.bus().end(envelope, &outcome, &body, how).await?, envelope))
    }

    pub(crate) async fn end(
        &self,
        envelope: &Envelope,
        kind: outcome::Kind,
        err: &ApiError,
        reporting: Option<&Attempt>,
    ) -> Result<Step, Trouble> {
        let (outcome, body) = Outcome::error(envelope, kind, err, self.ctx.clock().now());
        let how = Ending { reporting, gateway_told: false, question: None };
        Ok(over(self.ctx.bus().end(envelope, &outcome, &body, how).await?, envelope))
    }

    pub(crate) async fn settle(&self, delivery: &Delivery, settled: Result<Step, Trouble>) {
        match settled {
            Ok(_) => delivery.ack().await,
            Err(err) => {
                warn!(sequence = delivery.sequence, %err, "trying again later");
                delivery.retry_after(Duration::from_secs(1)).await;
            }
        }
    }

    pub(crate) async fn come_back(
        &self,
        delivery: &Delivery,
        request: &domain::RequestId,
        err: &(dyn std::error::Error + Sync),
    ) {
        warn!(%request, %err, "trying again later");
        delivery.retry_after(Duration::from_secs(1)).await;
    }
}

/// The reasons, for whoever follows one request.
fn note(decision: &Decision<'_>, envelope: &Envelope) {
    for reason in &decision.why {
        debug!(request = %envelope.request, %reason, "decided");
    }
}

/// The error of a target that leads nowhere, said of the header or the config that named it.
fn blamed(err: ApiError, envelope: &Envelope) -> ApiError {
    let by_header = matches!(&envelope.config, ConfigSource::Inline(text) if text == "{}");
    resolve::blame(err, by_header, &envelope.routing)
}

/// The reasons that go on record with an attempt.
fn told(decision: &Decision<'_>) -> Vec<String> {
    let line = |reason: &next::Reason<'_>| reason.to_string().chars().take(MOST_WORDS).collect();
    decision.why.iter().take(MOST_REASONS).map(line).collect()
}

pub(crate) fn over(ended: Ended, envelope: &Envelope) -> Step {
    match ended {
        Ended::Won => Step::Over,
        Ended::Late(there) => {
            debug!(request = %envelope.request, "somebody else ended the request");
            Step::Late(there)
        }
    }
}

/// Why no call was made.
pub(crate) enum NotCalled {
    QueueFull,
    /// This target cannot serve the request; another may.
    Unusable(ApiError),
    Refused(ApiError),
    /// A limit leaves no room for it.
    Limited(Box<Limited>),
    Trouble(Trouble),
}

impl From<Unresolved> for NotCalled {
    fn from(unresolved: Unresolved) -> Self {
        match unresolved {
            Unresolved::Document(err) => Self::Refused(*err),
            Unresolved::Target(err) => Self::Unusable(*err),
        }
    }
}

impl From<Trouble> for NotCalled {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

fn retries_if_answered(
    config: &Config,
    envelope: &Envelope,
    target: &Target,
    number: u32,
    now: Timestamp,
) -> i32 {
    if envelope.attempts.is_empty() {
        return 0;
    }
    let mut attempts = envelope.attempts.clone();
    let success =
        Attempt { status: Some(200), error: None, message: None, ..queue_full(target, number, now) };
    attempts.push(success);
    next::retry_count(config, &attempts, attempts.len() - 1)
}

fn queue_full(target: &Target, number: u32, now: Timestamp) -> Attempt {
    Attempt {
        status: Some(503),
        error: Some(ErrorClass::QueueFull),
        message: Some("the target's queue was full".to_owned()),
        ..Attempt::new(number, &target.path, &target.provider, now, now)
    }
}

fn no_answer(attempt: &Attempt) -> String {
    format!(
        "{} gave no answer: {}",
        attempt.provider,
        attempt.message.as_deref().unwrap_or("the attempt was lost")
    )
}

fn refusal_error(refusal: Refusal) -> (outcome::Kind, ApiError) {
    match refusal {
        Refusal::Expired => {
            let message = "the request's deadline passed before a provider had answered; \
                           allow more time with `Pointsman-Timeout`";
            (outcome::Kind::Expired, ApiError::new(504, "deadline_exceeded", message))
        }
        Refusal::Cancelled => {
            (outcome::Kind::Cancelled, ApiError::new(499, "cancelled", "the request was cancelled"))
        }
        // Portkey's text.
        Refusal::NoMatch => {
            let message = "Query router did not resolve to any valid target";
            (outcome::Kind::Refused, ApiError::new(400, "no_condition_matched", message))
        }
        Refusal::NoTarget => {
            let message = "the config leads to no target: give one a positive `weight`; where a model is to be \
                           chosen, ask for less or configure more providers";
            let err = ApiError::new(400, "no_target", message)
                .in_portkeys_words("Query router did not resolve to any valid target");
            (outcome::Kind::Refused, err)
        }
    }
}
