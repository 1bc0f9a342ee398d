//! Reranking as every dialect means it, and the dialect: Cohere's fields in a list object of OpenAI's kind.

mod dialect;
mod shape;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use dialect::{read_request, write_answer};
pub use shape::{Shape, shape, shapes};

/// A request to order documents by how well they answer a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model's name at the provider.
    pub model: String,
    /// The query.
    pub query: String,
    /// Texts, or objects with a `text`.
    pub documents: Vec<Value>,
    /// How many to return.
    pub top_n: Option<u64>,
    /// Return the documents as well.
    pub return_documents: Option<bool>,
    /// Most tokens of a document that are looked at.
    pub max_tokens_per_doc: Option<u64>,
    /// Fields that none of the above is: passed on as they are.
    pub unknown: Map<String, Value>,
}

/// Documents in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The provider's name for it.
    pub id: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// Best first.
    pub results: Vec<Ranked>,
    /// What the provider charges for.
    pub search_units: Option<u64>,
    /// Tokens used, where the provider counts them.
    pub tokens: Option<u64>,
}

/// A document's place.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Which document of the request, from 0.
    pub index: usize,
    /// How well it answers.
    pub relevance_score: f64,
    /// The document, where it was asked for.
    pub document: Option<Value>,
}
