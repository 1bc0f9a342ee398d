//! Streams.

use std::collections::BTreeMap;

use domain::Usage;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Reader, Writer, observer};
use super::answers::{part, usage};
use super::{ABOUT, json_value};
use crate::chat::{
    Block, Broken, Delta, Event, Finish, MAX_EVENT, Part, PartKind, ProviderError, ReadEvents, Reason, Start,
    WriteEvents,
};

fn read(bytes: &[u8], size: usize) -> Result<Vec<Event>, Broken> {
    let (mut reader, mut events) = (Reader::default(), Vec::new());
    for piece in bytes.chunks(size.max(1)) {
        reader.read(piece, &mut events)?;
    }
    reader.end(&mut events)?;
    Ok(events)
}

fn write(events: &[Event]) -> Vec<u8> {
    let (mut writer, mut out) = (Writer::new(&ABOUT), Vec::new());
    events.iter().for_each(|event| writer.write(event, &mut out));
    out
}

fn sse(events: &[Value]) -> Vec<u8> {
    let event = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(event).collect::<String>().into_bytes()
}

/// The events of an answer whose texts come in pieces of `size` characters.
fn events(parts: &[Part], size: usize, usage: Usage) -> Vec<Event> {
    let mut out =
        vec![Event::Start(Start { id: Some("msg_1".into()), model: Some("m".into()), created: None })];
    out.push(Event::Usage(Usage::default()));
    let pieces = |text: &str| -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        chars.chunks(size).map(|piece| piece.iter().collect()).collect()
    };
    for (block, part) in (0_u32..).zip(parts) {
        let (what, mut deltas, seal) = match &part.kind {
            PartKind::Text { text, citations } => {
                let deltas = pieces(text).into_iter().map(Delta::Text);
                (Block::Text, deltas.chain(citations.iter().cloned().map(Delta::Citation)).collect(), None)
            }
            PartKind::Thinking { text, signature } => (
                Block::Thinking,
                pieces(text).into_iter().map(Delta::Text).collect::<Vec<_>>(),
                signature.clone(),
            ),
            PartKind::RedactedThinking { data } => {
                (Block::RedactedThinking { data: data.clone() }, Vec::new(), None)
            }
            PartKind::ToolCall { id, name, arguments, signature } => {
                let (id, name, signature) = (id.clone(), name.clone(), signature.clone());
                let deltas = pieces(arguments).into_iter().map(Delta::Arguments).collect();
                (Block::ToolCall { id, name, signature }, deltas, None)
            }
            PartKind::Native { dialect, value } => {
                (Block::Native { dialect: *dialect, value: value.clone() }, Vec::new(), None)
            }
            other => panic!("{other:?} is not generated"),
        };
        deltas.extend(seal.map(Delta::Signature));
        out.push(Event::Open { choice: 0, block, what });
        out.extend(deltas.into_iter().map(|delta| Event::Delta { choice: 0, block, delta }));
        out.push(Event::Close { choice: 0, block });
    }
    let finish = Finish { reason: Reason::Stop, raw: Some("end_turn".into()), stop_sequence: None };
    out.extend([Event::Usage(usage), Event::Finish { choice: 0, finish }, Event::End]);
    out
}

