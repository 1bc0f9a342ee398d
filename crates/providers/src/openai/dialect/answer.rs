//! Writing a whole answer.

use domain::Usage;
use serde_json::{Map, Value, json};

use crate::chat::{About, Answer, Choice, Dialect, Part, PartKind, Source};
use crate::media;

/// Further top-level fields that OpenAI's API has; others are the provider's own.
const EXTRA: [&str; 3] = ["moderation", "service_tier", "system_fingerprint"];

/// Writes a `chat.completion`.
///
/// Strict: text, refusals, tool calls, probabilities, and pictures as OpenRouter has them (`message.images`). Otherwise
/// Portkey's `content_blocks` as well, seals of calls, the provider's own finish reasons and its own fields.
pub fn write_answer(answer: &Answer, about: &About<'_>) -> Vec<u8> {
    let mut body = head(answer, about, "chat.completion");
    body.insert("choices".into(), answer.choices.iter().map(|one| choice(one, about)).collect());
    if let Some(usage) = &answer.usage {
        body.insert("usage".into(), usage_value(usage));
    }
    extra_fields(&answer.extra, about.strict, &mut body);
    Value::Object(body).to_string().into_bytes()
}

/// The fields that say what an answer is.
pub(in crate::openai) fn head(answer: &Answer, about: &About<'_>, object: &str) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("id".into(), answer.id.as_deref().unwrap_or(about.id).into());
    body.insert("object".into(), object.into());
    body.insert("created".into(), answer.created.unwrap_or(about.now).into());
    body.insert("model".into(), answer.model.as_deref().unwrap_or(about.model).into());
    body.insert("provider".into(), about.provider.into());
    body
}

/// Adds an answer's further fields, unless they are hidden or of a name that we write.
pub(in crate::openai) fn extra_fields(
    extra: &Map<String, Value>,
    strict: bool,
    body: &mut Map<String, Value>,
) {
    // What the dialect has by these names is ours to say, also where we say nothing.
    const TAKEN: [&str; 3] = ["choices", "error", "usage"];
    for (name, value) in extra {
        let is_taken = body.contains_key(name) || TAKEN.contains(&name.as_str());
        if !is_taken && (!strict || EXTRA.contains(&name.as_str())) {
            body.insert(name.clone(), value.clone());
        }
    }
}

/// The finish reason to show.
pub(in crate::openai) fn finish_reason<'a>(finish: &'a crate::chat::Finish, about: &About<'_>) -> &'a str {
    match &finish.raw {
        Some(raw) if !about.strict && !raw.is_empty() => raw,
        _ => finish.reason.openai(),
    }
}

fn choice(choice: &Choice, about: &About<'_>) -> Value {
    json!({
        "index": choice.index,
        "message": message(&choice.parts, about),
        "logprobs": choice.logprobs,
        "finish_reason": finish_reason(&choice.finish, about),
    })
}

fn message(parts: &[Part], about: &About<'_>) -> Value {
    let mut said = Said::default();
    parts.iter().for_each(|part| said.add(part, about));
    let nothing_else = said.refusal.is_none() && said.calls.is_empty();
    let content = said.content.or_else(|| nothing_else.then(String::new));
    let mut message = Map::new();
    message.insert("role".into(), "assistant".into());
    message.insert("content".into(), content.into());
    message.insert("refusal".into(), said.refusal.into());
    for (name, values) in
        [("annotations", said.annotations), ("tool_calls", said.calls), ("images", said.images)]
    {
        if !values.is_empty() {
            message.insert(name.into(), values.into());
        }
    }
    if let Some(audio) = said.audio {
        message.insert("audio".into(), audio);
    }
    if !about.strict && !said.blocks.is_empty() {
        message.insert("content_blocks".into(), said.blocks.into());
    }
    Value::Object(message)
}

/// What a message is made of.
#[derive(Default)]
struct Said {
    content: Option<String>,
    /// Length of the content in characters.
    length: usize,
    refusal: Option<String>,
    annotations: Vec<Value>,
    calls: Vec<Value>,
    images: Vec<Value>,
    audio: Option<Value>,
    blocks: Vec<Value>,
}

