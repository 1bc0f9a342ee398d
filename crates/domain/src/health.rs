//! How targets have been doing, as far as the route decision cares.

use crate::config::Target;

/// Whether a target may be called, as its circuit breaker says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Availability {
    /// Nothing speaks against it.
    #[default]
    Closed,
    /// It failed too often, has rested, and may be given one call that shows whether it has recovered.
    HalfOpen,
    /// It failed too often; it is passed over while another target can be called instead.
    Open,
}

/// How a target has been doing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// Whether it may be called. Counts only for targets with a breaker in their config.
    pub availability: Availability,
    /// Milliseconds that its recent calls took to the first byte. None: unknown.
    pub latency_ms: Option<f64>,
    /// Calls that are running there now, from all workers. None: unknown.
    pub in_flight: Option<u32>,
}

/// What is known about the targets now.
pub trait Health {
    /// How a target has been doing.
    fn standing(&self, target: &Target) -> Standing;
}

/// Nothing is known: every target may be called.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHealth;

impl Health for NoHealth {
    fn standing(&self, _: &Target) -> Standing {
        Standing::default()
    }
}
