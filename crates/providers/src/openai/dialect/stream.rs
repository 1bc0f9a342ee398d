//! Writing a stream.

use std::collections::BTreeMap;

use domain::Usage;
use serde_json::{Map, Value, json};

use super::super::error::write_error;
use super::answer::{annotation, extra_fields, finish_reason, head, is_custom_call, usage_value};
use crate::chat::{About, Answer, Block, Delta, Dialect, Event, Finish, WriteEvents};

/// Writes `chat.completion.chunk`s, the token counts if they were asked for, and `[DONE]`.
///
/// What is shown is the same as in a whole answer; `content_blocks` come as Portkey sends them,
/// `[{"index": 0, "delta": {"thinking": "…"}}]`.
#[derive(Debug)]
pub struct Writer {
    about: Known,
    head: Map<String, Value>,
    choices: BTreeMap<u32, Choice>,
    /// Further fields that wait for the next chunk.
    extra: Map<String, Value>,
    usage: Option<Usage>,
}

/// What outlives the [`About`] that it was read from.
#[derive(Debug)]
struct Known {
    provider: String,
    model: String,
    id: String,
    now: u64,
    strict: bool,
    include_usage: bool,
}

impl Known {
    fn about(&self) -> About<'_> {
        About {
            provider: &self.provider,
            model: &self.model,
            id: &self.id,
            now: self.now,
            strict: self.strict,
            include_usage: self.include_usage,
        }
    }
}

#[derive(Debug, Default)]
struct Choice {
    /// What blocks are open, and what calls there were.
    blocks: BTreeMap<u32, Kind>,
    calls: u32,
    /// Characters of text so far.
    length: usize,
}

#[derive(Debug)]
enum Kind {
    Text { start: usize, citations: Vec<Value> },
    Refusal,
    Thinking,
    Call { index: u32, has_arguments: bool },
    Whole,
}

impl Writer {
    /// A writer of one stream.
    pub fn new(about: &About<'_>) -> Self {
        let about = Known {
            provider: about.provider.to_owned(),
            model: about.model.to_owned(),
            id: about.id.to_owned(),
            now: about.now,
            strict: about.strict,
            include_usage: about.include_usage,
        };
        let head = head(&Answer::default(), &about.about(), "chat.completion.chunk");
        Self { about, head, choices: BTreeMap::new(), extra: Map::new(), usage: None }
    }

    /// Writes one chunk with these choices.
    fn chunk(&mut self, choices: Value, usage: Option<Value>, out: &mut Vec<u8>) {
        let mut body = self.head.clone();
        body.insert("choices".into(), choices);
        match usage {
            Some(usage) => drop(body.insert("usage".into(), usage)),
            None if self.about.include_usage => drop(body.insert("usage".into(), Value::Null)),
            None => {}
        }
        extra_fields(&std::mem::take(&mut self.extra), self.about.strict, &mut body);
        put(&Value::Object(body), out);
    }

    /// Writes one chunk with a piece of one choice.
    fn piece(&mut self, choice: u32, delta: Value, out: &mut Vec<u8>) {
        self.chunk(
            json!([{ "index": choice, "delta": delta, "logprobs": null, "finish_reason": null }]),
            None,
            out,
        );
    }

    /// A choice; its first piece says whose words they are.
    fn choice(&mut self, choice: u32, out: &mut Vec<u8>) -> &mut Choice {
        if !self.choices.contains_key(&choice) {
            self.piece(choice, json!({ "role": "assistant", "content": "" }), out);
        }
        self.choices.entry(choice).or_default()
    }

    fn open(&mut self, choice: u32, block: u32, what: &Block, out: &mut Vec<u8>) {
        let strict = self.about.strict;
        let state = self.choice(choice, out);
        let next = state.calls;
        let (kind, delta) = match what {
            Block::Text => (Kind::Text { start: state.length, citations: Vec::new() }, None),
            Block::Refusal => (Kind::Refusal, None),
            Block::Thinking => (Kind::Thinking, None),
            Block::RedactedThinking { data } => (Kind::Whole, shown(strict, block, json!({ "data": data }))),
            Block::ToolCall { id, name, signature } => {
                let mut function = json!({ "name": name, "arguments": "" });
                if let Some(signature) = signature.as_deref().filter(|_| !strict) {
                    function["thought_signature"] = signature.into();
                }
                let call = json!({ "index": next, "id": id, "type": "function", "function": function });
                (Kind::Call { index: next, has_arguments: false }, Some(json!({ "tool_calls": [call] })))
            }
            Block::Native { dialect: Dialect::OpenAi, value } if is_picture(value) => {
                (Kind::Whole, Some(json!({ "images": [value] })))
            }
            Block::Native { dialect: Dialect::OpenAi, value } if is_custom_call(value) => {
                let mut call = value.clone();
                if let Value::Object(call) = &mut call {
                    call.insert("index".into(), next.into());
                }
                (Kind::Call { index: next, has_arguments: true }, Some(json!({ "tool_calls": [call] })))
            }
            Block::Native { value, .. } => (Kind::Whole, shown(strict, block, value.clone())),
        };
        if matches!(kind, Kind::Call { .. }) {
            state.calls += 1;
        }
        state.blocks.insert(block, kind);
        if let Some(delta) = delta {
            self.piece(choice, delta, out);
        }
    }

