//! Streams in Workers AI's format: server-sent events, the last with `[DONE]`.
//!
//! Source: <https://developers.cloudflare.com/workers-ai/get-started/rest-api/>, and Cloudflare's
//! `workers-ai-provider` for pieces of tool calls and for models that send OpenAI's `choices`.

use serde_json::Value;

use super::answer;
use crate::chat::{Block, Blocks, Broken, Event, Start};
use crate::lenient::{self, LineReader, ReadLine};

/// Reads a stream.
pub type Reader = LineReader<Stream>;

/// What was read so far.
#[derive(Debug, Default)]
pub struct Stream {
    blocks: Blocks,
    /// Calls so far, for those that come without a number.
    calls: u64,
    /// The last word on why the answer ended: it may come before the last pieces.
    finish_reason: Option<String>,
    started: bool,
    ended: bool,
}

impl ReadLine for Stream {
    fn line(&mut self, line: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        match lenient::data(line) {
            None => {}
            Some(b"[DONE]") => {
                self.start(&Value::Null, out);
                self.done(out);
            }
            Some(data) => self.event(&lenient::event(data)?, data, out)?,
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.ended
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        if self.finish_reason.is_some() {
            self.done(out);
        }
    }
}

impl Stream {
    fn event(&mut self, event: &Value, data: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        self.start(event, out);
        if event["errors"].as_array().is_some_and(|errors| !errors.is_empty()) {
            self.ended = true;
            out.push(Event::Error(answer::read_error(data)));
            return Ok(());
        }
        // Models write a token that is a number as one.
        self.blocks.text(0, &lenient::arguments(&event["response"]), out);
        self.calls(&event["tool_calls"], out)?;
        self.said(&event["finish_reason"]);
        // These models give one answer: nothing asks for more.
        for choice in event["choices"].as_array().into_iter().flatten() {
            let delta = &choice["delta"];
            let thoughts = [&delta["reasoning_content"], &delta["reasoning"]];
            let thoughts = thoughts.into_iter().find_map(lenient::text);
            self.blocks.thinking(0, thoughts.unwrap_or_default(), out);
            self.blocks.text(0, delta["content"].as_str().unwrap_or_default(), out);
            self.blocks.refusal(0, delta["refusal"].as_str().unwrap_or_default(), out);
            self.calls(&delta["tool_calls"], out)?;
            self.said(&choice["finish_reason"]);
        }
        if let Some(usage) = answer::usage(&event["usage"]) {
            out.push(Event::Usage(usage));
        }
        Ok(())
    }

    fn start(&mut self, event: &Value, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.started, true) {
            let text = |name: &str| lenient::text(&event[name]).map(str::to_owned);
            let created = lenient::count(&event["created"]);
            out.push(Event::Start(Start { id: text("id"), model: text("model"), created }));
        }
    }

    fn said(&mut self, finish_reason: &Value) {
        if let Some(raw) = finish_reason.as_str() {
            self.finish_reason = Some(raw.to_owned());
        }
    }

    /// Calls come whole, or in pieces with an `index`; an empty piece ends one.
    fn calls(&mut self, calls: &Value, out: &mut Vec<Event>) -> Result<(), Broken> {
        for call in calls.as_array().into_iter().flatten() {
            let (name, arguments) = (answer::name(call), answer::arguments(call));
            if name.is_empty() && arguments.is_empty() {
                continue;
            }
            let next = if name.is_empty() { self.calls.saturating_sub(1) } else { self.calls };
            let number = call["index"].as_u64().unwrap_or(next);
            if name.is_empty() && !self.blocks.has_call(0, number) {
                return Err(Broken::Malformed(format!("a piece of tool call {number}, which has not begun")));
            }
            self.calls = self.calls.max(number.saturating_add(1));
            let id = lenient::text(&call["id"]).map(str::to_owned);
            let id = || id.unwrap_or_else(|| lenient::call_id(&[&number.to_string(), name, &arguments]));
            let block = || Block::ToolCall { id: id(), name: name.to_owned(), signature: None };
            self.blocks.call(0, number, block, &arguments, out);
        }
        Ok(())
    }

    fn done(&mut self, out: &mut Vec<Event>) {
        self.ended = true;
        let finish = answer::finish(self.finish_reason.as_deref(), self.blocks.has_calls(0));
        self.blocks.finish(0, finish, out);
        out.push(Event::End);
    }
}
