//! Text completions, the API before chats, for providers that only chat: the prompt is what the user says, and the
//! answer's text is what follows.
//!
//! Source: OpenAI's API reference, "Create completion".

use std::collections::{BTreeMap, BTreeSet};

use domain::{ApiError, Usage};
use serde_json::{Map, Value, json};

use super::dialect::{common, extra_fields, finish_reason, head, leftover, usage_value};
use super::write_error;
use crate::chat::{
    About, Answer, Block, Choice, Delta, Event, Finish, Message, PartKind, Request, Role, WriteEvents,
};
use crate::fields::{Fields, kind, wrong};

/// The fields that a chat has no place for; the answer is another without them, not a wrong one.
const LOST: [&str; 3] = ["best_of", "echo", "suffix"];

/// Reads a completions request as a chat.
///
/// Fails with a 400 that names the place, as for chats; and if there are several prompts or token ids, which no chat
/// can say.
pub fn read_request(body: &[u8]) -> Result<Request, ApiError> {
    let mut fields = Fields::of_body(body)?;
    let mut request = Request::default();
    common(&mut fields, &mut request)?;
    request.messages = vec![Message::text(Role::User, prompt(&mut fields)?)];
    if let Some(alternatives) = fields.whole("logprobs", 0)? {
        request.logprobs = Some(true);
        request.top_logprobs = Some(alternatives);
    }
    for name in LOST {
        // What is set to its default asks for nothing.
        let is_default = |value: &Value| *value == json!(false) || *value == json!(1) || *value == json!("");
        if fields.take(name).is_some_and(|value| !is_default(&value)) {
            request.dropped.push(name.to_owned());
        }
    }
    leftover(fields, &mut request);
    Ok(request)
}

fn prompt(fields: &mut Fields) -> Result<String, ApiError> {
    let fix = "chats take one prompt as text: write a string";
    match fields.take("prompt") {
        None => Err(fields.missing("prompt", "write the text to go on from")),
        Some(Value::String(text)) => Ok(text),
        Some(Value::Array(prompts)) => match <[Value; 1]>::try_from(prompts) {
            Ok([Value::String(text)]) => Ok(text),
            Ok([other]) => {
                Err(wrong("prompt[0]", "invalid_type", format_args!("is {}: {fix}", kind(&other))))
            }
            Err(prompts) => {
                let words = format_args!("has {} elements: {fix}", prompts.len());
                Err(wrong("prompt", "invalid_value", words))
            }
        },
        Some(other) => Err(wrong("prompt", "invalid_type", format_args!("is {}: {fix}", kind(&other)))),
    }
}

/// Writes a `text_completion`.
pub fn write_answer(answer: &Answer, about: &About<'_>) -> Vec<u8> {
    let mut body = head(answer, about, "text_completion");
    body.insert("choices".into(), answer.choices.iter().map(|one| choice(one, about)).collect());
    if let Some(usage) = &answer.usage {
        body.insert("usage".into(), usage_value(usage));
    }
    extra_fields(&answer.extra, about.strict, &mut body);
    Value::Object(body).to_string().into_bytes()
}

