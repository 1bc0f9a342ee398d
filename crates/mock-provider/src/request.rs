//! Request bodies: what was asked, and errors in OpenAI's shape when it cannot be read.

use std::borrow::Cow;

use domain::{ApiError, Operation};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::script::MAX_DIMENSIONS;

/// Most choices per prompt, as at OpenAI.
const MAX_CHOICES: usize = 128;

/// A body whose shape is right. The parts are read once the operation and the script are known.
#[derive(Debug, Deserialize)]
pub(crate) struct Body<'b> {
    #[serde(borrow)]
    model: Option<Cow<'b, str>>,
    #[serde(borrow)]
    messages: Option<&'b RawValue>,
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
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Message<'b> {
    role: Cow<'b, str>,
    #[serde(borrow)]
    content: Option<&'b RawValue>,
}

#[derive(Deserialize)]
struct Part<'b> {
    #[serde(borrow)]
    text: Option<Cow<'b, str>>,
}

/// What was asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) operation: Operation,
    /// The texts to answer: the last user message, each prompt, or each input.
    pub(crate) prompts: Vec<String>,
    /// Whitespace-separated words of everything that was sent.
    pub(crate) input_tokens: u64,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) max_tokens: Option<usize>,
    /// Choices per prompt.
    pub(crate) repeat: usize,
    pub(crate) dimensions: Option<usize>,
    /// Vectors as base64 of little-endian floats.
    pub(crate) base64: bool,
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
    pub(crate) fn model(&self) -> Result<&str, ApiError> {
        match self.model.as_deref() {
            Some(model) if !model.is_empty() => Ok(model),
            _ => Err(missing("model", "name a model, as in \"model\":\"mock\"")),
        }
    }

    /// Reads the parts that the operation needs.
    pub(crate) fn ask(&self, operation: Operation) -> Result<Ask, ApiError> {
        let (prompts, input_tokens) = match operation {
            Operation::Chat => conversation(self.messages)?,
            Operation::Completions => counted(texts("prompt", self.prompt)?),
            _ => counted(texts("input", self.input)?),
        };
        Ok(Ask {
            operation,
            prompts,
            input_tokens,
            stream: self.stream.unwrap_or(false) && operation != Operation::Embeddings,
            include_usage: self.stream_options.as_ref().and_then(|o| o.include_usage).unwrap_or(false),
            max_tokens: self.max_completion_tokens.or(self.max_tokens),
            repeat: within("n", self.n, MAX_CHOICES)?.unwrap_or(1),
            dimensions: within("dimensions", self.dimensions, MAX_DIMENSIONS)?,
            base64: self.base64()?,
        })
    }

    fn base64(&self) -> Result<bool, ApiError> {
        match self.encoding_format.as_deref() {
            None | Some("float") => Ok(false),
            Some("base64") => Ok(true),
            Some(_) => Err(invalid("encoding_format", "write `float` or `base64`")),
        }
    }
}

/// The last user message, or the last message of all, and the words of the whole conversation.
fn conversation(messages: Option<&RawValue>) -> Result<(Vec<String>, u64), ApiError> {
    let expected = "write an array of {\"role\",\"content\"} objects with at least one";
    let raw = messages.ok_or_else(|| missing("messages", expected))?;
    let messages: Vec<Message<'_>> =
        serde_json::from_str(raw.get()).map_err(|err| invalid("messages", &format!("{expected}: {err}")))?;
    let mut words = 0;
    let mut last: Option<(bool, String)> = None;
    for message in messages {
        let text = content(message.content)?;
        words += count_words(&text);
        let user = message.role == "user";
        if user || last.as_ref().is_none_or(|(user, _)| !user) {
            last = Some((user, text));
        }
    }
    let (_, prompt) = last.ok_or_else(|| missing("messages", expected))?;
    Ok((vec![prompt], words))
}

/// Text of a message: a string, the text parts of an array, or nothing.
fn content(raw: Option<&RawValue>) -> Result<String, ApiError> {
    let Some(raw) = raw.map(RawValue::get) else { return Ok(String::new()) };
    let read = if raw.starts_with('[') {
        serde_json::from_str::<Vec<Part<'_>>>(raw)
            .map(|parts| parts.iter().filter_map(|part| part.text.as_deref()).collect::<Vec<_>>().join(" "))
    } else {
        serde_json::from_str::<Option<String>>(raw).map(Option::unwrap_or_default)
    };
    read.map_err(|err| invalid("messages", &format!("content is a string or an array of parts: {err}")))
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
    let words = texts.iter().map(|text| count_words(text)).sum();
    (texts, words)
}

