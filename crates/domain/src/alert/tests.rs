//! Alerts, by table and by law.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::event::{Crossed, Level};
use crate::model::NanoUsd;

const START: u64 = 1_800_000_000_000;

fn at(seconds: u64) -> Timestamp {
    Timestamp(START + seconds * 1000)
}

fn workspace() -> Workspace {
    Workspace::default()
}

fn rule(condition: Condition) -> Rule {
    let timing = Timing { hold: Duration::from_secs(30), remind: None };
    Rule { condition: condition.clone(), timing, ..Rule::default_of(condition.kind()) }
}

fn book(rules: &[Rule]) -> Book {
    let mut book = Book::default();
    assert!(book.adopt(rules, at(0)).is_empty());
    book
}

fn ended(failed: bool, total_ms: u64) -> Observation {
    Observation::Ended { workspace: workspace(), failed, total_ms: Some(total_ms) }
}

fn crossed(level: Level, resets_at: Option<Timestamp>) -> Observation {
    let crossed = Crossed {
        limit: "apikey.ab12.budget".to_owned(),
        bucket: String::new(),
        level,
        unit: "cost".to_owned(),
        used: 4_000_000_000,
        cap: 5_000_000_000,
        resets_at,
        emails: vec!["ann@example.com".to_owned()],
    };
    Observation::Crossed { workspace: workspace(), crossed }
}

/// Feeds a book: `Some` is what happens at that second, `None` a look at the clock. Says what was said, as
/// `second change summary`.
fn feed(book: &mut Book, happenings: &[(u64, Option<Observation>)]) -> Vec<String> {
    let mut said = Vec::new();
    for (second, happening) in happenings {
        let notices = match happening {
            Some(observation) => book.observe(observation, at(*second)),
            None => book.tick(&Levels::default(), at(*second)),
        };
        said.extend(notices.into_iter().map(|n| format!("{second} {} {}", n.change, n.summary)));
    }
    said
}

const ERRORS: Condition = Condition::ErrorRate { window: Duration::from_secs(100), percent: 50, minimum: 4 };

#[test]
fn failures_raise_one_alert_and_their_end_ends_it() {
    let mut book = book(&[rule(ERRORS)]);
    let mut happenings: Vec<_> = (1..=3).map(|s| (s, Some(ended(true, 5)))).collect();
    happenings.extend([
        (4, None),
        (5, Some(ended(true, 5))),
        (6, None),
        (7, Some(ended(true, 5))),
        (8, None),
    ]);
    // Only what is older than the window is forgotten; then it has to stay good for 30 s.
    happenings.extend([(60, None), (120, None), (140, None), (150, None), (400, None)]);
    assert_eq!(
        feed(&mut book, &happenings),
        [
            "6 raised default: 4 of 4 requests failed within 100s (100 %)",
            "150 recovered over: default: 0 of 0 requests failed within 100s (0 %)"
        ]
    );
}

#[test]
fn few_requests_and_callers_mistakes_raise_nothing() {
    let mut book = book(&[rule(ERRORS)]);
    let fine: Vec<_> = (1..40).map(|s| (s, Some(ended(s % 3 == 0, 5)))).collect();
    assert_eq!(feed(&mut book, &fine), [""; 0]);
    let mut book = Book::default();
    book.adopt(&[rule(ERRORS)], at(0));
    assert_eq!(feed(&mut book, &[(1, Some(ended(true, 5))), (2, Some(ended(true, 5))), (3, None)]), [""; 0]);
}

#[test]
fn rules_of_a_workspace_do_not_hear_of_others() {
    let acme = Workspace::parse("acme").unwrap();
    let mut book = book(&[Rule { workspaces: vec![acme.clone()], ..rule(ERRORS) }]);
    let others: Vec<_> = (1..9).map(|s| (s, Some(ended(true, 5)))).collect();
    assert_eq!(feed(&mut book, &others), [""; 0]);
    let ours = Observation::Ended { workspace: acme, failed: true, total_ms: None };
    let ours: Vec<_> = (10..16).map(|s| (s, Some(ours.clone()))).collect();
    assert_eq!(feed(&mut book, &ours).len(), 1);
}

