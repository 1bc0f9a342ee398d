//! The conversation: roles, parts, and whether calls and responses of functions belong together.
//! Source: ai.google.dev/gemini-api/docs/function-calling, …/docs/thought-signatures.

use domain::ApiError;
use serde_json::Value;

use super::known::DATA;
use super::refuse;
use crate::chat::signature;
use crate::media;
use crate::text::count_words;

/// What is written where a signature is missing, because the call is somebody else's.
const STAND_INS: [&str; 2] = ["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"];

/// Media that Gemini takes.
const TYPES: &[&str] = &[
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/heic",
    "image/heif",
    "application/pdf",
    "audio/wav",
    "audio/mp3",
    "audio/aiff",
    "audio/aac",
    "audio/ogg",
    "audio/flac",
    "audio/mpeg",
    "video/mp4",
    "video/mpeg",
    "video/mov",
    "video/webm",
    "text/plain",
    "text/html",
    "text/csv",
    "text/markdown",
];

/// What the answer is about.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) text: String,
    pub(super) words: u64,
    pub(super) has_results: bool,
}

/// The signature below a call. The order of its arguments' names does not matter.
pub(super) fn call_signature(name: &str, args: &Value) -> String {
    signature(&format!("{name}{}", sorted(args)))
}

fn sorted(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let mut fields: Vec<_> =
                object.iter().map(|(name, value)| format!("{name}:{}", sorted(value))).collect();
            fields.sort();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(sorted).collect::<Vec<_>>().join(",")),
        // Protobuf has no whole numbers in its JSON, so that 1 and 1.0 are the same.
        Value::Number(number) => number.as_f64().map_or(number.to_string(), |number| number.to_string()),
        value => value.to_string(),
    }
}

/// Words of the system instruction, which is text only.
pub(super) fn system(instruction: &Value) -> Result<u64, ApiError> {
    let mut words = 0;
    for (number, part) in parts(instruction).iter().enumerate() {
        let Some(text) = part["text"].as_str() else {
            return Err(refuse(
                &format!("GenerateContentRequest.system_instruction.parts[{number}]"),
                "must be text",
            ));
        };
        words += count_words(text) as u64;
    }
    Ok(words)
}

/// Reads the contents. With `signed`, calls of the current turn must carry their signature.
pub(super) fn read(contents: &Value, signed: bool) -> Result<Heard, ApiError> {
    let contents = contents.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut heard = Heard::default();
    let (mut calls, mut last) = (0, "");
    let current = contents.iter().rposition(begins_turn).unwrap_or(0);
    for (at, content) in contents.iter().enumerate() {
        let place = format!("GenerateContentRequest.contents[{at}]");
        let role = content["role"].as_str().unwrap_or("user");
        if role != "user" && role != "model" {
            return Err(refuse(&format!("{place}.role"), "please use a valid role: user, model"));
        }
        if parts(content).is_empty() {
            return Err(refuse(&format!("{place}.parts"), "contents.parts must not be empty"));
        }
        let count = |field: &str| parts(content).iter().filter(|part| part.get(field).is_some()).count();
        let (made, given) = (count("functionCall"), count("functionResponse"));
        if given != calls {
            let what = "the number of function response parts must be equal to the number of function call parts \
                        of the turn before";
            return Err(refuse(&place, what));
        }
        if made > 0 && (role != "model" || last == "model" || at == 0) {
            let what = "a function call turn must come immediately after a user turn or after a function response turn";
            return Err(refuse(&place, what));
        }
        let texts = texts(&place, content, signed && at > current)?;
        heard.words += texts.iter().map(|text| count_words(text) as u64).sum::<u64>();
        if role == "user" {
            heard.text = texts.join(" ").trim().to_owned();
            heard.has_results = given > 0;
        }
        (calls, last) = (made, role);
    }
    if calls > 0 {
        let what = "a function call must be followed by a function response turn";
        return Err(refuse("GenerateContentRequest.contents", what));
    }
    Ok(heard)
}

/// What the user says by himself begins a turn; responses of functions go on with it.
fn begins_turn(content: &Value) -> bool {
    content["role"] != "model" && parts(content).iter().all(|part| part.get("functionResponse").is_none())
}

/// The words of the parts, or words for what was shown.
fn texts(place: &str, content: &Value, signed: bool) -> Result<Vec<String>, ApiError> {
    let mut texts = Vec::new();
    let mut calls = 0;
    for (number, part) in parts(content).iter().enumerate() {
        let place = format!("{place}.parts[{number}]");
        let data: Vec<_> =
            DATA.iter().filter(|name| part.get(**name).is_some_and(|v| !v.is_null())).collect();
        if data.len() != 1 {
            return Err(refuse(
                &format!("{place}.data"),
                "required oneof field 'data' must have one initialized field",
            ));
        }
        if part["functionCall"].is_object() {
            // Of parallel calls only the first is signed.
            signature_of(&place, part, signed && calls == 0)?;
            calls += 1;
        }
        texts.push(text(&place, part)?);
    }
    Ok(texts)
}

fn signature_of(place: &str, part: &Value, needed: bool) -> Result<(), ApiError> {
    let call = &part["functionCall"];
    let name = call["name"].as_str().unwrap_or_default();
    match part["thoughtSignature"].as_str() {
        Some(given) if STAND_INS.contains(&given) || given == call_signature(name, &call["args"]) => Ok(()),
        Some(_) => Err(refuse(&format!("{place}.thought_signature"), "the thought signature is not valid")),
        None if needed => {
            let what = format!("function call `{name}` is missing a thought_signature in functionCall parts");
            Err(refuse(place, &what))
        }
        None => Ok(()),
    }
}

fn text(place: &str, part: &Value) -> Result<String, ApiError> {
    if let Some(text) = part["text"].as_str() {
        return Ok(text.to_owned());
    }
    if part["inlineData"].is_object() {
        let blob = &part["inlineData"];
        let media_type = blob["mimeType"].as_str().unwrap_or_default();
        if !TYPES.contains(&media_type) {
            return Err(refuse(
                &format!("{place}.inline_data.mime_type"),
                &format!("unsupported MIME type: {media_type}"),
            ));
        }
        let seen = media::inline(media_type, blob["data"].as_str().unwrap_or_default());
        return seen.map_err(|why| refuse(&format!("{place}.inline_data.data"), &why));
    }
    if let Some(uri) = part["fileData"]["fileUri"].as_str() {
        return Ok(format!("[file,{uri}]"));
    }
    if part["functionResponse"].is_object() {
        return Ok(response(&part["functionResponse"]["response"]));
    }
    Ok(part["functionCall"]["args"]
        .as_object()
        .map_or(String::new(), |_| part["functionCall"]["args"].to_string()))
}

/// A response that is one text is heard as that text.
fn response(response: &Value) -> String {
    let only =
        response.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.values().next());
    only.and_then(Value::as_str).map_or_else(|| response.to_string(), str::to_owned)
}

fn parts(content: &Value) -> &[Value] {
    content["parts"].as_array().map(Vec::as_slice).unwrap_or_default()
}
