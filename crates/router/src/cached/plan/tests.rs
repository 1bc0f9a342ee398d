//! Requests are the same only if everything that shapes the answer is.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::Config;
use domain::config::{HeaderOptions, Node};
use domain::envelope::{Auth, Timeouts};
use domain::registry::{Format, Quirks};
use proptest::prelude::*;

use super::*;

/// A request, as far as hashes look at it.
#[derive(Clone, Debug)]
struct Asked {
    workspace: &'static str,
    operation: &'static str,
    metadata: Option<&'static str>,
    namespace: Option<&'static str>,
    config: Value,
    base_url: &'static str,
    model: Option<&'static str>,
    header: &'static str,
    show_cost: bool,
    keep: bool,
    body: Value,
}

fn asked() -> Asked {
    Asked {
        workspace: "w",
        operation: "chat",
        metadata: Some(r#"{"team":"red"}"#),
        namespace: None,
        config: json!({ "provider": "mock", "cache": { "mode": "semantic" } }),
        base_url: "https://llm.example/v1",
        model: None,
        header: "one",
        show_cost: false,
        keep: false,
        body: json!({ "model": "m", "temperature": 0.5, "messages": [
            { "role": "system", "content": "Be brief." }, { "role": "user", "content": "What is a broker?" },
        ] }),
    }
}

fn planned(asked: &Asked) -> Option<Plan> {
    let body = Bytes::from(asked.body.to_string());
    let envelope = json!({
        "request": "r", "workspace": asked.workspace, "operation": asked.operation, "lane": "normal",
        "accepted_at": 0, "deadline": 1000, "config": { "inline": "{}" }, "metadata": asked.metadata,
        "wishes": { "namespace": asked.namespace }, "show_cost": asked.show_cost,
        "conversation": { "keep": asked.keep }, "body": { "inline": { "size": body.len() } },
    });
    let envelope: Envelope = serde_json::from_value(envelope).unwrap();
    let config = Config::read(&asked.config, &HeaderOptions::default()).unwrap();
    let Node::Target(target) = &config.root else { panic!("one target") };
    let second = Duration::from_secs(1);
    let resolved = Resolved {
        provider: "mock".into(),
        queue: "mock".into(),
        concurrency: 1,
        format: Format::default(),
        operation: None,
        base_url: asked.base_url.into(),
        path_and_query: "/chat/completions".into(),
        model: asked.model.map(str::to_owned),
        quirks: Quirks::default(),
        options: Map::new(),
        untrusted_host: false,
        auth: Auth { header: "authorization".into(), scheme: "Bearer".into(), signing: None },
        credential: Some("sealed anew for every request".into()),
        virtual_key: None,
        headers: BTreeMap::from([("x-one".to_owned(), asked.header.to_owned())]),
        timeouts: Timeouts { connect: second, first_byte: second, idle: second, total: second },
    };
    plan(&envelope, target, target.cache.as_ref()?, &resolved, &body, 0.9)
}

fn key(asked: &Asked) -> (String, String) {
    let question = planned(asked).unwrap().question;
    (question.key, question.partition)
}

/// Changes one thing.
type Change = fn(&mut Asked);

#[test]
fn one_difference_outside_of_the_last_message_is_another_request() {
    let changes: [(&str, Change); 15] = [
        ("workspace", |a| a.workspace = "v"),
        ("operation", |a| a.operation = "messages"),
        ("metadata", |a| a.metadata = Some(r#"{"team":"blue"}"#)),
        ("no metadata", |a| a.metadata = None),
        ("namespace", |a| a.namespace = Some("faq")),
        ("host", |a| a.base_url = "https://other.example/v1"),
        ("model of the target", |a| a.model = Some("other")),
        ("header of the target", |a| a.header = "two"),
        ("override", |a| a.config["override_params"] = json!({ "top_p": 0.5 })),
        ("default", |a| a.config["default_params"] = json!({ "seed": 1 })),
        ("strictness", |a| a.config["strict_open_ai_compliance"] = json!(false)),
        ("shown cost", |a| a.show_cost = true),
        ("kept response", |a| a.keep = true),
        ("system prompt", |a| a.body["messages"][0]["content"] = json!("Be long.")),
        ("role", |a| a.body["messages"][0]["role"] = json!("developer")),
    ];
    let (key, partition) = key(&asked());
    for (what, change) in changes {
        let mut other = asked();
        change(&mut other);
        let theirs = super::tests::key(&other);
        assert_ne!(theirs.0, key, "{what}");
        assert_ne!(theirs.1, partition, "{what}");
    }
}

#[test]
fn the_last_message_is_compared_by_meaning() {
    let mut other = asked();
    other.body["messages"][1]["content"] = json!("Explain what a broker is.");
    assert_ne!(key(&other).0, key(&asked()).0);
    assert_eq!(key(&other).1, key(&asked()).1);
    assert_eq!(planned(&other).unwrap().question.text.as_deref(), Some("Explain what a broker is."));
    let mut simple = asked();
    simple.config["cache"]["mode"] = json!("simple");
    assert_eq!(planned(&simple).unwrap().question.text, None);
    assert_eq!(key(&simple).0, key(&asked()).0, "an answer serves both modes");
}

#[test]
fn with_a_namespace_metadata_does_not_count() {
    let named = |metadata| Asked { namespace: Some("faq"), metadata, ..asked() };
    assert_eq!(key(&named(None)), key(&named(Some(r#"{"team":"blue"}"#))));
}

#[test]
fn what_goes_on_or_is_hidden_is_not_asked_for() {
    let mut going_on = Asked { operation: "responses", ..asked() };
    going_on.body = json!({ "model": "m", "input": "hi", "conversation": "conv_1" });
    assert_eq!(planned(&going_on), None);
    assert!(planned(&Asked { operation: "speech", ..asked() }).is_none());
    assert!(planned(&Asked { config: json!({ "provider": "mock" }), ..asked() }).is_none());
    let mut hot = asked();
    hot.body["temperature"] = json!(1.2);
    assert_eq!(planned(&hot).unwrap().ticket, None);
    hot.config["cache"]["max_temperature"] = json!(1.5);
    assert!(planned(&hot).unwrap().ticket.is_some());
}

/// A place in a body and another value for it.
fn change() -> impl Strategy<Value = (String, Value)> {
    let name = prop_oneof!["[a-z_]{1,12}", Just("temperature".to_owned()), Just("tools".to_owned())];
    let value = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..3).prop_map(Value::from),
        ("[a-z]{1,3}", any::<u8>()).prop_map(|(name, value)| json!({ name: value })),
    ];
    (name, value)
}

proptest! {
    #[test]
    fn a_field_that_is_added_or_changed_makes_another_request((name, value) in change()) {
        prop_assume!(!["stream", "stream_options", "model", "messages", "provider", "config"].contains(&name.as_str()));
        let before = asked();
        prop_assume!(before.body.get(&name) != Some(&value));
        let mut after = asked();
        after.body[&name] = value;
        let ((key, partition), theirs) = (key(&before), super::tests::key(&after));
        prop_assert_ne!(key, theirs.0);
        prop_assert_ne!(partition, theirs.1);
    }

    #[test]
    fn the_order_of_fields_and_the_way_of_delivery_do_not_matter(stream in any::<bool>(), usage in any::<bool>()) {
        let mut other = asked();
        let mut body: Vec<(String, Value)> = other.body.as_object().unwrap().clone().into_iter().collect();
        body.reverse();
        other.body = Value::Object(body.into_iter().collect());
        other.body["stream"] = json!(stream);
        other.body["stream_options"] = json!({ "include_usage": usage });
        prop_assert_eq!(key(&other), key(&asked()));
    }
}
