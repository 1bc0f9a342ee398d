//! Items of `input` to the turns of a chat.
//!
//! An item's `id` and `status` are the API's own bookkeeping and mean nothing to a model: they are not reported.

use std::collections::{BTreeMap, BTreeSet};

use domain::ApiError;
use serde_json::Value;

use super::content::{self, refuse_reference};
use super::fields::{Fields, invalid, missing, wrong_type};
use super::seal::Seal;
use crate::chat::{Dialect, Message, Part, PartKind, Role};

/// Reads `input`: a text of the user, or a list of items.
pub(super) fn read(input: Value, dropped: &mut Vec<String>) -> Result<Vec<Message>, ApiError> {
    let items = match input {
        Value::String(text) => return Ok(vec![Message::text(Role::User, text)]),
        Value::Array(items) if items.is_empty() => {
            return Err(invalid("input", "is empty: write a text or at least one item"));
        }
        Value::Array(items) => items,
        other => return Err(wrong_type("input", &other, "a text or a list of items")),
    };
    let mut turns = Turns { messages: Vec::new(), calls: BTreeSet::new(), seals: BTreeMap::new(), dropped };
    for (index, value) in items.into_iter().enumerate() {
        turns.item(Fields::new(value, &format!("input[{index}]"))?)?;
    }
    Ok(turns.finish())
}

struct Turns<'a> {
    messages: Vec<Message>,
    /// Ids of the calls so far.
    calls: BTreeSet<String>,
    /// Seals of calls that came in reasoning items, by the call's id, with the place they came from.
    seals: BTreeMap<String, (String, String)>,
    dropped: &'a mut Vec<String>,
}

impl Turns<'_> {
    fn item(&mut self, mut fields: Fields) -> Result<(), ApiError> {
        match fields.kind() {
            Some("message") => self.message(fields),
            None if fields.has("role") => self.message(fields),
            Some("function_call") => self.call(fields),
            Some("function_call_output") => self.result(fields),
            Some("reasoning") => self.reasoning(fields),
            Some("item_reference") => Err(refuse_reference(&fields)),
            Some(NATIVE) => self.native(fields),
            Some(kind) => {
                let role = if is_the_models(kind) { Role::Assistant } else { Role::User };
                let value = Value::Object(fields.into_map());
                self.say(role, PartKind::Native { dialect: Dialect::Responses, value });
                Ok(())
            }
            None => {
                if fields.string("type")?.is_none() && fields.has("id") {
                    return Err(refuse_reference(&fields));
                }
                Err(missing(&fields.at("type"), "write the item's type, as in `message`"))
            }
        }
    }

    fn message(&mut self, mut fields: Fields) -> Result<(), ApiError> {
        bookkeeping(&mut fields);
        let role = fields.required("role", "write user, assistant, system or developer")?;
        let role = match role.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            "developer" => Role::Developer,
            other => {
                let fix = "write user, assistant, system or developer; what a tool answered is an item of type \
                           function_call_output";
                return Err(invalid(&fields.at("role"), format!("is \"{other}\": {fix}")));
            }
        };
        let path = fields.at("content");
        let Some(content) = fields.take("content") else {
            return Err(missing(&path, "write a text or a list of parts"));
        };
        let parts = content::read(content, &path, self.dropped)?;
        fields.report(self.dropped);
        match self.messages.last_mut() {
            Some(turn) if role == Role::Assistant && goes_on(turn) => turn.parts.extend(parts),
            _ => self.messages.push(Message { role, name: None, parts }),
        }
        Ok(())
    }

    fn call(&mut self, mut fields: Fields) -> Result<(), ApiError> {
        bookkeeping(&mut fields);
        let call = PartKind::ToolCall {
            id: fields.required_name("call_id", "write the id of the call that the model gave")?,
            name: fields.required_name("name", "write the function's name")?,
            arguments: fields.required("arguments", "write the arguments as JSON text")?,
            signature: None,
        };
        if let PartKind::ToolCall { id, .. } = &call {
            self.calls.insert(id.clone());
        }
        fields.report(self.dropped);
        self.say(Role::Assistant, call);
        Ok(())
    }

    fn result(&mut self, mut fields: Fields) -> Result<(), ApiError> {
        bookkeeping(&mut fields);
        let id = fields.required_name("call_id", "write the id of the call that this answers")?;
        if !self.calls.contains(&id) {
            let wrong = format!(
                "is \"{id}\", but no function_call item before it has that `call_id`: send the call as well, or \
                 continue with `previous_response_id`"
            );
            return Err(invalid(&fields.at("call_id"), wrong));
        }
        let path = fields.at("output");
        let Some(output) = fields.take("output") else {
            return Err(missing(&path, "write a text or a list of parts"));
        };
        let parts = content::read(output, &path, self.dropped)?;
        let name = fields.string("name")?;
        fields.report(self.dropped);
        let result = PartKind::ToolResult { id, name, parts, is_error: false };
        self.messages.push(Message { role: Role::Tool, name: None, parts: vec![Part::new(result)] });
        Ok(())
    }

    fn reasoning(&mut self, mut fields: Fields) -> Result<(), ApiError> {
        bookkeeping(&mut fields);
        let mut text = texts(&mut fields, "content")?;
        if text.is_empty() {
            text = texts(&mut fields, "summary")?;
        }
        let path = fields.at("encrypted_content");
        let sealed = fields.string("encrypted_content")?;
        let seal = sealed.as_deref().and_then(Seal::read);
        if sealed.is_some() && seal.is_none() {
            self.dropped.push(path.clone());
        }
        match seal {
            Some(Seal::Thinking(signature)) => {
                let signature = Some(signature).filter(|signature| !signature.is_empty());
                self.say(Role::Assistant, PartKind::Thinking { text, signature });
            }
            Some(Seal::Redacted(data)) => {
                self.say(Role::Assistant, PartKind::RedactedThinking { data });
            }
            Some(Seal::Call { id, signature }) => {
                self.seals.insert(id, (signature, path));
            }
            None if !text.is_empty() => {
                self.say(Role::Assistant, PartKind::Thinking { text, signature: None });
            }
            // Thoughts that are shown to nobody; a seal that came with them is reported already.
            None if sealed.is_some() => {}
            None => self.dropped.push(fields.path().to_owned()),
        }
        fields.report(self.dropped);
        Ok(())
    }

    /// A block of another dialect as our own answers carry it, see `output`.
    fn native(&mut self, mut fields: Fields) -> Result<(), ApiError> {
        let name = fields.required("dialect", "send the item as it came")?;
        let Some((_, dialect)) = DIALECTS.into_iter().find(|(known, _)| *known == name) else {
            return Err(invalid(&fields.at("dialect"), "is none that we write: send the item as it came"));
        };
        let Some(value) = fields.take("value") else {
            return Err(missing(&fields.at("value"), "send the item as it came"));
        };
        self.say(Role::Assistant, PartKind::Native { dialect, value });
        Ok(())
    }

    /// Adds to the model's turn if it is going on, else begins a turn.
    fn say(&mut self, role: Role, kind: PartKind) {
        let part = Part::new(kind);
        match self.messages.last_mut() {
            Some(turn) if role == Role::Assistant && turn.role == Role::Assistant => turn.parts.push(part),
            _ => self.messages.push(Message { role, name: None, parts: vec![part] }),
        }
    }

    fn finish(mut self) -> Vec<Message> {
        for part in self.messages.iter_mut().flat_map(|message| &mut message.parts) {
            if let PartKind::ToolCall { id, signature, .. } = &mut part.kind
                && let Some((seal, _)) = self.seals.remove(id)
            {
                *signature = Some(seal);
            }
        }
        self.dropped.extend(self.seals.into_values().map(|(_, path)| path));
        self.messages
    }
}

