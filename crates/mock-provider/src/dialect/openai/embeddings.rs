//! Embeddings: unit vectors drawn from a hash of each input.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::ApiError;
use serde::Serialize;

use super::request::Body;
use crate::chat::Setting;
use crate::endpoint::Asked;
use crate::stream::Made;
use crate::text::{hash, mix};

/// Small, because most callers only look at the shape.
const DIMENSIONS: usize = 16;

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Item>,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct Item {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// Reads texts.
pub(super) fn ask<'r>(body: &Body<'_>) -> Result<Asked<'r>, ApiError> {
    let (texts, input_tokens) = body.inputs()?;
    let (dimensions, base64) = (body.dimensions()?, body.base64()?);
    Ok(Asked::whole(input_tokens, move |setting: Setting<'_>| {
        let item = |(index, floats): (usize, Vec<f32>)| {
            let embedding = if base64 { Vector::Base64(encoded(&floats)) } else { Vector::Floats(floats) };
            Item { object: "embedding", index, embedding }
        };
        let usage = Usage { prompt_tokens: input_tokens, total_tokens: input_tokens };
        Made::json(&List {
            object: "list",
            data: vectors(&texts, dimensions, setting).into_iter().enumerate().map(item).collect(),
            model: setting.model,
            usage: setting.step.usage.then_some(usage),
        })
    }))
}

/// A vector for each text. What the caller asks for wins over the script.
pub(crate) fn vectors(texts: &[String], dimensions: Option<usize>, setting: Setting<'_>) -> Vec<Vec<f32>> {
    let dimensions = dimensions.or(setting.step.dimensions).unwrap_or(DIMENSIONS);
    texts.iter().map(|text| vector(setting.base, text, dimensions)).collect()
}

fn vector(base: &str, input: &str, dimensions: usize) -> Vec<f32> {
    let seed = hash(hash(1, base.as_bytes()), input.as_bytes());
    let drawn: Vec<f32> = (0..dimensions as u64).map(|at| between_ones(mix(seed.wrapping_add(at)))).collect();
    let length = drawn.iter().map(|x| x * x).sum::<f32>().sqrt();
    drawn.into_iter().map(|x| x / length).collect()
}

/// A number from -1 to 1 that is never 0, so that no vector is without length.
fn between_ones(drawn: u64) -> f32 {
    let (high, low) = ((drawn >> 48) as u16, drawn & 1);
    let size = (f32::from(high) + 1.0) / 65_536.0;
    if low == 0 { size } else { -size }
}

/// Base64 of little-endian floats.
pub(crate) fn encoded(floats: &[f32]) -> String {
    STANDARD.encode(floats.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_of_length_one_and_depend_on_model_and_input() {
        for (dimensions, input) in [(1, ""), (16, "a"), (1536, "long")] {
            let length = vector("mock", input, dimensions).iter().map(|x| x * x).sum::<f32>();
            assert!((length - 1.0).abs() < 1e-4, "{dimensions}: {length}");
        }
        assert_eq!(vector("mock", "a", 16), vector("mock", "a", 16));
        assert_ne!(vector("mock", "a", 16), vector("mock", "b", 16));
        assert_ne!(vector("mock", "a", 16), vector("other", "a", 16));
    }
}
