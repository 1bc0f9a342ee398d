//! The decision by table, and the laws that hold for every config and history.

mod health;
mod laws;
mod models;
mod routes;

use std::collections::BTreeMap;

use proptest::prelude::{Strategy as Generator, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::config::HeaderOptions;
use crate::health::NoHealth;
use crate::model::NoModels;
use crate::{Lane, Operation};

const FAR: Timestamp = Timestamp(1_000_000_000);

fn config(json: &str) -> Config {
    Config::parse(json, &HeaderOptions::default()).unwrap()
}

fn attempt(number: u32, path: &str, status: Option<u16>, error: Option<ErrorClass>) -> Attempt {
    Attempt { status, error, ..Attempt::new(number, path, "p", Timestamp(0), Timestamp(1000)) }
}

fn tried(history: &[(&str, u16)]) -> Vec<Attempt> {
    let one = |(i, (path, status)): (usize, &(&str, u16))| {
        let error = (!(200..300).contains(status)).then(|| ErrorClass::of_status(*status));
        attempt(u32::try_from(i).unwrap() + 1, path, Some(*status), error)
    };
    history.iter().enumerate().map(one).collect()
}

fn view() -> View<'static> {
    View {
        now: Timestamp(1000),
        deadline: FAR,
        seed: 1,
        cancelled: false,
        on_lost: OnLost::Retry,
        health: &NoHealth,
        models: &NoModels,
    }
}

/// Nothing but a chat request.
fn facts() -> RequestFacts<'static> {
    static NO_HEADERS: BTreeMap<String, String> = BTreeMap::new();
    RequestFacts {
        operation: Operation::Chat,
        lane: Lane::Interactive,
        path: "/v1/chat/completions",
        model: None,
        params: None,
        body_bytes: 0,
        metadata: None,
        headers: &NO_HEADERS,
        key_id: None,
        accepted_at: Timestamp(0),
    }
}

/// The decision about a request of which nothing is known.
fn next<'a>(config: &'a Config, attempts: &[Attempt], view: &View<'_>) -> Next<'a> {
    super::next(config, &facts(), attempts, view).next
}

fn show(next: &Next<'_>) -> String {
    match next {
        Next::Call { target, after } => format!("call {} after {} ms", target.path, after.as_millis()),
        Next::Answer(index) => format!("answer {index}"),
        Next::Park { after } => format!("park {} ms", after.as_millis()),
        Next::GiveUp(refusal) => format!("give up: {refusal:?}"),
    }
}

#[track_caller]
fn check(json: &str, history: &[(&str, u16)], expected: &str) {
    assert_eq!(show(&next(&config(json), &tried(history), &view())), expected);
}

const A: &str = "config.targets[0]";
const B: &str = "config.targets[1]";

