//! The conversation: turns, what was shown in them, and whether calls and results of tools belong together.
//! Source: docs.anthropic.com/en/docs/build-with-claude/tool-use, …/extended-thinking, …/prompt-caching.

use domain::ApiError;
use serde_json::Value;

use super::refuse;
use crate::chat::signature;
use crate::media;
use crate::text::count_words;

/// Most cache markers in a request.
const MAX_MARKERS: usize = 4;

/// Words so far, and how many of them stand before the last cache marker.
#[derive(Debug, Default)]
pub(super) struct Counter {
    pub(super) words: u64,
    pub(super) marked: u64,
    markers: usize,
}

impl Counter {
    /// Counts a text, and the marker on what holds it.
    pub(super) fn text(&mut self, text: &str, holder: &Value) -> Result<(), ApiError> {
        self.words += count_words(text) as u64;
        if holder.get("cache_control").is_some_and(|marker| !marker.is_null()) {
            self.markers += 1;
            self.marked = self.words;
        }
        if self.markers > MAX_MARKERS {
            let message = format!("at most {MAX_MARKERS} blocks may have it, found {}", self.markers);
            return Err(refuse("cache_control", &message));
        }
        Ok(())
    }
}

/// What is expected of the messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Thoughts come first where calls were answered.
    pub(super) thinking: bool,
    /// The newest version of the API takes no documents of the assistant's and no citations of the user's.
    pub(super) newest: bool,
}

/// What the answer is about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) text: String,
    pub(super) has_results: bool,
    /// Whether there are calls or results, so that tools must be defined.
    pub(super) uses_tools: bool,
}

/// One side's messages in a row; the API reads them as one.
struct Turn<'b> {
    role: &'b str,
    /// Blocks with the place of their message and their number in it.
    blocks: Vec<(usize, usize, Block<'b>)>,
}

enum Block<'b> {
    Plain(&'b str),
    Typed(&'b Value),
}

/// Reads the messages.
pub(super) fn read(messages: &Value, rules: Rules, counter: &mut Counter) -> Result<Heard, ApiError> {
    let messages = messages.as_array().map(Vec::as_slice).unwrap_or_default();
    if messages.is_empty() {
        return Err(refuse("messages", "at least one message is required"));
    }
    if messages[0]["role"] == "assistant" {
        return Err(refuse("messages", "the first message must use the \"user\" role"));
    }
    filled(messages)?;
    let turns = turns(messages);
    let mut heard = Heard::default();
    let mut open: Vec<&str> = Vec::new();
    for turn in &turns {
        let results = results(turn, &mut open)?;
        let mut words = Vec::new();
        for (at, number, block) in &turn.blocks {
            let place = format!("messages.{at}.content.{number}");
            let (text, holder) = match block {
                Block::Plain(text) => ((*text).to_owned(), &Value::Null),
                Block::Typed(block) => (self::block(&place, turn.role, block, rules.newest)?, *block),
            };
            counter.text(&text, holder)?;
            words.push(text);
        }
        open = calls(turn);
        heard.uses_tools |= results || !open.is_empty();
        if turn.role == "user" {
            heard.text = words.join(" ").trim().to_owned();
            heard.has_results = results;
        }
    }
    if let Some(id) = open.first() {
        return Err(unanswered(messages.len() - 1, id));
    }
    if rules.thinking {
        thought_first(&turns)?;
    }
    Ok(heard)
}

/// Only the last message, if it is the assistant's, may be empty; and it must not end in a blank.
fn filled(messages: &[Value]) -> Result<(), ApiError> {
    for (at, message) in messages.iter().enumerate() {
        let last = at + 1 == messages.len() && message["role"] == "assistant";
        let empty = match &message["content"] {
            Value::String(text) => text.is_empty(),
            Value::Array(blocks) => blocks.is_empty(),
            _ => false,
        };
        if empty && !last {
            return Err(refuse(
                &format!("messages.{at}"),
                "all messages must have non-empty content except for the optional final assistant message",
            ));
        }
        let text = match &message["content"] {
            Value::Array(blocks) => blocks.last().and_then(|block| block["text"].as_str()),
            content => content.as_str(),
        };
        if last && text.is_some_and(|text| text.ends_with(char::is_whitespace)) {
            return Err(refuse("messages", "final assistant content cannot end with trailing whitespace"));
        }
    }
    Ok(())
}

fn turns(messages: &[Value]) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        let blocks: Vec<_> = match &message["content"] {
            Value::Array(blocks) => blocks.iter().map(Block::Typed).collect(),
            content => content.as_str().map(Block::Plain).into_iter().collect(),
        };
        let blocks = blocks.into_iter().enumerate().map(|(number, block)| (at, number, block));
        match turns.last_mut() {
            Some(turn) if turn.role == role => turn.blocks.extend(blocks),
            _ => turns.push(Turn { role, blocks: blocks.collect() }),
        }
    }
    turns
}

