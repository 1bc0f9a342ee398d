//! Server-sent events, cut at event boundaries: bytes are passed on, not written anew.

use bytes::{Bytes, BytesMut};
use memchr::memchr;

/// Cuts a byte stream into whole events. An event ends with an empty line. Every byte is looked at once.
#[derive(Debug, Default)]
pub struct Events {
    pending: BytesMut,
    /// Where the last line begins, and up to where it has no end.
    line: usize,
    searched: usize,
    /// Bytes that were looked at so far.
    #[cfg(test)]
    looked_at: usize,
}

impl Events {
    /// Adds bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole event with its empty line, if there is one.
    pub fn take(&mut self) -> Option<Bytes> {
        while let Some(at) = self.line_end() {
            let begin = std::mem::replace(&mut self.line, at + 1);
            if matches!(&self.pending[begin..at], b"" | b"\r") {
                (self.line, self.searched) = (0, 0);
                return Some(self.pending.split_to(at + 1).freeze());
            }
        }
        None
    }

    /// Where the next line ends, if it does.
    fn line_end(&mut self) -> Option<usize> {
        let from = self.searched;
        let at = memchr(b'\n', &self.pending[from..]).map(|at| from + at);
        self.searched = at.map_or(self.pending.len(), |at| at + 1);
        #[cfg(test)]
        {
            self.looked_at += self.searched - from;
        }
        at
    }

    /// Bytes of an event that is not finished.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What is left when the stream has ended.
    pub fn rest(&mut self) -> Bytes {
        (self.line, self.searched) = (0, 0);
        self.pending.split().freeze()
    }
}

/// The data of an event with one `data:` line; comments and other fields have none.
pub fn data(event: &[u8]) -> Option<&[u8]> {
    let line = event.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"data:"))?;
    Some(line.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let stream = b"data: 1\n\n: ping\n\ndata: 2\r\n\r\ndata: [DONE]\n\nrest";
        for size in 1..stream.len() {
            let mut events = Events::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(size) {
                events.push(piece);
                while let Some(event) = events.take() {
                    seen.push(event);
                }
            }
            let expected: [&[u8]; 4] =
                [b"data: 1\n\n", b": ping\n\n", b"data: 2\r\n\r\n", b"data: [DONE]\n\n"];
            assert_eq!(seen, expected, "pieces of {size}");
            assert_eq!(&events.rest()[..], b"rest");
        }
    }

    #[test]
    fn line_ends_may_be_mixed() {
        let mut events = Events::default();
        events.push(b"data: 1\n\r\ndata: 2\r\n\n\ndata: 3");
        let seen: Vec<_> = std::iter::from_fn(|| events.take()).collect();
        assert_eq!(seen, [&b"data: 1\n\r\n"[..], b"data: 2\r\n\n", b"\n"]);
        assert_eq!(&events.rest()[..], b"data: 3");
    }

    #[test]
    fn every_byte_is_looked_at_once() {
        let stream =
            [b"data: 1\n\n".repeat(1000), b"data: 2\r\n\r\n".repeat(1000), vec![b'x'; 4000]].concat();
        for size in [1, 7, stream.len()] {
            let (mut events, mut count) = (Events::default(), 0);
            for piece in stream.chunks(size) {
                events.push(piece);
                count += std::iter::from_fn(|| events.take()).count();
            }
            assert_eq!((count, events.looked_at), (2000, stream.len()), "pieces of {size}");
        }
    }

    #[test]
    fn data_is_what_follows_the_field_name() {
        assert_eq!(data(b"data: {\"a\":1}\r\n\r\n"), Some(&b"{\"a\":1}"[..]));
        assert_eq!(data(b"event: x\ndata:y\n\n"), Some(&b"y"[..]));
        assert_eq!(data(b": comment\n\n"), None);
    }
}
