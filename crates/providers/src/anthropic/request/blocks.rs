//! Content blocks of callers.

use domain::ApiError;
use serde_json::Value;

use crate::chat::{Cache, Dialect, Part, PartKind, Source};
use crate::fields::{Fields, quoted, unknown_word, wrong, wrong_type};
use crate::media;

/// A text, or a list of blocks.
pub(super) fn content(value: Value, path: &str, dropped: &mut Vec<String>) -> Result<Vec<Part>, ApiError> {
    match value {
        Value::String(text) => Ok(vec![Part::text(text)]),
        Value::Array(list) => {
            let mut parts = Vec::with_capacity(list.len());
            for (index, value) in list.into_iter().enumerate() {
                block(value, format!("{path}[{index}]"), Place::Turn, &mut parts, dropped)?;
            }
            Ok(parts)
        }
        other => Err(wrong_type(path, "a string or an array of content blocks", &other)),
    }
}

/// Where a block is: what may be in it depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Turn,
    /// In a result or a document, which hold no results and no documents of blocks themselves.
    Inside,
}

/// Adds the parts that a block says; most say one. Blocks that only Anthropic has are kept whole.
fn block(
    value: Value,
    path: String,
    place: Place,
    parts: &mut Vec<Part>,
    dropped: &mut Vec<String>,
) -> Result<(), ApiError> {
    let kind = match value.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(other) => return Err(wrong_type(&format!("{path}.type"), "a string", other)),
        None => {
            let fields = Fields::of(value, path)?;
            return Err(fields.missing("type", "say what the block is, as in `text` or `image`"));
        }
    };
    let read = match (kind.as_str(), place) {
        ("text", _) => text,
        ("image", _) => image,
        ("document", _) => return document(value, path, place, parts, dropped),
        ("search_result", _) => search_result,
        ("thinking", Place::Turn) => thinking,
        ("redacted_thinking", Place::Turn) => redacted_thinking,
        ("tool_use", Place::Turn) => tool_use,
        ("tool_result", Place::Turn) => tool_result,
        ("tool_result" | "tool_use" | "thinking" | "redacted_thinking", Place::Inside) => {
            let words = format_args!("is a `{kind}` block, which cannot be inside another block");
            return Err(wrong(&path, "invalid_value", words));
        }
        _ => {
            parts.push(Part::new(PartKind::Native { dialect: Dialect::Anthropic, value }));
            return Ok(());
        }
    };
    let mut fields = Fields::of(value, path)?;
    fields.take("type");
    let cache = cache(&mut fields, dropped)?;
    let kind = read(&mut fields, dropped)?;
    fields.report(dropped);
    parts.push(Part { kind, cache });
    Ok(())
}

