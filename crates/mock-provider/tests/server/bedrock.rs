//! Bedrock, signed by AWS's own signer, its frames read by AWS's own decoder.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use mock_provider::{AWS_KEY, AWS_SESSION_KEY, AwsKey};
use serde_json::{Value, json};

use crate::anthropic::PNG;
use crate::harness::{Mock, Reply, encoded, now, post_with};

const KEY: &[(&str, &str)] = &[("authorization", "Bearer bedrock-api-key")];

/// Every frame as its payload, with the event's or exception's name in `:type`.
pub(crate) fn frames(body: &[u8]) -> Vec<Value> {
    let mut decoder = MessageFrameDecoder::new();
    let mut bytes = bytes::BytesMut::from(body);
    let mut found = Vec::new();
    while let DecodedFrame::Complete(message) = decoder.decode_frame(&mut bytes).expect("a frame") {
        let header = |name: &str| {
            let header = message.headers().iter().find(|header| header.name().as_str() == name)?;
            Some(header.value().as_string().expect("text").as_str().to_owned())
        };
        let mut value: Value = serde_json::from_slice(message.payload()).expect("json");
        let inner = value["bytes"].as_str().map(|inner| STANDARD.decode(inner).expect("base64"));
        if let Some(inner) = inner {
            value = serde_json::from_slice(&inner).expect("json");
        }
        value[":type"] = header(":event-type").or(header(":exception-type")).into();
        found.push(value);
    }
    assert!(bytes.is_empty(), "{} bytes are left", bytes.len());
    found
}

fn body(extra: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": [{"text": "hello world"}]}]});
    for (name, value) in extra.as_object().expect("object") {
        body[name] = value.clone();
    }
    body
}

async fn converse(mock: &Mock, model: &str, extra: Value) -> Reply {
    mock.send(post_with(&format!("/model/{}/converse", encoded(model)), KEY, &body(extra))).await
}

async fn answer(mock: &Mock, model: &str, extra: Value) -> Value {
    let reply = converse(mock, model, extra.clone()).await;
    assert_eq!(reply.status, 200, "{extra}: {:?}", reply.body);
    reply.json()
}

fn tools(choice: Value) -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tools = json!([
        {"toolSpec": {"name": "weather", "inputSchema": {"json": schema}}},
        {"toolSpec": {"name": "time", "inputSchema": {"json": {"type": "object"}}}},
    ]);
    let mut config = json!({"tools": tools});
    if !choice.is_null() {
        config["toolChoice"] = choice;
    }
    json!({"toolConfig": config})
}

/// A request as AWS's SDKs would sign it.
fn signed(
    mock: &Mock,
    model: &str,
    key: &AwsKey,
    settings: SigningSettings,
    time: SystemTime,
) -> Request<Full<Bytes>> {
    let body = body(json!({})).to_string();
    let host = mock.address.to_string();
    let path = format!("/model/{}/converse", encoded(model));
    let token = key.session_token.as_ref().map(|token| token.to_string());
    let credentials =
        Credentials::new(&*key.access_key_id, &*key.secret_access_key, token, None, "test").into();
    let params = SigningParams::builder()
        .identity(&credentials)
        .region("eu-central-1")
        .name("bedrock")
        .time(time)
        .settings(settings)
        .build()
        .expect("params")
        .into();
    let headers = [("host", host.as_str()), ("content-type", "application/json")];
    let signable = SignableRequest::new(
        "POST",
        format!("http://{host}{path}"),
        headers.into_iter(),
        SignableBody::Bytes(body.as_bytes()),
    );
    let (instructions, _) = sign(signable.expect("signable"), &params).expect("signed").into_parts();
    let request = Request::post(path).header("content-type", "application/json").header("host", &host);
    let mut request = request.body(Full::from(body)).expect("request");
    instructions.apply_to_request_http1x(&mut request);
    request
}

#[tokio::test]
async fn signatures_of_awss_own_signer_are_taken() {
    let mock = Mock::start().await;
    let mut checksum = SigningSettings::default();
    checksum.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    for key in [AWS_KEY, AWS_SESSION_KEY] {
        for model in ["anthropic.claude-3-5-sonnet-20240620-v1:0", "mock?log", "arn:aws:bedrock:a/b"] {
            for settings in [SigningSettings::default(), checksum.clone()] {
                let request = signed(&mock, model, &key, settings, now());
                let reply = mock.send(request).await;
                assert_eq!(reply.status, 200, "{model}: {}", String::from_utf8_lossy(&reply.body));
            }
        }
    }
}

