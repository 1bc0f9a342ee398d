//! Streams for callers.

use std::collections::BTreeMap;

use domain::Usage;
use serde_json::{Map, Value, json};

use super::super::{citation, error, stop, usage};
use super::whole;
use crate::chat::{About, Block, Delta, Dialect, Event, Finish, Reason, Start, WriteEvents};

/// Writes a stream of Anthropic's events: `message_start`, the blocks, `message_delta` with the reason and the counts,
/// `message_stop`.
///
/// A provider that counts at the end leaves `message_start` with zeros; clients take over what `message_delta` says,
/// which names every count.
#[derive(Debug)]
pub struct Writer {
    provider: String,
    model: String,
    id: String,
    strict: bool,
    begun: bool,
    /// Index in the message of each block that is written.
    blocks: BTreeMap<u32, (u64, Kind)>,
    next: u64,
    refused: bool,
    finish: Option<Finish>,
    usage: Usage,
    extra: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Call,
    Whole,
}

impl Writer {
    /// A stream for that caller.
    pub fn new(about: &About<'_>) -> Self {
        Self {
            provider: about.provider.to_owned(),
            model: about.model.to_owned(),
            id: about.id.to_owned(),
            strict: about.strict,
            begun: false,
            blocks: BTreeMap::new(),
            next: 0,
            refused: false,
            finish: None,
            usage: Usage::default(),
            extra: Map::new(),
        }
    }

    fn start(&mut self, start: &Start, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let about = About {
            provider: &self.provider,
            model: &self.model,
            id: &self.id,
            now: 0,
            strict: self.strict,
            include_usage: true,
        };
        let mut message = whole::envelope(start.id.as_deref(), start.model.as_deref(), &about);
        message.insert("content".to_owned(), json!([]));
        message.insert("stop_reason".to_owned(), Value::Null);
        message.insert("stop_sequence".to_owned(), Value::Null);
        message.insert("usage".to_owned(), usage::write(&self.usage).into());
        put("message_start", json!({ "message": message }), out);
    }

    fn open(&mut self, block: u32, what: &Block, out: &mut Vec<u8>) {
        let (kind, content) = match what {
            Block::Text => (Kind::Text, json!({ "type": "text", "text": "" })),
            Block::Refusal => {
                self.refused = true;
                (Kind::Text, json!({ "type": "text", "text": "" }))
            }
            Block::Thinking => {
                (Kind::Thinking, json!({ "type": "thinking", "thinking": "", "signature": "" }))
            }
            Block::RedactedThinking { data } => {
                (Kind::Whole, json!({ "type": "redacted_thinking", "data": data }))
            }
            Block::ToolCall { id, name, signature } => {
                (Kind::Call, whole::tool_use(id, name, json!({}), signature.as_deref()))
            }
            Block::Native { dialect: Dialect::Anthropic, value } => (Kind::Whole, value.clone()),
            Block::Native { .. } => return,
        };
        let index = self.next;
        self.next = self.next.saturating_add(1);
        self.blocks.insert(block, (index, kind));
        put("content_block_start", json!({ "index": index, "content_block": content }), out);
    }

    fn delta(&self, block: u32, delta: &Delta, out: &mut Vec<u8>) {
        let Some((index, kind)) = self.blocks.get(&block) else { return };
        let delta = match (delta, kind) {
            (Delta::Text(text), Kind::Text) => json!({ "type": "text_delta", "text": text }),
            (Delta::Text(text), Kind::Thinking) => json!({ "type": "thinking_delta", "thinking": text }),
            (Delta::Arguments(text), Kind::Call) => {
                json!({ "type": "input_json_delta", "partial_json": text })
            }
            (Delta::Signature(seal), Kind::Thinking | Kind::Call) => {
                json!({ "type": "signature_delta", "signature": seal })
            }
            (Delta::Citation(place), Kind::Text) => match citation::written(place) {
                Some(citation) => json!({ "type": "citations_delta", "citation": citation }),
                None => return,
            },
            _ => return,
        };
        put("content_block_delta", json!({ "index": index, "delta": delta }), out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(&Start::default(), out);
        let finish =
            self.finish.take().unwrap_or(Finish { reason: Reason::Stop, raw: None, stop_sequence: None });
        let (stop_reason, stop_sequence) = stop::write(&finish, self.refused);
        let mut delta = Map::new();
        delta.insert("stop_reason".to_owned(), stop_reason.into());
        delta.insert("stop_sequence".to_owned(), stop_sequence);
        delta.extend(whole::extra(&self.extra, self.strict));
        put("message_delta", json!({ "delta": delta, "usage": usage::write(&self.usage) }), out);
        put("message_stop", json!({}), out);
    }
}

impl WriteEvents for Writer {
    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => self.start(start, out),
            Event::Open { choice: 0, block, what } => self.open(*block, what, out),
            Event::Delta { choice: 0, block, delta } => self.delta(*block, delta, out),
            Event::Close { choice: 0, block } => {
                if let Some((index, _)) = self.blocks.get(block) {
                    put("content_block_stop", json!({ "index": index }), out);
                }
            }
            Event::Finish { choice: 0, finish } => self.finish = Some(finish.clone()),
            Event::Usage(usage) => self.usage = *usage,
            Event::Extra(extra) => self.extra.extend(extra.clone()),
            Event::Error(error) => out.extend_from_slice(&error::event(error, &self.provider)),
            Event::End => self.end(out),
            // The dialect has one answer, and no probabilities.
            Event::Open { .. }
            | Event::Delta { .. }
            | Event::Close { .. }
            | Event::Finish { .. }
            | Event::Logprobs { .. } => {}
        }
    }
}

/// Adds one event; its type comes first, as Anthropic writes it.
fn put(kind: &str, fields: Value, out: &mut Vec<u8>) {
    let mut event = Map::new();
    event.insert("type".to_owned(), kind.into());
    if let Value::Object(fields) = fields {
        event.extend(fields);
    }
    out.extend_from_slice(format!("event: {kind}\ndata: {}\n\n", Value::Object(event)).as_bytes());
}
