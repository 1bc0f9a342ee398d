//! What a request asks for, and how urgent it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used in subjects, settings and labels.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { what: $what, got: text.to_owned(), known: &[$($word),+] }),
                }
            }
        }
    };
}

pub(crate) use words;

/// A word that is none of the known ones.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown {what} `{got}`: use one of {}", known.join(", "))]
pub struct UnknownWord {
    /// What kind of word was expected.
    pub what: &'static str,
    /// What was there instead.
    pub got: String,
    /// The words that would have been understood.
    pub known: &'static [&'static str],
}

words! {
    /// The API a request is made against.
    Operation, "operation" {
        /// Chat completions, `POST /v1/chat/completions`.
        Chat = "chat",
        /// Legacy text completions, `POST /v1/completions`.
        Completions = "completions",
        /// Embeddings, `POST /v1/embeddings`.
        Embeddings = "embeddings",
        /// Anthropic's Messages, `POST /v1/messages`.
        Messages = "messages",
        /// Anthropic's token count, `POST /v1/messages/count_tokens`.
        CountTokens = "count_tokens",
        /// OpenAI's Responses, `POST /v1/responses`.
        Responses = "responses",
        /// Moderations, `POST /v1/moderations`.
        Moderations = "moderations",
        /// Reranking, `POST /v1/rerank`.
        Rerank = "rerank",
        /// Drawing images, `POST /v1/images/generations`.
        Images = "images",
        /// Editing images, `POST /v1/images/edits`; a form with files.
        ImageEdits = "image_edits",
        /// Speech from text, `POST /v1/audio/speech`; the answer is sound.
        Speech = "speech",
        /// Text from speech, `POST /v1/audio/transcriptions`; a form with a file.
        Transcriptions = "transcriptions",
        /// English text from speech, `POST /v1/audio/translations`; a form with a file.
        Translations = "translations",
        /// Any other path of a provider, whatever the method.
        Passthrough = "passthrough",
    }
}

words! {
    /// Urgency class of a request. Each lane has its own backlog and its own share of the routers.
    Lane, "lane" {
        /// Somebody waits for the answer.
        Interactive = "interactive",
        /// The default of a message that names no lane.
        Normal = "normal",
        /// May wait behind everything else.
        Bulk = "bulk",
    }
}

words! {
    /// Share of a target's slots: interactive and normal requests go first, bulk requests have their own few.
    Class, "class" {
        /// Interactive and normal lanes.
        Foreground = "foreground",
        /// The bulk lane.
        Bulk = "bulk",
    }
}

impl Operation {
    /// Path of the HTTP route, as in `/v1/chat/completions`. Passing through has none of its own.
    pub fn http_path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
            Self::Responses => "/v1/responses",
            Self::Moderations => "/v1/moderations",
            Self::Rerank => "/v1/rerank",
            Self::Images => "/v1/images/generations",
            Self::ImageEdits => "/v1/images/edits",
            Self::Speech => "/v1/audio/speech",
            Self::Transcriptions => "/v1/audio/transcriptions",
            Self::Translations => "/v1/audio/translations",
            Self::Passthrough => "/v1",
        }
    }

    /// The same below a base URL that ends in `/v1`.
    pub fn openai_path(self) -> &'static str {
        &self.http_path()["/v1".len()..]
    }

    /// The operation of that HTTP route.
    pub fn of_path(path: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|op| *op != Self::Passthrough && op.http_path() == path)
    }

    /// Whether it is a conversation, whatever the dialect: any provider that chats can answer it.
    pub fn is_chat(self) -> bool {
        matches!(self, Self::Chat | Self::Messages | Self::Responses)
    }

    /// Whether its answer may come in pieces as an event stream.
    pub fn streams(self) -> bool {
        !matches!(self, Self::Embeddings | Self::CountTokens | Self::Moderations | Self::Rerank)
    }

    /// Whether its request is a form with files.
    pub fn is_form(self) -> bool {
        matches!(self, Self::ImageEdits | Self::Transcriptions | Self::Translations)
    }

    /// Whether its answer may be something else than JSON.
    pub fn answers_bytes(self) -> bool {
        matches!(self, Self::Speech | Self::Transcriptions | Self::Translations | Self::Passthrough)
    }

    /// Whether a request has to name a model, or its config has to.
    pub fn needs_model(self) -> bool {
        !matches!(self, Self::Moderations | Self::Images | Self::ImageEdits | Self::Passthrough)
    }

    /// Whether errors are told in Anthropic's shape instead of OpenAI's.
    pub fn is_anthropic(self) -> bool {
        matches!(self, Self::Messages | Self::CountTokens)
    }
}

impl Lane {
    /// Which share of a target's slots this lane uses.
    pub fn class(self) -> Class {
        match self {
            Self::Interactive | Self::Normal => Class::Foreground,
            Self::Bulk => Class::Bulk,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_parse_back_and_unknown_ones_list_the_known() {
        for operation in Operation::ALL {
            assert_eq!(operation.as_str().parse(), Ok(*operation));
        }
        for operation in Operation::ALL.iter().filter(|op| **op != Operation::Passthrough) {
            assert_eq!(Operation::of_path(operation.http_path()), Some(*operation));
        }
        assert_eq!(Operation::Chat.openai_path(), "/chat/completions");
        assert_eq!(Operation::of_path("/v1"), None);
        let err = "chta".parse::<Operation>().unwrap_err();
        assert_eq!(
            err.to_string(),
            "unknown operation `chta`: use one of chat, completions, embeddings, messages, count_tokens, responses, \
             moderations, rerank, images, image_edits, speech, transcriptions, translations, passthrough"
        );
    }
}
