//! Deterministic texts: a sentence that echoes the prompt, cut where the request or the script wants it.

use serde::Serialize;

use crate::script::Step;

/// The same answer at any time of any day.
pub(crate) const CREATED: u64 = 1_700_000_000;

/// How much of a prompt is echoed: words, and characters of each.
const ECHOED_WORDS: usize = 64;
const ECHOED_CHARS: usize = 32;

/// Bytes of JSON that leave together, unless the script says how many chunks there are.
const JSON_PIECE: usize = 12;

/// What answers are filled with when they must be longer than the echo.
const FILLER: [&str; 16] = [
    "harbour", "lantern", "meadow", "copper", "willow", "signal", "amber", "river", "orchard", "granite",
    "feather", "compass", "thunder", "velvet", "island", "maple",
];

/// What was generated for one block of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) words: usize,
    pub(crate) ended: Ended,
    json: bool,
}

/// Why a text is no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All is said.
    Whole,
    /// The request allows no more tokens.
    Length,
    /// A stop sequence came up.
    Stop(String),
}

/// Where a text has to end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits<'l> {
    pub(crate) max_tokens: Option<usize>,
    pub(crate) stop: &'l [String],
}

impl Text {
    /// The sentence for one prompt: the model's name, a verb, an echo of the prompt, then filler as the script
    /// demands.
    pub(crate) fn sentence(base: &str, verb: &str, prompt: &str, step: &Step, limits: Limits<'_>) -> Self {
        let echoed = prompt.split_whitespace().take(ECHOED_WORDS);
        let mut echo = base.split_whitespace().take(1).chain(std::iter::once(verb)).chain(echoed);
        let seed = hash(hash(0, base.as_bytes()), prompt.as_bytes());
        let (size, least) = (step.size.unwrap_or(0), step.chunks.unwrap_or(0));
        let mut text = Self::empty(size.max(128));
        loop {
            let word = echo.next();
            let enough = match step.words {
                Some(words) => text.words >= words,
                None => text.words >= least && word.is_none(),
            };
            if enough && text.text.len() >= size {
                return text.stopped(limits.stop);
            }
            if limits.max_tokens.is_some_and(|max| text.words >= max) {
                text.ended = Ended::Length;
                return text.stopped(limits.stop);
            }
            if text.words > 0 {
                text.text.push(' ');
            }
            match word {
                Some(word) => text.text.extend(word.chars().take(ECHOED_CHARS)),
                None => text.text.push_str(filler(seed, text.words)),
            }
            text.words += 1;
        }
    }

    /// Generated JSON. Its tokens are words, too, and there is at least one.
    pub(crate) fn json(json: &serde_json::Value, limits: Limits<'_>) -> Self {
        let mut text = Self { text: json.to_string(), json: true, ..Self::empty(0) };
        text.words = count_words(&text.text).max(1);
        if let Some(max) = limits.max_tokens.filter(|max| *max < text.words) {
            let words = text.text.split_inclusive(char::is_whitespace).take(max);
            text.text = words.collect::<String>().trim_end().to_owned();
            (text.words, text.ended) = (max, Ended::Length);
        }
        text.stopped(limits.stop)
    }

    fn empty(capacity: usize) -> Self {
        Self { text: String::with_capacity(capacity), words: 0, ended: Ended::Whole, json: false }
    }

    /// Ends before the first stop sequence.
    fn stopped(mut self, stop: &[String]) -> Self {
        let found = stop.iter().filter(|stop| !stop.is_empty());
        let found = found.filter_map(|stop| self.text.find(stop.as_str()).map(|at| (at, stop)));
        if let Some((at, stop)) = found.min_by_key(|(at, _)| *at) {
            self.text.truncate(at);
            self.text.truncate(self.text.trim_end().len());
            self.words = count_words(&self.text);
            self.ended = Ended::Stop(stop.clone());
        }
        self
    }

    /// What finished it, in OpenAI's words.
    pub(crate) fn finish_reason(&self) -> &'static str {
        if self.ended == Ended::Length { "length" } else { "stop" }
    }

    /// Cuts the text into at most `most` pieces: the end and the number of words of each. Sentences are cut
    /// between words, JSON anywhere.
    pub(crate) fn pieces(&self, most: usize) -> Vec<(usize, usize)> {
        if self.json { self.anywhere(most) } else { self.between_words(most) }
    }

    fn between_words(&self, most: usize) -> Vec<(usize, usize)> {
        let count = most.min(self.words);
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

    fn anywhere(&self, most: usize) -> Vec<(usize, usize)> {
        let count = most.min(self.text.len().div_ceil(JSON_PIECE));
        let mut pieces = Vec::with_capacity(count);
        let (mut from, mut taken) = (0, 0);
        for piece in 1..=count {
            let mut end = piece * self.text.len() / count;
            while !self.text.is_char_boundary(end) {
                end += 1;
            }
            let upto = piece * self.words / count;
            if end > from {
                pieces.push((end, upto - taken));
                (from, taken) = (end, upto);
            }
        }
        pieces
    }
}

/// Whitespace-separated words: what the mock bills as tokens.
pub(crate) fn count_words(text: &str) -> usize {
    text.split_whitespace().count()
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

fn filler(seed: u64, position: usize) -> &'static str {
    let drawn = mix(seed.wrapping_add(position as u64)) % FILLER.len() as u64;
    FILLER[usize::try_from(drawn).unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn step(change: impl FnOnce(&mut Step)) -> Step {
        let mut step = Step::default();
        change(&mut step);
        step
    }

    fn text(base: &str, prompt: &str, step: &Step, max_tokens: Option<usize>) -> Text {
        Text::sentence(base, "heard:", prompt, step, Limits { max_tokens, stop: &[] })
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

    #[test]
    fn stop_sequences_cut_before_the_first_that_comes_up() {
        let stop = ["there".to_owned(), "heard".to_owned(), String::new()];
        let limits = Limits { max_tokens: None, stop: &stop };
        let text = Text::sentence("mock", "heard:", "hello there", &Step::default(), limits);
        assert_eq!(
            (text.text.as_str(), text.words, text.ended),
            ("mock", 1, Ended::Stop("heard".to_owned()))
        );
    }

    #[test]
    fn json_is_cut_anywhere_and_counts_its_words() {
        let value = json!({"city": "São Paulo in the south", "unit": "celsius"});
        let text = Text::json(&value, Limits::default());
        assert_eq!(text.words, 5);
        let pieces = text.pieces(256);
        assert!(pieces.len() > 3, "{pieces:?}");
        assert_eq!(pieces.last().map(|(end, _)| *end), Some(text.text.len()));
        assert_eq!(pieces.iter().map(|(_, words)| words).sum::<usize>(), 5);
        let short = Text::json(&value, Limits { max_tokens: Some(2), stop: &[] });
        assert_eq!(
            (short.text.as_str(), short.words, short.ended),
            ("{\"city\":\"São Paulo", 2, Ended::Length)
        );
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
