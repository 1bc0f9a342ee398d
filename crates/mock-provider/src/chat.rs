//! What a chat asks for and what is answered, before either is written in a dialect.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::sample::sample;
use crate::script::Step;
use crate::stream::{self, Voice};
use crate::text::{Ended, Limits, Text, hash};

/// Words of a thought, unless the script says how many.
const THOUGHT: usize = 4;

/// What was asked, whatever the dialect.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    /// What the answer echoes: the last user message, or the results of tools that came after it.
    pub(crate) heard: String,
    /// Words of everything that was sent.
    pub(crate) input_tokens: u64,
    /// How many of them stand before the last cache marker.
    pub(crate) marked_tokens: u64,
    pub(crate) stream: bool,
    pub(crate) max_tokens: Option<usize>,
    /// Answers to the same question; 0 counts as 1.
    pub(crate) repeat: usize,
    pub(crate) stop: Vec<String>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) choice: Choice,
    /// No more than one call at a time.
    pub(crate) single_call: bool,
    /// The conversation ends with results of tools, so that nothing needs to be called.
    pub(crate) has_results: bool,
    /// The answer is JSON that fits this.
    pub(crate) schema: Option<Value>,
    pub(crate) thinking: bool,
}

/// Something that may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) schema: Value,
}

/// Whether tools are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Choice {
    /// As the script says.
    #[default]
    Auto,
    None,
    /// At least one.
    Any,
    /// This one.
    Named(String),
}

/// An answer before it is written.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// Names the answer: the same for the same request.
    pub(crate) id: u64,
    pub(crate) model: String,
    pub(crate) blocks: Vec<Block>,
    pub(crate) finish: Finish,
    pub(crate) usage: Usage,
    /// Whether token counts are told.
    pub(crate) with_usage: bool,
    pub(crate) repeat: usize,
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) kind: Kind,
    pub(crate) text: Text,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Thoughts, which most dialects sign.
    Thought,
    Said,
    /// A call of a tool; its text are the arguments. Counted from 0.
    Call {
        number: usize,
        name: String,
    },
}

/// What ended an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Whole,
    Length,
    Stop(String),
    Calls,
    /// The provider's filter; nothing is said.
    Filtered,
}

/// Token counts: `cached` and `written` are parts of `input`, `thought` is part of `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) written: u64,
    pub(crate) output: u64,
    pub(crate) thought: u64,
}

/// What the script and the request's address add to a chat.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'s> {
    pub(crate) model: &'s str,
    /// The model's name without its script.
    pub(crate) base: &'s str,
    pub(crate) step: &'s Step,
    pub(crate) id: u64,
}

impl Reply {
    /// Answers what was asked, as the script wants it.
    pub(crate) fn new(chat: &Chat, setting: Setting<'_>) -> Self {
        let step = setting.step;
        let thought = thought(chat, setting);
        let spent = thought.as_ref().map_or(0, |text| text.words);
        let max_tokens = chat.max_tokens.map(|max| max.saturating_sub(spent));
        let limits = Limits { max_tokens, stop: &chat.stop };
        let mut blocks: Vec<_> =
            thought.into_iter().map(|text| Block { kind: Kind::Thought, text }).collect();
        let finish = if step.filtered {
            Finish::Filtered
        } else {
            let said = said(chat, setting, limits);
            let finish = finish(&said);
            blocks.extend(said);
            finish
        };
        let output: usize = blocks.iter().map(|block| block.text.words).sum();
        let repeat = chat.repeat.max(1);
        let cached = step.cached.unwrap_or(0).min(chat.input_tokens);
        Self {
            id: setting.id,
            model: setting.model.to_owned(),
            blocks,
            finish,
            usage: Usage {
                input: chat.input_tokens,
                cached,
                written: chat.marked_tokens.saturating_sub(cached),
                output: tokens(output * repeat),
                thought: tokens(spent * repeat),
            },
            with_usage: step.usage,
            repeat,
        }
    }

