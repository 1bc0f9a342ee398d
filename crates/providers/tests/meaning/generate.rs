//! Valid requests of any shape. Every text has a word of its own, so that it can be looked for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Stands for a word until all are numbered.
const WORD: &str = "WORD";
/// The same in base64.
const BASE64: &str = "BASE64";

/// Numbers the words of a document.
fn numbered(mut document: Value) -> Value {
    number(&mut document, &mut 0);
    document
}

fn number(value: &mut Value, count: &mut u32) {
    match value {
        Value::String(text) => {
            while text.contains(WORD) || text.contains(BASE64) {
                *count += 1;
                let word = format!("word{count}x");
                *text = match text.contains(WORD) {
                    true => text.replacen(WORD, &word, 1),
                    false => text.replacen(BASE64, &STANDARD.encode(&word), 1),
                };
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| number(value, count)),
        Value::Object(fields) => fields.values_mut().for_each(|value| number(value, count)),
        _ => {}
    }
}

/// The word of a text.
pub(crate) fn word(text: &str) -> Option<String> {
    let decoded = text.split_once(";base64,").map_or(text, |(_, data)| data);
    let decoded = STANDARD.decode(decoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    [Some(text.to_owned()), decoded].into_iter().flatten().find_map(|text| {
        let begin = text.find("word")?;
        let end = begin + text[begin..].find('x')?;
        Some(text[begin..=end].to_owned())
    })
}

/// What beside text a request holds.
#[derive(Clone, Copy, Debug)]
enum Media {
    None,
    Images,
    All,
}

fn media() -> impl Strategy<Value = Media> {
    prop_oneof![3 => Just(Media::None), 2 => Just(Media::Images), 2 => Just(Media::All)]
}

/// An object with some of these fields.
fn some_of(fields: Value) -> impl Strategy<Value = Map<String, Value>> {
    let fields: Vec<(String, Value)> = fields.as_object().unwrap().clone().into_iter().collect();
    let length = fields.len();
    prop::sample::subsequence(fields, 0..=length.min(6)).prop_map(|fields| fields.into_iter().collect())
}

fn with(mut value: Value, more: Map<String, Value>) -> Value {
    value.as_object_mut().unwrap().extend(more);
    value
}

fn one_of(values: Vec<Value>) -> impl Strategy<Value = Value> {
    prop::sample::select(values)
}

fn schema() -> Value {
    json!({
        "type": "object", "description": "WORD", "required": ["a"], "additionalProperties": false,
        "properties": { "a": { "type": "string", "description": "WORD" }, "b": { "$ref": "#/$defs/b" } },
        "$defs": { "b": { "type": "object", "properties": { "c": { "type": "integer", "title": "WORD" } },
            "required": ["c"], "additionalProperties": false } },
    })
}

/// A valid chat completions request.
pub(crate) fn openai() -> impl Strategy<Value = Value> {
    let turns = media().prop_flat_map(|media| prop::collection::vec(openai_turn(media), 0..4));
    (turns, openai_part(Media::None), openai_settings(), openai_tools()).prop_map(
        |(turns, last, settings, tools)| {
            let mut messages: Vec<Value> = turns.into_iter().flatten().collect();
            messages.push(json!({ "role": "user", "content": [last] }));
            let body = json!({ "model": "some-model", "messages": messages });
            numbered(with(with(body, settings), tools))
        },
    )
}

fn openai_settings() -> impl Strategy<Value = Map<String, Value>> {
    some_of(json!({
        "max_completion_tokens": 1234, "temperature": 0.37, "top_p": 0.73, "top_k": 41, "frequency_penalty": 0.29,
        "presence_penalty": -0.31, "seed": 7771, "stop": ["WORD", "WORD"], "n": 2, "logprobs": true,
        "top_logprobs": 3, "logit_bias": { "50256": -37 }, "reasoning_effort": "high", "user": "WORD",
        "stream": true, "metadata": { "a": "WORD" }, "store": true, "service_tier": "flex", "verbosity": "low",
        "prompt_cache_key": "WORD", "safety_identifier": "WORD", "web_search_options": {},
        "prediction": { "type": "content", "content": "WORD" }, "x_extra": { "a": "WORD" },
        "modalities": ["text", "audio"], "audio": { "voice": "WORD", "format": "mp3" },
        "response_format": { "type": "json_schema", "json_schema": {
            "name": "WORD", "description": "WORD", "strict": true, "schema": schema(),
        }},
    }))
}

fn openai_tools() -> impl Strategy<Value = Map<String, Value>> {
    let function = |name: &str| json!({ "name": name, "description": "WORD", "parameters": schema() });
    let strict = with(function("get_a"), Map::from_iter([("strict".to_owned(), true.into())]));
    let tools = json!([
        { "type": "function", "function": strict },
        { "type": "function", "function": function("get_b") },
    ]);
    let choice = one_of(vec![
        json!("required"),
        json!("none"),
        json!({ "type": "function", "function": { "name": "get_b" } }),
    ]);
    let more = (prop::option::of(choice), any::<bool>());
    prop::option::of(more).prop_map(move |more| {
        let mut fields = Map::new();
        if let Some((choice, alone)) = more {
            fields.insert("tools".to_owned(), tools.clone());
            fields.extend(choice.map(|choice| ("tool_choice".to_owned(), choice)));
            if alone {
                fields.insert("parallel_tool_calls".to_owned(), false.into());
            }
        }
        fields
    })
}

fn openai_part(media: Media) -> impl Strategy<Value = Value> {
    let mut parts = vec![json!({ "type": "text", "text": "WORD" }); 4];
    parts.push(
        json!({ "type": "text", "text": "WORD", "cache_control": { "type": "ephemeral", "ttl": "1h" } }),
    );
    if !matches!(media, Media::None) {
        let url = "data:image/png;base64,BASE64";
        parts.push(json!({ "type": "image_url", "image_url": { "url": url, "detail": "low" } }));
    }
    if matches!(media, Media::All) {
        let url = "https://example.com/WORD.png";
        parts.push(json!({ "type": "image_url", "image_url": { "url": url } }));
        parts.push(json!({ "type": "input_audio", "input_audio": { "data": "BASE64", "format": "wav" } }));
        for kind in ["application/pdf", "text/plain"] {
            let data = format!("data:{kind};base64,BASE64");
            parts.push(json!({ "type": "file", "file": { "file_data": data, "filename": "WORD" } }));
        }
    }
    one_of(parts)
}

fn openai_turn(media: Media) -> impl Strategy<Value = Vec<Value>> {
    let said = || one_of(vec![json!("WORD"), json!([{ "type": "text", "text": "WORD" }])]);
    let role = one_of(vec![json!("system"), json!("developer"), json!("assistant")]);
    let extras = some_of(json!({ "name": "WORD" }));
    let thoughts = some_of(json!({ "reasoning_content": "WORD" }));
    prop_oneof![
        (role, said(), extras).prop_map(|(role, content, more)| {
            vec![with(json!({ "role": role, "content": content }), more)]
        }),
        prop::collection::vec(openai_part(media), 1..4)
            .prop_map(|content| vec![json!({ "role": "user", "content": content })]),
        Just(vec![json!({ "role": "user", "content": "WORD", "name": "WORD" })]),
        Just(vec![json!({ "role": "assistant", "content": null, "refusal": "WORD" })]),
        (said(), thoughts, prop::collection::vec(said(), 1..3), any::<u32>())
            .prop_map(|(content, thoughts, results, unique)| calls(&content, thoughts, results, unique)),
    ]
}

/// Calls of tools, and their results.
fn calls(content: &Value, thoughts: Map<String, Value>, results: Vec<Value>, unique: u32) -> Vec<Value> {
    let id = |n: usize| format!("call_{unique}_{n}");
    let call = |n| {
        let function = json!({ "name": "get_a", "arguments": "{\"a\":\"WORD\"}" });
        json!({ "id": id(n), "type": "function", "function": function })
    };
    let made: Vec<Value> = (0..results.len()).map(call).collect();
    let said = json!({ "role": "assistant", "content": content, "tool_calls": made });
    let answered = results
        .into_iter()
        .enumerate()
        .map(|(n, result)| json!({ "role": "tool", "tool_call_id": id(n), "content": result }));
    std::iter::once(with(said, thoughts)).chain(answered).collect()
}

/// A valid Messages request.
pub(crate) fn anthropic() -> impl Strategy<Value = Value> {
    let turns = media().prop_flat_map(|media| prop::collection::vec(anthropic_turn(media), 0..4));
    (turns, anthropic_settings(), anthropic_tools()).prop_map(|(turns, settings, tools)| {
        let mut messages: Vec<Value> = turns.into_iter().flatten().collect();
        messages.push(json!({ "role": "user", "content": "WORD" }));
        let body = json!({ "model": "some-model", "max_tokens": 4321, "messages": messages });
        numbered(with(with(body, settings), tools))
    })
}

fn anthropic_settings() -> impl Strategy<Value = Map<String, Value>> {
    let cached = json!({ "type": "ephemeral" });
    some_of(json!({
        "system": [{ "type": "text", "text": "WORD" }, { "type": "text", "text": "WORD", "cache_control": cached }],
        "temperature": 0.37, "top_p": 0.73, "top_k": 41, "stop_sequences": ["WORD", "WORD"],
        "metadata": { "user_id": "WORD" }, "thinking": { "type": "enabled", "budget_tokens": 2048 },
        "service_tier": "standard_only", "container": "WORD", "stream": true, "x_extra": { "a": "WORD" },
        "mcp_servers": [{ "type": "url", "url": "https://example.com/WORD", "name": "WORD" }],
        "output_config": { "effort": "low", "format": { "type": "json_schema", "schema": schema() } },
    }))
}

fn anthropic_tools() -> impl Strategy<Value = Map<String, Value>> {
    let tools = json!([
        { "name": "get_a", "description": "WORD", "input_schema": schema() },
        { "type": "custom", "name": "get_b", "input_schema": schema(), "strict": true,
          "cache_control": { "type": "ephemeral" } },
        { "type": "web_search_20250305", "name": "web_search", "max_uses": 5 },
    ]);
    let choice = one_of(vec![
        json!({ "type": "any", "disable_parallel_tool_use": true }),
        json!({ "type": "none" }),
        json!({ "type": "tool", "name": "get_b" }),
    ]);
    prop::option::of(prop::option::of(choice)).prop_map(move |chosen| {
        let mut fields = Map::new();
        if let Some(choice) = chosen {
            fields.insert("tools".to_owned(), tools.clone());
            fields.extend(choice.map(|choice| ("tool_choice".to_owned(), choice)));
        }
        fields
    })
}

fn anthropic_block(media: Media) -> impl Strategy<Value = Value> {
    let mut blocks = vec![json!({ "type": "text", "text": "WORD" }); 4];
    blocks.push(
        json!({ "type": "text", "text": "WORD", "cache_control": { "type": "ephemeral", "ttl": "1h" } }),
    );
    if !matches!(media, Media::None) {
        let source = json!({ "type": "base64", "media_type": "image/png", "data": "BASE64" });
        blocks.push(json!({ "type": "image", "source": source }));
    }
    if matches!(media, Media::All) {
        let source = json!({ "type": "url", "url": "https://example.com/WORD.png" });
        blocks.push(json!({ "type": "image", "source": source }));
        let source = json!({ "type": "base64", "media_type": "application/pdf", "data": "BASE64" });
        blocks.push(json!({ "type": "document", "source": source, "title": "WORD" }));
        let source = json!({ "type": "text", "media_type": "text/plain", "data": "WORD" });
        blocks.push(json!({ "type": "document", "source": source, "title": "WORD" }));
    }
    one_of(blocks)
}

fn anthropic_turn(media: Media) -> impl Strategy<Value = Vec<Value>> {
    let blocks = move || prop::collection::vec(anthropic_block(media), 1..4);
    let texts = || prop::collection::vec(anthropic_block(Media::None), 1..3);
    let thoughts = one_of(vec![
        json!([]),
        json!([{ "type": "thinking", "thinking": "WORD", "signature": "WORD" }]),
        json!([{ "type": "redacted_thinking", "data": "WORD" }]),
    ]);
    prop_oneof![
        blocks().prop_map(|content| vec![json!({ "role": "user", "content": content })]),
        texts().prop_map(|content| vec![json!({ "role": "assistant", "content": content })]),
        (thoughts, texts(), any::<bool>(), any::<u32>(), texts()).prop_map(
            |(thoughts, texts, failed, unique, content)| {
                let id = format!("toolu_{unique}");
                let call = json!({ "type": "tool_use", "id": id, "name": "get_a", "input": { "a": "WORD" } });
                let said: Vec<Value> =
                    thoughts.as_array().unwrap().iter().cloned().chain(texts).chain([call]).collect();
                let mut result = json!({ "type": "tool_result", "tool_use_id": id, "content": content });
                if failed {
                    result["is_error"] = true.into();
                }
                vec![
                    json!({ "role": "assistant", "content": said }),
                    json!({ "role": "user", "content": [result] }),
                ]
            },
        ),
    ]
}
