//! Who is shown which models, in which shape.

use domain::registry::Provider;

use super::*;

const NOW: Timestamp = Timestamp(1000);

fn provider(models: &[&str]) -> Provider {
    Provider {
        models: models.iter().map(|name| (*name).to_owned()).collect(),
        ..providers::catalogue::blank(Default::default(), "http://127.0.0.1:1/v1")
    }
}

fn registry() -> Registry {
    let providers = [("a".to_owned(), provider(&["m", "n"])), ("b".to_owned(), provider(&["m", "o/p"]))];
    Registry { providers: providers.into(), ..Registry::default() }
}

fn policy(keys: &[(&str, &str, Value)]) -> Policy {
    let stamp = json!({ "at": 1, "by": "cli" });
    let mut policy = Policy::default();
    for (workspace, slug, changes) in keys {
        let mut record = json!({
            "slug": slug, "workspace": workspace, "name": slug, "provider": "deepseek",
            "created": stamp, "updated": stamp,
        });
        record.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        policy.apply(&format!("virtual.{workspace}.{slug}"), 1, record.to_string().as_bytes());
    }
    policy
}

fn asked(registry: &Registry, policy: &Policy, query: &str, named: Option<&str>, anthropic: bool) -> Value {
    let workspace = Workspace::default();
    let seen = Seen { registry, policy, workspace: &workspace, now: NOW };
    document(list(&seen, &Wanted::read(Some(query), named, anthropic).unwrap()))
}

fn document(response: Response<Body>) -> Value {
    let Body::Whole(body) = response.into_body() else { panic!("a document comes in one piece") };
    serde_json::from_slice(&body).unwrap()
}

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect()
}

#[test]
fn a_model_is_listed_once_with_the_provider_that_has_it() {
    let list = asked(&registry(), &Policy::default(), "", None, false);
    let models: Vec<_> =
        list["data"].as_array().unwrap().iter().map(|m| (&m["id"], &m["owned_by"])).collect();
    assert_eq!(
        models,
        [(&json!("m"), &json!("a")), (&json!("n"), &json!("a")), (&json!("o/p"), &json!("b"))]
    );
    assert_eq!((&list["object"], &list["total"]), (&json!("list"), &json!(3)));
}

#[test]
fn a_provider_whose_settings_name_no_models_shows_those_that_are_known() {
    let registry =
        Registry { providers: [("openai".to_owned(), provider(&[]))].into(), ..Registry::default() };
    let list = asked(&registry, &Policy::default(), "", None, false);
    assert!(ids(&list).contains(&"gpt-4o"), "{list}");
    assert!(list["data"].as_array().unwrap().iter().all(|model| model["owned_by"] == "openai"));
    // Who names a provider with a credential of his own means it, whatever is configured.
    let named = asked(&Registry::default(), &Policy::default(), "", Some("deepseek"), false);
    assert!(ids(&named).iter().any(|id| id.starts_with("deepseek-")), "{named}");
    assert_eq!(
        ids(&asked(&Registry::default(), &Policy::default(), "provider=deepseek", None, false)),
        [""; 0]
    );
}

#[test]
fn virtual_keys_show_what_they_lead_to() {
    let policy = policy(&[
        ("default", "all", json!({})),
        ("default", "few", json!({ "models": ["deepseek-v4*", "tuned-by-us"] })),
        ("default", "gone", json!({ "status": "archived" })),
        ("default", "old", json!({ "expires_at": 1000 })),
        ("other", "theirs", json!({})),
        ("other", "shared", json!({ "workspaces": ["default"], "models": ["one"] })),
    ]);
    let list = asked(&Registry::default(), &policy, "", None, false);
    let found = ids(&list);
    let has = |begin: &str| found.iter().filter(|id| id.starts_with(begin)).count();
    assert_eq!((has("@gone/"), has("@old/"), has("@theirs/"), has("@shared/one")), (0, 0, 0, 1), "{found:?}");
    assert!(has("@all/deepseek") >= 2 && found.contains(&"@few/tuned-by-us"), "{found:?}");
    assert!(
        found.iter().filter(|id| id.starts_with("@few/")).all(|id| id.contains("v4") || id.contains("tuned"))
    );
    let one = list["data"].as_array().unwrap().iter().find(|model| model["id"] == "@shared/one").unwrap();
    assert_eq!(
        (&one["owned_by"], &one["provider"], &one["slug"]),
        (&json!("deepseek"), &json!("shared"), &json!("one"))
    );
}

