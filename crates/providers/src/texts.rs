//! The texts of requests and answers in callers' dialects, for counting tokens where nobody reports them.

use domain::Operation;
use serde_json::Value;

use crate::sse::{self, Events};

/// Fields of requests that models read.
const READ: [&str; 11] = [
    "documents",
    "functions",
    "input",
    "instructions",
    "messages",
    "prompt",
    "query",
    "suffix",
    "system",
    "text",
    "tools",
];

/// Fields that hold names, addresses or data and no text for a model, wherever they are.
const NO_TEXT: [&str; 16] = [
    "b64_json",
    "cache_control",
    "call_id",
    "data",
    "detail",
    "file_data",
    "file_id",
    "file_url",
    "format",
    "id",
    "image_url",
    "media_type",
    "role",
    "signature",
    "tool_call_id",
    "type",
];

/// Fields of answers that models write, wherever they are.
const WRITTEN: [&str; 11] = [
    "arguments",
    "content",
    "delta",
    "input",
    "name",
    "partial_json",
    "reasoning_content",
    "refusal",
    "summary",
    "text",
    "thinking",
];

/// Longest text without a space that is taken for text: longer ones are data in base64.
const LONGEST_WORD: usize = 1024;

/// Text that is read or written, and what is around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// The text, its parts one after the other, a line for each.
    pub text: String,
    /// Messages that it is part of.
    pub messages: u64,
}

impl Texts {
    fn add(&mut self, text: &str) {
        let is_data = text.len() > LONGEST_WORD && !text.contains(char::is_whitespace);
        if !is_data && !text.starts_with("data:") {
            self.text.push_str(text);
            self.text.push('\n');
        }
    }