fn choice(choice: &Choice, about: &About<'_>) -> Value {
    let text: String = choice
        .parts
        .iter()
        .filter_map(|part| match &part.kind {
            PartKind::Text { text, .. } | PartKind::Refusal(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    json!({
        "text": text,
        "index": choice.index,
        "logprobs": choice.logprobs.as_ref().map(|value| logprobs(value, &mut 0)),
        "finish_reason": finish_reason(&choice.finish, about),
    })
}

/// Probabilities in the older form. `offset` is where the tokens begin in the text, in characters.
fn logprobs(value: &Value, offset: &mut usize) -> Value {
    let tokens = value.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let token = |entry: &Value| entry.get("token").and_then(Value::as_str).unwrap_or_default().to_owned();
    let logprob = |entry: &Value| entry.get("logprob").cloned().unwrap_or_default();
    let mut offsets = Vec::with_capacity(tokens.len());
    for entry in tokens {
        offsets.push(*offset);
        *offset += token(entry).chars().count();
    }
    let top = |entry: &Value| -> Map<String, Value> {
        let top = entry.get("top_logprobs").and_then(Value::as_array).into_iter().flatten();
        top.map(|one| (token(one), logprob(one))).collect()
    };
    json!({
        "tokens": tokens.iter().map(token).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(logprob).collect::<Vec<_>>(),
        "top_logprobs": tokens.iter().map(top).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}

/// Writes a stream of `text_completion`s, the token counts if they were asked for, and `[DONE]`.
#[derive(Debug)]
pub struct Writer {
    head: Map<String, Value>,
    provider: String,
    strict: bool,
    include_usage: bool,
    offsets: BTreeMap<u32, usize>,
    /// Parts that are text: thoughts are not shown.
    texts: BTreeSet<(u32, u32)>,
    extra: Map<String, Value>,
    usage: Option<Usage>,
}

impl Writer {
    /// A writer of one stream.
    pub fn new(about: &About<'_>) -> Self {
        Self {
            head: head(&Answer::default(), about, "text_completion"),
            provider: about.provider.to_owned(),
            strict: about.strict,
            include_usage: about.include_usage,
            offsets: BTreeMap::new(),
            texts: BTreeSet::new(),
            extra: Map::new(),
            usage: None,
        }
    }

    fn piece(&mut self, choice: u32, text: &str, logprobs: Value, finish: Option<&str>, out: &mut Vec<u8>) {
        let choice = json!({ "text": text, "index": choice, "logprobs": logprobs, "finish_reason": finish });
        self.chunk(json!([choice]), None, out);
    }

    fn chunk(&mut self, choices: Value, usage: Option<Usage>, out: &mut Vec<u8>) {
        let mut body = self.head.clone();
        body.insert("choices".into(), choices);
        if self.include_usage {
            body.insert("usage".into(), usage.map_or(Value::Null, |usage| usage_value(&usage)));
        }
        extra_fields(&std::mem::take(&mut self.extra), self.strict, &mut body);
        out.extend_from_slice(format!("data: {}\n\n", Value::Object(body)).as_bytes());
    }

    fn finish(&mut self, choice: u32, finish: &Finish, out: &mut Vec<u8>) {
        let raw = finish.raw.as_deref().filter(|raw| !self.strict && !raw.is_empty());
        let reason = raw.unwrap_or(finish.reason.openai()).to_owned();
        self.piece(choice, "", Value::Null, Some(&reason), out);
    }
}

impl WriteEvents for Writer {
    fn write(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => {
                for (name, value) in [("id", &start.id), ("model", &start.model)] {
                    if let Some(value) = value {
                        self.head.insert(name.into(), value.as_str().into());
                    }
                }
                if let Some(created) = start.created {
                    self.head.insert("created".into(), created.into());
                }
            }
            Event::Open { choice, block, what: Block::Text | Block::Refusal } => {
                self.texts.insert((*choice, *block));
            }
            Event::Close { choice, block } => {
                self.texts.remove(&(*choice, *block));
            }
            Event::Delta { choice, block, delta: Delta::Text(text) }
                if self.texts.contains(&(*choice, *block)) =>
            {
                self.piece(*choice, text, Value::Null, None, out);
            }
            Event::Logprobs { choice, value } => {
                let value = logprobs(value, self.offsets.entry(*choice).or_default());
                self.piece(*choice, "", value, None, out);
            }
            Event::Finish { choice, finish } => self.finish(*choice, finish, out),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Extra(extra) => self.extra.extend(extra.clone()),
            Event::Error(error) => {
                let body = write_error(error, error.status.unwrap_or(500), &self.provider);
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(&body);
                out.extend_from_slice(b"\n\n");
            }
            Event::End => {
                if let Some(usage) = self.usage.filter(|_| self.include_usage) {
                    self.chunk(json!([]), Some(usage), out);
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
            // Only text can be said.
            Event::Open { .. } | Event::Delta { .. } => {}
        }
    }
}
