//! Types and decisions of the gateway: no I/O, no clock, no environment. Time and randomness are arguments.

#![warn(missing_docs)]

pub mod admin;
pub mod alert;
pub mod attempt;
pub mod audit;
pub mod breaker;
pub mod cache;
pub mod config;
pub mod conversation;
pub mod envelope;
pub mod error;
pub mod event;
pub mod facts;
pub mod fault;
pub mod form;
pub mod frame;
pub mod headers;
pub mod health;
pub mod host;
pub mod id;
pub mod limit;
pub mod model;
pub mod next;
pub mod operation;
pub mod outcome;
pub mod policy;
pub mod price;
pub mod quota;
pub mod registry;
pub mod spend;
pub mod time;
pub mod usage;

pub use attempt::{Attempt, ErrorClass};
pub use config::{Config, ConfigSource};
pub use conversation::Conversation;
pub use envelope::{BodyRef, Call, Envelope, ReplyTo};
pub use error::ApiError;
pub use event::Event;
pub use facts::{Facts, RequestFacts};
pub use fault::{Fault, fault_of};
pub use frame::Frame;
pub use id::{AttemptId, RequestId, Slug, Workspace};
pub use model::{Capability, ModelInfo, Models};
pub use next::{Decision, Next, Refusal, next};
pub use operation::{Lane, Operation};
pub use outcome::{Outcome, Record};
pub use policy::Policy;
pub use registry::Registry;
pub use time::Timestamp;
pub use usage::Usage;
