//! Whole answers and errors, both ways.

use bytes::Bytes;
use domain::Usage;
use serde_json::{Value, json};

use super::super::{read_answer, read_error, write_answer, write_error};
use crate::chat::{About, Answer, Choice, Dialect, Finish, Part, PartKind, ProviderError, Reason, Source};
use crate::failure;

pub(super) fn about(strict: bool) -> About<'static> {
    About { provider: "p", model: "m", id: "id-1", now: 1_700_000_000, strict, include_usage: true }
}

fn written(parts: Vec<PartKind>, finish: Finish, strict: bool) -> Value {
    let parts = parts.into_iter().map(Part::new).collect();
    let choices = vec![Choice { index: 0, parts, finish, logprobs: None }];
    let answer = Answer { choices, ..Answer::default() };
    serde_json::from_slice(&write_answer(&answer, &about(strict))).unwrap()
}

fn text(text: &str, citations: Vec<Value>) -> PartKind {
    PartKind::Text { text: text.to_owned(), citations }
}

#[test]
fn only_openais_fields_are_shown_unless_the_caller_wants_more() {
    let parts = || {
        vec![
            PartKind::Thinking { text: "hm".into(), signature: Some("s".into()) },
            PartKind::RedactedThinking { data: "d".into() },
            text("yes", Vec::new()),
            PartKind::Native { dialect: Dialect::Anthropic, value: json!({ "type": "x" }) },
            PartKind::ToolCall {
                id: "a".into(),
                name: "f".into(),
                arguments: " ".into(),
                signature: Some("t".into()),
            },
        ]
    };
    let finish = Finish::new(Reason::ToolCalls, "tool_use");
    let strict = written(parts(), finish.clone(), true);
    let call = json!({ "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let expected = json!({
        "id": "id-1", "object": "chat.completion", "created": 1_700_000_000, "model": "m", "provider": "p",
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": "yes", "refusal": null, "tool_calls": [call] },
            "logprobs": null,
            "finish_reason": "tool_calls",
        }],
    });
    assert_eq!(strict, expected);
    let open = written(parts(), finish, false);
    let blocks = json!([
        { "type": "thinking", "thinking": "hm", "signature": "s" },
        { "type": "redacted_thinking", "data": "d" },
        { "type": "text", "text": "yes" },
        { "type": "x" },
    ]);
    let message = &open["choices"][0]["message"];
    assert_eq!(message["content_blocks"], blocks);
    assert_eq!(message["tool_calls"][0]["function"]["thought_signature"], "t");
    assert_eq!(open["choices"][0]["finish_reason"], "tool_use");
}

#[test]
fn an_answer_without_text_has_none_and_an_empty_one_has_empty_text() {
    let stop = || Finish::new(Reason::Stop, "stop");
    let content = |parts| written(parts, stop(), true)["choices"][0]["message"]["content"].clone();
    assert_eq!(content(vec![PartKind::Refusal("no".into())]), Value::Null);
    assert_eq!(content(vec![PartKind::Thinking { text: "hm".into(), signature: None }]), "");
}

#[test]
fn pictures_are_never_hidden() {
    let source = Source::Base64 { media_type: "image/png".into(), data: "aGk=".into() };
    let answer =
        written(vec![PartKind::Image { source, detail: None }], Finish::new(Reason::Stop, "x"), true);
    let images = &answer["choices"][0]["message"]["images"];
    let url = "data:image/png;base64,aGk=";
    assert_eq!(*images, json!([{ "type": "image_url", "image_url": { "url": url } }]));
}

#[test]
fn places_in_the_web_are_annotations_of_the_text_they_belong_to() {
    let anthropic = json!({ "type": "web_search_result_location", "url": "https://a", "title": "A" });
    let own =
        json!({ "type": "url_citation", "start_index": 1, "end_index": 2, "url": "https://b", "title": "B" });
    let document = json!({ "type": "char_location", "document_index": 0 });
    let parts = vec![text("öß ", Vec::new()), text("yes", vec![anthropic, own, document])];
    let answer = written(parts, Finish::new(Reason::Stop, "stop"), true);
    let note = |start: u64, end: u64, title: &str, url: &str| {
        json!({ "type": "url_citation", "url_citation": {
            "start_index": start, "end_index": end, "title": title, "url": url,
        }})
    };
    let expected = json!([note(3, 6, "A", "https://a"), note(1, 2, "B", "https://b")]);
    assert_eq!(answer["choices"][0]["message"]["annotations"], expected);
}

