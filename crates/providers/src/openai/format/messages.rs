//! Writing turns.

use domain::ApiError;
use serde_json::{Map, Value, json};

use super::super::dialect::tool_call;
use super::request::Out;
use crate::chat::{Dialect, Message, Part, PartKind, Role, Source, Target};
use crate::media;

/// What the result of a tool says where all of it is in the message that follows.
const FOLLOWS: &str = "The result is in the next message.";

/// Writes all turns. Pictures, files and sounds among tool results, which OpenAI takes as text only, follow the results
/// in a message of the user that names the call.
pub(super) fn write(
    messages: Vec<Message>,
    is_openais: bool,
    target: &Target<'_>,
    out: &mut Out,
) -> Result<Value, ApiError> {
    let mut writer = Writer { is_openais, provider: target.provider, written: Vec::new(), out };
    let mut moved = Vec::new();
    for (n, message) in messages.into_iter().enumerate() {
        if message.role != Role::Tool {
            writer.follow_up(&mut moved);
        }
        let at = format!("messages[{n}]");
        match message.role {
            Role::Tool => writer.results(message.parts, &at, &mut moved)?,
            Role::Assistant => writer.assistant(message, &at)?,
            Role::System | Role::Developer | Role::User => writer.said(message, &at)?,
        }
    }
    writer.follow_up(&mut moved);
    Ok(writer.written.into())
}

struct Writer<'a> {
    is_openais: bool,
    provider: &'a str,
    written: Vec<Value>,
    out: &'a mut Out,
}

