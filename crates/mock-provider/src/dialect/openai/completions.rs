//! Legacy completions: a text for every prompt.
//! Source: platform.openai.com/docs/api-reference/completions.

use domain::ApiError;
use serde_json::{Value, json};

use super::request::Body;
use crate::chat::{Block, Finish, Kind, Reply, Setting, Usage};
use crate::endpoint::{Asked, Complain};
use crate::stream::{Beat, Pen, Voice, only_error};
use crate::text::{self, CREATED, Limits, Text};
use crate::wire::{Event, Framing};

/// Reads prompts.
pub(super) fn ask<'r>(body: &Body<'_>) -> Result<Asked<'r>, ApiError> {
    let (prompts, input_tokens) = body.prompts()?;
    let (stream, include_usage) = body.stream()?;
    let (max_tokens, repeat, stop) = (body.max_tokens()?, body.repeat()?, body.stop()?);
    body.sampling()?;
    let make = move |setting: Setting<'_>| {
        let limits = Limits { max_tokens, stop: &stop };
        let text = |prompt: &String| Text::sentence(setting.base, "heard:", prompt, setting.step, limits);
        let blocks: Vec<_> =
            prompts.iter().map(|prompt| Block { kind: Kind::Said, text: text(prompt) }).collect();
        let words: usize = blocks.iter().map(|block| block.text.words).sum();
        let output = u64::try_from(words * repeat).unwrap_or(u64::MAX);
        let reply = Reply {
            id: setting.id,
            model: setting.model.to_owned(),
            blocks,
            finish: Finish::Whole,
            usage: Usage { input: input_tokens, output, ..Usage::default() },
            with_usage: setting.step.usage,
            repeat,
        };
        reply.content(stream, Box::new(CompletionsVoice { include_usage }), setting.step)
    };
    let errors = move |err: &ApiError| only_error(&CompletionsVoice { include_usage }, err);
    let errors = stream.then(|| Box::new(errors) as Complain<'_>);
    Ok(Asked { input_tokens, make: Box::new(make), errors })
}

/// Writes completions. Every block of the answer is that of a prompt.
struct CompletionsVoice {
    include_usage: bool,
}

impl Voice for CompletionsVoice {
    fn framing(&self) -> Framing {
        Framing::Sse
    }

    fn whole(&self, reply: &Reply) -> Vec<u8> {
        let texts = reply.blocks.iter().flat_map(|block| std::iter::repeat_n(&block.text, reply.repeat));
        let choices =
            texts.enumerate().map(|(index, text)| choice(index, &text.text, Some(text.finish_reason())));
        let mut whole = envelope(reply, choices.collect());
        if reply.with_usage {
            whole["usage"] = usage(&reply.usage);
        }
        text::json(&whole)
    }

    fn beat(&self, reply: &Reply, beat: Beat<'_>, pen: &mut Pen) {
        let announces = self.include_usage && reply.with_usage;
        let mut each = |block: usize, text: &str, finish| {
            for at in 0..reply.repeat {
                let mut event = envelope(reply, vec![choice(block * reply.repeat + at, text, finish)]);
                if announces {
                    event["usage"] = Value::Null;
                }
                pen.plain(&event);
            }
        };
        match beat {
            Beat::Piece { block, text } => each(block, text, None),
            Beat::Close(block) => each(block, "", Some(reply.blocks[block].text.finish_reason())),
            Beat::Usage if announces => {
                let mut event = envelope(reply, Vec::new());
                event["usage"] = usage(&reply.usage);
                pen.plain(&event);
            }
            Beat::Done => pen.event(Event::Data { name: None, data: b"[DONE]".to_vec() }),
            Beat::Start | Beat::Open(_) | Beat::Finish | Beat::Usage => {}
        }
    }

    fn error(&self, err: &ApiError, pen: &mut Pen) {
        pen.event(Event::Data { name: None, data: err.openai_body() });
    }
}

fn envelope(reply: &Reply, choices: Vec<Value>) -> Value {
    json!({
        "id": format!("cmpl-{:016x}", reply.id),
        "object": "text_completion",
        "created": CREATED,
        "model": reply.model,
        "choices": choices,
    })
}

fn choice(index: usize, text: &str, finish: Option<&str>) -> Value {
    json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish})
}

fn usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
    })
}
