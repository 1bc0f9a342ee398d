//! Chats with Ollama: requests, answers, streams.

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

fn chat(messages: Vec<Message>) -> Request {
    Request { model: "llama3.2".into(), messages, ..Request::default() }
}

fn message(role: Role, parts: Vec<PartKind>) -> Message {
    Message { role, name: None, parts: parts.into_iter().map(Part::new).collect() }
}

fn call(arguments: &str) -> PartKind {
    PartKind::ToolCall {
        id: "c1".into(),
        name: "weather".into(),
        arguments: arguments.into(),
        signature: None,
    }
}

#[test]
fn a_tool_loop_with_images_is_written_as_ollama_wants_it() {
    let image = PartKind::Image { source: image(), detail: Some("low".into()) };
    let text = |text: &str| PartKind::Text { text: text.into(), citations: Vec::new() };
    let thought = PartKind::Thinking { text: "hm".into(), signature: None };
    let result = |id: &str| PartKind::ToolResult {
        id: id.into(),
        name: None,
        parts: vec![Part::text("7"), Part::text("degrees")],
        is_error: false,
    };
    let (body, dropped) = written(chat(vec![
        Message::text(Role::Developer, "Be brief."),
        message(Role::User, vec![text("What"), image, text("is it?")]),
        message(Role::Assistant, vec![thought, call("{\"b\":1,\"a\":[]}")]),
        message(Role::Tool, vec![result("c1"), result("c2")]),
    ]));
    let function = json!({ "name": "weather", "arguments": { "b": 1, "a": [] } });
    assert_eq!(
        body["messages"],
        json!([
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "What\nis it?", "images": ["AA=="] },
            { "role": "assistant", "content": "", "thinking": "hm",
              "tool_calls": [{ "id": "c1", "function": function }] },
            { "role": "tool", "content": "7\ndegrees", "tool_name": "weather", "tool_call_id": "c1" },
            { "role": "tool", "content": "7\ndegrees", "tool_call_id": "c2" },
        ])
    );
    assert_eq!(dropped, ["messages[1].content[1].image_url.detail"]);
}

#[test]
fn what_cannot_be_said_is_refused_with_its_place() {
    let by_address = PartKind::Image { source: Source::Url("https://a.example/x.png".into()), detail: None };
    for (message, param) in [
        (message(Role::User, vec![by_address]), "messages[0].content[0].image_url.url"),
        (message(Role::User, vec![PartKind::Audio { source: image() }]), "messages[0].content[0]"),
        (message(Role::Assistant, vec![call("[1]")]), "messages[0].content[0]"),
        (message(Role::Assistant, vec![call("{")]), "messages[0].content[0]"),
    ] {
        let options = Map::new();
        let err = write_request(chat(vec![message]), &target(&options)).unwrap_err();
        assert_eq!((err.status, err.param.as_deref()), (400, Some(param)), "{err}");
    }
}

#[test]
fn parameters_are_options_and_the_callers_own_stand_beside_them() {
    let map = |value: Value| value.as_object().cloned().unwrap();
    let request = Request {
        max_tokens: Some(9),
        temperature: serde_json::Number::from_f64(0.5),
        top_k: Some(40),
        seed: Some(7),
        stop: vec!["END".into()],
        n: Some(1),
        logprobs: Some(true),
        top_logprobs: Some(3),
        user: Some("u".into()),
        unknown: map(json!({
            "options": { "num_ctx": 1, "seed": 8, "min_p": 0.1 }, "num_ctx": 2, "repeat_penalty": 1.1,
            "keep_alive": "5m", "truncate": false,
        })),
        ..chat(Vec::new())
    };
    let (body, dropped) = written(request);
    assert_eq!(
        body,
        json!({
            "model": "llama3.2", "stream": false, "messages": [], "logprobs": true, "top_logprobs": 3,
            "keep_alive": "5m", "truncate": false,
            "options": { "num_predict": 9, "temperature": 0.5, "top_k": 40, "seed": 7, "stop": ["END"],
                         "num_ctx": 1, "min_p": 0.1, "repeat_penalty": 1.1 },
        })
    );
    assert_eq!(dropped, ["options.seed", "num_ctx", "user"]);
}

#[test]
fn tools_are_kept_back_where_none_may_be_called() {
    let with = |tool_choice| {
        let tools = vec![Tool::Function(Function { name: "f".into(), ..Function::default() })];
        let (body, dropped) = written(Request { tools, tool_choice, ..chat(Vec::new()) });
        (body["tools"].as_array().map(Vec::len), dropped)
    };
    assert_eq!(with(None), (Some(1), vec![]));
    assert_eq!(with(Some(ToolChoice::None)), (None, vec![]));
    assert_eq!(with(Some(ToolChoice::Required)), (Some(1), vec!["tool_choice".to_owned()]));
    assert_eq!(with(Some(ToolChoice::Function("f".into()))), (Some(1), vec!["tool_choice".to_owned()]));
}

