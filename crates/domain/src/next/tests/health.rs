//! Breakers and measurements: what is known of the targets today.

use std::collections::HashMap;

use super::*;
use crate::Decision;
use crate::health::Standing;

/// What is known, by place or provider.
#[derive(Default)]
struct Known(HashMap<&'static str, Standing>);

impl Health for Known {
    fn standing(&self, target: &Target) -> Standing {
        let known = self.0.get(target.path.as_str()).or_else(|| self.0.get(target.provider.as_str()));
        known.copied().unwrap_or_default()
    }
}

fn in_state(states: &[(&'static str, Availability)]) -> Known {
    let standing = |availability| Standing { availability, ..Standing::default() };
    Known(states.iter().map(|(place, state)| (*place, standing(*state))).collect())
}

fn decide<'a>(config: &'a Config, history: &[Attempt], known: &Known, seed: u64) -> Decision<'a> {
    super::super::next(config, &facts(), history, &View { health: known, seed, ..view() })
}

use Availability::{HalfOpen, Open};

const GUARDED: &str = r#"{"strategy":{"mode":"fallback","cb_config":{"failure_threshold":3,"cooldown_interval":30000}},
    "targets":[{"provider":"a"},{"provider":"b"},{"provider":"c"}]}"#;

#[track_caller]
fn check_open(json: &str, history: &[(&str, u16)], states: &[(&'static str, Availability)], expected: &str) {
    let config = config(json);
    let decision = decide(&config, &tried(history), &in_state(states), 1);
    assert_eq!(show(&decision.next), expected, "{states:?}");
}

#[test]
fn open_targets_are_passed_over_unless_all_are_open() {
    check_open(GUARDED, &[], &[("a", Open)], "call config.targets[1] after 0 ms");
    check_open(GUARDED, &[], &[("a", Open), ("b", Open)], "call config.targets[2] after 0 ms");
    check_open(GUARDED, &[], &[("a", Open), ("b", Open), ("c", Open)], "call config.targets[0] after 0 ms");
    check_open(GUARDED, &[(A, 500)], &[("b", Open)], "call config.targets[2] after 0 ms");
    check_open(GUARDED, &[(A, 500)], &[("b", Open), ("c", Open)], "answer 0");
    let unguarded = r#"{"strategy":{"mode":"fallback"},"targets":[{"provider":"a"},{"provider":"b"}]}"#;
    check_open(unguarded, &[], &[("a", Open)], "call config.targets[0] after 0 ms");
}

#[test]
fn a_probe_is_a_call_like_any_other_and_is_told_apart() {
    let parsed = config(GUARDED);
    let decision = decide(&parsed, &[], &in_state(&[("a", HalfOpen)]), 1);
    assert_eq!((show(&decision.next).as_str(), decision.probe), ("call config.targets[0] after 0 ms", true));
    assert_eq!(
        decision.why.last().unwrap().to_string(),
        "circuit breaker: config.targets[0] is half-open and gets a probe"
    );
    let decision = decide(&parsed, &[], &in_state(&[("a", Open)]), 1);
    assert!(!decision.probe);
    assert_eq!(decision.why[0].to_string(), "circuit breaker: config.targets[0] is open");
}

#[test]
fn what_was_tried_counts_and_not_what_is_known_today() {
    // B was passed over when C was called; that B is well again changes nothing.
    check_open(GUARDED, &[(A, 500), ("config.targets[2]", 500)], &[], "answer 1");
    let retrying = r#"{"strategy":{"mode":"fallback","cb_config":{"failure_threshold":1,"cooldown_interval":30000}},
        "retry":{"attempts":1},"targets":[{"provider":"a"},{"provider":"b"}]}"#;
    check_open(retrying, &[(A, 500)], &[("a", Open)], "call config.targets[0] after 1000 ms");
}

#[test]
fn breakers_reach_down_to_conditional_groups_and_a_group_is_open_if_all_its_children_are() {
    let nested = r#"{"strategy":{"mode":"loadbalance","cb_config":{"failure_threshold":3,"cooldown_interval":"1m"}},
        "targets":[{"weight":9,"strategy":{"mode":"fallback"},"targets":[{"provider":"a"},{"provider":"b"}]},
                   {"weight":1,"provider":"c"},{"weight":0,"provider":"d"}]}"#;
    for seed in 0..50 {
        let parsed = config(nested);
        let decision = decide(&parsed, &[], &in_state(&[("a", Open), ("b", Open)]), seed);
        assert_eq!(show(&decision.next), "call config.targets[1] after 0 ms");
        let decision = decide(&parsed, &[], &in_state(&[("a", Open), ("c", Open)]), seed);
        assert_eq!(show(&decision.next), "call config.targets[0].targets[1] after 0 ms");
        let all = in_state(&[("a", Open), ("b", Open), ("c", Open)]);
        let Next::Call { target, .. } = decide(&parsed, &[], &all, seed).next else { panic!("no call") };
        assert_ne!(target.provider, "d", "a weight of 0 gets nothing even then");
    }
    let through = config(
        r#"{"strategy":{"mode":"fallback","cb_config":{"failure_threshold":3,"cooldown_interval":30000}},"targets":[
            {"strategy":{"mode":"conditional","default":"x","conditions":[{"query":{},"then":"x"}]},
             "targets":[{"name":"x","provider":"a"}]},{"provider":"b"}]}"#,
    );
    let guarded: Vec<bool> = through.targets().map(|t| t.breaker.is_some()).collect();
    assert_eq!(guarded, [false, true]);
}

