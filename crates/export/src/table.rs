//! A Parquet file, a group of lines at a time.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use domain::spend::Entry;
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

use crate::columns::{COLUMNS, Cell, Column};

/// Lines of a group: enough to be packed well, and few enough to be kept until it is full.
const GROUP: usize = 20_000;

/// Where the writer's bytes wait until they are fetched.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A file that is being written.
pub(crate) struct Table {
    writer: SerializedFileWriter<Sink>,
    sink: Sink,
    waiting: Vec<Entry>,
}

impl Table {
    pub(crate) fn new() -> Result<Self> {
        let fields = COLUMNS.iter().map(|column| format!("optional {};", field(column)));
        let text = format!("message attempt {{ {} }}", fields.collect::<Vec<_>>().join(" "));
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let sink = Sink::default();
        let schema = Arc::new(parse_message_type(&text)?);
        let writer = SerializedFileWriter::new(sink.clone(), schema, Arc::new(properties))?;
        Ok(Self { writer, sink, waiting: Vec::new() })
    }

    /// Adds lines; returns the bytes that are ready.
    pub(crate) fn add(&mut self, entries: Vec<Entry>) -> Result<Vec<u8>> {
        self.waiting.extend(entries);
        if self.waiting.len() >= GROUP {
            self.write_group()?;
        }
        Ok(self.sink.take())
    }

    /// The rest of the file.
    pub(crate) fn end(mut self) -> Result<Vec<u8>> {
        if !self.waiting.is_empty() {
            self.write_group()?;
        }
        self.writer.finish()?;
        Ok(self.sink.take())
    }

    fn write_group(&mut self) -> Result<()> {
        let entries = std::mem::take(&mut self.waiting);
        let mut group = self.writer.next_row_group()?;
        for column in COLUMNS {
            let Some(mut writer) = group.next_column()? else { break };
            write(&mut writer, column, &entries)?;
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }
}

/// A column as Parquet's schemas say it.
fn field(column: &Column) -> String {
    let name = column.name;
    match (column.cell)(&Entry::default()) {
        Cell::Text(_) => format!("binary {name} (STRING)"),
        Cell::Count(_) => format!("int64 {name}"),
        Cell::Money(_) => format!("int64 {name} (DECIMAL(18,9))"),
        Cell::Time(_) => format!("int64 {name} (TIMESTAMP(MILLIS,true))"),
        Cell::Flag(_) => format!("boolean {name}"),
    }
}

/// What is not there has the level 0 and no value.
fn write(writer: &mut SerializedColumnWriter<'_>, column: &Column, entries: &[Entry]) -> Result<()> {
    let cells = || entries.iter().map(column.cell);
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut levels = Vec::with_capacity(entries.len());
    let mut there = |is: bool| levels.push(i16::from(is));
    match (column.cell)(&Entry::default()) {
        Cell::Text(_) => {
            let mut values = Vec::with_capacity(entries.len());
            for cell in cells() {
                let text = if let Cell::Text(text) = cell { text } else { None };
                there(text.is_some());
                values.extend(text.map(|text| ByteArray::from(text.as_bytes().to_vec())));
            }
            writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
        }
        Cell::Flag(_) => {
            let mut values = Vec::with_capacity(entries.len());
            for cell in cells() {
                there(true);
                values.push(cell == Cell::Flag(true));
            }
            writer.typed::<BoolType>().write_batch(&values, Some(&levels), None)?;
        }
        Cell::Count(_) | Cell::Money(_) | Cell::Time(_) => {
            let mut values = Vec::with_capacity(entries.len());
            for cell in cells() {
                let value = match cell {
                    Cell::Count(count) => count,
                    Cell::Money(cost) => cost.map(|cost| cost.0),
                    Cell::Time(at) => Some(at.0),
                    Cell::Text(_) | Cell::Flag(_) => None,
                };
                there(value.is_some());
                values.extend(value.map(number));
            }
            writer.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
        }
    }
    Ok(())
}
