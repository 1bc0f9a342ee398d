//! Who reads and writes what, where caller and provider speak different dialects: tables of functions, one per dialect
//! and one per format.

use bytes::Bytes;
use domain::registry::{Format, Quirks};
use domain::{ApiError, Operation};

use crate::chat::{About, Answer, ProviderError, ReadEvents, Request, Target, WriteEvents, Written};
use crate::openai::{StreamEvent, Told, completions};
use crate::{anthropic, bedrock, cohere, embeddings, gemini, ollama, openai, rerank, responses, workers_ai};

/// Looks at a stream that is forwarded as it is.
pub trait Observe: Send {
    /// What one event is. Counts and names seen so far come with it.
    fn look(&mut self, event: &[u8]) -> StreamEvent;

    /// The event that tells of an error of ours, where it has to follow the events before it. None: any will do.
    fn error_event(&self, _error: &ApiError) -> Option<Bytes> {
        None
    }
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

/// Writes a request for vectors.
pub type WriteEmbeddings = fn(embeddings::Request, &Target<'_>) -> Result<Written, ApiError>;
/// Reads vectors.
pub type ReadEmbeddings = fn(&[u8]) -> Result<embeddings::Answer, String>;
/// Writes a request for a count of tokens.
pub type WriteCount = fn(Request, &Target<'_>) -> Result<Written, ApiError>;
/// Reads a count of tokens.
pub type ReadCount = fn(&[u8]) -> Result<u64, String>;

/// How one operation is translated.
#[derive(Clone, Copy, Debug)]
pub enum Translation {
    /// A conversation.
    Chat(&'static Dialect, &'static Wire),
    /// Text into vectors.
    Embeddings(WriteEmbeddings, ReadEmbeddings),
    /// The same, in a shape that a table describes.
    ShapedEmbeddings(&'static embeddings::Shape),
    /// Documents in order, in a shape that a table describes.
    Rerank(&'static rerank::Shape),
    /// A count of a prompt's tokens.
    Count(WriteCount, ReadCount),
}

/// The dialect of an operation. None: it has none that is translated.
pub fn dialect(operation: Operation) -> Option<&'static Dialect> {
    match operation {
        Operation::Chat => Some(&OPENAI),
        Operation::Completions => Some(&COMPLETIONS),
        Operation::Messages => Some(&ANTHROPIC),
        Operation::Responses => Some(&RESPONSES),
        _ => None,
    }
}

/// How an operation is translated for a format. `quirks` may name another shape of it. None: nobody has written that.
pub fn of(operation: Operation, format: Format, quirks: &Quirks) -> Option<Translation> {
    let shape = quirks.shapes.get(&operation).map(String::as_str);
    Some(match (operation, format) {
        (Operation::Embeddings, Format::Gemini) if shape == Some(VERTEX) => Translation::Embeddings(
            gemini::embeddings::write_vertex_request,
            gemini::embeddings::read_vertex_answer,
        ),
        (Operation::Embeddings, Format::Gemini) => {
            Translation::Embeddings(gemini::embeddings::write_request, gemini::embeddings::read_answer)
        }
        (Operation::Embeddings, Format::Bedrock) => {
            Translation::Embeddings(bedrock::embeddings::write_request, bedrock::embeddings::read_answer)
        }
        (Operation::Embeddings, format) => {
            Translation::ShapedEmbeddings(embeddings::shape(shape.unwrap_or(format.as_str()))?)
        }
        (Operation::Rerank, format) => Translation::Rerank(rerank::shape(shape.unwrap_or(format.as_str()))?),
        (Operation::CountTokens, Format::Gemini) => {
            let vertex = shape == Some(VERTEX);
            let write = if vertex { gemini::write_vertex_count_request } else { gemini::write_count_request };
            Translation::Count(write, gemini::read_count)
        }
        (operation, format) => Translation::Chat(dialect(operation)?, wire(format)),
    })
}

/// The shape of Google's requests at Vertex, where it differs from AI Studio's.
const VERTEX: &str = "vertex";

/// Names of the shapes that quirks can ask for.
pub fn shapes(operation: Operation) -> Vec<&'static str> {
    match operation {
        Operation::Embeddings => embeddings::shapes().chain([VERTEX]).collect(),
        Operation::Rerank => rerank::shapes().collect(),
        Operation::CountTokens => vec![VERTEX],
        _ => Vec::new(),
    }
}

/// How a format is written and read in a chat.
pub fn wire(format: Format) -> &'static Wire {
    match format {
        Format::OpenAi => &Wire {
            write_request: openai::write_request,
            read_answer: openai::read_answer,
            reader: || Box::new(openai::Reader::default()),
        },
        Format::Anthropic => &Wire {
            write_request: anthropic::write_request,
            read_answer: anthropic::read_answer,
            reader: || Box::new(anthropic::Reader::default()),
        },
        Format::Gemini => &Wire {
            write_request: gemini::write_request,
            read_answer: gemini::read_answer,
            reader: || Box::new(gemini::Reader::default()),
        },
        Format::Bedrock => &Wire {
            write_request: bedrock::write_request,
            read_answer: bedrock::read_answer,
            reader: || Box::new(bedrock::Reader::default()),
        },
        Format::Cohere => &Wire {
            write_request: cohere::write_request,
            read_answer: cohere::read_answer,
            reader: || Box::new(cohere::Reader::default()),
        },
        Format::Ollama => &Wire {
            write_request: ollama::write_request,
            read_answer: ollama::read_answer,
            reader: || Box::new(ollama::Reader::default()),
        },
        Format::WorkersAi => &Wire {
            write_request: workers_ai::write_request,
            read_answer: workers_ai::read_answer,
            reader: || Box::new(workers_ai::Reader::default()),
        },
    }
}

/// What a provider of that format says went wrong.
pub fn read_error(format: Format, body: &[u8]) -> ProviderError {
    match format {
        Format::OpenAi => openai::read_error(body),
        Format::Anthropic => anthropic::read_error(body),
        Format::Gemini => gemini::read_error(body),
        Format::Bedrock => bedrock::read_error(body),
        Format::Cohere => cohere::read_error(body),
        Format::Ollama => ollama::read_error(body),
        Format::WorkersAi => workers_ai::read_error(body),
    }
}

/// A provider's error in the dialect of an operation.
pub fn write_error(operation: Operation, error: &ProviderError, status: u16, provider: &str) -> Vec<u8> {
    match operation {
        Operation::Messages | Operation::CountTokens => anthropic::write_error(error, status, provider),
        Operation::Responses => responses::write_error(error, status, provider),
        _ => openai::write_error(error, status, provider),
    }
}

static OPENAI: Dialect = Dialect {
    read_request: openai::read_request,
    write_answer: |answer, about, _| openai::write_answer(answer, about),
    writer: |about, _| Box::new(openai::Writer::new(about)),
    told: openai::told,
    observer: || Box::new(openai::observer()),
};

static COMPLETIONS: Dialect = Dialect {
    read_request: completions::read_request,
    write_answer: |answer, about, _| completions::write_answer(answer, about),
    writer: |about, _| Box::new(completions::Writer::new(about)),
    told: openai::told,
    observer: || Box::new(openai::observer()),
};

static ANTHROPIC: Dialect = Dialect {
    read_request: anthropic::read_request,
    write_answer: |answer, about, _| anthropic::write_answer(answer, about),
    writer: |about, _| Box::new(anthropic::Writer::new(about)),
    told: anthropic::told,
    observer: || Box::new(anthropic::observer()),
};

static RESPONSES: Dialect = Dialect {
    read_request: responses::read_request,
    write_answer: responses::write_answer,
    writer: |about, request| Box::new(responses::Writer::new(about, request)),
    told: responses::told,
    observer: || Box::new(responses::observer()),
};

impl Observe for openai::Observer {
    fn look(&mut self, event: &[u8]) -> StreamEvent {
        Self::look(self, event)
    }
}

impl Observe for anthropic::Observer {
    fn look(&mut self, event: &[u8]) -> StreamEvent {
        Self::look(self, event)
    }
}

impl Observe for responses::Observer {
    fn look(&mut self, event: &[u8]) -> StreamEvent {
        Self::look(self, event)
    }

    fn error_event(&self, error: &ApiError) -> Option<Bytes> {
        Some(Self::error_event(self, error))
    }
}
