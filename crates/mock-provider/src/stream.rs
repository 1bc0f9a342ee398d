//! Streamed answers: which events come in which order, and the faults in them. What an event looks like is the
//! dialect's matter.

use bytes::Bytes;
use domain::ApiError;
use http::HeaderValue;
use serde::Serialize;
use serde_json::Value;

use crate::chat::{Kind, Reply};
use crate::player::Content;
use crate::script::{Malformed, Step};
use crate::text::json;
use crate::wire::{Event, Framing};

/// Without `chunks` in the script: a word each, but a long text is not cut finer than this.
pub(crate) const MOST_CHUNKS: usize = 256;

/// Bytes that leave together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    /// Set for pieces that carry content, counted from 1.
    pub(crate) chunk: Option<usize>,
    /// Words that were generated for it.
    pub(crate) tokens: u64,
}

/// A lazily written answer.
pub(crate) type Pieces = Box<dyn Iterator<Item = Piece> + Send>;

/// An answer that only needs to be sent.
pub(crate) struct Made {
    pub(crate) content: Content,
    pub(crate) content_type: HeaderValue,
    /// Generated before the first byte; the chunks of a stream are counted as they leave.
    pub(crate) output_tokens: u64,
}

/// Writes an answer in a dialect.
pub(crate) trait Voice: Send {
    /// How events stand on the wire.
    fn framing(&self) -> Framing;

    /// Whether calls come in one piece, because the dialect has no pieces of them.
    fn whole_calls(&self) -> bool {
        false
    }

    /// The body of an answer that is not streamed.
    fn whole(&self, reply: &Reply) -> Vec<u8>;

    /// What is written at this point of a stream.
    fn beat(&self, reply: &Reply, beat: Beat<'_>, pen: &mut Pen);

    /// An error in the middle of a stream.
    fn error(&self, err: &ApiError, pen: &mut Pen);
}

/// A point in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat<'t> {
    Start,
    /// A block begins.
    Open(usize),
    /// A block goes on.
    Piece {
        block: usize,
        text: &'t str,
    },
    /// A block ends.
    Close(usize),
    /// Why the answer ends.
    Finish,
    /// Token counts, for dialects that tell them in an event of their own.
    Usage,
    /// The mark at the very end.
    Done,
}

/// What a dialect writes its events with.
#[derive(Debug, Default)]
pub(crate) struct Pen {
    events: Vec<Event>,
    written: u64,
}

impl Made {
    /// A JSON body.
    pub(crate) fn whole(body: Vec<u8>, output_tokens: u64) -> Self {
        let content_type = HeaderValue::from_static("application/json");
        Self { content: Content::Whole(body.into()), content_type, output_tokens }
    }

    /// A JSON body of something that generates no tokens.
    pub(crate) fn json(body: &impl Serialize) -> Self {
        Self::whole(json(body), 0)
    }
}

impl Pen {
    /// An event without a name.
    pub(crate) fn plain(&mut self, value: &impl Serialize) {
        self.event(Event::plain(value));
    }

    /// An event with a name.
    pub(crate) fn named(&mut self, name: &'static str, value: &Value) {
        self.event(Event::named(name, value));
    }

    /// Any event.
    pub(crate) fn event(&mut self, event: Event) {
        self.events.push(event);
        self.written += 1;
    }

    /// How many events came before the next.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// What was written and not yet taken.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

/// A beat that is still to come.
#[derive(Clone, Copy)]
enum Stage {
    Beat(Beat<'static>),
    Piece { block: usize, from: usize, end: usize, words: usize, chunk: usize },
    Error,
}

/// The events of an answer, as the script wants them.
pub(crate) fn streamed(reply: Reply, voice: Box<dyn Voice>, step: &Step) -> Made {
    let framing = voice.framing();
    let (malformed, repeat) = (step.malformed, reply.repeat);
    let stages = stages(&reply, step, voice.whole_calls());
    let mut pen = Pen::default();
    let mut first = true;
    let pieces = stages.into_iter().map(move |stage| {
        let (chunk, words) = match stage {
            Stage::Piece { chunk, words, .. } => (Some(chunk), words),
            _ => (None, 0),
        };
        match stage {
            Stage::Beat(beat) => voice.beat(&reply, beat, &mut pen),
            Stage::Piece { block, from, end, .. } => {
                let text = &reply.blocks[block].text.text[from..end];
                voice.beat(&reply, Beat::Piece { block, text }, &mut pen);
            }
            Stage::Error => voice.error(&mid_stream(), &mut pen),
        }
        let mut bytes = Vec::with_capacity(256);
        let fault = malformed.filter(|_| chunk == Some(1));
        let events = pen.take();
        for (at, event) in events.iter().enumerate() {
            framing.write(&mut bytes, event, first, fault.filter(|_| at + 1 == events.len()));
            first = false;
        }
        Piece { bytes: bytes.into(), chunk, tokens: u64::try_from(words * repeat).unwrap_or(u64::MAX) }
    });
    let pieces = pieces.filter(|piece| !piece.bytes.is_empty() || piece.chunk.is_some());
    Made {
        content: Content::Stream(Box::new(pieces)),
        content_type: framing.content_type(),
        output_tokens: 0,
    }
}

/// An error as the only event of a stream.
pub(crate) fn only_error(voice: &dyn Voice, err: &ApiError) -> Made {
    let mut pen = Pen::default();
    voice.error(err, &mut pen);
    let framing = voice.framing();
    let mut bytes = Vec::new();
    for (at, event) in pen.events.iter().enumerate() {
        framing.write(&mut bytes, event, at == 0, None);
    }
    let piece = Piece { bytes: bytes.into(), chunk: None, tokens: 0 };
    Made {
        content: Content::Stream(Box::new(std::iter::once(piece))),
        content_type: framing.content_type(),
        output_tokens: 0,
    }
}

/// What the script's `error-after` says.
fn mid_stream() -> ApiError {
    ApiError::new(529, "scripted_error", "the script in the model name asks for this error in the stream")
}

fn stages(reply: &Reply, step: &Step, whole_calls: bool) -> Vec<Stage> {
    let most = step.chunks.unwrap_or(MOST_CHUNKS);
    let mut stages = vec![Stage::Beat(Beat::Start)];
    let mut chunk = 0;
    let broken = |chunk: usize| step.error_after.is_some_and(|after| chunk >= after);
    for (block, content) in reply.blocks.iter().enumerate() {
        if broken(chunk) {
            break;
        }
        stages.push(Stage::Beat(Beat::Open(block)));
        let mut from = 0;
        let whole = whole_calls && matches!(content.kind, Kind::Call { .. });
        for (end, words) in content.text.pieces(if whole { 1 } else { most }) {
            if broken(chunk) {
                break;
            }
            chunk += 1;
            stages.push(Stage::Piece { block, from, end, words, chunk });
            from = end;
        }
        if !broken(chunk) {
            stages.push(Stage::Beat(Beat::Close(block)));
        }
    }
    if step.error_after.is_some() {
        stages.push(Stage::Error);
        return stages;
    }
    stages.extend([Beat::Finish, Beat::Usage].map(Stage::Beat));
    if step.malformed != Some(Malformed::Sse) {
        stages.push(Stage::Beat(Beat::Done));
    }
    stages
}
