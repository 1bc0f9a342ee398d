//! What a request says reaches the provider in whatever format, or is reported as left out.

#![expect(clippy::unwrap_used, reason = "what is generated here has the shape that is taken apart")]

mod generate;
mod paths;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::registry::Format;
use domain::{ApiError, Operation};
use proptest::prelude::*;
use providers::chat::{Part, PartKind, Request, Role, Source, Target, Tool, ToolChoice, Written};
use providers::{anthropic, openai, translation};
use serde_json::{Map, Value, json};

/// What is sent of a body in this dialect to a provider of this format.
fn sent(operation: Operation, format: Format, body: &Value) -> Result<Written, ApiError> {
    let dialect = translation::dialect(operation).expect("chats have a dialect");
    let request = (dialect.read_request)(body.to_string().as_bytes())?;
    let options = Map::new();
    let target = Target { provider: "acme", model: None, options: &options };
    (translation::wire(format).write_request)(request, &target)
}

/// Takes every field and element of a request out, one after the other: what is sent or what is reported is another
/// then, or the field was one that `says_nothing`.
fn check_nothing_is_lost(
    operation: Operation,
    body: &Value,
    says_nothing: fn(&str, &Value, &Value) -> bool,
) -> Result<(), TestCaseError> {
    for format in Format::ALL.iter().copied() {
        let whole = match sent(operation, format, body) {
            Ok(written) => written,
            Err(err) => {
                let place = err.param.as_deref().unwrap_or_default();
                prop_assert!(err.status == 400 && err.message.contains(place), "{format}: {err:?}");
                continue;
            }
        };
        for path in paths::all(body) {
            let (value, without) = paths::without(body, &path);
            let name = paths::written(&path);
            let Ok(less) = sent(operation, format, &without) else { continue };
            prop_assert!(
                less != whole
                    || is_reported(&name, &value, &whole.dropped)
                    || says_nothing(&name, &value, body),
                "{format}: {name} ({value}) is lost: {} {:?}",
                String::from_utf8_lossy(&whole.body),
                whole.dropped
            );
        }
        check_words(operation, format, body, &whole, says_nothing)?;
    }
    Ok(())
}

/// Whether what stands at this place is reported with what it belongs to (`tools[2]`), or together with others of its
/// name (`messages[*].content[*].cache_control`).
fn is_reported(path: &str, value: &Value, dropped: &[String]) -> bool {
    // By the names that they are reported by.
    let path = path.replace("reasoning_content", "thinking").replace("stop_sequences", "stop");
    let path = path.replace(".signature", ".thinking").replace(".data", ".thinking");
    // A field of a part: where parts are counted differently, its name tells.
    let named = |left: &str| {
        left.rsplit_once("].").is_some_and(|(_, name)| path.split('.').any(|field| field == name))
    };
    let holds = |left: &str| path.strip_prefix(left).is_some_and(|rest| rest.starts_with(['.', '[']));
    // A block of the kind whose name is reported.
    let kind = value["type"].as_str().unwrap_or_default().trim_start_matches("redacted_");
    let is_kind = |left: &str| !kind.is_empty() && left.ends_with(&format!("[*].{kind}"));
    dropped.iter().any(|left| is_kind(left) || named(left) || holds(left))
}

/// Every word of a request occurs in what is sent, or what is reported would be another without it.
fn check_words(
    operation: Operation,
    format: Format,
    body: &Value,
    whole: &Written,
    says_nothing: fn(&str, &Value, &Value) -> bool,
) -> Result<(), TestCaseError> {
    let value: Value = serde_json::from_slice(&whole.body).unwrap();
    let mut said = String::new();
    texts(&value, &mut said);
    for path in paths::all(body) {
        let (value, _) = paths::without(body, &path);
        let Some(word) = value.as_str().and_then(generate::word) else { continue };
        let name = paths::written(&path);
        if said.contains(&word) || says_nothing(&name, &value, body) {
            continue;
        }
        // What cannot be taken out alone is taken out with what it belongs to.
        let without = (1..=path.len())
            .rev()
            .find_map(|length| sent(operation, format, &paths::without(body, &path[..length]).1).ok());
        let reported = without.is_some_and(|without| without.dropped != whole.dropped);
        let reported = reported || is_reported(&name, &value, &whole.dropped);
        prop_assert!(reported, "{format}: {name} ({value}) is not said in {said} {:?}", whole.dropped);
    }
    Ok(())
}

