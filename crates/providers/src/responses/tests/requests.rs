//! Requests, and what is refused of them.

use domain::ApiError;
use serde_json::{Value, json};

use super::super::read_request;
use crate::chat::{
    Cache, Dialect, Effort, Function, Message, Part, PartKind, Request, ResponseFormat, Role, Source, Tool,
    ToolChoice,
};

fn read(mut body: Value) -> Result<Request, ApiError> {
    if body.get("model").is_none() {
        body["model"] = json!("m");
    }
    if body.get("input").is_none() {
        body["input"] = json!("hi");
    }
    read_request(body.to_string().as_bytes())
}

fn messages(input: Value) -> Vec<Message> {
    read(json!({ "input": input })).unwrap().messages
}

fn turn(role: Role, parts: impl IntoIterator<Item = PartKind>) -> Message {
    Message { role, name: None, parts: parts.into_iter().map(Part::new).collect() }
}

fn text(text: &str) -> PartKind {
    Part::text(text).kind
}

fn call(id: &str) -> PartKind {
    PartKind::ToolCall { id: id.into(), name: "f".into(), arguments: "{}".into(), signature: None }
}

fn result(id: &str, words: &str) -> Message {
    let parts = vec![Part::text(words)];
    turn(Role::Tool, [PartKind::ToolResult { id: id.into(), name: None, parts, is_error: false }])
}

/// The request is refused: at this place, with this in the message.
#[track_caller]
fn refused(body: Value, param: &str, words: &str) {
    let err = read(body).unwrap_err();
    assert_eq!((err.status, err.param.as_deref()), (400, Some(param)), "{}", err.message);
    assert!(err.message.contains(words), "{}", err.message);
}

#[test]
fn every_field_has_its_place() {
    let request = read(json!({
        "model": "gpt-5", "input": "hi", "instructions": "Be brief.", "max_output_tokens": 100,
        "temperature": 0.5, "top_p": 0.9, "top_logprobs": 2, "user": "u", "stream": true,
        "parallel_tool_calls": false, "include": ["reasoning.encrypted_content", "file_search_call.results"],
        "reasoning": { "effort": "max", "summary": "auto", "mode": "pro" },
        "text": { "verbosity": "low", "format": { "type": "json_object" }, "tone": "dry" },
        "store": true, "background": false, "metadata": { "a": "b" }, "service_tier": "flex",
        "prompt_cache_key": "k", "safety_identifier": "s", "max_tool_calls": 3, "truncation": "auto",
        "stream_options": { "include_obfuscation": true }, "seed": 7, "nothing": null,
    }))
    .unwrap();
    assert_eq!(request.messages, [Message::text(Role::System, "Be brief."), Message::text(Role::User, "hi")]);
    assert_eq!(
        (request.max_tokens, request.logprobs, request.top_logprobs),
        (Some(100), Some(true), Some(2))
    );
    assert_eq!(request.response_format, Some(ResponseFormat::JsonObject));
    assert_eq!((request.user.as_deref(), request.parallel_tool_calls), (Some("u"), Some(false)));
    assert!(request.stream && request.include_usage);
    let reasoning = request.reasoning.unwrap();
    assert_eq!((reasoning.effort, reasoning.summary.as_deref()), (Some(Effort::XHigh), Some("auto")));
    let own = json!({
        "verbosity": "low", "max_tool_calls": 3, "prompt_cache_key": "k", "safety_identifier": "s",
        "service_tier": "flex", "truncation": "auto",
    });
    assert_eq!(Value::Object(request.own), own);
    assert_eq!(Value::Object(request.unknown), json!({ "seed": 7 }));
    let dropped = ["text.tone", "reasoning.mode", "include[1]", "stream_options.include_obfuscation"];
    assert_eq!(request.dropped, dropped);
}

#[test]
fn what_asks_for_nothing_is_nothing() {
    let request = read(json!({
        "top_logprobs": 0, "truncation": "disabled", "reasoning": {}, "text": {}, "include": [],
        "stream_options": { "include_obfuscation": false }, "instructions": null,
    }))
    .unwrap();
    let plain = Request {
        model: "m".into(),
        messages: vec![Message::text(Role::User, "hi")],
        include_usage: true,
        ..Request::default()
    };
    assert_eq!(request, plain);
}

