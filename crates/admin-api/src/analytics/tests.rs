//! Questions understood, and answers shown, without a ledger.

use domain::model::NanoUsd;
use domain::spend::{Dimension, Interval, Latency, Order, Report, Row};
use domain::{Timestamp, Workspace};
use serde_json::{Value, json};

use super::{Asked, shown};
use crate::answer::Answer;
use crate::refusal::Refusal;
use crate::tests::{NOW, World};

const DAY: u64 = 86_400_000;

#[track_caller]
fn asked(world: &World, path: &str) -> Asked {
    match world.ask("GET", path, &Value::Null, None, None) {
        Ok(Answer::Books(asked)) => *asked,
        other => panic!("{path}: {other:?}"),
    }
}

fn refused(world: &World, path: &str) -> Refusal {
    world.refused("GET", path, &Value::Null, None)
}

fn row(keys: &[(&str, Option<&str>)], requests: u64, cost: u64) -> Row {
    let keys = keys.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect();
    Row { keys, requests, attempts: requests, cost: NanoUsd(cost), ..Row::default() }
}

fn report(rows: Vec<Row>) -> Report {
    let mut total = Row::default();
    rows.iter().for_each(|row| total.add(row));
    let groups = rows.len() as u64;
    Report { rows, total, groups, through: NOW }
}

#[test]
fn a_question_about_spending_says_all_that_it_means() {
    let world = World::new();
    let asked = asked(
        &world,
        "/v1/admin/analytics/spend?start_date=2026-11-01&end_date=2026-11-02&group_by=model,metadata.team&interval=day\
         &limit=5&offset=10&order_by=tokens&provider=openai,groq&metadata.env=prod&workspace_slug=acme",
    );
    let query = asked.query;
    let select = &query.select;
    assert_eq!(select.since, Some(Timestamp(1_793_491_200_000)));
    assert_eq!(
        select.until.unwrap().0 - select.since.unwrap().0,
        2 * DAY,
        "an end is meant with the whole day"
    );
    assert_eq!(select.workspace, Some(Workspace::parse("acme").unwrap()));
    let team = Dimension::Metadata("team".to_owned());
    assert_eq!(query.dimensions(), [Dimension::Time(Interval::Day), Dimension::Model, team]);
    assert_eq!(
        select.filters,
        [
            (Dimension::Provider, vec!["openai".to_owned(), "groq".to_owned()]),
            (Dimension::Metadata("env".to_owned()), vec!["prod".to_owned()]),
        ]
    );
    assert_eq!((query.order, query.limit, query.offset), (Order::Tokens, 5, 10));
}

#[test]
fn a_key_of_a_workspace_sees_its_own_books_only() {
    let mut world = World::new();
    let own = world.key("workspace/service", "acme", &["analytics.view"]);
    let organisation = world.key("organisation/service", "acme", &["analytics.view"]);
    let without = world.key("workspace/service", "acme", &["configs.list"]);
    let workspace = |who, path: &str| match world.ask("GET", path, &Value::Null, Some(who), None) {
        Ok(Answer::Books(asked)) => Ok(asked.query.select.workspace),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal.status),
    };
    let acme = Some(Workspace::parse("acme").unwrap());
    for path in ["/v1/admin/analytics/spend", "/v1/analytics/graphs/cost", "/v1/analytics/groups/users"] {
        assert_eq!(workspace(&own, path), Ok(acme.clone()), "{path}");
        assert_eq!(workspace(&own, &format!("{path}?workspace_slug=other")), Err(404), "{path}");
        assert_eq!(workspace(&organisation, path), Ok(None), "{path}");
        assert_eq!(
            workspace(&organisation, &format!("{path}?workspace_slug=acme")),
            Ok(acme.clone()),
            "{path}"
        );
        assert_eq!(workspace(&without, path), Err(403), "{path}");
    }
}

