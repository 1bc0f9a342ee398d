//! Tests of what callers are told.

use super::*;
use crate::Config;
use crate::config::HeaderOptions;

fn body(err: &ApiError) -> Value {
    serde_json::from_slice(&err.body()).unwrap()
}

#[test]
fn both_kinds_of_clients_find_their_message() {
    let err = ApiError::bad_request("model", "invalid_type", "`model` is a number").with_retry_after(3);
    let told = body(&err);
    assert_eq!((&told["status"], &told["message"]), (&json!("failure"), &json!("`model` is a number")));
    assert_eq!(
        told["error"],
        json!({ "message": "`model` is a number", "type": "invalid_request_error", "param": "model", "code": "invalid_type" })
    );
    assert_eq!(told.get("errors"), None);
    let told = body(&err.in_portkeys_words("Invalid model"));
    assert_eq!(
        (&told["message"], &told["error"]["message"]),
        (&json!("Invalid model"), &json!("`model` is a number"))
    );
}

#[test]
fn anthropics_clients_find_their_shape() {
    let err = ApiError::bad_request("max_tokens", "missing_required_parameter", "`max_tokens` is missing");
    let told: Value = serde_json::from_slice(&err.body_for(Operation::Messages)).unwrap();
    let error = json!({
        "type": "invalid_request_error", "message": "`max_tokens` is missing",
        "param": "max_tokens", "code": "missing_required_parameter",
        "details": { "error_code": "missing_required_parameter" },
    });
    assert_eq!(told, json!({ "type": "error", "error": error }));
    assert_eq!(err.body_for(Operation::Responses), err.body());
    for (status, kind) in [
        (429, "rate_limit_error"),
        (529, "overloaded_error"),
        (500, "api_error"),
        (409, "invalid_request_error"),
    ] {
        assert_eq!(anthropic_type(status), kind);
    }
}

#[track_caller]
fn check(config: &str, forward: Option<&str>, message: &str, errors: bool) {
    let forward_headers = forward.map(|name| vec![name.to_owned()]);
    let err =
        Config::parse(config, &HeaderOptions { forward_headers, ..HeaderOptions::default() }).unwrap_err();
    let told = body(&ApiError::bad_config(config, &err));
    assert_eq!(told["message"], message, "{config}");
    assert_eq!(told["errors"].is_array(), errors, "{told}");
    assert_eq!(told["error"]["param"], err.path, "our own words name the place");
}

#[test]
fn mistakes_in_configs_are_told_in_portkeys_words() {
    check("{nonsense", None, NOT_JSON, false);
    check("{}", None, NO_PROVIDER, false);
    check(r#"{"retry":{"attempts":1}}"#, None, NO_PROVIDER, false);
    check(r#"{"provider":"openai","options":[{"provider":"openai"}]}"#, None, LEGACY, false);
    check(r#"{"mode":"single","options":[{"provider":"openai"}]}"#, None, LEGACY, false);
    check(
        r#"{"provider":"openai","forward_headers":["X-Portkey-Forward-Headers"]}"#,
        None,
        FORWARDS_ITSELF,
        false,
    );
    check(r#"{"provider":"openai"}"#, Some("x-portkey-forward-headers"), FORWARDS_ITSELF, false);
    check(r#"{"strategy":{"mode":"nope"},"targets":[{"provider":"openai"}]}"#, None, INVALID_CONFIG, true);
    check(r#"{"provider":"openai","retry":{"attempts":"many"}}"#, None, INVALID_CONFIG, true);
}

#[test]
fn mistakes_in_conditions_are_told_by_themselves() {
    let config =
        |strategy: Value| json!({ "strategy": strategy, "targets": [{ "name": "a", "provider": "openai" }] });
    let led_to = |query: Value, then: &str| {
        config(json!({ "mode": "conditional", "conditions": [{ "query": query, "then": then }] }))
    };
    for (config, message) in [
        (
            led_to(json!({ "metadata.plan": { "$like": 1 } }), "a"),
            "Unsupported operator used in the query router: $like",
        ),
        (led_to(json!({ "$not": [] }), "a"), "Unsupported operator used in the query router: $not"),
        (led_to(json!({}), "b"), "Invalid target name found in the query router: b"),
        (
            config(json!({ "mode": "conditional", "conditions": [] })),
            "No conditions passed in the query router",
        ),
        (config(json!({ "mode": "conditional" })), "No conditions passed in the query router"),
    ] {
        check(&config.to_string(), None, message, false);
    }
}

#[test]
fn errors_in_a_config_name_their_path() {
    let config = r#"{"strategy":{"mode":"nope"},"targets":[{"provider":"openai"}]}"#;
    let err = Config::parse(config, &HeaderOptions::default()).unwrap_err();
    let told = body(&ApiError::bad_config(config, &err));
    assert!(told["errors"][0].as_str().unwrap().starts_with("path: strategy.mode, message: "), "{told}");
}
