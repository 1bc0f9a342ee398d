//! The answer, and its stream.
//! Source: docs.anthropic.com/en/docs/build-with-claude/streaming.

use domain::ApiError;
use serde_json::{Value, json};

use super::error_body;
use crate::chat::{Block, Finish, Kind, Reply, Usage, signature};
use crate::stream::{Beat, Pen, Voice};
use crate::text;
use crate::wire::Framing;

/// Writes messages.
pub(crate) struct MessagesVoice {
    /// Thoughts are had, but only their signature is told.
    pub(crate) hidden: bool,
}

impl Voice for MessagesVoice {
    fn framing(&self) -> Framing {
        Framing::Sse
    }

    fn whole(&self, reply: &Reply) -> Vec<u8> {
        let content = reply.blocks.iter().map(|block| self.block(reply, block)).collect();
        let mut message = envelope(reply, content);
        finish(&mut message, &reply.finish);
        if reply.with_usage {
            message["usage"] = usage(&reply.usage, reply.usage.output);
        }
        text::json(&message)
    }

    fn beat(&self, reply: &Reply, beat: Beat<'_>, pen: &mut Pen) {
        match beat {
            Beat::Start => {
                let mut message = envelope(reply, Vec::new());
                if reply.with_usage {
                    message["usage"] = usage(&reply.usage, 1);
                }
                pen.named("message_start", &json!({"type": "message_start", "message": message}));
                pen.named("ping", &json!({"type": "ping"}));
            }
            Beat::Open(index) => {
                let block = match &reply.blocks[index].kind {
                    Kind::Thought => json!({"type": "thinking", "thinking": "", "signature": ""}),
                    Kind::Said => json!({"type": "text", "text": ""}),
                    Kind::Call { number, name } => {
                        json!({"type": "tool_use", "id": call_id(reply.id, *number), "name": name, "input": {}})
                    }
                };
                let event = json!({"type": "content_block_start", "index": index, "content_block": block});
                pen.named("content_block_start", &event);
            }
            Beat::Piece { block: index, text } => {
                let change = match &reply.blocks[index].kind {
                    Kind::Thought if self.hidden => return,
                    Kind::Thought => json!({"type": "thinking_delta", "thinking": text}),
                    Kind::Said => json!({"type": "text_delta", "text": text}),
                    Kind::Call { .. } => json!({"type": "input_json_delta", "partial_json": text}),
                };
                delta(pen, index, &change);
            }
            Beat::Close(index) => {
                let block = &reply.blocks[index];
                if block.kind == Kind::Thought {
                    let signature = signature(self.thought(block));
                    delta(pen, index, &json!({"type": "signature_delta", "signature": signature}));
                }
                pen.named("content_block_stop", &json!({"type": "content_block_stop", "index": index}));
            }
            Beat::Finish => {
                let mut change = json!({});
                finish(&mut change, &reply.finish);
                let mut event = json!({"type": "message_delta", "delta": change});
                if reply.with_usage {
                    event["usage"] = usage(&reply.usage, reply.usage.output);
                }
                pen.named("message_delta", &event);
            }
            Beat::Usage => {}
            Beat::Done => pen.named("message_stop", &json!({"type": "message_stop"})),
        }
    }

    fn error(&self, err: &ApiError, pen: &mut Pen) {
        pen.named("error", &error_body(err));
    }
}

impl MessagesVoice {
    fn block(&self, reply: &Reply, block: &Block) -> Value {
        match &block.kind {
            Kind::Thought => {
                let thought = self.thought(block);
                json!({"type": "thinking", "thinking": thought, "signature": signature(thought)})
            }
            Kind::Said => json!({"type": "text", "text": block.text.text}),
            Kind::Call { number, name } => json!({
                "type": "tool_use", "id": call_id(reply.id, *number), "name": name,
                "input": arguments(&block.text.text),
            }),
        }
    }

    fn thought<'b>(&self, block: &'b Block) -> &'b str {
        if self.hidden { "" } else { &block.text.text }
    }
}

/// Arguments that `max_tokens` has cut are no JSON; Anthropic then gives what it has.
fn arguments(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!({}))
}

fn delta(pen: &mut Pen, index: usize, delta: &Value) {
    pen.named("content_block_delta", &json!({"type": "content_block_delta", "index": index, "delta": delta}));
}

fn envelope(reply: &Reply, content: Vec<Value>) -> Value {
    json!({
        "id": format!("msg_{:016x}", reply.id),
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": content,
        "stop_reason": null,
        "stop_sequence": null,
    })
}

fn finish(message: &mut Value, finish: &Finish) {
    let (reason, sequence) = match finish {
        Finish::Whole => ("end_turn", None),
        Finish::Length => ("max_tokens", None),
        Finish::Stop(sequence) => ("stop_sequence", Some(sequence)),
        Finish::Calls => ("tool_use", None),
        Finish::Filtered => ("refusal", None),
    };
    message["stop_reason"] = reason.into();
    message["stop_sequence"] = json!(sequence);
}

/// Cached and written tokens are no part of `input_tokens` here.
fn usage(usage: &Usage, output: u64) -> Value {
    let mut told = json!({
        "input_tokens": usage.input - usage.cached - usage.written,
        "cache_creation_input_tokens": usage.written,
        "cache_read_input_tokens": usage.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": usage.written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard",
    });
    if usage.thought > 0 && output == usage.output {
        told["output_tokens_details"] = json!({"thinking_tokens": usage.thought});
    }
    told
}

fn call_id(id: u64, number: usize) -> String {
    format!("toolu_{id:016x}{number:02}")
}
