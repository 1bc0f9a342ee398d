//! Whole answers, and what streams have in common with them.

use serde_json::{Map, Value, json};

use super::part::{self, Kind};
use super::{SEAL, error, usage};
use crate::chat::{Answer, Choice, Dialect, Finish, Part, PartKind, Reason, Source};

/// Largest number of a candidate. Gemini gives up to eight.
const MAX_INDEX: u64 = 255;

/// Reads a 2xx answer of `generateContent`. The error says why it is no answer, and never quotes it.
///
/// A prompt that Google's filters block gives an answer that ended with [`Reason::ContentFilter`].
pub fn read_answer(body: &[u8]) -> Result<Answer, String> {
    let value: Value = serde_json::from_slice(body).map_err(|err| {
        format!("the answer is not a JSON object: line {}, column {}", err.line(), err.column())
    })?;
    if value.get("error").is_some_and(|error| !error.is_null()) {
        let error = error::error_in(value).unwrap_or_default();
        let word = error.kind.or(error.code).unwrap_or_else(|| "of no known kind".to_owned());
        return Err(format!("the answer has status 200 but holds an error: {word}"));
    }
    let Value::Object(body) = value else { return Err("the answer is not a JSON object".to_owned()) };
    let mut body = Body::read(body)?;
    if body.candidates.is_empty() {
        let reason = body.block_reason().ok_or("the answer has no `candidates` and no `promptFeedback`")?;
        let finish = Finish::new(Reason::ContentFilter, reason);
        body.candidates.push(Candidate { finish: Some(finish), ..Candidate::default() });
    }
    let mut extra = body.extra;
    let many = body.candidates.len() > 1;
    let mut choices = Vec::new();
    for candidate in body.candidates {
        choices.push(choice(candidate, body.id.as_deref(), many, &mut extra));
    }
    let searches = usage::searches(body.model.as_deref(), &extra);
    let usage = body.usage.as_ref().map(|counts| domain::Usage { searches, ..usage::usage(counts) });
    extra.extend(body.usage.as_ref().and_then(usage::tier));
    Ok(Answer { id: body.id, model: body.model, created: None, choices, usage, extra })
}

/// An answer, or an event of a stream, taken apart.
#[derive(Default)]
pub(super) struct Body {
    pub(super) id: Option<String>,
    pub(super) model: Option<String>,
    pub(super) usage: Option<Map<String, Value>>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) extra: Map<String, Value>,
}

/// One of the answers in it.
#[derive(Default)]
pub(super) struct Candidate {
    pub(super) index: u32,
    pub(super) pieces: Vec<part::Piece>,
    pub(super) finish: Option<Finish>,
    pub(super) logprobs: Option<Value>,
    /// Fields of Gemini's own: `groundingMetadata`, `citationMetadata`, `safetyRatings`, …
    pub(super) extra: Map<String, Value>,
}

impl Body {
    pub(super) fn read(mut body: Map<String, Value>) -> Result<Self, String> {
        let candidates = match body.remove("candidates") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(candidates)) => candidates,
            Some(_) => return Err("`candidates` is no array".to_owned()),
        };
        let candidates = candidates.into_iter().enumerate();
        let candidates = candidates.map(|(at, candidate)| {
            Candidate::read(at, candidate).map_err(|why| format!("candidates[{at}]: {why}"))
        });
        let candidates = candidates.collect::<Result<_, _>>()?;
        let usage = match body.remove("usageMetadata") {
            Some(Value::Object(usage)) => Some(usage),
            _ => None,
        };
        let (id, model) = (text(&mut body, "responseId"), text(&mut body, "modelVersion"));
        Ok(Self { id, model, usage, candidates, extra: body })
    }

    /// Why the prompt was blocked, if it was.
    pub(super) fn block_reason(&self) -> Option<String> {
        let feedback = self.extra.get("promptFeedback")?;
        Some(feedback.get("blockReason")?.as_str()?.to_owned())
    }
}

