//! Why a decision is what it is: collected as it is made, put into words only when somebody wants to read them.

use std::fmt;
use std::time::Duration;

use crate::Timestamp;
use crate::config::Query;
use crate::fault::Fault;
use crate::model::NanoUsd;
use crate::time::{format_duration, rfc3339};

/// One reason for a decision. Prints as a line for people.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason<'a> {
    /// A condition held.
    Condition {
        /// The group.
        group: &'a str,
        /// Which of its conditions.
        index: usize,
        /// What it asks for.
        query: &'a Query,
    },
    /// No condition held, and the group has a default.
    Default {
        /// The group.
        group: &'a str,
    },
    /// No condition held, and the group has no default.
    NoMatch {
        /// The group.
        group: &'a str,
    },
    /// Chosen by weight.
    Weight {
        /// What was chosen.
        target: &'a str,
        /// Its share of the weights that could be chosen, from 0 to 1.
        share: f64,
    },
    /// Chosen because requests like this one go there.
    Sticky {
        /// What was chosen.
        target: &'a str,
    },
    /// Chosen by what is known of the targets.
    Least {
        /// What was chosen.
        target: &'a str,
        /// What was compared, as in `latency`.
        what: &'static str,
        /// Milliseconds, calls or nano-USD. None: nothing was known of any target.
        value: Option<f64>,
    },
    /// An attempt leads to the next target of a fallback group.
    FellBack {
        /// Where the attempt was made.
        from: String,
        /// The status it counts as.
        status: u16,
        /// What about it leads on.
        by: By,
    },
    /// An attempt that failed leads nowhere: the group's lists do not name it.
    Stopped {
        /// Where the attempt was made.
        at: String,
        /// The status it counts as.
        status: u16,
    },
    /// The same target again.
    Retry {
        /// Where.
        target: String,
        /// The retry's number, counted from 1.
        number: u32,
        /// The status of the failure.
        status: u16,
    },
    /// The same target again, for an attempt that says nothing about it.
    Replaced {
        /// Where.
        target: String,
        /// How the attempt ended.
        class: &'static str,
    },
    /// A target was passed over.
    BreakerOpen {
        /// The target or group.
        target: String,
    },
    /// A target was passed over: its provider's limits leave no room for the call.
    NoRoom {
        /// The target or group.
        target: String,
        /// When there is room again.
        until: Timestamp,
    },
    /// There is no better target, so the call waits for room.
    WaitsForRoom {
        /// The target.
        target: String,
        /// How long.
        after: Duration,
    },
    /// There is no better target, and room comes too late to be waited for: the provider decides.
    CalledAllTheSame {
        /// The target.
        target: String,
        /// When there would be room.
        until: Timestamp,
    },
    /// Every target of a group would have been passed over, so none was.
    BreakerBypassed {
        /// The group.
        group: &'a str,
    },
    /// The call shows whether the target has recovered.
    Probe {
        /// The target.
        target: String,
    },
    /// The model was chosen from the catalogue.
    Model {
        /// Provider and name.
        model: String,
        /// How many were fit and not tried yet.
        among: usize,
        /// Estimated cost of the request.
        cost: Option<NanoUsd>,
    },
    /// No model of the catalogue is fit, or all that are have been tried.
    NoModel {
        /// The target.
        target: &'a str,
    },
    /// The time of a group, or the request's, does not allow another attempt.
    NoTime {
        /// The target that was not called.
        target: String,
        /// The wait that the attempt would have begun with.
        after: Duration,
    },
}

/// What about an attempt leads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Its status is in `on_status_codes`.
    Status,
    /// Its kind of failure is in `on`.
    Fault(Fault),
    /// It is no success, and the group has no lists.
    NoSuccess,
    /// The target's queue was full.
    QueueFull,
    /// A limit left no room for the call.
    Limited,
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Condition { group, index, query } => {
                write!(f, "conditional: conditions[{index}] of {group} matched ({query})")
            }
            Self::Default { group } => {
                write!(f, "conditional: no condition of {group} matched, so its default")
            }
            Self::NoMatch { group } => {
                write!(f, "conditional: no condition of {group} matched, and it has no default")
            }
            Self::Weight { target, share } => {
                write!(f, "loadbalance: {target}, which gets {:.1} % of the requests", share * 100.0)
            }
            Self::Sticky { target } => {
                write!(f, "loadbalance: {target}, where requests like this one go (sticky)")
            }
            Self::Least { target, what, value: Some(value) } => {
                write!(f, "least {what}: {target} with {value}")
            }
            Self::Least { target, what, value: None } => {
                write!(f, "least {what}: {target} by chance, as nothing is known of any target")
            }
            Self::FellBack { from, status, by } => write!(f, "fallback: {status} of {from} {by}"),
            Self::Stopped { at, status } => {
                write!(f, "fallback: {status} of {at} is not in the lists of the strategy")
            }
            Self::Retry { target, number, status } => {
                write!(f, "retry: number {number} at {target} after {status}")
            }
            Self::Replaced { target, class } => {
                write!(f, "retry: the attempt at {target} says nothing about it ({class})")
            }
            Self::BreakerOpen { target } => write!(f, "circuit breaker: {target} is open"),
            Self::NoRoom { target, until } => {
                write!(f, "provider limits: {target} has no room at the provider until {}", rfc3339(*until))
            }
            Self::WaitsForRoom { target, after } => {
                write!(
                    f,
                    "provider limits: {target} is called in {}, when there is room",
                    format_duration(*after)
                )
            }
            Self::CalledAllTheSame { target, until } => {
                write!(
                    f,
                    "provider limits: {target} has no room until {}, too late to wait for",
                    rfc3339(*until)
                )?;
                f.write_str(", so the provider decides")
            }
            Self::BreakerBypassed { group } => {
                write!(f, "circuit breaker: every target of {group} is open, so none is passed over")
            }
            Self::Probe { target } => write!(f, "circuit breaker: {target} is half-open and gets a probe"),
            Self::Model { model, among, cost } => {
                write!(f, "choose: {model}, first of {among} fit models")?;
                cost.iter().try_for_each(|cost| write!(f, ", estimated at {cost}"))
            }
            Self::NoModel { target } => write!(f, "choose: no further model is fit for {target}"),
            Self::NoTime { target, after } => {
                write!(f, "time: none is left for {target}")?;
                if after.is_zero() {
                    Ok(())
                } else {
                    write!(f, " after a wait of {}", format_duration(*after))
                }
            }
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("is in on_status_codes"),
            Self::Fault(fault) => write!(f, "is a {}, which is in `on`", fault.as_str()),
            Self::NoSuccess => f.write_str("is no success"),
            Self::QueueFull => f.write_str("means that its queue was full"),
            Self::Limited => f.write_str("means that a limit left no room for it"),
        }
    }
}
