//! Streams, both ways.

use domain::Usage;
use serde_json::{Value, json};

use super::super::{Reader, Writer};
use super::answers::about;
use crate::chat::{
    Block, Broken, Delta, Event, Finish, MAX_EVENT, ProviderError, ReadEvents, Reason, Start, WriteEvents,
};

pub(super) fn read(stream: &[u8]) -> (Vec<Event>, Result<(), Broken>) {
    read_in(stream.chunks(stream.len().max(1)))
}

pub(super) fn read_in<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Result<(), Broken>) {
    let (mut reader, mut out) = (Reader::default(), Vec::new());
    for piece in pieces {
        if let Err(broken) = reader.read(piece, &mut out) {
            return (out, Err(broken));
        }
    }
    let end = reader.end(&mut out);
    (out, end)
}

fn chunk(delta: Value, finish: Option<&str>) -> Value {
    json!({ "id": "c-1", "model": "m-1", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
}

fn stream(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect()
}

/// The events of a stream that ends well, without its beginning and end.
#[track_caller]
fn events(text: &str) -> Vec<Event> {
    let (mut events, end) = read(text.as_bytes());
    assert_eq!(end, Ok(()), "{text}");
    assert!(matches!(events.remove(0), Event::Start(_)), "{text}");
    assert_eq!(events.pop(), Some(Event::End), "{text}");
    events
}

fn open(block: u32, what: Block) -> Event {
    Event::Open { choice: 0, block, what }
}

fn delta(block: u32, delta: Delta) -> Event {
    Event::Delta { choice: 0, block, delta }
}

fn said(block: u32, text: &str) -> Event {
    delta(block, Delta::Text(text.to_owned()))
}

fn arguments(block: u32, text: &str) -> Event {
    delta(block, Delta::Arguments(text.to_owned()))
}

fn close(block: u32) -> Event {
    Event::Close { choice: 0, block }
}

fn finish(reason: Reason, raw: &str) -> Event {
    Event::Finish { choice: 0, finish: Finish::new(reason, raw) }
}

fn call(id: &str, name: &str) -> Block {
    Block::ToolCall { id: id.to_owned(), name: name.to_owned(), signature: None }
}

#[test]
fn a_plain_stream_is_read_from_its_start_to_its_end() {
    let first = json!({
        "id": "c-1", "created": 5, "model": "m-1", "service_tier": "default",
        "choices": [{ "index": 0, "delta": { "role": "assistant", "content": "" }, "finish_reason": null }],
    });
    let mut second = chunk(json!({ "content": "hé" }), None);
    second["service_tier"] = json!("default");
    second["choices"][0]["logprobs"] = json!({ "content": [] });
    let usage =
        json!({ "id": "c-1", "choices": [], "usage": { "prompt_tokens": 1, "completion_tokens": 2 } });
    let text = stream(&[first, second, chunk(json!({}), Some("stop")), usage]) + "data: [DONE]\n\n";
    let expected = vec![
        Event::Start(Start { id: Some("c-1".into()), model: Some("m-1".into()), created: Some(5) }),
        Event::Extra(json!({ "service_tier": "default" }).as_object().unwrap().clone()),
        open(0, Block::Text),
        said(0, "hé"),
        Event::Logprobs { choice: 0, value: json!({ "content": [] }) },
        Event::Usage(Usage { input: 1, output: 2, ..Usage::default() }),
        close(0),
        finish(Reason::Stop, "stop"),
        Event::End,
    ];
    assert_eq!(read(text.as_bytes()), (expected, Ok(())));
}

#[test]
fn framing_does_not_matter() {
    let chunks = [chunk(json!({ "content": "a\n{\"[" }), None), chunk(json!({}), Some("stop"))];
    let plain = stream(&chunks) + "data: [DONE]\n\n";
    let expected = read(plain.as_bytes());
    assert_eq!(expected.1, Ok(()));
    let pretty = serde_json::to_string_pretty(&chunks[0]).unwrap().replace('\n', "\ndata: ");
    for text in [
        plain.replace('\n', "\r\n"),
        plain.replace("\n\n", "\n"),
        plain.replace("data: ", "data:"),
        plain.replace("data: ", ": OPENROUTER PROCESSING\n\nevent: x\nid: 7\ndata: "),
        plain.trim_end().to_owned(),
        // Who has finished need not say [DONE].
        stream(&chunks),
        format!("data: {pretty}\n\ndata: {}\n\n", chunks[1]),
        format!("{}\n{}\n", chunks[0], chunks[1]),
    ] {
        assert_eq!(read(text.as_bytes()), expected, "{text}");
        for size in 1..40 {
            assert_eq!(read_in(text.as_bytes().chunks(size)), expected, "pieces of {size}: {text}");
        }
    }
}

#[test]
fn calls_are_told_apart_however_they_are_numbered() {
    let piece = |index: Value, id: Value, name: Value, arguments: &str| {
        let function = json!({ "name": name, "arguments": arguments });
        chunk(json!({ "tool_calls": [{ "index": index, "id": id, "function": function }] }), None)
    };
    let none = Value::Null;
    let end = chunk(json!({}), Some("tool_calls"));
    let expected = [
        open(0, call("a", "f")),
        arguments(0, "{"),
        arguments(0, "}"),
        close(0),
        open(1, call("b", "g")),
        arguments(1, "{}"),
        close(1),
        finish(Reason::ToolCalls, "tool_calls"),
    ];
    for (what, pieces) in [
        (
            "as OpenAI does",
            [
                piece(json!(0), json!("a"), json!("f"), "{"),
                piece(json!(0), none.clone(), none.clone(), "}"),
                piece(json!(1), json!("b"), json!("g"), "{}"),
            ],
        ),
        (
            "everything repeated",
            [
                piece(json!(0), json!("a"), json!("f"), "{"),
                piece(json!(0), json!("a"), json!("f"), "}"),
                piece(json!(1), json!("b"), json!("g"), "{}"),
            ],
        ),
        (
            "all of them numbered 0",
            [
                piece(json!(0), json!("a"), json!("f"), "{"),
                piece(json!(0), json!(""), json!(""), "}"),
                piece(json!(0), json!("b"), json!("g"), "{}"),
            ],
        ),
        (
            "no numbers",
            [
                piece(none.clone(), json!("a"), json!("f"), "{"),
                piece(none.clone(), none.clone(), none.clone(), "}"),
                piece(none.clone(), json!("b"), json!("g"), "{}"),
            ],
        ),
        (
            "a new id at each piece",
            [
                piece(json!(0), json!("a"), json!("f"), "{"),
                piece(json!(0), json!("x"), none.clone(), "}"),
                piece(json!(1), json!("b"), json!("g"), "{}"),
            ],
        ),
    ] {
        let [one, two, three] = pieces;
        assert_eq!(events(&stream(&[one, two, three, end.clone()])), expected, "{what}");
    }
    let nameless = piece(json!(0), json!("a"), none, "{");
    assert!(matches!(read(stream(&[nameless]).as_bytes()).1, Err(Broken::Malformed(_))));
}

#[test]
fn older_calls_and_stops_beside_calls_are_calls() {
    let text = stream(&[
        chunk(json!({ "function_call": { "name": "f", "arguments": "" } }), None),
        chunk(json!({ "function_call": { "arguments": "{}" } }), Some("stop")),
    ]);
    let expected =
        [open(0, call("call_c-1_0_0", "f")), arguments(0, "{}"), close(0), finish(Reason::ToolCalls, "stop")];
    assert_eq!(events(&text), expected);
}

#[test]
fn thoughts_and_seals_are_read() {
    let details = |detail: Value| chunk(json!({ "reasoning": "x", "reasoning_details": [detail] }), None);
    let text = stream(&[
        details(json!({ "type": "reasoning.text", "text": "h" })),
        details(json!({ "type": "reasoning.text", "text": "m" })),
        details(json!({ "type": "reasoning.text", "signature": "s" })),
        chunk(json!({ "reasoning_content": "so" }), None),
        chunk(json!({ "content": "a" }), Some("stop")),
    ]);
    let expected = [
        open(0, Block::Thinking),
        said(0, "h"),
        said(0, "m"),
        delta(0, Delta::Signature("s".to_owned())),
        said(0, "so"),
        close(0),
        open(1, Block::Text),
        said(1, "a"),
        close(1),
        finish(Reason::Stop, "stop"),
    ];
    assert_eq!(events(&text), expected);
}

#[test]
fn answers_beside_each_other_are_kept_apart() {
    let mut other = chunk(json!({ "content": "b" }), Some("length"));
    other["choices"][0]["index"] = json!(1);
    let text = stream(&[chunk(json!({ "content": "a" }), Some("stop")), other]);
    let finishes: Vec<_> = events(&text)
        .into_iter()
        .filter_map(|event| match event {
            Event::Finish { choice, finish } => Some((choice, finish.reason)),
            _ => None,
        })
        .collect();
    assert_eq!(finishes, [(0, Reason::Stop), (1, Reason::Length)]);
}

#[test]
fn azures_first_chunk_does_not_begin_the_answer() {
    let filters =
        json!({ "id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": [{}] });
    let text = stream(&[filters, chunk(json!({ "content": "a" }), Some("stop"))]);
    let (events, end) = read(text.as_bytes());
    assert_eq!(end, Ok(()));
    let start = Start { id: Some("c-1".into()), model: Some("m-1".into()), created: None };
    assert_eq!(events[0], Event::Start(start));
    assert!(matches!(&events[1], Event::Extra(extra) if extra.contains_key("prompt_filter_results")));
}

#[test]
fn errors_end_the_stream_wherever_they_come() {
    let piece = stream(&[chunk(json!({ "content": "a" }), None)]);
    let error = json!({ "message": "gone", "type": "server_error", "code": 502 });
    for text in [
        format!("{}data: {}\n\n", piece, json!({ "error": error })),
        format!("{}event: error\ndata: {}\n\ndata: [DONE]\n\n", piece, json!({ "error": error })),
        format!("{}data: {}\n\n", piece, json!({ "choices": [{ "error": error, "delta": {} }] })),
        format!("{}{:#}\n", piece, json!({ "error": error })),
    ] {
        let (mut events, end) = read(text.as_bytes());
        assert_eq!(end, Ok(()), "{text}");
        let expected = ProviderError {
            message: "gone".into(),
            kind: Some("server_error".into()),
            code: Some("502".into()),
            status: Some(502),
            ..ProviderError::default()
        };
        assert_eq!(events.pop(), Some(Event::Error(expected)), "{text}");
    }
}

#[test]
fn streams_that_end_too_early_or_hold_nonsense_are_broken() {
    let piece = stream(&[chunk(json!({ "content": "a" }), None)]);
    for text in ["", "\n\n", "data: [DONE]\n\n", &piece, &piece[..piece.len() - 9], "<html>\n"] {
        assert_eq!(read(text.as_bytes()).1, Err(Broken::Cut), "{text}");
    }
    for text in
        ["data: hi\n\n", "data: {\"a\n\n", "data: {]\n\n", "data: 7\n\n", "data: {\"choices\":[7]}\n\n"]
    {
        assert!(matches!(read(text.as_bytes()).1, Err(Broken::Malformed(_))), "{text}");
    }
    // [DONE] is a promise that all has come.
    let done = piece + "data: [DONE]\n\n";
    assert_eq!(read(done.as_bytes()).1, Ok(()));
}

#[test]
fn an_event_that_never_ends_is_not_collected() {
    let mut reader = Reader::default();
    let piece = vec![b'x'; 1 << 20];
    let mut read = || reader.read(&piece, &mut Vec::new());
    let broken = (0..=MAX_EVENT >> 20).find_map(|_| read().err());
    assert_eq!(broken, Some(Broken::TooLarge));
}

/// The chunks that are written for these events; the last is `[DONE]` if it is there.
fn written(events: &[Event], strict: bool) -> Vec<Value> {
    let (mut writer, mut out) = (Writer::new(&about(strict)), Vec::new());
    events.iter().for_each(|event| writer.write(event, &mut out));
    let text = String::from_utf8(out).unwrap();
    let data = text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap());
    data.map(|data| serde_json::from_str(data).unwrap_or(Value::from(data))).collect()
}

/// The deltas of what is written for these events.
fn deltas(events: &[Event], strict: bool) -> Vec<Value> {
    let all = written(events, strict);
    let deltas = all.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta").cloned());
    deltas.collect()
}

#[test]
fn a_stream_is_written_as_openai_writes_it() {
    let usage = Usage { input: 1, output: 2, ..Usage::default() };
    let start = Start { id: Some("c-1".into()), model: Some("m-1".into()), created: Some(5) };
    let chunks = written(
        &[
            Event::Start(start),
            open(0, Block::Text),
            said(0, "hi"),
            Event::Logprobs { choice: 0, value: json!({ "content": [] }) },
            close(0),
            Event::Finish { choice: 0, finish: Finish::new(Reason::Stop, "end_turn") },
            Event::Usage(usage),
            Event::End,
        ],
        true,
    );
    let chunk = |choices: Value, usage: Value| {
        json!({
            "id": "c-1", "object": "chat.completion.chunk", "created": 5, "model": "m-1", "provider": "p",
            "choices": choices, "usage": usage,
        })
    };
    let piece = |delta: Value, logprobs: Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish });
        chunk(json!([choice]), Value::Null)
    };
    let null = Value::Null;
    let counts = json!({
        "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": 0, "audio_tokens": 0 },
    });
    let expected = [
        piece(json!({ "role": "assistant", "content": "" }), null.clone(), null.clone()),
        piece(json!({ "content": "hi" }), null.clone(), null.clone()),
        piece(json!({}), json!({ "content": [] }), null.clone()),
        piece(json!({}), null.clone(), json!("stop")),
        chunk(json!([]), counts),
        json!("[DONE]"),
    ];
    assert_eq!(chunks, expected);
}

