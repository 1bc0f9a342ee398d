//! Forms with files (`multipart/form-data`, RFC 7578), taken apart without a copy and put together again.

use std::ops::Range;

use memchr::memmem;

/// Most fields of a form.
const MOST_FIELDS: usize = 256;

/// A form that is wholly in memory.
#[derive(Debug)]
pub struct Form<'b> {
    body: &'b [u8],
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    name: String,
    is_file: bool,
    /// From the boundary before it up to the next one.
    whole: Range<usize>,
    content: Range<usize>,
}

/// Why a body is no form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoForm {
    /// The media type is another.
    #[error("the media type is `{0}`; send `multipart/form-data; boundary=…`")]
    MediaType(String),
    /// Nothing separates the fields.
    #[error("the media type names no `boundary`")]
    NoBoundary,
    /// It ends in the middle.
    #[error("it does not end with its boundary")]
    Unfinished,
    /// A field has no name.
    #[error("field {0} has no name")]
    Unnamed(usize),
    /// It has too many fields.
    #[error("it has more than {MOST_FIELDS} fields")]
    TooMany,
}

impl<'b> Form<'b> {
    /// Takes a body apart.
    pub fn parse(content_type: &str, body: &'b [u8]) -> Result<Self, NoForm> {
        let boundary = boundary(content_type)?;
        let delimiter = format!("--{boundary}");
        let delimiter = delimiter.as_bytes();
        // What stands before the first boundary means nothing (RFC 2046, 5.1.1).
        let mut at = find(body, 0, delimiter)?;
        let mut fields = Vec::new();
        loop {
            let begin = at;
            let after = at + delimiter.len();
            if body[after..].starts_with(b"--") {
                return Ok(Self { body, fields });
            }
            if fields.len() == MOST_FIELDS {
                return Err(NoForm::TooMany);
            }
            let line = memmem::find(&body[after..], b"\r\n").ok_or(NoForm::Unfinished)? + after + 2;
            let line_delimiter = [b"\r\n", delimiter].concat();
            // A field may be empty: then its own line break is that of the boundary.
            let end = find(body, line.saturating_sub(2), &line_delimiter)?;
            fields.push(field(body, begin..end + 2, line, end, fields.len())?);
            at = end + 2;
        }
    }

    /// The value of a field that is no file. None: there is none, or it is no text.
    pub fn text(&self, name: &str) -> Option<&'b str> {
        let field = self.fields.iter().find(|field| field.name == name && !field.is_file)?;
        std::str::from_utf8(&self.body[field.content.clone()]).ok()
    }

    /// Whether there is a file of that name, or several (`name[]`).
    pub fn has_file(&self, name: &str) -> bool {
        let fits = |field: &Field| field.name.strip_suffix("[]").unwrap_or(&field.name) == name;
        self.fields.iter().any(|field| field.is_file && fits(field))
    }

    /// Names of the fields, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name.as_str())
    }

    /// The form with these texts instead of the fields of their names, or added; None takes a field out. All other
    /// fields keep their bytes.
    pub fn with(&self, changes: &[(&str, Option<String>)]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 256);
        let Some(first) = self.fields.first() else { return self.body.to_vec() };
        let delimiter_line = &self.body[first.whole.start..first.content.start];
        let end = memmem::find(delimiter_line, b"\r\n").map_or(0, |at| at + 2);
        let delimiter = &delimiter_line[..end];
        out.extend_from_slice(&self.body[..first.whole.start]);
        let changed = |name: &str| changes.iter().find(|(changed, _)| *changed == name);
        for field in &self.fields {
            if changed(&field.name).is_none() {
                out.extend_from_slice(&self.body[field.whole.clone()]);
            }
        }
        for (name, value) in changes {
            let Some(value) = value else { continue };
            out.extend_from_slice(delimiter);
            let head = format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(&self.body[self.fields.last().map_or(0, |field| field.whole.end)..]);
        out
    }
}

