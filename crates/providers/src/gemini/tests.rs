//! What fixtures do not show: refusals, odd streams, vectors, counts, and what holds for any bytes.

use domain::Usage;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::chat::Dialect;
use crate::chat::{
    Broken, Event, Finish, Message, Part, PartKind, ProviderError, ReadEvents, Reason, Request, Role, Source,
    Target, Tool, ToolChoice,
};
use crate::embeddings as vectors;

static OPTIONS: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

fn target() -> Target<'static> {
    Target { provider: "google", model: None, options: &OPTIONS }
}

fn request(model: &str, messages: Vec<Message>) -> Request {
    Request { model: model.to_owned(), messages, ..Request::default() }
}

fn sent(request: Request) -> (Value, Vec<String>) {
    let written = write_request(request, &target()).unwrap();
    (serde_json::from_slice(&written.body).unwrap(), written.dropped)
}

fn parts(role: Role, kinds: Vec<PartKind>) -> Message {
    Message { role, name: None, parts: kinds.into_iter().map(Part::new).collect() }
}

fn call(id: &str, name: &str) -> PartKind {
    PartKind::ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: "{}".to_owned(),
        signature: None,
    }
}

fn result(id: &str, name: Option<&str>, is_error: bool) -> PartKind {
    let parts = vec![Part::text("said")];
    PartKind::ToolResult { id: id.to_owned(), name: name.map(str::to_owned), parts, is_error }
}

#[test]
fn results_take_the_name_of_the_last_call_of_that_id() {
    let messages = vec![
        Message::text(Role::User, "a"),
        parts(Role::Assistant, vec![call("0", "first")]),
        parts(Role::Tool, vec![result("0", None, false)]),
        parts(Role::Assistant, vec![call("0", "second")]),
        parts(Role::Tool, vec![result("0", Some("other"), true), result("1", Some("named"), false)]),
    ];
    let (body, dropped) = sent(request("gemini-2.5-flash", messages));
    let response = |turn: usize, part: usize| &body["contents"][turn]["parts"][part]["functionResponse"];
    assert_eq!(*response(2, 0), json!({"name": "first", "response": {"output": "said"}}));
    assert_eq!(*response(4, 0), json!({"name": "second", "response": {"error": "said"}}));
    assert_eq!(*response(4, 1), json!({"name": "named", "response": {"output": "said"}}));
    assert_eq!(dropped, [""; 0]);
}

#[test]
fn results_come_in_the_order_of_their_calls() {
    let image = Part::new(PartKind::Image {
        source: Source::Base64 { media_type: "image/png".to_owned(), data: "AAAA".to_owned() },
        detail: None,
    });
    let shown = PartKind::ToolResult { id: "b".to_owned(), name: None, parts: vec![image], is_error: false };
    let messages = vec![
        Message::text(Role::User, "a"),
        parts(Role::Assistant, vec![call("a", "first"), call("b", "second")]),
        parts(Role::Tool, vec![shown]),
        parts(Role::Tool, vec![result("a", None, false)]),
        Message::text(Role::User, "go on"),
    ];
    let (body, _) = sent(request("gemini-2.5-flash", messages));
    let expected = json!([
        {"functionResponse": {"name": "first", "response": {"output": "said"}}},
        {"functionResponse": {"name": "second", "response": {"output": ""}}},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"text": "go on"},
    ]);
    assert_eq!(body["contents"][2]["parts"], expected);
}

#[test]
fn nothing_to_say_is_refused() {
    for messages in [vec![], vec![Message::text(Role::User, "")], vec![parts(Role::Assistant, vec![])]] {
        let error = write_request(request("gemini-2.5-flash", messages), &target()).unwrap_err();
        assert_eq!((error.status, error.param.as_deref()), (400, Some("messages")));
    }
}