#[test]
fn single_takes_the_first_target_that_is_not_open() {
    let json = r#"{"strategy":{"mode":"single","cb_config":{"failure_threshold":3,"cooldown_interval":30000}},
        "targets":[{"provider":"a"},{"provider":"b"}]}"#;
    check_open(json, &[], &[], "call config.targets[0] after 0 ms");
    check_open(json, &[], &[("a", Open)], "call config.targets[1] after 0 ms");
    check_open(json, &[(B, 500)], &[], "answer 0");
    assert_eq!(config(json).max_attempts(), 1);
}

#[test]
fn sticky_requests_of_an_open_target_go_to_their_next_best_and_the_others_stay() {
    let config = config(
        r#"{"strategy":{"mode":"loadbalance","sticky":{"hash_fields":["metadata.s"]},
                        "cb_config":{"failure_threshold":3,"cooldown_interval":30000}},
            "targets":[{"provider":"a"},{"provider":"b"},{"provider":"c"}]}"#,
    );
    let chosen = |n: u32, known: &Known| {
        let metadata = serde_json::json!({"s": n.to_string()});
        let facts = RequestFacts { metadata: metadata.as_object(), ..facts() };
        match super::super::next(&config, &facts, &[], &View { health: known, ..view() }).next {
            Next::Call { target, .. } => target.provider.clone(),
            other => panic!("{other:?}"),
        }
    };
    let mut moved: HashMap<String, u32> = HashMap::new();
    for n in 0..600 {
        let (well, ill) = (chosen(n, &Known::default()), chosen(n, &in_state(&[("b", Open)])));
        if well == "b" { *moved.entry(ill).or_default() += 1 } else { assert_eq!(well, ill) }
    }
    assert!(moved["a"] > 50 && moved["c"] > 50 && !moved.contains_key("b"), "{moved:?}");
}

#[test]
fn the_fastest_and_the_least_busy_win_and_the_unknown_come_last() {
    let least = |mode: &str| {
        config(&format!(
            r#"{{"strategy":{{"mode":"{mode}"}},"targets":[{{"provider":"a"}},{{"provider":"b"}},
                {{"strategy":{{"mode":"fallback"}},"targets":[{{"provider":"c"}},{{"provider":"d"}}]}}]}}"#
        ))
    };
    let timed = |ms| Standing { latency_ms: Some(ms), ..Standing::default() };
    let busy = |n| Standing { in_flight: Some(n), ..Standing::default() };
    let fast = least("least_latency");
    let decision = decide(&fast, &[], &Known([("b", timed(80.0)), ("c", timed(300.0))].into()), 1);
    assert_eq!(show(&decision.next), "call config.targets[1] after 0 ms");
    assert_eq!(decision.why[0].to_string(), "least latency: config.targets[1] with 80");
    // A group is as good as its best target.
    let decision = decide(&fast, &[], &Known([("b", timed(80.0)), ("d", timed(3.0))].into()), 1);
    assert_eq!(show(&decision.next), "call config.targets[2].targets[0] after 0 ms");
    let decision =
        decide(&least("least_busy"), &[], &Known([("a", busy(2)), ("b", busy(7))].into()), 1).probe;
    assert!(!decision);
    let quiet = least("least_busy");
    let decision = decide(&quiet, &[], &Known([("a", busy(2)), ("b", busy(7)), ("c", busy(0))].into()), 1);
    assert_eq!(show(&decision.next), "call config.targets[2].targets[0] after 0 ms");
    assert_eq!(
        show(&decide(&fast, &tried(&[(A, 500)]), &Known::default(), 1).next),
        "answer 0",
        "no failover inside"
    );
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let Next::Call { target, .. } = decide(&fast, &[], &Known::default(), seed).next else {
            panic!("no call")
        };
        seen.insert(target.path.clone());
    }
    assert_eq!(seen.len(), 3, "ties are broken by chance");
}
