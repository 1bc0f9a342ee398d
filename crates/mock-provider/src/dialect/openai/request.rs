//! Request bodies: what was asked, and errors in OpenAI's shape when it cannot be read.

use std::borrow::Cow;

use domain::ApiError;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{invalid, missing};
use crate::script::MAX_DIMENSIONS;
use crate::text::count_words;

/// Most choices per prompt, as at OpenAI.
const MAX_CHOICES: usize = 128;

/// A body whose shape is right. The parts are read once the operation and the script are known.
#[derive(Debug, Deserialize)]
pub(crate) struct Body<'b> {
    #[serde(borrow)]
    model: Option<Cow<'b, str>>,
    #[serde(borrow)]
    pub(crate) messages: Option<&'b RawValue>,
    #[serde(borrow)]
    prompt: Option<&'b RawValue>,
    #[serde(borrow)]
    input: Option<&'b RawValue>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    n: Option<usize>,
    dimensions: Option<usize>,
    #[serde(borrow)]
    encoding_format: Option<Cow<'b, str>>,
    #[serde(borrow)]
    pub(crate) tools: Option<&'b RawValue>,
    #[serde(borrow)]
    pub(crate) tool_choice: Option<&'b RawValue>,
    #[serde(borrow)]
    pub(crate) response_format: Option<&'b RawValue>,
    #[serde(borrow)]
    stop: Option<&'b RawValue>,
    #[serde(borrow)]
    pub(crate) logprobs: Option<&'b RawValue>,
    pub(crate) top_logprobs: Option<usize>,
    pub(crate) parallel_tool_calls: Option<bool>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

impl<'b> Body<'b> {
    /// Reads the outermost level.
    pub(crate) fn parse(bytes: &'b [u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(bytes).map_err(|err| {
            let message = format!("could not read the request body as a JSON object of known shape: {err}");
            ApiError::new(400, "invalid_json", message)
        })
    }

    /// The model name with its script.
    pub(crate) fn model(&self) -> Result<Cow<'b, str>, ApiError> {
        match &self.model {
            Some(model) if !model.is_empty() => Ok(model.clone()),
            _ => Err(missing("model", "name a model, as in \"model\":\"mock\"")),
        }
    }

    /// The texts to complete, and their words.
    pub(crate) fn prompts(&self) -> Result<(Vec<String>, u64), ApiError> {
        texts("prompt", self.prompt).map(counted)
    }

    /// The texts to embed, and their words.
    pub(crate) fn inputs(&self) -> Result<(Vec<String>, u64), ApiError> {
        texts("input", self.input).map(counted)
    }

    /// Whether the answer is streamed, and whether token counts are an event of the stream.
    pub(crate) fn stream(&self) -> Result<(bool, bool), ApiError> {
        match (self.stream.unwrap_or(false), &self.stream_options) {
            (false, Some(_)) => Err(invalid("stream_options", "write it only when `stream` is true")),
            (stream, options) => {
                Ok((stream, options.as_ref().and_then(|o| o.include_usage).unwrap_or(false)))
            }
        }
    }

    /// How long an answer may be.
    pub(crate) fn max_tokens(&self) -> Result<Option<usize>, ApiError> {
        match (self.max_tokens, self.max_completion_tokens) {
            (Some(_), Some(_)) => {
                Err(invalid("max_tokens", "write either `max_tokens` or `max_completion_tokens`"))
            }
            (old, new) => Ok(new.or(old)),
        }
    }

    /// Choices per prompt.
    pub(crate) fn repeat(&self) -> Result<usize, ApiError> {
        Ok(within("n", self.n, MAX_CHOICES)?.unwrap_or(1))
    }

    /// Length of vectors.
    pub(crate) fn dimensions(&self) -> Result<Option<usize>, ApiError> {
        within("dimensions", self.dimensions, MAX_DIMENSIONS)
    }

    /// Whether vectors are base64 of little-endian floats.
    pub(crate) fn base64(&self) -> Result<bool, ApiError> {
        match self.encoding_format.as_deref() {
            None | Some("float") => Ok(false),
            Some("base64") => Ok(true),
            Some(_) => Err(invalid("encoding_format", "write `float` or `base64`")),
        }
    }

    /// What ends an answer.
    pub(crate) fn stop(&self) -> Result<Vec<String>, ApiError> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Stop {
            One(String),
            Many(Vec<String>),
        }
        let expected = "write a string, or an array of at most 4 strings";
        let Some(raw) = self.stop else { return Ok(Vec::new()) };
        match serde_json::from_str::<Option<Stop>>(raw.get()).map_err(|_| invalid("stop", expected))? {
            None => Ok(Vec::new()),
            Some(Stop::One(text)) => Ok(vec![text]),
            Some(Stop::Many(texts)) if texts.len() <= 4 => Ok(texts),
            Some(Stop::Many(_)) => Err(invalid("stop", expected)),
        }
    }

    /// Looks at the numbers that steer sampling.
    pub(crate) fn sampling(&self) -> Result<(), ApiError> {
        for (field, value, low, high) in [
            ("temperature", self.temperature, 0.0, 2.0),
            ("top_p", self.top_p, 0.0, 1.0),
            ("frequency_penalty", self.frequency_penalty, -2.0, 2.0),
            ("presence_penalty", self.presence_penalty, -2.0, 2.0),
        ] {
            if value.is_some_and(|value| !(low..=high).contains(&value)) {
                return Err(invalid(field, &format!("write {low} to {high}")));
            }
        }
        Ok(())
    }
}

