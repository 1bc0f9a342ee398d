//! Errors: the dialect has the shape of OpenAI's other APIs.

use domain::ApiError;

pub use crate::openai::write_error;

/// An error of ours.
pub fn own_error(error: &ApiError) -> Vec<u8> {
    error.body()
}
