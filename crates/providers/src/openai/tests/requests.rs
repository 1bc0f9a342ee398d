//! What is read of requests, and what is refused.

use serde_json::{Value, json};

use super::super::read_request;
use crate::chat::{
    Cache, Dialect, Effort, Message, Part, PartKind, Reasoning, Request, ResponseFormat, Role, Source, Tool,
    ToolChoice,
};

fn read(body: &Value) -> Request {
    read_request(body.to_string().as_bytes()).unwrap()
}

/// A request with one message of the user and these fields.
fn with(fields: Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// A request whose user sends this part.
fn part(part: Value) -> Value {
    with(json!({ "messages": [{ "role": "user", "content": [part] }] }))
}

#[track_caller]
fn refused(body: &Value, param: &str, words: &str) {
    let err = read_request(body.to_string().as_bytes()).expect_err("it is refused");
    assert_eq!((err.status, err.param.as_deref()), (400, Some(param)), "{err}");
    assert!(err.message.contains(words), "{err}");
}

#[test]
fn instructions_and_turns_keep_their_order_and_names() {
    let request = read(&with(json!({ "messages": [
        { "role": "system", "content": "a" },
        { "role": "user", "content": [{ "type": "text", "text": "b" }], "name": "ann" },
        { "role": "developer", "content": "c" },
        { "role": "assistant", "content": "d" },
    ]})));
    let mut named = Message::text(Role::User, "b");
    named.name = Some("ann".to_owned());
    let expected = [
        Message::text(Role::System, "a"),
        named,
        Message::text(Role::Developer, "c"),
        Message::text(Role::Assistant, "d"),
    ];
    assert_eq!(request.messages, expected);
}

#[test]
fn calls_and_results_belong_together_in_both_forms() {
    let request = read(&with(json!({ "messages": [
        { "role": "assistant", "content": "", "tool_calls": [
            { "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}", "thought_signature": "s" } },
            { "id": "b", "type": "custom", "custom": { "name": "g", "input": "x" } },
        ]},
        { "role": "tool", "tool_call_id": "a", "content": "1" },
        { "role": "assistant", "content": null, "function_call": { "name": "h", "arguments": "{}" } },
        { "role": "function", "name": "h", "content": "2" },
    ]})));
    let custom = json!({ "id": "b", "type": "custom", "custom": { "name": "g", "input": "x" } });
    let call = |id: &str, name: &str, signature: Option<&str>| PartKind::ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: "{}".to_owned(),
        signature: signature.map(str::to_owned),
    };
    let result = |id: &str, name: Option<&str>, text: &str| PartKind::ToolResult {
        id: id.to_owned(),
        name: name.map(str::to_owned),
        parts: vec![Part::text(text)],
        is_error: false,
    };
    let parts: Vec<_> =
        request.messages.into_iter().flat_map(|message| message.parts).map(|part| part.kind).collect();
    let expected = [
        call("a", "f", Some("s")),
        PartKind::Native { dialect: Dialect::OpenAi, value: custom },
        result("a", None, "1"),
        call("function_call_2", "h", None),
        result("function_call_2", Some("h"), "2"),
    ];
    assert_eq!(parts, expected);
}

