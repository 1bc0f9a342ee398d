//! OpenAI's chat completions: as a dialect of callers, as a format of providers, and forwarded as they are where both
//! sides speak them.

pub mod completions;
mod dialect;
mod error;
mod format;
mod forward;
mod usage;

#[cfg(test)]
mod tests;

pub use dialect::{Writer, read_request, write_answer};
pub use error::{read_error, write_error};
pub use format::{Reader, read_answer, write_request};
pub use forward::{
    Observer, StreamEvent, error_code, error_event, observer, passes_on, read_event, request_body, told,
};
pub use usage::{Told, images, tier};
