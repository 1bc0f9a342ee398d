//! Cloudflare Workers AI's own API, `/ai/run/{model}`.
//!
//! Source: <https://developers.cloudflare.com/workers-ai/get-started/rest-api/>, the types of text generation in
//! Cloudflare's `workerd`, and its `workers-ai-provider` for what models really send.

mod answer;
mod request;
mod stream;

#[cfg(test)]
mod tests;

pub use answer::{read_answer, read_error};
pub use request::write_request;
pub use stream::Reader;
