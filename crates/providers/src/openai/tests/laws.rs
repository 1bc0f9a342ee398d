//! What holds for all requests, answers and bytes.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{
    Writer, completions, read_answer, read_error, read_request, told, write_answer, write_request,
};
use super::answers::about;
use super::streams::{read, read_in};
use crate::chat::{Event, Request, Target, WriteEvents};
use crate::testing::promises;

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", "[ -~äöß\u{1F600}]{1,12}"]
}

fn base64() -> impl Strategy<Value = String> {
    prop_oneof![Just("aGk=".to_owned()), Just("aGVsbG8=".to_owned()), Just("aGVs".to_owned())]
}

fn part() -> impl Strategy<Value = Value> {
    let url = base64().prop_map(|data| format!("data:image/png;base64,{data}"));
    prop_oneof![
        text().prop_map(|text| json!({ "type": "text", "text": text })),
        url.prop_map(|url| json!({ "type": "image_url", "image_url": { "url": url } })),
        Just(json!({ "type": "image_url", "image_url": { "url": "https://a/b.png", "detail": "low" } })),
        (base64(), prop_oneof![Just("wav"), Just("mp3")]).prop_map(|(data, format)| {
            json!({ "type": "input_audio", "input_audio": { "data": data, "format": format } })
        }),
        (base64(), text()).prop_map(|(data, name)| {
            let data = format!("data:application/pdf;base64,{data}");
            json!({ "type": "file", "file": { "file_data": data, "filename": name } })
        }),
        Just(json!({ "type": "file", "file": { "file_id": "file-1" } })),
    ]
}

fn said() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(Value::from),
        prop::collection::vec(text().prop_map(|text| json!({ "type": "text", "text": text })), 1..3)
            .prop_map(Value::from),
    ]
}

/// One or several messages that belong together.
fn turn() -> impl Strategy<Value = Vec<Value>> {
    let tools = prop::collection::vec((text(), said()), 1..3);
    prop_oneof![
        (prop_oneof![Just("system"), Just("developer")], said())
            .prop_map(|(role, content)| vec![json!({ "role": role, "content": content })]),
        prop::collection::vec(part(), 1..4)
            .prop_map(|content| vec![json!({ "role": "user", "content": content })]),
        (text(), text())
            .prop_map(|(text, name)| vec![json!({ "role": "user", "content": text, "name": name })]),
        said().prop_map(|content| vec![json!({ "role": "assistant", "content": content })]),
        text().prop_map(|refusal| vec![json!({ "role": "assistant", "content": null, "refusal": refusal })]),
        (prop::option::of(text()), tools).prop_map(|(content, calls)| {
            let id = |n: usize| format!("call-{n}");
            let made: Vec<Value> = (0..calls.len())
                .map(|n| {
                    let arguments = json!({ "x": n }).to_string();
                    let function = json!({ "name": "f", "arguments": arguments });
                    json!({ "id": id(n), "type": "function", "function": function })
                })
                .collect();
            let mut turn = vec![json!({ "role": "assistant", "content": content, "tool_calls": made })];
            turn.extend(
                calls.into_iter().enumerate().map(
                    |(n, (_, result))| json!({ "role": "tool", "tool_call_id": id(n), "content": result }),
                ),
            );
            turn
        }),
    ]
}

/// Fields, each of which may be there or not.
fn options() -> impl Strategy<Value = Map<String, Value>> {
    let all = json!({
        "max_completion_tokens": 100, "temperature": 0.5, "top_p": 1, "frequency_penalty": -0.5,
        "presence_penalty": 2, "seed": -7, "stop": ["a", "b"], "n": 2, "logprobs": true, "top_logprobs": 3,
        "logit_bias": { "50256": -100 }, "reasoning_effort": "minimal", "user": "u", "modalities": ["text", "audio"],
        "audio": { "voice": "alloy", "format": "wav" }, "stream": true, "store": true, "metadata": { "a": "b" },
        "service_tier": "flex", "prompt_cache_key": "k", "safety_identifier": "s", "verbosity": "low",
        "web_search_options": {}, "prediction": { "type": "content", "content": "x" },
        "response_format": { "type": "json_schema", "json_schema": {
            "name": "n", "strict": true,
            "schema": { "type": "object", "properties": { "a": { "$ref": "#/$defs/a" } }, "$defs": { "a": {} } },
        }},
        "min_p": 0.1, "top_a": null,
    });
    let all: Vec<(String, Value)> = all.as_object().unwrap().clone().into_iter().collect();
    let length = all.len();
    prop::sample::subsequence(all, 0..=length).prop_map(|fields| fields.into_iter().collect())
}

