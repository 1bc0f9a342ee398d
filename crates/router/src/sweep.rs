//! Finds calls that are past their deadline and that nobody will take, and targets that nobody pulls from.
//! One router at a time does it, under a lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bus::inspect::Lying;
use bus::requests::Ending;
use bus::subject;
use domain::{Attempt, Envelope, Outcome, Timestamp, outcome};
use tracing::{debug, info, warn};

use crate::act::{Router, Trouble};

/// A target that a caller named and nobody used for this long is forgotten.
const IDLE: Duration = Duration::from_secs(3600);

/// Most messages looked at in one sweep.
const BATCH: usize = 5000;

/// How often stored bodies are looked through.
const BODIES_EVERY: Duration = Duration::from_secs(300);

/// Younger bodies may belong to what is being written right now.
const SETTLED: Duration = Duration::from_secs(60);

/// Waiting calls by position, as far as they have been seen.
#[derive(Default)]
struct Seen {
    next: u64,
    deadlines: BTreeMap<u64, Timestamp>,
}

/// Sweeps until the role ends.
pub(crate) async fn run(router: Arc<Router>) {
    let every = router.options.sweep;
    let mut lease = 0;
    let mut seen = Seen::default();
    let mut bodies_due = tokio::time::Instant::now() + BODIES_EVERY;
    loop {
        tokio::time::sleep(every).await;
        match router.ctx.bus().lease("sweeper", lease, every * 3).await {
            Ok(Some(sequence)) => lease = sequence,
            Ok(None) => {
                lease = 0;
                seen = Seen::default();
                continue;
            }
            Err(err) => {
                debug!(%err, "could not renew the sweeper's lease");
                continue;
            }
        }
        if let Err(err) = router.sweep(&mut seen).await {
            warn!(err = format!("{err:#}"), "the sweep was not finished; the next one goes on");
        }
        if tokio::time::Instant::now() >= bodies_due {
            bodies_due = tokio::time::Instant::now() + BODIES_EVERY;
            match router.ctx.bus().forget_bodies(SETTLED).await {
                Ok(0) => {}
                Ok(bodies) => info!(bodies, "forgot stored bodies that nobody can ask for"),
                Err(err) => warn!(err = format!("{err:#}"), "could not look through the stored bodies"),
            }
        }
    }
}

impl Router {
    async fn sweep(&self, seen: &mut Seen) -> anyhow::Result<()> {
        self.look_at_new_calls(seen).await?;
        let now = self.ctx.clock().now();
        let due: Vec<u64> = seen.deadlines.iter().filter(|(_, d)| **d <= now).map(|(s, _)| *s).collect();
        for sequence in due {
            if self.expire(sequence, now).await? {
                seen.deadlines.remove(&sequence);
            }
        }
        self.adopt_orphans().await?;
        self.measure().await
    }

    /// Notes the deadlines of calls that have been waiting since before the last sweep.
    async fn look_at_new_calls(&self, seen: &mut Seen) -> anyhow::Result<()> {
        let settled = self.ctx.clock().now();
        for _ in 0..BATCH {
            let next = self
                .ctx
                .bus()
                .next_lying(subject::CALL_STREAM, subject::CALL_EVERYTHING, seen.next.max(1))
                .await?;
            let Some(message) = next else { break };
            if settled.since(message.stored_at) < self.options.sweep / 2 {
                break;
            }
            seen.next = message.sequence + 1;
            if let Ok((envelope, _, _)) = Envelope::decode(&message.payload) {
                seen.deadlines.insert(message.sequence, envelope.deadline);
            }
        }
        Ok(())
    }

