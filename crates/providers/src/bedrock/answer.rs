//! Answers of Converse.

use domain::Usage;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::media::{self, Kind};
use crate::chat::{Answer, Choice, Dialect, Finish, Part, PartKind, Reason, Source};

/// Where Claude says which stop sequence came up: a path into the model's own answer.
pub(super) const STOP_SEQUENCE: &str = "/stop_sequence";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Converse {
    output: Output,
    stop_reason: String,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(default)]
    additional_model_response_fields: Option<Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct Output {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Vec<Value>,
}

/// Converse's counts: its input leaves out what the cache read or wrote.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    cache_write_input_tokens: Option<u64>,
    /// What was written into the cache, by how long it is kept.
    #[serde(default)]
    cache_details: Option<Value>,
}

impl From<&Counts> for Usage {
    fn from(counts: &Counts) -> Self {
        let read = counts.cache_read_input_tokens.unwrap_or(0);
        let written = counts.cache_write_input_tokens.unwrap_or(0);
        Self {
            input: counts.input_tokens.saturating_add(read).saturating_add(written),
            output: counts.output_tokens,
            cached_input: read,
            cache_write: written,
            cache_write_long: kept_for_an_hour(counts.cache_details.as_ref()).min(written),
            ..Self::default()
        }
    }
}

/// Of what was written, the tokens that are kept for an hour.
fn kept_for_an_hour(details: Option<&Value>) -> u64 {
    let details = details.and_then(Value::as_array).into_iter().flatten();
    let long = details.filter(|detail| detail.get("ttl").and_then(Value::as_str) == Some("1h"));
    long.filter_map(|detail| detail.get("inputTokens").and_then(Value::as_u64)).fold(0, u64::saturating_add)
}

/// Reads a whole answer. The error says why it is none.
pub fn read_answer(body: &[u8]) -> Result<Answer, String> {
    let answer: Converse = serde_json::from_slice(body).map_err(|err| {
        format!("the answer is not one of Converse: line {}, column {}", err.line(), err.column())
    })?;
    if answer.rest.get("error").is_some_and(|error| !error.is_null()) {
        return Err("the answer has status 200 but holds an error".to_owned());
    }
    let Converse { output, stop_reason, usage, additional_model_response_fields: additional, rest } = answer;
    let finish = finish(&stop_reason, additional.as_ref());
    let parts = output.message.content.into_iter().map(part).collect();
    Ok(Answer {
        model: routed_to(&rest),
        choices: vec![Choice { index: 0, parts, finish, logprobs: None }],
        usage: usage.as_ref().map(Usage::from),
        extra: extra(rest, usage, additional),
        ..Answer::default()
    })
}

/// The model that a prompt router took.
fn routed_to(rest: &Map<String, Value>) -> Option<String> {
    let model = rest.get("trace")?.pointer("/promptRouter/invokedModelId")?;
    model.as_str().map(str::to_owned)
}

/// What an answer says beside content and counts: the tier in OpenAI's form, the rest in Converse's.
pub(super) fn extra(
    rest: Map<String, Value>,
    counts: Option<Counts>,
    additional: Option<Value>,
) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, value) in rest {
        match value.get("type") {
            // `p` is padding of a random length, so that nobody reads along by the sizes of events.
            _ if value.is_null() || name == "p" || name == "error" => continue,
            Some(tier) if name == "serviceTier" => out.insert("service_tier".to_owned(), tier.clone()),
            _ => out.insert(name, value),
        };
    }
    let details = counts.and_then(|counts| counts.cache_details);
    let further = [("cacheDetails", details), ("additionalModelResponseFields", additional)];
    let said = |value: &Value| !value.is_null() && *value != json!([]);
    out.extend(further.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.filter(said)?))));
    out
}

/// Why an answer ended. `malformed_…`: the model ended by itself, with something that Bedrock could not use.
pub(super) fn finish(word: &str, additional: Option<&Value>) -> Finish {
    let reason = match word {
        "tool_use" => Reason::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" => Reason::Length,
        "stop_sequence" => Reason::StopSequence,
        "guardrail_intervened" | "content_filtered" => Reason::ContentFilter,
        "refusal" => Reason::Refusal,
        "pause_turn" => Reason::Pause,
        _ => Reason::Stop,
    };
    let stop_sequence = additional.and_then(|fields| fields.pointer(STOP_SEQUENCE)).and_then(Value::as_str);
    Finish { stop_sequence: stop_sequence.map(str::to_owned), ..Finish::new(reason, word) }
}

/// A block of content. What only Converse has is kept as it is.
fn part(block: Value) -> Part {
    let kind = known(&block).unwrap_or(PartKind::Native { dialect: Dialect::Bedrock, value: block });
    Part::new(kind)
}

fn known(block: &Value) -> Option<PartKind> {
    let (name, inner) = block.as_object()?.iter().next()?;
    match name.as_str() {
        "text" => Some(PartKind::Text { text: text(inner)?, citations: Vec::new() }),
        "reasoningContent" => thoughts(inner),
        "citationsContent" => cited(inner),
        // A tool that runs at Bedrock is not the caller's to answer.
        "toolUse" if inner.get("type").is_none_or(Value::is_null) => Some(PartKind::ToolCall {
            id: text(inner.get("toolUseId")?)?,
            name: text(inner.get("name")?)?,
            arguments: inner.get("input").map_or_else(String::new, Value::to_string),
            signature: None,
        }),
        name => {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name)?;
            file(kind, inner)
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn thoughts(inner: &Value) -> Option<PartKind> {
    if let Some(data) = inner.get("redactedContent") {
        return Some(PartKind::RedactedThinking { data: text(data)? });
    }
    let thoughts = inner.get("reasoningText")?;
    let signature = thoughts.get("signature").and_then(text);
    Some(PartKind::Thinking { text: text(thoughts.get("text")?)?, signature })
}

fn cited(inner: &Value) -> Option<PartKind> {
    let pieces = inner.get("content")?.as_array()?;
    let pieces = pieces.iter().map(|piece| piece.get("text").and_then(Value::as_str));
    let citations = inner.get("citations").and_then(Value::as_array).cloned().unwrap_or_default();
    Some(PartKind::Text { text: pieces.collect::<Option<String>>()?, citations })
}

fn file(kind: Kind, inner: &Value) -> Option<PartKind> {
    let source = inner.get("source")?;
    let source = match source.get("bytes") {
        Some(bytes) => {
            let media_type = media::media_type(kind, inner.get("format")?.as_str()?)?;
            Source::Base64 { media_type: media_type.to_owned(), data: text(bytes)? }
        }
        None => Source::Url(text(source.pointer("/s3Location/uri")?)?),
    };
    Some(match kind {
        Kind::Image => PartKind::Image { source, detail: None },
        Kind::Document => PartKind::Document { source, name: inner.get("name").and_then(text) },
        Kind::Audio => PartKind::Audio { source },
        Kind::Video => PartKind::Video { source },
    })
}