/// All texts of a document, and what those that are base64 hold.
fn texts(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => {
            out.push_str(text);
            out.push('\n');
            let data = text.split_once(";base64,").map_or(text.as_str(), |(_, data)| data);
            if let Some(inner) = STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
                out.push_str(&inner);
                out.push('\n');
            }
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, out)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            out.push_str(name);
            out.push('\n');
            texts(value, out);
        }),
        _ => {}
    }
}

/// Fields of both dialects that ask for what is so anyway.
fn says_nothing(path: &str, value: &Value, body: &Value) -> bool {
    let forbidden = ["/tool_choice", "/tool_choice/type"]
        .iter()
        .any(|choice| body.pointer(choice).is_some_and(|choice| choice == "none"));
    let named =
        ["/tool_choice/name", "/tool_choice/function/name"].iter().find_map(|name| body.pointer(name));
    let is_other = |name: &Value| {
        let tool = path.strip_prefix("tools[").and_then(|rest| rest.split(']').next()?.parse::<usize>().ok());
        tool.is_some_and(|i| {
            ![&body["tools"][i]["name"], &body["tools"][i]["function"]["name"]].contains(&name)
        })
    };
    // Some formats say it in the path.
    (path == "stream" || value.is_null())
        // Formats that cannot choose one keep the others back.
        || named.is_some_and(is_other)
        // Formats that cannot forbid calls keep the tools back.
        || (forbidden && (path.starts_with("tools") || path.contains("parallel_tool")))
        // What is kept to strictly has no further fields.
        || path.ends_with(".additionalProperties")
        // Gemini keeps to schemas when it has to call something.
        || (path.starts_with("tools[") && path.ends_with(".strict") && body.get("tool_choice").is_some())
}

/// Fields of OpenAI's dialect that ask for what is so anyway.
fn says_nothing_in_openai(path: &str, value: &Value, body: &Value) -> bool {
    says_nothing(path, value, body)
        // The only kinds there are.
        || (path.ends_with(".type") && (value == "function" || value == "object" || value == "ephemeral"))
        // Formats that hold answers to a schema always do so.
        || path == "response_format.json_schema.strict"
        // A label.
        || path == "response_format.json_schema.name"
        // Spoken answers have their text with them.
        || path == "modalities[0]"
        // How many alternatives says that there are to be some.
        || path == "logprobs"
}

/// The same for Anthropic's.
fn says_nothing_in_anthropic(path: &str, value: &Value, body: &Value) -> bool {
    says_nothing(path, value, body)
        || (path.ends_with(".type") && (value == "custom" || value == "object"))
        // Bedrock puts one mark behind a result that has several.
        || (path.matches(".content[").count() == 2 && path.contains(".cache_control"))
        // There is plain text only.
        || (path.ends_with(".media_type") && value == "text/plain")
}

/// What a conversation says, in words that do not depend on how it is cut into messages.
#[derive(Debug, Default, PartialEq)]
struct Meaning {
    instructions: Vec<String>,
    turns: Vec<String>,
    tools: Vec<Value>,
    settings: BTreeSet<String>,
}

