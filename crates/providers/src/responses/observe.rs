//! Responses on both sides: bytes go through as they are, and only what they say of model, tokens and end is read.

use bytes::Bytes;
use domain::{ApiError, Usage};
use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::sink::event;
use super::stream::error_fields;
use crate::openai::{StreamEvent, Told, tier};
use crate::sse;

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    service_tier: Option<Value>,
    #[serde(default)]
    output: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default, rename = "type")]
    kind: Option<Value>,
    #[serde(default)]
    action: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    #[serde(default, rename = "type")]
    kind: Option<Value>,
}

impl Item {
    /// Whether it is a search of the web. Opening a page and looking for a word in it cost nothing.
    ///
    /// Source: "Output and citations" in OpenAI's guide to web search.
    fn is_search(&self) -> bool {
        let is = |value: Option<&Value>, word: &str| value.and_then(Value::as_str) == Some(word);
        let action = self.action.as_ref().and_then(|action| action.kind.as_ref());
        is(self.kind.as_ref(), "web_search_call") && action.is_none_or(|kind| is(Some(kind), "search"))
    }
}

impl Response {
    /// Tokens, and what else is charged.
    fn usage(&mut self) -> Option<Usage> {
        let usage = Usage::from(self.usage.take()?);
        let output = self.output.as_ref().filter(|items| items.get().contains("web_search_call"));
        let items = output.and_then(|items| serde_json::from_str::<Vec<Item>>(items.get()).ok());
        let searches = items.unwrap_or_default().iter().filter(|item| item.is_search()).count();
        Some(Usage { searches: searches as u64, ..usage })
    }
}

#[derive(Default, Deserialize)]
struct Counts {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    #[serde(default)]
    input_tokens_details: Option<InputDetails>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Default, Deserialize)]
struct InputDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
    #[serde(default)]
    cache_write_tokens: Option<u64>,
    #[serde(default)]
    audio_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct OutputDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
    #[serde(default)]
    audio_tokens: Option<u64>,
}

impl From<Counts> for Usage {
    fn from(counts: Counts) -> Self {
        let input = counts.input_tokens_details.unwrap_or_default();
        let output = counts.output_tokens_details.unwrap_or_default();
        Self {
            input: counts.input_tokens,
            output: counts.output_tokens,
            cached_input: input.cached_tokens.unwrap_or_default(),
            cache_write: input.cache_write_tokens.unwrap_or_default(),
            audio_input: input.audio_tokens.unwrap_or_default(),
            reasoning: output.reasoning_tokens.unwrap_or_default(),
            audio_output: output.audio_tokens.unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// Reads a whole 2xx answer. The error says why it is no answer: not JSON, or an error in disguise.
///
/// A response that is queued or in progress is an answer without counts.
pub fn told(body: &[u8]) -> Result<Told, String> {
    let mut response: Response = serde_json::from_slice(body)
        .map_err(|err| format!("the answer is not a JSON object: {}", place(&err)))?;
    if response.status.as_deref() == Some("failed") || response.error.is_some() {
        let code = response.error.as_ref().and_then(word).unwrap_or_else(|| "error".to_owned());
        return Err(format!("the answer has status 200 but holds an error: {code}"));
    }
    let (usage, tier) = (response.usage(), response.service_tier.as_ref().and_then(tier));
    Ok(Told { model: response.model, usage, tier, region: None })
}

/// Looks at the events of one stream.
pub fn observer() -> Observer {
    Observer::default()
}

/// Collects what the events of a stream say.
#[derive(Debug, Default)]
pub struct Observer {
    told: Told,
    /// Number of the next event.
    sequence: u64,
}

#[derive(Deserialize)]
struct Seen {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    sequence_number: Option<u64>,
    #[serde(default)]
    response: Option<Response>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    code: Option<Value>,
}

impl Observer {
    /// Looks at one event. Only those that may begin or end the response are parsed.
    pub fn look(&mut self, event: &[u8]) -> StreamEvent {
        let Some(data) = sse::data(event) else { return StreamEvent::Piece };
        if data == b"[DONE]" {
            return StreamEvent::Done;
        }
        let mentions = |word: &[u8]| memmem::find(data, word).is_some();
        let whole = data.first() == Some(&b'{') && data.last() == Some(&b'}');
        if whole && !mentions(b"\"response\"") && !mentions(b"\"error\"") {
            // Pieces are counted, not parsed.
            self.sequence += 1;
            return StreamEvent::Piece;
        }
        match serde_json::from_slice::<Seen>(data) {
            Ok(seen) => self.take(seen),
            Err(err) => StreamEvent::Malformed(place(&err)),
        }
    }

    /// The event that tells the caller of an error of ours that ends this stream.
    pub fn error_event(&self, error: &ApiError) -> Bytes {
        let code = error.code.as_deref().unwrap_or(&error.kind);
        let fields =
            error_fields(&error.message, Some(&error.kind), code, error.param.as_deref()).to_string();
        Bytes::from(event("error", self.sequence, &fields[1..fields.len() - 1]))
    }

    fn take(&mut self, seen: Seen) -> StreamEvent {
        self.sequence = seen.sequence_number.unwrap_or(self.sequence).saturating_add(1);
        let kind = seen.kind.as_deref().unwrap_or_default();
        let failure = seen.response.as_ref().and_then(|response| response.error.as_ref());
        let failure =
            failure.or(seen.error.as_ref()).and_then(word).or_else(|| seen.code.as_ref().and_then(text));
        if let Some(mut response) = seen.response {
            self.told.usage = response.usage().or(self.told.usage.take());
            self.told.model = response.model.or(self.told.model.take());
            // What was asked for may be `auto`; the last event says what it was.
            self.told.tier = response.service_tier.as_ref().and_then(tier);
        }
        match kind {
            "response.completed" | "response.incomplete" => StreamEvent::DoneWithUsage(self.told.clone()),
            "response.failed" | "error" => StreamEvent::Error(failure.unwrap_or_else(|| "error".to_owned())),
            _ => StreamEvent::Piece,
        }
    }
}

/// The code, else the type, of an error.
fn word(error: &Value) -> Option<String> {
    error.get("code").and_then(text).or_else(|| error.get("type").and_then(text))
}

/// A word, never a sentence.
fn text(value: &Value) -> Option<String> {
    let is_word = |text: &&str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.')
    };
    value.as_str().filter(is_word).map(str::to_owned)
}

/// Where a text stops being what it should be. Not the parser's own words, which quote the text.
fn place(err: &serde_json::Error) -> String {
    format!("line {}, column {}", err.line(), err.column())
}
