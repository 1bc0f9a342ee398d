//! Policy as files: applied, compared, rolled back and pruned through the command line, against real gateways.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::harness::process::{Finished, Start};
use system_tests::harness::{Client, Pointsman, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

/// A command against the gateway of a data directory.
fn start(dir: &Path, arguments: &[&str]) -> Start {
    let data = dir.join("data").display().to_string();
    crate::pointsman(dir, arguments)
        .arg("--data-dir")
        .arg(data)
        .env("OPENAI_API_KEY", "sk-openai-not-to-be-seen")
        .env("GROQ_API_KEY", "gsk-groq-not-to-be-seen")
        .env("KEY_DIR", &dir.display().to_string())
}

async fn finish(start: Start) -> Finished {
    let finished = tokio::task::spawn_blocking(move || start.finish()).await.expect("the command was run");
    for secret in ["sk-openai-not-to-be-seen", "gsk-groq-not-to-be-seen"] {
        assert!(!finished.stdout.contains(secret) && !finished.stderr.contains(secret), "{finished:?}");
    }
    finished
}

/// Runs a command that must exit with `code`, and gives what it printed.
async fn run(dir: &Path, arguments: &[&str], code: i32) -> String {
    let finished = finish(start(dir, arguments)).await;
    assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {finished:?}");
    format!("{}{}", finished.stdout, finished.stderr)
}

async fn json(dir: &Path, arguments: &[&str]) -> Value {
    let finished = finish(start(dir, &[arguments, &["--json"]].concat())).await;
    assert_eq!(finished.status.code(), Some(0), "{arguments:?}: {finished:?}");
    finished.json()
}

/// Applies a folder; gives the names of what was done, as in `create config pc-a`.
async fn apply(dir: &Path, files: &Path, more: &[&str]) -> Vec<String> {
    let files = files.display().to_string();
    let done = json(dir, &[&["apply", "-f", &files], more].concat()).await;
    assert_eq!(done["applied"], true, "{done}");
    let text = |change: &Value, field: &str| change[field].as_str().unwrap_or_default().to_owned();
    let changes = done["changes"].as_array().cloned().unwrap_or_default();
    changes.iter().map(|c| format!("{} {} {}", text(c, "action"), text(c, "kind"), text(c, "name"))).collect()
}

/// A folder with one config that sends to a model of the mock.
fn folder(dir: &Path, model: &str) -> PathBuf {
    let files = dir.join("policy");
    std::fs::create_dir_all(&files).unwrap();
    write(&files, "a.toml", model);
    files
}

fn write(files: &Path, name: &str, model: &str) {
    let slug = name.split('.').next().unwrap();
    let text = format!(
        "kind = \"config\"\nslug = \"{slug}\"\n[config]\nprovider = \"mock\"\noverride_params = {{ model = \"{model}\" }}\n"
    );
    std::fs::write(files.join(name), text).unwrap();
}

fn model_of(config: &Value) -> &str {
    config["data"]["config"]["override_params"]["model"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_folder_is_applied_once_and_changes_nothing_the_second_time() {
    let dir = tempfile::tempdir().unwrap();
    let _gateway = crate::gateway(dir.path());
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/policy");
    let path = files.display().to_string();
    let preview = run(dir.path(), &["apply", "-f", &path, "--dry-run"], 2).await;
    assert!(preview.contains("+++ virtual_key default/openai-prod") && preview.contains("***"), "{preview}");
    assert_eq!(json(dir.path(), &["get", "configs"]).await["total"], 0, "a dry run changes nothing");

    let done = apply(dir.path(), &files, &[]).await;
    assert_eq!(
        done,
        [
            "create workspace support",
            "create virtual_key openai-prod",
            "create virtual_key groq-backup",
            "create config pc-chat",
            "create config pc-triage",
            "create api_key support-desk",
            "create usage_policy per-team",
            "create rate_policy groq-chats",
        ]
    );
    let key = dir.path().join("support-desk.key");
    let mode = std::fs::metadata(&key).unwrap().permissions().mode() & 0o777;
    let text = std::fs::read_to_string(&key).unwrap();
    assert!(text.starts_with("pm_") && mode == 0o600, "mode {mode:o}");

    assert_eq!(apply(dir.path(), &files, &[]).await, [""; 0], "nothing to do the second time");
    assert!(run(dir.path(), &["diff", "-f", &path, "--prune"], 0).await.contains("nothing to change"));
    let keys = json(dir.path(), &["get", "virtual-keys"]).await;
    assert_eq!(keys["data"][0]["managed_by"], "apply", "{keys}");
    let triage = json(dir.path(), &["get", "configs", "pc-triage", "--workspace", "support"]).await;
    assert_eq!((&triage["data"]["is_default"], model_of(&triage)), (&json!(true), "mistral-small-latest"));
    let again = apply(dir.path(), &files, &["--resend-secrets"]).await;
    assert_eq!(again, ["update virtual_key openai-prod", "update virtual_key groq-backup"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_shown_applied_and_live_in_a_second_process() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let other = second(dir.path(), &gateway);
    let files = folder(dir.path(), "mock-one");
    assert_eq!(apply(dir.path(), &files, &[]).await, ["create config pc-a"]);
    write(&files, "a.toml", "mock-two");
    let path = files.display().to_string();
    let diff = run(dir.path(), &["diff", "-f", &path], 2).await;
    for line in ["-      \"model\": \"mock-one\"", "+      \"model\": \"mock-two\""] {
        assert!(diff.lines().any(|l| l.trim_end() == line), "{line} is not in\n{diff}");
    }
    assert_eq!(apply(dir.path(), &files, &[]).await, ["update config pc-a"]);
    let client = Client::new(&other.http());
    eventually("the other process has the new version", Duration::from_secs(1), || async {
        // Both processes answer such questions, whoever is asked, so that one answer says little.
        for _ in 0..20 {
            let found: Value =
                client.request(Method::GET, "/v1/configs/pc-a").send().await.ok()?.json().await.ok()?;
            if model_of(&found) != "mock-two" {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// A second process that answers everything that the first does, with a view of its own.
fn second(dir: &Path, first: &Pointsman) -> Pointsman {
    let data = dir.join("data").display().to_string();
    crate::pointsman(dir, &["run", "http-shim", "admin-api", "--listen", "127.0.0.1:0", "--data-dir", &data])
        .arg("--nats")
        .arg(first.nats())
        .ready()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_is_rolled_back_and_its_history_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    let _gateway = crate::gateway(dir.path());
    let files = folder(dir.path(), "mock-one");
    apply(dir.path(), &files, &[]).await;
    let refused = run(dir.path(), &["rollback", "a"], 1).await;
    assert!(refused.contains("there is none before it"), "{refused}");
    write(&files, "a.toml", "mock-two");
    apply(dir.path(), &files, &[]).await;

    run(dir.path(), &["rollback", "a"], 0).await;
    let now = json(dir.path(), &["get", "configs", "pc-a"]).await;
    assert_eq!((model_of(&now), &now["data"]["version"]), ("mock-one", &json!(1)));
    let history = json(dir.path(), &["history", "pc-a"]).await;
    let versions: Vec<&Value> =
        history["versions"].as_array().unwrap().iter().map(|v| &v["version"]).collect();
    assert_eq!((&history["version"], versions), (&json!(1), vec![&json!(2), &json!(1)]));
    let shown = run(dir.path(), &["history", "pc-a"], 0).await;
    assert!(shown.lines().any(|l| l.starts_with('1') && l.ends_with("in force")), "{shown}");
    run(dir.path(), &["rollback", "a", "--to", "2"], 0).await;
    assert_eq!(model_of(&json(dir.path(), &["get", "configs", "pc-a"]).await), "mock-two");
    let refused = run(dir.path(), &["rollback", "a", "--to", "9"], 1).await;
    assert!(refused.contains("no version 9"), "{refused}");

    let audit = json(dir.path(), &["audit", "--resource", "config", "--since", "1h"]).await;
    let actions: Vec<&str> =
        audit["data"].as_array().unwrap().iter().filter_map(|entry| entry["action"].as_str()).collect();
    let expected = ["config.rollback", "config.rollback", "config.update", "config.create"];
    assert_eq!(actions, expected, "newest first");
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_archives_what_was_applied_and_is_gone_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let files = folder(dir.path(), "mock-one");
    write(&files, "b.toml", "mock-one");
    apply(dir.path(), &files, &[]).await;
    let by_hand = json!({ "name": "By hand", "slug": "hand", "config": { "provider": "mock" } });
    let client = Client::new(&gateway.http());
    let made = client.request(Method::POST, "/v1/configs").json(&by_hand).send().await.unwrap();
    assert!(made.status().is_success());

    std::fs::remove_file(files.join("b.toml")).unwrap();
    assert_eq!(apply(dir.path(), &files, &[]).await, [""; 0], "without --prune nothing is archived");
    let path = files.display().to_string();
    let other = apply(dir.path(), &files, &["--prune", "--owner", "others"]).await;
    assert_eq!(other, ["update config pc-a"], "what others own is not pruned, what is named is taken over");
    apply(dir.path(), &files, &[]).await;
    let preview = run(dir.path(), &["diff", "-f", &path, "--prune"], 2).await;
    assert!(preview.contains("+++ config default/pc-b (in no file)"), "{preview}");
    assert_eq!(apply(dir.path(), &files, &["--prune"]).await, ["archive config pc-b"]);
    let left = json(dir.path(), &["get", "configs"]).await;
    let slugs: Vec<&str> =
        left["data"].as_array().unwrap().iter().filter_map(|c| c["slug"].as_str()).collect();
    assert_eq!(slugs, ["pc-a", "pc-hand"]);

    write(&files, "b.toml", "mock-one");
    assert_eq!(
        apply(dir.path(), &files, &[]).await,
        ["update config pc-b"],
        "its name is its own: it comes back"
    );
    assert_eq!(json(dir.path(), &["get", "configs"]).await["total"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_file_refuses_the_whole_set() {
    let dir = tempfile::tempdir().unwrap();
    let _gateway = crate::gateway(dir.path());
    let files = folder(dir.path(), "mock-one");
    let bad = "kind = \"config\"\nslug = \"b\"\nconfig = { provider = \"mock\", retry = { atempts = 1 } }\n";
    std::fs::write(files.join("b.toml"), bad).unwrap();
    let path = files.display().to_string();
    let refused = run(dir.path(), &["apply", "-f", &path], 1).await;
    assert!(
        refused.contains("b.toml: `config.retry") && refused.contains("nothing was changed"),
        "{refused}"
    );
    assert_eq!(json(dir.path(), &["get", "configs"]).await["total"], 0);
    // What only the gateway knows refuses the set, too.
    let unknown = "kind = \"config\"\nslug = \"b\"\nconfig = { provider = \"nobody-knows\" }\n";
    std::fs::write(files.join("b.toml"), unknown).unwrap();
    let refused = run(dir.path(), &["apply", "-f", &path], 1).await;
    assert!(refused.contains("nobody-knows") && refused.contains("nothing was changed"), "{refused}");
    assert_eq!(json(dir.path(), &["get", "configs"]).await["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_accounts_and_workspaces_are_managed_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let dir = dir.path();
    run(dir, &["workspaces", "create", "team", "--name", "The team"], 0).await;
    assert!(run(dir, &["workspaces", "ls"], 0).await.contains("The team"));

    let key = run(dir, &["keys", "create", "app", "--workspace", "team", "--expires", "30d"], 0).await;
    assert!(key.starts_with("pm_") && key.lines().count() == 1, "{key}");
    let listed = json(dir, &["keys", "ls", "--workspace", "team"]).await;
    let id = listed["data"][0]["id"].as_str().expect("an id").to_owned();
    assert!(key.contains(&id) && !listed.to_string().contains(key.trim()), "{listed}");
    let file = dir.join("rotated.key").display().to_string();
    run(dir, &["keys", "rotate", &id, "--overlap", "1h", "--key-out", &file, "-w", "team"], 0).await;
    assert_ne!(std::fs::read_to_string(&file).unwrap(), key);
    let taken = run(dir, &["keys", "rotate", &id, "--key-out", &file, "-w", "team"], 1).await;
    assert!(taken.contains("exists"), "{taken}");
    run(dir, &["keys", "revoke", &id, "-w", "team"], 0).await;
    assert_eq!(json(dir, &["keys", "ls", "-w", "team"]).await["total"], 0);

    let account =
        ["virtual-keys", "create", "openai-prod", "--provider", "openai", "--key-env", "OPENAI_API_KEY"];
    run(dir, &account, 0).await;
    let unset = ["virtual-keys", "rotate", "openai-prod", "--key-env", "NOT_SET_AT_ALL"];
    assert!(run(dir, &unset, 1).await.contains("is not set"));
    let silent = run(dir, &["virtual-keys", "rotate", "openai-prod"], 1).await;
    assert!(silent.contains("held no credential"), "{silent}");
    let before = json(dir, &["get", "virtual-keys", "openai-prod"]).await;
    run(dir, &["virtual-keys", "rotate", "openai-prod", "--key-env", "GROQ_API_KEY"], 0).await;
    let after = json(dir, &["get", "virtual-keys", "openai-prod"]).await;
    assert_ne!(before["data"]["key_version"], after["data"]["key_version"]);
    run(dir, &["virtual-keys", "revoke", "openai-prod"], 0).await;
    assert_eq!(json(dir, &["virtual-keys", "ls"]).await["total"], 0);
    run(dir, &["workspaces", "archive", "team"], 0).await;
    drop(gateway);
    let gone = run(dir, &["get", "configs", "--url", "http://127.0.0.1:1"], 1).await;
    assert!(gone.contains("pointsman up"), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_request_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let config = json!({
        "strategy": { "mode": "fallback" },
        "targets": [
            { "provider": "mock", "override_params": { "model": "mock?status=503" } },
            { "provider": "mock", "override_params": { "model": "mock" } },
        ],
    });
    let body = json!({ "model": "any", "messages": [{ "role": "user", "content": "hello" }] });
    let request = Client::new(&gateway.http()).request(Method::POST, "/v1/chat/completions");
    let answer = request.header("x-portkey-config", config.to_string()).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let id = answer.headers()["pointsman-request-id"].to_str().unwrap().to_owned();
    let explained = eventually("the outcome is on record", PATIENCE, || async {
        let explained = finish(start(dir.path(), &["explain", &id])).await;
        explained.stdout.contains("answered").then_some(explained.stdout)
    })
    .await;
    for part in [
        "a config that is not stored (hash ",
        "├─ config.targets[0]  mock",
        "1. 503 server_error",
        "└─ config.targets[1]  mock",
        "2. 200 ok",
        "fallback after 503 from config.targets[0]",
    ] {
        assert!(explained.contains(part), "{part} is not in\n{explained}");
    }
    let raw = json(dir.path(), &["explain", &id]).await;
    assert_eq!((&raw["id"], raw["attempts"].as_array().map(Vec::len)), (&json!(id), Some(2)));
}
