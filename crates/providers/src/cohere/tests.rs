//! Chats with Cohere: requests, answers, streams.

use domain::Usage;
use domain::model::ModelInfo;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::chat::{
    Block, Broken, Delta, Dialect, Effort, Event, Finish, Function, Message, Part, PartKind, Reason,
    Reasoning, Request, ResponseFormat, Role, Source, Start, Target, Tool, ToolChoice,
};
use crate::testing::{
    body, chats, check_nothing_is_lost, documents, image, read_cut_anywhere, streams, target,
};

fn written(request: Request) -> (Value, Vec<String>) {
    let options = Map::new();
    body(write_request(request, &target(&options)))
}

fn chat(messages: Vec<Message>) -> Request {
    Request { model: "command-a".into(), messages, ..Request::default() }
}

fn function(name: &str, strict: Option<bool>) -> Tool {
    Tool::Function(Function { name: name.into(), strict, ..Function::default() })
}

#[test]
fn a_tool_loop_is_written_as_cohere_wants_it() {
    let call = PartKind::ToolCall {
        id: "c1".into(),
        name: "weather".into(),
        arguments: String::new(),
        signature: None,
    };
    let plan = PartKind::Thinking { text: "I will look.".into(), signature: None };
    let document =
        PartKind::Document { source: Source::Text("7 degrees".into()), name: Some("report".into()) };
    let result = PartKind::ToolResult {
        id: "c1".into(),
        name: None,
        parts: vec![Part::text("ok"), Part::new(document)],
        is_error: true,
    };
    let message = |role, parts: Vec<PartKind>| Message {
        role,
        name: None,
        parts: parts.into_iter().map(Part::new).collect(),
    };
    let (body, dropped) = written(chat(vec![
        Message::text(Role::Developer, "Be brief."),
        Message::text(Role::User, "Oslo?"),
        message(Role::Assistant, vec![plan, call]),
        message(Role::Tool, vec![result]),
        Message::text(Role::System, "Now answer."),
    ]));
    let calls =
        json!([{ "id": "c1", "type": "function", "function": { "name": "weather", "arguments": "{}" } }]);
    let content = json!([
        { "type": "text", "text": "ok" },
        { "type": "document", "document": { "data": { "title": "report", "text": "7 degrees" } } },
    ]);
    assert_eq!(
        body["messages"],
        json!([
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "Oslo?" },
            { "role": "assistant", "tool_plan": "I will look.", "tool_calls": calls },
            { "role": "tool", "tool_call_id": "c1", "content": content },
            { "role": "system", "content": "Now answer." },
        ])
    );
    assert_eq!(dropped, ["messages[3].content[0].is_error"]);
}

#[test]
fn thoughts_without_calls_stay_thoughts() {
    let thought = Part::new(PartKind::Thinking { text: "hm".into(), signature: Some("seal".into()) });
    let message = Message { role: Role::Assistant, name: None, parts: vec![thought, Part::text("Yes.")] };
    let (body, dropped) = written(chat(vec![message]));
    let content = json!([{ "type": "thinking", "thinking": "hm" }, { "type": "text", "text": "Yes." }]);
    assert_eq!(body["messages"][0], json!({ "role": "assistant", "content": content }));
    assert_eq!(dropped, ["messages[0].content[0].signature"]);
}

#[test]
fn images_go_by_address_or_data_and_only_from_users() {
    let by = |source, role| {
        let image = Part::new(PartKind::Image { source, detail: Some("high".into()) });
        let options = Map::new();
        write_request(chat(vec![Message { role, name: None, parts: vec![image] }]), &target(&options))
    };
    let url = |written| body(written).0["messages"][0]["content"][0]["image_url"].clone();
    let address = Source::Url("https://a.example/x.png".into());
    assert_eq!(
        url(by(address.clone(), Role::User)),
        json!({ "url": "https://a.example/x.png", "detail": "high" })
    );
    assert_eq!(
        url(by(image(), Role::User)),
        json!({ "url": "data:image/png;base64,AA==", "detail": "high" })
    );
    for (source, role, param) in [
        (Source::File("f".into()), Role::User, "messages[0].content[0].image_url.url"),
        (Source::Url("s3://b/k".into()), Role::User, "messages[0].content[0].image_url.url"),
        (address, Role::Assistant, "messages[0].content[0]"),
    ] {
        let err = by(source, role).unwrap_err();
        assert_eq!((err.status, err.param.as_deref()), (400, Some(param)), "{err}");
        assert!(err.message.contains("acme"), "{err}");
    }
}