impl Writer<'_> {
    /// Instructions or the user's words.
    fn said(&mut self, message: Message, at: &str) -> Result<(), ApiError> {
        let Message { role, name, parts } = message;
        let word = match role {
            Role::Developer if self.is_openais => "developer",
            Role::System | Role::Developer => "system",
            _ => "user",
        };
        let mut content = Content::default();
        for (n, part) in parts.into_iter().enumerate() {
            let at = format!("{at}.content[{n}]");
            let is_text = matches!(part.kind, PartKind::Text { .. });
            if let Some(part) = self.part(part, &at)? {
                if word != "user" && !is_text {
                    return Err(
                        self.refused(&at, "instructions take text only: send it in a message of the user")
                    );
                }
                content.0.push(part);
            }
        }
        self.push(word, name, content.value());
        Ok(())
    }

    fn push(&mut self, role: &str, name: Option<String>, content: Value) {
        let mut message = Map::new();
        message.insert("role".into(), role.into());
        message.insert("content".into(), content);
        if let Some(name) = name {
            message.insert("name".into(), name.into());
        }
        self.written.push(Value::Object(message));
    }

    fn assistant(&mut self, message: Message, at: &str) -> Result<(), ApiError> {
        let (mut content, mut calls, mut refusal, mut audio) = (Content::default(), Vec::new(), None, None);
        for (n, Part { kind, cache }) in message.parts.into_iter().enumerate() {
            let at = format!("{at}.content[{n}]");
            match kind {
                PartKind::ToolCall { id, name, arguments, signature } => {
                    if signature.is_some() {
                        self.out.lost("messages[*].tool_calls[*].function.thought_signature");
                    }
                    if cache.is_some() {
                        self.out.lost("messages[*].tool_calls[*].cache_control");
                    }
                    calls.push(tool_call(&id, &name, &arguments, None));
                }
                PartKind::Refusal(text) => refusal.get_or_insert_with(String::new).push_str(&text),
                PartKind::Native { dialect: Dialect::OpenAi, value } => match value.get("audio") {
                    Some(spoken) => audio = Some(spoken.clone()),
                    None => calls.push(value),
                },
                kind @ (PartKind::Text { .. }
                | PartKind::Thinking { .. }
                | PartKind::RedactedThinking { .. }
                | PartKind::Native { .. }) => content.0.extend(self.part(Part { kind, cache }, &at)?),
                _ => return Err(self.refused(&at, "the assistant's messages take text and calls only")),
            }
        }
        let is_bare = content.0.is_empty() && (!calls.is_empty() || refusal.is_some() || audio.is_some());
        let content = if is_bare { Value::Null } else { content.value() };
        self.push("assistant", message.name, content);
        let Some(Value::Object(written)) = self.written.last_mut() else { return Ok(()) };
        for (name, value) in [("refusal", refusal.map(Value::from)), ("audio", audio)] {
            if let Some(value) = value {
                written.insert(name.into(), value);
            }
        }
        if !calls.is_empty() {
            written.insert("tool_calls".into(), calls.into());
        }
        Ok(())
    }

    fn results(&mut self, results: Vec<Part>, at: &str, moved: &mut Vec<Value>) -> Result<(), ApiError> {
        for Part { kind, cache } in results {
            // Nobody else speaks as a tool.
            let PartKind::ToolResult { id, name: _, parts, is_error } = kind else {
                self.out.lost(format!("{at}.content"));
                continue;
            };
            if is_error {
                self.out.lost("messages[*].is_error");
            }
            if cache.is_some() {
                self.out.lost("messages[*].content[*].cache_control");
            }
            let (mut content, mut others) = (Content::default(), Vec::new());
            for (n, part) in parts.into_iter().enumerate() {
                let is_text = matches!(part.kind, PartKind::Text { .. });
                let written = self.part(part, &format!("{at}.content[{n}]"))?;
                if is_text { content.0.extend(written) } else { others.extend(written) }
            }
            if !others.is_empty() {
                if content.0.is_empty() {
                    content.0.push(json!({ "type": "text", "text": FOLLOWS }));
                }
                moved.push(json!({ "type": "text", "text": format!("Result of the tool call {id}:") }));
                moved.append(&mut others);
            }
            self.written.push(json!({ "role": "tool", "tool_call_id": id, "content": content.value() }));
        }
        Ok(())
    }

    /// What tools answered beside text, once all of them have answered.
    fn follow_up(&mut self, moved: &mut Vec<Value>) {
        if !moved.is_empty() {
            self.push("user", None, std::mem::take(moved).into());
        }
    }

    /// A part as OpenAI has it. None: the format cannot say it, and it is reported.
    fn part(&mut self, part: Part, at: &str) -> Result<Option<Value>, ApiError> {
        if part.cache.is_some() {
            self.out.lost("messages[*].content[*].cache_control");
        }
        let lost = match part.kind {
            PartKind::Text { text, citations } => {
                if !citations.is_empty() {
                    self.out.lost("messages[*].content[*].citations");
                }
                return Ok(Some(json!({ "type": "text", "text": text })));
            }
            PartKind::Image { source, detail } => return self.image(&source, detail, at).map(Some),
            PartKind::Document { source, name } => return self.document(source, name, at).map(Some),
            PartKind::Audio { source } => return self.audio(&source, at).map(Some),
            PartKind::Video { source } => {
                let fix = "send the video inline or by its address";
                let url = media::address(&source).ok_or_else(|| self.refused(at, fix))?;
                return Ok(Some(json!({ "type": "video_url", "video_url": { "url": url } })));
            }
            PartKind::Refusal(text) => return Ok(Some(json!({ "type": "text", "text": text }))),
            PartKind::Thinking { .. } | PartKind::RedactedThinking { .. } => {
                "messages[*].content[*].thinking"
            }
            PartKind::ToolCall { .. } | PartKind::ToolResult { .. } | PartKind::Native { .. } => at,
        };
        self.out.lost(lost);
        Ok(None)
    }

    fn image(&self, source: &Source, detail: Option<String>, at: &str) -> Result<Value, ApiError> {
        let fix = "send the picture inline or by its address";
        let mut image = json!({ "url": media::address(source).ok_or_else(|| self.refused(at, fix))? });
        if let Some(detail) = detail {
            image["detail"] = detail.into();
        }
        Ok(json!({ "type": "image_url", "image_url": image }))
    }

    fn document(&self, source: Source, name: Option<String>, at: &str) -> Result<Value, ApiError> {
        let file = match source {
            Source::Base64 { media_type, data } => {
                let name = name.unwrap_or_else(|| file_name(&media_type));
                json!({ "filename": name, "file_data": format!("data:{media_type};base64,{data}") })
            }
            Source::File(id) => json!({ "file_id": id }),
            Source::Text(text) => {
                let text = name.map_or_else(|| text.clone(), |name| format!("{name}:\n\n{text}"));
                return Ok(json!({ "type": "text", "text": text }));
            }
            Source::Url(_) => {
                return Err(self.refused(at, "files are not fetched from an address: send the file inline"));
            }
        };
        Ok(json!({ "type": "file", "file": file }))
    }

    fn audio(&self, source: &Source, at: &str) -> Result<Value, ApiError> {
        if let Source::Base64 { media_type, data } = source
            && let Some(format) = media::audio_format(media_type)
        {
            return Ok(json!({ "type": "input_audio", "input_audio": { "data": data, "format": format } }));
        }
        Err(self.refused(at, "sound is taken inline only: send it in base64, as wav or mp3"))
    }

    fn refused(&self, at: &str, words: &str) -> ApiError {
        let message = format!("`{at}` cannot be sent to {}: {words}", self.provider);
        ApiError::bad_request(at, "unsupported_content", message)
    }
}

/// A name for a file that has none; OpenAI wants one.
fn file_name(media_type: &str) -> String {
    let end = match media_type {
        "application/pdf" => "pdf",
        "text/plain" => "txt",
        "text/markdown" => "md",
        "text/csv" => "csv",
        "text/html" => "html",
        "application/json" => "json",
        _ => return "document".to_owned(),
    };
    format!("document.{end}")
}

/// The parts of a message.
#[derive(Default)]
struct Content(Vec<Value>);

impl Content {
    /// Text as it is if there is nothing else: the form that every compatible provider knows.
    fn value(self) -> Value {
        match &self.0[..] {
            [] => "".into(),
            [part] if part["type"] == "text" => part["text"].clone(),
            _ => self.0.into(),
        }
    }
}
