//! Parts of messages and of tools' results.

use domain::ApiError;
use serde_json::Value;

use super::fields::{Fields, invalid, missing, unsupported};
use crate::chat::{Cache, Part, PartKind, Source};

/// Media types of files that come without one, by the ending of their names.
const MEDIA_TYPES: [(&str, &str); 12] = [
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("html", "text/html"),
    ("json", "application/json"),
    ("md", "text/markdown"),
    ("pdf", "application/pdf"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("txt", "text/plain"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml", "application/xml"),
];

/// What a message or a tool's result says: a string, or a list of parts.
pub(super) fn read(value: Value, path: &str, dropped: &mut Vec<String>) -> Result<Vec<Part>, ApiError> {
    let list = match value {
        Value::String(text) => return Ok(vec![Part::text(text)]),
        Value::Array(list) => list,
        other => return Err(super::fields::wrong_type(path, &other, "a string or a list of parts")),
    };
    let mut parts = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        let mut fields = Fields::new(value, &format!("{path}[{index}]"))?;
        let cache = cache(&mut fields)?;
        if let Some(kind) = part(&mut fields, dropped)? {
            parts.push(Part { kind, cache });
        }
        fields.report(dropped);
    }
    Ok(parts)
}

/// A mark for the prompt cache: OpenAI's `prompt_cache_breakpoint`, or `cache_control` as other dialects have it.
pub(super) fn cache(fields: &mut Fields) -> Result<Option<Cache>, ApiError> {
    let mark = match fields.object("prompt_cache_breakpoint")? {
        Some(mark) => Some(mark),
        None => fields.object("cache_control")?,
    };
    mark.map(|mut mark| Ok(Cache { ttl: mark.string("ttl")? })).transpose()
}

/// One part. None: nothing of it can be kept, which is reported.
fn part(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<Option<PartKind>, ApiError> {
    let kind = fields.required("type", "name the part's type, as in `input_text`")?;
    let kind = match kind.as_str() {
        "input_text" | "output_text" => PartKind::Text {
            text: fields.required("text", "write the text")?,
            citations: fields.list("annotations")?.unwrap_or_default(),
        },
        "refusal" => PartKind::Refusal(fields.required("refusal", "write the text of the refusal")?),
        "input_image" => image(fields)?,
        "input_file" => file(fields)?,
        "input_audio" => audio(fields)?,
        // What was said is kept as text; the sound is of no use to a model that reads.
        "output_audio" => {
            dropped.push(fields.at("data"));
            fields.take("data");
            match fields.string("transcript")?.filter(|text| !text.is_empty()) {
                Some(text) => PartKind::Text { text, citations: Vec::new() },
                None => return Ok(None),
            }
        }
        other => {
            let types = "input_text, input_image, input_file, input_audio, output_text or refusal";
            return Err(invalid(&fields.at("type"), format!("is \"{other}\": write {types}")));
        }
    };
    Ok(Some(kind))
}

fn image(fields: &mut Fields) -> Result<PartKind, ApiError> {
    let path = fields.at("image_url");
    let source = match (fields.string("image_url")?, fields.string("file_id")?) {
        (Some(url), None) => source(url, &path, "image")?,
        (None, Some(id)) => Source::File(id),
        (Some(_), Some(_)) => {
            return Err(invalid(&path, "and `file_id` are both given: write one of them"));
        }
        (None, None) => {
            return Err(missing(&path, "write an `https:` address, a `data:` URI in base64, or `file_id`"));
        }
    };
    Ok(PartKind::Image { source, detail: fields.string("detail")? })
}

fn file(fields: &mut Fields) -> Result<PartKind, ApiError> {
    let name = fields.string("filename")?;
    let path = fields.at("file_data");
    let given = (fields.string("file_data")?, fields.string("file_url")?, fields.string("file_id")?);
    let source = match given {
        (Some(data), None, None) if data.starts_with("data:") => source(data, &path, "application")?,
        (Some(data), None, None) => {
            let media_type = media_type(name.as_deref().unwrap_or_default()).to_owned();
            base64(media_type, data, &path)?
        }
        (None, Some(url), None) => address(url, &fields.at("file_url"))?,
        (None, None, Some(id)) => Source::File(id),
        (None, None, None) => {
            return Err(missing(&path, "write `file_data` in base64, `file_url`, or `file_id`"));
        }
        _ => {
            return Err(invalid(
                fields.path(),
                "has several sources: write one of `file_data`, `file_url`, `file_id`",
            ));
        }
    };
    Ok(PartKind::Document { source, name })
}

fn audio(fields: &mut Fields) -> Result<PartKind, ApiError> {
    let fix = "write {\"data\": …, \"format\": \"wav\"}";
    let Some(mut audio) = fields.object("input_audio")? else {
        return Err(missing(&fields.at("input_audio"), fix));
    };
    let data = audio.required("data", "write the sound in base64")?;
    let format = audio.required("format", "write mp3 or wav")?;
    let media_type = match format.as_str() {
        "mp3" => "audio/mpeg".to_owned(),
        other if !other.is_empty() && other.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            format!("audio/{other}")
        }
        _ => return Err(invalid(&audio.at("format"), "is no format of sound: write mp3 or wav")),
    };
    Ok(PartKind::Audio { source: base64(media_type, data, &audio.at("data"))? })
}

/// A `data:` URI or an address. `family` is the media type's first half, for error texts.
fn source(url: String, path: &str, family: &str) -> Result<Source, ApiError> {
    let Some(rest) = url.strip_prefix("data:") else { return address(url, path) };
    let fix = format!("write data:{family}/…;base64,…");
    let Some((head, data)) = rest.split_once(',') else {
        return Err(invalid(path, format!("is a `data:` URI without data: {fix}")));
    };
    let Some(head) = head.strip_suffix(";base64") else {
        return Err(invalid(path, format!("is a `data:` URI that is not in base64: {fix}")));
    };
    let media_type = head.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !media_type.contains('/') {
        return Err(invalid(path, format!("is a `data:` URI without a media type: {fix}")));
    }
    base64(media_type, data.to_owned(), path)
}

fn address(url: String, path: &str) -> Result<Source, ApiError> {
    let schemes = ["https://", "http://", "gs://", "s3://"];
    if schemes.iter().any(|scheme| url.get(..scheme.len()).is_some_and(|b| b.eq_ignore_ascii_case(scheme))) {
        return Ok(Source::Url(url));
    }
    Err(invalid(path, "is no address: write one that begins with https://, or a `data:` URI in base64"))
}

fn base64(media_type: String, data: String, path: &str) -> Result<Source, ApiError> {
    if is_base64(&data) {
        return Ok(Source::Base64 { media_type, data });
    }
    Err(ApiError::bad_request(
        path,
        "invalid_base64",
        format!(
            "`{path}` is not base64: write the bytes in the standard alphabet (A-Z a-z 0-9 + /), padded with ="
        ),
    ))
}

/// Standard base64 with its padding, and not empty.
fn is_base64(data: &str) -> bool {
    let text = data.as_bytes();
    let padding = text.iter().rev().take_while(|b| **b == b'=').count();
    let (body, _) = text.split_at(text.len() - padding);
    !body.is_empty()
        && padding <= 2
        && text.len().is_multiple_of(4)
        && body.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

fn media_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    let known = MEDIA_TYPES.iter().find(|(known, _)| *known == ending);
    known.map_or("application/pdf", |(_, media_type)| media_type)
}

/// Refuses what stands for something stored elsewhere.
pub(super) fn refuse_reference(fields: &Fields) -> ApiError {
    let fix = "refers to a stored item by its id, which only its owner can read: send the item itself, or \
               continue with `previous_response_id`";
    unsupported(fields.path(), fix)
}