#[test]
fn bytes_become_what_their_type_says() {
    let base64 =
        |media_type: &str| Source::Base64 { media_type: media_type.to_owned(), data: "aGk=".to_owned() };
    let url = |url: &str| Source::Url(url.to_owned());
    let image = |source, detail: Option<&str>| PartKind::Image { source, detail: detail.map(str::to_owned) };
    let document = |source, name: Option<&str>| PartKind::Document { source, name: name.map(str::to_owned) };
    for (sent, expected) in [
        (
            json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,aGk=", "detail": "low" } }),
            image(base64("image/png"), Some("low")),
        ),
        (json!({ "type": "image_url", "image_url": "https://a/b" }), image(url("https://a/b"), None)),
        (json!({ "type": "image_url", "image_url": { "url": "gs://a/b" } }), image(url("gs://a/b"), None)),
        (
            json!({ "type": "image_url", "image_url": { "url": "data:application/pdf;base64,aGk=" } }),
            document(base64("application/pdf"), None),
        ),
        (
            json!({ "type": "input_audio", "input_audio": { "data": "aGk=", "format": "mp3" } }),
            PartKind::Audio { source: base64("audio/mpeg") },
        ),
        (
            json!({ "type": "file", "file": { "file_data": "data:application/pdf;base64,aGk=", "filename": "a.pdf" } }),
            document(base64("application/pdf"), Some("a.pdf")),
        ),
        (
            json!({ "type": "file", "file": { "file_data": "aGk=", "filename": "a.PDF" } }),
            document(base64("application/pdf"), Some("a.PDF")),
        ),
        (
            json!({ "type": "file", "file": { "file_id": "file-1" } }),
            document(Source::File("file-1".into()), None),
        ),
        (
            json!({ "type": "file", "file": { "file_url": "gs://a/b", "mime_type": "video/mp4" } }),
            PartKind::Video { source: url("gs://a/b") },
        ),
        (
            json!({ "type": "video_url", "video_url": { "url": "https://a/b" } }),
            PartKind::Video { source: url("https://a/b") },
        ),
    ] {
        assert_eq!(read(&part(sent.clone())).messages[0].parts, [Part::new(expected)], "{sent}");
    }
}

#[test]
fn blocks_keep_thoughts_with_their_seals() {
    let request = read(&with(json!({ "messages": [{
        "role": "assistant",
        "content": "yes",
        "content_blocks": [
            { "type": "thinking", "thinking": "hm", "signature": "s" },
            { "type": "redacted_thinking", "data": "d" },
            { "type": "text", "text": "yes" },
            { "type": "tool_use", "id": "a", "name": "f", "input": {} },
            { "type": "server_tool_use", "id": "x" },
        ],
        "tool_calls": [{ "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}" } }],
    }]})));
    let expected = [
        PartKind::Thinking { text: "hm".into(), signature: Some("s".into()) },
        PartKind::RedactedThinking { data: "d".into() },
        PartKind::Text { text: "yes".into(), citations: Vec::new() },
        PartKind::Native {
            dialect: Dialect::Anthropic,
            value: json!({ "type": "server_tool_use", "id": "x" }),
        },
        PartKind::ToolCall { id: "a".into(), name: "f".into(), arguments: "{}".into(), signature: None },
    ];
    let parts: Vec<_> = request.messages[0].parts.iter().map(|part| part.kind.clone()).collect();
    assert_eq!(parts, expected);
    assert!(request.dropped.is_empty());
}

#[test]
fn cache_marks_are_read_wherever_they_may_be() {
    let request = read(&with(json!({
        "messages": [
            { "role": "system", "content": "a", "cache_control": { "type": "ephemeral", "ttl": "1h" } },
            { "role": "user", "content": [
                { "type": "text", "text": "b", "prompt_cache_breakpoint": { "mode": "explicit" } },
            ]},
        ],
        "tools": [{ "type": "function", "function": { "name": "f" }, "cache_control": { "type": "ephemeral" } }],
    })));
    assert_eq!(request.messages[0].parts[0].cache, Some(Cache { ttl: Some("1h".to_owned()) }));
    assert_eq!(request.messages[1].parts[0].cache, Some(Cache::default()));
    let [Tool::Function(function)] = &request.tools[..] else { panic!("one function") };
    assert_eq!(function.cache, Some(Cache::default()));
}

#[test]
fn tools_of_providers_own_come_in_their_own_form() {
    let request = read(&with(json!({
        "tools": [
            { "type": "computer", "computer": { "name": "computer_20250124", "display_width_px": 9 } },
            { "type": "web_search_20250305", "name": "web_search", "max_uses": 5 },
            { "type": "custom", "custom": { "name": "g" } },
        ],
        "tool_choice": { "type": "custom", "custom": { "name": "g" } },
    })));
    let native = |dialect, value| Tool::Native { dialect, value };
    let computer = json!({ "type": "computer_20250124", "name": "computer", "display_width_px": 9 });
    let search = json!({ "type": "web_search_20250305", "name": "web_search", "max_uses": 5 });
    let expected = [
        native(Dialect::Anthropic, computer),
        native(Dialect::Anthropic, search),
        native(Dialect::OpenAi, json!({ "type": "custom", "custom": { "name": "g" } })),
    ];
    assert_eq!(request.tools, expected);
    let value = json!({ "type": "custom", "custom": { "name": "g" } });
    assert_eq!(request.tool_choice, Some(ToolChoice::Native { dialect: Dialect::OpenAi, value }));
}