#[test]
fn items_of_one_turn_of_the_model_are_one_message() {
    let function_call = |id: &str| {
        json!({ "type": "function_call", "id": "fc_1", "status": "completed",
        "call_id": id, "name": "f", "arguments": "{}" })
    };
    let output = |id: &str| json!({ "type": "function_call_output", "call_id": id, "output": id });
    let said = |words: &str| {
        json!({ "type": "message", "role": "assistant", "id": "msg_1",
        "content": [{ "type": "output_text", "text": words, "annotations": [], "logprobs": [] }] })
    };
    let reasoning = json!({ "type": "reasoning", "id": "rs_1", "encrypted_content": "thinking:S",
        "summary": [{ "type": "summary_text", "text": "hm" }] });
    let got = messages(json!([
        { "role": "user", "content": "q" },
        reasoning, said("a"), function_call("1"), said("b"), function_call("2"), output("1"), output("2"),
        said("c"), said("d"),
        { "role": "developer", "content": [{ "type": "input_text", "text": "e" }] },
    ]));
    let thinking = PartKind::Thinking { text: "hm".into(), signature: Some("S".into()) };
    let expected = [
        turn(Role::User, [text("q")]),
        turn(Role::Assistant, [thinking, text("a"), call("1"), text("b"), call("2")]),
        result("1", "1"),
        result("2", "2"),
        turn(Role::Assistant, [text("c")]),
        turn(Role::Assistant, [text("d")]),
        turn(Role::Developer, [text("e")]),
    ];
    assert_eq!(got, expected);
}

#[test]
fn seals_come_back_and_foreign_ones_are_reported() {
    let reasoning = |sealed: Value, summary: &str| {
        let summary =
            if summary.is_empty() { json!([]) } else { json!([{ "type": "summary_text", "text": summary }]) };
        json!({ "type": "reasoning", "id": "rs", "summary": summary, "encrypted_content": sealed })
    };
    let request = read(json!({ "input": [
        reasoning(json!("redacted:D"), ""),
        reasoning(json!("call:[\"1\",\"T\"]"), ""),
        { "type": "function_call", "call_id": "1", "name": "f", "arguments": "{}" },
        reasoning(json!("gAAAA"), "theirs"),
        reasoning(json!("gAAAA"), ""),
        reasoning(Value::Null, ""),
        reasoning(json!("thinking:"), "bare"),
        reasoning(json!("call:[\"lost\",\"T\"]"), ""),
        { "type": "reasoning", "summary": [{ "text": "short" }], "content": [{ "type": "reasoning_text", "text": "long" }] },
    ] }))
    .unwrap();
    let thinking = |text: &str| PartKind::Thinking { text: text.into(), signature: None };
    let call = PartKind::ToolCall {
        id: "1".into(),
        name: "f".into(),
        arguments: "{}".into(),
        signature: Some("T".into()),
    };
    let redacted = PartKind::RedactedThinking { data: "D".into() };
    let expected = [redacted, call, thinking("theirs"), thinking("bare"), thinking("long")];
    assert_eq!(request.messages, [turn(Role::Assistant, expected)]);
    let dropped = [
        "input[3].encrypted_content",
        "input[4].encrypted_content",
        "input[5]",
        "input[8].summary",
        "input[7].encrypted_content",
    ];
    assert_eq!(request.dropped, dropped);
}

#[test]
fn parts_of_every_kind_are_read() {
    let got = messages(json!([{ "role": "user", "content": [
        { "type": "input_text", "text": "a", "prompt_cache_breakpoint": { "mode": "explicit", "ttl": "30m" } },
        { "type": "input_image", "image_url": "data:image/PNG;base64,aGk=", "detail": "low" },
        { "type": "input_image", "image_url": "https://example.com/a.png" },
        { "type": "input_image", "file_id": "file-1" },
        { "type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk=" },
        { "type": "input_file", "filename": "a.CSV", "file_data": "aGk=" },
        { "type": "input_file", "file_url": "https://example.com/a.pdf" },
        { "type": "input_file", "file_id": "file-2" },
        { "type": "input_audio", "input_audio": { "data": "aGk=", "format": "mp3" } },
    ] }]));
    let data = |media_type: &str| Source::Base64 { media_type: media_type.into(), data: "aGk=".into() };
    let url = |url: &str| Source::Url(url.into());
    let image = |source, detail: Option<&str>| PartKind::Image { source, detail: detail.map(str::to_owned) };
    let file = |source, name: Option<&str>| PartKind::Document { source, name: name.map(str::to_owned) };
    let mut expected = turn(
        Role::User,
        [
            text("a"),
            image(data("image/png"), Some("low")),
            image(url("https://example.com/a.png"), None),
            image(Source::File("file-1".into()), None),
            file(data("application/pdf"), Some("a.pdf")),
            file(data("text/csv"), Some("a.CSV")),
            file(url("https://example.com/a.pdf"), None),
            file(Source::File("file-2".into()), None),
            PartKind::Audio { source: data("audio/mpeg") },
        ],
    );
    expected.parts[0].cache = Some(Cache { ttl: Some("30m".into()) });
    assert_eq!(got, [expected]);
}

