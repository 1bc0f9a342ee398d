//! Anthropic's Messages: `message_start`, the blocks, `message_delta` with the reason and the counts, `message_stop`.
//!
//! Source: "Streaming messages" on platform.claude.com, and how Anthropic's SDKs put events together.

use serde_json::{Map, Value, json};

use super::pieces::pieces;
use super::{data, list, put, word};

/// Writes a whole message as events. None: it is not complete.
pub(super) fn write(whole: &Map<String, Value>) -> Option<Vec<u8>> {
    let content = whole.get("content")?.as_array()?;
    word(whole, "stop_reason")?;
    // SDKs take counts over into those of the first event.
    let usage = whole.get("usage")?.as_object()?;
    let mut out = Vec::new();
    put("message_start", json!({ "message": begun(whole, usage) }), &mut out);
    for (index, block) in content.iter().enumerate() {
        let (begun, deltas) = taken_apart(block.as_object()?);
        put("content_block_start", json!({ "index": index, "content_block": begun }), &mut out);
        for delta in deltas {
            put("content_block_delta", json!({ "index": index, "delta": delta }), &mut out);
        }
        put("content_block_stop", json!({ "index": index }), &mut out);
    }
    put("message_delta", ended(whole, usage), &mut out);
    put("message_stop", json!({}), &mut out);
    Some(out)
}

/// Whether a member of the message is only known at its end.
fn is_of_the_end(name: &str) -> bool {
    name.starts_with("stop_")
}

/// The message before anything was said.
fn begun(whole: &Map<String, Value>, usage: &Map<String, Value>) -> Value {
    let mut message = whole.clone();
    for (name, value) in &mut message {
        if is_of_the_end(name) {
            *value = Value::Null;
        }
    }
    let mut usage = usage.clone();
    usage.insert("output_tokens".to_owned(), 0.into());
    // What the answer cost is told once.
    usage.shift_remove("estimated_cost");
    message.insert("content".to_owned(), json!([]));
    message.insert("usage".to_owned(), usage.into());
    Value::Object(message)
}

/// Fields of `message_delta`. SDKs take some members from here, whatever the first event said of them.
fn ended(whole: &Map<String, Value>, usage: &Map<String, Value>) -> Value {
    let is_told = |name: &str, value: &Value| {
        is_of_the_end(name) || (["container", "diagnostics"].contains(&name) && !value.is_null())
    };
    let members = whole.iter().filter(|(name, value)| is_told(name, value));
    let mut delta: Map<String, Value> = members.map(|(name, value)| (name.clone(), value.clone())).collect();
    delta.entry("stop_sequence").or_insert(Value::Null);
    let mut event = Map::from_iter([("delta".to_owned(), Value::Object(delta))]);
    event.insert("usage".to_owned(), usage.clone().into());
    if let Some(managed) = whole.get("context_management").filter(|managed| !managed.is_null()) {
        event.insert("context_management".to_owned(), managed.clone());
    }
    Value::Object(event)
}

/// A block as it begins, and its pieces. One that has no pieces begins as it is.
fn taken_apart(block: &Map<String, Value>) -> (Value, Vec<Value>) {
    let mut begun = block.clone();
    let mut deltas = Vec::new();
    match word(block, "type").unwrap_or_default() {
        "text" => {
            empty(&mut begun, "text", "text_delta", &mut deltas);
            if let Some(Value::Array(citations)) = begun.get_mut("citations") {
                let citations = std::mem::take(citations).into_iter();
                deltas.extend(
                    citations.map(|citation| json!({ "type": "citations_delta", "citation": citation })),
                );
            }
        }
        "thinking" => {
            empty(&mut begun, "thinking", "thinking_delta", &mut deltas);
            if let Some(Value::String(seal)) = begun.get_mut("signature")
                && !seal.is_empty()
            {
                deltas.push(json!({ "type": "signature_delta", "signature": std::mem::take(seal) }));
            }
        }
        // Tools of callers, of Anthropic, and of MCP servers.
        kind if kind.ends_with("tool_use") => {
            if let Some(Value::Object(input)) = begun.get_mut("input")
                && !input.is_empty()
            {
                let input = Value::Object(std::mem::take(input)).to_string();
                deltas.extend(
                    pieces(&input).map(|piece| json!({ "type": "input_json_delta", "partial_json": piece })),
                );
            }
        }
        _ => {}
    }
    (Value::Object(begun), deltas)
}

/// Takes the text out of a block, as pieces of that type.
fn empty(block: &mut Map<String, Value>, name: &str, kind: &str, deltas: &mut Vec<Value>) {
    if let Some(Value::String(text)) = block.get_mut(name) {
        deltas.extend(pieces(text).map(|piece| {
            let mut delta = json!({ "type": kind });
            delta[name] = piece.into();
            delta
        }));
        text.clear();
    }
}

