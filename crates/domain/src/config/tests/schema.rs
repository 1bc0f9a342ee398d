//! The whole schema: what is read, what is inherited, what is refused, and that it prints and parses back.

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use serde_json::json;

use super::generate::any_document;
use super::*;
use crate::fault::Fault;
use crate::model::{Capability, PicoUsd};

#[track_caller]
fn only(json: &str) -> Target {
    let config = parse(json).unwrap();
    config.targets().next().cloned().unwrap()
}

#[track_caller]
fn group(strategy: &str) -> Group {
    let targets = r#"[{"name":"x","provider":"a"},{"name":"y","provider":"b"}]"#;
    match parse(&format!(r#"{{"strategy":{strategy},"targets":{targets}}}"#)).unwrap().root {
        Node::Group(group) => group,
        Node::Target(_) => panic!("a target"),
    }
}

#[track_caller]
fn refused_strategy(strategy: &str, path: &str, part: &str) {
    let targets = r#"[{"name":"x","provider":"a"},{"provider":"b"}]"#;
    refused(&format!(r#"{{"strategy":{strategy},"targets":{targets}}}"#), path, part);
}

#[test]
fn strategies_say_all_that_belongs_to_them() {
    assert_eq!(
        group(r#"{"mode":"fallback","on_status_codes":[429],"on":["context_length"],"time_budget":"20s"}"#)
            .strategy,
        Strategy::Fallback { on_status_codes: Some(vec![429]), on: Some(vec![Fault::ContextLength]) }
    );
    assert_eq!(
        group(r#"{"mode":"least_busy","time_budget":1500}"#).time_budget,
        Some(Duration::from_millis(1500))
    );
    let Strategy::LoadBalance { sticky: Some(sticky) } =
        group(r#"{"mode":"loadbalance","sticky":{"enabled":true,"hash_fields":["metadata.a"]}}"#).strategy
    else {
        panic!("not sticky")
    };
    assert_eq!(sticky.ttl, Duration::from_secs(3600), "the documented default, not the code's 300");
    let off = group(r#"{"mode":"loadbalance","sticky":{"enabled":false,"ttl":5}}"#).strategy;
    assert_eq!(off, Strategy::LoadBalance { sticky: None });
    let breaker =
        group(r#"{"mode":"single","cb_config":{"failure_threshold":5,"cooldown_interval":30000}}"#).breaker;
    let breaker = breaker.unwrap();
    assert_eq!((breaker.failure_threshold, breaker.minimum_requests), (Some(5), 5));
    let Strategy::Conditional { conditions, default } =
        group(r#"{"mode":"conditional","conditions":[{"query":{},"then":"y"}],"default":"x"}"#).strategy
    else {
        panic!("not conditional")
    };
    assert_eq!((conditions[0].then, default), (1, Some(0)));
}

#[test]
fn bad_strategies_name_the_place_and_the_fix() {
    let strategy = "config.strategy";
    refused_strategy(r#"{"mode":"loadbalance","on":["timeout"]}"#, "config.strategy.on", "`fallback`");
    refused_strategy(r#"{"mode":"fallback","on":["slow"]}"#, "config.strategy.on[0]", "`rate_limit`");
    refused_strategy(r#"{"mode":"fallback","sticky":{}}"#, "config.strategy.sticky", "`loadbalance`");
    refused_strategy(r#"{"mode":"fallback","default":"x"}"#, "config.strategy.default", "`conditional`");
    refused_strategy(r#"{"mode":"fallback","time_budget":20}"#, "config.strategy.time_budget", "20s");
    refused_strategy(
        r#"{"mode":"fallback","onStatusCodes":[]}"#,
        "config.strategy.onStatusCodes",
        "`on_status_codes`",
    );
    refused_strategy(
        r#"{"mode":"conditional"}"#,
        "config.strategy.conditions",
        "No conditions passed in the query router",
    );
    refused_strategy(
        r#"{"mode":"conditional","conditions":[]}"#,
        "config.strategy.conditions",
        "No conditions passed in the query router",
    );
    refused_strategy(
        r#"{"mode":"conditional","conditions":[{"query":{},"then":"z"}]}"#,
        "config.strategy.conditions[0].then",
        "Invalid target name found in the query router: z; targets here: x",
    );
    refused_strategy(
        r#"{"mode":"conditional","conditions":[{"query":{},"then":"x"}],"default":"z"}"#,
        "config.strategy.default",
        "Invalid target name found in the query router: z",
    );
    refused_strategy(
        r#"{"mode":"conditional","conditions":[{"then":"x"}]}"#,
        "config.strategy.conditions[0].query",
        "is missing",
    );
    refused_strategy(
        r#"{"mode":"conditional","conditions":[{"query":{},"then":"x"},{"query":{"$or":[{"metadata.a":{"$in":1}}]},"then":"x"}]}"#,
        "config.strategy.conditions[1].query.$or[0].metadata.a.$in",
        "an array of values",
    );
    refused_strategy(
        r#"{"mode":"conditional","conditions":[{"query":{},"then":"x"}],"cb_config":{}}"#,
        "config.strategy.cb_config",
        "no breaker",
    );
    for (sticky, place, part) in [
        (r#"{"hash_fields":["session"]}"#, ".hash_fields[0]", "`metadata.session_id`"),
        (r#"{"hash_fields":["url.pathname"]}"#, ".hash_fields[0]", "no field"),
        (r#"{"ttl":3600000}"#, ".ttl", "1 to 604800"),
        (r#"{"enabled":"yes"}"#, ".enabled", "true or false"),
    ] {
        let json = format!(r#"{{"mode":"loadbalance","sticky":{sticky}}}"#);
        refused_strategy(&json, &format!("{strategy}.sticky{place}"), part);
    }
    for (breaker, place, part) in [
        (r#"{"failure_threshold":3}"#, ".cooldown_interval", "is missing"),
        (r#"{"cooldown_interval":30000}"#, "", "names no threshold"),
        (r#"{"failure_threshold":3,"cooldown_interval":60}"#, ".cooldown_interval", "\"60s\""),
        (r#"{"failure_threshold":0,"cooldown_interval":30000}"#, ".failure_threshold", "at least 1"),
        (
            r#"{"failure_threshold_percentage":101,"cooldown_interval":30000}"#,
            ".failure_threshold_percentage",
            "to 100",
        ),
        (
            r#"{"failure_threshold":1,"cooldown_interval":30000,"failure_status_codes":[404]}"#,
            ".failure_status_codes",
            "404",
        ),
    ] {
        let json = format!(r#"{{"mode":"single","cb_config":{breaker}}}"#);
        refused_strategy(&json, &format!("{strategy}.cb_config{place}"), part);
    }
    refused(
        r#"{"strategy":{"mode":"single"},"targets":[{"name":"x","provider":"a"},{"name":"x","provider":"b"}]}"#,
        "config.targets[1].name",
        "another target",
    );
    refused(
        r#"{"aws_region":"r","strategy":{"mode":"single"},"targets":[{"provider":"a"}]}"#,
        "config.aws_region",
        "move it into `targets`",
    );
}

#[test]
fn bad_targets_name_the_place_and_the_fix() {
    for (json, path, part) in [
        (r#"{"provider":"a","cache":"simple"}"#, "config.cache", "write an object"),
        (r#"{"provider":"a","cache":{"mode":"fuzzy"}}"#, "config.cache.mode", "`semantic`"),
        (
            r#"{"provider":"a","cache":{"mode":"simple","max_age":3600000000}}"#,
            "config.cache.max_age",
            "7776000",
        ),
        (r#"{"provider":"a","cache":{"mode":"simple","max_age":5}}"#, "config.cache.max_age", "5 seconds"),
        (
            r#"{"provider":"a","cache":{"mode":"simple","max_age":60,"ttl":60}}"#,
            "config.cache.ttl",
            "`max_age`",
        ),
        (r#"{"provider":"a","cache":{"mode":"semantic","threshold":95}}"#, "config.cache.threshold", "0.95"),
        (
            r#"{"provider":"a","cache":{"mode":"simple","threshold":0.9}}"#,
            "config.cache.similarity_threshold",
            "semantic",
        ),
        (r#"{"provider":"a","drop_params":["a..b"]}"#, "config.drop_params[0]", "tools[*].function.strict"),
        (r#"{"provider":"a","drop_params":{"a":1}}"#, "config.drop_params", "an array of paths"),
        (r#"{"provider":"a","retry":{"jitter":"some"}}"#, "config.retry.jitter", "\"full\""),
        (r#"{"provider":"a","awsRegion":"x"}"#, "config.awsRegion", "did you mean `aws_region`"),
        (r#"{"provider":"a","prompt_id":"pp-1"}"#, "config.prompt_id", "not offered by this version"),
        (r#"{"provider":"a","before_request_hooks":[]}"#, "config.before_request_hooks", "not offered"),
        (r#"{"provider":"a","passthrough":true}"#, "config.passthrough", "the caller names"),
        (r#"{"passthrough":true}"#, "config.provider", "`@openai/gpt-4o`"),
        (r#"{"provider":"a","choose":{}}"#, "config.provider", "chosen"),
        (r#"{"api_key":"k","choose":{}}"#, "config.api_key", "chosen"),
        (r#"{"override_params":{"model":"m"},"choose":{}}"#, "config.override_params.model", "chosen"),
        (
            r#"{"custom_host":"https://h.example","strategy":{"mode":"single"},"targets":[{"choose":{}}]}"#,
            "config.targets[0].choose",
            "no `custom_host`",
        ),
        (r#"{"choose":{"requires":["toolz"]}}"#, "config.choose.requires[0]", "unknown capability"),
        (r#"{"choose":{"max_price":{"input":-1}}}"#, "config.choose.max_price.input", "dollars per million"),
        (r#"{"choose":{"max_latency":2}}"#, "config.choose.max_latency", "\"2s\""),
        (r#"{"choose":{"prefer":"taste"}}"#, "config.choose.prefer", "`price` or `latency`"),
    ] {
        refused(json, path, part);
    }
}

#[test]
fn configs_of_the_first_version_get_portkeys_answer() {
    for json in
        [r#"{"mode":"single","options":[]}"#, r#"{"mode":"proxy"}"#, r#"{"options":[{"provider":"a"}]}"#]
    {
        assert_eq!(parse(json).unwrap_err().message, LEGACY, "{json}");
    }
}

#[test]
fn cache_params_and_choice_are_read() {
    let target = only(
        r#"{"provider":"a","cache":{"mode":"exact","ttl":"2h","tags":["faq"],"tool_calls":true,"max_temperature":0.5},"default_params":{"temperature":0.2},
            "drop_params":["store","tools[*].function.strict"],"retry":{"attempts":9,"jitter":"full"}}"#,
    );
    let cache = Cache {
        mode: cache::Mode::Simple,
        max_age: Some(Duration::from_secs(7200)),
        similarity_threshold: None,
        tags: vec!["faq".to_owned()],
        tool_calls: true,
        max_temperature: Some(0.5),
    };
    assert_eq!(target.cache, Some(cache));
    assert_eq!(target.drop_params[1].to_string(), "tools[*].function.strict");
    assert_eq!((target.retry.attempts, target.retry.jitter), (5, true));
    let choose = only(
        r#"{"choose":{"requires":["tools","json_schema"],"max_price":{"input":2.5},"from":["@openai","groq"]}}"#,
    )
    .choose
    .unwrap();
    assert_eq!(choose.requires, [Capability::Tools, Capability::JsonSchema].into());
    assert_eq!((choose.max_input_price, choose.max_output_price), (Some(PicoUsd(2_500_000)), None));
    assert_eq!(choose.from, ["openai", "groq"]);
}

#[test]
fn inheritance_merges_params_and_replaces_the_rest() {
    let config = parse(
        r#"{"strategy":{"mode":"fallback"},"default_params":{"a":1},"drop_params":["x"],"cache":{"mode":"semantic","max_age":60},
            "forward_headers":["x-a"],"targets":[
            {"provider":"a","default_params":{"b":2},"drop_params":["y","x"],"cache":{"mode":"simple"},"forward_headers":["x-b"]},
            {"provider":"b"}]}"#,
    )
    .unwrap();
    let targets: Vec<&Target> = config.targets().collect();
    assert_eq!(json!(targets[0].default_params), json!({"a": 1, "b": 2}));
    assert_eq!(json!(targets[0].drop_params), json!(["x", "y"]));
    assert_eq!(targets[0].cache.as_ref().map(|c| (c.mode, c.max_age)), Some((cache::Mode::Simple, None)));
    assert_eq!(targets[0].forward_headers, ["x-b"]);
    assert_eq!(json!(targets[1].drop_params), json!(["x"]));
    assert_eq!(targets[1].cache.as_ref().map(|c| c.mode), Some(cache::Mode::Semantic));
    assert_eq!(targets[1].forward_headers, ["x-a"]);
}

#[test]
fn a_profile_changes_the_statuses_that_are_tried_again() {
    let hosted = HeaderOptions { profile: Profile::Hosted, ..HeaderOptions::default() };
    let statuses = |json: &str, headers: &HeaderOptions| {
        let config = Config::parse(json, headers).unwrap();
        config.targets().next().unwrap().retry.on_status_codes.contains(&529)
    };
    for json in [r#"{"provider":"a"}"#, r#"{"provider":"a","retry":{"attempts":1}}"#] {
        assert!(statuses(json, &hosted) && !statuses(json, &HeaderOptions::default()), "{json}");
    }
    assert!(!statuses(r#"{"provider":"a","retry":{"on_status_codes":[500]}}"#, &hosted));
}

#[test]
fn the_body_or_a_header_names_the_provider_where_the_config_leaves_it_open() {
    let named = |json: &str, provider: Option<&str>, model: Option<&str>| {
        let own = str::to_owned;
        let headers =
            HeaderOptions { provider: provider.map(own), model: model.map(own), ..Default::default() };
        let config = Config::parse(json, &headers).unwrap();
        let target = config.targets().next().unwrap().clone();
        let model = target.override_params.get("model").and_then(Value::as_str).unwrap_or("-").to_owned();
        format!("{} {model}", target.provider)
    };
    let body = Some("@oai/gpt-4o");
    assert_eq!(named("{}", None, body), "oai gpt-4o");
    assert_eq!(named("{}", Some("@groq"), body), "groq -");
    assert_eq!(named("{}", Some("@oai"), body), "oai gpt-4o", "the prefix says what is known");
    assert_eq!(named(r#"{"provider":"a"}"#, None, body), "a -");
    assert_eq!(named(r#"{"passthrough":true,"retry":{"attempts":2}}"#, Some("@b"), None), "b -");
    let nested = r#"{"strategy":{"mode":"single"},"targets":[{"passthrough":true}]}"#;
    assert_eq!(named(nested, None, body), "oai gpt-4o");
    assert_eq!(named(nested, Some("z"), None), "z -");
    assert_eq!(named(r#"{"override_params":{"model":"@x/y"}}"#, None, body), "x y");
    assert_eq!(names_its_provider("@cf/meta/llama"), None);
    assert_eq!(names_its_provider("@hf/meta"), None);
    assert_eq!(names_its_provider("@a/b/c"), Some(("a", "b/c")));
}

#[test]
fn what_can_be_stored_may_leave_the_provider_to_the_request() {
    for document in [
        json!({"passthrough": true}),
        json!({"retry": {"attempts": 1}}),
        json!({"cache": {"mode": "simple"}}),
    ] {
        assert_eq!(Config::check(&document), Ok(()), "{document}");
    }
    assert_eq!(Config::check(&json!({"retyr": {}})).unwrap_err().path, "config.retyr");
}

#[test]
fn groups_have_limits() {
    let many = |n: usize, mode: &str| {
        let targets: Vec<Value> = (0..n).map(|i| json!({"name": i.to_string(), "provider": "a"})).collect();
        let mut strategy = json!({"mode": mode});
        if mode == "conditional" {
            strategy["conditions"] = json!([{"query": {}, "then": "0"}]);
        }
        json!({"strategy": strategy, "targets": targets})
    };
    let nested = |n| json!({"strategy": {"mode": "single"}, "targets": [many(n, "conditional")]});
    for (document, most) in [(many(100, "fallback"), true), (many(101, "fallback"), false)] {
        assert_eq!(Config::check(&document).is_ok(), most);
    }
    assert!(
        Config::check(&many(1000, "conditional")).is_ok()
            && Config::check(&many(1001, "conditional")).is_err()
    );
    assert!(Config::check(&nested(50)).is_ok() && Config::check(&nested(51)).is_err());
}

#[test]
fn provider_options_are_kept_as_they_are_and_their_secrets_are_known() {
    let json = r#"{"provider":"bedrock","aws_access_key_id":"AK","aws_secret_access_key":"sealed:S","aws_region":"us-east-1",
        "vertex_service_account_json":{"private_key":"k"},"deployments":[{"alias":"d"}],"azure_ad_token":null}"#;
    let target = only(json);
    assert_eq!(target.provider_options["aws_region"], "us-east-1");
    assert_eq!(target.provider_options.len(), 5);
    let mut document: Value = serde_json::from_str(json).unwrap();
    assert_eq!(seal_credentials(&mut document, &mut |_| "sealed:x".to_owned()), 2);
    assert_eq!(document["vertex_service_account_json"], "sealed:x");
    assert!(!format!("{target:?}").contains("private_key"));
    let secret = [
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "azure_ad_token",
        "azure_entra_client_secret",
        "oracle_fingerprint",
        "oracle_key_passphrase",
        "oracle_private_key",
        "vertex_service_account_json",
    ];
    for key in provider_options::KEYS {
        let found = clear_credential(&json!({*key: "x"})).is_some();
        assert_eq!(found, secret.contains(key), "{key}");
    }
}

/// Documents of the shapes that Portkey's users write.
#[test]
fn common_configs_are_understood() {
    let documents = [
        json!({"provider": "openai", "api_key": "sk-1", "cache": {"mode": "simple", "max_age": 600},
               "retry": {"attempts": 2, "on_status_codes": [429, 500], "use_retry_after_header": true}, "request_timeout": 8000}),
        json!({"strategy": {"mode": "fallback", "on_status_codes": [429, 503]}, "targets": [
               {"provider": "@first", "override_params": {"model": "gpt-4o"}, "request_timeout": 4000},
               {"provider": "@second", "override_params": {"model": "claude", "max_tokens": 1024}}]}),
        json!({"strategy": {"mode": "loadbalance"}, "retry": {"attempts": 1}, "targets": [
               {"provider": "@stable", "weight": 0.9, "cache": {"mode": "simple"}},
               {"provider": "@canary", "weight": 0.1, "override_params": {"model": "new"}}]}),
        json!({"strategy": {"mode": "conditional", "default": "rest", "conditions": [
               {"query": {"metadata.tier": {"$eq": "gold"}, "params.max_tokens": {"$gte": 500}}, "then": "gold"},
               {"query": {"$or": [{"params.model": {"$regex": "^o"}}, {"metadata.zone": {"$in": ["eu"]}}]}, "then": "rest"},
               {"query": {"url.pathname": {"$regex": "/embeddings$"}}, "then": "vectors"}]},
               "targets": [
               {"name": "gold", "strategy": {"mode": "fallback"}, "targets": [{"provider": "@a"}, {"provider": "@b"}]},
               {"name": "vectors", "provider": "@a", "override_params": {"model": "embed"}},
               {"name": "rest", "provider": "groq", "api_key": "gsk", "override_params": {"model": "llama"}}]}),
        json!({"strategy": {"mode": "loadbalance"}, "targets": [
               {"weight": 0.7, "strategy": {"mode": "fallback", "on_status_codes": [500]}, "targets": [{"provider": "@a"}, {"provider": "@b"}]},
               {"weight": 0.3, "provider": "@c"}]}),
        json!({"provider": "openai", "api_key": "none", "custom_host": "https://own.example.org/v1",
               "forward_headers": ["x-team"], "strict_open_ai_compliance": false,
               "drop_params": ["store", "tools[*].function.strict"], "default_params": {"temperature": 0.1}}),
        json!({"strategy": {"mode": "loadbalance", "sticky": {"enabled": true, "hash_fields": ["metadata.session", "headers.x-user"], "ttl": 900},
               "cb_config": {"failure_threshold": 4, "failure_threshold_percentage": 50, "minimum_requests": 8, "cooldown_interval": 45000, "failure_status_codes": [429, 500]}},
               "targets": [{"provider": "@east", "weight": 1}, {"provider": "@west", "weight": 1}]}),
        json!({"cache": {"mode": "semantic", "max_age": 3600}, "strategy": {"mode": "fallback"}, "targets": [
               {"provider": "bedrock", "aws_access_key_id": "A", "aws_secret_access_key": "S", "aws_region": "eu-west-1"},
               {"provider": "vertex-ai", "vertex_project_id": "p", "vertex_region": "r", "api_key": "k", "cache": {"mode": "simple"}}]}),
        json!({"passthrough": true, "retry": {"attempts": 2}, "cache": {"mode": "simple"}}),
    ];
    for document in documents {
        assert_eq!(Config::check(&document), Ok(()), "{document}");
    }
}

proptest! {
    #[test]
    fn a_config_prints_and_parses_back(document in any_document()) {
        let config = parse(&document.to_string()).unwrap();
        let printed = config.to_json();
        let again = parse(&printed.to_string());
        prop_assert_eq!(again.as_ref(), Ok(&config), "{}", printed);
        prop_assert_eq!(again.unwrap().to_json(), printed);
    }

    #[test]
    fn no_document_makes_the_parser_fail_otherwise_than_with_a_place(document in any_document(), key in "[a-z_]{1,9}", n: i32) {
        let mut document = document;
        document[key.as_str()] = n.into();
        if let Err(err) = parse(&document.to_string()) {
            prop_assert!(err.path.starts_with("config"), "{}", err);
        }
    }
}
