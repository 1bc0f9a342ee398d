//! Vertex AI: Gemini, Claude and embeddings below a project, with an access token from the token endpoint.
//! Source: cloud.google.com/vertex-ai/generative-ai/docs/reference/rest, …/docs/partner-models/claude/use-claude.

use std::borrow::Cow;

use domain::ApiError;
use serde_json::{Value, json};

use super::anthropic::{self, Anthropic};
use super::gemini::{self, Google, Place, Verb, in_googles_words, refuse};
use super::oauth::Audience;
use super::openai::vectors;
use crate::chat::Setting;
use crate::endpoint::{Asked, Endpoint, Manner, Received, Understood};
use crate::shape::{Kind, may, must};
use crate::stream::Made;
use crate::text::count_words;

/// `…/publishers/google/models/{model}:…`.
pub(crate) struct Gemini(pub(crate) Verb);

/// `…/publishers/google/models/{model}:predict`, for embeddings.
pub(crate) struct Predict;

/// `…/publishers/anthropic/models/{model}:rawPredict` and `:streamRawPredict`.
pub(crate) struct Claude {
    pub(crate) stream: bool,
}

/// Google at the door, Anthropic inside.
struct ClaudesManner;

impl Manner for ClaudesManner {
    fn error(&self, err: &ApiError, id: u64) -> Vec<u8> {
        match err.status {
            401 | 403 | 404 | 429 => Google.error(err, id),
            _ => Anthropic.error(err, id),
        }
    }

    fn headers(&self, id: u64) -> Vec<(&'static str, String)> {
        Anthropic.headers(id)
    }
}

impl Endpoint for Gemini {
    fn manner(&self) -> &'static dyn Manner {
        &Google
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        admit(received)
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        gemini::read(received, received.captured(2), self.0, Place::Vertex)
    }
}

impl Endpoint for Claude {
    fn manner(&self) -> &'static dyn Manner {
        &ClaudesManner
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        admit(received)
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let ask = move || {
            let body = received.json()?;
            let streamed = body["stream"] == true;
            if streamed != self.stream {
                let verb = if streamed { "streamRawPredict" } else { "rawPredict" };
                return Err(anthropic::refuse("stream", &format!("with this value use `:{verb}`")));
            }
            anthropic::ask(body, anthropic::Place::Vertex, anthropic::Headers::of(received))
        };
        Ok(Understood { model: Cow::Borrowed(received.captured(2)), ask: Box::new(ask) })
    }
}

static PREDICT: Kind = Kind::Object(&[
    must("instances", &Kind::List(1, &INSTANCE)),
    may(
        "parameters",
        &Kind::Object(&[may("outputDimensionality", &Kind::Whole(1)), may("autoTruncate", &Kind::Bool)]),
    ),
]);

static INSTANCE: Kind = Kind::Object(&[
    must("content", &Kind::Filled),
    may("task_type", &Kind::Filled),
    may("title", &Kind::Text),
]);

impl Endpoint for Predict {
    fn manner(&self) -> &'static dyn Manner {
        &Google
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        admit(received)
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let ask = move || {
            let body = received.json()?;
            PREDICT.check(&body).map_err(|mistake| in_googles_words(&mistake))?;
            predict(&body)
        };
        Ok(Understood { model: Cow::Borrowed(received.captured(2)), ask: Box::new(ask) })
    }
}

fn predict<'r>(body: &Value) -> Result<Asked<'r>, ApiError> {
    let instances = body["instances"].as_array().into_iter().flatten();
    let texts: Vec<_> = instances.filter_map(|one| one["content"].as_str()).map(str::to_owned).collect();
    if texts.len() > 250 {
        return Err(refuse("instances", "at most 250 instances are allowed per prediction"));
    }
    let dimensions = body["parameters"]["outputDimensionality"].as_u64();
    let dimensions = dimensions.and_then(|n| usize::try_from(n).ok()).map(|n| n.min(4096));
    let words = texts.iter().map(|text| count_words(text) as u64).sum();
    Ok(Asked::whole(words, move |setting: Setting<'_>| {
        let prediction = |(values, text): (Vec<f32>, &String)| {
            let mut embeddings = json!({"values": values});
            if setting.step.usage {
                embeddings["statistics"] = json!({"truncated": false, "token_count": count_words(text)});
            }
            json!({"embeddings": embeddings})
        };
        let vectors = vectors(&texts, dimensions, setting);
        let predictions: Vec<_> = vectors.into_iter().zip(&texts).map(prediction).collect();
        let characters: usize = texts.iter().map(|text| text.chars().count()).sum();
        Made::json(&json!({"predictions": predictions, "metadata": {"billableCharacterCount": characters}}))
    }))
}

/// Only tokens that the token endpoint gave out, and only until they expire.
fn admit(received: &Received<'_>) -> Result<(), ApiError> {
    let token = received.bearer().unwrap_or_default();
    if received.state.tokens.holds(Audience::Google, token) {
        return Ok(());
    }
    let message = "request had invalid authentication credentials: expected an OAuth 2 access token from the token \
                   endpoint that has not expired";
    Err(ApiError::new(401, "unauthenticated", message))
}