/// The type of items that carry blocks of other dialects.
pub(super) const NATIVE: &str = "native";

/// How those items name the dialects.
pub(super) const DIALECTS: [(&str, Dialect); 7] = [
    ("openai", Dialect::OpenAi),
    ("responses", Dialect::Responses),
    ("anthropic", Dialect::Anthropic),
    ("gemini", Dialect::Gemini),
    ("bedrock", Dialect::Bedrock),
    ("cohere", Dialect::Cohere),
    ("ollama", Dialect::Ollama),
];

/// Whether a message of the model belongs to the turn before it. Everything that the model made between two inputs is
/// one turn, so that all results follow all calls; but a message after a message alone is a turn of its own.
fn goes_on(turn: &Message) -> bool {
    let waits = |part: &Part| matches!(part.kind, PartKind::ToolCall { .. });
    let spoke = |part: &Part| matches!(part.kind, PartKind::Text { .. } | PartKind::Refusal(_));
    turn.role == Role::Assistant && (turn.parts.iter().any(waits) || !turn.parts.iter().any(spoke))
}

/// Whether an item that only OpenAI knows was made by the model.
fn is_the_models(kind: &str) -> bool {
    kind.ends_with("_call")
        || matches!(kind, "compaction" | "mcp_approval_request" | "mcp_list_tools" | "program")
}

fn bookkeeping(fields: &mut Fields) {
    for name in ["type", "id", "status"] {
        fields.take(name);
    }
}

/// The texts of a reasoning item's list.
fn texts(fields: &mut Fields, name: &str) -> Result<String, ApiError> {
    let path = fields.at(name);
    let mut texts = Vec::new();
    for (index, value) in fields.list(name)?.unwrap_or_default().into_iter().enumerate() {
        let mut part = Fields::new(value, &format!("{path}[{index}]"))?;
        texts.push(part.required("text", "write the text")?);
    }
    Ok(texts.join("\n\n"))
}