/// `left_out` names settings that were reported.
fn meaning(request: &Request, left_out: &[String]) -> Meaning {
    let mut meaning = Meaning::default();
    for message in &request.messages {
        for part in &message.parts {
            match message.role {
                Role::System | Role::Developer => meaning.instructions.extend(said(part)),
                role => meaning.turns.extend(said(part).map(|said| format!("{role:?} {said}"))),
            }
        }
    }
    meaning.tools = request.tools.iter().filter_map(tool).collect();
    let mut set = |name: &str, value: Option<String>| {
        if !left_out.iter().any(|left| left == name) {
            meaning.settings.extend(value.map(|value| format!("{name} {value}")));
        }
    };
    set("temperature", request.temperature.as_ref().map(ToString::to_string));
    set("top_p", request.top_p.as_ref().map(ToString::to_string));
    set("top_k", request.top_k.map(|n| n.to_string()));
    set("stop", (!request.stop.is_empty()).then(|| format!("{:?}", request.stop)));
    let choice = request.tool_choice.as_ref().filter(|choice| **choice != ToolChoice::Auto);
    set("tool_choice", choice.map(|choice| format!("{choice:?}")));
    let newer_name = request.own.get("safety_identifier").and_then(Value::as_str).map(str::to_owned);
    set("user", request.user.clone().or(newer_name));
    set("stream", request.stream.then(String::new));
    meaning
}

fn said(part: &Part) -> Option<String> {
    Some(match &part.kind {
        PartKind::Text { text, .. } | PartKind::Refusal(text) => format!("says {text}"),
        PartKind::Image { source, .. } => format!("shows {source:?}"),
        // A file of plain text is its text with its name in front.
        PartKind::Document { source: Source::Base64 { media_type, data }, name }
            if media_type == "text/plain" =>
        {
            let bytes = STANDARD.decode(data).unwrap();
            titled(name.as_deref(), &String::from_utf8(bytes).unwrap())
        }
        PartKind::Document { source: Source::Text(text), name } => titled(name.as_deref(), text),
        PartKind::Document { source, .. } => format!("encloses {source:?}"),
        PartKind::ToolCall { id, name, arguments, .. } => {
            let arguments: Value = serde_json::from_str(arguments).unwrap();
            format!("calls {id} {name} {arguments}")
        }
        PartKind::ToolResult { id, parts, .. } => {
            format!("answers {id} {:?}", parts.iter().filter_map(said).collect::<Vec<_>>())
        }
        // Reported where it does not go back.
        _ => return None,
    })
}

fn titled(name: Option<&str>, text: &str) -> String {
    name.map_or_else(|| format!("says {text}"), |name| format!("says {name}:\n\n{text}"))
}

fn tool(tool: &Tool) -> Option<Value> {
    let Tool::Function(function) = tool else { return None };
    Some(json!([function.name, function.description, function.parameters]))
}

fn check_same_meaning(
    body: &Value,
    read: fn(&[u8]) -> Result<Request, ApiError>,
    write: fn(Request, &Target<'_>) -> Result<Written, ApiError>,
    read_back: fn(&[u8]) -> Result<Request, ApiError>,
) -> Result<(), TestCaseError> {
    let request = read(body.to_string().as_bytes()).unwrap();
    let options = Map::new();
    let target = Target { provider: "acme", model: None, options: &options };
    let Ok(written) = write(request.clone(), &target) else { return Ok(()) };
    let again = read_back(&written.body).unwrap();
    let left_out = &written.dropped;
    prop_assert_eq!(meaning(&again, left_out), meaning(&request, left_out), "{:?}", left_out);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_an_openai_request_is_lost(body in generate::openai()) {
        check_nothing_is_lost(Operation::Chat, &body, says_nothing_in_openai)?;
    }

    #[test]
    fn nothing_of_an_anthropic_request_is_lost(body in generate::anthropic()) {
        check_nothing_is_lost(Operation::Messages, &body, says_nothing_in_anthropic)?;
    }

    #[test]
    fn an_openai_request_means_the_same_to_anthropic(body in generate::openai()) {
        check_same_meaning(&body, openai::read_request, anthropic::write_request, anthropic::read_request)?;
    }

    #[test]
    fn an_anthropic_request_means_the_same_to_openai(body in generate::anthropic()) {
        check_same_meaning(&body, anthropic::read_request, openai::write_request, openai::read_request)?;
    }
}