#[track_caller]
fn check_choice(choice: ToolChoice, expected: Value, tools: usize, lost: &[&str]) {
    let tools_given = vec![function("f", Some(true)), function("g", None)];
    let request = Request { tools: tools_given, tool_choice: Some(choice), ..chat(Vec::new()) };
    let (body, dropped) = written(request);
    assert_eq!((&body["tool_choice"], body["tools"].as_array().unwrap().len()), (&expected, tools));
    assert_eq!(dropped, lost);
}

#[test]
fn tool_choices_are_said_or_made_true() {
    let strict = "tools[0].function.strict";
    check_choice(ToolChoice::Auto, Value::Null, 2, &[strict]);
    check_choice(ToolChoice::None, json!("NONE"), 2, &[strict]);
    check_choice(ToolChoice::Required, json!("REQUIRED"), 2, &[strict]);
    check_choice(ToolChoice::Function("g".into()), json!("REQUIRED"), 1, &[]);
    let native = |dialect| ToolChoice::Native { dialect, value: json!("X") };
    check_choice(native(Dialect::Cohere), json!("X"), 2, &[strict]);
    check_choice(native(Dialect::Gemini), Value::Null, 2, &["tool_choice", strict]);
    let missing = Request {
        tools: vec![function("f", None)],
        tool_choice: Some(ToolChoice::Function("g".into())),
        ..chat(Vec::new())
    };
    let options = Map::new();
    let err = write_request(missing, &target(&options)).unwrap_err();
    assert!(err.message.contains("`g`") && err.param.as_deref() == Some("tool_choice"), "{err}");
}

#[test]
fn strict_is_said_once_for_all_tools() {
    let tools = vec![function("f", Some(true)), function("g", Some(true))];
    let (body, dropped) = written(Request { tools, ..chat(Vec::new()) });
    assert_eq!((&body["strict_tools"], dropped.len()), (&json!(true), 0));
}

#[test]
fn parameters_get_coheres_names_and_the_rest_is_reported() {
    let number = |n: f64| serde_json::Number::from_f64(n);
    let map = |value: Value| value.as_object().cloned().unwrap();
    let request = Request {
        max_tokens: Some(9),
        temperature: number(0.5),
        top_p: number(0.9),
        top_k: Some(40),
        frequency_penalty: number(0.1),
        presence_penalty: number(0.2),
        seed: Some(7),
        stop: vec!["END".into()],
        n: Some(2),
        logprobs: Some(true),
        top_logprobs: Some(3),
        logit_bias: Some(map(json!({ "1": 2 }))),
        user: Some("u".into()),
        modalities: vec!["text".into(), "audio".into()],
        audio: Some(json!({ "voice": "x" })),
        parallel_tool_calls: Some(false),
        stream: true,
        own: map(json!({ "store": true })),
        unknown: map(json!({ "safety_mode": "STRICT", "k": 1 })),
        dropped: vec!["messages[0].x".into()],
        ..chat(Vec::new())
    };
    let (body, dropped) = written(request);
    assert_eq!(
        body,
        json!({
            "model": "command-a", "stream": true, "messages": [], "max_tokens": 9, "temperature": 0.5, "p": 0.9,
            "k": 40, "frequency_penalty": 0.1, "presence_penalty": 0.2, "seed": 7, "stop_sequences": ["END"],
            "logprobs": true, "safety_mode": "STRICT",
        })
    );
    assert_eq!(
        dropped,
        [
            "messages[0].x",
            "parallel_tool_calls",
            "n",
            "top_logprobs",
            "logit_bias",
            "user",
            "modalities",
            "audio",
            "store",
            "k",
        ]
    );
}

#[track_caller]
fn check_thinking(reasoning: Reasoning, max_tokens: Option<u64>, expected: Value, lost: &[&str]) {
    let request = Request { reasoning: Some(reasoning), max_tokens, ..chat(Vec::new()) };
    let (body, dropped) = written(request);
    assert_eq!((&body["thinking"], dropped), (&expected, lost.iter().map(|s| (*s).to_owned()).collect()));
}

