//! Questions understood, and answers shown, without a cache.

use bus::audit::PolicyChange;
use bus::cache::{NodeStats, Shown};
use domain::cache::{Entry, Selection};
use domain::model::NanoUsd;
use domain::{Operation, RequestId, Timestamp, Usage, Workspace};
use serde_json::{Value, json};

use super::stats::{self, Waiting};
use super::{Asked, entries, selection};
use crate::answer::Answer;
use crate::call::Page;
use crate::tests::{NOW, World};

const DAY: u64 = 86_400_000;

#[track_caller]
fn asked(world: &World, path: &str) -> Asked {
    match world.ask("GET", &format!("/v1/admin/cache/{path}"), &Value::Null, None, None) {
        Ok(Answer::Cache(asked)) => *asked,
        other => panic!("{path}: {other:?}"),
    }
}

#[track_caller]
fn meant(world: &World, body: &Value) -> Selection {
    match world.ask("POST", "/v1/admin/cache/invalidate", body, None, None) {
        Ok(Answer::Invalidate(_, selection)) => *selection,
        other => panic!("{body}: {other:?}"),
    }
}

fn id(text: &str) -> RequestId {
    RequestId::parse(text).unwrap()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn entry() -> Entry {
    Entry {
        id: id("acme~r-1"),
        workspace: Workspace::parse("acme").unwrap(),
        key: "ab12".into(),
        partition: "cd34".into(),
        namespace: Some("faq".into()),
        text: Some("ä".repeat(500)),
        tags: vec!["red".into()],
        operation: Operation::Chat,
        provider: "openai".into(),
        model: Some("gpt-4o".into()),
        asked_at: Timestamp(1_000),
        stored_at: Timestamp(2_000),
        expires_at: Timestamp(60_000),
        content_type: "application/json".into(),
        headers: Default::default(),
        usage: Usage::default(),
        cost: Some(NanoUsd(1_500_000)),
        size: 2,
    }
}

#[test]
fn a_question_about_entries_says_all_that_it_means() {
    let world = World::new();
    let all = asked(
        &world,
        "entries?id=r-1,other~r-2&id=r-3&key=ab*&tag=red,blue&model=gpt-4o&provider=openai&namespace=faq&older_than=7d\
         &page_size=5&current_page=2&workspace_id=other",
    );
    let expected = Selection {
        ids: vec![id("other~r-1"), id("other~r-2"), id("other~r-3")],
        keys: words(&["ab*"]),
        tags: words(&["red", "blue"]),
        models: words(&["gpt-4o"]),
        providers: words(&["openai"]),
        namespaces: words(&["faq"]),
        before: Some(Timestamp(NOW.0 - 7 * DAY)),
        all: false,
    };
    let other = Workspace::parse("other").unwrap();
    assert_eq!(all, Asked::Entries(other.clone(), Some(expected), Page { size: 5, number: 2 }));
    let none = Asked::Entries(Workspace::default(), None, Page { size: 100, number: 0 });
    assert_eq!(asked(&world, "entries"), none);
    assert_eq!(asked(&world, "entries?tag="), none, "what is empty is not given");
    let Asked::Entries(_, Some(dated), _) = asked(&world, "entries?before=2026-11-01") else { panic!() };
    assert_eq!(dated.before, Some(Timestamp(1_793_491_200_000)));
    for (path, expected) in [
        ("entries/r-1", Asked::Entry(Workspace::default(), id("r-1"))),
        ("entries/r-1?workspace_id=other", Asked::Entry(other.clone(), id("other~r-1"))),
        ("entries/other~r-1?workspace_id=other", Asked::Entry(other.clone(), id("other~r-1"))),
        ("stats", Asked::Stats(None)),
        ("stats?workspace_id=other", Asked::Stats(Some(other.clone()))),
    ] {
        assert_eq!(asked(&world, path), expected, "{path}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_fix() {
    let world = World::new();
    for (path, status, param, part) in [
        ("entries?tags=red", 400, Some("tags"), "understood: id, key, tag"),
        ("entries?older_than=week", 400, Some("older_than"), "`7d`"),
        ("entries?before=soon", 400, Some("before"), "as in 2026-11-01"),
        ("entries?before=2026-11-01&older_than=7d", 400, Some("older_than"), "write one of them"),
        ("entries?id=a%20b", 400, Some("id"), "x-pointsman-cache-entry"),
        ("entries?id=acme~r-1", 400, Some("id"), "of workspace `default`"),
        ("entries?page_size=0", 400, Some("page_size"), "1 to 1000"),
        ("entries/acme~r-1", 404, None, "no entry of the cache `acme~r-1`"),
        ("stats?tag=red", 400, Some("tag"), "understood: workspace_id"),
    ] {
        let refusal = world.refused("GET", &format!("/v1/admin/cache/{path}"), &Value::Null, None);
        assert_eq!((refusal.status, refusal.param.as_deref()), (status, param), "{path}: {refusal:?}");
        assert!(refusal.message.contains(part), "{path}: {}", refusal.message);
    }
}

#[test]
fn what_is_taken_out_is_what_the_body_says() {
    let world = World::new();
    let tags = Selection { tags: words(&["red", "a,b"]), ..Selection::default() };
    assert_eq!(meant(&world, &json!({ "tags": ["red", "a,b"], "models": null })), tags);
    assert_eq!(meant(&world, &json!({ "all": true })), Selection { all: true, ..Selection::default() });
    let before = |at| Selection { before: Some(Timestamp(at)), ..Selection::default() };
    assert_eq!(meant(&world, &json!({ "older_than": "7d" })), before(NOW.0 - 7 * DAY));
    assert_eq!(meant(&world, &json!({ "before": 1000 })), before(1000));
    assert_eq!(meant(&world, &json!({ "before": "2026-11-01" })), before(1_793_491_200_000));
    assert_eq!(meant(&world, &json!({ "before": "2026-11-01T00:00:01Z" })), before(1_793_491_201_000));
    let ids = meant(&world, &json!({ "ids": ["r-1"], "workspace_id": "acme" }));
    assert_eq!(ids.ids, [id("acme~r-1")]);
    let everything = json!({
        "ids": ["r-1"], "keys": ["a*"], "tags": ["t"], "models": ["m"], "providers": ["p"], "namespaces": ["n"],
        "before": 5, "workspace_id": "acme",
    });
    let Ok(Answer::Invalidate(plan, selection)) =
        world.ask("POST", "/v1/admin/cache/invalidate", &everything, None, None)
    else {
        panic!()
    };
    assert_eq!(
        (plan.subject.resource, plan.verb, plan.subject.workspace.as_str()),
        ("cache", "invalidate", "acme")
    );
    assert!(plan.writes.is_empty(), "only the audit entry is stored");
    let mut expected = everything.clone();
    expected.as_object_mut().unwrap().remove("workspace_id");
    expected["before"] = json!("1970-01-01T00:00:00.005Z");
    assert_eq!(plan.after, expected, "the audit entry says what was meant");
    assert_eq!(selection.keys, ["a*"]);
}

#[test]
fn nothing_is_taken_out_by_mistake() {
    let world = World::new();
    let many: Vec<String> = (0..=selection::MOST).map(|n| n.to_string()).collect();
    for (body, param, part) in [
        (json!({}), "body", "\"all\": true"),
        (Value::Null, "body", "\"all\": true"),
        (json!({ "all": false }), "body", "\"all\": true"),
        (json!({ "tags": [] }), "tags", "is an empty list"),
        (json!({ "tags": [], "models": ["m"] }), "tags", "is an empty list"),
        (json!({ "keys": ["a", " "] }), "keys[1]", "is empty"),
        (json!({ "tag": ["red"] }), "tag", "did you mean `tags`?"),
        (json!({ "tags": "red" }), "tags", "expected a sequence"),
        (json!({ "all": true, "tags": ["red"] }), "all", "leave it or the others out"),
        (json!({ "all": true, "before": 5 }), "all", "leave it or the others out"),
        (json!({ "before": 5, "older_than": "7d" }), "older_than", "write one of them"),
        (json!({ "before": true }), "before", "a date, as in"),
        (json!({ "before": "soon" }), "before", "as in 2026-11-01"),
        (json!({ "older_than": "week" }), "older_than", "`7d`"),
        (json!({ "ids": ["acme~r-1"] }), "ids", "of workspace `default`"),
        (json!({ "tags": many }), "body", "of at most 1000"),
        (json!({ "all": true, "workspace_id": "nope" }), "workspace_id", "no workspace"),
    ] {
        let refusal = world.refused("POST", "/v1/admin/cache/invalidate", &body, None);
        assert_eq!(refusal.param.as_deref(), Some(param), "{body}: {}", refusal.message);
        assert!(refusal.message.contains(part), "{body}: {}", refusal.message);
    }
}

#[test]
fn a_key_of_a_workspace_meets_its_own_entries_only() {
    let mut world = World::new();
    let viewer = world.key("workspace/service", "acme", &["cache.view"]);
    let owner = world.key("workspace/service", "acme", &["cache.*"]);
    let organisation = world.key("organisation/service", "acme", &["cache.view", "cache.invalidate"]);
    let ask = |who, method: &str, path: &str, body: &Value| {
        world.ask(method, &format!("/v1/admin/cache/{path}"), body, Some(who), None).map_err(|err| err.status)
    };
    let workspace = |who, path: &str| match ask(who, "GET", path, &Value::Null)? {
        Answer::Cache(asked) => Ok(match *asked {
            Asked::Stats(workspace) => workspace,
            Asked::Entries(workspace, ..) | Asked::Entry(workspace, _) => Some(workspace),
        }),
        other => panic!("{other:?}"),
    };
    let [acme, other] = ["acme", "other"].map(|name| Some(Workspace::parse(name).unwrap()));
    for path in ["stats", "entries", "entries/r-1"] {
        assert_eq!(workspace(&viewer, path), Ok(acme.clone()), "{path}");
        assert_eq!(workspace(&viewer, &format!("{path}?workspace_id=other")), Err(404), "{path}");
        assert_eq!(
            workspace(&organisation, &format!("{path}?workspace_id=other")),
            Ok(other.clone()),
            "{path}"
        );
    }
    assert_eq!(workspace(&organisation, "stats"), Ok(None));
    let taken_out = |who, body: &Value| match ask(who, "POST", "invalidate", body)? {
        Answer::Invalidate(plan, _) => Ok(plan.subject.workspace.to_string()),
        other => panic!("{other:?}"),
    };
    let all = json!({ "all": true });
    let elsewhere = json!({ "all": true, "workspace_id": "other" });
    assert_eq!(taken_out(&viewer, &all), Err(403));
    assert_eq!(taken_out(&owner, &all), Ok("acme".to_owned()));
    assert_eq!(taken_out(&owner, &elsewhere), Err(404));
    assert_eq!(taken_out(&organisation, &elsewhere), Ok("other".to_owned()));
}

#[test]
fn a_list_shows_neither_answers_nor_whole_questions() {
    let listed = entries::in_list(&entry());
    assert_eq!((&listed["id"], &listed["workspace_id"]), (&json!("r-1"), &json!("acme")));
    assert_eq!(
        (&listed["cost_usd"], &listed["stored_at"]),
        (&json!("0.0015"), &json!("1970-01-01T00:00:02Z"))
    );
    let text = listed["text"].as_str().unwrap();
    assert_eq!((text.chars().count(), text.ends_with("ä…")), (201, true));
    assert!(listed.get("answer").is_none());
    let shown = Shown { entry: entry(), answer: "{}".to_owned(), hits: 3 };
    let whole = entries::whole(&shown);
    assert_eq!((&whole["answer"], &whole["hits"], &whole["id"]), (&json!("{}"), &json!(3), &json!("r-1")));
    assert_eq!(whole["text"], json!("ä".repeat(500)));
}

fn node(name: &str, through: u64, lookups: u64) -> NodeStats {
    NodeStats {
        node: name.to_owned(),
        entries: 10 + through,
        bytes: 100,
        disk_bytes: 1000,
        workspaces: [(Workspace::parse("acme").unwrap(), through)].into(),
        lookups,
        hits: 1,
        semantic_hits: 1,
        embedder: "ready".to_owned(),
        through,
        ..NodeStats::default()
    }
}

#[test]
fn nodes_are_shown_with_their_lag_and_together() {
    let nodes = [node("a", 7, 4), node("b", 3, 2), node("c", 5, 0)];
    let waiting = Waiting::from([(7, None), (3, Some(Timestamp(NOW.0 - 1500)))]);
    let all = stats::shown(&nodes, &waiting, None, NOW);
    let of = |field: &str| all["nodes"].as_array().unwrap().iter().map(|node| node[field].clone()).collect();
    let lags: Vec<Value> = of("lag_ms");
    assert_eq!(lags, [json!(0), json!(1500), Value::Null], "what is not known is not said to be nothing");
    let rates: Vec<Value> = of("hit_rate");
    assert_eq!(rates, [json!(50.0), json!(100.0), Value::Null]);
    let total = &all["total"];
    for (field, expected) in [
        ("nodes", json!(3)),
        ("entries", json!(17)),
        ("bytes", json!(100)),
        ("disk_bytes", json!(3000)),
        ("lookups", json!(6)),
        ("hits", json!(3)),
        ("semantic_hits", json!(3)),
        ("hit_rate", json!(100.0)),
    ] {
        assert_eq!(total[field], expected, "{field}");
    }
    let acme = Workspace::parse("acme").unwrap();
    let own = stats::shown(&nodes, &waiting, Some(&acme), NOW);
    assert_eq!(own["total"], json!({ "nodes": 3, "entries": 7 }));
    assert_eq!((&own["nodes"][1]["entries"], &own["nodes"][1]["lag_ms"]), (&json!(3), &json!(1500)));
    for field in ["workspaces", "lookups", "bytes"] {
        assert_eq!(own["nodes"][0].get(field), None, "{field} is about others as well");
    }
}

#[test]
fn an_order_names_its_change_and_says_if_nobody_could_count() {
    let world = World::new();
    let Ok(Answer::Invalidate(plan, selection)) =
        world.ask("POST", "/v1/admin/cache/invalidate", &json!({ "ids": ["r-1"] }), None, None)
    else {
        panic!()
    };
    let audit = domain::audit::Entry {
        id: id("r-9"),
        time: NOW,
        actor: "local".to_owned(),
        action: "cache.invalidate".to_owned(),
        resource: "cache".to_owned(),
        resource_id: "default".to_owned(),
        workspace_id: plan.subject.workspace.clone(),
        before: Value::Null,
        after: plan.after.clone(),
        ip: None,
        request_id: None,
    };
    let change = PolicyChange { writes: Vec::new(), audit, answer: None };
    let counted = super::invalidate::ordered(&change, &selection, Ok(4));
    assert_eq!((&counted["id"], &counted["matched"]), (&json!("r-9"), &json!(4)));
    assert_eq!((&counted["selection"], counted.get("warning")), (&json!({ "ids": ["r-1"] }), None));
    let blind = super::invalidate::ordered(&change, &selection, Err("no cache runs".to_owned()));
    assert_eq!(blind["matched"], Value::Null);
    assert!(blind["warning"].as_str().unwrap().contains("(no cache runs)"));
}
