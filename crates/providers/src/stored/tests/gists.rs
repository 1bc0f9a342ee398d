//! What may be stored, and what it cost.

use bytes::Bytes;
use domain::Operation;
use domain::model::NanoUsd;
use serde_json::{Value, json};

use super::super::{Finish, Gist, as_stream, gist, with_cost_shown};

#[track_caller]
fn check(operation: Operation, whole: Value, expected: Option<(Finish, bool, bool, usize)>) {
    let expected = expected.map(|(finish, tool_calls, refused, text_bytes)| Gist {
        finish,
        tool_calls,
        refused,
        text_bytes,
    });
    let body = whole.to_string();
    assert_eq!(gist(operation, "application/json; charset=utf-8", body.as_bytes()), expected, "{whole}");
    if let Some(stream) = as_stream(operation, body.as_bytes(), true) {
        assert_eq!(gist(operation, "text/event-stream", &stream), expected, "{whole}");
    }
    assert_eq!(gist(operation, "text/plain", body.as_bytes()), None);
}

#[test]
fn of_several_choices_the_worst_counts() {
    let choice = |index: u32, text: &str, reason: &str| json!({ "index": index, "message": { "role": "assistant", "content": text }, "finish_reason": reason });
    let chat = |choices: Value| json!({ "id": "a", "choices": choices });
    let stop = |text| choice(0, text, "stop");
    check(Operation::Chat, chat(json!([stop("hä")])), Some((Finish::Stop, false, false, 3)));
    check(
        Operation::Chat,
        chat(json!([stop("a"), choice(1, "bc", "length")])),
        Some((Finish::Length, false, false, 3)),
    );
    check(
        Operation::Chat,
        chat(json!([choice(0, "a", "content_filter"), choice(1, "bc", "length")])),
        Some((Finish::ContentFilter, false, false, 3)),
    );
    check(
        Operation::Chat,
        chat(json!([choice(0, "", "insufficient_system_resource"), choice(1, "", "SAFETY")])),
        Some((Finish::Other("insufficient_system_resource".into()), false, false, 0)),
    );
    check(
        Operation::Chat,
        chat(json!([choice(0, "a", "MAX_TOKENS")])),
        Some((Finish::Length, false, false, 1)),
    );
    check(Operation::Chat, chat(json!([])), None);
    check(
        Operation::Chat,
        chat(json!([{ "index": 0, "message": { "content": "a" }, "finish_reason": null }])),
        None,
    );
    check(Operation::Chat, json!({ "error": { "message": "no" }, "choices": [stop("a")] }), None);
    check(
        Operation::Completions,
        json!({ "choices": [{ "index": 0, "text": "abc", "finish_reason": "stop" }] }),
        Some((Finish::Stop, false, false, 3)),
    );
}

#[test]
fn calls_and_refusals_are_seen() {
    let chat = |message: Value, reason: &str| json!({ "choices": [{ "index": 0, "message": message, "finish_reason": reason }] });
    let call = json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    // A forced call ends with `stop`.
    check(
        Operation::Chat,
        chat(json!({ "content": null, "tool_calls": [call] }), "stop"),
        Some((Finish::ToolCalls, true, false, 0)),
    );
    check(
        Operation::Chat,
        chat(json!({ "function_call": { "name": "f", "arguments": "{}" } }), "function_call"),
        Some((Finish::ToolCalls, true, false, 0)),
    );
    check(
        Operation::Chat,
        chat(json!({ "content": null, "refusal": "No." }), "stop"),
        Some((Finish::Stop, false, true, 0)),
    );
    let message =
        |content: Value, reason: &str| json!({ "content": content, "stop_reason": reason, "usage": {} });
    check(
        Operation::Messages,
        message(json!([{ "type": "text", "text": "abc" }]), "end_turn"),
        Some((Finish::Stop, false, false, 3)),
    );
    check(
        Operation::Messages,
        message(json!([{ "type": "server_tool_use", "input": {} }]), "pause_turn"),
        Some((Finish::Other("pause_turn".into()), false, false, 0)),
    );
    check(
        Operation::Messages,
        message(json!([{ "type": "tool_use", "input": { "a": 1 } }]), "tool_use"),
        Some((Finish::ToolCalls, true, false, 0)),
    );
    check(Operation::Messages, message(json!([]), "refusal"), Some((Finish::ContentFilter, false, true, 0)));
    check(Operation::Messages, json!({ "type": "error", "error": { "type": "overloaded_error" } }), None);
    let response = |output: Value, status: &str, why: Value| json!({ "status": status, "error": null, "output": output, "incomplete_details": why });
    let said = json!([{ "type": "message", "content": [{ "type": "output_text", "text": "abcd" }] }]);
    check(
        Operation::Responses,
        response(said.clone(), "completed", Value::Null),
        Some((Finish::Stop, false, false, 4)),
    );
    check(
        Operation::Responses,
        response(said.clone(), "incomplete", json!({ "reason": "max_output_tokens" })),
        Some((Finish::Length, false, false, 4)),
    );
    check(
        Operation::Responses,
        response(said, "in_progress", Value::Null),
        Some((Finish::Other("in_progress".into()), false, false, 4)),
    );
    check(
        Operation::Responses,
        response(json!([{ "type": "function_call", "arguments": "{}" }]), "completed", Value::Null),
        Some((Finish::ToolCalls, true, false, 0)),
    );
    check(
        Operation::Responses,
        response(
            json!([{ "type": "message", "content": [{ "type": "refusal", "refusal": "No." }] }]),
            "completed",
            Value::Null,
        ),
        Some((Finish::Stop, false, true, 0)),
    );
}

