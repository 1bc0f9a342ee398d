//! What a request asks.

use domain::Operation;
use serde_json::{Value, json};

use super::super::{canonical, question, same_request};
use super::map;

#[track_caller]
fn asks(operation: Operation, body: Value, expected: Option<(&str, Value)>) {
    let found = question(operation, map(&body)).map(|question| (question.text, canonical(&question.rest)));
    assert_eq!(found, expected.map(|(text, rest)| (text, canonical(&rest))), "{body}");
}

#[test]
fn the_last_thing_the_user_says_is_the_question() {
    let turns = |content: Value| json!([{ "role": "system", "content": "S" }, { "role": "user", "content": content }]);
    for operation in [Operation::Chat, Operation::Messages] {
        asks(
            operation,
            json!({ "model": "m", "messages": turns(json!("Q?")), "stream": true }),
            Some(("Q?", json!({ "model": "m", "messages": turns(Value::Null) }))),
        );
        let picture = json!({ "type": "image_url", "image_url": { "url": "https://a/b.png" } });
        let parts = |text: Value| json!([picture, { "type": "text", "text": text, "cache_control": { "type": "ephemeral" } }]);
        asks(
            operation,
            json!({ "messages": turns(parts(json!("Q?"))) }),
            Some(("Q?", json!({ "messages": turns(parts(Value::Null)) }))),
        );
        let several = json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }]);
        asks(operation, json!({ "messages": turns(several) }), None);
        asks(operation, json!({ "messages": turns(json!(" \n")) }), None);
        asks(operation, json!({ "messages": turns(json!([picture])) }), None);
        asks(operation, json!({ "messages": turns(Value::Null) }), None);
        asks(
            operation,
            json!({ "messages": [{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b" }] }),
            None,
        );
        asks(operation, json!({ "messages": [] }), None);
        asks(operation, json!({ "prompt": "a" }), None);
    }
}

#[test]
fn responses_and_completions_have_theirs() {
    asks(
        Operation::Responses,
        json!({ "input": "Q?", "instructions": "i" }),
        Some(("Q?", json!({ "input": null, "instructions": "i" }))),
    );
    let items = |text: Value| json!([{ "type": "reasoning", "summary": [] }, { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": text }] }]);
    asks(
        Operation::Responses,
        json!({ "input": items(json!("Q?")) }),
        Some(("Q?", json!({ "input": items(Value::Null) }))),
    );
    asks(
        Operation::Responses,
        json!({ "input": [{ "role": "user", "content": "Q?" }] }),
        Some(("Q?", json!({ "input": [{ "role": "user", "content": null }] }))),
    );
    asks(Operation::Responses, json!({ "input": [{ "type": "function_call_output", "output": "1" }] }), None);
    asks(
        Operation::Completions,
        json!({ "prompt": "Q?", "suffix": "s" }),
        Some(("Q?", json!({ "prompt": null, "suffix": "s" }))),
    );
    asks(Operation::Completions, json!({ "prompt": ["Q?"] }), None);
    asks(Operation::Embeddings, json!({ "input": "Q?" }), None);
}

#[test]
fn the_same_request_is_written_in_one_way() {
    let body = json!({ "stream": true, "b": [2.0, 1, -0.0, -3.0, 0.5, 1e300], "stream_options": {}, "a": { "stream": 1, "d": 18446744073709551615_u64, "c": 9007199254740993_i64 } });
    let expected =
        r#"{"a":{"c":9007199254740993,"d":18446744073709551615,"stream":1},"b":[2,1,0,-3,0.5,1e+300]}"#;
    assert_eq!(canonical(&same_request(map(&body))), expected);
}
