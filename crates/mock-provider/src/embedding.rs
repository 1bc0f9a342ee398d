//! Embeddings: unit vectors drawn from a hash of each input.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::answer::{hash, json, mix};
use crate::request::Ask;
use crate::script::Step;

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

/// The body of the answer. What the caller asks for wins over the script.
pub(crate) fn whole(ask: &Ask, model: &str, base: &str, step: &Step) -> Vec<u8> {
    let dimensions = ask.dimensions.or(step.dimensions).unwrap_or(DIMENSIONS);
    let item = |(index, input): (usize, &String)| {
        let floats = vector(base, input, dimensions);
        let embedding = if ask.base64 { Vector::Base64(encoded(&floats)) } else { Vector::Floats(floats) };
        Item { object: "embedding", index, embedding }
    };
    json(&List {
        object: "list",
        data: ask.prompts.iter().enumerate().map(item).collect(),
        model,
        usage: step
            .usage
            .then_some(Usage { prompt_tokens: ask.input_tokens, total_tokens: ask.input_tokens }),
    })
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

fn encoded(floats: &[f32]) -> String {
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
