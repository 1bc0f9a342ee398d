//! Caps, policies, and what they have counted.

use domain::Timestamp;
use domain::limit::{Account, Amounts, Grant};
use domain::policy::Key;

use super::*;
use crate::answer::Counted;
use crate::call::Page;
use crate::usage::{self, Counts};

const ALL: Page = Page { size: 100, number: 0 };

#[test]
fn caps_that_cannot_be_read_are_refused_with_their_place() {
    let mut world = World::new();
    let key = world.done("POST", "/v1/api-keys/workspace/service", &json!({ "name": "k" }), None).subject.id;
    world.done("POST", "/v1/virtual-keys", &json!({ "name": "v", "slug": "v", "provider": "here" }), None);
    let rates = json!([{ "type": "requests", "unit": "rpm", "value": 1 }, { "type": "requests", "unit": "rpy", "value": 1 }]);
    for (method, path) in [
        ("POST", "/v1/api-keys/workspace/service"),
        ("PUT", &format!("/v1/api-keys/{key}")),
        ("POST", "/v1/virtual-keys"),
        ("PUT", "/v1/virtual-keys/v"),
        ("PUT", "/v1/providers/v"),
        ("POST", "/v1/admin/workspaces"),
        ("PUT", "/v1/admin/workspaces/acme"),
    ] {
        for (field, value, param, part) in [
            ("rate_limits", rates.clone(), "rate_limits[1].unit", "use one of rps, rpm, rph, rpd, rpw"),
            ("usage_limits", json!({ "credit_limit": -1 }), "usage_limits.credit_limit", "dollars from 0"),
            (
                "usage_limits",
                json!({ "credit_limit": 1, "typ": "cost" }),
                "usage_limits.typ",
                "known fields: type",
            ),
            ("usage_limits", json!("much"), "usage_limits", "write an object"),
        ] {
            let mut body = json!({ "name": "n", field: value });
            if (method, path) == ("POST", "/v1/virtual-keys") {
                body["provider"] = json!("here");
            }
            let refusal = world.refused(method, path, &body, None);
            assert_eq!(
                (refusal.status, refusal.param.as_deref()),
                (400, Some(param)),
                "{method} {path} {refusal:?}"
            );
            assert!(refusal.message.contains(part), "{}", refusal.message);
        }
    }
}

#[test]
fn policies_are_made_changed_and_archived() {
    let mut world = World::new();
    let body = json!({
        "name": "Teams, monthly", "slug": "teams", "workspace_id": "acme", "type": "cost", "credit_limit": 100.5,
        "alert_threshold": 80, "periodic_reset": "monthly", "group_by": [{ "key": "metadata.team" }],
        "conditions": [{ "key": "model", "value": "@openai/*" }],
    });
    let made = world.done("POST", "/v1/policies/usage-limits", &body, None);
    assert_eq!((made.status, &made.reply["object"]), (201, &json!("policy_usage_limits")));
    assert_eq!((made.subject.resource, made.verb), ("policy_usage_limits", "create"));
    let found = world.found("/v1/policies/usage-limits/teams?workspace_id=acme", None);
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&found[field], value, "{field}");
    }
    assert_eq!((&found["id"], &found["status"]), (&json!("teams"), &json!("active")));
    let change = json!({ "credit_limit": 7, "alert_threshold": null, "workspace_id": "acme" });
    let changed = world.done("PUT", "/v1/policies/usage-limits/teams", &change, None);
    assert_eq!((&changed.reply["credit_limit"], &changed.before["credit_limit"]), (&json!(7), &json!(100.5)));
    assert_eq!(changed.reply.get("alert_threshold"), None);
    let limit = &world
        .policy
        .limits_of(&Key::Policy(Workspace::parse("acme").unwrap(), Slug::parse("teams").unwrap()))[0];
    assert_eq!((limit.cap, limit.name().as_str()), (7_000_000_000, "policy.acme.teams.cost.monthly"));

    let rate = json!({ "type": "requests", "unit": "rpm", "value": 60, "workspace_id": "acme" });
    let id = world.done("POST", "/v1/policies/rate-limits", &rate, None).subject.id;
    assert_eq!(world.found(&format!("/v1/policies/rate-limits/{id}?workspace_id=acme"), None)["unit"], "rpm");
    let elsewhere =
        world.refused("GET", "/v1/policies/rate-limits/teams?workspace_id=acme", &Value::Null, None);
    assert_eq!(elsewhere.status, 404, "a budget is no rate");
    let taken = world.refused(
        "POST",
        "/v1/policies/rate-limits",
        &json!({ "slug": "teams", "type": "requests", "unit": "rpm", "value": 1, "workspace_id": "acme" }),
        None,
    );
    assert_eq!((taken.status, taken.param.as_deref()), (409, Some("slug")));

    world.done("DELETE", "/v1/policies/usage-limits/teams?workspace_id=acme", &Value::Null, None);
    let listed = |status: &str| {
        let list = world.found(&format!("/v1/policies/usage-limits?workspace_id=acme&status={status}"), None);
        list["total"].as_u64()
    };
    assert_eq!((listed("active"), listed("archived")), (Some(0), Some(1)));
}

