//! Embeddings in OpenAI's dialect.
//!
//! Source: <https://platform.openai.com/docs/api-reference/embeddings>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::{ApiError, Usage};
use serde::Serialize;
use serde_json::Value;

use super::{Answer, Input, Request};
use crate::chat::About;
use crate::fields::{Fields, unknown_word, wrong};
use crate::lookup::take_text;

/// Names under which callers say what the vectors are for: Cohere's and Voyage's, Gemini's and Nomic's, Jina's.
const PURPOSE: [&str; 3] = ["input_type", "task_type", "task"];

/// Reads a request.
///
/// Errors: a body that is no JSON object, a missing or empty `input`, inputs of mixed kinds, an unknown
/// `encoding_format`, a value of a wrong type.
pub fn read_request(body: &[u8]) -> Result<Request, ApiError> {
    let mut fields = Fields::of_body(body)?;
    let model = fields.required("model", "write its name, as in `\"model\": \"text-embedding-3-small\"`")?;
    let input = fields.take("input").ok_or_else(|| fields.missing("input", TEXTS))?;
    let input = inputs(input)?;
    let base64 = match fields.string("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => return Err(unknown_word("encoding_format", other, "`float` or `base64`")),
    };
    let dimensions = fields.whole("dimensions", 1)?;
    let user = fields.string("user")?;
    let mut unknown = fields.into_map();
    unknown.retain(|_, value| !value.is_null());
    let purpose = take_text(&mut unknown, &PURPOSE);
    Ok(Request { model, input, dimensions, base64, user, purpose, unknown })
}

const TEXTS: &str = "write a text or a list of texts";

fn invalid(path: &str, instead: &str) -> ApiError {
    wrong(path, "invalid_value", format_args!("is empty or of a wrong type: {instead}"))
}

/// A text, texts, tokens, or lists of tokens.
fn inputs(input: Value) -> Result<Vec<Input>, ApiError> {
    let list = match input {
        Value::String(text) => vec![Value::String(text)],
        Value::Array(list) if list.first().is_some_and(Value::is_number) => vec![Value::Array(list)],
        Value::Array(list) if !list.is_empty() => list,
        _ => return Err(invalid("input", TEXTS)),
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
