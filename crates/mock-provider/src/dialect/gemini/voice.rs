//! The answer, and its stream.
//! Source: ai.google.dev/api/generate-content, "GenerateContentResponse".

use domain::ApiError;
use serde_json::{Value, json};

use super::error_body;
use super::history::call_signature;
use crate::chat::{Block, Finish, Kind, Reply, Usage, signature};
use crate::stream::{Beat, Pen, Voice};
use crate::text;
use crate::wire::{Event, Framing};

/// Writes Gemini's answers.
pub(super) struct GeminiVoice {
    pub(super) framing: Framing,
    /// Gemini 3 or later: calls have ids and signatures.
    pub(super) newest: bool,
    /// How many alternatives of each token are told.
    pub(super) logprobs: Option<usize>,
}

impl Voice for GeminiVoice {
    fn framing(&self) -> Framing {
        self.framing
    }

    fn whole_calls(&self) -> bool {
        true
    }

    fn whole(&self, reply: &Reply) -> Vec<u8> {
        let mut parts: Vec<_> =
            reply.blocks.iter().map(|block| self.part(reply, block, &block.text.text)).collect();
        if let (Some(thought), Some(last)) = (reply.thought(), parts.last_mut())
            && last.get("functionCall").is_none()
        {
            last["thoughtSignature"] = signature(thought).into();
        }
        let mut answer = self.response(reply, &parts, Some(&reply.finish));
        if let Some(alternatives) = self.logprobs {
            for candidate in answer["candidates"].as_array_mut().into_iter().flatten() {
                candidate["avgLogprobs"] = json!(-0.25);
                candidate["logprobsResult"] = logprobs(&reply.said(), alternatives);
            }
        }
        text::json(&answer)
    }

    fn beat(&self, reply: &Reply, beat: Beat<'_>, pen: &mut Pen) {
        match beat {
            Beat::Piece { block, text } => {
                let part = self.part(reply, &reply.blocks[block], text);
                pen.plain(&self.response(reply, &[part], None));
            }
            Beat::Finish => {
                let signed = reply.thought().filter(|_| reply.calls().next().is_none());
                let part = match signed {
                    Some(thought) => json!({"text": "", "thoughtSignature": signature(thought)}),
                    None => json!({"text": ""}),
                };
                pen.plain(&self.response(reply, &[part], Some(&reply.finish)));
            }
            Beat::Done if self.framing == Framing::Array => pen.event(Event::End(b"]")),
            Beat::Start | Beat::Open(_) | Beat::Close(_) | Beat::Usage | Beat::Done => {}
        }
    }

    fn error(&self, err: &ApiError, pen: &mut Pen) {
        pen.plain(&error_body(err));
        if self.framing == Framing::Array {
            pen.event(Event::End(b"]"));
        }
    }
}

impl GeminiVoice {
    fn part(&self, reply: &Reply, block: &Block, text: &str) -> Value {
        match &block.kind {
            Kind::Thought => json!({"text": text, "thought": true}),
            Kind::Said => json!({"text": text}),
            Kind::Call { number, name } => {
                let args: Value = serde_json::from_str(text).unwrap_or_else(|_| json!({}));
                let mut part = json!({"functionCall": {"name": name, "args": args}});
                if self.newest {
                    part["functionCall"]["id"] = format!("{:08x}{number}", reply.id >> 32).into();
                }
                if *number == 0 && (self.newest || reply.thought().is_some()) {
                    part["thoughtSignature"] = call_signature(name, &args).into();
                }
                part
            }
        }
    }

    fn response(&self, reply: &Reply, parts: &[Value], finish: Option<&Finish>) -> Value {
        let candidate = |index: usize| {
            let mut candidate = json!({"index": index});
            if finish != Some(&Finish::Filtered) {
                candidate["content"] = json!({"parts": parts, "role": "model"});
            }
            if let Some(finish) = finish {
                candidate["finishReason"] = finish_reason(finish).into();
                if *finish == Finish::Filtered {
                    candidate["safetyRatings"] = json!([{
                        "category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": true,
                    }]);
                }
            }
            candidate
        };
        let mut answer = json!({"candidates": (0..reply.repeat).map(candidate).collect::<Vec<_>>()});
        if reply.with_usage {
            answer["usageMetadata"] = usage(&reply.usage, finish.is_some());
        }
        answer["modelVersion"] = reply.model.as_str().into();
        answer["responseId"] = format!("{:016x}", reply.id).into();
        answer
    }
}

/// Calls end like texts.
fn finish_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Whole | Finish::Stop(_) | Finish::Calls => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::Filtered => "SAFETY",
    }
}

/// Thoughts are no part of the candidates' tokens, cached tokens are part of the prompt's. What was generated is
/// told at the end.
fn usage(usage: &Usage, end: bool) -> Value {
    let mut told = json!({
        "promptTokenCount": usage.input,
        "totalTokenCount": usage.input + if end { usage.output } else { 0 },
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}],
    });
    if usage.cached > 0 {
        told["cachedContentTokenCount"] = usage.cached.into();
    }
    if end {
        told["candidatesTokenCount"] = (usage.output - usage.thought).into();
        if usage.thought > 0 {
            told["thoughtsTokenCount"] = usage.thought.into();
        }
    }
    told
}

/// Each word is a token, and each as likely as the other.
fn logprobs(text: &str, alternatives: usize) -> Value {
    let token = |word: &str| json!({"token": word, "tokenId": word.len(), "logProbability": -0.25});
    let chosen: Vec<_> = text.split_whitespace().map(token).collect();
    let top =
        |word| json!({"candidates": std::iter::repeat_n(token(word), alternatives).collect::<Vec<_>>()});
    let top: Vec<_> = text.split_whitespace().map(top).collect();
    json!({"chosenCandidates": chosen, "topCandidates": top})
}
