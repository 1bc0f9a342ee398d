//! Chats with Workers AI: requests, answers, streams.

use domain::Usage;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::chat::{
    Block, Broken, Delta, Effort, Event, Finish, Function, Message, Part, PartKind, Reason, Reasoning,
    Request, ResponseFormat, Role, Source, Start, Tool, ToolChoice,
};
use crate::testing::{
    body, chats, check_nothing_is_lost, documents, image, read_cut_anywhere, streams, target,
};

fn written(request: Request) -> (Value, Vec<String>) {
    let options = Map::new();
    body(write_request(request, &target(&options)))
}

fn message(role: Role, parts: Vec<PartKind>) -> Message {
    Message { role, name: None, parts: parts.into_iter().map(Part::new).collect() }
}

#[test]
fn a_chat_is_written_without_its_model() {
    let call =
        PartKind::ToolCall { id: "c1".into(), name: "f".into(), arguments: "{}".into(), signature: None };
    let result = PartKind::ToolResult {
        id: "c1".into(),
        name: Some("f".into()),
        parts: vec![Part::text("7")],
        is_error: false,
    };
    let picture = PartKind::Image { source: image(), detail: None };
    let text = PartKind::Text { text: "What is it?".into(), citations: Vec::new() };
    let messages = vec![
        Message::text(Role::System, "Be brief."),
        message(Role::User, vec![text, picture]),
        message(Role::Assistant, vec![PartKind::Thinking { text: "hm".into(), signature: None }, call]),
        message(Role::Tool, vec![result]),
    ];
    let tools = vec![Tool::Function(Function { name: "f".into(), ..Function::default() })];
    let tool_choice = Some(ToolChoice::Function("f".into()));
    let (body, dropped) =
        written(Request { model: "@cf/x/y".into(), messages, tools, tool_choice, ..Request::default() });
    let parts = json!([
        { "type": "text", "text": "What is it?" },
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } },
    ]);
    let calls = json!([{ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } }]);
    assert_eq!(
        body["messages"],
        json!([
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": parts },
            { "role": "assistant", "content": "", "reasoning": "hm", "tool_calls": calls },
            { "role": "tool", "tool_call_id": "c1", "content": "7", "name": "f" },
        ])
    );
    assert_eq!(body["tool_choice"], json!({ "type": "function", "function": { "name": "f" } }));
    assert!(body.get("model").is_none() && dropped.is_empty(), "{dropped:?}");
}

#[test]
fn parameters_it_lacks_are_reported() {
    let schema = ResponseFormat::JsonSchema {
        name: "n".into(),
        description: None,
        schema: json!({ "type": "object" }),
        strict: Some(true),
    };
    let request = Request {
        max_tokens: Some(9),
        seed: Some(7),
        top_k: Some(4),
        stop: vec!["END".into()],
        n: Some(3),
        logprobs: Some(true),
        response_format: Some(schema),
        reasoning: Some(Reasoning { effort: Some(Effort::XHigh), ..Reasoning::default() }),
        unknown: json!({ "repetition_penalty": 1.1 }).as_object().cloned().unwrap(),
        ..Request::default()
    };
    let (body, dropped) = written(request);
    let format = json!({ "type": "json_schema", "json_schema": { "type": "object", "title": "n" } });
    assert_eq!(
        body,
        json!({
            "messages": [], "stream": false, "response_format": format, "max_tokens": 9, "top_k": 4, "seed": 7,
            "reasoning_effort": "high", "repetition_penalty": 1.1,
        })
    );
    assert_eq!(dropped, ["stop", "n", "logprobs"]);
    let off = Some(Reasoning { effort: Some(Effort::None), ..Reasoning::default() });
    let (body, _) = written(Request { reasoning: off, ..Request::default() });
    assert_eq!(body["chat_template_kwargs"], json!({ "enable_thinking": false }));
}

#[test]
fn images_by_address_are_refused() {
    let source = Source::Url("https://a.example/x.png".into());
    let messages = vec![message(Role::User, vec![PartKind::Image { source, detail: None }])];
    let options = Map::new();
    let err = write_request(Request { messages, ..Request::default() }, &target(&options)).unwrap_err();
    assert_eq!(err.param.as_deref(), Some("messages[0].content[0].image_url.url"), "{err}");
}

