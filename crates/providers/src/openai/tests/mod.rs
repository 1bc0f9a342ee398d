//! Tests of the dialect and of the format.

mod answers;
mod completions;
mod laws;
mod requests;
mod streams;
mod written;
