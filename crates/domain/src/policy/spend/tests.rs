//! Policies, their buckets, and what a request has to keep to.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::Operation;
use crate::envelope::VirtualKeyRef;
use crate::policy::{Caps, Change};

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

fn acme() -> Workspace {
    Workspace::parse("acme").unwrap()
}

fn record(mut fields: Value) -> Vec<u8> {
    let stamp = json!({ "at": 1, "by": "cli" });
    for (name, value) in [("name", json!("n")), ("created", stamp.clone()), ("updated", stamp)] {
        fields[name] = value;
    }
    fields.to_string().into_bytes()
}

fn policy(id: &str, kind: &str, fields: Value) -> Vec<u8> {
    let cap = match kind {
        "usage" => json!({ "type": "cost", "credit_limit": 1, "periodic_reset": "monthly" }),
        _ => json!({ "type": "requests", "unit": "rpm", "value": 5 }),
    };
    let mut all = json!({ "id": id, "workspace": "acme", "kind": kind, "cap": cap });
    for (name, value) in fields.as_object().unwrap() {
        all[name] = value.clone();
    }
    record(all)
}

fn api_key(usage: Value, rates: Value) -> Vec<u8> {
    record(json!({
        "id": "k1", "kind": "workspace-service", "workspace": "acme", "scopes": [], "hash": "",
        "alert_emails": ["ann@example.com"], "usage_limits": usage, "rate_limits": rates,
    }))
}

fn virtual_key(workspace: &str, rates: Value) -> Vec<u8> {
    record(json!({
        "slug": "openai-prod", "workspace": workspace, "provider": "openai", "workspaces": ["acme"],
        "usage_limits": { "credit_limit": 1 }, "rate_limits": rates,
    }))
}

/// What a test's request is like, changed by the test.
struct Request {
    metadata: Map<String, Value>,
    user: Option<&'static str>,
    model: Option<&'static str>,
    config: Option<&'static str>,
    virtual_key: Option<VirtualKeyRef>,
    key: Option<Slug>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            metadata: json!({ "team": "red", "seats": 5 }).as_object().unwrap().clone(),
            user: Some("ann"),
            model: Some("gpt-4o"),
            config: Some("pc-a@3"),
            virtual_key: Some(VirtualKeyRef { workspace: Workspace::default(), slug: slug("openai-prod") }),
            key: Some(slug("k1")),
        }
    }
}

impl Request {
    fn buckets(&self, policy: &Policy) -> Vec<String> {
        let workspace = acme();
        let spender = Spender {
            workspace: &workspace,
            key: self.key.as_ref(),
            user: self.user,
            metadata: Some(&self.metadata),
            config: self.config,
            operation: Operation::Chat,
            model: self.model,
            provider: "openai",
            virtual_key: self.virtual_key.as_ref(),
        };
        policy.buckets(&spender).iter().map(Bucket::key).collect()
    }
}

const RPM: &str = r#"[{ "type": "requests", "unit": "rpm", "value": 5 }]"#;

fn rpm() -> Value {
    serde_json::from_str(RPM).unwrap()
}

#[test]
fn buckets_are_in_the_order_in_which_limits_are_looked_at() {
    let mut index = Policy::default();
    let request = Request::default();
    assert!(!index.has_limits(&acme()));
    assert_eq!(request.buckets(&index), [""; 0]);
    index.apply("policy.acme.slow", 1, &policy("slow", "rate", json!({})));
    index.apply(
        "policy.acme.teams",
        2,
        &policy("teams", "usage", json!({ "group_by": [{ "key": "user" }] })),
    );
    index.apply("virtual.default.openai-prod", 3, &virtual_key("default", rpm()));
    let workspace = json!({ "slug": "acme", "usage_limits": [{ "credit_limit": 9 }], "rate_limits": rpm() });
    index.apply("workspace.acme", 4, &record(workspace));
    index.apply("apikey.k1", 5, &api_key(json!({ "credit_limit": 1, "periodic_reset": "daily" }), rpm()));
    assert!(index.has_limits(&acme()));
    assert_eq!(
        request.buckets(&index),
        [
            "apikey.k1.cost.daily",
            "workspace.acme.cost.once",
            "workspace.acme.requests.rpm",
            "apikey.k1.requests.rpm",
            "virtualkey.default.openai-prod.cost.once",
            "policy.acme.teams.cost.monthly/user=ann",
            "virtualkey.default.openai-prod.requests.rpm",
            "policy.acme.slow.requests.rpm",
        ]
    );
    let bare = Request { key: None, virtual_key: None, user: None, ..Request::default() };
    assert_eq!(
        bare.buckets(&index),
        ["workspace.acme.cost.once", "workspace.acme.requests.rpm", "policy.acme.slow.requests.rpm"]
    );
    assert_eq!(index.limits_of(&Key::ApiKey(slug("k1")))[0].emails, ["ann@example.com"]);
    assert_eq!(index.declared_limits(None).len(), 8);
    assert_eq!(
        index.declared_limits(Some(&acme())).len(),
        6,
        "those of the shared virtual key are another's"
    );
}

