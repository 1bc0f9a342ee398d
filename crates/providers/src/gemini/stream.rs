//! Streamed answers: `streamGenerateContent?alt=sse`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::answer::{self, Body, Candidate};
use super::part::{self, Kind};
use super::{SEAL, error, usage};
use crate::chat::{Block, Blocks, Broken, Dialect, Event, Finish, MAX_EVENT, ReadEvents, Reason, Start};
use crate::sse;

/// Most of an answer's text that is kept, in bytes, to count the characters before a citation. Beyond it citations
/// come without positions.
const MAX_TEXT: usize = 1024 * 1024;

/// Most fields of Gemini's own that are kept for the end.
const MAX_EXTRA: usize = 64;

/// Reads a stream.
///
/// Every event is a `GenerateContentResponse`. Gemini has no event for the end: it is the end of the bytes, and a stream
/// in which a candidate has no `finishReason` by then was cut. What belongs to the end (finish reasons, which may come
/// before the last call of a tool; token counts; grounding) is therefore said there.
#[derive(Default)]
pub struct Reader {
    events: sse::Events,
    blocks: Blocks,
    choices: BTreeMap<u32, State>,
    id: Option<String>,
    /// The model that answers.
    model: Option<String>,
    started: bool,
    over: bool,
    blocked: Option<String>,
    counts: Option<Map<String, Value>>,
    extra: Map<String, Value>,
}

#[derive(Default)]
struct State {
    finish: Option<Finish>,
    calls: usize,
    /// The text so far. None: too long, or none came.
    text: Option<String>,
    too_long: bool,
    /// The last thing that came was text, which citations belong to.
    in_text: bool,
    extra: Map<String, Value>,
}

impl ReadEvents for Reader {
    fn read(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        if self.over {
            return Ok(());
        }
        self.events.push(bytes);
        while let Some(event) = self.events.take() {
            if event.len() > MAX_EVENT {
                return Err(Broken::TooLarge);
            }
            self.event(&event, out)?;
            if self.over {
                return Ok(());
            }
        }
        if self.events.pending() > MAX_EVENT { Err(Broken::TooLarge) } else { Ok(()) }
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Broken> {
        if self.over {
            return Ok(());
        }
        let rest = self.events.rest();
        let rest = rest.trim_ascii();
        if !rest.is_empty() {
            // A last event without its empty line, or an error that came as bare JSON.
            let said = if rest.starts_with(b"{") || rest.starts_with(b"[") {
                self.data(rest, out)
            } else {
                self.event(rest, out)
            };
            said.map_err(|_| Broken::Cut)?;
        }
        if self.over { Ok(()) } else { self.finish(out) }
    }
}

impl Reader {
    fn event(&mut self, event: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        let lines = event.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
        let mut lines = lines.map(<[u8]>::trim_ascii).peekable();
        if lines.peek().is_none() {
            return Ok(());
        }
        let data = lines.collect::<Vec<_>>().join(&b'\n');
        if data.is_empty() { Ok(()) } else { self.data(&data, out) }
    }

    fn data(&mut self, data: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        let value: Value = serde_json::from_slice(data).map_err(|err| {
            Broken::Malformed(format!("not JSON at line {}, column {}", err.line(), err.column()))
        })?;
        let has_error = |value: &Value| value.get("error").is_some_and(|error| !error.is_null());
        if has_error(&value) || value.get(0).is_some_and(has_error) {
            self.over = true;
            out.push(Event::Error(error::error_in(value).unwrap_or_default()));
            return Ok(());
        }
        let Value::Object(body) = value else {
            return Err(Broken::Malformed("an event is not a JSON object".to_owned()));
        };
        let body = Body::read(body).map_err(Broken::Malformed)?;
        if !std::mem::replace(&mut self.started, true) {
            self.id.clone_from(&body.id);
            self.model.clone_from(&body.model);
            out.push(Event::Start(Start { id: body.id.clone(), model: body.model.clone(), created: None }));
        }
        if let Some(reason) = body.block_reason() {
            self.blocked = Some(reason);
        }
        if let Some(counts) = body.usage {
            self.counts.get_or_insert_default().extend(bounded(counts));
        }
        merge(&mut self.extra, body.extra);
        for candidate in body.candidates {
            self.candidate(candidate, out);
        }
        Ok(())
    }

