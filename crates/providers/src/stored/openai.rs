//! Chats and completions: chunks of which each has the answer's name, the token counts at the end if they are wanted,
//! and `[DONE]`.
//!
//! Source: "Create chat completion", "Streaming" in OpenAI's API reference, and how its SDKs put chunks together.

mod read;
mod write;

pub(super) use read::read;
pub(super) use write::write;

/// Which of the two dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Chat completions: choices have a message.
    Chat,
    /// Text completions: choices have a text.
    Text,
}

impl Form {
    /// What a whole answer says it is.
    fn whole(self) -> &'static str {
        match self {
            Self::Chat => "chat.completion",
            Self::Text => "text_completion",
        }
    }

    /// What a chunk says it is.
    fn chunk(self) -> &'static str {
        match self {
            Self::Chat => "chat.completion.chunk",
            Self::Text => "text_completion",
        }
    }
}
