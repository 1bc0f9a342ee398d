//! Reading the books: every door says the same, and that is what the mock charged.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::harness::client::{Answer, Client};
use system_tests::harness::process::Finished;
use system_tests::harness::{Mock, Pointsman, Python, eventually};

const PATIENCE: Duration = Duration::from_secs(40);

/// Requests that [`traffic`] makes.
const REQUESTS: u64 = 7;

/// What the mock charges for these tokens, in nano-USD: 2.50 and 10 USD per million.
fn charged(input: u64, output: u64) -> u64 {
    input * 2500 + output * 10_000
}

/// Nano-USD of an exact decimal text.
fn nano(dollars: &Value) -> u64 {
    let text = dollars.as_str().unwrap_or_else(|| panic!("{dollars} is no text"));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<9}").parse().unwrap_or_else(|_| panic!("{text} is no number of dollars"))
}

async fn get(client: &Client, path: &str) -> Answer {
    client.send(client.request(Method::GET, path)).await
}

/// Runs a command against the gateway of a data directory.
async fn run(dir: &Path, arguments: &[&str]) -> Finished {
    let start =
        crate::pointsman(dir, arguments).arg("--data-dir").arg(dir.join("data").display().to_string());
    tokio::task::spawn_blocking(move || start.finish()).await.expect("the command was run")
}

