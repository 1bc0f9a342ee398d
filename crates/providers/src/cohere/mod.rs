//! Cohere's v2 chat. Its embed and rerank are in the tables of shapes.
//!
//! Source: the API reference at <https://docs.cohere.com/reference/chat>, and the types of Cohere's own SDKs.

mod answer;
mod request;
mod stream;

#[cfg(test)]
mod tests;

pub use answer::{read_answer, read_error};
pub use request::write_request;
pub use stream::Reader;
