//! Turns of a chat as Converse's `system` and `messages`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::ApiError;
use serde_json::{Value, json};

use super::family::Family;
use super::media::{self, Kind, Names};
use super::tools;
use crate::chat::{Cache, Dialect, Message, Part, PartKind, Role, Source};

/// What the turns come to.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub(super) system: Vec<Value>,
    pub(super) messages: Vec<Value>,
    /// Tools that were called, each once, in order.
    pub(super) called: Vec<String>,
    pub(super) dropped: Vec<String>,
}

/// Turns of one side, merged: Converse wants the sides to alternate.
struct Turn {
    role: &'static str,
    content: Vec<Value>,
    /// How many blocks at the beginning are results of tools. They stay first: models want them right after the calls.
    results: usize,
}

/// Writes the turns. Instructions become `system`, wherever they were.
pub(super) fn turns(messages: Vec<Message>, provider: &str, family: Family) -> Result<Turns, ApiError> {
    let mut writer =
        Writer { provider, family, names: Names::default(), out: Turns::default(), turns: Vec::new() };
    for (index, message) in messages.into_iter().enumerate() {
        writer.message(index, message)?;
    }
    let Writer { mut out, turns, .. } = writer;
    if turns.is_empty() {
        let message = format!(
            "`messages`: {provider} needs something from the user beside the instructions; add a message with role \
             `user`"
        );
        return Err(ApiError::bad_request("messages", "invalid_value", message));
    }
    out.messages =
        turns.into_iter().map(|turn| json!({"role": turn.role, "content": turn.content})).collect();
    Ok(out)
}

struct Writer<'a> {
    provider: &'a str,
    family: Family,
    names: Names,
    out: Turns,
    turns: Vec<Turn>,
}

/// Where a part is, in OpenAI's words.
struct Place {
    message: usize,
    part: usize,
    /// Calls of tools before it in its message.
    calls: usize,
}

impl Place {
    fn part(&self) -> String {
        format!("messages[{}].content[{}]", self.message, self.part)
    }

    fn call(&self) -> String {
        format!("messages[{}].tool_calls[{}]", self.message, self.calls)
    }
}

