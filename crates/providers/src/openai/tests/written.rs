//! Requests as providers get them.

use domain::model::{Capability, ModelInfo};
use serde_json::{Map, Value, json};

use super::super::write_request;
use crate::chat::{
    Cache, Dialect, Effort, Function, Message, Part, PartKind, Reasoning, Request, Role, Source, Target,
    Tool, ToolChoice,
};

fn model(capabilities: &[Capability]) -> ModelInfo {
    ModelInfo {
        provider: "p".to_owned(),
        name: "m".to_owned(),
        aliases: Vec::new(),
        context_window: None,
        max_output: None,
        capabilities: capabilities.iter().copied().collect(),
        price: None,
        source: String::new(),
        as_of: String::new(),
    }
}

fn write_to(request: Request, model: Option<&ModelInfo>) -> (Value, Vec<String>) {
    let target = Target { provider: "p", model, options: &Map::new() };
    let written = write_request(request, &target).unwrap();
    (serde_json::from_slice(&written.body).unwrap(), written.dropped)
}

fn write(request: Request) -> (Value, Vec<String>) {
    write_to(request, None)
}

fn request(messages: Vec<Message>) -> Request {
    Request { model: "m".to_owned(), messages, ..Request::default() }
}

fn message(role: Role, kinds: Vec<PartKind>) -> Message {
    Message { role, name: None, parts: kinds.into_iter().map(Part::new).collect() }
}

fn text(text: &str) -> PartKind {
    PartKind::Text { text: text.to_owned(), citations: Vec::new() }
}

fn png() -> Source {
    Source::Base64 { media_type: "image/png".to_owned(), data: "aGk=".to_owned() }
}

fn call(id: &str) -> PartKind {
    PartKind::ToolCall { id: id.into(), name: "f".into(), arguments: String::new(), signature: None }
}

fn result(id: &str, kinds: Vec<PartKind>) -> PartKind {
    let parts = kinds.into_iter().map(Part::new).collect();
    PartKind::ToolResult { id: id.to_owned(), name: None, parts, is_error: false }
}

#[test]
fn pictures_in_results_follow_when_all_tools_have_answered() {
    let (body, dropped) = write(request(vec![
        message(Role::Assistant, vec![call("a"), call("b")]),
        message(Role::Tool, vec![result("a", vec![PartKind::Image { source: png(), detail: None }])]),
        message(Role::Tool, vec![result("b", vec![text("2")])]),
        message(Role::User, vec![text("and?")]),
    ]));
    let function = json!({ "name": "f", "arguments": "{}" });
    let expected = json!([
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "a", "type": "function", "function": function },
            { "id": "b", "type": "function", "function": function },
        ]},
        { "role": "tool", "tool_call_id": "a", "content": "The result is in the next message." },
        { "role": "tool", "tool_call_id": "b", "content": "2" },
        { "role": "user", "content": [
            { "type": "text", "text": "Result of the tool call a:" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,aGk=" } },
        ]},
        { "role": "user", "content": "and?" },
    ]);
    assert_eq!((&body["messages"], dropped), (&expected, Vec::new()));
}

#[test]
fn what_the_api_has_no_place_for_is_reported_once() {
    let mut marked = Part::text("hi");
    marked.cache = Some(Cache::default());
    let thinking = |text: &str| PartKind::Thinking { text: text.to_owned(), signature: Some("s".to_owned()) };
    let native = |dialect| PartKind::Native { dialect, value: json!({ "type": "x" }) };
    let mut request = request(vec![
        Message { role: Role::User, name: None, parts: vec![marked.clone(), marked] },
        message(Role::Assistant, vec![thinking("a"), thinking("b"), text("yes"), native(Dialect::Anthropic)]),
    ]);
    request.tools = vec![
        Tool::Native { dialect: Dialect::Anthropic, value: json!({}) },
        Tool::Function(Function {
            name: "f".to_owned(),
            cache: Some(Cache::default()),
            ..Function::default()
        }),
    ];
    request.top_k = Some(3);
    request.own.insert("container".to_owned(), json!("c"));
    request.own.insert("service_tier".to_owned(), json!("standard_only"));
    request.unknown.insert("min_p".to_owned(), json!(0.1));
    request.unknown.insert("model".to_owned(), json!("other"));
    request.dropped = vec!["messages[0].name".to_owned()];
    let (body, dropped) = write(request);
    let expected = json!({
        "model": "m",
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "hi" }, { "type": "text", "text": "hi" }] },
            { "role": "assistant", "content": "yes" },
        ],
        "tools": [{ "type": "function", "function": { "name": "f" } }],
        "min_p": 0.1,
    });
    assert_eq!(body, expected);
    let expected = [
        "messages[0].name",
        "messages[*].content[*].cache_control",
        "messages[*].content[*].thinking",
        "messages[1].content[3]",
        "tools[0]",
        "tools[*].cache_control",
        "top_k",
        "container",
        "service_tier",
    ];
    assert_eq!(dropped, expected);
}

