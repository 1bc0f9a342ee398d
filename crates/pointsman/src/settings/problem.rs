//! What is wrong with settings: where, what, and what to write instead.

use std::fmt;

/// All that is wrong with the settings; prints one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsErrors(Vec<SettingsError>);

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// Where it was written.
    pub place: Place,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// Where a setting was written. In order of printing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a file; line and column count from 1.
    File {
        /// The line.
        line: usize,
        /// The character in the line.
        column: usize,
        /// The file's name.
        name: String,
    },
    /// In an environment variable, a flag, or a file that cannot be read.
    Other(String),
}

impl SettingsErrors {
    pub(super) fn one(error: SettingsError) -> Self {
        Self(vec![error])
    }

    /// None if nothing is wrong.
    pub(super) fn new(mut errors: Vec<SettingsError>) -> Option<Self> {
        errors.sort_by(|a, b| a.place.cmp(&b.place));
        errors.dedup();
        (!errors.is_empty()).then_some(Self(errors))
    }

    /// Each of them, in the order of the file, then environment and flags.
    pub fn iter(&self) -> impl Iterator<Item = &SettingsError> {
        self.0.iter()
    }
}

impl std::error::Error for SettingsErrors {}

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{}: {}", error.place, error.message)?;
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// The library's complaint about the value at `path`.
pub(super) enum Complaint<'a> {
    /// No such key is known, but these are.
    Unknown { key: &'a str, known: Vec<&'a str> },
    /// The key is known, the value does not fit.
    Misfit(String),
}

impl<'a> Complaint<'a> {
    /// Takes the library's message apart: serde has no other way to learn which keys would have been right.
    pub(super) fn read(message: &'a str) -> Self {
        match after_name(message, "unknown field `") {
            Some((key, known)) => Self::Unknown { key, known },
            None => Self::Misfit(misfit(message)),
        }
    }
}

/// Splits "<prefix><name>`, expected one of `a`, `b`".
fn after_name<'a>(message: &'a str, prefix: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let (name, expected) = message.strip_prefix(prefix)?.rsplit_once("`, expected ")?;
    Some((name, expected.split('`').skip(1).step_by(2).collect()))
}

fn misfit(message: &str) -> String {
    if let Some((value, known)) = after_name(message, "unknown variant `") {
        return format!("unknown value `{value}`; {}", suggestion(value, &known));
    }
    let found = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    match found.and_then(|rest| rest.split_once(", expected ")) {
        Some((found, expected)) => format!("expected {}, found {found}", in_plain_words(expected)),
        None => message.trim().replace('\n', "; "),
    }
}

fn in_plain_words(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "usize" | "u64" => "a whole number that is not negative",
        "i64" => "a whole number",
        "a boolean" => "`true` or `false`",
        "a string" => "text in quotes",
        "path string" => "a path in quotes",
        "a sequence" => "a list, as in `[\"one\", \"two\"]`",
        "a map" => "a table",
        other => other,
    }
}

/// "did you mean `this`?", or all there is to choose from.
pub(super) fn suggestion(word: &str, known: &[&str]) -> String {
    let likeness = |candidate: &str| strsim::jaro_winkler(&word.to_ascii_lowercase(), candidate);
    let best = known.iter().map(|known| (likeness(known), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((likeness, best)) if likeness > 0.82 => format!("did you mean `{best}`?"),
        _ => format!("known here: {}", known.join(", ")),
    }
}
