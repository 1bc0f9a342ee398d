//! Bad input, over every dialect and format: a 400 that names the field, and the provider where it is the provider's
//! limit. What is listed is all that is refused.

use domain::registry::{Format, Registry};
use domain::{ApiError, Config, Operation, Policy, Timestamp, Workspace};
use providers::chat::Target;
use providers::resolve::{Names, Unresolved, Wanted, resolve};
use providers::translation;
use serde_json::{Map, Value, json};

/// The dialects that chats come in.
const DIALECTS: [Operation; 3] = [Operation::Chat, Operation::Messages, Operation::Responses];

/// Bytes of some file.
const FILE: &str = "AAEC";

fn sent(operation: Operation, format: Format, body: &Value) -> Result<(), ApiError> {
    let dialect = translation::dialect(operation).expect("chats have a dialect");
    let request = (dialect.read_request)(body.to_string().as_bytes())?;
    let options = Map::new();
    let target = Target { provider: "acme", model: None, options: &options };
    (translation::wire(format).write_request)(request, &target).map(|_| ())
}

/// A chat whose user says this part, in the form of the dialect.
fn saying(operation: Operation, part: &Value) -> Value {
    let message = json!({ "role": "user", "content": [part] });
    match operation {
        Operation::Responses => json!({ "model": "m", "input": [message] }),
        _ => json!({ "model": "m", "max_tokens": 9, "messages": [message] }),
    }
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

fn hello(operation: Operation) -> Value {
    match operation {
        Operation::Responses => json!({ "model": "m", "input": "Hello" }),
        _ => json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "Hello" }] }),
    }
}

#[track_caller]
fn check_refused(err: &ApiError, what: &str, param: &str) {
    assert_eq!((err.status, err.kind.as_str()), (400, "invalid_request_error"), "{what}: {err:?}");
    let place = err.param.as_deref().unwrap_or_default();
    assert!(place.starts_with(param), "{what}: `{place}` is not in `{param}`");
    assert!(err.message.contains(place) && err.code.is_some(), "{what}: {err:?}");
}

#[test]
fn parts_that_a_format_cannot_say_are_refused_with_the_providers_name() {
    use Format::*;
    let image = |url: &str| json!({ "type": "image_url", "image_url": { "url": url } });
    let file = |data: String| json!({ "type": "file", "file": { "file_data": data, "filename": "f" } });
    let data = |media_type: &str| format!("data:{media_type};base64,{FILE}");
    let sound = json!({ "type": "input_audio", "input_audio": { "data": FILE, "format": "wav" } });
    let video = json!({ "type": "video_url", "video_url": { "url": data("video/mp4") } });
    let stored = json!({ "type": "file", "file": { "file_id": "file-1" } });
    for (what, part, refusing) in [
        ("a picture", image(&data("image/png")), &[][..]),
        ("a picture at an address", image("https://example.com/a.png"), &[Bedrock, Ollama, WorkersAi]),
        (
            "a picture in a bucket",
            image("s3://bucket/a.png"),
            &[Anthropic, Gemini, Cohere, Ollama, WorkersAi],
        ),
        ("a picture of a rare kind", image(&data("image/tiff")), &[Anthropic, Bedrock]),
        ("a PDF", file(data("application/pdf")), &[Cohere, Ollama, WorkersAi]),
        ("a file in a store", stored, &[Gemini, Bedrock, Cohere, Ollama, WorkersAi]),
        ("sound", sound, &[Anthropic, Cohere, Ollama, WorkersAi]),
        ("a video", video, &[Anthropic, Cohere, Ollama, WorkersAi]),
    ] {
        for format in Format::ALL.iter().copied() {
            let what = format!("{what} to {format}");
            match sent(Operation::Chat, format, &saying(Operation::Chat, &part)) {
                Ok(()) => assert!(!refusing.contains(&format), "{what} has to be refused"),
                Err(err) => {
                    assert!(refusing.contains(&format), "{what}: {err}");
                    check_refused(&err, &what, "messages[0].content[0]");
                    assert!(err.message.contains("acme"), "{what}: {err}");
                }
            }
        }
    }
}

