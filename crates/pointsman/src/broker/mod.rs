//! A nats-server of our own: found or fetched, started on the data directory, kept running.

mod child;
mod config;
mod fetch;
mod locate;
mod orphan;
mod supervise;
mod version;

pub use crate::broker::config::BrokerOptions;
pub use crate::broker::locate::{cache_dir, locate, version_of};
pub use crate::broker::supervise::{Broker, Running};
pub use crate::broker::version::{MINIMUM, Version, parse_version};

#[cfg(test)]
mod tests;
