//! `contents` and `systemInstruction`.

use domain::ApiError;
use serde_json::{Map, Value, json};

use super::SEAL;
use super::request::Context;
use crate::chat::{Dialect, Message, Part, PartKind, Role, Source};

/// Stands for the seal of a tool call that has none: Gemini 3 refuses calls without, and SDKs drop fields that they do
/// not know.
///
/// Source: "Thought signatures" in the Gemini API documentation, on calls that the model did not make itself.
const NO_SEAL: &str = "skip_thought_signature_validator";

/// Media types by the end of a URL or a file name.
const MEDIA_TYPES: [(&str, &str); 24] = [
    (".aac", "audio/aac"),
    (".avi", "video/x-msvideo"),
    (".csv", "text/csv"),
    (".flac", "audio/flac"),
    (".gif", "image/gif"),
    (".heic", "image/heic"),
    (".heif", "image/heif"),
    (".html", "text/html"),
    (".jpeg", "image/jpeg"),
    (".jpg", "image/jpeg"),
    (".json", "application/json"),
    (".m4a", "audio/m4a"),
    (".md", "text/markdown"),
    (".mov", "video/quicktime"),
    (".mp3", "audio/mpeg"),
    (".mp4", "video/mp4"),
    (".mpeg", "video/mpeg"),
    (".ogg", "audio/ogg"),
    (".pdf", "application/pdf"),
    (".png", "image/png"),
    (".txt", "text/plain"),
    (".wav", "audio/wav"),
    (".webm", "video/webm"),
    (".webp", "image/webp"),
];

/// Writes the turns: `systemInstruction` from all instructions wherever they stand, and `contents`, in which user and
/// model take turns.
pub(super) fn write(messages: Vec<Message>, cx: &mut Context<'_>) -> Result<Map<String, Value>, ApiError> {
    let (mut turns, mut results) = (Turns::default(), Vec::new());
    for (at, message) in messages.into_iter().enumerate() {
        let Message { role, name, parts } = message;
        let path = format!("messages[{at}]");
        cx.drop_if(format!("{path}.name"), name.is_some());
        let (mut written, mut call) = (Vec::new(), 0);
        for (number, Part { kind, cache }) in parts.into_iter().enumerate() {
            let path = Path { message: &path, part: format!("{path}.content[{number}]"), call };
            call += usize::from(matches!(kind, PartKind::ToolCall { .. }));
            cx.drop_if(format!("{}.cache_control", path.part), cache.is_some());
            if let PartKind::ToolResult { id, name, parts, is_error } = kind {
                results.push(result(ToolResult { id, name, parts, is_error }, &path, cx)?);
            } else {
                part(kind, role, &path, cx, &mut written)?;
            }
        }
        if role != Role::Tool {
            turns.add_results(&mut results);
        }
        match role {
            Role::System | Role::Developer => turns.system.extend(written),
            Role::User | Role::Tool => turns.add("user", written),
            Role::Assistant => turns.add("model", written),
        }
    }
    turns.add_results(&mut results);
    turns.finish(cx)
}

#[derive(Default)]
struct Turns {
    system: Vec<Value>,
    turns: Vec<(&'static str, Vec<Value>)>,
}

impl Turns {
    fn add(&mut self, role: &'static str, parts: Vec<Value>) {
        match self.turns.last_mut() {
            _ if parts.is_empty() => {}
            Some((last, so_far)) if *last == role => so_far.extend(parts),
            _ => self.turns.push((role, parts)),
        }
    }

    /// Gemini knows which result belongs to which call by their order alone: ids are refused by Vertex AI.
    fn add_results(&mut self, results: &mut Vec<(usize, Vec<Value>)>) {
        results.sort_by_key(|(call, _)| *call);
        results.drain(..).for_each(|(_, parts)| self.add("user", parts));
    }

