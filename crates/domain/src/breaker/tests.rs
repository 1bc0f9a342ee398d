//! A circuit opens for the target's failures only, at its threshold exactly, and closes when a request has come through.

use proptest::prelude::*;

use super::*;
use crate::ErrorClass;
use crate::health::{Cooling, Record};

const SECOND: u64 = 1000;

fn policy(threshold: u32) -> Policy {
    Policy {
        failure_threshold: Some(threshold),
        failure_threshold_percentage: None,
        minimum_requests: MINIMUM_REQUESTS,
        cooldown_interval: Duration::from_secs(30),
        failure_status_codes: None,
    }
}

fn seen(policy: &Policy, at: u64, fault: Option<Fault>, status: u16) -> Observation {
    Observation {
        started_at: Timestamp(at),
        at: Timestamp(at),
        fault,
        status,
        count: 1,
        latency_ms: None,
        retry_after_ms: None,
        policy: Some(policy.clone()),
        probe: false,
    }
}

fn failure(policy: &Policy, at: u64) -> Observation {
    seen(policy, at, Some(Fault::ServerError), 503)
}

fn success(policy: &Policy, at: u64) -> Observation {
    seen(policy, at, None, 200)
}

fn tally(observations: impl IntoIterator<Item = Observation>) -> Tally {
    let mut tally = Tally::default();
    for seen in observations {
        tally.observe(&[seen]);
    }
    tally
}

fn opened(threshold: u32) -> (Policy, Tally) {
    let policy = policy(threshold);
    let tally = tally((1..=u64::from(threshold)).map(|at| failure(&policy, at)));
    (policy, tally)
}

#[track_caller]
fn check(tally: &Tally, policy: &Policy, now: u64, expected: Availability) {
    assert_eq!(tally.state(policy, Timestamp(now)).availability(), expected, "{tally:?}");
}

#[test]
fn it_is_open_for_the_cooldown_and_then_lets_one_try() {
    let (policy, tally) = opened(3);
    assert_eq!(tally.state(&policy, Timestamp(3)), State::Open { until: Timestamp(30 * SECOND + 3) });
    check(&tally, &policy, 30 * SECOND + 2, Availability::Open);
    check(&tally, &policy, 30 * SECOND + 3, Availability::HalfOpen);
}

#[test]
fn a_probe_closes_it_or_opens_it_again() {
    let (policy, before) = opened(2);
    let at = 40 * SECOND;
    let mut tally = before.clone();
    tally.observe(&[success(&policy, at)]);
    check(&tally, &policy, at, Availability::Closed);
    // Counting begins anew.
    tally.observe(&[failure(&policy, at + 1)]);
    check(&tally, &policy, at + 1, Availability::Closed);

    let mut tally = before.clone();
    tally.observe(&[failure(&policy, at)]);
    assert_eq!(tally.state(&policy, Timestamp(at)), State::Open { until: Timestamp(at + 30 * SECOND) });

    // A request that the provider refused for its own sake has come through as well; one that was cancelled has not.
    let mut tally = before.clone();
    tally.observe(&[seen(&policy, at, Some(Fault::Caller), 499)]);
    check(&tally, &policy, at, Availability::HalfOpen);
    tally.observe(&[seen(&policy, at, Some(Fault::BadRequest), 400)]);
    check(&tally, &policy, at, Availability::Closed);
}

#[test]
fn what_began_before_is_evidence_of_the_past() {
    let (policy, mut tally) = opened(2);
    let late = Observation { started_at: Timestamp(1), ..failure(&policy, 35 * SECOND) };
    tally.observe(std::slice::from_ref(&late));
    assert_eq!(tally.state(&policy, Timestamp(36 * SECOND)), State::HalfOpen);
    tally.observe(&[Observation { fault: None, ..late.clone() }]);
    assert_eq!(tally.state(&policy, Timestamp(36 * SECOND)), State::HalfOpen);
    tally.observe(&[success(&policy, 37 * SECOND)]);
    for _ in 0..5 {
        tally.observe(&[Observation { at: Timestamp(38 * SECOND), ..late.clone() }]);
    }
    check(&tally, &policy, 38 * SECOND, Availability::Closed);
}

