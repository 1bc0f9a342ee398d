//! Gemini's `generateContent`, as Google AI Studio and Vertex AI (publisher `google`) speak it.
//!
//! Sources: the Gemini API reference (`generateContent`, `embedContent`, `countTokens`) and its pages on function
//! calling, structured output, thinking and thought signatures; Vertex AI's reference where the two differ.

mod answer;
mod config;
mod contents;
mod count;
pub mod embeddings;
mod error;
mod model;
mod part;
mod request;
mod schema;
mod stream;
mod tools;
mod usage;

#[cfg(test)]
mod tests;

pub use answer::read_answer;
pub use count::{read_count, write_count_request, write_vertex_count_request};
pub use error::read_error;
pub use request::write_request;
pub use stream::Reader;

/// Goes in front of the seals of thoughts that callers get and send back, so that another provider's are told apart:
/// Gemini refuses a request that holds a seal it did not make. Seals of tool calls go without, as only Gemini has them.
const SEAL: &str = "gemini:";
