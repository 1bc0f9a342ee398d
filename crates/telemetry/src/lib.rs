//! This process's logs, metrics and trace context.

#![warn(missing_docs)]

pub mod log;
pub mod metric;
mod trace;

pub use trace::TraceContext;