#[test]
fn thinking_is_a_switch_or_a_level() {
    let think = |effort, budget_tokens| {
        let reasoning = Some(Reasoning { effort, budget_tokens, summary: None });
        let (body, dropped) = written(Request { reasoning, ..chat(Vec::new()) });
        (body["think"].clone(), dropped.len())
    };
    assert_eq!(think(Some(Effort::None), None), (json!(false), 0));
    assert_eq!(think(Some(Effort::Minimal), None), (json!("low"), 0));
    assert_eq!(think(Some(Effort::High), None), (json!("high"), 0));
    assert_eq!(think(Some(Effort::XHigh), None), (json!("max"), 0));
    assert_eq!(think(None, Some(2048)), (json!(true), 1));
    assert_eq!(think(None, Some(0)), (json!(false), 0));
    assert_eq!(think(None, None), (Value::Null, 0));
}

#[test]
fn structured_output_is_json_or_the_schema_itself() {
    let format =
        |format| written(Request { response_format: Some(format), ..chat(Vec::new()) }).0["format"].clone();
    assert_eq!(format(ResponseFormat::Text), Value::Null);
    assert_eq!(format(ResponseFormat::JsonObject), json!("json"));
    let schema = ResponseFormat::JsonSchema {
        name: "n".into(),
        description: None,
        schema: json!({ "$ref": "#/$defs/a" }),
        strict: None,
    };
    assert_eq!(format(schema), json!({ "$ref": "#/$defs/a", "title": "n" }));
}

const ANSWER: &str = r#"{"model":"llama3.2","created_at":"2025-07-07T20:32:53.844124Z","message":{"role":"assistant",
  "content":"Hi","thinking":"hm","tool_calls":[{"function":{"name":"f","arguments":{"x":1}}},
  {"id":"c2","function":{"index":1,"name":"f","arguments":{}}}]},"done_reason":"stop","done":true,
  "total_duration":3244883583,"prompt_eval_count":169,"eval_count":18,
  "logprobs":[{"token":"Hi","logprob":-0.5,"top_logprobs":[{"token":"Ho","logprob":-1.5,"bytes":[72]}]}]}"#;

