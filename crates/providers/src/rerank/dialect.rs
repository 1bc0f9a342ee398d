//! The dialect in which callers ask for reranking.

use domain::ApiError;
use serde_json::{Map, Value, json};

use super::{Answer, Request};
use crate::chat::About;
use crate::fields::{Fields, wrong, wrong_type};

/// Reads a request: `{model, query, documents, top_n, return_documents, max_tokens_per_doc}` and whatever else the
/// provider knows.
///
/// Errors: a body that is no JSON object, a missing field, an empty `query` or `documents`, a document that is neither
/// a text nor an object, a value of a wrong type.
pub fn read_request(body: &[u8]) -> Result<Request, ApiError> {
    let mut fields = Fields::of_body(body)?;
    let model = text(&mut fields, "model", "write its name, as in `\"model\": \"rerank-v3.5\"`")?;
    let query = text(&mut fields, "query", "write what the documents are compared with")?;
    let fix = "write a list of texts, or of objects with a `text`";
    let documents = fields.array("documents")?.ok_or_else(|| fields.missing("documents", fix))?;
    if documents.is_empty() {
        return Err(wrong("documents", "invalid_value", format_args!("is empty: {fix}")));
    }
    for (i, document) in documents.iter().enumerate() {
        if !(document.is_string() || document.is_object()) {
            return Err(wrong_type(
                &format!("documents[{i}]"),
                "a text, or an object with a `text`,",
                document,
            ));
        }
    }
    let return_documents = fields.flag("return_documents")?;
    let (top_n, max_tokens_per_doc) = (fields.whole("top_n", 1)?, fields.whole("max_tokens_per_doc", 1)?);
    let mut unknown = fields.into_map();
    unknown.retain(|_, value| !value.is_null());
    Ok(Request { model, query, documents, top_n, return_documents, max_tokens_per_doc, unknown })
}

fn text(fields: &mut Fields, name: &str, fix: &str) -> Result<String, ApiError> {
    match fields.required(name, fix)? {
        text if text.is_empty() => Err(wrong(name, "invalid_value", format_args!("is empty: {fix}"))),
        text => Ok(text),
    }
}

/// Writes the answer. `usage` has what the provider counts: `search_units`, `total_tokens`.
pub fn write_answer(answer: &Answer, about: &About<'_>) -> Vec<u8> {
    let results = answer.results.iter().map(|ranked| {
        let mut result = json!({ "index": ranked.index, "relevance_score": ranked.relevance_score });
        if let Some(document) = &ranked.document {
            result["document"] = document.clone();
        }
        result
    });
    let counts = [("search_units", answer.search_units), ("total_tokens", answer.tokens)];
    let usage = counts.into_iter().filter_map(|(name, count)| Some((name.to_owned(), Value::from(count?))));
    let body = json!({
        "object": "list",
        "id": answer.id.as_deref().unwrap_or(about.id),
        "results": results.collect::<Vec<_>>(),
        "model": answer.model.as_deref().unwrap_or(about.model),
        "usage": usage.collect::<Map<_, _>>(),
        "provider": about.provider,
    });
    body.to_string().into_bytes()
}