impl Writer<'_> {
    fn message(&mut self, index: usize, message: Message) -> Result<(), ApiError> {
        let Message { role, name, parts } = message;
        // A result's tool is found by the id of its call.
        if name.is_some() && role != Role::Tool {
            self.drop(format!("messages[{index}].name"));
        }
        let side = match role {
            Role::System | Role::Developer => return self.instructions(index, parts),
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        let (mut calls, alone) = (0, parts.len() == 1);
        for (number, part) in parts.into_iter().enumerate() {
            let place = Place { message: index, part: number, calls };
            calls += usize::from(matches!(part.kind, PartKind::ToolCall { .. }));
            let is_result = matches!(part.kind, PartKind::ToolResult { .. });
            let blocks = self.part(&place, part, alone)?;
            self.add(side, blocks, is_result);
        }
        Ok(())
    }

    fn instructions(&mut self, index: usize, parts: Vec<Part>) -> Result<(), ApiError> {
        for (number, Part { kind, cache }) in parts.into_iter().enumerate() {
            let path = format!("messages[{index}].content[{number}]");
            match kind {
                PartKind::Text { text, citations } => {
                    self.citations(index, &citations);
                    if let Some(block) = self.text(&path, text) {
                        self.out.system.push(block);
                    }
                }
                PartKind::Native { dialect: Dialect::Bedrock, value } => self.out.system.push(value),
                PartKind::Native { .. } => self.drop(path.clone()),
                _ => {
                    let message = format!(
                        "`{path}`: {} takes instructions as text only; send this as role `user`",
                        self.provider
                    );
                    return Err(ApiError::bad_request(&path, "unsupported_content", message));
                }
            }
            if let Some(cache) = cache {
                let point = cache_point(cache, &path, &mut self.out.dropped);
                self.out.system.push(point);
            }
        }
        Ok(())
    }

    /// The blocks of a part: one, none where it says nothing, one more where the prompt is to be cached up to here.
    fn part(&mut self, place: &Place, part: Part, alone: bool) -> Result<Vec<Value>, ApiError> {
        let Part { kind, mut cache } = part;
        let path = place.part();
        let block = match kind {
            PartKind::Text { text, citations } => {
                self.citations(place.message, &citations);
                self.text(&path, text)
            }
            PartKind::Refusal(text) => self.text(&path, text),
            PartKind::Thinking { text, signature } => self.thinking(&path, text, signature),
            PartKind::RedactedThinking { data } => {
                // Converse takes bytes; what is no base64 was sealed by somebody else.
                let ours = STANDARD.decode(&data).is_ok();
                self.unless(!ours, &path, || json!({"reasoningContent": {"redactedContent": data}}))
            }
            PartKind::ToolCall { id, name, arguments, signature } => {
                if signature.is_some() {
                    self.drop(format!("{}.function.thought_signature", place.call()));
                }
                Some(self.call(place, &id, name, &arguments)?)
            }
            PartKind::ToolResult { id, name: _, parts, is_error } => {
                let inner = if alone { format!("messages[{}]", place.message) } else { path.clone() };
                Some(self.result(&inner, &id, parts, is_error, &mut cache)?)
            }
            PartKind::Native { dialect, value } => self.unless(dialect != Dialect::Bedrock, &path, || value),
            file => Some(self.file(&path, file)?),
        };
        let mut blocks: Vec<Value> = block.into_iter().collect();
        blocks.extend(cache.map(|cache| cache_point(cache, &path, &mut self.out.dropped)));
        Ok(blocks)
    }

    /// Adds blocks to the turn of that side, or begins it.
    fn add(&mut self, role: &'static str, blocks: Vec<Value>, is_result: bool) {
        if blocks.is_empty() {
            return;
        }
        if self.turns.last().is_none_or(|turn| turn.role != role) {
            self.turns.push(Turn { role, content: Vec::new(), results: 0 });
        }
        let Some(turn) = self.turns.last_mut() else { return };
        if is_result {
            let at = turn.results;
            turn.results += blocks.len();
            turn.content.splice(at..at, blocks);
        } else {
            turn.content.extend(blocks);
        }
    }

    /// Text; none where it is blank, which Converse refuses.
    fn text(&mut self, path: &str, text: String) -> Option<Value> {
        if text.trim().is_empty() {
            if !text.is_empty() {
                self.drop(path.to_owned());
            }
            return None;
        }
        Some(json!({"text": text}))
    }

    /// Thoughts; not those that a model with seals would refuse for want of one.
    fn thinking(&mut self, path: &str, text: String, signature: Option<String>) -> Option<Value> {
        let refused = self.family.seals_thoughts && signature.is_none();
        self.unless(refused, path, || {
            let mut block = json!({"text": text});
            if let Some(signature) = signature {
                block["signature"] = signature.into();
            }
            json!({"reasoningContent": {"reasoningText": block}})
        })
    }

    fn call(&mut self, place: &Place, id: &str, name: String, arguments: &str) -> Result<Value, ApiError> {
        let input =
            if arguments.trim().is_empty() { Some(json!({})) } else { serde_json::from_str(arguments).ok() };
        let Some(input) = input.filter(Value::is_object) else {
            let path = format!("{}.function.arguments", place.call());
            let message =
                format!("`{path}` must be the text of a JSON object; {} takes nothing else", self.provider);
            return Err(ApiError::bad_request(&path, "invalid_value", message));
        };
        if !self.out.called.contains(&name) {
            self.out.called.push(name.clone());
        }
        Ok(json!({"toolUse": {"toolUseId": tools::id(id), "name": name, "input": input}}))
    }

    /// A tool's result. Cache marks inside move behind it: results have no room for them.
    fn result(
        &mut self,
        path: &str,
        id: &str,
        parts: Vec<Part>,
        is_error: bool,
        cache: &mut Option<Cache>,
    ) -> Result<Value, ApiError> {
        let mut content = Vec::new();
        for (number, Part { kind, cache: inner }) in parts.into_iter().enumerate() {
            let path = format!("{path}.content[{number}]");
            match kind {
                PartKind::Text { text, citations } => {
                    if !citations.is_empty() {
                        self.drop(format!("{path}.citations"));
                    }
                    content.extend(self.text(&path, text));
                }
                file @ (PartKind::Image { .. } | PartKind::Document { .. } | PartKind::Video { .. }) => {
                    content.push(self.file(&path, file)?);
                }
                PartKind::Native { dialect: Dialect::Bedrock, value } => content.push(value),
                _ => self.drop(path),
            }
            *cache = inner.or(cache.take());
        }
        let mut block = json!({"toolUseId": tools::id(id), "content": content});
        // Said of failures alone: it is the default otherwise, and only some models take the field.
        if is_error {
            block["status"] = "error".into();
        }
        Ok(json!({"toolResult": block}))
    }

    fn file(&mut self, path: &str, part: PartKind) -> Result<Value, ApiError> {
        let (kind, field, source, name) = match part {
            PartKind::Image { source, detail } => {
                if detail.is_some_and(|detail| detail != "auto") {
                    self.drop(format!("{path}.image_url.detail"));
                }
                (Kind::Image, "image_url.url", source, None)
            }
            PartKind::Document { source, name } => (Kind::Document, "file", source, name),
            PartKind::Audio { source } => (Kind::Audio, "input_audio", source, None),
            PartKind::Video { source } => (Kind::Video, "video_url.url", source, None),
            // Only parts that carry files come here.
            _ => return Err(ApiError::bad_request(path, "unsupported_content", "this part carries no file")),
        };
        let path = format!("{path}.{field}");
        let (kind, format, source) = self.source(kind, source, name.as_deref()).map_err(|wrong| {
            let message = format!("`{path}`: {} {wrong}", self.provider);
            ApiError::bad_request(&path, "unsupported_content", message)
        })?;
        let mut block = json!({"source": source});
        if let Some(format) = format {
            block["format"] = format.into();
        }
        if kind == Kind::Document {
            block["name"] = self.names.fit(name.as_deref()).into();
        }
        Ok(json!({kind.name(): block}))
    }

    /// The block that a file goes into, its format and its source; else why it cannot go at all. The media type
    /// decides about the block: a PDF sent as an image is a document.
    fn source(
        &self,
        kind: Kind,
        source: Source,
        name: Option<&str>,
    ) -> Result<(Kind, Option<&'static str>, Value), String> {
        let of_name =
            || name.and_then(|name| Some((kind, media::format_of_address(kind, &format!("/{name}"))?)));
        match source {
            Source::Base64 { media_type, data } => {
                let Some((kind, format)) = media::format(&media_type).or_else(of_name) else {
                    let (kind, formats) = (kind.name(), media::formats(kind));
                    return Err(format!(
                        "takes {kind} files as {formats}, not as `{media_type}`; convert it"
                    ));
                };
                if data.is_empty() {
                    return Err("takes no empty files; leave it out".to_owned());
                }
                Ok((kind, Some(format), json!({"bytes": data})))
            }
            Source::Url(uri) | Source::File(uri) if uri.starts_with("s3://") => {
                let format = media::format_of_address(kind, &uri);
                if format.is_none() && kind != Kind::Document {
                    let formats = media::formats(kind);
                    return Err(format!(
                        "tells formats by the end of S3 addresses; end it in one of {formats}"
                    ));
                }
                Ok((kind, format, json!({"s3Location": {"uri": uri}})))
            }
            Source::Url(_) => {
                Err("does not fetch addresses; send the file in base64 as a data URI, or put it into \
                                   S3 and send its `s3://` address"
                    .to_owned())
            }
            Source::File(_) => {
                Err("has no store of files by id; send the file in base64 as a data URI".to_owned())
            }
            Source::Text(text) if kind == Kind::Document && !text.is_empty() => {
                Ok((kind, Some("txt"), json!({"bytes": STANDARD.encode(text)})))
            }
            Source::Text(_) => {
                Err("takes text of documents only, and not when it is empty; send it as text".to_owned())
            }
        }
    }

    fn citations(&mut self, message: usize, citations: &[Value]) {
        if !citations.is_empty() {
            self.drop(format!("messages[{message}].annotations"));
        }
    }

    /// The block, unless it cannot be said: then it is reported.
    fn unless(&mut self, unsaid: bool, path: &str, block: impl FnOnce() -> Value) -> Option<Value> {
        if unsaid {
            self.drop(path.to_owned());
            return None;
        }
        Some(block())
    }

    fn drop(&mut self, path: String) {
        self.out.dropped.push(path);
    }
}

/// A mark for the cache. Kept times other than those that Converse knows are reported, and its own is taken.
pub(super) fn cache_point(cache: Cache, path: &str, dropped: &mut Vec<String>) -> Value {
    let mut point = json!({"type": "default"});
    match cache.ttl {
        Some(ttl) if matches!(ttl.as_str(), "5m" | "1h") => point["ttl"] = ttl.into(),
        Some(_) => dropped.push(format!("{path}.cache_control.ttl")),
        None => (),
    }
    json!({"cachePoint": point})
}