#[test]
fn parts_and_tools_of_gemini_go_as_they_are_and_those_of_others_are_reported() {
    let native = |dialect| PartKind::Native { dialect, value: json!({"executableCode": {"code": "1"}}) };
    let tool = |dialect, value| Tool::Native { dialect, value };
    let messages = vec![
        Message::text(Role::User, "a"),
        parts(Role::Assistant, vec![native(Dialect::Gemini), native(Dialect::Anthropic)]),
    ];
    let mut request = request("gemini-2.5-flash", messages);
    request.tools = vec![
        tool(Dialect::Gemini, json!({"retrieval": {}})),
        tool(Dialect::Anthropic, json!({"type": "bash_20250124", "name": "bash"})),
    ];
    let value = json!({"retrievalConfig": {"languageCode": "en"}});
    request.tool_choice = Some(ToolChoice::Native { dialect: Dialect::Gemini, value: value.clone() });
    let (body, dropped) = sent(request);
    assert_eq!(body["contents"][1]["parts"], json!([{"executableCode": {"code": "1"}}]));
    assert_eq!(body["tools"], json!([{"retrieval": {}}]));
    assert_eq!(body["toolConfig"], value);
    assert_eq!(dropped, ["messages[1].content[1]", "tools[1]"]);
}

#[test]
fn a_choice_without_functions_is_left_out() {
    let mut request = request("gemini-2.5-flash", vec![Message::text(Role::User, "a")]);
    request.tool_choice = Some(ToolChoice::Required);
    let (body, dropped) = sent(request);
    assert!(body.get("toolConfig").is_none());
    assert_eq!(dropped, ["tool_choice"]);
}

#[test]
fn tools_are_refused_where_they_mean_nothing() {
    for (name, parameters, param) in
        [("", json!({}), "tools[0].function.name"), ("f", json!([1]), "tools[0].function.parameters")]
    {
        let mut request = request("gemini-2.5-flash", vec![Message::text(Role::User, "a")]);
        let function = crate::chat::Function {
            name: name.to_owned(),
            parameters: Some(parameters),
            ..Default::default()
        };
        request.tools = vec![Tool::Function(function)];
        let error = write_request(request, &target()).unwrap_err();
        assert_eq!((error.status, error.param.as_deref()), (400, Some(param)));
    }
}

#[test]
fn answers_that_are_none_say_why() {
    for (body, why) in [
        ("<html>", "not a JSON object"),
        ("[]", "not a JSON object"),
        ("{}", "no `candidates` and no `promptFeedback`"),
        (r#"{"candidates":{}}"#, "`candidates` is no array"),
        (
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{}}]}}]}"#,
            "candidates[0]: `functionCall` has no",
        ),
        (
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","willContinue":true}}]}}]}"#,
            "in pieces",
        ),
        (r#"{"candidates":[{"index":999}]}"#, "`index` is too large"),
        (r#"{"error":{"code":429,"message":"secret","status":"RESOURCE_EXHAUSTED"}}"#, "RESOURCE_EXHAUSTED"),
    ] {
        let error = read_answer(body.as_bytes()).unwrap_err();
        assert!(error.contains(why) && !error.contains("secret"), "{body}: {error}");
    }
}

#[test]
fn every_finish_reason_has_a_meaning() {
    for (word, reason) in [
        ("STOP", Reason::Stop),
        ("MAX_TOKENS", Reason::Length),
        ("CONTINUATION", Reason::Length),
        ("SAFETY", Reason::ContentFilter),
        ("RECITATION", Reason::ContentFilter),
        ("LANGUAGE", Reason::ContentFilter),
        ("BLOCKLIST", Reason::ContentFilter),
        ("PROHIBITED_CONTENT", Reason::ContentFilter),
        ("SPII", Reason::ContentFilter),
        ("IMAGE_SAFETY", Reason::ContentFilter),
        ("MODEL_ARMOR", Reason::ContentFilter),
        ("OTHER", Reason::Stop),
        ("MALFORMED_FUNCTION_CALL", Reason::Stop),
        ("UNEXPECTED_TOOL_CALL", Reason::Stop),
        ("NEW_IN_2030", Reason::Stop),
    ] {
        let body = json!({"candidates": [{"finishReason": word}]}).to_string();
        let answer = read_answer(body.as_bytes()).unwrap();
        assert_eq!(answer.choices[0].finish, Finish::new(reason, word));
    }
}

