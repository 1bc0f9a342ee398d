//! Images, documents and sound in requests: whether they are what they say, and a word for what was seen.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Images that every provider takes.
pub(crate) const IMAGES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Reads base64 and looks whether the bytes are of the type they are said to be. Answers a word for it, as
/// `[image/png,68B]`; or why not.
pub(crate) fn inline(media_type: &str, data: &str) -> Result<String, String> {
    let bytes = STANDARD.decode(data).map_err(|err| format!("invalid base64 data: {err}"))?;
    if bytes.is_empty() {
        return Err("the data is empty".to_owned());
    }
    match sniff(&bytes) {
        Some(found) if found != media_type => {
            Err(format!("the data was said to be {media_type}, but appears to be {found}"))
        }
        None if IMAGES.contains(&media_type) || media_type == "application/pdf" => {
            Err(format!("could not process the data: it is no {media_type}"))
        }
        _ => Ok(format!("[{media_type},{}B]", bytes.len())),
    }
}

/// Reads `data:image/png;base64,…`; other addresses must be of the web. Answers as [`inline`].
pub(crate) fn address(kind: &str, url: &str, types: &[&str]) -> Result<String, String> {
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(format!("[{kind},{url}]"));
    }
    let Some((head, data)) = url.strip_prefix("data:").and_then(|rest| rest.split_once(',')) else {
        return Err("expected a base64 data URL, or a URL with https".to_owned());
    };
    let media_type = head.strip_suffix(";base64").ok_or("a data URL must be base64")?;
    if !types.contains(&media_type) {
        return Err(format!("unsupported type `{media_type}`: use one of {}", types.join(", ")));
    }
    inline(media_type, data)
}

/// What bytes are by their first ones; only for types that can be told.
fn sniff(bytes: &[u8]) -> Option<&'static str> {
    let starts: &[(&[u8], &str)] = &[
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"%PDF-", "application/pdf"),
    ];
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some("image/webp");
    }
    starts.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=";

    #[test]
    fn data_must_be_what_it_says() {
        assert_eq!(inline("image/png", PNG).as_deref(), Ok("[image/png,68B]"));
        assert_eq!(inline("application/pdf", "JVBERi0xLjQ=").as_deref(), Ok("[application/pdf,8B]"));
        assert_eq!(inline("audio/wav", "AAAA").as_deref(), Ok("[audio/wav,3B]"));
        for (media_type, data) in
            [("image/jpeg", PNG), ("image/png", "aGVsbG8="), ("image/png", "%%"), ("audio/wav", "")]
        {
            inline(media_type, data).expect_err(media_type);
        }
    }

    #[test]
    fn addresses_are_of_the_web_or_carry_the_data() {
        let url = format!("data:image/png;base64,{PNG}");
        assert_eq!(address("image", &url, IMAGES).as_deref(), Ok("[image/png,68B]"));
        assert_eq!(address("image", "https://a/b.png", IMAGES).as_deref(), Ok("[image,https://a/b.png]"));
        for bad in ["file:///etc/passwd", "data:image/png,abc", "data:image/bmp;base64,Qk0=", "x"] {
            address("image", bad, IMAGES).expect_err(bad);
        }
    }
}
