//! Requests.

use domain::model::ModelInfo;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{read_count_request, read_request, write_request};
use super::{citation, json_value, object, said, target, word};
use crate::chat::{
    self, Effort, Message, Part, PartKind, Reasoning, Request, Role, Target, Tool, ToolChoice,
};
use crate::openai;

fn read(body: Value) -> Request {
    read_request(body.to_string().as_bytes()).unwrap()
}

fn written(request: Request, model: Option<&ModelInfo>) -> (Value, Vec<String>) {
    let options = Map::new();
    let written = write_request(request, &Target { model, ..target(&options) }).unwrap();
    (serde_json::from_slice(&written.body).unwrap(), written.dropped)
}

/// A request of one short turn.
fn short(model: &str) -> Request {
    Request {
        model: model.to_owned(),
        messages: vec![Message::text(Role::User, "Hello")],
        ..Request::default()
    }
}

fn cache() -> impl Strategy<Value = Option<Value>> {
    prop::option::of(prop_oneof![
        Just(json!({ "type": "ephemeral" })),
        Just(json!({ "type": "ephemeral", "ttl": "1h" })),
    ])
}

fn marked(block: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    (block, cache()).prop_map(|(mut block, cache)| {
        if let Some(cache) = cache {
            block["cache_control"] = cache;
        }
        block
    })
}

fn text_block() -> impl Strategy<Value = Value> {
    marked((said(), prop::collection::vec(citation(), 0..2)).prop_map(|(text, citations)| {
        let mut block = json!({ "type": "text", "text": text });
        if !citations.is_empty() {
            block["citations"] = citations.into();
        }
        block
    }))
}

fn media_block() -> impl Strategy<Value = Value> {
    let source = prop_oneof![
        Just(json!({ "type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo=" })),
        Just(json!({ "type": "url", "url": "https://example.com/ant.jpg" })),
        Just(json!({ "type": "file", "file_id": "file_01" })),
    ];
    let paper = prop_oneof![
        Just(json!({ "type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK" })),
        said().prop_map(|text| json!({ "type": "text", "media_type": "text/plain", "data": text })),
    ];
    marked(prop_oneof![
        source.prop_map(|source| json!({ "type": "image", "source": source })),
        (paper, word())
            .prop_map(|(source, title)| { json!({ "type": "document", "source": source, "title": title }) }),
    ])
}

fn result_block() -> impl Strategy<Value = Value> {
    let content = prop::collection::vec(prop_oneof![text_block(), media_block()], 1..3);
    marked((word(), content, any::<bool>()).prop_map(|(id, content, failed)| {
        let mut block = json!({ "type": "tool_result", "tool_use_id": id, "content": content });
        if failed {
            block["is_error"] = true.into();
        }
        block
    }))
}

fn user() -> impl Strategy<Value = Value> {
    let said = prop::collection::vec(prop_oneof![3 => text_block(), 1 => media_block()], 1..3);
    (prop::collection::vec(result_block(), 0..2), said).prop_map(|(mut results, said)| {
        results.extend(said);
        json!({ "role": "user", "content": results })
    })
}

fn assistant() -> impl Strategy<Value = Value> {
    let block = prop_oneof![
        text_block(),
        (said(), word())
            .prop_map(|(text, seal)| { json!({ "type": "thinking", "thinking": text, "signature": seal }) }),
        word().prop_map(|data| json!({ "type": "redacted_thinking", "data": data })),
        marked((word(), word(), object()).prop_map(|(id, name, input)| {
            json!({ "type": "tool_use", "id": id, "name": name, "input": input })
        })),
        word().prop_map(|id| {
            json!({ "type": "server_tool_use", "id": id, "name": "web_search", "input": { "query": "x" } })
        }),
    ];
    prop::collection::vec(block, 1..4).prop_map(|content| json!({ "role": "assistant", "content": content }))
}

