//! Embeddings as every dialect means them.

pub mod openai;
mod shape;

#[cfg(test)]
mod tests;

use domain::Usage;
use serde_json::{Map, Value};

pub use shape::{Shape, shape, shapes};

/// A request for vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model's name at the provider.
    pub model: String,
    /// What is to be turned into vectors, one each.
    pub input: Vec<Input>,
    /// Length of the vectors.
    pub dimensions: Option<u64>,
    /// The caller wants little-endian 32-bit floats in base64 instead of numbers.
    pub base64: bool,
    /// The caller's own user.
    pub user: Option<String>,
    /// What the vectors are for, in the caller's words (`query`, `search_document`, `RETRIEVAL_QUERY`).
    pub purpose: Option<String>,
    /// Fields that OpenAI does not define: passed on as they are.
    pub unknown: Map<String, Value>,
}

/// One thing to be turned into a vector.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Text.
    Text(String),
    /// Text as token ids, which few providers take.
    Tokens(Vec<u64>),
}

/// Vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The model that answered.
    pub model: Option<String>,
    /// In the order of the input.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens used.
    pub usage: Option<Usage>,
}
