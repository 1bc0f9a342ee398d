//! Embed and rerank.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::ApiError;
use serde_json::{Map, Value, json};

use super::known::{EMBED, RERANK};
use super::{check, refuse, uuid};
use crate::chat::Setting;
use crate::dialect::openai;
use crate::endpoint::Asked;
use crate::media;
use crate::rank::ranked;
use crate::script::MAX_DIMENSIONS;
use crate::stream::Made;
use crate::text::count_words;

/// `POST /v2/embed`.
pub(super) fn embed<'r>(body: &Value) -> Result<Asked<'r>, ApiError> {
    check(&EMBED, body)?;
    let texts = inputs(body)?;
    let dimensions = body["output_dimension"].as_u64().and_then(|n| usize::try_from(n).ok());
    if dimensions.is_some_and(|n| n > MAX_DIMENSIONS) {
        return Err(refuse("output_dimension", &format!("at most {MAX_DIMENSIONS}")));
    }
    let types = body["embedding_types"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut types: Vec<_> = types.map(str::to_owned).collect();
    if types.is_empty() {
        types.push("float".to_owned());
    }
    let told = body["texts"].clone();
    let words = texts.iter().map(|text| count_words(text) as u64).sum();
    Ok(Asked::whole(words, move |setting: Setting<'_>| {
        let vectors = openai::vectors(&texts, dimensions, setting);
        let by_type: Map<String, Value> = types
            .iter()
            .map(|kind| (kind.clone(), vectors.iter().map(|floats| written(kind, floats)).collect()))
            .collect();
        let mut answer = json!({
            "id": uuid(setting.id), "embeddings": by_type, "response_type": "embeddings_by_type",
            "meta": {"api_version": {"version": "2"}},
        });
        if told.is_array() {
            answer["texts"] = told.clone();
        }
        if setting.step.usage {
            answer["meta"]["billed_units"] = json!({"input_tokens": words});
        }
        Made::json(&answer)
    }))
}

/// Exactly one of texts, images and inputs.
fn inputs(body: &Value) -> Result<Vec<String>, ApiError> {
    let given: Vec<_> =
        ["texts", "images", "inputs"].into_iter().filter(|name| body[*name].is_array()).collect();
    let [name] = given[..] else {
        return Err(refuse("texts", "exactly one of texts, images and inputs must be given"));
    };
    let list = body[name].as_array().map(Vec::as_slice).unwrap_or_default();
    if list.len() > 96 {
        return Err(refuse(name, "at most 96 are allowed"));
    }
    let image = |place: String, url: &Value| {
        media::address("image", url.as_str().unwrap_or_default(), media::IMAGES)
            .map_err(|why| refuse(&place, &why))
    };
    let one = |(at, value): (usize, &Value)| match name {
        "texts" => Ok(value.as_str().unwrap_or_default().to_owned()),
        "images" => image(format!("images[{at}]"), value),
        _ => {
            let parts = value["content"].as_array().into_iter().flatten().enumerate();
            let part = |(number, part): (usize, &Value)| match part["text"].as_str() {
                Some(text) => Ok(text.to_owned()),
                None => {
                    image(format!("inputs[{at}].content[{number}].image_url.url"), &part["image_url"]["url"])
                }
            };
            Ok(parts.map(part).collect::<Result<Vec<_>, _>>()?.join(" "))
        }
    };
    list.iter().enumerate().map(one).collect()
}

/// Numbers of other types are the floats, scaled; bits are their signs, eight in a byte.
fn written(kind: &str, floats: &[f32]) -> Value {
    let scaled = floats.iter().map(|x| (x * 127.0) as i64);
    let bits =
        floats.chunks(8).map(|eight| eight.iter().fold(0_i64, |byte, x| byte << 1 | i64::from(*x > 0.0)));
    match kind {
        "int8" => scaled.collect(),
        "uint8" => scaled.map(|x| x + 128).collect(),
        "binary" => bits.map(|byte| byte - 128).collect(),
        "ubinary" => bits.collect(),
        "base64" => STANDARD.encode(floats.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()).into(),
        _ => json!(floats),
    }
}

/// `POST /v2/rerank`.
pub(super) fn rerank<'r>(body: &Value) -> Result<Asked<'r>, ApiError> {
    check(&RERANK, body)?;
    let query = body["query"].as_str().unwrap_or_default().to_owned();
    let documents = body["documents"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let documents: Vec<_> = documents.map(str::to_owned).collect();
    let most = body["top_n"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let words = count_words(&query) + documents.iter().map(|text| count_words(text)).sum::<usize>();
    Ok(Asked::whole(words as u64, move |setting: Setting<'_>| {
        let result = |(index, score): (usize, f64)| json!({"index": index, "relevance_score": score});
        let results: Vec<_> = ranked(&query, &documents).into_iter().take(most).map(result).collect();
        let mut answer =
            json!({"id": uuid(setting.id), "results": results, "meta": {"api_version": {"version": "2"}}});
        if setting.step.usage {
            answer["meta"]["billed_units"] = json!({"search_units": 1});
        }
        Made::json(&answer)
    }))
}
