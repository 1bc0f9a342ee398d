//! What fixtures cannot say: parts that OpenAI's dialect lacks, broken streams, and laws.

use domain::model::ModelInfo;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::aws::{Frame, encode};
use crate::chat::{
    Block, Broken, Cache, Delta, Dialect, Event, MAX_EVENT, Message, Part, PartKind, ReadEvents, Request,
    Role, Source, Target, Written,
};

fn write(request: Request, model: Option<&ModelInfo>) -> Result<(Value, Vec<String>), domain::ApiError> {
    let target = Target { provider: "bedrock", model, options: &Map::new() };
    let Written { body, dropped } = write_request(request, &target)?;
    Ok((serde_json::from_slice(&body).unwrap(), dropped))
}

fn request(messages: Vec<Message>) -> Request {
    Request { model: "amazon.nova-pro-v1:0".to_owned(), messages, ..Request::default() }
}

fn message(role: Role, kinds: Vec<PartKind>) -> Message {
    Message { role, name: None, parts: kinds.into_iter().map(Part::new).collect() }
}

fn result(id: &str, parts: Vec<Part>, is_error: bool) -> PartKind {
    PartKind::ToolResult { id: id.to_owned(), name: None, parts, is_error }
}

fn call(id: &str) -> PartKind {
    let (id, name) = (id.to_owned(), "f".to_owned());
    PartKind::ToolCall { id, name, arguments: String::new(), signature: Some("s".to_owned()) }
}

#[test]
fn failed_results_come_first_and_keep_their_files() {
    let image = PartKind::Image {
        source: Source::Base64 { media_type: "image/png".to_owned(), data: "AAAA".to_owned() },
        detail: None,
    };
    let cached = Part { cache: Some(Cache { ttl: Some("2h".to_owned()) }), ..Part::text("no such city") };
    let messages = vec![
        message(Role::Assistant, vec![call("a"), call("b")]),
        Message::text(Role::User, "and"),
        message(Role::Tool, vec![result("a", vec![cached, Part::new(image)], true)]),
        message(Role::Tool, vec![result("b", vec![Part::text(" ")], false)]),
    ];
    let (body, dropped) = write(request(messages), None).unwrap();
    let expected = json!([
        {"toolResult": {"toolUseId": "a", "status": "error", "content": [
            {"text": "no such city"}, {"image": {"format": "png", "source": {"bytes": "AAAA"}}},
        ]}},
        {"cachePoint": {"type": "default"}},
        {"toolResult": {"toolUseId": "b", "content": []}},
        {"text": "and"},
    ]);
    assert_eq!(body["messages"][1]["content"], expected);
    let lost = [
        "messages[0].tool_calls[0].function.thought_signature",
        "messages[0].tool_calls[1].function.thought_signature",
        "messages[2].content[0].cache_control.ttl",
        "messages[3].content[0]",
    ];
    assert_eq!(dropped, lost);
}

#[test]
fn blocks_of_ones_own_pass_and_those_of_others_are_reported() {
    let native =
        |dialect| PartKind::Native { dialect, value: json!({"guardContent": {"text": {"text": "x"}}}) };
    let messages = vec![
        message(Role::System, vec![native(Dialect::Bedrock), native(Dialect::Gemini)]),
        message(Role::User, vec![native(Dialect::Bedrock), native(Dialect::Anthropic)]),
        message(Role::Assistant, vec![PartKind::RedactedThinking { data: "not base64!".to_owned() }]),
    ];
    let (body, dropped) = write(request(messages), None).unwrap();
    let block = json!([{"guardContent": {"text": {"text": "x"}}}]);
    assert_eq!(body["system"], block);
    assert_eq!(body["messages"], json!([{"role": "user", "content": block}]));
    assert_eq!(dropped, ["messages[0].content[1]", "messages[1].content[1]", "messages[2].content[0]"]);
}

#[test]
fn what_has_no_place_is_refused_with_its_path() {
    let sound = || PartKind::Audio { source: Source::File("file-1".to_owned()) };
    let refused = |messages| write(request(messages), None).unwrap_err();
    let err = refused(vec![message(Role::System, vec![sound()])]);
    assert_eq!(err.param.as_deref(), Some("messages[0].content[0]"));
    let err = refused(vec![message(Role::User, vec![sound()])]);
    assert_eq!(err.param.as_deref(), Some("messages[0].content[0].input_audio"));
    assert!(err.message.contains("has no store of files"), "{}", err.message);
    let clip = PartKind::Video { source: Source::Url("s3://bucket/clip".to_owned()) };
    assert!(
        refused(vec![message(Role::User, vec![clip])]).message.contains("end it in one of flv, mkv, mov")
    );
}

