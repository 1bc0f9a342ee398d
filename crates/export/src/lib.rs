//! Lines of the ledger as CSV, JSON lines or Parquet, page by page. No I/O: bytes come back, and somebody sends them.

mod columns;
mod table;

use std::fmt;
use std::str::FromStr;

use domain::spend::{EntriesQuery, Entry};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::columns::{COLUMNS, Cell, Column};
use self::table::Table;

/// The header of an answer of the admin API that carries an [`Order`] instead of the export itself, which no message
/// can hold: whoever brings the answer to the caller carries it out.
pub const HEADER: &str = "pointsman-export";

/// What is exported, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The form.
    pub format: Format,
    /// Which lines, from the beginning.
    pub query: EntriesQuery,
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values as RFC 4180 has them, with a heading.
    Csv,
    /// One JSON object per line.
    Jsonl,
    /// Apache Parquet, compressed with Snappy.
    Parquet,
}

/// A form that does not exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no format of exports; use csv, jsonl or parquet")]
pub struct UnknownFormat(pub String);

/// Lines that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// As CSV.
    #[error("could not write CSV: {0}")]
    Csv(#[from] csv::Error),
    /// As Parquet.
    #[error("could not write Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text.to_ascii_lowercase().as_str() {
            "csv" => Ok(Self::Csv),
            "jsonl" | "ndjson" => Ok(Self::Jsonl),
            "parquet" => Ok(Self::Parquet),
            _ => Err(UnknownFormat(text.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        })
    }
}

impl Format {
    /// The media type of a file.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Jsonl => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// Writes one file. What it keeps does not grow with the number of lines, but for Parquet's directory of groups.
pub struct Encoder {
    kind: Kind,
}

enum Kind {
    /// Whether the heading was written.
    Csv(bool),
    Jsonl,
    Parquet(Box<Table>),
}

impl Encoder {
    /// Begins a file.
    pub fn new(format: Format) -> Result<Self, ExportError> {
        let kind = match format {
            Format::Csv => Kind::Csv(false),
            Format::Jsonl => Kind::Jsonl,
            Format::Parquet => Kind::Parquet(Box::new(Table::new()?)),
        };
        Ok(Self { kind })
    }

    /// The bytes that a page of lines adds; there may be none yet.
    pub fn page(&mut self, entries: Vec<Entry>) -> Result<Vec<u8>, ExportError> {
        match &mut self.kind {
            Kind::Csv(headed) => csv(&entries, !std::mem::replace(headed, true)),
            Kind::Jsonl => {
                Ok(entries.iter().flat_map(|entry| (line(entry).to_string() + "\n").into_bytes()).collect())
            }
            Kind::Parquet(table) => Ok(table.add(entries)?),
        }
    }

    /// The bytes that end the file.
    pub fn end(self) -> Result<Vec<u8>, ExportError> {
        match self.kind {
            Kind::Csv(false) => csv(&[], true),
            Kind::Csv(true) | Kind::Jsonl => Ok(Vec::new()),
            Kind::Parquet(table) => Ok(table.end()?),
        }
    }
}

fn csv(entries: &[Entry], heading: bool) -> Result<Vec<u8>, ExportError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if heading {
        writer.write_record(COLUMNS.iter().map(|column| column.name))?;
    }
    for entry in entries {
        writer.write_record(COLUMNS.iter().map(|column| (column.cell)(entry).text()))?;
    }
    writer.into_inner().map_err(|err| ExportError::Csv(err.into_error().into()))
}

fn line(entry: &Entry) -> Value {
    let fields = COLUMNS.iter().map(|column| (column.name.to_owned(), (column.cell)(entry).json()));
    Value::Object(fields.collect::<Map<String, Value>>())
}

impl Cell<'_> {
    /// As text; what is not there is empty.
    fn text(&self) -> String {
        match self.json() {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Count(count) => json!(count),
            Self::Money(cost) => json!(cost.map(|cost| cost.dollars())),
            Self::Time(at) => json!(columns::moment(*at)),
            Self::Flag(flag) => json!(flag),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::model::NanoUsd;
    use domain::{Timestamp, Usage};
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::RowAccessor as _;

    use super::*;

    fn entry(n: u64) -> Entry {
        Entry {
            id: format!("a,\"{n}\""),
            at: Timestamp(1_795_297_512_345),
            workspace: "acme".to_owned(),
            model: n.is_multiple_of(2).then(|| "gpt-4o".to_owned()),
            usage: Some(Usage { input: n, ..Usage::default() }),
            cost: (n > 0).then_some(NanoUsd(1_234_567_890)),
            ..Entry::default()
        }
    }

    fn export(format: Format, pages: u64, size: u64) -> Vec<u8> {
        let mut encoder = Encoder::new(format).unwrap();
        let mut bytes = Vec::new();
        for page in 0..pages {
            bytes.extend(encoder.page((page * size..(page + 1) * size).map(entry).collect()).unwrap());
        }
        bytes.extend(encoder.end().unwrap());
        bytes
    }

    #[test]
    fn csv_is_read_back() {
        let bytes = export(Format::Csv, 2, 3);
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let names = reader.headers().unwrap().clone();
        assert_eq!(names.iter().collect::<Vec<_>>(), COLUMNS.iter().map(|c| c.name).collect::<Vec<_>>());
        let place = |name: &str| names.iter().position(|known| known == name).unwrap();
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 6);
        assert_eq!((&rows[5][place("attempt_id")], &rows[5][place("input_tokens")]), ("a,\"5\"", "5"));
        assert_eq!((&rows[5][place("cost_usd")], &rows[0][place("cost_usd")]), ("1.23456789", ""));
        assert_eq!(&rows[0][place("ended_at")], "2026-11-21T21:45:12.345Z");
        assert_eq!(export(Format::Csv, 0, 0), csv(&[], true).unwrap(), "without lines there is the heading");
    }

    #[test]
    fn json_lines_are_objects() {
        let text = String::from_utf8(export(Format::Jsonl, 1, 2)).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[1]["cost_usd"]), (2, &json!("1.23456789")));
        assert_eq!((&lines[0]["cost_usd"], &lines[0]["estimated"]), (&Value::Null, &json!(false)));
    }

    #[test]
    fn parquet_is_read_back() {
        for (pages, size) in [(0, 0), (1, 3), (25, 1000)] {
            let bytes = export(Format::Parquet, pages, size);
            let file = tempfile(&bytes);
            let reader = SerializedFileReader::new(file).unwrap();
            let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
            assert_eq!(rows.len() as u64, pages * size);
            let place = |name: &str| COLUMNS.iter().position(|column| column.name == name).unwrap();
            for (n, row) in (0..).zip(&rows) {
                assert_eq!(row.get_string(place("attempt_id")).unwrap(), &format!("a,\"{n}\""));
                assert_eq!(row.get_long(place("input_tokens")).unwrap(), n);
                assert_eq!(row.get_string(place("model")).is_ok(), n % 2 == 0);
                assert_eq!(row.get_decimal(place("cost_usd")).is_ok(), n > 0);
                assert_eq!(row.get_timestamp_millis(place("ended_at")).unwrap(), 1_795_297_512_345);
            }
        }
    }

    fn tempfile(bytes: &[u8]) -> std::fs::File {
        use std::io::{Seek as _, Write as _};
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }
}
