//! Streams in Ollama's format: one JSON object per line, the last with `"done": true`.
//!
//! Source: <https://docs.ollama.com/api/streaming>, <https://docs.ollama.com/api/errors>.

use serde_json::{Map, Value};

use super::answer::{self, Called};
use crate::chat::{Block, Blocks, Broken, Event, Start};
use crate::lenient::{self, LineReader, ReadLine};

/// Reads a stream.
pub type Reader = LineReader<Stream>;

/// What was read so far.
#[derive(Debug, Default)]
pub struct Stream {
    blocks: Blocks,
    /// Calls so far: they come whole and are not numbered across lines.
    calls: usize,
    started: bool,
    ended: bool,
}

impl ReadLine for Stream {
    fn line(&mut self, line: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let Value::Object(mut said) = lenient::event(line)? else {
            return Err(Broken::Malformed("a line that is no JSON object".to_owned()));
        };
        if said.contains_key("error") {
            self.start(Start::default(), out);
            self.ended = true;
            out.push(Event::Error(answer::read_error(line)));
            return Ok(());
        }
        let answer::Beginning { start, created_at } = answer::about(&mut said);
        self.start(start, out);
        let message = said.remove("message").unwrap_or_default();
        self.blocks.thinking(0, message["thinking"].as_str().unwrap_or_default(), out);
        self.blocks.text(0, message["content"].as_str().unwrap_or_default(), out);
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let called = answer::called(self.calls, call, &created_at);
            let Called { id, name, arguments } = called.map_err(Broken::Malformed)?;
            let block = || Block::ToolCall { id, name, signature: None };
            self.blocks.call(0, self.calls as u64, block, &arguments, out);
            self.calls += 1;
        }
        if let Some(value) = said.remove("logprobs").as_ref().and_then(answer::logprobs) {
            out.push(Event::Logprobs { choice: 0, value });
        }
        if said.get("done") == Some(&Value::Bool(true)) {
            self.done(said, out);
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.ended
    }
}

impl Stream {
    fn start(&mut self, start: Start, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.started, true) {
            out.push(Event::Start(start));
        }
    }

    fn done(&mut self, mut said: Map<String, Value>, out: &mut Vec<Event>) {
        self.ended = true;
        let answer::End { finish, usage } = answer::end(&mut said, self.calls > 0);
        self.blocks.finish(0, finish, out);
        out.extend(usage.map(Event::Usage));
        if !said.is_empty() {
            out.push(Event::Extra(said));
        }
        out.push(Event::End);
    }
}