    fn finish(mut self, cx: &mut Context<'_>) -> Result<Map<String, Value>, ApiError> {
        if self.turns.is_empty() && !self.system.is_empty() {
            // Gemini wants something to answer, so lone instructions are said by the user.
            self.turns.push(("user", std::mem::take(&mut self.system)));
            cx.drop("messages[0].role");
        }
        if self.turns.is_empty() {
            let message =
                format!("`messages` has no text for {}: give at least one message", cx.target.provider);
            return Err(ApiError::bad_request("messages", "empty_messages", message));
        }
        let mut out = Map::new();
        if !self.system.is_empty() {
            out.insert("systemInstruction".to_owned(), json!({"parts": self.system}));
        }
        let contents = self.turns.into_iter().map(|(role, mut parts)| {
            if cx.traits.third {
                seal_first_call(&mut parts);
            }
            json!({"role": role, "parts": parts})
        });
        out.insert("contents".to_owned(), contents.collect());
        Ok(out)
    }
}

/// Of several calls at once Gemini seals the first, and checks that one.
fn seal_first_call(parts: &mut [Value]) {
    let first =
        parts.iter_mut().filter_map(Value::as_object_mut).find(|part| part.contains_key("functionCall"));
    if let Some(part) = first {
        part.entry("thoughtSignature").or_insert(Value::from(NO_SEAL));
    }
}

/// Where a part is in the caller's body.
struct Path<'a> {
    message: &'a str,
    part: String,
    /// Calls of tools before this part.
    call: usize,
}

impl Path<'_> {
    fn refuse(&self, field: &str, message: String) -> ApiError {
        let param = format!("{}{field}", self.part);
        ApiError::bad_request(&param, "invalid_value", format!("`{param}` {message}"))
    }
}

fn part(
    kind: PartKind,
    role: Role,
    path: &Path<'_>,
    cx: &mut Context<'_>,
    out: &mut Vec<Value>,
) -> Result<(), ApiError> {
    match kind {
        PartKind::Text { text, citations } => {
            cx.drop_if(format!("{}.annotations", path.message), !citations.is_empty());
            // Gemini refuses empty texts.
            out.extend((!text.is_empty()).then(|| json!({"text": text})));
        }
        PartKind::Refusal(text) => out.extend((!text.is_empty()).then(|| json!({"text": text}))),
        PartKind::Native { dialect: Dialect::Gemini, value } => out.push(value),
        PartKind::Native { .. } | PartKind::RedactedThinking { .. } => cx.drop(&path.part),
        _ if matches!(role, Role::System | Role::Developer) => {
            let message = format!(
                "is no text, and {} takes instructions as text only: move it to a message with role `user`",
                cx.target.provider
            );
            return Err(path.refuse("", message));
        }
        PartKind::Thinking { text, signature } => match own_seal(signature.as_deref()) {
            Some(seal) if text.is_empty() => out.push(json!({"text": "", "thoughtSignature": seal})),
            Some(seal) => out.push(json!({"text": text, "thought": true, "thoughtSignature": seal})),
            None => cx.drop(&path.part),
        },
        PartKind::ToolCall { id, name, arguments, signature } => {
            out.push(call(id, name, &arguments, signature, path, cx)?);
        }
        media => out.push(blob(media, path, cx)?),
    }
    Ok(())
}

/// The seal, if it is one of Gemini's.
fn own_seal(signature: Option<&str>) -> Option<&str> {
    signature.and_then(|signature| signature.strip_prefix(SEAL))
}

fn call(
    id: String,
    name: String,
    arguments: &str,
    signature: Option<String>,
    path: &Path<'_>,
    cx: &mut Context<'_>,
) -> Result<Value, ApiError> {
    let given = if arguments.trim().is_empty() { "{}" } else { arguments };
    let Ok(args) = serde_json::from_str::<Map<String, Value>>(given) else {
        let param = format!("{}.tool_calls[{}].function.arguments", path.message, path.call);
        let message = format!(
            "`{param}` for `{name}` is no JSON object, which {} wants: write an object such as `{{}}`",
            cx.target.provider
        );
        return Err(ApiError::bad_request(&param, "invalid_tool_arguments", message));
    };
    let mut part = json!({"functionCall": {"name": name, "args": args}});
    if let Some(signature) = signature {
        part["thoughtSignature"] = Value::from(signature.strip_prefix(SEAL).unwrap_or(&signature));
    }
    cx.calls.insert(id, (name, cx.called));
    cx.called += 1;
    Ok(part)
}

/// [`PartKind::ToolResult`].
struct ToolResult {
    id: String,
    name: Option<String>,
    parts: Vec<Part>,
    is_error: bool,
}