#[test]
fn the_three_ways_to_ask_for_thoughts_mean_the_same() {
    let reasoning = |effort, budget_tokens| Some(Reasoning { effort, budget_tokens, summary: None });
    for (fields, expected) in [
        (json!({}), None),
        (json!({ "reasoning_effort": "high" }), reasoning(Some(Effort::High), None)),
        (json!({ "reasoning": { "max_tokens": 9 } }), reasoning(None, Some(9))),
        (json!({ "reasoning": { "enabled": true } }), reasoning(Some(Effort::Medium), None)),
        (json!({ "thinking": { "type": "enabled", "budget_tokens": 9 } }), reasoning(None, Some(9))),
        (json!({ "thinking": { "type": "enabled" } }), reasoning(Some(Effort::Medium), None)),
        (json!({ "thinking": { "type": "disabled" } }), reasoning(Some(Effort::None), None)),
    ] {
        assert_eq!(read(&with(fields.clone())).reasoning, expected, "{fields}");
    }
    let adaptive = read(&with(json!({ "thinking": { "type": "adaptive" } })));
    assert_eq!((adaptive.reasoning, adaptive.own["thinking"]["type"].as_str()), (None, Some("adaptive")));
}

#[test]
fn fields_go_where_they_belong() {
    let request = read(&with(json!({
        "max_tokens": 5, "max_completion_tokens": 7, "temperature": 1.50, "stop": "x", "seed": -3, "n": 2,
        "stream": true, "stream_options": { "include_usage": true, "include_obfuscation": true, "x": 1 },
        "store": false, "metadata": { "a": "b" }, "verbosity": null, "safe_prompt": true,
        "response_format": { "type": "json_schema", "json_schema": { "name": "s", "schema": { "$ref": "#/$defs/a" }, "y": 1 } },
    })));
    assert_eq!((request.max_tokens, request.seed, request.n), (Some(7), Some(-3), Some(2)));
    assert_eq!((request.stop, request.stream, request.include_usage), (vec!["x".to_owned()], true, true));
    assert_eq!(request.own.keys().collect::<Vec<_>>(), ["store", "metadata"]);
    assert_eq!(request.unknown.keys().collect::<Vec<_>>(), ["safe_prompt"]);
    let format = ResponseFormat::JsonSchema {
        name: "s".into(),
        description: None,
        schema: json!({ "$ref": "#/$defs/a" }),
        strict: None,
    };
    assert_eq!(request.response_format, Some(format));
    let dropped = [
        "stream_options.include_obfuscation",
        "stream_options.x",
        "response_format.json_schema.y",
        "max_tokens",
    ];
    assert_eq!(request.dropped, dropped);
}

#[test]
fn what_is_not_kept_of_a_part_is_reported() {
    let pdf = "data:application/pdf;base64,aGk=";
    for (sent, dropped) in [
        (json!({ "type": "text", "text": "a", "x": 1, "y": null, "z": [] }), "x"),
        (json!({ "type": "image_url", "image_url": { "url": pdf, "detail": "low" } }), "image_url.detail"),
        (json!({ "type": "image_url", "image_url": { "url": "https://a/b", "x": 1 } }), "image_url.x"),
        (
            json!({ "type": "file", "file": { "file_url": "https://a/b", "mime_type": "application/pdf" } }),
            "file.mime_type",
        ),
        (
            json!({ "type": "file", "file": { "file_data": "data:image/png;base64,aGk=", "filename": "a" } }),
            "file.filename",
        ),
        (
            json!({ "type": "text", "text": "a", "cache_control": { "type": "ephemeral", "scope": "x" } }),
            "cache_control.scope",
        ),
    ] {
        assert_eq!(
            read(&part(sent.clone())).dropped,
            [format!("messages[0].content[0].{dropped}")],
            "{sent}"
        );
    }
}