fn tool() -> impl Strategy<Value = Value> {
    let schema = json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/x" } },
                         "$defs": { "x": { "type": "string" } }, "additionalProperties": false });
    let function = (word(), prop::option::of(said()), any::<bool>()).prop_map(move |(name, text, strict)| {
        let mut tool = json!({ "name": format!("f_{name}"), "input_schema": schema });
        if let Some(text) = text {
            tool["description"] = text.into();
        }
        if strict {
            tool["strict"] = true.into();
        }
        tool
    });
    prop_oneof![
        3 => marked(function),
        1 => Just(json!({ "type": "web_search_20250305", "name": "web_search", "max_uses": 3 })),
    ]
}

/// `tools` with a `tool_choice` that names one of them.
fn tools() -> impl Strategy<Value = Value> {
    (prop::collection::vec(tool(), 1..4), 0..5, any::<bool>()).prop_map(|(tools, kind, alone)| {
        let mut choice = match kind {
            0 => return json!({ "tools": tools }),
            1 => json!({ "type": "auto" }),
            2 => json!({ "type": "any" }),
            3 => json!({ "type": "tool", "name": tools[0]["name"] }),
            _ => json!({ "type": "none" }),
        };
        if alone && kind != 4 {
            choice["disable_parallel_tool_use"] = true.into();
        }
        json!({ "tools": tools, "tool_choice": choice })
    })
}

/// How much is thought, as current models and as all others take it.
fn thinking() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({ "temperature": 0.5, "top_p": 0.9, "top_k": 5 })),
        Just(json!({ "thinking": { "type": "disabled" } })),
        Just(json!({ "thinking": { "type": "disabled" }, "output_config": { "effort": "low" } })),
        Just(json!({ "thinking": { "type": "adaptive" } })),
        Just(json!({ "thinking": { "type": "adaptive", "display": "omitted" },
                     "output_config": { "effort": "xhigh", "task_budget": { "type": "tokens", "total": 9 } } })),
        Just(json!({ "thinking": { "type": "enabled", "budget_tokens": 2000, "display": "summarized" } })),
        Just(json!({ "thinking": { "type": "between_tools" } })),
        Just(json!({ "output_config": { "format": { "type": "json_schema", "schema":
            { "type": "object", "properties": {}, "additionalProperties": false } } } })),
    ]
}

fn body() -> impl Strategy<Value = Value> {
    let turns = prop::collection::vec((user(), assistant()), 0..3);
    let system = prop::option::of(prop::collection::vec(text_block(), 1..3));
    let rest = prop::sample::subsequence(
        vec![
            ("stream", json!(true)),
            ("stop_sequences", json!(["END", "\n\nHuman:"])),
            ("metadata", json!({ "user_id": "user-7f3a" })),
            ("service_tier", json!("standard_only")),
            ("container", json!("container_01")),
            ("context_management", json!({ "edits": [{ "type": "clear_tool_uses_20250919" }] })),
            ("mcp_servers", json!([{ "type": "url", "name": "m", "url": "https://mcp.example" }])),
            ("cache_control", json!({ "type": "ephemeral" })),
            ("something_new", json!({ "a": [1] })),
        ],
        0..9,
    );
    (turns, user(), system, prop::option::of(tools()), thinking(), rest).prop_map(
        |(turns, last, system, tools, thinking, rest)| {
            let mut messages: Vec<Value> = turns.into_iter().flat_map(|(a, b)| [a, b]).collect();
            messages.push(last);
            let mut body = json!({ "model": "claude-next", "max_tokens": 9000, "messages": messages });
            let fields = body.as_object_mut().unwrap();
            fields.extend(system.map(|system| ("system".to_owned(), system.into())));
            // A budget does not go with a forced tool.
            let forced = |tools: &Value| {
                ["any", "tool"].contains(&tools["tool_choice"]["type"].as_str().unwrap_or(""))
            };
            let budget = thinking["thinking"]["type"] == "enabled";
            for more in
                [tools.filter(|tools| !(budget && forced(tools))), Some(thinking)].into_iter().flatten()
            {
                fields.extend(more.as_object().unwrap().clone());
            }
            fields.extend(rest.into_iter().map(|(name, value)| (name.to_owned(), value)));
            body
        },
    )
}