/// Checks that a turn answers all calls before it says anything else. Says whether it has answers.
fn results(turn: &Turn<'_>, open: &mut Vec<&str>) -> Result<bool, ApiError> {
    let (mut any, mut other, mut last) = (false, false, 0);
    for (at, number, block) in &turn.blocks {
        last = *at;
        let result = match block {
            Block::Typed(block) if block["type"] == "tool_result" => *block,
            _ => {
                other = true;
                continue;
            }
        };
        let place = format!("messages.{at}.content.{number}");
        let id = result["tool_use_id"].as_str().unwrap_or_default();
        let Some(position) = open.iter().position(|open| *open == id) else {
            let what = format!(
                "unexpected `tool_use_id` found in `tool_result` blocks: {id}. The message before has no such \
                 `tool_use` block"
            );
            return Err(refuse(&place, &what));
        };
        if other {
            return Err(refuse(&place, "`tool_result` blocks must come before other content"));
        }
        open.remove(position);
        any = true;
    }
    match open.first() {
        Some(id) => Err(unanswered(last.saturating_sub(1), id)),
        None => Ok(any),
    }
}

fn unanswered(at: usize, id: &str) -> ApiError {
    let what = format!("`tool_use` ids were found without `tool_result` blocks immediately after: {id}");
    refuse(&format!("messages.{at}"), &what)
}

fn calls<'b>(turn: &Turn<'b>) -> Vec<&'b str> {
    let id = |block: &Block<'b>| match block {
        Block::Typed(block) if block["type"] == "tool_use" => block["id"].as_str(),
        _ => None,
    };
    turn.blocks.iter().filter_map(|(_, _, block)| id(block)).collect()
}

/// With thinking on, an assistant turn whose calls were just answered must begin with its thought.
fn thought_first(turns: &[Turn<'_>]) -> Result<(), ApiError> {
    let [.., assistant, user] = turns else { return Ok(()) };
    let answers = user.blocks.iter().any(|(_, _, block)| is(block, &["tool_result"]));
    let Some((at, number, first)) = assistant.blocks.first().filter(|_| answers) else { return Ok(()) };
    if is(first, &["thinking", "redacted_thinking"]) {
        return Ok(());
    }
    let place = format!("messages.{at}.content.{number}.type");
    Err(refuse(
        &place,
        "expected `thinking` or `redacted_thinking` at the start, because `thinking` is enabled",
    ))
}

fn is(block: &Block<'_>, types: &[&str]) -> bool {
    matches!(block, Block::Typed(block) if block["type"].as_str().is_some_and(|kind| types.contains(&kind)))
}

/// The words of a block, or a word for what was shown.
fn block(place: &str, role: &str, block: &Value, newest: bool) -> Result<String, ApiError> {
    let kind = block["type"].as_str().unwrap_or_default();
    let text = |field: &str| block[field].as_str().unwrap_or_default().to_owned();
    let users = ["image", "document", "search_result", "tool_result", "container_upload"].contains(&kind);
    let allowed = match role {
        "user" => users || kind == "text",
        "system" => kind == "text",
        _ => !users || (kind == "document" && !newest),
    };
    if !allowed {
        return Err(refuse(place, &format!("`{kind}` blocks are not permitted in {role} messages")));
    }
    let parts = block["content"].as_array().into_iter().flatten().chain(std::iter::once(block));
    let cites = |part: &Value| part["citations"].as_array().is_some_and(|list| !list.is_empty());
    if newest && role == "user" && parts.into_iter().any(cites) {
        return Err(refuse(place, "`citations` are not permitted in user messages"));
    }
    match kind {
        "text" => Ok(text("text")),
        "image" | "document" => shown(place, kind, &block["source"]),
        "search_result" => Ok(format!("[search_result,{}]", text("source"))),
        "thinking" if block["signature"] != signature(&text("thinking")) => {
            Err(refuse(place, "invalid `signature` in `thinking` block"))
        }
        "tool_use" => Ok(block["input"].to_string()),
        "tool_result" => result(place, &block["content"]),
        _ => Ok(String::new()),
    }
}

fn result(place: &str, content: &Value) -> Result<String, ApiError> {
    let Some(parts) = content.as_array() else { return Ok(content.as_str().unwrap_or_default().to_owned()) };
    let part = |(number, part): (usize, &Value)| {
        let place = format!("{place}.content.{number}");
        match part["type"].as_str() {
            Some(kind @ ("image" | "document")) => shown(&place, kind, &part["source"]),
            _ => Ok(part["text"].as_str().unwrap_or_default().to_owned()),
        }
    };
    Ok(parts.iter().enumerate().map(part).collect::<Result<Vec<_>, _>>()?.join(" "))
}

fn shown(place: &str, kind: &str, source: &Value) -> Result<String, ApiError> {
    let text = |field: &str| source[field].as_str().unwrap_or_default();
    let place = format!("{place}.{kind}.source");
    match source["type"].as_str().unwrap_or_default() {
        "base64" => media::inline(text("media_type"), text("data"))
            .map_err(|why| refuse(&format!("{place}.base64.data"), &why)),
        "url" if text("url").starts_with("https://") => Ok(format!("[{kind},{}]", text("url"))),
        "url" => Err(refuse(&format!("{place}.url.url"), "only HTTPS URLs are supported")),
        "file" => Ok(format!("[{kind},{}]", text("file_id"))),
        "text" => Ok(text("data").to_owned()),
        _ => result(&place, &source["content"]),
    }
}
