//! Whatever stands in a body, there is an answer: every value of rich requests is replaced by every kind of value.

use serde_json::{Value, json};

use crate::anthropic::{self, PNG};
use crate::harness::{Mock, post_with};

type Rich = (&'static str, &'static [(&'static str, &'static str)], Value);

const BEARER: &[(&str, &str)] = &[("authorization", "Bearer k")];

fn schema() -> Value {
    json!({"type": "object", "required": ["a"], "properties": {
        "a": {"type": "string", "maxLength": 3}, "b": {"type": "array", "items": {"anyOf": [{"type": "number"}]}},
    }})
}

fn openai() -> Value {
    json!({
        "model": "mock?tools=1", "n": 1, "stop": ["x"], "temperature": 0, "logprobs": true, "top_logprobs": 1,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema()}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema()}},
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}},
            ]},
            {"role": "assistant", "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "c", "content": "r"},
        ],
    })
}

fn claude() -> Value {
    json!({
        "model": "mock?tools=1", "max_tokens": 2000, "system": [{"type": "text", "text": "s"}],
        "thinking": {"type": "disabled"}, "tool_choice": {"type": "auto"}, "stop_sequences": ["x"],
        "tools": [{"name": "f", "input_schema": schema()}],
        "messages": [
            {"role": "user", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            ]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r"}]},
            ]},
        ],
    })
}

fn converse() -> Value {
    json!({
        "system": [{"text": "s"}, {"cachePoint": {"type": "default"}}],
        "inferenceConfig": {"maxTokens": 9, "stopSequences": ["x"]},
        "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": schema()}}}], "toolChoice": {"any": {}}},
        "messages": [
            {"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": PNG}}}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"text": "r"}]}}]},
        ],
    })
}

fn gemini() -> Value {
    json!({
        "systemInstruction": {"parts": [{"text": "s"}]},
        "generationConfig": {"maxOutputTokens": 9, "stopSequences": ["x"], "thinkingConfig": {"includeThoughts": true}},
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema()}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "contents": [
            {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"r": "x"}}}]},
        ],
    })
}

fn cohere() -> Value {
    json!({
        "model": "mock?tools=1", "stop_sequences": ["x"], "tool_choice": "REQUIRED", "documents": ["d", {"data": {"a": "b"}}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema()}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "document", "document": {"data": "r"}}]},
        ],
    })
}

fn ollama() -> Value {
    json!({
        "model": "mock?tools=1", "options": {"num_predict": 9, "stop": ["x"]}, "think": true, "format": schema(),
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema()}}],
        "messages": [
            {"role": "user", "content": "a", "images": [PNG]},
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
            {"role": "tool", "content": "r"},
        ],
    })
}

fn responses() -> Value {
    json!({
        "model": "mock?tools=1", "reasoning": {"summary": "auto"}, "tool_choice": {"type": "function", "name": "f"},
        "tools": [{"type": "function", "name": "f", "parameters": schema()}],
        "text": {"format": {"type": "json_schema", "name": "s", "schema": schema()}}, "include": ["x"],
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "r"},
        ],
    })
}

fn all() -> Vec<Rich> {
    vec![
        ("/v1/chat/completions", &[], openai()),
        ("/v1/responses", &[], responses()),
        ("/v1/messages", anthropic::HEADERS, claude()),
        ("/model/mock%3Ftools=1/converse", BEARER, converse()),
        ("/model/mock/invoke", BEARER, json!({"inputText": "a", "dimensions": 256, "normalize": true})),
        ("/v1beta/models/mock:generateContent", &[("x-goog-api-key", "k")], gemini()),
        ("/v2/chat", BEARER, cohere()),
        (
            "/v2/embed",
            BEARER,
            json!({"model": "m", "texts": ["a"], "input_type": "search_query", "embedding_types": ["int8"]}),
        ),
        ("/v2/rerank", BEARER, json!({"model": "m", "query": "a", "documents": ["a"], "top_n": 1})),
        ("/api/chat", &[], ollama()),
        (
            "/client/v4/accounts/a/ai/run/mock",
            BEARER,
            json!({"messages": [{"role": "user", "content": "a"}], "stream": false}),
        ),
        (
            "/v1/images/generations",
            &[],
            json!({"model": "m", "prompt": "a", "n": 1, "stream": true, "partial_images": 1}),
        ),
        ("/v1/audio/speech", &[], json!({"model": "m", "input": "a", "voice": "v", "speed": 1})),
        ("/v1/moderations", &[], json!({"input": [{"type": "text", "text": "a"}]})),
    ]
}

/// The place of every value, by pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), found))
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| places(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

#[tokio::test]
async fn no_value_anywhere_takes_the_mock_down() {
    let mock = Mock::start().await;
    let others = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e300),
        json!("é"),
        json!([]),
        json!([1, null]),
        json!({"x": {}}),
    ];
    for (path, headers, body) in all() {
        let whole = mock.send(post_with(path, headers, &body)).await;
        assert_eq!(whole.status, 200, "{path}: {:?}", whole.body);
        let mut found = Vec::new();
        places(&body, "", &mut found);
        for place in found {
            for other in &others {
                let mut changed = body.clone();
                *changed.pointer_mut(&place).expect("a place") = other.clone();
                let status = mock.send(post_with(path, headers, &changed)).await.status.as_u16();
                assert!([200, 400].contains(&status), "{path} {place} = {other}: {status}");
            }
        }
    }
}
