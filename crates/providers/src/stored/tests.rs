//! Both directions, alone and one after the other.

mod fixtures;
mod gists;
mod laws;
mod questions;
mod streams;

use domain::Operation;
use serde_json::{Map, Value};

use super::{as_stream, as_whole};

/// The whole answer, there and back.
fn there_and_back(operation: Operation, whole: &Value) -> Option<Value> {
    let stream = as_stream(operation, whole.to_string().as_bytes(), true)?;
    let back = as_whole(operation, &stream).expect("what is written as a stream is one");
    Some(serde_json::from_slice(&back).unwrap())
}

/// An answer as clients see it: for the objects of chats and completions a member that is null is one that is absent.
fn seen(operation: Operation, mut whole: Value) -> Value {
    if matches!(operation, Operation::Chat | Operation::Completions) {
        present(&mut whole);
        for choice in whole["choices"].as_array_mut().unwrap() {
            present(choice);
            if let Some(message) = choice.get_mut("message") {
                present(message);
                for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten()
                {
                    call.as_object_mut().unwrap().shift_remove("index");
                }
            }
        }
    }
    whole
}

fn present(value: &mut Value) {
    value.as_object_mut().unwrap().retain(|_, value| !value.is_null());
}

/// The data of all events, as JSON where it is.
fn events(stream: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stream).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| data.into())).collect()
}

fn map(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}
