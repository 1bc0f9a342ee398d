//! Formats of reranking: each is the same request with other names, so that each is data.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use domain::ApiError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Ranked, Request};
use crate::chat::{Target, Written};
use crate::draft::Draft;
use crate::lenient;
use crate::lookup::at;

/// A provider's names for what a request and an answer hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// What documents are.
    documents: Documents,
    /// The field of how many to return.
    top_n: String,
    /// The field of whether to return documents.
    return_documents: Option<String>,
    /// The field of how many tokens of a document are looked at.
    max_tokens_per_doc: Option<String>,
    /// Fields that are always sent unless the caller writes them.
    #[serde(default)]
    always: Map<String, Value>,
    /// Path of the results in the answer.
    results: String,
    /// The field of the score in a result.
    score: String,
    /// Path of the units that are charged.
    search_units: Option<String>,
    /// Path of the token count.
    tokens: Option<String>,
}

/// What a provider takes as a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Documents {
    /// Texts only.
    Texts,
    /// Objects only.
    Objects,
    /// Either.
    Any,
}

static SHAPES: LazyLock<BTreeMap<String, Shape>> =
    LazyLock::new(|| toml::from_str(include_str!("shapes.toml")).expect("the table is checked by a test"));

/// The format of that name.
pub fn shape(name: &str) -> Option<&'static Shape> {
    SHAPES.get(name)
}

/// The names of all formats.
pub fn shapes() -> impl Iterator<Item = &'static str> {
    SHAPES.keys().map(String::as_str)
}

impl Shape {
    /// Writes a request.
    ///
    /// Errors: a document without a `text` where the provider takes texts only.
    pub fn write_request(&self, request: Request, target: &Target<'_>) -> Result<Written, ApiError> {
        let Request { model, query, documents, top_n, return_documents, max_tokens_per_doc, mut unknown } =
            request;
        let mut draft = Draft::default();
        draft.put("model", model);
        draft.put("query", query);
        let mut written = Vec::with_capacity(documents.len());
        for (i, document) in documents.into_iter().enumerate() {
            written.push(self.document(i, document, &mut draft, target)?);
        }
        draft.put("documents", written);
        draft.put_some(&self.top_n, top_n);
        match &self.return_documents {
            Some(name) => draft.put_some(name, return_documents),
            None => draft.lose_if(return_documents == Some(true), "return_documents"),
        }
        match &self.max_tokens_per_doc {
            Some(name) => draft.put_some(name, max_tokens_per_doc),
            None => draft.lose_if(max_tokens_per_doc.is_some(), "max_tokens_per_doc"),
        }
        for (name, value) in &self.always {
            unknown.entry(name.clone()).or_insert_with(|| value.clone());
        }
        Ok(draft.finish(Map::new(), unknown))
    }

    fn document(
        &self,
        i: usize,
        document: Value,
        draft: &mut Draft,
        target: &Target<'_>,
    ) -> Result<Value, ApiError> {
        match (self.documents, document) {
            (Documents::Texts, Value::Object(mut fields)) => match fields.remove("text") {
                Some(text @ Value::String(_)) => {
                    fields.keys().for_each(|name| draft.lose(format!("documents[{i}].{name}")));
                    Ok(text)
                }
                _ => {
                    let path = format!("documents[{i}].text");
                    let message = format!(
                        "`{path}` is missing; {} takes texts only, so write the document's text there",
                        target.provider
                    );
                    Err(ApiError::bad_request(&path, "invalid_document", message))
                }
            },
            (Documents::Objects, Value::String(text)) => Ok(json!({ "text": text })),
            (_, document) => Ok(document),
        }
    }

    /// Reads an answer. The error says why it is none. Results are in the provider's order, best first.
    pub fn read_answer(&self, body: &[u8]) -> Result<Answer, String> {
        let answer = Value::Object(lenient::object(body)?);
        let Some(results) = at(&answer, &self.results).as_array() else {
            return Err(format!("the answer has no list `{}`", self.results));
        };
        let results: Result<Vec<Ranked>, String> =
            results.iter().enumerate().map(|(i, result)| self.ranked(i, result)).collect();
        let text = |name: &str| lenient::text(&answer[name]).map(str::to_owned);
        let count = |path: &Option<String>| path.as_ref().and_then(|path| lenient::count(at(&answer, path)));
        Ok(Answer {
            id: text("id"),
            model: text("model"),
            results: results?,
            search_units: count(&self.search_units),
            tokens: count(&self.tokens),
        })
    }

    fn ranked(&self, i: usize, result: &Value) -> Result<Ranked, String> {
        let index = lenient::count(&result["index"]).and_then(|index| usize::try_from(index).ok());
        let score = result[self.score.as_str()].as_f64();
        let (Some(index), Some(relevance_score)) = (index, score) else {
            return Err(format!("the answer's `{}[{i}]` lacks `index` or `{}`", self.results, self.score));
        };
        let document = match &result["document"] {
            Value::Null => None,
            Value::String(text) => Some(json!({ "text": text })),
            document => Some(document.clone()),
        };
        Ok(Ranked { index, relevance_score, document })
    }
}
