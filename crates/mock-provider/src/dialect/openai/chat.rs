//! Chat completions: the answer, and its stream.
//! Source: platform.openai.com/docs/api-reference/chat/object, …/chat/streaming.

use domain::ApiError;
use serde::Serialize;
use serde_json::{Value, json};

use super::request::Body;
use super::{messages, tools};
use crate::chat::{Chat, Finish, Kind, Reply, Usage};
use crate::dialect::azure;
use crate::endpoint::Asked;
use crate::stream::{Beat, Pen, Voice};
use crate::text::{self, CREATED};
use crate::wire::{Event, Framing};

/// Whose chat completions they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    OpenAi,
    /// With the results of Azure's content filter.
    Azure,
}

/// Reads a chat.
pub(super) fn ask<'r>(body: &Body<'_>, flavour: Flavour) -> Result<Asked<'r>, ApiError> {
    let conversation = messages::read(body.messages)?;
    let wanted = tools::value("tools", body.tools)?;
    let called = tools::tools(wanted.as_ref(), Some("function"))?;
    let choice = tools::value("tool_choice", body.tool_choice)?;
    let choice = tools::choice(choice.as_ref(), &called, wanted.is_some(), Some("function"))?;
    let format = tools::value("response_format", body.response_format)?;
    let (stream, include_usage) = body.stream()?;
    body.sampling()?;
    let logprobs = tools::value("logprobs", body.logprobs)?.is_some_and(|value| value == true);
    let chat = Chat {
        heard: conversation.heard,
        input_tokens: conversation.words,
        stream,
        max_tokens: body.max_tokens()?,
        repeat: body.repeat()?,
        stop: body.stop()?,
        tools: called,
        choice,
        single_call: body.parallel_tool_calls == Some(false),
        has_results: conversation.has_results,
        schema: tools::response_format(format.as_ref(), conversation.says_json)?,
        ..Chat::default()
    };
    let logprobs = logprobs.then(|| body.top_logprobs.unwrap_or(0).min(20));
    Ok(Asked::chat(chat, move || Box::new(ChatVoice { flavour, include_usage, logprobs })))
}

/// Writes chat completions.
struct ChatVoice {
    flavour: Flavour,
    include_usage: bool,
    /// How many alternatives of each token are told.
    logprobs: Option<usize>,
}

#[derive(Serialize)]
struct Whole<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_filter_results: Option<Value>,
    /// Left out, null, or there: with `include_usage` all chunks have the field and only the last a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Value>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Message<'a>>,
    logprobs: Option<Value>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_filter_results: Option<Value>,
}

#[derive(Default, Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Option<()>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
}

impl Voice for ChatVoice {
    fn framing(&self) -> Framing {
        Framing::Sse
    }

    fn whole(&self, reply: &Reply) -> Vec<u8> {
        let said = reply.said();
        let call = |(number, name, arguments): (usize, &str, &str)| {
            json!({
                "id": call_id(reply.id, number), "type": "function",
                "function": {"name": name, "arguments": arguments},
            })
        };
        let calls: Vec<_> = reply.calls().map(call).collect();
        let silent = !calls.is_empty() || reply.finish == Finish::Filtered;
        let choice = |index| Choice {
            index,
            message: Some(Message {
                role: Some("assistant"),
                content: Some(Some(said.as_str()).filter(|_| !silent)),
                reasoning_content: reply.thought(),
                refusal: Some(None),
                tool_calls: calls.clone(),
            }),
            delta: None,
            logprobs: self.logprobs(&said),
            finish_reason: Some(finish_reason(&reply.finish)),
            content_filter_results: self.filter_results(&reply.finish),
        };
        let whole = Whole {
            object: "chat.completion",
            choices: (0..reply.repeat).map(choice).collect(),
            usage: reply.with_usage.then(|| Some(usage(&reply.usage))),
            prompt_filter_results: self.prompt_filter_results(),
            ..envelope(reply)
        };
        text::json(&whole)
    }

    fn beat(&self, reply: &Reply, beat: Beat<'_>, pen: &mut Pen) {
        match beat {
            Beat::Start => {
                if let Some(results) = self.prompt_filter_results() {
                    pen.plain(&Whole { prompt_filter_results: Some(results), ..envelope(reply) });
                }
                let content = reply.calls().next().is_none().then_some("");
                let role = Some("assistant");
                self.each(reply, pen, None, || Message {
                    role,
                    content: Some(content),
                    ..Message::default()
                });
            }
            Beat::Open(block) => {
                if let Kind::Call { number, name } = &reply.blocks[block].kind {
                    let id = call_id(reply.id, *number);
                    let function = json!({"name": name, "arguments": ""});
                    let call = json!({"index": number, "id": id, "type": "function", "function": function});
                    self.each(reply, pen, None, || calling(&call));
                }
            }
            Beat::Piece { block, text } => match &reply.blocks[block].kind {
                Kind::Call { number, .. } => {
                    let call = json!({"index": number, "function": {"arguments": text}});
                    self.each(reply, pen, None, || calling(&call));
                }
                Kind::Thought => {
                    let thought = || Message { reasoning_content: Some(text), ..Message::default() };
                    self.each(reply, pen, None, thought);
                }
                Kind::Said => {
                    self.each(reply, pen, self.logprobs(text), || Message {
                        content: Some(Some(text)),
                        ..Message::default()
                    });
                }
            },
            Beat::Close(_) => {}
            Beat::Finish => {
                for index in 0..reply.repeat {
                    let choice = Choice {
                        finish_reason: Some(finish_reason(&reply.finish)),
                        content_filter_results: self.filter_results(&reply.finish),
                        ..delta(index, Message::default())
                    };
                    self.event(reply, pen, vec![choice]);
                }
            }
            Beat::Usage if self.announces(reply) => {
                pen.plain(&Whole { usage: Some(Some(usage(&reply.usage))), ..envelope(reply) });
            }
            Beat::Usage => {}
            Beat::Done => pen.event(Event::Data { name: None, data: b"[DONE]".to_vec() }),
        }
    }

