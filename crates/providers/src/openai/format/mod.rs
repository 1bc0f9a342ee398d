//! OpenAI chat completions as providers speak them, OpenAI itself and those who are compatible.
//!
//! Sources: OpenAI's API reference, "Create chat completion" and "Chat completion chunk"; for what others add, the API
//! references of DeepSeek (`reasoning_content`), OpenRouter (`reasoning`, `reasoning_details`, `images`, errors in a
//! stream), Mistral (thoughts within `content`), vLLM (`stop_reason`) and Google (`extra_content`).

mod answer;
mod lines;
mod messages;
mod pieces;
mod request;
mod stream;

pub use answer::read_answer;
pub use request::write_request;
pub use stream::Reader;
