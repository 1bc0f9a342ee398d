//! Events to book.

use domain::cache::{Status, Use};
use domain::event::{Decision, End, Kind, Reason};
use domain::model::NanoUsd;
use domain::{Attempt, AttemptId, ErrorClass, Event, RequestId, Timestamp, Usage, outcome};

/// Saturday, 2026-11-21, 21:00:00 UTC.
pub(super) const BEGIN: u64 = 1_795_294_800_000;

pub(super) fn usage(input: u64, output: u64) -> Usage {
    Usage { input, output, ..Usage::default() }
}

pub(super) fn attempt(number: u32, provider: &str, model: &str) -> Attempt {
    let begin = Timestamp(BEGIN + u64::from(number) * 1000);
    let base = Attempt::new(number, "config", provider, begin, Timestamp(begin.0 + 1000));
    Attempt { model: Some(model.to_owned()), ..base }
}

pub(super) fn good(number: u32, provider: &str, model: &str, usage: Usage, cost: Option<u64>) -> Attempt {
    let base = attempt(number, provider, model);
    let price = cost.map(|_| "v1".to_owned());
    Attempt { status: Some(200), usage: Some(usage), cost: cost.map(NanoUsd), price, ..base }
}

pub(super) fn failed(number: u32, provider: &str, model: &str, status: u16) -> Attempt {
    let error = Some(ErrorClass::of_status(status));
    Attempt { status: Some(status), error, ..attempt(number, provider, model) }
}

/// The event of an attempt, which may be the last one of its request.
pub(super) fn event(request: &str, attempt: &Attempt, last: bool) -> Event {
    let id = AttemptId::new(RequestId::parse(request).unwrap(), attempt.number);
    let outcome = if attempt.error.is_none() { outcome::Kind::Answered } else { outcome::Kind::Refused };
    let end = End { outcome, status: attempt.status.unwrap_or(502) };
    let event = bare(request, Kind::AttemptFinished, &format!("{id}.finished"), attempt.finished_at);
    let event = Event { attempt_id: Some(id), attempt: Some(attempt.clone()), ..event };
    if last { ended(event, end, attempt.number) } else { event }
}

/// A request that was answered from our cache.
pub(super) fn hit(request: &str, saved: Option<u64>, at: u64) -> Event {
    let event = bare(request, Kind::RequestFinished, &format!("{request}.finished"), Timestamp(at));
    let cache = Use {
        status: Status::Hit,
        entry: Some(RequestId::choose("before").unwrap()),
        score: None,
        age_ms: Some(1_000),
        provider: "openai".to_owned(),
        model: Some("gpt-4o".to_owned()),
        usage: usage(100, 10),
        saved: saved.map(NanoUsd),
        shared: false,
        shadow: None,
        offered: false,
    };
    let end = End { outcome: outcome::Kind::Answered, status: 200 };
    ended(Event { cache: Some(cache), ..event }, end, 0)
}

/// A request that was refused before any attempt.
pub(super) fn refused(request: &str, at: u64) -> Event {
    let event = bare(request, Kind::RequestFinished, &format!("{request}.finished"), Timestamp(at));
    ended(event, End { outcome: outcome::Kind::Refused, status: 429 }, 0)
}

fn ended(event: Event, end: End, attempts: u32) -> Event {
    let decision =
        |attempt| Decision { attempt, path: "config".to_owned(), reason: Reason::First, why: Vec::new() };
    Event {
        last: true,
        outcome: Some(end.outcome),
        status: Some(end.status),
        total_ms: Some(1000 * u64::from(attempts)),
        decisions: (1..=attempts).map(decision).collect(),
        ..event
    }
}

fn bare(request: &str, kind: Kind, id: &str, at: Timestamp) -> Event {
    let request = RequestId::parse(request).unwrap();
    let event = serde_json::json!({
        "v": domain::event::VERSION,
        "id": id,
        "kind": kind,
        "at": at,
        "request": request,
        "workspace": request.workspace(),
        "causation": request,
        "operation": "chat",
        "lane": "interactive",
        "key": "key-1",
        "user": "ann",
        "config": "pc-main@3",
        "metadata": r#"{"team":"blue","tier":2,"note":"a\u0000b"}"#,
    });
    serde_json::from_value(event).unwrap()
}