#[test]
fn errors_keep_what_google_says() {
    let body = json!([{"error": {
        "code": 400,
        "message": "API key not valid.",
        "status": "INVALID_ARGUMENT",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"},
            {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "contents", "description": "x"}]},
            {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "r-1"},
        ],
    }}]);
    let expected = ProviderError {
        message: "API key not valid.".to_owned(),
        kind: Some("INVALID_ARGUMENT".to_owned()),
        code: Some("API_KEY_INVALID".to_owned()),
        param: Some("contents".to_owned()),
        request_id: Some("r-1".to_owned()),
        status: Some(400),
    };
    assert_eq!(read_error(body.to_string().as_bytes()), expected);
    let oauth = read_error(br#"{"error":"invalid_scope","error_description":"no such scope"}"#);
    assert_eq!((oauth.message.as_str(), oauth.kind.as_deref()), ("no such scope", Some("invalid_scope")));
    assert_eq!(read_error(b" <html>gone</html>\n").message, "<html>gone</html>");
    assert_eq!(read_error(&[b'x'; 9_000]).message.len(), 4_096);
    assert_eq!(read_error(b"[]").message, "[]");
}

fn read(stream: &[u8]) -> (Result<(), Broken>, Vec<Event>) {
    let (mut reader, mut events) = (Reader::default(), Vec::new());
    let read = reader.read(stream, &mut events).and_then(|()| reader.end(&mut events));
    (read, events)
}

#[test]
fn streams_that_end_early_are_cut() {
    for stream in [
        "",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n",
        "data: {\"usageMetadata\":{}}\n\n",
        "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\ndata: {\"cand",
        "data: {\"candidates\":[{\"finishReason\":\"STOP\"},{\"index\":1}]}\n\n",
    ] {
        assert_eq!(read(stream.as_bytes()).0, Err(Broken::Cut), "{stream}");
    }
}

#[test]
fn a_last_event_needs_no_empty_line() {
    let (read, events) = read(b"data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}");
    assert_eq!((read, events.last()), (Ok(()), Some(&Event::End)));
}

#[test]
fn errors_end_a_stream_however_they_come() {
    for stream in [
        "data: {\"error\":{\"code\":500,\"message\":\"m\",\"status\":\"INTERNAL\"}}\n\ndata: {\"candidates\":[]}\n\n",
        "[{\n  \"error\": {\n    \"code\": 500,\n    \"message\": \"m\",\n    \"status\": \"INTERNAL\"\n  }\n}]\n",
    ] {
        let (read, events) = read(stream.as_bytes());
        assert_eq!(read, Ok(()));
        let error = match &events[..] {
            [Event::Error(error)] => error,
            other => panic!("{other:?}"),
        };
        assert_eq!((error.status, error.kind.as_deref()), (Some(500), Some("INTERNAL")));
    }
}

#[test]
fn what_is_no_event_is_malformed_and_too_much_is_refused() {
    assert!(matches!(read(b"data: {\"candidates\":[\n\n").0, Err(Broken::Malformed(_))));
    assert!(matches!(read(b"data: 7\n\n").0, Err(Broken::Malformed(_))));
    let endless = vec![b'x'; crate::chat::MAX_EVENT + 1];
    assert_eq!(read(&endless).0, Err(Broken::TooLarge));
}

#[test]
fn a_call_after_the_finish_reason_still_counts() {
    let (read, events) = read(
        b"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"STOP\"}]}\r\n\r\n\
          : a comment\r\n\r\n\
          data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\"}}]},\"finishReason\":\"STOP\"}]}\r\n\r\n",
    );
    assert_eq!(read, Ok(()));
    let finishes: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Finish { finish, .. } => Some(finish.reason),
            _ => None,
        })
        .collect();
    assert_eq!(finishes, [Reason::ToolCalls]);
}

#[test]
fn calls_without_a_name_get_one_that_openai_takes() {
    let id = part::call_id(Some("a/b c-d_e.f0123456789012345678901234567890"), 255, 12);
    assert_eq!(id, "call_abc-d_ef0123456789012345_255_12");
    assert!(id.len() <= 40);
    assert_eq!(part::call_id(None, 0, 1), "call__0_1");
}

fn texts(count: usize) -> vectors::Request {
    let input = (0..count).map(|n| vectors::Input::Text(format!("t{n}"))).collect();
    vectors::Request { model: "gemini-embedding-001".to_owned(), input, ..Default::default() }
}