#[test]
fn native_answers_are_read() {
    let body = br#"{"result":{"response":"Hi","tool_calls":[{"name":"f","arguments":{"x":1}}],
        "usage":{"prompt_tokens":20,"completion_tokens":5,"total_tokens":25}},"success":true,"errors":[],"messages":[]}"#;
    let answer = read_answer(body).unwrap();
    let choice = &answer.choices[0];
    assert_eq!(choice.parts[0], Part::text("Hi"));
    assert!(matches!(&choice.parts[1].kind, PartKind::ToolCall { id, name, arguments, .. }
        if id.starts_with("call_") && name == "f" && arguments == "{\"x\":1}"));
    assert_eq!(choice.finish, Finish { reason: Reason::ToolCalls, raw: None, stop_sequence: None });
    assert_eq!(answer.usage, Some(Usage { input: 20, output: 5, ..Usage::default() }));
    assert!(answer.extra.is_empty());
    // Structured output comes as JSON.
    let answer = read_answer(br#"{"result":{"response":{"age":22}},"success":true}"#).unwrap();
    assert_eq!(answer.choices[0].parts, [Part::text("{\"age\":22}")]);
}

#[test]
fn answers_of_newer_models_are_read() {
    let body = br#"{"result":{"id":"chatcmpl-1","object":"chat.completion","created":17,"model":"@cf/x/y",
        "choices":[{"index":0,"message":{"role":"assistant","content":"Hi","reasoning_content":"hm"},
        "finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":4,
        "prompt_tokens_details":{"cached_tokens":3}}},"success":true}"#;
    let answer = read_answer(body).unwrap();
    let thought = Part::new(PartKind::Thinking { text: "hm".into(), signature: None });
    assert_eq!(answer.choices[0].parts, [thought, Part::text("Hi")]);
    assert_eq!(answer.choices[0].finish, Finish::new(Reason::Length, "length"));
    assert_eq!((answer.id.as_deref(), answer.created), (Some("chatcmpl-1"), Some(17)));
    assert_eq!(answer.usage, Some(Usage { input: 9, output: 4, cached_input: 3, ..Usage::default() }));
}

#[test]
fn failures_are_no_answers() {
    let failed = r#"{"success":false,"errors":[{"code":5007,"message":"No such model"}],"result":null}"#;
    assert!(read_answer(failed.as_bytes()).unwrap_err().contains("5007"));
    for body in ["<html>", "{}", r#"{"result":{}}"#, r#"{"result":"x","success":true}"#] {
        assert!(read_answer(body.as_bytes()).is_err(), "{body}");
    }
    let error = read_error(failed.as_bytes());
    assert_eq!((error.message.as_str(), error.code.as_deref()), ("No such model", Some("5007")));
    assert_eq!(read_error(b"oops").message, "oops");
}

const TEXT: &str = "data: {\"response\":\"Grüße\",\"p\":\"abc\"}\n\n";
const NUMBER: &str = "data: {\"response\":7}\n\n";
const CALL: &str = "data: {\"response\":null,\"tool_calls\":[{\"name\":\"f\",\"arguments\":{\"x\":1}}]}\n\n";
const PIECE: &str = "data: {\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"index\":0,\"function\":{\"name\":\"g\",\"arguments\":\"{\"}}]}\n\n";
const MORE: &str = "data: {\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}},{\"id\":null,\"function\":{\"name\":null,\"arguments\":\"\"}}]}\n\n";
const USAGE: &str = "data: {\"response\":\"\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
const CHOICE: &str = "data: {\"id\":\"x1\",\"created\":5,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\",\"reasoning_content\":\"hm\"}}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
const ERROR: &str = "data: {\"errors\":[{\"code\":3040,\"message\":\"Capacity exceeded\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[test]
fn a_native_stream_is_read() {
    let (events, end) = read_cut_anywhere::<Reader>([TEXT, NUMBER, USAGE, DONE].concat().as_bytes());
    let text = |text: &str| Event::Delta { choice: 0, block: 0, delta: Delta::Text(text.into()) };
    let expected = [
        Event::Start(Start::default()),
        Event::Open { choice: 0, block: 0, what: Block::Text },
        text("Grüße"),
        text("7"),
        Event::Usage(Usage { input: 3, output: 2, ..Usage::default() }),
        Event::Close { choice: 0, block: 0 },
        Event::Finish { choice: 0, finish: Finish { reason: Reason::Stop, raw: None, stop_sequence: None } },
        Event::End,
    ];
    assert_eq!((events.as_slice(), end), (&expected[..], Ok(())));
}

