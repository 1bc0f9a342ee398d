//! Every invariant can be violated.

use domain::Lane;
use serde_json::{Value, json};

use super::super::shape::SHAPES;
use super::*;

fn attempt(number: u32, status: Option<u16>, error: Option<&str>) -> Value {
    let mut attempt = json!({
        "number": number, "path": "config", "provider": "double", "started_at": 1000, "finished_at": 3000,
    });
    if let Some(status) = status {
        attempt["status"] = status.into();
    }
    match error {
        None => attempt["usage"] = json!({ "input": 3, "output": 4 }),
        Some("lost") => {
            attempt["error"] = "lost".into();
            attempt["duplicate_possible"] = true.into();
        }
        Some(error) => attempt["error"] = error.into(),
    }
    attempt
}

fn event(number: u32, attempt: &Value, last: bool) -> Event {
    let mut event = json!({
        "v": 1, "id": format!("r-1.{number}.finished"), "kind": "attempt.finished", "at": 3000, "request": "r-1",
        "workspace": "default", "causation": "r-1", "operation": "chat", "lane": Lane::Normal.as_str(),
        "attempt_id": format!("r-1.{number}"), "attempt": attempt, "config": "x",
    });
    if last {
        event["final"] = true.into();
        event["outcome"] = "answered".into();
        event["status"] = 200.into();
    }
    serde_json::from_value(event).unwrap()
}

/// One request whose first attempt was lost when a worker was killed, and whose second one answered.
fn good() -> Books {
    let (lost, answered) = (attempt(1, None, Some("lost")), attempt(2, Some(200), None));
    let outcome: Outcome = serde_json::from_value(json!({
        "request": "r-1", "workspace": "default", "operation": "chat", "lane": "normal", "kind": "answered",
        "status": 200, "content_type": "application/json", "accepted_at": 900, "finished_at": 3000,
        "attempts": [lost, answered],
    }))
    .unwrap();
    let row = Row {
        attempt_id: Some("r-1.2".into()),
        model: "mock".into(),
        status: Some(200),
        input_tokens: 3,
        output_tokens: 4,
    };
    let sent = Sent {
        id: "r-1".into(),
        shape: SHAPES[0],
        from: Timestamp(900),
        to: Timestamp(950),
        accepted: true,
        offers: 1,
        seen: None,
    };
    Books {
        sent: vec![sent],
        events: vec![event(1, &lost, false), event(2, &answered, true)],
        outcomes: BTreeMap::from([("r-1".to_owned(), outcome)]),
        claims: BTreeSet::from([claim(&RequestId::parse("r-1").unwrap(), 1)]),
        rows: vec![row],
        faults: vec![Fault {
            part: Part::Worker(0),
            paused: false,
            from: Timestamp(1500),
            to: Some(Timestamp(2000)),
        }],
        left: BTreeMap::new(),
        dead: Vec::new(),
        ledger: None,
    }
}

#[test]
fn a_lost_attempt_that_was_replaced_is_in_order() {
    assert_eq!(violations(&good()), Vec::<String>::new());
    let mut repeated = good();
    repeated.events.push(repeated.events[1].clone());
    assert_eq!(violations(&repeated), Vec::<String>::new());
}

/// What is done to good books, and words of the line that must come of it.
#[track_caller]
fn check(spoil: impl Fn(&mut Books), words: &str) {
    let mut books = good();
    spoil(&mut books);
    let found = violations(&books);
    assert!(found.iter().any(|line| line.contains(words)), "expected `{words}` in {found:#?}");
}

#[test]
fn requests_without_one_ending_are_found() {
    check(|b| b.outcomes.clear(), "has no outcome");
    check(|b| b.events.truncate(1), "no final event");
    check(|b| b.events.push(event(3, &attempt(3, Some(200), None), true)), "2 final events");
    check(|b| b.events[1].status = Some(502), "but was reported as");
    check(
        |b| {
            b.events.clear();
            b.outcomes.clear();
            b.rows.clear();
        },
        "has no outcome",
    );
    check(|b| b.left = BTreeMap::from([("LLM_CALL".to_owned(), 2)]), "LLM_CALL still holds 2");
    check(|b| b.dead.push("llm".into()), "put aside");
}

#[test]
fn attempts_beyond_the_plan_are_found() {
    check(
        |b| b.events.push(event(3, &attempt(3, Some(500), Some("server_error")), false)),
        "the plan allows 1",
    );
    check(|b| b.outcomes.get_mut("r-1").unwrap().attempts[0].number = 2, "attempt number twice");
    check(|b| drop(b.events.remove(0)), "r-1.1 was never reported");
    check(|b| b.outcomes.get_mut("r-1").unwrap().status = 502, "ended as Answered 502");
}

#[test]
fn books_that_differ_are_found() {
    check(|b| b.rows.clear(), "r-1.2 is not on the bill");
    check(|b| b.rows.push(b.rows[0].clone()), "called 2 times");
    check(|b| b.rows[0].attempt_id = Some("r-1.7".into()), "bills attempt r-1.7");
    check(|b| b.rows[0].attempt_id = None, "without an attempt id");
    check(|b| b.rows[0].status = Some(500), "saw status Some(200)");
    check(|b| b.rows[0].output_tokens = 5, "reports tokens");
    check(
        |b| b.events.push(event(2, &attempt(2, None, Some("lost")), false)),
        "r-1.2.finished was reported twice, differently",
    );
    check(|b| b.events[1] = event(2, &attempt(2, Some(503), Some("queue_full")), true), "made no call");
}

#[test]
fn losses_without_a_cause_are_found() {
    check(|b| b.claims.clear(), "never claimed");
    check(|b| b.faults.clear(), "when nothing was hit");
    check(|b| b.faults[0].part = Part::Router(0), "when nothing was hit");
    check(|b| b.faults[0].from = Timestamp(3001), "when nothing was hit");
    check(|b| b.events[0].attempt.as_mut().unwrap().duplicate_possible = false, "without being flagged");
}

#[test]
fn clients_left_alone_are_found() {
    let seen = |seen: Seen| move |b: &mut Books| b.sent[0].seen = Some(seen.clone());
    check(seen(Seen::Silence), "saw Some(Silence)");
    check(seen(Seen::Answer(404)), "saw Some(Answer(404))");
    check(seen(Seen::CutShort), "saw Some(CutShort)");
    check(seen(Seen::Disconnected("reset".into())), "Disconnected");
    let quiet = |b: &mut Books| {
        b.faults.clear();
        b.sent[0].seen = Some(Seen::ErrorEvent);
    };
    check(quiet, "saw Some(ErrorEvent)");
    check(|b| b.sent[0].accepted = false, "saw None");
}
