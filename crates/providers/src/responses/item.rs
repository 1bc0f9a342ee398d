//! Items of `output`.

use serde_json::{Map, Value, json};

use super::input::{DIALECTS, NATIVE};
use super::seal::Seal;
use crate::chat::Dialect;

/// One item.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: String,
    /// The answer that it belongs to.
    pub(super) choice: u32,
    pub(super) status: ItemStatus,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemStatus {
    InProgress,
    Completed,
    Incomplete,
}

/// What an item is.
#[derive(Debug)]
pub(super) enum What {
    Message(Vec<Content>),
    Reasoning {
        text: String,
        /// The summary is complete.
        closed: bool,
        seal: Seal,
    },
    Call {
        id: String,
        name: String,
        arguments: String,
        signature: Option<String>,
    },
    /// An item without parts, all but its id.
    Whole(Map<String, Value>),
}

/// A part of a message.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) refusal: bool,
    pub(super) text: String,
    /// In the provider's form.
    pub(super) citations: Vec<Value>,
    pub(super) logprobs: Vec<Value>,
    pub(super) closed: bool,
}

impl ItemStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
        }
    }
}

impl Item {
    pub(super) fn value(&self, strict: bool) -> Value {
        let status = self.status.as_str();
        match &self.what {
            What::Message(parts) => json!({
                "type": "message",
                "id": self.id,
                "status": status,
                "role": "assistant",
                "content": parts.iter().map(|part| part.value(strict)).collect::<Vec<_>>(),
            }),
            What::Reasoning { text, seal, .. } => {
                let summary = if text.is_empty() { json!([]) } else { json!([summary(text)]) };
                json!({
                    "type": "reasoning", "id": self.id, "summary": summary, "encrypted_content": seal.write(),
                })
            }
            What::Call { id, name, arguments, .. } => json!({
                "type": "function_call",
                "id": self.id,
                "status": status,
                "call_id": id,
                "name": name,
                "arguments": arguments,
            }),
            What::Whole(fields) => {
                let mut item = fields.clone();
                item.insert("id".to_owned(), Value::from(self.id.as_str()));
                Value::Object(item)
            }
        }
    }

    /// Nothing can follow: a call whose arguments are a whole object.
    pub(super) fn is_whole_call(&self) -> bool {
        match &self.what {
            What::Call { arguments, .. } => {
                arguments.trim_start().starts_with('{')
                    && serde_json::from_str::<serde::de::IgnoredAny>(arguments).is_ok()
            }
            _ => false,
        }
    }
}

impl Content {
    pub(super) fn new(refusal: bool) -> Self {
        Self { refusal, text: String::new(), citations: Vec::new(), logprobs: Vec::new(), closed: false }
    }

    pub(super) fn value(&self, strict: bool) -> Value {
        if self.refusal {
            return json!({ "type": "refusal", "refusal": self.text });
        }
        json!({
            "type": "output_text",
            "text": self.text,
            "annotations": self.annotations(strict),
            "logprobs": self.logprobs,
        })
    }

    /// Where the text comes from, in the dialect's form.
    pub(super) fn annotations(&self, strict: bool) -> Vec<Value> {
        let length = self.text.chars().count();
        self.citations.iter().filter_map(|citation| annotation(citation, length, strict)).collect()
    }
}

/// A part of a summary.
pub(super) fn summary(text: &str) -> Value {
    json!({ "type": "summary_text", "text": text })
}

/// The fields of an item that carries a block of some dialect: our own form, read again by `input`.
pub(super) fn native(dialect: Dialect, value: &Value) -> Map<String, Value> {
    let name = DIALECTS.iter().find(|(_, known)| *known == dialect).map_or("", |(name, _)| name);
    let fields = [("type", json!(NATIVE)), ("dialect", json!(name)), ("value", value.clone())];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A citation as the dialect says it. What cites no address has no form in OpenAI's API: it is hidden if that is
/// wanted, else given as the provider writes it.
///
/// `length`: characters of the text, which a citation without a place is about as a whole.
fn annotation(citation: &Value, length: usize, strict: bool) -> Option<Value> {
    let kind = citation.get("type").and_then(Value::as_str).unwrap_or_default();
    if matches!(kind, "file_citation" | "file_path" | "container_file_citation") {
        return Some(citation.clone());
    }
    let Some(url) = find(citation, &["url", "uri"], 2, Value::as_str) else {
        return (!strict).then(|| citation.clone());
    };
    let index = |names: &[&str], default: usize| {
        find(citation, names, 2, Value::as_u64).unwrap_or(default.try_into().unwrap_or(u64::MAX))
    };
    Some(json!({
        "type": "url_citation",
        "url": url,
        "title": find(citation, &["title", "document_title", "documentTitle"], 2, Value::as_str).unwrap_or_default(),
        "start_index": index(&["start_index", "startIndex", "start"], 0),
        "end_index": index(&["end_index", "endIndex", "end"], length),
    }))
}

/// The first field of one of these names, at most so many objects deep: formats put them into `web`, `location.web`,
/// `url_citation`.
fn find<'v, T>(value: &'v Value, names: &[&str], deep: u32, read: fn(&'v Value) -> Option<T>) -> Option<T> {
    let here = names.iter().find_map(|name| value.get(name).and_then(read));
    here.or_else(|| {
        let inner = value.as_object().filter(|_| deep > 0)?;
        inner.values().find_map(|value| find(value, names, deep - 1, read))
    })
}
