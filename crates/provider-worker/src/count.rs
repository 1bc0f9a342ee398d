//! Counting tokens where the provider reports none.
//!
//! OpenAI's tokenizer `o200k` counts the texts of the request and what came of the answer. For OpenAI's models since
//! GPT-4o the text is counted as they do, what is around it (roles, schemas of tools) nearly so. Other models have other
//! tokenizers: a test holds the estimate to between half and three times the words of English text; it is for budgets
//! and reports, not for bills. What is no text (images, sound, files) is not counted, nor is thinking that the caller is
//! not shown.

use bus::Bus;
use bytes::Bytes;
use domain::{Operation, Usage};
use providers::texts;

use crate::answer::{Answer, Made};
use crate::handle::Task;

/// Longest text that is counted whole, in bytes; of a longer one the beginning is, and the rest by its length.
const COUNTED: usize = 1024 * 1024;

/// Bytes that are counted together. The tokenizer's time grows with the square of the longest word. Each cut adds at
/// most one token.
const SLICE: usize = 1024;

/// What a chat's form adds to each message, and to the whole.
///
/// Source: "Counting tokens for chat completions API calls" in OpenAI's cookbook.
const PER_MESSAGE: u64 = 3;

/// Adds our own count to what came of a call, where the provider charged something and did not say how much.
pub(crate) async fn complete(bus: &Bus, task: &Task, made: Made) -> Made {
    let operation = task.envelope.operation;
    let Some((seen, broken)) = unreported(operation, &made) else { return made };
    let Ok(body) = bus.fetch(&task.envelope.body, task.body.clone()).await else { return made };
    let reported = made.told.usage;
    let count = move || {
        let output = tokens(&texts::of_answer(operation, &seen).text);
        match reported.filter(|_| broken) {
            // The beginning of a stream counts the prompt, its end would have counted the answer.
            Some(usage) => Usage { output: usage.output.max(output), ..usage },
            None => Usage { input: input(&body), output, ..reported.unwrap_or_default() },
        }
    };
    // The tables take a moment to load, and long texts to count.
    match tokio::task::spawn_blocking(count).await {
        Ok(usage) if Some(usage) != reported => {
            let told = providers::openai::Told { usage: Some(usage), ..made.told.clone() };
            Made { told, estimated: true, ..made }
        }
        _ => made,
    }
}

/// What was seen of an answer whose tokens are not known, and whether it broke off.
fn unreported(operation: Operation, made: &Made) -> Option<(Bytes, bool)> {
    if !texts::counts(operation) {
        return None;
    }
    let reported = made.told.usage.is_some_and(|usage| usage.total() > 0);
    match &made.answer {
        Answer::Complete(whole) => (!reported).then(|| (whole.body.clone(), false)),
        _ => made.seen.clone().map(|seen| (seen, reported)),
    }
}

/// Tokens of a request.
fn input(body: &[u8]) -> u64 {
    let texts = texts::of_request(body);
    let form = if texts.messages > 0 { PER_MESSAGE * (texts.messages + 1) } else { 0 };
    tokens(&texts.text) + form
}

/// Tokens of a text.
fn tokens(text: &str) -> u64 {
    if text.is_empty() {
        return 0;
    }
    let tokenizer = tiktoken_rs::o200k_base_singleton();
    let (mut count, mut at) = (0_u64, 0);
    while at < text.len().min(COUNTED) {
        let end = slice_end(text, at);
        count += tokenizer.count_ordinary(&text[at..end]) as u64;
        at = end;
    }
    let (whole, counted) = (text.len() as u128, at as u128);
    u64::try_from(u128::from(count) * whole / counted).unwrap_or(u64::MAX)
}

/// Where the slice that begins at `start` ends: before a space if there is one.
fn slice_end(text: &str, start: usize) -> usize {
    let rest = &text[start..];
    if rest.len() <= SLICE {
        return text.len();
    }
    let most = rest.floor_char_boundary(SLICE);
    let space = rest[..most].rfind(char::is_whitespace).filter(|at| *at > 0);
    start + space.unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use domain::ErrorClass;
    use providers::openai::Told;

    use super::*;
    use crate::answer::Whole;

    #[test]
    fn texts_are_counted_as_openai_does() {
        // Counts of OpenAI's own tokenizer page for o200k.
        for (text, expected) in [("", 0), ("hello world", 2), ("Hello, world!", 4), ("tokenization", 2)] {
            assert_eq!(tokens(text), expected, "{text}");
        }
        let body = br#"{"model":"m","messages":[{"role":"user","content":"hello world"}]}"#;
        // Two words, the end of their line, three for the message and three for the whole.
        assert_eq!(input(body), 2 + 1 + 3 + 3);
        assert_eq!(input(br#"{"input":"hello world"}"#), 3);
    }

    #[test]
    fn long_texts_are_counted_in_slices() {
        let one = "the quick brown fox jumps over the lazy dog and runs away ";
        let count = |times: usize| tokens(&one.repeat(times));
        let (once, often) = (count(1), count(1000));
        assert!((often as i64 - 1000 * (once as i64 - 1)).abs() <= 100, "{once} {often}");
        // More than is counted, and texts without a space.
        assert!((count(40_000) as i64 - 40 * often as i64).abs() < often as i64);
        let begun = std::time::Instant::now();
        assert!(tokens(&"a".repeat(100_000)) > 0);
        assert!(tokens(&"語".repeat(10_000)) >= 5000);
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    fn complete(usage: Option<Usage>) -> Made {
        let whole = Whole {
            status: 200,
            content_type: String::new(),
            headers: Default::default(),
            body: Bytes::from_static(b"{}"),
        };
        Made {
            answer: Answer::Complete(whole),
            told: Told { usage, ..Told::default() },
            ..Made::failure(200, ErrorClass::Broken, "")
        }
    }

    #[test]
    fn only_what_nobody_reported_is_counted() {
        let some = Some(Usage { input: 1, ..Usage::default() });
        let unreported = |operation, made: &Made| unreported(operation, made).map(|(_, broken)| broken);
        assert_eq!(unreported(Operation::Chat, &complete(some)), None);
        assert_eq!(unreported(Operation::Chat, &complete(None)), Some(false));
        assert_eq!(unreported(Operation::Chat, &complete(Some(Usage::default()))), Some(false));
        assert_eq!(unreported(Operation::Images, &complete(None)), None);
        let refused = Made::failure(429, ErrorClass::RateLimit, "");
        assert_eq!(unreported(Operation::Chat, &refused), None);
        let broken = |usage| Made {
            seen: Some(Bytes::new()),
            told: Told { usage, ..Told::default() },
            ..Made::failure(502, ErrorClass::Broken, "")
        };
        assert_eq!(unreported(Operation::Chat, &broken(None)), Some(false));
        assert_eq!(unreported(Operation::Messages, &broken(some)), Some(true));
    }
}