#[test]
fn what_cannot_be_answered_is_refused_with_the_fix() {
    let world = World::new();
    for (question, param, part) in [
        ("admin/analytics/spend?group_by=modell", "group_by", "did you mean `model`?"),
        ("admin/analytics/spend?group_by=colour", "group_by", "metadata.<key>"),
        ("admin/analytics/spend?start_date=yesterday", "start_date", "as in 2026-11-01"),
        ("admin/analytics/spend?start_date=2026-13-01", "start_date", "is no time"),
        ("admin/analytics/spend?start_date=2026-11-03&end_date=2026-11-01", "start_date", "wrong way round"),
        ("admin/analytics/spend?start_date=2030-01-01", "start_date", "not before now"),
        ("admin/analytics/spend?interval=dai", "interval", "did you mean `day`?"),
        ("admin/analytics/spend?order_by=cots", "order_by", "did you mean `cost`?"),
        ("admin/analytics/spend?limit=0", "limit", "from 1 to 10000"),
        ("admin/analytics/spend?latency=maybe", "latency", "neither true nor false"),
        ("admin/analytics/spend?groupby=model", "groupby", "understood: start_date"),
        ("admin/analytics/spend?metadata.=x", "metadata.", "understood"),
        (
            "admin/analytics/spend?group_by=model,user,provider,config,status,day,hour,week,month",
            "group_by",
            "at most 8",
        ),
        ("analytics/graphs/cost?cost_min=5", "cost_min", "understood: time_of_generation_min"),
        ("analytics/graphs/cost?trace_id=x", "trace_id", "status_code"),
        ("analytics/graphs/cost?time_of_generation_min=soon", "time_of_generation_min", "is no time"),
        (
            "analytics/graphs/cost?interval=hour&time_of_generation_min=2020-01-01",
            "interval",
            "write a longer one",
        ),
        ("analytics/graphs/cost?metadata=red", "metadata", "a JSON object"),
        ("analytics/graphs/cost?cache_status=perhaps", "cache_status", "`semantic_hit`"),
        ("analytics/graphs/cost?ai_org_model=gpt-4o", "ai_org_model", "openai__gpt-4o"),
        ("analytics/graphs/cost?ai_org_model=a__b,c__d", "ai_org_model", "one provider at a time"),
        ("analytics/groups/users?order_by=name", "order_by", "`requests`"),
        ("analytics/groups/users?order_by_type=up", "order_by_type", "`asc` or `desc`"),
    ] {
        let refusal = refused(&world, &format!("/v1/{question}"));
        assert_eq!((refusal.status, refusal.param.as_deref()), (400, Some(param)), "{question}: {refusal:?}");
        assert!(refusal.message.contains(part), "{question}: {}", refusal.message);
    }
    let refusal = refused(&world, "/v1/analytics/groups/user");
    assert_eq!(refusal.status, 404);
    assert!(refusal.message.contains("did you mean `users`?"), "{}", refusal.message);
}

#[test]
fn portkeys_words_are_conditions_on_dimensions() {
    let mut world = World::new();
    let config = json!({ "name": "c", "slug": "pc-c", "config": { "provider": "here" } });
    world.done("POST", "/v1/configs", &config, None);
    let asked = asked(
        &world,
        "/v1/analytics/graphs/requests?status_code=200,429&virtual_keys=v&api_key_ids=k&configs=pc-c,pc-d@2\
         &metadata=%7B%22team%22:%5B%22red%22,7%5D%7D&ai_org_model=openai__gpt-4o,openai__o3&cache_status=HIT",
    );
    let filters: Vec<(String, String)> = asked
        .query
        .select
        .filters
        .iter()
        .map(|(dimension, values)| (dimension.to_string(), values.join("|")))
        .collect();
    let expected = [
        ("status", "200|429"),
        ("virtual_key", "v"),
        ("api_key", "k"),
        ("config", "pc-c@1|pc-c|pc-d@2"),
        ("metadata.team", "red|7"),
        ("provider", "openai"),
        ("model", "gpt-4o|o3"),
        ("cache_status", "hit"),
    ];
    assert_eq!(filters, expected.map(|(name, values)| (name.to_owned(), values.to_owned())));
    assert_eq!(asked.query.select.since, Some(Timestamp(NOW.0 - 30 * DAY)), "thirty days, if nobody says");
}

#[test]
fn costs_are_exact_texts_and_unknown_ones_are_counted() {
    let world = World::new();
    let asked = asked(&world, "/v1/admin/analytics/spend?group_by=model&limit=1");
    let mut unknown = row(&[("model", None)], 2, 0);
    unknown.unknown_cost_attempts = 2;
    let mut answer = report(vec![row(&[("model", Some("gpt-4o"))], 3, 1_234_567_890), unknown]);
    answer.rows.truncate(1);
    let answer = shown(&asked, &answer).unwrap();
    assert_eq!(answer["rows"][0]["model"], "gpt-4o");
    assert_eq!(answer["rows"][0]["cost_usd"], "1.23456789");
    assert_eq!((&answer["total"]["unknown_cost_attempts"], &answer["next_offset"]), (&json!(2), &json!(1)));
}

