//! The input: a text, or items such as messages, calls, their outputs and thoughts.

use domain::ApiError;
use serde_json::Value;

use super::super::{invalid, missing};
use crate::chat::signature;
use crate::media;
use crate::text::count_words;

/// What the answer is about.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) heard: String,
    pub(super) words: u64,
    pub(super) has_results: bool,
    pub(super) says_json: bool,
}

/// Reads instructions and input.
pub(super) fn read(body: &Value) -> Result<History, ApiError> {
    let mut history = History::default();
    history.count(body["instructions"].as_str().unwrap_or_default());
    let continued = body["previous_response_id"].is_string() || !body["conversation"].is_null();
    match &body["input"] {
        Value::String(text) => {
            history.count(text);
            history.heard.clone_from(text);
        }
        Value::Array(items) if !items.is_empty() => history.items(items, continued)?,
        Value::Null if continued || body["prompt"].is_object() => {}
        Value::Null => return Err(missing("input", "write a string or an array of items")),
        _ => return Err(invalid("input", "write a string, or an array of items with at least one")),
    }
    Ok(history)
}

impl History {
    fn count(&mut self, text: &str) {
        self.words += count_words(text) as u64;
        self.says_json |= text.to_ascii_lowercase().contains("json");
    }

    fn items(&mut self, items: &[Value], continued: bool) -> Result<(), ApiError> {
        let (mut open, mut outputs): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
        for (at, item) in items.iter().enumerate() {
            let place = format!("input[{at}]");
            let kind = item["type"].as_str().unwrap_or("message");
            match kind {
                "message" => {
                    let (role, text) = message(&place, item)?;
                    self.count(&text);
                    outputs.clear();
                    if role == "user" {
                        self.heard = text;
                    }
                }
                "function_call" => {
                    for field in ["call_id", "name", "arguments"] {
                        text(&place, item, field)?;
                    }
                    self.count(text(&place, item, "arguments")?);
                    open.push(text(&place, item, "call_id")?);
                }
                "function_call_output" => {
                    let id = text(&place, item, "call_id")?;
                    match open.iter().position(|open| *open == id) {
                        Some(position) => drop(open.remove(position)),
                        None if continued => {}
                        None => {
                            let what =
                                format!("no tool call found for function call output with call_id {id}");
                            return Err(invalid(&place, &what));
                        }
                    }
                    let output = output(&place, &item["output"])?;
                    self.count(&output);
                    outputs.push(output);
                }
                "reasoning" => reasoning(&place, item)?,
                // Items of tools that run at OpenAI are taken as they are.
                "item_reference"
                | "web_search_call"
                | "file_search_call"
                | "computer_call"
                | "image_generation_call"
                | "code_interpreter_call"
                | "mcp_call"
                | "mcp_list_tools"
                | "custom_tool_call"
                | "compaction" => {}
                _ => return Err(invalid(&format!("{place}.type"), &format!("`{kind}` is no type of item"))),
            }
        }
        if let Some(id) = open.first() {
            return Err(invalid("input", &format!("no tool output found for function call {id}")));
        }
        self.has_results = !outputs.is_empty();
        if self.has_results {
            self.heard = outputs.join(" ");
        }
        Ok(())
    }
}

fn message<'i>(place: &str, item: &'i Value) -> Result<(&'i str, String), ApiError> {
    let role = text(place, item, "role")?;
    if !["user", "assistant", "system", "developer"].contains(&role) {
        return Err(invalid(&format!("{place}.role"), "write user, assistant, system or developer"));
    }
    if let Some(text) = item["content"].as_str() {
        return Ok((role, text.to_owned()));
    }
    let place = format!("{place}.content");
    let parts =
        item["content"].as_array().ok_or_else(|| missing(&place, "write a string or an array of parts"))?;
    let parts =
        parts.iter().enumerate().map(|(number, value)| part(&format!("{place}[{number}]"), role, value));
    Ok((role, parts.collect::<Result<Vec<_>, _>>()?.join(" ")))
}

/// The assistant has output, everybody else has input.
fn part(place: &str, role: &str, part: &Value) -> Result<String, ApiError> {
    let kind = part["type"].as_str().unwrap_or_default();
    let assistant = role == "assistant";
    match kind {
        "input_text" if !assistant => text(place, part, "text").map(str::to_owned),
        "output_text" if assistant => text(place, part, "text").map(str::to_owned),
        "refusal" if assistant => text(place, part, "refusal").map(str::to_owned),
        "input_image" if role == "user" => match part["file_id"].as_str() {
            Some(id) => Ok(format!("[image,{id}]")),
            None => media::address("image", text(place, part, "image_url")?, media::IMAGES)
                .map_err(|why| invalid(&format!("{place}.image_url"), &why)),
        },
        "input_file" if role == "user" => {
            if let Some(id) = part["file_id"].as_str().or(part["file_url"].as_str()) {
                return Ok(format!("[file,{id}]"));
            }
            text(place, part, "filename")?;
            media::address("file", text(place, part, "file_data")?, &["application/pdf"])
                .map_err(|why| invalid(&format!("{place}.file_data"), &why))
        }
        _ => {
            Err(invalid(&format!("{place}.type"), &format!("`{kind}` is no part of a message of the {role}")))
        }
    }
}

fn output(place: &str, output: &Value) -> Result<String, ApiError> {
    let place = format!("{place}.output");
    match output {
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => {
            let part = |(at, value): (usize, &Value)| part(&format!("{place}[{at}]"), "user", value);
            Ok(parts.iter().enumerate().map(part).collect::<Result<Vec<_>, _>>()?.join(" "))
        }
        _ => Err(missing(&place, "write a string or an array of parts")),
    }
}

/// What was encrypted must come back as it was given.
fn reasoning(place: &str, item: &Value) -> Result<(), ApiError> {
    let summary =
        item["summary"].as_array().ok_or_else(|| missing(&format!("{place}.summary"), "write an array"))?;
    let thought: String = summary.iter().filter_map(|part| part["text"].as_str()).collect();
    match item["encrypted_content"].as_str() {
        Some(given) if given != signature(&thought) => {
            Err(invalid(&format!("{place}.encrypted_content"), "the encrypted content could not be verified"))
        }
        _ => Ok(()),
    }
}

fn text<'v>(place: &str, value: &'v Value, field: &str) -> Result<&'v str, ApiError> {
    value[field].as_str().ok_or_else(|| missing(&format!("{place}.{field}"), "write a string"))
}