fn field(body: &[u8], whole: Range<usize>, head: usize, end: usize, number: usize) -> Result<Field, NoForm> {
    let unnamed = NoForm::Unnamed(number + 1);
    let part = body.get(head..end).ok_or(unnamed.clone())?;
    let blank = memmem::find(part, b"\r\n\r\n").ok_or(unnamed.clone())?;
    let headers = String::from_utf8_lossy(&part[..blank]);
    let disposition = headers
        .split("\r\n")
        .find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))
        .ok_or(unnamed.clone())?;
    let name = parameter(disposition, "name").ok_or(unnamed)?;
    let is_file =
        parameter(disposition, "filename").or_else(|| parameter(disposition, "filename*")).is_some();
    Ok(Field { name, is_file, whole, content: head + blank + 4..end })
}

fn find(body: &[u8], from: usize, what: &[u8]) -> Result<usize, NoForm> {
    let rest = body.get(from..).unwrap_or_default();
    memmem::find(rest, what).map(|at| from + at).ok_or(NoForm::Unfinished)
}

/// Whether a media type is that of a form.
pub fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("multipart/form-data")
}

fn boundary(content_type: &str) -> Result<String, NoForm> {
    if !is_form(content_type) {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        return Err(NoForm::MediaType(essence.chars().take(60).collect()));
    }
    // RFC 2046 allows 70 characters.
    parameter(content_type, "boundary")
        .filter(|text| (1..=70).contains(&text.len()))
        .ok_or(NoForm::NoBoundary)
}

/// A parameter of a header's value, without its quotes.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (text, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted_text(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(text);
        }
        rest = next.split_once(';')?.1;
    }
}

fn quoted_text(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            // Browsers send backslashes in file names as they are; only these two are escapes.
            '\\' if text[at + 1..].starts_with(['"', '\\']) => out.extend(chars.next().map(|(_, c)| c)),
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "multipart/form-data; charset=utf-8; boundary=\"b 1\"";
    const BODY: &[u8] = b"preamble\r\n--b 1\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b 1\r\n\
        content-type: audio/wav\r\ncontent-disposition: form-data; filename=\"a;\\\".wav\"; name=file\r\n\r\n\x00\r\n--b 2\xff\r\n--b 1\r\n\
        Content-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--b 1--\r\nepilogue";

    #[test]
    fn fields_and_files_are_found() {
        let form = Form::parse(TYPE, BODY).unwrap();
        assert_eq!(form.names().collect::<Vec<_>>(), ["model", "file", "empty"]);
        assert_eq!(form.text("model"), Some("whisper-1"));
        assert_eq!(form.text("empty"), Some(""));
        assert_eq!(form.text("file"), None, "it is a file");
        assert!(form.has_file("file") && !form.has_file("model"));
        let file = form.fields.iter().find(|field| field.is_file).unwrap();
        assert_eq!(&BODY[file.content.clone()], b"\x00\r\n--b 2\xff");
    }

    #[test]
    fn changed_fields_come_last_and_the_others_keep_their_bytes() {
        let form = Form::parse(TYPE, BODY).unwrap();
        let out = form.with(&[("model", Some("m-2".to_owned())), ("empty", None)]);
        let changed = Form::parse(TYPE, &out).unwrap();
        assert_eq!(changed.names().collect::<Vec<_>>(), ["file", "model"]);
        assert_eq!(changed.text("model"), Some("m-2"));
        assert!(memmem::find(&out, b"\x00\r\n--b 2\xff\r\n").is_some());
        assert_eq!(form.with(&[]), BODY);
    }

    #[test]
    fn what_is_no_form_says_why() {
        let err = |content_type: &str, body: &[u8]| Form::parse(content_type, body).unwrap_err();
        assert_eq!(err("application/json", b"{}"), NoForm::MediaType("application/json".to_owned()));
        assert_eq!(err("multipart/form-data", b"--x--"), NoForm::NoBoundary);
        assert_eq!(err("multipart/form-data; boundary=x", b"--x\r\n"), NoForm::Unfinished);
        let nameless = b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--";
        assert_eq!(err("multipart/form-data; boundary=x", nameless), NoForm::Unnamed(1));
        assert_eq!(err("multipart/form-data; boundary=x", b"--x\r\n\r\n--x--"), NoForm::Unnamed(1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_form_or_not(body in proptest::collection::vec(prop_oneof![Just(b'-'), Just(b'x'), Just(b'\r'), Just(b'\n'), Just(b'"'), any::<u8>()], 0..200)) {
            if let Ok(form) = Form::parse("multipart/form-data; boundary=x", &body) {
                prop_assert_eq!(form.with(&[]), body);
            }
        }
    }
}
