//! What the headers and the body of a request lead to.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::policy::PolicyView;
use bus::seal::PrivateKey;
use domain::registry::Provider;
use serde_json::{Value, json};

use domain::Workspace;
use domain::policy::Identity;

use super::*;

const CHAT: &[u8] = br#"{"model":"m","messages":[]}"#;

fn key() -> PrivateKey {
    PrivateKey::from_bytes([7; 32])
}

fn registry() -> Registry {
    let provider: Provider = providers::catalogue::blank(Default::default(), "http://127.0.0.1:1/v1");
    Registry {
        providers: BTreeMap::from([("mock".to_owned(), provider)]),
        sealing_key: Some(key().public().to_text()),
        ..Registry::default()
    }
}

struct Case<'a> {
    door: Door,
    body: &'a [u8],
    registry: Registry,
    policy: PolicyView,
    identity: Identity,
    asynchronous: bool,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            door: Door::Http,
            body: CHAT,
            registry: registry(),
            policy: PolicyView::default(),
            identity: Identity::default(),
            asynchronous: false,
        }
    }
}

impl Case<'_> {
    fn check(&self, given: &[(&str, &str)]) -> Result<Order, ApiError> {
        let options = Options { maximum: Duration::from_secs(3600), ..Options::default() };
        let intake = Intake {
            door: self.door,
            operation: Operation::Chat,
            content_type: None,
            passthrough: None,
            provider_options: Default::default(),
            facts: Facts::read(Operation::Chat, None, self.body),
            registry: &self.registry,
            policy: &self.policy,
            identity: self.identity.clone(),
            options: &options,
            now: Timestamp(2_000_000_000_000),
            fresh: RequestId::parse("fresh").unwrap(),
            asynchronous: self.asynchronous,
            trace: TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap(),
        };
        intake.check(&|name| given.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| *v))
    }
}

fn http(given: &[(&str, &str)]) -> Result<Order, ApiError> {
    Case::default().check(given)
}

fn published<'a>(order: &'a Order, name: &str) -> Option<&'a str> {
    bus::header(Some(&order.headers), name)
}

fn everything(order: &Order) -> String {
    format!("{:?}", order.headers)
}

#[track_caller]
fn refused(result: Result<Order, ApiError>, status: u16, code: &str, param: Option<&str>) -> String {
    let err = result.err().expect("it has to be refused");
    assert_eq!(
        (err.status, err.code.as_deref(), err.param.as_deref()),
        (status, Some(code), param),
        "{}",
        err.message
    );
    err.message
}

