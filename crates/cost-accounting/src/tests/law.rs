//! Whatever happens, in whatever order and however often it is told: every sum is the same.

use domain::model::NanoUsd;
use domain::spend::{Order, Query, Row};
use domain::{Attempt, Event, Timestamp};
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::given::{BEGIN, event, failed, good, hit, refused, usage};
use super::{Shelf, shelves};
use crate::store::Statement;

const QUESTIONS: [&[&str]; 4] =
    [&["workspace", "provider", "model"], &["user"], &["metadata.team", "status"], &["hour", "cache_status"]];

/// Requests with their attempts, and what they come to by plain addition.
fn history(random: &mut StdRng) -> (Vec<Event>, Row) {
    let mut events = Vec::new();
    let mut sum = Row::default();
    for n in 0..random.random_range(1..30) {
        let request = format!("{}r{n}", ["", "acme~", "beta~"][random.random_range(0..3)]);
        let begun = events.len();
        sum.requests += 1;
        match random.random_range(0..8) {
            0 => {
                let saved = random.random_bool(0.8).then(|| random.random_range(0..1_000_000));
                sum.saved.0 += saved.unwrap_or(0);
                sum.cache_hits += 1;
                events.push(hit(&request, saved, BEGIN));
            }
            1 => {
                sum.errors += 1;
                events.push(refused(&request, BEGIN));
            }
            _ => attempts(random, &request, &mut events, &mut sum),
        }
        let later = random.random_range(0..40 * 86_400_000);
        let user = random.random_bool(0.7).then(|| format!("user {}", n % 3));
        for event in &mut events[begun..] {
            event.at = Timestamp(event.at.0 + later);
            event.user.clone_from(&user);
            event.metadata = (n % 2 == 0).then(|| format!(r#"{{"team":"t{}"}}"#, n % 4));
        }
    }
    (events, sum)
}

fn attempts(random: &mut StdRng, request: &str, events: &mut Vec<Event>, sum: &mut Row) {
    let count = random.random_range(1..4);
    for number in 1..=count {
        let provider = ["openai", "groq"][random.random_range(0..2)];
        let model = ["gpt-4o", "llama", "odd"][random.random_range(0..3)];
        let last = number == count;
        let answered = last && random.random_bool(0.8);
        let used = usage(random.random_range(0..10_000), random.random_range(0..5_000));
        let cost = random.random_bool(0.7).then(|| random.random_range(0..10_000_000_u64));
        let attempt = if answered {
            Attempt { estimated: random.random_bool(0.2), ..good(number, provider, model, used, cost) }
        } else {
            let tokens = random.random_bool(0.3);
            let failed = failed(number, provider, model, [429, 500, 503][random.random_range(0..3)]);
            Attempt { usage: tokens.then_some(used), cost: cost.filter(|_| tokens).map(NanoUsd), ..failed }
        };
        sum.attempts += 1;
        let usage = attempt.usage.unwrap_or_default();
        sum.input_tokens += usage.input;
        sum.output_tokens += usage.output;
        sum.cost.0 += attempt.cost.map_or(0, |cost| cost.0);
        sum.unknown_cost_attempts += u64::from(attempt.cost.is_none() && usage.total() > 0);
        sum.estimated_attempts += u64::from(attempt.estimated);
        sum.errors += u64::from(last && !answered);
        sum.rescued += u64::from(answered && count > 1);
        events.push(event(request, &attempt, last));
    }
}

/// Reports in any order, some of them repeated at another place of the stream.
fn told(random: &mut StdRng, events: &[Event]) -> Vec<(u64, Event)> {
    let mut told: Vec<(u64, Event)> = (1..).zip(events.iter().cloned()).collect();
    for event in events {
        if random.random_bool(0.3) {
            told.push((random.random_range(1000..2000), event.clone()));
        }
    }
    told.shuffle(random);
    told
}

async fn hold(shelf: &Shelf, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let (events, wanted) = history(&mut random);
    let mut change = shelf.store.change().await.unwrap();
    for table in ["attempts", "requests", "metadata"] {
        Statement::new(format!("DELETE FROM {table}")).execute(&mut change.transaction).await.unwrap();
    }
    change.commit().await.unwrap();
    for batch in told(&mut random, &events).chunks(random.random_range(1..20)) {
        shelf.put(batch).await;
        // A crash between the commit and the acknowledgements.
        if random.random_bool(0.3) {
            shelf.put(batch).await;
        }
    }
    let total = shelf.ask(&Query::default()).await.total;
    assert_eq!(total, wanted, "{}, seed {seed}", shelf.name);
    for words in QUESTIONS {
        let group_by = words.iter().map(|word| word.parse().unwrap()).collect();
        let report = shelf.ask(&Query { group_by, order: Order::Keys, ..Query::default() }).await;
        let mut sum = Row::default();
        report.rows.iter().for_each(|row| sum.add(row));
        assert_eq!(sum, wanted, "{} by {words:?}, seed {seed}", shelf.name);
    }
    assert_eq!(shelf.check().await.wrong, Vec::<String>::new());
}

#[test]
fn sums_are_the_same_whatever_the_order_and_however_often_it_is_told() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let shelves = runtime.block_on(shelves("law"));
    let outcome = TestRunner::new(Config::with_cases(20)).run(&any::<u64>(), |seed| {
        for shelf in &shelves {
            runtime.block_on(hold(shelf, seed));
        }
        Ok(())
    });
    outcome.unwrap();
}
