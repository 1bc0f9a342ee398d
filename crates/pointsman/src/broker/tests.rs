//! Against the real nats-server.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::settings::SyncInterval;

#[expect(clippy::disallowed_methods, reason = "tests share the cache of the user who runs them")]
fn env() -> BTreeMap<String, String> {
    std::env::vars().collect()
}

async fn binary() -> PathBuf {
    tokio::task::spawn_blocking(|| locate(None, &cache_dir(&env()))).await.unwrap().unwrap()
}

pub(super) fn options(binary: PathBuf, dir: &Path) -> BrokerOptions {
    let sync_interval = SyncInterval::Every(Duration::from_secs(120));
    BrokerOptions { binary, dir: dir.to_owned(), port: 0, max_store: 1 << 30, sync_interval }
}

/// A program that says it is a recent nats-server, and otherwise does what it is told.
pub(super) fn script(dir: &Path, body: &str) -> PathBuf {
    versioned_script(dir, "2.15.1", body)
}

fn versioned_script(dir: &Path, version: &str, body: &str) -> PathBuf {
    let path = dir.join("nats-server");
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo nats-server: v{version}; exit; fi\n{body}\n"
    );
    // Written by another process: a program cannot be run while a sibling thread's child has it open for writing.
    let write = ["-c", "printf '%s' \"$1\" > \"$0\" && chmod 755 \"$0\""];
    let written = std::process::Command::new("sh").args(write).arg(&path).arg(text).status().unwrap();
    assert!(written.success());
    path
}

async fn start(dir: &Path) -> Broker {
    Broker::start(options(binary().await, dir)).await.unwrap_or_else(|err| panic!("{err:#}"))
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

fn exists(number: u32) -> bool {
    test_kill_process(pid(number)).is_ok()
}

/// One request over the wire, without a client library.
async fn request(url: &str, subject: &str, payload: &str) -> String {
    let stream = TcpStream::connect(url.trim_start_matches("nats://")).await.unwrap();
    let mut stream = BufReader::new(stream);
    let hello = "CONNECT {\"verbose\":false}\r\nSUB inbox 1\r\n";
    let publish = format!("PUB {subject} inbox {}\r\n{payload}\r\n", payload.len());
    stream.write_all(format!("{hello}{publish}").as_bytes()).await.unwrap();
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).await.unwrap() > 0, "the server closed the connection");
        if line.starts_with("MSG ") {
            let length = line.split_whitespace().last().unwrap().parse().unwrap();
            let mut answer = vec![0; length];
            stream.read_exact(&mut answer).await.unwrap();
            return String::from_utf8(answer).unwrap();
        }
    }
}

async fn store_one(url: &str) {
    let stream = r#"{"name":"T","subjects":["t"],"storage":"file","retention":"limits"}"#;
    let created = request(url, "$JS.API.STREAM.CREATE.T", stream).await;
    assert!(created.contains("\"did_create\":true"), "{created}");
    assert_eq!(request(url, "t", "hello").await, r#"{"stream":"T","seq":1}"#);
}

async fn stored(url: &str) -> u64 {
    let info: serde_json::Value =
        serde_json::from_str(&request(url, "$JS.API.STREAM.INFO.T", "").await).unwrap();
    info["state"]["messages"].as_u64().unwrap()
}

#[tokio::test]
async fn a_killed_server_comes_back_on_its_port_with_its_data_and_ends_at_shutdown() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    let (url, first, mut running) = (broker.url(), broker.pid(), broker.running());
    store_one(&url).await;
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(broker.supervise(shutdown.clone()));
    let mut last = first;
    for _ in 0..2 {
        kill_process(pid(last), Signal::KILL).unwrap();
        let now =
            running.wait_for(|now| now.as_ref().is_some_and(|now| now.pid != last)).await.unwrap().clone();
        last = now.unwrap().pid;
        assert_eq!(stored(&url).await, 1);
    }
    shutdown.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
    assert!(!exists(first) && !exists(last));
    assert!(!dir.path().join("nats-server.pid").exists());

    let again = start(dir.path()).await;
    assert_eq!(again.url(), url);
    assert_eq!(stored(&url).await, 1);
}

