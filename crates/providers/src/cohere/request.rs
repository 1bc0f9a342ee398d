//! Requests in Cohere's format.

use domain::ApiError;
use serde_json::{Map, Value, json};

use crate::chat::{
    Dialect, Effort, Message, Reasoning, Request, ResponseFormat, Role, Target, Tool, ToolChoice, Written,
};
use crate::draft::{Draft, unsupported};
use crate::fields::quoted;
use crate::schema::titled;
use crate::turn::{Call, Piece, TakeApart, Turn, document_text, image_url};

/// Writes a chat request.
///
/// Thoughts of a turn that calls tools go out as its `tool_plan`, which is what Cohere calls them there. A function
/// that has to be called is the only one that is sent, with `tool_choice` `REQUIRED`: Cohere cannot name one. A
/// schema's name and description become its `title` and `description`.
///
/// Errors: content that Cohere does not read (files but plain text, sound, video), a function that has to be called and
/// is not there.
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
        // Cohere counts tokens at the end of every stream.
        include_usage: _,
        own,
        unknown,
        dropped,
    } = request;
    let mut draft = Draft::new(dropped);
    draft.put("model", model);
    draft.put("stream", stream);
    let written = write_messages(messages, &mut draft, target)?;
    draft.put("messages", written);
    write_tools(tools, tool_choice, &mut draft)?;
    draft.lose_if(parallel_tool_calls == Some(false), "parallel_tool_calls");
    draft.put_some("response_format", response_format.map(format));
    draft.put_some("max_tokens", max_tokens);
    draft.put_some("temperature", temperature);
    draft.put_some("p", top_p);
    draft.put_some("k", top_k);
    draft.put_some("frequency_penalty", frequency_penalty);
    draft.put_some("presence_penalty", presence_penalty);
    draft.put_some("seed", seed);
    draft.put_some("stop_sequences", (!stop.is_empty()).then_some(stop));
    draft.lose_if(n.is_some_and(|n| n > 1), "n");
    draft.put_some("logprobs", logprobs);
    draft.lose_if(top_logprobs.is_some_and(|most| most > 0), "top_logprobs");
    draft.lose_if(logit_bias.is_some(), "logit_bias");
    if let Some(reasoning) = reasoning {
        let limit = max_tokens.or_else(|| target.model.and_then(|model| model.max_output));
        let thinking = thinking(&reasoning, limit, &mut draft);
        draft.put_some("thinking", thinking);
    }
    draft.lose_if(user.is_some(), "user");
    draft.lose_if(modalities.iter().any(|kind| kind != "text"), "modalities");
    draft.lose_if(audio.is_some(), "audio");
    Ok(draft.finish(own, unknown))
}

/// Functions and whether they have to be called. `strict_tools` is one switch for all of them.
fn write_tools(tools: Vec<Tool>, choice: Option<ToolChoice>, draft: &mut Draft) -> Result<(), ApiError> {
    let mut tools: Vec<(usize, Tool)> = tools.into_iter().enumerate().collect();
    match choice {
        None | Some(ToolChoice::Auto) => {}
        Some(ToolChoice::None) => draft.put("tool_choice", "NONE"),
        Some(ToolChoice::Required) => draft.put("tool_choice", "REQUIRED"),
        Some(ToolChoice::Function(name)) => {
            tools.retain(|(_, tool)| matches!(tool, Tool::Function(function) if function.name == name));
            if tools.is_empty() {
                let name = quoted(&name);
                let message =
                    format!("`tool_choice` names the function {name}, which is not among the `tools`");
                return Err(ApiError::bad_request("tool_choice", "unknown_tool", message));
            }
            draft.put("tool_choice", "REQUIRED");
        }
        Some(ToolChoice::Native { dialect: Dialect::Cohere, value }) => draft.put("tool_choice", value),
        Some(ToolChoice::Native { .. }) => draft.lose("tool_choice"),
    }
    if tools.is_empty() {
        return Ok(());
    }
    let is_strict =
        |(_, tool): &(usize, Tool)| matches!(tool, Tool::Function(function) if function.strict == Some(true));
    let strict = tools.iter().all(is_strict);
    let written = draft.functions(tools, Some(Dialect::Cohere), strict)?;
    draft.put("tools", written);
    draft.put_some("strict_tools", strict.then_some(true));
    Ok(())
}

fn format(format: ResponseFormat) -> Value {
    match format {
        ResponseFormat::Text => json!({ "type": "text" }),
        ResponseFormat::JsonObject => json!({ "type": "json_object" }),
        // Cohere always keeps to the schema, so there is nothing to say about `strict`.
        ResponseFormat::JsonSchema { name, description, schema, strict: _ } => {
            json!({ "type": "json_object", "json_schema": titled(schema, name, description) })
        }
    }
}

