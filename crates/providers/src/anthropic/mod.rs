//! Anthropic Messages: the dialect of callers who use Anthropic's clients, and the format of providers that speak it.
//!
//! Source: the Messages API reference on platform.claude.com and the types of Anthropic's Python client.

mod answer;
mod citation;
mod count;
mod error;
mod model;
mod observe;
mod request;
mod stop;
mod usage;

#[cfg(test)]
mod tests;

pub use answer::{Reader, Writer, read_answer, write_answer};
pub use count::{read_count, read_count_request, write_count};
pub use error::{forward_error, read_error, write_error};
pub use observe::{Observer, observer, told};
pub use request::{read_request, write_request};