#[test]
fn a_share_opens_it_once_there_are_enough() {
    let share = Policy {
        failure_threshold: None,
        failure_threshold_percentage: Some(40),
        minimum_requests: 10,
        ..policy(1)
    };
    let mut tally = tally((1..=4).map(|at| failure(&share, at)));
    check(&tally, &share, 4, Availability::Closed);
    for at in 5..=9 {
        tally.observe(&[success(&share, at)]);
        check(&tally, &share, at, Availability::Closed);
    }
    tally.observe(&[failure(&share, 10)]);
    check(&tally, &share, 10, Availability::Open);
}

#[test]
fn failures_are_forgotten_after_the_cooldown() {
    let policy = policy(2);
    let tally = tally([failure(&policy, 1), failure(&policy, 31 * SECOND)]);
    check(&tally, &policy, 31 * SECOND, Availability::Closed);
}

#[test]
fn each_fault_has_its_own_consequence() {
    let policy = policy(1);
    for (fault, status, expected) in [
        (Fault::BadRequest, 400, Availability::Closed),
        (Fault::BadRequest, 404, Availability::Closed),
        (Fault::ContextLength, 400, Availability::Closed),
        (Fault::ContentFilter, 400, Availability::Closed),
        (Fault::Caller, 499, Availability::Closed),
        (Fault::Caller, 504, Availability::Closed),
        (Fault::Gateway, 503, Availability::Closed),
        (Fault::RateLimit, 429, Availability::Closed),
        (Fault::Auth, 401, Availability::Open),
        (Fault::ServerError, 500, Availability::Open),
        (Fault::Timeout, 408, Availability::Open),
        (Fault::Connection, 503, Availability::Open),
        (Fault::InvalidAnswer, 502, Availability::Open),
    ] {
        let tally = tally([seen(&policy, 5, Some(fault), status)]);
        check(&tally, &policy, 5, expected);
    }
}

#[test]
fn a_refused_credential_opens_it_at_once_until_there_is_another() {
    let policy = policy(100);
    let mut tally = tally([seen(&policy, 5, Some(Fault::Auth), 401)]);
    check(&tally, &policy, 6, Availability::Open);
    assert!(tally.credential_changed(Timestamp(7)));
    check(&tally, &policy, 7, Availability::Closed);
    assert!(!tally.credential_changed(Timestamp(8)));
}

#[test]
fn a_rate_limit_cools_the_target_for_as_long_as_was_asked() {
    let policy = policy(1);
    let asked = Observation { retry_after_ms: Some(5000), ..seen(&policy, 0, Some(Fault::RateLimit), 429) };
    let tally = tally([asked, success(&policy, 10)]);
    assert_eq!(tally.state(&policy, Timestamp(20)), State::Open { until: Timestamp(5000) });
    check(&tally, &policy, 5000, Availability::Closed);
    let listed = Policy { failure_status_codes: Some(vec![429, 500]), ..policy.clone() };
    let tally = super::tests::tally([seen(&listed, 5, Some(Fault::RateLimit), 429)]);
    check(&tally, &listed, 5, Availability::Open);
}

#[test]
fn listed_statuses_are_the_failures_but_never_the_clients() {
    let listed = Policy { failure_status_codes: Some(vec![400, 404, 422, 409, 503]), ..policy(1) };
    for status in NEVER_FAILURES {
        check(&tally([seen(&listed, 5, Some(Fault::BadRequest), *status)]), &listed, 5, Availability::Closed);
    }
    check(&tally([seen(&listed, 5, Some(Fault::BadRequest), 409)]), &listed, 5, Availability::Open);
    check(&tally([seen(&listed, 5, Some(Fault::ServerError), 500)]), &listed, 5, Availability::Closed);
    check(&tally([seen(&listed, 5, Some(Fault::ServerError), 503)]), &listed, 5, Availability::Open);
}

#[test]
fn what_the_caller_brought_along_is_the_callers_fault() {
    let attempt = |class, status| Attempt {
        error: Some(class),
        status: Some(status),
        ..Attempt::new(1, "config", "p", Timestamp(0), Timestamp(1))
    };
    let watch = Watch {
        target: "default/p".to_owned(),
        model: None,
        policy: Some(policy(1)),
        callers_credential: true,
        callers_timeout: true,
        probe: false,
    };
    let ours = Watch { callers_credential: false, callers_timeout: false, ..watch.clone() };
    for (class, status, fault) in [
        (ErrorClass::Authentication, 401, Fault::Auth),
        (ErrorClass::RateLimit, 429, Fault::RateLimit),
        (ErrorClass::Timeout, 408, Fault::Timeout),
    ] {
        let attempt = attempt(class, status);
        assert_eq!(Observation::of(&attempt, &watch).fault, Some(Fault::Caller));
        assert_eq!(Observation::of(&attempt, &ours).fault, Some(fault));
    }
    let failed = attempt(ErrorClass::ServerError, 500);
    assert_eq!(Observation::of(&failed, &watch).fault, Some(Fault::ServerError));
}