    /// What a model reads in a value.
    fn read(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.add(text),
            Value::Array(items) => items.iter().for_each(|item| self.read(item)),
            Value::Object(fields) => {
                self.messages += u64::from(fields.contains_key("role"));
                for (name, value) in fields.iter().filter(|(name, _)| !NO_TEXT.contains(&name.as_str())) {
                    // A schema's names are read, too.
                    if name == "properties"
                        && let Value::Object(properties) = value
                    {
                        properties.keys().for_each(|name| self.add(name));
                    }
                    self.read(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// What a model wrote in a value. `piece`: parts follow each other without a break.
    fn written(&mut self, name: &str, value: &Value) {
        match value {
            Value::String(text) if WRITTEN.contains(&name) => self.text.push_str(text),
            Value::Array(items) => items.iter().for_each(|item| self.written(name, item)),
            // The arguments of a call, which are counted as they are written.
            Value::Object(_) if name == "input" => self.text.push_str(&value.to_string()),
            Value::Object(fields) => fields.iter().for_each(|(name, value)| self.written(name, value)),
            _ => {}
        }
    }
}

/// Whether requests and answers of an operation are counted in tokens of text.
pub fn counts(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Chat
            | Operation::Completions
            | Operation::Embeddings
            | Operation::Messages
            | Operation::Rerank
            | Operation::Responses
    )
}

/// The texts of a request. What is no JSON object has none.
pub fn of_request(body: &[u8]) -> Texts {
    let mut texts = Texts::default();
    if let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(body) {
        for name in READ {
            fields.get(name).into_iter().for_each(|value| texts.read(value));
        }
    }
    texts
}

/// The texts of an answer, or of the part of it that came: whole, or as a stream of events.
pub fn of_answer(operation: Operation, body: &[u8]) -> Texts {
    let mut texts = Texts::default();
    if matches!(operation, Operation::Embeddings | Operation::Rerank) {
        return texts;
    }
    if let Ok(document) = serde_json::from_slice::<Value>(body) {
        for name in ["choices", "content", "output"] {
            document.get(name).into_iter().for_each(|value| texts.written(name, value));
        }
        return texts;
    }
    let mut events = Events::default();
    events.push(body);
    while let Some(event) = events.take() {
        let data = sse::data(&event).and_then(|data| serde_json::from_slice::<Value>(data).ok());
        let Some(Value::Object(data)) = data else { continue };
        let kind = data.get("type").and_then(Value::as_str).unwrap_or_default();
        // Later events of a response repeat what its pieces said.
        let says = operation != Operation::Responses || kind.ends_with(".delta");
        for name in ["choices", "delta", "content_block"] {
            data.get(name).filter(|_| says).into_iter().for_each(|value| texts.written(name, value));
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn read(body: Value, messages: u64, expected: &str) {
        let texts = of_request(body.to_string().as_bytes());
        assert_eq!(
            (texts.text.split_whitespace().collect::<Vec<_>>().join(" "), texts.messages),
            (expected.to_owned(), messages)
        );
    }

    #[test]
    fn requests_of_all_dialects_have_texts() {
        read(
            json!({ "model": "m", "temperature": 1, "messages": [
                { "role": "system", "content": "be kind" },
                { "role": "user", "content": [
                    { "type": "text", "text": "what is this" },
                    { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } },
                ] },
            ] }),
            2,
            "be kind what is this",
        );
        read(
            json!({ "system": "be kind", "messages": [{ "role": "user", "content": [
                { "type": "text", "text": "hi" },
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } },
            ] }] }),
            1,
            "hi be kind",
        );
        read(json!({ "input": ["one", "two"], "instructions": "be kind" }), 0, "one two be kind");
        read(json!({ "query": "q", "documents": ["d 1", { "text": "d 2" }] }), 0, "d 1 d 2 q");
        read(
            json!({ "tools": [{ "type": "function", "function": { "name": "rain", "description": "Is it wet?",
                "parameters": { "type": "object", "properties": { "place": { "type": "string" } } } } }] }),
            0,
            "rain Is it wet? place",
        );
        read(json!({ "input": "A".repeat(5000) }), 0, "");
        assert_eq!(of_request(b"--form"), Texts::default());
    }

    #[track_caller]
    fn written(operation: Operation, body: &str, expected: &str) {
        assert_eq!(of_answer(operation, body.as_bytes()).text, expected);
    }

    #[test]
    fn answers_of_all_dialects_have_texts() {
        use Operation::{Chat, Completions, Embeddings, Messages, Responses};
        let call = json!({ "choices": [{ "message": { "role": "assistant", "content": "Hi ", "tool_calls": [
            { "id": "c1", "type": "function", "function": { "name": "rain", "arguments": "{\"a\":1}" } }] } }] });
        written(Chat, &call.to_string(), "Hi rain{\"a\":1}");
        written(Completions, r#"{"id":"x","choices":[{"text":"Hi","finish_reason":"stop"}]}"#, "Hi");
        written(
            Messages,
            r#"{"model":"m","content":[{"type":"thinking","thinking":"hm "},{"type":"tool_use","id":"t","name":"rain","input":{"a":1}}]}"#,
            "hm rain{\"a\":1}",
        );
        written(
            Responses,
            r#"{"id":"r","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}],"instructions":"no"}"#,
            "Hi",
        );
        written(Embeddings, r#"{"data":[{"embedding":[1]}]}"#, "");
    }

    #[test]
    fn so_have_streams_that_break_off() {
        use Operation::{Chat, Messages, Responses};
        written(
            Chat,
            "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"Hel\"}}]}\n\n\
             data: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\ndata: {\"choices\":[{\"del",
            "Hello",
        );
        written(
            Messages,
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\n\
             event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hel\"}}\n\n\
             event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"lo\"}}\n\n",
            "Hello",
        );
        written(
            Responses,
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"Hello\"}\n\n\
             data: {\"type\":\"response.output_text.done\",\"text\":\"Hello\"}\n\n\
             data: {\"type\":\"response.completed\",\"response\":{\"output\":[]}}\n\n",
            "Hello",
        );
    }
}
