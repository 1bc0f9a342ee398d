//! The index and the access rules.

use serde_json::{Value, json};

use super::*;

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

fn acme() -> Workspace {
    Workspace::parse("acme").unwrap()
}

fn stamp() -> Value {
    json!({ "at": 1, "by": "cli" })
}

fn head(version: u32) -> Vec<u8> {
    json!({
        "slug": "pc-a", "workspace": "acme", "name": "A", "version": version, "latest": version, "is_default": true,
        "created": stamp(), "updated": stamp(),
    })
    .to_string()
    .into_bytes()
}

fn version(number: u32) -> Vec<u8> {
    let document = json!({ "provider": format!("p{number}") });
    json!({ "slug": "pc-a", "workspace": "acme", "version": number, "document": document, "created": stamp() })
        .to_string()
        .into_bytes()
}

#[test]
fn keys_print_and_parse_back() {
    for text in [
        "workspace.acme",
        "config.acme.pc-a",
        "version.acme.pc-a.12",
        "virtual.acme.openai",
        "apikey.k1",
        "policy.acme.teams",
    ] {
        assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
    }
    for text in ["", "workspace", "config.acme", "version.acme.pc-a.x", "apikey.a.b", "other.x"] {
        assert_eq!(text.parse::<Key>(), Err(UnknownKey(text.to_owned())));
    }
}

#[test]
fn a_config_is_there_once_its_version_is() {
    let mut policy = Policy::default();
    let found = |policy: &Policy| policy.config(&acme(), &slug("pc-a")).map(|(_, v)| v.document.clone());
    policy.apply("config.acme.pc-a", 2, &head(1));
    assert_eq!(found(&policy), None);
    policy.apply("version.acme.pc-a.1", 1, &version(1));
    assert_eq!(found(&policy), Some(json!({ "provider": "p1" })));
    policy.apply("version.acme.pc-a.2", 3, &version(2));
    assert_eq!(found(&policy), Some(json!({ "provider": "p1" })), "the head decides");
    policy.apply("config.acme.pc-a", 4, &head(2));
    assert_eq!(found(&policy), Some(json!({ "provider": "p2" })));
    assert_eq!(policy.apply("config.acme.pc-a", 2, &head(1)), Change::Old);
    assert_eq!(policy.default_config(&acme()), Some(slug("pc-a")));
    assert_eq!(policy.config_versions(&acme(), &slug("pc-a")).len(), 2);
    assert_eq!(policy.config(&Workspace::default(), &slug("pc-a")), None, "another workspace sees nothing");
}

#[test]
fn a_malformed_record_leaves_the_last_good_one() {
    let mut policy = Policy::default();
    policy.apply("version.acme.pc-a.1", 1, &version(1));
    policy.apply("config.acme.pc-a", 2, &head(1));
    assert!(matches!(policy.apply("config.acme.pc-a", 3, b"{\"slug\":"), Change::Malformed(_)));
    assert!(policy.config(&acme(), &slug("pc-a")).is_some());
    policy.apply("config.acme.pc-a", 4, b"");
    assert!(policy.config(&acme(), &slug("pc-a")).is_none());
    assert_eq!(policy.default_config(&acme()), None);
}

fn virtual_key(workspace: &str, shared_with: &[&str]) -> Vec<u8> {
    json!({
        "slug": "openai", "workspace": workspace, "name": "o", "provider": "openai", "workspaces": shared_with,
        "created": stamp(), "updated": stamp(),
    })
    .to_string()
    .into_bytes()
}

#[test]
fn virtual_keys_are_seen_by_their_workspace_and_those_it_shares_with() {
    let mut policy = Policy::default();
    policy.apply("virtual.default.openai", 1, &virtual_key("default", &["acme"]));
    let owner = |policy: &Policy, w: &str| {
        policy.virtual_key(&Workspace::parse(w).unwrap(), "openai").map(|k| k.workspace.to_string())
    };
    assert_eq!(owner(&policy, "default").as_deref(), Some("default"));
    assert_eq!(owner(&policy, "acme").as_deref(), Some("default"));
    assert_eq!(owner(&policy, "other"), None);
    policy.apply("virtual.acme.openai", 2, &virtual_key("acme", &[]));
    assert_eq!(owner(&policy, "acme").as_deref(), Some("acme"), "its own comes first");
}

fn api_key(defaults: Value) -> Vec<u8> {
    json!({
        "id": "k1", "kind": "workspace-service", "workspace": "acme", "name": "k", "scopes": [], "hash": "",
        "defaults": defaults, "created": stamp(), "updated": stamp(),
    })
    .to_string()
    .into_bytes()
}

fn workspace(defaults: Value) -> Vec<u8> {
    json!({ "slug": "acme", "name": "Acme", "defaults": defaults, "created": stamp(), "updated": stamp() })
        .to_string()
        .into_bytes()
}

fn asked(config: Option<&str>) -> crate::headers::Options {
    crate::headers::Options::read(|name| config.filter(|_| name == crate::headers::CONFIG)).unwrap()
}

