//! What a target becomes.

use domain::Config;
use serde_json::{Value, json};

use super::*;

fn policy(changes: Value) -> Policy {
    let stamp = json!({ "at": 1, "by": "cli" });
    let mut record = json!({
        "slug": "account", "workspace": "default", "name": "a", "provider": "groq",
        "secret": { "sealed": "sealed:x" }, "created": stamp, "updated": stamp,
    });
    for (name, value) in changes.as_object().unwrap() {
        record[name] = value.clone();
    }
    let mut policy = Policy::default();
    policy.apply("virtual.default.account", 1, record.to_string().as_bytes());
    policy
}

fn resolved(policy: &Policy, config: &str) -> Result<Resolved, Unresolved> {
    let config = Config::parse(config, &Default::default()).unwrap();
    let trusted = Vec::new();
    let (registry, workspace) = (Registry::default(), Workspace::default());
    let names = Names {
        registry: &registry,
        policy,
        workspace: &workspace,
        trusted_hosts: &trusted,
        now: Timestamp(1000),
    };
    let wanted = Wanted {
        operation: Operation::Chat,
        model: Some("llama-3.1-8b"),
        stream: false,
        path_and_query: None,
    };
    let found = config.targets().next().map(|target| resolve(target, &names, wanted));
    found.unwrap()
}

#[test]
fn a_virtual_key_stands_for_its_provider_and_is_opened_by_nobody_here() {
    let found = resolved(&policy(json!({})), r#"{"provider":"@account"}"#).unwrap();
    assert_eq!(found.base_url, catalogue::find("groq").unwrap().base_url);
    assert_eq!((found.queue.as_str(), found.provider.as_str()), ("default.account", "groq"));
    assert_eq!(found.credential, None);
    assert_eq!(found.virtual_key.map(|key| key.slug.to_string()).as_deref(), Some("account"));
    let own_host = policy(json!({ "custom_host": "https://llm.example.com/v1" }));
    let found = resolved(&own_host, r#"{"virtual_key":"account"}"#).unwrap();
    assert_eq!((found.base_url.as_str(), found.untrusted_host), ("https://llm.example.com/v1", true));
}

#[test]
fn a_virtual_key_that_may_not_be_used_leaves_the_request_to_others() {
    for (changes, status, part) in [
        (json!({ "status": "archived" }), 401, "was revoked"),
        (json!({ "expires_at": 1000 }), 401, "has expired"),
        (json!({ "operations": ["embeddings"] }), 412, "does not allow the operation `chat`"),
        (json!({ "models": ["gpt-*"] }), 412, "model `llama-3.1-8b` is not allowed"),
        (json!({ "provider": "nobody" }), 500, "which is unknown"),
    ] {
        match resolved(&policy(changes), r#"{"provider":"@account"}"#) {
            Err(Unresolved::Target(err)) => {
                assert_eq!(err.status, status, "{err}");
                assert!(err.message.contains(part), "{err}");
            }
            other => panic!("{part}: {other:?}"),
        }
    }
    let later = policy(json!({ "expires_at": 1001, "models": ["llama-*"], "operations": ["chat"] }));
    assert!(resolved(&later, r#"{"provider":"@account"}"#).is_ok());
    let renamed = r#"{"provider":"@account","override_params":{"model":"gpt-4o"}}"#;
    assert!(
        resolved(&policy(json!({ "models": ["gpt-*"] })), renamed).is_ok(),
        "the model that is sent counts"
    );
}

#[test]
fn a_virtual_keys_credential_goes_to_no_host_that_a_request_names() {
    let config = r#"{"provider":"@account","custom_host":"https://llm.example.com/v1"}"#;
    let Err(Unresolved::Document(err)) = resolved(&policy(json!({})), config) else {
        panic!("it has to be refused")
    };
    assert_eq!((err.status, err.param.as_deref()), (400, Some("config.custom_host")));
}

#[test]
fn who_brings_a_credential_means_the_provider() {
    let policy = policy(json!({ "slug": "groq" }));
    let found = resolved(&policy, r#"{"provider":"groq","api_key":"sealed:mine"}"#).unwrap();
    assert_eq!((found.queue.as_str(), found.credential.as_deref()), ("groq", Some("sealed:mine")));
}

#[test]
fn our_credential_goes_to_no_url_that_a_targets_option_names() {
    let mut ours = catalogue::find("azure-ai").unwrap().clone();
    ours.credential = Some("sealed:ours".to_owned());
    let config = |url: &str| {
        let text = json!({ "provider": "azure-ai", "azure_foundry_url": url }).to_string();
        Config::parse(&text, &Default::default()).unwrap()
    };
    let found = |ours: &Provider, config: &Config| {
        let registry =
            Registry { providers: [("azure-ai".to_owned(), ours.clone())].into(), ..Registry::default() };
        let names = Names {
            registry: &registry,
            policy: &Policy::default(),
            workspace: &Workspace::default(),
            trusted_hosts: &[],
            now: Timestamp(1000),
        };
        let wanted =
            Wanted { operation: Operation::Chat, model: Some("m"), stream: false, path_and_query: None };
        resolve(config.targets().next().unwrap(), &names, wanted)
    };
    let theirs = config("https://collector.example.com");
    let call = found(&ours, &theirs).unwrap();
    assert_eq!((call.base_url.as_str(), call.credential), ("https://collector.example.com", None));
    assert!(call.untrusted_host && call.queue.starts_with("azure-ai-"), "{}", call.queue);
    for inside in ["http://169.254.169.254/latest", "http://broker.internal:4222"] {
        let Err(Unresolved::Document(err)) = found(&ours, &config(inside)) else { panic!("{inside}") };
        assert_eq!(err.code.as_deref(), Some("invalid_custom_host"));
    }
    ours.options.insert("azure_foundry_url".to_owned(), "https://ours.services.ai.azure.com/models".into());
    let plain = Config::parse(r#"{"provider":"azure-ai"}"#, &Default::default()).unwrap();
    let call = found(&ours, &plain).unwrap();
    assert_eq!((call.queue.as_str(), call.credential.as_deref()), ("azure-ai", Some("sealed:ours")));
}

#[test]
fn a_virtual_keys_credential_goes_to_no_url_that_a_targets_option_names() {
    let account =
        json!({ "provider": "azure-ai", "options": { "azure_foundry_url": "https://ours.example.com" } });
    let own = resolved(&policy(account.clone()), r#"{"provider":"@account"}"#).unwrap();
    assert_eq!(own.base_url, "https://ours.example.com");
    let config = r#"{"provider":"@account","azure_foundry_url":"https://collector.example.com"}"#;
    let Err(Unresolved::Document(err)) = resolved(&policy(account), config) else {
        panic!("it has to be refused")
    };
    assert_eq!((err.status, err.param.as_deref()), (400, Some("config.custom_host")));
}

#[test]
fn a_provider_that_is_there_no_more_needs_somebody_in_its_place() {
    let none = policy(json!({}));
    let Err(Unresolved::Target(err)) = resolved(&none, r#"{"provider":"anyscale"}"#) else {
        panic!("it has to be refused")
    };
    assert_eq!((err.status, err.code.as_deref()), (400, Some("provider_retired")));
    assert!(err.message.contains("closed its public endpoints on 2024-08-01"), "{err}");
    let moved = r#"{"provider":"anyscale","custom_host":"https://own.example.com/v1"}"#;
    assert_eq!(resolved(&none, moved).unwrap().base_url, "https://own.example.com/v1");
}