#[test]
fn slow_answers_raise_an_alert() {
    let window = Duration::from_secs(100);
    let mut book = book(&[rule(Condition::Latency { window, p95: Duration::from_secs(1), minimum: 10 })]);
    let answers: Vec<_> =
        (1..=20).map(|s| (s, Some(ended(false, if s < 19 { 100 } else { 3000 })))).collect();
    let mut said = feed(&mut book, &answers);
    said.extend(feed(&mut book, &[(21, None), (90, None), (300, None), (340, None)]));
    assert_eq!(
        said,
        [
            "20 raised default: one in twenty of 19 answers took 3071ms or more within 100s",
            "340 recovered over: default: one in twenty of 0 answers took 0ms or more within 100s",
        ]
    );
}

const SPEND: Condition =
    Condition::Spend { window: Duration::from_secs(100), multiple: 3, minimum: NanoUsd(500), baseline: 5 };

fn spent(cost: u64) -> Observation {
    Observation::Spent { workspace: workspace(), cost: NanoUsd(cost) }
}

#[test]
fn spending_is_compared_with_what_is_usual() {
    let mut usual: Vec<_> = (0..60).map(|n| (n * 10, Some(spent(20)))).collect();
    let mut calm = book(&[rule(SPEND)]);
    assert_eq!(feed(&mut calm, &usual), [""; 0]);
    // 20 per 10 s are 200 per window; 700 within one are more than three times as much.
    usual.extend([(601, Some(spent(700))), (603, None)]);
    let mut book = book(&[rule(SPEND)]);
    let said = feed(&mut book, &usual);
    // Of the window's four parts the last has just begun: 75 s of the usual, and the rest.
    assert_eq!(
        said,
        ["603 raised default: 0.000000840 USD were spent within 100s, where 0.000000200 USD are usual"]
    );
}

#[test]
fn spending_without_a_history_is_not_unusual() {
    let mut fresh = book(&[rule(SPEND)]);
    assert_eq!(feed(&mut fresh, &[(1, Some(spent(1 << 40))), (3, None), (90, None)]), [""; 0]);
    let mut small = book(&[rule(SPEND)]);
    let mut cheap: Vec<_> = (0..60).map(|n| (n * 10, Some(spent(1)))).collect();
    cheap.extend([(601, Some(spent(480))), (603, None)]);
    assert_eq!(feed(&mut small, &cheap), [""; 0], "below the minimum");
}

#[test]
fn a_limit_is_said_once_for_each_window_and_level() {
    let mut book = book(&[Rule::default_of(Kind::Budget)]);
    let end = Some(at(100));
    let next = Some(at(200));
    let said = feed(
        &mut book,
        &[
            (1, Some(crossed(Level::Threshold, end))),
            (2, Some(crossed(Level::Threshold, end))),
            (3, Some(crossed(Level::Exhausted, end))),
            (4, Some(crossed(Level::Threshold, end))),
            (5, None),
            (100, None),
            (101, Some(crossed(Level::Exhausted, end))),
            (102, Some(crossed(Level::Threshold, next))),
            (103, None),
        ],
    );
    let starts: Vec<&str> = said.iter().map(|line| line.split(" limit").next().unwrap()).collect();
    assert_eq!(starts, ["1 raised", "3 raised", "100 recovered over:", "102 raised"], "{said:?}");
    assert!(said[0].ends_with("used up to its threshold: 4.000000000 USD of 5.000000000 USD"), "{said:?}");
}

