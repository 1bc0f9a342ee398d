//! Cloudflare Workers AI: `POST /client/v4/accounts/{account}/ai/run/{model}`. What a model takes depends on the model;
//! here it depends on the body.
//! Source: developers.cloudflare.com/api/resources/ai/methods/run, …/workers-ai/models.

use domain::ApiError;
use serde_json::{Value, json};

use super::openai::vectors;
use crate::chat::{Chat, Kind, Reply, Setting, Tool};
use crate::endpoint::{Asked, Endpoint, Manner, Received, Understood};
use crate::rank::ranked;
use crate::sample::{any_object, dangling_ref};
use crate::shape::{self, What, may, must};
use crate::stream::{Beat, Made, Pen, Voice};
use crate::text::{self, count_words};
use crate::wire::{Event, Framing};

/// Any model.
pub(crate) struct Run;

/// Cloudflare's errors, in the envelope of every answer.
struct Cloudflare;

static TEXT_GENERATION: shape::Kind = shape::Kind::Object(&[
    may("prompt", &shape::Kind::Filled),
    may("messages", &shape::Kind::List(1, &MESSAGE)),
    may("stream", &shape::Kind::Bool),
    may("raw", &shape::Kind::Bool),
    may("lora", &shape::Kind::Text),
    may("max_tokens", &shape::Kind::Whole(1)),
    may("temperature", &shape::Kind::Number(0.0, 5.0)),
    may("top_p", &shape::Kind::Number(0.0, 2.0)),
    may("top_k", &shape::Kind::Whole(1)),
    may("seed", &shape::Kind::Whole(1)),
    may("repetition_penalty", &shape::Kind::Number(0.0, 2.0)),
    may("frequency_penalty", &shape::Kind::Number(-2.0, 2.0)),
    may("presence_penalty", &shape::Kind::Number(-2.0, 2.0)),
    may("tools", &shape::Kind::List(0, &shape::Kind::Map)),
    may("functions", &shape::Kind::List(0, &shape::Kind::Map)),
    may("response_format", &shape::Kind::Map),
]);

static MESSAGE: shape::Kind = shape::Kind::Object(&[
    must("role", &shape::Kind::Filled),
    may("content", &shape::Kind::Either(&[&shape::Kind::Text, &shape::Kind::List(0, &shape::Kind::Map)])),
    may("tool_call_id", &shape::Kind::Text),
    may("tool_calls", &shape::Kind::List(0, &shape::Kind::Map)),
    may("name", &shape::Kind::Text),
]);

static EMBEDDING: shape::Kind = shape::Kind::Object(&[
    must("text", &shape::Kind::Either(&[&shape::Kind::Filled, &shape::Kind::List(1, &shape::Kind::Text)])),
    may("pooling", &shape::Kind::Word(&["mean", "cls"])),
]);

static RERANK: shape::Kind = shape::Kind::Object(&[
    must("query", &shape::Kind::Filled),
    must("contexts", &shape::Kind::List(1, &shape::Kind::Object(&[must("text", &shape::Kind::Text)]))),
    may("top_k", &shape::Kind::Whole(1)),
]);

impl Manner for Cloudflare {
    fn error(&self, err: &ApiError, _id: u64) -> Vec<u8> {
        text::json(&error_body(err))
    }

    fn headers(&self, id: u64) -> Vec<(&'static str, String)> {
        vec![("cf-ai-req-id", format!("{id:016x}")), ("cf-ray", format!("{id:016x}-MCK"))]
    }
}

/// Source: developers.cloudflare.com/workers-ai/platform/errors.
fn error_body(err: &ApiError) -> Value {
    let code = match err.status {
        401 => 10000,
        400 => 5006,
        404 => 5007,
        413 => 3006,
        429 => 3036,
        _ => 3040,
    };
    json!({
        "result": null, "success": false, "errors": [{"code": code, "message": format!("AiError: {}", err.message)}],
        "messages": [],
    })
}