#[test]
fn the_catalogue_knows_what_hides_behind_an_id() {
    let info = |name: &str| ModelInfo {
        provider: "bedrock".to_owned(),
        name: name.to_owned(),
        aliases: Vec::new(),
        context_window: None,
        max_output: Some(64_000),
        capabilities: Default::default(),
        price: None,
        source: String::new(),
        as_of: String::new(),
    };
    let asked = Request {
        model: "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3".to_owned(),
        reasoning: Some(crate::chat::Reasoning {
            effort: Some(crate::chat::Effort::Low),
            ..Default::default()
        }),
        ..request(vec![Message::text(Role::User, "hi")])
    };
    let (body, dropped) = write(asked.clone(), None).unwrap();
    assert_eq!(
        (body.get("additionalModelRequestFields"), dropped),
        (None, vec!["reasoning_effort".to_owned()])
    );
    let claude = info("anthropic.claude-haiku-4-5-20251001-v1:0");
    let (body, dropped) = write(asked, Some(&claude)).unwrap();
    assert_eq!(
        body["additionalModelRequestFields"],
        json!({"thinking": {"type": "enabled", "budget_tokens": 12_800}})
    );
    assert!(dropped.is_empty());
}

#[test]
fn errors_are_read_in_every_form() {
    let read = |body: &str| read_error(body.as_bytes());
    let plain = read(r#"{"message":"The model is not there."}"#);
    assert_eq!((plain.message.as_str(), plain.kind), ("The model is not there.", None));
    let typed =
        read(r#"{"__type":"com.amazon.coral.service#ThrottlingException:http://x/","Message":"slow"}"#);
    assert_eq!((typed.message.as_str(), typed.kind.as_deref()), ("slow", Some("ThrottlingException")));
    assert_eq!(read("<html>").message, "<html>");
    assert_eq!(read(&"x".repeat(9000)).message.len(), 4096);
}

fn event(kind: &str, payload: Value) -> Frame {
    Frame::event(kind, payload.to_string())
}

fn delta(index: u64, delta: Value) -> Frame {
    event("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}))
}

fn bytes(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    frames.iter().for_each(|frame| encode(frame, &mut out).unwrap());
    out
}

/// All that a reader says of a stream that comes in pieces of that size.
fn read(stream: &[u8], size: usize) -> (Vec<Event>, Result<(), Broken>) {
    let (mut reader, mut out) = (Reader::default(), Vec::new());
    for piece in stream.chunks(size) {
        if let Err(broken) = reader.read(piece, &mut out) {
            return (out, Err(broken));
        }
    }
    let end = reader.end(&mut out);
    (out, end)
}

#[test]
fn an_answer_without_counts_is_one_and_a_cut_one_is_not() {
    let whole = [
        event("messageStart", json!({"role": "assistant"})),
        delta(0, json!({"text": "a"})),
        event("somethingNew", json!({})),
        event("messageStop", json!({"stopReason": "end_turn"})),
    ];
    let (events, end) = read(&bytes(&whole), 7);
    assert_eq!((events.last(), end), (Some(&Event::End), Ok(())));
    assert_eq!(read(&bytes(&whole[..3]), 7).1, Err(Broken::Cut));
    let mut cut = bytes(&whole);
    cut.extend(&bytes(&whole)[..20]);
    assert_eq!(read(&cut, 7).1, Err(Broken::Cut));
}

#[test]
fn nothing_follows_an_error_or_the_end() {
    let late = delta(0, json!({"text": "late"}));
    let stop = event("messageStop", json!({"stopReason": "end_turn"}));
    // Counts before the end of the answer: not documented, and no reason to lose them.
    let counts = event("metadata", json!({"usage": {"inputTokens": 1, "outputTokens": 2}}));
    let (events, end) = read(&bytes(&[counts, stop, late.clone()]), 1000);
    assert!(matches!(&events[..], [Event::Start(_), Event::Usage(_), Event::Finish { .. }, Event::End]));
    assert_eq!(end, Ok(()));
    let error = Frame {
        headers: [(":message-type", "error"), (":error-code", "InternalFailure"), (":error-message", "gone")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        payload: Default::default(),
    };
    for (frame, kind, status) in [
        (error, "InternalFailure", 500),
        (Frame::exception("throttlingException", r#"{"message":"gone"}"#), "throttlingException", 429),
        (Frame::exception("ValidationException", r#"{"message":"gone"}"#), "ValidationException", 400),
        (Frame::exception("modelTimeoutException", "gone"), "modelTimeoutException", 408),
    ] {
        let (events, end) = read(&bytes(&[frame, late.clone()]), 1000);
        let [Event::Error(error)] = &events[..] else { panic!("{events:?}") };
        let said = (error.kind.as_deref(), error.status, error.message.as_str(), end);
        assert_eq!(said, (Some(kind), Some(status), "gone", Ok(())));
    }
}

#[test]
fn broken_promises_are_told_by_place() {
    let broken = |frame: Frame| read(&bytes(&[frame]), 1000).1.unwrap_err().to_string();
    let arguments = delta(0, json!({"toolUse": {"input": "{"}}));
    assert_eq!(broken(arguments), "malformed event: contentBlockDelta: arguments of no call");
    let nameless = event("contentBlockStart", json!({"contentBlockIndex": 0, "start": {"toolUse": {}}}));
    assert!(broken(nameless).contains("no id or no name"));
    assert_eq!(
        broken(Frame::event("messageStop", "{\"secret")),
        "malformed event: messageStop: line 1, column 8"
    );
    assert!(broken(Frame::default()).contains("no message type"));
}

#[test]
fn images_come_whole_and_not_without_end() {
    let begin =
        event("contentBlockStart", json!({"contentBlockIndex": 0, "start": {"image": {"format": "png"}}}));
    let piece = delta(0, json!({"image": {"source": {"bytes": "AAAA"}}}));
    let stop = event("contentBlockStop", json!({"contentBlockIndex": 0}));
    let (events, _) = read(&bytes(&[begin, piece, stop]), 1000);
    let value = json!({"image": {"format": "png", "source": {"bytes": "AAAA"}}});
    let what = Block::Native { dialect: Dialect::Bedrock, value };
    let block = [Event::Open { choice: 0, block: 0, what }, Event::Close { choice: 0, block: 0 }];
    assert_eq!(events[1..], block);

    let start = json!({"toolUse": {"toolUseId": "a", "name": "b", "type": "server_tool_use"}});
    let mut frames = vec![event("contentBlockStart", json!({"contentBlockIndex": 0, "start": start}))];
    let piece = "x".repeat(MAX_EVENT / 3);
    frames.extend((0..3).map(|_| delta(0, json!({"toolUse": {"input": piece}}))));
    assert_eq!(read(&bytes(&frames), 1 << 20).1, Err(Broken::TooLarge));
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let index = || 0..3_u64;
    let text = || "[a-z {}\"]{0,6}";
    let piece = prop_oneof![
        text().prop_map(|text| json!({"text": text})),
        text().prop_map(|text| json!({"toolUse": {"input": text}})),
        text().prop_map(|text| json!({"toolResult": [{"text": text}]})),
        text().prop_map(|text| json!({"reasoningContent": {"text": text}})),
        text().prop_map(|text| json!({"reasoningContent": {"signature": text}})),
        text().prop_map(|text| json!({"reasoningContent": {"redactedContent": text}})),
        text().prop_map(|text| json!({"citation": {"title": text}})),
        Just(json!({"image": {"source": {}}})),
        Just(json!({"new": 1})),
    ];
    let start = prop_oneof![
        Just(json!({"toolUse": {"toolUseId": "a", "name": "f"}})),
        Just(json!({"toolUse": {"toolUseId": "a", "name": "f", "type": "server_tool_use"}})),
        Just(json!({"toolResult": {"toolUseId": "a"}})),
        Just(json!({"image": {"format": "png"}})),
        Just(json!({})),
    ];
    prop_oneof![
        8 => (index(), piece).prop_map(|(index, piece)| delta(index, piece)),
        4 => (index(), start).prop_map(|(index, start)| {
            event("contentBlockStart", json!({"contentBlockIndex": index, "start": start}))
        }),
        4 => index().prop_map(|index| event("contentBlockStop", json!({"contentBlockIndex": index}))),
        1 => Just(event("messageStart", json!({"role": "assistant"}))),
        1 => Just(event("messageStop", json!({"stopReason": "tool_use"}))),
        1 => Just(event("metadata", json!({"usage": {"inputTokens": 1, "outputTokens": 2}, "p": "abc"}))),
        1 => Just(Frame::exception("throttlingException", r#"{"message":"m"}"#)),
    ]
}

/// The promises that [`Event`] makes to writers.
fn keeps_its_promises(events: &[Event]) -> Result<(), TestCaseError> {
    let (mut next, mut open, mut finished) = (0, None, false);
    for (place, event) in events.iter().enumerate() {
        let last = place + 1 == events.len();
        match event {
            Event::Start(_) => prop_assert_eq!(place, 0),
            Event::Open { block, .. } => {
                prop_assert_eq!((*block, open, finished), (next, None, false));
                next += 1;
                open = Some(*block);
            }
            Event::Delta { block, delta, .. } => {
                prop_assert_eq!(open, Some(*block));
                prop_assert!(!matches!(delta, Delta::Text(text) if text.is_empty()));
            }
            Event::Close { block, .. } => prop_assert_eq!(open.take(), Some(*block)),
            Event::Finish { .. } => {
                prop_assert!(open.is_none() && !std::mem::replace(&mut finished, true));
            }
            Event::End => prop_assert!(finished && last),
            Event::Error(_) => prop_assert!(last),
            Event::Logprobs { .. } | Event::Usage(_) | Event::Extra(_) => (),
        }
    }
    Ok(())
}

fn any_message() -> impl Strategy<Value = Message> {
    let text = prop_oneof![Just(""), Just(" \n"), Just("a")];
    prop_oneof![
        text.clone().prop_map(|text| Message::text(Role::System, text)),
        text.clone().prop_map(|text| Message::text(Role::User, text)),
        text.prop_map(|text| Message::text(Role::Assistant, text)),
        "[a-z!]{0,70}".prop_map(|id| message(Role::Assistant, vec![call(&id)])),
        "[a-z!]{0,70}".prop_map(|id| message(Role::Tool, vec![result(&id, vec![Part::text("r")], false)])),
    ]
}

proptest! {
    #[test]
    fn events_keep_their_promises_however_the_stream_is_cut(
        frames in prop::collection::vec(any_frame(), 0..12), size in 1..200_usize,
    ) {
        let stream = bytes(&frames);
        let whole = read(&stream, stream.len().max(1));
        keeps_its_promises(&whole.0)?;
        prop_assert_eq!(read(&stream, size), whole);
    }

    #[test]
    fn no_bytes_are_too_strange(body in prop::collection::vec(any::<u8>(), 0..200), size in 1..50_usize) {
        let _ = (read(&body, size), read_answer(&body), read_error(&body));
        let framed = bytes(&[Frame::event("contentBlockDelta", body.clone())]);
        let _ = (read(&framed, size), read(&bytes(&[Frame::exception("x", body)]), size));
    }

    #[test]
    fn sides_alternate_and_results_come_first(messages in prop::collection::vec(any_message(), 0..8)) {
        let Ok((body, _)) = write(request(messages), None) else { return Ok(()) };
        let mut before = "";
        let turns = body["messages"].as_array().unwrap();
        for turn in turns {
            prop_assert_ne!(turn["role"].as_str().unwrap(), before);
            before = turn["role"].as_str().unwrap();
            let blocks = turn["content"].as_array().unwrap();
            let is_result = |block: &Value| block.get("toolResult").is_some();
            prop_assert!(!blocks.is_empty() && blocks.is_sorted_by_key(|block| !is_result(block)));
            for block in blocks {
                prop_assert!(block.get("text").is_none_or(|text| !text.as_str().unwrap().trim().is_empty()));
                let id = block.pointer("/toolUse/toolUseId").or(block.pointer("/toolResult/toolUseId"));
                prop_assert!(id.is_none_or(|id| (1..=64).contains(&id.as_str().unwrap().len())));
            }
        }
    }
}