#[test]
fn a_request_beats_its_key_which_beats_its_workspace() {
    let mut policy = Policy::default();
    let identity = Identity { workspace: acme(), key: Some(slug("k1")) };
    let chosen = |policy: &Policy, config| policy.choose_config(&identity, &asked(config));
    assert_eq!(chosen(&policy, None), Ok(Chosen::Route));
    policy.apply("version.acme.pc-a.1", 1, &version(1));
    policy.apply("config.acme.pc-a", 2, &head(1));
    let stored = |chosen: Result<Chosen, crate::ApiError>| match chosen {
        Ok(Chosen::Stored(version)) => version.version,
        other => panic!("{other:?}"),
    };
    assert_eq!(stored(chosen(&policy, None)), 1, "the workspace's default");
    assert_eq!(chosen(&policy, Some("{}")), Ok(Chosen::Inline("{}".to_owned())));
    policy.apply("workspace.acme", 3, &workspace(json!({ "config_id": "pc-gone" })));
    assert_eq!(chosen(&policy, None).unwrap_err().code.as_deref(), Some("unknown_config"));
    policy.apply("apikey.k1", 4, &api_key(json!({ "config_id": "pc-a" })));
    assert_eq!(stored(chosen(&policy, None)), 1, "the key's default");
    policy.apply("apikey.k1", 5, &api_key(json!({ "config_id": "pc-a", "allow_config_override": false })));
    let refused = chosen(&policy, Some("{}")).unwrap_err();
    assert!(refused.message.starts_with("Cannot override default config set for this API key."));
    let pinned = crate::headers::Options::read(|name| match name {
        crate::headers::CONFIG => Some("pc-a"),
        crate::headers::CONFIG_VERSION => Some("7"),
        _ => None,
    });
    let unseen = policy.choose_config(&identity, &pinned.unwrap());
    assert_eq!(unseen, Ok(Chosen::Unseen("version.acme.pc-a.7".parse().unwrap())));
}

#[test]
fn metadata_of_the_workspace_win() {
    let mut policy = Policy::default();
    let identity = Identity { workspace: acme(), key: Some(slug("k1")) };
    let merged = |policy: &Policy| {
        let text = policy.merge_metadata(&identity, Some("{\"a\":\"request\",\"d\":\"request\"}")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert_eq!(merged(&policy), json!({ "a": "request", "d": "request" }));
    policy.apply("apikey.k1", 1, &api_key(json!({ "metadata": { "a": "key", "b": "key" } })));
    policy.apply(
        "workspace.acme",
        2,
        &workspace(json!({ "metadata": { "b": "workspace", "c": "workspace" } })),
    );
    assert_eq!(merged(&policy), json!({ "a": "key", "d": "request", "b": "workspace", "c": "workspace" }));
    assert_eq!(policy.merge_metadata(&Identity::default(), None), None);
}

#[test]
fn scopes_allow_what_they_say() {
    let allows = |scope: &str, wanted: &str| Scope::parse(scope).unwrap().allows(wanted);
    assert!(allows("*", "configs.read"));
    assert!(allows("configs.*", "configs.read"));
    assert!(allows("configs.read", "configs.read"));
    assert!(!allows("configs.read", "configs.update"));
    assert!(!allows("mcp.invoke", "mcp_servers.read"));
    assert!(!allows("workspaces.*", "workspace_users.read"));
    for (bad, part) in
        [("configs", "noun and a verb"), ("config.read", "known nouns"), ("models.read", "list")]
    {
        assert!(Scope::parse(bad).unwrap_err().to_string().contains(part), "{bad}");
    }
}

#[test]
fn key_texts_come_apart() {
    let text = ApiKey::text(&slug("k1"), "s_e-cret");
    assert_eq!(ApiKey::take_apart(&text), Some((slug("k1"), "s_e-cret")));
    for other in ["sk-proj-1234", "pm_", "pm_k1", "pm_k1_", ""] {
        assert_eq!(ApiKey::take_apart(other), None, "{other}");
    }
}

#[test]
fn a_star_stands_for_any_text() {
    for (pattern, text, fits) in [
        ("gpt-4o", "gpt-4o", true),
        ("gpt-4o", "gpt-4o-mini", false),
        ("gpt-*", "gpt-4o-mini", true),
        ("*", "", true),
        ("*-mini", "gpt-4o-mini", true),
        ("*-mini", "gpt-4o", false),
        ("g*o*i", "gpt-4o-mini", true),
        ("ü*", "über", true),
    ] {
        assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
    }
}

#[test]
fn paths_stay_inside_the_directory() {
    let dir = Path::new("/run/secrets");
    let joined = |path| inside(dir, path).map(|p| p.display().to_string());
    assert_eq!(joined("openai").as_deref(), Some("/run/secrets/openai"));
    assert_eq!(joined("/run/secrets/team/openai").as_deref(), Some("/run/secrets/team/openai"));
    for out in ["", "/etc/passwd", "../etc/passwd", "a/../../etc/passwd", "/run/secrets", "/run/secretsx/a"] {
        assert_eq!(joined(out), None, "{out}");
    }
}

#[test]
fn the_key_says_whether_answers_show_their_cost() {
    let mut policy = Policy::default();
    policy.apply("apikey.k1", 5, &api_key(json!({ "show_cost": true })));
    let of = |key: Option<&str>| Identity { workspace: acme(), key: key.map(slug) };
    assert_eq!(policy.shows_cost(&of(Some("k1"))), Some(true));
    assert_eq!(policy.shows_cost(&of(Some("k2"))), Some(false), "a key that nobody knows");
    assert_eq!(policy.shows_cost(&of(None)), None);
    policy.apply("apikey.k1", 6, &api_key(json!({})));
    assert_eq!(policy.shows_cost(&of(Some("k1"))), Some(false));
}