/// A server whose supervisor is gone.
async fn leave_behind(dir: &Path) -> (Child, String) {
    let first = start(dir).await;
    let url = first.url();
    store_one(&url).await;
    let stop = CancellationToken::new();
    stop.cancel();
    first.supervise(stop.clone()).await.unwrap();
    // From now on the config names the port.
    start(dir).await.supervise(stop).await.unwrap();
    let config = dir.canonicalize().unwrap().join("nats-server.conf");
    let orphan = Command::new(binary().await).arg("--config").arg(config).spawn().unwrap();
    let number = orphan.id().unwrap();
    let ports = dir.join(format!("nats-server_{number}.ports"));
    while !std::fs::read_to_string(&ports).is_ok_and(|text| text.contains(&url)) {
        tokio::task::yield_now().await;
    }
    assert_eq!(std::fs::read_to_string(dir.join("nats-server.pid")).unwrap().trim(), number.to_string());
    (orphan, url)
}

/// How the process ended; it has to have been told already.
async fn end_of(mut orphan: Child) -> ExitStatus {
    let ended = tokio::time::timeout(Duration::from_secs(10), orphan.wait()).await;
    ended.expect("it still runs").unwrap()
}

#[tokio::test]
async fn a_server_left_behind_is_stopped_and_its_place_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (orphan, url) = leave_behind(dir.path()).await;
    let broker = start(dir.path()).await;
    assert_eq!(broker.url(), url);
    assert_ne!(Some(broker.pid()), orphan.id());
    end_of(orphan).await;
    assert_eq!(stored(&url).await, 1);
}

#[tokio::test]
async fn a_server_left_behind_that_is_stopped_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (orphan, url) = leave_behind(dir.path()).await;
    kill_process(pid(orphan.id().unwrap()), Signal::STOP).unwrap();
    let broker = start(dir.path()).await;
    assert_eq!(broker.url(), url);
    assert_eq!(end_of(orphan).await.signal(), Some(9));
    assert_eq!(stored(&url).await, 1);
}

#[tokio::test]
async fn a_stranger_with_the_number_of_our_server_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    std::fs::write(dir.path().join("nats-server.pid"), stranger.id().unwrap().to_string()).unwrap();
    let broker = start(dir.path()).await;
    assert!(stranger.try_wait().unwrap().is_none(), "it was killed");
    assert_ne!(Some(broker.pid()), stranger.id());
    stranger.kill().await.unwrap();
}

#[tokio::test]
async fn a_second_supervisor_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(dir.path()).await;
    let err = Broker::start(options(binary().await, dir.path())).await.err().expect("the directory is taken");
    let expected = format!("is in use by pointsman (pid {})", std::process::id());
    assert!(err.to_string().contains(&expected), "{err:#}");
    assert!(exists(first.pid()));
}

#[tokio::test]
async fn a_taken_port_is_replaced_unless_it_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    std::fs::write(dir.path().join("port"), port.to_string()).unwrap();
    let broker = start(dir.path()).await;
    assert_ne!(broker.url(), format!("nats://127.0.0.1:{port}"));
    drop(broker);
    let asked = BrokerOptions { port, ..options(binary().await, dir.path()) };
    let err = Broker::start(asked).await.err().expect("the port is taken");
    assert!(format!("{err:#}").contains("address already in use"), "{err:#}");
}

#[test]
fn the_cache_is_where_caches_are() {
    let cache = |pairs: &[(&str, &str)]| {
        cache_dir(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    };
    assert_eq!(cache(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Path::new("/c/pointsman"));
    assert_eq!(cache(&[("XDG_CACHE_HOME", ""), ("HOME", "/h")]), Path::new("/h/.cache/pointsman"));
    assert_eq!(cache(&[]), Path::new(".cache/pointsman"));
}

#[test]
fn a_configured_server_has_to_exist_and_be_recent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nats-server");
    let located = |path: &Path| locate(Some(path), dir.path()).map_err(|err| format!("{err:#}"));
    let shown = path.display();
    assert_eq!(located(&path), Err(format!("there is no nats-server at {shown}: correct nats.server")));
    versioned_script(dir.path(), "2.10.25", "");
    let old = format!("{shown} is nats-server 2.10.25, but 2.14.0 or newer is needed: correct nats.server");
    assert_eq!(located(&path), Err(old));
    versioned_script(dir.path(), "two", "");
    assert_eq!(located(&path), Err(format!("{shown} --version did not answer like a nats-server")));
    versioned_script(dir.path(), "2.14.0", "");
    assert_eq!(located(&path), Ok(path.clone()));
}

#[test]
fn processes_that_fetch_at_once_share_one_binary() {
    let cache = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| fetch::fetched(cache.path()).unwrap())).collect();
        for thread in threads {
            let binary = thread.join().unwrap();
            assert_eq!(binary, cache.path().join("nats-server-2.15.1/nats-server"));
            assert_eq!(version_of(&binary).unwrap().unwrap().to_string(), "2.15.1");
        }
    });
    let left: Vec<_> = std::fs::read_dir(cache.path().join("nats-server-2.15.1")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
