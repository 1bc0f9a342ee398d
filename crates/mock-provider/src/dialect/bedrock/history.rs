//! The conversation of Converse: turns alternate, results answer calls, and everything shown is what it says.

use domain::ApiError;
use serde_json::Value;

use super::refuse;
use crate::chat::signature;
use crate::media;
use crate::text::count_words;

/// What the answer is about, and what was counted on the way.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) text: String,
    pub(super) words: u64,
    pub(super) marked: u64,
    pub(super) has_results: bool,
    pub(super) uses_tools: bool,
}

/// Reads system and messages.
pub(super) fn read(body: &Value) -> Result<Heard, ApiError> {
    let mut heard = Heard::default();
    for block in list(&body["system"]) {
        heard.count(block["text"].as_str().unwrap_or_default(), block);
    }
    let messages = list(&body["messages"]);
    if messages.is_empty() {
        return Err(refuse("messages", "it must have at least one message"));
    }
    if messages[0]["role"] == "assistant" {
        return Err(refuse("messages", "a conversation must start with a user message"));
    }
    let (mut last, mut open): (&str, Vec<&str>) = ("", Vec::new());
    for (at, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if role == last {
            return Err(refuse("messages", "a conversation must alternate between user and assistant roles"));
        }
        last = role;
        let place = format!("messages.{at}.content");
        let results = results(&place, message, &mut open)?;
        let mut words = Vec::new();
        for (number, block) in list(&message["content"]).iter().enumerate() {
            let text = self::block(&format!("{place}.{number}"), role, block)?;
            heard.count(&text, block);
            words.push(text);
        }
        open = list(&message["content"])
            .iter()
            .filter_map(|block| block["toolUse"]["toolUseId"].as_str())
            .collect();
        heard.uses_tools |= results || !open.is_empty();
        if role == "user" {
            heard.text = words.join(" ").trim().to_owned();
            heard.has_results = results;
        }
    }
    match open.first() {
        Some(id) => Err(refuse("messages", &format!("expected toolResult blocks for the id {id}"))),
        None => Ok(heard),
    }
}

impl Heard {
    fn count(&mut self, text: &str, block: &Value) {
        self.words += count_words(text) as u64;
        if block["cachePoint"].is_object() {
            self.marked = self.words;
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn results(place: &str, message: &Value, open: &mut Vec<&str>) -> Result<bool, ApiError> {
    let mut any = false;
    for block in list(&message["content"]) {
        let Some(id) = block["toolResult"]["toolUseId"].as_str() else { continue };
        let Some(position) = open.iter().position(|open| *open == id) else {
            return Err(refuse(place, &format!("the previous turn has no toolUse block with the id {id}")));
        };
        open.remove(position);
        any = true;
    }
    match open.first() {
        Some(id) => Err(refuse(place, &format!("expected toolResult blocks for the id {id}"))),
        None => Ok(any),
    }
}

/// The words of a block, or a word for what was shown.
fn block(place: &str, role: &str, block: &Value) -> Result<String, ApiError> {
    let (kind, value) = block
        .as_object()
        .and_then(|fields| fields.iter().next())
        .ok_or_else(|| refuse(place, "it must not be empty"))?;
    let place = format!("{place}.{kind}");
    let users =
        ["image", "document", "video", "audio", "toolResult", "searchResult"].contains(&kind.as_str());
    let assistants = ["toolUse", "reasoningContent", "citationsContent"].contains(&kind.as_str());
    if (users && role != "user") || (assistants && role != "assistant") {
        return Err(refuse(&place, &format!("it is not permitted in {role} messages")));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match kind.as_str() {
        "text" if text(value).trim().is_empty() => Err(refuse(&place, "the text field is blank")),
        "text" => Ok(text(value)),
        "image" | "document" | "video" | "audio" => shown(&place, kind, value),
        "toolUse" => {
            name(&format!("{place}.name"), value["name"].as_str()).map(|()| value["input"].to_string())
        }
        "toolResult" => result(&place, value),
        "searchResult" => Ok(format!("[searchResult,{}]", text(&value["source"]))),
        "reasoningContent" => {
            let thought = &value["reasoningText"];
            if thought.is_object() && thought["signature"] != signature(&text(&thought["text"])) {
                return Err(refuse(&place, "invalid signature"));
            }
            Ok(text(&thought["text"]))
        }
        _ => Ok(String::new()),
    }
}

/// Names of tools have up to 64 letters, digits, `_` and `-`.
pub(super) fn name(place: &str, name: Option<&str>) -> Result<(), ApiError> {
    let name = name.unwrap_or_default();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(word) {
        return Err(refuse(place, "it must satisfy the regular expression pattern [a-zA-Z0-9_-]{1,64}"));
    }
    Ok(())
}

fn result(place: &str, result: &Value) -> Result<String, ApiError> {
    let part = |(number, part): (usize, &Value)| {
        let place = format!("{place}.content.{number}");
        match part.as_object().and_then(|fields| fields.iter().next()) {
            Some((kind, value)) if ["image", "document", "video"].contains(&kind.as_str()) => {
                shown(&place, kind, value)
            }
            Some((kind, value)) if kind == "json" => Ok(value.to_string()),
            Some((_, value)) => Ok(value.as_str().unwrap_or_default().to_owned()),
            None => Ok(String::new()),
        }
    };
    let parts = list(&result["content"]).iter().enumerate().map(part);
    Ok(parts.collect::<Result<Vec<_>, _>>()?.join(" "))
}

fn shown(place: &str, kind: &str, value: &Value) -> Result<String, ApiError> {
    if kind == "document" {
        document_name(place, value["name"].as_str().unwrap_or_default())?;
    }
    let source = &value["source"];
    if let Some(uri) = source["s3Location"]["uri"].as_str() {
        return Ok(format!("[{kind},{uri}]"));
    }
    if let Some(text) = source["text"].as_str() {
        return Ok(text.to_owned());
    }
    let Some(data) = source["bytes"].as_str() else {
        return Ok(list(&source["content"]).iter().filter_map(|part| part["text"].as_str()).collect());
    };
    let format = value["format"].as_str().unwrap_or_default();
    if format.is_empty() {
        return Err(refuse(place, "the format must not be null when there are bytes"));
    }
    let media_type = match (kind, format) {
        ("document", "pdf") => "application/pdf".to_owned(),
        _ => format!("{kind}/{format}"),
    };
    media::inline(&media_type, data).map_err(|why| refuse(&format!("{place}.source.bytes"), &why))
}

/// Source: Converse, DocumentBlock, "name".
fn document_name(place: &str, name: &str) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " \t\n-()[]".contains(c);
    if name.chars().all(allowed) && !name.contains("  ") {
        return Ok(());
    }
    let what = "the file name may only have letters, digits, single blanks, hyphens, parentheses and square brackets";
    Err(refuse(&format!("{place}.name"), what))
}
