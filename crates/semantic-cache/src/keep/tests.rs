//! Which answers are kept.

use std::time::Duration;

use domain::cache::{LARGEST_ANSWER, Ticket};
use domain::model::NanoUsd;
use domain::{Attempt, Operation, RequestId, Usage, Workspace};
use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn ticket() -> Ticket {
    Ticket {
        key: "key".to_owned(),
        partition: "partition".to_owned(),
        text: Some("What is NATS?".to_owned()),
        namespace: None,
        tags: vec!["docs".to_owned()],
        max_age: Duration::from_secs(60),
        tool_calls: false,
    }
}

fn chat(finish: &str, message: Value) -> Value {
    json!({
        "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    })
}

fn said(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

/// An outcome with this answer, offered to the cache.
fn outcome(answer: &[u8]) -> Outcome {
    let attempt = Attempt {
        status: Some(200),
        model: Some("m".to_owned()),
        model_answered: Some("m-2026".to_owned()),
        usage: Some(Usage { input: 3, output: 5, ..Usage::default() }),
        cost: Some(NanoUsd(700)),
        ..Attempt::new(2, "config", "mock", NOW, NOW)
    };
    let failed = Attempt::new(1, "config", "other", NOW, NOW);
    let record = json!({
        "request": "r1", "workspace": Workspace::default(), "operation": "chat", "lane": "interactive",
        "model": "named", "kind": "answered", "status": 200, "content_type": "application/json",
        "headers": {"x-kept": "1"}, "path": "config", "provider": "mock",
        "accepted_at": NOW.0 - 500, "finished_at": NOW.0, "attempts": [failed, attempt], "ended_by": 2,
        "ticket": ticket(), "body": {"inline": {"size": answer.len()}},
    });
    serde_json::from_value(record).unwrap()
}

fn offer(outcome: &Outcome, answer: &[u8]) -> Result<Entry, &'static str> {
    offered(outcome, &Bytes::copy_from_slice(answer), NOW)
}

#[test]
fn a_good_answer_becomes_an_entry() {
    let answer = chat("stop", said("A message broker.")).to_string().into_bytes();
    let entry = offer(&outcome(&answer), &answer).unwrap();
    let expected = Entry {
        id: RequestId::parse("r1").unwrap(),
        workspace: Workspace::default(),
        key: "key".to_owned(),
        partition: "partition".to_owned(),
        namespace: None,
        text: Some("What is NATS?".to_owned()),
        tags: vec!["docs".to_owned()],
        operation: Operation::Chat,
        provider: "mock".to_owned(),
        model: Some("m-2026".to_owned()),
        asked_at: Timestamp(NOW.0 - 500),
        stored_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(60)),
        content_type: "application/json".to_owned(),
        headers: [("x-kept".to_owned(), "1".to_owned())].into(),
        usage: Usage { input: 3, output: 5, ..Usage::default() },
        cost: Some(NanoUsd(700)),
        size: answer.len(),
    };
    assert_eq!(entry, expected);
}

#[test]
fn only_whole_and_willing_answers_are_kept() {
    let tool = json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ]});
    let refusal = json!({"role": "assistant", "content": null, "refusal": "I will not."});
    let two = json!({"choices": [
        {"index": 0, "message": said("a"), "finish_reason": "stop"},
        {"index": 1, "message": said("b"), "finish_reason": "length"},
    ]});
    let cases = [
        (chat("stop", said("Yes.")), None),
        (chat("length", said("Yes, bec")), Some("cut off")),
        (chat("content_filter", said("")), Some("filtered")),
        (chat("tool_calls", tool.clone()), Some("calls tools")),
        (chat("stop", tool), Some("calls tools")),
        (chat("stop", refusal), Some("refused")),
        (chat("weather", said("Yes.")), Some("unknown way")),
        (two, Some("cut off")),
        (json!({"error": {"message": "no"}}), Some("not understood")),
        (json!("text"), Some("not understood")),
    ];
    for (answer, expected) in cases {
        let answer = answer.to_string().into_bytes();
        let refused = offer(&outcome(&answer), &answer).err();
        assert_eq!(refused.is_some(), expected.is_some(), "{refused:?} {}", String::from_utf8_lossy(&answer));
        assert!(refused.unwrap_or_default().contains(expected.unwrap_or_default()), "{refused:?}");
    }
}

#[test]
fn tool_calls_are_kept_where_that_is_allowed() {
    let call = json!({"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
    let answer = chat("tool_calls", message).to_string().into_bytes();
    let allowed = Ticket { tool_calls: true, ..ticket() };
    let outcome = Outcome { ticket: Some(Box::new(allowed)), ..outcome(&answer) };
    assert!(offer(&outcome, &answer).is_ok());
}

#[test]
fn what_is_no_whole_success_is_not_kept() {
    let answer = chat("stop", said("Yes.")).to_string().into_bytes();
    let good = || outcome(&answer);
    let large = vec![b'x'; LARGEST_ANSWER + 1];
    let cases = [
        (Outcome { ticket: None, ..good() }, "not offered"),
        (Outcome { kind: OutcomeKind::Refused, ..good() }, "no success"),
        (Outcome { kind: OutcomeKind::Cancelled, ..good() }, "no success"),
        (Outcome { status: 203, ..good() }, "no success"),
        (Outcome { truncated: true, ..good() }, "broke off"),
        (Outcome { content_type: "text/html".to_owned(), ..good() }, "not understood"),
        (Outcome { content_type: "text/event-stream".to_owned(), ..good() }, "not understood"),
        (Outcome { body: BodyRef::Stored { object: "o".to_owned(), size: 9 }, ..good() }, "too large"),
        (Outcome { body: BodyRef::Inline { size: 9 }, ..good() }, "empty, or too large"),
        (Outcome { finished_at: Timestamp(NOW.0 - 60_000), ..good() }, "expired"),
    ];
    for (outcome, expected) in cases {
        let refused = offer(&outcome, &answer).expect_err(expected);
        assert!(refused.contains(expected), "{refused}, not {expected}");
    }
    assert_eq!(offer(&outcome(&large), &large), Err("it is empty, or too large"));
    assert_eq!(offer(&outcome(b""), b""), Err("it is empty, or too large"));
}

#[test]
fn cut_streams_are_not_kept() {
    let piece = |delta: Value, finish: Value| {
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        format!("data: {chunk}\n\n")
    };
    let begun = piece(json!({"role": "assistant", "content": "Yes"}), Value::Null);
    let ended = format!("{begun}{}data: [DONE]\n\n", piece(json!({}), json!("stop")));
    let streamed = |answer: &str| {
        let outcome = Outcome { content_type: "text/event-stream".to_owned(), ..outcome(answer.as_bytes()) };
        offer(&outcome, answer.as_bytes())
    };
    assert!(streamed(&ended).unwrap().is_stream());
    assert_eq!(streamed(&begun), Err("it is not understood"));
}
