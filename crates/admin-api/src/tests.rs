//! The handlers, against a policy that was put together here.

use bus::seal::PrivateKey;
use domain::policy::{Identity, Key};
use domain::{Policy, Registry, Slug, Timestamp, Workspace};
use serde_json::{Value, json};

use crate::answer::{Answer, Plan};
use crate::call::{Call, Caller, Query};
use crate::options::Options;
use crate::refusal::Refusal;
use crate::routes::{self, Needs, ROUTES};

mod limits;
mod spellings;

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

pub(crate) struct World {
    policy: Policy,
    registry: Registry,
    options: Options,
    sequence: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let sealing = PrivateKey::from_bytes([7; 32]).public().to_text();
        let providers =
            [("here".to_owned(), providers::catalogue::blank(Default::default(), "http://127.0.0.1:1/v1"))];
        let registry =
            Registry { providers: providers.into(), sealing_key: Some(sealing), ..Registry::default() };
        let options = Options { allowed_env: vec!["LLM_*".to_owned()], ..Options::default() };
        let mut world = Self { policy: Policy::default(), registry, options, sequence: 0 };
        for name in ["acme", "other"] {
            world.done("POST", "/v1/admin/workspaces", &json!({ "name": name }), None);
        }
        world
    }

    /// A key of a workspace with these scopes.
    pub(crate) fn key(&mut self, kind: &str, workspace: &str, scopes: &[&str]) -> Identity {
        let body = json!({ "name": "k", "scopes": scopes, "workspace_id": workspace });
        let plan = self.done("POST", &format!("/v1/api-keys/{kind}"), &body, None);
        let id = Slug::parse(&plan.subject.id).unwrap();
        let workspace = self.policy.api_key(&id).unwrap().workspace.clone();
        Identity { workspace, key: Some(id) }
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        who: Option<&Identity>,
        if_match: Option<u64>,
    ) -> Result<Answer, Refusal> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (route, params) = routes::find(method, path)?;
        let query = Query::parse(query);
        query.only(route.query)?;
        let caller = Caller::new(who.cloned().unwrap_or_default(), &self.policy, NOW)?;
        if let Needs::Scope(scope) = route.needs {
            caller.must_have(scope)?;
        }
        let asked = body["workspace_id"].as_str().or_else(|| query.get("workspace_id"));
        let mut entropy = [0; 48];
        for (at, byte) in entropy.iter_mut().enumerate() {
            *byte = u8::try_from((self.sequence as usize * 31 + at * 7) % 251).unwrap();
        }
        let call = Call {
            params,
            query: query.clone(),
            body,
            if_match,
            caller: &caller,
            workspace: caller.workspace(&self.policy, asked)?,
            names_workspace: asked.is_some(),
            policy: &self.policy,
            registry: &self.registry,
            options: &self.options,
            now: NOW,
            entropy,
        };
        (route.handler)(&call)
    }

    /// Asks for a change and stores it.
    #[track_caller]
    pub(crate) fn done(&mut self, method: &str, path: &str, body: &Value, who: Option<&Identity>) -> Plan {
        let answer = self.ask(method, path, body, who, None).unwrap_or_else(|err| panic!("{path}: {err:?}"));
        let Answer::Change(plan) = answer else { panic!("{path} changes nothing") };
        for write in &plan.writes {
            assert_eq!(write.expected, self.policy.sequence(&write.key).unwrap_or(0), "{:?}", write.key);
            self.sequence += 1;
            self.policy.apply(&write.key.to_string(), self.sequence, &write.payload);
        }
        *plan
    }

    #[track_caller]
    fn found(&self, path: &str, who: Option<&Identity>) -> Value {
        match self.ask("GET", path, &Value::Null, who, None) {
            Ok(Answer::Found(body, _)) => body,
            Ok(Answer::Counted(counted)) => counted.body,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn refused(&self, method: &str, path: &str, body: &Value, who: Option<&Identity>) -> Refusal {
        match self.ask(method, path, body, who, None) {
            Err(refusal) => refusal,
            Ok(answer) => panic!("{method} {path} was not refused: {answer:?}"),
        }
    }
}

#[test]
fn a_wrong_body_is_refused_with_its_place_and_the_fix() {
    let world = World::new();
    let good = json!({ "provider": "here" });
    for (path, body, param, part) in [
        ("/v1/configs", json!({ "name": "a", "confg": good }), "confg", "did you mean `config`?"),
        ("/v1/configs", json!({ "config": good }), "body", "missing field `name`"),
        ("/v1/configs", json!({ "name": 5, "config": good }), "name", "expected a string"),
        ("/v1/configs", json!([]), "body", "not a JSON object"),
        ("/v1/configs", json!({ "name": "a", "config": "{" }), "config", "not JSON"),
        ("/v1/configs", json!({ "name": "a", "config": 5 }), "config", "JSON object"),
        ("/v1/configs", json!({ "name": "a", "slug": "a b", "config": good }), "slug", "letters, digits"),
        ("/v1/configs", json!({ "name": "a", "config": good, "isDefault": 2 }), "isDefault", "neither true"),
        ("/v1/configs", json!({ "name": "a", "config": { "provider": "x" } }), "config.provider", "unknown"),
        (
            "/v1/configs",
            json!({ "name": "a", "config": { "provider": "here", "api_key": "***" } }),
            "config",
            "keeps",
        ),
        (
            "/v1/configs",
            json!({ "name": "a", "config": good, "workspace_id": "nope" }),
            "workspace_id",
            "no workspace",
        ),
        ("/v1/virtual-keys", json!({ "provider": "here" }), "name", "missing"),
        ("/v1/virtual-keys", json!({ "name": "a" }), "provider", "missing"),
        ("/v1/virtual-keys", json!({ "name": "a", "provider": "heer" }), "provider", "known: here"),
        ("/v1/virtual-keys", json!({ "name": "a", "provider": "here", "key": " " }), "key", "empty"),
        (
            "/v1/virtual-keys",
            json!({ "name": "a", "provider": "here", "secret": { "env": "PATH" } }),
            "secret",
            "LLM_*",
        ),
        (
            "/v1/virtual-keys",
            json!({ "name": "a", "provider": "here", "secret": { "file": "/x" } }),
            "secret",
            "no files",
        ),
        (
            "/v1/virtual-keys",
            json!({ "name": "a", "provider": "here", "expires_at": "soon" }),
            "expires_at",
            "2027-",
        ),
        (
            "/v1/virtual-keys",
            json!({ "name": "a", "provider": "here", "operations": ["chatt"] }),
            "operations[0]",
            "chat",
        ),
        (
            "/v1/virtual-keys",
            json!({ "name": "a", "provider": "here", "workspaces": ["x"] }),
            "workspaces",
            "no workspace `x`",
        ),
        (
            "/v1/virtual-keys",
            json!({ "name": "a", "provider": "here", "custom_host": "http://10.0.0.1" }),
            "custom_host",
            "",
        ),
        (
            "/v1/virtual-keys",
            json!({ "name": "a", "provider": "here", "rate_limits": 5 }),
            "rate_limits",
            "write an object",
        ),
        ("/v1/providers", json!({ "name": "a", "integration_id": "x" }), "integration_id", "no integration"),
        ("/v1/integrations", json!({ "name": "a" }), "ai_provider_id", "missing"),
        (
            "/v1/api-keys/workspace/service",
            json!({ "name": "a", "scopes": ["config.read"] }),
            "scopes[0]",
            "known nouns",
        ),
        ("/v1/api-keys/workspace/user", json!({ "name": "a" }), "user_id", "missing"),
        (
            "/v1/api-keys/workspace/service",
            json!({ "name": "a", "defaults": { "config_id": "pc-x" } }),
            "defaults.config_id",
            "no config",
        ),
        ("/v1/admin/workspaces", json!({ "name": "a", "slug": "acme" }), "slug", "there already"),
    ] {
        let refusal = world.refused("POST", path, &body, None);
        assert_eq!(refusal.param.as_deref(), Some(param), "{body}: {}", refusal.message);
        assert!(refusal.message.contains(part), "{body}: {}", refusal.message);
        assert!((400..=409).contains(&refusal.status), "{body}: {}", refusal.status);
    }
}

#[test]
fn a_configs_credential_is_sealed_masked_and_kept() {
    let mut world = World::new();
    let config = json!({ "provider": "here", "api_key": "sk-canary" });
    let plan = world.done(
        "POST",
        "/v1/configs",
        &json!({ "name": "My Config", "slug": "mine", "config": config }),
        None,
    );
    assert_eq!(plan.subject.id, "pc-mine");
    for write in &plan.writes {
        assert!(!String::from_utf8_lossy(&write.payload).contains("canary"));
    }
    assert_eq!(plan.after["config"]["api_key"], "***", "neither does the audit entry hold it");
    let shown = world.found("/v1/configs/pc-mine", None);
    assert_eq!(shown["data"]["config"], json!({ "provider": "here", "api_key": "***" }));
    let slug = Slug::parse("pc-mine").unwrap();
    let stored = |world: &World, n: u32| {
        world.policy.config_version(&Workspace::default(), &slug, n).unwrap().document["api_key"].clone()
    };
    let before = stored(&world, 1);
    let changed =
        json!({ "config": { "provider": "here", "api_key": "***", "override_params": { "n": 1 } } });
    world.done("PUT", "/v1/configs/pc-mine", &changed, None);
    assert_eq!(stored(&world, 2), before);
}

#[test]
fn versions_grow_and_a_rollback_leaves_them() {
    let mut world = World::new();
    let document = |n: u32| json!({ "provider": "here", "override_params": { "n": n } });
    world.done("POST", "/v1/configs", &json!({ "name": "c", "slug": "c", "config": document(1) }), None);
    world.done("PUT", "/v1/configs/pc-c", &json!({ "config": document(2) }), None);
    world.done("POST", "/v1/configs/pc-c/rollback", &json!({ "version": 1 }), None);
    let shown = world.found("/v1/configs/pc-c", None);
    assert_eq!((&shown["data"]["version"], &shown["data"]["latest_version"]), (&json!(1), &json!(2)));
    assert_eq!(shown["data"]["config"], document(1));
    world.done("PUT", "/v1/configs/pc-c", &json!({ "config": document(3) }), None);
    assert_eq!(world.found("/v1/configs/pc-c", None)["data"]["version"], 3, "no version is written twice");
    let versions = world.found("/v1/configs/pc-c/versions", None);
    assert_eq!(versions["total"], 3);
    assert!(versions["data"][0]["config"].as_str().unwrap().contains("\"n\":3"));
    let refusal = world.refused("POST", "/v1/configs/pc-c/rollback", &json!({ "version": 9 }), None);
    assert!(refusal.message.contains("1 to 3"), "{}", refusal.message);
}

#[test]
fn a_workspace_has_one_default_config() {
    let mut world = World::new();
    for slug in ["a", "b"] {
        let body = json!({ "name": slug, "slug": slug, "config": { "provider": "here" }, "isDefault": 1 });
        world.done("POST", "/v1/configs", &body, None);
    }
    assert_eq!(world.found("/v1/configs/pc-a", None)["data"]["is_default"], false);
    assert_eq!(world.policy.default_config(&Workspace::default()).unwrap().as_str(), "pc-b");
}

#[test]
fn a_key_of_one_workspace_sees_nothing_of_another() {
    let mut world = World::new();
    let acme = world.key("workspace/service", "acme", &["*"]);
    let other = world.key("workspace/service", "other", &["*"]);
    let config = json!({ "name": "c", "slug": "c", "config": { "provider": "here" } });
    world.done("POST", "/v1/configs", &config, Some(&acme));
    world.done(
        "POST",
        "/v1/virtual-keys",
        &json!({ "name": "v", "slug": "v", "provider": "here" }),
        Some(&acme),
    );
    let key = acme.key.clone().unwrap();
    for path in [
        "/v1/configs/pc-c",
        "/v1/virtual-keys/v",
        "/v1/admin/workspaces/acme",
        &format!("/v1/api-keys/{key}"),
    ] {
        world.found(path, Some(&acme));
        let refusal = world.refused("GET", path, &Value::Null, Some(&other));
        assert_eq!(refusal.status, 404, "{path}");
        let named = world.refused("GET", "/v1/configs?workspace_id=acme", &Value::Null, Some(&other));
        assert_eq!(named.status, 404, "{path}");
    }
    for (path, own) in
        [("/v1/configs", 0), ("/v1/virtual-keys", 0), ("/v1/api-keys", 1), ("/v1/admin/workspaces", 1)]
    {
        assert_eq!(world.found(path, Some(&other))["total"], own, "{path}");
    }
    let organisation = world.key("organisation/service", "default", &["*"]);
    assert_eq!(world.found("/v1/configs?workspace_id=acme", Some(&organisation))["total"], 1);
    assert_eq!(world.found("/v1/api-keys", Some(&organisation))["total"], 3);
    let refusal = world.refused("POST", "/v1/admin/workspaces", &json!({ "name": "mine" }), Some(&acme));
    assert_eq!(refusal.status, 403);
}

#[test]
fn nobody_does_or_gives_away_more_than_they_may() {
    let mut world = World::new();
    let weak = world.key("workspace/service", "acme", &["configs.read", "workspace_service_api_keys.*"]);
    let strong = world.key("workspace/service", "acme", &["*"]);
    let config = json!({ "name": "c", "config": { "provider": "here" } });
    assert!(world.refused("POST", "/v1/configs", &config, Some(&weak)).message.contains("configs.create"));
    let new = |scopes: &[&str]| json!({ "name": "n", "scopes": scopes });
    let create = "/v1/api-keys/workspace/service";
    assert_eq!(world.refused("POST", create, &new(&["configs.update"]), Some(&weak)).status, 403);
    assert_eq!(world.refused("POST", create, &json!({ "name": "n" }), Some(&weak)).status, 403);
    world.done("POST", create, &new(&["configs.read"]), Some(&weak));
    let rotate = format!("/v1/api-keys/{}/rotate", strong.key.unwrap());
    assert_eq!(world.refused("POST", &rotate, &json!({}), Some(&weak)).status, 403);
    let organisation = "/v1/api-keys/organisation/service";
    assert_eq!(world.refused("POST", organisation, &new(&["configs.read"]), Some(&weak)).status, 403);
}

#[test]
fn a_keys_secret_is_shown_once_and_rotates_with_an_overlap() {
    let mut world = World::new();
    let made = world.done("POST", "/v1/api-keys/workspace/service", &json!({ "name": "k" }), None);
    let id = Slug::parse(&made.subject.id).unwrap();
    let (name, text) = &made.once[0];
    assert_eq!(*name, "key");
    let secret = |text: &str| domain::policy::ApiKey::take_apart(text).unwrap().1.to_owned();
    assert_eq!(secret(text).len(), 64, "256 bits");
    let everything =
        format!("{}{}{}", made.after, made.reply, String::from_utf8_lossy(&made.writes[0].payload));
    assert!(!everything.contains(&secret(text)));
    let rotated = world.done(
        "POST",
        &format!("/v1/api-keys/{id}/rotate"),
        &json!({ "key_transition_period_ms": 1000 }),
        None,
    );
    let key = world.policy.api_key(&id).unwrap();
    let good = |text: &str, at: u64| bus::identity::is_secret_of(&key, &secret(text), Timestamp(NOW.0 + at));
    assert!(good(&rotated.once[0].1, 5000) && good(text, 999) && !good(text, 1000));
    assert!(!rotated.after.to_string().contains(&key.hash));
}

#[test]
fn an_archived_workspace_disables_its_keys() {
    let mut world = World::new();
    let acme = world.key("workspace/service", "acme", &["*"]);
    world.found("/v1/configs", Some(&acme));
    world.done("DELETE", "/v1/admin/workspaces/acme", &Value::Null, None);
    assert_eq!(world.refused("GET", "/v1/configs", &Value::Null, Some(&acme)).status, 401);
    let into = json!({ "name": "c", "config": { "provider": "here" }, "workspace_id": "acme" });
    assert_eq!(world.refused("POST", "/v1/configs", &into, None).status, 409);
    assert_eq!(world.refused("DELETE", "/v1/admin/workspaces/default", &Value::Null, None).status, 409);
    world.done("PUT", "/v1/admin/workspaces/acme", &json!({ "status": "active" }), None);
    world.found("/v1/configs", Some(&acme));
}

#[test]
fn a_provider_is_made_of_an_integration() {
    let mut world = World::new();
    let integration = json!({
        "name": "I", "slug": "int", "ai_provider_id": "here", "key": "sk-canary",
        "configurations": { "api_version": "1", "custom_host": "https://api.example.com/v1" },
    });
    let made = world.done("POST", "/v1/integrations", &integration, None);
    assert_eq!((made.reply["masked_key"].as_str(), made.reply["key"].as_str()), (Some("***"), None));
    world.done(
        "POST",
        "/v1/providers",
        &json!({ "name": "P", "slug": "prov", "integration_id": "int" }),
        None,
    );
    let key = world.policy.virtual_key(&Workspace::default(), "prov").unwrap();
    let base = world.policy.virtual_key(&Workspace::default(), "int").unwrap();
    assert_eq!(
        (&key.secret, &key.options, &key.custom_host),
        (&base.secret, &base.options, &base.custom_host)
    );
    assert_eq!(base.options["api_version"], "1");
}

#[test]
fn what_is_null_is_cleared_and_what_is_missing_stays() {
    let mut world = World::new();
    let new = json!({ "name": "v", "slug": "v", "provider": "here", "note": "n", "expires_at": "2030-01-01T00:00:00Z", "models": ["m"] });
    world.done("POST", "/v1/virtual-keys", &new, None);
    let shown = world.done("PUT", "/v1/virtual-keys/v", &json!({ "note": null }), None).after;
    assert_eq!((&shown["note"], &shown["models"]), (&Value::Null, &json!(["m"])));
    assert_eq!(shown["expires_at"], "2030-01-01T00:00:00Z");
    let rotated = world.done("PUT", "/v1/virtual-keys/v", &json!({ "key": "sk-new" }), None).after;
    assert_eq!((&rotated["key_version"], &rotated["masked_key"]), (&json!(1), &json!("***")));
}

#[test]
fn if_match_names_the_revision_that_is_there() {
    let mut world = World::new();
    world.done("POST", "/v1/virtual-keys", &json!({ "name": "v", "slug": "v", "provider": "here" }), None);
    let key = Key::VirtualKey(Workspace::default(), Slug::parse("v").unwrap());
    let there = world.policy.sequence(&key).unwrap();
    for (method, body) in [("PUT", json!({ "note": "x" })), ("DELETE", Value::Null)] {
        let stale = world.ask(method, "/v1/virtual-keys/v", &body, None, Some(there + 1)).unwrap_err();
        assert_eq!((stale.status, stale.kind), (412, "precondition_failed"));
        assert!(world.ask(method, "/v1/virtual-keys/v", &body, None, Some(there)).is_ok());
    }
}

#[test]
fn lists_come_in_pages() {
    let mut world = World::new();
    for n in 0..5 {
        let body = json!({ "name": "v", "slug": format!("v{n}"), "provider": "here" });
        world.done("POST", "/v1/virtual-keys", &body, None);
    }
    world.done("DELETE", "/v1/virtual-keys/v0", &Value::Null, None);
    let page = world.found("/v1/virtual-keys?page_size=3&current_page=1", None);
    assert_eq!((&page["total"], &page["data"][0]["slug"]), (&json!(4), &json!("v4")));
    assert_eq!(world.found("/v1/virtual-keys?status=archived", None)["total"], 1);
    for (query, param) in [
        ("page_size=0", "page_size"),
        ("page_size=x", "page_size"),
        ("status=gone", "status"),
        ("pagesize=1", "pagesize"),
    ] {
        let refusal = world.refused("GET", &format!("/v1/virtual-keys?{query}"), &Value::Null, None);
        assert_eq!(refusal.param.as_deref(), Some(param));
    }
}

#[test]
fn targets_are_reset_by_their_own_workspace_and_administrators() {
    let mut world = World::new();
    let acme = world.key("workspace/service", "acme", &["targets.*"]);
    let reset = |who| world.ask("POST", "/v1/admin/targets/acme%2Fmock/reset", &Value::Null, who, None);
    for who in [None, Some(&acme)] {
        let Ok(Answer::Reset(plan)) = reset(who) else { panic!("{who:?} may not") };
        assert_eq!((plan.subject.id.as_str(), plan.subject.workspace.as_str()), ("acme/mock", "acme"));
    }
    for target in ["other%2Fmock", "mock"] {
        let path = format!("/v1/admin/targets/{target}/reset");
        assert_eq!(world.refused("POST", &path, &Value::Null, Some(&acme)).status, 404, "{target}");
    }
}

#[test]
fn lint_judges_without_storing() {
    let world = World::new();
    let judge =
        |config: Value| match world.ask("POST", "/v1/configs/lint", &json!({ "config": config }), None, None)
        {
            Ok(Answer::Found(body, _)) => body,
            other => panic!("{other:?}"),
        };
    assert_eq!(judge(json!({ "provider": "here" })), json!({ "valid": true, "errors": [], "warnings": [] }));
    let bad = judge(json!({ "provider": "here", "weigth": 1 }));
    assert_eq!(bad["valid"], false);
    assert!(bad["errors"][0]["path"].as_str().unwrap().starts_with("config"), "{bad}");
    let clear = judge(json!({ "provider": "here", "api_key": "sk" }));
    assert_eq!((&clear["valid"], &clear["warnings"][0]["path"]), (&json!(true), &json!("config.api_key")));
}

#[test]
fn the_document_has_every_route_and_resolves() {
    let world = World::new();
    let document = world.found("/v1/openapi.json", None);
    assert_eq!(document["openapi"], "3.1.0");
    for route in ROUTES {
        let operation = &document["paths"][route.path][route.method.to_ascii_lowercase()];
        assert!(operation["operationId"].is_string(), "{} {}", route.method, route.path);
        assert_eq!(operation["requestBody"].is_object(), route.body.is_some(), "{}", route.path);
    }
    assert!(document["paths"]["/v1/chat/completions"]["post"].is_object());
    let text = document.to_string();
    let named = text.match_indices("#/components/schemas/").map(|(at, found)| &text[at + found.len()..]);
    for name in named.map(|rest| rest.split('"').next().unwrap()) {
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
    let ids: Vec<&Value> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path.as_object().unwrap().values().map(|operation| &operation["operationId"]))
        .collect();
    let different: std::collections::BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(different.len(), ids.len(), "operation ids differ");
}

#[test]
fn whoever_may_change_an_account_or_a_config_may_not_read_its_credential() {
    let mut world = World::new();
    let member = world.key("workspace/service", "acme", &["*"]);
    let key = json!({ "name": "a", "slug": "a", "provider": "here", "key": "sk-1" });
    world.done("POST", "/v1/virtual-keys", &key, Some(&member));
    let elsewhere = json!({ "custom_host": "https://elsewhere.example.com/v1" });
    let refusal = world.refused("PUT", "/v1/virtual-keys/a", &elsewhere, Some(&member));
    assert_eq!((refusal.status, refusal.param.as_deref()), (400, Some("custom_host")), "{refusal:?}");
    let with_key = json!({ "custom_host": "https://elsewhere.example.com/v1", "key": "sk-2" });
    world.done("PUT", "/v1/virtual-keys/a", &with_key, Some(&member));
    // A copy of another's account is no way around it.
    let copy = json!({ "name": "p", "slug": "p", "integration_id": "a" });
    world.done("POST", "/v1/providers", &copy, Some(&member));
    let moved = json!({ "custom_host": "https://third.example.com/v1" });
    assert_eq!(world.refused("PUT", "/v1/virtual-keys/p", &moved, Some(&member)).status, 400);
    world.done("PUT", "/v1/virtual-keys/p", &json!({ "custom_host": null }), Some(&member));

    let config = json!({ "name": "c", "slug": "c", "config": { "provider": "here", "api_key": "sk-1" } });
    world.done("POST", "/v1/configs", &config, Some(&member));
    let document = |key: &str| {
        json!({
            "config": { "provider": "here", "api_key": key, "custom_host": "https://elsewhere.example.com/v1" },
        })
    };
    let refusal = world.refused("PUT", "/v1/configs/pc-c", &document("***"), Some(&member));
    assert!(refusal.message.contains("https://elsewhere.example.com/v1"), "{refusal:?}");
    world.done("PUT", "/v1/configs/pc-c", &document("sk-2"), Some(&member));
    world.done("PUT", "/v1/configs/pc-c", &document("***"), Some(&member));
}

#[test]
fn the_workers_environment_belongs_to_the_whole_installation() {
    let mut world = World::new();
    let member = world.key("workspace/service", "acme", &["*"]);
    let body = json!({ "name": "a", "provider": "here", "secret": { "env": "LLM_KEY" } });
    let refusal = world.refused("POST", "/v1/virtual-keys", &body, Some(&member));
    assert_eq!((refusal.status, refusal.param.as_deref()), (403, Some("secret")), "{refusal:?}");
    let administrator = world.key("organisation/service", "default", &["*"]);
    world.done("POST", "/v1/virtual-keys", &body, Some(&administrator));
}
