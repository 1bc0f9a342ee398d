//! Streams and answers that are forwarded as they are.

use domain::{ApiError, Usage};
use serde_json::json;

use super::super::{observer, told};
use super::parsed;
use crate::openai::{StreamEvent, Told};

fn event(value: serde_json::Value) -> Vec<u8> {
    format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap()).into_bytes()
}

fn counted() -> (serde_json::Value, Usage) {
    let usage = json!({ "input_tokens": 9, "output_tokens": 5, "total_tokens": 14,
        "input_tokens_details": { "cached_tokens": 4, "cache_write_tokens": 2 },
        "output_tokens_details": { "reasoning_tokens": 3 } });
    (usage, Usage { input: 9, output: 5, cached_input: 4, cache_write: 2, reasoning: 3, ..Usage::default() })
}

#[test]
fn a_whole_response_tells_its_model_and_usage() {
    let (usage, expected) = counted();
    let body = json!({ "object": "response", "status": "completed", "error": null, "model": "gpt-5", "usage": usage,
        "service_tier": "flex", "output": [
            { "type": "web_search_call", "action": { "type": "search", "query": "rust" } },
            { "type": "web_search_call", "action": { "type": "open_page", "url": "https://rust-lang.org" } },
            { "type": "web_search_call" },
            { "type": "message", "content": [{ "type": "output_text", "text": "web_search_call" }] },
        ] });
    let usage = Some(Usage { searches: 2, ..expected });
    let expected = Told { model: Some("gpt-5".into()), usage, tier: Some("flex".into()), region: None };
    assert_eq!(told(body.to_string().as_bytes()), Ok(expected));
    let queued = json!({ "status": "queued", "model": "gpt-5", "usage": null }).to_string();
    assert_eq!(told(queued.as_bytes()), Ok(Told { model: Some("gpt-5".into()), ..Told::default() }));
}

#[test]
fn errors_in_disguise_are_no_answers() {
    let failed = json!({ "status": "failed", "error": { "code": "server_error", "message": "secret" } });
    assert_eq!(
        told(failed.to_string().as_bytes()),
        Err("the answer has status 200 but holds an error: server_error".to_owned())
    );
    let error = json!({ "error": { "code": "key sk-1", "type": "oops" } }).to_string();
    assert!(told(error.as_bytes()).unwrap_err().ends_with(": oops"));
    assert!(told(b"<html>").unwrap_err().contains("line 1"));
}

#[test]
fn a_stream_tells_its_usage_at_its_end() {
    let (usage, expected) = counted();
    for end in ["response.completed", "response.incomplete"] {
        let mut observer = observer();
        let created = json!({ "type": "response.created", "sequence_number": 0,
            "response": { "status": "in_progress", "error": null, "model": "gpt-5", "usage": null, "service_tier": "auto" } });
        assert_eq!(observer.look(&event(created)), StreamEvent::Piece);
        let delta = json!({ "type": "response.output_text.delta", "sequence_number": 1,
            "delta": "the \"response\" and the \"error\"" });
        assert_eq!(observer.look(&event(delta)), StreamEvent::Piece);
        let last = json!({ "type": end, "sequence_number": 2, "response": { "model": "gpt-5-0", "usage": usage, "service_tier": "priority" } });
        let told = Told {
            model: Some("gpt-5-0".into()),
            usage: Some(expected),
            tier: Some("priority".into()),
            region: None,
        };
        assert_eq!(observer.look(&event(last)), StreamEvent::DoneWithUsage(told));
    }
}

#[test]
fn errors_in_a_stream_are_seen() {
    for (value, word) in [
        (
            json!({ "type": "error", "code": "rate_limit_exceeded", "message": "m", "param": null }),
            "rate_limit_exceeded",
        ),
        (
            json!({ "type": "error", "error": { "type": "too_many_requests", "code": null } }),
            "too_many_requests",
        ),
        (json!({ "type": "error", "message": "m" }), "error"),
        (
            json!({ "type": "response.failed", "response": { "error": { "code": "server_error" } } }),
            "server_error",
        ),
    ] {
        assert_eq!(observer().look(&event(value)), StreamEvent::Error(word.into()));
    }
    assert_eq!(observer().look(b"data: {\"type\":\n\n"), StreamEvent::Malformed("line 1, column 8".into()));
    assert_eq!(observer().look(b": comment\n\n"), StreamEvent::Piece);
    assert_eq!(observer().look(b"data: [DONE]\n\n"), StreamEvent::Done);
}

#[test]
fn an_error_of_ours_is_the_next_event() {
    let mut observer = observer();
    let mut stream = event(json!({ "type": "response.created", "sequence_number": 0, "response": {} }));
    stream.extend(event(json!({ "type": "response.output_text.delta", "sequence_number": 1, "delta": "a" })));
    for event in std::str::from_utf8(&stream).unwrap().split_inclusive("\n\n") {
        observer.look(event.as_bytes());
    }
    stream.extend(observer.error_event(&ApiError::new(502, "broken", "the answer broke off")));
    let last = parsed(&stream).pop().unwrap();
    assert_eq!(
        (&last["type"], &last["message"], &last["code"]),
        (&json!("error"), &json!("the answer broke off"), &json!("broken"))
    );
    assert_eq!(last["error"]["type"], "server_error");
}
