//! From chunks to the whole answer.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::pieces::{merge, merge_all};
use super::super::{data, word};
use super::Form;

/// Puts chunks together. None: they are not all there, or one of them is an error.
pub(in crate::stored) fn read(form: Form, sse: &[u8]) -> Option<Map<String, Value>> {
    let mut answer = Answer::default();
    let mut events = data(sse)?.into_iter();
    let done = events.by_ref().find_map(|data| {
        if data == "[DONE]" {
            return Some(Some(()));
        }
        let understood = serde_json::from_slice(&data).ok().and_then(|chunk| answer.add(form, chunk));
        understood.is_none().then_some(None)
    });
    done.flatten()?;
    answer.end(form)
}

/// An answer, as far as it has come.
#[derive(Default)]
struct Answer {
    fields: Map<String, Value>,
    choices: BTreeMap<u64, Choice>,
}

#[derive(Default)]
struct Choice {
    /// Members beside the message.
    fields: Map<String, Value>,
    message: Map<String, Value>,
    blocks: BTreeMap<u64, Map<String, Value>>,
}

impl Answer {
    fn add(&mut self, form: Form, chunk: Map<String, Value>) -> Option<()> {
        for (name, value) in chunk {
            match (name.as_str(), value) {
                ("error", value) if !value.is_null() => return None,
                // Counts are null until they are there; the padding says nothing.
                ("obfuscation" | "object" | "error", _) | ("usage", Value::Null) => {}
                ("choices", Value::Array(choices)) => {
                    choices.into_iter().try_for_each(|choice| self.piece(form, choice))?;
                }
                ("choices", Value::Null) => {}
                ("choices", _) => return None,
                // What is said again is said anew, but for names that are left empty.
                (_, value) => {
                    let is_empty = value.is_null() || value.as_str() == Some("");
                    if !is_empty || !self.fields.contains_key(&name) {
                        self.fields.insert(name, value);
                    }
                }
            }
        }
        Some(())
    }

    fn piece(&mut self, form: Form, piece: Value) -> Option<()> {
        let Value::Object(mut piece) = piece else { return None };
        if piece.get("error").is_some_and(|error| !error.is_null()) {
            return None;
        }
        let index = match piece.shift_remove("index") {
            None => 0,
            Some(index) => index.as_u64()?,
        };
        let choice = self.choices.entry(index).or_default();
        match piece.shift_remove("delta") {
            Some(Value::Object(delta)) if form == Form::Chat => choice.delta(delta)?,
            None | Some(Value::Null) => {}
            Some(_) => return None,
        }
        merge_all(&mut choice.fields, piece);
        Some(())
    }

    fn end(self, form: Form) -> Option<Map<String, Value>> {
        let choices: Vec<Value> =
            self.choices.into_iter().map(|(index, choice)| choice.end(form, index)).collect::<Option<_>>()?;
        if choices.is_empty() {
            return None;
        }
        let mut whole = self.fields;
        let usage = whole.shift_remove("usage");
        whole.insert("object".to_owned(), form.whole().into());
        whole.insert("choices".to_owned(), choices.into());
        whole.extend(usage.map(|usage| ("usage".to_owned(), usage)));
        Some(whole)
    }
}

impl Choice {
    fn delta(&mut self, delta: Map<String, Value>) -> Option<()> {
        for (name, value) in delta {
            match (name.as_str(), value) {
                ("content_blocks", Value::Array(blocks)) => {
                    blocks.into_iter().try_for_each(|block| self.block(block))?;
                }
                ("tool_calls", Value::Array(calls)) => {
                    let is_placed = |call: &Value| {
                        call["index"].is_u64() || call["id"].as_str().is_some_and(|id| !id.is_empty())
                    };
                    if !calls.iter().all(is_placed) {
                        return None;
                    }
                    // One chunk may have several pieces of a call.
                    let so_far = self.message.entry(name).or_insert_with(|| json!([]));
                    if so_far.is_null() {
                        *so_far = json!([]);
                    }
                    merge("tool_calls", so_far, calls.into());
                }
                (_, value) => match self.message.get_mut(&name) {
                    Some(so_far) => merge(&name, so_far, value),
                    None => drop(self.message.insert(name, value)),
                },
            }
        }
        Some(())
    }

    /// A piece of one of Portkey's blocks, `{"index": 0, "delta": {"text": "…"}}`.
    fn block(&mut self, piece: Value) -> Option<()> {
        let Value::Object(mut piece) = piece else { return None };
        let index = piece.get("index")?.as_u64()?;
        let Value::Object(mut delta) = piece.shift_remove("delta")? else { return None };
        let block = self.blocks.entry(index).or_default();
        if let Some(citation) = delta.shift_remove("citation") {
            let citations = block.entry("citations").or_insert_with(|| json!([]));
            citations.as_array_mut()?.push(citation);
        }
        merge_all(block, delta);
        Some(())
    }

    /// The choice as it is in a whole answer. None: it did not end.
    fn end(mut self, form: Form, index: u64) -> Option<Value> {
        word(&self.fields, "finish_reason").filter(|reason| !reason.is_empty())?;
        let mut choice = Map::from_iter([("index".to_owned(), index.into())]);
        if form == Form::Chat {
            self.calls();
            if !self.blocks.is_empty() {
                let blocks = std::mem::take(&mut self.blocks).into_values().map(block).collect();
                self.message.insert("content_blocks".to_owned(), blocks);
            }
            // Sound in pieces that are padded one by one is not what its pieces are one after the other.
            let sound = self.message.get("audio").and_then(|audio| audio["data"].as_str());
            if sound.is_some_and(|data| data.trim_end_matches('=').contains('=')) {
                return None;
            }
            self.message.entry("role").or_insert_with(|| "assistant".into());
            self.message.entry("content").or_insert(Value::Null);
            choice.insert("message".to_owned(), self.message.into());
        } else {
            self.fields.entry("text").or_insert_with(|| "".into());
        }
        choice.append(&mut self.fields);
        Some(Value::Object(choice))
    }

    /// Calls in their order: whole answers have no numbers for them.
    fn calls(&mut self) {
        let Some(Value::Array(calls)) = self.message.get_mut("tool_calls") else { return };
        calls.sort_by_key(|call| call["index"].as_u64().unwrap_or(u64::MAX));
        for call in calls.iter_mut().filter_map(Value::as_object_mut) {
            call.shift_remove("index");
            let kind = if call.contains_key("custom") { "custom" } else { "function" };
            call.entry("type").or_insert_with(|| kind.into());
        }
    }
}

/// A block says by its members what it is; one of a provider's own may not say.
fn block(fields: Map<String, Value>) -> Value {
    let has = |name: &str| fields.contains_key(name);
    let kind = match () {
        () if has("type") => None,
        () if has("thinking") || has("signature") => Some("thinking"),
        () if has("data") => Some("redacted_thinking"),
        () if has("text") || has("citations") => Some("text"),
        () => None,
    };
    let mut block: Map<String, Value> =
        kind.map(|kind| ("type".to_owned(), kind.into())).into_iter().collect();
    block.extend(fields);
    Value::Object(block)
}
