//! What holds for all answers, streams and bytes.

use bytes::Bytes;
use domain::Operation;
use domain::model::NanoUsd;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{as_stream, as_whole, canonical, gist, question, same_request, with_cost_shown};
use super::{map, seen, there_and_back};

const CHATS: [Operation; 4] =
    [Operation::Chat, Operation::Completions, Operation::Messages, Operation::Responses];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z \\n\"\\\\]{1,12}",
        ("[ -~äöß\u{1F600}\u{200D}世]{1,40}", 1..30_usize).prop_map(|(text, times)| text.repeat(times)),
    ]
}

/// Numbers that are read as they were written.
fn number() -> impl Strategy<Value = Value> {
    prop_oneof![any::<i64>().prop_map(Value::from), (-4000..4000_i32).prop_map(|n| json!(f64::from(n) / 8.0))]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        text().prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            object(inner).prop_map(Value::from),
        ]
    })
}

fn object(of: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let names = prop::sample::select(vec!["a", "index", "text", "type", "id", "content", "x_1"]);
    prop::collection::vec((names, of), 0..3)
        .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Some of these members, each as it is generated.
fn some_of(members: Vec<(&'static str, BoxedStrategy<Value>)>) -> impl Strategy<Value = Map<String, Value>> {
    let members: Vec<_> = members
        .into_iter()
        .map(|(name, value)| prop::option::of(value).prop_map(move |value| Some((name.to_owned(), value?))))
        .collect();
    members.prop_map(|members| members.into_iter().flatten().collect())
}

fn texts() -> BoxedStrategy<Value> {
    text().prop_map(Value::from).boxed()
}

fn maybe(value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Null), 4 => value].boxed()
}

fn vec_of(value: impl Strategy<Value = Value> + 'static, most: usize) -> BoxedStrategy<Value> {
    prop::collection::vec(value, 0..most).prop_map(Value::from).boxed()
}

fn usage() -> BoxedStrategy<Value> {
    (0..9_u64, 0..9_u64, any_json())
        .prop_map(|(one, two, more)| json!({ "input_tokens": one, "output_tokens": two, "details": more }))
        .boxed()
}

fn tokens() -> BoxedStrategy<Value> {
    vec_of((text(), number()).prop_map(|(t, n)| json!({ "token": t, "logprob": n, "top_logprobs": [] })), 4)
}

/// Tokens that make up the text, or not.
fn with_tokens(choice: Value, fits: bool, other: Value) -> Value {
    let mut choice = choice;
    let content = choice["message"]["content"].as_str().unwrap_or_default().to_owned();
    let fitting: Vec<Value> =
        content.split_inclusive(' ').map(|token| json!({ "token": token, "logprob": -0.5 })).collect();
    let tokens = if fits { fitting.into() } else { other };
    choice["logprobs"] = json!({ "content": tokens, "refusal": null });
    choice
}

fn call() -> impl Strategy<Value = Value> {
    prop_oneof![
        (text(), text(), text()).prop_map(|(id, name, arguments)| {
            json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
        }),
        (text(), text()).prop_map(|(id, input)| {
            json!({ "id": id, "type": "custom", "custom": { "name": "g", "input": input } })
        }),
    ]
}

fn portkey_block() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(|text| json!({ "type": "text", "text": text })),
        (text(), any_json())
            .prop_map(|(text, place)| json!({ "type": "text", "text": text, "citations": [place] })),
        (text(), text())
            .prop_map(|(text, seal)| json!({ "type": "thinking", "thinking": text, "signature": seal })),
        text().prop_map(|data| json!({ "type": "redacted_thinking", "data": data })),
        any_json().prop_map(|value| json!({ "type": "image_url", "image_url": value })),
    ]
}

fn chat_choice() -> impl Strategy<Value = Value> {
    let message = some_of(vec![
        ("content", prop_oneof![4 => maybe(texts()), 1 => vec_of(portkey_block(), 3)].boxed()),
        ("refusal", maybe(texts())),
        ("reasoning_content", texts()),
        ("reasoning", texts()),
        ("reasoning_details", vec_of(any_json(), 3)),
        ("annotations", vec_of(any_json(), 3)),
        ("tool_calls", vec_of(call(), 4)),
        ("function_call", text().prop_map(|text| json!({ "name": text, "arguments": text })).boxed()),
        ("audio", text().prop_map(|text| json!({ "id": "a", "transcript": text, "data": "aGk=" })).boxed()),
        ("content_blocks", prop::collection::vec(portkey_block(), 1..4).prop_map(Value::from).boxed()),
        ("of_its_own", any_json().boxed()),
    ]);
    let extra =
        some_of(vec![("stop_reason", maybe(any_json())), ("content_filter_results", any_json().boxed())]);
    let finish = prop::sample::select(vec!["stop", "length", "tool_calls", "END"]);
    let logprobs = prop::option::of((any::<bool>(), tokens()));
    (message, extra, finish, logprobs).prop_map(|(message, extra, finish, logprobs)| {
        let mut choice = json!({ "message": { "role": "assistant" }, "finish_reason": finish });
        choice["message"].as_object_mut().unwrap().extend(message);
        choice.as_object_mut().unwrap().extend(extra);
        match logprobs {
            Some((fits, other)) => with_tokens(choice, fits, other),
            None => choice,
        }
    })
}

