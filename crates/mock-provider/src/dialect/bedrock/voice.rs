//! The answer of Converse, and its stream.
//! Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html.

use domain::ApiError;
use serde_json::{Value, json};

use super::exception;
use crate::chat::{Finish, Kind, Reply, Usage, signature};
use crate::stream::{Beat, Pen, Voice};
use crate::text;
use crate::wire::{Event, Framing};

/// Writes Converse answers.
pub(super) struct ConverseVoice;

impl Voice for ConverseVoice {
    fn framing(&self) -> Framing {
        Framing::EventStream
    }

    fn whole(&self, reply: &Reply) -> Vec<u8> {
        let block = |block: &crate::chat::Block| match &block.kind {
            Kind::Thought => json!({"reasoningContent": {"reasoningText": {
                "text": block.text.text, "signature": signature(&block.text.text),
            }}}),
            Kind::Said => json!({"text": block.text.text}),
            Kind::Call { number, name } => json!({"toolUse": {
                "toolUseId": call_id(reply.id, *number),
                "name": name,
                "input": serde_json::from_str(&block.text.text).unwrap_or_else(|_| json!({})),
            }}),
        };
        let content: Vec<_> = reply.blocks.iter().map(block).collect();
        let mut answer = json!({
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": stop_reason(&reply.finish),
        });
        if reply.with_usage {
            answer["usage"] = usage(&reply.usage);
        }
        answer["metrics"] = json!({"latencyMs": 0});
        text::json(&answer)
    }

    fn beat(&self, reply: &Reply, beat: Beat<'_>, pen: &mut Pen) {
        match beat {
            Beat::Start => pen.named("messageStart", &json!({"role": "assistant", "p": "abcd"})),
            // Only calls are announced; for texts the first delta opens the block.
            Beat::Open(index) => {
                if let Kind::Call { number, name } = &reply.blocks[index].kind {
                    let start = json!({"toolUse": {"toolUseId": call_id(reply.id, *number), "name": name}});
                    let event = json!({"contentBlockIndex": index, "start": start, "p": "abcdefgh"});
                    pen.named("contentBlockStart", &event);
                }
            }
            Beat::Piece { block, text } => {
                let change = match &reply.blocks[block].kind {
                    Kind::Thought => json!({"reasoningContent": {"text": text}}),
                    Kind::Said => json!({"text": text}),
                    Kind::Call { .. } => json!({"toolUse": {"input": text}}),
                };
                delta(pen, block, &change);
            }
            Beat::Close(index) => {
                let block = &reply.blocks[index];
                if block.kind == Kind::Thought {
                    delta(
                        pen,
                        index,
                        &json!({"reasoningContent": {"signature": signature(&block.text.text)}}),
                    );
                }
                pen.named("contentBlockStop", &json!({"contentBlockIndex": index, "p": "abc"}));
            }
            Beat::Finish => {
                pen.named("messageStop", &json!({"stopReason": stop_reason(&reply.finish), "p": "abcdef"}));
            }
            Beat::Usage => {
                let mut event = json!({"metrics": {"latencyMs": 0}, "p": "a"});
                if reply.with_usage {
                    event["usage"] = usage(&reply.usage);
                }
                pen.named("metadata", &event);
            }
            Beat::Done => {}
        }
    }

    fn error(&self, err: &ApiError, pen: &mut Pen) {
        pen.event(exception_event(err));
    }
}

/// In a stream, exceptions have the names of the members of the stream's type.
pub(super) fn exception_event(err: &ApiError) -> Event {
    let name = match exception(err) {
        "ThrottlingException" => "throttlingException",
        "ValidationException" => "validationException",
        "ServiceUnavailableException" => "serviceUnavailableException",
        "ModelErrorException" => "modelStreamErrorException",
        _ => "internalServerException",
    };
    Event::Exception { name, data: text::json(&json!({"message": err.message})) }
}

/// Every event is padded by letters that say nothing.
fn delta(pen: &mut Pen, index: usize, delta: &Value) {
    pen.named("contentBlockDelta", &json!({"contentBlockIndex": index, "delta": delta, "p": "abcdefghijk"}));
}

fn call_id(id: u64, number: usize) -> String {
    format!("tooluse_{id:016x}{number:02}")
}

fn stop_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Whole => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Stop(_) => "stop_sequence",
        Finish::Calls => "tool_use",
        Finish::Filtered => "content_filtered",
    }
}

/// Cached and written tokens are no part of `inputTokens`, but of `totalTokens`.
fn usage(usage: &Usage) -> Value {
    json!({
        "inputTokens": usage.input - usage.cached - usage.written,
        "outputTokens": usage.output,
        "totalTokens": usage.input.saturating_add(usage.output),
        "cacheReadInputTokens": usage.cached,
        "cacheWriteInputTokens": usage.written,
    })
}
