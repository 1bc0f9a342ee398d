//! Tests of the dialect.

mod requests;
