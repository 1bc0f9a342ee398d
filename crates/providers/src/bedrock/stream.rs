//! Streams of ConverseStream.

use domain::Usage;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{self, Counts};
use super::error;
use crate::aws::{Decoder, Frame};
use crate::chat::{Block, Broken, Delta, Dialect, Event, MAX_EVENT, ReadEvents, Start};

/// Reads the stream of ConverseStream.
#[derive(Debug, Default)]
pub struct Reader {
    frames: Decoder,
    started: bool,
    next: u32,
    open: Option<Open>,
    finished: bool,
    counted: bool,
    over: bool,
}

/// The block that is under way. Converse sends one after the other.
#[derive(Debug)]
struct Open {
    /// Converse's number of it.
    index: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Text(u32),
    Thinking(u32),
    Call(u32),
    /// What only Converse has: collected, because it has to come whole.
    Held(Held),
}

impl Kind {
    /// Our number of the block, for those that open as they begin.
    fn block(&self) -> Option<u32> {
        match self {
            Self::Text(block) | Self::Thinking(block) | Self::Call(block) => Some(*block),
            Self::Held(_) => None,
        }
    }
}

/// A block in the making: what it began with, and pieces of text or parts since.
#[derive(Debug)]
struct Held {
    name: String,
    begin: Map<String, Value>,
    text: String,
    parts: Vec<Value>,
    bytes: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockEvent {
    content_block_index: u64,
    #[serde(default)]
    start: Map<String, Value>,
    #[serde(default)]
    delta: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageStop {
    stop_reason: String,
    #[serde(default)]
    additional_model_response_fields: Option<Value>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl ReadEvents for Reader {
    fn read(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        if self.over {
            return Ok(());
        }
        self.frames.push(bytes);
        while !self.over {
            let Some(frame) = self.frames.take()? else { break };
            self.frame(&frame, out)?;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Broken> {
        if self.over {
            return Ok(());
        }
        // Counts come after the answer; an answer without them is an answer.
        if !self.finished || self.frames.is_cut() {
            return Err(Broken::Cut);
        }
        self.close_stream(out);
        Ok(())
    }
}

impl Reader {
    fn frame(&mut self, frame: &Frame, out: &mut Vec<Event>) -> Result<(), Broken> {
        let header = |name: &str| frame.header(name).unwrap_or_default();
        match header(":message-type") {
            "event" => self.event(header(":event-type"), &frame.payload, out),
            "exception" => {
                self.over = true;
                out.push(Event::Error(error::exception(header(":exception-type"), &frame.payload)));
                Ok(())
            }
            "error" => {
                self.over = true;
                let error = error::stream_error(header(":error-code"), header(":error-message"));
                out.push(Event::Error(error));
                Ok(())
            }
            _ => Err(Broken::Malformed("a frame has no message type that is known".to_owned())),
        }
    }

    fn event(&mut self, kind: &str, payload: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        match kind {
            "messageStart" => self.start(out),
            // The answer is over: whatever this is, it is no part of it.
            _ if self.finished && kind.starts_with("contentBlock") => (),
            "contentBlockStart" => {
                let BlockEvent { content_block_index: index, start, .. } = parse(kind, payload)?;
                self.start(out);
                self.begin(index, start, out)?;
            }
            "contentBlockDelta" => {
                let BlockEvent { content_block_index: index, delta, .. } = parse(kind, payload)?;
                self.start(out);
                for (name, value) in delta {
                    self.delta(index, &name, value, out)?;
                }
            }
            "contentBlockStop" => {
                let BlockEvent { content_block_index: index, .. } = parse(kind, payload)?;
                if self.open.as_ref().is_some_and(|open| open.index == index) {
                    self.close(out);
                }
            }
            "messageStop" => {
                let MessageStop { stop_reason, additional_model_response_fields: additional } =
                    parse(kind, payload)?;
                self.start(out);
                self.close(out);
                if !std::mem::replace(&mut self.finished, true) {
                    let finish = answer::finish(&stop_reason, additional.as_ref());
                    out.push(Event::Finish { choice: 0, finish });
                    push_extra(answer::extra(Map::new(), None, additional), out);
                }
            }
            "metadata" => {
                let Metadata { usage, rest } = parse(kind, payload)?;
                self.start(out);
                self.counted = true;
                out.extend(usage.as_ref().map(|counts| Event::Usage(Usage::from(counts))));
                push_extra(answer::extra(rest, usage, None), out);
            }
            // Events that Converse may learn later.
            _ => (),
        }
        if self.finished && self.counted {
            self.close_stream(out);
        }
        Ok(())
    }

    fn start(&mut self, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.started, true) {
            out.push(Event::Start(Start::default()));
        }
    }

    fn close_stream(&mut self, out: &mut Vec<Event>) {
        self.over = true;
        out.push(Event::End);
    }

    /// A block begins: calls of tools do so, and what only Converse has.
    fn begin(&mut self, index: u64, start: Map<String, Value>, out: &mut Vec<Event>) -> Result<(), Broken> {
        let Some((name, value)) = start.into_iter().next() else { return Ok(()) };
        let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
        let is_callers = value.get("type").is_none_or(Value::is_null);
        if name == "toolUse" && is_callers {
            let (Some(id), Some(tool)) = (text("toolUseId"), text("name")) else {
                return Err(Broken::Malformed("contentBlockStart: a call has no id or no name".to_owned()));
            };
            let what = Block::ToolCall { id, name: tool, signature: None };
            let block = self.open(what, out);
            self.open = Some(Open { index, kind: Kind::Call(block) });
            return Ok(());
        }
        self.close(out);
        let bytes = value.to_string().len();
        let Value::Object(begin) = value else { return Ok(()) };
        let held = Held { name, begin, text: String::new(), parts: Vec::new(), bytes };
        self.open = Some(Open { index, kind: Kind::Held(held) });
        Ok(())
    }

    fn delta(&mut self, index: u64, name: &str, value: Value, out: &mut Vec<Event>) -> Result<(), Broken> {
        let open = self.open.as_mut().filter(|open| open.index == index);
        if let Some(Open { kind: Kind::Held(held), .. }) = open {
            return held.add(value);
        }
        let call = open.and_then(|open| match &open.kind {
            Kind::Call(block) => Some(*block),
            _ => None,
        });
        match (name, value) {
            ("text", Value::String(text)) => {
                let block = self.text(index, out);
                push(block, Delta::Text(text), out);
            }
            ("citation", value) => {
                let block = self.text(index, out);
                push(block, Delta::Citation(value), out);
            }
            ("reasoningContent", Value::Object(thoughts)) => {
                for (name, value) in thoughts {
                    self.thoughts(index, &name, value, out);
                }
            }
            ("toolUse", value) => {
                let Some(block) = call else {
                    return Err(Broken::Malformed("contentBlockDelta: arguments of no call".to_owned()));
                };
                if let Some(arguments) = value.get("input").and_then(Value::as_str) {
                    push(block, Delta::Arguments(arguments.to_owned()), out);
                }
            }
            _ => (),
        }
        Ok(())
    }

    fn thoughts(&mut self, index: u64, name: &str, value: Value, out: &mut Vec<Event>) {
        let Value::String(value) = value else { return };
        match name {
            "text" => {
                let block = self.thinking(index, out);
                push(block, Delta::Text(value), out);
            }
            "signature" => {
                let block = self.thinking(index, out);
                push(block, Delta::Signature(value), out);
            }
            "redactedContent" => {
                let block = self.open(Block::RedactedThinking { data: value }, out);
                out.push(Event::Close { choice: 0, block });
            }
            _ => (),
        }
    }

    /// The text under way at that number; begins it, for Converse does not say so.
    fn text(&mut self, index: u64, out: &mut Vec<Event>) -> u32 {
        match &self.open {
            Some(Open { index: open, kind: Kind::Text(block) }) if *open == index => *block,
            _ => {
                let block = self.open(Block::Text, out);
                self.open = Some(Open { index, kind: Kind::Text(block) });
                block
            }
        }
    }

    fn thinking(&mut self, index: u64, out: &mut Vec<Event>) -> u32 {
        match &self.open {
            Some(Open { index: open, kind: Kind::Thinking(block) }) if *open == index => *block,
            _ => {
                let block = self.open(Block::Thinking, out);
                self.open = Some(Open { index, kind: Kind::Thinking(block) });
                block
            }
        }
    }

    /// Closes what is open and opens a block.
    fn open(&mut self, what: Block, out: &mut Vec<Event>) -> u32 {
        self.close(out);
        let block = self.next;
        self.next += 1;
        out.push(Event::Open { choice: 0, block, what });
        block
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        let Some(Open { kind, .. }) = self.open.take() else { return };
        let block = kind.block().unwrap_or_else(|| {
            let block = self.next;
            self.next += 1;
            block
        });
        if let Kind::Held(held) = kind {
            let what = Block::Native { dialect: Dialect::Bedrock, value: held.whole() };
            out.push(Event::Open { choice: 0, block, what });
        }
        out.push(Event::Close { choice: 0, block });
    }
}

impl Held {
    fn add(&mut self, value: Value) -> Result<(), Broken> {
        self.bytes = self.bytes.saturating_add(value.to_string().len());
        if self.bytes > MAX_EVENT {
            return Err(Broken::TooLarge);
        }
        match value {
            // Parts of a result.
            Value::Array(parts) => self.parts.extend(parts),
            Value::Object(mut fields) => match fields.get("input") {
                // Arguments of a tool that runs at Bedrock.
                Some(Value::String(input)) => self.text.push_str(input),
                // The source of an image.
                _ => self.begin.append(&mut fields),
            },
            _ => (),
        }
        Ok(())
    }

    /// The block as Converse would have answered it without a stream.
    fn whole(self) -> Value {
        let Self { name, begin: mut block, text, parts, .. } = self;
        match name.as_str() {
            "toolUse" => {
                let input = serde_json::from_str(&text).unwrap_or_else(|_| json!({}));
                block.insert("input".to_owned(), input);
            }
            "toolResult" => {
                block.insert("content".to_owned(), parts.into());
            }
            _ => (),
        }
        json!({name: block})
    }
}

/// Adds a piece, unless it is empty, as the first of a call's arguments is.
fn push(block: u32, delta: Delta, out: &mut Vec<Event>) {
    if matches!(&delta, Delta::Text(piece) | Delta::Arguments(piece) if piece.is_empty()) {
        return;
    }
    out.push(Event::Delta { choice: 0, block, delta });
}

fn push_extra(extra: Map<String, Value>, out: &mut Vec<Event>) {
    if !extra.is_empty() {
        out.push(Event::Extra(extra));
    }
}

fn parse<'a, T: Deserialize<'a>>(kind: &str, payload: &'a [u8]) -> Result<T, Broken> {
    let place = |err: serde_json::Error| format!("{kind}: line {}, column {}", err.line(), err.column());
    serde_json::from_slice(payload).map_err(|err| Broken::Malformed(place(err)))
}
