//! Event streams in AWS's binary framing, `application/vnd.amazon.eventstream`.
//!
//! Source: "Event stream encoding" in AWS's reference of Amazon Transcribe, and Smithy's specification of it.

use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::{Bytes, BytesMut};

use crate::chat::{Broken, MAX_EVENT};

/// Length of the frame, length of its headers, checksum of both: four bytes each.
const PRELUDE: usize = 12;
/// Prelude and, at the end, the checksum of the whole frame.
const SHORTEST: usize = PRELUDE + 4;

/// One message of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Headers whose values are texts (`:message-type`, `:event-type`, …), in order. Others mean nothing to us.
    pub headers: Vec<(String, String)>,
    /// What it carries, most often JSON.
    pub payload: Bytes,
}

impl Frame {
    /// An event of that type with JSON in it, as services send them.
    pub fn event(kind: &str, payload: impl Into<Bytes>) -> Self {
        Self::json("event", ":event-type", kind, payload.into())
    }

    /// An exception of that type with JSON in it.
    pub fn exception(kind: &str, payload: impl Into<Bytes>) -> Self {
        Self::json("exception", ":exception-type", kind, payload.into())
    }

    fn json(message: &str, header: &str, kind: &str, payload: Bytes) -> Self {
        let headers = [(header, kind), (":content-type", "application/json"), (":message-type", message)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { headers, payload }
    }

    /// The header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// Cuts a byte stream into frames. Holds at most one frame and what came with its end.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: BytesMut,
}

impl Decoder {
    /// Adds bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one. After an error nothing more can be read: frames have no marks at which
    /// one could begin anew.
    pub fn take(&mut self) -> Result<Option<Frame>, Broken> {
        let Some(prelude) = self.pending.get(..PRELUDE) else { return Ok(None) };
        let number =
            |at: usize| u32::from_be_bytes([prelude[at], prelude[at + 1], prelude[at + 2], prelude[at + 3]]);
        // The reader of frames checks this as well, but only once the whole frame is there; a length that cannot be
        // trusted must not be waited for.
        if crc32fast::hash(&prelude[..8]) != number(8) {
            return Err(Broken::Malformed("the checksum of a frame's prelude is wrong".to_owned()));
        }
        let length = number(0) as usize;
        if length > MAX_EVENT {
            return Err(Broken::TooLarge);
        }
        if length < SHORTEST {
            return Err(Broken::Malformed("a frame is shorter than its own prelude".to_owned()));
        }
        if self.pending.len() < length {
            return Ok(None);
        }
        let bytes = self.pending.split_to(length).freeze();
        let message = read_message_from(bytes)
            .map_err(|err| Broken::Malformed(format!("a frame is not valid: {err}")))?;
        Ok(Some(read(message)))
    }

    /// Whether a frame has begun and is not complete.
    pub fn is_cut(&self) -> bool {
        !self.pending.is_empty()
    }
}

fn read(message: Message) -> Frame {
    let text = |header: &Header| match header.value() {
        HeaderValue::String(value) => Some((header.name().as_str().to_owned(), value.as_str().to_owned())),
        _ => None,
    };
    Frame { headers: message.headers().iter().filter_map(text).collect(), payload: message.payload().clone() }
}

/// Adds a frame's bytes to `out`. The error says which limit of the framing it passes.
pub fn encode(frame: &Frame, out: &mut Vec<u8>) -> Result<(), String> {
    let header = |(name, value): &(String, String)| {
        Header::new(name.clone(), HeaderValue::String(value.clone().into()))
    };
    let headers = frame.headers.iter().map(header).collect();
    let message = Message::new_from_parts(headers, frame.payload.clone());
    let begin = out.len();
    write_message_to(&message, out).map_err(|err| format!("the frame cannot be written: {err}"))?;
    if out.len() - begin > MAX_EVENT {
        out.truncate(begin);
        return Err(format!("the frame cannot be written: it is longer than {MAX_EVENT} bytes"));
    }
    Ok(())
}