/// A turn of the model or of the user: results of tools, and what is said.
type Turn = (bool, Vec<Part>, Vec<Part>);

/// What a conversation says, however it is cut into turns: instructions, then turns of two roles.
fn meaning(messages: Vec<Message>) -> (Vec<Part>, Vec<Turn>) {
    let (mut system, mut turns): (Vec<Part>, Vec<Turn>) = Default::default();
    for Message { role, parts, .. } in messages {
        let says = |part: &Part| !matches!(&part.kind, PartKind::Text { text, .. } if text.trim().is_empty());
        let parts: Vec<Part> = parts.into_iter().filter(says).collect();
        if matches!(role, Role::System | Role::Developer) {
            system.extend(parts);
            continue;
        }
        let of_model = role == Role::Assistant;
        let is_result = |part: &Part| matches!(part.kind, PartKind::ToolResult { .. });
        let (results, said): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(is_result);
        match turns.last_mut().filter(|last| last.0 == of_model) {
            Some(last) => {
                last.1.extend(results);
                last.2.extend(said);
            }
            None if results.is_empty() && said.is_empty() => {}
            None => turns.push((of_model, results, said)),
        }
    }
    (system, turns)
}

/// A chat as callers of OpenAI's dialect write it.
fn openai_body() -> impl Strategy<Value = Value> {
    let message = prop_oneof![
        said().prop_map(|text| json!({ "role": "system", "content": text })),
        said().prop_map(|text| json!({ "role": "developer", "content": [{ "type": "text", "text": text }] })),
        said().prop_map(|text| json!({ "role": "user", "content": text })),
        (said(), prop::collection::vec((word(), word(), object()), 0..3)).prop_map(|(text, calls)| {
            let call = |(id, name, input): (String, String, Value)| {
                json!({ "id": id, "type": "function",
                        "function": { "name": name, "arguments": input.to_string() } })
            };
            let calls: Vec<Value> = calls.into_iter().map(call).collect();
            let mut message = json!({ "role": "assistant", "content": text });
            if !calls.is_empty() {
                message["tool_calls"] = calls.into();
            }
            message
        }),
        (word(), said())
            .prop_map(|(id, text)| json!({ "role": "tool", "tool_call_id": id, "content": text })),
        said().prop_map(|text| json!({ "role": "user", "content": [
            { "type": "text", "text": text },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgo=" } },
        ] })),
    ];
    (prop::collection::vec(message, 0..6), 0_u8..8, 1_u64..9000).prop_map(|(mut messages, kind, limit)| {
        messages.push(json!({ "role": "user", "content": "Go on." }));
        let mut body = json!({ "model": "claude-sonnet-4-5", "max_tokens": limit, "messages": messages });
        match kind {
            0 => body["temperature"] = 0.25.into(),
            1 => body["stop"] = json!(["END"]),
            2 => body["user"] = "u".into(),
            3 | 4 => {
                body["tools"] = json!([{ "type": "function", "function": {
                    "name": "f", "description": "d", "parameters": { "type": "object", "properties": {} } } }]);
                body["tool_choice"] =
                    if kind == 3 { "required".into() } else { json!({ "type": "function", "function": { "name": "f" } }) };
            }
            5 => body["stream"] = true.into(),
            _ => body["top_p"] = 0.5.into(),
        }
        body
    })
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_request(&bytes);
    }

    #[test]
    fn no_json_makes_a_reader_or_a_writer_panic(value in json_value(), messages in json_value(), tools in json_value()) {
        let _ = read_request(value.to_string().as_bytes());
        let body = json!({ "model": "m", "max_tokens": 9, "messages": messages, "tools": tools, "thinking": value });
        if let Ok(request) = read_count_request(body.to_string().as_bytes()) {
            let _ = write_request(request, &target(&Map::new()));
        }
        let body = json!({ "model": "m", "max_tokens": 9,
            "messages": [{ "role": "user", "content": [messages, tools] }, { "role": "assistant", "content": value }] });
        let _ = read_request(body.to_string().as_bytes());
    }

    #[test]
    fn what_is_read_is_written_as_it_was(body in body()) {
        let request = read(body.clone());
        prop_assert_eq!(&request.dropped, &Vec::<String>::new());
        let (sent, dropped) = written(request, None);
        // Temperature and its like do not go with thinking.
        prop_assert_eq!(dropped, Vec::<String>::new());
        prop_assert_eq!(sent, body);
    }

    #[test]
    fn a_chat_means_the_same_in_both_dialects(body in openai_body()) {
        let asked = openai::read_request(body.to_string().as_bytes()).unwrap();
        let (sent, dropped) = written(asked.clone(), None);
        prop_assert_eq!(dropped, Vec::<String>::new());
        let heard = read(sent);
        prop_assert_eq!(meaning(heard.messages), meaning(asked.messages));
        prop_assert_eq!(heard.tools, asked.tools);
        prop_assert_eq!(heard.tool_choice, asked.tool_choice);
        prop_assert_eq!((heard.temperature, heard.top_p), (asked.temperature, asked.top_p));
        prop_assert_eq!((heard.max_tokens, heard.stop), (asked.max_tokens, asked.stop));
        prop_assert_eq!((heard.user, heard.stream), (asked.user, asked.stream));
    }
}

