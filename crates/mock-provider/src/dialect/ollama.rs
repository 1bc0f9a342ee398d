//! Ollama's own API: chat as lines of JSON, and embeddings. Needs no key.
//! Source: docs.ollama.com/api/chat, …/api/embed, …/api/errors.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::ApiError;
use serde_json::{Value, json};

use super::openai::vectors;
use crate::chat::{Block, Chat, Finish, Kind, Reply, Setting, Tool};
use crate::endpoint::{Asked, Endpoint, Manner, Received, Understood};
use crate::media;
use crate::sample::{any_object, dangling_ref};
use crate::shape::{self, What, may, must};
use crate::stream::{Beat, Made, Pen, Voice};
use crate::text::{self, count_words};
use crate::wire::Framing;

/// `POST /api/chat`.
pub(crate) struct ChatRoute;

/// `POST /api/embed`.
pub(crate) struct EmbedRoute;

/// Ollama's errors: a text.
struct Ollama;

const CREATED_AT: &str = "2023-11-14T22:13:20Z";

static CALL: shape::Kind = shape::Kind::Object(&[
    may("id", &shape::Kind::Text),
    may("type", &shape::Kind::Text),
    must(
        "function",
        &shape::Kind::Object(&[
            must("name", &shape::Kind::Filled),
            must("arguments", &shape::Kind::Map),
            may("index", &shape::Kind::Whole(0)),
        ]),
    ),
]);

/// Names that Ollama does not know are no mistake to it, except in messages, where they would be lost silently.
static MESSAGE: shape::Kind = shape::Kind::Object(&[
    must("role", &shape::Kind::Word(&["system", "user", "assistant", "tool"])),
    may("content", &shape::Kind::Text),
    may("thinking", &shape::Kind::Text),
    may("images", &shape::Kind::List(0, &shape::Kind::Filled)),
    may("tool_calls", &shape::Kind::List(0, &CALL)),
    may("tool_name", &shape::Kind::Text),
    may("tool_call_id", &shape::Kind::Text),
]);

impl Manner for Ollama {
    fn error(&self, err: &ApiError, _id: u64) -> Vec<u8> {
        text::json(&json!({"error": err.message}))
    }

    fn headers(&self, _id: u64) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

impl Endpoint for ChatRoute {
    fn manner(&self) -> &'static dyn Manner {
        &Ollama
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let (model, body) = read(received)?;
        Ok(Understood { model: model.into(), ask: Box::new(move || chat(&body)) })
    }
}

impl Endpoint for EmbedRoute {
    fn manner(&self) -> &'static dyn Manner {
        &Ollama
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let (model, body) = read(received)?;
        Ok(Understood { model: model.into(), ask: Box::new(move || embed(&body)) })
    }
}

fn read(received: &Received<'_>) -> Result<(String, Value), ApiError> {
    let body = received.json()?;
    let model = body["model"].as_str().filter(|model| !model.is_empty());
    Ok((model.ok_or_else(|| refuse("model", "is required"))?.to_owned(), body))
}

fn refuse(place: &str, what: &str) -> ApiError {
    ApiError::bad_request(place, "invalid_request", format!("{place} {what}"))
}

fn chat<'r>(body: &Value) -> Result<Asked<'r>, ApiError> {
    let heard = messages(&body["messages"])?;
    let options = &body["options"];
    if !options.is_null() && !options.is_object() {
        return Err(refuse("options", "must be an object"));
    }
    let stop: Vec<_> = match &options["stop"] {
        Value::String(stop) => vec![stop.clone()],
        stop => stop.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
    };
    let schema = match &body["format"] {
        Value::Null => None,
        Value::String(format) if format.is_empty() => None,
        Value::String(format) if format == "json" => Some(any_object()),
        schema if schema.is_object() => match dangling_ref(schema) {
            Some(target) => return Err(refuse("format", &format!("has `{target}`, which was not found"))),
            None => Some(schema.clone()),
        },
        _ => return Err(refuse("format", "must be \"json\" or a JSON schema")),
    };
    let chat = Chat {
        heard: heard.text,
        input_tokens: heard.words,
        // Unlike everywhere else, an answer is streamed unless the request does not want it.
        stream: body["stream"] != false,
        max_tokens: options["num_predict"].as_u64().and_then(|max| usize::try_from(max).ok()),
        repeat: 1,
        stop,
        tools: tools(&body["tools"])?,
        has_results: heard.has_results,
        schema,
        thinking: body["think"] == true || body["think"].is_string(),
        ..Chat::default()
    };
    Ok(Asked::chat(chat, || Box::new(OllamaVoice)))
}

#[derive(Default)]
struct Heard {
    text: String,
    words: u64,
    has_results: bool,
}

