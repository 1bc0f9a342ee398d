//! The message bus: the only crate that names the NATS client.
//!
//! Subjects are written in [`subject`], streams are data under `nats/`, everything else is a few verbs:
//! [`Bus::put`] stores a message and waits for the broker's word, [`Bus::send`] does not wait,
//! [`work`] takes messages from work queues.

#![warn(missing_docs)]

pub mod alerts;
pub mod audit;
pub mod bodies;
pub mod cache;
mod clock;
mod connect;
pub mod events;
pub mod flights;
pub mod headers_of;
pub mod health;
pub mod identity;
pub mod inspect;
pub mod ledger;
pub mod limits;
pub mod policy;
mod publish;
pub mod registry;
pub mod requests;
pub mod responses;
pub mod seal;
pub mod service;
pub mod state;
pub mod subject;
mod topology;
pub mod work;

pub use async_nats::HeaderMap as Headers;

pub use crate::clock::Clock;
pub use crate::connect::{Bus, CoreMessage, Link, Options, Subscription, Unanswered};
pub use crate::publish::{Put, PutError};
pub use crate::topology::TopologyError;

/// Looks a header up without regard to case: the client library keeps names as they were written.
pub fn header<'a>(headers: Option<&'a Headers>, name: &str) -> Option<&'a str> {
    let headers = headers?;
    if let Some(value) = headers.get(name) {
        return Some(value.as_str());
    }
    headers.iter().find_map(|(key, values)| {
        let key: &str = key.as_ref();
        key.eq_ignore_ascii_case(name).then(|| values.last().map(|v| v.as_str())).flatten()
    })
}
