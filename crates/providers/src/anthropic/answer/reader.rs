//! Streams of providers.

use std::collections::BTreeMap;

use domain::Usage;
use serde_json::{Map, Value};

use super::super::usage::Counts;
use super::super::{error, stop, usage};
use super::whole::EXTRA;
use crate::chat::{Block, Broken, Delta, Dialect, Event, MAX_EVENT, ReadEvents, Start};
use crate::sse::Events;

/// Reads Anthropic's events. Kinds of events and of pieces that are not known are passed over, as the API's versioning
/// asks of clients; blocks that are not known come whole.
#[derive(Debug, Default)]
pub struct Reader {
    events: Events,
    begun: bool,
    finished: bool,
    ended: bool,
    next: u32,
    /// Blocks that are open, by Anthropic's index.
    open: BTreeMap<u64, Open>,
    /// Bytes of the events that open blocks are kept from.
    held: usize,
    counts: Counts,
}

#[derive(Debug)]
enum Open {
    Text(u32),
    Thinking(u32),
    /// A call, what its start said of the arguments, and whether pieces of them came.
    Call(u32, Value, bool),
    /// A block that comes whole, and pieces of its input so far.
    Whole(Value, String),
    /// A block that was complete at its start.
    Complete(u32),
}

type Fields = Map<String, Value>;

impl ReadEvents for Reader {
    fn read(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        self.events.push(bytes);
        while let Some(event) = self.events.take() {
            self.take(&event, out)?;
        }
        if self.events.pending() > MAX_EVENT { Err(Broken::TooLarge) } else { Ok(()) }
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Broken> {
        let rest = self.events.rest();
        if !rest.trim_ascii().is_empty() {
            self.take(&rest, out)?;
        }
        if !self.ended && self.finished {
            self.stop(out);
        }
        if self.ended { Ok(()) } else { Err(Broken::Cut) }
    }
}

impl Reader {
    /// Takes one event of the framing.
    fn take(&mut self, event: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        let data = data(event);
        if self.ended || data.is_empty() {
            return Ok(());
        }
        if data.len() > MAX_EVENT {
            return Err(Broken::TooLarge);
        }
        let mut fields: Fields = serde_json::from_slice(&data)
            .map_err(|err| Broken::Malformed(format!("line {}, column {}", err.line(), err.column())))?;
        let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        match kind.as_str() {
            "message_start" => self.start(&mut fields, out),
            "content_block_start" => {
                self.hold(data.len())?;
                return self.open(fields, out);
            }
            "content_block_delta" => return self.delta(fields, data.len(), out),
            "content_block_stop" => return self.close(index(&fields)?, out),
            "message_delta" => return self.message_delta(&mut fields, out),
            "message_stop" => self.stop(out),
            "error" => self.fail(fields, out),
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, fields: &mut Fields, out: &mut Vec<Event>) {
        let message = fields.remove("message").unwrap_or_default();
        let word = |name: &str| message.get(name).and_then(Value::as_str).map(str::to_owned);
        self.begin(Start { id: word("id"), model: word("model"), created: None }, out);
        if let Some(usage) = message.get("usage") {
            self.count(usage, out);
            out.extend(usage::read_tier(usage).map(|tier| Event::Extra(Map::from_iter([tier]))));
            out.extend(usage::read_geo(usage).map(|geo| Event::Extra(Map::from_iter([geo]))));
        }
    }

    fn begin(&mut self, start: Start, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.begun, true) {
            out.push(Event::Start(start));
        }
    }

    fn count(&mut self, usage: &Value, out: &mut Vec<Event>) {
        if usage.is_object() {
            self.counts.update(Counts::of(usage));
            out.push(Event::Usage(Usage::from(self.counts)));
        }
    }

    fn open(&mut self, mut fields: Fields, out: &mut Vec<Event>) -> Result<(), Broken> {
        let index = index(&fields)?;
        if self.open.contains_key(&index) {
            return Err(Broken::Malformed(format!("block {index} starts twice")));
        }
        if self.finished {
            return Err(Broken::Malformed(format!("block {index} starts after the end of the message")));
        }
        self.begin(Start::default(), out);
        let block = fields.remove("content_block").unwrap_or_default();
        let word = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let begun = |name: &str| Some(word(name)).filter(|text| !text.is_empty());
        match block.get("type").and_then(Value::as_str) {
            Some("text") => {
                let number = self.announce(Block::Text, out);
                self.open.insert(index, Open::Text(number));
                out.extend(begun("text").map(|text| delta(number, Delta::Text(text))));
                let places = block.get("citations").and_then(Value::as_array).into_iter().flatten();
                out.extend(places.map(|place| delta(number, Delta::Citation(place.clone()))));
            }
            Some("thinking") => {
                let number = self.announce(Block::Thinking, out);
                self.open.insert(index, Open::Thinking(number));
                out.extend(begun("thinking").map(|text| delta(number, Delta::Text(text))));
                out.extend(begun("signature").map(|seal| delta(number, Delta::Signature(seal))));
            }
            Some("redacted_thinking") => {
                let number = self.announce(Block::RedactedThinking { data: word("data") }, out);
                self.open.insert(index, Open::Complete(number));
            }
            Some("tool_use") => {
                let (id, name, signature) = (word("id"), word("name"), begun("thought_signature"));
                let number = self.announce(Block::ToolCall { id, name, signature }, out);
                let input = block.get("input").cloned().unwrap_or_default();
                self.open.insert(index, Open::Call(number, input, false));
            }
            _ => {
                self.open.insert(index, Open::Whole(block, String::new()));
            }
        }
        Ok(())
    }