#[test]
fn items_that_only_openai_knows_stay_whole_and_our_own_come_back() {
    let search = json!({ "type": "web_search_call", "id": "ws_1", "status": "completed" });
    let patch = json!({ "type": "apply_patch_call_output", "call_id": "1", "status": "completed" });
    let block = json!({ "type": "server_tool_use", "id": "srv" });
    let ours = json!({ "type": "native", "id": "nat_1", "dialect": "anthropic", "value": block });
    let native = |dialect, value: &Value| PartKind::Native { dialect, value: value.clone() };
    let got = messages(json!([search, patch, ours]));
    let expected = [
        turn(Role::Assistant, [native(Dialect::Responses, &search)]),
        turn(Role::User, [native(Dialect::Responses, &patch)]),
        turn(Role::Assistant, [native(Dialect::Anthropic, &block)]),
    ];
    assert_eq!(got, expected);
}

#[test]
fn tools_and_choices_are_read() {
    let schema = json!({ "type": "object", "properties": {} });
    let tools = json!([
        { "type": "function", "name": "f", "description": "d", "parameters": schema, "strict": true, "defer_loading": false },
        { "type": "function", "name": "g", "parameters": null },
        { "type": "mcp", "server_label": "s", "server_url": "https://example.com" },
    ]);
    let f = Tool::Function(Function {
        name: "f".into(),
        description: Some("d".into()),
        parameters: Some(schema),
        strict: Some(true),
        cache: None,
    });
    let g = Tool::Function(Function { name: "g".into(), ..Function::default() });
    let mcp = Tool::Native { dialect: Dialect::Responses, value: tools[2].clone() };
    let choose = |choice: Value| {
        let request = read(json!({ "tools": tools, "tool_choice": choice })).unwrap();
        assert_eq!(request.dropped, ["tools[0].defer_loading"]);
        (request.tools, request.tool_choice.unwrap())
    };
    let all = vec![f.clone(), g.clone(), mcp.clone()];
    assert_eq!(choose(json!("auto")), (all.clone(), ToolChoice::Auto));
    assert_eq!(choose(json!("none")), (all.clone(), ToolChoice::None));
    assert_eq!(choose(json!("required")), (all.clone(), ToolChoice::Required));
    let function = json!({ "type": "function", "name": "g" });
    assert_eq!(choose(function.clone()), (all.clone(), ToolChoice::Function("g".into())));
    let native = json!({ "type": "mcp", "server_label": "s" });
    let choice = ToolChoice::Native { dialect: Dialect::Responses, value: native.clone() };
    assert_eq!(choose(native.clone()), (all, choice));
    let allowed = json!({ "type": "allowed_tools", "mode": "required", "tools": [function, native] });
    assert_eq!(choose(allowed), (vec![g, mcp], ToolChoice::Required));
}

#[test]
fn schemas_keep_their_references() {
    let schema = json!({ "$defs": { "n": { "type": "object", "properties": { "next": { "$ref": "#/$defs/n" } } } },
        "$ref": "#/$defs/n" });
    let format = json!({ "type": "json_schema", "name": "list", "schema": schema, "strict": true });
    let request = read(json!({ "text": { "format": format } })).unwrap();
    let expected =
        ResponseFormat::JsonSchema { name: "list".into(), description: None, schema, strict: Some(true) };
    assert_eq!(request.response_format, Some(expected));
}

#[test]
fn fields_that_are_wrong_are_named() {
    for (body, param, words) in [
        (json!({ "model": 7 }), "model", "is a number"),
        (json!({ "model": "" }), "model", "is empty"),
        (json!({ "input": null }), "input", "is missing"),
        (json!({ "input": [] }), "input", "is empty"),
        (json!({ "input": 7 }), "input", "a text or a list of items"),
        (json!({ "input": [7] }), "input[0]", "an object"),
        (json!({ "max_output_tokens": 0 }), "max_output_tokens", "is 0"),
        (json!({ "max_output_tokens": -1 }), "max_output_tokens", "whole number"),
        (json!({ "temperature": "hot" }), "temperature", "a number"),
        (json!({ "top_logprobs": 21 }), "top_logprobs", "20 or less"),
        (json!({ "reasoning": { "effort": "huge" } }), "reasoning.effort", "xhigh or max"),
        (json!({ "metadata": { "a": 1 } }), "metadata.a", "a string"),
        (json!({ "prompt": { "id": "pmpt_1" } }), "prompt", "`instructions` and `input`"),
        (json!({ "conversation": "conv_1" }), "conversation", "`previous_response_id`"),
        (json!({ "previous_response_id": "resp_1" }), "previous_response_id", "earlier items"),
        (json!({ "text": { "format": { "type": "xml" } } }), "text.format.type", "json_schema"),
        (
            json!({ "text": { "format": { "type": "json_schema", "json_schema": {} } } }),
            "text.format.json_schema",
            "beside",
        ),
        (
            json!({ "text": { "format": { "type": "json_schema", "name": "n" } } }),
            "text.format.schema",
            "is missing",
        ),
    ] {
        refused(body, param, words);
    }
    let err = read_request(b"{\"model\": ").unwrap_err();
    assert!(err.message.contains("line 1"), "{}", err.message);
}

