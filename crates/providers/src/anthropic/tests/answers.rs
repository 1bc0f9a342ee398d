//! Whole answers.

use domain::Usage;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{read_answer, read_error, told, write_answer};
use super::{ABOUT, citation, json_value, object, said, word};
use crate::chat::{About, Answer, Choice, Dialect, Finish, Part, PartKind, Reason};

/// Parts as answers of every provider have them.
pub(super) fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        (said(), prop::collection::vec(citation(), 0..2))
            .prop_map(|(text, citations)| PartKind::Text { text, citations }),
        (said(), prop::option::of(word()))
            .prop_map(|(text, signature)| PartKind::Thinking { text, signature }),
        word().prop_map(|data| PartKind::RedactedThinking { data }),
        (word(), word(), object(), prop::option::of(word())).prop_map(|(id, name, input, signature)| {
            PartKind::ToolCall { id, name, arguments: input.to_string(), signature }
        }),
        word().prop_map(|id| PartKind::Native {
            dialect: Dialect::Anthropic,
            value: json!({ "type": "server_tool_use", "id": id, "name": "web_search", "input": { "query": "x" } }),
        }),
    ]
    .prop_map(Part::new)
}

pub(super) fn usage() -> impl Strategy<Value = Usage> {
    (0_u64..9000, 0_u64..9000, 0_u64..9000, 1_u64..9000, 0_u64..9000).prop_map(
        |(plain, read, put, more, thought)| Usage {
            input: plain + read + put,
            output: thought + more,
            cached_input: read,
            cache_write: put,
            reasoning: thought,
            ..Usage::default()
        },
    )
}

fn answer(parts: Vec<Part>, reason: Reason) -> Answer {
    let finish = Finish { reason, raw: None, stop_sequence: None };
    Answer { choices: vec![Choice { index: 0, parts, finish, logprobs: None }], ..Answer::default() }
}

fn written(answer: &Answer) -> Value {
    serde_json::from_slice(&write_answer(answer, &ABOUT)).unwrap()
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (read_answer(&bytes), read_error(&bytes), told(&bytes));
    }

    #[test]
    fn no_json_makes_a_reader_panic(value in json_value()) {
        let bytes = value.to_string();
        let _ = (read_answer(bytes.as_bytes()), read_error(bytes.as_bytes()), told(bytes.as_bytes()));
        let message = json!({ "content": [value.clone()], "usage": value.clone(), "stop_reason": value });
        let answer = read_answer(message.to_string().as_bytes()).unwrap();
        let _ = write_answer(&answer, &ABOUT);
    }

    #[test]
    fn what_is_written_is_read_as_it_was(parts in prop::collection::vec(part(), 0..5), usage in usage()) {
        let answer = Answer { id: Some("msg_1".into()), model: Some("m".into()), usage: Some(usage),
                              ..answer(parts, Reason::Stop) };
        let mut read = read_answer(&write_answer(&answer, &ABOUT)).unwrap();
        prop_assert_eq!(read.choices[0].finish.raw.take(), Some("end_turn".to_owned()));
        prop_assert_eq!(read, answer);
    }
}

#[test]
fn another_providers_answer_is_told_in_this_dialect() {
    let mut answer = answer(
        vec![
            Part::new(PartKind::Refusal("No.".into())),
            Part::new(PartKind::ToolCall {
                id: "call_1".into(),
                name: "f".into(),
                arguments: "{\"a\":".into(),
                signature: None,
            }),
            Part::new(PartKind::Native { dialect: Dialect::OpenAi, value: json!({}) }),
        ],
        Reason::Stop,
    );
    answer.id = Some("chatcmpl-1".into());
    answer.extra = Map::from_iter([("citations".to_owned(), json!(["u"])), ("id".to_owned(), json!("x"))]);
    let expected = json!({
        "id": "msg_chatcmpl-1", "type": "message", "role": "assistant", "model": "m",
        "content": [
            { "type": "text", "text": "No." },
            { "type": "tool_use", "id": "call_1", "name": "f", "input": { "INVALID_JSON": "{\"a\":" } },
        ],
        "stop_reason": "refusal", "stop_sequence": null, "citations": ["u"],
        "usage": { "input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                   "output_tokens": 0 },
    });
    assert_eq!(written(&answer), expected);
    let strict = write_answer(&answer, &About { strict: true, ..ABOUT });
    assert_eq!(serde_json::from_slice::<Value>(&strict).unwrap().get("citations"), None);
}

#[test]
fn what_is_no_answer_says_why_and_quotes_nothing() {
    for (body, expected) in [
        ("<html>secret", "the answer is not JSON: line 1, column 1"),
        ("[]", "the answer is not an object"),
        (r#"{"secret":1}"#, "the answer has no list `content`"),
        (
            r#"{"type":"error","error":{"type":"api_error","message":"secret"}}"#,
            "the answer has status 200 but holds an error: api_error",
        ),
    ] {
        assert_eq!(read_answer(body.as_bytes()), Err(expected.to_owned()));
    }
}
