//! Moderations: a text that speaks of violence is flagged, everything else is fine.
//! Source: platform.openai.com/docs/api-reference/moderations.

use domain::ApiError;
use serde_json::{Map, Value, json};

use super::{OpenAi, by_kind, invalid, missing, named};
use crate::endpoint::{Asked, Endpoint, Manner, Received, Understood};
use crate::media;
use crate::shape::{Kind, may, must};
use crate::stream::Made;
use crate::text::count_words;

/// `POST /v1/moderations`.
pub(crate) struct Moderations;

static BODY: Kind = Kind::Object(&[
    must("input", &Kind::Either(&[&Kind::Text, &Kind::List(1, &Kind::Either(&[&Kind::Text, &PART]))])),
    may("model", &Kind::Filled),
]);

static PART: Kind = Kind::Tagged(
    "type",
    &[
        ("text", &[must("text", &Kind::Text)]),
        ("image_url", &[must("image_url", &Kind::Object(&[must("url", &Kind::Filled)]))]),
    ],
);

const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

impl Endpoint for Moderations {
    fn manner(&self) -> &'static dyn Manner {
        &OpenAi
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let body = received.json()?;
        let model = if body["model"].is_null() { "omni-moderation-latest".to_owned() } else { named(&body)? };
        Ok(Understood { model: model.into(), ask: Box::new(move || ask(&body)) })
    }
}

fn ask<'r>(body: &Value) -> Result<Asked<'r>, ApiError> {
    if body["input"].is_null() {
        return Err(missing("input", "write a string, or an array of strings or parts"));
    }
    by_kind(&BODY, body)?;
    // Parts are looked at together, strings one by one.
    let texts = match &body["input"] {
        Value::Array(list) if list.iter().all(Value::is_string) => {
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Value::Array(parts) => vec![parts_text(parts)?],
        text => vec![text.as_str().unwrap_or_default().to_owned()],
    };
    let words = texts.iter().map(|text: &String| count_words(text) as u64).sum();
    Ok(Asked::whole(words, move |setting| {
        let results: Vec<_> = texts.iter().map(|text| result(text)).collect();
        Made::json(
            &json!({"id": format!("modr-{:016x}", setting.id), "model": setting.model, "results": results}),
        )
    }))
}

fn parts_text(parts: &[Value]) -> Result<String, ApiError> {
    let mut words = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        match part["image_url"]["url"].as_str() {
            Some(url) => words.push(
                media::address("image", url, media::IMAGES)
                    .map_err(|why| invalid(&format!("input[{at}].image_url.url"), &why))?,
            ),
            None => words.push(part["text"].as_str().unwrap_or_default().to_owned()),
        }
    }
    Ok(words.join(" "))
}

fn result(text: &str) -> Value {
    let flagged = text.to_ascii_lowercase().contains("violence");
    let each = |value: &dyn Fn(bool) -> Value| -> Map<String, Value> {
        CATEGORIES.iter().map(|name| ((*name).to_owned(), value(flagged && *name == "violence"))).collect()
    };
    json!({
        "flagged": flagged,
        "categories": each(&|hit| hit.into()),
        "category_scores": each(&|hit| if hit { 0.98.into() } else { 0.0001.into() }),
        "category_applied_input_types": each(&|hit| if hit { json!(["text"]) } else { json!([]) }),
    })
}
