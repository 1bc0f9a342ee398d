//! Media types and Converse's words for them; names of documents.

use std::collections::BTreeSet;

/// The blocks that carry files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Document,
    Audio,
    Video,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Image, Self::Document, Self::Audio, Self::Video];

    /// The block's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Document => "document",
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// Media types, the block they go into and the format they are called there. Of several with one format, the first is
/// what we call it in answers.
const FORMATS: &[(&str, Kind, &str)] = &[
    ("image/png", Kind::Image, "png"),
    ("image/jpeg", Kind::Image, "jpeg"),
    ("image/jpg", Kind::Image, "jpeg"),
    ("image/gif", Kind::Image, "gif"),
    ("image/webp", Kind::Image, "webp"),
    ("application/pdf", Kind::Document, "pdf"),
    ("text/csv", Kind::Document, "csv"),
    ("application/msword", Kind::Document, "doc"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", Kind::Document, "docx"),
    ("application/vnd.ms-excel", Kind::Document, "xls"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", Kind::Document, "xlsx"),
    ("text/html", Kind::Document, "html"),
    ("text/markdown", Kind::Document, "md"),
    ("text/plain", Kind::Document, "txt"),
    ("application/json", Kind::Document, "txt"),
    ("application/xml", Kind::Document, "txt"),
    ("video/x-matroska", Kind::Video, "mkv"),
    ("video/quicktime", Kind::Video, "mov"),
    ("video/mp4", Kind::Video, "mp4"),
    ("video/webm", Kind::Video, "webm"),
    ("video/x-flv", Kind::Video, "flv"),
    ("video/mpeg", Kind::Video, "mpeg"),
    ("video/mpg", Kind::Video, "mpg"),
    ("video/x-ms-wmv", Kind::Video, "wmv"),
    ("video/wmv", Kind::Video, "wmv"),
    ("video/3gpp", Kind::Video, "three_gp"),
    ("audio/mpeg", Kind::Audio, "mp3"),
    ("audio/mp3", Kind::Audio, "mp3"),
    ("audio/opus", Kind::Audio, "opus"),
    ("audio/wav", Kind::Audio, "wav"),
    ("audio/x-wav", Kind::Audio, "wav"),
    ("audio/wave", Kind::Audio, "wav"),
    ("audio/vnd.wave", Kind::Audio, "wav"),
    ("audio/aac", Kind::Audio, "aac"),
    ("audio/x-aac", Kind::Audio, "x-aac"),
    ("audio/flac", Kind::Audio, "flac"),
    ("audio/x-flac", Kind::Audio, "flac"),
    ("audio/mp4", Kind::Audio, "mp4"),
    ("audio/ogg", Kind::Audio, "ogg"),
    ("audio/x-matroska", Kind::Audio, "mka"),
    ("audio/m4a", Kind::Audio, "m4a"),
    ("audio/x-m4a", Kind::Audio, "m4a"),
    ("audio/pcm", Kind::Audio, "pcm"),
    ("audio/pcm16", Kind::Audio, "pcm"),
    ("audio/webm", Kind::Audio, "webm"),
];

/// The block and the format of a media type.
pub(super) fn format(media_type: &str) -> Option<(Kind, &'static str)> {
    let bare = media_type.split(';').next().unwrap_or_default().trim();
    let known = FORMATS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(bare));
    let text = || bare.to_ascii_lowercase().starts_with("text/").then_some((Kind::Document, "txt"));
    known.map(|(_, kind, format)| (*kind, *format)).or_else(text)
}

/// The format that the end of an address names, for a block of that kind.
pub(super) fn format_of_address(kind: Kind, address: &str) -> Option<&'static str> {
    let (_, file) = address.rsplit_once('/')?;
    let (_, ending) = file.rsplit_once('.')?;
    let ending = ending.to_ascii_lowercase();
    let ending = match ending.as_str() {
        "jpg" => "jpeg",
        "htm" => "html",
        "3gp" => "three_gp",
        ending => ending,
    };
    FORMATS.iter().find(|(_, of, format)| *of == kind && *format == ending).map(|(.., format)| *format)
}

/// The media type of a format.
pub(super) fn media_type(kind: Kind, format: &str) -> Option<&'static str> {
    FORMATS.iter().find(|(_, of, known)| *of == kind && *known == format).map(|(media_type, ..)| *media_type)
}

/// Formats of a kind, for error texts.
pub(super) fn formats(kind: Kind) -> String {
    let of_kind: BTreeSet<&str> =
        FORMATS.iter().filter(|(_, of, _)| *of == kind).map(|(.., format)| *format).collect();
    of_kind.into_iter().collect::<Vec<_>>().join(", ")
}

/// Most characters of a document's name.
const LONGEST_NAME: usize = 200;

/// Names of documents as Converse takes them: letters, digits, single spaces, hyphens, parentheses and square brackets,
/// no two alike in one request.
#[derive(Debug, Default)]
pub(super) struct Names {
    given: BTreeSet<String>,
}

impl Names {
    /// A fit name that is close to the one wanted.
    pub(super) fn fit(&mut self, wanted: Option<&str>) -> String {
        let mut name = sanitised(wanted.unwrap_or_default());
        if name.is_empty() {
            "document".clone_into(&mut name);
        }
        let mut fit = name.clone();
        let mut number = 2_u64;
        while !self.given.insert(fit.clone()) {
            fit = format!("{name} {number}");
            number += 1;
        }
        fit
    }
}

fn sanitised(name: &str) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '(' | ')' | '[' | ']');
    let words = name.split(|c: char| !kept(c)).filter(|word| !word.is_empty());
    let mut name = words.collect::<Vec<_>>().join(" ");
    // Room for the number that tells it from others of its name.
    name.truncate(LONGEST_NAME - 21);
    name.truncate(name.trim_end().len());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_documents_are_fit_and_differ() {
        let mut names = Names::default();
        assert_eq!(names.fit(Some("Q3 report_final.v2.pdf")), "Q3 report final v2 pdf");
        assert_eq!(names.fit(Some("Q3  report final v2.pdf")), "Q3 report final v2 pdf 2");
        assert_eq!(names.fit(Some("{a} (1) [x]-y")), "a (1) [x]-y");
        assert_eq!(names.fit(Some("报告")), "document");
        assert_eq!(names.fit(None), "document 2");
        let long = "a ".repeat(300);
        assert!(names.fit(Some(&long)).len() <= LONGEST_NAME && names.fit(Some(&long)).len() <= LONGEST_NAME);
    }

    #[test]
    fn formats_are_found_by_media_type_and_by_address() {
        assert_eq!(format("IMAGE/JPG"), Some((Kind::Image, "jpeg")));
        assert_eq!(format("text/plain; charset=utf-8"), Some((Kind::Document, "txt")));
        assert_eq!(format("text/x-rust"), Some((Kind::Document, "txt")));
        assert_eq!(format("image/tiff"), None);
        assert_eq!(format_of_address(Kind::Image, "s3://bucket/a/b.JPG"), Some("jpeg"));
        assert_eq!(format_of_address(Kind::Video, "s3://bucket/b.3gp"), Some("three_gp"));
        assert_eq!(format_of_address(Kind::Video, "s3://bucket.v1/clip"), None);
        assert_eq!(media_type(Kind::Audio, "wav"), Some("audio/wav"));
        assert_eq!(formats(Kind::Image), "gif, jpeg, png, webp");
    }
}
