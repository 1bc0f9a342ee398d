//! What is known about targets when a choice is made: whether they may be called, how fast and how busy they are.

use crate::config::Target;

/// Whether a target may be called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Availability {
    /// It may.
    #[default]
    Closed,
    /// Its circuit was open; one request may try whether it works again.
    HalfOpen,
    /// Its circuit is open: it is skipped.
    Open,
}

/// What is known about a target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// Whether it may be called.
    pub availability: Availability,
    /// Mean time to the first byte of its latest answers, in milliseconds. None: nothing is known.
    pub latency_ms: Option<f64>,
    /// Calls running now, over all workers. None: nothing is known.
    pub in_flight: Option<u32>,
}

/// Knows how targets do.
pub trait Health {
    /// How a target does now.
    fn standing(&self, target: &Target) -> Standing;
}

/// Knows nothing: every target may be called.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHealth;

impl Health for NoHealth {
    fn standing(&self, _: &Target) -> Standing {
        Standing::default()
    }
}
