//! Requests in Workers AI's format.

use domain::ApiError;
use serde_json::{Map, Value, json};

use crate::chat::{Effort, Message, Reasoning, Request, ResponseFormat, Role, Target, ToolChoice, Written};
use crate::draft::{Draft, unsupported};
use crate::schema::titled;
use crate::turn::{Call, Piece, TakeApart, ToolResult, document_text, image_url};

/// Writes a chat request. The model is named by the path, not by the body.
///
/// Several texts of a turn are joined by line ends, since most models take nothing but one text; turns with images are
/// lists of parts. A schema goes out bare, with its name and description as `title` and `description`.
///
/// Errors: images by address or from others than users, files but plain text, sound, video.
pub fn write_request(request: Request, target: &Target<'_>) -> Result<Written, ApiError> {
    let Request {
        model: _,
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
        // Workers AI counts tokens at the end of every stream.
        include_usage: _,
        own,
        unknown,
        dropped,
    } = request;
    let mut draft = Draft::new(dropped);
    let written = write_messages(messages, &mut draft, target)?;
    draft.put("messages", written);
    draft.put("stream", stream);
    if !tools.is_empty() {
        let written = draft.functions(tools.into_iter().enumerate(), None, false)?;
        draft.put("tools", written);
    }
    write_tool_choice(tool_choice, &mut draft);
    draft.lose_if(parallel_tool_calls == Some(false), "parallel_tool_calls");
    draft.put_some("response_format", response_format.and_then(format));
    draft.put_some("max_tokens", max_tokens);
    draft.put_some("temperature", temperature);
    draft.put_some("top_p", top_p);
    draft.put_some("top_k", top_k);
    draft.put_some("frequency_penalty", frequency_penalty);
    draft.put_some("presence_penalty", presence_penalty);
    draft.put_some("seed", seed);
    draft.lose_if(!stop.is_empty(), "stop");
    draft.lose_if(n.is_some_and(|n| n > 1), "n");
    draft.lose_if(logprobs == Some(true), "logprobs");
    draft.lose_if(top_logprobs.is_some_and(|most| most > 0), "top_logprobs");
    draft.lose_if(logit_bias.is_some(), "logit_bias");
    if let Some(reasoning) = reasoning {
        write_reasoning(&reasoning, max_tokens, &mut draft);
    }
    draft.lose_if(user.is_some(), "user");
    draft.lose_if(modalities.iter().any(|kind| kind != "text"), "modalities");
    draft.lose_if(audio.is_some(), "audio");
    Ok(draft.finish(own, unknown))
}

fn write_tool_choice(tool_choice: Option<ToolChoice>, draft: &mut Draft) {
    match tool_choice {
        None => {}
        Some(ToolChoice::Auto) => draft.put("tool_choice", "auto"),
        Some(ToolChoice::None) => draft.put("tool_choice", "none"),
        Some(ToolChoice::Required) => draft.put("tool_choice", "required"),
        Some(ToolChoice::Function(name)) => {
            draft.put("tool_choice", json!({ "type": "function", "function": { "name": name } }));
        }
        Some(ToolChoice::Native { .. }) => draft.lose("tool_choice"),
    }
}

fn format(format: ResponseFormat) -> Option<Value> {
    match format {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject => Some(json!({ "type": "json_object" })),
        // The format has no word for `strict`: a model that cannot keep to the schema is an error there.
        ResponseFormat::JsonSchema { name, description, schema, strict: _ } => {
            Some(json!({ "type": "json_schema", "json_schema": titled(schema, name, description) }))
        }
    }
}

/// `reasoning_effort` knows three words; models that think are told not to by the variables of their template.
fn write_reasoning(reasoning: &Reasoning, max_tokens: Option<u64>, draft: &mut Draft) {
    draft.lose_if(reasoning.summary.is_some(), "reasoning.summary");
    if reasoning.is_off() {
        return draft.put("chat_template_kwargs", json!({ "enable_thinking": false }));
    }
    draft.lose_if(reasoning.budget_tokens.is_some(), "thinking.budget_tokens");
    let effort = reasoning.effort.or_else(|| max_tokens.and_then(|most| reasoning.effort(most)));
    let word = effort.map(|effort| match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::XHigh => "high",
    });
    draft.put_some("reasoning_effort", word);
}

fn write_messages(
    messages: Vec<Message>,
    draft: &mut Draft,
    target: &Target<'_>,
) -> Result<Vec<Value>, ApiError> {
    let mut written = Vec::with_capacity(messages.len());
    for (i, Message { role, name, parts }) in messages.into_iter().enumerate() {
        let path = format!("messages[{i}]");
        let turn = TakeApart { draft, target, dialect: None }.turn(role, parts, &path)?;
        let mut message = Map::new();
        let role = match role {
            Role::System | Role::Developer => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => {
                draft.lose_if(name.is_some(), &format!("{path}.name"));
                for result in turn.results {
                    written.push(tool_message(result, target)?);
                }
                continue;
            }
        };
        message.insert("role".to_owned(), role.into());
        message.insert("content".to_owned(), content(turn.content, role == "user", target)?);
        message.extend(name.map(|name| ("name".to_owned(), Value::from(name))));
        if !turn.thoughts.is_empty() {
            message.insert("reasoning".to_owned(), turn.thoughts.join("\n").into());
        }
        if !turn.calls.is_empty() {
            let calls = turn.calls.into_iter().map(Call::in_openai_shape).collect();
            message.insert("tool_calls".to_owned(), calls);
        }
        written.push(Value::Object(message));
    }
    Ok(written)
}

fn tool_message(result: ToolResult, target: &Target<'_>) -> Result<Value, ApiError> {
    let ToolResult { id, name, content: pieces } = result;
    let content = content(pieces, false, target)?;
    let mut message = Map::from_iter([
        ("role".to_owned(), Value::from("tool")),
        ("tool_call_id".to_owned(), Value::from(id)),
        ("content".to_owned(), content),
    ]);
    message.extend(name.map(|name| ("name".to_owned(), Value::from(name))));
    Ok(Value::Object(message))
}

/// One text, or parts if there are images. The content is never null, which models refuse.
fn content(pieces: Vec<Piece>, images: bool, target: &Target<'_>) -> Result<Value, ApiError> {
    let (mut texts, mut parts) = (Vec::new(), Vec::new());
    let mut has_images = false;
    for piece in pieces {
        let text = match piece {
            Piece::Text(text) => text,
            Piece::Document { text, title } => document_text(text, title),
            // No native part is asked for.
            Piece::Native(value) => value.to_string(),
            Piece::Image { source, detail, path } if images => {
                has_images = true;
                let mut image = Map::new();
                image.insert("url".to_owned(), image_url(source, &path, false, target)?.into());
                image.extend(detail.map(|detail| ("detail".to_owned(), Value::from(detail))));
                parts.push(json!({ "type": "image_url", "image_url": image }));
                continue;
            }
            Piece::Image { path, .. } => {
                let instead = "move it into a message of the user";
                return Err(unsupported(target, &path, "images but from users", instead));
            }
        };
        parts.push(json!({ "type": "text", "text": text }));
        texts.push(text);
    }
    Ok(if has_images { Value::Array(parts) } else { Value::from(texts.join("\n")) })
}
