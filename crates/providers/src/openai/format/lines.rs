//! Server-sent events, line by line, however they are framed.

use crate::chat::{Broken, MAX_EVENT};

/// Cuts a stream into JSON documents.
///
/// A document is complete when its brackets are, so it does not matter whether events are parted by empty lines (as
/// they should be), by single line ends (as DeepInfra and SambaNova do), by `\n` or `\r\n`, or whether a document is
/// spread over several `data:` lines. A bare document without `data:` counts as well: errors come like that.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Bytes that came and are not looked at yet.
    pending: Vec<u8>,
    /// Where in them the next line begins, and up to where there is no line end.
    begin: usize,
    searched: usize,
    /// What the event under way says so far.
    data: Vec<u8>,
    /// It came without `data:`.
    bare: bool,
    brackets: Brackets,
}

/// How deep in brackets a text is.
#[derive(Debug, Default)]
struct Brackets {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Brackets {
    fn add(&mut self, text: &[u8]) {
        for byte in text {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn are_closed(&self) -> bool {
        self.depth == 0 && !self.in_string
    }
}

impl Lines {
    /// Adds bytes as they come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.pending.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        self.pending.extend_from_slice(bytes);
    }

    /// The next document, if it is complete.
    pub(super) fn take(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        loop {
            let end = memchr::memchr(b'\n', &self.pending[self.searched..]);
            let next = end.map_or(self.pending.len(), |at| self.searched + at + 1);
            self.searched = next;
            if next - self.begin + self.data.len() > MAX_EVENT {
                return Err(Broken::TooLarge);
            }
            if end.is_none() {
                return Ok(None);
            }
            let (begin, pending) = (self.begin, std::mem::take(&mut self.pending));
            self.begin = next;
            let complete = self.line(pending[begin..next].trim_ascii_end());
            self.pending = pending;
            if complete {
                self.bare = false;
                self.brackets = Brackets::default();
                return Ok(Some(std::mem::take(&mut self.data)));
            }
        }
    }

    /// Takes a line without its end; tells whether a document is complete with it.
    fn line(&mut self, line: &[u8]) -> bool {
        let begun = !self.data.is_empty();
        let text = match line.strip_prefix(b"data:") {
            Some(text) => text.trim_ascii_start(),
            None if begun && self.bare => line,
            None if !begun && line.starts_with(b"{") => {
                self.bare = true;
                line
            }
            // The end of an event; what is incomplete now stays so.
            None => return begun && line.is_empty(),
        };
        if text.is_empty() {
            return false;
        }
        if begun {
            self.data.push(b'\n');
        }
        self.brackets.add(text);
        self.data.extend_from_slice(text);
        self.brackets.are_closed()
    }
}
