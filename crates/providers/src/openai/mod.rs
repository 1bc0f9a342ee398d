//! OpenAI's dialect.

mod forward;

pub use forward::{
    StreamEvent, Told, error_code, error_event, passes_on, read_answer, read_event, request_body,
};