#[test]
fn thinking_has_a_budget_where_one_can_be_told() {
    let by = |effort, budget_tokens| Reasoning { effort, budget_tokens, summary: None };
    let enabled = |budget: u64| json!({ "type": "enabled", "token_budget": budget });
    check_thinking(by(Some(Effort::None), None), None, json!({ "type": "disabled" }), &[]);
    check_thinking(by(None, Some(0)), None, json!({ "type": "disabled" }), &[]);
    check_thinking(by(None, Some(500)), None, enabled(500), &[]);
    check_thinking(by(Some(Effort::High), None), Some(10_000), enabled(8_000), &[]);
    check_thinking(by(Some(Effort::Medium), None), None, json!({ "type": "enabled" }), &[]);
    check_thinking(by(Some(Effort::High), None), None, json!({ "type": "enabled" }), &["reasoning_effort"]);
    let summary = Reasoning { summary: Some("auto".into()), ..Reasoning::default() };
    check_thinking(summary, None, Value::Null, &["reasoning.summary"]);
    let model = ModelInfo { max_output: Some(4_000), ..ModelInfo::default() };
    let options = Map::new();
    let target = Target { model: Some(&model), ..target(&options) };
    let request = Request { reasoning: Some(by(Some(Effort::Medium), None)), ..chat(Vec::new()) };
    assert_eq!(body(write_request(request, &target)).0["thinking"], enabled(2_000));
}

#[test]
fn structured_output_keeps_the_whole_schema() {
    let schema =
        json!({ "type": "object", "$defs": { "a": {} }, "properties": { "x": { "$ref": "#/$defs/a" } } });
    let format = ResponseFormat::JsonSchema {
        name: "answer".into(),
        description: Some("An answer".into()),
        schema: schema.clone(),
        strict: Some(true),
    };
    let (body, dropped) = written(Request { response_format: Some(format), ..chat(Vec::new()) });
    let mut expected = schema;
    expected["title"] = json!("answer");
    expected["description"] = json!("An answer");
    assert_eq!(body["response_format"], json!({ "type": "json_object", "json_schema": expected }));
    assert!(dropped.is_empty());
}

const ANSWER: &str = r#"{"id":"a1","finish_reason":"TOOL_CALL","message":{"role":"assistant","tool_plan":"I look.",
  "tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}],
  "citations":[{"start":0,"end":1,"type":"PLAN","sources":[]}]},
  "usage":{"billed_units":{"input_tokens":5,"output_tokens":2},"tokens":{"input_tokens":30.0,"output_tokens":4.0},
  "cached_tokens":10},"logprobs":[{"text":"ab","token_ids":[1,2],"logprobs":[-0.5,-0.25]}]}"#;

#[test]
fn an_answer_with_a_plan_and_calls_is_read() {
    let answer = read_answer(ANSWER.as_bytes()).unwrap();
    let choice = &answer.choices[0];
    assert_eq!(
        choice.parts,
        [
            Part::new(PartKind::Thinking { text: "I look.".into(), signature: None }),
            Part::new(PartKind::ToolCall {
                id: "c1".into(),
                name: "f".into(),
                arguments: "{\"x\":1}".into(),
                signature: None,
            }),
        ]
    );
    assert_eq!(choice.finish, Finish::new(Reason::ToolCalls, "TOOL_CALL"));
    // What was read and written counts, not what is billed.
    let usage = Usage { input: 30, output: 4, cached_input: 10, ..Usage::default() };
    assert_eq!(answer.usage, Some(usage));
    let token = json!({ "token": "ab", "logprob": -0.75, "bytes": [97, 98], "top_logprobs": [] });
    assert_eq!(choice.logprobs, Some(json!({ "content": [token] })));
    assert_eq!(answer.extra["citations"][0]["type"], "PLAN");
    assert_eq!(answer.extra["billed_units"], json!({ "input_tokens": 5, "output_tokens": 2 }));
}

#[test]
fn citations_stay_with_their_text() {
    let body =
        br#"{"id":"a","finish_reason":"COMPLETE","message":{"content":[{"type":"thinking","thinking":"hm"},
        {"type":"text","text":"one"},{"type":"text","text":"two"},{"type":"new","x":1}],"citations":[
        {"start":0,"text":"two","type":"TEXT_CONTENT","content_index":2},{"start":1,"text":"one"}]}}"#;
    let answer = read_answer(body).unwrap();
    let parts = &answer.choices[0].parts;
    let cited = |part: &Part| match &part.kind {
        PartKind::Text { citations, .. } => citations.iter().map(|c| c["text"].clone()).collect(),
        _ => vec![],
    };
    assert_eq!(cited(&parts[1]), [json!("one")]);
    assert_eq!(cited(&parts[2]), [json!("two")]);
    let native = PartKind::Native { dialect: Dialect::Cohere, value: json!({ "type": "new", "x": 1 }) };
    assert_eq!(parts[3].kind, native);
    assert!(answer.extra.is_empty() && answer.usage.is_none());
}

