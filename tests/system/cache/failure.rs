//! A cache that is dead, slow, lying, damaged or behind: callers notice nothing but a longer way.

use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::cache::{Entry, Match, Reply, Status};
use domain::{Operation, RequestId, Timestamp, Usage, Workspace};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::json;
use system_tests::harness::client::{Client, Observer, chat};
use system_tests::harness::process::Signal;
use system_tests::harness::{Broker, Mock, Pointsman, eventually};

use super::{CONFIG, Gateway, PATIENCE, STATUS, check_status, simple, store_of, stored};

/// A gateway on a broker of its own; cache nodes come and go.
struct Nodes {
    dir: tempfile::TempDir,
    broker: Broker,
    mock: Mock,
    _provider: Pointsman,
    shim: Option<Pointsman>,
}

impl Nodes {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(dir.path().join("nats"));
        let provider = crate::pointsman(dir.path(), &["mock"]).ready();
        let mock = Mock::at(&provider.mock());
        let mut nodes = Self { dir, broker, mock, _provider: provider, shim: None };
        nodes.shim = Some(nodes.run(&["http-shim", "admin-api", "router", "provider-worker"], "data"));
        nodes
    }

    fn run(&self, roles: &[&str], store: &str) -> Pointsman {
        let arguments: Vec<&str> = ["run"].iter().chain(roles).copied().collect();
        crate::pointsman(self.dir.path(), &arguments)
            .arg("--nats")
            .arg(self.broker.url())
            .arg("--data-dir")
            .arg(self.dir.path().join("data").display().to_string())
            .arg("--listen")
            .arg("127.0.0.1:0")
            .set("cache.dir", &self.dir.path().join(store).display().to_string())
            .set("providers.paid.base_url", &self.mock.url())
            .ready()
    }

    fn node(&self, store: &str) -> Pointsman {
        self.run(&["semantic-cache"], store)
    }

    fn client(&self) -> Client {
        Client::new(&self.shim.as_ref().unwrap().http())
    }

    async fn ask(&self, text: &str) -> system_tests::harness::client::Answer {
        let client = self.client();
        let config = json!({ "cache": simple(), "provider": "paid" }).to_string();
        let answer = client.send(client.post_chat(&chat("mock", text)).header(CONFIG, config)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer
    }

    async fn observer(&self) -> Observer {
        Observer::connect(&self.broker.url()).await
    }

    /// Asks until the answer is a hit of the store.
    async fn hits(&self, text: &str) {
        eventually(&format!("{text} is answered by the cache"), PATIENCE, || async {
            let answer = self.ask(text).await;
            (answer.headers[STATUS] == "HIT").then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_or_frozen_cache_delays_nobody_for_long() {
    let nodes = Nodes::start();
    assert_eq!(nodes.ask("nobody keeps this").await.headers[STATUS], "MISS");
    let node = nodes.node("one");
    nodes.hits("keep this").await;
    node.signal(Signal::Stop);
    let begun = Instant::now();
    for index in 0..20 {
        nodes.ask(&format!("question {index}")).await;
    }
    // Three questions wait for their whole time; then nobody asks for a while.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    node.signal(Signal::Continue);
    nodes.hits("keep this").await;
    node.kill();
    for index in 0..5 {
        nodes.ask(&format!("another question {index}")).await;
    }
    let _again = nodes.node("one");
    nodes.hits("keep this").await;
    nodes.hits("another question 3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_hold_the_same_and_new_ones_fill_themselves() {
    let nodes = Nodes::start();
    let first = nodes.node("one");
    for index in 0..20 {
        nodes.ask(&format!("question {index}")).await;
    }
    stored(&first, 20).await;
    let second = nodes.node("two");
    stored(&second, 20).await;
    first.kill();
    // The other answers alone, without another call.
    let before = nodes.mock.bill().await.attempts.len();
    for index in 0..20 {
        assert_eq!(nodes.ask(&format!("question {index}")).await.headers[STATUS], "HIT");
    }
    assert_eq!(nodes.mock.bill().await.attempts.len(), before);
    // What is lost comes back from the broker.
    drop(second);
    std::fs::remove_dir_all(nodes.dir.path().join("two")).unwrap();
    let third = nodes.node("two");
    stored(&third, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_set_aside() {
    let nodes = Nodes::start();
    let mut node = nodes.node("one");
    for index in 0..5 {
        nodes.ask(&format!("question {index}")).await;
    }
    stored(&node, 5).await;
    assert!(node.stop(PATIENCE).success());
    for file in files(&nodes.dir.path().join("one")) {
        let length = std::fs::metadata(&file).unwrap().len() as usize;
        std::fs::write(&file, vec![0x5a; length]).unwrap();
    }
    let node = nodes.node("one");
    stored(&node, 5).await;
    assert_eq!(nodes.ask("question 3").await.headers[STATUS], "HIT");
}

fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_out_stays_out_on_all_nodes() {
    let nodes = Nodes::start();
    let (first, second) = (nodes.node("one"), nodes.node("two"));
    let client = nodes.client();
    let tagged = json!({ "cache": { "mode": "simple", "tags": ["faq"] }, "provider": "paid" }).to_string();
    let ask = async || {
        let request = client.post_chat(&chat("mock", "tagged")).header(CONFIG, &tagged);
        client.send(request).await.headers[STATUS].clone()
    };
    assert_eq!(ask().await, "MISS");
    nodes.ask("not tagged").await;
    for node in [&first, &second] {
        stored(node, 2).await;
    }
    assert_eq!(ask().await, "HIT");
    // Asked before, answered after: the answer must not come back by that door.
    let slow = {
        let body = chat("mock?delay=3s", "slow");
        let request = client.post_chat(&body).header(CONFIG, &tagged);
        client.send(request)
    };
    let take_out = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let request = client.request(Method::POST, "/v1/admin/cache/invalidate");
        let answer = client.send(request.json(&json!({ "tags": ["faq"] }))).await;
        assert!(answer.status < 300, "{}", answer.text);
    };
    let (slow, ()) = tokio::join!(slow, take_out);
    assert_eq!(slow.headers[STATUS], "MISS");
    for node in [&first, &second] {
        stored(node, 1).await;
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    for node in [&first, &second] {
        stored(node, 1).await;
    }
    let calls = nodes.mock.bill().await.attempts.len();
    assert_eq!(ask().await, "MISS");
    assert_eq!(nodes.mock.bill().await.attempts.len(), calls + 1);
    // A node that begins anew comes to the same.
    drop(second);
    std::fs::remove_dir_all(nodes.dir.path().join("two")).unwrap();
    stored(&first, 2).await;
    let again = nodes.node("two");
    stored(&again, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_is_not_believed() {
    let nodes = Nodes::start();
    let observer = nodes.observer().await;
    let mut questions =
        observer.client().queue_subscribe("llm.lookup.cache", "liar".to_owned()).await.unwrap();
    let client = observer.client().clone();
    let liar = tokio::spawn(async move {
        let mut told = 0;
        while let Some(message) = questions.next().await {
            let question: domain::cache::Question = serde_json::from_slice(&message.payload).unwrap();
            let answer = br#"{"choices":[{"message":{"content":"a lie"}}]}"#;
            let entry = Entry {
                id: RequestId::choose("lie").unwrap(),
                // Somebody else's.
                workspace: Workspace::parse("other").unwrap(),
                key: question.key,
                partition: question.partition,
                namespace: None,
                text: None,
                tags: Vec::new(),
                operation: Operation::Chat,
                provider: "paid".to_owned(),
                model: None,
                asked_at: Timestamp(1),
                stored_at: Timestamp(1),
                expires_at: Timestamp(u64::MAX),
                content_type: "application/json".to_owned(),
                headers: std::collections::BTreeMap::new(),
                usage: Usage::default(),
                cost: None,
                size: answer.len(),
            };
            let found = Match { status: Status::Hit, score: None, entry };
            let reply = Reply { found: Some(found), ..Reply::default() };
            let payload =
                if told % 2 == 0 { reply.encode(answer) } else { Bytes::from_static(b"\xff\xff\xff\xffx") };
            client.publish(message.reply.unwrap(), payload).await.unwrap();
            told += 1;
        }
    });
    for index in 0..6 {
        let answer = nodes.ask(&format!("question {index}")).await;
        assert_eq!(answer.headers[STATUS], "MISS");
        assert_ne!(answer.content(), "a lie");
    }
    liar.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_grow_fails_nobody() {
    let gateway = Gateway::start_with(|start| start.set("cache.max_entries", "10"));
    for index in 0..40 {
        check_status(&gateway.ask(&simple(), &chat("mock", &format!("question {index}"))).await, "MISS");
    }
    gateway.stored(10).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    // The oldest went first.
    check_status(&gateway.ask(&simple(), &chat("mock", "question 39")).await, "HIT");
    check_status(&gateway.ask(&simple(), &chat("mock", "question 0")).await, "MISS");
    assert!(store_of(gateway.dir.path()).is_dir());
}
