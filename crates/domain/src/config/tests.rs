//! What a routing document may say, and how it is refused.

pub(crate) mod generate;
mod schema;

use super::*;

fn parse(json: &str) -> Result<Config, ConfigError> {
    Config::parse(json, &HeaderOptions::default())
}

#[track_caller]
fn refused(json: &str, path: &str, part: &str) {
    let err = parse(json).unwrap_err();
    assert_eq!(err.path, path, "{}", err.message);
    assert!(err.message.contains(part), "{}", err.message);
}

#[test]
fn bad_configs_name_the_place_and_the_fix() {
    refused("{", "config", "not valid JSON");
    refused("[]", "config", "JSON object");
    refused("{}", "config.provider", "name a provider");
    refused(r#"{"provider":7}"#, "config.provider", "write a string");
    refused(r#"{"strategy":{"mode":"fallback"}}"#, "config", "without `targets`");
    refused(r#"{"targets":[{"provider":"a"}]}"#, "config", "without `strategy`");
    refused(r#"{"strategy":{"mode":"fallback"},"targets":[]}"#, "config.targets", "is empty");
    refused(
        r#"{"strategy":{"mode":"roundrobin"},"targets":[{"provider":"a"}]}"#,
        "config.strategy.mode",
        "`loadbalance`",
    );
    refused(
        r#"{"strategy":{"mode":"single","on_status_codes":[500]},"targets":[{"provider":"a"}]}"#,
        "config.strategy.on_status_codes",
        "fallback",
    );
    refused(
        r#"{"strategy":{"mode":"loadbalance"},"targets":[{"provider":"a","weight":0}]}"#,
        "config.targets",
        "all weights are 0",
    );
    refused(
        r#"{"strategy":{"mode":"loadbalance"},"targets":[{"provider":"a","weight":-1}]}"#,
        "config.targets[0].weight",
        "not negative",
    );
    refused(r#"{"provider":"a","retry":{"attempts":"3"}}"#, "config.retry.attempts", "number of retries");
    refused(
        r#"{"provider":"a","retry":{"attempts":1,"on_status_codes":[42]}}"#,
        "config.retry.on_status_codes[0]",
        "100 to 599",
    );
    refused(r#"{"provider":"a","request_timeout":20}"#, "config.request_timeout", "\"20s\"");
    refused(
        r#"{"provider":"a","request_timeuot":20000}"#,
        "config.request_timeuot",
        "did you mean `request_timeout`",
    );
    refused(
        r#"{"provider":"a","overrideParams":{}}"#,
        "config.overrideParams",
        "did you mean `override_params`",
    );
    refused(r#"{"provider":"a","input_guardrails":[]}"#, "config.input_guardrails", "not offered");
    refused(
        r#"{"strategy":{"mode":"fallback"},"targets":[{"provider":"a"},{"weight":1}]}"#,
        "config.targets[1].provider",
        "missing",
    );
    refused(
        r#"{"provider":"a","forward_headers":["x-portkey-forward-headers"]}"#,
        "config.forward_headers[0]",
        "itself",
    );
    refused(r#"{"provider":"a","forward_headers":["a b"]}"#, "config.forward_headers[0]", "name of a header");
    refused(
        r#"{"provider":"a","strategy":{"mode":"single"},"targets":[{"provider":"b"}]}"#,
        "config.provider",
        "move it into `targets`",
    );
}

#[test]
fn targets_inherit_what_they_do_not_say_themselves() {
    let config = parse(
        r#"{"strategy":{"mode":"fallback"},"retry":{"attempts":9},"request_timeout":"20s","strict_open_ai_compliance":false,
            "override_params":{"a":1,"b":1},
            "targets":[{"provider":"@one","override_params":{"b":2}},
                       {"provider":"two","retry":{"attempts":1,"on_status_codes":[418]},"request_timeout":500}]}"#,
    )
    .unwrap();
    let targets: Vec<&Target> = config.targets().collect();
    assert_eq!((targets[0].provider.as_str(), targets[0].retry.attempts), ("one", 5));
    assert_eq!(serde_json::to_string(&targets[0].override_params).unwrap(), r#"{"a":1,"b":2}"#);
    assert_eq!(targets[0].request_timeout, Some(Duration::from_secs(20)));
    assert!(!targets[0].strict_open_ai_compliance);
    assert_eq!(targets[1].retry.on_status_codes, [418]);
    assert_eq!(targets[1].request_timeout, Some(Duration::from_millis(500)));
    assert_eq!(targets[1].path, "config.targets[1]");
    assert_eq!(config.max_attempts(), 6 + 2);
}

#[test]
fn headers_fill_an_empty_config_and_beat_a_full_one() {
    let headers = HeaderOptions {
        provider: Some("groq".into()),
        api_key: Some("sealed:k".into()),
        custom_host: Some("https://llm.example.com/v1".into()),
        request_timeout: Some(Duration::from_secs(1)),
        ..HeaderOptions::default()
    };
    let config = Config::parse(r#"{"retry":{"attempts":1}}"#, &headers).unwrap();
    let target = config.targets().next().unwrap();
    assert_eq!((target.provider.as_str(), target.api_key.as_deref()), ("groq", Some("sealed:k")));
    assert_eq!((target.path.as_str(), target.retry.attempts), ("config", 1));
    let config = Config::parse(
        r#"{"provider":"a","custom_host":"https://other.example.com","request_timeout":9000}"#,
        &headers,
    )
    .unwrap();
    let target = config.targets().next().unwrap();
    assert_eq!((target.provider.as_str(), target.api_key.as_deref()), ("a", None));
    assert_eq!(target.custom_host.as_deref(), Some("https://llm.example.com/v1"));
    assert_eq!(target.request_timeout, Some(Duration::from_secs(1)));
}

#[test]
fn credentials_are_sealed_at_any_depth_and_nowhere_else() {
    let mut document: Value = serde_json::from_str(
        r#"{"strategy":{"mode":"fallback"},"targets":[
            {"provider":"a","api_key":"sk-1","override_params":{"api_key":"data"}},
            {"provider":"b","aws_secret_access_key":"sk-2","vertex_service_account_json":{"private_key":"sk-3"}},
            {"provider":"c","api_key":"sealed:x"}]}"#,
    )
    .unwrap();
    assert_eq!(clear_credential(&document).as_deref(), Some("config.targets[0].api_key"));
    assert_eq!(seal_credentials(&mut document, &mut |_| "sealed:y".to_owned()), 3);
    let text = document.to_string();
    assert!(!text.contains("sk-") && text.contains("\"data\""), "{text}");
    assert_eq!(clear_credential(&document), None);
}

#[test]
fn debug_output_has_no_credential() {
    let config = parse(r#"{"provider":"a","api_key":"sk-canary"}"#).unwrap();
    assert!(!format!("{config:?}").contains("canary"));
    let headers = HeaderOptions { api_key: Some("sk-canary".into()), ..HeaderOptions::default() };
    assert!(!format!("{headers:?}").contains("canary"));
}

#[test]
fn errors_show_no_text_that_may_be_a_secret() {
    let err = parse(r#"{"provider":"a","api_key":["sk-canary"]}"#).unwrap_err();
    assert_eq!((err.path.as_str(), err.message.as_str()), ("config.api_key", "is an array; write a string"));
}

#[test]
fn what_is_null_counts_as_absent() {
    let config = parse(
        r#"{"provider":"a","strategy":null,"targets":null,"retry":null,"cache":null,"prompt_id":null,"weight":null}"#,
    );
    assert_eq!(config, parse(r#"{"provider":"a"}"#));
}

#[test]
fn a_target_is_named_by_its_virtual_key_then_its_provider_then_its_model() {
    for (json, provider, model) in [
        (r#"{"provider":"openai","virtual_key":"openai-prod"}"#, "openai-prod", None),
        (r#"{"override_params":{"model":"@oai/gpt-4o"}}"#, "oai", Some("gpt-4o")),
        (r#"{"provider":"a","override_params":{"model":"@oai/gpt-4o"}}"#, "a", Some("@oai/gpt-4o")),
    ] {
        let config = parse(json).unwrap();
        let target = config.targets().next().unwrap();
        assert_eq!(target.provider, provider, "{json}");
        assert_eq!(target.override_params.get("model").and_then(Value::as_str), model, "{json}");
    }
    refused(r#"{"override_params":{"model":"@cf/meta/llama"}}"#, "config.provider", "x-portkey-provider");
}

#[test]
fn strictness_is_loosened_by_the_header_or_the_config() {
    for (header, document, strict) in [
        (None, "", true),
        (Some(true), ",false", false),
        (Some(false), ",true", false),
        (Some(true), ",true", true),
    ] {
        let said = document
            .strip_prefix(',')
            .map_or(String::new(), |v| format!(r#","strict_open_ai_compliance":{v}"#));
        let headers = HeaderOptions { strict_open_ai_compliance: header, ..HeaderOptions::default() };
        let config = Config::parse(&format!(r#"{{"provider":"a"{said}}}"#), &headers).unwrap();
        assert_eq!(
            config.targets().next().unwrap().strict_open_ai_compliance,
            strict,
            "{header:?} {document}"
        );
    }
}

#[test]
fn a_credential_is_known_in_any_spelling_and_a_virtual_key_is_none() {
    for key in ["apiKey", "api-key", "API_KEY", "awsSessionToken", "password", "azure_entra_client_secret"] {
        let mut document = serde_json::json!({ key: "sk-canary" });
        assert_eq!(clear_credential(&document), Some(format!("config.{key}")));
        assert_eq!(seal_credentials(&mut document, &mut |_| "sealed:y".to_owned()), 1, "{key}");
        assert!(!document.to_string().contains("canary"), "{key}");
    }
    let mut document = serde_json::json!({"virtual_key": "openai-prod", "api_key": "", "ad_token": null});
    assert_eq!(clear_credential(&document), None);
    assert_eq!(seal_credentials(&mut document, &mut |_| "sealed:y".to_owned()), 0);
}
