//! Providers as data, and one adapter per wire format: no sockets.

#![warn(missing_docs)]

pub mod catalogue;
pub mod chat;
pub mod embeddings;
pub mod failure;
pub mod gemini;
pub mod google;
pub mod models;
pub mod openai;
pub mod refusal;
pub mod rerank;
pub mod resolve;
pub mod sse;
