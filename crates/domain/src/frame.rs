//! Pieces of an answer on their way to the gateway that holds the caller's connection.
//!
//! Wire form: kind (1 byte), attempt number (4), byte offset (8), all big-endian, then the rest.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::envelope::{Malformed, frame, unframe};
use crate::{Outcome, cache};

/// Most bytes of an answer in one frame.
pub const MAX_CHUNK: usize = 128 * 1024;

/// What the caller learns before the first byte of the body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// HTTP status.
    pub status: u16,
    /// Media type.
    pub content_type: String,
    /// Headers of the provider's answer that are passed on.
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, String>,
    /// Place of the target that answers.
    pub path: String,
    /// Provider that answers.
    pub provider: String,
    /// Retries made at that target.
    pub retry_count: i32,
    /// The cache's part in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Box<cache::Use>>,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// The answer begins.
    Head {
        /// The attempt it comes from.
        attempt: u32,
        /// What is known at the beginning.
        head: Head,
    },
    /// More bytes of the body.
    Chunk {
        /// The attempt they come from.
        attempt: u32,
        /// Where in the body they belong.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// The request has ended. The last bytes may come along.
    End {
        /// The attempt that ended it; 0: none did.
        attempt: u32,
        /// Where in the body `bytes` belong: how many came before.
        offset: u64,
        /// How it ended. Its body reference tells how long the body is.
        outcome: Box<Outcome>,
        /// The last bytes.
        bytes: Bytes,
    },
}

const HEADER: usize = 13;

impl Frame {
    /// The attempt that a frame comes from.
    pub fn attempt(&self) -> u32 {
        match self {
            Self::Head { attempt, .. } | Self::Chunk { attempt, .. } | Self::End { attempt, .. } => *attempt,
        }
    }

    /// Writes the frame.
    pub fn encode(&self) -> Bytes {
        let (kind, attempt, offset) = match self {
            Self::Head { attempt, .. } => (b'H', attempt, 0),
            Self::Chunk { attempt, offset, .. } => (b'C', attempt, *offset),
            Self::End { attempt, offset, .. } => (b'E', attempt, *offset),
        };
        let rest = match self {
            Self::Head { head, .. } => frame(head, &[]),
            Self::Chunk { bytes, .. } => bytes.clone(),
            Self::End { outcome, bytes, .. } => frame(outcome, &[bytes]),
        };
        let mut out = BytesMut::with_capacity(HEADER + rest.len());
        out.put_u8(kind);
        out.put_u32(*attempt);
        out.put_u64(offset);
        out.extend_from_slice(&rest);
        out.freeze()
    }

    /// Reads a frame.
    pub fn decode(payload: &Bytes) -> Result<Self, Malformed> {
        let short = || Malformed(format!("a frame of {} bytes", payload.len()));
        let number = |range: std::ops::Range<usize>| {
            let bytes = payload.get(range)?;
            Some(bytes.iter().fold(0u64, |n, b| (n << 8) | u64::from(*b)))
        };
        let attempt = number(1..5).and_then(|n| u32::try_from(n).ok()).ok_or_else(short)?;
        let offset = number(5..HEADER).ok_or_else(short)?;
        let rest = payload.slice(HEADER..);
        match payload[0] {
            b'H' => Ok(Self::Head { attempt, head: unframe(&rest)?.0 }),
            b'C' => Ok(Self::Chunk { attempt, offset, bytes: rest }),
            b'E' => {
                let (outcome, bytes) = unframe(&rest)?;
                Ok(Self::End { attempt, offset, outcome, bytes })
            }
            other => Err(Malformed(format!("a frame of kind {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_decode_to_what_was_encoded() {
        let head = Head {
            status: 200,
            content_type: "text/event-stream".into(),
            headers: std::collections::BTreeMap::new(),
            path: "config".into(),
            provider: "mock".into(),
            retry_count: 0,
            cache: None,
        };
        for frame in [
            Frame::Head { attempt: 2, head },
            Frame::Chunk { attempt: 7, offset: 1 << 40, bytes: Bytes::from_static(b"data: x\n\n") },
        ] {
            assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
        }
        assert!(Frame::decode(&Bytes::from_static(b"C123")).is_err());
        assert!(Frame::decode(&Bytes::from_static(b"?000000000000")).is_err());
    }
}
