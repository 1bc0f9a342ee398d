//! Answers put together from frames in any order, with gaps and repeats.

use std::collections::BTreeMap;

use domain::{Attempt, BodyRef, Lane, Operation, RequestId, Timestamp, Workspace};
use proptest::prelude::*;

use super::*;

fn head(attempt: u32) -> Head {
    Head {
        status: 200,
        content_type: "text/event-stream".to_owned(),
        headers: BTreeMap::new(),
        path: format!("config.targets[{attempt}]"),
        provider: "mock".to_owned(),
        retry_count: 0,
        cache: None,
    }
}

fn tried(number: u32) -> Attempt {
    Attempt {
        status: Some(200),
        ..Attempt::new(number, &format!("config.targets[{number}]"), "mock", Timestamp(1), Timestamp(2))
    }
}

/// The ending of a request whose last attempt was `last`.
fn outcome(kind: Kind, last: u32, size: usize) -> Box<Outcome> {
    Box::new(Outcome {
        request: RequestId::parse("r1").unwrap(),
        workspace: Workspace::default(),
        operation: Operation::Chat,
        lane: Lane::Interactive,
        model: None,
        config: String::new(),
        kind,
        status: 200,
        content_type: "text/event-stream".to_owned(),
        headers: BTreeMap::new(),
        truncated: false,
        path: None,
        provider: None,
        retry_count: 0,
        accepted_at: Timestamp(1),
        finished_at: Timestamp(2),
        attempts: (1..=last).map(tried).collect(),
        ended_by: None,
        asynchronous: false,
        kept: false,
        cache: None,
        ticket: None,
        body: BodyRef::Inline { size },
    })
}

fn answered(last: u32, size: usize) -> Box<Outcome> {
    outcome(Kind::Answered, last, size)
}

fn announce(attempt: u32) -> Frame {
    Frame::Head { attempt, head: head(attempt) }
}

fn chunk(attempt: u32, offset: u64, bytes: &'static str) -> Frame {
    Frame::Chunk { attempt, offset, bytes: Bytes::from_static(bytes.as_bytes()) }
}

fn end(attempt: u32, offset: u64, outcome: Box<Outcome>, bytes: &'static str) -> Frame {
    Frame::End { attempt, offset, outcome, bytes: Bytes::from_static(bytes.as_bytes()) }
}

/// Feeds frames; returns which attempt began, the bytes passed on, and the end.
fn feed(frames: impl IntoIterator<Item = Frame>) -> (Option<String>, String, Option<End>) {
    let mut assembly = Assembly::default();
    let (mut began, mut passed, mut ended) = (None, Vec::new(), None);
    for frame in frames {
        let Fed { head, bytes, end } = assembly.feed(frame);
        assert!(
            ended.is_none() || (head.is_none() && bytes.is_empty() && end.is_none()),
            "something after the end"
        );
        if let Some(head) = head {
            assert!(began.is_none() && passed.is_empty(), "the answer began twice or late");
            began = Some(head.path);
        }
        passed.extend_from_slice(&bytes);
        ended = ended.or(end);
    }
    (began, String::from_utf8(passed).unwrap(), ended)
}

#[track_caller]
fn check(frames: impl IntoIterator<Item = Frame>, passed: &str, ended: Option<End>) {
    let (began, bytes, end) = feed(frames);
    assert_eq!((bytes.as_str(), end), (passed, ended));
    assert_eq!(began.is_some(), !passed.is_empty());
}

#[test]
fn an_answer_in_one_piece_is_given_as_it_is() {
    let whole = End::Whole(answered(1, 2), Bytes::from_static(b"hi"));
    check([end(1, 0, answered(1, 2), "hi")], "", Some(whole));
    let whole = End::Whole(outcome(Kind::Expired, 0, 2), Bytes::from_static(b"{}"));
    check([end(0, 0, outcome(Kind::Expired, 0, 2), "{}")], "", Some(whole));
}

#[test]
fn pieces_are_passed_on_in_order_until_the_end() {
    let frames = [announce(1), chunk(1, 0, "ab"), chunk(1, 2, "cd"), end(1, 4, answered(1, 4), "")];
    check(frames, "abcd", Some(End::Done(answered(1, 4))));
    let frames = [announce(1), chunk(1, 0, "ab"), end(1, 2, answered(1, 4), "cd")];
    check(frames, "abcd", Some(End::Done(answered(1, 4))));
}

