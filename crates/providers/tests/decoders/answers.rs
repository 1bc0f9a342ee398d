//! Whole answers of providers, and what callers get of them.

use domain::Operation;
use domain::registry::Format;
use providers::{anthropic, bedrock, embeddings, failure, gemini, openai, refusal, rerank, translation};
use serde_json::Value;

use super::{CHATS, about, most};

/// An answer in this format is refused with a reason, or every dialect writes it, and what is written is an answer.
pub(super) fn chat(format: Format, body: &[u8]) {
    let answer = match (translation::wire(format).read_answer)(body) {
        Ok(answer) => answer,
        Err(why) => return reason(&why),
    };
    for operation in CHATS {
        let dialect = translation::dialect(operation).expect("chats have a dialect");
        for strict in [true, false] {
            let written = (dialect.write_answer)(&answer, &about(strict), b"{}");
            json(&written, body.len());
            let told = (dialect.told)(&written)
                .unwrap_or_else(|why| panic!("{why} in {}", String::from_utf8_lossy(&written)));
            assert_eq!(told.usage.is_some(), answer.usage.is_some() || operation == Operation::Messages);
            let read = match operation {
                Operation::Chat => openai::read_answer(&written),
                Operation::Messages => anthropic::read_answer(&written),
                _ => continue,
            };
            read.expect("we understand what we write");
        }
    }
}

/// Vectors in every shape.
pub(super) fn embeddings(body: &[u8]) {
    let mut all = vec![
        gemini::embeddings::read_answer(body),
        gemini::embeddings::read_vertex_answer(body),
        bedrock::embeddings::read_answer(body),
    ];
    all.extend(embeddings::shapes().filter_map(embeddings::shape).map(|shape| shape.read_answer(body)));
    for answer in all {
        match answer {
            Ok(answer) => {
                for base64 in [true, false] {
                    json(&embeddings::openai::write_answer(&answer, base64, &about(true)), body.len());
                }
            }
            Err(why) => reason(&why),
        }
    }
    if let Err(why) = gemini::read_count(body) {
        reason(&why);
    }
}

/// Documents in order, in every shape.
pub(super) fn rerank(body: &[u8]) {
    for shape in rerank::shapes().filter_map(rerank::shape) {
        match shape.read_answer(body) {
            Ok(answer) => json(&rerank::write_answer(&answer, &about(true)), body.len()),
            Err(why) => reason(&why),
        }
    }
}

/// Whatever a provider says went wrong can be told in every dialect.
pub(super) fn error(body: &[u8]) {
    for format in Format::ALL.iter().copied() {
        let error = translation::read_error(format, body);
        for operation in CHATS {
            json(&translation::write_error(operation, &error, 500, "acme"), body.len());
        }
    }
    json(&failure::told("acme", body), body.len());
    assert!(refusal::code(body).is_none_or(|code| code.len() <= 64), "a code is a word");
    for operation in CHATS {
        let dialect = translation::dialect(operation).expect("chats have a dialect");
        if let Err(why) = (dialect.told)(body) {
            reason(&why);
        }
    }
}

fn json(written: &[u8], input: usize) {
    let value: Value = serde_json::from_slice(written).expect("what callers get is JSON");
    assert!(value.is_object(), "what callers get is an object");
    assert!(written.len() <= most(input), "{} bytes from {input}", written.len());
}

/// Reasons are for logs: they are short, which what they would quote is not.
fn reason(why: &str) {
    assert!((1..=512).contains(&why.len()), "{why}");
}
