//! Commands: what they print for scripts, and how they exit.

use std::path::Path;
use std::time::Duration;

use domain::event::Kind;
use serde_json::{Value, json};
use system_tests::harness::client::{Client, Observer, chat};
use system_tests::harness::{Pointsman, eventually};

use super::{PATIENCE, command, finish, json, shape};

/// What an attempt looks like in every answer that has attempts.
fn attempt() -> Value {
    json!({
        "number": "number", "path": "string", "provider": "string", "status?": "number", "error?": "string",
        "message?": "string", "retry_after_ms?": "number", "started_at": "any", "finished_at": "any",
        "first_byte_ms?": "number", "queued_ms": "number", "model?": "string", "model_answered?": "string",
        "usage?": "any", "estimated?": "bool", "cost?": "number", "price?": "string", "worker?": "string",
        "duplicate_possible?": "bool",
    })
}

/// What an ended request looks like.
fn ended(status: &str) -> Value {
    json!({
        "id": "string", "status": status, "operation": "string", "model": "string|null",
        "accepted_at": "any", "finished_at": "any", "config": "string", "attempts": [attempt()],
        "decisions": [{ "attempt": "number", "path": "string", "reason": "first|retry|fallback|replacement" }],
        "result": { "status": "number", "content_type": "string", "body": "any" },
    })
}

