//! Reading a stream.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value};

use super::super::error;
use super::super::usage::usage_of;
use super::lines::Lines;
use super::pieces::{self, Call, Piece};
use crate::chat::{Block, Blocks, Broken, Event, ReadEvents, Start};

/// Most tool calls of one answer.
const MAX_CALLS: usize = 4096;

/// Most further fields that are remembered, so that they are told once.
const MAX_FIELDS: usize = 64;

/// Reads a stream of chunks.
///
/// Answers are finished when the stream ends, whatever comes after a finish reason. A stream that ends without `[DONE]`
/// is complete if every answer has its finish reason; one that ends with `[DONE]` is complete in any case, if there was
/// an answer.
#[derive(Debug, Default)]
pub struct Reader {
    lines: Lines,
    blocks: Blocks,
    /// The answer's id, once it began.
    id: Option<String>,
    began: bool,
    /// Nothing more is said.
    over: bool,
    choices: BTreeMap<u32, Choice>,
    /// Further fields that were told, by a hash of their values, and those that wait for the beginning.
    told: BTreeMap<String, u64>,
    waiting: Map<String, Value>,
}

#[derive(Debug, Default)]
struct Choice {
    calls: Vec<Known>,
    has_refusal: bool,
    /// The last one with a finish reason, without what it said.
    end: Option<Map<String, Value>>,
}

/// A call that began: its number is its place.
#[derive(Debug)]
struct Known {
    index: Option<u64>,
    id: String,
}

impl ReadEvents for Reader {
    fn read(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        if self.over {
            return Ok(());
        }
        self.lines.push(bytes);
        let read = self.documents(out);
        self.over |= read.is_err();
        read
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Broken> {
        // A last line without its end counts; a document that is incomplete now is cut.
        self.read(b"\n", out)?;
        if self.over {
            return Ok(());
        }
        self.over = true;
        if self.choices.is_empty() || self.choices.values().any(|choice| choice.end.is_none()) {
            return Err(Broken::Cut);
        }
        self.finish(out);
        Ok(())
    }
}

impl Reader {
    fn documents(&mut self, out: &mut Vec<Event>) -> Result<(), Broken> {
        while let Some(document) = self.lines.take()? {
            if document == b"[DONE]" {
                if self.choices.is_empty() {
                    return Err(Broken::Cut);
                }
                self.finish(out);
            } else {
                self.document(&document, out)?;
            }
            if self.over {
                break;
            }
        }
        Ok(())
    }

    fn document(&mut self, document: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        let value: Value = serde_json::from_slice(document).map_err(|err| {
            Broken::Malformed(format!("no JSON at line {}, column {}", err.line(), err.column()))
        })?;
        let choices = value.get("choices").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if let Some(error) = error::of_value(&value).or_else(|| choices.iter().find_map(error::of_value)) {
            out.push(Event::Error(error));
            self.over = true;
            return Ok(());
        }
        let Value::Object(chunk) = &value else {
            return Err(Broken::Malformed("a chunk is not an object".to_owned()));
        };
        self.head(chunk, !choices.is_empty(), out);
        for choice in choices {
            self.choice(choice, out)?;
        }
        // Moonshot counts within the choice.
        let counted = chunk.get("usage").or_else(|| choices.first()?.get("usage")).and_then(usage_of);
        out.extend(counted.map(Event::Usage));
        Ok(())
    }

    /// What a chunk says beside its choices. Azure's first chunk has filter results and nothing else, not even an id.
    fn head(&mut self, chunk: &Map<String, Value>, has_choices: bool, out: &mut Vec<Event>) {
        for (name, value) in pieces::extra(chunk) {
            if self.is_news(&name, &value) {
                self.waiting.insert(name, value);
            }
        }
        let id = pieces::named(chunk, "id");
        let has_usage = chunk.get("usage").is_some_and(|usage| !usage.is_null());
        if !self.began && (has_choices || id.is_some() || has_usage) {
            self.began = true;
            self.id.clone_from(&id);
            let created = chunk.get("created").and_then(Value::as_u64).filter(|seconds| *seconds > 0);
            out.push(Event::Start(Start { id, model: pieces::named(chunk, "model"), created }));
        }
        if self.began && !self.waiting.is_empty() {
            out.push(Event::Extra(std::mem::take(&mut self.waiting)));
        }
    }

    /// Whether a further field says something that it has not said before: most are repeated in each chunk.
    fn is_news(&mut self, name: &str, value: &Value) -> bool {
        let mut hasher = DefaultHasher::new();
        value.to_string().hash(&mut hasher);
        let hash = hasher.finish();
        if self.told.get(name) == Some(&hash) {
            return false;
        }
        if self.told.len() < MAX_FIELDS || self.told.contains_key(name) {
            self.told.insert(name.to_owned(), hash);
        }
        true
    }

