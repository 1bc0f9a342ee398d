//! Tests of the books, on both databases.
