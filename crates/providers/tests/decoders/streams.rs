//! Streams of providers, cut anywhere, and what callers get of them.

use bytes::{Bytes, BytesMut};
use domain::Operation;
use domain::config::{Unsupported, params};
use domain::registry::{Format, Quirks};
use providers::aws::{Decoder, Frame, encode};
use providers::chat::{Broken, Event, ReadEvents};
use providers::exchange::{Exchange, Stopped};
use providers::openai::StreamEvent;
use providers::sse::{self, Events};
use providers::{openai, translation};
use serde_json::{Map, Value};

use super::{CHATS, about, most, promises};

/// Streams up to this length are cut at every offset, longer ones at so many.
const CUTS: usize = 256;

/// What a reader makes of a stream: the events, and how it ended.
type Read = (Vec<Event>, Result<(), Broken>);

fn read(format: Format, pieces: &[&[u8]]) -> Read {
    let (mut reader, mut out) = ((translation::wire(format).reader)(), Vec::new());
    for piece in pieces {
        if let Err(broken) = reader.read(piece, &mut out) {
            return (out, Err(broken));
        }
    }
    let end = reader.end(&mut out);
    (out, end)
}

/// Checks that it makes no difference where the bytes are cut, and returns what comes of them.
fn cut_anywhere<T: PartialEq + std::fmt::Debug>(bytes: &[u8], read: impl Fn(&[&[u8]]) -> T) -> T {
    let whole = read(&[bytes]);
    for at in (1..bytes.len()).step_by(bytes.len().div_ceil(CUTS).max(1)) {
        assert_eq!(read(&[&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
    }
    assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
    whole
}

/// A stream in this format means the same wherever it is cut, keeps the promises of readers, and can be told in every
/// dialect.
pub(super) fn chat(format: Format, bytes: &[u8]) {
    let (events, end) = cut_anywhere(bytes, |pieces| read(format, pieces));
    promises::check(&events, &end);
    if let Err(broken) = &end {
        assert!(broken.to_string().len() <= 512, "reasons are for logs: {broken}");
    }
    for operation in CHATS {
        for strict in [true, false] {
            told(operation, strict, &events, bytes.len());
        }
    }
}

/// What the caller gets is a stream that we would understand if a provider sent it.
fn told(operation: Operation, strict: bool, events: &[Event], input: usize) {
    let dialect = translation::dialect(operation).expect("chats have a dialect");
    let (mut writer, mut out) = ((dialect.writer)(&about(strict), b"{}"), Vec::new());
    events.iter().for_each(|event| writer.write(event, &mut out));
    assert!(out.len() <= 256 * 1024 + 64 * most(input), "{} bytes from {input}", out.len());
    assert!(std::str::from_utf8(&out).is_ok(), "what callers get is text");
    let (mut framed, mut observer) = (Events::default(), (dialect.observer)());
    framed.push(&out);
    let (mut done, mut failed) = (false, false);
    while let Some(event) = framed.take() {
        if let Some(data) = sse::data(&event).filter(|data| *data != b"[DONE]") {
            serde_json::from_slice::<Value>(data).expect("data is JSON");
        }
        match observer.look(&event) {
            StreamEvent::Done | StreamEvent::DoneWithUsage(_) => done = true,
            StreamEvent::Error(_) => failed = true,
            StreamEvent::Malformed(place) => panic!("malformed at {place}: {event:?}"),
            _ => {}
        }
    }
    assert_eq!(framed.pending(), 0, "every event ends");
    assert_eq!(done, matches!(events.last(), Some(Event::End)), "{operation}: the end is told");
    assert_eq!(failed, matches!(events.last(), Some(Event::Error(_))), "{operation}: errors are told");
    if operation == Operation::Chat && done {
        let (mut reader, mut again) = (openai::Reader::default(), Vec::new());
        reader.read(&out, &mut again).expect("we understand what we write");
        reader.end(&mut again).expect("it is complete");
    }
}

/// Bedrock's stream: lines of the type of an event, a blank, and its JSON; `!` in front makes it an exception. They are
/// put into frames here, because made-up checksums would never fit.
pub(super) fn bedrock(bytes: &[u8]) {
    let mut framed = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let at = memchr::memchr(b' ', line).unwrap_or(line.len());
        let kind = String::from_utf8_lossy(&line[..at]);
        let payload = line.get(at + 1..).unwrap_or_default().to_vec();
        let frame = match kind.strip_prefix('!') {
            Some(kind) => Frame::exception(kind, payload),
            None => Frame::event(&kind, payload),
        };
        // Too long a type does not fit into a frame.
        let _ = encode(&frame, &mut framed);
    }
    chat(Format::Bedrock, &framed);
}

/// AWS's frames: the same wherever they are cut, and what is read is written back.
pub(super) fn aws(bytes: &[u8]) {
    let (frames, _) = cut_anywhere(bytes, |pieces| {
        let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.push(piece);
            loop {
                match decoder.take() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(broken) => return (frames, Some(broken)),
                }
            }
        }
        (frames, decoder.is_cut().then_some(Broken::Cut))
    });
    let mut out = Vec::new();
    for frame in &frames {
        encode(frame, &mut out).expect("what was read can be written");
    }
    let mut decoder = Decoder::default();
    decoder.push(&out);
    for frame in frames {
        assert_eq!(decoder.take(), Ok(Some(frame)));
    }
    chat(Format::Bedrock, bytes);
}

/// Events are the same wherever bytes are cut, and no byte is lost.
pub(super) fn sse(bytes: &[u8]) {
    let (events, rest) = cut_anywhere(bytes, |pieces| {
        let (mut framed, mut events) = (Events::default(), Vec::new());
        for piece in pieces {
            framed.push(piece);
            while let Some(event) = framed.take() {
                events.push(event);
            }
        }
        (events, framed.rest())
    });
    assert_eq!([events.concat(), rest.to_vec()].concat(), bytes);
    for event in &events {
        let _ = sse::data(event);
    }
}

/// What is forwarded comes out as it came in, as far as it is good, wherever it is cut.
pub(super) fn forwarded(bytes: &[u8]) {
    for (operation, format) in [
        (Operation::Chat, Format::OpenAi),
        (Operation::Completions, Format::OpenAi),
        (Operation::Responses, Format::OpenAi),
        (Operation::Messages, Format::Anthropic),
    ] {
        let (out, _, stopped) = cut_anywhere(bytes, |pieces| relayed(operation, format, pieces));
        assert!(bytes.starts_with(&out), "bytes are forwarded as they are");
        if let Some(Stopped::Invalid(why)) = stopped {
            assert!(why.len() <= 512, "{why}");
        }
    }
}

fn relayed(
    operation: Operation,
    format: Format,
    pieces: &[&[u8]],
) -> (Vec<u8>, openai::Told, Option<Stopped>) {
    let (none, quirks) = (Map::new(), Quirks::default());
    let exchange = Exchange {
        operation,
        asked: operation,
        format,
        quirks: &quirks,
        changes: params::Changes { defaults: &none, overrides: &none, drops: &[] },
        options: &none,
        model: None,
        unsupported: Unsupported::Drop,
        content_type: None,
        stream: true,
        about: about(true),
    };
    let mut relay = exchange.relay(&Bytes::from_static(b"{}")).expect("it is forwarded");
    let mut out = BytesMut::new();
    for piece in pieces {
        if let Err(stopped) = relay.push(piece, &mut out) {
            return (out.to_vec(), relay.told(), Some(stopped));
        }
    }
    let stopped = relay.end(&mut out).err();
    (out.to_vec(), relay.told(), stopped)
}
