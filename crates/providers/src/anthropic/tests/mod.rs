//! Laws that hold for all requests, answers and streams, and the cases that they do not show.

mod answers;
mod requests;
mod streams;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::chat::{About, Target};

/// A caller who wants to see everything.
const ABOUT: About<'_> = About {
    provider: "groq",
    model: "m",
    id: "id-1",
    now: 1_700_000_000,
    strict: false,
    include_usage: true,
};

fn target(options: &Map<String, Value>) -> Target<'_> {
    Target { provider: "anthropic", model: None, options }
}

/// Text that says something.
fn said() -> impl Strategy<Value = String> {
    "[a-zA-Zäß世\"\\\\\n{}]{0,12}[a-z]"
}

fn word() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_]{0,8}"
}

/// Any JSON, made of the words that the dialect knows as often as not.
fn json_value() -> impl Strategy<Value = Value> {
    let known = prop::sample::select(
        &[
            "type",
            "text",
            "role",
            "content",
            "model",
            "messages",
            "max_tokens",
            "user",
            "assistant",
            "system",
            "tool_use",
            "tool_result",
            "input",
            "id",
            "name",
            "tools",
            "input_schema",
            "tool_choice",
            "thinking",
            "source",
            "base64",
            "image",
            "document",
            "usage",
            "message_start",
            "message",
            "message_delta",
            "delta",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "content_block",
            "index",
            "error",
            "text_delta",
            "input_json_delta",
            "partial_json",
            "stop_reason",
            "message_stop",
            "server_tool_use",
        ][..],
    );
    let key = prop_oneof![4 => known.prop_map(str::to_owned), 1 => "[a-z]{0,4}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_u64..4).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        key.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// An object, for arguments and the like.
fn object() -> impl Strategy<Value = Value> {
    prop::collection::vec(
        (word(), prop_oneof![said().prop_map(Value::from), (0..9).prop_map(Value::from)]),
        0..3,
    )
    .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

/// A citation that Anthropic takes back.
fn citation() -> impl Strategy<Value = Value> {
    said().prop_map(|text| {
        json!({ "type": "char_location", "cited_text": text, "document_index": 0, "start_char_index": 0,
                "end_char_index": 9 })
    })
}