#[test]
fn a_workspace_has_limits_as_long_as_a_record_puts_them_on_it() {
    let mut index = Policy::default();
    let has = |index: &Policy| (index.has_limits(&Workspace::default()), index.has_limits(&acme()));
    index.apply("apikey.k1", 1, &api_key(Value::Null, rpm()));
    assert_eq!(has(&index), (false, true));
    index.apply("virtual.default.openai-prod", 2, &virtual_key("default", Value::Null));
    assert_eq!(has(&index), (true, true));
    index.apply("apikey.k1", 3, &api_key(Value::Null, Value::Null));
    assert_eq!(has(&index), (true, true), "a shared virtual key is limited");
    index.apply("virtual.default.openai-prod", 4, b"");
    assert_eq!(has(&index), (false, false));
    index.apply("policy.acme.p", 5, &policy("p", "rate", json!({})));
    assert_eq!(has(&index), (false, true));
    index.apply("policy.acme.p", 6, &policy("p", "rate", json!({ "status": "archived" })));
    assert_eq!(has(&index), (false, false));
    assert_eq!(Request::default().buckets(&index), [""; 0]);
}

#[test]
fn caps_that_cannot_be_read_leave_the_last_good_ones() {
    let mut index = Policy::default();
    index.apply("apikey.k1", 1, &api_key(json!({ "credit_limit": 1 }), Value::Null));
    let bad = index.apply("apikey.k1", 2, &api_key(json!({ "credit_limit": "much" }), Value::Null));
    let Change::Malformed(reason) = bad else { panic!("{bad:?}") };
    assert!(reason.starts_with("apikey.k1: `usage_limits.credit_limit`: "), "{reason}");
    assert_eq!(Request::default().buckets(&index), ["apikey.k1.cost.once"]);
}

#[track_caller]
fn check(condition: Value, request: &Request, expected: bool) {
    let mut index = Policy::default();
    let applied =
        index.apply("policy.acme.p", 1, &policy("p", "rate", json!({ "conditions": [condition.clone()] })));
    assert!(matches!(applied, Change::Changed(_)), "{applied:?}");
    assert_eq!(!request.buckets(&index).is_empty(), expected, "{condition}");
}

#[test]
fn conditions_say_whose_requests_count() {
    let request = Request::default();
    for (key, value, expected) in [
        ("api_key", json!("k1"), true),
        ("api_key", json!("k2"), false),
        ("api_key", json!(["k2", "k1"]), true),
        ("api_key", json!("*"), true),
        ("metadata.team", json!("red"), true),
        ("metadata.team", json!("re*"), false),
        ("metadata.seats", json!(5), true),
        ("metadata.seats", json!("5"), true),
        ("metadata.none", json!("*"), false),
        ("metadata._user", json!("ann"), true),
        ("virtual_key", json!("@openai-prod"), true),
        ("virtual_key", json!("openai"), false),
        ("provider", json!("openai"), true),
        ("config", json!("pc-a"), true),
        ("config", json!("pc-a@7"), true),
        ("config", json!("pc-b"), false),
        ("prompt", json!("*"), false),
        ("endpoint_type", json!("chat"), true),
        ("endpoint_type", json!("chatComplete"), true),
        ("endpoint_type", json!(["embed", "*"]), true),
        ("endpoint_type", json!("embeddings"), false),
        ("workspace_id", json!("acme"), true),
        ("user", json!("ann"), true),
        ("model", json!("gpt-4o"), true),
        ("model", json!("gpt-4*"), true),
        ("model", json!("gpt-3*"), false),
        ("model", json!("@openai/*"), true),
        ("model", json!("@openai-prod/gpt-4o"), true),
        ("model", json!("@anthropic/*"), false),
        ("model", json!("*"), true),
    ] {
        check(json!({ "key": key, "value": value }), &request, expected);
        check(json!({ "key": key, "value": value, "excludes": true }), &request, !expected);
    }
    for (excluded, expected) in [(json!("blue"), true), (json!(["blue", "red"]), false)] {
        check(json!({ "key": "metadata.team", "excludes": excluded }), &request, expected);
        check(json!({ "key": "metadata.none", "excludes": excluded }), &request, false);
    }
    check(json!({ "key": "model", "value": "gpt-*", "excludes": "gpt-4*" }), &request, false);
    let named = Request { model: Some("@team/gpt-4o"), ..Request::default() };
    for (pattern, expected) in
        [("gpt-4o", true), ("@team/*", true), ("@openai/gpt-4o", true), ("@other/*", false)]
    {
        check(json!({ "key": "model", "value": pattern }), &named, expected);
    }
}