/// A text, texts, tokens or lists of tokens; tokens are written as numbers.
fn texts(field: &str, raw: Option<&RawValue>) -> Result<Vec<String>, ApiError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        One(String),
        Many(Vec<String>),
        Tokens(Vec<u64>),
        ManyTokens(Vec<Vec<u64>>),
    }
    let spelled = |tokens: &[u64]| tokens.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
    let expected = "write a string, or an array of strings or tokens with at least one";
    let raw = raw.ok_or_else(|| missing(field, expected))?;
    let texts = match serde_json::from_str(raw.get()).map_err(|_| invalid(field, expected))? {
        Texts::One(text) => vec![text],
        Texts::Many(texts) => texts,
        Texts::Tokens(tokens) => vec![spelled(&tokens)],
        Texts::ManyTokens(lists) => lists.iter().map(|tokens| spelled(tokens)).collect(),
    };
    if texts.is_empty() { Err(invalid(field, expected)) } else { Ok(texts) }
}

fn counted(texts: Vec<String>) -> (Vec<String>, u64) {
    let words = texts.iter().map(|text| count_words(text) as u64).sum();
    (texts, words)
}

fn within(field: &str, value: Option<usize>, max: usize) -> Result<Option<usize>, ApiError> {
    match value {
        Some(value) if !(1..=max).contains(&value) => Err(invalid(field, &format!("write 1 to {max}"))),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_and_inputs_are_texts_or_tokens() {
        for (body, expected, words) in [
            (r#"{"input":"a b"}"#, vec!["a b"], 2),
            (r#"{"input":["a","b c"]}"#, vec!["a", "b c"], 3),
            (r#"{"input":[1,2]}"#, vec!["1 2"], 2),
            (r#"{"input":[[1,2],[3]]}"#, vec!["1 2", "3"], 3),
        ] {
            let (texts, counted) = Body::parse(body.as_bytes()).expect(body).inputs().expect(body);
            assert_eq!(
                (texts, counted),
                (expected.into_iter().map(str::to_owned).collect(), words),
                "{body}"
            );
            let body = body.replace("input", "prompt");
            Body::parse(body.as_bytes()).expect(&body).prompts().expect(&body);
        }
    }

    #[test]
    fn mistakes_name_the_field() {
        type Look = fn(&Body<'_>) -> Option<ApiError>;
        let cases: &[(&str, Look, &str)] = &[
            ("{}", |b| b.prompts().err(), "prompt"),
            (r#"{"prompt":[]}"#, |b| b.prompts().err(), "prompt"),
            (r#"{"input":{}}"#, |b| b.inputs().err(), "input"),
            (r#"{"dimensions":5000}"#, |b| b.dimensions().err(), "dimensions"),
            (r#"{"encoding_format":"hex"}"#, |b| b.base64().err(), "encoding_format"),
            (r#"{"n":0}"#, |b| b.repeat().err(), "n"),
            (r#"{"stop":["a","b","c","d","e"]}"#, |b| b.stop().err(), "stop"),
            (r#"{"stop":7}"#, |b| b.stop().err(), "stop"),
            (r#"{"temperature":2.5}"#, |b| b.sampling().err(), "temperature"),
            (r#"{"stream_options":{}}"#, |b| b.stream().err(), "stream_options"),
            (r#"{"max_tokens":1,"max_completion_tokens":1}"#, |b| b.max_tokens().err(), "max_tokens"),
            ("{}", |b| b.model().err(), "model"),
        ];
        for (text, look, param) in cases {
            let body = Body::parse(text.as_bytes()).expect(text);
            let err = look(&body).expect(text);
            assert_eq!((err.status, err.param.as_deref()), (400, Some(*param)), "{text}");
        }
        assert!(Body::parse(b"[]").is_err() && Body::parse(b"{").is_err());
    }
}