/// Puts events together. None: they are not all there, or one of them is an error or has a piece of an unknown type.
pub(super) fn read(sse: &[u8]) -> Option<Map<String, Value>> {
    let mut message: Option<Message> = None;
    for data in data(sse)? {
        let Value::Object(mut event) = serde_json::from_slice(&data).ok()? else { return None };
        let kind = word(&event, "type")?.to_owned();
        match (kind.as_str(), &mut message) {
            ("error", _) => return None,
            ("message_start", None) => message = Some(Message::begin(event.shift_remove("message")?)?),
            ("message_stop", Some(message)) => return message.end(),
            ("content_block_start" | "content_block_delta" | "content_block_stop", Some(message)) => {
                message.block(&kind, event)?;
            }
            ("message_delta", Some(message)) => message.delta(event)?,
            ("message_start" | "message_stop" | "message_delta", _) => return None,
            // There may be further events, as `ping` is one.
            (kind, _) => drop((!kind.starts_with("content_block")).then_some(())?),
        }
    }
    None
}

/// A message, as far as it has come.
struct Message {
    fields: Map<String, Value>,
    blocks: Vec<Map<String, Value>>,
    /// The input of the tool under way.
    input: String,
    open: bool,
}

impl Message {
    fn begin(message: Value) -> Option<Self> {
        let Value::Object(fields) = message else { return None };
        let is_empty = list(&fields, "content").is_empty();
        is_empty.then_some(Self { fields, blocks: Vec::new(), input: String::new(), open: false })
    }

    /// An event about a block: they come one after the other.
    fn block(&mut self, kind: &str, mut event: Map<String, Value>) -> Option<()> {
        let index = usize::try_from(event.get("index")?.as_u64()?).ok()?;
        let begins = kind == "content_block_start";
        if begins == self.open || index + usize::from(!begins) != self.blocks.len() {
            return None;
        }
        if begins {
            let Value::Object(block) = event.shift_remove("content_block")? else { return None };
            self.blocks.push(block);
            self.open = true;
            return Some(());
        }
        let block = self.blocks.last_mut()?;
        if kind == "content_block_delta" {
            let Value::Object(delta) = event.shift_remove("delta")? else { return None };
            return piece(block, &mut self.input, delta);
        }
        let input = std::mem::take(&mut self.input);
        if !input.is_empty() {
            block.insert("input".to_owned(), serde_json::from_str(&input).ok()?);
        }
        self.open = false;
        Some(())
    }

    /// How it ended, what it counts, and what else is known by then.
    fn delta(&mut self, mut event: Map<String, Value>) -> Option<()> {
        event.shift_remove("type");
        if let Some(usage) = event.shift_remove("usage") {
            let Value::Object(usage) = usage else { return None };
            let counts = self.fields.entry("usage").or_insert_with(|| json!({}));
            overlay(counts.as_object_mut()?, usage);
        }
        if let Some(delta) = event.shift_remove("delta") {
            let Value::Object(delta) = delta else { return None };
            overlay(&mut self.fields, delta);
        }
        overlay(&mut self.fields, event);
        Some(())
    }

    fn end(&mut self) -> Option<Map<String, Value>> {
        word(&self.fields, "stop_reason").filter(|_| !self.open)?;
        let mut fields = std::mem::take(&mut self.fields);
        let blocks = std::mem::take(&mut self.blocks).into_iter().map(Value::Object).collect();
        fields.insert("content".to_owned(), blocks);
        Some(fields)
    }
}

/// Adds a piece to its block.
fn piece(block: &mut Map<String, Value>, input: &mut String, mut delta: Map<String, Value>) -> Option<()> {
    let kind = word(&delta, "type")?.to_owned();
    let is_call = word(block, "type").is_some_and(|kind| kind.ends_with("tool_use"));
    let (from, to) = match kind.as_str() {
        "text_delta" => ("text", "text"),
        "thinking_delta" => ("thinking", "thinking"),
        // Seals of calls have a name of ours.
        "signature_delta" if is_call => ("signature", "thought_signature"),
        "signature_delta" => ("signature", "signature"),
        "input_json_delta" => {
            input.push_str(word(&delta, "partial_json")?);
            return Some(());
        }
        "citations_delta" => {
            let citation = delta.shift_remove("citation")?;
            match block.entry("citations").or_insert(Value::Null) {
                Value::Array(citations) => citations.push(citation),
                none @ Value::Null => *none = json!([citation]),
                _ => return None,
            }
            return Some(());
        }
        _ => return None,
    };
    let more = word(&delta, from)?;
    match block.entry(to).or_insert_with(|| "".into()) {
        Value::String(text) => text.push_str(more),
        _ => return None,
    }
    Some(())
}

/// Later values take the place of earlier ones, unless they are null.
fn overlay(fields: &mut Map<String, Value>, later: Map<String, Value>) {
    for (name, value) in later {
        if !value.is_null() || !fields.contains_key(&name) {
            fields.insert(name, value);
        }
    }
}