    fn delta(&mut self, choice: u32, block: u32, delta: &Delta, out: &mut Vec<u8>) {
        let strict = self.about.strict;
        let state = self.choice(choice, out);
        let length = &mut state.length;
        let delta = match (state.blocks.get_mut(&block), delta) {
            (Some(Kind::Text { .. }), Delta::Text(text)) => {
                *length += text.chars().count();
                let mut delta = json!({ "content": text });
                if !strict {
                    delta["content_blocks"] = json!([{ "index": block, "delta": { "text": text } }]);
                }
                Some(delta)
            }
            (Some(Kind::Text { citations, .. }), Delta::Citation(citation)) => {
                citations.push(citation.clone());
                shown(strict, block, json!({ "citation": citation }))
            }
            (Some(Kind::Refusal), Delta::Text(text)) => Some(json!({ "refusal": text })),
            (Some(Kind::Thinking), Delta::Text(text)) => shown(strict, block, json!({ "thinking": text })),
            (Some(Kind::Thinking), Delta::Signature(signature)) => {
                shown(strict, block, json!({ "signature": signature }))
            }
            (Some(Kind::Call { index, has_arguments }), Delta::Arguments(arguments)) => {
                *has_arguments |= !arguments.is_empty();
                Some(json!({ "tool_calls": [{ "index": *index, "function": { "arguments": arguments } }] }))
            }
            (Some(Kind::Call { index, .. }), Delta::Signature(signature)) if !strict => {
                let function = json!({ "thought_signature": signature });
                Some(json!({ "tool_calls": [{ "index": *index, "function": function }] }))
            }
            // Readers promise that there are no others.
            _ => None,
        };
        if let Some(delta) = delta {
            self.piece(choice, delta, out);
        }
    }

    fn close(&mut self, choice: u32, block: u32, out: &mut Vec<u8>) {
        let state = self.choice(choice, out);
        let end = state.length;
        let Some(Kind::Text { start, citations }) = state.blocks.get_mut(&block) else { return };
        let start = *start;
        let notes: Vec<Value> = std::mem::take(citations)
            .iter()
            .filter_map(|citation| annotation(citation, start, end))
            .collect();
        if !notes.is_empty() {
            self.piece(choice, json!({ "annotations": notes }), out);
        }
    }

    fn finish(&mut self, choice: u32, finish: &Finish, out: &mut Vec<u8>) {
        let state = self.choice(choice, out);
        // A tool without arguments is called with an empty object. Only now is it certain that none come.
        let bare: Vec<Value> = std::mem::take(&mut state.blocks)
            .into_values()
            .filter_map(|kind| match kind {
                Kind::Call { index, has_arguments: false } => {
                    Some(json!({ "index": index, "function": { "arguments": "{}" } }))
                }
                _ => None,
            })
            .collect();
        if !bare.is_empty() {
            self.piece(choice, json!({ "tool_calls": bare }), out);
        }
        let reason = finish_reason(finish, &self.about.about()).to_owned();
        let last = json!([{ "index": choice, "delta": {}, "logprobs": null, "finish_reason": reason }]);
        self.chunk(last, None, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let usage = self.usage.filter(|_| self.about.include_usage).map(|usage| usage_value(&usage));
        let mut shown = Map::new();
        extra_fields(&self.extra, self.about.strict, &mut shown);
        if usage.is_some() || !shown.is_empty() {
            self.chunk(json!([]), usage, out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

/// A piece of Portkey's `content_blocks`, unless they are hidden.
fn shown(strict: bool, block: u32, delta: Value) -> Option<Value> {
    (!strict).then(|| json!({ "content_blocks": [{ "index": block, "delta": delta }] }))
}

fn is_picture(value: &Value) -> bool {
    value.get("type").and_then(Value::as_str) == Some("image_url")
}

fn put(value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(value.to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
}

impl WriteEvents for Writer {
    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => {
                let told = Answer {
                    id: start.id.clone(),
                    model: start.model.clone(),
                    created: start.created,
                    ..Answer::default()
                };
                self.head = head(&told, &self.about.about(), "chat.completion.chunk");
                self.choice(0, out);
            }
            Event::Open { choice, block, what } => self.open(*choice, *block, what, out),
            Event::Delta { choice, block, delta } => self.delta(*choice, *block, delta, out),
            Event::Close { choice, block } => self.close(*choice, *block, out),
            Event::Logprobs { choice, value } => {
                self.choice(*choice, out);
                let piece =
                    json!([{ "index": choice, "delta": {}, "logprobs": value, "finish_reason": null }]);
                self.chunk(piece, None, out);
            }
            Event::Finish { choice, finish } => self.finish(*choice, finish, out),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Extra(extra) => self.extra.extend(extra.clone()),
            Event::Error(error) => {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(&write_error(error, error.status.unwrap_or(500), &self.about.provider));
                out.extend_from_slice(b"\n\n");
            }
            Event::End => self.end(out),
        }
    }
}
