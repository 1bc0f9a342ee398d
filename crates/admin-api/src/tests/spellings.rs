//! What Portkey's clients send and read otherwise than its documents say.

use super::*;
use crate::answer::in_both_envelopes;

#[test]
fn what_portkeys_clients_name_twice_may_be_said_twice_but_not_otherwise() {
    let mut world = World::new();
    let config = json!({ "name": "a", "slug": "a", "config": { "provider": "here" } });
    world.done("POST", "/v1/configs", &config, None);
    world.done("PUT", "/v1/configs/pc-a", &json!({ "slug": "pc-a", "name": "b" }), None);
    let refusal = world.refused("PUT", "/v1/configs/pc-a", &json!({ "slug": "pc-b", "name": "b" }), None);
    assert_eq!((refusal.status, refusal.param.as_deref()), (400, Some("slug")));
    let key = json!({ "type": "workspace", "sub-type": "service", "name": "k", "scopes": ["configs.read"] });
    let plan = world.done("POST", "/v1/api-keys/workspace/service", &key, None);
    let place = format!("/v1/api-keys/{}", plan.subject.id);
    world.done("PUT", &place, &json!({ "id": plan.subject.id, "name": "l" }), None);
    for (method, path, body, param) in [
        ("POST", "/v1/api-keys/organisation/service", key.clone(), "type"),
        ("POST", "/v1/api-keys/workspace/user", key.clone(), "sub-type"),
        ("POST", "/v1/api-keys/workspace/service", json!({ "name": "k", "id": "mine" }), "id"),
        ("PUT", &place, json!({ "id": "other" }), "id"),
        ("PUT", &place, json!({ "sub-type": "user" }), "sub-type"),
        ("POST", "/v1/admin/workspaces", json!({ "name": "w", "users": ["u"] }), "users"),
    ] {
        let refusal = world.refused(method, path, &body, None);
        assert_eq!((refusal.status, refusal.param.as_deref()), (400, Some(param)), "{path} {body}");
    }
    world.done("POST", "/v1/admin/workspaces", &json!({ "name": "w", "users": [] }), None);
}

#[test]
fn both_spellings_are_understood() {
    let mut world = World::new();
    for (slug, field) in [("a", "is_default"), ("b", "isDefault")] {
        let body = json!({ "name": slug, "slug": slug, "config": { "provider": "here" }, field: 1 });
        world.done("POST", "/v1/configs", &body, None);
        assert_eq!(
            world.found(&format!("/v1/configs/pc-{slug}"), None)["data"]["is_default"],
            true,
            "{field}"
        );
    }
    world.done("PUT", "/v1/configs/pc-a", &json!({ "is_default": true }), None);
    let both = json!({ "isDefault": true, "is_default": false });
    assert_eq!(world.refused("PUT", "/v1/configs/pc-a", &both, None).param.as_deref(), Some("is_default"));
    for query in ["page_size=1&current_page=1", "pageSize=1&currentPage=1"] {
        let page = world.found(&format!("/v1/configs?{query}"), None);
        assert_eq!((&page["total"], page["data"].as_array().unwrap().len()), (&json!(2), 1), "{query}");
        assert_eq!(page["data"][0]["slug"], "pc-b", "{query}");
    }
    let named = world.found("/v1/admin/workspaces?name=AC", None);
    assert_eq!((&named["total"], &named["data"][0]["slug"]), (&json!(1), &json!("acme")));
    assert_eq!(world.found("/v1/admin/workspaces?exact_name=ac", None)["total"], 0);
    let azure = json!({
        "name": "v", "slug": "v", "provider": "here", "key": "k",
        "apiVersion": "2024-10-21", "resourceName": "res", "deploymentName": "dep",
    });
    world.done("POST", "/v1/virtual-keys", &azure, None);
    let options = json!({ "api_version": "2024-10-21", "resource_name": "res", "deployment_id": "dep" });
    assert_eq!(world.found("/v1/virtual-keys/v", None)["data"]["options"], options);
    for (kind, total) in [("workspace", 1), ("all", 1), ("organisation", 0)] {
        assert_eq!(world.found(&format!("/v1/integrations?type={kind}"), None)["total"], total, "{kind}");
    }
    let refusal = world.refused("GET", "/v1/integrations?type=mine", &Value::Null, None);
    assert_eq!(refusal.param.as_deref(), Some("type"));
}

#[test]
fn an_entitys_fields_are_under_data_and_at_the_top() {
    let mut world = World::new();
    let config = json!({ "name": "a", "slug": "a", "config": { "provider": "here" } });
    let mut reply = world.done("POST", "/v1/configs", &config, None).reply;
    in_both_envelopes(&mut reply);
    for field in ["id", "slug", "version_id", "config"] {
        assert!(!reply[field].is_null() && reply[field] == reply["data"][field], "{field}: {reply}");
    }
    let mut list = world.found("/v1/configs", None);
    let before = list.clone();
    in_both_envelopes(&mut list);
    assert_eq!(list, before, "a list's data is no entity");
}
