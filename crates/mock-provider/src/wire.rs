//! How the events of a stream are put on the wire: server-sent events, lines, a JSON array, AWS event-stream frames.

use http::HeaderValue;
use serde::Serialize;

use crate::script::Malformed;
use crate::text::json;

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Something the stream says; named where the dialect names its events.
    Data { name: Option<&'static str>, data: Vec<u8> },
    /// An error that AWS marks as such in the frame's headers.
    Exception { name: &'static str, data: Vec<u8> },
    /// Bytes that end a stream and are no event.
    End(&'static [u8]),
}

/// What stands around an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events with `\n`, as most providers write them.
    Sse,
    /// Server-sent events with `\r\n`, as Google writes them.
    SseCrlf,
    /// A JSON document per line.
    Lines,
    /// The elements of one JSON array.
    Array,
    /// `application/vnd.amazon.eventstream`.
    /// Source: docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html, "Response message".
    EventStream,
}

impl Event {
    /// An event without a name.
    pub(crate) fn plain(value: &impl Serialize) -> Self {
        Self::Data { name: None, data: json(value) }
    }

    /// An event with a name.
    pub(crate) fn named(name: &'static str, value: &impl Serialize) -> Self {
        Self::Data { name: Some(name), data: json(value) }
    }
}

impl Framing {
    /// What the stream calls itself.
    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Sse => "text/event-stream; charset=utf-8",
            Self::SseCrlf => "text/event-stream",
            Self::Lines => "application/x-ndjson",
            Self::Array => "application/json; charset=UTF-8",
            Self::EventStream => "application/vnd.amazon.eventstream",
        })
    }

    /// Writes an event; `first` is the first of the stream. With a fault, the event or its frame is broken.
    pub(crate) fn write(self, out: &mut Vec<u8>, event: &Event, first: bool, fault: Option<Malformed>) {
        let (kind, name, data) = match event {
            Event::Data { name, data } => ("event", *name, data.as_slice()),
            Event::Exception { name, data } => ("exception", Some(*name), data.as_slice()),
            Event::End(bytes) => return out.extend_from_slice(bytes),
        };
        let data = if fault == Some(Malformed::Json) { &data[..data.len() / 2] } else { data };
        let whole = fault != Some(Malformed::Sse);
        match self {
            Self::Sse => sse(out, name, data, "\n", whole),
            Self::SseCrlf => sse(out, name, data, "\r\n", whole),
            Self::Lines => {
                out.extend_from_slice(data);
                out.extend_from_slice(if whole { b"\n" } else { b"" });
            }
            Self::Array => {
                out.extend_from_slice(match (first, whole) {
                    (true, _) => b"[",
                    (false, true) => b",\r\n",
                    (false, false) => b"",
                });
                out.extend_from_slice(data);
            }
            Self::EventStream => frame(out, kind, name.unwrap_or_default(), data, whole),
        }
    }
}

/// An event ends with an empty line; without it, it runs into the next.
fn sse(out: &mut Vec<u8>, name: Option<&str>, data: &[u8], newline: &str, whole: bool) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(newline.as_bytes());
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(newline.as_bytes());
    if whole {
        out.extend_from_slice(newline.as_bytes());
    }
}

/// Lengths, a checksum of them, headers, payload, a checksum of it all; all numbers big-endian. A broken frame
/// has a wrong checksum.
fn frame(out: &mut Vec<u8>, kind: &str, name: &str, payload: &[u8], whole: bool) {
    let mut headers = Vec::with_capacity(96);
    let type_name = if kind == "exception" { ":exception-type" } else { ":event-type" };
    for (name, value) in [(type_name, name), (":content-type", "application/json"), (":message-type", kind)] {
        headers.push(u8::try_from(name.len()).expect("header names are short"));
        headers.extend_from_slice(name.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&u16::try_from(value.len()).expect("values are short").to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let start = out.len();
    let length = |bytes: usize| u32::try_from(bytes).expect("events are far below 4 GiB").to_be_bytes();
    out.extend_from_slice(&length(headers.len() + payload.len() + 16));
    out.extend_from_slice(&length(headers.len()));
    let prelude = crc32(&out[start..]);
    out.extend_from_slice(&prelude.to_be_bytes());
    out.extend_from_slice(&headers);
    out.extend_from_slice(payload);
    let message = crc32(&out[start..]) ^ u32::from(!whole);
    out.extend_from_slice(&message.to_be_bytes());
}

/// The checksum of gzip and of AWS frames, by table.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let (mut crc, mut bit) = (at as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
                bit += 1;
            }
            table[at] = crc;
            at += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ TABLE[usize::from((crc as u8) ^ byte)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(framing: Framing, fault: Option<Malformed>, expected: &str) {
        let mut out = Vec::new();
        let events = [Event::named("a", &json!({"n": 1})), Event::plain(&json!({"n": 2})), Event::End(b"]")];
        for (at, event) in events.iter().enumerate() {
            framing.write(&mut out, event, at == 0, fault.filter(|_| at == 1));
        }
        assert_eq!(String::from_utf8(out).expect("text"), expected, "{framing:?} {fault:?}");
    }

    #[test]
    fn each_framing_writes_events_and_breaks_them() {
        check(Framing::Sse, None, "event: a\ndata: {\"n\":1}\n\ndata: {\"n\":2}\n\n]");
        check(Framing::SseCrlf, None, "event: a\r\ndata: {\"n\":1}\r\n\r\ndata: {\"n\":2}\r\n\r\n]");
        check(Framing::Lines, None, "{\"n\":1}\n{\"n\":2}\n]");
        check(Framing::Lines, Some(Malformed::Json), "{\"n\":1}\n{\"n\n]");
        check(Framing::Array, None, "[{\"n\":1},\r\n{\"n\":2}]");
        check(Framing::Sse, Some(Malformed::Sse), "event: a\ndata: {\"n\":1}\n\ndata: {\"n\":2}\n]");
        check(Framing::Array, Some(Malformed::Sse), "[{\"n\":1}{\"n\":2}]");
    }

    #[test]
    fn checksums_are_those_of_gzip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn frames_hold_their_lengths_and_checksums() {
        let mut out = Vec::new();
        Framing::EventStream.write(&mut out, &Event::named("messageStart", &json!({})), true, None);
        let number = |at: usize| u32::from_be_bytes(out[at..at + 4].try_into().expect("four"));
        assert_eq!(usize::try_from(number(0)), Ok(out.len()));
        assert_eq!(number(8), crc32(&out[..8]));
        assert_eq!(number(out.len() - 4), crc32(&out[..out.len() - 4]));
        let headers = usize::try_from(number(4)).expect("small");
        assert_eq!(&out[12 + headers..out.len() - 4], b"{}");
        assert!(out.windows(12).any(|window| window == b"messageStart"));
        let mut broken = Vec::new();
        Framing::EventStream.write(
            &mut broken,
            &Event::named("messageStart", &json!({})),
            true,
            Some(Malformed::Sse),
        );
        assert_eq!(broken[..out.len() - 4], out[..out.len() - 4]);
        assert_ne!(broken, out);
    }
}
