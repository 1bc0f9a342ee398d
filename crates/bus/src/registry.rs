//! The registry: read once, followed live, changed by compare-and-set.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::state::ReadError;
use crate::{Bus, Put, PutError, subject};

const BUCKET_STREAM: &str = "KV_llm_registry";

/// How often the registry is read again in case a change was missed.
const REREAD: Duration = Duration::from_secs(30);

impl Bus {
    /// Reads the registry and its revision; 0: there is none yet.
    pub async fn registry(&self) -> Result<(Registry, u64), ReadError> {
        match self.read_last(BUCKET_STREAM, subject::REGISTRY).await? {
            None => Ok((Registry::default(), 0)),
            Some(message) => {
                let registry = serde_json::from_slice(&message.payload)
                    .map_err(|err| ReadError::new(subject::REGISTRY, format!("malformed: {err}")))?;
                Ok((registry, message.sequence))
            }
        }
    }

    /// Changes the registry. Tried again when somebody else changes it meanwhile.
    pub async fn change_registry(&self, change: impl Fn(&mut Registry)) -> anyhow::Result<()> {
        loop {
            let (before, revision) = self.registry().await?;
            let mut after = before.clone();
            change(&mut after);
            if after == before && revision != 0 {
                return Ok(());
            }
            let put = Put::new(subject::REGISTRY.to_owned(), Bytes::from(serde_json::to_vec(&after)?))
                .expect(revision);
            match self.put(put).await {
                Ok(_) => return Ok(()),
                Err(PutError::Conflict) => {}
                Err(err) => return Err(err.into()),
            }
        }
    }

    /// Keeps `registry` up to date until `stop`. A change arrives as the broker stores it.
    pub async fn follow_registry(self, registry: watch::Sender<Arc<Registry>>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let Ok(mut changes) = self.subscribe(subject::REGISTRY_LIVE).await else {
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            };
            let epoch = self.epoch();
            if let Err(err) = self.read_clock().await {
                warn!(%err, "could not compare clocks");
            }
            loop {
                self.reread(&registry).await;
                tokio::select! {
                    () = stop.cancelled() => return,
                    change = changes.next() => if change.is_none() { break },
                    () = self.reconnected(epoch) => break,
                    () = tokio::time::sleep(REREAD) => {}
                }
            }
        }
    }

    async fn reread(&self, registry: &watch::Sender<Arc<Registry>>) {
        match self.registry().await {
            Ok((fresh, _)) => {
                let changed = registry.send_if_modified(|known| {
                    let changed = **known != fresh;
                    if changed {
                        *known = Arc::new(fresh.clone());
                    }
                    changed
                });
                if changed {
                    info!(providers = fresh.providers.len(), "the registry changed");
                }
            }
            Err(err) if err.to_string().contains("malformed") => {
                error!(%err, "keeping the last good registry")
            }
            Err(err) => warn!(%err, "keeping the registry as it was"),
        }
    }
}
