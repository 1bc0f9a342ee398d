//! One call message: is it still wanted, is it ours, make it, hand on what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::requests::{Ended, Ending};
use bus::state::{Claim, Claimed};
use bus::work::{Delivery, MAX_DELIVERIES};
use bytes::Bytes;
use domain::envelope::FailedAnswer;
use domain::{
    ApiError, Attempt, AttemptId, BodyRef, Call, Envelope, ErrorClass, Event, Frame, Outcome, Record, ReplyTo,
};
use domain::{Timestamp, outcome};
use providers::served;
use role::Ctx;
use std::sync::Arc;
use tracing::{debug, error, warn};

use crate::answer::{Answer, Made};
use crate::bill;
use crate::client::Clients;
use crate::count;
use crate::observe::Observer;
use crate::prove::Tokens;
use crate::running::{Known, Running};
use crate::secrets::Secrets;

/// Everything a call needs beside its message.
pub(crate) struct Worker {
    pub(crate) id: String,
    pub(crate) ctx: Ctx,
    pub(crate) clients: Clients,
    pub(crate) running: Arc<Running>,
    pub(crate) secrets: Secrets,
    pub(crate) tokens: Tokens,
    /// Hosts that may be called although they are not public.
    pub(crate) trusted_hosts: Vec<String>,
    pub(crate) observer: Arc<Observer>,
}

/// A call taken apart.
pub(crate) struct Task {
    pub(crate) envelope: Envelope,
    pub(crate) call: Call,
    pub(crate) body: Bytes,
    pub(crate) id: AttemptId,
    pub(crate) started_at: Timestamp,
}

impl Task {
    /// The model that the request to the provider names.
    pub(crate) fn model(&self) -> Option<String> {
        self.call.model.clone().or_else(|| self.call.changes().model(self.envelope.model.as_deref()))
    }

    /// Whether an answer is kept here, to be looked at and continued. A provider that speaks the caller's dialect keeps
    /// what it answers under its own id, but for what is asked for by ours.
    pub(crate) fn keeps(&self) -> bool {
        let (conversation, operation) = (&self.envelope.conversation, self.envelope.operation);
        conversation.keep && (conversation.background || !self.call.is_native(operation))
    }
}

/// Older messages are checked for a durable cancel flag; younger ones were cancelled within our hearing.
const HEARING: Duration = Duration::from_secs(1);

impl Worker {
    /// Handles one delivery; settles it unless it has to come back.
    pub(crate) async fn handle(&self, delivery: &Delivery) {
        let task = match self.take_apart(delivery) {
            Ok(task) => task,
            Err(reason) => return self.put_aside(delivery, &reason, None).await,
        };
        if delivery.delivered > MAX_DELIVERIES {
            let reason = format!("delivered {} times without an ending", delivery.delivered);
            return self.put_aside(delivery, &reason, Some(&task)).await;
        }
        if delivery.delivered > 1 {
            match self.running.look_up(&task.id) {
                Known::Running => {
                    return debug!(attempt = %task.id, "still at it; the delivery is the same call's");
                }
                Known::Finished => return delivery.ack().await,
                Known::Unknown => {}
            }
        }
        let every = self.ctx.bus().options().progress;
        delivery.while_running(every, self.handle_task(delivery, task)).await;
    }

    fn take_apart(&self, delivery: &Delivery) -> Result<Task, String> {
        let (envelope, body, _) = Envelope::decode(delivery.payload()).map_err(|err| err.to_string())?;
        let call = envelope.call.clone().ok_or("the envelope names no call")?;
        let id = envelope.attempt_id(call.number);
        Ok(Task { envelope, call, body, id, started_at: self.ctx.clock().now() })
    }

