//! Messages of a chat: what was said last, what was shown, and whether calls and results of tools belong together.
//! Source: platform.openai.com/docs/api-reference/chat/create, "messages".

use std::borrow::Cow;

use domain::ApiError;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{invalid, missing};
use crate::media;
use crate::text::count_words;

const EXPECTED: &str = "write an array of {\"role\",\"content\"} objects with at least one";

/// What a conversation comes down to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Conversation {
    pub(crate) heard: String,
    pub(crate) words: u64,
    pub(crate) has_results: bool,
    /// Whether the word that OpenAI wants to see for `json_object` is there.
    pub(crate) says_json: bool,
}

#[derive(Deserialize)]
struct Message<'b> {
    #[serde(borrow)]
    role: Cow<'b, str>,
    #[serde(borrow)]
    content: Option<&'b RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'b RawValue>,
    #[serde(borrow)]
    tool_call_id: Option<Cow<'b, str>>,
}

#[derive(Deserialize)]
struct Call {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

/// Reads the messages: the last user message is answered (or the last message of all), or results of tools that
/// came after it.
pub(crate) fn read(raw: Option<&RawValue>) -> Result<Conversation, ApiError> {
    let raw = raw.ok_or_else(|| missing("messages", EXPECTED))?;
    let messages: Vec<Message<'_>> =
        serde_json::from_str(raw.get()).map_err(|err| invalid("messages", &format!("{EXPECTED}: {err}")))?;
    if messages.is_empty() {
        return Err(missing("messages", EXPECTED));
    }
    let mut found = Conversation::default();
    let (mut user, mut last, mut results) = (None, String::new(), Vec::new());
    let mut open: Vec<String> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let role = role(at, &message.role)?;
        let text = content(at, role, message)?;
        found.words += count_words(&text) as u64;
        found.says_json |= text.as_bytes().windows(4).any(|word| word.eq_ignore_ascii_case(b"json"));
        if role == "tool" {
            answered(at, message.tool_call_id.as_deref(), &mut open)?;
            results.push(text);
            continue;
        }
        unanswered(at, &open)?;
        results.clear();
        if let Some(raw) = message.tool_calls.filter(|_| role == "assistant") {
            open = calls(at, raw)?;
        }
        if role == "user" {
            user = Some(text);
        } else {
            last = text;
        }
    }
    unanswered(messages.len() - 1, &open)?;
    found.has_results = !results.is_empty();
    found.heard = if found.has_results { results.join(" ") } else { user.unwrap_or(last) };
    Ok(found)
}

fn role(at: usize, role: &str) -> Result<&str, ApiError> {
    const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];
    if ROLES.contains(&role) {
        return Ok(role);
    }
    Err(invalid(&format!("messages[{at}].role"), &format!("write one of {}", ROLES.join(", "))))
}

/// Results come only after calls.
fn answered(at: usize, id: Option<&str>, open: &mut Vec<String>) -> Result<(), ApiError> {
    let place = format!("messages[{at}].tool_call_id");
    let id = id.ok_or_else(|| missing(&place, "write the id of the call that is answered"))?;
    let Some(position) = open.iter().position(|open| open == id) else {
        let message = format!(
            "`{place}`: messages with role 'tool' must be a response to a preceding message with 'tool_calls'; \
             `{id}` is none of its calls"
        );
        return Err(ApiError::bad_request(&format!("messages[{at}].role"), "invalid_value", message));
    };
    open.remove(position);
    Ok(())
}

/// Calls are answered before anything else is said.
fn unanswered(at: usize, open: &[String]) -> Result<(), ApiError> {
    if open.is_empty() {
        return Ok(());
    }
    let message = format!(
        "an assistant message with 'tool_calls' must be followed by tool messages responding to each \
         'tool_call_id': {} did not have response messages",
        open.join(", ")
    );
    Err(ApiError::bad_request(&format!("messages[{at}].role"), "invalid_value", message))
}

fn calls(at: usize, raw: &RawValue) -> Result<Vec<String>, ApiError> {
    let place = format!("messages[{at}].tool_calls");
    let expected = "write an array of {\"id\",\"type\":\"function\",\"function\":{\"name\",\"arguments\"}}";
    let calls: Option<Vec<Call>> =
        serde_json::from_str(raw.get()).map_err(|err| invalid(&place, &format!("{expected}: {err}")))?;
    for (number, call) in calls.iter().flatten().enumerate() {
        if call.kind != "function" || call.function.name.is_empty() {
            return Err(invalid(&format!("{place}[{number}]"), expected));
        }
        // Arguments are text, and the model's own: OpenAI does not look whether they are JSON.
        let _ = &call.function.arguments;
    }
    Ok(calls.into_iter().flatten().map(|call| call.id).collect())
}

/// Text of a message: a string, the parts of an array, or nothing.
fn content(at: usize, role: &str, message: &Message<'_>) -> Result<String, ApiError> {
    let Some(raw) = message.content.map(RawValue::get) else { return Ok(String::new()) };
    let expected = "content is a string or an array of parts";
    let place = || format!("messages[{at}].content");
    if !raw.starts_with('[') {
        return serde_json::from_str::<Option<String>>(raw)
            .map(Option::unwrap_or_default)
            .map_err(|err| invalid("messages", &format!("{expected}: {err}")));
    }
    let parts: Vec<Value> =
        serde_json::from_str(raw).map_err(|err| invalid(&place(), &format!("{expected}: {err}")))?;
    let mut words = Vec::with_capacity(parts.len());
    for (number, value) in parts.iter().enumerate() {
        words.push(part(&format!("messages[{at}].content[{number}]"), role, value)?);
    }
    Ok(words.join(" "))
}

