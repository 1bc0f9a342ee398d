//! Bedrock's Converse and ConverseStream as a format, and its embeddings.
//!
//! Model and streaming are in the URL: `/model/{id}/converse` or `/model/{id}/converse-stream`, with the id encoded by
//! [`crate::aws::path_segment`]. Streams are framed as in [`crate::aws`].
//!
//! Source: AWS's API reference of the Bedrock runtime and its service model in botocore.

mod answer;
mod content;
pub mod embeddings;
mod error;
mod family;
mod media;
mod request;
mod sampling;
mod stream;
#[cfg(test)]
mod tests;
mod tools;

pub use answer::read_answer;
pub use error::read_error;
pub use request::write_request;
pub use stream::Reader;
