//! OpenAI chat completions as callers speak them.
//!
//! Source: OpenAI's API reference, "Create chat completion", and the types of its Python library; Portkey's additions
//! (`thinking`, `content_blocks`, `cache_control`, native tools) from Portkey's documentation of its chat endpoint.

mod answer;
mod messages;
mod parts;
mod request;
mod stream;
mod tools;

pub use answer::write_answer;
pub use request::read_request;
pub use stream::Writer;
