//! Answers, whole and in pieces: read from providers, written for callers.

mod reader;
mod whole;
mod writer;

pub use reader::Reader;
pub use whole::{read_answer, write_answer};
pub use writer::Writer;