#[track_caller]
fn check_reason(raw: &str, expected: Option<Reason>) {
    let body = json!({ "finish_reason": raw, "message": { "content": [] } }).to_string();
    let reason = read_answer(body.as_bytes()).map(|answer| answer.choices[0].finish.reason);
    assert_eq!(reason.ok(), expected, "{raw}");
}

#[test]
fn every_finish_reason_has_its_meaning() {
    check_reason("COMPLETE", Some(Reason::Stop));
    check_reason("STOP_SEQUENCE", Some(Reason::StopSequence));
    check_reason("MAX_TOKENS", Some(Reason::Length));
    check_reason("TOOL_CALL", Some(Reason::ToolCalls));
    check_reason("ERROR_TOXIC", Some(Reason::ContentFilter));
    check_reason("SOMETHING_NEW", Some(Reason::Stop));
    check_reason("ERROR", None);
    check_reason("TIMEOUT", None);
    for body in ["<html>", "[]", "{}", r#"{"message":"too many"}"#, r#"{"message":{}}"#] {
        assert!(read_answer(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn errors_are_read_in_any_shape() {
    let error = read_error(br#"{"id":"e1","message":"invalid request: no model"}"#);
    assert_eq!(
        (error.message.as_str(), error.request_id.as_deref()),
        ("invalid request: no model", Some("e1"))
    );
    assert_eq!(read_error(b"<html>\xff").message, "<html>\u{fffd}");
    assert_eq!(read_error(&[b'x'; 9999]).message.len(), 4096);
}

const START: &str = "event: message-start\ndata: {\"type\":\"message-start\",\"id\":\"s1\",\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[],\"tool_plan\":\"\",\"tool_calls\":[],\"citations\":[]}}}\n\n";
const THINK: &str = "event: content-start\ndata: {\"type\":\"content-start\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"type\":\"thinking\",\"thinking\":\"\"}}}}\n\nevent: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"thinking\":\"hm\"}}}}\n\n";
const TEXT: &str = "event: content-delta\r\ndata: {\"type\":\"content-delta\",\"index\":1,\"delta\":{\"message\":{\"content\":{\"text\":\"Grüße\"}}},\"logprobs\":{\"text\":\"G\",\"token_ids\":[1],\"logprobs\":[-1.5]}}\r\n\r\n";
const CITE: &str = "event: citation-start\ndata: {\"type\":\"citation-start\",\"index\":0,\"delta\":{\"message\":{\"citations\":{\"start\":0,\"end\":5,\"text\":\"Grüße\",\"sources\":[]}}}}\n\n";
const PLAN_CITE: &str =
    "data: {\"type\":\"citation-start\",\"delta\":{\"message\":{\"citations\":{\"type\":\"PLAN\"}}}}\n\n";
const PLAN: &str = "event: tool-plan-delta\ndata: {\"type\":\"tool-plan-delta\",\"delta\":{\"message\":{\"tool_plan\":\"I look.\"}}}\n\n";
const CALL: &str = "event: tool-call-start\ndata: {\"type\":\"tool-call-start\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}}}}\n\n";
const ARGS: &str = "event: tool-call-delta\ndata: {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"function\":{\"arguments\":\"{}\"}}}}}\n\n";
const END: &str = "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"billed_units\":{\"input_tokens\":1},\"tokens\":{\"input_tokens\":9,\"output_tokens\":3}}}}\n\n";
const ERROR: &str =
    "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"out of luck\"}}\n\n";
const BARE: &str = "data: {\"id\":\"x\",\"message\":\"too many tokens\"}\n\n";

#[test]
fn a_stream_of_thoughts_text_and_citations_is_read() {
    let (events, end) = read_cut_anywhere::<Reader>([START, THINK, TEXT, CITE, END].concat().as_bytes());
    let delta = |block, delta| Event::Delta { choice: 0, block, delta };
    let token = json!({ "token": "G", "logprob": -1.5, "bytes": [71], "top_logprobs": [] });
    let citation = json!({ "start": 0, "end": 5, "text": "Grüße", "sources": [] });
    let expected = [
        Event::Start(Start { id: Some("s1".into()), ..Start::default() }),
        Event::Open { choice: 0, block: 0, what: Block::Thinking },
        delta(0, Delta::Text("hm".into())),
        Event::Close { choice: 0, block: 0 },
        Event::Open { choice: 0, block: 1, what: Block::Text },
        delta(1, Delta::Text("Grüße".into())),
        Event::Logprobs { choice: 0, value: json!({ "content": [token] }) },
        delta(1, Delta::Citation(citation)),
        Event::Usage(Usage { input: 9, output: 3, ..Usage::default() }),
        Event::Close { choice: 0, block: 1 },
        Event::Finish { choice: 0, finish: Finish::new(Reason::Stop, "COMPLETE") },
        Event::Extra(Map::from_iter([("billed_units".into(), json!({ "input_tokens": 1 }))])),
        Event::End,
    ];
    assert_eq!((events.as_slice(), end), (&expected[..], Ok(())));
}

#[test]
fn a_stream_of_tool_calls_is_read() {
    let stream = [START, PLAN, PLAN_CITE, PLAN_CITE, CALL, ARGS, END, TEXT].concat();
    let (events, _) = read_cut_anywhere::<Reader>(stream.as_bytes());
    let call = Block::ToolCall { id: "c1".into(), name: "f".into(), signature: None };
    assert!(events.contains(&Event::Open { choice: 0, block: 1, what: call }));
    assert!(events.contains(&Event::Delta { choice: 0, block: 1, delta: Delta::Arguments("{}".into()) }));
    let plans = json!([{ "type": "PLAN" }, { "type": "PLAN" }]);
    let extra = json!({ "billed_units": { "input_tokens": 1 }, "citations": plans });
    assert!(events.contains(&Event::Extra(extra.as_object().cloned().unwrap())));
    assert!(
        events.contains(&Event::Finish { choice: 0, finish: Finish::new(Reason::ToolCalls, "COMPLETE") })
    );
}

#[test]
fn streams_that_fail_say_so() {
    for (stream, message) in [(ERROR, "out of luck"), (BARE, "too many tokens")] {
        let (events, end) = read_cut_anywhere::<Reader>([START, TEXT, stream].concat().as_bytes());
        assert!(matches!(events.last(), Some(Event::Error(error)) if error.message == message), "{events:?}");
        assert_eq!(end, Ok(()));
    }
    let broken = |stream: &str| read_cut_anywhere::<Reader>(stream.as_bytes()).1.unwrap_err();
    assert_eq!(broken(&[START, TEXT].concat()), Broken::Cut);
    assert_eq!(broken(""), Broken::Cut);
    assert!(matches!(broken(&[START, ARGS].concat()), Broken::Malformed(_)));
    assert!(matches!(broken("data: {\"a\n\n"), Broken::Malformed(_)));
    assert!(matches!(broken("data: {}\n\n"), Broken::Malformed(_)));
    // A last event without the empty line behind it is whole all the same.
    assert_eq!(read_cut_anywhere::<Reader>([START, END.trim_end()].concat().as_bytes()).1, Ok(()));
}

const PIECES: &[&str] =
    &[START, THINK, TEXT, CITE, PLAN_CITE, PLAN, CALL, ARGS, END, ERROR, BARE, ": hi\n\n"];
const FIELDS: &[&str] = &[
    "message",
    "content",
    "text",
    "thinking",
    "type",
    "tool_calls",
    "function",
    "arguments",
    "name",
    "id",
    "usage",
    "tokens",
    "input_tokens",
    "citations",
    "content_index",
    "finish_reason",
    "COMPLETE",
    "logprobs",
    "tool_plan",
];

proptest! {
    #[test]
    fn any_stream_is_read_the_same_however_it_is_cut(stream in streams(PIECES)) {
        let _ = read_cut_anywhere::<Reader>(&stream);
    }

    #[test]
    fn any_document_is_read_or_refused(document in documents(FIELDS)) {
        let document = document.to_string();
        let _ = read_answer(document.as_bytes());
        let _ = read_error(document.as_bytes());
        let _ = read_cut_anywhere::<Reader>(format!("data: {document}\n\n").as_bytes());
        let message = format!(r#"{{"finish_reason":"COMPLETE","message":{{"content":{document},"citations":[{document}]}}}}"#);
        prop_assert!(read_answer(message.as_bytes()).is_ok());
    }

    #[test]
    fn no_word_of_a_chat_is_lost(chat in chats()) {
        check_nothing_is_lost(&chat, write_request);
    }
}
