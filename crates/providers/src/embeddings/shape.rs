//! Formats of embeddings: each is the same request with other names, so that each is data.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use domain::{ApiError, Usage};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Answer, Input, Request};
use crate::chat::{Target, Written};
use crate::draft::{Draft, unsupported};
use crate::lenient;
use crate::lookup::at;

/// A provider's names for what a request and an answer hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// The field of the texts.
    input: String,
    /// The path names the model, the body does not.
    #[serde(default)]
    model_in_path: bool,
    /// Inputs may be tokens.
    #[serde(default)]
    tokens: bool,
    /// Most inputs of one request.
    most: Option<usize>,
    /// The field of the vectors' length.
    dimensions: Option<String>,
    /// The field of what the vectors are for.
    purpose: Option<String>,
    /// The provider's word where the caller says nothing and it has to be told.
    default_purpose: Option<String>,
    /// The provider's words for purposes.
    #[serde(default)]
    purposes: BTreeMap<Purpose, String>,
    /// The field of the caller's own user.
    user: Option<String>,
    /// Fields that are always sent unless the caller writes them.
    #[serde(default)]
    always: Map<String, Value>,
    /// Path of the vectors in the answer.
    vectors: String,
    /// They are objects with this field, not bare lists.
    vector: Option<String>,
    /// Paths of the token count, the first that is there.
    used: Vec<String>,
}

/// What vectors are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Purpose {
    Query,
    Document,
    Similarity,
    Classification,
    Clustering,
}

impl Purpose {
    /// The purpose, by the word of any provider.
    fn parse(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase().replace(['.', '-'], "_");
        Some(match word.as_str() {
            "query" | "search_query" | "retrieval_query" => Self::Query,
            "document" | "passage" | "search_document" | "retrieval_document" | "retrieval_passage" => {
                Self::Document
            }
            "similarity" | "semantic_similarity" | "text_matching" => Self::Similarity,
            "classification" => Self::Classification,
            "clustering" | "separation" => Self::Clustering,
            _ => return None,
        })
    }
}

static SHAPES: LazyLock<BTreeMap<String, Shape>> =
    LazyLock::new(|| toml::from_str(include_str!("shapes.toml")).expect("the table is checked by a test"));

/// The format of that name.
pub fn shape(name: &str) -> Option<&'static Shape> {
    SHAPES.get(name)
}

/// The names of all formats.
pub fn shapes() -> impl Iterator<Item = &'static str> {
    SHAPES.keys().map(String::as_str)
}

impl Shape {
    /// Writes a request. Vectors are asked for as numbers, whatever the caller wants of us.
    ///
    /// Errors: more inputs than the provider takes at once, tokens where it takes text only.
    pub fn write_request(&self, request: Request, target: &Target<'_>) -> Result<Written, ApiError> {
        let Request { model, input, dimensions, base64: _, user, purpose, mut unknown } = request;
        if let Some(most) = self.most.filter(|most| input.len() > *most) {
            let message = format!(
                "`input` has {} entries; {} takes at most {most} in one request, so send several",
                input.len(),
                target.provider
            );
            return Err(ApiError::bad_request("input", "too_many_inputs", message));
        }
        let mut draft = Draft::default();
        if !self.model_in_path {
            draft.put("model", model);
        }
        let inputs: Result<Vec<Value>, _> =
            input.into_iter().enumerate().map(|(i, input)| self.one_input(i, input, target)).collect();
        draft.put(&self.input, inputs?);
        match (&self.dimensions, dimensions) {
            (Some(name), dimensions) => draft.put_some(name, dimensions),
            (None, dimensions) => draft.lose_if(dimensions.is_some(), "dimensions"),
        }
        match &self.purpose {
            Some(name) => draft.put_some(name, self.purpose(purpose)),
            None => draft.lose_if(purpose.is_some(), "input_type"),
        }
        match &self.user {
            Some(name) => draft.put_some(name, user),
            None => draft.lose_if(user.is_some(), "user"),
        }
        for (name, value) in &self.always {
            unknown.entry(name.clone()).or_insert_with(|| value.clone());
        }
        Ok(draft.finish(Map::new(), unknown))
    }

    fn one_input(&self, i: usize, input: Input, target: &Target<'_>) -> Result<Value, ApiError> {
        match input {
            Input::Text(text) => Ok(Value::from(text)),
            Input::Tokens(tokens) if self.tokens => Ok(Value::from(tokens)),
            Input::Tokens(_) => {
                Err(unsupported(target, &format!("input[{i}]"), "tokens", "send the text itself"))
            }
        }
    }

    /// The provider's word for a purpose; a word that nobody else has is its own already.
    fn purpose(&self, word: Option<String>) -> Option<String> {
        let Some(word) = word else { return self.default_purpose.clone() };
        let own = Purpose::parse(&word).and_then(|purpose| self.purposes.get(&purpose));
        Some(own.cloned().unwrap_or(word))
    }

    /// Reads an answer. The error says why it is none.
    pub fn read_answer(&self, body: &[u8]) -> Result<Answer, String> {
        let answer = Value::Object(lenient::object(body)?);
        let Some(list) = at(&answer, &self.vectors).as_array() else {
            return Err(format!("the answer has no list `{}`", self.vectors));
        };
        let mut places = Vec::with_capacity(list.len());
        for (i, entry) in list.iter().enumerate() {
            let floats = self.vector.as_ref().map_or(entry, |name| &entry[name.as_str()]);
            let floats = vector(floats)
                .ok_or_else(|| format!("the answer's `{}[{i}]` is not a list of numbers", self.vectors))?;
            places.push((entry["index"].as_u64(), floats));
        }
        // Where entries are numbered, the numbers count; the order is kept where they are not.
        places.sort_by_key(|(index, _)| index.unwrap_or(0));
        let input = self.used.iter().find_map(|path| lenient::count(at(&answer, path)));
        Ok(Answer {
            model: lenient::text(&answer["model"]).map(str::to_owned),
            vectors: places.into_iter().map(|(_, floats)| floats).collect(),
            usage: input.map(|input| Usage { input, ..Usage::default() }),
        })
    }
}

fn vector(floats: &Value) -> Option<Vec<f32>> {
    let number = |value: &Value| value.as_f64().map(|n| n as f32).filter(|n| n.is_finite());
    floats.as_array()?.iter().map(number).collect()
}