fn tools() -> impl Strategy<Value = Map<String, Value>> {
    let function = json!({ "name": "f", "description": "d", "strict": true, "parameters": {
        "type": "object", "properties": { "x": { "type": "number" } }, "required": ["x"],
    }});
    let tools = json!([
        { "type": "function", "function": function },
        { "type": "custom", "custom": { "name": "g", "format": { "type": "text" } } },
    ]);
    let choice = prop_oneof![
        Just(json!("auto")),
        Just(json!("none")),
        Just(json!("required")),
        Just(json!({ "type": "function", "function": { "name": "f" } })),
        Just(json!({ "type": "custom", "custom": { "name": "g" } })),
    ];
    prop::option::of((choice, any::<bool>())).prop_map(move |chosen| {
        let mut fields = Map::new();
        if let Some((choice, parallel)) = chosen {
            fields.insert("tools".to_owned(), tools.clone());
            fields.insert("tool_choice".to_owned(), choice);
            fields.insert("parallel_tool_calls".to_owned(), parallel.into());
        }
        fields
    })
}

/// A valid chat completions request.
fn request() -> impl Strategy<Value = Value> {
    (prop::collection::vec(turn(), 1..5), options(), tools()).prop_map(|(turns, options, tools)| {
        let messages: Vec<Value> = turns.into_iter().flatten().collect();
        let mut body = json!({ "model": "gpt-5", "messages": messages });
        body.as_object_mut().unwrap().extend(options.into_iter().chain(tools));
        body
    })
}

/// Any JSON made of the words that the dialect uses.
fn nonsense() -> impl Strategy<Value = Value> {
    let words = || {
        prop::sample::select(vec![
            "model",
            "messages",
            "role",
            "user",
            "assistant",
            "tool",
            "content",
            "type",
            "text",
            "image_url",
            "url",
            "data:image/png;base64,aGk=",
            "tools",
            "function",
            "name",
            "parameters",
            "tool_calls",
            "id",
            "arguments",
            "tool_choice",
            "choices",
            "delta",
            "message",
            "finish_reason",
            "stop",
            "usage",
            "prompt_tokens",
            "index",
            "error",
            "logprobs",
            "reasoning_details",
            "signature",
            "content_blocks",
            "thinking",
            "audio",
            "file",
            "stream_options",
            "prompt",
            "object",
            "images",
            "annotations",
            "refusal",
            "function_call",
            "custom",
        ])
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((words(), inner), 0..8).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

/// A piece of an answer as providers send it.
fn delta() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(|text| json!({ "content": text })),
        text().prop_map(|text| json!({ "reasoning_content": text })),
        text().prop_map(|text| json!({ "refusal": text })),
        (0..3_u64, text()).prop_map(|(index, name)| {
            let function = json!({ "name": name, "arguments": "{}" });
            json!({ "tool_calls": [{ "index": index, "id": name, "function": function }] })
        }),
    ]
}

fn chunk(delta: impl Strategy<Value = Value>) -> impl Strategy<Value = String> {
    let finish =
        prop_oneof![3 => Just(Value::Null), 1 => Just(json!("stop")), 1 => Just(json!("tool_calls"))];
    (0..2_u64, delta, finish).prop_map(|(index, delta, finish)| {
        json!({ "id": "c", "choices": [{ "index": index, "delta": delta, "finish_reason": finish }] })
            .to_string()
    })
}

fn framed(data: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let end = prop_oneof![Just("\n\n"), Just("\r\n\r\n"), Just("\n")];
    let events = prop::collection::vec((data, end), 1..12);
    events.prop_map(|events| {
        events.into_iter().map(|(data, end)| format!("data: {data}{end}")).collect::<String>().into_bytes()
    })
}

/// A stream that is complete.
fn good_stream() -> impl Strategy<Value = Vec<u8>> {
    framed(chunk(delta())).prop_map(|mut stream| {
        stream.extend_from_slice(b"data: [DONE]\n\n");
        stream
    })
}

