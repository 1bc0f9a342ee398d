//! Invoke: bodies in the model's own format. Claude's messages, and the embeddings of Titan and Cohere.
//! Source: docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::ApiError;
use serde_json::{Value, json};

use super::voice::exception_event;
use super::{in_awss_words, refuse};
use crate::chat::{Reply, Setting};
use crate::dialect::anthropic::{self, Headers, MessagesVoice, Place};
use crate::dialect::openai::vectors;
use crate::endpoint::Asked;
use crate::shape::{Kind, may, must};
use crate::stream::{Beat, Made, Pen, Voice};
use crate::text::count_words;
use crate::wire::{Event, Framing};

static TITAN: Kind = Kind::Object(&[
    must("inputText", &Kind::Filled),
    may("dimensions", &Kind::Whole(256)),
    may("normalize", &Kind::Bool),
    may("embeddingTypes", &Kind::List(1, &Kind::Word(&["float", "binary"]))),
]);

static COHERE: Kind = Kind::Object(&[
    must("texts", &Kind::List(1, &Kind::Text)),
    must(
        "input_type",
        &Kind::Word(&["search_document", "search_query", "classification", "clustering", "image"]),
    ),
    may("truncate", &Kind::Word(&["NONE", "START", "END", "LEFT", "RIGHT"])),
    may("embedding_types", &Kind::List(1, &Kind::Word(&["float", "int8", "uint8", "binary", "ubinary"]))),
    may("output_dimension", &Kind::Whole(1)),
]);

/// Reads a body by what is in it.
pub(super) fn ask<'r>(body: Value, stream: bool) -> Result<Asked<'r>, ApiError> {
    if body.get("anthropic_version").is_some() {
        let (chat, hidden) = anthropic::chat(body, Place::Bedrock, Headers::none())?;
        let chat = crate::chat::Chat { stream, ..chat };
        return Ok(Asked::chat(chat, move || Box::new(InvokeVoice(MessagesVoice { hidden }))));
    }
    if stream {
        return Err(refuse("body", "only Claude's format, with `anthropic_version`, is streamed"));
    }
    if body.get("inputText").is_some() {
        return titan(&body);
    }
    if body.get("texts").is_some() {
        return cohere(&body);
    }
    Err(refuse("body", "malformed input request: it must have `anthropic_version`, `inputText` or `texts`"))
}

fn titan<'r>(body: &Value) -> Result<Asked<'r>, ApiError> {
    TITAN.check(body).map_err(|mistake| in_awss_words(&mistake))?;
    let dimensions = body["dimensions"].as_u64();
    if dimensions.is_some_and(|n| ![256, 512, 1024].contains(&n)) {
        return Err(refuse("dimensions", "it must be one of 256, 512, 1024"));
    }
    let dimensions = dimensions.and_then(|n| usize::try_from(n).ok());
    let text = vec![body["inputText"].as_str().unwrap_or_default().to_owned()];
    let words = count_words(&text[0]) as u64;
    Ok(Asked::whole(words, move |setting: Setting<'_>| {
        let embedding = vectors(&text, dimensions, setting).remove(0);
        let mut answer = json!({"embedding": embedding, "embeddingsByType": {"float": embedding}});
        if setting.step.usage {
            answer["inputTextTokenCount"] = words.into();
        }
        Made::json(&answer)
    }))
}

fn cohere<'r>(body: &Value) -> Result<Asked<'r>, ApiError> {
    COHERE.check(body).map_err(|mistake| in_awss_words(&mistake))?;
    let texts = body["texts"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let texts: Vec<_> = texts.map(str::to_owned).collect();
    let words = texts.iter().map(|text| count_words(text) as u64).sum();
    let dimensions = body["output_dimension"].as_u64().and_then(|n| usize::try_from(n).ok());
    let by_type = body["embedding_types"].is_array();
    Ok(Asked::whole(words, move |setting: Setting<'_>| {
        let vectors = json!(vectors(&texts, dimensions, setting));
        let (kind, embeddings) = if by_type {
            ("embeddings_by_type", json!({"float": vectors}))
        } else {
            ("embeddings_floats", vectors)
        };
        Made::json(&json!({
            "id": format!("{:016x}", setting.id), "response_type": kind, "embeddings": embeddings, "texts": texts,
        }))
    }))
}

/// Wraps Claude's events into frames: `{"bytes": …}` in base64.
struct InvokeVoice(MessagesVoice);

impl Voice for InvokeVoice {
    fn framing(&self) -> Framing {
        Framing::EventStream
    }

    fn whole(&self, reply: &Reply) -> Vec<u8> {
        self.0.whole(reply)
    }

    fn beat(&self, reply: &Reply, beat: Beat<'_>, pen: &mut Pen) {
        let mut inner = Pen::default();
        self.0.beat(reply, beat, &mut inner);
        for event in inner.take() {
            if let Event::Data { data, .. } = event {
                pen.named("chunk", &json!({"bytes": STANDARD.encode(data), "p": "abcdefg"}));
            }
        }
    }

    fn error(&self, err: &ApiError, pen: &mut Pen) {
        pen.event(exception_event(err));
    }
}