#[test]
fn the_limit_and_the_instructions_are_named_as_the_model_knows_them() {
    for (model, limit, role) in [
        ("gpt-4o", "max_completion_tokens", "developer"),
        ("openai/o3-mini", "max_completion_tokens", "developer"),
        ("ft:gpt-4.1:acme::1", "max_completion_tokens", "developer"),
        ("openai/gpt-oss-120b", "max_tokens", "system"),
        ("mistral-large-latest", "max_tokens", "system"),
        ("open-mixtral", "max_tokens", "system"),
        ("ö1", "max_tokens", "system"),
    ] {
        let mut request = request(vec![Message::text(Role::Developer, "be brief")]);
        request.model = model.to_owned();
        request.max_tokens = Some(9);
        let (body, dropped) = write(request);
        let expected = json!({
            "model": model, "messages": [{ "role": role, "content": "be brief" }], limit: 9,
        });
        assert_eq!((body, dropped), (expected, Vec::new()));
    }
}

#[test]
fn thinking_becomes_an_effort_where_the_model_may_think() {
    let (thinks, does_not) = (model(&[Capability::Chat, Capability::Reasoning]), model(&[Capability::Chat]));
    let wish = |effort, budget_tokens| Reasoning { effort, budget_tokens, summary: None };
    for (wish, known, expected, lost) in [
        (wish(Some(Effort::High), None), None, json!("high"), &[][..]),
        (wish(None, Some(5_000)), Some(&thinks), json!("medium"), &[]),
        (wish(None, Some(0)), Some(&thinks), json!("none"), &[]),
        (wish(None, Some(5_000)), Some(&does_not), Value::Null, &["reasoning_effort"]),
        (wish(Some(Effort::None), None), Some(&does_not), Value::Null, &[]),
    ] {
        let mut request = request(vec![Message::text(Role::User, "hi")]);
        request.max_tokens = Some(10_000);
        request.reasoning = Some(wish.clone());
        let (body, dropped) = write_to(request, known);
        assert_eq!(body.get("reasoning_effort").cloned().unwrap_or_default(), expected, "{wish:?}");
        assert_eq!(dropped, lost, "{wish:?}");
    }
}

#[test]
fn streams_are_asked_for_their_counts() {
    let mut request = request(vec![Message::text(Role::User, "hi")]);
    request.stream = true;
    let (body, _) = write(request);
    assert_eq!((&body["stream"], &body["stream_options"]), (&json!(true), &json!({ "include_usage": true })));
}

#[test]
fn a_choice_without_tools_is_left_out() {
    for (choice, lost) in [(ToolChoice::Auto, &[][..]), (ToolChoice::Required, &["tool_choice"])] {
        let mut request = request(vec![Message::text(Role::User, "hi")]);
        request.tool_choice = Some(choice);
        request.parallel_tool_calls = Some(false);
        let (body, dropped) = write(request);
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["model", "messages"]);
        assert_eq!(dropped, lost);
    }
}

#[test]
fn what_would_be_something_else_is_refused() {
    let url = || Source::Url("https://a/b".to_owned());
    let audio = Source::Base64 { media_type: "video/mp4".to_owned(), data: "aGk=".to_owned() };
    for (role, kind, words) in [
        (Role::User, PartKind::Document { source: url(), name: None }, "send the file inline"),
        (Role::User, PartKind::Audio { source: url() }, "as wav or mp3"),
        (Role::User, PartKind::Audio { source: audio }, "as wav or mp3"),
        (Role::User, PartKind::Image { source: Source::File("f".into()), detail: None }, "by its address"),
        (Role::System, PartKind::Image { source: url(), detail: None }, "instructions take text only"),
        (Role::Assistant, PartKind::Image { source: url(), detail: None }, "text and calls only"),
    ] {
        let target = Target { provider: "groq", model: None, options: &Map::new() };
        let err = write_request(request(vec![message(role, vec![kind])]), &target).unwrap_err();
        assert_eq!((err.status, err.param.as_deref()), (400, Some("messages[0].content[0]")));
        assert!(err.message.contains("sent to groq") && err.message.contains(words), "{err}");
    }
}