#[test]
fn a_plain_request_gets_an_id_a_deadline_and_the_interactive_lane() {
    let order = http(&[]).unwrap();
    assert_eq!((order.request.as_str(), order.chosen, order.lane), ("fresh", false, Lane::Interactive));
    assert_eq!(order.deadline, Timestamp(2_000_000_600_000));
    assert_eq!(published(&order, "Pointsman-Request-Id"), Some("fresh"));
    assert_eq!(published(&order, "Pointsman-Timeout"), Some("10m"));
    assert_eq!(published(&order, "Nats-Msg-Id"), None);
    assert!(published(&order, "traceparent").unwrap().starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
}

#[test]
fn a_chosen_id_is_kept_and_guards_against_publishing_twice() {
    let order = http(&[("pointsman-request-id", "mine")]).unwrap();
    assert!(order.chosen);
    assert_eq!(published(&order, "Nats-Msg-Id"), Some("mine"));
}

#[test]
fn an_asynchronous_request_has_more_time_and_the_normal_lane() {
    let order = Case { asynchronous: true, ..Case::default() }.check(&[]).unwrap();
    assert_eq!((order.lane, order.asynchronous), (Lane::Normal, true));
    assert_eq!(published(&order, "Pointsman-Async"), Some("true"));
    assert_eq!(published(&order, "Pointsman-Timeout"), Some("1d"));
    assert_eq!(order.deadline, Timestamp(2_000_086_400_000));
}

#[test]
fn the_lane_can_be_chosen() {
    assert_eq!(http(&[("Pointsman-Lane", "bulk")]).unwrap().lane, Lane::Bulk);
    refused(http(&[("Pointsman-Lane", "fast")]), 400, "invalid_header", Some("Pointsman-Lane"));
}

#[test]
fn deadlines_lie_between_now_and_the_maximum() {
    let order = http(&[("Pointsman-Deadline", "2000000001000")]).unwrap();
    assert_eq!(order.deadline, Timestamp(2_000_000_001_000));
    assert_eq!(published(&order, "Pointsman-Deadline"), Some("2000000001000"));
    let past = http(&[("Pointsman-Deadline", "2000000000000")]);
    refused(past, 400, "deadline_in_the_past", Some("Pointsman-Deadline"));
    let message =
        refused(http(&[("Pointsman-Timeout", "2h")]), 400, "deadline_too_far", Some("Pointsman-Timeout"));
    assert!(message.contains("1h"), "{message}");
}

#[test]
fn callers_cannot_set_what_only_gateways_set() {
    let sealed = key().public().seal("x").unwrap();
    let order = http(&[
        ("Pointsman-Gateway", "other"),
        ("Pointsman-Reply-To", "llm.result.x"),
        ("Pointsman-Body", "object;5"),
        ("Pointsman-Credential", &sealed),
        ("Pointsman-Forward", &sealed),
    ])
    .unwrap();
    for name in ["Gateway", "Reply-To", "Body", "Credential", "Forward"] {
        assert_eq!(published(&order, &format!("Pointsman-{name}")), None, "{name}");
    }
}

#[test]
fn the_callers_credential_is_sealed_for_a_provider_named_in_the_header() {
    for (name, value) in [
        ("Authorization", "Bearer sk-canary"),
        ("authorization", "sk-canary"),
        ("x-api-key", "sk-canary"),
        ("api-key", "sk-canary"),
    ] {
        let order = http(&[("x-portkey-provider", "openai"), (name, value)]).unwrap();
        let sealed = published(&order, "Pointsman-Credential").unwrap();
        assert_eq!(key().open(sealed).unwrap().as_str(), "sk-canary", "{name}");
        assert!(!everything(&order).contains("canary"), "{name}");
    }
}

#[test]
fn the_callers_credential_goes_nowhere_when_the_provider_has_its_own() {
    let given = [
        ("x-portkey-provider", "@mock"),
        ("x-portkey-virtual-key", "mock"),
        ("x-portkey-config", r#"{"provider":"mock"}"#),
        ("x-other", ""),
    ];
    for header in given {
        let order = http(&[header, ("Authorization", "Bearer sk-canary")]).unwrap();
        assert_eq!(published(&order, "Pointsman-Credential"), None, "{header:?}");
        assert!(!everything(&order).contains("canary"), "{header:?}");
    }
}

#[test]
fn credentials_in_a_config_are_sealed_and_the_rest_stays() {
    let config = json!({
        "strategy": {"mode": "fallback"},
        "targets": [
            {"provider": "openai", "api_key": "sk-canary-1", "override_params": {"model": "gpt-4o"}},
            {"provider": "groq", "api_key": "sk-canary-2"},
        ],
    });
    let order = http(&[("x-portkey-config", &config.to_string())]).unwrap();
    assert!(!everything(&order).contains("canary"));
    let mut sent: Value = serde_json::from_str(published(&order, "Pointsman-Config").unwrap()).unwrap();
    for (target, secret) in [(0, "sk-canary-1"), (1, "sk-canary-2")] {
        let sealed = sent["targets"][target]["api_key"].as_str().unwrap();
        assert_eq!(key().open(sealed).unwrap().as_str(), secret);
        sent["targets"][target]["api_key"] = secret.into();
    }
    assert_eq!(sent, config);
}

#[test]
fn a_config_without_credentials_is_published_as_it_came() {
    let config = r#"{ "provider" : "mock" }"#;
    let order = http(&[("x-portkey-config", config)]).unwrap();
    assert_eq!(published(&order, "Pointsman-Config"), Some(config));
}

#[test]
fn forwarded_headers_travel_sealed() {
    let order = http(&[
        ("x-portkey-provider", "@mock"),
        ("x-portkey-forward-headers", "X-Tenant, x-absent, content-length, pointsman-request-id"),
        ("x-tenant", "canary"),
        ("content-length", "27"),
        ("pointsman-request-id", "mine"),
    ])
    .unwrap();
    let opened = key().open(published(&order, "Pointsman-Forward").unwrap()).unwrap();
    assert_eq!(opened.as_str(), r#"{"x-tenant":"canary"}"#);
    assert!(!everything(&order).contains("canary"));
}

#[test]
fn targets_can_ask_for_headers_as_well() {
    let config = r#"{"provider":"mock","forward_headers":["x-tenant"]}"#;
    let order = http(&[("x-portkey-config", config), ("X-Tenant", "t1")]).unwrap();
    let opened = key().open(published(&order, "Pointsman-Forward").unwrap()).unwrap();
    assert_eq!(opened.as_str(), r#"{"x-tenant":"t1"}"#);
}

#[test]
fn without_a_sealing_key_credentials_are_refused_and_the_rest_goes_on() {
    let case = Case { registry: Registry { sealing_key: None, ..registry() }, ..Case::default() };
    assert!(case.check(&[("Authorization", "Bearer unused")]).is_ok());
    let by_header = [("x-portkey-provider", "openai"), ("Authorization", "Bearer sk")];
    let message = refused(case.check(&by_header), 503, "no_sealing_key", None);
    assert!(message.contains("provider-worker"), "{message}");
    let by_config = [("x-portkey-config", r#"{"provider":"openai","api_key":"sk"}"#)];
    refused(case.check(&by_config), 503, "no_sealing_key", None);
}

#[test]
fn over_the_bus_credentials_have_to_be_sealed_already() {
    let case = Case { door: Door::Nats, ..Case::default() };
    for (given, param) in [
        (("Authorization", "Bearer sk"), "authorization"),
        (("Pointsman-Credential", "sk"), "Pointsman-Credential"),
        (("Pointsman-Config", r#"{"provider":"openai","api_key":"sk"}"#), "config.api_key"),
    ] {
        refused(case.check(&[given]), 400, "credential_in_clear", Some(param));
    }
    let sealed = key().public().seal("sk").unwrap();
    let order = case.check(&[("Pointsman-Provider", "openai"), ("Pointsman-Credential", &sealed)]).unwrap();
    assert_eq!(published(&order, "Pointsman-Credential"), Some(sealed.as_str()));
}

#[test]
fn bad_routes_are_refused_before_anything_is_published() {
    let config = |text| http(&[("x-portkey-config", text)]);
    refused(
        config(r#"{"strategy":{"mode":"fallback"},"targets":[]}"#),
        400,
        "invalid_config",
        Some("config.targets"),
    );
    refused(config(r#"{"provider":"#), 400, "invalid_config", Some("config"));
    let message =
        refused(config(r#"{"provider":"opnai"}"#), 400, "unknown_provider", Some("config.provider"));
    assert!(message.contains("mock") && message.contains("openai"), "{message}");
    refused(http(&[("x-portkey-provider", "opnai")]), 400, "unknown_provider", Some("x-portkey-provider"));
    let host = [("x-portkey-provider", "openai"), ("x-portkey-custom-host", "http://169.254.169.254/v1")];
    refused(http(&host), 400, "invalid_custom_host", Some("x-portkey-custom-host"));
}

#[test]
fn a_missing_model_is_fine_if_every_target_brings_one() {
    let body = br#"{"messages":[]}"#;
    let case = Case { body, ..Case::default() };
    refused(case.check(&[]), 400, "missing_required_parameter", Some("model"));
    let own = r#"{"provider":"mock","override_params":{"model":"m"}}"#;
    assert!(case.check(&[("x-portkey-config", own)]).is_ok());
    let some = r#"{"strategy":{"mode":"fallback"},"targets":[{"provider":"mock","override_params":{"model":"m"}},{"provider":"mock"}]}"#;
    refused(case.check(&[("x-portkey-config", some)]), 400, "missing_required_parameter", Some("model"));
    let route = Some(json!({"provider": "mock", "override_params": {"model": "m"}}));
    let case = Case { body, registry: Registry { route, ..registry() }, ..Case::default() };
    assert!(case.check(&[]).is_ok());
}

#[test]
fn line_breaks_never_reach_the_client_library() {
    let mut headers = Headers::new();
    set(&mut headers, "x", "a\r\nb");
    assert_eq!(bus::header(Some(&headers), "x"), Some("a  b"));
}

fn acme() -> Case<'static> {
    let policy = PolicyView::default();
    let stamp = json!({ "at": 1, "by": "cli" });
    let version = json!({
        "slug": "pc-a", "workspace": "acme", "version": 3, "document": { "provider": "@account" }, "created": stamp,
    });
    let head = json!({
        "slug": "pc-a", "workspace": "acme", "name": "A", "version": 3, "latest": 3,
        "created": stamp, "updated": stamp,
    });
    let account = json!({
        "slug": "account", "workspace": "acme", "name": "a", "provider": "mock", "expires_at": 1,
        "created": stamp, "updated": stamp,
    });
    for (sequence, (key, record)) in (1..).zip([
        ("version.acme.pc-a.3", version),
        ("config.acme.pc-a", head),
        ("virtual.acme.account", account),
    ]) {
        policy.apply(key, sequence, record.to_string().as_bytes());
    }
    let identity = Identity { workspace: Workspace::parse("acme").unwrap(), key: None };
    Case { policy, identity, ..Case::default() }
}

#[test]
fn a_stored_config_travels_by_id_and_version() {
    let order = acme().check(&[("x-portkey-config", "pc-a"), ("Pointsman-Request-Id", "r1")]).unwrap();
    assert_eq!(published(&order, "Pointsman-Config"), Some("pc-a"));
    assert_eq!(published(&order, "Pointsman-Config-Version"), Some("3"));
    assert_eq!(
        published(&order, "Pointsman-Request-Id"),
        Some("r1"),
        "the workspace is added by who needs it"
    );
    assert!(published(&order, "Pointsman-Identity").unwrap().starts_with("acme;;"));
    assert_eq!(order.request.as_str(), "acme~r1");
}

#[test]
fn callers_cannot_say_who_they_are() {
    let order =
        http(&[("Pointsman-Identity", "acme;;9999999999999;00"), ("Pointsman-Config-Version", "9")]).unwrap();
    assert!(published(&order, "Pointsman-Identity").unwrap().starts_with("default;;"));
    assert_eq!(published(&order, "Pointsman-Config-Version"), None);
}

#[test]
fn another_workspace_has_other_configs_and_keys() {
    let elsewhere = Case { identity: Identity::default(), ..acme() };
    refused(
        elsewhere.check(&[("x-portkey-config", "pc-a")]),
        400,
        "unknown_config",
        Some("Pointsman-Config"),
    );
    let inline = [("x-portkey-config", r#"{"provider":"@account"}"#)];
    refused(elsewhere.check(&inline), 400, "unknown_provider", Some("config.provider"));
    acme().check(&inline).unwrap();
}

#[test]
fn a_key_of_ours_goes_to_no_provider() {
    let ours = ("Authorization", "Bearer pm_k1_secret");
    let config = r#"{"provider":"mock","forward_headers":["authorization","x-tenant"]}"#;
    let order = http(&[("x-portkey-config", config), ours]).unwrap();
    assert_eq!(published(&order, "Pointsman-Forward"), None);
    let order = http(&[("x-portkey-provider", "mock"), ours]).unwrap();
    assert_eq!(published(&order, "Pointsman-Credential"), None);
    let order = http(&[("x-portkey-provider", "mock"), ours, ("x-api-key", "sk")]).unwrap();
    assert!(published(&order, "Pointsman-Credential").is_some());
}

#[test]
fn a_stored_configs_credential_goes_to_no_host_that_a_request_names() {
    let case = acme();
    let version = json!({
        "slug": "pc-a", "workspace": "acme", "version": 3, "created": { "at": 1, "by": "cli" },
        "document": { "provider": "mock", "api_key": "sealed:x" },
    });
    case.policy.apply("version.acme.pc-a.3", 10, version.to_string().as_bytes());
    assert!(case.check(&[("x-portkey-config", "pc-a")]).is_ok());
    let named = [("x-portkey-config", "pc-a"), ("x-portkey-custom-host", "https://elsewhere.example.com")];
    let Err(err) = case.check(&named) else { panic!("it has to be refused") };
    assert_eq!((err.status, err.param.as_deref()), (400, Some("config.custom_host")), "{err}");
}
