//! The laws of everything that takes bytes from outside, one function per decoder: any bytes are welcome, and whoever
//! breaks a law panics. Fuzzing calls them with bytes it makes up, `tests/corpus.rs` with those that are kept.

mod answers;
mod promises;
mod requests;
mod stored;
mod streams;

use domain::Operation;
use domain::registry::Format;
use providers::chat::About;

/// A decoder's name, and what it has to stand.
pub(crate) type Decoder = (&'static str, fn(&[u8]));

/// Every decoder. `fuzz/Cargo.toml` has a program for each.
pub(crate) const DECODERS: [Decoder; 28] = [
    ("request_openai", |bytes| requests::chat(Operation::Chat, bytes)),
    ("request_completions", |bytes| requests::chat(Operation::Completions, bytes)),
    ("request_anthropic", requests::anthropic),
    ("request_responses", |bytes| requests::chat(Operation::Responses, bytes)),
    ("request_embeddings", requests::embeddings),
    ("request_rerank", requests::rerank),
    ("request_form", requests::form),
    ("answer_openai", |bytes| answers::chat(Format::OpenAi, bytes)),
    ("answer_anthropic", |bytes| answers::chat(Format::Anthropic, bytes)),
    ("answer_gemini", |bytes| answers::chat(Format::Gemini, bytes)),
    ("answer_bedrock", |bytes| answers::chat(Format::Bedrock, bytes)),
    ("answer_cohere", |bytes| answers::chat(Format::Cohere, bytes)),
    ("answer_ollama", |bytes| answers::chat(Format::Ollama, bytes)),
    ("answer_workers_ai", |bytes| answers::chat(Format::WorkersAi, bytes)),
    ("answer_embeddings", answers::embeddings),
    ("answer_rerank", answers::rerank),
    ("answer_error", answers::error),
    ("stream_openai", |bytes| streams::chat(Format::OpenAi, bytes)),
    ("stream_anthropic", |bytes| streams::chat(Format::Anthropic, bytes)),
    ("stream_gemini", |bytes| streams::chat(Format::Gemini, bytes)),
    ("stream_bedrock", streams::bedrock),
    ("stream_cohere", |bytes| streams::chat(Format::Cohere, bytes)),
    ("stream_ollama", |bytes| streams::chat(Format::Ollama, bytes)),
    ("stream_workers_ai", |bytes| streams::chat(Format::WorkersAi, bytes)),
    ("stream_forwarded", streams::forwarded),
    ("frames_aws", streams::aws),
    ("events_sse", streams::sse),
    ("stored_answer", stored::answer),
];

/// Gives bytes to the decoder of that name.
pub(crate) fn run(name: &str, bytes: &[u8]) {
    let (_, decode) = DECODERS.iter().find(|(known, _)| *known == name).expect("there is such a decoder");
    decode(bytes);
}

/// The dialects that chats are answered in.
const CHATS: [Operation; 4] =
    [Operation::Chat, Operation::Completions, Operation::Messages, Operation::Responses];

fn about(strict: bool) -> About<'static> {
    About { provider: "acme", model: "m", id: "id-1", now: 1_700_000_000, strict, include_usage: true }
}

/// Most bytes that a translation may come to: some for what formats add, and a share of what came in. Text may become
/// six times as long when it is escaped, and again when it is put into text.
fn most(input: usize) -> usize {
    64 * 1024 + 64 * input
}