#[test]
fn a_reset_clears_everything_and_what_is_still_on_its_way() {
    let (policy, mut tally) = opened(3);
    tally.adopt(&Record::of_reset(Timestamp(10), "admin"));
    check(&tally, &policy, 10, Availability::Closed);
    for _ in 0..5 {
        tally.observe(&[Observation { started_at: Timestamp(9), ..failure(&policy, 11) }]);
    }
    check(&tally, &policy, 11, Availability::Closed);
    assert_eq!(tally.show("t", Timestamp(11), None).reset.unwrap().by, "admin");
}

#[test]
fn successes_are_reported_together_and_failures_one_by_one() {
    let policy = policy(1);
    let mut first = Observation { latency_ms: Some(100.0), ..success(&policy, 5) };
    assert!(first.absorb(&Observation { latency_ms: Some(200.0), ..success(&policy, 3) }));
    assert_eq!(
        (first.count, first.latency_ms, first.started_at, first.at),
        (2, Some(150.0), Timestamp(3), Timestamp(5))
    );
    assert!(!first.absorb(&failure(&policy, 6)));
    assert!(!first.absorb(&Observation { probe: true, ..success(&policy, 6) }));
    assert!(!first.absorb(&success(&super::tests::policy(2), 6)));
}

#[test]
fn older_latencies_weigh_less() {
    let mut mean = Decayed::default();
    assert_eq!(mean.mean(), None);
    mean.add(100.0, 1, Timestamp(0), LATENCY_HALF_LIFE);
    mean.add(400.0, 1, Timestamp(30 * SECOND), LATENCY_HALF_LIFE);
    // Weights 1/2 and 1.
    assert!((mean.mean().unwrap() - 300.0).abs() < 1e-9);
    let mut swapped = Decayed::default();
    swapped.add(400.0, 1, Timestamp(30 * SECOND), LATENCY_HALF_LIFE);
    swapped.add(100.0, 1, Timestamp(0), LATENCY_HALF_LIFE);
    assert!((swapped.mean().unwrap() - 300.0).abs() < 1e-9);
}

#[test]
fn policies_do_not_grow_without_bound() {
    let mut tally = Tally::default();
    for n in 1..500 {
        tally.observe(&[success(&policy(n), u64::from(n))]);
    }
    assert!(tally.show("t", Timestamp(500), None).circuits.len() <= 64);
}

fn any_fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![Just(None), proptest::sample::select(Fault::ALL).prop_map(Some)]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    (proptest::option::of(1..6u32), proptest::option::of(1..=100u8), 1..8u32, any::<bool>()).prop_map(
        |(threshold, percentage, minimum, listed)| Policy {
            failure_threshold: threshold.or(if percentage.is_none() { Some(2) } else { None }),
            failure_threshold_percentage: percentage,
            minimum_requests: minimum,
            cooldown_interval: Duration::from_secs(30),
            failure_status_codes: listed.then(|| vec![429, 500, 503]),
        },
    )
}

fn any_observation(policy: Policy) -> impl Strategy<Value = Observation> {
    let status = proptest::sample::select(&[200u16, 400, 401, 404, 408, 422, 429, 500, 502, 503]);
    (any_fault(), status, 0..120u64, 0..60u64, proptest::option::of(0..9000u64)).prop_map(
        move |(fault, status, at, took, wait)| Observation {
            started_at: Timestamp(at * SECOND),
            retry_after_ms: wait.filter(|_| fault == Some(Fault::RateLimit)),
            ..seen(&policy, (at + took) * SECOND, fault, status)
        },
    )
}

fn any_history() -> impl Strategy<Value = (Policy, Vec<Observation>)> {
    any_policy().prop_flat_map(|policy| {
        let history = proptest::collection::vec(any_observation(policy.clone()), 0..40);
        (Just(policy), history)
    })
}