#[test]
fn a_limit_names_its_people_and_an_exhausted_one_is_an_error() {
    let mut book = book(&[Rule::default_of(Kind::Budget)]);
    let notices = book.observe(&crossed(Level::Exhausted, None), at(1));
    assert_eq!(notices[0].emails, ["ann@example.com"]);
    assert_eq!(notices[0].severity, Severity::Error);
    assert_eq!(notices[0].subject, "default/apikey.ab12.budget");
    // Nothing ends it, and after a month it is forgotten without a word.
    assert!(book.tick(&Levels::default(), at(86_400)).is_empty());
    assert_eq!(book.firing()["budget"], 1);
    assert!(book.tick(&Levels::default(), at(31 * 86_400)).is_empty());
    assert_eq!(book.firing()["budget"], 0);
}

fn levels(open: bool, age: u64, dead_letters: u64) -> Levels {
    let open = open.then(|| "server_error".to_owned());
    let breakers = vec![Breaker { target: "default/bad".to_owned(), open }];
    let age = Duration::from_secs(age);
    Levels {
        breakers,
        queues: vec![Queue { stream: "LLM_REQUEST".to_owned(), age, messages: 2 }],
        dead_letters,
    }
}

#[test]
fn levels_raise_alerts_and_end_them() {
    let queue = Condition::QueueAge { age: Duration::from_secs(60) };
    let dead = Condition::DeadLetters { window: Duration::from_secs(100), count: 1 };
    let mut book = book(&[rule(Condition::Breaker), rule(queue), rule(dead)]);
    let mut said = Vec::new();
    for (second, levels) in [
        (1, levels(false, 0, 7)),
        (2, levels(true, 61, 7)),
        (10, levels(false, 59, 9)),
        (20, levels(true, 61, 9)),
        (30, levels(false, 0, 9)),
        (60, levels(false, 0, 9)),
        (200, Levels { dead_letters: 9, ..Levels::default() }),
        (230, Levels { dead_letters: 9, ..Levels::default() }),
    ] {
        said.extend(
            book.tick(&levels, at(second))
                .into_iter()
                .map(|n| format!("{second} {} {}", n.change, n.summary)),
        );
    }
    assert_eq!(
        said,
        [
            "2 raised target default/bad: its circuit is open",
            "2 raised stream LLM_REQUEST: the oldest of 2 messages is 61s old",
            "10 raised gateway: 2 messages were put aside within 100s",
            "60 recovered over: target default/bad: its circuit is closed",
            "60 recovered over: stream LLM_REQUEST: the oldest of 2 messages is 0ms old",
            "230 recovered over: gateway: 0 messages were put aside within 100s",
        ]
    );
}

#[test]
fn alerts_of_rules_that_are_gone_are_over() {
    let mut book = book(&[rule(Condition::Breaker)]);
    assert_eq!(book.tick(&levels(true, 0, 0), at(1)).len(), 1);
    assert!(book.adopt(&[rule(Condition::Breaker)], at(2)).is_empty(), "it is still there");
    assert!(book.tick(&levels(true, 0, 0), at(3)).is_empty(), "and is not said again");
    let over = book.adopt(&[rule(ERRORS)], at(4));
    assert_eq!((over.len(), over[0].change), (1, Change::Recovered));
}

#[test]
fn an_alert_is_said_again_after_its_time() {
    let timing = Timing { hold: Duration::ZERO, remind: Some(Duration::from_secs(60)) };
    let mut book = book(&[Rule { timing, ..rule(Condition::Breaker) }]);
    let times: Vec<(u64, Change)> = (0..200)
        .flat_map(|s| book.tick(&levels(s < 150, 0, 0), at(s)).into_iter().map(move |n| (s, n.change)))
        .collect();
    assert_eq!(
        times,
        [(0, Change::Raised), (60, Change::Reminded), (120, Change::Reminded), (150, Change::Recovered)]
    );
}

