//! The answer, and its stream.
//! Source: platform.openai.com/docs/api-reference/responses-streaming.

use domain::ApiError;
use serde_json::{Value, json};

use super::super::chat::call_id;
use crate::chat::{Block, Finish, Kind, Reply, Usage, signature};
use crate::stream::{Beat, Pen, Voice};
use crate::text::{self, CREATED};
use crate::wire::Framing;

/// Writes responses.
pub(super) struct ResponsesVoice {
    /// What the request said that the response repeats.
    repeated: Value,
    encrypted: bool,
}

impl ResponsesVoice {
    pub(super) fn new(body: &Value) -> Self {
        let or = |field: &str, default: Value| {
            body.get(field).filter(|v| !v.is_null()).cloned().unwrap_or(default)
        };
        let included = body["include"].as_array().into_iter().flatten();
        Self {
            repeated: json!({
                "background": or("background", json!(false)),
                "instructions": or("instructions", Value::Null),
                "max_output_tokens": or("max_output_tokens", Value::Null),
                "max_tool_calls": or("max_tool_calls", Value::Null),
                "metadata": or("metadata", json!({})),
                "parallel_tool_calls": or("parallel_tool_calls", json!(true)),
                "previous_response_id": or("previous_response_id", Value::Null),
                "reasoning": or("reasoning", json!({"effort": null, "summary": null})),
                "service_tier": or("service_tier", json!("default")),
                "store": or("store", json!(true)),
                "temperature": or("temperature", json!(1.0)),
                "text": or("text", json!({"format": {"type": "text"}})),
                "tool_choice": or("tool_choice", json!("auto")),
                "tools": or("tools", json!([])),
                "top_logprobs": or("top_logprobs", json!(0)),
                "top_p": or("top_p", json!(1.0)),
                "truncation": or("truncation", json!("disabled")),
                "user": or("user", Value::Null),
            }),
            encrypted: included.into_iter().any(|name| name == "reasoning.encrypted_content"),
        }
    }

    fn response(&self, reply: &Reply, status: &str, output: Vec<Value>) -> Value {
        let reason = match reply.finish {
            Finish::Length => json!({"reason": "max_output_tokens"}),
            Finish::Filtered => json!({"reason": "content_filter"}),
            _ => Value::Null,
        };
        let mut response = json!({
            "id": format!("resp_{:016x}", reply.id),
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "error": null,
            "incomplete_details": if status == "incomplete" { reason } else { Value::Null },
            "model": reply.model,
            "output": output,
            "usage": null,
        });
        if let (Some(response), Some(repeated)) = (response.as_object_mut(), self.repeated.as_object()) {
            response.extend(repeated.clone());
        }
        if reply.with_usage && status != "in_progress" {
            response["usage"] = usage(&reply.usage);
        }
        response
    }

    fn done(&self, reply: &Reply) -> Value {
        let item = |(index, block): (usize, &Block)| self.item(reply, index, block, true);
        self.response(reply, status(reply), reply.blocks.iter().enumerate().map(item).collect())
    }

    /// An item of the output, empty while it is being written.
    fn item(&self, reply: &Reply, index: usize, block: &Block, done: bool) -> Value {
        let id = item_id(reply, index, block);
        let text = &block.text.text;
        let status = if done { status(reply) } else { "in_progress" };
        match &block.kind {
            Kind::Thought => {
                let summary = if done { json!([summary(text)]) } else { json!([]) };
                let mut item = json!({"id": id, "type": "reasoning", "summary": summary});
                if self.encrypted {
                    item["encrypted_content"] = signature(if done { text } else { "" }).into();
                }
                item
            }
            Kind::Said => {
                let content = if done { json!([said(text)]) } else { json!([]) };
                json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
            }
            Kind::Call { number, name } => json!({
                "id": id, "type": "function_call", "status": status, "call_id": call_id(reply.id, *number),
                "name": name, "arguments": if done { text } else { "" },
            }),
        }
    }

    fn open(&self, reply: &Reply, index: usize, pen: &mut Pen) {
        let block = &reply.blocks[index];
        let id = item_id(reply, index, block);
        let item = self.item(reply, index, block, false);
        numbered(pen, "response.output_item.added", json!({"output_index": index, "item": item}));
        match block.kind {
            Kind::Thought => {
                let part =
                    json!({"item_id": id, "output_index": index, "summary_index": 0, "part": summary("")});
                numbered(pen, "response.reasoning_summary_part.added", part);
            }
            Kind::Said => {
                let part =
                    json!({"item_id": id, "output_index": index, "content_index": 0, "part": said("")});
                numbered(pen, "response.content_part.added", part);
            }
            Kind::Call { .. } => {}
        }
    }