impl Candidate {
    fn read(at: usize, candidate: Value) -> Result<Self, String> {
        let Value::Object(mut candidate) = candidate else {
            return Err("it is not a JSON object".to_owned());
        };
        let index = match candidate.remove("index") {
            None | Some(Value::Null) => at as u64,
            Some(index) => index.as_u64().ok_or("`index` is no number")?,
        };
        let index = u32::try_from(index).ok().filter(|index| u64::from(*index) <= MAX_INDEX);
        let index = index.ok_or("`index` is too large")?;
        let parts = match candidate.remove("content") {
            Some(Value::Object(mut content)) => content.remove("parts"),
            _ => None,
        };
        let parts = match parts {
            Some(Value::Array(parts)) => parts,
            None | Some(Value::Null) => Vec::new(),
            Some(_) => return Err("`content.parts` is no array".to_owned()),
        };
        let pieces = parts.into_iter().map(part::read).collect::<Result<Vec<_>, _>>()?;
        let finish = text(&mut candidate, "finishReason").map(|raw| Finish::new(reason(&raw), raw));
        let logprobs = candidate.remove("logprobsResult").as_ref().and_then(logprobs);
        candidate.retain(|name, value| !value.is_null() && name != "error");
        Ok(Self { index, pieces, finish, logprobs, extra: candidate })
    }
}

