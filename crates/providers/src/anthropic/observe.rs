//! Anthropic on both sides: bytes go through as they are, and only what they say of model, tokens and end is read.

use domain::Usage;
use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;

use super::usage::{Counts, read_geo};
use crate::openai::{StreamEvent, Told, tier};
use crate::sse;

#[derive(Deserialize)]
struct Whole {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    message: Option<Box<Whole>>,
    #[serde(default)]
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

impl Whole {
    /// The family of an error: a word, never a sentence.
    fn failure(&self) -> Option<String> {
        let error = self.error.as_ref();
        (self.kind.as_deref() == Some("error") || error.is_some()).then(|| {
            let kind = error.and_then(|error| error.kind.as_deref());
            let is_word = |text: &&str| {
                (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            };
            kind.filter(is_word).unwrap_or("error").to_owned()
        })
    }
}

/// Reads a whole 2xx answer. The error says why it is no answer: not JSON, or an error in disguise.
pub fn told(body: &[u8]) -> Result<Told, String> {
    let whole: Whole = serde_json::from_slice(body)
        .map_err(|err| format!("the answer is not a JSON object: {}", place(&err)))?;
    if let Some(kind) = whole.failure() {
        return Err(format!("the answer has status 200 but holds an error: {kind}"));
    }
    let mut told = whole.usage.as_ref().map(told_in).unwrap_or_default();
    told.usage = whole.usage.map(|usage| Usage::from(Counts::of(&usage)));
    Ok(Told { model: whole.model, ..told })
}

/// Tier and place that a `usage` object names.
fn told_in(usage: &Value) -> Told {
    let geo = read_geo(usage).and_then(|(_, geo)| geo.as_str().map(str::to_owned));
    Told { tier: usage.get("service_tier").and_then(tier), region: geo, ..Told::default() }
}

/// Looks at the events of one stream.
pub fn observer() -> Observer {
    Observer::default()
}

/// Collects what the events of a stream say of model and tokens: the prompt is counted at its start, the answer at its
/// end.
#[derive(Debug, Default)]
pub struct Observer {
    told: Told,
    counts: Counts,
}

impl Observer {
    /// Looks at one event. Only events that may matter are parsed.
    pub fn look(&mut self, event: &[u8]) -> StreamEvent {
        let Some(data) = sse::data(event) else { return StreamEvent::Piece };
        let mentions = |word: &[u8]| memmem::find(data, word).is_some();
        let whole = data.first() == Some(&b'{') && data.last() == Some(&b'}');
        if whole && !mentions(b"\"message_st") && !mentions(b"\"message_delta\"") && !mentions(b"\"error\"") {
            return StreamEvent::Piece;
        }
        match serde_json::from_slice::<Whole>(data) {
            Ok(whole) => self.take(whole),
            Err(err) => StreamEvent::Malformed(place(&err)),
        }
    }

    fn take(&mut self, whole: Whole) -> StreamEvent {
        if let Some(kind) = whole.failure() {
            return StreamEvent::Error(kind);
        }
        let (model, usage) = match whole.kind.as_deref() {
            Some("message_start") => {
                let message = whole.message.map(|message| *message);
                message.map_or((None, None), |message| (message.model, message.usage))
            }
            Some("message_delta") => (None, whole.usage),
            Some("message_stop") => return StreamEvent::Done,
            _ => return StreamEvent::Piece,
        };
        let told = &mut self.told;
        told.model = model.or(told.model.take());
        let Some(usage) = usage else { return StreamEvent::Piece };
        self.counts.update(Counts::of(&usage));
        let said = told_in(&usage);
        told.tier = said.tier.or(told.tier.take());
        told.region = said.region.or(told.region.take());
        told.usage = Some(self.counts.into());
        StreamEvent::PieceWithUsage(told.clone())
    }
}

/// Where a text stops being what it should be. Not the parser's own words, which quote the text.
fn place(err: &serde_json::Error) -> String {
    format!("line {}, column {}", err.line(), err.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_answer_tells_its_model_and_usage() {
        let body = br#"{"type":"message","model":"claude-sonnet-5","content":[],"usage":
            {"input_tokens":3,"cache_read_input_tokens":4,"output_tokens":5,"service_tier":"priority","inference_geo":"us"}}"#;
        let usage = Usage { input: 7, output: 5, cached_input: 4, ..Usage::default() };
        let expected = Told {
            model: Some("claude-sonnet-5".into()),
            usage: Some(usage),
            tier: Some("priority".into()),
            region: Some("us".into()),
        };
        assert_eq!(told(body), Ok(expected));
        let disguised = br#"{"type":"error","error":{"type":"api_error","message":"secret"}}"#;
        assert_eq!(told(disguised), Err("the answer has status 200 but holds an error: api_error".into()));
        assert!(told(b"<html>").unwrap_err().contains("line 1"));
    }

    #[test]
    fn counts_add_up_over_a_stream() {
        let mut observer = observer();
        let start = b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\
            \"usage\":{\"input_tokens\":3,\"cache_creation_input_tokens\":2,\"output_tokens\":1,\
            \"service_tier\":\"batch\",\"inference_geo\":\"global\"}}}\n\n";
        let StreamEvent::PieceWithUsage(first) = observer.look(start) else { panic!("no counts") };
        assert_eq!(first.usage.unwrap().input, 5);
        assert_eq!(observer.look(b"event: ping\ndata: {\"type\": \"ping\"}\n\n"), StreamEvent::Piece);
        let text =
            b"data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"\\\"message_stop\\\"\"}}\n\n";
        assert_eq!(observer.look(text), StreamEvent::Piece);
        let delta =
            b"data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}\n\n";
        let usage = Usage { input: 5, output: 9, cache_write: 2, ..Usage::default() };
        let expected =
            Told { model: Some("m".into()), usage: Some(usage), tier: Some("batch".into()), region: None };
        assert_eq!(observer.look(delta), StreamEvent::PieceWithUsage(expected));
        assert_eq!(observer.look(b"data: {\"type\":\"message_stop\"}\n\n"), StreamEvent::Done);
    }

    #[test]
    fn errors_and_broken_events_are_seen() {
        let error = b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n";
        assert_eq!(observer().look(error), StreamEvent::Error("overloaded_error".into()));
        assert_eq!(
            observer().look(b"data: {\"type\":\n\n"),
            StreamEvent::Malformed("line 1, column 8".into())
        );
        assert_eq!(observer().look(b": comment\n\n"), StreamEvent::Piece);
    }
}