    fn error(&self, err: &ApiError, pen: &mut Pen) {
        let data = match self.flavour {
            Flavour::OpenAi => err.openai_body(),
            Flavour::Azure => azure::error_body(err),
        };
        pen.event(Event::Data { name: None, data });
    }
}

impl ChatVoice {
    fn announces(&self, reply: &Reply) -> bool {
        self.include_usage && reply.with_usage
    }

    /// One event for each choice; they all say the same.
    fn each<'a>(
        &self,
        reply: &'a Reply,
        pen: &mut Pen,
        logprobs: Option<Value>,
        say: impl Fn() -> Message<'a>,
    ) {
        for index in 0..reply.repeat {
            let choice = Choice {
                logprobs: logprobs.clone(),
                content_filter_results: self.filter_results(&Finish::Whole),
                ..delta(index, say())
            };
            self.event(reply, pen, vec![choice]);
        }
    }

    fn event(&self, reply: &Reply, pen: &mut Pen, choices: Vec<Choice<'_>>) {
        let usage = self.announces(reply).then_some(None);
        pen.plain(&Whole { choices, usage, ..envelope(reply) });
    }

    /// Each word is a token, and each as likely as the other.
    fn logprobs(&self, text: &str) -> Option<Value> {
        let alternatives = self.logprobs?;
        let token =
            |word: &str, logprob: f64| json!({"token": word, "logprob": logprob, "bytes": word.as_bytes()});
        let tokens = split_words(text).map(|word| {
            let mut told = token(word, -0.25);
            let others = ["a", "b"].into_iter().cycle().take(alternatives.saturating_sub(1));
            let top = std::iter::once(token(word, -0.25)).take(alternatives);
            told["top_logprobs"] = top.chain(others.map(|other| token(other, -2.5))).collect();
            told
        });
        Some(json!({"content": tokens.collect::<Vec<_>>(), "refusal": null}))
    }

    /// Source: learn.microsoft.com/azure/ai-services/openai/concepts/content-filter, "Annotations".
    fn filter_results(&self, finish: &Finish) -> Option<Value> {
        (self.flavour == Flavour::Azure).then(|| filters(*finish == Finish::Filtered))
    }

    fn prompt_filter_results(&self) -> Option<Value> {
        let results = || json!([{"prompt_index": 0, "content_filter_results": filters(false)}]);
        (self.flavour == Flavour::Azure).then(results)
    }
}

fn filters(hit: bool) -> Value {
    let safe = json!({"filtered": false, "severity": "safe"});
    let hate = if hit { json!({"filtered": true, "severity": "high"}) } else { safe.clone() };
    json!({"hate": hate, "self_harm": safe, "sexual": safe, "violence": safe})
}

fn envelope(reply: &Reply) -> Whole<'_> {
    Whole {
        id: format!("chatcmpl-{:016x}", reply.id),
        object: "chat.completion.chunk",
        created: CREATED,
        model: &reply.model,
        choices: Vec::new(),
        prompt_filter_results: None,
        usage: None,
    }
}

fn delta(index: usize, message: Message<'_>) -> Choice<'_> {
    Choice {
        index,
        message: None,
        delta: Some(message),
        logprobs: None,
        finish_reason: None,
        content_filter_results: None,
    }
}

fn calling<'a>(call: &Value) -> Message<'a> {
    Message { tool_calls: vec![call.clone()], ..Message::default() }
}

/// The id of a call.
pub(super) fn call_id(id: u64, number: usize) -> String {
    format!("call_{id:016x}{number:02}")
}

fn finish_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Whole | Finish::Stop(_) => "stop",
        Finish::Length => "length",
        Finish::Calls => "tool_calls",
        Finish::Filtered => "content_filter",
    }
}

/// Details are told where there is something to tell.
fn usage(usage: &Usage) -> Value {
    let mut told = json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
    });
    if usage.cached > 0 {
        told["prompt_tokens_details"] = json!({"cached_tokens": usage.cached});
    }
    if usage.thought > 0 {
        told["completion_tokens_details"] = json!({"reasoning_tokens": usage.thought});
    }
    told
}

/// Words with the spaces before them.
fn split_words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let blank = rest.len() - rest.trim_start().len();
        let end = rest[blank..].find(char::is_whitespace).map_or(rest.len(), |at| blank + at);
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}