/// Whether the model thinks, and for how many tokens. Effort without any known `limit` has no number of tokens.
fn thinking(reasoning: &Reasoning, limit: Option<u64>, draft: &mut Draft) -> Option<Value> {
    draft.lose_if(reasoning.summary.is_some(), "reasoning.summary");
    if reasoning.is_off() {
        return Some(json!({ "type": "disabled" }));
    }
    if *reasoning == (Reasoning { summary: reasoning.summary.clone(), ..Reasoning::default() }) {
        return None;
    }
    let budget = limit.map_or(reasoning.budget_tokens, |limit| reasoning.budget(limit));
    // Medium is how hard Cohere's models think by themselves.
    let is_lost = budget.is_none() && reasoning.effort != Some(Effort::Medium);
    draft.lose_if(is_lost || reasoning.lost_beside_budget().is_some(), "reasoning_effort");
    let mut thinking = Map::from_iter([("type".to_owned(), Value::from("enabled"))]);
    if let Some(budget) = budget {
        thinking.insert("token_budget".to_owned(), budget.into());
    }
    Some(Value::Object(thinking))
}

fn write_messages(
    messages: Vec<Message>,
    draft: &mut Draft,
    target: &Target<'_>,
) -> Result<Vec<Value>, ApiError> {
    let mut written = Vec::with_capacity(messages.len());
    for (i, Message { role, name, parts }) in messages.into_iter().enumerate() {
        let path = format!("messages[{i}]");
        draft.lose_if(name.is_some(), &format!("{path}.name"));
        let turn = TakeApart { draft, target, dialect: Some(Dialect::Cohere) }.turn(role, parts, &path)?;
        match role {
            Role::System | Role::Developer => {
                written.push(json!({ "role": "system", "content": texts(turn.content, target)? }));
            }
            Role::User => {
                written.push(json!({ "role": "user", "content": content(turn.content, target)? }));
            }
            Role::Assistant => written.push(assistant(turn, target)?),
            Role::Tool => {
                for result in turn.results {
                    let content = tool_content(result.content, target)?;
                    written.push(json!({ "role": "tool", "tool_call_id": result.id, "content": content }));
                }
            }
        }
    }
    Ok(written)
}

fn assistant(turn: Turn, target: &Target<'_>) -> Result<Value, ApiError> {
    let Turn { content, thoughts, calls, results: _ } = turn;
    let mut message = Map::from_iter([("role".to_owned(), Value::from("assistant"))]);
    if calls.is_empty() {
        let thoughts = thoughts.into_iter().map(|text| json!({ "type": "thinking", "thinking": text }));
        let content = match (thoughts.len(), texts(content, target)?) {
            (0, content) => content,
            (_, Value::Array(blocks)) => thoughts.chain(blocks).collect(),
            (_, text) => thoughts.chain([block(text)]).collect(),
        };
        message.insert("content".to_owned(), content);
        return Ok(Value::Object(message));
    }
    if !thoughts.is_empty() {
        message.insert("tool_plan".to_owned(), thoughts.join("\n").into());
    }
    if !content.is_empty() {
        message.insert("content".to_owned(), texts(content, target)?);
    }
    let calls = calls.into_iter().map(Call::in_openai_shape).collect();
    message.insert("tool_calls".to_owned(), calls);
    Ok(Value::Object(message))
}

fn block(text: impl Into<Value>) -> Value {
    json!({ "type": "text", "text": text.into() })
}

/// Content without images: a text, or blocks if there are several.
fn texts(pieces: Vec<Piece>, target: &Target<'_>) -> Result<Value, ApiError> {
    if let Some(path) = image_path(&pieces) {
        return Err(unsupported(target, path, "images but from users", "move it into a message of the user"));
    }
    content(pieces, target)
}

fn image_path(pieces: &[Piece]) -> Option<&str> {
    pieces.iter().find_map(|piece| match piece {
        Piece::Image { path, .. } => Some(path.as_str()),
        Piece::Text(_) | Piece::Document { .. } | Piece::Native(_) => None,
    })
}

/// A text, or blocks if there are several or others.
fn content(mut pieces: Vec<Piece>, target: &Target<'_>) -> Result<Value, ApiError> {
    if pieces.is_empty() {
        return Ok(Value::from(""));
    }
    if let [Piece::Text(text)] = pieces.as_mut_slice() {
        return Ok(Value::from(std::mem::take(text)));
    }
    pieces.into_iter().map(|piece| written(piece, target)).collect()
}

fn written(piece: Piece, target: &Target<'_>) -> Result<Value, ApiError> {
    Ok(match piece {
        Piece::Text(text) => block(text),
        Piece::Document { text, title } => block(document_text(text, title)),
        Piece::Image { source, detail, path } => {
            let mut image = Map::new();
            image.insert("url".to_owned(), image_url(source, &path, true, target)?.into());
            if let Some(detail) = detail {
                image.insert("detail".to_owned(), detail.into());
            }
            json!({ "type": "image_url", "image_url": image })
        }
        Piece::Native(value) => value,
    })
}

/// Results of tools may be documents, which the model can cite.
fn tool_content(pieces: Vec<Piece>, target: &Target<'_>) -> Result<Value, ApiError> {
    if let Some(path) = image_path(&pieces) {
        return Err(unsupported(target, path, "images from tools", "describe it in text"));
    }
    if !pieces.iter().any(|piece| matches!(piece, Piece::Document { .. })) {
        return content(pieces, target);
    }
    let blocks = pieces.into_iter().map(|piece| match piece {
        Piece::Document { text, title } => {
            let mut data = Map::new();
            if let Some(title) = title {
                data.insert("title".to_owned(), title.into());
            }
            data.insert("text".to_owned(), text.into());
            Ok(json!({ "type": "document", "document": { "data": data } }))
        }
        other => written(other, target),
    });
    blocks.collect()
}
