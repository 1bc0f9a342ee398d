//! Values as providers write them: counts as floats, fields that are null or missing, times as text.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::chat::{Broken, Event, MAX_EVENT, ReadEvents, Reason};

/// An answer, which has to be a JSON object without an error in it. Why it is none is told without quoting it.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, String> {
    let mut answer: Map<String, Value> = serde_json::from_slice(body).map_err(|err| {
        format!("the answer is not a JSON object: line {}, column {}", err.line(), err.column())
    })?;
    match answer.shift_remove("error") {
        None | Some(Value::Null) => Ok(answer),
        Some(_) => Err("the answer has status 200 but holds an error".to_owned()),
    }
}

/// A count, which some providers write as `12.0`.
pub(crate) fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|n| *n >= 0.0).map(|n| n as u64))
}

/// Text that is there and not empty.
pub(crate) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// Seconds since 1970 of a time such as `2025-07-07T20:22:19.184789Z`. Times before 1970 are none.
pub(crate) fn seconds(time: &str) -> Option<u64> {
    u64::try_from(OffsetDateTime::parse(time, &Rfc3339).ok()?.unix_timestamp()).ok()
}

/// Arguments of a call, which providers write as an object or as its JSON text.
pub(crate) fn arguments(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The error of a call that names no tool, so that nobody could answer it. `i`: its number in the answer.
pub(crate) fn nameless(i: usize) -> String {
    format!("tool_calls[{i}] names no tool")
}

/// A name for a call whose provider gives it none: the same for the same words, different for others.
pub(crate) fn call_id(words: &[&str]) -> String {
    // FNV-1a, 64 bits: stable across versions, which the standard library's hashers do not promise.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in words.iter().flat_map(|word| word.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("call_{hash:016x}")
}

/// A token in OpenAI's list of log probabilities.
pub(crate) fn token(text: &str, logprob: f64, bytes: Option<&Value>, top: Vec<Value>) -> Value {
    let bytes = match bytes {
        Some(bytes) if !bytes.is_null() => bytes.clone(),
        _ => Value::from(text.as_bytes()),
    };
    json!({ "token": text, "logprob": logprob, "bytes": bytes, "top_logprobs": top })
}

/// The finish reasons of OpenAI's API by name. None: some other word.
pub(crate) fn openai_reason(word: &str) -> Option<Reason> {
    match word {
        "stop" => Some(Reason::Stop),
        "length" => Some(Reason::Length),
        "tool_calls" => Some(Reason::ToolCalls),
        "content_filter" => Some(Reason::ContentFilter),
        _ => None,
    }
}

/// Cuts a stream into lines: one JSON document each, or the fields of server-sent events with one line of data.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pending: BytesMut,
    searched: usize,
}

impl Lines {
    /// Adds bytes as they come.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole line without its end, if there is one.
    pub(crate) fn take(&mut self) -> Result<Option<Bytes>, Broken> {
        match memchr(b'\n', &self.pending[self.searched..]) {
            Some(at) => {
                let line = self.pending.split_to(self.searched + at).freeze();
                self.pending.advance(1);
                self.searched = 0;
                if line.len() > MAX_EVENT { Err(Broken::TooLarge) } else { Ok(Some(line)) }
            }
            None => {
                self.searched = self.pending.len();
                if self.searched > MAX_EVENT { Err(Broken::TooLarge) } else { Ok(None) }
            }
        }
    }

    /// What is left when the stream has ended: a line without its end.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.searched = 0;
        self.pending.split().freeze()
    }
}

/// What a format makes of its streams, line by line.
pub(crate) trait ReadLine {
    /// Takes a line.
    fn line(&mut self, line: &[u8], out: &mut Vec<Event>) -> Result<(), Broken>;

    /// Whether the answer is complete, so that nothing after it counts.
    fn is_over(&self) -> bool;

    /// No more lines come. Formats that can be complete without saying so say it here.
    fn end(&mut self, _out: &mut Vec<Event>) {}
}

/// Reads a stream of lines.
#[derive(Debug, Default)]
pub struct LineReader<R> {
    lines: Lines,
    format: R,
}

impl<R: ReadLine + Send> ReadEvents for LineReader<R> {
    fn read(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), Broken> {
        if self.format.is_over() {
            return Ok(());
        }
        self.lines.push(bytes);
        while !self.format.is_over()
            && let Some(line) = self.lines.take()?
        {
            self.format.line(&line, out)?;
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), Broken> {
        let rest = self.lines.rest();
        if !self.format.is_over() {
            // The last line may lack its end; what is cut in the middle is no line.
            let _ = self.format.line(&rest, out);
        }
        if !self.format.is_over() {
            self.format.end(out);
        }
        if self.format.is_over() { Ok(()) } else { Err(Broken::Cut) }
    }
}

/// The data of a line of server-sent events; comments, other fields and empty lines have none.
pub(crate) fn data(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"data:").map(<[u8]>::trim_ascii).filter(|data| !data.is_empty())
}

/// One event's JSON.
pub(crate) fn event(data: &[u8]) -> Result<Value, Broken> {
    serde_json::from_slice(data)
        .map_err(|err| Broken::Malformed(format!("no JSON at line {}, column {}", err.line(), err.column())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_times_are_read_as_providers_write_them() {
        for (value, expected) in [
            (json!(3), Some(3)),
            (json!(3.0), Some(3)),
            (json!(-1), None),
            (json!(null), None),
            (json!("3"), None),
        ] {
            assert_eq!(count(&value), expected, "{value}");
        }
        assert_eq!(seconds("1970-01-01T00:01:00.5Z"), Some(60));
        assert_eq!(seconds("2023-08-04T08:52:19.385406455-07:00"), Some(1_691_164_339));
        assert_eq!(seconds("1969-12-31T23:59:59Z"), None);
        assert_eq!(seconds("yesterday"), None);
    }

    #[test]
    fn calls_without_names_get_stable_ones() {
        assert_eq!(call_id(&["0", "f"]), call_id(&["0", "f"]));
        assert_ne!(call_id(&["0", "f"]), call_id(&["1", "f"]));
        assert_ne!(call_id(&["ab", "c"]), call_id(&["a", "bc"]));
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let stream = "{\"a\":\"ü\"}\r\n\n{}\nrest".as_bytes();
        for size in 1..=stream.len() {
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            for piece in stream.chunks(size) {
                lines.push(piece);
                while let Some(line) = lines.take().unwrap() {
                    seen.push(line);
                }
            }
            assert_eq!(seen, ["{\"a\":\"ü\"}\r", "", "{}"], "pieces of {size}");
            assert_eq!(&lines.rest()[..], b"rest");
        }
    }

    #[test]
    fn a_line_without_end_is_too_large_at_some_point() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; MAX_EVENT]);
        assert_eq!(lines.take(), Ok(None));
        lines.push(b"x");
        assert_eq!(lines.take(), Err(Broken::TooLarge));
        let mut whole = Lines::default();
        whole.push(&[vec![b'x'; MAX_EVENT + 1], b"\n".to_vec()].concat());
        assert_eq!(whole.take(), Err(Broken::TooLarge));
    }
}