#[test]
fn conditions_are_all_needed_and_a_missing_group_leaves_the_policy_out() {
    let mut index = Policy::default();
    let both = json!({
        "conditions": [{ "key": "metadata.team", "value": "red" }, { "key": "user", "value": ["ann", "bob"] }],
        "group_by": [{ "key": "metadata.team" }, { "key": "user" }],
    });
    index.apply("policy.acme.p", 1, &policy("p", "usage", both));
    let request = Request::default();
    assert_eq!(request.buckets(&index), ["policy.acme.p.cost.monthly/metadata.team=red,user=ann"]);
    assert_eq!(Request { user: Some("eve"), ..Request::default() }.buckets(&index), [""; 0]);
    let grouped = policy("p", "usage", json!({ "group_by": [{ "key": "metadata.project" }] }));
    index.apply("policy.acme.p", 2, &grouped);
    assert_eq!(request.buckets(&index), [""; 0]);
}

#[test]
fn policies_that_cannot_be_read_are_refused_with_the_place() {
    for (kind, fields, expected) in [
        ("usage", json!({ "cap": {} }), "`credit_limit`: is missing"),
        ("usage", json!({ "cap": { "credit_limit": 1, "unit": "rpm" } }), "`unit`: is unknown here"),
        ("rate", json!({ "cap": { "type": "requests", "value": 1 } }), "`unit`: is missing"),
        ("rate", json!({ "conditions": ["x"] }), "`conditions[0]`: `\"x\"` cannot be; write an object"),
        (
            "rate",
            json!({ "conditions": [{ "value": "x" }] }),
            "`conditions[0].key`: is missing; use one of api_key",
        ),
        (
            "rate",
            json!({ "conditions": [{ "key": "team", "value": "x" }] }),
            "`conditions[0].key`: `team` is unknown",
        ),
        (
            "rate",
            json!({ "conditions": [{ "key": "metadata.", "value": "x" }] }),
            "`conditions[0].key`: `metadata.`",
        ),
        ("rate", json!({ "conditions": [{ "key": "user" }] }), "`conditions[0].value`: is missing"),
        (
            "rate",
            json!({ "conditions": [{ "key": "user", "value": [] }] }),
            "`conditions[0].value`: the list is empty",
        ),
        (
            "rate",
            json!({ "conditions": [{ "key": "user", "value": [{}] }] }),
            "`conditions[0].value[0]`: `{}` cannot",
        ),
        (
            "rate",
            json!({ "conditions": [{ "key": "user", "value": "x", "exclude": true }] }),
            "`conditions[0].exclude`: is unknown here; known fields: key, value, excludes",
        ),
        (
            "rate",
            json!({ "conditions": [{ "key": "endpoint_type", "value": "chatting" }] }),
            "`conditions[0].value`: unknown operation `chatting`: use one of chat, ",
        ),
        ("rate", json!({ "group_by": ["user"] }), "`group_by[0]`: `\"user\"` cannot be; write an object"),
        (
            "rate",
            json!({ "group_by": [{ "key": "user" }, { "key": "user" }] }),
            "`group_by[1].key`: `user` is there twice",
        ),
    ] {
        let read: LimitPolicy = serde_json::from_slice(&policy("p", kind, fields)).unwrap();
        let message = read.rule().unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}\n{expected}");
    }
}

proptest! {
    #[test]
    fn different_values_have_different_buckets(pairs in prop::collection::vec(("[a=,%/ ]{0,4}", "[b=,%/ ]{0,4}"), 1..20)) {
        let mut index = Policy::default();
        let groups = json!({ "group_by": [{ "key": "metadata.x" }, { "key": "metadata.y" }] });
        index.apply("policy.acme.p", 1, &policy("p", "usage", groups));
        let distinct: BTreeSet<_> = pairs.iter().cloned().collect();
        let keys: BTreeSet<_> = distinct.iter().map(|(x, y)| {
            let metadata = json!({ "x": x, "y": y }).as_object().unwrap().clone();
            Request { metadata, ..Request::default() }.buckets(&index)
        }).collect();
        prop_assert_eq!(keys.len(), distinct.len());
    }

    #[test]
    fn whatever_comes_and_goes_the_count_of_limited_records_holds(steps in prop::collection::vec((0_u8..3, 0_u8..4), 1..30)) {
        let mut index = Policy::default();
        for (at, (what, how)) in steps.iter().enumerate() {
            let rates = if *how == 0 { Value::Null } else { rpm() };
            let (key, payload) = match what {
                0 => ("apikey.k1", api_key(Value::Null, rates)),
                1 => ("virtual.acme.openai-prod", virtual_key("acme", rates)),
                _ => ("policy.acme.p", policy("p", "rate", json!({ "status": if *how == 0 { "archived" } else { "active" } }))),
            };
            let payload = if *how == 3 { Vec::new() } else { payload };
            index.apply(key, at as u64 + 1, &payload);
            prop_assert_eq!(index.has_limits(&acme()), !index.declared_limits(None).is_empty());
        }
    }
}

#[test]
fn an_entity_without_caps_declares_nothing() {
    assert_eq!(
        crate::policy::limits(Level::ApiKey, "k", &Caps::default(), crate::Timestamp(0)),
        Ok(Vec::new())
    );
}
