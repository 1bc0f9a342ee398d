//! `countTokens`: how long a prompt is, without an answer.

use domain::ApiError;
use serde_json::{Map, Value, json};

use super::model;
use super::request::body;
use crate::chat::{Request, Target, Written};

/// What Vertex AI counts.
const VERTEX: [&str; 4] = ["contents", "systemInstruction", "tools", "generationConfig"];

/// Writes a request for AI Studio, which counts instructions and tools only inside of `generateContentRequest`.
pub fn write_count_request(request: Request, target: &Target<'_>) -> Result<Written, ApiError> {
    let model = model::path(&request.model);
    let (mut body, dropped) = body(request, target)?;
    body.insert("model".to_owned(), Value::from(model));
    let body = json!({"generateContentRequest": body}).to_string().into_bytes();
    Ok(Written { body, dropped })
}

/// Writes a request for Vertex AI, whose fields are at the top. What it does not count is left out.
pub fn write_vertex_count_request(request: Request, target: &Target<'_>) -> Result<Written, ApiError> {
    let (mut body, dropped) = body(request, target)?;
    body.retain(|name, _| VERTEX.contains(&name.as_str()));
    Ok(Written { body: Value::Object(body).to_string().into_bytes(), dropped })
}

/// Reads the count. The error says why there is none.
pub fn read_count(body: &[u8]) -> Result<u64, String> {
    let answer: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| "the answer is not a JSON object".to_owned())?;
    let count = answer.get("totalTokens").and_then(Value::as_u64);
    count.ok_or_else(|| "the answer has no `totalTokens`".to_owned())
}
