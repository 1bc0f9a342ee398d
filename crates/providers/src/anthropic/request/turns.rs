//! The conversation, for providers.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::ApiError;
use serde_json::{Map, Value, json};

use super::super::citation;
use super::write::Report;
use crate::chat::{Cache, Dialect, Message, Part, PartKind, Role, Source};

/// Pictures that Claude sees.
///
/// Source: "Vision" on platform.claude.com.
const PICTURES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// One turn of two that alternate. Results of tools come first in it, as the API demands.
struct Turn {
    role: &'static str,
    results: Vec<Value>,
    blocks: Vec<Value>,
}

/// Where a part is, for reports.
struct Place<'p> {
    message: usize,
    role: Role,
    /// The part's own path.
    path: &'p str,
}

/// Writes instructions and turns. Instructions come first wherever they stood: models before Claude Opus 4.8 take none
/// between turns. Turns of one role become one.
pub(super) fn write(
    messages: Vec<Message>,
    report: &mut Report<'_>,
) -> Result<(Vec<Value>, Vec<Value>), ApiError> {
    let mut system = Vec::new();
    let mut turns: Vec<Turn> = Vec::new();
    for (index, Message { role, name, parts }) in messages.into_iter().enumerate() {
        if name.is_some() {
            report.leave_out(format!("messages[{index}].name"));
        }
        let mut said = Turn { role: role_of(role), results: Vec::new(), blocks: Vec::new() };
        let mut calls = 0;
        for (number, part) in parts.into_iter().enumerate() {
            let path = match part.kind {
                PartKind::ToolCall { .. } => {
                    calls += 1;
                    format!("messages[{index}].tool_calls[{}]", calls - 1)
                }
                _ => format!("messages[{index}].content[{number}]"),
            };
            let is_result = matches!(part.kind, PartKind::ToolResult { .. });
            let place = Place { message: index, role, path: &path };
            let Some(block) = block(part, &place, report)? else { continue };
            if is_result { said.results.push(block) } else { said.blocks.push(block) }
        }
        match (role, turns.last_mut()) {
            (Role::System | Role::Developer, _) => system.append(&mut said.blocks),
            (_, Some(last)) if last.role == said.role => {
                last.results.append(&mut said.results);
                last.blocks.append(&mut said.blocks);
            }
            _ if said.results.is_empty() && said.blocks.is_empty() => {}
            _ => turns.push(said),
        }
    }
    if turns.is_empty() {
        let text =
            "holds nothing that a user or an assistant says; write at least one message of role `user`";
        return Err(report.refuse("messages", "invalid_value", text));
    }
    let message = |Turn { role, results, blocks }| {
        let content: Vec<Value> = results.into_iter().chain(blocks).collect();
        json!({ "role": role, "content": content })
    };
    Ok((system, turns.into_iter().map(message).collect()))
}

fn role_of(role: Role) -> &'static str {
    match role {
        Role::Assistant => "assistant",
        Role::System | Role::Developer | Role::User | Role::Tool => "user",
    }
}

/// The block for a part, with its cache mark. None: it is left out, and reported if it said anything.
fn block(part: Part, place: &Place<'_>, report: &mut Report<'_>) -> Result<Option<Value>, ApiError> {
    let Part { kind, cache } = part;
    let is_thought = matches!(kind, PartKind::Thinking { .. } | PartKind::RedactedThinking { .. });
    let mut written = content(kind, place, report)?;
    match (&mut written, cache) {
        (Some(Value::Object(block)), Some(cache)) if !is_thought => {
            block.insert("cache_control".to_owned(), cache_control(cache));
        }
        (_, Some(_)) => report.leave_out(format!("{}.cache_control", place.path)),
        (_, None) => {}
    }
    Ok(written)
}

/// A mark for the prompt cache.
pub(super) fn cache_control(cache: Cache) -> Value {
    let mut mark = json!({ "type": "ephemeral" });
    if let Some(ttl) = cache.ttl {
        mark["ttl"] = ttl.into();
    }
    mark
}