impl Endpoint for Run {
    fn manner(&self) -> &'static dyn Manner {
        &Cloudflare
    }

    fn admit(&self, received: &Received<'_>) -> Result<(), ApiError> {
        match received.bearer() {
            Some(_) => Ok(()),
            None => Err(ApiError::new(
                401,
                "authentication",
                "authentication error: write `authorization: Bearer …`",
            )),
        }
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let ask = move || {
            let body = received.json()?;
            if body.get("text").is_some() {
                embed(&body)
            } else if body.get("contexts").is_some() {
                rerank(&body)
            } else {
                generate(&body)
            }
        };
        Ok(Understood { model: received.captured(1).into(), ask: Box::new(ask) })
    }
}

fn refuse(place: &str, what: &str) -> ApiError {
    ApiError::bad_request(place, "bad_input", format!("bad input: '/{}' {what}", place.replace('.', "/")))
}

fn check(kind: &shape::Kind, body: &Value) -> Result<(), ApiError> {
    kind.check(body).map_err(|mistake| {
        let place = mistake.path.dotted();
        match mistake.what {
            What::Unknown => refuse(&place, "must not be there: additional properties are not allowed"),
            What::Missing => refuse(&place, "is required"),
            What::Not(expected) => refuse(&place, &format!("must be {expected}")),
        }
    })
}

fn generate<'r>(body: &Value) -> Result<Asked<'r>, ApiError> {
    check(&TEXT_GENERATION, body)?;
    let (heard, words, has_results) = match (body["prompt"].as_str(), body["messages"].as_array()) {
        (Some(prompt), None) => (prompt.to_owned(), count_words(prompt) as u64, false),
        (None, Some(messages)) => conversation(messages)?,
        _ => return Err(refuse("", "must have one of required properties 'prompt', 'messages'")),
    };
    let format = &body["response_format"];
    let schema = match format["type"].as_str() {
        Some("json_object") => Some(any_object()),
        Some("json_schema") => {
            let schema = &format["json_schema"];
            if !schema.is_object() || dangling_ref(schema).is_some() {
                return Err(refuse("response_format.json_schema", "must be a JSON schema"));
            }
            Some(schema.clone())
        }
        None if format.is_null() => None,
        _ => return Err(refuse("response_format.type", "must be json_object or json_schema")),
    };
    let chat = Chat {
        heard,
        input_tokens: words,
        stream: body["stream"] == true,
        // Cloudflare answers with at most 256 tokens unless more are asked for.
        max_tokens: Some(
            body["max_tokens"].as_u64().and_then(|max| usize::try_from(max).ok()).unwrap_or(256),
        ),
        repeat: 1,
        tools: tools(&body["tools"])?,
        has_results,
        schema,
        ..Chat::default()
    };
    Ok(Asked::chat(chat, || Box::new(WorkersVoice)))
}

fn conversation(messages: &[Value]) -> Result<(String, u64, bool), ApiError> {
    let (mut heard, mut words, mut results) = (String::new(), 0, Vec::new());
    for (at, message) in messages.iter().enumerate() {
        let text = match &message["content"] {
            Value::Array(parts) => {
                parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join(" ")
            }
            content => content.as_str().unwrap_or_default().to_owned(),
        };
        words += count_words(&text) as u64;
        match message["role"].as_str().unwrap_or_default() {
            "tool" => {
                results.push(text);
                continue;
            }
            "user" => heard = text,
            "system" | "assistant" => {}
            _ => {
                return Err(refuse(
                    &format!("messages.{at}.role"),
                    "must be system, user, assistant or tool",
                ));
            }
        }
        results.clear();
    }
    let has_results = !results.is_empty();
    Ok((if has_results { results.join(" ") } else { heard }, words, has_results))
}

/// A tool stands below `function`, or is the element itself.
fn tools(tools: &Value) -> Result<Vec<Tool>, ApiError> {
    let tool = |(at, tool): (usize, &Value)| {
        let function = if tool["function"].is_object() { &tool["function"] } else { tool };
        let name = function["name"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| refuse(&format!("tools.{at}.name"), "is required"))?;
        if !function["parameters"].is_object() {
            return Err(refuse(&format!("tools.{at}.parameters"), "is required"));
        }
        Ok(Tool { name: name.to_owned(), schema: function["parameters"].clone() })
    };
    tools.as_array().into_iter().flatten().enumerate().map(tool).collect()
}

