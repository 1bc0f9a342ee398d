//! Requests of callers who speak Messages.

use domain::ApiError;

use super::{OWN, blocks, settings};
use crate::chat::{Message, Part, PartKind, Request, Role};
use crate::fields::{Fields, unknown_word, wrong};

/// Reads a request. What a chat has no place for is kept: in `own` if Anthropic defines it, in `unknown` if it does
/// not, in `dropped` by its path if it is part of a message or a tool.
///
/// Source: "Create a Message" in the API reference on platform.claude.com.
pub fn read_request(body: &[u8]) -> Result<Request, ApiError> {
    read(body, true)
}

/// As [`read_request`]; without `answers`, for counting tokens, there is no need of `max_tokens`.
pub(in crate::anthropic) fn read(body: &[u8], answers: bool) -> Result<Request, ApiError> {
    let mut fields = Fields::of_body(body)?;
    let mut request = Request { include_usage: true, ..Request::default() };
    request.model = fields.need("model", Fields::string)?;
    request.max_tokens = fields.count("max_tokens")?;
    if answers && request.max_tokens.is_none() {
        return Err(fields.missing("max_tokens", "write how many tokens the answer may have"));
    }
    request.temperature = fields.number("temperature")?;
    request.top_p = fields.number("top_p")?;
    request.top_k = fields.count("top_k")?;
    request.stream = fields.flag("stream")?.unwrap_or(false);
    request.stop = fields.strings("stop_sequences")?;
    request.user = settings::user(&mut fields, &mut request.dropped)?;
    (request.tools, request.tool_choice, request.parallel_tool_calls) =
        settings::tools(&mut fields, &mut request.dropped)?;
    settings::output(&mut fields, &mut request)?;
    request.messages = messages(&mut fields, &mut request.dropped)?;
    for name in OWN {
        if let Some(value) = fields.take(name) {
            request.own.insert(name.to_owned(), value);
        }
    }
    request.unknown = fields.into_map();
    thread(&request)?;
    Ok(request)
}

/// A request that continues a thread brings only what is new, and nobody but Anthropic has the rest. The answer is what
/// Anthropic says of a thread that it has forgotten: its clients then send the whole conversation. Where a thread begins
/// there is no harm in not keeping it, so that is one of the parameters that are left out.
///
/// Source: "Message threads" on platform.claude.com.
fn thread(request: &Request) -> Result<(), ApiError> {
    let Some(thread) = request.own.get("thread").filter(|thread| thread["type"] == "continue") else {
        return Ok(());
    };
    let id = thread["previous_message_id"].as_str().unwrap_or_default();
    let id: String = id.chars().take(100).collect();
    let message = format!(
        "`thread.previous_message_id` is `{id}`, but the provider of this request keeps no threads: send the whole \
         conversation, without `thread` or with `\"thread\": {{\"type\": \"create\"}}`"
    );
    Err(ApiError::new(404, "thread_not_found", message).with_param("thread.previous_message_id"))
}

/// The system prompt, then the turns.
fn messages(fields: &mut Fields, dropped: &mut Vec<String>) -> Result<Vec<Message>, ApiError> {
    let mut messages = Vec::new();
    if let Some(system) = fields.take("system") {
        let parts = blocks::content(system, "system", dropped)?;
        messages.push(Message { role: Role::System, name: None, parts: instructions(parts, "system")? });
    }
    let list = fields.need("messages", Fields::array)?;
    if list.is_empty() {
        return Err(wrong("messages", "invalid_value", "is empty: write at least one message"));
    }
    for (index, value) in list.into_iter().enumerate() {
        let mut message = Fields::of(value, format!("messages[{index}]"))?;
        let role = message.need("role", Fields::string)?;
        let content = message.take("content").ok_or_else(|| message.missing("content", "it is required"))?;
        let path = message.path("content");
        let parts = blocks::content(content, &path, dropped)?;
        turn(&role, parts, &message, &path, &mut messages)?;
        message.report(dropped);
    }
    Ok(messages)
}

/// Adds a turn. Results of tools are a turn of their own in a chat, before what the user says beside them.
fn turn(
    role: &str,
    parts: Vec<Part>,
    message: &Fields,
    path: &str,
    messages: &mut Vec<Message>,
) -> Result<(), ApiError> {
    let is_result = |part: &Part| matches!(part.kind, PartKind::ToolResult { .. });
    let belongs = |part: &Part, to: &str| {
        let kind = if is_result(part) { "tool_result" } else { "tool_use" };
        let words = format_args!("of role `{role}` holds a `{kind}` block; those belong to role `{to}`");
        wrong(path, "invalid_value", words)
    };
    match role {
        "system" => {
            let parts = instructions(parts, path)?;
            messages.push(Message { role: Role::System, name: None, parts });
        }
        "assistant" => {
            if let Some(part) = parts.iter().find(|part| is_result(part)) {
                return Err(belongs(part, "user"));
            }
            messages.push(Message { role: Role::Assistant, name: None, parts });
        }
        "user" => {
            if let Some(part) = parts.iter().find(|part| matches!(part.kind, PartKind::ToolCall { .. })) {
                return Err(belongs(part, "assistant"));
            }
            let (results, said): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(is_result);
            let only_results = !results.is_empty() && said.is_empty();
            if !results.is_empty() {
                messages.push(Message { role: Role::Tool, name: None, parts: results });
            }
            if !only_results {
                messages.push(Message { role: Role::User, name: None, parts: said });
            }
        }
        other => return Err(unknown_word(&message.path("role"), other, "`user`, `assistant` or `system`")),
    }
    Ok(())
}

/// Instructions are text.
fn instructions(parts: Vec<Part>, path: &str) -> Result<Vec<Part>, ApiError> {
    match parts.iter().position(|part| !matches!(part.kind, PartKind::Text { .. })) {
        None => Ok(parts),
        Some(index) => {
            let path = format!("{path}[{index}]");
            Err(wrong(&path, "invalid_value", "is no text block; instructions are text"))
        }
    }
}