/// Pictures, sound and files are the user's only.
fn part(place: &str, role: &str, part: &Value) -> Result<String, ApiError> {
    let kind = part["type"].as_str().unwrap_or_default();
    let text = |field: &str| {
        let inner = format!("{place}.{field}");
        let found = field.split('.').try_fold(part, |value, name| value.get(name)).and_then(Value::as_str);
        found.ok_or_else(|| missing(&inner, "write a string"))
    };
    match (kind, role) {
        ("text", _) => text("text").map(str::to_owned),
        ("refusal", "assistant") => text("refusal").map(str::to_owned),
        ("image_url", "user") => {
            let seen = media::address("image", text("image_url.url")?, media::IMAGES);
            if let Some(detail) = part["image_url"]["detail"].as_str()
                && !["auto", "low", "high"].contains(&detail)
            {
                return Err(invalid(&format!("{place}.image_url.detail"), "write auto, low or high"));
            }
            seen.map_err(|why| invalid(&format!("{place}.image_url.url"), &why))
        }
        ("input_audio", "user") => {
            let format = text("input_audio.format")?;
            if !["wav", "mp3"].contains(&format) {
                return Err(invalid(&format!("{place}.input_audio.format"), "write wav or mp3"));
            }
            let seen = media::inline(&format!("audio/{format}"), text("input_audio.data")?);
            seen.map_err(|why| invalid(&format!("{place}.input_audio.data"), &why))
        }
        ("file", "user") => file(place, &part["file"]),
        _ => {
            let fix = if role == "user" {
                "write one of text, image_url, input_audio, file"
            } else {
                "only user messages hold anything but text"
            };
            Err(invalid(&format!("{place}.type"), fix))
        }
    }
}

fn file(place: &str, file: &Value) -> Result<String, ApiError> {
    if let Some(id) = file["file_id"].as_str() {
        return Ok(format!("[file,{id}]"));
    }
    let inner = format!("{place}.file.file_data");
    let Some(data) = file["file_data"].as_str() else {
        return Err(missing(&inner, "write a data URL, or `file_id`"));
    };
    if file["filename"].as_str().is_none_or(str::is_empty) {
        return Err(missing(&format!("{place}.file.filename"), "name the file"));
    }
    media::address("file", data, &["application/pdf"]).map_err(|why| invalid(&inner, &why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(messages: &str) -> Result<Conversation, ApiError> {
        let raw: Box<RawValue> = serde_json::from_str(messages).expect(messages);
        read(Some(&raw))
    }

    const CALL: &str = r#"{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}"#;

    #[test]
    fn the_last_user_message_is_answered_and_all_words_are_counted() {
        let image = r#"{"type":"image_url","image_url":{"url":"https://a/b"}}"#;
        for (messages, heard, words) in [
            (
                r#"[{"role":"system","content":"be kind"},{"role":"user","content":"who is it"}]"#.to_owned(),
                "who is it",
                5,
            ),
            (r#"[{"role":"user","content":"a"},{"role":"assistant","content":"b c"}]"#.to_owned(), "a", 3),
            (r#"[{"role":"system","content":"x"},{"role":"assistant","content":null}]"#.to_owned(), "", 1),
            (
                format!(r#"[{{"role":"user","content":[{{"type":"text","text":"a b"}},{image}]}}]"#),
                "a b [image,https://a/b]",
                3,
            ),
            (r#"[{"role":"developer"},{"role":"user","content":"\u00e9 \"q\""}]"#.to_owned(), "é \"q\"", 2),
            (
                format!(
                    r#"[{{"role":"user","content":"q"}},{CALL},{{"role":"tool","tool_call_id":"c","content":"21 C"}}]"#
                ),
                "21 C",
                3,
            ),
        ] {
            let found = read_text(&messages).expect(&messages);
            assert_eq!((found.heard.as_str(), found.words), (heard, words), "{messages}");
            assert_eq!(found.has_results, messages.contains("tool_call_id"), "{messages}");
        }
    }

    #[test]
    fn mistakes_name_the_place() {
        let user = |content: &str| format!(r#"[{{"role":"user","content":[{content}]}}]"#);
        for (messages, param) in [
            ("[]".to_owned(), "messages"),
            (r#"[{"role":"user","content":7}]"#.to_owned(), "messages"),
            (r#"[{"role":"robot","content":"x"}]"#.to_owned(), "messages[0].role"),
            (user(r#"{"type":"video"}"#), "messages[0].content[0].type"),
            (user(r#"{"type":"text"}"#), "messages[0].content[0].text"),
            (user(r#"{"type":"image_url","image_url":{"url":"x"}}"#), "messages[0].content[0].image_url.url"),
            (
                user(r#"{"type":"input_audio","input_audio":{"format":"ogg","data":"AA=="}}"#),
                "messages[0].content[0].input_audio.format",
            ),
            (user(r#"{"type":"file","file":{"filename":"a.pdf"}}"#), "messages[0].content[0].file.file_data"),
            (r#"[{"role":"tool","content":"x","tool_call_id":"c"}]"#.to_owned(), "messages[0].role"),
            (r#"[{"role":"tool","content":"x"}]"#.to_owned(), "messages[0].tool_call_id"),
            (format!("[{CALL}]"), "messages[0].role"),
            (format!(r#"[{CALL},{{"role":"user","content":"x"}}]"#), "messages[1].role"),
            (r#"[{"role":"assistant","tool_calls":[{"id":"c"}]}]"#.to_owned(), "messages[0].tool_calls"),
        ] {
            let err = read_text(&messages).expect_err(&messages);
            assert_eq!((err.status, err.param.as_deref()), (400, Some(param)), "{messages}");
        }
        assert_eq!(read(None).expect_err("none").param.as_deref(), Some("messages"));
    }
}