    async fn handle_task(&self, delivery: &Delivery, task: Task) {
        match self.unwanted(delivery, &task).await {
            Ok(None) => {}
            Ok(Some((kind, error))) => return self.refuse(delivery, &task, kind, &error).await,
            Err(err) => return self.come_back(delivery, &task, &err).await,
        }
        let claim = Claim {
            call: delivery.sequence,
            delivery: delivery.delivered,
            worker: self.id.clone(),
            at: task.started_at,
        };
        // Before the call, not beside it: a second message for the same attempt must never reach the provider.
        match self.ctx.bus().claim(&task.envelope, task.call.number, &claim).await {
            Ok(Claimed::Mine) => self.make(delivery, task).await,
            Ok(Claimed::Held(held)) if held.call != delivery.sequence => {
                debug!(attempt = %task.id, "another message carries the same attempt; this one is a duplicate");
                delivery.ack().await;
            }
            Ok(Claimed::Held(held)) => self.lost(delivery, &task, &held).await,
            Err(err) => self.come_back(delivery, &task, &err).await,
        }
    }

    /// Why the call must not be made any more.
    async fn unwanted(
        &self,
        delivery: &Delivery,
        task: &Task,
    ) -> Result<Option<(outcome::Kind, ApiError)>, bus::state::ReadError> {
        let now = task.started_at;
        let old = delivery.delivered > 1 || now.since(delivery.stored_at) > HEARING;
        let request = &task.envelope.request;
        let bus = self.ctx.bus();
        let unwanted = self.running.was_cancelled(request) || (old && bus.is_cancelled(request).await?);
        if unwanted && !bus.is_wanted(&task.envelope).await {
            return Ok(Some((outcome::Kind::Cancelled, cancelled())));
        }
        Ok((now >= task.envelope.deadline).then(|| (outcome::Kind::Expired, expired())))
    }

    /// Ends a request without calling. An attempt that somebody may have begun is settled as lost first.
    async fn refuse(&self, delivery: &Delivery, task: &Task, kind: outcome::Kind, error: &ApiError) {
        // Whether this is the first delivery does not tell: a broker that was killed forgets the count.
        match self.ctx.bus().claim_of(&task.envelope.request, task.call.number).await {
            Ok(Some(held)) if held.call == delivery.sequence => {
                return self.lost(delivery, task, &held).await;
            }
            Ok(_) => {}
            Err(err) => return self.come_back(delivery, task, &err).await,
        }
        let (outcome, body) = Outcome::error(&task.envelope, kind, error, task.started_at);
        match self.ctx.bus().end(&task.envelope, &outcome, &body, Ending::default()).await {
            Ok(_) => delivery.ack().await,
            Err(err) => self.come_back(delivery, task, &err).await,
        }
    }

    async fn make(&self, delivery: &Delivery, task: Task) {
        let begun = self.running.begin(&task.id, task.envelope.flight.as_ref());
        let calling = self.observer.begin(task.call.watch.as_ref());
        let made = self.call(delivery, &task, &begun.cancel).await;
        let made = count::complete(self.ctx.bus(), &task, made).await;
        let attempt = self.attempt(&task, &made);
        let made = bill::shown(&task, &attempt, made);
        measure(&attempt);
        calling.ended(self.ctx.bus(), &attempt).await;
        let settled = match &made.answer {
            Answer::Complete(answer) => self.answer(&task, &attempt, answer, made.forwarded).await,
            Answer::None if made.forwarded.is_some() => self.broke_off(&task, &attempt, &made).await,
            _ => match attempt.error {
                Some(ErrorClass::Cancelled) => {
                    self.finish(&task, &attempt, outcome::Kind::Cancelled, &cancelled()).await
                }
                Some(ErrorClass::Deadline) => {
                    self.finish(&task, &attempt, outcome::Kind::Expired, &expired()).await
                }
                _ => self.fail(delivery, &task, &attempt, &made).await,
            },
        };
        match settled {
            Ok(()) => {
                self.running.finished(&task.id);
                delivery.ack().await;
            }
            // Not acknowledged: the next delivery finds the claim and settles the attempt as lost.
            Err(err) => {
                error!(attempt = %task.id, err = format!("{err:#}"), "could not record what came of an attempt")
            }
        }
        drop(begun);
    }