#[test]
fn calls_are_numbered_and_have_arguments() {
    let seal = Delta::Signature("s".to_owned());
    let events = [
        Event::Start(Start::default()),
        open(0, Block::Thinking),
        said(0, "hm"),
        close(0),
        open(1, call("a", "f")),
        delta(1, seal),
        close(1),
        open(2, call("b", "g")),
        arguments(2, "{}"),
        close(2),
        finish(Reason::ToolCalls, "tool_use"),
    ];
    let call = |index: u64, id: &str, name: &str| {
        let function = json!({ "name": name, "arguments": "" });
        json!({ "tool_calls": [{ "index": index, "id": id, "type": "function", "function": function }] })
    };
    let more = |index: u64| json!({ "tool_calls": [{ "index": index, "function": { "arguments": "{}" } }] });
    let role = json!({ "role": "assistant", "content": "" });
    let strict = [role.clone(), call(0, "a", "f"), call(1, "b", "g"), more(1), more(0), json!({})];
    assert_eq!(deltas(&events, true), strict);
    let open = [
        role,
        json!({ "content_blocks": [{ "index": 0, "delta": { "thinking": "hm" } }] }),
        call(0, "a", "f"),
        json!({ "tool_calls": [{ "index": 0, "function": { "thought_signature": "s" } }] }),
        call(1, "b", "g"),
        more(1),
        more(0),
        json!({}),
    ];
    assert_eq!(deltas(&events, false), open);
}