fn question(text: &str) -> String {
    chat("mock", text).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn ask_prints_the_answer_as_it_comes_or_whole() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let spoken = command(dir.path(), &["ask", "where", "is the harbour"]).await;
    assert_eq!(spoken.status.code(), Some(0), "{spoken:?}");
    assert!(
        spoken.stdout.contains("where is the harbour") && spoken.stdout.ends_with('\n'),
        "{}",
        spoken.stdout
    );
    let whole = json(dir.path(), &["ask", "where is the harbour"], 0).await;
    assert_eq!(whole["object"], "chat.completion");
    assert_eq!(whole["choices"][0]["message"]["content"], spoken.stdout.trim_end());
    let config = r#"{"provider":"mock","override_params":{"model":"mock-other"}}"#;
    let routed = json(dir.path(), &["ask", "hello", "--config", config, "--url", &gateway.http()], 0).await;
    assert_eq!(routed["model"], "mock-other");
    for (model, part) in [("mock?status=401", "401"), ("mock?chunks=20&abort=1200", "")] {
        let failed = command(dir.path(), &["ask", "hello", "--model", model]).await;
        assert_eq!(failed.status.code(), Some(1), "{model}: {failed:?}");
        assert!(failed.stderr.contains("error:") && failed.stderr.contains(part), "{model}: {failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_prints_an_id_or_waits_for_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let _gateway = crate::gateway(dir.path());
    let human = command(dir.path(), &["publish", "chat", &question("hello")]).await;
    assert_eq!((human.status.code(), human.stdout.lines().count()), (Some(0), 1), "{human:?}");
    let published = json(dir.path(), &["publish", "chat", &question("hello"), "--lane", "bulk"], 0).await;
    shape::check(&published, &json!({ "id": "string" }));

    let waited = json(dir.path(), &["publish", "chat", &question("hello"), "--wait"], 0).await;
    shape::check(&waited, &json!({ "id": "string", "status": "number", "answer": "any" }));
    assert_eq!((&waited["status"], &waited["answer"]["object"]), (&json!(200), &json!("chat.completion")));
    let file = dir.path().join("body.json");
    std::fs::write(&file, json!({ "model": "mock", "input": "hello" }).to_string()).unwrap();
    let from_file = format!("@{}", file.display());
    let embedded = json(dir.path(), &["publish", "embeddings", &from_file, "--wait"], 0).await;
    assert_eq!(embedded["answer"]["object"], "list");

    let id = ["-H", "Pointsman-Request-Id=chosen-by-script"];
    let chosen = json(dir.path(), &[&["publish", "chat", &question("hello")], &id[..]].concat(), 0).await;
    assert_eq!(chosen["id"], "chosen-by-script");

    let failing = chat("mock?status=503", "hello").to_string();
    let failed = json(dir.path(), &["publish", "chat", &failing, "--wait"], 1).await;
    assert_eq!(failed["status"], 503);
    for (bad, part) in [
        (["publish", "juggling", "{}"], "juggling"),
        (["publish", "chat", "{oops"], "JSON"),
        (["publish", "chat", "@/no/such/file"], "/no/such/file"),
    ] {
        let refused = command(dir.path(), &bad).await;
        assert_eq!((refused.status.code(), refused.stdout.as_str()), (Some(1), ""), "{bad:?}: {refused:?}");
        assert!(refused.stderr.contains(part), "{bad:?}: {}", refused.stderr);
    }
}

/// Polls `requests get` until the request has ended.
async fn ended_request(dir: &Path, id: &str) -> Value {
    eventually(&format!("request {id} ends"), PATIENCE, || async {
        let found = json(dir, &["requests", "get", id], 0).await;
        found.get("result").is_some().then_some(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_got_listed_and_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let published = json(dir.path(), &["publish", "chat", &question("hello")], 0).await;
    let first = published["id"].as_str().unwrap();
    let found = ended_request(dir.path(), first).await;
    shape::check(&found, &ended("answered"));
    assert_eq!((&found["id"], &found["result"]["status"]), (&json!(first), &json!(200)));
    assert_eq!(found["attempts"].as_array().map(Vec::len), Some(1));

    let hanging = chat("mock?hang=headers", "wait for ever").to_string();
    let published = json(dir.path(), &["publish", "chat", &hanging], 0).await;
    let second = published["id"].as_str().unwrap();
    let waiting = eventually("the request was taken on", PATIENCE, || async {
        let got = command(dir.path(), &["requests", "get", second, "--json"]).await;
        got.status.success().then(|| got.json())
    })
    .await;
    shape::check(
        &waiting,
        &json!({
            "id": second, "status": "accepted", "operation": "chat", "model": "mock?hang=headers",
            "accepted_at": "any", "deadline": "any",
        }),
    );
    let observer = Observer::connect(&gateway.nats()).await;
    let kinds: Vec<Kind> = observer.events_of(second).await.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::RequestAccepted], "others learn of it, too");
    let listed = json(dir.path(), &["requests", "list", "--limit", "5"], 0).await;
    let rows = listed["requests"].as_array().unwrap();
    let row =
        |id: &str| rows.iter().find(|r| r["id"] == id).unwrap_or_else(|| panic!("{id} is not in {listed}"));
    shape::check(
        row(first),
        &json!({
            "id": first, "status": "answered", "http_status": 200, "operation": "chat", "model": "mock",
            "attempts": 1, "finished_at": "any", "took_ms": "number",
        }),
    );
    shape::check(row(second), &json!({ "id": second, "status": "accepted" }));

    let cancelled = json(dir.path(), &["requests", "cancel", second], 0).await;
    shape::check(&cancelled, &json!({ "id": second, "status": "cancelled|cancelling" }));
    let found = ended_request(dir.path(), second).await;
    shape::check(&found, &ended("cancelled"));
    for (id, part) in [("no-such-request", "no-such-request"), ("not an id", "letters, digits")] {
        let missing = command(dir.path(), &["requests", "get", id]).await;
        assert_eq!(missing.status.code(), Some(1), "{missing:?}");
        assert!(missing.stderr.contains(part), "{}", missing.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_and_redriven() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    assert_eq!(json(dir.path(), &["dead", "ls"], 0).await, json!({ "dead": [] }));
    let client = async_nats::connect(gateway.nats()).await.unwrap();
    client.publish("llm.request.chat", "{oops".into()).await.unwrap();
    client.flush().await.unwrap();
    let listed = eventually("the letter lies there", PATIENCE, || async {
        let listed = json(dir.path(), &["dead", "ls"], 0).await;
        (listed["dead"] != json!([])).then_some(listed)
    })
    .await;
    shape::check(
        &listed,
        &json!({ "dead": [{
            "number": "number", "age_ms": "number", "stage": "router", "subject": "llm.request.chat", "reason": "string",
        }] }),
    );
    let number = listed["dead"][0]["number"].to_string();
    let shown = json(dir.path(), &["dead", "show", &number], 0).await;
    assert_eq!(shown["body"], "{oops", "the whole message is kept");
    assert!(shown["headers"]["Pointsman-Reason"].is_string(), "{shown}");
    let mut outline = shown.clone();
    outline["headers"] = json!("left out");
    shape::check(
        &outline,
        &json!({ "number": "number", "stage": "router", "headers": "any", "envelope": "null", "body": "string" }),
    );
    let redriven = json(dir.path(), &["dead", "redrive", &number], 0).await;
    assert_eq!(redriven, json!({ "redriven": [listed["dead"][0]["number"]] }));
    for (bad, part) in [(["dead", "show", "4711"], "4711"), (["dead", "redrive", "some"], "`some`")] {
        let failed = command(dir.path(), &bad).await;
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        assert!(failed.stderr.contains(part), "{}", failed.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_doctor_describe_a_healthy_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let streams = json(dir.path(), &["streams"], 0).await;
    shape::check(
        &streams,
        &json!({ "streams": [{
            "name": "string", "messages": "number", "bytes": "number", "last_sequence": "number",
            "oldest_at": "number|null",
            "consumers": [{
                "name": "string", "pending": "number", "in_flight": "number", "limit": "number",
                "redelivered": "number", "waiting_pulls": "number",
            }],
        }] }),
    );
    let names: Vec<&str> =
        streams["streams"].as_array().unwrap().iter().filter_map(|s| s["name"].as_str()).collect();
    for name in [
        "LLM_REQUEST",
        "LLM_CALL",
        "LLM_FALLBACK",
        "LLM_SCHEDULE",
        "LLM_STATE",
        "LLM_RESULT",
        "LLM_RESPONSE",
        "LLM_EVENT",
        "LLM_DEAD",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let doctor = json(dir.path(), &["doctor"], 0).await;
    shape::check(
        &doctor,
        &json!({ "ok": true, "findings": [{
            "check": "string", "verdict": "ok|warning", "found": "string", "fix?": "string",
        }] }),
    );
    let checks: Vec<&str> =
        doctor["findings"].as_array().unwrap().iter().filter_map(|f| f["check"].as_str()).collect();
    assert_eq!(checks, ["broker", "storage", "streams", "clock", "sealing", "dead", "provider"]);
    drop(gateway);

    let human = command(dir.path(), &["doctor"]).await;
    assert_eq!(human.status.code(), Some(1), "nothing runs any more: {human:?}");
    assert!(human.stdout.contains("broken") && human.stdout.contains("fix: "), "{}", human.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_what_is_broken_and_says_how_to_fix_it() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = json(dir.path(), &["doctor", "--nats", "nats://127.0.0.1:1"], 1).await;
    check_broken(&nowhere, "broker", "pointsman up");

    // A provider that is configured but not there.
    let absent = without_its_provider(dir.path());
    let doctor = json(dir.path(), &["doctor", "--nats", &absent.nats()], 1).await;
    check_broken(&doctor, "provider", "base_url");
    let streams: Vec<&Value> =
        doctor["findings"].as_array().unwrap().iter().filter(|f| f["check"] == "streams").collect();
    assert_eq!(streams[0]["verdict"], "ok", "what is right is said, too: {doctor}");

    // A broker that has none of the streams.
    let empty = system_tests::harness::Broker::start(dir.path().join("empty"));
    let doctor = json(dir.path(), &["doctor", "--nats", &empty.url()], 1).await;
    check_broken(&doctor, "streams", "start any role");
}

#[track_caller]
fn check_broken(doctor: &Value, check: &str, fix: &str) {
    assert_eq!(doctor["ok"], false, "{doctor}");
    let findings = doctor["findings"].as_array().expect("a list of findings");
    let broken = |f: &&Value| f["check"] == check && f["verdict"] == "broken";
    let found = findings.iter().find(broken).unwrap_or_else(|| panic!("{check} is not broken in {doctor}"));
    assert!(found["fix"].as_str().is_some_and(|text| text.contains(fix)), "{found}");
}

/// A gateway with one provider, at an address where nobody listens.
fn without_its_provider(dir: &Path) -> Pointsman {
    let settings = dir.join("settings.toml");
    std::fs::write(&settings, "[providers.far]\nbase_url = \"http://127.0.0.1:1/v1\"\n").unwrap();
    crate::up(dir).arg("--roles").arg("none").arg("--settings").arg(settings.display().to_string()).ready()
}

#[tokio::test(flavor = "multi_thread")]
async fn check_validates_a_file_without_starting_anything() {
    let dir = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pointsman.example.toml");
    let good = json(dir.path(), &["check", &example.display().to_string()], 0).await;
    assert_eq!(good, json!({ "ok": true, "errors": [] }));

    let bad = dir.path().join("bad.toml");
    std::fs::write(&bad, "[http]\nlisten = \"127.0.0.1:0\"\nlisten_on = 1\n\n[work]\nprogress = 7\n")
        .unwrap();
    let bad = bad.display().to_string();
    let found = json(dir.path(), &["check", &bad], 1).await;
    shape::check(&found, &json!({ "ok": false, "errors": ["string"] }));
    let errors: Vec<&str> = found["errors"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(errors.len(), 2, "all of them at once: {errors:?}");
    assert!(
        errors[0].contains("bad.toml:3:") && errors[0].contains("listen_on") && errors[0].contains("listen"),
        "{errors:?}"
    );
    assert!(errors[1].contains("bad.toml:6:") && errors[1].contains("progress"), "{errors:?}");

    let human = command(dir.path(), &["check", &bad]).await;
    assert_eq!(human.status.code(), Some(1), "{human:?}");
    assert_eq!(human.stdout.matches("error:").count(), 2, "{}", human.stdout);
    let missing = command(dir.path(), &["check", "/no/such/file.toml"]).await;
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    assert!(missing.stdout.contains("/no/such/file.toml"), "{missing:?}");
    // The same errors stop every other command.
    let up = command(dir.path(), &["up", "--listen", "127.0.0.1:0", "--settings", &bad]).await;
    assert_eq!(up.status.code(), Some(1), "{up:?}");
    assert!(up.stderr.contains("listen_on") && up.stdout.is_empty(), "{up:?}");
    let set = command(dir.path(), &["up", "--listen", "127.0.0.1:0", "--set", "http.lisen=x"]).await;
    assert_eq!(set.status.code(), Some(1), "{set:?}");
    assert!(set.stderr.contains("http.lisen"), "{}", set.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_command_line_exits_with_2_and_a_failure_with_1() {
    let dir = tempfile::tempdir().unwrap();
    for wrong in [
        &["fly"][..],
        &["up", "--no-such-flag"],
        &["run"],
        &["requests", "get"],
        &["up", "--listen", "here"],
        &[],
    ] {
        let finished = finish(crate::pointsman(dir.path(), wrong)).await;
        assert_eq!(
            (finished.status.code(), finished.stdout.as_str()),
            (Some(2), ""),
            "{wrong:?}: {finished:?}"
        );
        assert!(finished.stderr.contains("error: ") || wrong.is_empty(), "{wrong:?}: {}", finished.stderr);
        assert!(finished.stderr.contains("--help"), "it says where to look: {}", finished.stderr);
    }
    for failing in [
        &["streams"][..],
        &["requests", "list"],
        &["dead", "ls"],
        &["ask", "hello"],
        &["publish", "chat", "{}"],
    ] {
        let finished = command(dir.path(), failing).await;
        assert_eq!(
            (finished.status.code(), finished.stdout.as_str()),
            (Some(1), ""),
            "{failing:?}: {finished:?}"
        );
        assert!(finished.stderr.contains("error: "), "{failing:?}: {}", finished.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_without_a_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let own = ["--set", "models.\"openai/own\".capabilities=[\"chat\", \"vision\"]"];
    let wanted = ["models", "--provider", "openai", "--requires", "chat,vision", "--sort", "price"];
    let listed = json(dir.path(), &[&wanted[..], &own].concat(), 0).await;
    let model = json!({
        "provider": "openai", "name": "string", "aliases?": "any", "context_window?": "number", "max_output?": "number",
        "capabilities": "any", "price?": "any", "source": "string", "as_of": "string",
    });
    shape::check(&listed, &json!({ "models": [model] }));
    let names: Vec<&str> =
        listed["models"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"gpt-4o") && !names.contains(&"text-embedding-3-small"), "{names:?}");
    assert_eq!(names.last(), Some(&"own"), "what has no price comes last");

    let list = dir.path().join("prices.json");
    let prices =
        r#"{ "a": { "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06 }, "b": 1 }"#;
    std::fs::write(&list, prices).unwrap();
    let imported = command(dir.path(), &["models", "import", list.to_str().unwrap()]).await;
    assert_eq!(imported.status.code(), Some(0), "{imported:?}");
    assert!(imported.stdout.contains("[models.\"openai/a\"]\n"), "{imported:?}");
    assert!(imported.stderr.contains("`b` is left out: it is not an object"), "{imported:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_the_settings_reach_the_registry() {
    let dir = tempfile::tempdir().unwrap();
    let rate = ("models.\"openai/gpt-4o\".price.output", "12.5");
    let gateway = crate::up(dir.path()).set(rate.0, rate.1).ready();
    let observer = Observer::connect(&gateway.nats()).await;
    let registry = observer.contents("KV_llm_registry").await;
    let (_, _, newest) = registry.last().expect("a registry was published");
    let registry: Value = serde_json::from_slice(newest).unwrap();
    let model = &registry["models"]["openai/gpt-4o"];
    assert_eq!(model["price"]["output"], 12_500_000, "{registry}");
    assert_eq!(model["price"]["input"], 2_500_000, "what is known stays: {registry}");
    assert_eq!(model["source"], "settings");
}

#[tokio::test(flavor = "multi_thread")]
async fn help_names_every_command_and_says_what_it_is_for() {
    let dir = tempfile::tempdir().unwrap();
    let help = finish(crate::pointsman(dir.path(), &["--help"])).await;
    assert_eq!(help.status.code(), Some(0), "{help:?}");
    let commands = [
        "up",
        "run",
        "mock",
        "ask",
        "publish",
        "requests",
        "dead",
        "streams",
        "doctor",
        "check",
        "models",
        "completions",
    ];
    for command in commands {
        let line = help.stdout.lines().find(|line| line.trim_start().starts_with(&format!("{command} ")));
        let line = line.unwrap_or_else(|| panic!("`{command}` is not in\n{}", help.stdout));
        assert!(line.trim_start().len() > command.len() + 10, "{line}");
        let own = finish(crate::pointsman(dir.path(), &[command, "--help"])).await;
        assert_eq!(own.status.code(), Some(0), "{own:?}");
        for flag in ["--json", "--settings", "--set", "--nats", "--data-dir"] {
            assert!(own.stdout.contains(flag), "`{command} --help` does not mention {flag}:\n{}", own.stdout);
        }
    }
    for (command, mentions) in [
        ("up", &["--listen", "--roles", "port 0"][..]),
        ("run", &["http-shim", "router", "provider-worker", "--listen", "--reuse-port"]),
        ("mock", &["mock?status=", "hang=headers", "retry-after", "GET /bill", "--listen"]),
        ("ask", &["--model", "--config", "--url"]),
        ("publish", &["--lane", "--header", "--wait"]),
        ("requests", &["get", "list", "cancel"]),
        ("dead", &["ls", "show", "redrive"]),
        ("models", &["--provider", "--requires", "--sort", "import"]),
    ] {
        let own = finish(crate::pointsman(dir.path(), &[command, "--help"])).await;
        for mention in mentions {
            assert!(
                own.stdout.contains(mention),
                "`{command} --help` does not mention {mention}:\n{}",
                own.stdout
            );
        }
    }
    let version = finish(crate::pointsman(dir.path(), &["--version"])).await;
    assert!(version.status.success() && version.stdout.starts_with("pointsman "), "{version:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shells_get_completions() {
    let dir = tempfile::tempdir().unwrap();
    for (shell, mark) in
        [("bash", "complete -F"), ("zsh", "#compdef pointsman"), ("fish", "complete -c pointsman")]
    {
        let script = finish(crate::pointsman(dir.path(), &["completions", shell])).await;
        assert_eq!(script.status.code(), Some(0), "{script:?}");
        assert!(
            script.stdout.contains(mark) && script.stdout.contains("redrive"),
            "{shell}: {}",
            script.stdout
        );
    }
    let unknown = finish(crate::pointsman(dir.path(), &["completions", "tcsh"])).await;
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_find_the_gateway_by_its_data_directory_only_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = crate::gateway(dir.path());
    let client = Client::new(&gateway.http());
    assert_eq!(client.send(client.chat("mock")).await.status, 200);
    assert_eq!(command(dir.path(), &["streams"]).await.status.code(), Some(0));
    assert_eq!(gateway.stop(Duration::from_secs(60)).code(), Some(0), "{}", gateway.log());
    let after = command(dir.path(), &["streams"]).await;
    assert_eq!(after.status.code(), Some(1), "{after:?}");
    assert!(after.stderr.contains("no gateway runs in"), "{}", after.stderr);
}
