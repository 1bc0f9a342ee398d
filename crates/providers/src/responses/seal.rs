//! Providers' seals on thoughts and calls, as they travel in `encrypted_content` of reasoning items.
//!
//! A client has to send reasoning items back as they are, so the seals of any provider can travel in them. Ours are
//! marked; OpenAI's own are base64 and hold no colon, so they are never taken for a seal of another provider.

use memchr::memmem;

const THINKING: &str = "thinking:";
const REDACTED: &str = "redacted:";
const CALL: &str = "call:";

/// What `encrypted_content` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    /// The seal of the thoughts that the item shows; empty where the provider seals none.
    Thinking(String),
    /// Thoughts that only the provider can read.
    Redacted(String),
    /// The seal of a call that stands beside the item.
    Call { id: String, signature: String },
}

impl Seal {
    pub(super) fn write(&self) -> String {
        match self {
            Self::Thinking(signature) => format!("{THINKING}{signature}"),
            Self::Redacted(data) => format!("{REDACTED}{data}"),
            // Ids and signatures may hold anything, a list in JSON keeps them apart.
            Self::Call { id, signature } => format!("{CALL}{}", serde_json::json!([id, signature])),
        }
    }

    /// None: somebody else's.
    pub(super) fn read(text: &str) -> Option<Self> {
        if let Some(signature) = text.strip_prefix(THINKING) {
            return Some(Self::Thinking(signature.to_owned()));
        }
        if let Some(data) = text.strip_prefix(REDACTED) {
            return Some(Self::Redacted(data.to_owned()));
        }
        let (id, signature) = serde_json::from_str(text.strip_prefix(CALL)?).ok()?;
        Some(Self::Call { id, signature })
    }

    /// Whether a body may hold a seal: false is certain.
    pub(super) fn may_be_in(body: &[u8]) -> bool {
        memmem::find(body, b"\"encrypted_content\"").is_some()
            && [THINKING, REDACTED, CALL].iter().any(|mark| memmem::find(body, mark.as_bytes()).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seals_travel_and_foreign_ones_are_told_apart() {
        for seal in [
            Seal::Thinking("EqQB+/==".into()),
            Seal::Thinking(String::new()),
            Seal::Redacted("a:b".into()),
            Seal::Call { id: "call:\"1".into(), signature: "x,y".into() },
        ] {
            let text = seal.write();
            assert_eq!(Seal::read(&text), Some(seal));
            assert!(Seal::may_be_in(serde_json::json!({ "encrypted_content": text }).to_string().as_bytes()));
        }
        for foreign in ["gAAAAABo", "", "call:", "call:[1]", "call:[\"a\"]"] {
            assert_eq!(Seal::read(foreign), None, "{foreign}");
        }
        assert!(!Seal::may_be_in(b"{\"encrypted_content\":\"gAAAAABo\"}"));
    }
}
