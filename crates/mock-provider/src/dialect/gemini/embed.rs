//! Embeddings: one content, or many requests.

use domain::ApiError;
use serde_json::{Value, json};

use super::known::{EMBED, EMBED_MANY};
use super::{in_googles_words, refuse};
use crate::chat::Setting;
use crate::dialect::openai::vectors;
use crate::endpoint::Asked;
use crate::script::MAX_DIMENSIONS;
use crate::stream::Made;
use crate::text::count_words;

/// `:embedContent`.
pub(super) fn one<'r>(mut body: Value) -> Result<Asked<'r>, ApiError> {
    EMBED.in_camel_case(&mut body);
    EMBED.check(&body).map_err(|mistake| in_googles_words(&mistake))?;
    let (text, dimensions) = read("EmbedContentRequest", &body)?;
    let words = count_words(&text) as u64;
    Ok(Asked::whole(words, move |setting: Setting<'_>| {
        let values = vectors(&[text], dimensions, setting).remove(0);
        let mut answer = json!({"embedding": {"values": values}});
        if setting.step.usage {
            answer["usageMetadata"] = json!({"promptTokenCount": words});
        }
        Made::json(&answer)
    }))
}

/// `:batchEmbedContents`: each request names the model again.
pub(super) fn many<'r>(mut body: Value, model: &str) -> Result<Asked<'r>, ApiError> {
    EMBED_MANY.in_camel_case(&mut body);
    EMBED_MANY.check(&body).map_err(|mistake| in_googles_words(&mistake))?;
    let mut asked = Vec::new();
    for (at, request) in body["requests"].as_array().into_iter().flatten().enumerate() {
        let place = format!("BatchEmbedContentsRequest.requests[{at}]");
        let named = request["model"].as_str().unwrap_or_default();
        if named.strip_prefix("models/") != Some(model) {
            let what = format!("must match the model in the address, as in `models/{model}`");
            return Err(refuse(&format!("{place}.model"), &what));
        }
        asked.push(read(&place, request)?);
    }
    let words = asked.iter().map(|(text, _)| count_words(text) as u64).sum();
    Ok(Asked::whole(words, move |setting: Setting<'_>| {
        let embedding = |(text, dimensions): (String, Option<usize>)| json!({"values": vectors(&[text], dimensions, setting).remove(0)});
        let mut answer = json!({"embeddings": asked.into_iter().map(embedding).collect::<Vec<_>>()});
        if setting.step.usage {
            answer["usageMetadata"] = json!({"promptTokenCount": words});
        }
        Made::json(&answer)
    }))
}

fn read(place: &str, request: &Value) -> Result<(String, Option<usize>), ApiError> {
    let parts = request["content"]["parts"].as_array().into_iter().flatten();
    let texts: Vec<_> = parts.filter_map(|part| part["text"].as_str()).collect();
    if texts.iter().all(|text| text.is_empty()) {
        return Err(refuse(&format!("{place}.content"), "content must not be empty"));
    }
    let dimensions = request["outputDimensionality"].as_u64().and_then(|n| usize::try_from(n).ok());
    if dimensions.is_some_and(|n| n > MAX_DIMENSIONS) {
        let what = format!("must be at most {MAX_DIMENSIONS}");
        return Err(refuse(&format!("{place}.output_dimensionality"), &what));
    }
    Ok((texts.join(" "), dimensions))
}