#[track_caller]
fn check_refused(change: Value, param: &str, message: &str) {
    let mut body =
        json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "Hello" }] });
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let err = read_request(body.to_string().as_bytes()).unwrap_err();
    assert_eq!((err.status, err.param.as_deref()), (400, Some(param)), "{}", err.message);
    assert!(err.message.contains(message), "{}", err.message);
}

fn content(block: Value) -> Value {
    json!({ "messages": [{ "role": "user", "content": [block] }] })
}

#[test]
fn mistakes_are_told_with_their_place() {
    check_refused(json!({ "messages": [] }), "messages", "is empty");
    check_refused(json!({ "model": 7 }), "model", "must be a string, not a number");
    check_refused(json!({ "max_tokens": null }), "max_tokens", "is missing");
    check_refused(json!({ "stop_sequences": ["a", 1] }), "stop_sequences[1]", "must be a string");
    check_refused(json!({ "messages": [{ "role": "user" }] }), "messages[0].content", "is missing");
    check_refused(content(json!({ "text": "x" })), "messages[0].content[0].type", "is missing");
    check_refused(content(json!("x")), "messages[0].content[0]", "must be an object");
    check_refused(
        content(json!({ "type": "image", "source": { "type": "path" } })),
        "messages[0].content[0].source.type",
        "`path`, which is not known: write `base64`, `url` or `file`",
    );
    check_refused(
        content(json!({ "type": "tool_use", "id": "t", "name": "f", "input": {} })),
        "messages[0].content",
        "those belong to role `assistant`",
    );
    check_refused(
        content(json!({ "type": "tool_result", "tool_use_id": "t", "content": [{ "type": "tool_result" }] })),
        "messages[0].content[0].content[0]",
        "cannot be inside another block",
    );
    check_refused(
        content(json!({ "type": "text", "text": "x", "cache_control": { "type": "eternal" } })),
        "messages[0].content[0].cache_control.type",
        "`ephemeral`",
    );
    check_refused(json!({ "tools": [{ "name": "f" }] }), "tools[0].input_schema", "is missing");
    check_refused(json!({ "tool_choice": { "type": "tool", "name": "f" } }), "tool_choice.name", "no tool");
    check_refused(json!({ "thinking": { "type": "enabled" } }), "thinking.budget_tokens", "is missing");
    check_refused(json!({ "output_config": { "effort": "none" } }), "output_config.effort", "`low`");
    check_refused(
        json!({ "system": [{ "type": "image", "source": { "type": "url", "url": "https://a/b" } }] }),
        "system[0]",
        "text",
    );
}