#[test]
fn policies_that_cannot_be_read_are_refused_with_their_place() {
    let world = World::new();
    let usage = json!({ "type": "cost", "credit_limit": 1 });
    let rate = json!({ "type": "requests", "unit": "rpm", "value": 1 });
    for (path, good, field, value, param, part) in [
        ("usage-limits", &usage, "credit_limit", json!("1"), "credit_limit", "dollars"),
        ("usage-limits", &usage, "credit_limit", json!(null), "credit_limit", "is missing"),
        ("usage-limits", &usage, "type", json!("concurrent"), "type", "use one of cost"),
        (
            "usage-limits",
            &usage,
            "periodic_reset",
            json!("hourly"),
            "periodic_reset",
            "daily, weekly, monthly",
        ),
        ("usage-limits", &usage, "creditlimit", json!(1), "creditlimit", "did you mean `credit_limit`?"),
        ("usage-limits", &usage, "conditions", json!({}), "conditions", "expected a sequence"),
        (
            "usage-limits",
            &usage,
            "conditions",
            json!([{ "key": "team", "value": 1 }]),
            "conditions[0].key",
            "metadata.<name>",
        ),
        (
            "usage-limits",
            &usage,
            "group_by",
            json!([{ "key": "api" }]),
            "group_by[0].key",
            "use one of api_key",
        ),
        ("usage-limits", &usage, "status", json!("off"), "status", "active"),
        ("usage-limits", &usage, "slug", json!("a.b"), "slug", "letters, digits"),
        ("rate-limits", &rate, "unit", json!("rpy"), "unit", "use one of rps"),
        ("rate-limits", &rate, "value", json!(1.5), "value", "whole number"),
        ("rate-limits", &rate, "credit_limit", json!(5), "credit_limit", "unknown here"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let refusal = world.refused("POST", &format!("/v1/policies/{path}"), &body, None);
        assert_eq!(
            (refusal.status, refusal.param.as_deref()),
            (400, Some(param)),
            "{path} {body} {refusal:?}"
        );
        assert!(refusal.message.contains(part), "{part}: {}", refusal.message);
        assert_eq!(refusal.body()["error"]["code"], "AB01");
    }
}

#[test]
fn policies_take_their_scopes_and_stay_in_their_workspace() {
    let mut world = World::new();
    let body = json!({ "slug": "p", "type": "requests", "unit": "rpm", "value": 1, "workspace_id": "acme" });
    world.done("POST", "/v1/policies/rate-limits", &body, None);
    let reader = world.key("workspace/service", "acme", &["policies.read", "policies.list"]);
    assert_eq!(world.found("/v1/policies/rate-limits/p", Some(&reader))["id"], "p");
    let change = json!({ "value": 2 });
    assert_eq!(world.refused("PUT", "/v1/policies/rate-limits/p", &change, Some(&reader)).status, 403);
    let stranger = world.key("workspace/service", "other", &["policies.*"]);
    assert_eq!(world.refused("PUT", "/v1/policies/rate-limits/p", &change, Some(&stranger)).status, 404);
    let plain = world.key("workspace/service", "acme", &["completions.write"]);
    assert_eq!(world.refused("GET", "/v1/limits", &Value::Null, Some(&plain)).status, 403);
}

#[test]
fn budgets_begin_anew_when_a_change_says_so() {
    let mut world = World::new();
    let caps = json!({
        "name": "k", "usage_limits": { "credit_limit": 1 },
        "rate_limits": [{ "type": "requests", "unit": "rpm", "value": 1 }],
    });
    let id = world.done("POST", "/v1/api-keys/workspace/service", &caps, None).subject.id;
    let path = format!("/v1/api-keys/{id}");
    assert_eq!(world.done("PUT", &path, &json!({ "name": "l" }), None).resets, [""; 0]);
    assert_eq!(world.done("PUT", &path, &json!({ "reset_usage": 0 }), None).resets, [""; 0]);
    let plan = world.done("PUT", &path, &json!({ "reset_usage": true }), None);
    assert_eq!(plan.resets, [format!("apikey.{id}.cost.once")]);
    assert_eq!(plan.after["reset_usage"], true, "on record");
    let space =
        json!({ "usage_limits": [{ "credit_limit": 5, "periodic_reset": "weekly" }], "reset_usage": true });
    assert_eq!(
        world.done("PUT", "/v1/admin/workspaces/acme", &space, None).resets,
        ["workspace.acme.cost.weekly"]
    );
}

fn account(world: &World, bucket: &str, key: &Key, used: u64, granted: u64) -> (String, Account) {
    let limit = &world.policy.limits_of(key)[0];
    let mut account = Account::new(bucket, limit);
    let slot = limit.window.slot(NOW);
    account.used = Amounts::from([(slot, used)]);
    account
        .grants
        .insert("r".to_owned(), Grant { amounts: Amounts::from([(slot, granted)]), ..Grant::default() });
    (bucket.to_owned(), account)
}

#[test]
fn entities_show_what_is_used_and_whether_that_is_all() {
    let mut world = World::new();
    let body = json!({ "name": "k", "usage_limits": { "credit_limit": 2, "periodic_reset": "daily" } });
    let id = world.done("POST", "/v1/api-keys/workspace/service", &body, None).subject.id;
    let key = Key::ApiKey(Slug::parse(&id).unwrap());
    let shown = |used: u64, granted: u64| {
        let Ok(Answer::Counted(counted)) =
            world.ask("GET", &format!("/v1/api-keys/{id}"), &Value::Null, None, None)
        else {
            panic!("a key is shown with its counts")
        };
        let bucket = format!("apikey.{id}.cost.daily");
        usage::fill(counted, &Counts::from([account(&world, &bucket, &key, used, granted)]), NOW).0
    };
    let some = shown(500_000_000, 250_000_000);
    assert_eq!(
        some["usage"],
        json!([{
            "type": "cost", "kind": "budget", "period": "daily", "limit": 2, "used": 0.5, "reserved": 0.25, "left": 1.25,
            "percentage": 25, "alert_threshold": null, "soft": false, "resets_at": "2027-01-16T00:00:00Z",
            "status": "active",
        }])
    );
    assert_eq!(some["status"], "active");
    let all = shown(2_000_000_000, 0);
    assert_eq!((&all["status"], &all["usage"][0]["percentage"]), (&json!("exhausted"), &json!(100)));
    let listed = world.ask("GET", "/v1/api-keys", &Value::Null, None, None);
    let Ok(Answer::Counted(counted)) = listed else { panic!("{listed:?}") };
    let (list, _) = usage::fill(counted, &Counts::new(), NOW);
    assert_eq!(list["data"][0]["usage"][0]["left"], 2);
    let soft = Counted::new(json!({ "status": "active" }), None);
    let mut limit = (*world.policy.limits_of(&key)[0]).clone();
    limit.soft = true;
    limit.cap = 0;
    let (soft, _) = usage::fill(soft.at("", vec![std::sync::Arc::new(limit)]), &Counts::new(), Timestamp(0));
    assert_eq!(soft["status"], "active", "a soft budget stops nothing");
}

#[test]
fn groups_of_a_policy_are_shown_alone_and_each_has_a_name() {
    let mut world = World::new();
    for (slug, groups) in [("teams", json!([{ "key": "metadata.team" }])), ("team", json!([]))] {
        let body = json!({ "slug": slug, "type": "tokens", "credit_limit": 10, "group_by": groups });
        world.done("POST", "/v1/policies/usage-limits", &body, None);
    }
    let key = Key::Policy(Workspace::default(), Slug::parse("teams").unwrap());
    let name = "policy.default.teams.tokens.once";
    let counts = Counts::from([
        account(&world, &format!("{name}/metadata.team=red"), &key, 10, 0),
        account(&world, &format!("{name}/metadata.team=blue"), &key, 4, 2),
        account(&world, "policy.default.team.tokens.once", &key, 1, 0),
    ]);
    let buckets = |path: &str| match world.ask("GET", path, &Value::Null, None, None) {
        Ok(Answer::Buckets(rows, _)) => usage::shown(&rows, &counts, ALL, NOW),
        other => panic!("{other:?}"),
    };
    let entities = buckets("/v1/policies/usage-limits/teams/entities");
    let pick = |field: &str| -> Vec<Value> {
        entities["data"].as_array().unwrap().iter().map(|row| row[field].clone()).collect()
    };
    assert_eq!(pick("value_key"), ["metadata.team=blue", "metadata.team=red"]);
    assert_eq!(pick("left"), [4, 0]);
    assert_eq!(pick("status"), ["active", "exhausted"]);
    assert_eq!(pick("id")[0], usage::id(&format!("{name}/metadata.team=blue")));
    assert_ne!(pick("id")[0], pick("id")[1]);
    assert_eq!(buckets("/v1/policies/usage-limits/team/entities")["data"][0]["used"], 1);
    assert_eq!(buckets("/v1/limits?type=budgets")["total"], 3);
    assert_eq!(buckets("/v1/limits?type=rates")["total"], 0);
    assert_eq!(world.refused("GET", "/v1/limits?type=x", &Value::Null, None).status, 400);
}
