//! Who reads and writes what, where caller and provider speak different dialects: tables of functions, one per dialect
//! and one per format.

use domain::registry::Format;
use domain::{ApiError, Operation};

use crate::chat::{About, Answer, ProviderError, ReadEvents, Request, Target, WriteEvents, Written};
use crate::openai::{StreamEvent, Told};
use crate::{cohere, embeddings, ollama, openai, rerank, workers_ai};

/// Looks at a stream that is forwarded as it is.
pub trait Observe: Send {
    /// What one event is. Counts and names seen so far come with it.
    fn look(&mut self, event: &[u8]) -> StreamEvent;
}

/// A dialect that callers chat in.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// A request's meaning.
    pub read_request: fn(&[u8]) -> Result<Request, ApiError>,
    /// An answer; the request's body comes with it, for dialects that repeat it.
    pub write_answer: fn(&Answer, &About<'_>, &[u8]) -> Vec<u8>,
    /// The same for streams.
    pub writer: fn(&About<'_>, &[u8]) -> Box<dyn WriteEvents>,
    /// What an answer in this dialect says about itself.
    pub told: fn(&[u8]) -> Result<Told, String>,
    /// The same for streams.
    pub observer: fn() -> Box<dyn Observe>,
}

/// A format that providers chat in.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// A request that means this.
    pub write_request: fn(Request, &Target<'_>) -> Result<Written, ApiError>,
    /// An answer's meaning.
    pub read_answer: fn(&[u8]) -> Result<Answer, String>,
    /// The same for streams.
    pub reader: fn() -> Box<dyn ReadEvents>,
}

/// A format that providers turn text into vectors in.
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    /// A request that means this.
    pub write_request: fn(embeddings::Request, &Target<'_>) -> Result<Written, ApiError>,
    /// An answer's meaning.
    pub read_answer: fn(&[u8]) -> Result<embeddings::Answer, String>,
}

/// A format that providers order documents in.
#[derive(Clone, Copy, Debug)]
pub struct Reranking {
    /// A request that means this.
    pub write_request: fn(rerank::Request, &Target<'_>) -> Result<Written, ApiError>,
    /// An answer's meaning.
    pub read_answer: fn(&[u8]) -> Result<rerank::Answer, String>,
}

/// How one operation is translated.
#[derive(Clone, Copy, Debug)]
pub enum Translation {
    /// A conversation.
    Chat(&'static Dialect, &'static Wire),
    /// Text into vectors.
    Embeddings(&'static Embedding),
    /// Documents in order.
    Rerank(&'static Reranking),
}

/// The dialect of an operation. None: it has none that is translated.
pub fn dialect(operation: Operation) -> Option<&'static Dialect> {
    match operation {
        Operation::Chat => Some(&OPENAI),
        _ => None,
    }
}

fn wire(format: Format) -> Option<&'static Wire> {
    match format {
        Format::Cohere => Some(&COHERE),
        Format::Ollama => Some(&OLLAMA),
        Format::WorkersAi => Some(&WORKERS_AI),
        Format::OpenAi | Format::Anthropic | Format::Gemini | Format::Bedrock => None,
    }
}

/// How an operation is translated for a format. None: nobody has written that.
pub fn of(operation: Operation, format: Format) -> Option<Translation> {
    match operation {
        Operation::Embeddings => embedding(format).map(Translation::Embeddings),
        Operation::Rerank => reranking(format).map(Translation::Rerank),
        _ => Some(Translation::Chat(dialect(operation)?, wire(format)?)),
    }
}

fn embedding(format: Format) -> Option<&'static Embedding> {
    match format {
        Format::Cohere => Some(&Embedding {
            write_request: cohere::embeddings::write_request,
            read_answer: cohere::embeddings::read_answer,
        }),
        Format::Ollama => Some(&Embedding {
            write_request: ollama::embeddings::write_request,
            read_answer: ollama::embeddings::read_answer,
        }),
        _ => None,
    }
}

fn reranking(format: Format) -> Option<&'static Reranking> {
    match format {
        Format::Cohere => Some(&Reranking {
            write_request: cohere::rerank::write_request,
            read_answer: cohere::rerank::read_answer,
        }),
        _ => None,
    }
}

/// What a provider of that format says went wrong.
pub fn read_error(format: Format, body: &[u8]) -> ProviderError {
    match format {
        Format::Cohere => cohere::read_error(body),
        Format::Ollama => ollama::read_error(body),
        Format::WorkersAi => workers_ai::read_error(body),
        Format::OpenAi | Format::Anthropic | Format::Gemini | Format::Bedrock => openai::read_error(body),
    }
}

/// A provider's error in the dialect of an operation.
pub fn write_error(operation: Operation, error: &ProviderError, status: u16, provider: &str) -> Vec<u8> {
    let _ = operation;
    openai::write_error(error, status, provider)
}

static OPENAI: Dialect = Dialect {
    read_request: openai::read_request,
    write_answer: |answer, about, _| openai::write_answer(answer, about),
    writer: |about, _| Box::new(openai::Writer::new(about)),
    told: openai::read_answer,
    observer: || Box::new(Stateless),
};

static COHERE: Wire = Wire {
    write_request: cohere::write_request,
    read_answer: cohere::read_answer,
    reader: || Box::new(cohere::Reader::default()),
};

static OLLAMA: Wire = Wire {
    write_request: ollama::write_request,
    read_answer: ollama::read_answer,
    reader: || Box::new(ollama::Reader::default()),
};

static WORKERS_AI: Wire = Wire {
    write_request: workers_ai::write_request,
    read_answer: workers_ai::read_answer,
    reader: || Box::new(workers_ai::Reader::default()),
};

/// OpenAI's events say what they are without those before them.
pub(crate) struct Stateless;

impl Observe for Stateless {
    fn look(&mut self, event: &[u8]) -> StreamEvent {
        openai::read_event(event)
    }
}
