//! Books in a file are kept by one process of the whole system: two would each have half of them.

use std::time::Duration;

use anyhow::bail;
use bus::Bus;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::options::Database;

const NAME: &str = "ledger";

/// A process that died lets go after this long.
const TTL: Duration = Duration::from_secs(9);

/// The lease, ours until another process takes it.
pub(crate) struct Lease {
    bus: Bus,
    held: u64,
}

impl Lease {
    /// Takes the lease. A holder that has died loses it within [`TTL`]; one that lives keeps it.
    pub(crate) async fn take(bus: &Bus, database: &Database) -> anyhow::Result<Self> {
        let until = Instant::now() + TTL + TTL / 3;
        let mut told = false;
        loop {
            match bus.lease(NAME, 0, TTL).await {
                Ok(Some(held)) => return Ok(Self { bus: bus.clone(), held }),
                Ok(None) if Instant::now() > until => {
                    let holder = bus.lease_holder(NAME).await.ok().flatten();
                    let holder = holder.unwrap_or_else(|| "unknown".to_owned());
                    bail!(
                        "another process (`{holder}`) keeps this system's ledger, and one in a file ({database}) can \
                         have one keeper only; stop that one, or set `ledger.url` of both to one PostgreSQL database"
                    );
                }
                Ok(None) if !told => {
                    info!("another process keeps the ledger; waiting whether it is still there");
                    told = true;
                }
                Ok(None) => {}
                Err(err) => warn!(%err, "could not take the ledger's lease; trying again"),
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Renews the lease until somebody else has it.
    pub(crate) async fn keep(&mut self) -> anyhow::Error {
        loop {
            sleep(TTL / 3).await;
            match self.bus.lease(NAME, self.held, TTL).await {
                Ok(Some(held)) => self.held = held,
                Ok(None) => return anyhow::anyhow!("another process has taken over the ledger"),
                // Without the broker there are no events either.
                Err(err) => warn!(%err, "could not renew the ledger's lease; trying again"),
            }
        }
    }

    /// Lets the next process have it at once.
    pub(crate) async fn give_back(self) {
        self.bus.give_back(NAME, self.held).await;
    }
}
