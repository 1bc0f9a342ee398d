//! One alert: raised once, said again now and then, over once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::Change;
use crate::{Timestamp, time};

/// How something looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An alert is due.
    Bad,
    /// Not bad enough to raise an alert, not good enough to end one.
    Between,
    /// No alert is due.
    Good,
}

/// When an alert is over, and when it is said again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// How long it has to be good without a break.
    #[serde(with = "time::ms", rename = "hold_ms")]
    pub hold: Duration,
    /// How long until it is said again. None: it is said once.
    #[serde(default, rename = "remind_ms", skip_serializing_if = "Option::is_none", with = "optional_ms")]
    pub remind: Option<Duration>,
}

/// An alert that has been raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// When it was raised.
    pub since: Timestamp,
    /// When it was last said.
    pub told: Timestamp,
    /// Since when it looks good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_since: Option<Timestamp>,
}

/// What becomes of an alert when it looks so at this time, and what is to be said.
pub fn step(
    firing: Option<Firing>,
    verdict: Verdict,
    timing: Timing,
    now: Timestamp,
) -> (Option<Firing>, Option<Change>) {
    match (firing, verdict) {
        (None, Verdict::Bad) => {
            (Some(Firing { since: now, told: now, good_since: None }), Some(Change::Raised))
        }
        (None, _) => (None, None),
        (Some(firing), Verdict::Good) => {
            let since = firing.good_since.unwrap_or(now);
            if now.since(since) >= timing.hold {
                (None, Some(Change::Recovered))
            } else {
                (Some(Firing { good_since: Some(since), ..firing }), None)
            }
        }
        (Some(firing), _) => {
            let firing = Firing { good_since: None, ..firing };
            if timing.remind.is_some_and(|every| now.since(firing.told) >= every) {
                (Some(Firing { told: now, ..firing }), Some(Change::Reminded))
            } else {
                (Some(firing), None)
            }
        }
    }
}

/// Serde: a duration that may be missing, in whole milliseconds.
mod optional_ms {
    use serde::{Deserializer, Serializer};

    use super::*;

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(time::millis).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}