    fn choice(&mut self, value: &Value, out: &mut Vec<Event>) -> Result<(), Broken> {
        let Value::Object(choice) = value else {
            return Err(Broken::Malformed("a choice is not an object".to_owned()));
        };
        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
        let index =
            u32::try_from(index).map_err(|_| Broken::Malformed("choices[].index is too large".to_owned()))?;
        self.choices.entry(index).or_default();
        // Some answer whole although they were asked for a stream.
        if let Some(delta) = choice.get("delta").or_else(|| choice.get("message")) {
            for piece in pieces::pieces(delta) {
                self.piece(index, piece, out);
            }
            for call in pieces::calls(delta) {
                self.call(index, call, out)?;
            }
        }
        if let Some(value) = choice.get("logprobs").filter(|value| !value.is_null()) {
            out.push(Event::Logprobs { choice: index, value: value.clone() });
        }
        if pieces::named(choice, "finish_reason").is_some() {
            let said = ["delta", "message", "logprobs", "usage"];
            let rest = choice.iter().filter(|(name, _)| !said.contains(&name.as_str()));
            let rest = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
            self.choices.entry(index).or_default().end = Some(rest);
        }
        Ok(())
    }

    fn piece(&mut self, choice: u32, piece: Piece, out: &mut Vec<Event>) {
        match piece {
            Piece::Text(text) => self.blocks.text(choice, &text, out),
            Piece::Thinking { text, signature } => {
                self.blocks.thinking(choice, &text, out);
                if let Some(signature) = signature {
                    self.blocks.signature(choice, &signature, out);
                }
            }
            Piece::RedactedThinking(data) => {
                self.blocks.whole(choice, Block::RedactedThinking { data }, out);
            }
            Piece::Refusal(text) => {
                self.choices.entry(choice).or_default().has_refusal = true;
                self.blocks.refusal(choice, &text, out);
            }
            Piece::Citation(value) => self.blocks.citation(choice, value, out),
            Piece::Image(source) => {
                let url = crate::media::address(&source);
                let value = serde_json::json!({ "type": "image_url", "image_url": { "url": url } });
                let image = Block::Native { dialect: crate::chat::Dialect::OpenAi, value };
                self.blocks.whole(choice, image, out);
            }
            Piece::Native { dialect, value } => {
                self.blocks.whole(choice, Block::Native { dialect, value }, out);
            }
        }
    }

    fn call(&mut self, choice: u32, call: Call<'_>, out: &mut Vec<Event>) -> Result<(), Broken> {
        let state = self.choices.entry(choice).or_default();
        let number = match number(&state.calls, &call) {
            Some(number) => number,
            None if call.name.is_empty() => {
                return Err(Broken::Malformed("a piece of a tool call comes before its name".to_owned()));
            }
            None if state.calls.len() >= MAX_CALLS => {
                return Err(Broken::Malformed(format!("more than {MAX_CALLS} tool calls")));
            }
            None => {
                state.calls.push(Known { index: call.index, id: call.id.to_owned() });
                state.calls.len() - 1
            }
        } as u64;
        let began = self.blocks.has_call(choice, number);
        let answer = self.id.as_deref();
        let open = || Block::ToolCall {
            id: if call.id.is_empty() { pieces::call_id(answer, choice, number) } else { call.id.to_owned() },
            name: call.name.to_owned(),
            signature: call.signature.map(str::to_owned),
        };
        self.blocks.call(choice, number, open, &call.arguments, out);
        if let Some(signature) = call.signature.filter(|_| began) {
            self.blocks.signature(choice, signature, out);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        self.over = true;
        for (index, choice) in std::mem::take(&mut self.choices) {
            let has_calls = !choice.calls.is_empty();
            let end = choice.end.unwrap_or_default();
            self.blocks.finish(index, pieces::finish(&end, has_calls, choice.has_refusal), out);
        }
        out.push(Event::End);
    }
}

/// The call that a piece belongs to. None: a new one.
///
/// Providers differ: pieces have an index, an id, both at each piece, or nothing after the first; and some number all
/// calls 0 but give each its id and name.
fn number(calls: &[Known], call: &Call<'_>) -> Option<usize> {
    let by_id = calls.iter().rposition(|known| !call.id.is_empty() && known.id == call.id);
    let by_index = calls.iter().rposition(|known| call.index.is_some() && known.index == call.index);
    if by_id.is_some() {
        return by_id;
    }
    let is_other = |at: usize| !call.id.is_empty() && calls[at].id != call.id;
    match (call.name.is_empty(), by_index) {
        (false, Some(at)) if is_other(at) => None,
        (false, None) => None,
        (_, Some(at)) => Some(at),
        (true, None) if call.index.is_none() => calls.len().checked_sub(1),
        (true, None) => None,
    }
}