fn messages(messages: &Value) -> Result<Heard, ApiError> {
    let list = messages.as_array().ok_or_else(|| refuse("messages", "must be an array"))?;
    let mut heard = Heard::default();
    let mut results: Vec<String> = Vec::new();
    for (at, message) in list.iter().enumerate() {
        let place = format!("messages[{at}]");
        MESSAGE.check(message).map_err(|mistake| {
            let place = format!("{place}.{}", mistake.path.bracketed());
            match mistake.what {
                What::Unknown => refuse(&place, "is not known"),
                What::Missing => refuse(&place, "is required"),
                What::Not(expected) => refuse(&place, &format!("must be {expected}")),
            }
        })?;
        let mut words = vec![message["content"].as_str().unwrap_or_default().to_owned()];
        for (number, image) in message["images"].as_array().into_iter().flatten().enumerate() {
            let data = image.as_str().unwrap_or_default();
            words.push(picture(data).map_err(|why| refuse(&format!("{place}.images[{number}]"), &why))?);
        }
        let text = words.join(" ").trim().to_owned();
        heard.words += count_words(&text) as u64;
        match message["role"].as_str() {
            Some("tool") => results.push(text),
            role => {
                results.clear();
                if role == Some("user") {
                    heard.text = text;
                }
            }
        }
    }
    heard.has_results = !results.is_empty();
    if heard.has_results {
        heard.text = results.join(" ");
    }
    Ok(heard)
}

/// Base64 without any words about its type.
fn picture(data: &str) -> Result<String, String> {
    let bytes = STANDARD.decode(data).map_err(|err| format!("is no base64: {err}"))?;
    let types = ["image/png", "image/jpeg", "image/webp"];
    let kind = types.into_iter().find_map(|kind| media::inline(kind, data).ok());
    kind.ok_or_else(|| format!("is no image: {} bytes of another type", bytes.len()))
}

fn tools(tools: &Value) -> Result<Vec<Tool>, ApiError> {
    let mut found = Vec::new();
    for (at, tool) in tools.as_array().into_iter().flatten().enumerate() {
        let place = format!("tools[{at}].function");
        let name = tool["function"]["name"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| refuse(&format!("{place}.name"), "is required"))?;
        let schema = &tool["function"]["parameters"];
        if !schema.is_null() && schema["type"] != "object" {
            return Err(refuse(&format!("{place}.parameters.type"), "must be object"));
        }
        found.push(Tool { name: name.to_owned(), schema: schema.clone() });
    }
    Ok(found)
}

/// Writes Ollama's answers.
struct OllamaVoice;

impl Voice for OllamaVoice {
    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn whole_calls(&self) -> bool {
        true
    }

    fn whole(&self, reply: &Reply) -> Vec<u8> {
        let mut message = json!({"role": "assistant", "content": reply.said()});
        if let Some(thought) = reply.thought() {
            message["thinking"] = thought.into();
        }
        let calls: Vec<_> = reply.calls().map(|(_, name, arguments)| call(name, arguments)).collect();
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        let mut answer = json!({"model": reply.model, "created_at": CREATED_AT, "message": message});
        finish(reply, &mut answer);
        text::json(&answer)
    }

    fn beat(&self, reply: &Reply, beat: Beat<'_>, pen: &mut Pen) {
        let line = |message: Value| json!({"model": reply.model, "created_at": CREATED_AT, "message": message, "done": false});
        match beat {
            Beat::Piece { block, text } => {
                let Block { kind, .. } = &reply.blocks[block];
                let message = match kind {
                    Kind::Thought => json!({"role": "assistant", "content": "", "thinking": text}),
                    Kind::Said => json!({"role": "assistant", "content": text}),
                    Kind::Call { name, .. } => {
                        json!({"role": "assistant", "content": "", "tool_calls": [call(name, text)]})
                    }
                };
                pen.plain(&line(message));
            }
            Beat::Done => {
                let mut last = line(json!({"role": "assistant", "content": ""}));
                finish(reply, &mut last);
                pen.plain(&last);
            }
            Beat::Start | Beat::Open(_) | Beat::Close(_) | Beat::Finish | Beat::Usage => {}
        }
    }

    fn error(&self, err: &ApiError, pen: &mut Pen) {
        pen.plain(&json!({"error": err.message}));
    }
}

fn call(name: &str, arguments: &str) -> Value {
    let arguments: Value = serde_json::from_str(arguments).unwrap_or_else(|_| json!({}));
    json!({"function": {"name": name, "arguments": arguments}})
}

fn finish(reply: &Reply, answer: &mut Value) {
    answer["done"] = true.into();
    answer["done_reason"] = if reply.finish == Finish::Length { "length" } else { "stop" }.into();
    for duration in ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"] {
        answer[duration] = 1_000_000.into();
    }
    if reply.with_usage {
        answer["prompt_eval_count"] = reply.usage.input.into();
        answer["eval_count"] = reply.usage.output.into();
    }
}

fn embed<'r>(body: &Value) -> Result<Asked<'r>, ApiError> {
    let texts: Vec<_> = match &body["input"] {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) if list.iter().all(Value::is_string) => {
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => return Err(refuse("input", "must be a string or an array of strings")),
    };
    let dimensions = body["dimensions"].as_u64().and_then(|n| usize::try_from(n).ok()).map(|n| n.min(4096));
    let words = texts.iter().map(|text| count_words(text) as u64).sum();
    Ok(Asked::whole(words, move |setting: Setting<'_>| {
        let vectors = vectors(&texts, dimensions.filter(|n| *n > 0), setting);
        let mut answer = json!({
            "model": setting.model, "embeddings": vectors, "total_duration": 1_000_000, "load_duration": 1_000_000,
        });
        if setting.step.usage {
            answer["prompt_eval_count"] = words.into();
        }
        Made::json(&answer)
    }))
}