/// A stream with some sense in it.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 1, "completion_tokens": 2 } }).to_string();
    let nameless = json!({ "tool_calls": [{ "index": 1, "function": { "arguments": "1" } }] });
    framed(prop_oneof![
        8 => chunk(prop_oneof![6 => delta(), 1 => Just(nameless), 1 => nonsense()]),
        1 => Just(usage),
        1 => Just("[DONE]".to_owned()),
        1 => nonsense().prop_map(|value| value.to_string()),
        1 => text(),
    ])
}

proptest! {
    #[test]
    fn a_request_keeps_its_meaning_when_it_is_read_and_written(body in request()) {
        let read = read_request(body.to_string().as_bytes()).unwrap();
        prop_assert!(read.dropped.is_empty(), "{:?}", read.dropped);
        let target = Target { provider: "p", model: None, options: &Map::new() };
        let written = write_request(read.clone(), &target).unwrap();
        prop_assert!(written.dropped.is_empty(), "{:?}", written.dropped);
        let again = read_request(&written.body).unwrap();
        // Providers are asked for counts in any case.
        prop_assert_eq!(again, Request { include_usage: read.stream, ..read });
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        any_body(&bytes);
        let _ = read(&bytes);
    }

    #[test]
    fn no_json_makes_a_reader_panic(value in nonsense(), name in prop::sample::select(vec!["messages", "choices", "tools", "error", "tool_choice"])) {
        any_body(value.to_string().as_bytes());
        for inner in [value.clone(), json!([value])] {
            let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "prompt": "hi" });
            body[name] = inner;
            any_body(body.to_string().as_bytes());
            let _ = read(format!("data: {body}\n\n").as_bytes());
        }
    }

    #[test]
    fn a_stream_says_the_same_however_it_is_cut(stream in stream(), size in 1..30_usize) {
        let (events, end) = read(&stream);
        prop_assert_eq!(read_in(stream.chunks(size)), (events.clone(), end.clone()));
        prop_assert_eq!(read_in(stream.chunks(1)), (events.clone(), end.clone()));
        promises::check(&events, &end);
        let (mut writer, mut text, mut out) = (Writer::new(&about(false)), completions::Writer::new(&about(true)), Vec::new());
        for event in &events {
            writer.write(event, &mut out);
            text.write(event, &mut out);
        }
        prop_assert!(String::from_utf8(out).is_ok());
    }

    #[test]
    fn a_written_stream_reads_as_what_it_was_written_from(stream in good_stream()) {
        let (events, end) = read(&stream);
        prop_assert_eq!((end, events.last()), (Ok(()), Some(&Event::End)));
        let (mut writer, mut out) = (Writer::new(&about(true)), Vec::new());
        events.iter().for_each(|event| writer.write(event, &mut out));
        let (again, end) = read(&out);
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(texts(&again), texts(&events));
    }
}

/// What callers see of a stream as text, by answer.
fn texts(events: &[Event]) -> std::collections::BTreeMap<u32, String> {
    use crate::chat::{Block, Delta};
    let mut kinds = std::collections::BTreeMap::new();
    let mut texts: std::collections::BTreeMap<u32, String> = std::collections::BTreeMap::new();
    for event in events {
        match event {
            Event::Open { choice, block, what } => drop(kinds.insert((*choice, *block), what.clone())),
            Event::Delta { choice, block, delta: Delta::Text(text) }
                if kinds.get(&(*choice, *block)) == Some(&Block::Text) =>
            {
                texts.entry(*choice).or_default().push_str(text);
            }
            _ => {}
        }
    }
    texts
}

/// Everything that takes whole bodies.
fn any_body(bytes: &[u8]) {
    let target = Target { provider: "p", model: None, options: &Map::new() };
    for request in [read_request(bytes), completions::read_request(bytes)].into_iter().flatten() {
        let _ = write_request(request, &target);
    }
    if let Ok(answer) = read_answer(bytes) {
        for strict in [true, false] {
            write_answer(&answer, &about(strict));
            completions::write_answer(&answer, &about(strict));
        }
    }
    let _ = (read_error(bytes), told(bytes));
}
