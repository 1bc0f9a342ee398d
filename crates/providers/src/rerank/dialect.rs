//! The dialect in which callers ask for reranking.

use domain::ApiError;
use serde_json::{Map, Value, json};

use super::{Answer, Request};
use crate::chat::About;

/// Reads a request: `{model, query, documents, top_n, return_documents, max_tokens_per_doc}` and whatever else the
/// provider knows.
///
/// Errors: a body that is no JSON object, a missing field, an empty `query` or `documents`, a document that is neither
/// a text nor an object, a value of a wrong type.
pub fn read_request(body: &[u8]) -> Result<Request, ApiError> {
    let mut fields: Map<String, Value> = serde_json::from_slice(body).map_err(|err| {
        let message = format!("the body is not a JSON object: line {}, column {}", err.line(), err.column());
        ApiError::new(400, "invalid_json", message)
    })?;
    fields.retain(|_, value| !value.is_null());
    let model = text(&mut fields, "model", "write the model's name, as in `\"model\": \"rerank-v3.5\"`")?;
    let query = text(&mut fields, "query", "write what the documents are compared with")?;
    let documents = match fields.remove("documents") {
        Some(Value::Array(documents)) if !documents.is_empty() => documents,
        _ => return Err(invalid("documents", "write a list of texts, or of objects with a `text`")),
    };
    if let Some(i) = documents.iter().position(|document| !(document.is_string() || document.is_object())) {
        return Err(invalid(&format!("documents[{i}]"), "write a text, or an object with a `text`"));
    }
    let return_documents = match fields.remove("return_documents") {
        None => None,
        Some(Value::Bool(value)) => Some(value),
        Some(_) => return Err(invalid("return_documents", "write `true` or `false`")),
    };
    let (top_n, max_tokens_per_doc) =
        (number(&mut fields, "top_n")?, number(&mut fields, "max_tokens_per_doc")?);
    Ok(Request { model, query, documents, top_n, return_documents, max_tokens_per_doc, unknown: fields })
}

fn invalid(path: &str, instead: &str) -> ApiError {
    ApiError::bad_request(
        path,
        "invalid_value",
        format!("`{path}` is missing, empty or of a wrong type; {instead}"),
    )
}

fn text(fields: &mut Map<String, Value>, name: &str, instead: &str) -> Result<String, ApiError> {
    match fields.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(invalid(name, instead)),
    }
}

fn number(fields: &mut Map<String, Value>, name: &str) -> Result<Option<u64>, ApiError> {
    match fields.remove(name) {
        None => Ok(None),
        Some(value) => match value.as_u64().filter(|n| *n > 0) {
            Some(n) => Ok(Some(n)),
            None => Err(invalid(name, "write a whole number from 1")),
        },
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