#[test]
fn subjects_are_bounded_and_those_with_an_alert_stay() {
    let mut book = book(&[rule(ERRORS)]);
    for n in 0..MOST_SUBJECTS + 100 {
        let workspace = Workspace::parse(&format!("w{n}")).unwrap();
        for _ in 0..4 {
            book.observe(
                &Observation::Ended { workspace: workspace.clone(), failed: n == 0, total_ms: None },
                at(1),
            );
        }
        if n == 0 {
            assert_eq!(book.tick(&Levels::default(), at(1)).len(), 1);
        }
    }
    assert_eq!(book.firing()["error-rate"], 1);
    let size = serde_json::to_string(&book).unwrap().len();
    assert!(size < 100_000, "{size}");
    book.shrink();
    assert_eq!(book.firing()["error-rate"], 1);
    assert!(serde_json::to_string(&book).unwrap().len() < size * 2 / 3);
}

fn notice() -> Notice {
    Notice { change: Change::Raised, ..Notice::test(Vec::new(), at(0), 1) }
}

fn letter(attempt: u32, first: Option<u64>) -> Letter {
    Letter {
        notice: notice(),
        channel: "ops".to_owned(),
        only_emails: false,
        attempt,
        first_at: first.map(at),
    }
}

fn failed(retry_after: Option<u64>) -> Answer {
    Answer::Failed { said: "HTTP 503".to_owned(), retry_after: retry_after.map(Duration::from_secs) }
}

#[test]
fn letters_are_offered_again_until_their_time_is_over() {
    let patience = Duration::from_secs(86_400);
    let again = |seconds| Next::Again { after: Duration::from_secs(seconds) };
    for (letter, answer, now, expected) in [
        (letter(1, None), Answer::Taken("HTTP 204".to_owned()), 0, Next::Done),
        (letter(1, None), failed(None), 0, again(2)),
        (letter(5, Some(0)), failed(None), 40, again(32)),
        (letter(5, Some(0)), failed(Some(90)), 40, again(90)),
        (letter(5, Some(0)), failed(Some(1)), 40, again(32)),
        (letter(60, Some(0)), failed(None), 50_000, again(600)),
        (letter(1, None), Answer::Refused("HTTP 410".to_owned()), 0, Next::GiveUp("HTTP 410".to_owned())),
        (letter(98, Some(0)), failed(Some(1 << 30)), 86_000, again(400)),
        (
            letter(99, Some(0)),
            failed(None),
            86_400,
            Next::GiveUp("not taken within 1d (99 tries), at last: HTTP 503".to_owned()),
        ),
    ] {
        assert_eq!(next(&letter, &answer, patience, at(now)), expected, "{letter:?}");
    }
    let test = Letter { notice: Notice::test(Vec::new(), at(0), 1), ..letter(1, None) };
    assert_eq!(next(&test, &failed(None), patience, at(0)), Next::GiveUp("HTTP 503".to_owned()));
}

