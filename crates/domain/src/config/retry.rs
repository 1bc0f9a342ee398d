//! When to try the same target again.

use std::time::Duration;

/// Retries of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Tries after the first; at most [`MAX`].
    pub attempts: u32,
    /// Statuses that are tried again.
    pub on_status_codes: Vec<u16>,
    /// A provider's `Retry-After` on a 429 counts, not our own backoff.
    pub use_retry_after: bool,
}

/// Most retries; larger wishes are clamped, as in Portkey's documentation.
pub const MAX: u32 = 5;

/// Statuses that are tried again unless a config says otherwise: those of Portkey's open-source gateway.
pub const STATUSES: &[u16] = &[429, 500, 502, 503, 504];

/// A provider that asks for this much, once or in sum, is not waited for.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Default for Policy {
    fn default() -> Self {
        Self { attempts: 0, on_status_codes: STATUSES.to_vec(), use_retry_after: false }
    }
}

/// Wait before retry number `n`, counted from 1: 1 s, 2 s, 4 s, … without jitter, as Portkey does.
pub fn backoff(n: u32) -> Duration {
    Duration::from_secs(1 << n.saturating_sub(1).min(16))
}