#[test]
fn what_is_no_text_has_its_payload() {
    let stop = Some((Finish::Stop, false, false, 0));
    check(Operation::Embeddings, json!({ "data": [{ "embedding": [0.5] }] }), stop.clone());
    check(Operation::Embeddings, json!({ "data": [] }), None);
    check(Operation::Embeddings, json!({ "data": [1], "error": "e" }), None);
    check(Operation::Images, json!({ "data": [{ "url": "https://a/b.png" }] }), stop.clone());
    check(Operation::Rerank, json!({ "results": [{ "index": 0 }] }), stop.clone());
    check(Operation::Moderations, json!({ "results": [{ "flagged": false }] }), stop.clone());
    check(Operation::CountTokens, json!({ "input_tokens": 3 }), stop);
    check(Operation::CountTokens, json!({}), None);
    check(Operation::Passthrough, json!({ "data": [1] }), None);
}

#[track_caller]
fn free(body: &str, expected: &str) {
    let shown = with_cost_shown(&Bytes::copy_from_slice(body.as_bytes()), NanoUsd(0));
    assert_eq!(std::str::from_utf8(&shown).unwrap(), expected);
}

#[test]
fn a_cost_that_is_shown_is_set() {
    free(
        r#"{"usage":{"a":1.50,"estimated_cost":0.0035},"x":1e2}"#,
        r#"{"usage":{"a":1.50,"estimated_cost":0},"x":1e2}"#,
    );
    let others =
        r#"{"content":[{"input":{"estimated_cost":7}}],"usage":{"a":1},"text":"\"estimated_cost\":1"}"#;
    free(others, others);
    free("plain \"estimated_cost\":1", "plain \"estimated_cost\":1");
    free(
        "data: {\"choices\":[]}\n\ndata: {\"usage\":{\"estimated_cost\": 1.5 }}\n\ndata: [DONE]\n\n",
        "data: {\"choices\":[]}\n\ndata: {\"usage\":{\"estimated_cost\": 0 }}\n\ndata: [DONE]\n\n",
    );
    free(
        "event: response.completed\ndata: {\"response\":{\"usage\":{\"estimated_cost\":1}}}\n\n",
        "event: response.completed\ndata: {\"response\":{\"usage\":{\"estimated_cost\":0}}}\n\n",
    );
}

/// What `show` puts into an answer is what is found here, also after a change of form.
#[test]
fn a_cost_is_set_wherever_one_is_put() {
    let whole = json!({ "id": "m", "content": [{ "type": "text", "text": "a" }], "stop_reason": "end_turn", "usage": { "output_tokens": 1 } });
    let shown = crate::show::in_answer(whole.to_string().as_bytes(), NanoUsd(3_500_000)).unwrap();
    let stream = as_stream(Operation::Messages, &shown, true).unwrap();
    for body in [Bytes::from(shown), stream] {
        let text = String::from_utf8(with_cost_shown(&body, NanoUsd(0)).to_vec()).unwrap();
        assert_eq!(text.matches("\"estimated_cost\":0}").count(), 1, "{text}");
        assert!(!text.contains("0.0035"), "{text}");
    }
}