#[test]
fn tools_that_are_wrong_are_named() {
    let tools = json!([{ "type": "function", "name": "f" }]);
    for (tools, choice, param, words) in [
        (json!([{ "name": "f" }]), json!(null), "tools[0].type", "is missing"),
        (json!([{ "type": "function" }]), json!(null), "tools[0].name", "is missing"),
        (
            json!([{ "type": "function", "function": { "name": "f" } }]),
            json!(null),
            "tools[0].function",
            "beside `type`",
        ),
        (
            json!([{ "type": "function", "name": "f", "parameters": "x" }]),
            json!(null),
            "tools[0].parameters",
            "schema",
        ),
        (tools.clone(), json!("any"), "tool_choice", "auto, none or required"),
        (tools.clone(), json!({}), "tool_choice", "no type"),
        (tools.clone(), json!({ "type": "function", "name": "g" }), "tool_choice.name", "no function"),
        (
            tools.clone(),
            json!({ "type": "allowed_tools", "mode": "auto", "tools": [] }),
            "tool_choice.tools",
            "empty",
        ),
        (
            tools,
            json!({ "type": "allowed_tools", "mode": "auto", "tools": [{ "type": "function", "name": "g" }] }),
            "tool_choice.tools[0]",
            "none of `tools`",
        ),
    ] {
        refused(json!({ "tools": tools, "tool_choice": choice }), param, words);
    }
}

#[test]
fn items_and_parts_that_are_wrong_are_named() {
    for (item, place, words) in [
        (json!({ "role": "tool", "content": "a" }), "role", "function_call_output"),
        (json!({ "role": "user" }), "content", "is missing"),
        (json!({ "content": "a" }), "type", "is missing"),
        (json!({ "type": "item_reference", "id": "msg_1" }), "", "send the item itself"),
        (json!({ "id": "msg_1" }), "", "send the item itself"),
        (json!({ "type": "function_call", "name": "f", "arguments": "" }), "call_id", "is missing"),
        (
            json!({ "type": "function_call_output", "call_id": "x", "output": "" }),
            "call_id",
            "no function_call",
        ),
        (json!({ "type": "native", "dialect": "x", "value": {} }), "dialect", "as it came"),
    ] {
        let path = if place.is_empty() { "input[0]".to_owned() } else { format!("input[0].{place}") };
        refused(json!({ "input": [item] }), &path, words);
    }
    for (part, place, words) in [
        (json!({ "type": "text", "text": "a" }), ".type", "input_text"),
        (json!({ "type": "input_image" }), ".image_url", "is missing"),
        (json!({ "type": "input_image", "image_url": "a.png" }), ".image_url", "no address"),
        (json!({ "type": "input_image", "image_url": "data:image/png,x" }), ".image_url", "not in base64"),
        (
            json!({ "type": "input_image", "image_url": "data:image/png;base64,a" }),
            ".image_url",
            "not base64",
        ),
        (json!({ "type": "input_image", "image_url": "data:;base64,aGk=" }), ".image_url", "media type"),
        (
            json!({ "type": "input_image", "image_url": "https://a.b", "file_id": "f" }),
            ".image_url",
            "one of them",
        ),
        (json!({ "type": "input_file", "filename": "a.pdf" }), ".file_data", "is missing"),
        (json!({ "type": "input_file", "file_id": "a", "file_url": "https://a.b" }), "", "several sources"),
        (
            json!({ "type": "input_audio", "input_audio": { "data": "aGk=", "format": "" } }),
            ".input_audio.format",
            "mp3",
        ),
    ] {
        let path = format!("input[0].content[0]{place}");
        refused(json!({ "input": [{ "role": "user", "content": [part] }] }), &path, words);
    }
}