#[tokio::test]
async fn anything_that_was_changed_after_signing_is_refused() {
    let mock = Mock::start().await;
    let sign = |key: &AwsKey, time| signed(&mock, "mock", key, SigningSettings::default(), time);
    let fresh = || sign(&AWS_KEY, now());
    let minutes = |minutes: u64| std::time::Duration::from_secs(60 * minutes);
    let other_secret = AwsKey { secret_access_key: "another".into(), ..AWS_KEY };
    let other_id = AwsKey { access_key_id: "AKIDOTHER".into(), ..AWS_KEY };
    let no_token = AwsKey { session_token: None, ..AWS_SESSION_KEY };
    let with = |name: &'static str, value: &'static str| {
        let mut request = fresh();
        request.headers_mut().insert(name, value.parse().expect("value"));
        request
    };
    let mut other_path = fresh();
    *other_path.uri_mut() = "/model/other/converse".parse().expect("path");
    let (parts, _) = fresh().into_parts();
    let other_body = Request::from_parts(parts, Full::from(body(json!({"system": []})).to_string()));
    for (request, exception) in [
        (sign(&other_secret, now()), "InvalidSignatureException"),
        (sign(&other_id, now()), "UnrecognizedClientException"),
        (sign(&no_token, now()), "UnrecognizedClientException"),
        (sign(&AWS_KEY, now() - minutes(10)), "InvalidSignatureException"),
        (sign(&AWS_KEY, now() + minutes(10)), "InvalidSignatureException"),
        (other_path, "InvalidSignatureException"),
        (other_body, "InvalidSignatureException"),
        (with("content-type", "text/plain"), "InvalidSignatureException"),
        (with("x-amz-target", "x"), "AccessDeniedException"),
        (with("authorization", "Basic x"), "IncompleteSignatureException"),
        (post_with("/model/mock/converse", &[], &body(json!({}))), "MissingAuthenticationTokenException"),
    ] {
        let reply = mock.send(request).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("x-amzn-errortype")),
            (403, Some(exception)),
            "{:?}",
            reply.body
        );
        assert!(reply.json()["message"].is_string());
    }
}

#[tokio::test]
async fn a_stream_has_the_blocks_of_the_plain_answer() {
    let mock = Mock::start().await;
    let mut extra = tools(Value::Null);
    extra["additionalModelRequestFields"] = json!({"thinking": {"type": "enabled", "budget_tokens": 1024}});
    let whole = answer(&mock, "mock?tools=1", extra.clone()).await;
    let path = format!("/model/{}/converse-stream", encoded("mock?tools=1"));
    let reply = mock.send(post_with(&path, KEY, &body(extra))).await;
    assert_eq!(reply.header("content-type"), Some("application/vnd.amazon.eventstream"));
    let events = frames(&reply.body);
    let mut names: Vec<_> = events.iter().map(|event| event[":type"].as_str().expect("name")).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "messageStart",
            "contentBlockDelta",
            "contentBlockStop",
            "contentBlockStart",
            "contentBlockDelta",
            "contentBlockStop",
            "messageStop",
            "metadata",
        ]
    );
    let joined = |pointer: &str| -> String {
        events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
    };
    let content = &whole["output"]["message"]["content"];
    let thought = &content[0]["reasoningContent"]["reasoningText"];
    assert_eq!(thought["text"], joined("/delta/reasoningContent/text"));
    assert_eq!(thought["signature"], joined("/delta/reasoningContent/signature"));
    let input: Value = serde_json::from_str(&joined("/delta/toolUse/input")).expect("json");
    assert_eq!((&content[1]["toolUse"]["input"], &input), (&json!({"city": "hello world"}), &input));
    assert_eq!(content[1]["toolUse"]["toolUseId"], joined("/start/toolUse/toolUseId"));
    assert_eq!((&whole["stopReason"], joined("/stopReason").as_str()), (&json!("tool_use"), "tool_use"));
    assert_eq!(Some(&whole["usage"]), events.last().map(|event| &event["usage"]));
}

#[tokio::test]
async fn results_markers_and_formats_are_understood() {
    let mock = Mock::start().await;
    let called = answer(&mock, "mock", tools(json!({"any": {}}))).await["output"]["message"].clone();
    let id = &called["content"][0]["toolUse"]["toolUseId"];
    let result = json!({"toolResult": {"toolUseId": id, "content": [{"text": "21 C"}], "status": "success"}});
    let mut next = tools(Value::Null);
    next["messages"] = json!([
        {"role": "user", "content": [{"text": "q"}]}, called, {"role": "user", "content": [result]},
    ]);
    let text = |answer: &Value| answer["output"]["message"]["content"][0]["text"].as_str().map(str::to_owned);
    assert_eq!(text(&answer(&mock, "mock?tools=1", next).await).as_deref(), Some("mock heard: 21 C"));

    let system = json!([{"text": "one two three"}, {"cachePoint": {"type": "default"}}]);
    let usage = answer(&mock, "mock?cached=2", json!({"system": system})).await["usage"].clone();
    let expected = json!({
        "inputTokens": 2, "outputTokens": 4, "totalTokens": 9, "cacheReadInputTokens": 2, "cacheWriteInputTokens": 1,
    });
    assert_eq!(usage, expected);

    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}}).to_string();
    let format = json!({"type": "json_schema", "structure": {"jsonSchema": {"schema": schema, "name": "s"}}});
    let structured = answer(&mock, "mock", json!({"outputConfig": {"textFormat": format}})).await;
    assert_eq!(text(&structured).as_deref(), Some("{\"n\":1}"));

    let image = json!({"image": {"format": "png", "source": {"bytes": PNG}}});
    let pdf = json!({"document": {"format": "pdf", "name": "a b", "source": {"bytes": "JVBERi0xLjQ="}}});
    let shown = json!([{"role": "user", "content": [{"text": "look"}, image, pdf]}]);
    let seen = answer(&mock, "mock", json!({"messages": shown})).await;
    assert_eq!(text(&seen).as_deref(), Some("mock heard: look [image/png,68B] [application/pdf,8B]"));
    let cut = answer(&mock, "mock", json!({"inferenceConfig": {"maxTokens": 1}})).await;
    assert_eq!((text(&cut).as_deref(), &cut["stopReason"]), (Some("mock"), &json!("max_tokens")));
}