#[test]
fn the_list_is_filtered_sorted_and_cut() {
    let policy = policy(&[("default", "k", json!({ "models": ["z", "y"] }))]);
    let check = |query: &str, named: Option<&str>, expected: &[&str]| {
        let list = asked(&registry(), &policy, query, named, false);
        assert_eq!(ids(&list), expected, "{query}");
    };
    check("", None, &["m", "n", "o/p", "@k/z", "@k/y"]);
    check("provider=@k", None, &["@k/z", "@k/y"]);
    check("", Some("@k"), &["@k/z", "@k/y"]);
    check("provider=a", Some("@k"), &["m", "n"]);
    check("ai_service=deepseek&sort=name", None, &["@k/y", "@k/z"]);
    check("sort=name&order=desc&limit=2", None, &["@k/z", "@k/y"]);
    check("sort=provider&offset=3", None, &["n", "o/p"]);
    check("limit=1&offset=1&other=x", None, &["n"]);
    let total = asked(&registry(), &policy, "limit=1", None, false)["total"].clone();
    assert_eq!(total, 5);
    for (query, param) in
        [("limit=x", "limit"), ("offset=-1", "offset"), ("sort=age", "sort"), ("order=up", "order")]
    {
        let err = Wanted::read(Some(query), None, false).unwrap_err();
        assert_eq!((err.status, err.param.as_deref()), (400, Some(param)), "{query}");
    }
}

#[test]
fn anthropics_clients_page_through_anthropics_shape() {
    let check = |query: &str, expected: &[&str], more: bool| {
        let list = asked(&registry(), &Policy::default(), query, None, true);
        assert_eq!((ids(&list).as_slice(), &list["has_more"]), (expected, &json!(more)), "{query}");
        assert_eq!(list["first_id"], json!(expected.first()), "{query}");
        assert_eq!(list["last_id"], json!(expected.last()), "{query}");
    };
    check("", &["m", "n", "o/p"], false);
    check("limit=2", &["m", "n"], true);
    check("limit=2&after_id=n", &["o/p"], false);
    check("limit=1&before_id=o%2Fp", &["n"], true);
    check("before_id=n", &["m"], false);
    check("after_id=o%2Fp", &[], false);
    let list = asked(&registry(), &Policy::default(), "limit=1", None, true);
    let expected =
        json!({ "type": "model", "id": "m", "display_name": "m", "created_at": "1970-01-01T00:00:00Z" });
    assert_eq!(list["data"], json!([expected]));
    for limit in ["0", "1001"] {
        assert!(Wanted::read(Some(&format!("limit={limit}")), None, true).is_err());
    }
}

#[test]
fn a_model_is_found_by_its_id() {
    let (registry, policy, workspace) = (registry(), Policy::default(), Workspace::default());
    let seen = Seen { registry: &registry, policy: &policy, workspace: &workspace, now: NOW };
    let wanted = |anthropic| Wanted { anthropic, ..Wanted::default() };
    assert_eq!(document(one(&seen, &wanted(false), "o/p"))["owned_by"], "b");
    assert_eq!(document(one(&seen, &wanted(false), "@a/n"))["id"], "n");
    assert_eq!(document(one(&seen, &wanted(true), "o/p"))["type"], "model");
    assert_eq!(one(&seen, &wanted(false), "q").status(), 404);
    let refused = one(&seen, &wanted(true), "q");
    assert_eq!(refused.status(), 404);
    assert_eq!(document(refused)["type"], "error");
}