    fn candidate(&mut self, candidate: Candidate, out: &mut Vec<Event>) {
        let index = candidate.index;
        let state = self.choices.entry(index).or_default();
        for piece in candidate.pieces {
            let mut seal = piece.signature;
            let was_in_text = std::mem::replace(&mut state.in_text, false);
            match piece.kind {
                Kind::Text(text) => {
                    state.in_text = was_in_text || !text.is_empty();
                    state.remember(&text);
                    self.blocks.text(index, &text, out);
                }
                Kind::Thought(text) => self.blocks.thinking(index, &text, out),
                Kind::Call { id, name, arguments } => {
                    let id = id.unwrap_or_else(|| part::call_id(self.id.as_deref(), index, state.calls));
                    let call = || Block::ToolCall { id, name, signature: seal.take() };
                    self.blocks.call(index, state.calls as u64, call, &arguments, out);
                    state.calls += 1;
                }
                Kind::Media { media_type, data } => {
                    let value = serde_json::json!({"inlineData": {"mimeType": media_type, "data": data}});
                    self.blocks.whole(index, Block::Native { dialect: Dialect::Gemini, value }, out);
                }
                Kind::Native(value) => {
                    self.blocks.whole(index, Block::Native { dialect: Dialect::Gemini, value }, out);
                }
            }
            if let Some(seal) = seal {
                state.in_text = false;
                self.blocks.signature(index, &format!("{SEAL}{seal}"), out);
            }
        }
        if let Some(value) = candidate.logprobs {
            out.push(Event::Logprobs { choice: index, value });
        }
        if candidate.finish.is_some() {
            state.finish = candidate.finish;
        }
        let state = self.choices.entry(index).or_default();
        merge(&mut state.extra, candidate.extra);
    }

    fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Broken> {
        if self.choices.is_empty()
            && let Some(reason) = self.blocked.take()
        {
            let finish = Some(Finish::new(Reason::ContentFilter, reason));
            self.choices.insert(0, State { finish, ..State::default() });
        }
        if self.choices.is_empty() || self.choices.values().any(|state| state.finish.is_none()) {
            return Err(Broken::Cut);
        }
        let many = self.choices.len() > 1;
        for (index, state) in std::mem::take(&mut self.choices) {
            if state.in_text {
                for citation in answer::citations(&state.extra, state.text.as_deref()) {
                    self.blocks.citation(index, citation, out);
                }
            }
            answer::keep(index, state.extra, many, &mut self.extra);
            self.blocks.finish(index, answer::finish(state.finish, state.calls > 0), out);
        }
        let searches = usage::searches(self.model.as_deref(), &self.extra);
        self.extra.extend(self.counts.as_ref().and_then(usage::tier));
        if !self.extra.is_empty() {
            out.push(Event::Extra(std::mem::take(&mut self.extra)));
        }
        if let Some(counts) = &self.counts {
            out.push(Event::Usage(domain::Usage { searches, ..usage::usage(counts) }));
        }
        out.push(Event::End);
        self.over = true;
        Ok(())
    }
}

impl State {
    fn remember(&mut self, text: &str) {
        let so_far = self.text.get_or_insert_default();
        if self.too_long || so_far.len() + text.len() > MAX_TEXT {
            self.too_long = true;
            self.text = None;
        } else {
            so_far.push_str(text);
        }
    }
}

/// Takes fields over, the newest of a name wins.
fn merge(into: &mut Map<String, Value>, fields: Map<String, Value>) {
    for (name, value) in fields {
        if into.len() < MAX_EXTRA || into.contains_key(&name) {
            into.insert(name, value);
        }
    }
}

/// The counts that are read.
fn bounded(counts: Map<String, Value>) -> impl Iterator<Item = (String, Value)> {
    counts
        .into_iter()
        .filter(|(name, _)| {
            name.ends_with("TokenCount") || name.ends_with("TokensDetails") || name == "trafficType"
        })
        .take(MAX_EXTRA)
}
