//! OpenAI's chat completions: as a dialect of callers, as a format of providers, and forwarded as they are where both
//! sides speak them.

mod dialect;
mod error;
mod fields;
mod forward;
mod media;

#[cfg(test)]
mod tests;

pub use dialect::{Writer, read_request, write_answer};
pub use error::{read_error, write_error};
pub use forward::{
    StreamEvent, Told, error_code, error_event, passes_on, read_answer, read_event, request_body,
};