    fn close(&self, reply: &Reply, index: usize, pen: &mut Pen) {
        let block = &reply.blocks[index];
        let (id, text) = (item_id(reply, index, block), &block.text.text);
        match block.kind {
            Kind::Thought => {
                let at = |mut event: Value| {
                    event["item_id"] = id.as_str().into();
                    event["output_index"] = index.into();
                    event["summary_index"] = 0.into();
                    event
                };
                numbered(pen, "response.reasoning_summary_text.done", at(json!({"text": text})));
                numbered(pen, "response.reasoning_summary_part.done", at(json!({"part": summary(text)})));
            }
            Kind::Said => {
                let at = |mut event: Value| {
                    event["item_id"] = id.as_str().into();
                    event["output_index"] = index.into();
                    event["content_index"] = 0.into();
                    event
                };
                numbered(pen, "response.output_text.done", at(json!({"text": text, "logprobs": []})));
                numbered(pen, "response.content_part.done", at(json!({"part": said(text)})));
            }
            Kind::Call { .. } => {
                let event = json!({"item_id": id, "output_index": index, "arguments": text});
                numbered(pen, "response.function_call_arguments.done", event);
            }
        }
        let item = self.item(reply, index, block, true);
        numbered(pen, "response.output_item.done", json!({"output_index": index, "item": item}));
    }
}

impl Voice for ResponsesVoice {
    fn framing(&self) -> Framing {
        Framing::Sse
    }

    fn whole(&self, reply: &Reply) -> Vec<u8> {
        let mut response = self.done(reply);
        if !reply.with_usage
            && let Some(fields) = response.as_object_mut()
        {
            fields.remove("usage");
        }
        text::json(&response)
    }

    fn beat(&self, reply: &Reply, beat: Beat<'_>, pen: &mut Pen) {
        match beat {
            Beat::Start => {
                for name in ["response.created", "response.in_progress"] {
                    numbered(pen, name, json!({"response": self.response(reply, "in_progress", Vec::new())}));
                }
            }
            Beat::Open(index) => self.open(reply, index, pen),
            Beat::Piece { block: index, text } => {
                let block = &reply.blocks[index];
                let mut event =
                    json!({"item_id": item_id(reply, index, block), "output_index": index, "delta": text});
                match block.kind {
                    Kind::Thought => {
                        event["summary_index"] = 0.into();
                        numbered(pen, "response.reasoning_summary_text.delta", event);
                    }
                    Kind::Said => {
                        event["content_index"] = 0.into();
                        event["logprobs"] = json!([]);
                        numbered(pen, "response.output_text.delta", event);
                    }
                    Kind::Call { .. } => numbered(pen, "response.function_call_arguments.delta", event),
                }
            }
            Beat::Close(index) => self.close(reply, index, pen),
            Beat::Finish | Beat::Usage => {}
            Beat::Done => {
                let name =
                    if status(reply) == "completed" { "response.completed" } else { "response.incomplete" };
                numbered(pen, name, json!({"response": self.done(reply)}));
            }
        }
    }

    fn error(&self, err: &ApiError, pen: &mut Pen) {
        numbered(pen, "error", json!({"code": err.kind, "message": err.message, "param": err.param}));
    }
}

/// Every event has its name and its number.
fn numbered(pen: &mut Pen, name: &'static str, mut event: Value) {
    event["type"] = name.into();
    event["sequence_number"] = pen.written().into();
    pen.named(name, &event);
}

fn status(reply: &Reply) -> &'static str {
    if matches!(reply.finish, Finish::Length | Finish::Filtered) { "incomplete" } else { "completed" }
}

fn item_id(reply: &Reply, index: usize, block: &Block) -> String {
    let prefix = match block.kind {
        Kind::Thought => "rs",
        Kind::Said => "msg",
        Kind::Call { .. } => "fc",
    };
    format!("{prefix}_{:016x}{index:02}", reply.id)
}

fn said(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn summary(text: &str) -> Value {
    json!({"type": "summary_text", "text": text})
}

fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.written},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.thought},
        "total_tokens": usage.input.saturating_add(usage.output),
    })
}
