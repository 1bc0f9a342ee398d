//! The same request by several callers at once: one is called for, the others wait for its answer.

use std::time::Duration;

use bytes::Bytes;
use domain::{Envelope, RequestId, Timestamp, Workspace};
use serde::{Deserialize, Serialize};

use crate::state::{ClaimError, ReadError};
use crate::{Bus, Put, PutError, Subscription, subject};

/// Whoever has followers says so within this time.
const PATIENCE: Duration = Duration::from_millis(250);

/// The request that is called for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// Whose it is.
    pub workspace: Workspace,
    /// The request.
    pub request: RequestId,
    /// When it has ended at the latest.
    pub deadline: Timestamp,
}

/// What became of trying to lead a flight.
#[derive(Debug, PartialEq, Eq)]
pub enum Led {
    /// The request is the one that is called for.
    Ours,
    /// Another one is; the record's position is what taking over has to name.
    Held(Flight, u64),
}

impl Bus {
    /// Makes a request the one that is called for, among those of its key. `over` is the position of a record whose
    /// request led to nothing; 0: there is none. Safe to repeat.
    pub async fn lead(&self, key: &str, flight: &Flight, over: u64) -> Result<Led, ClaimError> {
        let place = subject::flight(key);
        let payload = Bytes::from(serde_json::to_vec(flight).unwrap_or_default());
        let keep = flight.deadline.since(self.clock().now()) + Duration::from_secs(60);
        match self.put(Put::new(place.clone(), payload.clone()).expect(over).ttl(keep)).await {
            Ok(_) => Ok(Led::Ours),
            Err(PutError::Conflict) => {
                let held = self.read_last(subject::STATE_STREAM, &place).await?;
                let Some(held) = held else {
                    // It expired meanwhile.
                    return match self.put(Put::new(place, payload).expect(0).ttl(keep)).await {
                        Ok(_) => Ok(Led::Ours),
                        Err(err) => Err(err.into()),
                    };
                };
                let sequence = held.sequence;
                match serde_json::from_slice::<Flight>(&held.payload) {
                    // The echo of our own first offer.
                    Ok(held) if held == *flight => Ok(Led::Ours),
                    Ok(held) => Ok(Led::Held(held, sequence)),
                    Err(err) => Err(ReadError::new(&place, err).into()),
                }
            }
            Err(err) => Err(err.into()),
        }
    }

    /// Tells those who wait for a request of this key that it has ended.
    pub(crate) async fn land(&self, key: &str) {
        self.send(subject::landed(key), Bytes::new()).await;
    }

    /// Hears which flights have ended.
    pub async fn hear_landings(&self) -> anyhow::Result<Subscription> {
        self.subscribe(subject::LANDED_ALL).await
    }

    /// Hears who asks whether anybody waits for a request of a key. Only those who know somebody answer.
    pub async fn hear_followed(&self) -> anyhow::Result<Subscription> {
        self.subscribe(subject::FOLLOWED_ALL).await
    }

    /// Whether others wait for the answer to a request, whatever becomes of its own caller.
    pub async fn is_wanted(&self, envelope: &Envelope) -> bool {
        match &envelope.flight {
            Some(key) => self.is_followed(key).await,
            None => false,
        }
    }

    /// Whether anybody waits for the request that leads this key.
    pub async fn is_followed(&self, key: &str) -> bool {
        self.question(subject::followed(key), Bytes::new(), PATIENCE).await.is_ok()
    }
}