fn count_words(text: &str) -> u64 {
    text.split_whitespace().fold(0, |count, _| count + 1)
}

fn within(field: &str, value: Option<usize>, max: usize) -> Result<Option<usize>, ApiError> {
    match value {
        Some(value) if !(1..=max).contains(&value) => Err(invalid(field, &format!("write 1 to {max}"))),
        value => Ok(value),
    }
}

fn missing(field: &str, fix: &str) -> ApiError {
    ApiError::bad_request(field, "missing_required_parameter", format!("`{field}` is missing: {fix}"))
}

fn invalid(field: &str, fix: &str) -> ApiError {
    ApiError::bad_request(field, "invalid_value", format!("`{field}` is not understood: {fix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(operation: Operation, body: &str) -> Result<Ask, ApiError> {
        Body::parse(body.as_bytes())?.ask(operation)
    }

    #[track_caller]
    fn prompts(operation: Operation, body: &str, expected: &[&str], input_tokens: u64) {
        let ask = ask(operation, body).expect(body);
        assert_eq!(ask.prompts, expected, "{body}");
        assert_eq!(ask.input_tokens, input_tokens, "{body}");
    }

    #[test]
    fn the_last_user_message_is_answered_and_all_words_are_counted() {
        let chat = |messages: &str| format!("{{\"messages\":{messages}}}");
        let check =
            |messages, expected, tokens| prompts(Operation::Chat, &chat(messages), &[expected], tokens);
        check(
            r#"[{"role":"system","content":"be kind"},{"role":"user","content":"who is it"}]"#,
            "who is it",
            5,
        );
        check(r#"[{"role":"user","content":"a"},{"role":"assistant","content":"b c"}]"#, "a", 3);
        check(r#"[{"role":"system","content":"x"},{"role":"assistant","content":null}]"#, "", 1);
        check(r#"[{"role":"user","content":[{"type":"text","text":"a b"},{"type":"image_url"}]}]"#, "a b", 2);
        check(r#"[{"role":"tool"},{"role":"user","content":"\u00e9 \"q\""}]"#, "é \"q\"", 2);
    }

    #[test]
    fn prompts_and_inputs_are_texts_or_tokens() {
        prompts(Operation::Completions, r#"{"prompt":"a b"}"#, &["a b"], 2);
        prompts(Operation::Embeddings, r#"{"input":["a","b c"]}"#, &["a", "b c"], 3);
        prompts(Operation::Embeddings, r#"{"input":[1,2]}"#, &["1 2"], 2);
        prompts(Operation::Embeddings, r#"{"input":[[1,2],[3]]}"#, &["1 2", "3"], 3);
    }

    #[test]
    fn mistakes_name_the_field() {
        for (operation, body, param) in [
            (Operation::Chat, "{", None),
            (Operation::Chat, "[]", None),
            (Operation::Chat, "{}", Some("messages")),
            (Operation::Chat, r#"{"messages":"hi"}"#, Some("messages")),
            (Operation::Chat, r#"{"messages":[]}"#, Some("messages")),
            (Operation::Chat, r#"{"messages":[{"role":"user","content":7}]}"#, Some("messages")),
            (Operation::Chat, r#"{"messages":[{"role":"user"}],"n":0}"#, Some("n")),
            (Operation::Completions, "{}", Some("prompt")),
            (Operation::Completions, r#"{"prompt":[]}"#, Some("prompt")),
            (Operation::Embeddings, r#"{"input":{}}"#, Some("input")),
            (Operation::Embeddings, r#"{"input":"a","dimensions":5000}"#, Some("dimensions")),
            (Operation::Embeddings, r#"{"input":"a","encoding_format":"hex"}"#, Some("encoding_format")),
        ] {
            let err = ask(operation, body).expect_err(body);
            assert_eq!((err.status, err.param.as_deref()), (400, param), "{body}");
        }
        let unnamed = Body::parse(b"{}").expect("shape").model().map(str::to_owned);
        assert_eq!(unnamed.expect_err("no model").param.as_deref(), Some("model"));
    }
}
