//! Deterministic answers: a sentence that echoes the prompt, in OpenAI's shapes.

use domain::Operation;
use serde::Serialize;

use crate::request::Ask;
use crate::script::Step;

/// The same answer at any time of any day.
pub(crate) const CREATED: u64 = 1_700_000_000;

/// How much of a prompt is echoed: words, and characters of each.
const ECHOED_WORDS: usize = 64;
const ECHOED_CHARS: usize = 32;

/// What answers are filled with when they must be longer than the echo.
const FILLER: [&str; 16] = [
    "harbour", "lantern", "meadow", "copper", "willow", "signal", "amber", "river", "orchard", "granite",
    "feather", "compass", "thunder", "velvet", "island", "maple",
];

/// The text of one choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) words: usize,
    /// Whether `max_tokens` cut it.
    truncated: bool,
}

/// A whole answer before it is written down.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) operation: Operation,
    /// One text per prompt; each is answered `repeat` times.
    pub(crate) texts: Vec<Text>,
    pub(crate) repeat: usize,
    pub(crate) usage: Usage,
}

/// Token counts as OpenAI names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) total_tokens: u64,
}

/// A choice of either operation: chat answers have a message, completions a text.
#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
    refusal: Option<()>,
}

#[derive(Serialize)]
struct Whole<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

impl Text {
    /// What finished it, in OpenAI's words.
    pub(crate) fn finish_reason(&self) -> &'static str {
        if self.truncated { "length" } else { "stop" }
    }

    /// Cuts the text into at most `count` pieces of whole words: the end and the number of words of each.
    pub(crate) fn pieces(&self, count: usize) -> Vec<(usize, usize)> {
        let count = count.min(self.words);
        let mut spaces = self.text.bytes().enumerate().filter(|(_, b)| *b == b' ').map(|(at, _)| at);
        let mut pieces = Vec::with_capacity(count);
        let mut taken = 0;
        for piece in 1..=count {
            let upto = piece * self.words / count;
            // Every word but the first is led by a space, so the piece ends where the next word's space is.
            let end = spaces.nth(upto - taken - 1).unwrap_or(self.text.len());
            pieces.push((end, upto - taken));
            taken = upto;
        }
        pieces
    }
}

impl Draft {
    /// Answers what was asked. `id` is the hash that names the answer.
    pub(crate) fn new(ask: &Ask, model: &str, base: &str, step: &Step, id: u64) -> Self {
        let texts: Vec<_> =
            ask.prompts.iter().map(|prompt| text(base, prompt, step, ask.max_tokens)).collect();
        let words: usize = texts.iter().map(|text| text.words).sum();
        let completion_tokens = u64::try_from(words * ask.repeat).unwrap_or(u64::MAX);
        let prefix = if ask.operation == Operation::Chat { "chatcmpl" } else { "cmpl" };
        Self {
            id: format!("{prefix}-{id:016x}"),
            model: model.to_owned(),
            operation: ask.operation,
            texts,
            repeat: ask.repeat,
            usage: Usage {
                prompt_tokens: ask.input_tokens,
                completion_tokens,
                total_tokens: ask.input_tokens.saturating_add(completion_tokens),
            },
        }
    }

    /// Every choice with its index.
    pub(crate) fn choices(&self) -> impl Iterator<Item = (usize, &Text)> {
        self.texts.iter().flat_map(|text| std::iter::repeat_n(text, self.repeat)).enumerate()
    }

    /// The body of an answer that is not streamed.
    pub(crate) fn whole(&self, with_usage: bool) -> Vec<u8> {
        let chat = self.operation == Operation::Chat;
        json(&Whole {
            id: &self.id,
            object: if chat { "chat.completion" } else { "text_completion" },
            created: CREATED,
            model: &self.model,
            choices: self
                .choices()
                .map(|(index, text)| Choice {
                    index,
                    message: chat.then(|| Message { role: "assistant", content: &text.text, refusal: None }),
                    text: (!chat).then_some(&text.text),
                    logprobs: None,
                    finish_reason: text.finish_reason(),
                })
                .collect(),
            usage: with_usage.then_some(self.usage),
        })
    }
}

/// Writes JSON.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers always serialise")
}

