//! Puts an answer together from frames that may be lost, repeated or come from several attempts.
//!
//! The caller gets the bytes of one attempt, in order and without holes, or learns that they cannot be had.
//! The attempt is settled by the first byte that is passed on; until then a newer attempt takes an older one's place.

use bytes::Bytes;
use domain::frame::Head;
use domain::outcome::Kind;
use domain::{Frame, Outcome};

#[cfg(test)]
mod tests;

/// An answer in the making.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    /// An answer was announced, but no byte of it has been passed on.
    announced: Option<(u32, Head)>,
    /// The attempt whose bytes are passed on.
    attempt: Option<u32>,
    /// How many bytes were passed on.
    position: u64,
    /// Nothing more is taken from frames.
    closed: bool,
}

/// What a frame brought.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Fed {
    /// The answer begins.
    pub(crate) head: Option<Head>,
    /// The next bytes.
    pub(crate) bytes: Bytes,
    /// No frame matters any more.
    pub(crate) end: Option<End>,
}

/// Why no frame matters any more.
#[derive(Debug, PartialEq)]
pub(crate) enum End {
    /// Nothing was passed on before: this is the whole answer.
    Whole(Box<Outcome>, Bytes),
    /// All bytes have been passed on.
    Done(Box<Outcome>),
    /// The rest has to be read from the store; the outcome is there if the last frame brought it.
    Stored(Option<Box<Outcome>>),
    /// A newer attempt is running: the one whose bytes were passed on was given up for lost.
    Superseded,
    /// The request ended with something else than the bytes that were passed on.
    Foreign,
}

/// How a stored answer continues what was passed on.
#[derive(Debug, PartialEq)]
pub(crate) enum Rest {
    /// Nothing was passed on: the stored answer is the answer.
    Whole,
    /// The same answer: these bytes are missing.
    Tail(Bytes),
    /// Another answer.
    Foreign,
}

impl Assembly {
    /// Takes a frame.
    pub(crate) fn feed(&mut self, frame: Frame) -> Fed {
        if self.closed {
            return Fed::default();
        }
        let fed = match (self.attempt, frame) {
            (Some(ours), frame) if frame.attempt() > ours => ended(self.foreign(&frame)),
            (Some(ours), frame) if is_outdated(&frame, ours) => Fed::default(),
            (None, frame) if self.announced.as_ref().is_some_and(|(a, _)| is_outdated(&frame, *a)) => {
                Fed::default()
            }
            (Some(_), Frame::Head { .. }) => Fed::default(),
            (None, Frame::Head { attempt, head }) => {
                self.announced = Some((attempt, head));
                Fed::default()
            }
            (None, Frame::Chunk { attempt, offset, bytes }) => self.begin(attempt, offset, bytes),
            (Some(_), Frame::Chunk { offset, bytes, .. }) => self.extend(offset, bytes),
            (None, Frame::End { offset, outcome, bytes, .. }) => whole(offset, outcome, bytes),
            (Some(_), Frame::End { offset, outcome, bytes, .. }) => self.finish(offset, outcome, bytes),
        };
        self.closed = fed.end.is_some();
        fed
    }

    /// A frame is known to be missing: the rest has to be read from the store.
    pub(crate) fn lose(&mut self) {
        self.closed = true;
    }

    /// How a stored answer continues what was passed on.
    pub(crate) fn rest(&self, outcome: &Outcome, body: &Bytes) -> Rest {
        if self.attempt.is_none() {
            return Rest::Whole;
        }
        let from = usize::try_from(self.position).unwrap_or(usize::MAX);
        if !self.is_ours(outcome) || from > body.len() {
            return Rest::Foreign;
        }
        Rest::Tail(body.slice(from..))
    }

    /// Whether an outcome's body is the answer whose bytes were passed on.
    fn is_ours(&self, outcome: &Outcome) -> bool {
        let answers = outcome.kind == Kind::Answered || outcome.truncated;
        answers && outcome.attempts.last().map(|a| a.number) == self.attempt
    }

    /// A frame of a newer attempt: either it runs, or it has ended the request.
    fn foreign(&self, frame: &Frame) -> End {
        match frame {
            Frame::End { .. } => End::Foreign,
            _ => End::Superseded,
        }
    }

    /// The first bytes.
    fn begin(&mut self, attempt: u32, offset: u64, bytes: Bytes) -> Fed {
        if bytes.is_empty() {
            return Fed::default();
        }
        match self.announced.take_if(|(announced, _)| offset == 0 && *announced == attempt) {
            Some((_, head)) => {
                self.attempt = Some(attempt);
                self.position = bytes.len() as u64;
                Fed { head: Some(head), bytes, end: None }
            }
            // The head or the first bytes were lost.
            None => ended(End::Stored(None)),
        }
    }

    fn extend(&mut self, offset: u64, bytes: Bytes) -> Fed {
        match self.new_part(offset, bytes) {
            Some(bytes) => Fed { bytes, ..Fed::default() },
            None => ended(End::Stored(None)),
        }
    }

    fn finish(&mut self, offset: u64, outcome: Box<Outcome>, bytes: Bytes) -> Fed {
        let size = outcome.body.size() as u64;
        if !self.is_ours(&outcome) || size < self.position {
            return ended(End::Foreign);
        }
        let Some(bytes) = self.new_part(offset, bytes) else { return ended(End::Stored(Some(outcome))) };
        let end = if self.position == size { End::Done(outcome) } else { End::Stored(Some(outcome)) };
        Fed { head: None, bytes, end: Some(end) }
    }

    /// The part of some bytes that was not passed on before. None: bytes in between are missing.
    fn new_part(&mut self, offset: u64, mut bytes: Bytes) -> Option<Bytes> {
        let known =
            usize::try_from(self.position.checked_sub(offset)?).unwrap_or(usize::MAX).min(bytes.len());
        let new = bytes.split_off(known);
        self.position += new.len() as u64;
        Some(new)
    }
}

/// Whether a frame comes from an attempt that was replaced: it may wake up late and has no say any more.
/// An end without an attempt is somebody else's word and always counts.
fn is_outdated(frame: &Frame, current: u32) -> bool {
    let somebody_else = matches!(frame, Frame::End { attempt: 0, .. });
    !somebody_else && frame.attempt() < current
}

fn ended(end: End) -> Fed {
    Fed { end: Some(end), ..Fed::default() }
}

/// The end of a request of which nothing was passed on.
fn whole(offset: u64, outcome: Box<Outcome>, bytes: Bytes) -> Fed {
    if offset == 0 && bytes.len() == outcome.body.size() {
        return ended(End::Whole(outcome, bytes));
    }
    ended(End::Stored(Some(outcome)))
}
