//! Providers as data, and one adapter per wire format: no sockets.
//!
//! Where to look:
//! - [`catalogue`] and [`models`] are the data; [`resolve`] makes a call from a target in a config, [`formats`] and the
//!   URL templates say where it goes.
//! - [`exchange`] is one call: the caller's body to the provider's, and the answer's way back. Where both sides speak
//!   the same dialect bytes go through; otherwise [`translation`] has the tables of who reads and writes what.
//! - [`chat`] is what a conversation means, whatever the dialect. [`openai`], [`anthropic`] and [`responses`] read and
//!   write it for callers; they and [`gemini`], [`bedrock`], [`cohere`], [`ollama`] and [`workers_ai`] write and read it
//!   for providers: one folder each. [`embeddings`] and [`rerank`] are tables of shapes.
//! - [`stored`] makes a stream of a stored whole answer and the other way round, and says what may be stored.
//! - [`aws`] and [`google`] are signatures and framing that formats need; [`failure`] and [`refusal`] are what callers
//!   are told of errors.
//!
//! AWS's crates have Tokio among their dependencies (its `sync` types alone: no runtime, no sockets); it is not optional
//! there, and nothing here uses it.

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
mod dropped;
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
pub mod quota;
pub mod refusal;
pub mod rerank;
pub mod resolve;
pub mod responses;
mod schema;
pub mod served;
pub mod show;
pub mod sse;
pub mod stored;
#[cfg(test)]
mod testing;
pub mod texts;
pub mod translation;
mod turn;
pub mod workers_ai;