#[test]
fn exports_are_ordered_within_what_the_caller_may_see() {
    let mut world = World::new();
    let own = world.key("workspace/service", "acme", &["analytics.view"]);
    let path = "/v1/admin/analytics/export?format=parquet&start_date=2026-11-01&model=o3";
    let Ok(Answer::Export(order)) = world.ask("GET", path, &Value::Null, Some(&own), None) else {
        panic!("no order")
    };
    assert_eq!(order.format, export::Format::Parquet);
    assert_eq!(order.query.select.workspace, Some(Workspace::parse("acme").unwrap()));
    assert_eq!(order.query.select.until, Some(NOW));
    assert_eq!(order.query.select.filters, [(Dimension::Model, vec!["o3".to_owned()])]);
    let refusal = refused(&world, "/v1/admin/analytics/export?format=xlsx");
    assert!(refusal.message.contains("csv, jsonl or parquet"), "{}", refusal.message);
}

#[test]
fn graphs_have_a_point_for_every_span() {
    let world = World::new();
    let range = "time_of_generation_min=2026-11-01&time_of_generation_max=2026-11-03";
    let on = |day: &str| row(&[("day", Some(day))], 4, 50_000_000);
    let graph = |name: &str, rows: Vec<Row>| {
        let asked = asked(&world, &format!("/v1/analytics/graphs/{name}?interval=day&{range}"));
        shown(&asked, &report(rows)).unwrap()
    };
    let cost = graph("cost", vec![on("2026-11-01"), on("2026-11-03")]);
    assert_eq!(cost["summary"], json!({ "total": 10, "avg": 1.25 }));
    let none = json!({ "timestamp": "2026-11-02T00:00:00Z", "total": 0, "avg": 0 });
    assert_eq!((&cost["data_points"][1], cost["data_points"].as_array().unwrap().len()), (&none, 3));
    assert_eq!(cost["object"], "analytics-graph");

    let mut slow = on("2026-11-02");
    slow.latency_ms = Some(Latency { avg: 5, p50: 4, p90: 9, p99: 10 });
    let latency = graph("latency", vec![slow]);
    assert_eq!(latency["data_points"][1]["p90"], 9);
    assert_eq!(latency["data_points"][0]["p90"], Value::Null);

    let person = |day, name| row(&[("day", Some(day)), ("user", name)], 3, 0);
    let rows = || {
        vec![
            person("2026-11-01", Some("ann")),
            person("2026-11-01", None),
            person("2026-11-02", Some("ann")),
            person("2026-11-02", Some("bob")),
        ]
    };
    let users = graph("users", rows());
    assert_eq!((&users["summary"]["total"], &users["data_points"][1]["total"]), (&json!(2), &json!(2)));
    let asked = graph("users/requests", rows());
    assert_eq!(asked["summary"], json!({ "total": 9, "unique": 2, "avg": 4.5 }));

    let failed = |status, errors| Row { errors, ..row(&[("status", status)], 3, 0) };
    let codes =
        graph("errors/status-codes", vec![failed(Some("200"), 0), failed(Some("429"), 2), failed(None, 1)]);
    assert_eq!(codes["summary"], json!({ "total_errors": 3, "unique_error_codes": 2 }));
    assert_eq!(codes["data_points"][0], json!({ "status_code": 429, "count": 2 }));
    let rate = graph("errors/rate", vec![Row { errors: 1, ..row(&[("day", Some("2026-11-01"))], 3, 0) }]);
    assert_eq!(rate["data_points"][0]["rate"], 33.33);
}

#[test]
fn groups_are_pages_in_either_order() {
    let world = World::new();
    let rows = || {
        report(vec![
            row(&[("user", Some("ann"))], 4, 30_000_000),
            row(&[("user", None)], 2, 20_000_000),
            row(&[("user", Some("bob"))], 1, 5),
        ])
    };
    let group = |order: &str| {
        let asked = asked(&world, &format!("/v1/analytics/groups/users?page_size=2&order_by_type={order}"));
        shown(&asked, &rows()).unwrap()
    };
    let first = &group("desc")["data"][0];
    assert_eq!((&first["user"], &first["cost"], &first["requests"]), (&json!("ann"), &json!(3), &json!(4)));
    let upwards = group("asc");
    assert_eq!((&upwards["data"][0]["user"], &upwards["total"]), (&json!("bob"), &json!(3)));
    assert_eq!(upwards["data"].as_array().unwrap().len(), 2);
    assert_eq!(upwards["data"][0]["cost"], json!(0.0000005), "cents, exact");
}