#[test]
fn a_thread_may_begin_here_but_not_go_on() {
    let body = |thread: Value| {
        let messages = json!([{ "role": "user", "content": "Hello" }]);
        json!({ "model": "m", "max_tokens": 9, "messages": messages, "thread": thread }).to_string()
    };
    let begun = read_request(body(json!({ "type": "create" })).as_bytes()).unwrap();
    assert_eq!(begun.own["thread"], json!({ "type": "create" }));
    let going_on = json!({ "type": "continue", "previous_message_id": "msg_1" });
    let err = read_request(body(going_on).as_bytes()).unwrap_err();
    assert_eq!((err.status, err.code.as_deref()), (404, Some("thread_not_found")), "{}", err.message);
    assert!(err.message.contains("`msg_1`"), "{}", err.message);
    let told: Value = serde_json::from_slice(&err.body_for(domain::Operation::Messages)).unwrap();
    assert_eq!(told["error"]["details"]["error_code"], "thread_not_found");
}

#[test]
fn what_a_chat_has_no_place_for_is_reported_or_kept() {
    let request = read(json!({
        "model": "m", "max_tokens": 9, "container": "c", "new": 1, "metadata": { "user_id": "u", "team": "t" },
        "thinking": { "type": "disabled" }, "output_config": { "effort": "low", "task_budget": {} },
        "tools": [{ "name": "f", "input_schema": {}, "defer_loading": true, "eager_input_streaming": false }],
        "messages": [{ "role": "user", "content": [
            { "type": "document", "title": "t", "context": "c", "citations": { "enabled": true },
              "source": { "type": "content", "content": [
                  { "type": "text", "text": "a" }, { "type": "text", "text": "b" },
                  { "type": "image", "source": { "type": "url", "url": "https://a.example/b.png" } },
              ] } },
            { "type": "search_result", "title": "s", "source": "https://a.example", "content": [{ "type": "text", "text": "r" }] },
        ] }],
    }));
    let expected = [
        "metadata.team",
        "tools[0].defer_loading",
        "messages[0].content[0].citations",
        "messages[0].content[0].context",
    ];
    assert_eq!(request.dropped, expected);
    assert_eq!(request.user.as_deref(), Some("u"));
    let own: Vec<&str> = request.own.keys().map(String::as_str).collect();
    assert_eq!(own, ["output_config.task_budget", "output_config.effort", "container"]);
    assert_eq!(request.unknown, Map::from_iter([("new".to_owned(), json!(1))]));
    let text = |text: &str| chat::Source::Text(text.to_owned());
    let document = |source, name: &str| Part::new(PartKind::Document { source, name: Some(name.to_owned()) });
    let url = chat::Source::Url("https://a.example/b.png".to_owned());
    let picture = Part::new(PartKind::Image { source: url, detail: None });
    let parts = vec![document(text("a\nb"), "t"), picture, document(text("r"), "s (https://a.example)")];
    assert_eq!(request.messages[0].parts, parts);
}

#[test]
fn results_of_tools_are_a_turn_of_their_own() {
    let request = read(json!({ "model": "m", "max_tokens": 9, "messages": [
        { "role": "user", "content": [
            { "type": "text", "text": "And now?" },
            { "type": "tool_result", "tool_use_id": "a", "is_error": true, "content": "no such city" },
        ] },
        { "role": "system", "content": "Be brief." },
    ] }));
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::Tool, Role::User, Role::System]);
    let result = PartKind::ToolResult {
        id: "a".into(),
        name: None,
        parts: vec![Part::text("no such city")],
        is_error: true,
    };
    assert_eq!(request.messages[0].parts, [Part::new(result)]);
}

#[test]
fn the_limit_is_the_callers_else_the_models() {
    let info = ModelInfo { max_output: Some(64_000), ..ModelInfo::default() };
    let limit = |request: Request, info: Option<&ModelInfo>| written(request, info).0["max_tokens"].clone();
    assert_eq!(limit(short("m"), None), 4096);
    assert_eq!(limit(short("m"), Some(&info)), 64_000);
    assert_eq!(limit(Request { max_tokens: Some(5), ..short("m") }, Some(&info)), 5);
    let reasoning = Some(Reasoning { budget_tokens: Some(8000), ..Reasoning::default() });
    assert_eq!(limit(Request { reasoning, ..short("m") }, None), 8000 + 4096);
}

