//! Breakers and measurements: what is known of the targets today.

use std::collections::HashMap;

use super::*;
use crate::Decision;
use crate::health::Standing;
use crate::quota::Need;

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

/// Providers whose limits leave no room before a time.
struct Full(HashMap<&'static str, u64>);

impl Health for Full {
    fn standing(&self, _: &Target) -> Standing {
        Standing::default()
    }

    fn full_until(&self, target: &Target, need: &Need<'_>) -> Option<Timestamp> {
        let place = need.model.filter(|model| self.0.contains_key(model)).unwrap_or(&target.provider);
        self.0.get(place).map(|at| Timestamp(*at))
    }
}

/// What is decided at 1000 about a request of then, which has until 61 000 or `deadline`; waits without their jitter.
#[track_caller]
fn check_full(
    json: &str,
    history: &[(&str, u16)],
    full: &[(&'static str, u64)],
    deadline: u64,
    expected: &str,
) -> String {
    let (config, full) = (config(json), Full(full.iter().copied().collect()));
    let facts = RequestFacts { accepted_at: Timestamp(1000), ..facts() };
    let view = View { health: &full, deadline: Timestamp(deadline), ..view() };
    let decision = super::super::next(&config, &facts, &tried(history), &view);
    let shown = match &decision.next {
        Next::Call { target, after } if !after.is_zero() => {
            let least = decision.why.iter().find_map(|why| match why {
                Reason::WaitsForRoom { after, .. } => Some(*after),
                _ => None,
            });
            assert_eq!(least, Some(*after));
            format!("{} waits", target.path)
        }
        next => show(next),
    };
    assert_eq!(shown, expected, "{full:?}", full = full.0);
    decision.why.iter().map(|why| format!("{why}\n")).collect()
}

const BOTH: &str = r#"{"strategy":{"mode":"fallback"},"targets":[{"provider":"a"},{"provider":"b"}]}"#;

#[test]
fn targets_whose_providers_have_no_room_are_passed_over() {
    let why = check_full(BOTH, &[], &[("a", 5000)], 61_000, "call config.targets[1] after 0 ms");
    assert_eq!(
        why,
        "provider limits: config.targets[0] has no room at the provider until 1970-01-01T00:00:05Z\n"
    );
    check_full(BOTH, &[], &[("b", 5000)], 61_000, "call config.targets[0] after 0 ms");
    check_full(BOTH, &[], &[("a", 1000)], 61_000, "call config.targets[0] after 0 ms");
    let single = BOTH.replace("fallback", "single");
    check_full(&single, &[], &[("a", 5000)], 61_000, "config.targets[0] waits");
    let balanced =
        r#"{"strategy":{"mode":"loadbalance"},"targets":[{"provider":"a","weight":9},{"provider":"b"}]}"#;
    check_full(balanced, &[], &[("a", 5000)], 61_000, "call config.targets[1] after 0 ms");
    check_full(balanced, &[], &[("a", 5000), ("b", 9000)], 61_000, "config.targets[0] waits");
    // Limits are kept by model.
    let models = r#"{"strategy":{"mode":"fallback"},"targets":[
        {"provider":"a","override_params":{"model":"x"}},{"provider":"a","override_params":{"model":"y"}}]}"#;
    check_full(models, &[], &[("x", 5000)], 61_000, "call config.targets[1] after 0 ms");
}

#[test]
fn without_a_better_target_a_call_waits_for_room_or_is_made_all_the_same() {
    let one = r#"{"provider":"a"}"#;
    let why = check_full(one, &[], &[("a", 5000)], 61_000, "config waits");
    assert!(why.starts_with("provider limits: config is called in 4"), "{why}");
    // Too long to wait for; more than half of the time there is; the policy heeds what providers ask for.
    let why = check_full(one, &[], &[("a", 12_000)], 61_000, "call config after 0 ms");
    assert!(why.ends_with("too late to wait for, so the provider decides\n"), "{why}");
    check_full(one, &[], &[("a", 5000)], 8000, "call config after 0 ms");
    let patient = r#"{"provider":"a","retry":{"attempts":1,"use_retry_after_header":true}}"#;
    check_full(patient, &[], &[("a", 12_000)], 61_000, "config waits");
    // The one where there is room first; also after the others were tried.
    check_full(BOTH, &[], &[("a", 6000), ("b", 5000)], 61_000, "config.targets[1] waits");
    check_full(BOTH, &[(A, 500)], &[("a", 3000), ("b", 5000)], 61_000, "config.targets[1] waits");
    check_full(BOTH, &[(A, 500)], &[("b", 50_000)], 61_000, "call config.targets[1] after 0 ms");
}

#[test]
fn calls_that_wait_for_the_same_room_come_back_apart_and_never_too_soon() {
    let config = config(r#"{"provider":"a"}"#);
    let full = Full([("a", 1001)].into());
    let facts = RequestFacts { accepted_at: Timestamp(1000), ..facts() };
    let wait =
        |seed| match super::super::next(&config, &facts, &[], &View { health: &full, seed, ..view() }).next {
            Next::Call { after, .. } => after.as_millis(),
            other => panic!("{other:?}"),
        };
    let waits: std::collections::BTreeSet<u128> = (0..100).map(wait).collect();
    assert!(waits.len() > 50 && *waits.first().unwrap() >= 250 && *waits.last().unwrap() <= 750, "{waits:?}");
}
