//! Ollama's own API: chat as lines of JSON, embed.
//!
//! Source: <https://docs.ollama.com/api/chat>, and `api/types.go` of Ollama.

mod answer;
pub mod embeddings;
mod request;
mod stream;

#[cfg(test)]
mod tests;

pub use answer::{read_answer, read_error};
pub use request::write_request;
pub use stream::Reader;