#[test]
fn a_single_target_is_called_once_and_its_answer_stands() {
    check(r#"{"provider":"a"}"#, &[], "call config after 0 ms");
    check(r#"{"provider":"a"}"#, &[("config", 200)], "answer 0");
    check(r#"{"provider":"a"}"#, &[("config", 500)], "answer 0");
}

#[test]
fn retries_follow_the_list_of_statuses_with_doubling_waits() {
    let json = r#"{"provider":"a","retry":{"attempts":3}}"#;
    check(json, &[("config", 500)], "call config after 1000 ms");
    check(json, &[("config", 500), ("config", 503)], "call config after 2000 ms");
    check(json, &[("config", 500), ("config", 503), ("config", 429)], "call config after 4000 ms");
    check(json, &[("config", 500), ("config", 503), ("config", 429), ("config", 504)], "answer 3");
    check(json, &[("config", 400)], "answer 0");
    check(json, &[("config", 529)], "answer 0");
    check(json, &[("config", 408)], "answer 0");
    check(json, &[("config", 500), ("config", 200)], "answer 1");
    let custom = r#"{"provider":"a","retry":{"attempts":1,"on_status_codes":[418]}}"#;
    check(custom, &[("config", 500)], "answer 0");
    check(custom, &[("config", 418)], "call config after 1000 ms");
}

#[test]
fn a_wait_is_counted_from_the_end_of_the_failure() {
    let config = config(r#"{"provider":"a","retry":{"attempts":1}}"#);
    let history = tried(&[("config", 500)]);
    for (now, after) in [(1000, 1000), (1400, 600), (2000, 0), (9000, 0)] {
        let view = View { now: Timestamp(now), ..view() };
        assert_eq!(show(&next(&config, &history, &view)), format!("call config after {after} ms"));
    }
}

#[test]
fn retry_after_is_obeyed_for_429_only_and_not_beyond_a_minute() {
    let config = config(r#"{"provider":"a","retry":{"attempts":3,"use_retry_after_header":true}}"#);
    let asked = |status: u16, waits: &[u64]| {
        let mut history = tried(&vec![("config", status); waits.len()]);
        for (attempt, wait) in history.iter_mut().zip(waits) {
            attempt.retry_after_ms = Some(*wait);
        }
        show(&next(&config, &history, &view()))
    };
    assert_eq!(asked(429, &[7000]), "call config after 7000 ms");
    assert_eq!(asked(503, &[7000]), "call config after 1000 ms");
    assert_eq!(asked(429, &[60_000]), "answer 0");
    assert_eq!(asked(429, &[35_000, 30_000]), "answer 1");
}

#[test]
fn a_fallback_goes_on_after_anything_but_success() {
    let json = r#"{"strategy":{"mode":"fallback"},"targets":[{"provider":"a"},{"provider":"b"}]}"#;
    check(json, &[], "call config.targets[0] after 0 ms");
    for status in [400, 401, 404, 408, 429, 446, 500, 503] {
        check(json, &[(A, status)], "call config.targets[1] after 0 ms");
    }
    check(json, &[(A, 246)], "answer 0");
    check(json, &[(A, 500), (B, 200)], "answer 1");
    check(json, &[(A, 500), (B, 503)], "answer 1");
}

#[test]
fn a_fallback_with_a_list_goes_on_for_those_statuses_only() {
    let json = r#"{"strategy":{"mode":"fallback","on_status_codes":[429,200]},"targets":[{"provider":"a"},{"provider":"b"}]}"#;
    check(json, &[(A, 500)], "answer 0");
    check(json, &[(A, 429)], "call config.targets[1] after 0 ms");
    let parsed = config(json);
    assert!(!success_is_final(&parsed, &[], parsed.targets().next().unwrap()));
    check(
        r#"{"strategy":{"mode":"fallback","on_status_codes":[]},"targets":[{"provider":"a"},{"provider":"b"}]}"#,
        &[(A, 500)],
        "answer 0",
    );
}

#[test]
fn retries_come_before_the_next_target() {
    let json = r#"{"strategy":{"mode":"fallback"},"retry":{"attempts":1},"targets":[{"provider":"a"},{"provider":"b"}]}"#;
    check(json, &[(A, 500)], "call config.targets[0] after 1000 ms");
    check(json, &[(A, 500), (A, 500)], "call config.targets[1] after 0 ms");
    check(json, &[(A, 500), (A, 500), (B, 500), (B, 500)], "answer 3");
}

#[test]
fn load_balancing_keeps_its_choice_and_does_not_fail_over() {
    let json = r#"{"strategy":{"mode":"loadbalance"},"targets":[{"provider":"a","weight":0},{"provider":"b","weight":3}]}"#;
    check(json, &[], "call config.targets[1] after 0 ms");
    check(json, &[(B, 500)], "answer 0");
    let even = config(
        r#"{"strategy":{"mode":"loadbalance"},"targets":[{"provider":"a","weight":0.3},{"provider":"b","weight":0.7}]}"#,
    );
    let mut first = 0;
    for seed in 0..10_000 {
        let view = View { seed, ..view() };
        if let Next::Call { target, .. } = next(&even, &[], &view) {
            first += usize::from(target.path == A);
        }
    }
    assert!((2700..3300).contains(&first), "{first} of 10000 went to a weight of 0.3");
}

#[test]
fn a_nested_fallback_gives_failover_inside_a_share() {
    let json = r#"{"strategy":{"mode":"loadbalance"},"targets":[
        {"weight":1,"strategy":{"mode":"fallback"},"targets":[{"provider":"a"},{"provider":"b"}]},{"weight":0,"provider":"c"}]}"#;
    check(json, &[("config.targets[0].targets[0]", 500)], "call config.targets[0].targets[1] after 0 ms");
    check(json, &[("config.targets[0].targets[0]", 500), ("config.targets[0].targets[1]", 502)], "answer 1");
}

#[test]
fn lost_attempts_are_replaced_twice_and_use_up_no_retries() {
    let parsed = config(
        r#"{"strategy":{"mode":"fallback"},"retry":{"attempts":1},"targets":[{"provider":"a"},{"provider":"b"}]}"#,
    );
    let lost = |n| attempt(n, A, None, Some(ErrorClass::Lost));
    let shown = |history: &[Attempt], on_lost| show(&next(&parsed, history, &View { on_lost, ..view() }));
    assert_eq!(shown(&[lost(1)], OnLost::Retry), "call config.targets[0] after 0 ms");
    assert_eq!(shown(&[lost(1), lost(2)], OnLost::Retry), "call config.targets[0] after 0 ms");
    assert_eq!(shown(&[lost(1), lost(2), lost(3)], OnLost::Retry), "call config.targets[1] after 0 ms");
    assert_eq!(shown(&[lost(1)], OnLost::Fail), "call config.targets[1] after 0 ms");
    let failed = attempt(2, A, Some(500), Some(ErrorClass::ServerError));
    assert_eq!(shown(&[lost(1), failed], OnLost::Retry), "call config.targets[0] after 1000 ms");
}

#[test]
fn full_queues_lead_on_and_then_to_a_wait() {
    let parsed = config(
        r#"{"strategy":{"mode":"fallback","on_status_codes":[500]},"targets":[{"provider":"a"},{"provider":"b"}]}"#,
    );
    let full = |n, path| attempt(n, path, Some(503), Some(ErrorClass::QueueFull));
    assert_eq!(show(&next(&parsed, &[full(1, A)], &view())), "call config.targets[1] after 0 ms");
    assert_eq!(show(&next(&parsed, &[full(1, A), full(2, B)], &view())), "park 1000 ms");
}

#[test]
fn a_parked_request_goes_on_where_it_was_although_the_full_queues_are_forgotten() {
    let parsed = config(
        r#"{"strategy":{"mode":"fallback","on_status_codes":[]},"retry":{"attempts":1},"targets":[{"provider":"a"},{"provider":"b"}]}"#,
    );
    let full = |n, path| attempt(n, path, Some(503), Some(ErrorClass::QueueFull));
    let failed = |n, path| attempt(n, path, Some(500), Some(ErrorClass::ServerError));
    let mut history = vec![failed(1, A), full(2, A), failed(3, B), full(4, B)];
    assert_eq!(show(&next(&parsed, &history, &view())), "park 1000 ms");
    history.retain(|a| a.error != Some(ErrorClass::QueueFull));
    assert_eq!(show(&next(&parsed, &history, &view())), "call config.targets[1] after 1000 ms");
    history.push(failed(5, B));
    assert_eq!(show(&next(&parsed, &history, &view())), "answer 2");
}

#[test]
fn nothing_is_parked_beyond_its_deadline() {
    let full = attempt(1, "config", Some(503), Some(ErrorClass::QueueFull));
    let close = View { deadline: Timestamp(1400), ..view() };
    assert_eq!(show(&next(&config(r#"{"provider":"a"}"#), &[full], &close)), "park 400 ms");
}

#[test]
fn a_success_is_final_once_the_retries_that_list_it_are_used_up() {
    let parsed = config(r#"{"provider":"a","retry":{"attempts":1,"on_status_codes":[200]}}"#);
    let target = parsed.targets().next().unwrap();
    assert!(!success_is_final(&parsed, &[], target));
    let once = tried(&[("config", 200)]);
    assert!(success_is_final(&parsed, &once, target));
    let twice = tried(&[("config", 200), ("config", 200)]);
    assert_eq!(show(&next(&parsed, &twice, &view())), "answer 1");
    assert_eq!(retry_count(&parsed, &twice, 1), -1);
}

#[test]
fn deadline_and_cancellation_end_everything_but_a_success() {
    let parsed = config(r#"{"provider":"a","retry":{"attempts":2}}"#);
    let failed = tried(&[("config", 500)]);
    let late = View { now: FAR, ..view() };
    assert_eq!(show(&next(&parsed, &failed, &late)), "give up: Expired");
    assert_eq!(show(&next(&parsed, &failed, &View { cancelled: true, ..view() })), "give up: Cancelled");
    assert_eq!(show(&next(&parsed, &tried(&[("config", 200)]), &late)), "answer 0");
    let close = View { deadline: Timestamp(1500), ..view() };
    assert_eq!(show(&next(&parsed, &failed, &close)), "answer 0", "a wait beyond the deadline is not begun");
}

#[test]
fn an_unusable_body_counts_as_a_bad_gateway() {
    let broken = attempt(1, "config", Some(200), Some(ErrorClass::InvalidAnswer));
    assert_eq!(effective_status(&broken), 502);
    let parsed = config(r#"{"provider":"a","retry":{"attempts":1}}"#);
    assert_eq!(show(&next(&parsed, &[broken], &view())), "call config after 1000 ms");
}

#[test]
fn the_retry_count_tells_none_some_or_used_up() {
    let parsed = config(r#"{"provider":"a","retry":{"attempts":2}}"#);
    for (history, count) in [
        (vec![("config", 200)], 0),
        (vec![("config", 500), ("config", 500), ("config", 200)], 2),
        (vec![("config", 500), ("config", 400)], 1),
        (vec![("config", 500), ("config", 500), ("config", 503)], -1),
    ] {
        let attempts = tried(&history);
        assert_eq!(retry_count(&parsed, &attempts, attempts.len() - 1), count, "{history:?}");
    }
}

fn any_node() -> impl Generator<Value = serde_json::Value> {
    let leaf = (0u32..4, 0u32..3).prop_map(|(weight, retries)| {
        serde_json::json!({"provider": "p", "weight": weight, "retry": {"attempts": retries}})
    });
    leaf.prop_recursive(3, 12, 4, |inner| {
        (prop::collection::vec(inner, 1..4), prop::sample::select(vec!["single", "fallback", "loadbalance"]))
            .prop_map(|(mut targets, mode)| {
                if mode == "loadbalance" {
                    targets[0]["weight"] = 1.into();
                }
                serde_json::json!({"strategy": {"mode": mode}, "targets": targets})
            })
    })
}

/// Plays a request to its end; each attempt gets the next status, `0` stands for a lost one.
fn play(config: &Config, statuses: &[u16], seed: u64) -> (Vec<Attempt>, String) {
    let mut history: Vec<Attempt> = Vec::new();
    let mut now = Timestamp(1000);
    for round in 0..200 {
        let view = View { now, seed, ..view() };
        let decided = next(config, &history, &view);
        assert_eq!(decided, next(config, &history, &view), "the same inputs give the same answer");
        match decided {
            Next::Call { target, after } => {
                let later = View { now: now.plus(after + Duration::from_millis(1)), ..view };
                match next(config, &history, &later) {
                    Next::Call { target: again, .. } => {
                        assert_eq!(again.path, target.path, "time changes no target")
                    }
                    other => panic!("time changed the decision to {other:?}"),
                }
                assert!(target.weight > 0.0 || !config_balances(config), "a weight of 0 is never chosen");
                now = now.plus(after);
                let status = statuses[round % statuses.len()];
                let error = match status {
                    0 => Some(ErrorClass::Lost),
                    200 => None,
                    status => Some(ErrorClass::of_status(status)),
                };
                let mut made = attempt(
                    u32::try_from(round).unwrap() + 1,
                    &target.path,
                    (status != 0).then_some(status),
                    error,
                );
                made.finished_at = now;
                history.push(made);
            }
            Next::Answer(index) => return (history.clone(), format!("answer {index}")),
            other => return (history, show(&other)),
        }
    }
    panic!("200 steps and no end: {history:?}");
}

fn config_balances(config: &Config) -> bool {
    matches!(&config.root, Node::Group(group) if group.strategy == Strategy::LoadBalance { sticky: None }
        && group.targets.iter().all(|t| matches!(t, Node::Target(_))))
}

proptest! {
    #[test]
    fn every_request_ends_within_the_plan(
        document in any_node(),
        statuses in prop::collection::vec(prop::sample::select(vec![200u16, 400, 408, 429, 500, 503, 0]), 1..8),
        seed: u64,
    ) {
        let config = config(&document.to_string());
        let (history, end) = play(&config, &statuses, seed);
        let lost = history.iter().filter(|a| a.error == Some(ErrorClass::Lost)).count();
        let targets = config.targets().count();
        prop_assert!(history.len() - lost <= config.max_attempts() as usize);
        prop_assert!(lost <= MOST_LOST + targets, "{lost} lost of {}", history.len());
        prop_assert!(end.starts_with("answer") || end.starts_with("give up"), "{end}");
        if let Some(success) = history.iter().position(Attempt::is_success) {
            prop_assert_eq!(success, history.len() - 1, "nothing is called after a success");
        }
    }

    #[test]
    fn a_fallback_keeps_the_order_of_its_targets(
        retries in prop::collection::vec(0u32..3, 1..5),
        statuses in prop::collection::vec(prop::sample::select(vec![400u16, 429, 500, 0]), 1..8),
    ) {
        let targets: Vec<_> = retries.iter().map(|n| serde_json::json!({"provider": "p", "retry": {"attempts": n}})).collect();
        let config = config(&serde_json::json!({"strategy": {"mode": "fallback"}, "targets": targets}).to_string());
        let (history, _) = play(&config, &statuses, 7);
        let order: Vec<usize> = history.iter().map(|a| config.targets().position(|t| t.path == a.path).unwrap()).collect();
        prop_assert!(order.is_sorted(), "{order:?}");
        prop_assert_eq!(order.last().copied(), Some(retries.len() - 1), "every target had its turn");
    }

    #[test]
    fn paths_are_unique(document in any_node()) {
        let config = config(&document.to_string());
        let mut paths: Vec<&str> = config.targets().map(|t| t.path.as_str()).collect();
        let before = paths.len();
        paths.sort_unstable();
        paths.dedup();
        prop_assert_eq!(paths.len(), before);
    }
}

/// What becomes of a call: every kind that the decision tells apart.
fn any_outcome() -> impl Generator<Value = (Option<u16>, Option<ErrorClass>)> {
    prop::sample::select(vec![
        (Some(200), None),
        (Some(246), None),
        (Some(400), Some(ErrorClass::BadRequest)),
        (Some(429), Some(ErrorClass::RateLimit)),
        (Some(500), Some(ErrorClass::ServerError)),
        (Some(200), Some(ErrorClass::Broken)),
        (Some(503), Some(ErrorClass::QueueFull)),
        (Some(503), Some(ErrorClass::Shutdown)),
        (None, Some(ErrorClass::Lost)),
    ])
}

fn any_codes() -> impl Generator<Value = Option<Vec<u16>>> {
    prop::option::of(prop::collection::vec(prop::sample::select(vec![200u16, 246, 429, 500, 502, 503]), 0..4))
}

/// Like [`any_node`], with lists of status codes at the groups and the targets.
fn any_listed_node() -> impl Generator<Value = serde_json::Value> {
    let leaf = (0u32..3, any_codes()).prop_map(|(retries, codes)| {
        serde_json::json!({"provider": "p", "retry": {"attempts": retries, "on_status_codes": codes}})
    });
    leaf.prop_recursive(3, 12, 4, |inner| {
        (prop::collection::vec(inner, 1..4), any_codes(), proptest::bool::ANY).prop_map(
            |(targets, codes, balance)| {
                let fallback = serde_json::json!({"mode": "fallback", "on_status_codes": codes});
                let strategy = if balance { serde_json::json!({"mode": "loadbalance"}) } else { fallback };
                serde_json::json!({"strategy": strategy, "targets": targets})
            },
        )
    })
}

proptest! {
    #[test]
    fn whatever_happens_a_request_moves_forward_and_ends_with_its_last_attempt(
        document in any_listed_node(),
        outcomes in prop::collection::vec(any_outcome(), 1..40),
        seed: u64,
        fail: bool,
        close: bool,
    ) {
        let config = config(&document.to_string());
        let deadline = if close { Timestamp(1000 + seed % 20_000) } else { FAR };
        let on_lost = if fail { OnLost::Fail } else { OnLost::Retry };
        let place = |a: &Attempt| config.targets().position(|t| t.path == a.path);
        let (mut now, mut history, mut made) = (Timestamp(1000), Vec::<Attempt>::new(), 0);
        loop {
            let view = View { now, deadline, seed, on_lost, ..view() };
            match next(&config, &history, &view) {
                Next::Call { target, after } => {
                    now = now.plus(after);
                    prop_assert!(now < deadline, "no call is planned beyond the deadline");
                    let (mut status, mut error) = outcomes[made % outcomes.len()];
                    made += 1;
                    if made > 100 && error == Some(ErrorClass::QueueFull) {
                        // Queues are not full for ever.
                        (status, error) = (Some(500), Some(ErrorClass::ServerError));
                    }
                    if success_is_final(&config, &history, &target) && error.is_none() {
                        let mut ended = history.clone();
                        ended.push(attempt(0, &target.path, status, None));
                        prop_assert_eq!(next(&config, &ended, &view), Next::Answer(history.len()));
                    }
                    let mut one = attempt(u32::try_from(made).unwrap(), &target.path, status, error);
                    one.finished_at = now;
                    history.push(one);
                    prop_assert!(history.iter().map(place).is_sorted(), "no target is gone back to");
                    let ours = |a: &&Attempt| a.error.is_some_and(ErrorClass::is_our_fault);
                    let called = history.iter().filter(|a| a.error != Some(ErrorClass::QueueFull)).count();
                    let planned = history.len() - history.iter().filter(ours).count();
                    prop_assert!(planned <= config.max_attempts() as usize);
                    prop_assert!(called <= config.max_attempts() as usize + MOST_LOST + MOST_SHUTDOWN);
                }
                Next::Park { after } => {
                    history.retain(|a| a.error != Some(ErrorClass::QueueFull));
                    now = now.plus(after);
                }
                Next::Answer(index) => {
                    prop_assert_eq!(index + 1, history.len(), "{:?}", history);
                    break;
                }
                Next::GiveUp(refusal) => {
                    prop_assert_eq!(refusal, Refusal::Expired);
                    prop_assert!(now >= deadline);
                    break;
                }
            }
            prop_assert!(made < 300);
        }
    }
}
