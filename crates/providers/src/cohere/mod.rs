//! Cohere's v2 API: chat, embed, rerank.
//!
//! Source: the API reference at <https://docs.cohere.com/reference/chat>, and the types of Cohere's own SDKs.

mod answer;
pub mod embeddings;
mod request;
pub mod rerank;
mod stream;

#[cfg(test)]
mod tests;

pub use answer::{read_answer, read_error};
pub use request::write_request;
pub use stream::Reader;
