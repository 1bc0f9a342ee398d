//! Requests of callers, and what each format makes of them.

use std::collections::HashSet;

use domain::form::Form;
use domain::registry::Format;
use domain::{ApiError, Operation};
use providers::chat::{Request, Target, Written};
use providers::{anthropic, bedrock, embeddings, gemini, openai, rerank, translation};
use serde_json::{Map, Value};

use super::most;

/// Longest text of a refusal.
const MOST_WORDS: usize = 4096;

/// A chat in this dialect is refused with a reason, or every format writes it or refuses it with a reason.
pub(super) fn chat(operation: Operation, body: &[u8]) {
    let dialect = translation::dialect(operation).expect("chats have a dialect");
    let request = match (dialect.read_request)(body) {
        Ok(request) => request,
        Err(err) => return refusal(&err, body.len()),
    };
    for format in Format::ALL.iter().copied() {
        let Some(written) = written(&request, translation::wire(format).write_request, body.len()) else {
            continue;
        };
        // What we send in a format that callers speak as well, we would take; but for what was meant for the provider.
        if !request.unknown.is_empty() {
            continue;
        }
        let read = match format {
            Format::OpenAi => openai::read_request(&written.body),
            Format::Anthropic => anthropic::read_request(&written.body),
            _ => continue,
        };
        if let Err(err) = read {
            panic!("{format}: {err} in {}", String::from_utf8_lossy(&written.body));
        }
    }
}

/// Anthropic's requests, and its requests for a count of tokens.
pub(super) fn anthropic(body: &[u8]) {
    chat(Operation::Messages, body);
    match anthropic::read_count_request(body) {
        Ok(request) => {
            written(&request, gemini::write_count_request, body.len());
            written(&request, gemini::write_vertex_count_request, body.len());
        }
        Err(err) => refusal(&err, body.len()),
    }
}

fn written(
    request: &Request,
    write: fn(Request, &Target<'_>) -> Result<Written, ApiError>,
    input: usize,
) -> Option<Written> {
    let options = Map::new();
    match write(request.clone(), &Target { provider: "acme", model: None, options: &options }) {
        Ok(written) => {
            sent(&written, input);
            Some(written)
        }
        Err(err) => {
            refusal(&err, input);
            None
        }
    }
}

/// What is sent is a JSON object of reasonable size, and what is left out is said once.
fn sent(written: &Written, input: usize) {
    let value: Value = serde_json::from_slice(&written.body).expect("what is sent is JSON");
    assert!(value.is_object(), "what is sent is an object");
    assert!(written.body.len() <= most(input), "{} bytes from {input}", written.body.len());
    let reported: usize = written.dropped.iter().map(String::len).sum();
    assert!(reported <= most(input), "{reported} bytes of paths from {input}");
    let mut known = HashSet::new();
    for path in &written.dropped {
        assert!(!path.is_empty() && known.insert(path), "`{path}` is left out once");
    }
}

/// A refusal is the caller's fault, and says in a few words why.
fn refusal(err: &ApiError, input: usize) {
    assert!((400..500).contains(&err.status), "{err:?}");
    assert!(!err.message.is_empty());
    let path = err.param.as_deref().map_or(0, str::len);
    assert!(err.message.len() <= MOST_WORDS + 3 * path, "{} bytes from {input}", err.message.len());
    assert!(err.code.is_some(), "{err:?}");
}

/// Embeddings in every shape.
pub(super) fn embeddings(body: &[u8]) {
    let request = match embeddings::openai::read_request(body) {
        Ok(request) => request,
        Err(err) => return refusal(&err, body.len()),
    };
    let options = Map::new();
    let target = Target { provider: "acme", model: None, options: &options };
    let mut all = vec![
        gemini::embeddings::write_request(request.clone(), &target),
        gemini::embeddings::write_vertex_request(request.clone(), &target),
        bedrock::embeddings::write_request(request.clone(), &target),
    ];
    let shapes = embeddings::shapes().filter_map(embeddings::shape);
    all.extend(shapes.map(|shape| shape.write_request(request.clone(), &target)));
    outcomes(all, body.len());
}

/// Rerank requests in every shape.
pub(super) fn rerank(body: &[u8]) {
    let request = match rerank::read_request(body) {
        Ok(request) => request,
        Err(err) => return refusal(&err, body.len()),
    };
    let options = Map::new();
    let target = Target { provider: "acme", model: None, options: &options };
    let shapes = rerank::shapes().filter_map(rerank::shape);
    outcomes(shapes.map(|shape| shape.write_request(request.clone(), &target)).collect(), body.len());
}

fn outcomes(all: Vec<Result<Written, ApiError>>, input: usize) {
    for outcome in all {
        match outcome {
            Ok(written) => sent(&written, input),
            Err(err) => refusal(&err, input),
        }
    }
}

/// A form: its media type up to the first line end, then the body. Changed, it still is one, and says what was set.
pub(super) fn form(bytes: &[u8]) {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let Ok(content_type) = std::str::from_utf8(&bytes[..end]) else { return };
    let body = bytes.get(end + 1..).unwrap_or_default();
    let Ok(form) = Form::parse(content_type, body) else { return };
    let names: Vec<&str> = form.names().collect();
    for name in &names {
        let _ = (form.text(name), form.has_file(name));
    }
    if names.is_empty() {
        return;
    }
    let changed = form.with(&[("model", Some("m-1".to_owned())), ("gone", None)]);
    let again = Form::parse(content_type, &changed).expect("a changed form is a form");
    assert_eq!(again.text("model"), Some("m-1"));
    let others = |form: &Form<'_>| -> Vec<String> {
        let names = form.names().filter(|name| !["model", "gone"].contains(name));
        names.map(str::to_owned).collect()
    };
    assert_eq!(others(&again), others(&form), "other fields stay");
}
