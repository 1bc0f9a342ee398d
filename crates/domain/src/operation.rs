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
    /// Path below a provider's base URL in the OpenAI dialect.
    pub fn openai_path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
        }
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
        let err = "chta".parse::<Operation>().unwrap_err();
        assert_eq!(err.to_string(), "unknown operation `chta`: use one of chat, completions, embeddings");
    }
}
