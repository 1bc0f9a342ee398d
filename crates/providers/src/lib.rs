//! Providers as data, and one adapter per wire format: no sockets.

pub mod catalogue;
pub mod openai;
pub mod resolve;
pub mod sse;
