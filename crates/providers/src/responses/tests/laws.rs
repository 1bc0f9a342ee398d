//! What holds for all bytes, and for all requests.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;
use super::{about, parsed};
use crate::chat::{Answer, Block, Choice, Delta, Event, Finish, Part, PartKind, Reason, Source, WriteEvents};

fn ours() -> domain::Conversation {
    domain::Conversation { expanded: true, background: true, ..domain::Conversation::default() }
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-zé\"\\\\{}\n ]{1,8}"]
}

fn arguments() -> impl Strategy<Value = String> {
    prop_oneof![Just("{}".to_owned()), Just("{\"a\":\"b\"}".to_owned()), "[{}a\": ]{0,6}"]
}

fn part() -> impl Strategy<Value = PartKind> {
    let signature = || proptest::option::of("[a-zA-Z0-9+/=:]{1,8}");
    prop_oneof![
        words().prop_map(|text| Part::text(text).kind),
        words().prop_map(PartKind::Refusal),
        (words(), signature()).prop_map(|(text, signature)| PartKind::Thinking { text, signature }),
        words().prop_map(|data| PartKind::RedactedThinking { data }),
        ("[a-z0-9_:]{1,6}", arguments(), signature()).prop_map(|(id, arguments, signature)| {
            PartKind::ToolCall { id, name: "f".to_owned(), arguments, signature }
        }),
        Just(PartKind::Image { source: Source::Url("https://example.com/".into()), detail: None }),
    ]
}

fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        Just(Reason::Stop),
        Just(Reason::Length),
        Just(Reason::ToolCalls),
        Just(Reason::ContentFilter),
        Just(Reason::Refusal),
    ]
}

/// The stream that says the same as a whole answer.
fn streamed(parts: &[PartKind], reason: Reason) -> Vec<Event> {
    let mut out = vec![Event::Start(crate::chat::Start::default())];
    for (block, part) in (0..).zip(parts) {
        let (what, deltas) = match part.clone() {
            PartKind::Text { text, .. } => (Block::Text, vec![Delta::Text(text)]),
            PartKind::Refusal(text) => (Block::Refusal, vec![Delta::Text(text)]),
            PartKind::Thinking { text, signature } => {
                let signature = signature.map(Delta::Signature);
                (Block::Thinking, std::iter::once(Delta::Text(text)).chain(signature).collect())
            }
            PartKind::RedactedThinking { data } => (Block::RedactedThinking { data }, vec![]),
            PartKind::ToolCall { id, name, arguments, signature } => {
                (Block::ToolCall { id, name, signature }, vec![Delta::Arguments(arguments)])
            }
            _ => (Block::Text, vec![Delta::Text("https://example.com/".to_owned())]),
        };
        out.push(Event::Open { choice: 0, block, what });
        out.extend(deltas.into_iter().map(|delta| Event::Delta { choice: 0, block, delta }));
        out.push(Event::Close { choice: 0, block });
    }
    out.extend([Event::Finish { choice: 0, finish: Finish::new(reason, "raw") }, Event::End]);
    out
}

/// JSON that looks like a request, and like none.
fn anything() -> impl Strategy<Value = Value> {
    let names = [
        "type",
        "role",
        "content",
        "input",
        "model",
        "text",
        "tools",
        "name",
        "call_id",
        "output",
        "summary",
        "encrypted_content",
        "image_url",
        "file_data",
        "tool_choice",
        "mode",
        "format",
        "reasoning",
        "include",
        "response",
        "usage",
        "status",
        "error",
        "id",
    ];
    const TEXTS: [&str; 15] = [
        "message",
        "user",
        "assistant",
        "input_text",
        "input_image",
        "input_file",
        "function",
        "function_call",
        "function_call_output",
        "reasoning",
        "native",
        "allowed_tools",
        "thinking:",
        "call:[",
        "data:a/b;base64,",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        proptest::sample::select(&TEXTS[..]).prop_map(Value::from),
        words().prop_map(Value::from),
    ];
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(proptest::sample::select(names.clone()), inner, 0..7)
                .prop_map(|fields| fields.into_iter().collect::<Value>()),
        ]
    })
}

