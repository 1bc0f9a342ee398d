//! Streams, event by event.

use domain::Usage;
use serde_json::{Value, json};

use super::{types, written};
use crate::chat::{Block, Blocks, Delta, Dialect, Event, Finish, ProviderError, Reason, Start};

/// Events of an answer whose parts `fill` says.
fn events(reason: Reason, fill: impl FnOnce(&mut Blocks, &mut Vec<Event>)) -> Vec<Event> {
    let start = Start { id: Some("msg_01".into()), model: Some("claude".into()), created: None };
    let (mut blocks, mut out) = (Blocks::default(), vec![Event::Start(start)]);
    fill(&mut blocks, &mut out);
    blocks.finish(0, Finish::new(reason, "raw"), &mut out);
    out.push(Event::Usage(Usage { input: 3, output: 2, ..Usage::default() }));
    out.push(Event::End);
    out
}

fn call(name: &str) -> Block {
    Block::ToolCall { id: format!("call-{name}"), name: name.to_owned(), signature: None }
}

#[test]
fn text_goes_through_every_step() {
    let events = events(Reason::Stop, |blocks, out| {
        blocks.text(0, "Hel", out);
        blocks.text(0, "lo", out);
    });
    let stream = written(&events, true, r#"{"instructions":"x"}"#);
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(types(&stream), expected);
    let created = &stream[0]["response"];
    assert_eq!(
        (&created["id"], &created["status"], &created["output"]),
        (&json!("resp_id-1"), &json!("in_progress"), &json!([]))
    );
    let delta = json!({ "type": "response.output_text.delta", "sequence_number": 5, "item_id": "msg_01_0",
        "output_index": 0, "content_index": 0, "delta": "lo", "logprobs": [] });
    assert_eq!(stream[5], delta);
    let part = json!({ "type": "output_text", "text": "Hello", "annotations": [], "logprobs": [] });
    let item = json!({ "type": "message", "id": "msg_01_0", "status": "completed", "role": "assistant", "content": [part] });
    assert_eq!((&stream[6]["text"], &stream[7]["part"], &stream[8]["item"]), (&json!("Hello"), &part, &item));
    let response = &stream[9]["response"];
    assert_eq!(
        (&response["output"], &response["model"], &response["instructions"]),
        (&json!([item]), &json!("claude"), &json!("x"))
    );
    assert_eq!(response["usage"]["total_tokens"], 5);
}

#[test]
fn thoughts_are_a_summary_and_keep_their_seal() {
    let events = events(Reason::Stop, |blocks, out| {
        blocks.thinking(0, "h", out);
        blocks.thinking(0, "m", out);
        blocks.signature(0, "S1", out);
        blocks.signature(0, "S2", out);
        blocks.whole(0, Block::RedactedThinking { data: "D".into() }, out);
        blocks.text(0, "a", out);
    });
    let stream = written(&events, true, "{}");
    let expected = [
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_item.added",
    ];
    assert_eq!(types(&stream)[2..12], expected);
    let item = json!({ "type": "reasoning", "id": "rs_01_0", "encrypted_content": "thinking:S1S2",
        "summary": [{ "type": "summary_text", "text": "hm" }] });
    assert_eq!(stream[8]["item"], item);
    assert_eq!(stream[10]["item"]["encrypted_content"], "redacted:D");
    assert_eq!(stream.last().unwrap()["response"]["output"][0], item);
}

#[test]
fn calls_are_told_apart_and_late_pieces_find_them() {
    let events = events(Reason::ToolCalls, |blocks, out| {
        blocks.call(0, 0, || call("f"), "{\"a\":", out);
        blocks.call(0, 1, || call("g"), "{}", out);
        blocks.call(0, 0, || call("never"), "1}", out);
        blocks.call(0, 2, || call("h"), "", out);
    });
    let stream = written(&events, true, "{}");
    let done: Vec<_> = stream.iter().filter(|event| event["type"] == "response.output_item.done").collect();
    let seen: Vec<(&Value, &Value)> =
        done.iter().map(|e| (&e["item"]["name"], &e["item"]["arguments"])).collect();
    let expected = [("f", "{\"a\":1}"), ("g", "{}"), ("h", "{}")]
        .map(|(name, arguments)| (json!(name), json!(arguments)));
    let mut sorted: Vec<_> =
        seen.into_iter().map(|(name, arguments)| (name.clone(), arguments.clone())).collect();
    sorted.sort_by_key(|(name, _)| name.to_string());
    assert_eq!(sorted, expected);
    let output = &stream.last().unwrap()["response"]["output"];
    let item = json!({ "type": "function_call", "id": "fc_01_0", "status": "completed", "call_id": "call-f",
        "name": "f", "arguments": "{\"a\":1}" });
    assert_eq!((&output[0], output.as_array().unwrap().len()), (&item, 3));
    // Deltas make up the whole, the empty object of a call without arguments included.
    for index in 0..3 {
        let pieces = stream
            .iter()
            .filter(|e| e["type"] == "response.function_call_arguments.delta" && e["output_index"] == index);
        let whole: String = pieces.map(|event| event["delta"].as_str().unwrap()).collect();
        assert_eq!(whole, output[index]["arguments"].as_str().unwrap());
    }
}

#[test]
fn a_whole_call_is_done_as_soon_as_it_closes() {
    let open = |block, name: &str| Event::Open { choice: 0, block, what: call(name) };
    let arguments = Event::Delta { choice: 0, block: 0, delta: Delta::Arguments("{}".into()) };
    let events = [open(0, "f"), arguments, Event::Close { choice: 0, block: 0 }];
    let stream = written(&events, true, "{}");
    assert_eq!(types(&stream).last(), Some(&"response.output_item.done"));
}

#[test]
fn a_calls_seal_travels_beside_it() {
    let events = events(Reason::ToolCalls, |blocks, out| {
        blocks.call(0, 0, || call("f"), "{}", out);
        blocks.signature(0, "T", out);
    });
    let output = &written(&events, true, "{}").pop().unwrap()["response"]["output"];
    assert_eq!(output[1]["encrypted_content"], "call:[\"call-f\",\"T\"]");
    assert_eq!((&output[1]["type"], &output[1]["summary"]), (&json!("reasoning"), &json!([])));
}

#[test]
fn refusals_have_events_of_their_own() {
    let events = events(Reason::Refusal, |blocks, out| {
        blocks.text(0, "Well. ", out);
        blocks.refusal(0, "No.", out);
    });
    let stream = written(&events, true, "{}");
    let expected = [
        "response.content_part.added",
        "response.refusal.delta",
        "response.refusal.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(types(&stream)[7..], expected);
    let content = &stream[11]["item"]["content"];
    assert_eq!(content[1], json!({ "type": "refusal", "refusal": "No." }));
    assert_eq!(stream[9]["content_index"], 1);
}

#[test]
fn every_reason_has_its_status() {
    for (reason, status, why) in [
        (Reason::Stop, "completed", Value::Null),
        (Reason::StopSequence, "completed", Value::Null),
        (Reason::ToolCalls, "completed", Value::Null),
        (Reason::Pause, "completed", Value::Null),
        (Reason::Length, "incomplete", json!({ "reason": "max_output_tokens" })),
        (Reason::ContentFilter, "incomplete", json!({ "reason": "content_filter" })),
        (Reason::Refusal, "incomplete", json!({ "reason": "content_filter" })),
    ] {
        let stream = written(&events(reason, |blocks, out| blocks.text(0, "a", out)), true, "{}");
        let last = stream.last().unwrap();
        assert_eq!(last["type"], format!("response.{status}"));
        assert_eq!(
            (&last["response"]["status"], &last["response"]["incomplete_details"]),
            (&json!(status), &why)
        );
        let expected = if why.is_object() { "incomplete" } else { "completed" };
        assert_eq!(last["response"]["output"][0]["status"], expected, "{reason:?}");
    }
}

#[test]
fn an_error_ends_the_stream_in_both_forms() {
    let mut events = events(Reason::Stop, |blocks, out| blocks.text(0, "a", out));
    events.truncate(3);
    let error = ProviderError {
        message: "Overloaded".into(),
        kind: Some("overloaded_error".into()),
        ..ProviderError::default()
    };
    events.extend([Event::Error(error), Event::End]);
    let stream = written(&events, true, "{}");
    assert_eq!(types(&stream)[5..], ["error", "response.failed"]);
    let fields =
        json!({ "code": "overloaded_error", "message": "anthropic error: Overloaded", "param": null });
    let error = &stream[5];
    assert_eq!(
        json!({ "code": error["code"], "message": error["message"], "param": error["param"] }),
        fields
    );
    assert_eq!(error["error"]["type"], "overloaded_error");
    let response = &stream[6]["response"];
    assert_eq!(
        response["error"],
        json!({ "code": "overloaded_error", "message": "anthropic error: Overloaded" })
    );
    assert_eq!(
        (&response["status"], &response["output"][0]["status"]),
        (&json!("failed"), &json!("incomplete"))
    );
    // A stream that fails before it begins is one all the same.
    let stream =
        written(&[Event::Error(ProviderError { status: Some(429), ..ProviderError::default() })], true, "{}");
    assert_eq!(types(&stream), ["response.created", "response.in_progress", "error", "response.failed"]);
    assert_eq!(stream[2]["code"], "rate_limit_exceeded");
}

#[test]
fn citations_become_annotations() {
    let cited = [
        (
            json!({ "type": "url_citation", "url_citation": { "url": "u1", "title": "t", "start_index": 1, "end_index": 2 } }),
            Some(("u1", "t", 1, 2)),
        ),
        (
            json!({ "type": "web_search_result_location", "url": "u2", "title": null, "cited_text": "x" }),
            Some(("u2", "", 0, 2)),
        ),
        (json!({ "web": { "uri": "u3", "title": "w" } }), Some(("u3", "w", 0, 2))),
        (json!({ "type": "char_location", "document_title": "d" }), None),
    ];
    for strict in [true, false] {
        let events = events(Reason::Stop, |blocks, out| {
            blocks.text(0, "né", out);
            cited.iter().for_each(|(citation, _)| blocks.citation(0, citation.clone(), out));
        });
        let stream = written(&events, strict, "{}");
        let expected: Vec<Value> = cited.iter().filter_map(|(citation, expected)| match expected {
            Some((url, title, start, end)) => Some(json!({ "type": "url_citation", "url": url, "title": title, "start_index": start, "end_index": end })),
            None => (!strict).then(|| citation.clone()),
        }).collect();
        let added: Vec<&Value> = stream
            .iter()
            .filter(|event| event["type"] == "response.output_text.annotation.added")
            .map(|event| &event["annotation"])
            .collect();
        assert_eq!(added, expected.iter().collect::<Vec<_>>());
        assert_eq!(
            stream.last().unwrap()["response"]["output"][0]["content"][0]["annotations"],
            Value::Array(expected)
        );
    }
}

#[test]
fn probabilities_reach_their_text_whichever_comes_first() {
    let token = |token: &str| json!({ "content": [{ "token": token, "logprob": -0.5, "bytes": [97], "top_logprobs": [] }] });
    let events = events(Reason::Stop, |blocks, out| {
        out.push(Event::Logprobs { choice: 0, value: token("a") });
        blocks.text(0, "a", out);
        blocks.text(0, "b", out);
        out.push(Event::Logprobs { choice: 0, value: token("b") });
    });
    let stream = written(&events, true, "{}");
    let deltas: Vec<_> =
        stream.iter().filter(|event| event["type"] == "response.output_text.delta").collect();
    let seen: Vec<_> =
        deltas.iter().map(|event| (&event["delta"], event["logprobs"][0]["token"].as_str())).collect();
    assert_eq!(seen, [(&json!("a"), Some("a")), (&json!("b"), None), (&json!(""), Some("b"))]);
    let done = stream.iter().find(|event| event["type"] == "response.output_text.done").unwrap();
    assert_eq!(done["logprobs"].as_array().unwrap().len(), 2);
}

#[test]
fn pieces_wait_for_the_probabilities_that_were_asked_for() {
    let token = |token: &str| json!({ "content": [{ "token": token, "logprob": -0.5 }] });
    let events = events(Reason::Stop, |blocks, out| {
        for piece in ["a", "b"] {
            blocks.text(0, piece, out);
            out.push(Event::Logprobs { choice: 0, value: token(piece) });
        }
        blocks.text(0, "c", out);
    });
    for request in [r#"{"top_logprobs":1}"#, r#"{"include":["message.output_text.logprobs"]}"#] {
        let stream = written(&events, true, request);
        let deltas = stream.iter().filter(|event| event["type"] == "response.output_text.delta");
        let seen: Vec<_> = deltas
            .map(|event| (event["delta"].as_str().unwrap(), event["logprobs"][0]["token"].as_str()))
            .collect();
        assert_eq!(seen, [("a", Some("a")), ("b", Some("b")), ("c", None)]);
        let part = &stream.last().unwrap()["response"]["output"][0]["content"][0];
        assert_eq!((&part["text"], part["logprobs"].as_array().unwrap().len()), (&json!("abc"), 2));
    }
}

#[test]
fn blocks_of_other_dialects_are_hidden_from_strict_callers() {
    let value = json!({ "type": "server_tool_use", "id": "srv" });
    let native = Block::Native { dialect: Dialect::Anthropic, value: value.clone() };
    let events = events(Reason::StopSequence, |blocks, out| {
        blocks.whole(0, native, out);
        out.push(Event::Extra(
            json!({ "service_tier": "flex", "container": 1, "tools": 2 }).as_object().cloned().unwrap(),
        ));
    });
    let strict = written(&events, true, "{}").pop().unwrap();
    assert_eq!(
        strict["response"]["output"][0]["type"], "message",
        "an answer that says nothing is a message"
    );
    assert_eq!(
        (&strict["response"]["service_tier"], strict["response"].get("container")),
        (&json!("flex"), None)
    );
    let loose = written(&events, false, "{}").pop().unwrap();
    let item = json!({ "type": "native", "id": "nat_01_0", "dialect": "anthropic", "value": value });
    assert_eq!(loose["response"]["output"], json!([item]));
    assert_eq!(
        (&loose["response"]["container"], &loose["response"]["finish_reason"]),
        (&json!(1), &json!("raw"))
    );
    assert_eq!(loose["response"]["tools"], json!([]), "what the request says is not overwritten");
}

#[test]
fn several_answers_stand_side_by_side() {
    let mut out = vec![Event::Start(Start::default())];
    let mut blocks = Blocks::default();
    for piece in ["a", "b"] {
        blocks.text(0, piece, &mut out);
        blocks.text(1, piece, &mut out);
    }
    blocks.finish(0, Finish::new(Reason::Stop, "stop"), &mut out);
    blocks.finish(1, Finish::new(Reason::Length, "length"), &mut out);
    out.push(Event::End);
    let last = written(&out, true, "{}").pop().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    let output = last["response"]["output"].as_array().unwrap();
    let texts: Vec<_> = output.iter().map(|item| (&item["content"][0]["text"], &item["status"])).collect();
    assert_eq!(texts, [(&json!("ab"), &json!("completed")), (&json!("ab"), &json!("incomplete"))]);
}
