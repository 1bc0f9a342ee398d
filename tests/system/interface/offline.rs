//! Commands that need no gateway: `route try` and `lint`.

use std::path::Path;

use serde_json::{Value, json};

use super::{command, json, shape};

const CONFIG: &str = r#"{
  "strategy": { "mode": "fallback" },
  "targets": [
    { "provider": "openai", "retry": { "attempts": 1, "use_retry_after_header": true } },
    { "provider": "groq", "override_params": { "model": "llama" } }
  ]
}"#;

fn write(dir: &Path, name: &str, text: &str) -> String {
    let file = dir.join(name);
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn route_try_prints_every_decision_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let config = write(dir.path(), "config.json", CONFIG);
    let body = json!({ "model": "gpt", "messages": [{ "role": "user", "content": "hello" }] });
    let request = write(dir.path(), "body.json", &body.to_string());
    let arguments =
        ["route", "try", "-f", &config, "--request", &request, "--outcomes", "429/retry-after=2,500,200"];
    let tried = command(dir.path(), &arguments).await;
    assert_eq!(tried.status.code(), Some(0), "{tried:?}");
    assert_eq!(
        tried.stdout.lines().collect::<Vec<_>>(),
        [
            "1. call config.targets[0] (openai, gpt)",
            "   first choice",
            "   → 429 rate_limit retry-after 2s",
            "2. wait 2.0 s, call config.targets[0] (openai, gpt)",
            "   retry: number 1 at config.targets[0] after 429",
            "   → 500 server_error",
            "3. call config.targets[1] (groq, llama)",
            "   fallback: 500 of config.targets[0] is no success",
            "   → 200",
            "end: after 2.3 s the answer is that of attempt 3, status 200",
            "x-portkey-last-used-option-index: config.targets[1]",
            "x-portkey-provider: groq",
            "x-portkey-retry-attempt-count: 0",
        ]
    );
    let tried = json(dir.path(), &arguments, 0).await;
    shape::check(
        &tried,
        &json!({
            "steps": [{
                "call": "string", "attempt": "number", "provider": "string", "model": "string",
                "after_ms": "number", "at_ms": "number", "reasons": "any", "status": "number",
                "error": "string|null", "retry_after_ms": "number|null",
            }],
            "end": { "kind": "answer", "attempt": "number", "status": "number" },
            "reasons": "any", "headers": "any", "took_ms": "number",
        }),
    );
    assert_eq!((&tried["steps"][1]["at_ms"], &tried["took_ms"]), (&json!(2100), &json!(2300)));
}

#[tokio::test(flavor = "multi_thread")]
async fn route_try_judges_conditions_by_metadata_and_headers() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({
        "strategy": {
            "mode": "conditional",
            "conditions": [
                { "query": { "metadata.plan": { "$eq": "paid" } }, "then": "good" },
                { "query": { "headers.x-test": { "$eq": "1" } }, "then": "cheap" },
            ],
        },
        "targets": [{ "name": "good", "provider": "openai" }, { "name": "cheap", "provider": "groq" }],
    });
    let config = write(dir.path(), "config.json", &config.to_string());
    let base = ["route", "try", "-f", &config];
    let paid = json(dir.path(), &[&base[..], &["-m", "plan=paid"]].concat(), 0).await;
    assert_eq!(paid["steps"][0]["provider"], "openai");
    assert!(paid["steps"][0]["reasons"][0].as_str().unwrap().contains("conditions[0]"), "{paid}");
    let test = json(dir.path(), &[&base[..], &["-H", "X-Test: 1"]].concat(), 0).await;
    assert_eq!(test["steps"][0]["provider"], "groq");
    let none = json(dir.path(), &base, 0).await;
    assert_eq!((&none["steps"], &none["end"]["kind"]), (&json!([]), &json!("give_up")));
}