#[test]
fn vectors_are_asked_for_in_batches() {
    let unknown = Map::from_iter([("title".to_owned(), json!("T"))]);
    let purpose = Some("search_document".to_owned());
    let request =
        vectors::Request { dimensions: Some(256), purpose, unknown, user: Some("u".into()), ..texts(2) };
    let studio = embeddings::write_request(request.clone(), &target()).unwrap();
    let one = |text: &str| {
        json!({"title": "T", "model": "models/gemini-embedding-001", "taskType": "RETRIEVAL_DOCUMENT",
               "outputDimensionality": 256, "content": {"parts": [{"text": text}]}})
    };
    let body: Value = serde_json::from_slice(&studio.body).unwrap();
    assert_eq!(body, json!({"requests": [one("t0"), one("t1")]}));
    assert_eq!(studio.dropped, ["user"]);
    let vertex = embeddings::write_vertex_request(request, &target()).unwrap();
    let one = |text: &str| json!({"content": text, "task_type": "RETRIEVAL_DOCUMENT", "title": "T"});
    let body: Value = serde_json::from_slice(&vertex.body).unwrap();
    assert_eq!(
        body,
        json!({"instances": [one("t0"), one("t1")], "parameters": {"outputDimensionality": 256}})
    );
}

#[test]
fn vectors_that_cannot_be_asked_for_are_refused() {
    let error = embeddings::write_request(texts(101), &target()).unwrap_err();
    assert!(
        error.message.contains("101 texts") && error.message.contains("100 at once"),
        "{}",
        error.message
    );
    let request = vectors::Request { input: vec![vectors::Input::Tokens(vec![1])], ..texts(0) };
    let error = embeddings::write_vertex_request(request, &target()).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("input[0]"));
    let request = vectors::Request { purpose: Some("poetry".into()), ..texts(1) };
    assert_eq!(embeddings::write_request(request, &target()).unwrap().dropped, ["input_type"]);
}

