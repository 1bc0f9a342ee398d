//! Responses that go on: what a request says of its conversation, and what is kept of each turn.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::envelope::{Malformed, frame, unframe};
use crate::{BodyRef, Envelope, Outcome, RequestId, Timestamp, outcome};

/// What a Responses request says of how it is served, beside what is asked of a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The id of the response that it continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The body holds the items of the earlier turns, because they are kept here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expanded: bool,
    /// The response is to be kept, to be looked at and continued.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    /// Nobody waits: the response is asked for by its id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub background: bool,
}

impl Conversation {
    /// Whether there is nothing to say, as for all other operations.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// One turn of a conversation, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// The request.
    pub request: RequestId,
    /// The model the caller named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// When the request was accepted.
    pub accepted_at: Timestamp,
    /// When it has to be finished.
    pub deadline: Timestamp,
    /// It runs in the background.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub background: bool,
    /// The request's body, with the items of earlier turns.
    pub question: BodyRef,
    /// How it ended; None: it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// How.
    pub kind: outcome::Kind,
    /// HTTP status of the answer.
    pub status: u16,
    /// Provider that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The answer came in pieces and broke off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The answer's body: a response object, a stream of events that ends with one, or an error.
    pub body: BodyRef,
}

impl Turn {
    /// A turn that has been asked for.
    pub fn asked(envelope: &Envelope) -> Self {
        Self {
            request: envelope.request.clone(),
            model: envelope.model.clone(),
            accepted_at: envelope.accepted_at,
            deadline: envelope.deadline,
            background: envelope.conversation.background,
            question: BodyRef::default(),
            ending: None,
        }
    }

    /// Whether it ended with an answer.
    pub fn is_answered(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.kind == outcome::Kind::Answered)
    }
}

impl Ending {
    /// The ending that an outcome tells of.
    pub fn of(outcome: &Outcome) -> Self {
        Self {
            kind: outcome.kind,
            status: outcome.status,
            provider: outcome.provider.clone(),
            truncated: outcome.truncated,
            body: outcome.body.clone(),
        }
    }
}

/// What may stand where a turn is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// Its caller had it deleted; nobody may write it again.
    Deleted,
    /// The turn.
    Turn(Box<Turn>),
}

impl Kept {
    /// Puts the record and inline bodies into one payload.
    pub fn encode(&self, question: &[u8], answer: &[u8]) -> Bytes {
        frame(self, &[question, answer])
    }

    /// Takes a payload apart: the record, the question's and the answer's bytes; those that are stored elsewhere are
    /// empty.
    pub fn decode(payload: &Bytes) -> Result<(Self, Bytes, Bytes), Malformed> {
        let (kept, rest): (Self, Bytes) = unframe(payload)?;
        let (question, answer) = match &kept {
            Self::Deleted => (0, 0),
            Self::Turn(turn) => {
                (turn.question.inline_len(), turn.ending.as_ref().map_or(0, |e| e.body.inline_len()))
            }
        };
        match question.checked_add(answer) {
            Some(size) if size == rest.len() => Ok((kept, rest.slice(..question), rest.slice(question..))),
            _ => Err(Malformed(format!("{} bytes of bodies, {question} and {answer} announced", rest.len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_kept_with_its_bodies() {
        let turn = Turn {
            request: RequestId::parse("acme~r1").unwrap(),
            model: Some("m".into()),
            accepted_at: Timestamp(1),
            deadline: Timestamp(2),
            background: true,
            question: BodyRef::Inline { size: 2 },
            ending: Some(Ending {
                kind: outcome::Kind::Answered,
                status: 200,
                provider: Some("mock".into()),
                truncated: false,
                body: BodyRef::Stored { object: "acme~r1.answer".into(), size: 7 },
            }),
        };
        let kept = Kept::Turn(Box::new(turn));
        let bodies = (Bytes::from_static(b"{}"), Bytes::new());
        assert_eq!(Kept::decode(&kept.encode(b"{}", b"")), Ok((kept.clone(), bodies.0, bodies.1)));
        assert!(Kept::decode(&kept.encode(b"{", b"")).is_err());
        let gone = Kept::Deleted.encode(b"", b"");
        assert_eq!(Kept::decode(&gone), Ok((Kept::Deleted, Bytes::new(), Bytes::new())));
    }
}