#[track_caller]
fn check_thinking(
    (model, max_tokens, reasoning): (&str, u64, Reasoning),
    thinking: Value,
    effort: Value,
    dropped: &[&str],
) {
    let request = Request { max_tokens: Some(max_tokens), reasoning: Some(reasoning), ..short(model) };
    let (body, left_out) = written(request, None);
    assert_eq!(body["thinking"], thinking, "{model}");
    assert_eq!(body["output_config"]["effort"], effort, "{model}");
    assert_eq!(left_out, dropped, "{model}");
}

#[test]
fn thinking_is_asked_for_as_the_model_takes_it() {
    let by = |effort, budget_tokens| Reasoning { effort, budget_tokens, summary: None };
    let adaptive = json!({ "type": "adaptive" });
    let budget = |tokens: u64| json!({ "type": "enabled", "budget_tokens": tokens });
    let (old, middle, new) = ("claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-4-8");
    let high = Some(Effort::High);
    check_thinking((old, 10_000, by(high, None)), budget(8000), Value::Null, &[]);
    check_thinking((old, 10_000, by(None, None)), budget(5000), Value::Null, &[]);
    check_thinking((old, 10_000, by(high, Some(2000))), budget(2000), json!("high"), &[]);
    check_thinking((old, 10_000, by(None, Some(5))), budget(1024), Value::Null, &["thinking.budget_tokens"]);
    check_thinking((old, 1000, by(high, None)), Value::Null, Value::Null, &["reasoning_effort"]);
    check_thinking((middle, 10_000, by(None, Some(2000))), budget(2000), Value::Null, &[]);
    check_thinking((middle, 10_000, by(Some(Effort::XHigh), None)), adaptive.clone(), json!("max"), &[]);
    check_thinking((new, 10_000, by(None, Some(2000))), adaptive.clone(), json!("low"), &[]);
    check_thinking((new, 10_000, by(Some(Effort::XHigh), None)), adaptive.clone(), json!("xhigh"), &[]);
    check_thinking(("some-deployment", 10_000, by(Some(Effort::Minimal), None)), adaptive, json!("low"), &[]);
    check_thinking((new, 100, by(Some(Effort::None), None)), json!({ "type": "disabled" }), Value::Null, &[]);
    let off = by(Some(Effort::None), None);
    check_thinking(("claude-opus-5-5", 100, off), Value::Null, json!("low"), &["reasoning_effort"]);
    let shown = Reasoning { summary: Some("auto".into()), ..by(high, None) };
    check_thinking(
        (new, 9000, shown),
        json!({ "type": "adaptive", "display": "summarized" }),
        json!("high"),
        &[],
    );
}

#[test]
fn a_forced_tool_comes_before_a_budget() {
    let tool = || Tool::Function(chat::Function { name: "f".into(), ..chat::Function::default() });
    let request = Request {
        tools: vec![tool()],
        tool_choice: Some(ToolChoice::Required),
        reasoning: Some(Reasoning { effort: Some(Effort::High), ..Reasoning::default() }),
        ..short("claude-sonnet-4-5")
    };
    let (body, dropped) = written(request, None);
    assert_eq!((&body["thinking"], &body["tool_choice"]["type"]), (&Value::Null, &json!("any")));
    assert_eq!(dropped, ["reasoning_effort"]);
    let foreign = Tool::Native { dialect: chat::Dialect::Gemini, value: json!({ "google_search": {} }) };
    let request = Request { tools: vec![foreign], tool_choice: Some(ToolChoice::Required), ..short("m") };
    let (body, dropped) = written(request, None);
    assert_eq!((body.get("tools"), body.get("tool_choice")), (None, None));
    assert_eq!(dropped, ["tools[0]", "tool_choice"]);
}