#[test]
fn vectors_are_read_in_order() {
    let answer = embeddings::read_answer(br#"{"embeddings":[{"values":[0.5,-1]},{"values":[2]}]}"#).unwrap();
    assert_eq!((answer.vectors, answer.usage), (vec![vec![0.5, -1.0], vec![2.0]], None));
    let body = json!({"predictions": [
        {"embeddings": {"values": [0.25], "statistics": {"token_count": 4.0, "truncated": false}}},
        {"embeddings": {"values": [0.5], "statistics": {"token_count": 3}}},
    ]});
    let answer = embeddings::read_vertex_answer(body.to_string().as_bytes()).unwrap();
    assert_eq!(answer.vectors, [[0.25], [0.5]]);
    assert_eq!(answer.usage, Some(Usage { input: 7, ..Usage::default() }));
    assert!(embeddings::read_answer(b"{}").unwrap_err().contains("`embeddings`"));
    assert!(
        embeddings::read_answer(br#"{"embeddings":[{"values":["a"]}]}"#)
            .unwrap_err()
            .contains("embeddings[0]")
    );
    assert!(
        embeddings::read_vertex_answer(br#"{"predictions":[{}]}"#).unwrap_err().contains("predictions[0]")
    );
}

#[test]
fn prompts_are_counted_with_their_instructions() {
    let ask = || {
        let messages = vec![Message::text(Role::System, "s"), Message::text(Role::User, "u")];
        Request { tool_choice: Some(ToolChoice::None), ..request("gemini-2.5-flash", messages) }
    };
    let contents = json!([{"role": "user", "parts": [{"text": "u"}]}]);
    let instruction = json!({"parts": [{"text": "s"}]});
    let studio: Value = serde_json::from_slice(&write_count_request(ask(), &target()).unwrap().body).unwrap();
    let inner =
        json!({"model": "models/gemini-2.5-flash", "contents": contents, "systemInstruction": instruction});
    assert_eq!(studio, json!({"generateContentRequest": inner}));
    let vertex: Value =
        serde_json::from_slice(&write_vertex_count_request(ask(), &target()).unwrap().body).unwrap();
    assert_eq!(vertex, json!({"contents": contents, "systemInstruction": instruction}));
    assert_eq!(read_count(br#"{"totalTokens":31,"promptTokensDetails":[]}"#), Ok(31));
    assert!(read_count(b"{}").is_err());
}

/// Streams that are nearly right, so that cuts fall on something.
fn streams() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-zé🇫🇷]{0,4}".prop_map(|text| json!({"text": text})),
        "[a-z]{1,4}".prop_map(|text| json!({"text": text, "thought": true, "thoughtSignature": "c2ln"})),
        Just(json!({"functionCall": {"name": "f", "args": {"a": "\n"}}, "thoughtSignature": "c2ln"})),
        Just(json!({"inlineData": {"mimeType": "image/png", "data": "AAAA"}})),
        Just(json!({"executableCode": {}})),
    ];
    let finish = prop_oneof![Just(Value::Null), Just(json!("STOP")), Just(json!("SAFETY"))];
    let event = (prop::collection::vec(part, 0..3), finish, 0..2).prop_map(|(parts, finish, index)| {
        json!({"candidates": [{"content": {"parts": parts}, "finishReason": finish, "index": index}],
               "usageMetadata": {"promptTokenCount": 3}})
    });
    let error = Just(json!({"error": {"code": 500, "message": "m"}}));
    let event = prop_oneof![9 => event, 1 => error];
    let newline = prop::sample::select(vec!["\n", "\r\n"]);
    prop::collection::vec((event, newline), 0..6).prop_map(|events| {
        events.into_iter().map(|(event, newline)| format!("data: {event}{newline}{newline}")).collect()
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_answer(&bytes);
        let _ = read_error(&bytes);
        let _ = read_count(&bytes);
        let _ = embeddings::read_answer(&bytes);
        let _ = embeddings::read_vertex_answer(&bytes);
        let _ = read(&bytes);
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut(stream in streams(), size in 1_usize..40) {
        let (whole, events) = read(stream.as_bytes());
        let (mut reader, mut pieces) = (Reader::default(), Vec::new());
        let mut said = Ok(());
        for piece in stream.as_bytes().chunks(size) {
            said = said.and_then(|()| reader.read(piece, &mut pieces));
        }
        prop_assert_eq!(said.and_then(|()| reader.end(&mut pieces)), whole);
        prop_assert_eq!(pieces, events);
    }

    #[test]
    fn readers_keep_their_promises(stream in streams()) {
        let (said, events) = read(stream.as_bytes());
        let starts = events.iter().filter(|event| matches!(event, Event::Start(_))).count();
        prop_assert!(starts <= 1);
        let ends = |event: &Event| matches!(event, Event::End | Event::Error(_));
        prop_assert_eq!(events.iter().filter(|event| ends(event)).count(), usize::from(said.is_ok()));
        prop_assert!(said.is_err() || events.last().is_some_and(ends));
        let mut open = std::collections::BTreeMap::<u32, (u32, bool)>::new();
        for event in &events {
            match event {
                Event::Open { choice, block, .. } => {
                    let (next, is_open) = open.entry(*choice).or_default();
                    prop_assert_eq!((*block, *is_open), (*next, false));
                    (*next, *is_open) = (*next + 1, true);
                }
                Event::Close { choice, block } => {
                    prop_assert_eq!(open.insert(*choice, (block + 1, false)), Some((block + 1, true)));
                }
                Event::Finish { choice, .. } => prop_assert!(!open.get(choice).is_some_and(|(_, is_open)| *is_open)),
                _ => {}
            }
        }
    }

    #[test]
    fn written_bodies_are_objects_whatever_is_in_the_tools(schema in any::<Option<String>>(), text in ".{1,20}") {
        let parameters = schema.map(|word| json!({"type": "object", "properties": {word.clone(): {"$ref": word}}}));
        let mut request = request("gemini-3-flash-preview", vec![Message::text(Role::User, text.as_str())]);
        let function = crate::chat::Function { name: "f".to_owned(), parameters, ..Default::default() };
        request.tools = vec![Tool::Function(function)];
        let (body, _) = sent(request);
        prop_assert_eq!(&body["contents"][0]["parts"][0]["text"], &json!(text));
        prop_assert_eq!(&body["tools"][0]["functionDeclarations"][0]["name"], "f");
    }
}

#[test]
fn documents_that_are_text_go_as_text() {
    let document = |name: Option<&str>| PartKind::Document {
        source: Source::Text("words".to_owned()),
        name: name.map(str::to_owned),
    };
    let (body, dropped) = sent(request(
        "gemini-2.5-flash",
        vec![parts(Role::User, vec![document(None), document(Some("a.txt"))])],
    ));
    assert_eq!(body["contents"][0]["parts"], json!([{"text": "words"}, {"text": "words"}]));
    assert_eq!(dropped, ["messages[0].content[1].file.filename"]);
}
