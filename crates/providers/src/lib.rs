//! Providers as data, and one adapter per wire format: no sockets.

#![warn(missing_docs)]

pub mod aws;
pub mod catalogue;
pub mod chat;
pub mod cohere;
mod draft;
pub mod embeddings;
pub mod failure;
pub mod google;
mod lenient;
mod lookup;
pub mod models;
pub mod ollama;
pub mod openai;
pub mod refusal;
pub mod rerank;
pub mod resolve;
pub mod sse;
#[cfg(test)]
mod testing;
mod turn;
pub mod workers_ai;
