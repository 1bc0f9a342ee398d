//! Requests in Ollama's format.

use std::collections::HashMap;

use domain::ApiError;
use serde_json::{Map, Value, json};

use crate::chat::{
    Dialect, Effort, Message, PartKind, Reasoning, Request, ResponseFormat, Role, Source, Target, ToolChoice,
    Written,
};
use crate::draft::{Draft, unsupported};
use crate::schema::titled;
use crate::turn::{Call, Piece, TakeApart, ToolResult, document_text};

/// What `options` may hold: fields of these names that a caller wrote beside the others are moved there.
///
/// Source: `Options` and `Runner` in Ollama's `api/types.go`, and the parameters in its Modelfile reference.
const OPTIONS: [&str; 22] = [
    "draft_num_predict",
    "main_gpu",
    "min_p",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "num_batch",
    "num_ctx",
    "num_gpu",
    "num_keep",
    "num_predict",
    "num_thread",
    "numa",
    "penalize_newline",
    "repeat_last_n",
    "repeat_penalty",
    "tfs_z",
    "top_k",
    "typical_p",
    "use_mlock",
    "use_mmap",
    "vocab_only",
];

/// Writes a chat request.
///
/// Content is one text per turn, so that several texts are joined by line ends; images come in base64 beside it. What
/// the caller wrote for Ollama goes through: `keep_alive`, `truncate`, `think`, `options`, and options by their own
/// names (`num_ctx`).
///
/// Errors: images by address, files but plain text, sound, video; arguments of calls that are no JSON object.
pub fn write_request(request: Request, target: &Target<'_>) -> Result<Written, ApiError> {
    let Request {
        model,
        messages,
        tools,
        tool_choice,
        parallel_tool_calls,
        response_format,
        max_tokens,
        temperature,
        top_p,
        top_k,
        frequency_penalty,
        presence_penalty,
        seed,
        stop,
        n,
        logprobs,
        top_logprobs,
        logit_bias,
        reasoning,
        user,
        modalities,
        audio,
        stream,
        // Ollama counts tokens at the end of every stream.
        include_usage: _,
        own,
        mut unknown,
        dropped,
    } = request;
    let mut draft = Draft::new(dropped);
    draft.put("model", model);
    draft.put("stream", stream);
    let written = write_messages(messages, &mut draft, target)?;
    draft.put("messages", written);
    match tool_choice {
        None | Some(ToolChoice::Auto | ToolChoice::None) => {}
        Some(_) => draft.lose("tool_choice"),
    }
    // Ollama calls what it is given, so that a model that is to call nothing is given nothing.
    if !tools.is_empty() && tool_choice != Some(ToolChoice::None) {
        let written = draft.functions(tools.into_iter().enumerate(), Some(Dialect::Ollama), false)?;
        draft.put("tools", written);
    }
    draft.lose_if(parallel_tool_calls == Some(false), "parallel_tool_calls");
    draft.put_some("format", response_format.and_then(format));
    let mut options = Options::default();
    options.put("num_predict", max_tokens);
    options.put("temperature", temperature);
    options.put("top_p", top_p);
    options.put("top_k", top_k);
    options.put("frequency_penalty", frequency_penalty);
    options.put("presence_penalty", presence_penalty);
    options.put("seed", seed);
    options.put("stop", (!stop.is_empty()).then_some(stop));
    options.take(&mut unknown, &mut draft);
    draft.put_some("options", (!options.0.is_empty()).then_some(options.0));
    draft.lose_if(n.is_some_and(|n| n > 1), "n");
    draft.put_some("logprobs", logprobs);
    draft.put_some("top_logprobs", top_logprobs);
    draft.lose_if(logit_bias.is_some(), "logit_bias");
    let think = reasoning.and_then(|reasoning| think(&reasoning, &mut draft));
    draft.put_some("think", think);
    draft.lose_if(user.is_some(), "user");
    draft.lose_if(modalities.iter().any(|kind| kind != "text"), "modalities");
    draft.lose_if(audio.is_some(), "audio");
    Ok(draft.finish(own, unknown))
}

/// The `options` object.
#[derive(Default)]
struct Options(Map<String, Value>);

impl Options {
    fn put<T: Into<Value>>(&mut self, name: &str, value: Option<T>) {
        self.0.extend(value.map(|value| (name.to_owned(), value.into())));
    }

    /// Takes the caller's own options out of the fields that are passed on; ours win.
    fn take(&mut self, unknown: &mut Map<String, Value>, draft: &mut Draft) {
        let nested = match unknown.remove("options") {
            Some(Value::Object(nested)) => nested,
            Some(_) => {
                draft.lose("options");
                Map::new()
            }
            None => Map::new(),
        };
        let nested = nested.into_iter().map(|(name, value)| (format!("options.{name}"), name, value));
        let beside: Vec<_> = OPTIONS.iter().filter_map(|name| unknown.remove_entry(*name)).collect();
        let beside = beside.into_iter().map(|(name, value)| (name.clone(), name, value));
        for (path, name, value) in nested.chain(beside) {
            if self.0.contains_key(&name) {
                draft.lose(path);
            } else {
                self.0.insert(name, value);
            }
        }
    }
}

