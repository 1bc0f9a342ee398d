//! Server-sent events, cut at event boundaries: bytes are passed on, not written anew.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// Cuts a byte stream into whole events. An event ends with an empty line.
#[derive(Debug, Default)]
pub struct Events {
    pending: BytesMut,
    searched: usize,
}

impl Events {
    /// Adds bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole event with its empty line, if there is one.
    pub fn take(&mut self) -> Option<Bytes> {
        let from = self.searched.saturating_sub(3);
        match boundary(&self.pending[from..]) {
            Some(end) => {
                self.searched = 0;
                Some(self.pending.split_to(from + end).freeze())
            }
            None => {
                self.searched = self.pending.len();
                None
            }
        }
    }

    /// Bytes of an event that is not finished.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What is left when the stream has ended.
    pub fn rest(&mut self) -> Bytes {
        self.searched = 0;
        self.pending.split().freeze()
    }
}

/// Where the first event ends, empty line included.
fn boundary(bytes: &[u8]) -> Option<usize> {
    let lf = memmem::find(bytes, b"\n\n").map(|at| at + 2);
    let crlf = memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4);
    match (lf, crlf) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
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
    fn data_is_what_follows_the_field_name() {
        assert_eq!(data(b"data: {\"a\":1}\r\n\r\n"), Some(&b"{\"a\":1}"[..]));
        assert_eq!(data(b"event: x\ndata:y\n\n"), Some(&b"y"[..]));
        assert_eq!(data(b": comment\n\n"), None);
    }
}