    /// Open blocks together are kept within the size of one event.
    fn hold(&mut self, bytes: usize) -> Result<(), Broken> {
        self.held = if self.open.is_empty() { bytes } else { self.held.saturating_add(bytes) };
        if self.held > MAX_EVENT { Err(Broken::TooLarge) } else { Ok(()) }
    }

    fn announce(&mut self, what: Block, out: &mut Vec<Event>) -> u32 {
        let block = self.next;
        self.next = self.next.saturating_add(1);
        out.push(Event::Open { choice: 0, block, what });
        block
    }

    fn delta(&mut self, mut fields: Fields, bytes: usize, out: &mut Vec<Event>) -> Result<(), Broken> {
        let index = index(&fields)?;
        let Some(open) = self.open.get_mut(&index) else {
            return Err(Broken::Malformed(format!("a piece of block {index}, which is not open")));
        };
        let Some(Value::Object(mut piece)) = fields.remove("delta") else { return Ok(()) };
        let kind = piece.remove("type").unwrap_or_default();
        let mut word = |name: &str| match piece.remove(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        let said = match (kind.as_str().unwrap_or_default(), &mut *open) {
            ("text_delta", Open::Text(block)) => word("text").map(|text| delta(*block, Delta::Text(text))),
            ("citations_delta", Open::Text(block)) => {
                piece.remove("citation").map(|place| delta(*block, Delta::Citation(place)))
            }
            ("thinking_delta", Open::Thinking(block)) => {
                word("thinking").map(|text| delta(*block, Delta::Text(text)))
            }
            ("signature_delta", Open::Thinking(block) | Open::Call(block, ..)) => {
                word("signature").map(|seal| delta(*block, Delta::Signature(seal)))
            }
            ("input_json_delta", Open::Call(block, _, came)) => word("partial_json").map(|text| {
                *came = true;
                delta(*block, Delta::Arguments(text))
            }),
            ("input_json_delta", Open::Whole(_, input)) => {
                input.extend(word("partial_json"));
                return self.hold(bytes);
            }
            (_, Open::Whole(Value::Object(block), _)) => {
                block.extend(piece);
                return self.hold(bytes);
            }
            _ => None,
        };
        out.extend(said);
        Ok(())
    }

    fn close(&mut self, index: u64, out: &mut Vec<Event>) -> Result<(), Broken> {
        let Some(open) = self.open.remove(&index) else {
            return Err(Broken::Malformed(format!("the end of block {index}, which is not open")));
        };
        let block = match open {
            Open::Text(block) | Open::Thinking(block) | Open::Complete(block) => block,
            Open::Call(block, input, came) => {
                // Tools without arguments, and hosts that say them all at the start.
                if !came {
                    let whole = if input.is_object() { input.to_string() } else { "{}".to_owned() };
                    out.push(delta(block, Delta::Arguments(whole)));
                }
                block
            }
            Open::Whole(mut value, input) => {
                if let (Value::Object(block), false) = (&mut value, input.is_empty()) {
                    let input = serde_json::from_str(&input).unwrap_or(Value::String(input));
                    block.insert("input".to_owned(), input);
                }
                self.announce(Block::Native { dialect: Dialect::Anthropic, value }, out)
            }
        };
        out.push(Event::Close { choice: 0, block });
        Ok(())
    }

    fn close_all(&mut self, out: &mut Vec<Event>) -> Result<(), Broken> {
        while let Some((index, _)) = self.open.first_key_value() {
            self.close(*index, out)?;
        }
        Ok(())
    }

    fn message_delta(&mut self, fields: &mut Fields, out: &mut Vec<Event>) -> Result<(), Broken> {
        self.begin(Start::default(), out);
        let mut delta = fields.remove("delta").unwrap_or_default();
        if let Some(usage) = fields.get("usage") {
            self.count(usage, out);
        }
        if let Value::Object(delta) = &mut delta {
            delta.extend(EXTRA.iter().filter_map(|name| fields.remove_entry(*name)));
            let said = EXTRA.iter().filter_map(|name| delta.remove_entry(*name));
            let extra: Map<String, Value> = said.filter(|(_, value)| !value.is_null()).collect();
            if !extra.is_empty() {
                out.push(Event::Extra(extra));
            }
        }
        let word = |name: &str| delta.get(name).and_then(Value::as_str);
        if let (Some(reason), false) = (word("stop_reason"), self.finished) {
            self.close_all(out)?;
            self.finished = true;
            out.push(Event::Finish { choice: 0, finish: stop::read(Some(reason), word("stop_sequence")) });
        }
        Ok(())
    }

    /// All has come. A host that gave no reason has simply stopped.
    fn stop(&mut self, out: &mut Vec<Event>) {
        self.begin(Start::default(), out);
        if !std::mem::replace(&mut self.finished, true) {
            // Blocks that are open can be closed whatever they are.
            let _ = self.close_all(out);
            out.push(Event::Finish { choice: 0, finish: stop::read(None, None) });
        }
        self.ended = true;
        out.push(Event::End);
    }

    fn fail(&mut self, fields: Fields, out: &mut Vec<Event>) {
        self.begin(Start::default(), out);
        self.ended = true;
        let error = error::error_of(&Value::Object(fields)).unwrap_or_default();
        out.push(Event::Error(error));
    }
}

/// The data of an event: its `data:` lines, joined as the format of server-sent events says.
fn data(event: &[u8]) -> Vec<u8> {
    let lines = event.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
    let lines: Vec<&[u8]> = lines.map(<[u8]>::trim_ascii).collect();
    lines.join(&b'\n')
}

fn index(fields: &Fields) -> Result<u64, Broken> {
    let index = fields.get("index").and_then(Value::as_u64);
    index.ok_or_else(|| Broken::Malformed("a block without `index`".to_owned()))
}

fn delta(block: u32, delta: Delta) -> Event {
    Event::Delta { choice: 0, block, delta }
}
