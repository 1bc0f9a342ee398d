//! Caps and policies: declared over HTTP and in files, shown with what is used of them, and set to nothing.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::harness::client::{Answer, Client};
use system_tests::harness::eventually;
use system_tests::harness::process::Finished;

const PATIENCE: Duration = Duration::from_secs(30);

async fn ask(client: &Client, method: &str, path: &str, body: &Value) -> Answer {
    let request = client.request(method.parse::<Method>().unwrap(), path);
    client.send(if body.is_null() { request } else { request.json(body) }).await
}

async fn get(client: &Client, path: &str) -> Answer {
    ask(client, "GET", path, &Value::Null).await
}

/// Asks as a team.
async fn chat(client: &Client, team: &str) -> Answer {
    let metadata = json!({ "team": team }).to_string();
    client.send(client.chat("mock").header("x-portkey-metadata", metadata)).await
}

/// Runs a command against the gateway of a data directory.
async fn run(dir: &Path, arguments: &[&str]) -> Finished {
    let start =
        crate::pointsman(dir, arguments).arg("--data-dir").arg(dir.join("data").display().to_string());
    tokio::task::spawn_blocking(move || start.finish()).await.expect("the command was run")
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_made_by_portkeys_paths_and_refused_in_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    for (path, object, new, change) in [
        (
            "/v1/policies/usage-limits",
            "policy_usage_limits",
            json!({
                "name": "Monthly", "type": "cost", "credit_limit": 1000, "alert_threshold": 800,
                "conditions": [{ "key": "workspace_id", "value": "default" }], "group_by": [{ "key": "api_key" }],
                "periodic_reset": "monthly",
            }),
            json!({ "credit_limit": 900.25 }),
        ),
        (
            "/v1/policies/rate-limits",
            "policy_rate_limits",
            json!({ "name": "Slow", "type": "tokens", "unit": "rph", "value": 1000 }),
            json!({ "conditions": [{ "key": "model", "value": "@openai/*", "excludes": true }] }),
        ),
    ] {
        let made = ask(&client, "POST", path, &new).await;
        assert_eq!((made.status, &made.body["object"]), (201, &json!(object)), "{}", made.text);
        let one = format!("{path}/{}", made.body["id"].as_str().unwrap());
        let read = get(&client, &one).await;
        for (field, value) in new.as_object().unwrap() {
            assert_eq!(&read.body[field], value, "{}", read.text);
        }
        let changed = ask(&client, "PUT", &one, &change).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        let (field, value) = change.as_object().unwrap().iter().next().unwrap();
        assert_eq!(&get(&client, &one).await.body[field], value);
        assert_eq!(get(&client, path).await.body["total"], 1);
        let entities = get(&client, &format!("{one}/entities")).await;
        assert_eq!((entities.status, &entities.body["object"]), (200, &json!("list")), "{}", entities.text);
        let unknown = ask(&client, "PUT", &format!("{one}/entities/nobody/reset"), &Value::Null).await;
        assert_eq!(
            (unknown.status, &unknown.body["error"]["code"]),
            (404, &json!("AB02")),
            "{}",
            unknown.text
        );
        for (bad, param) in [
            (json!({ "type": "dollars" }), "type"),
            (json!({ "conditions": [{ "key": "team", "value": "x" }] }), "conditions[0].key"),
            (json!({ "group_by": [{ "key": "nothing" }] }), "group_by[0].key"),
        ] {
            let refused = ask(&client, "PUT", &one, &bad).await;
            let error = &refused.body["error"];
            assert_eq!(
                (refused.status, &error["code"], &error["param"]),
                (400, &json!("AB01"), &json!(param)),
                "{}",
                refused.text
            );
        }
        assert_eq!(ask(&client, "DELETE", &one, &Value::Null).await.text, "{}");
        assert_eq!(get(&client, path).await.body["total"], 0);
        assert_eq!(get(&client, &format!("{path}?status=archived")).await.body["total"], 1);
        let log = get(&client, &format!("/v1/audit-logs?resource={object}")).await;
        let actions = log.body["data"].as_array().unwrap().iter().map(|entry| entry["action"].clone());
        let expected = ["delete", "update", "create"].map(|verb| json!(format!("{object}.{verb}")));
        assert_eq!(actions.collect::<Vec<_>>(), expected, "{}", log.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_is_shown_and_begins_anew_when_somebody_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let space = "/v1/admin/workspaces/default";
    let caps =
        json!({ "usage_limits": [{ "type": "requests", "credit_limit": 4, "periodic_reset": "monthly" }] });
    assert_eq!(ask(&client, "PUT", space, &caps).await.status, 200);
    let policy = json!({ "slug": "teams", "type": "requests", "credit_limit": 2, "group_by": [{ "key": "metadata.team" }] });
    assert_eq!(ask(&client, "POST", "/v1/policies/usage-limits", &policy).await.status, 201);

    for expected in [200, 200, 412] {
        let answer = chat(&client, "red").await;
        assert_eq!(answer.status, expected, "{}", answer.text);
    }
    let entities = "/v1/policies/usage-limits/teams/entities";
    let red = eventually("the team's budget is shown as used up", PATIENCE, || async {
        let shown = get(&client, entities).await.body["data"][0].clone();
        (shown["used"] == 2).then_some(shown)
    })
    .await;
    assert_eq!(
        (&red["value_key"], &red["status"], &red["left"]),
        (&json!("metadata.team=red"), &json!("exhausted"), &json!(0))
    );
    let reset = format!("{entities}/{}/reset", red["id"].as_str().unwrap());
    assert_eq!(ask(&client, "PUT", &reset, &Value::Null).await.status, 200);
    assert_eq!(get(&client, entities).await.body["data"][0]["used"], 0);
    for _ in 0..2 {
        eventually("the team may ask again", PATIENCE, || async {
            (chat(&client, "red").await.status == 200).then_some(())
        })
        .await;
    }

    eventually("the workspace's budget is shown as used up", PATIENCE, || async {
        let shown = get(&client, space).await.body;
        (shown["status"] == "exhausted" && shown["usage"][0]["percentage"] == 100).then_some(())
    })
    .await;
    assert_eq!(chat(&client, "blue").await.status, 412);
    let budgets = run(dir.path(), &["budgets", "--exhausted", "--json"]).await.json();
    let names: Vec<&Value> = budgets["data"].as_array().unwrap().iter().map(|row| &row["bucket"]).collect();
    assert!(names.contains(&&json!("workspace.default.requests.monthly")), "{budgets}");
    let table = run(dir.path(), &["limits"]).await.stdout;
    assert!(
        table.contains("████████████ 100%") && table.contains("policy default.teams metadata.team=red"),
        "{table}"
    );

    assert_eq!(ask(&client, "PUT", space, &json!({ "reset_usage": true })).await.status, 200);
    eventually("the workspace may ask again", PATIENCE, || async {
        (chat(&client, "blue").await.status == 200).then_some(())
    })
    .await;
    let log = get(&client, "/v1/audit-logs?resource=workspace").await;
    assert_eq!(log.body["data"][0]["after"]["reset_usage"], true, "{}", log.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_in_files_are_applied_compared_and_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let _gateway = crate::gateway(dir.path());
    let file = dir.path().join("limits.json");
    let path = file.display().to_string();
    let write = |cap: f64, unit: &str| {
        let documents = json!([
            { "kind": "usage_policy", "slug": "teams", "credit_limit": cap, "periodic_reset": "weekly", "group_by": [{ "key": "metadata.team" }] },
            { "kind": "rate_policy", "slug": "slow", "type": "requests", "unit": unit, "value": 5, "soft": false },
        ]);
        std::fs::write(&file, documents.to_string()).unwrap();
    };
    write(12.5, "rpm");
    let done = run(dir.path(), &["apply", "-f", &path, "--json"]).await.json();
    assert_eq!((&done["applied"], done["changes"].as_array().unwrap().len()), (&json!(true), 2), "{done}");
    assert_eq!(
        run(dir.path(), &["diff", "-f", &path]).await.status.code(),
        Some(0),
        "nothing to do the second time"
    );
    write(15.0, "rpm");
    let diff = run(dir.path(), &["diff", "-f", &path]).await;
    assert_eq!(diff.status.code(), Some(2));
    for line in ["-  \"credit_limit\": 12.5", "+  \"credit_limit\": 15.0"] {
        assert!(diff.stdout.contains(line), "{}", diff.stdout);
    }
    assert!(run(dir.path(), &["apply", "-f", &path]).await.status.success());
    let got = run(dir.path(), &["get", "usage-policies", "teams", "--json"]).await.json();
    assert_eq!((&got["credit_limit"], &got["managed_by"]), (&json!(15.0), &json!("apply")), "{got}");

    write(15.0, "rpy");
    let lint = run(dir.path(), &["lint", &path]).await;
    let expected =
        format!("error: {path}[1]: `unit`: `rpy` is no period; use one of rps, rpm, rph, rpd, rpw");
    assert_eq!((lint.status.code(), lint.stdout.trim()), (Some(1), expected.as_str()));
    std::fs::write(&file, "[]").unwrap();
    let pruned = run(dir.path(), &["apply", "-f", &path, "--prune", "--json"]).await.json();
    let gone: Vec<&str> =
        pruned["changes"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(gone, ["slow", "teams"], "{pruned}");
    assert_eq!(run(dir.path(), &["get", "rate-policies", "--json"]).await.json()["total"], 0);
}
