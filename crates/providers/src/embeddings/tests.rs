//! Embeddings: the dialect and every format of the table.

use domain::Usage;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::openai::{read_request, write_answer};
use super::*;
use crate::testing::{ABOUT, body, documents, target};

fn read(body: Value) -> Result<Request, domain::ApiError> {
    read_request(body.to_string().as_bytes())
}

#[test]
fn every_kind_of_input_is_read() {
    let input = |input: Value| read(json!({ "model": "m", "input": input })).unwrap().input;
    assert_eq!(input(json!("a")), [Input::Text("a".into())]);
    assert_eq!(input(json!(["a", "b"])), [Input::Text("a".into()), Input::Text("b".into())]);
    assert_eq!(input(json!([1, 2])), [Input::Tokens(vec![1, 2])]);
    assert_eq!(input(json!([[1], [2, 3]])), [Input::Tokens(vec![1]), Input::Tokens(vec![2, 3])]);
    let request = read(json!({
        "model": "m", "input": "a", "encoding_format": "base64", "dimensions": 256, "user": "u",
        "input_type": "query", "truncate": "END", "extra": null,
    }));
    let expected = Request {
        model: "m".into(),
        input: vec![Input::Text("a".into())],
        dimensions: Some(256),
        base64: true,
        user: Some("u".into()),
        purpose: Some("query".into()),
        unknown: Map::from_iter([("truncate".into(), json!("END"))]),
    };
    assert_eq!(request, Ok(expected));
}

#[track_caller]
fn check_refused(body: Value, param: &str) {
    let err = read(body).unwrap_err();
    assert_eq!((err.status, err.param.as_deref()), (400, Some(param)), "{err}");
    assert!(err.message.contains(param), "{err}");
}

#[test]
fn wrong_requests_are_refused_with_their_place() {
    check_refused(json!({ "input": "a" }), "model");
    check_refused(json!({ "model": "m" }), "input");
    check_refused(json!({ "model": "m", "input": [] }), "input");
    check_refused(json!({ "model": "m", "input": {} }), "input");
    check_refused(json!({ "model": "m", "input": "" }), "input[0]");
    check_refused(json!({ "model": "m", "input": ["a", 1] }), "input[1]");
    check_refused(json!({ "model": "m", "input": [1, -2] }), "input[0]");
    check_refused(json!({ "model": "m", "input": "a", "encoding_format": "hex" }), "encoding_format");
    check_refused(json!({ "model": "m", "input": "a", "dimensions": 0 }), "dimensions");
    check_refused(json!({ "model": "m", "input": "a", "user": 1 }), "user");
    assert_eq!(read_request(b"<").unwrap_err().status, 400);
}

#[test]
fn answers_are_numbers_or_base64() {
    let answer = Answer {
        model: None,
        vectors: vec![vec![0.1, -2.0]],
        usage: Some(Usage { input: 5, ..Usage::default() }),
    };
    let numbers = String::from_utf8(write_answer(&answer, false, &ABOUT)).unwrap();
    assert!(numbers.contains("[0.1,-2.0]"), "the shortest numbers that mean the same: {numbers}");
    let written: Value = serde_json::from_slice(&write_answer(&answer, true, &ABOUT)).unwrap();
    let embedding = json!({ "object": "embedding", "index": 0, "embedding": "zczMPQAAAMA=" });
    assert_eq!(
        written,
        json!({
            "object": "list", "data": [embedding], "model": "asked",
            "usage": { "prompt_tokens": 5, "total_tokens": 5 }, "provider": "acme",
        })
    );
}

fn request(purpose: Option<&str>) -> Request {
    Request {
        model: "m".into(),
        input: vec![Input::Text("a".into())],
        dimensions: Some(8),
        purpose: purpose.map(str::to_owned),
        user: Some("u".into()),
        ..Request::default()
    }
}

#[track_caller]
fn check_written(format: &str, purpose: Option<&str>, expected: Value, lost: &[&str]) {
    let options = Map::new();
    let (body, dropped) = body(shape(format).unwrap().write_request(request(purpose), &target(&options)));
    assert_eq!((body, dropped), (expected, lost.iter().map(|s| (*s).to_owned()).collect()), "{format}");
}