fn text_choice() -> impl Strategy<Value = Value> {
    (texts(), maybe(tokens())).prop_map(|(text, tokens)| {
        let logprobs =
            if tokens.is_null() { Value::Null } else { json!({ "tokens": tokens, "text_offset": [0] }) };
        json!({ "text": text, "logprobs": logprobs, "finish_reason": "stop" })
    })
}

fn completion(choice: impl Strategy<Value = Value> + 'static, object: &'static str) -> BoxedStrategy<Value> {
    let extra = some_of(vec![
        ("system_fingerprint", maybe(texts())),
        ("service_tier", texts()),
        ("citations", vec_of(any_json(), 3)),
        ("usage", maybe(usage())),
        ("of_its_own", any_json().boxed()),
    ]);
    (prop::collection::vec(choice, 1..4), extra)
        .prop_map(move |(mut choices, extra)| {
            for (number, choice) in choices.iter_mut().enumerate() {
                choice["index"] = number.into();
            }
            let mut whole =
                json!({ "id": "id-1", "object": object, "created": 7, "model": "m", "choices": choices });
            whole.as_object_mut().unwrap().extend(extra);
            whole
        })
        .boxed()
}

fn block() -> impl Strategy<Value = Value> {
    let citations = maybe(vec_of(any_json(), 3));
    prop_oneof![
        text().prop_map(|text| json!({ "type": "text", "text": text })),
        (text(), citations).prop_map(|(text, c)| json!({ "type": "text", "text": text, "citations": c })),
        (text(), text())
            .prop_map(|(text, seal)| json!({ "type": "thinking", "thinking": text, "signature": seal })),
        text().prop_map(|data| json!({ "type": "redacted_thinking", "data": data })),
        (prop::sample::select(vec!["tool_use", "server_tool_use", "mcp_tool_use"]), object(any_json()))
            .prop_map(|(kind, input)| json!({ "type": kind, "id": "t", "name": "f", "input": input })),
        any_json().prop_map(|value| json!({ "type": "web_search_tool_result", "content": value })),
    ]
}

fn message() -> BoxedStrategy<Value> {
    let extra = some_of(vec![
        ("container", maybe(any_json())),
        ("context_management", maybe(any_json())),
        ("stop_details", maybe(any_json())),
        ("of_its_own", any_json().boxed()),
    ]);
    let reason = prop::sample::select(vec!["end_turn", "max_tokens", "tool_use", "refusal", "new"]);
    (vec_of(block(), 5), extra, reason, maybe(texts()), usage())
        .prop_map(|(content, extra, reason, sequence, usage)| {
            let mut whole = json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content,
                "stop_reason": reason, "stop_sequence": sequence, "usage": usage,
            });
            whole.as_object_mut().unwrap().extend(extra);
            whole
        })
        .boxed()
}

fn item() -> impl Strategy<Value = Value> {
    let part = prop_oneof![
        (text(), tokens(), vec_of(any_json(), 2)).prop_map(|(text, logprobs, annotations)| json!({
            "type": "output_text", "text": text, "logprobs": logprobs, "annotations": annotations,
        })),
        text().prop_map(|text| json!({ "type": "refusal", "refusal": text })),
        text().prop_map(|text| json!({ "type": "another", "text": text })),
    ];
    let thought = || text().prop_map(|text| json!({ "type": "summary_text", "text": text }));
    prop_oneof![
        vec_of(part, 3).prop_map(|content| json!({
            "type": "message", "id": "m", "role": "assistant", "status": "completed", "content": content,
        })),
        (vec_of(thought(), 3), text()).prop_map(|(summary, text)| json!({
            "type": "reasoning", "id": "r", "summary": summary,
            "content": [{ "type": "reasoning_text", "text": text }],
        })),
        (prop::sample::select(vec!["function_call", "mcp_call"]), text()).prop_map(|(kind, arguments)| json!({
            "type": kind, "id": "f", "call_id": "c", "name": "f", "arguments": arguments, "status": "completed",
        })),
        text().prop_map(|text| json!({ "type": "custom_tool_call", "call_id": "c", "name": "f", "input": text })),
        any_json().prop_map(|value| json!({ "type": "image_generation_call", "id": "i", "result": value })),
    ]
}

fn response() -> BoxedStrategy<Value> {
    let status = prop_oneof![
        Just(("completed", Value::Null)),
        Just(("incomplete", json!({ "reason": "max_output_tokens" })))
    ];
    (vec_of(item(), 4), status, usage(), any_json())
        .prop_map(|(output, (status, details), usage, more)| {
            json!({
                "id": "resp_1", "object": "response", "created_at": 7, "status": status, "error": null,
                "incomplete_details": details, "output": output, "usage": usage, "of_its_own": more,
            })
        })
        .boxed()
}