    /// A whole answer: the frames have gone ahead, now the record. A response that is kept goes out after it.
    async fn answer(
        &self,
        task: &Task,
        attempt: &Attempt,
        answer: &crate::answer::Whole,
        forwarded: Option<u64>,
    ) -> anyhow::Result<()> {
        if !task.call.success_is_final {
            let failed = self.stow_failed(task, answer).await?;
            return self.fall_back(task, attempt, failed).await;
        }
        let mut outcome = self.outcome(task, attempt, outcome::Kind::Answered);
        outcome.status = answer.status;
        outcome.content_type.clone_from(&answer.content_type);
        outcome.headers.clone_from(&answer.headers);
        outcome.body = BodyRef::Inline { size: answer.body.len() };
        outcome.kept = task.keeps();
        let inline = answer.body.len() <= self.ctx.bus().options().inline_body;
        let mut told = false;
        if !outcome.kept && (forwarded.is_some() || inline) {
            told = self.end_frame(task, &outcome, forwarded, &answer.body).await;
        }
        let (body, bytes) =
            self.ctx.bus().stow(&task.envelope.request, "answer", answer.body.clone()).await?;
        outcome.body = body;
        if !outcome.kept && forwarded.is_none() && !inline {
            told = self.end_frame(task, &outcome, None, &Bytes::new()).await;
        }
        self.end(task, attempt, &outcome, &bytes, told).await
    }

    /// The gateway may have its answer before it is recorded. Returns whether it has.
    async fn end_frame(&self, task: &Task, outcome: &Outcome, forwarded: Option<u64>, body: &Bytes) -> bool {
        let ReplyTo::Gateway(gateway) = &task.envelope.reply else { return false };
        // After a long time, or a pause of this process, the attempt may have been given up for lost.
        let took = outcome.finished_at.since(task.started_at);
        if took >= self.ctx.bus().options().ack_wait / 2 && !self.owns(&task.envelope).await {
            return false;
        }
        let frame = Frame::End {
            attempt: task.call.number,
            offset: forwarded.unwrap_or(0),
            outcome: Box::new(outcome.clone()),
            bytes: if forwarded.is_some() { Bytes::new() } else { body.clone() },
        };
        self.ctx.bus().send_frame(gateway, &task.envelope.request, &frame).await;
        true
    }

    /// Whether an ending of ours would win now.
    pub(crate) async fn owns(&self, envelope: &Envelope) -> bool {
        match self.ctx.bus().result(&envelope.workspace, &envelope.request).await {
            Ok(None) => envelope.result_seq == 0,
            Ok(Some(stored)) => stored.sequence == envelope.result_seq,
            Err(_) => false,
        }
    }

    /// A stream that the caller has seen the beginning of: no other target can continue it.
    async fn broke_off(&self, task: &Task, attempt: &Attempt, made: &Made) -> anyhow::Result<()> {
        let kind = match attempt.error {
            Some(ErrorClass::Cancelled) => outcome::Kind::Cancelled,
            Some(ErrorClass::Deadline) => outcome::Kind::Expired,
            _ => outcome::Kind::Answered,
        };
        let mut outcome = self.outcome(task, attempt, kind);
        outcome.status = attempt.status.unwrap_or(502);
        outcome.content_type = "text/event-stream".to_owned();
        outcome.truncated = true;
        outcome.body = BodyRef::Inline { size: made.sent.len() };
        let told = self.end_frame(task, &outcome, made.forwarded, &Bytes::new()).await;
        let (body, bytes) = self.ctx.bus().stow(&task.envelope.request, "answer", made.sent.clone()).await?;
        outcome.body = body;
        self.end(task, attempt, &outcome, &bytes, told).await
    }

