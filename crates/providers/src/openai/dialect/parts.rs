//! Reading parts of a turn.

use std::collections::HashSet;

use domain::ApiError;
use serde_json::Value;

use crate::chat::{Cache, Dialect, Part, PartKind, Source};
use crate::fields::{Fields, quoted, unknown_word, wrong};
use crate::media;

const KINDS: &str = "text, image_url, input_audio, file, video_url, refusal, thinking, redacted_thinking";

/// Reads an array of parts.
pub(super) fn read(values: Vec<Value>, at: &str, dropped: &mut Vec<String>) -> Result<Vec<Part>, ApiError> {
    let read = |(n, value)| part(Fields::of(value, format!("{at}[{n}]"))?, dropped);
    values.into_iter().enumerate().map(read).collect()
}

/// Reads Portkey's `content_blocks`: parts, and blocks in Anthropic's form. Calls among them that `tool_calls` has as
/// well are left out.
pub(super) fn blocks(
    values: Vec<Value>,
    at: &str,
    calls: &[Part],
    dropped: &mut Vec<String>,
) -> Result<Vec<Part>, ApiError> {
    let listed: HashSet<&str> = calls
        .iter()
        .filter_map(|part| match &part.kind {
            PartKind::ToolCall { id, .. } => Some(id.as_str()),
            _ => None,
        })
        .collect();
    let mut parts = Vec::with_capacity(values.len());
    for (n, value) in values.into_iter().enumerate() {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let at = format!("{at}[{n}]");
        if kind == "tool_use" {
            let call = tool_use(Fields::of(value, at)?, dropped)?;
            if !matches!(&call.kind, PartKind::ToolCall { id, .. } if listed.contains(id.as_str())) {
                parts.push(call);
            }
        } else if kind.is_empty() || KINDS.split(", ").any(|known| known == kind) {
            parts.push(part(Fields::of(value, at)?, dropped)?);
        } else {
            parts.push(Part::new(PartKind::Native { dialect: Dialect::Anthropic, value }));
        }
    }
    Ok(parts)
}

fn tool_use(mut fields: Fields, dropped: &mut Vec<String>) -> Result<Part, ApiError> {
    fields.take("type");
    let id = fields.required("id", "give the call's id")?;
    let name = fields.required("name", "name the tool")?;
    let arguments = fields.take("input").map(|input| input.to_string()).unwrap_or_default();
    let cache = cache(&mut fields, dropped)?;
    fields.report(dropped);
    Ok(Part { kind: PartKind::ToolCall { id, name, arguments, signature: None }, cache })
}

