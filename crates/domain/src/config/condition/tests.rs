//! The query language by table, operator by operator.

use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy as Generator, any, prop, prop_assert_eq, prop_oneof, proptest};
use serde_json::json;

use super::*;
use crate::{Lane, Operation, Timestamp};

/// 2026-11-21 is a Saturday; this is 14:30 UTC.
const SATURDAY_AFTERNOON: Timestamp = Timestamp(1_795_271_400_000);

fn with_facts<T>(metadata: &Value, params: &Value, use_them: impl FnOnce(&RequestFacts<'_>) -> T) -> T {
    let headers: BTreeMap<String, String> = [("x-tier".to_owned(), "gold".to_owned())].into();
    use_them(&RequestFacts {
        operation: Operation::Chat,
        lane: Lane::Bulk,
        path: "/v1/chat/completions",
        model: None,
        params: Some(params),
        body_bytes: 4001,
        metadata: metadata.as_object(),
        headers: &headers,
        key_id: None,
        accepted_at: SATURDAY_AFTERNOON,
    })
}

fn matches(query: &Value, metadata: &Value, params: &Value) -> bool {
    let query = parse::query(query, "query").unwrap();
    with_facts(metadata, params, |facts| query.matches(facts))
}

#[track_caller]
fn check(query: Value, expected: bool) {
    let metadata = json!({"plan": "paid", "seats": "12", "region": "eu", "empty": ""});
    let params = json!({
        "model": "gpt-4o", "max_tokens": 1000, "stream": true, "user": null, "n": 2.0,
        "tools": [{"type": "function"}], "stop": ["a", "b"], "prompt": "grüß",
        "messages": [{"role": "user", "content": "hello"}], "stream_options": {"include_usage": false}
    });
    assert_eq!(matches(&query, &metadata, &params), expected, "{query}");
}

#[test]
fn every_operator() {
    check(json!({"metadata.plan": "paid"}), true);
    check(json!({"metadata.plan": {"$eq": "paid"}}), true);
    check(json!({"metadata.plan": {"$eq": "free"}}), false);
    check(json!({"metadata.plan": {"$ne": "free"}}), true);
    check(json!({"metadata.plan": {"$ne": "paid"}}), false);
    check(json!({"params.max_tokens": {"$gt": 999}}), true);
    check(json!({"params.max_tokens": {"$gt": 1000}}), false);
    check(json!({"params.max_tokens": {"$gte": 1000}}), true);
    check(json!({"params.max_tokens": {"$lt": 1000}}), false);
    check(json!({"params.max_tokens": {"$lte": "1000"}}), true);
    check(json!({"metadata.seats": {"$gt": 9}}), true);
    check(json!({"metadata.region": {"$in": ["eu", "uk"]}}), true);
    check(json!({"metadata.region": {"$in": []}}), false);
    check(json!({"metadata.region": {"$nin": ["eu", "uk"]}}), false);
    check(json!({"metadata.region": {"$nin": ["us"]}}), true);
    check(json!({"params.model": {"$regex": "^gpt-"}}), true);
    check(json!({"params.model": {"$regex": "PT"}}), false);
    check(json!({"params.model": {"$regex": "pt"}}), true);
    check(json!({"params.max_tokens": {"$regex": "^10+$"}}), true);
    check(json!({"url.pathname": {"$regex": "/completions$"}}), true);
}

#[test]
fn equality_is_strict_and_numbers_are_equal_by_value() {
    check(json!({"metadata.seats": 12}), false);
    check(json!({"metadata.seats": "12"}), true);
    check(json!({"params.n": 2}), true);
    check(json!({"params.stream": true}), true);
    check(json!({"params.stream": "true"}), false);
    check(json!({"params.user": null}), true);
    check(json!({"params.absent": null}), false);
    check(json!({"params.stop": {"$in": ["a", "b"]}}), false);
    check(json!({"params.max_tokens": {"$in": [1000.0]}}), true);
}

#[test]
fn what_is_missing_holds_for_ne_and_nin_only() {
    check(json!({"metadata.absent": "x"}), false);
    check(json!({"metadata.absent": {"$ne": "x"}}), true);
    check(json!({"metadata.absent": {"$nin": ["x"]}}), true);
    for operator in ["$eq", "$gt", "$gte", "$lt", "$lte"] {
        check(json!({"params.absent": {operator: "1"}}), false);
    }
    check(json!({"params.absent": {"$in": ["undefined"]}}), false);
    check(json!({"params.absent": {"$regex": ".*"}}), false);
    check(json!({"headers.x-absent": {"$ne": "gold"}}), true);
}

#[test]
fn several_operators_and_several_keys_must_all_hold() {
    check(json!({"params.max_tokens": {"$gt": 1, "$lt": 5000}}), true);
    check(json!({"params.max_tokens": {"$gt": 1, "$lt": 10}}), false);
    check(json!({"metadata.plan": "paid", "metadata.region": "us"}), false);
    check(json!({"metadata.plan": "paid", "metadata.region": "eu"}), true);
    check(json!({}), true);
}

#[test]
fn regex_and_or_decide_at_once() {
    check(json!({"params.model": {"$regex": "^gpt", "$eq": "other"}}), true);
    check(json!({"params.model": {"$eq": "other", "$regex": "^gpt"}}), false);
    check(json!({"$or": [{"metadata.plan": "paid"}], "metadata.region": "us"}), true);
    check(json!({"metadata.region": "us", "$or": [{"metadata.plan": "paid"}]}), false);
    check(json!({"$and": [{"metadata.plan": "paid"}], "metadata.region": "us"}), true);
    check(json!({"$or": [{"metadata.plan": "free"}, {"$and": [{"metadata.plan": "paid"}, {}]}]}), true);
    check(json!({"$and": [{"metadata.plan": "paid"}, {"metadata.plan": "free"}]}), false);
}

#[test]
fn numbers_are_read_as_javascript_reads_them() {
    for (text, number) in [
        ("12", 12.0),
        ("  12px", 12.0),
        ("-1.5e3x", -1500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e", 1.0),
        ("1e+", 1.0),
        ("+7", 7.0),
        ("-Infinity and more", f64::NEG_INFINITY),
        ("0x10", 0.0),
    ] {
        assert_eq!(parse_float(&json!(text)), number, "{text}");
    }
    for text in ["", "x1", ".", "-", "e5", "+-1", "ü"] {
        assert!(parse_float(&json!(text)).is_nan(), "{text}");
    }
    assert!(parse_float(&json!(true)).is_nan() && parse_float(&Value::Null).is_nan());
    assert_eq!(parse_float(&json!(["7", 8])), 7.0);
}

#[test]
fn keys_reach_as_deep_as_the_body_and_two_segments_keep_their_meaning() {
    check(json!({"params.tools[0].type": "function"}), true);
    check(json!({"params.tools[1].type": "function"}), false);
    check(json!({"params.messages[0].content.length": 5}), true);
    check(json!({"body.messages.length": {"$lte": 1}}), true);
    check(json!({"params.prompt.length": 4}), true);
    check(json!({"params.stream_options.include_usage": false}), true);
    check(json!({"params.stream_options.include_usage.deeper": false}), false);
    // Portkey looks at two segments.
    check(json!({"metadata.plan.anything": "paid"}), true);
    check(json!({"params.model.a.b": "gpt-4o"}), true);
    assert!(matches(&json!({"params.a[0]": 1}), &json!({}), &json!({"a[0]": 1, "a": [2]})));
    assert!(matches(&json!({"params.a[0]": 2}), &json!({}), &json!({"a": [2]})));
}

#[test]
fn the_request_itself_can_be_asked_about() {
    check(json!({"headers.X-Tier": "gold"}), true);
    check(json!({"request.lane": "bulk", "request.operation": "chat"}), true);
    check(json!({"request.input_tokens": {"$gte": 1000}}), true);
    check(json!({"request.input_tokens": {"$gt": 1000}}), false);
    check(json!({"request.hour": 14, "request.weekday": "saturday"}), true);
    check(json!({"request.weekday": {"$in": ["monday", "friday"]}}), false);
}

#[track_caller]
fn refused(query: Value, path: &str, part: &str) {
    let err = parse::query(&query, "q").unwrap_err();
    assert_eq!(err.path, path, "{}", err.message);
    assert!(err.message.contains(part), "{}", err.message);
}

#[test]
fn impossible_queries_name_the_place_and_the_fix() {
    refused(json!([]), "q", "JSON object");
    refused(json!({"$or": {}}), "q.$or", "array of queries");
    refused(json!({"$or": []}), "q.$or", "is empty");
    refused(json!({"$not": []}), "q.$not", "Unsupported operator used in the query router: $not");
    refused(
        json!({"$or": [{}, {"metadata.a": {"$in": "x"}}]}),
        "q.$or[1].metadata.a.$in",
        "is a string; write an array",
    );
    refused(json!({"params.a": {"$gte": {}}}), "q.params.a.$gte", "write a number");
    refused(json!({"params.a": {"$gt": "many"}}), "q.params.a.$gt", "write a number");
    refused(json!({"params.a": {"$eq": []}}), "q.params.a.$eq", "text, a number");
    refused(json!({"params.a": {"$in": [[1]]}}), "q.params.a.$in[0]", "text, a number");
    refused(json!({"params.a": {"$regex": "("}}), "q.params.a.$regex", "unclosed group");
    refused(json!({"params.a": {"$regex": "(?=x)"}}), "q.params.a.$regex", "look-around");
    refused(json!({"params.a": {"$regex": 7}}), "q.params.a.$regex", "regular expression as text");
    refused(json!({"params.a": {"$regx": "x"}}), "q.params.a.$regx", "did you mean `$regex`");
    refused(json!({"params.a": {}}), "q.params.a", "has no operator");
    refused(json!({"params.a": ["x"]}), "q.params.a", "write `{\"$in\"");
    refused(json!({"model": "x"}), "q.model", "`params.model`");
    refused(json!({"context.model": "x"}), "q.context.model", "begins with none of");
    refused(json!({"url.host": "x"}), "q.url.host", "`url.pathname` only");
    refused(json!({"request.age": "x"}), "q.request.age", "`request.weekday`");
    refused(json!({"params.tools[*].type": "x"}), "q.params.tools[*].type", "write an index");
    refused(json!({"params.": "x"}), "q.params.", "no way into");
}

fn any_json() -> impl Generator<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c0-9.eE+\\- ü]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[ab]|length", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Queries over few keys, so that they meet what is there.
pub(in crate::config) fn any_query() -> impl Generator<Value = Value> {
    let key = prop::sample::select(vec![
        "params.a",
        "params.b",
        "params.a[0]",
        "params.a.b.length",
        "body.b.a[1].b",
        "metadata.a",
        "headers.x-a",
        "url.pathname",
        "request.hour",
        "request.input_tokens",
    ]);
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9i64..9).prop_map(Value::from),
        "[ab0-9.]{0,3}".prop_map(Value::from)
    ];
    let test = prop_oneof![
        value.clone(),
        (prop::sample::select(vec!["$eq", "$ne"]), value.clone()).prop_map(|(op, v)| json!({op: v})),
        (prop::sample::select(vec!["$gt", "$gte", "$lt", "$lte"]), -9i64..9)
            .prop_map(|(op, n)| json!({op: n})),
        (prop::sample::select(vec!["$in", "$nin"]), prop::collection::vec(value, 0..3))
            .prop_map(|(op, list)| json!({op: list})),
        prop::sample::select(vec!["^a", "[0-9]+", "b$"]).prop_map(|p| json!({"$regex": p, "$ne": 1})),
    ];
    let fields = prop::collection::btree_map(key, test, 0..3)
        .prop_map(|map| Value::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()));
    fields.prop_recursive(2, 6, 3, |inner| {
        (prop::sample::select(vec!["$and", "$or"]), prop::collection::vec(inner, 1..3))
            .prop_map(|(op, queries)| json!({op: queries, "params.a": 1}))
    })
}

proptest! {
    #[test]
    fn no_request_makes_a_condition_fail(query in any_query(), params in any_json(), metadata in any_json()) {
        let parsed = parse::query(&query, "q").unwrap();
        let once = with_facts(&metadata, &params, |facts| parsed.matches(facts));
        prop_assert_eq!(once, with_facts(&metadata, &params, |facts| parsed.matches(facts)));
    }

    #[test]
    fn a_query_prints_as_it_was_written(query in any_query()) {
        prop_assert_eq!(parse::query(&query, "q").unwrap().to_json(), query);
    }

    #[test]
    fn any_text_is_read_as_a_number_or_not(text in "\\PC{0,8}") {
        parse_float(&Value::from(text));
    }
}
