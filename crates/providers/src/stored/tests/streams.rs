//! What streaming callers get, event by event.

use domain::Operation;
use serde_json::{Value, json};

use super::super::{as_stream, as_whole};
use super::events;

fn stream(operation: Operation, whole: &Value, include_usage: bool) -> Vec<Value> {
    events(&as_stream(operation, whole.to_string().as_bytes(), include_usage).unwrap())
}

#[test]
fn a_chat_comes_as_openai_sends_it() {
    let whole = json!({
        "id": "c", "object": "chat.completion", "created": 7, "model": "m", "system_fingerprint": "fp",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "ä".repeat(300), "refusal": null,
            "tool_calls": [{ "id": "t", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
            "logprobs": null, "finish_reason": "tool_calls" }],
        "usage": { "total_tokens": 3 },
    });
    let chunk = |choices: Value, usage: Value| {
        json!({
            "id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m", "system_fingerprint": "fp",
            "choices": choices, "usage": usage,
        })
    };
    let piece = |delta: Value, finish: Value| {
        let choice = json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }]);
        chunk(choice, Value::Null)
    };
    let call =
        json!({ "index": 0, "id": "t", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let expected = vec![
        piece(json!({ "role": "assistant", "content": "", "refusal": null }), Value::Null),
        piece(json!({ "content": "ä".repeat(256) }), Value::Null),
        piece(json!({ "content": "ä".repeat(44) }), Value::Null),
        piece(json!({ "tool_calls": [call] }), Value::Null),
        piece(json!({}), json!("tool_calls")),
        chunk(json!([]), json!({ "total_tokens": 3 })),
        json!("[DONE]"),
    ];
    assert_eq!(stream(Operation::Chat, &whole, true), expected);
    let uncounted = stream(Operation::Chat, &whole, false);
    assert_eq!(uncounted.len(), expected.len() - 1);
    assert!(uncounted.iter().all(|chunk| chunk.get("usage").is_none()));
}

#[test]
fn probabilities_come_with_their_text() {
    let tokens: Vec<Value> = (0..200).map(|n| json!({ "token": format!("{n} "), "logprob": -0.5 })).collect();
    let text: String = (0..200).map(|n| format!("{n} ")).collect();
    let logprobs = json!({ "content": tokens, "refusal": null });
    let whole = json!({ "choices": [{ "index": 0, "message": { "content": text }, "logprobs": logprobs, "finish_reason": "stop" }] });
    let mut count = 0;
    for chunk in stream(Operation::Chat, &whole, false) {
        let Some(tokens) = chunk["choices"][0]["logprobs"]["content"].as_array() else { continue };
        let text: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
        assert_eq!(chunk["choices"][0]["delta"]["content"], text);
        count += 1;
    }
    assert!(count > 2, "{count} pieces");
}

#[test]
fn a_message_comes_as_anthropic_sends_it() {
    let whole = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [
            { "type": "thinking", "thinking": "Hm", "signature": "s" },
            { "type": "text", "text": "Hi", "citations": [{ "url": "u" }] },
            { "type": "tool_use", "id": "t", "name": "f", "input": { "a": 1 } },
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": { "input_tokens": 3, "output_tokens": 5, "service_tier": "standard" },
    });
    let start = |index: u32, block: Value| json!({ "type": "content_block_start", "index": index, "content_block": block });
    let delta =
        |index: u32, delta: Value| json!({ "type": "content_block_delta", "index": index, "delta": delta });
    let stop = |index: u32| json!({ "type": "content_block_stop", "index": index });
    let expected = vec![
        json!({ "type": "message_start", "message": {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
            "stop_reason": null, "stop_sequence": null,
            "usage": { "input_tokens": 3, "output_tokens": 0, "service_tier": "standard" },
        } }),
        start(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
        delta(0, json!({ "type": "thinking_delta", "thinking": "Hm" })),
        delta(0, json!({ "type": "signature_delta", "signature": "s" })),
        stop(0),
        start(1, json!({ "type": "text", "text": "", "citations": [] })),
        delta(1, json!({ "type": "text_delta", "text": "Hi" })),
        delta(1, json!({ "type": "citations_delta", "citation": { "url": "u" } })),
        stop(1),
        start(2, json!({ "type": "tool_use", "id": "t", "name": "f", "input": {} })),
        delta(2, json!({ "type": "input_json_delta", "partial_json": "{\"a\":1}" })),
        stop(2),
        json!({
            "type": "message_delta", "delta": { "stop_reason": "tool_use", "stop_sequence": null },
            "usage": { "input_tokens": 3, "output_tokens": 5, "service_tier": "standard" },
        }),
        json!({ "type": "message_stop" }),
    ];
    assert_eq!(stream(Operation::Messages, &whole, false), expected);
}

#[test]
fn a_response_comes_as_openai_sends_it() {
    let part = json!({ "type": "output_text", "text": "Hi", "annotations": [{ "type": "url_citation" }] });
    let whole = json!({
        "id": "resp_1", "object": "response", "status": "completed",
        "output": [
            { "type": "reasoning", "id": "rs", "summary": [{ "type": "summary_text", "text": "Hm" }] },
            { "type": "message", "id": "msg", "status": "completed", "content": [part] },
            { "type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "{}" },
        ],
        "usage": { "input_tokens": 1 },
    });
    let events = stream(Operation::Responses, &whole, false);
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.annotation.added",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    assert_eq!(events[0]["response"]["status"], "in_progress");
    assert_eq!(
        (&events[0]["response"]["output"], &events[0]["response"]["usage"]),
        (&json!([]), &Value::Null)
    );
    assert_eq!(events[9]["part"], json!({ "type": "output_text", "text": "", "annotations": [] }));
    assert_eq!(
        events[10],
        json!({
            "type": "response.output_text.delta", "sequence_number": 10, "item_id": "msg", "output_index": 1,
            "content_index": 0, "delta": "Hi", "logprobs": [],
        })
    );
    assert_eq!(events[13]["part"], part);
    assert_eq!(events[19]["response"], whole);
}

#[test]
fn what_is_not_complete_has_no_other_form() {
    let none = |operation, whole: Value| {
        assert_eq!(as_stream(operation, whole.to_string().as_bytes(), true), None, "{whole}")
    };
    none(Operation::Chat, json!({ "choices": [{ "message": { "content": "a" }, "finish_reason": null }] }));
    none(Operation::Chat, json!({ "choices": [] }));
    let choice = json!({ "index": 0, "message": { "content": "a" }, "finish_reason": "stop" });
    none(Operation::Chat, json!({ "choices": [choice, choice] }));
    none(Operation::Chat, json!({ "error": {}, "choices": [{ "message": {}, "finish_reason": "stop" }] }));
    none(Operation::Messages, json!({ "content": [], "stop_reason": "end_turn" }));
    none(Operation::Messages, json!({ "content": [], "stop_reason": null, "usage": {} }));
    none(Operation::Responses, json!({ "status": "failed", "output": [] }));
    none(Operation::Responses, json!({ "status": "queued", "output": [] }));
    none(Operation::Embeddings, json!({ "data": [1] }));
    assert_eq!(as_stream(Operation::Chat, b"plain", true), None);
}

#[track_caller]
fn whole(operation: Operation, events: &[Value]) -> Option<Value> {
    let stream: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let stream = stream.replace("\"[DONE]\"", "[DONE]");
    as_whole(operation, stream.as_bytes()).map(|whole| serde_json::from_slice(&whole).unwrap())
}

#[test]
fn calls_in_pieces_are_put_together() {
    let piece =
        |calls: Value| json!({ "id": "c", "choices": [{ "index": 0, "delta": { "tool_calls": calls } }] });
    let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] });
    let answer = whole(
        Operation::Chat,
        &[
            piece(json!([{ "index": 1, "id": "b", "function": { "name": "g", "arguments": "" } }])),
            piece(
                json!([{ "index": 0, "id": "a", "type": "function", "function": { "name": "f", "arguments": "{" } }, { "index": 0, "function": { "arguments": "}" } }]),
            ),
            // A name that is left empty stays.
            piece(json!([{ "index": 1, "id": "", "function": { "name": "", "arguments": "{\"x\":1}" } }])),
            // All with the same number.
            piece(json!([{ "index": 1, "id": "d", "function": { "name": "h", "arguments": "{}" } }])),
            end.clone(),
            json!("[DONE]"),
        ],
    );
    let call = |id: &str, name: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    let message = &answer.unwrap()["choices"][0]["message"];
    assert_eq!(
        message["tool_calls"],
        json!([call("a", "f", "{}"), call("b", "g", "{\"x\":1}"), call("d", "h", "{}")])
    );
    // It cannot be known which call this is of.
    let nameless = piece(json!([{ "function": { "arguments": "{}" } }]));
    assert_eq!(whole(Operation::Chat, &[nameless, end, json!("[DONE]")]), None);
}