#[test]
fn blocks_are_shown_as_portkey_shows_them() {
    let citation = json!({ "type": "web_search_result_location", "url": "https://a", "title": "A" });
    let events = [
        Event::Start(Start::default()),
        open(0, Block::RedactedThinking { data: "d".to_owned() }),
        close(0),
        open(1, Block::Text),
        said(1, "ö"),
        delta(1, Delta::Citation(citation.clone())),
        close(1),
        open(2, Block::Refusal),
        said(2, "no"),
        close(2),
    ];
    let note = json!({ "start_index": 0, "end_index": 1, "title": "A", "url": "https://a" });
    let role = json!({ "role": "assistant", "content": "" });
    let notes = json!({ "annotations": [{ "type": "url_citation", "url_citation": note }] });
    let refusal = json!({ "refusal": "no" });
    let block = |index: u64, delta: Value| json!({ "content_blocks": [{ "index": index, "delta": delta }] });
    let shown = [
        role.clone(),
        block(0, json!({ "data": "d" })),
        json!({ "content": "ö", "content_blocks": [{ "index": 1, "delta": { "text": "ö" } }] }),
        block(1, json!({ "citation": citation })),
        notes.clone(),
        refusal.clone(),
    ];
    assert_eq!(deltas(&events, false), shown);
    assert_eq!(deltas(&events, true), [role, json!({ "content": "ö" }), notes, refusal]);
}

#[test]
fn further_fields_come_with_the_next_chunk() {
    let extra = json!({ "service_tier": "default", "citations": ["https://a"] });
    let events =
        [Event::Start(Start::default()), Event::Extra(extra.as_object().unwrap().clone()), Event::End];
    let chunks = written(&events, true);
    assert_eq!((&chunks[1]["service_tier"], chunks[1].get("citations")), (&json!("default"), None));
    assert_eq!(written(&events, false)[1]["citations"], json!(["https://a"]));
    assert_eq!(written(&events, true)[2], "[DONE]");
}

#[test]
fn an_error_in_the_middle_is_an_error_event_and_the_last() {
    let error = ProviderError { message: "gone".into(), kind: Some("t".into()), ..ProviderError::default() };
    let chunks = written(&[Event::Start(Start::default()), Event::Error(error)], true);
    let expected = json!({
        "error": { "message": "p error: gone", "type": "t", "param": null, "code": null }, "provider": "p",
    });
    assert_eq!(chunks[1..], [expected]);
}
