//! Gives made-up bytes to the decoder that the program is named after.
#![no_main]

#[path = "../../tests/decoders/mod.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoders::run(env!("CARGO_BIN_NAME"), bytes));