    /// The request ends with this attempt, without an answer.
    async fn finish(
        &self,
        task: &Task,
        attempt: &Attempt,
        kind: outcome::Kind,
        error: &ApiError,
    ) -> anyhow::Result<()> {
        let (outcome, body) = Outcome::error(&task.envelope, kind, error, attempt.finished_at);
        let outcome = Outcome { attempts: with(&task.envelope.attempts, attempt), ..outcome };
        let told = self.end_frame(task, &outcome, None, &body).await;
        self.end(task, attempt, &outcome, &body, told).await
    }

    async fn end(
        &self,
        task: &Task,
        attempt: &Attempt,
        outcome: &Outcome,
        body: &Bytes,
        told: bool,
    ) -> anyhow::Result<()> {
        let bus = self.ctx.bus();
        let how = Ending { reporting: Some(attempt), gateway_told: told, question: Some(&task.body) };
        match bus.end(&task.envelope, outcome, body, how).await? {
            Ended::Won => Ok(()),
            Ended::Late(stored) => match &stored.record {
                Record::Fence { attempt: lost, .. } => {
                    warn!(attempt = %task.id, lost, "this attempt had been given up for lost; its answer is dropped");
                    Ok(())
                }
                // It was given up, and a later attempt ended the request: it has been reported, as lost.
                Record::Final(outcome) if outcome.attempts.iter().any(|a| a.number == attempt.number) => {
                    warn!(attempt = %task.id, "this attempt had been given up for lost; its answer is dropped");
                    Ok(())
                }
                // Somebody else ended the request while the call ran; its tokens were spent all the same.
                Record::Final(_) => {
                    let attempts = with(&task.envelope.attempts, attempt);
                    Ok(bus.report(&Event::attempt_finished(&task.envelope, &attempts, attempt, None)).await?)
                }
            },
        }
    }

    /// The router decides what comes next.
    async fn fail(
        &self,
        delivery: &Delivery,
        task: &Task,
        attempt: &Attempt,
        made: &Made,
    ) -> anyhow::Result<()> {
        debug!(attempt = %task.id, sequence = delivery.sequence, error = ?attempt.error, "the attempt failed");
        let failed = match &made.answer {
            Answer::Failed(answer) => self.stow_failed(task, answer).await?,
            _ => self.stow_failed(task, &made.as_error(task.envelope.operation, attempt)).await?,
        };
        self.fall_back(task, attempt, failed).await
    }

    async fn fall_back(
        &self,
        task: &Task,
        attempt: &Attempt,
        failed: (FailedAnswer, Bytes),
    ) -> anyhow::Result<()> {
        let mut envelope = task.envelope.clone();
        envelope.attempts.push(attempt.clone());
        envelope.failed = Some(failed.0);
        let payload = envelope.encode(&task.body, &failed.1);
        let queue = bus::subject::token(&task.call.provider);
        self.ctx.bus().fall_back(&queue, payload, envelope.traceparent.as_deref()).await?;
        Ok(())
    }

    async fn stow_failed(
        &self,
        task: &Task,
        answer: &crate::answer::Whole,
    ) -> anyhow::Result<(FailedAnswer, Bytes)> {
        let part = format!("failed-{}", task.call.number);
        let (body, bytes) = self.ctx.bus().stow(&task.envelope.request, &part, answer.body.clone()).await?;
        let failed = FailedAnswer {
            attempt: task.call.number,
            content_type: answer.content_type.clone(),
            headers: answer.headers.clone(),
            kept: task.keeps() && (200..300).contains(&answer.status),
            body,
        };
        Ok((failed, bytes))
    }

    fn outcome(&self, task: &Task, attempt: &Attempt, kind: outcome::Kind) -> Outcome {
        Outcome {
            kind,
            path: Some(task.call.path.clone()),
            provider: Some(task.call.provider.clone()),
            retry_count: task.call.retry_count,
            attempts: with(&task.envelope.attempts, attempt),
            ..Outcome::blank(&task.envelope, attempt.finished_at)
        }
    }

