//! What look-ups find, with an embedder of our own.

use std::collections::HashMap;
use std::time::Duration;

use domain::Workspace;
use futures::future::BoxFuture;
use tempfile::TempDir;

use super::*;
use crate::embed::Refused;
use crate::meaning::Meaning;
use crate::testing::{HOUR, NOW, answer_of, entry, store, take, workspace};

/// Knows some texts.
#[derive(Default)]
struct Known(HashMap<&'static str, Result<Vec<f32>, Refused>>);

impl Meaning for Known {
    fn embed<'a>(&'a self, text: &'a str, _how: How) -> BoxFuture<'a, Result<Vector, Refused>> {
        let unknown = || Err(Refused::TooLong);
        let values = self.0.get(text).cloned().unwrap_or_else(unknown);
        Box::pin(async move { values.map(|values| Vector { values, model: "model".into() }) })
    }

    fn state(&self) -> String {
        "ready".to_owned()
    }
}

/// A cache with these entries; what is known is embedded.
async fn cache(home: &TempDir, entries: &[Entry], known: Known) -> Arc<Cache> {
    let store = store(home.path());
    for (sequence, entry) in (1..).zip(entries) {
        assert!(take(&store, sequence, entry));
    }
    let cache = Arc::new(Cache::new(store, Box::new(known), 0.9));
    for entry in entries {
        cache.embed(&Arc::new(Place::of(entry))).await;
    }
    cache
}

fn asked(key: &str, text: Option<&str>) -> Question {
    Question {
        workspace: Workspace::default(),
        key: key.to_owned(),
        partition: "p".to_owned(),
        text: text.map(str::to_owned),
        threshold: None,
        max_age: None,
    }
}

fn said(id: &str, key: &str, text: &str) -> Entry {
    Entry { text: Some(text.to_owned()), ..entry(id, key, NOW.0 - HOUR) }
}

#[track_caller]
fn hit((reply, answer): (Reply, Bytes), question: &Question, status: Status, id: &str) {
    let found = reply.found.expect("a hit");
    assert_eq!((found.status, found.entry.id.as_str()), (status, id));
    assert_eq!(answer, answer_of(&found.entry));
    assert_eq!(found.refused_by(question, &answer, 0.9, NOW), None, "who asks believes it");
}

#[track_caller]
fn miss((reply, answer): (Reply, Bytes), why: &str) {
    assert_eq!((reply.found, answer.len()), (None, 0));
    assert!(reply.why.contains(why), "{}", reply.why);
}

#[tokio::test]
async fn the_same_request_is_answered_with_what_was_answered_before() {
    let home = TempDir::new().unwrap();
    let cache = cache(&home, &[said("r1", "a", "What is NATS?")], Known::default()).await;
    hit(cache.find(asked("a", None), NOW).await, &asked("a", None), Status::Hit, "r1");
    miss(cache.find(asked("b", None), NOW).await, "not asked before");
    let place = Place::of(&said("r1", "a", ""));
    assert_eq!(cache.store.catalog().read().hits(&place), 1);
}

#[tokio::test]
async fn nobody_gets_what_belongs_to_another_workspace() {
    let home = TempDir::new().unwrap();
    let known = Known(HashMap::from([("hi there", Ok(vec![1.0, 0.0])), ("Hi there", Ok(vec![1.0, 0.0]))]));
    let cache = cache(&home, &[said("r1", "a", "Hi there")], known).await;
    let question = Question { workspace: workspace("theirs"), ..asked("a", Some("hi there")) };
    miss(cache.find(question, NOW).await, "another workspace");
}

#[tokio::test]
async fn what_is_too_old_is_not_given() {
    let home = TempDir::new().unwrap();
    let cache = cache(&home, &[said("r1", "a", "What is NATS?")], Known::default()).await;
    let aged =
        |minutes: u64| Question { max_age: Some(Duration::from_secs(60 * minutes)), ..asked("a", None) };
    miss(cache.find(aged(59), NOW).await, "is too old");
    hit(cache.find(aged(60), NOW).await, &aged(60), Status::Hit, "r1");
    miss(cache.find(asked("a", None), NOW.plus(Duration::from_secs(1999 * 3600))).await, "has expired");
}

#[tokio::test]
async fn the_same_words_need_no_vector() {
    let home = TempDir::new().unwrap();
    let cache = cache(&home, &[said("r1", "a", "What is NATS?")], Known::default()).await;
    let question = asked("b", Some("what  is nats"));
    hit(cache.find(question.clone(), NOW).await, &question, Status::SemanticHit, "r1");
    let other = Question { partition: "q".to_owned(), ..question };
    miss(cache.find(other, NOW).await, "longer than what is compared");
}

#[tokio::test]
async fn an_embedder_that_is_busy_makes_a_miss() {
    let home = TempDir::new().unwrap();
    let known = Known(HashMap::from([("anything", Err(Refused::Busy))]));
    let cache = cache(&home, &[], known).await;
    miss(cache.find(asked("a", Some("anything")), NOW).await, "queue for embedding is full");
    assert_eq!(cache.stats().unembedded, 1);
}

#[tokio::test]
async fn what_is_alike_must_be_alike_enough_and_pass_the_guard() {
    let home = TempDir::new().unwrap();
    let known = Known(HashMap::from([
        ("Pay 10 dollars", Ok(vec![1.0, 0.0])),
        ("Pay 100 dollars", Ok(vec![0.95, (1.0_f32 - 0.95 * 0.95).sqrt()])),
        ("Write a poem", Ok(vec![0.0, 1.0])),
    ]));
    let cache = cache(&home, &[said("r1", "a", "Pay 10 dollars")], known).await;
    miss(cache.find(asked("b", Some("Pay 100 dollars")), NOW).await, "guard: numbers");
    assert_eq!(cache.stats().guarded, 1);
    miss(cache.find(asked("b", Some("Write a poem")), NOW).await, "nothing alike (best 0.00)");
    let strict = Question { threshold: Some(0.96), ..asked("b", Some("Pay 100 dollars")) };
    miss(cache.find(strict, NOW).await, "nothing alike (best 0.95)");
}

#[tokio::test]
async fn the_most_alike_that_may_be_given_is_given() {
    let home = TempDir::new().unwrap();
    let vector = Vector { values: vec![1.0, 0.0], model: "model".into() };
    let known = Known(HashMap::from([
        ("What is NATS?", Ok(vec![0.92, 0.39])),
        ("what is NATS", Ok(vec![1.0, 0.0])),
        ("Pay 10 dollars", Ok(vec![0.99, 0.1])),
    ]));
    let ended = Entry { expires_at: NOW, ..said("ended", "c", "what is NATS") };
    let entries = [said("r1", "a", "What is NATS?"), said("other", "b", "Pay 10 dollars"), ended];
    let cache = cache(&home, &entries, known).await;
    assert_eq!(cache.stats().vectors, 3);
    let question = asked("z", Some("What is NATS"));
    let (found, answer) = cache.nearest(&question, &vector, NOW).unwrap();
    assert_eq!((found.entry.id.as_str(), found.score), ("r1", Some(0.92)));
    assert_eq!(answer, answer_of(&found.entry));
}

#[tokio::test]
async fn another_wording_of_the_same_question_is_answered() {
    let home = TempDir::new().unwrap();
    let (stored, other) = ("How do I reset my password?", "How can I reset my password?");
    let known = Known(HashMap::from([(stored, Ok(vec![1.0, 0.0])), (other, Ok(vec![0.96, 0.28]))]));
    let cache = cache(&home, &[said("r1", "a", stored)], known).await;
    let question = asked("b", Some(other));
    let (reply, answer) = cache.find(question.clone(), NOW).await;
    assert_eq!(reply.found.as_ref().and_then(|found| found.score), Some(0.96), "{}", reply.why);
    hit((reply, answer), &question, Status::SemanticHit, "r1");
    let stats = cache.stats();
    assert_eq!((stats.vectors, stats.embedder.as_str(), stats.entries), (1, "ready", 1));
}

#[tokio::test]
async fn another_model_makes_the_vectors_anew() {
    let home = TempDir::new().unwrap();
    let known = Known(HashMap::from([("What is NATS?", Ok(vec![1.0, 0.0]))]));
    let cache = cache(&home, &[said("r1", "a", "What is NATS?")], known).await;
    assert_eq!((cache.stats().vectors, cache.stats().model.as_deref()), (1, Some("model")));
    cache.adopt("newer");
    assert_eq!((cache.stats().vectors, cache.backlog.len()), (0, 1));
    cache.adopt("model");
    assert_eq!(cache.stats().vectors, 1, "those of before are still on disk");
}

#[tokio::test]
async fn pages_of_entries_follow_one_another() {
    let home = TempDir::new().unwrap();
    let entries: Vec<_> = (1..=5).map(|n| entry(&format!("r{n}"), &format!("k{n}"), n / 2)).collect();
    let cache = cache(&home, &entries, Known::default()).await;
    let mut list = bus::cache::List { limit: 2, ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = cache.list(&list);
        assert_eq!(page.total, 5);
        let Some(last) = page.entries.last() else { break };
        list.after = Some((last.stored_at, last.id.clone()));
        seen.extend(page.entries.iter().map(|entry| entry.id.to_string()));
    }
    assert_eq!(seen, ["r5", "r4", "r3", "r2", "r1"]);
    let theirs = bus::cache::List { workspace: workspace("theirs"), ..list };
    assert_eq!(cache.list(&theirs).total, 0);
}