fn content(kind: PartKind, place: &Place<'_>, report: &mut Report<'_>) -> Result<Option<Value>, ApiError> {
    let path = place.path;
    let instructs = matches!(place.role, Role::System | Role::Developer);
    if instructs && !matches!(kind, PartKind::Text { .. }) {
        return Err(report.refuse(path, "unsupported_content", "is no text; instructions are text"));
    }
    Ok(Some(match kind {
        PartKind::Text { text, citations } => return Ok(text_block(text, citations, path, report)),
        PartKind::Refusal(text) => return Ok(text_block(text, Vec::new(), path, report)),
        PartKind::Image { source, detail } => {
            if detail.is_some_and(|detail| detail != "auto") {
                report.leave_out(format!("{path}.image_url.detail"));
            }
            image(source, path, report)?
        }
        PartKind::Document { source, name } => match document(source, path, report)? {
            Some(block) => titled(block, name),
            None => return Ok(None),
        },
        PartKind::Audio { .. } => {
            let text = "is sound, which Claude does not hear; write text, images or PDF files";
            return Err(report.refuse(path, "unsupported_content", text));
        }
        PartKind::Video { .. } => {
            let text = "is a video, which Claude does not watch; write text, images or PDF files";
            return Err(report.refuse(path, "unsupported_content", text));
        }
        PartKind::Thinking { text, signature: Some(signature) } if place.role == Role::Assistant => {
            json!({ "type": "thinking", "thinking": text, "signature": signature })
        }
        PartKind::RedactedThinking { data } if place.role == Role::Assistant => {
            json!({ "type": "redacted_thinking", "data": data })
        }
        // Thoughts without Claude's own seal are refused.
        PartKind::Thinking { .. } | PartKind::RedactedThinking { .. } => {
            report.leave_out(path);
            return Ok(None);
        }
        PartKind::ToolCall { id, name, arguments, signature } => {
            if signature.is_some() {
                report.leave_out(format!("{path}.function.thought_signature"));
            }
            tool_use(&id, &name, &arguments, path, report)?
        }
        PartKind::ToolResult { id, name: _, parts, is_error } => {
            tool_result(&id, parts, is_error, place, report)?
        }
        PartKind::Native { dialect: Dialect::Anthropic, value } => value,
        PartKind::Native { .. } => {
            report.leave_out(path);
            return Ok(None);
        }
    }))
}

/// A text block. Empty ones are refused, so they are left out; they say nothing.
fn text_block(text: String, citations: Vec<Value>, path: &str, report: &mut Report<'_>) -> Option<Value> {
    let (places, foreign): (Vec<Value>, Vec<Value>) = citations.into_iter().partition(citation::goes_back);
    if !foreign.is_empty() {
        report.leave_out(format!("{path}.annotations"));
    }
    if text.trim().is_empty() {
        return None;
    }
    let mut block = json!({ "type": "text", "text": text });
    if !places.is_empty() {
        block["citations"] = places.into();
    }
    Some(block)
}

fn image(source: Source, path: &str, report: &Report<'_>) -> Result<Value, ApiError> {
    let source = match source {
        Source::Base64 { media_type, data } => {
            if !PICTURES.contains(&media_type.as_str()) {
                let path = format!("{path}.image_url.url");
                let media_type: String = media_type.chars().take(64).collect();
                let text =
                    format!("is an image of type `{media_type}`; write one of `{}`", PICTURES.join("`, `"));
                return Err(report.refuse(&path, "unsupported_media_type", &text));
            }
            json!({ "type": "base64", "media_type": media_type, "data": data })
        }
        Source::Url(url) => at_address(url, &format!("{path}.image_url.url"), report)?,
        Source::File(id) => json!({ "type": "file", "file_id": id }),
        Source::Text(_) => {
            return Err(report.refuse(path, "unsupported_content", "is text where an image is meant"));
        }
    };
    Ok(json!({ "type": "image", "source": source }))
}

/// Anthropic fetches from the web alone.
fn at_address(url: String, path: &str, report: &Report<'_>) -> Result<Value, ApiError> {
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(json!({ "type": "url", "url": url }));
    }
    let text = "is no address on the web; write an `https://` address or a data URI";
    Err(report.refuse(path, "unsupported_url", text))
}

