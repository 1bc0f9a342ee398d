//! Conditions, sticky targets, kinds of failure, time budgets, jitter, and the reasons that decisions give.

use serde_json::{Map, Value, json};

use super::*;
use crate::Decision;

fn asked<'a>(params: &'a Value, metadata: &'a Map<String, Value>) -> RequestFacts<'a> {
    RequestFacts { params: Some(params), metadata: Some(metadata), ..facts() }
}

fn decide<'a>(config: &'a Config, model: &str, plan: &str, history: &[Attempt]) -> Decision<'a> {
    let metadata = json!({"plan": plan});
    super::super::next(
        config,
        &asked(&json!({"model": model}), metadata.as_object().unwrap()),
        history,
        &view(),
    )
}

fn reasons(decision: &Decision<'_>) -> Vec<String> {
    decision.why.iter().map(ToString::to_string).collect()
}

const ROUTES: &str = r#"{"strategy":{"mode":"conditional","default":"cheap","conditions":[
        {"query":{"metadata.plan":"paid","params.model":{"$regex":"^gpt-"}},"then":"premium"},
        {"query":{"metadata.plan":"paid"},"then":"cheap"},
        {"query":{"metadata.plan":"trial"},"then":"premium"}]},
    "targets":[
        {"name":"premium","strategy":{"mode":"fallback"},"targets":[{"provider":"a"},{"provider":"b"}]},
        {"name":"cheap","provider":"c"}]}"#;

#[test]
fn the_first_condition_that_holds_decides() {
    let config = config(ROUTES);
    for (model, plan, target) in [
        ("gpt-4o", "paid", "config.targets[0].targets[0]"),
        ("claude", "paid", B),
        ("claude", "trial", "config.targets[0].targets[0]"),
        ("gpt-4o", "free", B),
    ] {
        let decision = decide(&config, model, plan, &[]);
        assert_eq!(show(&decision.next), format!("call {target} after 0 ms"), "{model} {plan}");
    }
    assert_eq!(
        reasons(&decide(&config, "gpt-4o", "free", &[])),
        ["conditional: no condition of config matched, so its default"]
    );
    assert_eq!(
        reasons(&decide(&config, "m", "trial", &[])),
        ["conditional: conditions[2] of config matched ({\"metadata.plan\":\"trial\"})"]
    );
}

#[test]
fn a_branch_once_taken_stays_taken() {
    let config = config(ROUTES);
    let failed = tried(&[("config.targets[0].targets[0]", 503)]);
    let decision = decide(&config, "gpt-4o", "free", &failed);
    assert_eq!(show(&decision.next), "call config.targets[0].targets[1] after 0 ms");
    assert_eq!(reasons(&decision), ["fallback: 503 of config.targets[0].targets[0] is no success"]);
}

#[test]
fn no_condition_and_no_default_is_a_refusal() {
    let config = config(
        r#"{"strategy":{"mode":"conditional","conditions":[{"query":{"metadata.plan":"paid"},"then":"x"}]},
            "targets":[{"name":"x","provider":"a"}]}"#,
    );
    let decision = decide(&config, "m", "free", &[]);
    assert_eq!(decision.next, Next::GiveUp(Refusal::NoMatch));
    assert_eq!(reasons(&decision), ["conditional: no condition of config matched, and it has no default"]);
    assert!(config.needs_metadata() && !config.needs_body());
}

#[test]
fn a_plain_target_gives_no_reasons() {
    let config = config(r#"{"provider":"a"}"#);
    let decision = decide(&config, "m", "p", &[]);
    assert!(decision.why.is_empty() && !decision.probe && decision.why.capacity() == 0);
}

#[test]
fn kinds_of_failure_lead_on_beside_statuses() {
    let parsed = config(
        r#"{"strategy":{"mode":"fallback","on_status_codes":[503],"on":["context_length","rate_limit"]},
            "targets":[{"provider":"a"},{"provider":"b"}]}"#,
    );
    let failed = |status: u16, code: Option<&str>| {
        let mut history = tried(&[(A, status)]);
        history[0].code = code.map(str::to_owned);
        show(&next(&parsed, &history, &view()))
    };
    let goes_on = "call config.targets[1] after 0 ms";
    assert_eq!(failed(503, None), goes_on);
    assert_eq!(failed(429, None), goes_on);
    assert_eq!(failed(400, Some("context_length_exceeded")), goes_on);
    assert_eq!(failed(400, None), "answer 0");
    assert_eq!(failed(500, None), "answer 0");
    let only = config(
        r#"{"strategy":{"mode":"fallback","on":["timeout"]},"targets":[{"provider":"a"},{"provider":"b"}]}"#,
    );
    assert_eq!(show(&next(&only, &tried(&[(A, 408)]), &view())), goes_on);
    assert_eq!(show(&next(&only, &tried(&[(A, 200)]), &view())), "answer 0");
    assert_eq!(show(&next(&only, &tried(&[(A, 500)]), &view())), "answer 0");
    let decision = super::super::next(&parsed, &facts(), &tried(&[(A, 429)]), &view());
    assert_eq!(reasons(&decision), ["fallback: 429 of config.targets[0] is a rate_limit, which is in `on`"]);
    let decision = super::super::next(&parsed, &facts(), &tried(&[(A, 500)]), &view());
    assert_eq!(
        reasons(&decision),
        ["fallback: 500 of config.targets[0] is not in the lists of the strategy"]
    );
}

