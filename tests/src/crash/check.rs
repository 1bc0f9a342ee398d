//! The invariants: nothing accepted is lost, nothing is answered twice, and both sides' books agree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::{Attempt, ErrorClass, Event, Outcome, RequestId, Timestamp, event::Kind, next, outcome};

use super::cluster::{Fault, Part};
use super::load::{Seen, Sent};
use crate::harness::mock::Row;

pub mod ledger;
#[cfg(test)]
mod tests;

/// Everything that is known about the requests of one run.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// What was asked.
    pub sent: Vec<Sent>,
    /// What was reported, repeated reports included.
    pub events: Vec<Event>,
    /// How requests ended, by id.
    pub outcomes: BTreeMap<String, Outcome>,
    /// Subjects of compare-and-set records.
    pub claims: BTreeSet<String>,
    /// What the provider would charge.
    pub rows: Vec<Row>,
    /// What was done to processes.
    pub faults: Vec<Fault>,
    /// Work that did not end: messages by stream.
    pub left: BTreeMap<String, u64>,
    /// Messages that were put aside.
    pub dead: Vec<String>,
    /// What the ledger says, if there is one.
    pub ledger: Option<ledger::Ledger>,
}

/// Clocks are read at different moments.
const SLACK: Duration = Duration::from_millis(100);
/// A connection that broke may be noticed a little later, and a new process needs a moment.
const AFTERMATH: Duration = Duration::from_secs(2);

/// All that is wrong, one line each.
pub fn violations(books: &Books) -> Vec<String> {
    let mut wrong = Vec::new();
    for (stream, messages) in &books.left {
        wrong.push(format!("{stream} still holds {messages} messages"));
    }
    for dead in &books.dead {
        wrong.push(format!("a message was put aside: {dead}"));
    }
    let events = once(books, &mut wrong);
    endings(books, &events, &mut wrong);
    plans(books, &events, &mut wrong);
    bill(books, &events, &mut wrong);
    if let Some(kept) = &books.ledger {
        ledger::compare(kept, books, &events, &mut wrong);
    }
    for event in events.values().filter(|e| is_lost(e)) {
        losses(books, event, &mut wrong);
    }
    for sent in &books.sent {
        client(books, sent, &mut wrong);
    }
    wrong
}

/// Events by id. A repeated report must say the same.
fn once<'a>(books: &'a Books, wrong: &mut Vec<String>) -> BTreeMap<&'a str, &'a Event> {
    let mut events: BTreeMap<&str, &Event> = BTreeMap::new();
    for event in &books.events {
        let Some(first) = events.get(event.id.as_str()) else {
            events.insert(&event.id, event);
            continue;
        };
        if gist(first) != gist(event) {
            wrong.push(format!(
                "{} was reported twice, differently: {:?} and {:?}",
                event.id,
                gist(first),
                gist(event)
            ));
        }
    }
    events
}

/// What a report says. When a loss was found out is a matter of who found it out.
fn gist(event: &Event) -> (Kind, Option<Attempt>, bool, Option<outcome::Kind>, Option<u16>) {
    let found_out = |mut attempt: Attempt| {
        if attempt.error == Some(ErrorClass::Lost) {
            attempt.finished_at = attempt.started_at;
        }
        attempt
    };
    (event.kind, event.attempt.clone().map(found_out), event.last, event.outcome, event.status)
}

