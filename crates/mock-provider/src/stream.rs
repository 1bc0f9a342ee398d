//! Streamed answers, event by event, written as OpenAI writes them.

use bytes::Bytes;
use domain::Operation;
use serde::Serialize;

use crate::answer::{CREATED, Draft, Usage};
use crate::request::Ask;
use crate::script::{Malformed, Step};

/// Without `chunks` in the script: a word each, but a long text is not cut finer than this.
const MOST_CHUNKS: usize = 256;

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

#[derive(Serialize)]
struct Event<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    /// Left out, null, or there: with `include_usage` all chunks have the field and only the last a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

/// A choice of either operation: chat answers have a delta, completions a text.
#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Delta<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

/// A draft cut into chunks.
struct Writer {
    draft: Draft,
    /// The pieces of each text: where they end and how many words they have.
    cuts: Vec<Vec<(usize, usize)>>,
    announce_usage: bool,
    malformed: Option<Malformed>,
}

/// One error as the only event of a stream.
pub(crate) fn error_event(body: &[u8]) -> Piece {
    let mut bytes = b"data: ".to_vec();
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(b"\n\n");
    plain(bytes)
}

/// The events of an answer: role, content, finish, usage if asked for, `[DONE]`.
pub(crate) fn pieces(draft: Draft, ask: &Ask, step: &Step) -> Pieces {
    let most = step.chunks.unwrap_or(MOST_CHUNKS);
    let cuts: Vec<_> = draft.texts.iter().map(|text| text.pieces(most)).collect();
    let chunks = cuts.iter().map(Vec::len).max().unwrap_or(0);
    let announce_usage = ask.include_usage && step.usage;
    let opening = draft.operation == Operation::Chat;
    let done = step.malformed != Some(Malformed::Sse);
    let writer = Writer { draft, cuts, announce_usage, malformed: step.malformed };
    let stages = opening
        .then_some(Stage::Role)
        .into_iter()
        .chain((0..chunks).map(Stage::Content))
        .chain(std::iter::once(Stage::Finish))
        .chain(announce_usage.then_some(Stage::Usage))
        .chain(done.then_some(Stage::Done));
    Box::new(stages.map(move |stage| writer.piece(stage)))
}

#[derive(Clone, Copy)]
enum Stage {
    Role,
    Content(usize),
    Finish,
    Usage,
    Done,
}

impl Writer {
    fn piece(&self, stage: Stage) -> Piece {
        match stage {
            Stage::Role => plain(self.each_choice(|_| Some(Said { role: true, content: "", finish: None }))),
            Stage::Content(number) => self.content(number),
            Stage::Finish => plain(self.each_choice(|text| {
                let finish = Some(self.draft.texts[text].finish_reason());
                Some(Said { role: false, content: "", finish })
            })),
            Stage::Usage => {
                let mut bytes = Vec::new();
                self.event(&mut bytes, &[], Some(Some(self.draft.usage)));
                plain(bytes)
            }
            Stage::Done => plain(b"data: [DONE]\n\n".to_vec()),
        }
    }

    fn content(&self, number: usize) -> Piece {
        let mut bytes = self.each_choice(|text| {
            let (end, _) = *self.cuts[text].get(number)?;
            let from = if number == 0 { 0 } else { self.cuts[text][number - 1].0 };
            Some(Said { role: false, content: &self.draft.texts[text].text[from..end], finish: None })
        });
        match self.malformed {
            Some(Malformed::Json) if number == 0 => {
                bytes.truncate(bytes.len() / 2);
                bytes.extend_from_slice(b"\n\n");
            }
            // Without its empty line the event runs into the next, and two documents are no JSON.
            Some(Malformed::Sse) if number == 0 => bytes.truncate(bytes.len() - 1),
            _ => {}
        }
        let words: usize = self.cuts.iter().filter_map(|cuts| cuts.get(number)).map(|(_, words)| words).sum();
        let tokens = u64::try_from(words * self.draft.repeat).unwrap_or(u64::MAX);
        Piece { bytes: bytes.into(), chunk: Some(number + 1), tokens }
    }

    /// One event for each choice whose text has something to say.
    fn each_choice<'s>(&'s self, say: impl Fn(usize) -> Option<Said<'s>>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        for index in 0..self.draft.texts.len() * self.draft.repeat {
            let Some(said) = say(index / self.draft.repeat) else { continue };
            let choice = self.choice(index, &said);
            self.event(&mut bytes, &[choice], self.announce_usage.then_some(None));
        }
        bytes
    }

    fn choice<'s>(&self, index: usize, said: &Said<'s>) -> Choice<'s> {
        let chat = self.draft.operation == Operation::Chat;
        let content = said.finish.is_none().then_some(said.content);
        Choice {
            index,
            delta: chat.then_some(Delta { role: said.role.then_some("assistant"), content }),
            text: (!chat).then_some(said.content),
            logprobs: None,
            finish_reason: said.finish,
        }
    }

    fn event(&self, bytes: &mut Vec<u8>, choices: &[Choice<'_>], usage: Option<Option<Usage>>) {
        let chat = self.draft.operation == Operation::Chat;
        let event = Event {
            id: &self.draft.id,
            object: if chat { "chat.completion.chunk" } else { "text_completion" },
            created: CREATED,
            model: &self.draft.model,
            choices,
            usage,
        };
        bytes.extend_from_slice(b"data: ");
        serde_json::to_writer(&mut *bytes, &event).expect("strings and numbers always serialise");
        bytes.extend_from_slice(b"\n\n");
    }
}

/// What one choice says in one event.
struct Said<'a> {
    role: bool,
    content: &'a str,
    finish: Option<&'static str>,
}

fn plain(bytes: Vec<u8>) -> Piece {
    Piece { bytes: bytes.into(), chunk: None, tokens: 0 }
}
