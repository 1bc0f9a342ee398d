//! Whole answers in the Responses dialect.

use serde_json::{Map, Value, json};

use super::stream::Writer;
use crate::chat::{About, Answer, Block, Choice, Delta, Event, Part, PartKind, Source, Start};

/// Writes the response object. It is what the stream of the same answer ends with.
pub fn write_answer(answer: &Answer, about: &About<'_>, request_body: &[u8]) -> Vec<u8> {
    let Answer { id, model, created, choices, usage, extra } = answer;
    let mut writer = Writer::quiet(about, request_body);
    writer.take(&Event::Start(Start { id: id.clone(), model: model.clone(), created: *created }));
    for choice in choices {
        write_choice(choice, &mut writer);
    }
    if let Some(usage) = usage {
        writer.take(&Event::Usage(*usage));
    }
    writer.take(&Event::Extra(extra.clone()));
    writer.take(&Event::End);
    writer.into_response()
}

fn write_choice(answer: &Choice, writer: &mut Writer) {
    let Choice { index: choice, parts, finish, logprobs } = answer;
    let choice = *choice;
    if let Some(value) = logprobs {
        writer.take(&Event::Logprobs { choice, value: value.clone() });
    }
    for (block, part) in (0..).zip(parts) {
        write_part(choice, block, part, writer);
    }
    writer.take(&Event::Finish { choice, finish: finish.clone() });
}

fn write_part(choice: u32, block: u32, part: &Part, writer: &mut Writer) {
    let mut say = |what: Block, deltas: Vec<Delta>| {
        writer.take(&Event::Open { choice, block, what });
        for delta in deltas {
            writer.take(&Event::Delta { choice, block, delta });
        }
        writer.take(&Event::Close { choice, block });
    };
    let text = |text: &str| Delta::Text(text.to_owned());
    match &part.kind {
        PartKind::Text { text: words, citations } => {
            let citations = citations.iter().cloned().map(Delta::Citation);
            say(Block::Text, std::iter::once(text(words)).chain(citations).collect());
        }
        PartKind::Refusal(words) => say(Block::Refusal, vec![text(words)]),
        PartKind::Thinking { text: words, signature } => {
            let signature = signature.iter().cloned().map(Delta::Signature);
            say(Block::Thinking, std::iter::once(text(words)).chain(signature).collect());
        }
        PartKind::RedactedThinking { data } => {
            say(Block::RedactedThinking { data: data.clone() }, Vec::new());
        }
        PartKind::ToolCall { id, name, arguments, signature } => {
            let (id, name, signature) = (id.clone(), name.clone(), signature.clone());
            say(Block::ToolCall { id, name, signature }, vec![Delta::Arguments(arguments.clone())]);
        }
        PartKind::Native { dialect, value } => {
            say(Block::Native { dialect: *dialect, value: value.clone() }, Vec::new());
        }
        PartKind::Image { source: Source::Base64 { data, .. }, .. } => {
            let item = json!({ "type": "image_generation_call", "status": "completed", "result": data });
            writer.whole(choice, "ig", object(item));
        }
        PartKind::Image { source, .. }
        | PartKind::Document { source, .. }
        | PartKind::Audio { source }
        | PartKind::Video { source } => say(Block::Text, vec![Delta::Text(in_words(source))]),
        // No model answers with a tool's result; if a provider ran the tool itself, its result is an item too.
        PartKind::ToolResult { id, parts, .. } => {
            let words: String = parts.iter().map(words).collect();
            let item = json!({
                "type": "function_call_output", "status": "completed", "call_id": id, "output": words,
            });
            writer.whole(choice, "fco", object(item));
        }
    }
}

/// What the dialect has no form for goes into the text: an address, or the bytes as a `data:` URI.
fn in_words(source: &Source) -> String {
    match source {
        Source::Base64 { media_type, data } => format!("data:{media_type};base64,{data}"),
        Source::Url(text) | Source::File(text) | Source::Text(text) => text.clone(),
    }
}

/// A part of a tool's result in words.
fn words(part: &Part) -> String {
    match &part.kind {
        PartKind::Text { text, .. } | PartKind::Thinking { text, .. } | PartKind::Refusal(text) => {
            text.clone()
        }
        PartKind::Image { source, .. }
        | PartKind::Document { source, .. }
        | PartKind::Audio { source }
        | PartKind::Video { source } => in_words(source),
        PartKind::Native { value, .. } => value.to_string(),
        PartKind::RedactedThinking { .. } | PartKind::ToolCall { .. } | PartKind::ToolResult { .. } => {
            String::new()
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