/// Every accepted request, and every one that left a trace, ends exactly once.
fn endings(books: &Books, events: &BTreeMap<&str, &Event>, wrong: &mut Vec<String>) {
    let accepted = books.sent.iter().filter(|s| s.accepted).map(|s| s.id.as_str());
    let reported = events.values().map(|e| e.request.as_str());
    let known: BTreeSet<&str> =
        accepted.chain(reported).chain(books.outcomes.keys().map(String::as_str)).collect();
    let mut finals: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events.values().filter(|e| e.last) {
        finals.entry(event.request.as_str()).or_default().push(event);
    }
    for id in known {
        let ends = finals.get(id).map_or(&[][..], Vec::as_slice);
        let outcome = books.outcomes.get(id);
        match (outcome, ends) {
            (None, _) => {
                wrong.push(format!("{id} was accepted and has no outcome ({} final events)", ends.len()))
            }
            (Some(_), []) => wrong.push(format!("{id} has an outcome but no final event")),
            (Some(outcome), [end]) => {
                if (end.outcome, end.status) != (Some(outcome.kind), Some(outcome.status)) {
                    let told = (end.outcome, end.status);
                    wrong.push(format!(
                        "{id} ended as {:?} {} but was reported as {told:?}",
                        outcome.kind, outcome.status
                    ));
                }
            }
            (Some(_), ends) => {
                let ids: Vec<&str> = ends.iter().map(|e| e.id.as_str()).collect();
                wrong.push(format!("{id} has {} final events: {}", ends.len(), ids.join(", ")));
            }
        }
    }
}

/// Attempts stay within the plan; the answer is the one that the plan leads to.
fn plans(books: &Books, events: &BTreeMap<&str, &Event>, wrong: &mut Vec<String>) {
    for sent in &books.sent {
        let attempts =
            events.values().filter(|e| e.request.as_str() == sent.id && e.kind == Kind::AttemptFinished);
        let attempts: Vec<_> = attempts.filter_map(|e| e.attempt.as_ref()).collect();
        let ours = attempts.iter().filter(|a| a.error.is_some_and(ErrorClass::is_our_fault)).count();
        if attempts.len() > sent.shape.most + ours {
            let (count, most) = (attempts.len(), sent.shape.most);
            wrong.push(format!(
                "{} took {count} attempts; the plan allows {most} and {ours} were our fault",
                sent.id
            ));
        }
        let Some(outcome) = books.outcomes.get(&sent.id) else { continue };
        let numbers: BTreeSet<u32> = outcome.attempts.iter().map(|a| a.number).collect();
        if numbers.len() != outcome.attempts.len() {
            wrong.push(format!("{} used an attempt number twice: {:?}", sent.id, outcome.attempts));
        }
        for number in numbers.iter().filter(|n| !attempts.iter().any(|a| a.number == **n)) {
            wrong.push(format!("attempt {}.{number} was never reported", sent.id));
        }
        let excused = ours > next::MOST_LOST || was_abandoned(sent);
        if outcome.status != sent.shape.status && !excused {
            let (kind, status) = (outcome.kind, outcome.status);
            wrong.push(format!(
                "{} ({}) ended as {kind:?} {status}: {:?}",
                sent.id, sent.shape.name, outcome.attempts
            ));
        }
    }
}

/// A client that went away has its request cancelled.
fn was_abandoned(sent: &Sent) -> bool {
    sent.seen.as_ref().is_some_and(|seen| !matches!(seen, Seen::Answer(status) if *status < 500))
}

/// Row by row: what the provider was asked is what was reported, no more and no less.
fn bill(books: &Books, events: &BTreeMap<&str, &Event>, wrong: &mut Vec<String>) {
    let mut rows: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for row in &books.rows {
        match &row.attempt_id {
            Some(id) => rows.entry(id).or_default().push(row),
            None => wrong.push(format!("the provider was called without an attempt id: {row:?}")),
        }
    }
    let finished = events.values().filter(|e| e.kind == Kind::AttemptFinished);
    let attempts: BTreeMap<String, _> =
        finished.filter_map(|e| Some((e.attempt_id.as_ref()?.to_string(), e.attempt.as_ref()?))).collect();
    for (id, rows) in &rows {
        if rows.len() > 1 {
            wrong.push(format!("the provider was called {} times for attempt {id}", rows.len()));
        }
        if !attempts.contains_key(*id) {
            wrong.push(format!("the provider bills attempt {id}, which was never reported"));
        }
    }
    for (id, attempt) in &attempts {
        let row = rows.get(id.as_str()).and_then(|rows| rows.first());
        match (calls(attempt), row) {
            (Calls::Never, Some(row)) => {
                wrong.push(format!("attempt {id} made no call, yet there is {row:?}"))
            }
            (Calls::Once, None) => wrong.push(format!("attempt {id} is not on the bill: {attempt:?}")),
            (Calls::Once, Some(row)) => {
                if row.status != attempt.status {
                    wrong.push(format!("attempt {id} saw status {:?}, billed is {row:?}", attempt.status));
                }
                let usage = attempt.usage.map(|u| (u.input, u.output));
                if attempt.is_success() && usage != Some((row.input_tokens, row.output_tokens)) {
                    wrong.push(format!("attempt {id} reports tokens {usage:?}, billed is {row:?}"));
                }
            }
            (Calls::Never | Calls::Perhaps, _) => {}
        }
    }
}