async fn key(client: &Client, name: &str) -> (String, String) {
    let body = json!({ "name": name, "scopes": ["completions.write"] });
    let made = client.send(client.request(Method::POST, "/v1/api-keys/workspace/service").json(&body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let text = |field: &str| made.body[field].as_str().unwrap_or_else(|| panic!("{}", made.text)).to_owned();
    (text("id"), text("key"))
}

/// Requests of two keys, users and teams to three models, the last one refused by the provider. Returns the keys' ids.
async fn traffic(client: &Client) -> [String; 2] {
    let (one, two) = (key(client, "one").await, key(client, "two").await);
    for (key, user, team, model, times, status) in [
        (&one.1, "ann", "red", "alpha?words=3", 3, 200),
        (&one.1, "bob", "red", "beta?words=40", 2, 200),
        (&two.1, "ann", "blue", "alpha?words=3", 1, 200),
        (&two.1, "bob", "blue", "gamma?status=400", 1, 400),
    ] {
        for _ in 0..times {
            let metadata = json!({ "_user": user, "team": team }).to_string();
            let request = client.chat(model).bearer_auth(key).header("x-portkey-metadata", metadata);
            let answer = client.send(request).await;
            assert_eq!(answer.status, status, "{}", answer.text);
        }
    }
    [one.0, two.0]
}

/// The whole of the books, once all requests are in them.
async fn booked(client: &Client) -> Value {
    eventually("all requests are booked", PATIENCE, || async {
        let total = get(client, "/v1/admin/analytics/spend").await.body["total"].clone();
        (total["requests"] == REQUESTS && total["attempts"] == REQUESTS).then_some(total)
    })
    .await
}

/// The mock's bill by model: calls and tokens.
async fn bill(gateway: &Pointsman) -> BTreeMap<String, [u64; 3]> {
    let mut models = BTreeMap::new();
    for row in Mock::at(&gateway.mock()).bill().await.attempts {
        let sum: &mut [u64; 3] = models.entry(row.model).or_default();
        let charged = row.status == Some(200);
        let tokens = if charged { [row.input_tokens, row.output_tokens] } else { [0, 0] };
        *sum = [sum[0] + 1, sum[1] + tokens[0], sum[2] + tokens[1]];
    }
    models
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_to_the_books_says_what_the_mock_charged() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    let keys = traffic(&client).await;
    let total = booked(&client).await;

    let bill = bill(&gateway).await;
    let cost: u64 = bill.values().map(|[_, input, output]| charged(*input, *output)).sum();
    assert!(cost > 0);
    assert_eq!(nano(&total["cost_usd"]), cost, "{total}");
    assert_eq!((&total["errors"], &total["unknown_cost_attempts"]), (&json!(1), &json!(0)), "{total}");

    // By model: HTTP, and the command in its three forms.
    let asked = get(&client, "/v1/admin/analytics/spend?group_by=model&start_date=1h").await;
    let rows = asked.body["rows"].as_array().unwrap_or_else(|| panic!("{}", asked.text)).clone();
    let by_command = run(dir.path(), &["spend", "--by", "model", "--since", "1h", "--json"]).await.json();
    assert_eq!(by_command.as_object().unwrap().len(), 1, "{by_command}");
    assert_eq!(rows.len(), bill.len(), "{}", asked.text);
    for (row, short) in rows.iter().zip(by_command["rows"].as_array().unwrap()) {
        // The provider may name the model without the script of the mock.
        let name = row["model"].as_str().unwrap();
        let found: Vec<_> = bill.iter().filter(|(model, _)| model.starts_with(name)).collect();
        let [(_, [calls, input, output])] = found[..] else { panic!("{name}: {bill:?}") };
        assert_eq!(
            (&row["attempts"], &row["input_tokens"], &row["output_tokens"], nano(&row["cost_usd"])),
            (&json!(calls), &json!(input), &json!(output), charged(*input, *output)),
            "{row}"
        );
        assert_eq!(short.as_object().unwrap().len(), 9, "{short}");
        for (field, value) in short.as_object().unwrap() {
            assert_eq!(value, &row[field], "{field} of {short}");
        }
    }
    let csv = run(dir.path(), &["spend", "--by", "model", "--csv"]).await.stdout;
    assert_eq!(csv.lines().count(), rows.len() + 1, "{csv}");
    assert!(csv.starts_with("model,requests,attempts,input_tokens,"), "{csv}");
    let table = run(dir.path(), &["spend", "--by", "metadata.team,user"]).await.stdout;
    assert!(table.contains("METADATA.TEAM") && table.contains("total") && !table.contains('█'), "{table}");

    // Every dimension adds up to the same.
    for by in ["api_key", "user", "metadata.team", "provider", "operation", "workspace", "status", "hour"] {
        let rows =
            get(&client, &format!("/v1/admin/analytics/spend?group_by={by}")).await.body["rows"].clone();
        let sum: u64 = rows.as_array().unwrap().iter().map(|row| nano(&row["cost_usd"])).sum();
        assert_eq!(sum, cost, "{by}: {rows}");
    }
    for (filter, requests) in [
        (format!("api_key={}", keys[0]), 5),
        (format!("api_key={}&user=ann", keys[0]), 3),
        ("metadata.team=blue".to_owned(), 2),
        ("metadata.team=blue,red&user=bob".to_owned(), 3),
        ("start_date=2020-01-01&end_date=2020-12-31".to_owned(), 0),
    ] {
        let total = get(&client, &format!("/v1/admin/analytics/spend?{filter}")).await.body["total"].clone();
        assert_eq!(total["requests"], requests, "{filter}: {total}");
    }
    exports(&client, dir.path(), cost).await;
    let python = Python::ready().await;
    let cents = format!("{}.{:07}", cost / 10_000_000, cost % 10_000_000);
    let places = [
        ("POINTSMAN_HTTP", gateway.http()),
        ("POINTSMAN_NATS", gateway.nats()),
        ("POINTSMAN_MOCK", gateway.mock()),
        ("EXPECTED_CENTS", cents),
        ("EXPECTED_REQUESTS", REQUESTS.to_string()),
    ];
    python.run("portkey_analytics.py", &places).await;
}

/// Every attempt is in every form of a file, with what it cost.
async fn exports(client: &Client, dir: &Path, cost: u64) {
    let text = get(client, "/v1/admin/analytics/export?format=jsonl").await;
    assert_eq!(text.headers["content-type"], "application/x-ndjson", "{}", text.text);
    assert!(!text.headers.contains_key("pointsman-export"), "{:?}", text.headers);
    let lines: Vec<Value> = text.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len() as u64, REQUESTS, "{}", text.text);
    let sum: u64 =
        lines.iter().filter(|line| !line["cost_usd"].is_null()).map(|line| nano(&line["cost_usd"])).sum();
    assert_eq!(sum, cost, "{}", text.text);
    let red = get(client, "/v1/admin/analytics/export?metadata.team=red&start_date=1h").await.text;
    assert_eq!(red.lines().count(), 1 + 5, "{red}");

    for name in ["attempts.csv", "attempts.parquet"] {
        let file = dir.join(name);
        let path = file.display().to_string();
        let done = run(dir, &["spend", "export", "-o", &path, "--json"]).await;
        assert!(done.status.success(), "{done:?}");
        let bytes = std::fs::read(&file).unwrap();
        assert_eq!(done.json()["bytes"], bytes.len(), "{done:?}");
        if name.ends_with("parquet") {
            assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
        } else {
            let all = String::from_utf8(bytes).unwrap();
            assert_eq!(all.lines().count() as u64, 1 + REQUESTS, "{all}");
            let ids = lines.iter().filter_map(|line| line["attempt_id"].as_str());
            assert!(ids.clone().count() > 0 && ids.into_iter().all(|id| all.contains(id)), "{all}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_cannot_be_answered_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let gateway =
        crate::up(dir.path()).arg("--roles").arg("http-shim,admin-api,router,provider-worker").ready();
    let client = Client::new(&gateway.http());
    let nobody = get(&client, "/v1/admin/analytics/spend").await;
    assert_eq!(nobody.status, 503, "{}", nobody.text);
    assert!(nobody.text.contains("pointsman run cost-accounting"), "{}", nobody.text);
    let export = get(&client, "/v1/admin/analytics/export").await;
    assert_eq!(export.status, 503, "{}", export.text);
    let unknown = get(&client, "/v1/analytics/graphs/cost?total_units_min=3").await;
    assert_eq!((unknown.status, &unknown.body["error"]["param"]), (400, &json!("total_units_min")));
    let command = run(dir.path(), &["spend", "--by", "modle"]).await;
    assert_eq!(command.status.code(), Some(1));
    assert!(format!("{command:?}").contains("did you mean `model`?"), "{command:?}");
}