/// What readers promise of every stream.
fn keeps_order(events: &[Event]) -> bool {
    let mut open: BTreeMap<u32, bool> = BTreeMap::new();
    let (mut finished, mut ended) = (false, false);
    events.iter().enumerate().all(|(number, event)| {
        let fits = !ended
            && match event {
                Event::Start(_) => number == 0,
                Event::Open { block, .. } => {
                    !finished && open.insert(*block, true).is_none() && *block as usize + 1 == open.len()
                }
                Event::Delta { block, .. } => open.get(block) == Some(&true),
                Event::Close { block, .. } => open.insert(*block, false) == Some(true),
                Event::Finish { .. } => !finished && open.values().all(|open| !open),
                Event::End => finished,
                _ => true,
            };
        finished |= matches!(event, Event::Finish { .. });
        ended |= matches!(event, Event::End | Event::Error(_));
        fits && (number == 0) == matches!(event, Event::Start(_))
    })
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..20) {
        let _ = read(&bytes, size);
        let _ = observer().look(&bytes);
    }

    #[test]
    fn no_events_make_a_reader_panic_or_break_its_promises(
        values in prop::collection::vec(json_value(), 0..12),
        kinds in prop::collection::vec(0_usize..8, 12),
    ) {
        let mut reader = Reader::default();
        let mut events = Vec::new();
        let mut observer = observer();
        for (value, kind) in values.into_iter().zip(kinds) {
            let names = ["message_start", "content_block_start", "content_block_delta", "content_block_stop",
                         "message_delta", "message_stop", "error", "ping"];
            let block = content_block(kind, &value);
            let event = json!({ "type": names[kind], "index": kind % 2, "message": value.clone(), "delta": value,
                                "content_block": block, "usage": { "output_tokens": 3 } });
            let bytes = sse(&[event]);
            let _ = observer.look(&bytes);
            if reader.read(&bytes, &mut events).is_err() {
                break;
            }
        }
        let _ = reader.end(&mut events);
        prop_assert!(keeps_order(&events), "{:?}", events);
        write(&events);
    }

    #[test]
    fn what_is_written_is_read_as_it_was(
        parts in prop::collection::vec(part(), 0..5), size in 1_usize..9, usage in usage(), cut in 1_usize..40,
    ) {
        let said = events(&parts, size, usage);
        let bytes = write(&said);
        prop_assert!(keeps_order(&said));
        prop_assert_eq!(read(&bytes, cut).unwrap(), said.clone());
        let crlf = String::from_utf8(bytes).unwrap().replace('\n', "\r\n");
        prop_assert_eq!(read(crlf.as_bytes(), cut).unwrap(), said);
    }
}

fn content_block(kind: usize, value: &Value) -> Value {
    let kinds = ["text", "tool_use", "thinking", "server_tool_use"];
    let mut block = json!({ "type": kinds[kind % kinds.len()] });
    if let Some(fields) = value.as_object() {
        block.as_object_mut().unwrap().extend(fields.clone());
    }
    block
}

#[test]
fn a_stream_that_counts_at_its_end_has_its_counts_in_message_delta() {
    let usage = Usage { input: 30, output: 7, cached_input: 20, ..Usage::default() };
    let finish = Finish::new(Reason::ToolCalls, "tool_calls");
    let call = Block::ToolCall { id: "call_1".into(), name: "f".into(), signature: Some("s".into()) };
    let delta = |text: &str| Event::Delta { choice: 0, block: 0, delta: Delta::Arguments(text.into()) };
    let events = [
        Event::Start(Start { id: Some("chatcmpl-1".into()), ..Start::default() }),
        Event::Open { choice: 0, block: 0, what: call },
        delta("{}"),
        Event::Open { choice: 1, block: 0, what: Block::Text },
        Event::Close { choice: 1, block: 0 },
        Event::Close { choice: 0, block: 0 },
        Event::Finish { choice: 0, finish },
        Event::Usage(usage),
        Event::End,
    ];
    let expected = "event: message_start\n\
        data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_chatcmpl-1\",\"type\":\"message\",\
        \"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\
        \"usage\":{\"input_tokens\":0,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\
        \"output_tokens\":0}}}\n\n\
        event: content_block_start\n\
        data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\
        \"id\":\"call_1\",\"name\":\"f\",\"input\":{},\"thought_signature\":\"s\"}}\n\n\
        event: content_block_delta\n\
        data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\
        \"partial_json\":\"{}\"}}\n\n\
        event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
        event: message_delta\n\
        data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},\
        \"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":20,\
        \"output_tokens\":7}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    assert_eq!(String::from_utf8(write(&events)).unwrap(), expected);
}

#[test]
fn an_error_in_the_middle_is_an_event_of_its_own() {
    let error = ProviderError {
        message: "gone".into(),
        kind: Some("overloaded_error".into()),
        ..ProviderError::default()
    };
    let bytes = write(&[Event::Start(Start::default()), Event::Error(error)]);
    let text = String::from_utf8(bytes).unwrap();
    let expected = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\
        \"message\":\"groq error: gone\"},\"request_id\":null}\n\n";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn a_stream_that_breaks_off_is_cut() {
    let start = json!({ "type": "message_start", "message": { "id": "msg_1" } });
    let text =
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } });
    assert_eq!(read(&sse(&[start.clone(), text.clone()]), 7), Err(Broken::Cut));
    assert_eq!(read(b"", 1), Err(Broken::Cut));
    // Some hosts leave out the last event once they have given the reason.
    let delta = json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" } });
    let events = read(&sse(&[start, text, delta]), 7).unwrap();
    assert!(keeps_order(&events) && events.last() == Some(&Event::End), "{events:?}");
}