#[test]
fn a_time_budget_ends_a_group_and_not_those_around_it() {
    let parsed = config(
        r#"{"strategy":{"mode":"fallback"},"targets":[
            {"strategy":{"mode":"fallback","time_budget":"3s"},"retry":{"attempts":1},
             "targets":[{"provider":"a"},{"provider":"b"}]},
            {"provider":"c"}]}"#,
    );
    let inner = ["config.targets[0].targets[0]", "config.targets[0].targets[1]"];
    // The first attempt waited half a second before it began at 1000.
    let failed_at = |paths: &[&str], ended: u64| {
        let mut history = tried(&paths.iter().map(|p| (*p, 500)).collect::<Vec<_>>());
        history[0].started_at = Timestamp(1000);
        history[0].queued_ms = 500;
        history.last_mut().unwrap().finished_at = Timestamp(ended);
        show(&next(&parsed, &history, &View { now: Timestamp(ended), ..view() }))
    };
    assert_eq!(failed_at(&[inner[0]], 2000), "call config.targets[0].targets[0] after 1000 ms");
    // No time for the wait, but for the next target.
    assert_eq!(failed_at(&[inner[0]], 2600), "call config.targets[0].targets[1] after 0 ms");
    assert_eq!(failed_at(&[inner[0]], 3499), "call config.targets[0].targets[1] after 0 ms");
    assert_eq!(failed_at(&[inner[0]], 3500), "call config.targets[1] after 0 ms");
    assert_eq!(failed_at(&[inner[0], inner[0]], 9000), "call config.targets[1] after 0 ms");
}

#[test]
fn jitter_spreads_waits_over_the_whole_backoff_and_stays_the_same() {
    let parsed = config(r#"{"provider":"a","retry":{"attempts":2,"jitter":"full"}}"#);
    let waits: Vec<u64> = (0..2000)
        .map(|seed| {
            let view = View { seed, ..view() };
            let history = tried(&[("config", 500), ("config", 500)]);
            let Next::Call { after, .. } = next(&parsed, &history, &view) else { panic!("no call") };
            assert_eq!(next(&parsed, &history, &view), next(&parsed, &history, &view));
            u64::try_from(after.as_millis()).unwrap()
        })
        .collect();
    assert!(waits.iter().all(|w| *w <= 2000));
    let mean = waits.iter().sum::<u64>() / 2000;
    assert!((900..1100).contains(&mean), "{mean}");
    let asked =
        config(r#"{"provider":"a","retry":{"attempts":1,"jitter":true,"use_retry_after_header":true}}"#);
    let mut history = tried(&[("config", 429)]);
    history[0].retry_after_ms = Some(7000);
    assert_eq!(show(&next(&asked, &history, &view())), "call config after 7000 ms");
}

fn sticky_targets(weights: &[f64]) -> Config {
    let targets: Vec<Value> = weights
        .iter()
        .enumerate()
        .map(|(i, weight)| json!({"name": format!("t{i}"), "provider": "p", "weight": weight}))
        .collect();
    let strategy =
        json!({"mode": "loadbalance", "sticky": {"hash_fields": ["metadata.session"], "ttl": 600}});
    config(&json!({"strategy": strategy, "targets": targets}).to_string())
}

fn target_of(config: &Config, session: &str, now: u64, seed: u64) -> String {
    let metadata = json!({"session": session});
    let facts = RequestFacts { metadata: metadata.as_object(), key_id: Some("key"), ..facts() };
    let view = View { now: Timestamp(now), seed, ..view() };
    match super::super::next(config, &facts, &[], &view).next {
        Next::Call { target, .. } => target.path.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_that_are_alike_go_to_the_same_target_until_their_time_is_over() {
    let config = sticky_targets(&[1.0, 1.0, 1.0]);
    let session = |n: u32, now| target_of(&config, &format!("s{n}"), now, u64::from(n) + now);
    let (mut same, mut moved) = (0, 0);
    for n in 0..500 {
        let first = session(n, 1_000_000);
        same += u32::from(session(n, 1_000_001) == first);
        moved += u32::from(session(n, 1_000_000 + 600_000) != first);
    }
    assert!(same >= 499, "{same} of 500 stayed a millisecond later");
    assert!((270..400).contains(&moved), "{moved} of 500 were given another of three targets");
}

#[test]
fn sticky_targets_get_their_weight_and_keep_their_requests_when_another_weight_changes() {
    let before = sticky_targets(&[1.0, 2.0, 1.0]);
    let after = sticky_targets(&[1.0, 6.0, 1.0]);
    let mut counts = [0u32; 3];
    for n in 0..4000 {
        let (old, new) = (target_of(&before, &n.to_string(), 0, 0), target_of(&after, &n.to_string(), 0, 0));
        counts[before.targets().position(|t| t.path == old).unwrap()] += 1;
        assert!(new == old || new == B, "only the heavier target wins requests: {old} to {new}");
    }
    assert!((900..1100).contains(&counts[0]) && (1850..2150).contains(&counts[1]), "{counts:?}");
}

#[test]
fn without_anything_to_go_by_a_sticky_group_balances() {
    let config = config(
        r#"{"strategy":{"mode":"loadbalance","sticky":{"hash_fields":["headers.x-session"]}},
            "targets":[{"provider":"a"},{"provider":"b"}]}"#,
    );
    assert_eq!(config.wanted_headers(), ["x-session"]);
    let first = (0..1000).filter(|seed| {
        matches!(next(&config, &[], &View { seed: *seed, ..view() }), Next::Call { target, .. } if target.path == A)
    });
    let first = first.count();
    assert!((400..600).contains(&first), "{first}");
}