/// How often an attempt has called its provider, as far as its report tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    Never,
    Perhaps,
    Once,
}

fn calls(attempt: &domain::Attempt) -> Calls {
    if attempt.duplicate_possible {
        return Calls::Perhaps;
    }
    match attempt.error {
        Some(ErrorClass::QueueFull | ErrorClass::Misconfigured | ErrorClass::Unreachable) => Calls::Never,
        // Given up by us, at whatever moment.
        Some(ErrorClass::Cancelled | ErrorClass::Deadline | ErrorClass::Timeout | ErrorClass::Shutdown) => {
            Calls::Perhaps
        }
        _ => Calls::Once,
    }
}

fn is_lost(event: &Event) -> bool {
    event.attempt.as_ref().is_some_and(|a| a.duplicate_possible || a.error == Some(ErrorClass::Lost))
}

/// An attempt is given up only if it was begun and its worker, or the broker, was hit meanwhile.
fn losses(books: &Books, event: &Event, wrong: &mut Vec<String>) {
    let Some(attempt) = &event.attempt else { return };
    let (request, number) = (&event.request, attempt.number);
    if !attempt.duplicate_possible || attempt.error != Some(ErrorClass::Lost) {
        wrong
            .push(format!("{request}.{number} is lost without being flagged, or flagged without being lost"));
    }
    if !books.claims.contains(&claim(request, number)) {
        wrong.push(format!("{request}.{number} is flagged as a possible duplicate but was never claimed"));
    }
    let (from, to) =
        (Timestamp(attempt.started_at.0.saturating_sub(SLACK.as_millis() as u64)), attempt.finished_at);
    let guilty = |fault: &Fault| match fault.part {
        Part::Worker(_) if !fault.paused => (from..=to).contains(&fault.from),
        Part::Worker(_) | Part::Broker => overlaps(fault, from, to, Duration::ZERO),
        Part::Shim | Part::Router(_) | Part::Admin(_) | Part::Ledger => false,
    };
    if !books.faults.iter().any(guilty) {
        wrong.push(format!(
            "{request}.{number} was given up between {from:?} and {to:?}, when nothing was hit"
        ));
    }
}

fn claim(request: &RequestId, number: u32) -> String {
    bus::subject::claim(request, number)
}

fn overlaps(fault: &Fault, from: Timestamp, to: Timestamp, aftermath: Duration) -> bool {
    fault.from <= to && fault.to.is_none_or(|end| end.plus(aftermath) >= from)
}

/// A client gets an answer, or an error that has a cause; never silence.
fn client(books: &Books, sent: &Sent, wrong: &mut Vec<String>) {
    let hit = |shim_only: bool| {
        let counts = |f: &&Fault| !shim_only || f.part == Part::Shim;
        books.faults.iter().filter(counts).any(|f| overlaps(f, sent.from, sent.to, AFTERMATH))
    };
    let fine = match &sent.seen {
        None => sent.accepted,
        Some(Seen::Answer(status)) => *status == sent.shape.status || (*status >= 500 && hit(false)),
        Some(Seen::ErrorEvent) => hit(false),
        Some(Seen::Disconnected(_) | Seen::CutShort) => hit(true),
        Some(Seen::Silence) => false,
    };
    if !fine {
        let (id, name, seen) = (&sent.id, sent.shape.name, &sent.seen);
        wrong.push(format!("{id} ({name}), {:?} to {:?}: its client saw {seen:?}", sent.from, sent.to));
    }
}