fn format(format: ResponseFormat) -> Option<Value> {
    match format {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject => Some(Value::from("json")),
        // Ollama always keeps to the schema, so there is nothing to say about `strict`.
        ResponseFormat::JsonSchema { name, description, schema, strict: _ } => {
            Some(titled(schema, name, description))
        }
    }
}

/// Whether the model thinks, or how hard. A number of tokens cannot be said.
fn think(reasoning: &Reasoning, draft: &mut Draft) -> Option<Value> {
    draft.lose_if(reasoning.summary.is_some(), "reasoning.summary");
    if reasoning.is_off() {
        return Some(Value::from(false));
    }
    draft.lose_if(reasoning.budget_tokens.is_some(), "thinking.budget_tokens");
    match reasoning.effort {
        Some(Effort::None) => Some(Value::from(false)),
        Some(Effort::Minimal | Effort::Low) => Some(Value::from("low")),
        Some(Effort::Medium) => Some(Value::from("medium")),
        Some(Effort::High) => Some(Value::from("high")),
        Some(Effort::XHigh) => Some(Value::from("max")),
        None => reasoning.budget_tokens.map(|_| Value::from(true)),
    }
}

fn write_messages(
    messages: Vec<Message>,
    draft: &mut Draft,
    target: &Target<'_>,
) -> Result<Vec<Value>, ApiError> {
    let names = called(&messages);
    let mut written = Vec::with_capacity(messages.len());
    for (i, Message { role, name, parts }) in messages.into_iter().enumerate() {
        let path = format!("messages[{i}]");
        draft.lose_if(name.is_some(), &format!("{path}.name"));
        let turn = TakeApart { draft, target, dialect: Some(Dialect::Ollama) }.turn(role, parts, &path)?;
        let role = match role {
            Role::System | Role::Developer => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => {
                for result in turn.results {
                    written.push(tool_message(result, &names, draft, target)?);
                }
                continue;
            }
        };
        let mut message = message(role, turn.content, draft, target)?;
        if !turn.thoughts.is_empty() {
            message.insert("thinking".to_owned(), turn.thoughts.join("\n").into());
        }
        if !turn.calls.is_empty() {
            let calls: Result<_, _> = turn.calls.into_iter().map(write_call).collect();
            message.insert("tool_calls".to_owned(), calls?);
        }
        written.push(Value::Object(message));
    }
    Ok(written)
}

/// The tool that each call was made to, by the call's id.
fn called(messages: &[Message]) -> HashMap<String, String> {
    let calls = messages.iter().flat_map(|message| &message.parts).filter_map(|part| match &part.kind {
        PartKind::ToolCall { id, name, .. } => Some((id.clone(), name.clone())),
        _ => None,
    });
    calls.collect()
}

fn tool_message(
    result: ToolResult,
    names: &HashMap<String, String>,
    draft: &mut Draft,
    target: &Target<'_>,
) -> Result<Value, ApiError> {
    let ToolResult { id, name, content } = result;
    let mut message = message("tool", content, draft, target)?;
    if let Some(name) = name.or_else(|| names.get(&id).cloned()) {
        message.insert("tool_name".to_owned(), name.into());
    }
    message.insert("tool_call_id".to_owned(), id.into());
    Ok(Value::Object(message))
}

fn message(
    role: &str,
    pieces: Vec<Piece>,
    draft: &mut Draft,
    target: &Target<'_>,
) -> Result<Map<String, Value>, ApiError> {
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for piece in pieces {
        match piece {
            Piece::Text(text) => texts.push(text),
            Piece::Document { text, title } => texts.push(document_text(text, title)),
            Piece::Image { source: Source::Base64 { media_type: _, data }, detail, path } => {
                draft.lose_if(
                    detail.is_some_and(|detail| detail != "auto"),
                    &format!("{path}.image_url.detail"),
                );
                images.push(data);
            }
            Piece::Image { path, .. } => {
                let path = format!("{path}.image_url.url");
                let instead = "write the image as `data:<media type>;base64,<bytes>`";
                return Err(unsupported(target, &path, "images by address", instead));
            }
            // No part of a turn is Ollama's alone: its content is text.
            Piece::Native(value) => texts.push(value.to_string()),
        }
    }
    let mut message = Map::from_iter([
        ("role".to_owned(), Value::from(role)),
        ("content".to_owned(), Value::from(texts.join("\n"))),
    ]);
    if !images.is_empty() {
        message.insert("images".to_owned(), images.into());
    }
    Ok(message)
}

/// Ollama wants arguments as an object, not as its text.
fn write_call(call: Call) -> Result<Value, ApiError> {
    let Call { id, name, arguments, path } = call;
    let arguments: Map<String, Value> = serde_json::from_str(&arguments).map_err(|err| {
        let message = format!(
            "`{path}`: the arguments of the call to `{name}` are not a JSON object (line {}, column {}); write them as \
             `{{\"name\": value}}`",
            err.line(),
            err.column()
        );
        ApiError::bad_request(&path, "invalid_tool_arguments", message)
    })?;
    Ok(json!({ "id": id, "function": { "name": name, "arguments": arguments } }))
}