#[test]
fn what_no_format_could_say_is_refused_by_every_dialect() {
    let image = |operation| match operation {
        Operation::Chat => json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,%%" } }),
        Operation::Messages => {
            let source = json!({ "type": "base64", "media_type": "image/png", "data": "%%" });
            json!({ "type": "image", "source": source })
        }
        _ => json!({ "type": "input_image", "image_url": "data:image/png;base64,%%" }),
    };
    let tool = |operation, name: &str, schema: Value| match operation {
        Operation::Chat => {
            json!([{ "type": "function", "function": { "name": name, "parameters": schema } }])
        }
        Operation::Messages => json!([{ "name": name, "input_schema": schema }]),
        _ => json!([{ "type": "function", "name": name, "parameters": schema }]),
    };
    let object = json!({ "type": "object", "properties": {} });
    for operation in DIALECTS {
        let turns = if operation == Operation::Responses { "input" } else { "messages" };
        let chat = || hello(operation);
        let tools = |name, schema| with(chat(), "tools", tool(operation, name, schema));
        let choice = match operation {
            Operation::Chat => json!({ "type": "function", "function": { "name": "g" } }),
            Operation::Messages => json!({ "type": "tool", "name": "g" }),
            _ => json!({ "type": "function", "name": "g" }),
        };
        let role = json!([{ "role": "parrot", "content": "Hello" }]);
        for (what, body, param) in [
            ("no base64", saying(operation, &image(operation)), turns),
            ("a part of no kind", saying(operation, &json!({ "text": "x" })), turns),
            ("a part that is none", saying(operation, &json!(7)), turns),
            ("no such role", with(chat(), turns, role), turns),
            ("nothing said", with(chat(), turns, json!([])), turns),
            ("no such turns", with(chat(), turns, json!(7)), turns),
            ("a schema of a text", tools("f", json!({ "type": "string" })), "tools[0]"),
            ("a schema that is a list", tools("f", json!([])), "tools[0]"),
            ("no properties", tools("f", json!({ "type": "object", "properties": [] })), "tools[0]"),
            ("required of no names", tools("f", json!({ "type": "object", "required": [1] })), "tools[0]"),
            ("a tool without a name", tools("", object.clone()), "tools[0]"),
            ("no such tool", with(tools("f", object.clone()), "tool_choice", choice), "tool_choice"),
            ("a temperature in words", with(chat(), "temperature", json!("hot")), "temperature"),
            ("a flag in words", with(chat(), "stream", json!("yes")), "stream"),
            ("a model that is none", with(chat(), "model", json!(7)), "model"),
        ] {
            for format in Format::ALL.iter().copied() {
                let what = format!("{what} in {operation} to {format}");
                match sent(operation, format, &body) {
                    Ok(()) => panic!("{what} has to be refused"),
                    Err(err) => check_refused(&err, &what, param),
                }
            }
        }
    }
}

#[test]
fn arguments_that_are_no_object_are_refused_where_a_format_wants_one() {
    let function = json!({ "name": "f", "arguments": "seven" });
    let call = json!({ "id": "call-1", "type": "function", "function": function });
    let body = json!({ "model": "m", "messages": [
        { "role": "user", "content": "Hello" },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "call-1", "content": "8" },
    ]});
    for format in Format::ALL.iter().copied() {
        let as_text = [Format::OpenAi, Format::Cohere, Format::WorkersAi].contains(&format);
        match sent(Operation::Chat, format, &body) {
            Ok(()) => assert!(as_text, "{format} wants an object"),
            Err(err) => {
                assert!(!as_text, "{format}: {err}");
                check_refused(&err, format.as_str(), "messages[1]");
            }
        }
    }
}

fn resolved(config: &str, operation: Operation) -> Result<(), Unresolved> {
    let config = Config::parse(config, &Default::default()).expect("the config is one");
    let (registry, policy, workspace) = (Registry::default(), Policy::default(), Workspace::default());
    let names = Names {
        registry: &registry,
        policy: &policy,
        workspace: &workspace,
        trusted_hosts: &[],
        now: Timestamp(1000),
    };
    let wanted = Wanted { operation, model: Some("some-model"), stream: false, path_and_query: None };
    resolve(config.targets().next().expect("it has a target"), &names, wanted).map(|_| ())
}

#[test]
fn what_an_address_needs_is_asked_for() {
    let unfit = r#"{"provider":"bedrock","aws_region":"evil.example.com/"}"#;
    for (config, param, code) in [
        (r#"{"provider":"bedrock"}"#, "config.aws_region", "missing_provider_option"),
        (unfit, "config.aws_region", "invalid_provider_option"),
        (r#"{"provider":"azure-openai"}"#, "config.azure_resource_name", "missing_provider_option"),
        (r#"{"provider":"vertex-ai"}"#, "config.vertex_project_id", "missing_provider_option"),
        (r#"{"provider":"workers-ai"}"#, "config.workers_ai_account_id", "missing_provider_option"),
    ] {
        let Err(Unresolved::Document(err)) = resolved(config, Operation::Chat) else {
            panic!("{config} has to be refused")
        };
        check_refused(&err, config, param);
        assert_eq!(err.code.as_deref(), Some(code), "{err:?}");
        let provider = config.split('"').nth(3).unwrap();
        assert!(err.message.contains(provider), "{err}");
    }
}

#[test]
fn operations_that_a_provider_has_not_are_told_with_those_it_has() {
    for (provider, operation) in [
        ("anthropic", Operation::Embeddings),
        ("bedrock", Operation::Rerank),
        ("ollama", Operation::Speech),
        ("openai", Operation::CountTokens),
        ("cohere", Operation::Images),
    ] {
        let Err(Unresolved::Target(err)) = resolved(&json!({ "provider": provider }).to_string(), operation)
        else {
            panic!("{provider} {operation} has to be refused")
        };
        assert_eq!((err.status, err.code.as_deref()), (400, Some("unsupported_operation")), "{err:?}");
        for part in [provider, operation.as_str(), "chat"] {
            assert!(err.message.contains(part), "{err}");
        }
    }
}