#[test]
fn what_is_not_promised_is_malformed() {
    let check = |events: &[Value], expected: &str| {
        let Err(Broken::Malformed(said)) = read(&sse(events), 99) else { panic!("taken") };
        assert!(said.contains(expected), "{said}");
    };
    let piece = |index: u64| json!({ "type": "content_block_delta", "index": index, "delta": {} });
    check(&[piece(3)], "block 3, which is not open");
    check(&[json!({ "type": "content_block_stop" })], "without `index`");
    let text =
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } });
    check(&[text.clone(), text], "starts twice");
    assert_eq!(read(b"data: {\"secret\n\n", 9), Err(Broken::Malformed("line 1, column 8".into())));
}

#[test]
fn events_beyond_the_limit_are_not_collected() {
    let mut reader = Reader::default();
    let mut events = Vec::new();
    let piece = vec![b'x'; MAX_EVENT / 4];
    let told = (0..6).map(|_| reader.read(&piece, &mut events)).find(Result::is_err);
    assert_eq!(told, Some(Err(Broken::TooLarge)));
    // Nor are the pieces of a block that comes whole.
    let search =
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "server_tool_use" } });
    let piece = json!({ "type": "content_block_delta", "index": 0,
                        "delta": { "type": "input_json_delta", "partial_json": "x".repeat(MAX_EVENT / 4) } });
    let mut reader = Reader::default();
    reader.read(&sse(&[search]), &mut events).unwrap();
    let piece = sse(&[piece]);
    let told = (0..6).map(|_| reader.read(&piece, &mut events)).find(Result::is_err);
    assert_eq!(told, Some(Err(Broken::TooLarge)));
}

#[test]
fn blocks_that_only_anthropic_has_come_whole() {
    let piece = |text: &str| {
        json!({ "type": "content_block_delta", "index": 4,
                "delta": { "type": "input_json_delta", "partial_json": text } })
    };
    let search = json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} });
    let stream = sse(&[
        json!({ "type": "message_start", "message": { "id": "msg_1" } }),
        json!({ "type": "content_block_start", "index": 4, "content_block": search }),
        piece("{\"query\":"),
        piece("\"ants\"}"),
        json!({ "type": "content_block_stop", "index": 4 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "pause_turn" } }),
        json!({ "type": "message_stop" }),
    ]);
    let value =
        json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": { "query": "ants" } });
    let dialect = crate::chat::Dialect::Anthropic;
    let expected = [
        Event::Start(Start { id: Some("msg_1".into()), ..Start::default() }),
        Event::Open { choice: 0, block: 0, what: Block::Native { dialect, value } },
        Event::Close { choice: 0, block: 0 },
        Event::Finish { choice: 0, finish: Finish::new(Reason::Pause, "pause_turn") },
        Event::End,
    ];
    assert_eq!(read(&stream, 5).unwrap(), expected);
}

#[test]
fn a_call_without_arguments_has_an_empty_object() {
    let start = |input: Value| {
        let call = json!({ "type": "tool_use", "id": "t", "name": "f", "input": input });
        json!({ "type": "content_block_start", "index": 0, "content_block": call })
    };
    // Some hosts say all arguments at the start.
    for (input, expected) in [(json!({}), "{}"), (Value::Null, "{}"), (json!({ "a": 1 }), "{\"a\":1}")] {
        let stop = json!({ "type": "content_block_stop", "index": 0 });
        let events = read(&sse(&[start(input), stop, json!({ "type": "message_stop" })]), 9).unwrap();
        let said = Event::Delta { choice: 0, block: 0, delta: Delta::Arguments(expected.into()) };
        assert!(events.contains(&said) && keeps_order(&events), "{events:?}");
    }
}