fn text(map: &mut Map<String, Value>, name: &str) -> Option<String> {
    match map.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// What a `finishReason` means. Those that say that something went wrong are [`Reason::Stop`] with the raw word.
fn reason(word: &str) -> Reason {
    match word {
        "MAX_TOKENS" | "CONTINUATION" => Reason::Length,
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "MODEL_ARMOR"
        | "ESCALATION"
        | "PUP_LIMITED_DISABLED" => Reason::ContentFilter,
        _ => Reason::Stop,
    }
}

/// The end of an answer: Gemini says `STOP` as well where the model waits for its tools.
pub(super) fn finish(finish: Option<Finish>, calls: bool) -> Finish {
    let finish = finish.unwrap_or(Finish { reason: Reason::Stop, raw: None, stop_sequence: None });
    let reason = if calls && finish.reason == Reason::Stop { Reason::ToolCalls } else { finish.reason };
    Finish { reason, ..finish }
}

fn choice(candidate: Candidate, id: Option<&str>, many: bool, extra: &mut Map<String, Value>) -> Choice {
    let (mut parts, mut calls): (Vec<Part>, usize) = (Vec::new(), 0);
    for piece in candidate.pieces {
        let mut seal = piece.signature.map(|signature| format!("{SEAL}{signature}"));
        let kind = match piece.kind {
            Kind::Text(text) => {
                match parts.last_mut().map(|part| &mut part.kind) {
                    Some(PartKind::Text { text: so_far, .. }) => so_far.push_str(&text),
                    _ if !text.is_empty() => parts.push(Part::text(text)),
                    _ => {}
                }
                None
            }
            Kind::Thought(text) => Some(PartKind::Thinking { text, signature: seal.take() }),
            Kind::Call { id: given, name, arguments } => {
                let id = given.unwrap_or_else(|| part::call_id(id, candidate.index, calls));
                calls += 1;
                let signature = seal.take().map(|seal| seal[SEAL.len()..].to_owned());
                Some(PartKind::ToolCall { id, name, arguments, signature })
            }
            Kind::Media { media_type, data } => Some(media(media_type, data)),
            Kind::Native(value) => Some(PartKind::Native { dialect: Dialect::Gemini, value }),
        };
        parts.extend(kind.map(Part::new));
        parts.extend(
            seal.map(|seal| Part::new(PartKind::Thinking { text: String::new(), signature: Some(seal) })),
        );
    }
    cite(&mut parts, &candidate.extra);
    keep(candidate.index, candidate.extra, many, extra);
    let finish = finish(candidate.finish, calls > 0);
    Choice { index: candidate.index, parts, finish, logprobs: candidate.logprobs }
}

fn media(media_type: String, data: String) -> PartKind {
    let is_image = media_type.starts_with("image/");
    let source = Source::Base64 { media_type, data };
    if is_image { PartKind::Image { source, detail: None } } else { PartKind::Audio { source } }
}

/// Keeps a candidate's own fields: by their names if there is one candidate, else in an object by its index.
pub(super) fn keep(index: u32, fields: Map<String, Value>, many: bool, extra: &mut Map<String, Value>) {
    for (name, value) in fields {
        if !many {
            extra.insert(name, value);
        } else if let Some(by_index) = extra.entry(name).or_insert_with(|| json!({})).as_object_mut() {
            by_index.insert(index.to_string(), value);
        }
    }
}

/// Puts the places that a text comes from beside its last part; they count from the beginning of the whole text.
fn cite(parts: &mut [Part], extra: &Map<String, Value>) {
    if !extra.contains_key("groundingMetadata") && !extra.contains_key("citationMetadata") {
        return;
    }
    let whole: String = parts
        .iter()
        .filter_map(|part| match &part.kind {
            PartKind::Text { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let last = parts.iter_mut().rev().find_map(|part| match &mut part.kind {
        PartKind::Text { citations, .. } => Some(citations),
        _ => None,
    });
    if let Some(given) = last {
        *given = citations(extra, Some(&whole));
    }
}

/// Citations in OpenAI's form, `{"type": "url_citation", "url_citation": {…}}`, from `groundingMetadata` and
/// `citationMetadata`. Gemini counts bytes, OpenAI characters: without the text there are no positions.
pub(super) fn citations(extra: &Map<String, Value>, text: Option<&str>) -> Vec<Value> {
    let starts: Option<Vec<usize>> = text.map(|text| text.char_indices().map(|(at, _)| at).collect());
    let position = |value: Option<&Value>| {
        let (text, starts) = (text?, starts.as_ref()?);
        let at = usize::try_from(value.map_or(Some(0), Value::as_u64)?).ok()?;
        if at == text.len() { Some(starts.len()) } else { starts.binary_search(&at).ok() }
    };
    let citation = |source: &Value, from: Option<&Value>, to: Option<&Value>| {
        let url = source.get("uri")?.as_str()?;
        let mut citation =
            json!({"url": url, "title": source.get("title").and_then(Value::as_str).unwrap_or(url)});
        if let (Some(from), Some(to)) = (position(from), to.and_then(|to| position(Some(to)))) {
            citation["start_index"] = Value::from(from);
            citation["end_index"] = Value::from(to);
        }
        Some(json!({"type": "url_citation", "url_citation": citation}))
    };
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let mut out = Vec::new();
    if let Some(grounding) = extra.get("groundingMetadata") {
        let chunks = list(grounding.get("groundingChunks"));
        for support in list(grounding.get("groundingSupports")) {
            let segment = support.get("segment");
            let (from, to) =
                (segment.and_then(|s| s.get("startIndex")), segment.and_then(|s| s.get("endIndex")));
            for index in list(support.get("groundingChunkIndices")) {
                let chunk = index.as_u64().and_then(|at| chunks.get(usize::try_from(at).ok()?));
                let source = chunk.and_then(|chunk| {
                    ["web", "retrievedContext", "maps"].into_iter().find_map(|kind| chunk.get(kind))
                });
                out.extend(source.and_then(|source| citation(source, from, to)));
            }
        }
    }
    if let Some(cited) = extra.get("citationMetadata") {
        let sources = cited.get("citations").or_else(|| cited.get("citationSources"));
        for source in list(sources) {
            out.extend(citation(&source, source.get("startIndex"), source.get("endIndex")));
        }
    }
    out
}

/// `logprobsResult` in OpenAI's form.
fn logprobs(result: &Value) -> Option<Value> {
    let token = |candidate: &Value| {
        let token = candidate.get("token").and_then(Value::as_str).unwrap_or_default();
        let bytes: Vec<u8> = token.bytes().collect();
        json!({"token": token, "logprob": candidate.get("logProbability"), "bytes": bytes})
    };
    let chosen = result.get("chosenCandidates")?.as_array()?;
    let tops = result.get("topCandidates").and_then(Value::as_array);
    let content = chosen.iter().enumerate().map(|(at, candidate)| {
        let top = tops.and_then(|tops| tops.get(at)?.get("candidates")?.as_array());
        let mut one = token(candidate);
        one["top_logprobs"] = top.into_iter().flatten().map(token).collect();
        one
    });
    Some(json!({"content": content.collect::<Vec<_>>(), "refusal": null}))
}
