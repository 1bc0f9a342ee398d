//! What AWS adds to HTTP: signatures of requests, and streams framed in binary. Pure: time is an argument.

mod event_stream;
mod sign;
#[cfg(test)]
mod tests;

pub use event_stream::{Decoder, Frame, encode};
pub use sign::{Credentials, path_segment, sign};