/// A result, and which call it answers: text under `output` or `error`, and images beside it. Models before Gemini 3
/// take no images inside of a result; they follow it in the same turn.
fn result(
    result: ToolResult,
    path: &Path<'_>,
    cx: &mut Context<'_>,
) -> Result<(usize, Vec<Value>), ApiError> {
    let ToolResult { id, name, parts, is_error } = result;
    let known = cx.calls.get(&id).cloned().or_else(|| Some((name?, usize::MAX)));
    let Some((name, call)) = known else {
        let param = format!("{}.tool_call_id", path.message);
        let message = format!(
            "`{param}` is `{id}`, but no earlier message holds that call, and {} wants the tool's name: send the \
             assistant's message with its `tool_calls` as well",
            cx.target.provider
        );
        return Err(ApiError::bad_request(&param, "unknown_tool_call", message));
    };
    let (mut texts, mut media) = (Vec::new(), Vec::new());
    for (number, Part { kind, cache }) in parts.into_iter().enumerate() {
        let part = format!("{}.content[{number}]", path.message);
        let inner = Path { message: path.message, part, call: 0 };
        cx.drop_if(format!("{}.cache_control", inner.part), cache.is_some());
        match kind {
            PartKind::Text { text, .. } | PartKind::Refusal(text) => texts.push(text),
            PartKind::Document { source: Source::Text(text), name } => {
                cx.drop_if(format!("{}.file.filename", inner.part), name.is_some());
                texts.push(text);
            }
            kind @ (PartKind::Image { .. }
            | PartKind::Document { .. }
            | PartKind::Audio { .. }
            | PartKind::Video { .. }) => media.push(blob(kind, &inner, cx)?),
            _ => cx.drop(&inner.part),
        }
    }
    let key = if is_error { "error" } else { "output" };
    let mut response = json!({"name": name, "response": {key: texts.concat()}});
    if cx.traits.third && !media.is_empty() {
        response["parts"] = Value::from(std::mem::take(&mut media));
    }
    let mut written = vec![json!({"functionResponse": response})];
    written.extend(media);
    Ok((call, written))
}

/// An image, a document, sound or a film.
fn blob(kind: PartKind, path: &Path<'_>, cx: &mut Context<'_>) -> Result<Value, ApiError> {
    let (source, name, field) = match kind {
        PartKind::Image { source, detail } => {
            let lost = detail.is_some_and(|detail| detail != "auto");
            cx.drop_if(format!("{}.image_url.detail", path.part), lost);
            (source, None, ".image_url.url")
        }
        PartKind::Document { source, name } => {
            cx.drop_if(format!("{}.file.filename", path.part), name.is_some());
            (source, name, ".file.file_data")
        }
        PartKind::Audio { source } => (source, None, ".input_audio.data"),
        PartKind::Video { source } => (source, None, ".video_url.url"),
        _ => return Err(path.refuse("", "is no image, document, sound or film".to_owned())),
    };
    match source {
        Source::Base64 { media_type, data } => {
            Ok(json!({"inlineData": {"mimeType": media_type, "data": data}}))
        }
        Source::Text(text) => Ok(json!({"text": text})),
        Source::Url(url) if is_reachable(&url) => {
            let mut file = json!({"fileUri": url});
            if let Some(kind) = media_type(&url).or_else(|| media_type(name.as_deref()?)) {
                file["mimeType"] = Value::from(kind);
            }
            Ok(json!({"fileData": file}))
        }
        Source::File(id) if is_reachable(&id) => Ok(json!({"fileData": {"fileUri": id}})),
        Source::Url(_) => {
            let message = format!(
                "has to be a data URI, or a URL that begins with `https:` or `gs:`, for {}",
                cx.target.provider
            );
            Err(path.refuse(field, message))
        }
        Source::File(_) => {
            let message = format!(
                "names a file of another provider's store: for {} give the file's `uri` as its files API tells it, or \
                 the file itself as a data URI",
                cx.target.provider
            );
            Err(path.refuse(".file.file_id", message))
        }
    }
}

/// Whether Gemini fetches such an address itself.
fn is_reachable(url: &str) -> bool {
    let begins =
        |scheme: &&str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    ["https://", "http://", "gs://"].iter().any(begins)
}

fn media_type(name: &str) -> Option<&'static str> {
    let name = name.split(['?', '#']).next()?.to_ascii_lowercase();
    MEDIA_TYPES.iter().find(|(end, _)| name.ends_with(end)).map(|(_, kind)| *kind)
}
