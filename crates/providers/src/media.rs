//! Bytes in a chat: data URIs, base64, and the names of audio formats.

use domain::ApiError;

use crate::chat::{PartKind, Source};
use crate::fields::wrong;

/// Whether this is standard base64 with its padding and without line breaks, and not empty.
pub(crate) fn is_base64(text: &str) -> bool {
    let bare = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    !bare.is_empty() && text.len().is_multiple_of(4) && bare.bytes().all(in_alphabet)
}

/// The bytes of a data URI or an address.
pub(crate) fn source(url: String, path: &str) -> Result<Source, ApiError> {
    if let Some(rest) = url.strip_prefix("data:") {
        return data_uri(rest, path);
    }
    address_of(url, path)
}

/// A source at an address.
pub(crate) fn address_of(url: String, path: &str) -> Result<Source, ApiError> {
    let is_address = ["https://", "http://", "gs://", "s3://"].iter().any(|scheme| {
        url.get(..scheme.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(scheme))
            && url.len() > scheme.len()
    });
    if is_address {
        return Ok(Source::Url(url));
    }
    let fix = "must be an address (`https://…`) or a data URI (`data:image/png;base64,…`)";
    Err(wrong(path, "invalid_value", fix))
}

/// What follows `data:`.
fn data_uri(rest: &str, path: &str) -> Result<Source, ApiError> {
    let malformed =
        || wrong(path, "invalid_value", "is no data URI with base64: write `data:image/png;base64,…`");
    let (head, data) = rest.split_once(',').ok_or_else(malformed)?;
    let head = head.strip_suffix(";base64").ok_or_else(malformed)?;
    let media_type = head.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !is_media_type(&media_type) {
        return Err(malformed());
    }
    base64(media_type, data.to_owned(), path)
}

/// Whether this is the name of a media type such as `image/png`, without parameters (RFC 6838, 4.2).
pub(crate) fn is_media_type(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
    let is_word = |word: &str| (1..=127).contains(&word.len()) && word.bytes().all(fits);
    name.split_once('/').is_some_and(|(kind, of)| is_word(kind) && is_word(of))
}

/// Bytes in base64 that are known to be of a type.
pub(crate) fn base64(media_type: String, data: String, path: &str) -> Result<Source, ApiError> {
    if !is_base64(&data) {
        let fix = "is not valid base64: use the standard alphabet with `=` padding and without line breaks";
        return Err(wrong(path, "invalid_base64", fix));
    }
    Ok(Source::Base64 { media_type, data })
}

/// The part that bytes of this type are. None: what the type says fits no kind of part but a document.
pub(crate) fn by_type(media_type: &str, source: Source) -> Result<PartKind, Source> {
    match media_type.split('/').next() {
        Some("image") => Ok(PartKind::Image { source, detail: None }),
        Some("audio") => Ok(PartKind::Audio { source }),
        Some("video") => Ok(PartKind::Video { source }),
        _ => Err(source),
    }
}

/// The type of a file, by the end of its name.
pub(crate) fn type_of_file(name: &str) -> Option<&'static str> {
    let (_, end) = name.rsplit_once('.')?;
    Some(match end.to_ascii_lowercase().as_str() {
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "json" => "application/json",
        _ => return None,
    })
}

/// The media type of OpenAI's `input_audio.format`.
pub(crate) fn audio_type(format: &str) -> String {
    match format {
        "mp3" => "audio/mpeg".to_owned(),
        other => format!("audio/{other}"),
    }
}

/// OpenAI's `input_audio.format` of a media type.
pub(crate) fn audio_format(media_type: &str) -> Option<&str> {
    match media_type.strip_prefix("audio/")? {
        "mpeg" | "mp3" => Some("mp3"),
        "wav" | "x-wav" | "wave" => Some("wav"),
        other => Some(other),
    }
}

/// A source as `data:…` or as its address. None: it has neither.
pub(crate) fn address(source: &Source) -> Option<String> {
    match source {
        Source::Base64 { media_type, data } => Some(format!("data:{media_type};base64,{data}")),
        Source::Url(url) => Some(url.clone()),
        Source::File(_) | Source::Text(_) => None,
    }
}