    /// Ends an overdue call if nobody is at it. Returns whether nothing is left to do.
    async fn expire(&self, sequence: u64, now: Timestamp) -> anyhow::Result<bool> {
        let bus = self.ctx.bus();
        let lying = bus.next_lying(subject::CALL_STREAM, subject::CALL_EVERYTHING, sequence).await?;
        let Some(message) = lying.filter(|m| m.sequence == sequence) else { return Ok(true) };
        let Ok((envelope, _, _)) = Envelope::decode(&message.payload) else { return Ok(true) };
        let Some(call) = envelope.call.clone() else { return Ok(true) };
        let claim = bus.claim_of(&envelope.request, call.number).await?;
        match claim {
            None => self.expire_unclaimed(&message, envelope).await?,
            // Its worker ends it at the deadline; if that died, another delivery settles it.
            Some(_) if now.since(envelope.deadline) < bus.options().ack_wait * 3 => return Ok(false),
            Some(claim) => self.expire_claimed(&message, envelope, &claim, now).await?,
        }
        Ok(true)
    }

    async fn expire_unclaimed(&self, message: &Lying, envelope: Envelope) -> Result<(), Trouble> {
        info!(request = %envelope.request, "expired while it waited for a worker");
        let (outcome, body) =
            Outcome::error(&envelope, outcome::Kind::Expired, &overdue(), self.ctx.clock().now());
        self.ctx.bus().end(&envelope, &outcome, &body, Ending::default()).await?;
        Ok(self.ctx.bus().delete_lying(subject::CALL_STREAM, message.sequence).await?)
    }

    /// A worker began it, vanished, and no other came.
    async fn expire_claimed(
        &self,
        message: &Lying,
        mut envelope: Envelope,
        claim: &bus::state::Claim,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let bus = self.ctx.bus();
        let Some(call) = envelope.call.clone() else { return Ok(()) };
        if let Ok(sequence) = bus.fence(&envelope, call.number).await? {
            envelope.result_seq = sequence;
            let model = call.changes().model(envelope.model.as_deref());
            let lost = Attempt { model, ..Attempt::lost(&call, &claim.worker, claim.at, now) };
            envelope.attempts.push(lost.clone());
            let (outcome, body) = Outcome::error(&envelope, outcome::Kind::Expired, &overdue(), now);
            let how = Ending { reporting: Some(&lost), gateway_told: false, question: None };
            bus.end(&envelope, &outcome, &body, how).await?;
        }
        Ok(bus.delete_lying(subject::CALL_STREAM, message.sequence).await?)
    }

    /// Every target with waiting calls has a consumer; those that callers named and nobody uses lose theirs.
    async fn adopt_orphans(&self) -> anyhow::Result<()> {
        let bus = self.ctx.bus();
        let backlog = bus.call_backlog().await?;
        let consumers = bus.call_consumers().await?;
        for subject in backlog.keys() {
            let Some(target) = subject::parse_call(subject) else { continue };
            if !consumers.iter().any(|c| c.target == target) {
                let registry = self.ctx.registry();
                let known = registry.providers.iter().find(|(slug, _)| subject::token(slug) == target);
                let limit = known.map_or(providers::catalogue::CONCURRENCY, |(_, p)| p.concurrency);
                warn!(target, "calls wait where nobody pulls; creating the consumer");
                self.forget_target(target);
                self.ensure_target(target, limit).await?;
            }
        }
        let registry = self.ctx.registry();
        let configured = |target: &str| registry.providers.keys().any(|slug| subject::token(slug) == target);
        for target in bus.drop_idle_targets(IDLE, |target| !configured(target)).await? {
            info!(target, "forgot a target that nobody used");
            self.forget_target(&target);
        }
        Ok(())
    }

    async fn measure(&self) -> anyhow::Result<()> {
        let now = self.ctx.clock().now();
        for stream in self.ctx.bus().streams().await? {
            for consumer in &stream.consumers {
                let labels = [("stream", stream.name.clone()), ("consumer", consumer.name.clone())];
                metrics::gauge!(telemetry::metric::QUEUE_DEPTH, &labels).set(consumer.pending as f64);
            }
            let age = stream.oldest_at.map_or(Duration::ZERO, |at| now.since(Timestamp(at)));
            if !stream.consumers.is_empty() {
                metrics::gauge!(telemetry::metric::QUEUE_AGE, "stream" => stream.name).set(age.as_secs_f64());
            }
        }
        Ok(())
    }
}

fn overdue() -> domain::ApiError {
    domain::ApiError::new(
        504,
        "deadline_exceeded",
        "the request's deadline passed while it waited for a worker",
    )
}
