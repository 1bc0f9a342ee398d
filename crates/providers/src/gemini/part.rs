//! The parts of Gemini's contents, as answers and streams hold them.

use serde_json::{Map, Value};

/// A part of an answer, and the seal that came with it.
#[derive(Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) kind: Kind,
    pub(super) signature: Option<String>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    Text(String),
    Thought(String),
    Call {
        id: Option<String>,
        name: String,
        arguments: String,
    },
    /// An image or sound, in base64.
    Media {
        media_type: String,
        data: String,
    },
    /// A part that no other dialect has, whole.
    Native(Value),
}

/// Reads a part. The error says what is wrong with it, without quoting it.
pub(super) fn read(part: Value) -> Result<Piece, String> {
    let Value::Object(mut part) = part else { return Err("a part is not a JSON object".to_owned()) };
    let signature = match part.remove("thoughtSignature") {
        Some(Value::String(signature)) => Some(signature),
        _ => None,
    };
    let thought = part.get("thought") == Some(&Value::Bool(true));
    let kind = if let Some(call) = part.remove("functionCall") {
        call_of(call)?
    } else if let Some(media) = (!thought).then(|| media_of(&mut part)).flatten() {
        media
    } else {
        match part.remove("text") {
            Some(Value::String(text)) if thought => Kind::Thought(text),
            Some(Value::String(text)) => Kind::Text(text),
            Some(_) => return Err("`text` of a part is no string".to_owned()),
            None if part.keys().all(|name| name == "thought") => Kind::Text(String::new()),
            None => Kind::Native(Value::Object(part)),
        }
    };
    Ok(Piece { kind, signature })
}

fn call_of(call: Value) -> Result<Kind, String> {
    let Value::Object(mut call) = call else { return Err("`functionCall` is not a JSON object".to_owned()) };
    if call.contains_key("partialArgs") || call.get("willContinue") == Some(&Value::Bool(true)) {
        return Err("`functionCall` comes in pieces; leave out `streamFunctionCallArguments`".to_owned());
    }
    let Some(Value::String(name)) = call.remove("name").filter(|name| name != "") else {
        return Err("`functionCall` has no `name`".to_owned());
    };
    let id = match call.remove("id") {
        Some(Value::String(id)) if !id.is_empty() => Some(id),
        _ => None,
    };
    let arguments = match call.remove("args") {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(arguments) => arguments.to_string(),
    };
    Ok(Kind::Call { id, name, arguments })
}

fn media_of(part: &mut Map<String, Value>) -> Option<Kind> {
    let blob = part.get_mut("inlineData")?.as_object_mut()?;
    let media_type = blob.get("mimeType")?.as_str()?.to_owned();
    if !media_type.starts_with("image/") && !media_type.starts_with("audio/")
        || !blob.get("data")?.is_string()
    {
        return None;
    }
    match blob.remove("data") {
        Some(Value::String(data)) => Some(Kind::Media { media_type, data }),
        _ => None,
    }
}

/// A name for a call that has none: unique in the chat as long as answers have different ids.
pub(super) fn call_id(answer: Option<&str>, choice: u32, number: usize) -> String {
    let answer = answer.unwrap_or_default();
    let word = answer.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_');
    // OpenAI takes names of up to 40 characters.
    format!("call_{}_{choice}_{number}", word.take(24).collect::<String>())
}
