//! `multipart/form-data`, read strictly: what is not written as RFC 7578 wants it is refused.

use domain::ApiError;
use memchr::memmem;

use crate::endpoint::Received;

/// One field of a form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part<'b> {
    pub(crate) name: String,
    pub(crate) filename: Option<String>,
    pub(crate) data: &'b [u8],
}

/// A form.
#[derive(Debug)]
pub(crate) struct Form<'b>(Vec<Part<'b>>);

impl<'b> Form<'b> {
    /// Reads the body of a request.
    pub(crate) fn read(received: &'b Received<'_>) -> Result<Self, ApiError> {
        let kind = received.header("content-type").unwrap_or_default();
        let Some(rest) = kind.strip_prefix("multipart/form-data") else {
            let message =
                format!("the content type must be multipart/form-data with a boundary, not `{kind}`");
            return Err(ApiError::bad_request("content-type", "invalid_content_type", message));
        };
        let boundary = rest.split(';').find_map(|part| part.trim().strip_prefix("boundary="));
        let boundary =
            boundary.map(|boundary| boundary.trim_matches('"')).filter(|boundary| !boundary.is_empty());
        let boundary = boundary.ok_or_else(|| {
            ApiError::bad_request(
                "content-type",
                "invalid_content_type",
                "multipart/form-data has no boundary",
            )
        })?;
        let parts = parts(received.bytes, boundary).map_err(|why| {
            ApiError::new(400, "invalid_multipart", format!("could not read the form: {why}"))
        })?;
        Ok(Self(parts))
    }

    /// The text of a field; the empty text counts as none.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let part = self.0.iter().find(|part| part.name == name && part.filename.is_none())?;
        std::str::from_utf8(part.data).ok().filter(|text| !text.is_empty())
    }

    /// The files of a field.
    pub(crate) fn files(&self, name: &str) -> impl Iterator<Item = &Part<'b>> {
        self.0.iter().filter(move |part| part.name == name && part.filename.is_some())
    }

    /// The first field that is none of these.
    pub(crate) fn unknown(&self, known: &[&str]) -> Option<&str> {
        self.0.iter().map(|part| part.name.as_str()).find(|name| !known.contains(name))
    }
}

fn parts<'b>(body: &'b [u8], boundary: &str) -> Result<Vec<Part<'b>>, &'static str> {
    let opening = format!("--{boundary}");
    let between = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(opening.as_bytes()).ok_or("it does not begin with the boundary")?;
    let mut found = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(found);
        }
        rest = rest.strip_prefix(b"\r\n").ok_or("a boundary is not followed by a line's end")?;
        let end = memmem::find(rest, between.as_bytes()).ok_or("the last boundary is missing")?;
        let (part, after) = rest.split_at(end);
        found.push(self::part(part)?);
        rest = &after[between.len()..];
    }
}

fn part(bytes: &[u8]) -> Result<Part<'_>, &'static str> {
    let end = memmem::find(bytes, b"\r\n\r\n").ok_or("the headers of a part do not end")?;
    let headers = std::str::from_utf8(&bytes[..end]).map_err(|_| "the headers of a part are no text")?;
    let disposition = headers.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then_some(value.trim())
    });
    let disposition = disposition.ok_or("a part has no content-disposition")?;
    let fields = disposition.strip_prefix("form-data").ok_or("a part is no form-data")?;
    let field = |wanted: &str| {
        fields.split(';').find_map(|field| {
            let (name, value) = field.trim().split_once('=')?;
            (name == wanted).then(|| value.trim_matches('"').replace("%22", "\""))
        })
    };
    let name = field("name").ok_or("a part has no name")?;
    Ok(Part { name, filename: field("filename"), data: &bytes[end + 4..] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_files_are_told_apart() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nmock\r\n--b\r\n\
                     content-disposition: form-data; name=\"file\"; filename=\"a%22.wav\"\r\nContent-Type: audio/wav\
                     \r\n\r\n\x00\r\n\xff--b\r\n--b--\r\n";
        let found = parts(body, "b").expect("a form");
        assert_eq!(
            (found[0].name.as_str(), found[0].filename.as_deref(), found[0].data),
            ("model", None, &b"mock"[..])
        );
        assert_eq!(
            (found[1].name.as_str(), found[1].filename.as_deref(), found[1].data),
            ("file", Some("a\".wav"), &b"\x00\r\n\xff--b"[..])
        );
    }

    #[test]
    fn what_is_cut_or_nameless_is_refused() {
        for bad in [
            &b""[..],
            b"--b",
            b"--b\r\n",
            b"--c\r\n\r\n--c--",
            b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx",
            b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
            b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--",
            b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\nx\r\n--b--",
        ] {
            parts(bad, "b").expect_err("refused");
        }
    }
}