#[test]
fn mistakes_are_refused_with_their_place() {
    let tools = |parameters: Value| {
        with(
            json!({ "tools": [{ "type": "function", "function": { "name": "f", "parameters": parameters } }] }),
        )
    };
    let url = |url: &str| part(json!({ "type": "image_url", "image_url": { "url": url } }));
    let at_url = "messages[0].content[0].image_url.url";
    let message = |message: Value| with(json!({ "messages": [message] }));
    for (body, param, words) in [
        (json!([]), "body", "not an array"),
        (json!({}), "model", "is missing"),
        (json!({ "model": "m" }), "messages", "is missing"),
        (with(json!({ "messages": [] })), "messages", "is empty"),
        (with(json!({ "messages": ["hi"] })), "messages[0]", "must be an object, not a string"),
        (with(json!({ "n": 0 })), "n", "from 1 up"),
        (with(json!({ "max_tokens": 1.5 })), "max_tokens", "not 1.5"),
        (with(json!({ "temperature": "hot" })), "temperature", "must be a number, not a string"),
        (with(json!({ "stop": ["a", 1] })), "stop[1]", "must be a string"),
        (with(json!({ "seed": 1e30 })), "seed", "64 bits"),
        (with(json!({ "reasoning_effort": "hard" })), "reasoning_effort", "`minimal`, `low`"),
        (with(json!({ "response_format": { "type": "xml" } })), "response_format.type", "json_schema"),
        (
            with(json!({ "response_format": { "type": "json_schema" } })),
            "response_format.json_schema",
            "`schema`",
        ),
        (message(json!({ "role": "bot", "content": "" })), "messages[0].role", "`bot`"),
        (message(json!({ "content": "" })), "messages[0].role", "is missing"),
        (message(json!({ "role": "user" })), "messages[0].content", "is missing"),
        (message(json!({ "role": "user", "content": 7 })), "messages[0].content", "not a number"),
        (message(json!({ "role": "assistant" })), "messages[0].content", "tool_calls"),
        (message(json!({ "role": "tool", "content": "" })), "messages[0].tool_call_id", "is missing"),
        (
            message(json!({ "role": "function", "name": "f", "content": "" })),
            "messages[0].name",
            "no earlier message",
        ),
        (
            message(json!({ "role": "assistant", "tool_calls": [{ "function": {} }] })),
            "messages[0].tool_calls[0].id",
            "is missing",
        ),
        (part(json!({ "text": "a" })), "messages[0].content[0].type", "is missing"),
        (part(json!({ "type": "smell" })), "messages[0].content[0].type", "`smell`"),
        (url("data:image/png;base64,a=b="), at_url, "not valid base64"),
        (url("data:image/png;base64,aGk"), at_url, "not valid base64"),
        (url("data:image/png,hi"), at_url, "no data URI with base64"),
        (url("data:application/zip;base64,aGk="), at_url, "`application/zip`"),
        (url("cat.png"), at_url, "https://"),
        (
            part(json!({ "type": "input_audio", "input_audio": { "data": "?", "format": "wav" } })),
            "messages[0].content[0].input_audio.data",
            "not valid base64",
        ),
        (
            part(json!({ "type": "file", "file": { "file_data": "aGk=" } })),
            "messages[0].content[0].file.file_data",
            "does not say its type",
        ),
        (tools(json!("x")), "tools[0].function.parameters", "must be a JSON schema"),
        (tools(json!({ "type": "string" })), "tools[0].function.parameters.type", "\"object\""),
        (tools(json!({ "properties": [] })), "tools[0].function.parameters.properties", "an object"),
        (tools(json!({ "required": [1] })), "tools[0].function.parameters.required", "names"),
        (with(json!({ "tools": [{ "type": "function" }] })), "tools[0].function", "is missing"),
        (
            with(json!({ "tools": [{ "type": "function", "function": {} }] })),
            "tools[0].function.name",
            "is missing",
        ),
        (with(json!({ "tool_choice": "required" })), "tool_choice", "`tools` has none"),
        (with(json!({ "tool_choice": "maybe" })), "tool_choice", "`maybe`"),
        (
            with(json!({
                "tools": [{ "type": "function", "function": { "name": "f" } }],
                "tool_choice": { "type": "function", "function": { "name": "g" } },
            })),
            "tool_choice.function.name",
            "(tools: `f`)",
        ),
    ] {
        refused(&body, param, words);
    }
    assert!(read_request(b"{").unwrap_err().message.contains("line 1, column 1"));
}