#[test]
fn counts_of_written_caches_come_with_portkeys_names() {
    let usage =
        Usage { input: 10, output: 5, cached_input: 4, cache_write: 3, reasoning: 2, ..Usage::default() };
    let answer = Answer { usage: Some(usage), ..Answer::default() };
    let written: Value = serde_json::from_slice(&write_answer(&answer, &about(true))).unwrap();
    let expected = json!({
        "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
        "prompt_tokens_details": { "cached_tokens": 4, "audio_tokens": 0, "cache_write_tokens": 3 },
        "completion_tokens_details": { "reasoning_tokens": 2, "audio_tokens": 0 },
        "cache_read_input_tokens": 4, "cache_creation_input_tokens": 3,
    });
    assert_eq!(written["usage"], expected);
}

fn read(choice: Value) -> Choice {
    let body = json!({ "id": "chatcmpl-1.a", "model": "m-1", "choices": [choice] });
    read_answer(body.to_string().as_bytes()).unwrap().choices.remove(0)
}

fn kinds(message: Value) -> Vec<PartKind> {
    read(json!({ "message": message })).parts.into_iter().map(|part| part.kind).collect()
}

#[test]
fn thoughts_are_read_wherever_providers_put_them() {
    let thinking = |text: &str, signature: Option<&str>| PartKind::Thinking {
        text: text.to_owned(),
        signature: signature.map(str::to_owned),
    };
    for (message, expected) in [
        (json!({ "content": "a", "reasoning_content": "hm" }), vec![thinking("hm", None), text("a", vec![])]),
        (json!({ "content": "a", "reasoning": "hm" }), vec![thinking("hm", None), text("a", vec![])]),
        (
            json!({ "content": "a", "reasoning": "hm", "reasoning_details": [
                { "type": "reasoning.text", "text": "hm", "signature": "s" },
                { "type": "reasoning.encrypted", "data": "d" },
                { "type": "reasoning.summary", "summary": "so" },
            ]}),
            vec![
                thinking("hm", Some("s")),
                PartKind::RedactedThinking { data: "d".into() },
                thinking("so", None),
                text("a", vec![]),
            ],
        ),
        (
            json!({ "content": [
                { "type": "thinking", "thinking": [{ "type": "text", "text": "h" }, { "type": "text", "text": "m" }] },
                { "type": "text", "text": "a" },
            ]}),
            vec![thinking("hm", None), text("a", vec![])],
        ),
    ] {
        assert_eq!(kinds(message.clone()), expected, "{message}");
    }
}

#[test]
fn calls_get_an_id_if_they_have_none() {
    let call = |id: &str, arguments: &str| PartKind::ToolCall {
        id: id.to_owned(),
        name: "f".to_owned(),
        arguments: arguments.to_owned(),
        signature: None,
    };
    let function = json!({ "name": "f", "arguments": "{}" });
    for (message, expected) in [
        (json!({ "tool_calls": [{ "id": "a", "function": function }] }), call("a", "{}")),
        (json!({ "tool_calls": [{ "function": function }] }), call("call_chatcmpl-1a_0_0", "{}")),
        (json!({ "function_call": function }), call("call_chatcmpl-1a_0_0", "{}")),
        (
            json!({ "tool_calls": [{ "id": "a", "function": { "name": "f", "arguments": { "x": 1 } } }] }),
            call("a", "{\"x\":1}"),
        ),
    ] {
        assert_eq!(kinds(message.clone()), [expected], "{message}");
    }
}

