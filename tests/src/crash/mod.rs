//! Crash scenario: load on separate processes that are killed at random moments, and a check that the books are right.

pub mod check;
pub mod cluster;
pub mod killer;
pub mod load;
pub mod settle;
pub mod shape;

use domain::Timestamp;

pub use check::{Books, violations};
pub use cluster::{Cluster, Fault, Part};
pub use killer::{Killer, Victims};
pub use load::{Load, Sent};
pub use settle::settle;

/// The time, as the broker on this machine counts it.
#[expect(clippy::disallowed_methods, reason = "broker and tests share one machine, hence one clock")]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}
