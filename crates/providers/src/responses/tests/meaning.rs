//! Requests of this dialect mean the same when they are said as chat completions.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::read_request;
use crate::chat::Target;
use crate::openai;

fn words() -> impl Strategy<Value = String> {
    "[a-zé\"\\\\ ]{1,8}"
}

/// Some items that follow each other: what a user says, or a turn of the model with the results of its calls.
fn items() -> impl Strategy<Value = Vec<Value>> {
    let role = prop_oneof![Just("user"), Just("system"), Just("developer"), Just("assistant")];
    let easy = (role, words()).prop_map(|(role, text)| vec![json!({ "role": role, "content": text })]);
    let parts = (words(), words()).prop_map(|(first, second)| {
        vec![json!({ "type": "message", "role": "user", "content": [
            { "type": "input_text", "text": first },
            { "type": "input_image", "image_url": "https://example.com/a.png", "detail": "low" },
            { "type": "input_image", "image_url": "data:image/png;base64,aGk=" },
            { "type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk=" },
            { "type": "input_text", "text": second },
        ] })]
    });
    let refusal = words().prop_map(|text| {
        vec![json!({ "type": "message", "role": "assistant", "content": [{ "type": "refusal", "refusal": text }] })]
    });
    let calls = (proptest::option::of(words()), proptest::collection::vec((words(), words()), 1..4));
    let calls = calls.prop_map(|(text, calls)| {
        let said = text.map(|text| {
            json!({ "type": "message", "role": "assistant",
            "content": [{ "type": "output_text", "text": text, "annotations": [] }] })
        });
        let mut items: Vec<Value> = said.into_iter().collect();
        items.extend(calls.iter().enumerate().map(|(index, (argument, _))| {
            json!({
                "type": "function_call", "call_id": index.to_string(), "name": "f",
                "arguments": json!({ "a": argument }).to_string(),
            })
        }));
        items.extend(calls.iter().enumerate().map(|(index, (_, result))| {
            json!({
                "type": "function_call_output", "call_id": index.to_string(), "output": result,
            })
        }));
        items
    });
    prop_oneof![easy, parts, refusal, calls]
}

fn request() -> impl Strategy<Value = Value> {
    let schema = json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/a" } }, "$defs": { "a": { "type": "string" } } });
    let formats = [
        Value::Null,
        json!({ "type": "json_object" }),
        json!({ "type": "json_schema", "name": "n", "schema": schema, "strict": true }),
    ];
    let choices = [
        Value::Null,
        json!("auto"),
        json!("none"),
        json!("required"),
        json!({ "type": "function", "name": "f" }),
    ];
    let efforts = [Value::Null, json!("none"), json!("low"), json!("xhigh")];
    (
        proptest::collection::vec(items(), 1..6),
        proptest::option::of(words()),
        proptest::sample::select(formats.to_vec()),
        proptest::sample::select(choices.to_vec()),
        proptest::sample::select(efforts.to_vec()),
        (proptest::option::of(1..9000u64), proptest::option::of(0..3u64), any::<bool>(), any::<bool>()),
    )
        .prop_map(move |(items, instructions, format, choice, effort, (limit, logprobs, parallel, stream))| {
            json!({
                "model": "gpt-5.1", "input": items.concat(), "instructions": instructions, "stream": stream,
                "tools": [
                    { "type": "function", "name": "f", "description": "d", "parameters": schema, "strict": true },
                    { "type": "function", "name": "g", "parameters": { "type": "object", "properties": {} } },
                ],
                "tool_choice": choice, "parallel_tool_calls": parallel, "text": { "format": format },
                "reasoning": { "effort": effort }, "max_output_tokens": limit, "top_logprobs": logprobs,
                "temperature": 0.5, "service_tier": "flex", "user": "u", "seed": 7,
            })
        })
}

proptest! {
    #[test]
    fn a_request_means_the_same_as_a_chat_completion(body in request()) {
        let mut meant = read_request(body.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&meant.dropped, &Vec::<String>::new());
        let target = Target { provider: "openai", model: None, options: &Map::new() };
        let written = openai::write_request(meant.clone(), &target).unwrap();
        prop_assert_eq!(written.dropped, Vec::<String>::new());
        let mut read = openai::read_request(&written.body).unwrap();
        // A field of chat completions, and unknown to this dialect.
        meant.seed = meant.unknown.shift_remove("seed").and_then(|seed| seed.as_i64());
        // Whether the caller wants counts is no business of the provider's.
        (meant.include_usage, read.include_usage) = (true, true);
        prop_assert_eq!(read, meant);
    }
}