#[test]
fn errors_and_gaps_are_no_answers() {
    let chunk = json!({ "choices": [{ "index": 0, "delta": { "content": "a" }, "finish_reason": "stop" }] });
    let done = json!("[DONE]");
    assert!(whole(Operation::Chat, &[chunk.clone(), done.clone()]).is_some());
    assert_eq!(whole(Operation::Chat, std::slice::from_ref(&chunk)), None);
    assert_eq!(
        whole(Operation::Chat, &[chunk.clone(), json!({ "error": { "message": "no" } }), done.clone()]),
        None
    );
    let open = json!({ "choices": [{ "index": 1, "delta": { "content": "a" } }] });
    assert_eq!(whole(Operation::Chat, &[chunk, open, done.clone()]), None);
    assert_eq!(whole(Operation::Chat, &[done]), None);
    let start = json!({ "type": "message_start", "message": { "content": [], "usage": {} } });
    let block = |index: u32| json!({ "type": "content_block_start", "index": index, "content_block": { "type": "text", "text": "" } });
    let piece = |kind: &str| json!({ "type": "content_block_delta", "index": 0, "delta": { "type": kind, "text": "a", "partial_json": "{" } });
    let stop = json!({ "type": "content_block_stop", "index": 0 });
    let end = [
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" } }),
        json!({ "type": "message_stop" }),
    ];
    let message = |events: &[Value]| whole(Operation::Messages, &[events, &end].concat());
    assert!(
        message(&[start.clone(), json!({ "type": "ping" }), block(0), piece("text_delta"), stop.clone()])
            .is_some()
    );
    assert_eq!(message(&[start.clone(), block(0), piece("text_delta")]), None);
    assert_eq!(message(&[start.clone(), block(1)]), None);
    assert_eq!(message(&[start.clone(), piece("text_delta")]), None);
    assert_eq!(message(&[start.clone(), block(0), piece("new_delta"), stop.clone()]), None);
    assert_eq!(message(&[start.clone(), block(0), piece("input_json_delta"), stop.clone()]), None);
    assert_eq!(message(&[start, json!({ "type": "error", "error": {} })]), None);
    let response = |status: &str| json!({ "type": format!("response.{status}"), "response": { "status": status, "output": [] } });
    let item =
        json!({ "type": "response.output_item.done", "output_index": 0, "item": { "type": "message" } });
    assert_eq!(
        whole(Operation::Responses, &[item, response("completed")]).unwrap()["output"],
        json!([{ "type": "message" }])
    );
    assert_eq!(whole(Operation::Responses, &[response("failed")]), None);
    assert_eq!(whole(Operation::Responses, &[response("created")]), None);
}