/// A part's mark for the provider's cache: Anthropic's `cache_control` or OpenAI's `prompt_cache_breakpoint`.
pub(super) fn cache(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<Option<Cache>, ApiError> {
    let older = fields.object("cache_control")?;
    let Some(mut mark) = fields.object("prompt_cache_breakpoint")?.or(older) else { return Ok(None) };
    let ttl = mark.string("ttl")?;
    // There is one kind of mark: Anthropic's `ephemeral`, OpenAI's `explicit`.
    mark.take("type");
    mark.take("mode");
    mark.report(dropped);
    Ok(Some(Cache { ttl }))
}

fn part(mut fields: Fields, dropped: &mut Vec<String>) -> Result<Part, ApiError> {
    let kind = fields.required("type", "say what the part is, as in `text` or `image_url`")?;
    let kind = match kind.as_str() {
        "text" => PartKind::Text {
            text: fields.required("text", "write the text")?,
            citations: fields.array("citations")?.unwrap_or_default(),
        },
        "image_url" => image(&mut fields, dropped)?,
        "input_audio" => audio(&mut fields, dropped)?,
        "file" => file(&mut fields, dropped)?,
        "video_url" => {
            let (url, _, path) = address(&mut fields, "video_url", dropped)?;
            PartKind::Video { source: media::source(url, &path)? }
        }
        "refusal" => PartKind::Refusal(fields.required("refusal", "write the text")?),
        "thinking" => PartKind::Thinking {
            text: fields.required("thinking", "write the text")?,
            signature: fields.string("signature")?,
        },
        "redacted_thinking" => {
            PartKind::RedactedThinking { data: fields.required("data", "give the provider's bytes")? }
        }
        other => {
            let known = format!("one of {KINDS}");
            return Err(unknown_word(&fields.path("type"), other, &known));
        }
    };
    let cache = cache(&mut fields, dropped)?;
    fields.report(dropped);
    Ok(Part { kind, cache })
}

/// `{"url": …, "detail": …}`, or just the address as some clients write it; and where the address stands.
fn address(
    fields: &mut Fields,
    name: &str,
    dropped: &mut Vec<String>,
) -> Result<(String, Option<String>, String), ApiError> {
    let at = fields.path(name);
    match fields.take(name) {
        Some(Value::String(url)) => Ok((url, None, at)),
        Some(value) => {
            let mut place = Fields::of(value, at)?;
            let url = place.required("url", "write an address or a data URI")?;
            let detail = place.string("detail")?;
            let path = place.path("url");
            place.report(dropped);
            Ok((url, detail, path))
        }
        None => Err(fields.missing(name, "write {\"url\": …}")),
    }
}

fn image(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<PartKind, ApiError> {
    let (url, detail, path) = address(fields, "image_url", dropped)?;
    let source = media::source(url, &path)?;
    let Source::Base64 { media_type, .. } = &source else { return Ok(PartKind::Image { source, detail }) };
    let media_type = media_type.clone();
    let kind = media::by_type(&media_type, source);
    if let Ok(PartKind::Image { source, .. }) = kind {
        return Ok(PartKind::Image { source, detail });
    }
    if detail.is_some() {
        dropped.push(fields.path("image_url.detail"));
    }
    match kind {
        Ok(other) => Ok(other),
        // Portkey's callers send PDF files this way.
        Err(source) if media_type == "application/pdf" || media_type.starts_with("text/") => {
            Ok(PartKind::Document { source, name: None })
        }
        Err(_) => {
            let words =
                format_args!("holds {}: send an image, or a part of the type `file`", quoted(&media_type));
            Err(wrong(&path, "invalid_value", words))
        }
    }
}

fn audio(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<PartKind, ApiError> {
    let mut audio = fields
        .object("input_audio")?
        .ok_or_else(|| fields.missing("input_audio", "give `data` in base64 and its `format`"))?;
    let data = audio.required("data", "give the sound in base64")?;
    let format = audio.required("format", "write `wav` or `mp3`")?;
    if format.is_empty() || !format.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(wrong(&audio.path("format"), "invalid_value", "must be a word such as `wav` or `mp3`"));
    }
    let source = media::base64(media::audio_type(&format.to_ascii_lowercase()), data, &audio.path("data"))?;
    audio.report(dropped);
    Ok(PartKind::Audio { source })
}

/// OpenAI's `file_data` and `file_id`, Portkey's `file_url` and `mime_type`.
fn file(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<PartKind, ApiError> {
    let fix = "give `file_data` as a data URI with `filename`, or `file_id`";
    let mut file = fields.object("file")?.ok_or_else(|| fields.missing("file", fix))?;
    let name = file.string("filename")?.or(file.string("file_name")?);
    let mime_type = file.string("mime_type")?;
    let (data, id, url) = (file.string("file_data")?, file.string("file_id")?, file.string("file_url")?);
    let source = match (data, id, url) {
        (Some(data), None, None) => file_data(data, mime_type.as_deref(), name.as_deref(), &file)?,
        (None, Some(id), None) => Source::File(id),
        (None, None, Some(url)) => media::source(url, &file.path("file_url"))?,
        (None, None, None) => return Err(file.missing("file_data", fix)),
        _ => {
            let path = file.path("file_data");
            return Err(wrong(&path, "invalid_value", "is given beside `file_id` or `file_url`: give one"));
        }
    };
    let media_type = match &source {
        Source::Base64 { media_type, .. } => Some(media_type.clone()),
        _ => mime_type.clone(),
    };
    let kind = match media_type {
        Some(media_type) => media::by_type(&media_type, source),
        None => Err(source),
    };
    // Only documents have names, and only bytes that are here have a type of their own.
    match (&kind, name.is_some(), mime_type.is_some()) {
        (Ok(_), true, _) => dropped.push(file.path("filename")),
        (Err(Source::Url(_) | Source::File(_)), _, true) => dropped.push(file.path("mime_type")),
        _ => {}
    }
    file.report(dropped);
    Ok(kind.unwrap_or_else(|source| PartKind::Document { source, name }))
}

fn file_data(
    data: String,
    mime_type: Option<&str>,
    name: Option<&str>,
    file: &Fields,
) -> Result<Source, ApiError> {
    let path = file.path("file_data");
    if data.starts_with("data:") {
        return media::source(data, &path);
    }
    let media_type = mime_type.or_else(|| name.and_then(media::type_of_file)).ok_or_else(|| {
        wrong(&path, "invalid_value", "does not say its type: write `data:application/pdf;base64,…`")
    })?;
    media::base64(media_type.to_ascii_lowercase(), data, &path)
}
