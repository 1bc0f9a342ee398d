//! This process's logs, metrics and trace context.

pub mod log;
pub mod metric;
mod trace;

pub use trace::TraceContext;
