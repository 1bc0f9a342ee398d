//! Embeddings in Ollama's format.

use domain::ApiError;

use crate::chat::{Target, Written};
use crate::embeddings::{Answer, Request, Shape, shape};

fn format() -> &'static Shape {
    shape("ollama").expect("the table is checked by a test")
}

/// Writes a request. For its errors see [`Shape::write_request`].
pub fn write_request(request: Request, target: &Target<'_>) -> Result<Written, ApiError> {
    format().write_request(request, target)
}

/// Reads an answer. The error says why it is none.
pub fn read_answer(body: &[u8]) -> Result<Answer, String> {
    format().read_answer(body)
}