#[track_caller]
fn check_sampling(model: &str, given: [Option<f64>; 2], top_k: Option<u64>, sent: Value, dropped: &[&str]) {
    let [temperature, top_p] = given.map(|number| number.and_then(serde_json::Number::from_f64));
    let (body, left_out) = written(Request { temperature, top_p, top_k, ..short(model) }, None);
    let named = |name: &str| body.get(name).cloned().unwrap_or_default();
    assert_eq!(json!([named("temperature"), named("top_p"), named("top_k")]), sent, "{model}");
    assert_eq!(left_out, dropped, "{model}");
}

#[test]
fn sampling_is_kept_to_what_the_model_takes() {
    check_sampling("m", [Some(0.5), Some(0.9)], Some(3), json!([0.5, 0.9, 3]), &[]);
    check_sampling("m", [Some(1.5), None], None, json!([1, null, null]), &["temperature"]);
    check_sampling("m", [Some(-1.0), None], None, json!([0, null, null]), &["temperature"]);
    check_sampling("claude-sonnet-4-5", [Some(0.5), Some(0.9)], Some(3), json!([0.5, null, 3]), &["top_p"]);
    check_sampling("claude-sonnet-4-5", [Some(0.5), Some(1.0)], None, json!([0.5, null, null]), &[]);
    check_sampling("claude-sonnet-4-5", [None, Some(0.9)], None, json!([null, 0.9, null]), &[]);
    let all = ["temperature", "top_p", "top_k"];
    check_sampling("claude-opus-4-7", [Some(0.5), Some(0.9)], Some(3), json!([null, null, null]), &all);
    check_sampling("claude-opus-4-7", [Some(1.0), Some(1.0)], None, json!([1.0, 1.0, null]), &[]);
}

#[test]
fn fields_meant_for_the_provider_join_those_that_are_written() {
    let unknown = json!({ "output_config": { "effort": "high", "new": 1 }, "system": "x", "betas": ["b"] });
    let request = Request {
        unknown: unknown.as_object().unwrap().clone(),
        reasoning: Some(Reasoning { effort: Some(Effort::Low), ..Reasoning::default() }),
        messages: vec![Message::text(Role::System, "s"), Message::text(Role::User, "u")],
        ..Request::default()
    };
    let (body, dropped) = written(request, None);
    assert_eq!(body["output_config"], json!({ "effort": "low", "new": 1 }));
    assert_eq!(body["betas"], json!(["b"]));
    assert_eq!(dropped, ["output_config.effort", "system"]);
}

#[test]
fn a_chat_of_instructions_alone_is_refused() {
    let request = Request { messages: vec![Message::text(Role::System, "s")], ..short("m") };
    let err = write_request(request, &target(&Map::new())).unwrap_err();
    assert!(err.message.contains("write at least one message of role `user`"), "{}", err.message);
}

#[test]
fn results_come_first_and_calls_keep_ids_that_anthropic_takes() {
    let call = |id: &str| PartKind::ToolCall {
        id: id.into(),
        name: "f".into(),
        arguments: String::new(),
        signature: Some("seal".into()),
    };
    let result =
        |id: &str| PartKind::ToolResult { id: id.into(), name: None, parts: Vec::new(), is_error: false };
    let turn = |role, kind| Message { role, name: None, parts: vec![Part::new(kind)] };
    let messages = vec![
        turn(Role::Assistant, call("functions.f:0")),
        Message::text(Role::User, "And?"),
        turn(Role::Tool, result("functions.f:0")),
    ];
    let (body, dropped) = written(Request { messages, ..short("m") }, None);
    let id = "functions_2ef_3a0";
    let expected = json!([
        { "role": "assistant", "content": [{ "type": "tool_use", "id": id, "name": "f", "input": {} }] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": id }, { "type": "text", "text": "And?" },
        ] },
    ]);
    assert_eq!(body["messages"], expected);
    assert_eq!(dropped, ["messages[0].tool_calls[0].function.thought_signature"]);
}
