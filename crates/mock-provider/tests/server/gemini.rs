//! Gemini, as Google's own SDK would see it.

use serde_json::{Value, json};

use crate::anthropic::PNG;
use crate::harness::{Mock, Reply, encoded, post_with, sse};

pub(crate) const HEADERS: &[(&str, &str)] = &[("x-goog-api-key", "k")];

/// `hello world` after a system message of one word.
pub(crate) fn body() -> Value {
    json!({
        "systemInstruction": {"parts": [{"text": "short"}]},
        "contents": [{"role": "user", "parts": [{"text": "hello world"}]}],
    })
}

fn with(extra: Value) -> Value {
    let mut body = body();
    for (name, value) in extra.as_object().expect("object") {
        body[name] = value.clone();
    }
    body
}

async fn send(mock: &Mock, model: &str, verb: &str, body: &Value) -> Reply {
    mock.send(post_with(&format!("/v1beta/models/{}:{verb}", encoded(model)), HEADERS, body)).await
}

async fn answer(mock: &Mock, model: &str, extra: Value) -> Value {
    let reply = send(mock, model, "generateContent", &with(extra.clone())).await;
    assert_eq!(reply.status, 200, "{extra}: {:?}", reply.body);
    reply.json()
}

fn tools() -> Value {
    json!([{"functionDeclarations": [
        {"name": "weather", "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}},
        {"name": "time", "parametersJsonSchema": {"type": "object", "additionalProperties": false}},
    ]}])
}

fn part(answer: &Value, at: usize) -> &Value {
    &answer["candidates"][0]["content"]["parts"][at]
}

#[tokio::test]
async fn an_answer_has_candidates_and_usage() {
    let mock = Mock::start().await;
    let whole = answer(&mock, "mock?cached=2", json!({})).await;
    let id = whole["responseId"].clone();
    assert_eq!(
        whole,
        json!({
            "candidates": [{
                "index": 0, "finishReason": "STOP",
                "content": {"parts": [{"text": "mock heard: hello world"}], "role": "model"},
            }],
            "usageMetadata": {
                "promptTokenCount": 3, "totalTokenCount": 7, "candidatesTokenCount": 4, "cachedContentTokenCount": 2,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}],
            },
            "modelVersion": "mock?cached=2", "responseId": id,
        })
    );
    let thinking =
        json!({"generationConfig": {"thinkingConfig": {"includeThoughts": true, "thinkingBudget": 9}}});
    let thought = answer(&mock, "mock", thinking).await;
    assert_eq!((&part(&thought, 0)["thought"], part(&thought, 1)["text"].is_string()), (&json!(true), true));
    assert!(part(&thought, 1)["thoughtSignature"].is_string());
    let usage = &thought["usageMetadata"];
    assert_eq!(
        (&usage["thoughtsTokenCount"], &usage["candidatesTokenCount"], &usage["totalTokenCount"]),
        (&json!(4), &json!(4), &json!(11))
    );
    let config = json!({"candidateCount": 2, "maxOutputTokens": 2, "responseLogprobs": true, "logprobs": 1});
    let many = answer(&mock, "mock", json!({"generationConfig": config})).await;
    assert_eq!(many["candidates"].as_array().map(Vec::len), Some(2));
    assert_eq!(many["candidates"][1]["finishReason"], "MAX_TOKENS");
    assert_eq!(many["candidates"][1]["logprobsResult"]["chosenCandidates"].as_array().map(Vec::len), Some(2));
    let filtered = answer(&mock, "mock?filtered", json!({})).await;
    assert_eq!(
        (&filtered["candidates"][0]["finishReason"], part(&filtered, 0)),
        (&json!("SAFETY"), &Value::Null)
    );
}

#[tokio::test]
async fn a_stream_tells_usage_and_reason_at_the_end() {
    let mock = Mock::start().await;
    let reply =
        send(&mock, "mock?tools=2", "streamGenerateContent?alt=sse", &with(json!({"tools": tools()}))).await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    assert!(reply.body.ends_with(b"\r\n\r\n"));
    let events: Vec<_> = sse(&reply.body).into_iter().map(|(_, data)| data).collect();
    let calls: Vec<_> = events.iter().filter_map(|event| part(event, 0).get("functionCall")).collect();
    assert_eq!(
        calls,
        [&json!({"name": "weather", "args": {"city": "hello world"}}), &json!({"name": "time", "args": {}})]
    );
    let last = events.last().expect("events");
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    assert!(last["usageMetadata"]["candidatesTokenCount"].is_u64());
}