#[test]
fn letters_go_to_the_rules_channels_and_to_the_limits_people_once() {
    let channels = [("hook", false), ("mail-a", true), ("mail-b", true)].map(|(n, m)| (n.to_owned(), m));
    let to = |only: &[&str], emails: &[&str]| {
        let strings = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        let notice = Notice { channels: strings(only), emails: strings(emails), ..notice() };
        let shown = |l: Letter| format!("{} {} {}", l.channel, l.only_emails, l.notice.emails.join(","));
        Letter::of(&notice, &channels).into_iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(to(&[], &[]), ["hook false ", "mail-a false ", "mail-b false "]);
    assert_eq!(to(&["hook"], &[]), ["hook false "]);
    assert_eq!(to(&["hook"], &["ann@x"]), ["hook false ann@x", "mail-a true ann@x"]);
    assert_eq!(to(&[], &["ann@x"]), ["hook false ann@x", "mail-a false ann@x", "mail-b false "]);
    assert_eq!(to(&["gone"], &[]), [""; 0]);
}

fn verdicts() -> impl Strategy<Value = Vec<(Verdict, u64)>> {
    let verdict = prop_oneof![Just(Verdict::Bad), Just(Verdict::Between), Just(Verdict::Good)];
    prop::collection::vec((verdict, 0..40_u64), 0..200)
}

proptest! {
    #[test]
    fn raised_and_recovered_take_turns(verdicts in verdicts(), hold in 0..60_u64) {
        let timing = Timing { hold: Duration::from_secs(hold), remind: Some(Duration::from_secs(50)) };
        let (mut now, mut firing, mut open) = (0, None, false);
        for (verdict, wait) in verdicts {
            now += wait;
            let (next, change) = step(firing, verdict, timing, at(now));
            match change {
                Some(Change::Raised) => { prop_assert!(!open); open = true; }
                Some(Change::Recovered) => { prop_assert!(open && verdict == Verdict::Good); open = false; }
                Some(Change::Reminded) => prop_assert!(open),
                Some(Change::Test) | None => {}
            }
            firing = next;
            prop_assert_eq!(firing.is_some(), open);
        }
    }

    #[test]
    fn inside_the_band_nothing_is_said(waits in prop::collection::vec(0..1000_u64, 0..100), raised in any::<bool>()) {
        let timing = Timing { hold: Duration::ZERO, remind: None };
        let (mut firing, mut now) = (None, 0);
        if raised {
            firing = step(None, Verdict::Bad, timing, at(0)).0;
        }
        for wait in waits {
            now += wait;
            let (next, change) = step(firing, Verdict::Between, timing, at(now));
            prop_assert_eq!(change, None);
            firing = next;
        }
        prop_assert_eq!(firing.is_some(), raised);
    }

    #[test]
    fn a_restart_at_any_point_changes_nothing(
        happenings in prop::collection::vec((0..6_u8, any::<bool>(), 0..20_u64, 0..5000_u64), 0..150),
        restarts in prop::collection::vec(any::<bool>(), 150),
    ) {
        let rules: Vec<Rule> = [
            ERRORS,
            SPEND,
            Condition::Latency { window: Duration::from_secs(100), p95: Duration::from_secs(1), minimum: 3 },
            Condition::Breaker,
            Condition::QueueAge { age: Duration::from_secs(3) },
            Condition::DeadLetters { window: Duration::from_secs(50), count: 2 },
            Condition::Budget,
        ].map(rule).into();
        let (mut steady, mut restarted) = (book(&rules), book(&rules));
        let mut now = 0;
        for ((what, flag, wait, size), restart) in happenings.into_iter().zip(restarts) {
            now += wait;
            if restart {
                let text = serde_json::to_string(&restarted).unwrap();
                restarted = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(restarted.adopt(&rules, at(now)), []);
            }
            let happening = match what {
                0 => Some(ended(flag, size)),
                1 => Some(spent(size)),
                2 => Some(crossed(if flag { Level::Exhausted } else { Level::Threshold }, Some(at(now / 100 * 100 + 100)))),
                3 => Some(Observation::DeadLetter { workspace: workspace() }),
                _ => None,
            };
            let say = |book: &mut Book| match &happening {
                Some(observation) => book.observe(observation, at(now)),
                None => book.tick(&levels(flag, size / 500, now / 10), at(now)),
            };
            prop_assert_eq!(say(&mut steady), say(&mut restarted));
        }
        prop_assert_eq!(steady, restarted);
    }

    #[test]
    fn notices_of_one_alert_take_turns_whatever_happens(
        happenings in prop::collection::vec((any::<bool>(), 0..30_u64), 0..300),
    ) {
        let mut book = book(&[rule(ERRORS)]);
        let (mut now, mut changes, mut ids) = (0, Vec::new(), std::collections::BTreeSet::new());
        for (failed, wait) in happenings {
            now += wait;
            let said = book.observe(&ended(failed, 1), at(now));
            for notice in said.into_iter().chain(book.tick(&Levels::default(), at(now))) {
                prop_assert!(ids.insert(notice.id.clone()), "every notice has its own id");
                changes.push(notice.change);
            }
        }
        for (n, change) in changes.iter().enumerate() {
            prop_assert_eq!(*change, if n % 2 == 0 { Change::Raised } else { Change::Recovered });
        }
    }
}
