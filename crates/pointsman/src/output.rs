//! What commands print: for people with colour, for scripts as JSON.

use std::fmt::Display;
use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// Where a command's result goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints a line for people; nothing with `--json`.
    pub(crate) fn line(self, text: impl Display) {
        if !self.json {
            // A closed pipe is the reader's choice, not an error.
            let _ = writeln!(anstream::stdout(), "{text}");
        }
    }

    /// Prints a line to standard error, whatever the result looks like.
    pub(crate) fn warn(self, text: impl Display) {
        let _ = writeln!(anstream::stderr(), "{} {text}", styled(WARN, "warning:"));
    }

    /// Prints a piece of text as it is, at once.
    pub(crate) fn piece(self, text: &str) {
        let mut out = anstream::stdout();
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }

    /// Prints a value with `--json`; nothing for people.
    pub(crate) fn value(self, value: &impl Serialize) {
        if self.json {
            self.always(value);
        }
    }

    /// Prints a value as one line of JSON.
    pub(crate) fn always(self, value: &impl Serialize) {
        let text = serde_json::to_string(value).unwrap_or_default();
        let _ = writeln!(anstream::stdout(), "{text}");
    }
}

/// Text in a style.
pub(crate) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Columns, aligned; the first row is the heading.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = rows.iter().map(line);
    let heading = lines.next().map(|l| styled(BOLD, l)).unwrap_or_default();
    std::iter::once(heading).chain(lines).collect::<Vec<_>>().join("\n")
}

/// Milliseconds as people say them.
pub(crate) fn ago(ms: u64) -> String {
    match ms {
        0..=999 => format!("{ms} ms"),
        1000..=119_999 => format!("{:.1} s", ms as f64 / 1000.0),
        120_000..=7_199_999 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}