#[tokio::test(flavor = "multi_thread")]
async fn route_try_says_what_it_cannot_play() {
    let dir = tempfile::tempdir().unwrap();
    let config = write(dir.path(), "config.json", CONFIG);
    let open = json(dir.path(), &["route", "try", "-f", &config, "--outcomes", "500"], 0).await;
    assert_eq!(open["end"], json!({ "kind": "open", "call": "config.targets[0]", "after_ms": 1000 }));
    let full = ["route", "try", "-f", &config, "--outcomes", "queue_full,queue_full,200"];
    let parked = json(dir.path(), &full, 0).await;
    assert!(parked["steps"][2]["park_ms"].is_u64(), "all queues were full");
    let bad = write(dir.path(), "bad.json", r#"{"provider":"openai","retry":{"attempts":"2"}}"#);
    for (arguments, part) in [
        (vec!["-f", &config, "--outcomes", "tiemout"], "`tiemout`"),
        (vec!["-f", &config, "-m", "plan"], "KEY=VALUE"),
        (vec!["-f", &config, "--operation", "juggling"], "juggling"),
        (vec!["-f", &bad], "config.retry.attempts"),
        (vec!["-f", "/no/such.json"], "/no/such.json"),
    ] {
        let refused = command(dir.path(), &[&["route", "try"], &arguments[..]].concat()).await;
        assert_eq!((refused.status.code(), refused.stdout.as_str()), (Some(1), ""), "{refused:?}");
        assert!(refused.stderr.contains(part), "{arguments:?}: {}", refused.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lint_finds_every_error_with_its_place_and_the_fix() {
    let dir = tempfile::tempdir().unwrap();
    let good = write(dir.path(), "good.json", CONFIG);
    let fine = command(dir.path(), &["lint", &good]).await;
    assert_eq!((fine.status.code(), fine.stdout.as_str()), (Some(0), "ok 1 file\n"), "{fine:?}");
    let clear = write(dir.path(), "clear.json", r#"{"provider":"openai","api_key":"sk-not-to-be-seen"}"#);
    let weak = write(dir.path(), "weak.toml", "provider = \"openai\"\nweigth = 2\n");
    let key = write(dir.path(), "key.toml", "kind = \"api_key\"\nname = \"app\"\nscope = [\"*\"]\n");
    let files = ["lint", &good, &clear, &weak, &key];
    let bad = command(dir.path(), &files).await;
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    assert!(!bad.stdout.contains("sk-not-to-be-seen"));
    let starts = [
        format!("warning: {clear}: `config.api_key`: a credential in clear"),
        format!("error: {weak}: `config.weigth`: "),
        format!("error: {key}: `scope`: is no field of kind `api_key`; did you mean `scopes`?"),
        format!("error: {key}: `key_file`: is missing"),
    ];
    let lines: Vec<&str> = bad.stdout.lines().collect();
    assert_eq!(lines.len(), starts.len(), "{}", bad.stdout);
    for (line, start) in lines.iter().zip(&starts) {
        assert!(line.starts_with(start), "`{line}` does not start with `{start}`");
    }
    let found = json(dir.path(), &files, 1).await;
    let problem = json!({ "file": "string", "path": "string", "message": "string" });
    shape::check(&found, &json!({ "ok": false, "errors": [problem], "warnings": [problem] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_policy_has_no_faults() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/policy").display().to_string();
    let data = dir.path().join("data").display().to_string();
    let lint = crate::pointsman(dir.path(), &["lint", &folder, "--json", "--data-dir", &data]);
    let unset = super::finish(lint.clone()).await;
    assert_eq!(unset.status.code(), Some(1));
    let missing: Vec<Value> = unset.json()["errors"].as_array().unwrap().clone();
    assert!(missing.iter().all(|e| e["message"].as_str().unwrap().contains("is not set")), "{missing:?}");
    let set = lint.env("OPENAI_API_KEY", "a").env("GROQ_API_KEY", "b").env("KEY_DIR", "c");
    assert_eq!(super::finish(set).await.json(), json!({ "ok": true, "errors": [], "warnings": [] }));
}