    /// The text of all that is said, without thoughts and calls.
    pub(crate) fn said(&self) -> String {
        let said = self.blocks.iter().filter(|block| block.kind == Kind::Said);
        said.map(|block| block.text.text.as_str()).collect()
    }

    /// The thoughts, if there are any.
    pub(crate) fn thought(&self) -> Option<&str> {
        let thought = self.blocks.iter().find(|block| block.kind == Kind::Thought);
        thought.map(|block| block.text.text.as_str())
    }

    /// Number, name and arguments of every call.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        self.blocks.iter().filter_map(|block| match &block.kind {
            Kind::Call { number, name } => Some((*number, name.as_str(), block.text.text.as_str())),
            _ => None,
        })
    }

    /// Written in a dialect: as one body, or as a stream.
    pub(crate) fn content(self, streamed: bool, voice: Box<dyn Voice>, step: &Step) -> stream::Made {
        if streamed {
            return stream::streamed(self, voice, step);
        }
        stream::Made::whole(voice.whole(&self), self.usage.output)
    }
}

/// What a provider writes below a thought so that it knows it again.
pub(crate) fn signature(thought: &str) -> String {
    let hashes = [hash(11, thought.as_bytes()), hash(12, thought.as_bytes()), hash(13, thought.as_bytes())];
    STANDARD.encode(hashes.map(u64::to_be_bytes).concat())
}

/// A thought is had if the request or the script wants it.
fn thought(chat: &Chat, setting: Setting<'_>) -> Option<Text> {
    let words = setting.step.thinking.or(chat.thinking.then_some(THOUGHT)).filter(|words| *words > 0)?;
    let step = Step { words: Some(words), ..Step::default() };
    let limits = Limits { max_tokens: chat.max_tokens, stop: &[] };
    Some(Text::sentence(setting.base, "thinks:", &chat.heard, &step, limits))
}

fn said(chat: &Chat, setting: Setting<'_>, limits: Limits<'_>) -> Vec<Block> {
    let called = called(chat, setting.step);
    if called.is_empty() {
        let text = match &chat.schema {
            Some(schema) => Text::json(&sample(schema, &chat.heard), limits),
            None => Text::sentence(setting.base, "heard:", &chat.heard, setting.step, limits),
        };
        return vec![Block { kind: Kind::Said, text }];
    }
    let call = |(number, tool): (usize, &Tool)| {
        let arguments = match sample(&tool.schema, &chat.heard) {
            Value::Null => Value::Object(serde_json::Map::new()),
            value => value,
        };
        // Arguments are never stopped by a sequence, only by the number of tokens.
        let text = Text::json(&arguments, Limits { stop: &[], ..limits });
        Block { kind: Kind::Call { number, name: tool.name.clone() }, text }
    };
    called.into_iter().enumerate().map(call).collect()
}

/// The request's own words win over the script; after results there is nothing more to call.
fn called<'c>(chat: &'c Chat, step: &Step) -> Vec<&'c Tool> {
    let most = if chat.single_call { 1 } else { usize::MAX };
    let scripted = if chat.has_results { 0 } else { step.tools.unwrap_or(0).min(most) };
    match &chat.choice {
        Choice::None => Vec::new(),
        Choice::Auto => chat.tools.iter().take(scripted).collect(),
        Choice::Any => chat.tools.iter().take(scripted.max(1)).collect(),
        Choice::Named(name) => chat.tools.iter().filter(|tool| tool.name == *name).take(1).collect(),
    }
}

fn finish(said: &[Block]) -> Finish {
    let ended = said.iter().map(|block| &block.text.ended).find(|ended| **ended != Ended::Whole);
    match ended {
        Some(Ended::Length) => Finish::Length,
        Some(Ended::Stop(sequence)) => Finish::Stop(sequence.clone()),
        _ if said.iter().any(|block| matches!(block.kind, Kind::Call { .. })) => Finish::Calls,
        _ => Finish::Whole,
    }
}

fn tokens(words: usize) -> u64 {
    u64::try_from(words).unwrap_or(u64::MAX)
}
