//! A failed or lost attempt, or a retry that is due.

use bus::work::{Delivery, MAX_DELIVERIES};
use bytes::Bytes;
use domain::{Envelope, ErrorClass, Event, Record, outcome};
use tracing::{debug, error};

use crate::act::{Router, Step, Trouble};
use crate::configs::NoConfig;

impl Router {
    /// Handles one failure; settles it unless it has to come back.
    pub(crate) async fn fall_back(&self, delivery: &Delivery) {
        let (envelope, body, failed) = match Envelope::decode(delivery.payload()) {
            Ok(parts) => parts,
            Err(err) => {
                error!(sequence = delivery.sequence, %err, "putting a message aside; see `pointsman dead ls`");
                let whole = |_: &str, value: &str| Some(value.to_owned());
                let kept =
                    self.ctx.bus().dead_letter(crate::NAME, delivery, &err.to_string(), whole, &[]).await;
                if kept.is_ok() {
                    delivery.ack().await;
                }
                return;
            }
        };
        if delivery.delivered > MAX_DELIVERIES {
            let reason = format!("delivered {} times without an ending", delivery.delivered);
            return self.put_aside(delivery, &envelope, &reason, outcome::Kind::Dead).await;
        }
        let settled = self.decide_again(delivery, envelope, &body, failed).await;
        self.settle(delivery, settled).await;
    }

    async fn decide_again(
        &self,
        delivery: &Delivery,
        mut envelope: Envelope,
        body: &Bytes,
        failed: Bytes,
    ) -> Result<Step, Trouble> {
        // With a call it comes from a worker, whose attempt has not been reported; without, it is a due retry.
        let fresh = envelope.call.is_some();
        let bus = self.ctx.bus();
        let watch = envelope.call.as_ref().and_then(|call| call.watch.clone());
        if let (Some(attempt), Some(watch)) = (envelope.attempts.last(), watch)
            && attempt.error == Some(ErrorClass::Lost)
        {
            self.health.tell(attempt, &watch).await;
        }
        let elsewhere = match envelope.attempts.last().filter(|a| fresh && a.error != Some(ErrorClass::Lost))
        {
            // Before anything is done about it: after this nobody can give the attempt up for lost.
            Some(attempt) => match bus.settle(&envelope, attempt.number).await? {
                Ok(sequence) => {
                    envelope.result_seq = sequence;
                    None
                }
                Err(there) => Some(there),
            },
            None => bus.result(&envelope.workspace, &envelope.request).await?,
        };
        if let Some(stored) = elsewhere.filter(|there| there.sequence != envelope.result_seq) {
            if fresh {
                return self.too_late(&envelope, body, &stored).await;
            }
            debug!(request = %envelope.request, "the request has gone another way; dropped");
            bus.end_again(&envelope, &stored, None, Some(body)).await?;
            return Ok(Step::Over);
        }
        let config = match self.pinned(&envelope).await {
            Ok(config) => config,
            Err(NoConfig::Unread(err)) => return Err(err.into()),
            Err(NoConfig::Refused(err)) => {
                let reason = format!("the pinned config no longer parses: {err}");
                self.put_aside(delivery, &envelope, &reason, outcome::Kind::Dead).await;
                return Ok(Step::Over);
            }
        };
        let cancelled = bus.is_cancelled(&envelope.request).await? && !bus.is_wanted(&envelope).await;
        let now = self.ctx.clock().now();
        let attempt = envelope.attempts.last().filter(|_| fresh).cloned();
        let told = envelope.clone();
        let step = self.step(envelope, &config, body, failed, now, attempt.as_ref(), cancelled).await?;
        match step {
            Step::Late(stored) if fresh => self.too_late(&told, body, &stored).await,
            step => Ok(step),
        }
    }

    /// The request ended while this attempt ran. Its tokens were spent all the same.
    async fn too_late(
        &self,
        envelope: &Envelope,
        body: &Bytes,
        stored: &bus::requests::Stored,
    ) -> Result<Step, Trouble> {
        let Record::Final(outcome) = &stored.record else { return Ok(Step::Over) };
        let Some(attempt) = envelope.attempts.last() else { return Ok(Step::Over) };
        let recorded = outcome.attempts.iter().find(|a| a.number == attempt.number);
        if outcome.ended_by == Some(attempt.number) {
            // It ended the request itself, and whoever reported that may have died before it was done. The count of
            // deliveries does not tell: a broker that was killed forgets it.
            self.ctx.bus().end_again(envelope, stored, Some(attempt.number), Some(body)).await?;
            return Ok(Step::Over);
        }
        // Given up for lost, and reported as such.
        if recorded.is_some_and(|recorded| recorded != attempt) {
            return Ok(Step::Over);
        }
        let event = Event::attempt_finished(envelope, &envelope.attempts, attempt, None);
        self.ctx.bus().report(&event).await?;
        Ok(Step::Over)
    }
}