fn swallow(bytes: &[u8]) {
    let turn = Turn { input: bytes.to_vec(), output: bytes.to_vec() };
    let page = Page { limit: 2, after: None, newest_first: true };
    let _ = (read_request(bytes), told(bytes), without_foreign_items(bytes));
    let _ = (object_of(bytes), has_output(bytes), to_send(bytes, &ours()), with_id(bytes, "resp_1"));
    let _ = (continued(bytes, &[turn]), input_items(bytes, "resp_1", &page));
    let _ = observer().look(&[b"data: ", bytes, b"\n\n"].concat());
    let response: Value = serde_json::from_slice(&write_stage(Stage::Queued, &about(true), bytes)).unwrap();
    assert_eq!(response["status"], "queued");
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        swallow(&bytes);
    }

    #[test]
    fn any_json_is_taken_or_refused(value in anything()) {
        swallow(value.to_string().as_bytes());
        swallow(json!({ "model": "m", "input": [value], "tools": value, "tool_choice": value, "text": value }).to_string().as_bytes());
        swallow(json!({ "model": "m", "input": [{ "role": "user", "content": [value] }] }).to_string().as_bytes());
    }

    #[test]
    fn a_stream_ends_with_what_a_whole_answer_is(
        parts in proptest::collection::vec(part(), 0..6), reason in reason(), strict: bool,
    ) {
        let mut writer = Writer::new(&about(strict), b"{}");
        let mut out = Vec::new();
        streamed(&parts, reason).iter().for_each(|event| writer.write(event, &mut out));
        let events = parsed(&out);
        let finish = Finish::new(reason, "raw");
        let parts = parts.into_iter().map(Part::new).collect();
        let choice = Choice { index: 0, parts, finish, logprobs: None };
        let answer = Answer { choices: vec![choice], ..Answer::default() };
        let whole: Value = serde_json::from_slice(&write_answer(&answer, &about(strict), b"{}")).unwrap();
        prop_assert_eq!(&events.last().unwrap()["response"], &whole);
        // Every item begins once, ends once, and ends as it stands in the response.
        let output = whole["output"].as_array().unwrap();
        for (index, item) in output.iter().enumerate() {
            let of = |kind: &str| -> Vec<&Value> {
                events.iter().filter(|e| e["type"] == kind && e["output_index"] == index).collect()
            };
            prop_assert_eq!(of("response.output_item.added").len(), 1);
            let done = of("response.output_item.done");
            prop_assert_eq!(done.len(), 1);
            prop_assert_eq!(&done[0]["item"], item);
        }
    }

    #[test]
    fn an_answer_comes_back_as_it_was(parts in proptest::collection::vec(part(), 1..6)) {
        // Ids tell calls apart, and what is empty says nothing.
        let mut parts = parts;
        for (index, part) in parts.iter_mut().enumerate() {
            match part {
                PartKind::ToolCall { id, arguments, .. } => {
                    id.push_str(&index.to_string());
                    if arguments.is_empty() {
                        arguments.push_str("{}");
                    }
                }
                PartKind::Image { .. } => *part = Part::text("https://example.com/").kind,
                _ => {}
            }
        }
        parts.retain(|part| match part {
            PartKind::Text { text, .. } | PartKind::Refusal(text) => !text.is_empty(),
            PartKind::Thinking { text, signature } => !text.is_empty() || signature.is_some(),
            _ => true,
        });
        prop_assume!(!parts.is_empty());
        let choice = Choice {
            index: 0,
            parts: parts.iter().cloned().map(Part::new).collect(),
            finish: Finish::new(Reason::Stop, "stop"),
            logprobs: None,
        };
        let answer = Answer { choices: vec![choice], ..Answer::default() };
        let response: Value = serde_json::from_slice(&write_answer(&answer, &about(true), b"{}")).unwrap();
        let body = json!({ "model": "m", "input": response["output"] });
        let request = read_request(body.to_string().as_bytes()).unwrap();
        let got: Vec<PartKind> =
            request.messages.into_iter().flat_map(|message| message.parts).map(|part| part.kind).collect();
        prop_assert_eq!(got, parts);
    }
}