/// A document. Files of plain text become text, files of pictures become images. None: an empty text.
fn document(source: Source, path: &str, report: &Report<'_>) -> Result<Option<Value>, ApiError> {
    let source = match source {
        Source::Base64 { media_type, data } if media_type == "application/pdf" => {
            json!({ "type": "base64", "media_type": media_type, "data": data })
        }
        Source::Base64 { media_type, data } if PICTURES.contains(&media_type.as_str()) => {
            return image(Source::Base64 { media_type, data }, path, report).map(Some);
        }
        Source::Base64 { media_type, data } => {
            let path = format!("{path}.file.file_data");
            let text = is_text(&media_type)
                .then(|| STANDARD.decode(&data).ok().and_then(|bytes| String::from_utf8(bytes).ok()))
                .flatten();
            let media_type: String = media_type.chars().take(64).collect();
            let Some(text) = text else {
                let text =
                    format!("is a file of type `{media_type}`; write a PDF, an image, or text in UTF-8");
                return Err(report.refuse(&path, "unsupported_media_type", &text));
            };
            return Ok(plain(text));
        }
        Source::Url(url) => at_address(url, &format!("{path}.file.file_data"), report)?,
        Source::File(id) => json!({ "type": "file", "file_id": id }),
        Source::Text(text) => return Ok(plain(text)),
    };
    Ok(Some(json!({ "type": "document", "source": source })))
}

fn plain(text: String) -> Option<Value> {
    let source = json!({ "type": "text", "media_type": "text/plain", "data": text });
    (!text.trim().is_empty()).then(|| json!({ "type": "document", "source": source }))
}

/// Media types whose bytes are text that a model reads.
fn is_text(media_type: &str) -> bool {
    const TEXTS: [&str; 5] = [
        "application/json",
        "application/javascript",
        "application/xml",
        "application/yaml",
        "application/x-yaml",
    ];
    let bare = media_type.split(';').next().unwrap_or_default().trim();
    bare.starts_with("text/") || TEXTS.contains(&bare)
}

fn titled(mut block: Value, name: Option<String>) -> Value {
    if let (Some(name), true) = (name, block["type"] == "document") {
        block["title"] = name.into();
    }
    block
}

fn tool_use(
    id: &str,
    name: &str,
    arguments: &str,
    path: &str,
    report: &Report<'_>,
) -> Result<Value, ApiError> {
    if name.is_empty() {
        return Err(report.refuse(
            &format!("{path}.function.name"),
            "invalid_value",
            "is empty; write the tool's name",
        ));
    }
    let input = if arguments.trim().is_empty() { Ok(json!({})) } else { serde_json::from_str(arguments) };
    match input {
        Ok(Value::Object(input)) => {
            Ok(json!({ "type": "tool_use", "id": call_id(id), "name": name, "input": input }))
        }
        _ => {
            let path = format!("{path}.function.arguments");
            Err(report.refuse(
                &path,
                "invalid_value",
                "is not the JSON text of an object; write one, as in `{}`",
            ))
        }
    }
}

/// The id of a call as Anthropic takes it: letters, digits, `_` and `-`. Other characters, which ids of some providers
/// hold, become their numbers, the same in the call and in its result.
fn call_id(id: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !id.is_empty() && id.chars().all(fits) {
        return Cow::Borrowed(id);
    }
    let mut out = String::with_capacity(id.len() + 8);
    for c in id.chars() {
        if fits(c) { out.push(c) } else { out.push_str(&format!("_{:x}", u32::from(c))) }
    }
    if out.is_empty() {
        out.push('_');
    }
    Cow::Owned(out)
}

fn tool_result(
    id: &str,
    parts: Vec<Part>,
    is_error: bool,
    place: &Place<'_>,
    report: &mut Report<'_>,
) -> Result<Value, ApiError> {
    let mut blocks = Vec::with_capacity(parts.len());
    for (index, part) in parts.into_iter().enumerate() {
        let path = format!("messages[{}].content[{index}]", place.message);
        let inner = Place { message: place.message, role: Role::Tool, path: &path };
        if matches!(part.kind, PartKind::ToolCall { .. } | PartKind::ToolResult { .. }) {
            let text = "is a call or a result inside a result; write text, images or documents";
            return Err(report.refuse(&path, "unsupported_content", text));
        }
        blocks.extend(block(part, &inner, report)?);
    }
    let mut result = Map::new();
    result.insert("type".to_owned(), "tool_result".into());
    result.insert("tool_use_id".to_owned(), call_id(id).into());
    if !blocks.is_empty() {
        result.insert("content".to_owned(), blocks.into());
    }
    if is_error {
        result.insert("is_error".to_owned(), true.into());
    }
    Ok(Value::Object(result))
}
