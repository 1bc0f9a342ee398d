//! Providers as data, and one adapter per wire format: no sockets.

#![warn(missing_docs)]

// Checks that unit tests share with the tests that see this crate from outside.
#[cfg(test)]
extern crate self as providers;

mod address;
pub mod anthropic;
pub mod aws;
pub mod bedrock;
pub mod catalogue;
pub mod chat;
pub mod cohere;
mod draft;
pub mod embeddings;
pub mod exchange;
pub mod failure;
mod fields;
pub mod formats;
pub mod gemini;
pub mod google;
mod lenient;
mod lookup;
mod media;
pub mod models;
pub mod ollama;
pub mod openai;
pub mod refusal;
pub mod rerank;
pub mod resolve;
pub mod responses;
pub mod sse;
#[cfg(test)]
mod testing;
pub mod translation;
mod turn;
pub mod workers_ai;
