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
pub(super) use answer::{extra_fields, finish_reason, head, tool_call, usage_value};
pub use request::read_request;
pub(super) use request::{common, leftover};
pub use stream::Writer;