#[tokio::test]
async fn functions_are_called_and_their_responses_are_answered() {
    let mock = Mock::start().await;
    let config = |mode: &str, names: Value| json!({"functionCallingConfig": {"mode": mode, "allowedFunctionNames": names}});
    for (model, choice, expected) in [
        ("mock", config("AUTO", json!([])), None),
        ("mock", config("ANY", json!([])), Some("weather")),
        ("mock", config("ANY", json!(["time"])), Some("time")),
        ("mock?tools=1", config("NONE", json!([])), None),
        ("mock?tools=1", config("AUTO", json!([])), Some("weather")),
    ] {
        let answer = answer(&mock, model, json!({"tools": tools(), "toolConfig": choice})).await;
        assert_eq!(part(&answer, 0)["functionCall"]["name"].as_str(), expected, "{model}");
    }
    let model = "gemini-3-pro?tools=2";
    let called = answer(&mock, model, json!({"tools": tools()})).await;
    let content = called["candidates"][0]["content"].clone();
    assert!(content["parts"][0]["functionCall"]["id"].is_string());
    let response = |name: &str| json!({"functionResponse": {"name": name, "response": {"result": "21 C"}}});
    let next = |content: Value, responses: Value| {
        json!({"tools": tools(), "contents": [
            {"role": "user", "parts": [{"text": "q"}]}, content, {"role": "user", "parts": responses},
        ]})
    };
    let both = json!([response("weather"), response("time")]);
    let done = answer(&mock, model, next(content.clone(), both.clone())).await;
    assert_eq!(part(&done, 0)["text"], "gemini-3-pro heard: 21 C 21 C");
    let mut unsigned = content.clone();
    unsigned["parts"][0].as_object_mut().expect("part").remove("thoughtSignature");
    let mut forged = content.clone();
    forged["parts"][0]["functionCall"]["args"] = json!({"city": "elsewhere"});
    for (content, responses) in
        [(unsigned, both.clone()), (forged, both), (content, json!([response("time")]))]
    {
        let reply = send(&mock, model, "generateContent", &with(next(content.clone(), responses))).await;
        assert_eq!(reply.status, 400, "{content}");
    }
}