impl Said {
    fn add(&mut self, part: &Part, about: &About<'_>) {
        match &part.kind {
            PartKind::Text { text, citations } => self.text(text, citations),
            PartKind::Refusal(text) => self.refusal.get_or_insert_default().push_str(text),
            PartKind::Thinking { text, signature } => {
                let mut block = json!({ "type": "thinking", "thinking": text });
                if let Some(signature) = signature {
                    block["signature"] = signature.as_str().into();
                }
                self.blocks.push(block);
            }
            PartKind::RedactedThinking { data } => {
                self.blocks.push(json!({ "type": "redacted_thinking", "data": data }));
            }
            PartKind::ToolCall { id, name, arguments, signature } => {
                let signature = signature.as_deref().filter(|_| !about.strict);
                self.calls.push(tool_call(id, name, arguments, signature));
            }
            PartKind::Image { source, .. } => {
                if let Some(url) = media::address(source) {
                    let image = json!({ "type": "image_url", "image_url": { "url": url } });
                    self.images.push(image.clone());
                    self.blocks.push(image);
                }
            }
            PartKind::Audio { source: Source::Base64 { data, .. } } => {
                let id = format!("audio_{}", about.id);
                self.audio =
                    Some(json!({ "id": id, "data": data, "expires_at": about.now, "transcript": "" }));
            }
            PartKind::Native { dialect: Dialect::OpenAi, value } if is_custom_call(value) => {
                self.calls.push(value.clone());
            }
            PartKind::Native { dialect: Dialect::OpenAi, value } if value.get("audio").is_some() => {
                self.audio = value.get("audio").cloned();
            }
            PartKind::Native { value, .. } => self.blocks.push(value.clone()),
            PartKind::Document { source, .. } | PartKind::Video { source } | PartKind::Audio { source } => {
                if let Some(url) = media::address(source) {
                    self.blocks.push(json!({ "type": "file", "file": { "file_data": url } }));
                }
            }
            // Nobody answers with the result of a caller's tool.
            PartKind::ToolResult { parts, .. } => parts.iter().for_each(|part| self.add(part, about)),
        }
    }

    fn text(&mut self, text: &str, citations: &[Value]) {
        let end = self.length + text.chars().count();
        let notes = citations.iter().filter_map(|citation| annotation(citation, self.length, end));
        self.annotations.extend(notes);
        self.length = end;
        self.content.get_or_insert_default().push_str(text);
        let mut block = json!({ "type": "text", "text": text });
        if !citations.is_empty() {
            block["citations"] = citations.into();
        }
        self.blocks.push(block);
    }
}

/// Whether this is a call of a tool that takes text instead of arguments.
pub(super) fn is_custom_call(value: &Value) -> bool {
    value.get("type").and_then(Value::as_str) == Some("custom")
}

/// A call in a whole answer or a request.
pub(in crate::openai) fn tool_call(id: &str, name: &str, arguments: &str, signature: Option<&str>) -> Value {
    // A tool without arguments is called with an empty object.
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    let mut call =
        json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    if let Some(signature) = signature {
        call["function"]["thought_signature"] = signature.into();
    }
    call
}

/// OpenAI's form of a place in the web that characters `start..end` come from. None: it has no address, which is what
/// OpenAI's form is about.
pub(super) fn annotation(citation: &Value, start: usize, end: usize) -> Option<Value> {
    let place = citation.get("url_citation").or_else(|| citation.get("web")).unwrap_or(citation);
    let url = ["url", "uri"].iter().find_map(|name| place.get(*name)?.as_str())?;
    let title = place.get("title").and_then(Value::as_str).unwrap_or_default();
    let index = |name: &str, own: usize| place.get(name).and_then(Value::as_u64).unwrap_or(own as u64);
    Some(json!({
        "type": "url_citation",
        "url_citation": {
            "start_index": index("start_index", start),
            "end_index": index("end_index", end),
            "title": title,
            "url": url,
        },
    }))
}

/// OpenAI's usage object, with Portkey's further counts where the provider's cache was used.
pub(in crate::openai) fn usage_value(usage: &Usage) -> Value {
    let mut input = json!({ "cached_tokens": usage.cached_input, "audio_tokens": usage.audio_input });
    if usage.cache_write > 0 {
        input["cache_write_tokens"] = usage.cache_write.into();
    }
    let mut value = json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total(),
        "prompt_tokens_details": input,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning, "audio_tokens": usage.audio_output,
        },
    });
    if usage.cache_write > 0 {
        value["cache_read_input_tokens"] = usage.cached_input.into();
        value["cache_creation_input_tokens"] = usage.cache_write.into();
    }
    value
}
