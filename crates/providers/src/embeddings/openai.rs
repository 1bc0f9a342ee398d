//! Embeddings in OpenAI's dialect.
//!
//! Source: <https://platform.openai.com/docs/api-reference/embeddings>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::{ApiError, Usage};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Answer, Input, Request};
use crate::chat::About;
use crate::lookup::take_text;

/// Names under which callers say what the vectors are for: Cohere's and Voyage's, Gemini's and Nomic's, Jina's.
const PURPOSE: [&str; 3] = ["input_type", "task_type", "task"];

/// Reads a request.
///
/// Errors: a body that is no JSON object, a missing or empty `input`, inputs of mixed kinds, an unknown
/// `encoding_format`, a value of a wrong type.
pub fn read_request(body: &[u8]) -> Result<Request, ApiError> {
    let mut fields: Map<String, Value> = serde_json::from_slice(body).map_err(|err| {
        let message = format!("the body is not a JSON object: line {}, column {}", err.line(), err.column());
        ApiError::new(400, "invalid_json", message)
    })?;
    fields.retain(|_, value| !value.is_null());
    let Some(Value::String(model)) = fields.remove("model") else {
        return Err(invalid(
            "model",
            "write the model's name, as in `\"model\": \"text-embedding-3-small\"`",
        ));
    };
    let input = match fields.remove("input") {
        Some(input) => inputs(input)?,
        None => return Err(invalid("input", "write a text or a list of texts")),
    };
    let base64 = match fields.remove("encoding_format") {
        None => false,
        Some(Value::String(word)) if word == "float" => false,
        Some(Value::String(word)) if word == "base64" => true,
        Some(_) => return Err(invalid("encoding_format", "write `float` or `base64`")),
    };
    let dimensions = match fields.remove("dimensions") {
        None => None,
        Some(value) => match value.as_u64().filter(|n| *n > 0) {
            Some(n) => Some(n),
            None => return Err(invalid("dimensions", "write a whole number from 1")),
        },
    };
    let user = match fields.remove("user") {
        None => None,
        Some(Value::String(user)) => Some(user),
        Some(_) => return Err(invalid("user", "write a text")),
    };
    let purpose = take_text(&mut fields, &PURPOSE);
    Ok(Request { model, input, dimensions, base64, user, purpose, unknown: fields })
}

fn invalid(path: &str, instead: &str) -> ApiError {
    ApiError::bad_request(
        path,
        "invalid_value",
        format!("`{path}` is missing, empty or of a wrong type; {instead}"),
    )
}

/// A text, texts, tokens, or lists of tokens.
fn inputs(input: Value) -> Result<Vec<Input>, ApiError> {
    let list = match input {
        Value::String(text) => vec![Value::String(text)],
        Value::Array(list) if list.first().is_some_and(Value::is_number) => vec![Value::Array(list)],
        Value::Array(list) if !list.is_empty() => list,
        _ => return Err(invalid("input", "write a text or a list of texts")),
    };
    list.into_iter().enumerate().map(one_input).collect()
}

fn one_input((i, input): (usize, Value)) -> Result<Input, ApiError> {
    match input {
        Value::String(text) if !text.is_empty() => Ok(Input::Text(text)),
        Value::Array(tokens) if !tokens.is_empty() => {
            let tokens: Option<Vec<u64>> = tokens.iter().map(Value::as_u64).collect();
            tokens.map(Input::Tokens).ok_or_else(|| {
                invalid(&format!("input[{i}]"), "write a text, or a list of whole numbers if it is tokens")
            })
        }
        _ => Err(invalid(&format!("input[{i}]"), "write a text that is not empty")),
    }
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Embedding<'a>>,
    model: &'a str,
    usage: Tokens,
    provider: &'a str,
}

#[derive(Serialize)]
struct Embedding<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector<'a> {
    Floats(&'a [f32]),
    Base64(String),
}

#[derive(Serialize)]
struct Tokens {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// Writes the answer. `base64`: the request wanted little-endian 32-bit floats in base64.
pub fn write_answer(answer: &Answer, base64: bool, about: &About<'_>) -> Vec<u8> {
    let vector = |vector: &'_ Vec<f32>| -> String {
        let bytes: Vec<u8> = vector.iter().flat_map(|n| n.to_le_bytes()).collect();
        STANDARD.encode(bytes)
    };
    let data = answer.vectors.iter().enumerate().map(|(index, floats)| Embedding {
        object: "embedding",
        index,
        embedding: if base64 { Vector::Base64(vector(floats)) } else { Vector::Floats(floats) },
    });
    let usage = answer.usage.unwrap_or_default();
    let list = List {
        object: "list",
        data: data.collect(),
        model: answer.model.as_deref().unwrap_or(about.model),
        usage: tokens(&usage),
        provider: about.provider,
    };
    serde_json::to_vec(&list).expect("names are text and numbers are numbers")
}

fn tokens(usage: &Usage) -> Tokens {
    Tokens { prompt_tokens: usage.input, total_tokens: usage.total() }
}
