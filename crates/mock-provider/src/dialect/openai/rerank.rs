//! Rerank, as Jina, Voyage and others have it below OpenAI's base address.
//! Source: jina.ai/reranker, "API".

use domain::ApiError;
use serde_json::{Value, json};

use super::{OpenAi, by_kind, named};
use crate::chat::Setting;
use crate::endpoint::{Asked, Endpoint, Manner, Received, Understood};
use crate::rank::ranked;
use crate::shape::{Kind, may, must};
use crate::stream::Made;
use crate::text::count_words;

/// `POST /v1/rerank`.
pub(crate) struct Rerank;

static BODY: Kind = Kind::Object(&[
    must("model", &Kind::Filled),
    must("query", &Kind::Filled),
    must(
        "documents",
        &Kind::List(1, &Kind::Either(&[&Kind::Text, &Kind::Object(&[must("text", &Kind::Text)])])),
    ),
    may("top_n", &Kind::Whole(1)),
    may("return_documents", &Kind::Bool),
    may("max_chunks_per_doc", &Kind::Whole(1)),
    may("truncate", &Kind::Any),
    may("user", &Kind::Text),
]);

impl Endpoint for Rerank {
    fn manner(&self) -> &'static dyn Manner {
        &OpenAi
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let body = received.json()?;
        let model = named(&body)?;
        Ok(Understood { model: model.into(), ask: Box::new(move || ask(&body)) })
    }
}

fn ask<'r>(body: &Value) -> Result<Asked<'r>, ApiError> {
    by_kind(&BODY, body)?;
    let query = body["query"].as_str().unwrap_or_default().to_owned();
    let documents = body["documents"].as_array().into_iter().flatten();
    let documents: Vec<_> = documents
        .filter_map(|document| document.as_str().or(document["text"].as_str()))
        .map(str::to_owned)
        .collect();
    let most = body["top_n"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let told = body["return_documents"] == true;
    let words = count_words(&query) + documents.iter().map(|text| count_words(text)).sum::<usize>();
    let words = words as u64;
    Ok(Asked::whole(words, move |setting: Setting<'_>| {
        let result = |(index, score): (usize, f64)| {
            let mut result = json!({"index": index, "relevance_score": score});
            if told {
                result["document"] = json!({"text": documents[index]});
            }
            result
        };
        let results: Vec<_> = ranked(&query, &documents).into_iter().take(most).map(result).collect();
        let mut answer = json!({"object": "list", "model": setting.model, "results": results});
        if setting.step.usage {
            answer["usage"] = json!({"prompt_tokens": words, "total_tokens": words});
        }
        Made::json(&answer)
    }))
}
