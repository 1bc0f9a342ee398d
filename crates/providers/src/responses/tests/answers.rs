//! Whole answers, and responses without an answer.

use domain::Usage;
use serde_json::{Value, json};

use super::super::{Stage, own_error, read_request, request_id, response_id, write_answer, write_stage};
use super::about;
use crate::chat::{Answer, Choice, Finish, Part, PartKind, Reason, Source};

fn answer(parts: impl IntoIterator<Item = PartKind>, reason: Reason) -> Answer {
    let parts = parts.into_iter().map(Part::new).collect();
    let choice = Choice { index: 0, parts, finish: Finish::new(reason, "raw"), logprobs: None };
    let usage = Usage {
        input: 10,
        output: 5,
        cached_input: 4,
        cache_write: 3,
        reasoning: 2,
        audio_input: 1,
        ..Usage::default()
    };
    Answer { id: Some("chatcmpl-1".into()), choices: vec![choice], usage: Some(usage), ..Answer::default() }
}

fn written(answer: &Answer, strict: bool, request: &str) -> Value {
    serde_json::from_slice(&write_answer(answer, &about(strict), request.as_bytes())).unwrap()
}

fn text(text: &str) -> PartKind {
    Part::text(text).kind
}

fn call(arguments: &str, signature: Option<&str>) -> PartKind {
    let signature = signature.map(str::to_owned);
    PartKind::ToolCall { id: "call-1".into(), name: "f".into(), arguments: arguments.into(), signature }
}

#[test]
fn a_response_is_complete() {
    let response = written(&answer([text("hi")], Reason::Stop), true, r#"{"model":"x","user":"u"}"#);
    let expected = json!({
        "id": "resp_id-1", "object": "response", "created_at": 1_700_000_000, "status": "completed",
        "error": null, "incomplete_details": null, "model": "m",
        "output": [{
            "type": "message", "id": "msg_chatcmpl-1_0", "status": "completed", "role": "assistant",
            "content": [{ "type": "output_text", "text": "hi", "annotations": [], "logprobs": [] }],
        }],
        "service_tier": null, "provider": "anthropic",
        "usage": {
            "input_tokens": 10, "input_tokens_details": { "cached_tokens": 4, "cache_write_tokens": 3 },
            "output_tokens": 5, "output_tokens_details": { "reasoning_tokens": 2 }, "total_tokens": 15,
        },
        "background": false, "instructions": null, "max_output_tokens": null, "max_tool_calls": null,
        "metadata": {}, "parallel_tool_calls": true, "previous_response_id": null, "prompt_cache_key": null,
        "reasoning": { "effort": null, "summary": null }, "safety_identifier": null, "store": true,
        "temperature": 1.0, "text": { "format": { "type": "text" } }, "tool_choice": "auto", "tools": [],
        "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled", "user": "u",
    });
    assert_eq!(response, expected);
}

#[test]
fn what_was_said_comes_back_in_the_next_turn() {
    let said = [
        PartKind::Thinking { text: "hm".into(), signature: Some("S".into()) },
        PartKind::RedactedThinking { data: "D".into() },
        text("a"),
        PartKind::Refusal("no".into()),
        call("{\"x\":1}", Some("T")),
        PartKind::Native {
            dialect: crate::chat::Dialect::Anthropic,
            value: json!({ "type": "server_tool_use" }),
        },
    ];
    let response = written(&answer(said.clone(), Reason::ToolCalls), false, "{}");
    let body = json!({ "model": "m", "input": response["output"] });
    let request = read_request(body.to_string().as_bytes()).unwrap();
    let parts: Vec<PartKind> = request.messages[0].parts.iter().map(|part| part.kind.clone()).collect();
    assert_eq!((parts.as_slice(), request.messages.len()), (&said[..], 1));
    assert_eq!(request.dropped, Vec::<String>::new());
}

#[test]
fn a_call_that_was_cut_off_is_incomplete() {
    let output = |reason, arguments| {
        let response = written(&answer([call(arguments, None)], reason), true, "{}");
        (response["output"][0]["status"].clone(), response["output"][0]["arguments"].clone())
    };
    assert_eq!(output(Reason::Length, "{\"a"), (json!("incomplete"), json!("{\"a")));
    assert_eq!(output(Reason::Length, ""), (json!("incomplete"), json!("")));
    assert_eq!(output(Reason::Length, "{}"), (json!("completed"), json!("{}")));
    assert_eq!(output(Reason::ToolCalls, ""), (json!("completed"), json!("{}")));
}

#[test]
fn media_are_items_or_words() {
    let data = |media_type: &str| Source::Base64 { media_type: media_type.into(), data: "aGk=".into() };
    let parts = [
        PartKind::Image { source: data("image/png"), detail: None },
        PartKind::Image { source: Source::Url("https://example.com/a.png".into()), detail: None },
        PartKind::Audio { source: data("audio/wav") },
    ];
    let output = &written(&answer(parts, Reason::Stop), true, "{}")["output"];
    let image = json!({ "type": "image_generation_call", "id": "ig_chatcmpl-1_0", "status": "completed", "result": "aGk=" });
    assert_eq!(output[0], image);
    assert_eq!(output[1]["content"][0]["text"], "https://example.com/a.png");
    assert_eq!(output[1]["content"][1]["text"], "data:audio/wav;base64,aGk=");
}

#[test]
fn ids_that_do_not_fit_give_way() {
    for id in ["a b", "", &"x".repeat(60)] {
        let answer = Answer { id: Some(id.to_owned()), ..answer([text("a")], Reason::Stop) };
        assert_eq!(written(&answer, true, "{}")["output"][0]["id"], "msg_id-1_0");
    }
    assert_eq!(request_id(&response_id("id-1")), Some("id-1"));
    assert_eq!((request_id("resp_"), request_id("chatcmpl-1")), (None, None));
}

#[test]
fn counts_of_sound_are_not_openais() {
    let audio = |strict| {
        let response = written(&answer([text("a")], Reason::Stop), strict, "{}");
        response["usage"]["input_tokens_details"].get("audio_tokens").cloned()
    };
    assert_eq!((audio(true), audio(false)), (None, Some(json!(1))));
}

#[test]
fn what_is_not_answered_yet_can_be_polled() {
    let body = br#"{"background":true,"instructions":"x","previous_response_id":"resp_0"}"#;
    let failed = Stage::Failed { code: "server_error", message: "oops" };
    for (stage, status, error) in [
        (Stage::Queued, "queued", Value::Null),
        (Stage::InProgress, "in_progress", Value::Null),
        (Stage::Cancelled, "cancelled", Value::Null),
        (failed, "failed", json!({ "code": "server_error", "message": "oops" })),
    ] {
        let response: Value = serde_json::from_slice(&write_stage(stage, &about(true), body)).unwrap();
        assert_eq!((&response["status"], &response["error"]), (&json!(status), &error));
        assert_eq!((&response["id"], &response["output"]), (&json!("resp_id-1"), &json!([])));
        assert_eq!(
            (&response["background"], &response["previous_response_id"]),
            (&json!(true), &json!("resp_0"))
        );
    }
}

#[test]
fn our_errors_have_openais_shape() {
    let error = domain::ApiError::bad_request("input", "invalid_value", "`input` is empty");
    let body: Value = serde_json::from_slice(&own_error(&error)).unwrap();
    let fields = json!({ "message": "`input` is empty", "type": "invalid_request_error", "param": "input", "code": "invalid_value" });
    assert_eq!(body["error"], fields);
}
