//! Kills processes at random moments and starts them again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::cluster::{Cluster, Part};

/// What may be hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victims {
    /// One of these processes at a time.
    One(&'static [Part]),
    /// Up to three of all processes at once, or a worker that is only paused.
    Any,
}

/// The workers.
pub const WORKERS: Victims = Victims::One(&[Part::Worker(0), Part::Worker(1)]);
/// The routers.
pub const ROUTERS: Victims = Victims::One(&[Part::Router(0), Part::Router(1)]);
/// Those who decide by the policy, and those who change it.
pub const POLICY: Victims = Victims::One(&[Part::Router(0), Part::Router(1), Part::Admin(0), Part::Admin(1)]);
/// The shim.
pub const SHIM: Victims = Victims::One(&[Part::Shim]);
/// The keeper of the ledger.
pub const LEDGER: Victims = Victims::One(&[Part::Ledger]);
/// The nats-server.
pub const BROKER: Victims = Victims::One(&[Part::Broker]);

const ALL: [Part; 7] = [
    Part::Broker,
    Part::Shim,
    Part::Router(0),
    Part::Router(1),
    Part::Worker(0),
    Part::Worker(1),
    Part::Ledger,
];

/// Decides whom to hit when. The same seed makes the same choices.
pub struct Killer {
    random: StdRng,
    victims: Victims,
}

impl Killer {
    /// A killer of these.
    pub fn new(seed: u64, victims: Victims) -> Self {
        Self { random: StdRng::seed_from_u64(seed), victims }
    }

    /// One round: some load, a hit, some more load, and everything is up again.
    pub async fn round(&mut self, cluster: &mut Cluster) {
        self.wait(300, 1500).await;
        match self.victims {
            Victims::One(parts) => {
                let part = parts[self.random.random_range(0..parts.len())];
                self.kill(cluster, &[part]).await;
            }
            // Longer than the acknowledgement wait, so that others take over what it has in hand.
            Victims::Any if self.random.random_ratio(1, 5) => {
                let part = Part::Worker(self.random.random_range(0..2));
                cluster.pause(part);
                self.wait(2500, 4500).await;
                cluster.resume(part);
            }
            Victims::Any => {
                let mut parts = ALL.to_vec();
                parts.retain(|_| self.random.random_ratio(1, 3));
                parts.truncate(3);
                if parts.is_empty() {
                    parts.push(ALL[self.random.random_range(0..ALL.len())]);
                }
                self.kill(cluster, &parts).await;
            }
        }
    }

    async fn kill(&mut self, cluster: &mut Cluster, parts: &[Part]) {
        for part in parts {
            blocking(|| cluster.kill(*part));
            self.wait(0, 50).await;
        }
        self.wait(50, 1000).await;
        // In their order: nothing starts without the broker.
        let mut parts = parts.to_vec();
        parts.sort();
        for part in parts {
            blocking(|| cluster.restart(part));
        }
    }

    async fn wait(&mut self, from_ms: u64, to_ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.random.random_range(from_ms..to_ms))).await;
    }
}

/// Starting and stopping processes blocks; the load goes on meanwhile.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
