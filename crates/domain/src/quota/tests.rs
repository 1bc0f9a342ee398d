//! What is left, by cases and by laws.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::{Strategy as Generator, any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;

const CALL: Need<'static> = Need { model: None, input: 0, output: Some(0) };

fn left(remaining: u64, limit: u64, reset_ms: u64) -> Option<Left> {
    Some(Left { remaining, limit: Some(limit), reset_ms: Some(reset_ms) })
}

/// What a call said that was decided on, made and answered at a time.
fn said(at: u64, requests: Option<Left>) -> Said {
    let at = Timestamp(at);
    let quota = Quota { requests, ..Quota::default() };
    Said { started_at: at, decided_at: at, at, quota, shut_until: None }
}

fn heard(words: &[Said]) -> Estimate {
    let mut estimate = Estimate::default();
    words.iter().for_each(|said| estimate.hear(said));
    estimate
}

fn send(estimate: &mut Estimate, at: u64) {
    let call = estimate.call(&CALL, Timestamp(at));
    estimate.send(call);
}

#[track_caller]
fn check(estimate: &Estimate, now: u64, expected: Option<u64>) {
    assert_eq!(estimate.full_until(&CALL, Timestamp(now)), expected.map(Timestamp), "at {now}");
}

#[test]
fn what_is_unknown_is_no_limit() {
    let mut estimate = Estimate::default();
    (0..5000).for_each(|at| send(&mut estimate, at));
    check(&estimate, 5000, None);
    assert_eq!(estimate.show(None, Timestamp(5000)), None);
    assert!(estimate.is_over(Timestamp(100_000)));
}

#[test]
fn calls_sent_since_the_word_are_taken_off_and_come_back_at_the_reset() {
    let mut estimate = heard(&[said(1000, left(2, 10, 5000))]);
    check(&estimate, 1001, None);
    send(&mut estimate, 1000); // Decided on before the call that told: counted.
    send(&mut estimate, 1001);
    check(&estimate, 1002, None);
    send(&mut estimate, 1002);
    check(&estimate, 1003, Some(6000));
    check(&estimate, 6000, None);
    let shown = estimate.show(Some("m"), Timestamp(1003)).unwrap();
    assert_eq!((shown.requests, shown.resets_at), (Some(0), Some(Timestamp(6000))));
    // The next window is as long as the longest reset that was said, and has the whole limit.
    (6000..6010).for_each(|at| send(&mut estimate, at));
    check(&estimate, 6020, Some(11_000));
    check(&estimate, 11_000, None);
    // After a minute nobody knows.
    check(&estimate, 70_000, None);
    let call = estimate.call(&CALL, Timestamp(6009));
    estimate.take_back(&call);
    check(&estimate, 6020, None);
}

#[test]
fn the_newest_word_by_when_its_call_began_counts() {
    let (old, new) = (said(1000, left(9, 10, 5000)), said(1500, left(0, 10, 4500)));
    for words in [[old, new], [new, old]] {
        check(&heard(&words), 1600, Some(6000));
    }
}

#[test]
fn a_429_that_asks_to_wait_leaves_nothing_until_then_or_until_a_call_comes_through() {
    let refused = Said { shut_until: Some(Timestamp(9000)), ..said(2000, None) };
    let mut estimate = heard(&[said(1000, left(5, 10, 60_000)), refused]);
    check(&estimate, 2001, Some(9000));
    check(&estimate, 9000, None);
    assert_eq!(estimate.show(None, Timestamp(3000)).unwrap().requests, Some(5), "what was known is kept");
    estimate.hear(&said(3000, left(4, 10, 58_000)));
    check(&estimate, 3001, None);
    let endless = Said { shut_until: Some(Timestamp(u64::MAX)), ..refused };
    check(&heard(&[endless]), 2001, Some(2000 + 3_600_000));
}

#[test]
fn a_bucket_is_told_from_a_window_by_its_end_and_refills_bit_by_bit() {
    // 60 a minute, one per second: full again one second later for every call.
    let bucket = heard(&[said(0, left(10, 60, 50_000)), said(1000, left(0, 60, 60_000))]);
    check(&bucket, 1100, Some(2000));
    check(&bucket, 2000, None);
    let window = heard(&[said(0, left(10, 60, 50_000)), said(1000, left(0, 60, 49_000))]);
    check(&window, 1100, Some(50_000));
    // Nothing was used, yet time went by: a window's end stays.
    let quiet = heard(&[said(0, left(0, 60, 50_000)), said(3000, left(0, 60, 47_000))]);
    check(&quiet, 3001, Some(50_000));
}

#[test]
fn a_word_without_a_reset_counts_for_a_few_seconds() {
    let none = Some(Left { remaining: 0, limit: None, reset_ms: None });
    let estimate = heard(&[said(1000, none)]);
    check(&estimate, 1001, Some(6000));
    check(&estimate, 6000, None);
}

