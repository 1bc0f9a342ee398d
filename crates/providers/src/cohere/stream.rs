//! Streams in Cohere's format: server-sent events from `message-start` to `message-end`.
//!
//! Source: <https://docs.cohere.com/docs/streaming> and <https://docs.cohere.com/docs/tool-use-streaming>.

use serde_json::{Map, Value, json};

use super::answer;
use crate::chat::{Block, Blocks, Broken, Event, MAX_EVENT, ProviderError, Start};
use crate::lenient::{self, LineReader, ReadLine};

/// Reads a stream.
pub type Reader = LineReader<Stream>;

/// What was read so far.
#[derive(Debug, Default)]
pub struct Stream {
    blocks: Blocks,
    /// Citations that belong to no text, for the end, and their length in bytes.
    uncited: Vec<Value>,
    uncited_bytes: usize,
    started: bool,
    ended: bool,
}

impl ReadLine for Stream {
    fn line(&mut self, line: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        match lenient::data(line) {
            None | Some(b"[DONE]") => Ok(()),
            Some(data) => self.event(&lenient::event(data)?, data, out),
        }
    }

    fn is_over(&self) -> bool {
        self.ended
    }
}

impl Stream {
    fn event(&mut self, event: &Value, data: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        let Some(kind) = event["type"].as_str() else {
            return self.untyped(event, data, out);
        };
        if !std::mem::replace(&mut self.started, true) {
            let id = lenient::text(&event["id"]).map(str::to_owned);
            out.push(Event::Start(Start { id, ..Start::default() }));
        }
        let message = &event["delta"]["message"];
        match kind {
            "content-start" | "content-delta" => {
                let content = &message["content"];
                self.blocks.thinking(0, content["thinking"].as_str().unwrap_or_default(), out);
                self.blocks.text(0, content["text"].as_str().unwrap_or_default(), out);
                if event["logprobs"].is_object() {
                    let value = json!({ "content": [answer::logprob(&event["logprobs"])] });
                    out.push(Event::Logprobs { choice: 0, value });
                }
            }
            "tool-plan-delta" => {
                self.blocks.thinking(0, message["tool_plan"].as_str().unwrap_or_default(), out);
            }
            "tool-call-start" | "tool-call-delta" => return self.call(event, out),
            "citation-start" => return self.citation(&message["citations"], out),
            "message-end" => self.message_end(&event["delta"], out),
            // Ends of parts say nothing that the next event does not; kinds to come are not ours to read.
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self, event: &Value, out: &mut Vec<Event>) -> Result<(), Broken> {
        let number = event["index"].as_u64().unwrap_or(0);
        let call = match &event["delta"]["message"]["tool_calls"] {
            Value::Array(calls) => calls.first().unwrap_or(&Value::Null),
            call => call,
        };
        let function = &call["function"];
        let name = function["name"].as_str().unwrap_or_default();
        if name.is_empty() && !self.blocks.has_call(0, number) {
            return Err(Broken::Malformed(format!("a piece of tool call {number}, which has not begun")));
        }
        let id = lenient::text(&call["id"]).map(str::to_owned);
        let id = || id.unwrap_or_else(|| lenient::call_id(&[&number.to_string(), name]));
        let block = || Block::ToolCall { id: id(), name: name.to_owned(), signature: None };
        self.blocks.call(0, number, block, &lenient::arguments(&function["arguments"]), out);
        Ok(())
    }

    fn citation(&mut self, citations: &Value, out: &mut Vec<Event>) -> Result<(), Broken> {
        let citations = match citations {
            Value::Array(citations) => citations.as_slice(),
            Value::Null => &[],
            citation => std::slice::from_ref(citation),
        };
        for citation in citations {
            if answer::cites_text(citation) {
                self.blocks.citation(0, citation.clone(), out);
                continue;
            }
            self.uncited_bytes = self.uncited_bytes.saturating_add(citation.to_string().len());
            if self.uncited_bytes > MAX_EVENT {
                return Err(Broken::TooLarge);
            }
            self.uncited.push(citation.clone());
        }
        Ok(())
    }

    fn message_end(&mut self, delta: &Value, out: &mut Vec<Event>) {
        self.ended = true;
        let raw = delta["finish_reason"].as_str().unwrap_or_default();
        let said = delta["error"].as_str();
        let (usage, billed) = answer::usage(delta["usage"].clone());
        out.extend(usage.map(Event::Usage));
        match answer::finish(raw, self.blocks.has_calls(0)).filter(|_| said.is_none()) {
            Some(finish) => {
                self.blocks.finish(0, finish, out);
                let citations = std::mem::take(&mut self.uncited);
                let citations =
                    (!citations.is_empty()).then(|| ("citations".to_owned(), Value::from(citations)));
                let billed = billed.map(|billed| ("billed_units".to_owned(), billed));
                let extra: Map<String, Value> = billed.into_iter().chain(citations).collect();
                if !extra.is_empty() {
                    out.push(Event::Extra(extra));
                }
                out.push(Event::End);
            }
            None => {
                let message = said.unwrap_or("the answer ended in an error").to_owned();
                let kind = (!raw.is_empty()).then(|| raw.to_owned());
                out.push(Event::Error(ProviderError { message, kind, ..ProviderError::default() }));
            }
        }
    }

    /// An event without a type: an error in the shape of an error answer.
    fn untyped(&mut self, event: &Value, data: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        if !event["message"].is_string() {
            return Err(Broken::Malformed("an event without a type".to_owned()));
        }
        self.ended = true;
        if !std::mem::replace(&mut self.started, true) {
            out.push(Event::Start(Start::default()));
        }
        out.push(Event::Error(answer::read_error(data)));
        Ok(())
    }
}