#[test]
fn repeated_pieces_are_passed_on_once() {
    let frames = [announce(1), chunk(1, 0, "ab"), announce(1), chunk(1, 0, "ab"), chunk(1, 1, "bcd")];
    check(frames, "abcd", None);
}

#[test]
fn a_hole_is_filled_from_the_store() {
    check([announce(1), chunk(1, 0, "ab"), chunk(1, 3, "d")], "ab", Some(End::Stored(None)));
    check([chunk(1, 0, "ab")], "", Some(End::Stored(None)));
    check([announce(1), chunk(1, 2, "cd")], "", Some(End::Stored(None)));
    let known = answered(1, 4);
    check(
        [announce(1), chunk(1, 0, "ab"), end(1, 4, known.clone(), "")],
        "ab",
        Some(End::Stored(Some(known))),
    );
    let known = answered(1, 4);
    check([end(1, 4, known.clone(), "")], "", Some(End::Stored(Some(known))));
}

#[test]
fn a_large_answer_is_announced_and_read_from_the_store() {
    let body = BodyRef::Stored { object: "r1.answer".to_owned(), size: 5_000_000 };
    let known = Box::new(Outcome { body, ..*answered(1, 0) });
    check([end(1, 0, known.clone(), "")], "", Some(End::Stored(Some(known))));
}

#[test]
fn before_the_first_byte_a_newer_attempt_takes_over() {
    let frames = [announce(1), announce(2), chunk(1, 0, "old"), chunk(2, 0, "new")];
    let (began, bytes, end) = feed(frames);
    assert_eq!((began.as_deref(), bytes.as_str(), end), (Some("config.targets[2]"), "new", None));
}

#[test]
fn an_attempt_that_was_replaced_has_no_say_any_more() {
    let late = [chunk(1, 0, "old"), end(1, 0, answered(1, 3), "old")];
    check([announce(2)].into_iter().chain(late.clone()), "", None);
    check([announce(2), chunk(2, 0, "new")].into_iter().chain(late), "new", None);
}

#[test]
fn after_the_first_byte_nothing_else_can_continue_the_answer() {
    let begun = [announce(1), chunk(1, 0, "ab")];
    let then = |frame: Frame| begun.clone().into_iter().chain([frame]);
    check(then(announce(2)), "ab", Some(End::Superseded));
    check(then(chunk(2, 2, "cd")), "ab", Some(End::Superseded));
    check(then(end(2, 0, answered(2, 4), "abcd")), "ab", Some(End::Foreign));
    check(then(end(0, 0, outcome(Kind::Expired, 1, 4), "gone")), "ab", Some(End::Foreign));
    check(then(end(0, 0, answered(1, 1), "a")), "ab", Some(End::Foreign));
}

#[test]
fn somebody_elses_word_ends_the_answer_if_it_is_the_same_answer() {
    let frames = [announce(1), chunk(1, 0, "ab"), end(0, 0, answered(1, 4), "abcd")];
    check(frames, "abcd", Some(End::Done(answered(1, 4))));
}

#[test]
fn an_answer_that_broke_off_is_complete_with_its_error_event() {
    let broken = Box::new(Outcome { truncated: true, ..*outcome(Kind::Cancelled, 1, 4) });
    let frames = [announce(1), chunk(1, 0, "ab"), chunk(1, 2, "!!"), end(1, 4, broken.clone(), "")];
    check(frames, "ab!!", Some(End::Done(broken)));
}

#[test]
fn the_store_continues_only_the_same_answer() {
    let mut assembly = Assembly::default();
    let body = Bytes::from_static(b"abcd");
    assert_eq!(assembly.rest(&outcome(Kind::Expired, 1, 4), &body), Rest::Whole);
    assembly.feed(announce(1));
    assembly.feed(chunk(1, 0, "ab"));
    assert_eq!(assembly.rest(&answered(1, 4), &body), Rest::Tail(Bytes::from_static(b"cd")));
    assert_eq!(assembly.rest(&answered(2, 4), &body), Rest::Foreign);
    assert_eq!(assembly.rest(&outcome(Kind::Expired, 1, 4), &body), Rest::Foreign);
    assert_eq!(assembly.rest(&answered(1, 1), &body.slice(..1)), Rest::Foreign);
}