#[test]
fn tokens_are_the_prompts_and_the_most_or_usual_of_the_answer() {
    let quota = Quota { tokens: left(1000, 10_000, 5000), ..Quota::default() };
    let mut estimate = heard(&[Said { quota, ..said(1000, None) }]);
    let full = |estimate: &Estimate, input, output| {
        estimate.full_until(&Need { model: None, input, output }, Timestamp(1001)).is_some()
    };
    assert!(!full(&estimate, 400, Some(600)) && full(&estimate, 401, Some(600)));
    assert!(!full(&estimate, 500, None) && full(&estimate, 501, None), "500 is usual");
    estimate.answered(100, Timestamp(1000));
    assert!(!full(&estimate, 900, None) && full(&estimate, 901, None), "as many as the last answer");
    let prompts =
        Quota { input_tokens: left(10, 100, 5000), output_tokens: left(7, 100, 5000), ..Quota::default() };
    let estimate = heard(&[Said { quota: prompts, ..said(1000, None) }]);
    assert!(!full(&estimate, 10, Some(7)) && full(&estimate, 11, Some(0)) && full(&estimate, 0, Some(8)));
    assert_eq!(estimate.show(None, Timestamp(1001)).unwrap().tokens, Some(7));
    // What is larger than the limit waits for all of it, and then the provider decides.
    let whole =
        heard(&[Said { quota: Quota { tokens: left(50, 50, 9), ..Quota::default() }, ..said(1000, None) }]);
    assert!(!full(&whole, 80, Some(0)));
}

/// Words of calls in one window of 10 that ends at 60 000.
fn words() -> impl Generator<Value = Vec<Said>> {
    prop::collection::btree_set(1..50_000u64, 1..10).prop_map(|times| {
        let word = |(used, at): (usize, u64)| said(at, left(9 - used as u64, 10, 60_000 - at));
        times.into_iter().enumerate().map(word).collect()
    })
}

proptest! {
    #[test]
    fn in_whatever_order_words_come_the_estimate_is_the_same(words in words(), mix: u64) {
        let mut mixed = words.clone();
        mixed.sort_by_key(|said| said.at.0.wrapping_mul(mix | 1));
        let (sorted, mixed) = (heard(&words), heard(&mixed));
        for now in [50_001, 59_999, 60_000, 61_000] {
            prop_assert_eq!(sorted.full_until(&CALL, Timestamp(now)), mixed.full_until(&CALL, Timestamp(now)));
        }
    }

    #[test]
    fn one_router_alone_never_sends_more_than_a_window_allows(
        limit in 1..20u64,
        pauses in prop::collection::vec(0..400u64, 1..200),
        late in 0..300u64,
    ) {
        // Windows of 2 s that begin at 0; a call is counted when it is sent, and its word comes `late`.
        let (mut estimate, mut now, mut used) = (Estimate::default(), 0, BTreeMap::new());
        let mut answers: VecDeque<(u64, Said)> = VecDeque::new();
        // The first call tells of the limit.
        used.insert(0, 1);
        estimate.hear(&said(0, left(limit - 1, limit, 2000)));
        for pause in pauses {
            now += pause + 1;
            while answers.front().is_some_and(|(due, _)| *due <= now) {
                let (due, mut word) = answers.pop_front().unwrap();
                word.at = Timestamp(due);
                let end = (word.started_at.0 / 2000 + 1) * 2000;
                word.quota.requests.as_mut().unwrap().reset_ms = Some(end - word.started_at.0);
                estimate.hear(&word);
            }
            match estimate.full_until(&CALL, Timestamp(now)) {
                Some(until) => prop_assert!(until > Timestamp(now)),
                None => {
                    send(&mut estimate, now);
                    let window = used.entry(now / 2000).or_insert(0);
                    *window += 1;
                    prop_assert!(*window <= limit, "{} of {} in a window", window, limit);
                    answers.push_back((now + late, said(now, left(limit - *window, limit, 0))));
                }
            }
        }
    }

    #[test]
    fn more_sent_never_leaves_more_room(
        remaining in 0..50u64, reset in 0..100_000u64, sent in prop::collection::vec(1000..60_000u64, 0..60),
        now in 1000..100_000u64, refills: bool,
    ) {
        let first = said(0, left(remaining + 20, 100, reset + 1000 * u64::from(!refills)));
        let fewer = heard(&[first, said(1000, left(remaining, 100, reset))]);
        let mut more = fewer.clone();
        sent.iter().for_each(|at| send(&mut more, *at));
        let at = |estimate: &Estimate| estimate.full_until(&CALL, Timestamp(now));
        prop_assert!(at(&more) >= at(&fewer), "{:?} {:?}", at(&fewer), at(&more));
    }

    #[test]
    fn nothing_said_by_a_provider_overflows(words in prop::collection::vec(
        (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<Option<u64>>()), 0..6), now: u64, input: u64)
    {
        let word = |(at, remaining, limit, reset, shut): (u64, u64, u64, u64, Option<u64>)| {
            Said { shut_until: shut.map(Timestamp), ..said(at, left(remaining, limit, reset)) }
        };
        let mut estimate = heard(&words.into_iter().map(word).collect::<Vec<_>>());
        send(&mut estimate, now);
        let need = Need { model: None, input, output: Some(input) };
        prop_assert!(estimate.full_until(&need, Timestamp(now)).is_none_or(|until| until.0 > now));
        estimate.show(None, Timestamp(now));
    }
}
