//! The same request published twice is answered once.

use std::time::Duration;

use domain::{Lane, Operation, headers};
use futures::StreamExt as _;
use system_tests::crash::shape::SHAPES;
use system_tests::crash::{Sent, load, now, settle};
use system_tests::harness::{Observer, eventually};

use super::{check, cluster};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_published_twice_is_answered_once() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(dir.path());
    let observer = Observer::connect(&cluster.nats()).await;
    let js = load::connect(&cluster.nats()).await;
    let (slow, retried) = (SHAPES[1], SHAPES[2]);
    let mut sent = Vec::new();
    // The first is published again while it runs, the second while its retry waits, both again after their ends.
    for (id, shape) in [("r-1", slow), ("r-2", retried)] {
        let from = now();
        for _ in 0..3 {
            load::publish(&js, id, &shape).await.expect("the broker takes it");
        }
        eventually("it is answered", PATIENCE, || observer.outcome(id)).await;
        load::publish(&js, id, &shape).await.expect("the broker takes it");
        sent.push(Sent { id: id.into(), shape, from, to: now(), accepted: true, offers: 4, seen: None });
    }
    let books = settle(&cluster, sent, "r").await;
    check(&books, "published four times");
    let rows =
        |id: &str| books.rows.iter().filter(|r| r.attempt_id.as_deref().unwrap().starts_with(id)).count();
    assert_eq!((rows("r-1."), rows("r-2.")), (1, 2), "{:?}", books.rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brokers_message_id_keeps_a_repeated_publish_out() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster(dir.path());
    let observer = Observer::connect(&cluster.nats()).await;
    let mut replies = observer.client().subscribe("answers.here").await.unwrap();
    let mut fields = async_nats::HeaderMap::new();
    fields.insert("Nats-Msg-Id", "once");
    fields.insert(headers::REPLY_TO, "answers.here");
    let subject = bus::subject::request(Operation::Chat, Lane::Normal);
    let mut duplicates = Vec::new();
    for _ in 0..3 {
        let body = bytes::Bytes::from(SHAPES[0].body("hello").to_string());
        let ack = observer.js().publish_with_headers(subject.clone(), fields.clone(), body).await.unwrap();
        duplicates.push(ack.await.unwrap().duplicate);
    }
    assert_eq!(duplicates, [false, true, true]);
    let answer = tokio::time::timeout(PATIENCE, replies.next()).await.unwrap().unwrap();
    let id = answer.headers.unwrap().get(headers::REQUEST_ID).unwrap().to_string();
    let books = settle(&cluster, Vec::new(), id.split('-').next().unwrap()).await;
    assert_eq!(books.left.len(), 0, "{:?}", books.left);
    assert_eq!(cluster.mock().bill().await.attempts.len(), 1);
    assert_eq!(observer.events_of(&id).await.iter().filter(|e| e.last).count(), 1);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), replies.next()).await.is_err(),
        "a second answer"
    );
}