    fn attempt(&self, task: &Task, made: &Made) -> Attempt {
        let call = &task.call;
        let model = task.model();
        let region = made.told.region.clone().or_else(|| served::region(call, model.as_deref()));
        let mut attempt = Attempt {
            status: Some(made.status),
            error: made.error,
            code: made.code.clone(),
            message: made.message.clone(),
            retry_after_ms: made.retry_after_ms,
            quota: made.quota,
            first_byte_ms: made.first_byte.map(domain::time::millis),
            queued_ms: domain::time::millis(task.started_at.since(call.decided_at)),
            model,
            model_answered: made.told.model.clone(),
            usage: made.told.usage,
            estimated: made.estimated,
            tier: made.told.tier.clone(),
            region,
            worker: Some(self.id.clone()),
            virtual_key: call.virtual_key.clone(),
            why: call.why.clone(),
            dropped: made.dropped.clone(),
            ..Attempt::new(call.number, &call.path, &call.provider, task.started_at, self.ctx.clock().now())
        };
        bill::price(&mut attempt, &self.ctx.registry());
        attempt
    }

    /// The broker could not be asked; the message comes back.
    pub(crate) async fn come_back(
        &self,
        delivery: &Delivery,
        task: &Task,
        err: &(dyn std::error::Error + Sync),
    ) {
        warn!(attempt = %task.id, %err, "trying again later");
        delivery.retry_after(Duration::from_secs(1)).await;
    }

    async fn put_aside(&self, delivery: &Delivery, reason: &str, task: Option<&Task>) {
        error!(sequence = delivery.sequence, reason, "putting a call aside; see `pointsman dead ls`");
        let kept = self.ctx.bus().dead_letter(crate::NAME, delivery, reason, whole, &[]).await;
        if let Err(err) = kept {
            return warn!(%err, "could not put a call aside; trying again later");
        }
        if let Some(task) = task {
            let message = format!("the request could not be processed and was put aside: {reason}");
            let error = ApiError::new(500, "dead_lettered", message);
            let (outcome, body) =
                Outcome::error(&task.envelope, outcome::Kind::Dead, &error, task.started_at);
            let event = Event::dead_lettered(&task.envelope, reason, task.started_at);
            let ended = self.ctx.bus().end(&task.envelope, &outcome, &body, Ending::default()).await;
            if ended.is_err() || self.ctx.bus().report(&event).await.is_err() {
                return;
            }
        }
        delivery.ack().await;
    }
}

/// A call has no headers that hold secrets.
fn whole(_: &str, value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// A caller who cancels gets nothing more; the status is nginx's for a client that closed its request.
pub(crate) fn cancelled() -> ApiError {
    ApiError::new(499, "cancelled", "the request was cancelled")
}

/// The deadline passed.
pub(crate) fn expired() -> ApiError {
    let message = "the request's deadline passed before a provider had answered; allow more time with `Pointsman-Timeout`";
    ApiError::new(504, "deadline_exceeded", message)
}

fn with(attempts: &[Attempt], attempt: &Attempt) -> Vec<Attempt> {
    attempts.iter().cloned().chain([attempt.clone()]).collect()
}

fn measure(attempt: &Attempt) {
    let provider = attempt.provider.clone();
    let result = attempt.error.map_or("ok", ErrorClass::as_str);
    metrics::counter!(telemetry::metric::ATTEMPTS, "provider" => provider.clone(), "result" => result)
        .increment(1);
    let stage = |stage: &'static str, ms: u64| {
        metrics::histogram!(telemetry::metric::STAGE_SECONDS, "stage" => stage)
            .record(Duration::from_millis(ms).as_secs_f64());
    };
    stage("queued", attempt.queued_ms);
    stage("call", domain::time::millis(attempt.finished_at.since(attempt.started_at)));
    if let Some(ms) = attempt.first_byte_ms {
        stage("first_byte", ms);
    }
    let usage = attempt.usage.unwrap_or_default();
    for (kind, tokens) in BTreeMap::from([("input", usage.input), ("output", usage.output)]) {
        metrics::counter!(telemetry::metric::TOKENS, "provider" => provider.clone(), "kind" => kind)
            .increment(tokens);
    }
}