#[tokio::test]
async fn json_and_media_are_understood() {
    let mock = Mock::start().await;
    let own = json!({"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}, "required": ["n"]});
    let json_schema = json!({"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"n": {"type": "integer"}}}}});
    for (field, schema) in [("responseSchema", own), ("responseJsonSchema", json_schema)] {
        let config = json!({"responseMimeType": "application/json", field: schema});
        let answer = answer(&mock, "mock", json!({"generationConfig": config})).await;
        assert_eq!(part(&answer, 0)["text"], "{\"n\":1}", "{field}");
    }
    let parts = json!([
        {"text": "look"}, {"inlineData": {"mimeType": "image/png", "data": PNG}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://a/b.pdf"}},
    ]);
    let seen = answer(&mock, "mock", json!({"contents": [{"role": "user", "parts": parts}]})).await;
    assert_eq!(part(&seen, 0)["text"], "mock heard: look [image/png,68B] [file,gs://a/b.pdf]");
    let snake = json!({"generation_config": {"max_output_tokens": 1}, "system_instruction": {"parts": [{"text": "x"}]}});
    assert_eq!(part(&answer(&mock, "mock", snake).await, 0)["text"], "mock", "protobuf takes both spellings");
    let counted = send(&mock, "mock", "countTokens", &json!({"contents": body()["contents"]})).await;
    assert_eq!(counted.json()["totalTokens"], 2);
    let mut request = body();
    request["model"] = "models/mock".into();
    let counted = send(&mock, "mock", "countTokens", &json!({"generateContentRequest": request})).await;
    assert_eq!(counted.json()["totalTokens"], 3);
}

#[tokio::test]
async fn embeddings_are_one_or_many() {
    let mock = Mock::start().await;
    let content = |text: &str| json!({"parts": [{"text": text}]});
    let one = json!({"content": content("a b"), "outputDimensionality": 8, "taskType": "RETRIEVAL_QUERY"});
    let one = send(&mock, "mock", "embedContent", &one).await.json();
    assert_eq!(one["embedding"]["values"].as_array().map(Vec::len), Some(8));
    let request = |model: &str| json!({"model": model, "content": content("a b"), "outputDimensionality": 8});
    let many = json!({"requests": [request("models/mock"), request("models/mock")]});
    let many = send(&mock, "mock", "batchEmbedContents", &many).await.json();
    assert_eq!(many["embeddings"], json!([one["embedding"], one["embedding"]]));
    let bill = mock.get("/bill").await;
    assert_eq!(bill["models"]["mock"]["input_tokens"], 6);
    for bad in [json!({"requests": []}), json!({"requests": [request("models/other")]})] {
        assert_eq!(send(&mock, "mock", "batchEmbedContents", &bad).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn what_gemini_refuses_is_refused() {
    let mock = Mock::start().await;
    let config = |config: Value| json!({"generationConfig": config});
    let parts = |parts: Value| json!({"contents": [{"role": "user", "parts": parts}]});
    let declared = |parameters: Value| json!({"tools": [{"functionDeclarations": [{"name": "f", "parameters": parameters}]}]});
    for (extra, told) in [
        (json!({"messages": []}), "Unknown name \"messages\": Cannot find field."),
        (
            config(json!({"max_tokens": 1})),
            "Unknown name \"max_tokens\" at 'generation_config': Cannot find field.",
        ),
        (
            declared(
                json!({"type": "object", "properties": {"a": {"type": "string", "additionalProperties": false}}}),
            ),
            "Unknown name \"additionalProperties\" at 'tools[0].function_declarations[0].parameters.properties.a'",
        ),
        (
            declared(json!({"type": ["object", "null"]})),
            "'tools[0].function_declarations[0].parameters.type'",
        ),
        (declared(json!({"type": "OBJECT"})), "parameters.properties: should be non-empty for OBJECT type"),
        (json!({"contents": []}), "'contents'"),
        (json!({"contents": [{"role": "assistant", "parts": [{"text": "a"}]}]}), "contents[0].role"),
        (parts(json!([])), "contents[0].parts"),
        (
            parts(json!([{"text": "a", "inlineData": {"mimeType": "image/png", "data": PNG}}])),
            "parts[0].data",
        ),
        (parts(json!([{"inlineData": {"mimeType": "image/gif", "data": PNG}}])), "unsupported MIME type"),
        (parts(json!([{"inlineData": {"mimeType": "image/jpeg", "data": PNG}}])), "inline_data.data"),
        (parts(json!([{"functionResponse": {"name": "f", "response": {}}}])), "contents[0]"),
        (config(json!({"temperature": 3})), "'generation_config.temperature'"),
        (config(json!({"stopSequences": ["a", "b", "c", "d", "e", "f"]})), "stop_sequences"),
        (config(json!({"responseSchema": {"type": "STRING"}})), "response_mime_type"),
        (config(json!({"thinkingConfig": {"thinkingBudget": 1, "thinkingLevel": "LOW"}})), "thinking_config"),
        (json!({"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}), "function_calling_config"),
        (
            json!({"tools": tools(), "generationConfig": {"responseMimeType": "application/json"}}),
            "function calling with a response mime type",
        ),
        (json!({"labels": {}}), "Unknown name \"labels\""),
    ] {
        let reply = send(&mock, "mock", "generateContent", &with(extra.clone())).await;
        let error = reply.json()["error"].clone();
        assert_eq!(
            (&error["code"], &error["status"]),
            (&json!(400), &json!("INVALID_ARGUMENT")),
            "{extra}: {error}"
        );
        assert!(error["message"].as_str().is_some_and(|text| text.contains(told)), "{extra}: {error}");
        assert!(error["details"][0]["fieldViolations"][0]["field"].is_string(), "{error}");
    }
}

#[tokio::test]
async fn a_key_is_needed_and_a_wait_is_told() {
    let mock = Mock::start().await;
    let path = "/v1beta/models/mock:generateContent";
    assert_eq!(mock.send(post_with(path, &[], &body())).await.status, 403);
    assert_eq!(mock.send(post_with(&format!("{path}?key=k"), &[], &body())).await.status, 200);
    let limited = send(&mock, "mock?status=429&retry-after=7", "generateContent", &body()).await.json();
    assert_eq!(limited["error"]["details"][0]["retryDelay"], "7s");
}