/// An answer in one of the dialects.
fn answer() -> impl Strategy<Value = (Operation, Value)> {
    let of = |operation, whole: BoxedStrategy<Value>| whole.prop_map(move |whole| (operation, whole));
    prop_oneof![
        2 => of(Operation::Chat, completion(chat_choice(), "chat.completion")),
        1 => of(Operation::Completions, completion(text_choice(), "text_completion")),
        1 => of(Operation::Messages, message()),
        1 => of(Operation::Responses, response()),
    ]
}

/// The value with the members of all objects the other way round and whole numbers as fractions.
fn turned(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().rev().map(|(name, value)| (name.clone(), turned(value))).collect()
        }
        Value::Array(items) => items.iter().map(turned).collect(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) if whole.unsigned_abs() < 1 << 53 => json!(whole as f64),
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn an_answer_is_the_same_there_and_back((operation, whole) in answer()) {
        let back = there_and_back(operation, &whole).unwrap();
        prop_assert_eq!(seen(operation, back), seen(operation, whole));
    }

    #[test]
    fn counts_are_told_where_they_are_asked_for((operation, whole) in answer()) {
        let stream = as_stream(operation, whole.to_string().as_bytes(), false).unwrap();
        let back: Value = serde_json::from_slice(&as_whole(operation, &stream).unwrap()).unwrap();
        let mut uncounted = whole.clone();
        if matches!(operation, Operation::Chat | Operation::Completions) {
            uncounted.as_object_mut().unwrap().shift_remove("usage");
            let members = super::events(&stream).into_iter().filter(|chunk| chunk.get("usage").is_some());
            prop_assert_eq!(members.count(), 0);
        }
        prop_assert_eq!(seen(operation, back), seen(operation, uncounted));
    }

    #[test]
    fn a_stream_that_breaks_off_is_no_answer((operation, whole) in answer(), at in any::<prop::sample::Index>()) {
        let stream = as_stream(operation, whole.to_string().as_bytes(), true).unwrap();
        let end = at.index(stream.len());
        // The empty line after the last event says nothing.
        if stream.len() - end > 1 {
            prop_assert_eq!(as_whole(operation, &stream[..end]), None);
            prop_assert_eq!(gist(operation, "text/event-stream", &stream[..end]), None);
        }
    }

    #[test]
    fn the_gist_of_a_stream_is_that_of_the_answer((operation, whole) in answer()) {
        let body = whole.to_string();
        let stream = as_stream(operation, body.as_bytes(), false).unwrap();
        let of_whole = gist(operation, "application/json", body.as_bytes());
        prop_assert!(of_whole.is_some());
        prop_assert_eq!(of_whole, gist(operation, "text/event-stream", &stream));
    }

    #[test]
    fn any_bytes_are_welcome(bytes in prop::collection::vec(any::<u8>(), 0..200), value in any_json()) {
        let events = format!("data: {value}\n\ndata: {{\"choices\":[{value}]}}\n\ndata: [DONE]\n\n");
        for body in [&bytes[..], value.to_string().as_bytes(), events.as_bytes()] {
            for operation in CHATS {
                let _ = (as_stream(operation, body, true), as_whole(operation, body));
                let _ = (gist(operation, "application/json", body), gist(operation, "text/event-stream", body));
            }
            let _ = with_cost_shown(&Bytes::copy_from_slice(body), NanoUsd(0));
        }
    }

    #[test]
    fn the_same_request_is_the_same_text(body in object(any_json()), stream in any_json()) {
        let mut other = map(&turned(&Value::Object(body.clone()))).clone();
        other.insert("stream".to_owned(), stream);
        let (one, other) = (same_request(&body), same_request(&other));
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(canonical(&one), one.to_string());
        prop_assert_eq!(canonical(&Value::Object(body)), canonical(&one));
    }

    #[test]
    fn what_is_not_the_question_is_in_the_rest(text in "[a-z]{1,9}", other in "[a-z]{1,9}", more in any_json(), changed in any_json()) {
        let body = |text: &str, more: &Value| json!({
            "model": "m", "tools": more, "messages": [
                { "role": "system", "content": more },
                { "role": "user", "content": [{ "type": "text", "text": text, "cache_control": more }] },
            ],
        });
        let (one, same, not) = (body(&text, &more), body(&other, &more), body(&text, &changed));
        for operation in [Operation::Chat, Operation::Messages] {
            let rest = |body: &Value| question(operation, map(body)).unwrap().rest;
            prop_assert_eq!(question(operation, map(&one)).unwrap().text, &text);
            prop_assert_eq!(rest(&one), rest(&same));
            prop_assert_eq!(rest(&one) == rest(&not), canonical(&more) == canonical(&changed));
        }
    }
}
