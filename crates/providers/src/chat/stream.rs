//! What is answered, while it comes.

use domain::Usage;
use serde_json::{Map, Value};

use super::{Finish, ProviderError};

/// Largest single event that readers collect, in bytes.
pub const MAX_EVENT: usize = 16 * 1024 * 1024;

/// One step of a streamed answer.
///
/// Readers promise, and writers rely on it: `Start` comes first and once, unless all that comes is an `Error`; blocks of
/// a choice are numbered from 0 in the order in which they open; each is closed before its choice's `Finish`; every
/// choice that began is finished before `End`; `Usage` replaces earlier ones and, if the provider counts at all, comes
/// before `End`; after `End` or `Error` nothing comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The answer begins.
    Start(Start),
    /// A part begins.
    Open {
        /// Which answer.
        choice: u32,
        /// Number of the part in it.
        block: u32,
        /// What it is.
        what: Block,
    },
    /// A part goes on.
    Delta {
        /// Which answer.
        choice: u32,
        /// Number of the part in it.
        block: u32,
        /// What is added.
        delta: Delta,
    },
    /// A part is complete.
    Close {
        /// Which answer.
        choice: u32,
        /// Number of the part in it.
        block: u32,
    },
    /// Probabilities of the tokens since the last ones, in OpenAI's form.
    Logprobs {
        /// Which answer.
        choice: u32,
        /// `{"content": [...]}`.
        value: Value,
    },
    /// An answer is complete.
    Finish {
        /// Which answer.
        choice: u32,
        /// Why.
        finish: Finish,
    },
    /// Tokens used so far.
    Usage(Usage),
    /// Further top-level fields, as in [`Answer::extra`](super::Answer::extra).
    Extra(Map<String, Value>),
    /// The provider gave up in the middle.
    Error(ProviderError),
    /// All has come.
    End,
}

/// How an answer begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The provider's name for it.
    pub id: Option<String>,
    /// The model that answers.
    pub model: Option<String>,
    /// When, in seconds since 1970.
    pub created: Option<u64>,
}

/// What a part of a streamed answer is.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Text.
    Text,
    /// Thoughts.
    Thinking,
    /// Thoughts that only the provider can read; they come whole.
    RedactedThinking {
        /// The provider's bytes.
        data: String,
    },
    /// The model would not answer.
    Refusal,
    /// A call of a tool.
    ToolCall {
        /// Names the call.
        id: String,
        /// The tool.
        name: String,
        /// The provider's seal, where it comes with the beginning.
        signature: Option<String>,
    },
    /// Something that only one dialect has; it comes whole.
    Native {
        /// Whose.
        dialect: super::Dialect,
        /// The block or item.
        value: Value,
    },
}

/// What is added to a part.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// To text, thoughts or a refusal.
    Text(String),
    /// To the arguments of a tool call, JSON text.
    Arguments(String),
    /// The seal of thoughts or of a call.
    Signature(String),
    /// A place that text comes from.
    Citation(Value),
}

/// Why a stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It is not what the format promises; says where, never quotes the text.
    #[error("malformed event: {0}")]
    Malformed(String),
    /// One event is larger than [`MAX_EVENT`].
    #[error("an event is too large")]
    TooLarge,
    /// It ended before the answer did.
    #[error("the stream ended before the answer did")]
    Cut,
}

/// Makes events from the bytes of a provider's stream.
///
/// Bytes come in pieces of any size, cut anywhere: inside a character, a JSON string, an event. A reader holds at most
/// one event and never panics on any bytes.
pub trait ReadEvents: Send {
    /// Takes bytes as they come and adds what they say to `out`.
    fn read(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), Broken>;

    /// No more bytes come. [`Broken::Cut`] if the answer is not complete; formats without an explicit end say
    /// [`Event::End`] here.
    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Broken>;
}

/// Makes the bytes of a stream in the caller's dialect from events.
pub trait WriteEvents: Send {
    /// Adds the bytes that say this to `out`.
    fn write(&mut self, event: &Event, out: &mut Vec<u8>);
}
