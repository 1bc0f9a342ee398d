//! The answer, and its stream.
//! Source: docs.cohere.com/v2/reference/chat-stream.

use domain::ApiError;
use serde_json::{Value, json};

use super::uuid;
use crate::chat::{Finish, Kind, Reply, Usage};
use crate::stream::{Beat, Pen, Voice};
use crate::text;
use crate::wire::Framing;

/// What is said of what is to be done, before a tool is called.
const PLAN: &str = "I will use the tools.";

/// Writes Cohere's answers.
pub(super) struct CohereVoice {
    /// What the first word of an answer is said to come from.
    pub(super) document: Option<String>,
    pub(super) logprobs: bool,
}

impl Voice for CohereVoice {
    fn framing(&self) -> Framing {
        Framing::Sse
    }

    fn whole(&self, reply: &Reply) -> Vec<u8> {
        let mut message = json!({"role": "assistant"});
        let mut content = Vec::new();
        if let Some(thought) = reply.thought() {
            content.push(json!({"type": "thinking", "thinking": thought}));
        }
        let calls: Vec<_> =
            reply.calls().map(|(number, name, arguments)| call(reply, number, name, arguments)).collect();
        if calls.is_empty() {
            content.push(json!({"type": "text", "text": reply.said()}));
        } else {
            message["tool_plan"] = PLAN.into();
            message["tool_calls"] = calls.into();
        }
        if !content.is_empty() {
            message["content"] = content.into();
        }
        if let Some(citation) = self.citation(reply) {
            message["citations"] = json!([citation]);
        }
        let mut answer = json!({
            "id": uuid(reply.id), "message": message, "finish_reason": finish_reason(&reply.finish),
        });
        if reply.with_usage {
            answer["usage"] = usage(&reply.usage);
        }
        if self.logprobs {
            answer["logprobs"] = json!([logprobs(&reply.said())]);
        }
        text::json(&answer)
    }

    fn beat(&self, reply: &Reply, beat: Beat<'_>, pen: &mut Pen) {
        match beat {
            Beat::Start => {
                let message = json!({"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []});
                let event =
                    json!({"id": uuid(reply.id), "type": "message-start", "delta": {"message": message}});
                pen.named("message-start", &event);
                if reply.calls().next().is_some() {
                    typed(pen, "tool-plan-delta", None, &json!({"tool_plan": PLAN}));
                }
            }
            Beat::Open(index) => match &reply.blocks[index].kind {
                Kind::Thought => {
                    let content = json!({"content": {"type": "thinking", "thinking": ""}});
                    typed(pen, "content-start", Some(index), &content);
                }
                Kind::Said => {
                    typed(
                        pen,
                        "content-start",
                        Some(index),
                        &json!({"content": {"type": "text", "text": ""}}),
                    );
                }
                Kind::Call { number, name } => {
                    let message = json!({"tool_calls": call(reply, *number, name, "")});
                    typed(pen, "tool-call-start", Some(*number), &message);
                }
            },
            Beat::Piece { block, text } => match &reply.blocks[block].kind {
                Kind::Thought => {
                    typed(pen, "content-delta", Some(block), &json!({"content": {"thinking": text}}))
                }
                Kind::Said => typed(pen, "content-delta", Some(block), &json!({"content": {"text": text}})),
                Kind::Call { number, .. } => {
                    let message = json!({"tool_calls": {"function": {"arguments": text}}});
                    typed(pen, "tool-call-delta", Some(*number), &message);
                }
            },
            Beat::Close(index) => match &reply.blocks[index].kind {
                Kind::Call { number, .. } => {
                    pen.named("tool-call-end", &json!({"type": "tool-call-end", "index": number}));
                }
                kind => {
                    pen.named("content-end", &json!({"type": "content-end", "index": index}));
                    if let Some(citation) = self.citation(reply).filter(|_| *kind == Kind::Said) {
                        typed(pen, "citation-start", Some(0), &json!({"citations": citation}));
                        pen.named("citation-end", &json!({"type": "citation-end", "index": 0}));
                    }
                }
            },
            Beat::Finish => {
                let mut delta = json!({"finish_reason": finish_reason(&reply.finish)});
                if reply.with_usage {
                    delta["usage"] = usage(&reply.usage);
                }
                pen.named(
                    "message-end",
                    &json!({"type": "message-end", "id": uuid(reply.id), "delta": delta}),
                );
            }
            Beat::Usage | Beat::Done => {}
        }
    }

    fn error(&self, err: &ApiError, pen: &mut Pen) {
        let delta = json!({"error": err.message, "finish_reason": "ERROR"});
        pen.named("message-end", &json!({"type": "message-end", "delta": delta}));
    }
}

impl CohereVoice {
    fn citation(&self, reply: &Reply) -> Option<Value> {
        let document = self.document.as_deref().filter(|_| reply.calls().next().is_none())?;
        let said = reply.said();
        let word = said.split(' ').next().filter(|word| !word.is_empty())?;
        let source =
            json!({"type": "document", "id": "doc:0", "document": {"id": "doc:0", "text": document}});
        Some(json!({
            "start": 0, "end": word.chars().count(), "text": word, "sources": [source], "type": "TEXT_CONTENT",
            "content_index": 0,
        }))
    }
}

fn typed(pen: &mut Pen, name: &'static str, index: Option<usize>, message: &Value) {
    let mut event = json!({"type": name, "delta": {"message": message}});
    if let Some(index) = index {
        event["index"] = index.into();
    }
    pen.named(name, &event);
}

fn call(reply: &Reply, number: usize, name: &str, arguments: &str) -> Value {
    let id = format!("{name}_{:08x}{number:02}", reply.id >> 32);
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn finish_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Whole => "COMPLETE",
        Finish::Length => "MAX_TOKENS",
        Finish::Stop(_) => "STOP_SEQUENCE",
        Finish::Calls => "TOOL_CALL",
        Finish::Filtered => "ERROR",
    }
}

fn usage(usage: &Usage) -> Value {
    let counts = json!({"input_tokens": usage.input, "output_tokens": usage.output});
    json!({"billed_units": counts, "tokens": counts, "cached_tokens": usage.cached})
}

fn logprobs(text: &str) -> Value {
    let words: Vec<_> = text.split_whitespace().collect();
    json!({"text": text, "token_ids": words.iter().map(|word| word.len()).collect::<Vec<_>>(), "logprobs": vec![-0.25; words.len()]})
}