#[test]
fn an_answer_is_read_with_calls_that_have_no_names() {
    let answer = read_answer(ANSWER.as_bytes()).unwrap();
    let choice = &answer.choices[0];
    let ids: Vec<_> = choice
        .parts
        .iter()
        .filter_map(|part| match &part.kind {
            PartKind::ToolCall { id, arguments, .. } => Some((id.as_str(), arguments.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(ids.len(), 2);
    assert!(ids[0].0.starts_with("call_") && ids[0].1 == "{\"x\":1}" && ids[1] == ("c2", "{}"), "{ids:?}");
    assert_eq!(choice.finish, Finish::new(Reason::ToolCalls, "stop"));
    assert_eq!((answer.created, answer.model.as_deref()), (Some(1_751_920_373), Some("llama3.2")));
    assert_eq!(answer.usage, Some(Usage { input: 169, output: 18, ..Usage::default() }));
    assert_eq!(answer.extra, Map::from_iter([("total_duration".into(), json!(3_244_883_583_u64))]));
    let top = json!([{ "token": "Ho", "logprob": -1.5, "bytes": [72] }]);
    let token = json!({ "token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": top });
    assert_eq!(choice.logprobs, Some(json!({ "content": [token] })));
    let later = ANSWER.replace("53.844124", "54.844124");
    let other = read_answer(later.as_bytes()).unwrap();
    assert_ne!(other.choices[0].parts[2], choice.parts[2], "another answer's call has another name");
}

#[test]
fn what_is_no_answer_is_told() {
    for body in ["<html>", "[]", "{}", r#"{"error":"gone"}"#, r#"{"message":"hi"}"#] {
        assert!(read_answer(body.as_bytes()).is_err(), "{body}");
    }
    let reason = |raw: &str| {
        let body = json!({ "message": {}, "done": true, "done_reason": raw }).to_string();
        read_answer(body.as_bytes()).unwrap().choices[0].finish.reason
    };
    assert_eq!(
        (reason("length"), reason("stop"), reason("load")),
        (Reason::Length, Reason::Stop, Reason::Stop)
    );
    let message = |body: &str| read_error(body.as_bytes()).message;
    assert_eq!(message(r#"{"error":"model 'x' not found"}"#), "model 'x' not found");
    assert_eq!(message(r#"{"error":{"message":"no"}}"#), "no");
    assert_eq!(message("oops"), "oops");
}

const THINK: &str = "{\"model\":\"m\",\"created_at\":\"2023-08-04T08:52:19.385406455-07:00\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\"},\"done\":false}\n";
const TEXT: &str = "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Grüße\"},\"done\":false,\"logprobs\":[{\"token\":\"G\",\"logprob\":-1,\"bytes\":[71]}]}\r\n";
const CALL: &str = "{\"model\":\"m\",\"message\":{\"content\":\"\",\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1}}}]},\"done\":false}\n";
const END: &str = "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"eval_count\":2,\"prompt_eval_count\":3,\"load_duration\":5}\n";
const ERROR: &str = "{\"error\":\"an error was encountered while running the model\"}\n";

#[test]
fn a_stream_is_read_to_its_counts() {
    let (events, end) = read_cut_anywhere::<Reader>([THINK, TEXT, "\n", CALL, CALL, END].concat().as_bytes());
    let delta = |block, delta| Event::Delta { choice: 0, block, delta };
    let call = || Block::ToolCall { id: "c".into(), name: "f".into(), signature: None };
    let token = json!({ "token": "G", "logprob": -1.0, "bytes": [71], "top_logprobs": [] });
    let expected = [
        Event::Start(Start { id: None, model: Some("m".into()), created: Some(1_691_164_339) }),
        Event::Open { choice: 0, block: 0, what: Block::Thinking },
        delta(0, Delta::Text("hm".into())),
        Event::Close { choice: 0, block: 0 },
        Event::Open { choice: 0, block: 1, what: Block::Text },
        delta(1, Delta::Text("Grüße".into())),
        Event::Logprobs { choice: 0, value: json!({ "content": [token] }) },
        Event::Close { choice: 0, block: 1 },
        Event::Open { choice: 0, block: 2, what: call() },
        delta(2, Delta::Arguments("{\"x\":1}".into())),
        Event::Close { choice: 0, block: 2 },
        Event::Open { choice: 0, block: 3, what: call() },
        delta(3, Delta::Arguments("{\"x\":1}".into())),
        Event::Close { choice: 0, block: 3 },
        Event::Finish { choice: 0, finish: Finish::new(Reason::ToolCalls, "stop") },
        Event::Usage(Usage { input: 3, output: 2, ..Usage::default() }),
        Event::Extra(Map::from_iter([("load_duration".into(), json!(5))])),
        Event::End,
    ];
    assert_eq!((events.as_slice(), end), (&expected[..], Ok(())));
}

#[test]
fn streams_that_fail_say_so() {
    let (events, end) = read_cut_anywhere::<Reader>([TEXT, ERROR].concat().as_bytes());
    assert!(matches!(events.last(), Some(Event::Error(error)) if error.message.starts_with("an error was")));
    assert_eq!(end, Ok(()));
    let broken = |stream: &str| read_cut_anywhere::<Reader>(stream.as_bytes()).1.unwrap_err();
    assert_eq!(broken(TEXT), Broken::Cut);
    assert_eq!(broken(&END[..END.len() / 2]), Broken::Cut);
    assert!(matches!(broken("{\"a\n"), Broken::Malformed(_)));
    assert!(matches!(broken("[1]\n"), Broken::Malformed(_)));
    assert_eq!(read_cut_anywhere::<Reader>(END.trim_end().as_bytes()).1, Ok(()));
}

const FIELDS: &[&str] = &[
    "message",
    "content",
    "thinking",
    "tool_calls",
    "function",
    "arguments",
    "name",
    "id",
    "done",
    "done_reason",
    "stop",
    "logprobs",
    "top_logprobs",
    "bytes",
    "eval_count",
    "created_at",
    "error",
    "model",
];

proptest! {
    #[test]
    fn any_stream_is_read_the_same_however_it_is_cut(stream in streams(&[THINK, TEXT, CALL, END, ERROR, "\n"])) {
        let _ = read_cut_anywhere::<Reader>(&stream);
    }

    #[test]
    fn any_document_is_read_or_refused(document in documents(FIELDS)) {
        let document = document.to_string();
        let _ = read_answer(document.as_bytes());
        let _ = read_error(document.as_bytes());
        let _ = read_cut_anywhere::<Reader>(format!("{document}\n").as_bytes());
    }

    #[test]
    fn no_word_of_a_chat_is_lost(chat in chats()) {
        check_nothing_is_lost(&chat, write_request);
    }
}