fn any_record() -> impl Strategy<Value = Record> {
    (any_history(), proptest::option::of((0..150u64, "[ab]"))).prop_map(|((_, history), reset)| {
        let mut record = tally(history).record();
        if let Some((at, by)) = reset {
            record = record.merged(&Record::of_reset(Timestamp(at * SECOND), &by));
        }
        record
    })
}

#[test]
fn a_reset_does_not_hide_a_wait_that_was_asked_for_later() {
    let cooling = |at, until| Record {
        cooling: Some(Cooling { at: Timestamp(at), until: Timestamp(until) }),
        ..Record::default()
    };
    let (before, later) = (cooling(102_000, 108_566), cooling(106_000, 106_008));
    let reset = Record::of_reset(Timestamp(105_000), "a");
    assert_eq!(reset.merged(&before.merged(&later)), reset.merged(&before).merged(&later));
    assert_eq!(reset.merged(&before).merged(&later).cooling, later.cooling);
}

proptest! {
    #[test]
    fn clients_faults_never_open_it(
        policy in any_policy(),
        faults in proptest::collection::vec((0..5usize, 0..100u64), 0..60),
    ) {
        const CLIENTS: [(Fault, u16); 5] = [
            (Fault::BadRequest, 400), (Fault::BadRequest, 404), (Fault::ContextLength, 400),
            (Fault::ContentFilter, 503), (Fault::Caller, 504),
        ];
        let mut tally = Tally::default();
        for (which, at) in faults {
            let (fault, status) = CLIENTS[which];
            tally.observe(&[seen(&policy, at, Some(fault), status)]);
            prop_assert_eq!(tally.state(&policy, Timestamp(at)), State::Closed);
        }
    }

    #[test]
    fn it_opens_at_exactly_the_threshold(threshold in 1..50u32, mix in proptest::collection::vec(any::<bool>(), 0..50)) {
        let policy = policy(threshold);
        let mut tally = Tally::default();
        let mut mix = mix.into_iter();
        for n in 1..=threshold {
            // Successes in between change nothing.
            if mix.next() == Some(true) {
                tally.observe(&[success(&policy, u64::from(n))]);
            }
            prop_assert_eq!(tally.state(&policy, Timestamp(u64::from(n))), State::Closed);
            tally.observe(&[failure(&policy, u64::from(n))]);
        }
        prop_assert_eq!(tally.state(&policy, Timestamp(u64::from(threshold))).availability(), Availability::Open);
    }

    #[test]
    fn the_next_request_decides_after_the_cooldown(threshold in 1..10u32, after in 30_000..100_000u64, ok in any::<bool>()) {
        let (policy, mut tally) = opened(threshold);
        let at = u64::from(threshold) + after;
        prop_assert_eq!(tally.state(&policy, Timestamp(at)), State::HalfOpen);
        tally.observe(&[if ok { success(&policy, at) } else { failure(&policy, at) }]);
        let expected = if ok { Availability::Closed } else { Availability::Open };
        prop_assert_eq!(tally.state(&policy, Timestamp(at)).availability(), expected);
    }

    #[test]
    fn the_order_of_equal_times_does_not_matter((policy, history) in any_history(), seed in any::<u64>()) {
        let mut forwards = Tally::default();
        forwards.observe(&history);
        let mut shuffled = history;
        let mut state = seed | 1;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(i, usize::try_from(state >> 33).unwrap() % (i + 1));
        }
        let mut otherwise = Tally::default();
        otherwise.observe(&shuffled);
        prop_assert_eq!(forwards.record(), otherwise.record());
        for now in [0, 60, 200] {
            prop_assert_eq!(forwards.state(&policy, Timestamp(now * SECOND)), otherwise.state(&policy, Timestamp(now * SECOND)));
        }
    }

    #[test]
    fn records_merge_in_any_order(a in any_record(), b in any_record(), c in any_record()) {
        prop_assert_eq!(a.merged(&b), b.merged(&a));
        prop_assert_eq!(a.merged(&b).merged(&c), a.merged(&b.merged(&c)));
        prop_assert_eq!(a.merged(&a), a.merged(&Record::default()));
    }

    #[test]
    fn what_is_shared_is_what_was_known((policy, history) in any_history(), now in 0..300u64) {
        let known = tally(history);
        let text = serde_json::to_string(&known.record()).unwrap();
        let mut late = Tally::default();
        late.adopt(&serde_json::from_str(&text).unwrap());
        let now = Timestamp(now * SECOND);
        prop_assert_eq!(late.state(&policy, now), known.state(&policy, now));
    }
}
