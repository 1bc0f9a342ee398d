//! A call that was begun by somebody who did not finish it.

use std::time::Duration;

use bus::requests::EndError;
use bus::state::Claim;
use bus::work::Delivery;
use bytes::Bytes;
use domain::{Attempt, Envelope, Record};
use tracing::{debug, warn};

use crate::handle::{Task, Worker};
use crate::running::{FINISHED, RUNNING};

/// How long the worker that began the call has to say that it lives.
const PATIENCE: Duration = Duration::from_secs(1);

impl Worker {
    /// The attempt was claimed by another delivery of this message. It is not called again: unless its owner lives
    /// or it was finished after all, it is recorded as lost and a router decides about a new attempt.
    pub(crate) async fn lost(&self, delivery: &Delivery, task: &Task, held: &Claim) {
        let (bus, number) = (self.ctx.bus(), task.call.number);
        let owner = bus::subject::worker(&held.worker);
        let word = bus.ask(owner, Bytes::from(task.id.to_string()), PATIENCE).await;
        match word.as_ref().map(|w| &w.payload[..]) {
            // Its progress reports keep extending this delivery, its acknowledgement will settle it.
            Some(RUNNING) => {
                return debug!(attempt = %task.id, owner = held.worker, "still in hand elsewhere");
            }
            Some(FINISHED) => return delivery.ack().await,
            _ => {}
        }
        let fenced = match bus.fence(&task.envelope, number).await {
            Ok(fenced) => fenced,
            Err(err) => return self.come_back(delivery, task, &err).await,
        };
        let settled = match fenced {
            Ok(sequence) => {
                warn!(attempt = %task.id, worker = held.worker, "the worker vanished during a call; the provider may have been called");
                metrics::counter!(telemetry::metric::LOST_ATTEMPTS).increment(1);
                self.hand_on(task, held, sequence).await.map_err(EndError::from)
            }
            Err(there) => match &there.record {
                Record::Final(_) => {
                    bus.end_again(&task.envelope, &there, Some(number), Some(&task.body)).await
                }
                // Its owner told how it failed before it vanished, or a later attempt is under way.
                Record::Fence { .. } => Ok(()),
            },
        };
        match settled {
            Ok(()) => delivery.ack().await,
            Err(err) => self.come_back(delivery, task, &err).await,
        }
    }

    async fn hand_on(&self, task: &Task, held: &Claim, sequence: u64) -> Result<(), bus::PutError> {
        let mut envelope: Envelope = task.envelope.clone();
        envelope.result_seq = sequence;
        envelope.attempts.push(Attempt {
            model: task.call.changes().model(task.envelope.model.as_deref()),
            ..Attempt::lost(&task.call, &held.worker, held.at, self.ctx.clock().now())
        });
        envelope.failed = None;
        let queue = bus::subject::token(&task.call.provider);
        let payload = envelope.encode(&task.body, &[]);
        self.ctx.bus().fall_back(&queue, payload, envelope.traceparent.as_deref()).await.map(|_| ())
    }
}