/// A `cache_control` mark.
pub(super) fn cache(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<Option<Cache>, ApiError> {
    let Some(mut mark) = fields.object("cache_control")? else { return Ok(None) };
    let kind = mark.need("type", Fields::string)?;
    if kind != "ephemeral" {
        return Err(unknown_word(&mark.path("type"), &kind, "`ephemeral`"));
    }
    let ttl = mark.string("ttl")?;
    mark.report(dropped);
    Ok(Some(Cache { ttl }))
}

fn text(fields: &mut Fields, _: &mut Vec<String>) -> Result<PartKind, ApiError> {
    let text = fields.need("text", Fields::string)?;
    Ok(PartKind::Text { text, citations: fields.array("citations")?.unwrap_or_default() })
}

fn image(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<PartKind, ApiError> {
    let mut source = fields.need("source", Fields::object)?;
    let kind = source.need("type", Fields::string)?;
    let found = match kind.as_str() {
        "base64" => base64(&mut source)?,
        "url" => address(&mut source)?,
        "file" => Source::File(source.need("file_id", Fields::string)?),
        _ => return Err(unknown_word(&source.path("type"), &kind, "`base64`, `url` or `file`")),
    };
    source.report(dropped);
    Ok(PartKind::Image { source: found, detail: None })
}

/// A document. One of blocks becomes one of their texts; pictures in it become parts behind it.
fn document(
    value: Value,
    path: String,
    place: Place,
    parts: &mut Vec<Part>,
    dropped: &mut Vec<String>,
) -> Result<(), ApiError> {
    let mut fields = Fields::of(value, path)?;
    fields.take("type");
    let cache = cache(&mut fields, dropped)?;
    let name = fields.string("title")?;
    cites(&mut fields, dropped)?;
    let mut source = fields.need("source", Fields::object)?;
    let kind = source.need("type", Fields::string)?;
    let mut pictures = Vec::new();
    let found = match (kind.as_str(), place) {
        ("base64", _) => base64(&mut source)?,
        ("url", _) => address(&mut source)?,
        ("file", _) => Source::File(source.need("file_id", Fields::string)?),
        ("text", _) => {
            source.take("media_type");
            Source::Text(source.need("data", Fields::string)?)
        }
        ("content", _) => {
            let inner = source.take("content").ok_or_else(|| source.missing("content", "it is required"))?;
            let inner = inside(inner, &source.path("content"), dropped)?;
            let (texts, rest): (Vec<Part>, Vec<Part>) =
                inner.into_iter().partition(|part| matches!(part.kind, PartKind::Text { .. }));
            pictures = rest;
            Source::Text(joined(&texts))
        }
        _ => {
            let known = "`base64`, `url`, `file`, `text` or `content`";
            return Err(unknown_word(&source.path("type"), &kind, known));
        }
    };
    source.report(dropped);
    fields.report(dropped);
    let only_pictures = !pictures.is_empty() && matches!(&found, Source::Text(text) if text.is_empty());
    if !only_pictures {
        parts.push(Part::new(PartKind::Document { source: found, name }));
    }
    parts.extend(pictures);
    if let Some(last) = parts.last_mut().filter(|_| cache.is_some()) {
        last.cache = cache;
    }
    Ok(())
}

/// Whether the model is to cite a document: a wish that chats have no place for.
fn cites(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<(), ApiError> {
    if let Some(mut citations) = fields.object("citations")? {
        if citations.flag("enabled")? == Some(true) {
            dropped.push(citations.place().to_owned());
        }
        citations.report(dropped);
    }
    Ok(())
}

/// A search result: a text with its title and where it was found.
fn search_result(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<PartKind, ApiError> {
    let (title, source) = (fields.need("title", Fields::string)?, fields.need("source", Fields::string)?);
    cites(fields, dropped)?;
    let content = fields.take("content").ok_or_else(|| fields.missing("content", "it is required"))?;
    let parts = inside(content, &fields.path("content"), dropped)?;
    let name = Some(format!("{title} ({source})"));
    Ok(PartKind::Document { source: Source::Text(joined(&parts)), name })
}

fn thinking(fields: &mut Fields, _: &mut Vec<String>) -> Result<PartKind, ApiError> {
    let text = fields.need("thinking", Fields::string)?;
    Ok(PartKind::Thinking { text, signature: fields.string("signature")?.filter(|seal| !seal.is_empty()) })
}

fn redacted_thinking(fields: &mut Fields, _: &mut Vec<String>) -> Result<PartKind, ApiError> {
    Ok(PartKind::RedactedThinking { data: fields.need("data", Fields::string)? })
}

fn tool_use(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<PartKind, ApiError> {
    let (id, name) = (fields.need("id", Fields::string)?, fields.need("name", Fields::string)?);
    if name.is_empty() {
        let path = fields.path("name");
        return Err(wrong(&path, "invalid_value", "is empty: write the tool's name"));
    }
    let input = match fields.take("input") {
        None => return Err(fields.missing("input", "it is required")),
        Some(input @ Value::Object(_)) => input.to_string(),
        Some(other) => return Err(wrong_type(&fields.path("input"), "an object", &other)),
    };
    // A call by the model itself is what every dialect means.
    if let Some(mut caller) = fields.object("caller")?
        && caller.string("type")?.is_some_and(|kind| kind != "direct")
    {
        dropped.push(caller.place().to_owned());
    }
    let signature = fields.string("thought_signature")?;
    Ok(PartKind::ToolCall { id, name, arguments: input, signature })
}

fn tool_result(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<PartKind, ApiError> {
    let id = fields.need("tool_use_id", Fields::string)?;
    let is_error = fields.flag("is_error")?.unwrap_or(false);
    let path = fields.path("content");
    let parts = match fields.take("content") {
        None => Vec::new(),
        Some(content) => inside(content, &path, dropped)?,
    };
    Ok(PartKind::ToolResult { id, name: None, parts, is_error })
}

/// Content of a result or a document.
fn inside(value: Value, path: &str, dropped: &mut Vec<String>) -> Result<Vec<Part>, ApiError> {
    let list = match value {
        Value::String(text) => return Ok(vec![Part::text(text)]),
        Value::Array(list) => list,
        other => return Err(wrong_type(path, "a string or an array of content blocks", &other)),
    };
    let mut parts = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        block(value, format!("{path}[{index}]"), Place::Inside, &mut parts, dropped)?;
    }
    Ok(parts)
}

/// The texts of parts, a line each.
fn joined(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match &part.kind {
        PartKind::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn address(source: &mut Fields) -> Result<Source, ApiError> {
    let url = source.need("url", Fields::string)?;
    media::address_of(url, &source.path("url"))
}

fn base64(source: &mut Fields) -> Result<Source, ApiError> {
    let media_type = source.need("media_type", Fields::string)?;
    if !media::is_media_type(&media_type) {
        let words = format_args!("is {}: write a media type such as `image/png`", quoted(&media_type));
        return Err(wrong(&source.path("media_type"), "invalid_value", words));
    }
    let data = source.need("data", Fields::string)?;
    media::base64(media_type, data, &source.path("data"))
}