/// The frames of one attempt: its body, cut at the given places, with the last bytes in the end frame or not.
fn frames_of(attempt: u32, body: &[u8], cuts: &[usize], at_end: bool) -> Vec<Frame> {
    let mut places: Vec<usize> =
        cuts.iter().map(|cut| cut % (body.len() + 1)).chain([0, body.len()]).collect();
    places.sort_unstable();
    places.dedup();
    let mut pieces: Vec<(u64, Bytes)> =
        places.windows(2).map(|w| (w[0] as u64, Bytes::copy_from_slice(&body[w[0]..w[1]]))).collect();
    let last = if at_end { pieces.pop() } else { None };
    let (offset, bytes) = last.unwrap_or((body.len() as u64, Bytes::new()));
    let chunks = pieces.into_iter().map(|(offset, bytes)| Frame::Chunk { attempt, offset, bytes });
    let end = Frame::End { attempt, offset, outcome: answered(attempt, body.len()), bytes };
    [announce(attempt)].into_iter().chain(chunks).chain([end]).collect()
}

/// Bytes that tell which attempt and which place they come from.
fn body_of(attempt: u32, size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from((at * 7 + attempt as usize * 101) % 251).unwrap()).collect()
}

fn attempts() -> impl Strategy<Value = Vec<Frame>> {
    let attempt = (0usize..40, proptest::collection::vec(0usize..64, 0..6), any::<bool>());
    proptest::collection::vec(attempt, 1..4).prop_map(|attempts| {
        let numbered = attempts.iter().zip(1u32..);
        numbered
            .flat_map(|((size, cuts, at_end), n)| frames_of(n, &body_of(n, *size), cuts, *at_end))
            .collect()
    })
}

/// Frames lost, repeated and shuffled.
fn disturbed() -> impl Strategy<Value = Vec<Frame>> {
    (attempts(), any::<bool>()).prop_flat_map(|(frames, shuffled)| {
        let copies = proptest::collection::vec(0usize..3, frames.len());
        let taken = copies.prop_map(move |copies| {
            let repeat = |(frame, n): (&Frame, usize)| std::iter::repeat_n(frame.clone(), n);
            frames.iter().zip(copies).flat_map(repeat).collect::<Vec<_>>()
        });
        if shuffled { taken.prop_shuffle().boxed() } else { taken.boxed() }
    })
}

proptest! {
    #[test]
    fn whatever_happens_to_frames_the_caller_gets_the_beginning_of_one_answer(frames in disturbed()) {
        let mut assembly = Assembly::default();
        let (mut began, mut passed): (Option<u32>, Vec<u8>) = (None, Vec::new());
        let mut over = false;
        for frame in frames {
            let Fed { head, bytes, end } = assembly.feed(frame);
            prop_assert!(!over || (head.is_none() && bytes.is_empty() && end.is_none()));
            if let Some(head) = head {
                prop_assert!(began.is_none());
                began = (1..4).find(|n| head == super::tests::head(*n));
            }
            prop_assert!(bytes.is_empty() || began.is_some());
            passed.extend_from_slice(&bytes);
            if let Some(attempt) = began {
                prop_assert!(body_of(attempt, 64).starts_with(&passed));
            }
            over |= end.is_some();
            match end {
                Some(End::Whole(outcome, body)) => {
                    let attempt = outcome.attempts.len() as u32;
                    prop_assert!(began.is_none());
                    prop_assert_eq!(body.to_vec(), body_of(attempt, outcome.body.size()));
                }
                Some(End::Done(outcome)) => {
                    prop_assert_eq!(began, Some(outcome.attempts.len() as u32));
                    prop_assert_eq!(passed.len(), outcome.body.size());
                }
                _ => {}
            }
        }
    }

    #[test]
    fn undisturbed_frames_give_the_whole_answer(size in 0usize..200, cuts in proptest::collection::vec(0usize..200, 0..9), at_end: bool) {
        let body = body_of(1, size);
        let mut assembly = Assembly::default();
        let mut passed = Vec::new();
        let mut last = None;
        for frame in frames_of(1, &body, &cuts, at_end) {
            let Fed { bytes, end, .. } = assembly.feed(frame);
            passed.extend_from_slice(&bytes);
            last = end;
        }
        match last {
            Some(End::Whole(_, whole)) => prop_assert_eq!(whole.to_vec(), body),
            Some(End::Done(_)) => prop_assert_eq!(passed, body),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