#[tokio::test]
async fn embeddings_are_invoked() {
    let mock = Mock::start().await;
    let invoke = async |request: Value| mock.send(post_with("/model/embed/invoke", KEY, &request)).await;
    let titan = invoke(json!({"inputText": "a b", "dimensions": 256})).await.json();
    assert_eq!(titan["embedding"].as_array().map(Vec::len), Some(256));
    assert_eq!(titan["inputTextTokenCount"], 2);
    let cohere = invoke(json!({"texts": ["a", "b"], "input_type": "search_query"})).await.json();
    assert_eq!(cohere["embeddings"].as_array().map(Vec::len), Some(2));
    for bad in [json!({}), json!({"inputText": "a", "dimensions": 300}), json!({"texts": ["a"]})] {
        assert_eq!(invoke(bad.clone()).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn what_bedrock_refuses_is_refused() {
    let mock = Mock::start().await;
    let says = |role: &str, content: Value| json!({"role": role, "content": [content]});
    let text = json!({"text": "x"});
    let user = |content: Value| json!({"messages": [says("user", content)]});
    let call = json!({"toolUse": {"toolUseId": "t", "name": "weather", "input": {}}});
    let result = json!({"toolResult": {"toolUseId": "t", "content": []}});
    let used =
        json!([says("user", text.clone()), says("assistant", call.clone()), says("user", result.clone())]);
    for (extra, place) in [
        (json!({"messages": []}), "messages"),
        (json!({"messages": [says("assistant", text.clone())]}), "messages"),
        (json!({"messages": [says("user", text.clone()), says("user", text.clone())]}), "messages"),
        (json!({"max_tokens": 1}), "max_tokens"),
        (json!({"inferenceConfig": {"maxTokens": 0}}), "inferenceConfig.maxTokens"),
        (json!({"inferenceConfig": {"temperature": 1.5}}), "inferenceConfig.temperature"),
        (user(json!({"text": " "})), "messages.0.content.0.text"),
        (user(json!({"text": "a", "image": {}})), "messages.0.content.0"),
        (
            user(json!({"image": {"format": "jpeg", "source": {"bytes": PNG}}})),
            "messages.0.content.0.image.source.bytes",
        ),
        (
            user(
                json!({"document": {"format": "pdf", "name": "a.pdf", "source": {"bytes": "JVBERi0xLjQ="}}}),
            ),
            "messages.0.content.0.document.name",
        ),
        (user(call.clone()), "messages.0.content.0.toolUse"),
        (user(result), "messages.0.content"),
        (json!({"messages": [says("user", text.clone()), says("assistant", call)]}), "messages"),
        (json!({"messages": used}), "toolConfig"),
        (json!({"toolConfig": {"tools": []}}), "toolConfig.tools"),
        (
            json!({"toolConfig": {"tools": [{"toolSpec": {"name": "a b", "inputSchema": {"json": {}}}}]}}),
            "toolConfig.tools.0.toolSpec.name",
        ),
        (
            json!({"toolConfig": {"tools": [{"toolSpec": {"name": "a", "inputSchema": {"json": {}}}}]}}),
            "toolConfig.tools.0.toolSpec.inputSchema.json.type",
        ),
        (tools(json!({"tool": {"name": "other"}})), "toolConfig.toolChoice.tool.name"),
    ] {
        let reply = converse(&mock, "mock", extra.clone()).await;
        let told = reply.json()["message"].as_str().expect("text").to_owned();
        assert_eq!(
            (reply.status.as_u16(), reply.header("x-amzn-errortype")),
            (400, Some("ValidationException"))
        );
        let found = told.strip_prefix("the value at ").and_then(|rest| rest.split(" is invalid").next());
        assert_eq!(found, Some(place), "{extra}: {told}");
    }
}
