//! Circuit breakers: when a target is left alone, and when it is tried again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time;

/// A checked `cb_config`. At least one of the thresholds is given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Policy {
    /// Opens when this many attempts have failed since the first failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<u32>,
    /// Opens when this share of the attempts since the first failure has failed, in percent, from 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_threshold_percentage: Option<u8>,
    /// Attempts below which the share says nothing.
    pub minimum_requests: u32,
    /// How long the target is left alone, and how long a failure counts.
    #[serde(with = "time::ms", rename = "cooldown_interval_ms")]
    pub cooldown_interval: Duration,
    /// Statuses that count as failures. None: 5xx, timeouts and broken connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_status_codes: Option<Vec<u16>>,
}

/// Attempts below which a share says nothing, unless a policy says otherwise.
pub const MINIMUM_REQUESTS: u32 = 5;

/// Statuses that are the request's fault: they never count, and a config that lists them is wrong.
pub const NEVER_FAILURES: &[u16] = &[400, 404, 422];