/// Names and arguments of all calls.
fn calls(events: &[Event]) -> Vec<(String, String)> {
    let mut calls: Vec<(u32, String, String)> = Vec::new();
    for event in events {
        match event {
            Event::Open { block, what: Block::ToolCall { name, .. }, .. } => {
                calls.push((*block, name.clone(), String::new()));
            }
            Event::Delta { block, delta: Delta::Arguments(text), .. } => {
                calls.iter_mut().filter(|call| call.0 == *block).for_each(|call| call.2.push_str(text));
            }
            _ => {}
        }
    }
    calls.into_iter().map(|(_, name, arguments)| (name, arguments)).collect()
}

#[test]
fn tool_calls_come_whole_or_in_pieces() {
    let call = |name: &str, arguments: &str| (name.to_owned(), arguments.to_owned());
    let (whole, _) = read_cut_anywhere::<Reader>([CALL, CALL, DONE].concat().as_bytes());
    assert_eq!(calls(&whole), [call("f", "{\"x\":1}"), call("f", "{\"x\":1}")]);
    let (pieces, _) = read_cut_anywhere::<Reader>([PIECE, MORE, CALL, DONE].concat().as_bytes());
    assert_eq!(calls(&pieces), [call("g", "{}"), call("f", "{\"x\":1}")]);
    let finish = Finish { reason: Reason::ToolCalls, raw: None, stop_sequence: None };
    assert!(pieces.contains(&Event::Finish { choice: 0, finish }));
}

#[test]
fn a_stream_of_a_newer_model_is_read() {
    let (events, end) = read_cut_anywhere::<Reader>([CHOICE, FINISH].concat().as_bytes());
    let start = Start { id: Some("x1".into()), model: Some("m".into()), created: Some(5) };
    assert_eq!(events[0], Event::Start(start));
    assert!(events.contains(&Event::Delta { choice: 0, block: 0, delta: Delta::Text("hm".into()) }));
    assert!(events.contains(&Event::Delta { choice: 0, block: 1, delta: Delta::Text("Hi".into()) }));
    assert!(events.contains(&Event::Finish { choice: 0, finish: Finish::new(Reason::Length, "length") }));
    assert_eq!(end, Ok(()));
}

#[test]
fn streams_that_fail_say_so() {
    let (events, _) = read_cut_anywhere::<Reader>([TEXT, ERROR].concat().as_bytes());
    assert!(matches!(events.last(), Some(Event::Error(error)) if error.code.as_deref() == Some("3040")));
    let broken = |stream: &str| read_cut_anywhere::<Reader>(stream.as_bytes()).1.unwrap_err();
    assert_eq!(broken(TEXT), Broken::Cut);
    assert!(matches!(broken(MORE), Broken::Malformed(_)));
    assert!(matches!(broken("data: {\n\n"), Broken::Malformed(_)));
}

const PIECES: &[&str] = &[TEXT, NUMBER, CALL, PIECE, MORE, USAGE, CHOICE, FINISH, ERROR, DONE, ": hi\n\n"];
const FIELDS: &[&str] = &[
    "result",
    "response",
    "tool_calls",
    "function",
    "arguments",
    "name",
    "id",
    "index",
    "usage",
    "prompt_tokens",
    "choices",
    "delta",
    "message",
    "content",
    "finish_reason",
    "stop",
    "errors",
    "success",
    "reasoning",
    "code",
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
        let _ = read_answer(format!(r#"{{"result":{document}}}"#).as_bytes());
        let _ = read_error(document.as_bytes());
        let _ = read_cut_anywhere::<Reader>(format!("data: {document}\n\n").as_bytes());
    }

    #[test]
    fn no_word_of_a_chat_is_lost(chat in chats()) {
        check_nothing_is_lost(&chat, write_request);
    }
}