#[test]
fn ends_are_told_by_word_and_by_what_the_answer_holds() {
    let calls = json!([{ "id": "a", "function": { "name": "f" } }]);
    for (choice, reason, raw) in [
        (json!({ "message": {}, "finish_reason": "stop" }), Reason::Stop, Some("stop")),
        (json!({ "message": {}, "finish_reason": "length" }), Reason::Length, Some("length")),
        (json!({ "message": {}, "finish_reason": "model_length" }), Reason::Length, Some("model_length")),
        (
            json!({ "message": {}, "finish_reason": "content_filter" }),
            Reason::ContentFilter,
            Some("content_filter"),
        ),
        (json!({ "message": {}, "finish_reason": "tool_calls" }), Reason::ToolCalls, Some("tool_calls")),
        (
            json!({ "message": { "tool_calls": calls }, "finish_reason": "stop" }),
            Reason::ToolCalls,
            Some("stop"),
        ),
        (json!({ "message": { "refusal": "no" }, "finish_reason": "stop" }), Reason::Refusal, Some("stop")),
        (
            json!({ "message": {}, "finish_reason": "stop", "stop_reason": "X" }),
            Reason::StopSequence,
            Some("stop"),
        ),
        (json!({ "message": {}, "finish_reason": "" }), Reason::Stop, None),
        (json!({ "message": {}, "finish_reason": "eos" }), Reason::Stop, Some("eos")),
    ] {
        let finish = read(choice.clone()).finish;
        assert_eq!((finish.reason, finish.raw.as_deref()), (reason, raw), "{choice}");
    }
}

#[test]
fn what_is_no_answer_says_why_without_quoting_it() {
    for (body, words) in [
        ("<html>", "not a JSON object"),
        ("{}", "no `choices`"),
        (r#"{"choices":[]}"#, "`choices` are empty"),
        (r#"{"choices":[7]}"#, "choices[0] is not an object"),
        (r#"{"choices":[{}]}"#, "choices[0].message is missing"),
        (r#"{"choices":[{"message":{"tool_calls":[{}]}}]}"#, "tool_calls[0] names no tool"),
        (r#"{"choices":[{"index":99999999999,"message":{}}]}"#, "choices[0].index is too large"),
        (r#"{"choices":[{"error":{"message":"x"}}]}"#, "choices[0] holds an error"),
        (r#"{"object":"error","message":"secret"}"#, "is an error with status 200"),
        (r#"{"error":{"message":"secret"}}"#, "holds an error"),
    ] {
        let why = read_answer(body.as_bytes()).unwrap_err();
        assert!(why.contains(words) && !why.contains("secret"), "{body}: {why}");
    }
}

#[test]
fn errors_of_openais_shape_come_out_as_they_always_did() {
    for body in [
        r#"{"error":{"message":"slow down","type":"rate","param":"model","code":"429"}}"#,
        r#"{"error":{"message":"oops"}}"#,
        r#"{"error":"oops"}"#,
    ] {
        let written = Bytes::from(write_error(&read_error(body.as_bytes()), 429, "groq"));
        assert_eq!(written, failure::told("groq", body.as_bytes()), "{body}");
    }
}

#[test]
fn errors_keep_all_that_they_say() {
    let error =
        read_error(br#"{"error":{"message":"m","type":"t","param":"p","code":503},"request_id":"r"}"#);
    let expected = ProviderError {
        message: "m".into(),
        kind: Some("t".into()),
        code: Some("503".into()),
        param: Some("p".into()),
        request_id: Some("r".into()),
        status: Some(503),
    };
    assert_eq!(error, expected);
    let written: Value = serde_json::from_slice(&write_error(&error, 503, "x")).unwrap();
    let fields =
        json!({ "message": "x error: m", "type": "t", "param": "p", "code": "503", "request_id": "r" });
    assert_eq!(written, json!({ "error": fields, "provider": "x" }));
    assert_eq!(read_error(br#"{"object":"error","message":"gone"}"#).message, "gone");
    assert_eq!(read_error(b"<html>").message, "<html>");
    assert_eq!(read_error("ä".repeat(9_000).as_bytes()).message.chars().count(), 2_048);
    let silent: Value = serde_json::from_slice(&write_error(&ProviderError::default(), 529, "x")).unwrap();
    assert_eq!(silent["error"]["message"], "x error: no message (status 529)");
}
