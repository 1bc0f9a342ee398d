//! Token counts for a whole answer whose stream did not tell them.

use bytes::Bytes;
use domain::{Operation, Usage};
use serde_json::{Map, Value, json};

/// The answer with the counts that the call was billed by, where it has none and its dialect has a place for them.
pub fn with_usage(operation: Operation, whole: &Bytes, usage: &Usage) -> Bytes {
    if !matches!(operation, Operation::Chat | Operation::Completions) {
        return whole.clone();
    }
    let Ok(mut answer) = serde_json::from_slice::<Map<String, Value>>(whole) else { return whole.clone() };
    if answer.get("usage").is_some_and(|usage| !usage.is_null()) {
        return whole.clone();
    }
    let counts = json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
    });
    answer.insert("usage".to_owned(), counts);
    Bytes::from(Value::Object(answer).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_put_where_none_are() {
        let usage = Usage { input: 3, output: 4, ..Usage::default() };
        let told = |operation, text: &'static str| {
            let whole = with_usage(operation, &Bytes::from_static(text.as_bytes()), &usage);
            serde_json::from_slice::<Value>(&whole).unwrap()
        };
        let counted = told(Operation::Chat, r#"{"id":"a","usage":null}"#);
        assert_eq!(counted["usage"]["total_tokens"], 7);
        assert_eq!(told(Operation::Completions, r#"{"id":"a"}"#)["usage"]["prompt_tokens"], 3);
        assert_eq!(
            told(Operation::Chat, r#"{"usage":{"prompt_tokens":1}}"#)["usage"],
            json!({ "prompt_tokens": 1 })
        );
        assert_eq!(told(Operation::Messages, r#"{"id":"a"}"#), json!({ "id": "a" }));
    }
}
