//! Ollama's own chat, as lines of JSON. Its embed is in the table of shapes.
//!
//! Source: <https://docs.ollama.com/api/chat>, and `api/types.go` of Ollama.

mod answer;
mod request;
mod stream;

#[cfg(test)]
mod tests;

pub use answer::{read_answer, read_error};
pub use request::write_request;
pub use stream::Reader;
