//! Sends the body of an answer the way the script wants it: in pieces, slowly, stuck, or cut.

use std::fmt;
use std::iter::Peekable;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, unfold};
use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::{Either, Full, StreamBody};
use hyper::body::Frame;

use crate::call::Call;
use crate::script::{Hang, Step};
use crate::stream::{Piece, Pieces};

/// Body of every response: whole answers without faults are sent at once.
pub(crate) type Body = Either<Full<Bytes>, StreamBody<BoxStream<'static, Result<Frame<Bytes>, Cut>>>>;

/// How long what was written has to leave before the connection is closed.
const LEAVING: Duration = Duration::from_millis(10);

/// Ends the connection: the server closes it on any error of an answer.
#[derive(Debug)]
pub(crate) struct Cut;

/// What an answer is made of.
pub(crate) enum Content {
    Whole(Bytes),
    Stream(Pieces),
}

/// The state of a body that is being sent.
struct Player {
    call: Call,
    pieces: Peekable<Pieces>,
    /// What is left of the current piece.
    current: Bytes,
    chunks: usize,
    gap: Duration,
    drip: Option<Duration>,
    hang_after: Option<usize>,
    /// Bytes until the cut.
    left: Option<usize>,
    started: bool,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script cuts the connection here")
    }
}

impl std::error::Error for Cut {}

/// A body without a call behind it.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}

/// The body of a call's answer, with the script's faults.
pub(crate) fn play(mut call: Call, content: Content, step: &Step) -> Body {
    let hangs = step.hang == Some(Hang::Stream);
    let (pieces, hang_after) = match content {
        Content::Whole(bytes) => {
            if !(hangs || call.is_logged() || step.drip.is_some() || step.abort.is_some()) {
                call.finished();
                return full(bytes);
            }
            (halves(bytes, hangs), step.hang_after.min(1))
        }
        Content::Stream(pieces) => (pieces, step.hang_after),
    };
    let player = Player {
        call,
        pieces: pieces.peekable(),
        current: Bytes::new(),
        chunks: 0,
        gap: step.gap,
        drip: step.drip,
        hang_after: hangs.then_some(hang_after),
        left: step.abort,
        started: false,
    };
    let frames = unfold(player, |mut player| async move {
        let next = player.next().await?;
        Some((next, player))
    });
    Either::Right(StreamBody::new(frames.map_ok(Frame::data).boxed()))
}

/// A whole answer as one piece, or as two when it has to get stuck in the middle.
fn halves(bytes: Bytes, hangs: bool) -> Pieces {
    let middle = if hangs { bytes.len() / 2 } else { bytes.len() };
    let first = Piece { bytes: bytes.slice(..middle), chunk: hangs.then_some(1), tokens: 0 };
    let second = Piece { bytes: bytes.slice(middle..), chunk: None, tokens: 0 };
    Box::new(std::iter::once(first).chain(hangs.then_some(second)))
}

impl Player {
    /// The next bytes to leave. Ends the call with the last ones: a server that has sent all it announced
    /// does not ask again.
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        if self.left == Some(0) {
            // The server writes what it has while this waits, and drops it once this fails.
            tokio::time::sleep(LEAVING).await;
            self.call.aborted();
            return Some(Err(Cut));
        }
        if self.current.is_empty() {
            self.current = self.piece().await?.bytes;
        }
        let mut bytes = self.dripped().await;
        if let Some(left) = &mut self.left {
            bytes.truncate(*left);
            *left -= bytes.len();
        }
        if self.left != Some(0) && self.current.is_empty() && self.pieces.peek().is_none() {
            self.call.finished();
        }
        self.started = true;
        Some(Ok(bytes))
    }

    async fn piece(&mut self) -> Option<Piece> {
        if self.hang_after.is_some_and(|after| self.chunks >= after) {
            std::future::pending::<()>().await;
        }
        let next = self.pieces.peek()?;
        if next.chunk.is_some_and(|chunk| chunk > 1) && !self.gap.is_zero() {
            tokio::time::sleep(self.gap).await;
        }
        let piece = self.pieces.next()?;
        if let Some(chunk) = piece.chunk {
            self.chunks = chunk;
            self.call.sent(chunk, piece.tokens);
        }
        Some(piece)
    }

    /// All that is there, or one byte after a pause.
    async fn dripped(&mut self) -> Bytes {
        let Some(pause) = self.drip else { return std::mem::take(&mut self.current) };
        if self.started {
            tokio::time::sleep(pause).await;
        }
        self.current.split_to(1.min(self.current.len()))
    }
}
