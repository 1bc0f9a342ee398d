//! OpenAI's Responses dialect, for callers; providers that speak it get their callers' bytes as they are.

mod answer;
mod content;
mod echo;
mod error;
mod fields;
mod input;
mod item;
mod object;
mod observe;
mod output;
mod raw;
mod request;
mod seal;
mod sink;
mod stream;
mod tools;
mod turns;

#[cfg(test)]
mod tests;

pub use answer::write_answer;
pub use error::{own_error, write_error};
pub use object::{Stage, request_id, response_id, write_stage};
pub use observe::{Observer, observer, told};
pub use request::{previous_not_found, read_request};
pub use stream::Writer;
pub use turns::{
    Page, Turn, continued, has_output, input_items, object_of, to_send, with_id, without_foreign_items,
};
