//! Reranking: the dialect and every format of the table.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::testing::{ABOUT, body, documents, target};

fn read(body: Value) -> Result<Request, domain::ApiError> {
    read_request(body.to_string().as_bytes())
}

fn request() -> Request {
    read(json!({
        "model": "m", "query": "q", "documents": ["a", { "text": "b" }], "top_n": 1, "return_documents": true,
        "max_tokens_per_doc": 9, "truncation": true, "user": null,
    }))
    .unwrap()
}

#[test]
fn a_request_is_read() {
    let expected = Request {
        model: "m".into(),
        query: "q".into(),
        documents: vec![json!("a"), json!({ "text": "b" })],
        top_n: Some(1),
        return_documents: Some(true),
        max_tokens_per_doc: Some(9),
        unknown: Map::from_iter([("truncation".into(), json!(true))]),
    };
    assert_eq!(request(), expected);
}

#[track_caller]
fn check_refused(field: &str, value: Value, param: &str) {
    let mut body = json!({ "model": "m", "query": "q", "documents": ["a"] });
    body[field] = value;
    let err = read(body).unwrap_err();
    assert_eq!((err.status, err.param.as_deref()), (400, Some(param)), "{err}");
    assert!(err.message.contains(param), "{err}");
}

#[test]
fn wrong_requests_are_refused_with_their_place() {
    check_refused("model", Value::Null, "model");
    check_refused("query", json!(""), "query");
    check_refused("documents", json!([]), "documents");
    check_refused("documents", json!("a"), "documents");
    check_refused("documents", json!(["a", 1]), "documents[1]");
    check_refused("top_n", json!(0), "top_n");
    check_refused("top_n", json!("3"), "top_n");
    check_refused("return_documents", json!(1), "return_documents");
    check_refused("max_tokens_per_doc", json!(-1), "max_tokens_per_doc");
    assert_eq!(read_request(b"[").unwrap_err().status, 400);
}

#[track_caller]
fn check_written(format: &str, expected: Value, lost: &[&str]) {
    let options = Map::new();
    let (body, dropped) = body(shape(format).unwrap().write_request(request(), &target(&options)));
    assert_eq!((body, dropped), (expected, lost.iter().map(|s| (*s).to_owned()).collect()), "{format}");
}

#[test]
fn each_format_has_its_own_names() {
    check_written(
        "cohere",
        json!({ "model": "m", "query": "q", "documents": ["a", "b"], "top_n": 1, "max_tokens_per_doc": 9,
                "truncation": true }),
        &["return_documents"],
    );
    check_written(
        "jina",
        json!({ "model": "m", "query": "q", "documents": ["a", { "text": "b" }], "top_n": 1,
                "return_documents": true, "truncation": true }),
        &["max_tokens_per_doc"],
    );
    check_written(
        "voyage",
        json!({ "model": "m", "query": "q", "documents": ["a", "b"], "top_k": 1, "return_documents": true,
                "truncation": true }),
        &["max_tokens_per_doc"],
    );
    check_written(
        "pinecone",
        json!({ "model": "m", "query": "q", "documents": [{ "text": "a" }, { "text": "b" }], "top_n": 1,
                "return_documents": true, "truncation": true, "rank_fields": ["text"] }),
        &["max_tokens_per_doc"],
    );
}

#[test]
fn objects_lose_nothing_in_silence_where_texts_are_wanted() {
    let options = Map::new();
    let write = |documents: Value| {
        let documents = documents.as_array().cloned().unwrap();
        let request = Request { documents, ..Request::default() };
        shape("cohere").unwrap().write_request(request, &target(&options))
    };
    let (body, dropped) = body(write(json!([{ "text": "a", "title": "t" }])));
    assert_eq!((&body["documents"], dropped), (&json!(["a"]), vec!["documents[0].title".to_owned()]));
    let err = write(json!(["a", { "title": "t" }])).unwrap_err();
    assert_eq!(err.param.as_deref(), Some("documents[1].text"), "{err}");
}

#[track_caller]
fn check_read(format: &str, answer: Value, units: Option<u64>, tokens: Option<u64>) {
    let answer = shape(format).unwrap().read_answer(answer.to_string().as_bytes()).unwrap();
    let expected = Ranked { index: 1, relevance_score: 0.9, document: Some(json!({ "text": "b" })) };
    assert_eq!(answer.results, [expected], "{format}");
    assert_eq!((answer.search_units, answer.tokens), (units, tokens), "{format}");
}

#[test]
fn answers_of_each_format_are_read() {
    let results = json!([{ "index": 1, "relevance_score": 0.9, "document": { "text": "b" } }]);
    let meta = json!({ "billed_units": { "search_units": 2 } });
    check_read("cohere", json!({ "id": "x", "results": results, "meta": meta }), Some(2), None);
    let usage = json!({ "total_tokens": 8 });
    check_read("jina", json!({ "model": "j", "results": results, "usage": usage }), None, Some(8));
    let data = json!([{ "index": 1, "relevance_score": 0.9, "document": "b" }]);
    check_read("voyage", json!({ "object": "list", "data": data, "usage": usage }), None, Some(8));
    let data = json!([{ "index": 1, "score": 0.9, "document": { "text": "b" } }]);
    check_read("pinecone", json!({ "data": data, "usage": { "rerank_units": 3 } }), Some(3), None);
    for (body, words) in [
        ("<", "not a JSON object"),
        ("{}", "`results`"),
        (r#"{"results":[{"index":0}]}"#, "results[0]"),
        (r#"{"results":[{"index":-1,"relevance_score":1}]}"#, "results[0]"),
    ] {
        let err = shape("cohere").unwrap().read_answer(body.as_bytes()).unwrap_err();
        assert!(err.contains(words), "{body}: {err}");
    }
}

#[test]
fn an_answer_is_written() {
    let answer = Answer {
        results: vec![
            Ranked { index: 1, relevance_score: 0.9, document: Some(json!({ "text": "b" })) },
            Ranked { index: 0, relevance_score: 0.1, document: None },
        ],
        search_units: Some(1),
        ..Answer::default()
    };
    let written: Value = serde_json::from_slice(&write_answer(&answer, &ABOUT)).unwrap();
    assert_eq!(
        written,
        json!({
            "object": "list", "id": "id-1", "model": "asked", "provider": "acme", "usage": { "search_units": 1 },
            "results": [
                { "index": 1, "relevance_score": 0.9, "document": { "text": "b" } },
                { "index": 0, "relevance_score": 0.1 },
            ],
        })
    );
}

proptest! {
    #[test]
    fn anything_is_read_or_refused(document in documents(&["model", "query", "documents", "text", "results", "data", "index", "score", "relevance_score", "meta"])) {
        let document = document.to_string();
        let _ = read_request(document.as_bytes());
        for format in shapes() {
            let _ = shape(format).unwrap().read_answer(document.as_bytes());
        }
    }
}