/// A fast, stable hash: answers must not change with the toolchain.
pub(crate) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = mix(seed ^ 0x9e37_79b9_7f4a_7c15 ^ bytes.len() as u64);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        state = mix(state ^ word.iter().fold(0, |n, b| n << 8 | u64::from(*b)));
    }
    mix(state ^ words.remainder().iter().fold(1, |n, b| n << 8 | u64::from(*b)))
}

/// The finaliser of splitmix64: every input bit reaches every output bit.
pub(crate) fn mix(mut n: u64) -> u64 {
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// The sentence for one prompt: the model's name, an echo of the prompt, then filler as the script demands.
fn text(base: &str, prompt: &str, step: &Step, max_tokens: Option<usize>) -> Text {
    let echoed = prompt.split_whitespace().take(ECHOED_WORDS);
    let mut echo = base.split_whitespace().take(1).chain(std::iter::once("heard:")).chain(echoed);
    let seed = hash(hash(0, base.as_bytes()), prompt.as_bytes());
    let (size, least) = (step.size.unwrap_or(0), step.chunks.unwrap_or(0));
    let mut answer = Text { text: String::with_capacity(size.max(128)), words: 0, truncated: false };
    loop {
        let word = echo.next();
        let enough = match step.words {
            Some(words) => answer.words >= words,
            None => answer.words >= least && word.is_none(),
        };
        if enough && answer.text.len() >= size {
            return answer;
        }
        if max_tokens.is_some_and(|max| answer.words >= max) {
            answer.truncated = true;
            return answer;
        }
        if answer.words > 0 {
            answer.text.push(' ');
        }
        match word {
            Some(word) => answer.text.extend(word.chars().take(ECHOED_CHARS)),
            None => answer.text.push_str(filler(seed, answer.words)),
        }
        answer.words += 1;
    }
}

fn filler(seed: u64, position: usize) -> &'static str {
    let drawn = mix(seed.wrapping_add(position as u64)) % FILLER.len() as u64;
    FILLER[usize::try_from(drawn).unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn step(change: impl FnOnce(&mut Step)) -> Step {
        let mut step = Step::default();
        change(&mut step);
        step
    }

    #[test]
    fn an_answer_echoes_the_prompt() {
        let plain = text("mock", "what is  new?", &Step::default(), None);
        assert_eq!(
            (plain.text.as_str(), plain.words, plain.finish_reason()),
            ("mock heard: what is new?", 5, "stop")
        );
        assert_eq!(text("mock", "what is  new?", &Step::default(), None), plain);
        assert_ne!(text("other", "what is  new?", &Step::default(), None), plain);
    }

    #[test]
    fn the_script_and_the_request_set_the_length() {
        let cases = [
            (step(|s| s.words = Some(3)), None, 3, "stop"),
            (step(|s| s.words = Some(40)), None, 40, "stop"),
            (step(|s| s.words = Some(0)), None, 0, "stop"),
            (step(|s| s.chunks = Some(20)), None, 20, "stop"),
            (step(|s| s.chunks = Some(2)), None, 4, "stop"),
            (step(|_| {}), Some(2), 2, "length"),
            (step(|_| {}), Some(4), 4, "stop"),
            (step(|_| {}), Some(0), 0, "length"),
        ];
        for (step, max_tokens, words, finish_reason) in cases {
            let text = text("mock", "hello there", &step, max_tokens);
            assert_eq!((text.words, text.finish_reason()), (words, finish_reason), "{step:?} {max_tokens:?}");
            assert_eq!(text.text.split_whitespace().count(), words);
        }
        assert!(text("mock", "a", &step(|s| s.size = Some(5_000_000)), None).text.len() >= 5_000_000);
    }

    proptest! {
        #[test]
        fn pieces_join_to_the_text(prompt in "[a-zé ]{0,60}", words in 0_usize..50, count in 1_usize..60) {
            let text = text("mock", &prompt, &step(|s| s.words = Some(words)), None);
            let pieces = text.pieces(count);
            prop_assert_eq!(pieces.len(), count.min(words));
            prop_assert_eq!(pieces.iter().map(|(_, words)| words).sum::<usize>(), words);
            let mut from = 0;
            for (end, words) in pieces {
                prop_assert!(end > from);
                prop_assert_eq!(text.text[from..end].split_whitespace().count(), words);
                from = end;
            }
            prop_assert_eq!(from, text.text.len());
        }
    }
}