fn enveloped(result: &Value) -> Value {
    json!({"result": result, "success": true, "errors": [], "messages": []})
}

/// Writes what models for text answer.
struct WorkersVoice;

impl Voice for WorkersVoice {
    fn framing(&self) -> Framing {
        Framing::Sse
    }

    fn whole_calls(&self) -> bool {
        true
    }

    fn whole(&self, reply: &Reply) -> Vec<u8> {
        let calls: Vec<_> = reply.calls().map(|(_, name, arguments)| call(name, arguments)).collect();
        let mut result =
            json!({"response": if calls.is_empty() { json!(reply.said()) } else { Value::Null }});
        if !calls.is_empty() {
            result["tool_calls"] = calls.into();
        }
        if reply.with_usage {
            result["usage"] = usage(reply);
        }
        text::json(&enveloped(&result))
    }

    fn beat(&self, reply: &Reply, beat: Beat<'_>, pen: &mut Pen) {
        match beat {
            Beat::Piece { block, text } => match &reply.blocks[block].kind {
                Kind::Said => pen.plain(&json!({"response": text, "p": "abcdefghijklm"})),
                Kind::Call { name, .. } => {
                    pen.plain(&json!({"response": "", "tool_calls": [call(name, text)], "p": "abc"}));
                }
                Kind::Thought => {}
            },
            Beat::Usage if reply.with_usage => {
                pen.plain(&json!({"response": "", "usage": usage(reply), "p": "ab"}))
            }
            Beat::Done => pen.event(Event::Data { name: None, data: b"[DONE]".to_vec() }),
            Beat::Start | Beat::Open(_) | Beat::Close(_) | Beat::Finish | Beat::Usage => {}
        }
    }

    fn error(&self, err: &ApiError, pen: &mut Pen) {
        pen.plain(&error_body(err));
    }
}

fn call(name: &str, arguments: &str) -> Value {
    let arguments: Value = serde_json::from_str(arguments).unwrap_or_else(|_| json!({}));
    json!({"name": name, "arguments": arguments})
}

fn usage(reply: &Reply) -> Value {
    let usage = &reply.usage;
    json!({
        "prompt_tokens": usage.input, "completion_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
    })
}

fn embed<'r>(body: &Value) -> Result<Asked<'r>, ApiError> {
    check(&EMBEDDING, body)?;
    let texts: Vec<_> = match &body["text"] {
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        text => vec![text.as_str().unwrap_or_default().to_owned()],
    };
    if texts.len() > 100 {
        return Err(refuse("text", "must not have more than 100 items"));
    }
    let pooling = body["pooling"].as_str().unwrap_or("mean").to_owned();
    let words = texts.iter().map(|text| count_words(text) as u64).sum();
    Ok(Asked::whole(words, move |setting: Setting<'_>| {
        let vectors = vectors(&texts, None, setting);
        let shape = [vectors.len(), vectors.first().map_or(0, Vec::len)];
        Made::json(&enveloped(&json!({"shape": shape, "data": vectors, "pooling": pooling})))
    }))
}

fn rerank<'r>(body: &Value) -> Result<Asked<'r>, ApiError> {
    check(&RERANK, body)?;
    let query = body["query"].as_str().unwrap_or_default().to_owned();
    let contexts =
        body["contexts"].as_array().into_iter().flatten().filter_map(|context| context["text"].as_str());
    let contexts: Vec<_> = contexts.map(str::to_owned).collect();
    let most = body["top_k"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let words = count_words(&query) + contexts.iter().map(|text| count_words(text)).sum::<usize>();
    Ok(Asked::whole(words as u64, move |_| {
        let result = |(id, score): (usize, f64)| json!({"id": id, "score": score});
        let results: Vec<_> = ranked(&query, &contexts).into_iter().take(most).map(result).collect();
        Made::json(&enveloped(&json!({"response": results})))
    }))
}
