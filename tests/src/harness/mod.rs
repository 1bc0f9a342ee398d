//! Real processes for the system tests: brokers, mocks and gateways on free ports, killed when dropped.

pub mod broker;
pub mod client;
mod installed;
pub mod mock;
pub mod models;
pub mod node;
pub mod postgres;
pub mod process;
pub mod python;

use std::time::{Duration, Instant};

pub use broker::Broker;
pub use client::{Client, Observer};
pub use mock::Mock;
pub use node::Node;
pub use postgres::Postgres;
pub use process::{Pointsman, Signal};
pub use python::Python;

/// Asks `probe` until it says yes. Fails with `what` after `patience`: for conditions that no event announces.
pub async fn eventually<T, F>(what: &str, patience: Duration, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let until = Instant::now() + patience;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < until, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
