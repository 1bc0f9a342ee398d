//! Vectors: AI Studio's `batchEmbedContents`, and Vertex AI's `predict` for its embedding models.
//!
//! Sources: "Embeddings" in the Gemini API reference; "Text embeddings API" in Vertex AI's.

use domain::{ApiError, Usage};
use serde_json::{Map, Value, json};

use super::model;
use crate::chat::{Target, Written};
use crate::embeddings::{Answer, Input, Request};

/// Most texts in one `batchEmbedContents`.
const MAX_BATCH: usize = 100;

/// Words for what vectors are for, in other providers' dialects.
const PURPOSES: [(&str, &str); 8] = [
    ("query", "RETRIEVAL_QUERY"),
    ("search_query", "RETRIEVAL_QUERY"),
    ("document", "RETRIEVAL_DOCUMENT"),
    ("passage", "RETRIEVAL_DOCUMENT"),
    ("search_document", "RETRIEVAL_DOCUMENT"),
    ("similarity", "SEMANTIC_SIMILARITY"),
    ("classification", "CLASSIFICATION"),
    ("clustering", "CLUSTERING"),
];

/// Gemini's own words.
const TASK_TYPES: [&str; 8] = [
    "RETRIEVAL_QUERY",
    "RETRIEVAL_DOCUMENT",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
];

/// Writes AI Studio's `batchEmbedContents`. Unknown fields, such as `title`, go to every text.
pub fn write_request(request: Request, target: &Target<'_>) -> Result<Written, ApiError> {
    let Asked { model, texts, task_type, dimensions, unknown, dropped } = Asked::of(request, target)?;
    if texts.len() > MAX_BATCH {
        let message = format!(
            "`input` has {} texts, but {} takes {MAX_BATCH} at once: send several requests",
            texts.len(),
            target.provider
        );
        return Err(ApiError::bad_request("input", "too_many_inputs", message));
    }
    let mut fields = unknown;
    fields.insert("model".to_owned(), Value::from(model::path(&model)));
    put(&mut fields, "taskType", task_type.map(Value::from));
    put(&mut fields, "outputDimensionality", dimensions.map(Value::from));
    let requests = texts.into_iter().map(|text| {
        let mut one = fields.clone();
        one.insert("content".to_owned(), json!({"parts": [{"text": text}]}));
        Value::Object(one)
    });
    let body = json!({"requests": requests.collect::<Vec<_>>()}).to_string().into_bytes();
    Ok(Written { body, dropped })
}

/// Writes Vertex AI's `predict`. Of the unknown fields `title` goes to every text, the others are parameters
/// (`autoTruncate`).
pub fn write_vertex_request(request: Request, target: &Target<'_>) -> Result<Written, ApiError> {
    let Asked { model: _, texts, task_type, dimensions, mut unknown, dropped } = Asked::of(request, target)?;
    let title = unknown.remove("title");
    let instances = texts.into_iter().map(|text| {
        let mut instance = Map::from_iter([("content".to_owned(), Value::from(text))]);
        put(&mut instance, "task_type", task_type.map(Value::from));
        put(&mut instance, "title", title.clone());
        Value::Object(instance)
    });
    let mut body = json!({"instances": instances.collect::<Vec<_>>()});
    put(&mut unknown, "outputDimensionality", dimensions.map(Value::from));
    if !unknown.is_empty() {
        body["parameters"] = Value::Object(unknown);
    }
    Ok(Written { body: body.to_string().into_bytes(), dropped })
}

/// Reads what AI Studio answers. The error says why it is no answer.
pub fn read_answer(body: &[u8]) -> Result<Answer, String> {
    let answer = object(body)?;
    let vectors = list(&answer, "embeddings")?.iter().enumerate();
    let vectors = vectors.map(|(at, vector)| {
        values(vector.get("values"))
            .ok_or_else(|| format!("embeddings[{at}] has no `values` that are numbers"))
    });
    let counts = answer.get("usageMetadata").and_then(|usage| usage.get("promptTokenCount"));
    let usage = counts.and_then(Value::as_u64).map(input);
    Ok(Answer { model: None, vectors: vectors.collect::<Result<_, _>>()?, usage })
}

/// Reads what Vertex AI answers. The error says why it is no answer.
pub fn read_vertex_answer(body: &[u8]) -> Result<Answer, String> {
    let answer = object(body)?;
    let (mut vectors, mut tokens) = (Vec::new(), None::<u64>);
    for (at, prediction) in list(&answer, "predictions")?.iter().enumerate() {
        let embedding = prediction.get("embeddings");
        let vector = values(embedding.and_then(|embedding| embedding.get("values")));
        vectors.push(
            vector.ok_or_else(|| format!("predictions[{at}] has no `embeddings.values` that are numbers"))?,
        );
        let count = embedding.and_then(|embedding| embedding.get("statistics")?.get("token_count"));
        // Counts come as numbers with a fraction of zero.
        let count = count.and_then(|count| count.as_u64().or(count.as_f64().map(|count| count as u64)));
        tokens = count.map(|count| tokens.unwrap_or(0).saturating_add(count)).or(tokens);
    }
    Ok(Answer { model: None, vectors, usage: tokens.map(input) })
}

/// A request, taken apart.
struct Asked {
    model: String,
    texts: Vec<String>,
    task_type: Option<&'static str>,
    dimensions: Option<u64>,
    unknown: Map<String, Value>,
    dropped: Vec<String>,
}

impl Asked {
    fn of(request: Request, target: &Target<'_>) -> Result<Self, ApiError> {
        // Numbers come back as numbers; whoever writes the answer makes base64 of them.
        let Request { model, input, dimensions, base64: _, user, purpose, unknown } = request;
        let texts = input.into_iter().enumerate().map(|(at, input)| match input {
            Input::Text(text) => Ok(text),
            Input::Tokens(_) => {
                let param = format!("input[{at}]");
                let message = format!("`{param}` is a list of tokens, but {} takes texts", target.provider);
                Err(ApiError::bad_request(&param, "tokens_not_supported", message))
            }
        });
        let texts = texts.collect::<Result<_, _>>()?;
        let mut dropped = Vec::new();
        if user.is_some() {
            dropped.push("user".to_owned());
        }
        let task_type = purpose.as_deref().and_then(task_type);
        if purpose.is_some() && task_type.is_none() {
            dropped.push("input_type".to_owned());
        }
        Ok(Self { model, texts, task_type, dimensions, unknown, dropped })
    }
}

fn task_type(word: &str) -> Option<&'static str> {
    let upper = word.to_ascii_uppercase();
    let own = TASK_TYPES.into_iter().find(|own| *own == upper);
    own.or_else(|| PURPOSES.iter().find(|(other, _)| other.eq_ignore_ascii_case(word)).map(|(_, own)| *own))
}

fn put(map: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value);
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, String> {
    serde_json::from_slice(body).map_err(|err| {
        format!("the answer is not a JSON object: line {}, column {}", err.line(), err.column())
    })
}

fn list<'a>(answer: &'a Map<String, Value>, name: &str) -> Result<&'a Vec<Value>, String> {
    answer.get(name).and_then(Value::as_array).ok_or_else(|| format!("the answer has no `{name}`"))
}

fn values(values: Option<&Value>) -> Option<Vec<f32>> {
    values?.as_array()?.iter().map(|value| value.as_f64().map(|value| value as f32)).collect()
}

fn input(tokens: u64) -> Usage {
    Usage { input: tokens, ..Usage::default() }
}