#[test]
fn each_format_has_its_own_names() {
    check_written("openai", None, json!({ "model": "m", "input": ["a"], "dimensions": 8, "user": "u" }), &[]);
    check_written(
        "cohere",
        None,
        json!({ "model": "m", "texts": ["a"], "output_dimension": 8, "input_type": "search_document",
                "embedding_types": ["float"] }),
        &["user"],
    );
    check_written(
        "ollama",
        Some("query"),
        json!({ "model": "m", "input": ["a"], "dimensions": 8 }),
        &["input_type", "user"],
    );
    check_written(
        "voyage",
        Some("RETRIEVAL_QUERY"),
        json!({ "model": "m", "input": ["a"], "output_dimension": 8, "input_type": "query" }),
        &["user"],
    );
    check_written(
        "jina",
        Some("search_document"),
        json!({ "model": "m", "input": ["a"], "dimensions": 8, "task": "retrieval.passage" }),
        &["user"],
    );
    check_written(
        "nomic",
        Some("something-new"),
        json!({ "model": "m", "texts": ["a"], "dimensionality": 8, "task_type": "something-new" }),
        &["user"],
    );
    check_written("workers-ai", None, json!({ "text": ["a"] }), &["dimensions", "user"]);
}

#[test]
fn a_callers_own_fields_go_through_and_win_over_defaults() {
    let unknown = json!({ "embedding_types": ["float", "int8"], "truncate": "END" });
    let request = Request { unknown: unknown.as_object().cloned().unwrap(), ..request(Some("query")) };
    let options = Map::new();
    let (body, _) = body(shape("cohere").unwrap().write_request(request, &target(&options)));
    assert_eq!(body["embedding_types"], json!(["float", "int8"]));
    assert_eq!((&body["truncate"], &body["input_type"]), (&json!("END"), &json!("search_query")));
}

#[test]
fn what_a_provider_does_not_take_is_refused() {
    let options = Map::new();
    let write = |input| {
        let request = Request { input, ..request(None) };
        shape("cohere").unwrap().write_request(request, &target(&options))
    };
    assert!(write(vec![Input::Text("a".into()); 96]).is_ok());
    let many = write(vec![Input::Text("a".into()); 97]).unwrap_err();
    assert!(many.message.contains("96") && many.message.contains("acme"), "{many}");
    let tokens = write(vec![Input::Text("a".into()), Input::Tokens(vec![1])]).unwrap_err();
    assert_eq!(tokens.param.as_deref(), Some("input[1]"), "{tokens}");
}

#[track_caller]
fn check_read(format: &str, answer: Value) {
    let answer = shape(format).unwrap().read_answer(answer.to_string().as_bytes()).unwrap();
    assert_eq!(answer.vectors, [vec![0.5], vec![0.25]], "{format}");
    assert_eq!(answer.usage, Some(Usage { input: 7, ..Usage::default() }), "{format}");
}

#[test]
fn answers_of_each_format_are_read() {
    let data = json!([{ "index": 1, "embedding": [0.25] }, { "index": 0, "embedding": [0.5] }]);
    let usage = json!({ "prompt_tokens": 7, "total_tokens": 7 });
    let bare = json!([[0.5], [0.25]]);
    check_read("openai", json!({ "data": data, "usage": usage }));
    check_read("voyage", json!({ "data": data, "usage": { "total_tokens": 7 } }));
    check_read("jina", json!({ "data": data, "usage": usage }));
    check_read("nomic", json!({ "embeddings": bare, "usage": usage, "model": "nomic-embed-text-v1.5" }));
    check_read("ollama", json!({ "embeddings": bare, "prompt_eval_count": 7 }));
    let billed = json!({ "billed_units": { "input_tokens": 7 } });
    check_read("cohere", json!({ "id": "x", "embeddings": { "float": bare }, "meta": billed }));
    let result = json!({ "shape": [2, 1], "data": bare, "usage": usage });
    check_read("workers-ai", json!({ "result": result, "success": true }));
    let cohere = |body: &str| shape("cohere").unwrap().read_answer(body.as_bytes()).unwrap_err();
    for (body, words) in [
        ("<", "not a JSON object"),
        ("{}", "embeddings.float"),
        (r#"{"embeddings":{"float":[[1],["x"]]}}"#, "[1]"),
        (r#"{"embeddings":{"float":[[1e300]]}}"#, "[0]"),
    ] {
        assert!(cohere(body).contains(words), "{body}: {}", cohere(body));
    }
}

proptest! {
    #[test]
    fn vectors_survive_the_way_through(vectors in prop::collection::vec(prop::collection::vec(-1e30_f32..1e30, 1..5), 0..4)) {
        let answer = Answer { model: Some("m".into()), vectors, usage: Some(Usage { input: 3, ..Usage::default() }) };
        let written = write_answer(&answer, false, &ABOUT);
        prop_assert_eq!(shape("openai").unwrap().read_answer(&written), Ok(answer));
    }

    #[test]
    fn anything_is_read_or_refused(document in documents(&["model", "input", "data", "embedding", "embeddings", "float", "index", "usage", "result"])) {
        let document = document.to_string();
        let _ = read_request(document.as_bytes());
        for format in shapes() {
            let _ = shape(format).unwrap().read_answer(document.as_bytes());
        }
    }
}
