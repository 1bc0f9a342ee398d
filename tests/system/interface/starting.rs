//! Starting and stopping: ready lines, free ports, one process per data directory, nothing left behind.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use system_tests::harness::client::Client;
use system_tests::harness::process::signal;
use system_tests::harness::{Mock, Pointsman, Signal, eventually};

use super::{PATIENCE, command, finish, shape};

/// The port of a URL, which must not be one that was fixed beforehand.
#[track_caller]
fn port(url: &str) -> u16 {
    let rest = url.split("://").nth(1).unwrap_or_else(|| panic!("`{url}` is no URL"));
    let (host, rest) = rest.split_once(':').unwrap_or_else(|| panic!("`{url}` has no port"));
    assert_eq!(host, "127.0.0.1", "{url}");
    let port = rest.split('/').next().unwrap_or_default().parse();
    port.unwrap_or_else(|_| panic!("`{url}` has no port"))
}

/// Process id of the nats-server that the gateway with this folder supervises.
fn broker(dir: &Path) -> u32 {
    let text = std::fs::read_to_string(dir.join("data/nats/nats-server.pid")).expect("the broker's pid file");
    text.trim().parse().expect("a pid")
}

fn lives(pid: u32) -> bool {
    let pid =
        rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid fits")).expect("a pid is not zero");
    rustix::process::test_kill_process(pid).is_ok()
}

/// A process whose standard output is read by people.
struct Human {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Human {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(crate::BINARY);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("start pointsman");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("a line").expect("a line of text")
    }

    fn stop(mut self) -> Option<i32> {
        signal(self.child.id(), Signal::Term);
        let until = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("wait for pointsman") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Human {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

async fn answers(http: &str) {
    let client = Client::new(http);
    let answer = client.send(client.chat("mock")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn up_says_where_everything_is_when_everything_answers() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let ready = gateway.ready();
    shape::check(
        ready,
        &json!({ "http": "string", "nats": "string", "mock": "string", "metrics": "string" }),
    );
    let ports = [port(&gateway.http()), port(&gateway.nats()), port(&gateway.mock())];
    assert!(ports.iter().all(|p| *p != 0) && !ports.contains(&8787) && !ports.contains(&4222), "{ports:?}");
    assert!(gateway.nats().starts_with("nats://"), "{ready}");
    assert!(gateway.mock().ends_with("/v1"), "{ready}");
    assert_eq!(ready["metrics"], format!("{}/metrics", gateway.http()));
    // No waiting: the first calls after the line succeed.
    answers(&gateway.http()).await;
    assert_eq!(Mock::at(&gateway.mock()).rows("mock").await.len(), 1);
    let client = Client::new(&gateway.http());
    for path in ["/metrics", "/health", "/ready", "/v1/models"] {
        assert_eq!(client.send(client.request(reqwest::Method::GET, path)).await.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_the_ready_line_as_words_and_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data").display().to_string();
    let mut process = Human::start(&["up", "--listen", "127.0.0.1:0", "--data-dir", &data]);
    let line = process.line();
    let words: Vec<(&str, &str)> =
        line.split(' ').map(|word| word.split_once('=').unwrap_or((word, ""))).collect();
    let [("ready", ""), ("http", http), ("nats", nats), ("mock", mock), ("metrics", metrics)] =
        words.as_slice()
    else {
        panic!("not `ready http=… nats=… mock=… metrics=…` but `{line}`");
    };
    assert!(nats.starts_with("nats://127.0.0.1:") && mock.ends_with("/v1"), "{line}");
    assert_eq!(*metrics, format!("{http}/metrics"));
    answers(http).await;
    let hint: String = (0..4).map(|_| process.line()).collect();
    assert!(
        hint.contains("pointsman ask") && hint.contains(&format!("curl {http}/v1/chat/completions")),
        "{hint}"
    );
    assert_eq!(process.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_work_finish_and_leaves_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = crate::gateway(dir.path());
    let broker = broker(dir.path());
    assert!(lives(broker));
    let (client, mock) = (Client::new(&gateway.http()), Mock::at(&gateway.mock()));
    let under_way = tokio::spawn({
        let client = client.clone();
        async move { client.send(client.chat("mock-slow?delay=500ms&log")).await }
    });
    eventually("the provider has the call", PATIENCE, || async {
        let log = mock.get("/log").await;
        log["events"].as_array().is_some_and(|events| !events.is_empty()).then_some(())
    })
    .await;
    let status = gateway.stop(PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    let answer = under_way.await.unwrap();
    assert_eq!(answer.status, 200, "the request under way was finished: {}", answer.text);
    assert!(!lives(broker), "nats-server ({broker}) outlived pointsman");
    let again = std::net::TcpStream::connect(("127.0.0.1", port(&gateway.http())));
    assert!(again.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_a_drain_that_would_take_long() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = crate::up(dir.path()).set("work.drain", "10m").ready();
    let broker = broker(dir.path());
    let (client, mock) = (Client::new(&gateway.http()), Mock::at(&gateway.mock()));
    let hanging = client.send(client.chat("mock?hang=headers").header("prefer", "respond-async")).await;
    assert_eq!(hanging.status, 202, "{}", hanging.text);
    eventually("the provider has the call", PATIENCE, || async { mock.rows("mock?hang").await.pop() }).await;
    gateway.signal(Signal::Term);
    eventually("it drains", PATIENCE, || async { gateway.log().contains("draining").then_some(()) }).await;
    let status = gateway.stop(PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    assert!(!lives(broker), "nats-server ({broker}) outlived pointsman");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_on_the_same_data_refuses_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = crate::gateway(dir.path());
    let second = finish(crate::up(dir.path())).await;
    assert_eq!((second.status.code(), second.stdout.as_str()), (Some(1), ""), "{second:?}");
    let data = dir.path().join("data").display().to_string();
    let expected = format!("data directory {data} is in use by pointsman (pid {})", gateway.pid());
    assert!(second.stderr.contains(&expected) && second.stderr.contains("--data-dir"), "{}", second.stderr);
    answers(&gateway.http()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failed = command(dir.path(), &["up", "--listen", &address]).await;
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(failed.stderr.contains(&format!("listen on {address}")), "{}", failed.stderr);
    let remote = command(dir.path(), &["up", "--listen", "0.0.0.0:0"]).await;
    assert_eq!(remote.status.code(), Some(1), "{remote:?}");
    assert!(remote.stderr.contains("auth.mode"), "{}", remote.stderr);
}

/// Starts roles against the broker of `base`, with the data directory that both share.
fn run(dir: &Path, base: &Pointsman, arguments: &[&str]) -> Pointsman {
    let data = dir.join("data").display().to_string();
    let start = crate::pointsman(dir, &["run"]);
    let start = arguments.iter().fold(start, |start, argument| start.arg(*argument));
    start
        .arg("--listen")
        .arg("127.0.0.1:0")
        .arg("--nats")
        .arg(base.nats())
        .arg("--data-dir")
        .arg(data)
        .ready()
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_run_together_or_alone_on_a_broker_without_roles() {
    let dir = tempfile::tempdir().unwrap();
    let mut base = crate::up(dir.path()).arg("--roles").arg("none").ready();
    shape::check(
        base.ready(),
        &json!({ "http": "null", "nats": "string", "mock": "string", "metrics": "null" }),
    );
    let same = json!({ "http": "string", "nats": base.nats(), "mock": base.mock(), "metrics": "string" });

    let mut together = run(dir.path(), &base, &["router", "provider-worker", "http-shim"]);
    shape::check(together.ready(), &same);
    answers(&together.http()).await;
    assert_eq!(together.stop(PATIENCE).code(), Some(0), "{}", together.log());

    let mut alone = ["router", "provider-worker", "http-shim"].map(|role| run(dir.path(), &base, &[role]));
    for process in &alone {
        shape::check(process.ready(), &same);
        let client = Client::new(&process.http());
        for path in ["/health", "/ready", "/metrics"] {
            let answer = client.send(client.request(reqwest::Method::GET, path)).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        }
    }
    answers(&alone[2].http()).await;
    for process in alone.iter_mut().rev() {
        assert_eq!(process.stop(PATIENCE).code(), Some(0), "{}", process.log());
    }
    assert_eq!(base.stop(PATIENCE).code(), Some(0), "{}", base.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_roles_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = command(dir.path(), &["run", "rooter"]).await;
    assert_eq!(run.status.code(), Some(2), "{run:?}");
    assert!(run.stderr.contains("provider-worker"), "{}", run.stderr);
    let up = command(dir.path(), &["up", "--roles", "rooter"]).await;
    assert_eq!(up.status.code(), Some(1), "{up:?}");
    assert!(up.stderr.contains("provider-worker"), "{}", up.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mock_runs_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut mock = crate::pointsman(dir.path(), &["mock", "--listen", "127.0.0.1:0"]).ready();
    shape::check(mock.ready(), &json!({ "mock": "string" }));
    let client = Client::new(mock.mock().trim_end_matches("/v1"));
    let answer = client.send(client.chat("mock")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    shape::check(
        &Mock::at(&mock.mock()).get("/bill").await,
        &json!({
            "models": { "mock": { "calls": "number", "input_tokens": "number", "output_tokens": "number" } },
            "attempts": [{
                "attempt_id": "string|null", "model": "string", "status": "number|null",
                "input_tokens": "number", "output_tokens": "number",
            }],
        }),
    );
    assert_eq!(mock.stop(PATIENCE).code(), Some(0), "{}", mock.log());
    let mut human = Human::start(&["mock", "--listen", "127.0.0.1:0"]);
    let line = human.line();
    assert!(line.starts_with("ready mock=http://127.0.0.1:") && line.ends_with("/v1"), "{line}");
    assert_eq!(human.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_nats_server_on_path_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let (programs, started) = (dir.path().join("bin"), dir.path().join("started"));
    std::fs::create_dir(&programs).unwrap();
    let old = programs.join("nats-server");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'nats-server: v2.10.0' && exit 0\ntouch '{}'\nexit 1\n",
        started.display()
    );
    std::fs::write(&old, text).unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), search_path());
    let gateway = crate::up(dir.path()).arg("--roles").arg("none").env("PATH", &path).ready();
    assert!(!started.exists(), "the old one was started");
    assert!(gateway.log().contains("2.10.0"), "it says why: {}", gateway.log());
    let doctor = command(dir.path(), &["doctor", "--json"]).await;
    let found: Value = doctor.json();
    let broker = &found["findings"][0];
    assert_eq!((&broker["check"], &broker["verdict"]), (&json!("broker"), &json!("ok")), "{found}");
    assert!(!broker["found"].as_str().unwrap_or_default().contains("2.10"), "{broker}");
}

#[expect(clippy::disallowed_methods, reason = "a process of the test's own gets this one's search path")]
fn search_path() -> String {
    std::env::var("PATH").expect("there is a search path")
}
