//! Drives the route decision with made-up attempts on a made-up clock.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::config::Target;
use domain::event::decisions;
use domain::next::{self, Next, OnLost, Refusal, View};
use domain::{Attempt, Config, Timestamp};

use super::outcomes::Outcome;
use super::reason;

/// What was decided, in order, and how it ended.
#[derive(Debug)]
pub(super) struct Run<'c> {
    pub(super) steps: Vec<Step<'c>>,
    pub(super) end: End,
    /// Headers that the answer would carry.
    pub(super) headers: BTreeMap<&'static str, String>,
    pub(super) took: Duration,
}

#[derive(Debug)]
pub(super) enum Step<'c> {
    Call { attempt: Attempt, target: &'c Target, after: Duration, why: String },
    Park { after: Duration },
}

#[derive(Debug, PartialEq)]
pub(super) enum End {
    Answer {
        attempt: u32,
        status: u16,
    },
    GiveUp {
        why: &'static str,
    },
    /// There is no outcome left for the next call.
    Open {
        path: String,
        after: Duration,
    },
}

/// Plays the outcomes one after the other. The clock starts at 0 and moves by waits and by the time that attempts take.
pub(super) fn run<'c>(config: &'c Config, outcomes: &[Outcome], seed: u64, timeout: Duration) -> Run<'c> {
    let mut outcomes = outcomes.iter().cloned();
    let mut steps = Vec::new();
    let mut attempts: Vec<Attempt> = Vec::new();
    let deadline = Timestamp(0).plus(timeout);
    let (mut now, mut number) = (Timestamp(0), 0);
    let end = loop {
        let view = View { now, deadline, seed, cancelled: false, on_lost: OnLost::default() };
        match next::next(config, &attempts, &view) {
            Next::Call { target, after } => {
                let Some(outcome) = outcomes.next() else {
                    break End::Open { path: target.path.clone(), after };
                };
                number += 1;
                let attempt = attempt(number, target, now.plus(after), outcome);
                now = attempt.finished_at;
                attempts.push(attempt.clone());
                steps.push(Step::Call { attempt, target, after, why: why(&attempts) });
            }
            Next::Park { after } => {
                now = now.plus(after);
                steps.push(Step::Park { after });
                // Parked requests forget full queues, so that they are asked again.
                attempts.retain(|a| a.error != Some(domain::ErrorClass::QueueFull));
            }
            Next::Answer(index) => {
                let attempt = &attempts[index];
                break End::Answer { attempt: attempt.number, status: next::effective_status(attempt) };
            }
            Next::GiveUp(refusal) => break End::GiveUp { why: refused(refusal) },
        }
    };
    Run { headers: headers(config, &attempts, &end), steps, end, took: now.since(Timestamp(0)) }
}

fn attempt(number: u32, target: &Target, start: Timestamp, outcome: Outcome) -> Attempt {
    let end = start.plus(outcome.took());
    outcome.into(Attempt::new(number, &target.path, &target.provider, start, end))
}

/// Why the last attempt was made.
fn why(attempts: &[Attempt]) -> String {
    let before = attempts.len().checked_sub(2).map(|index| &attempts[index]);
    decisions(attempts).last().map(|decision| reason(decision, before)).unwrap_or_default()
}

fn refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Expired => "the deadline passed",
        Refusal::Cancelled => "the caller cancelled",
        Refusal::NoTarget => "the config leads nowhere",
    }
}

fn headers(config: &Config, attempts: &[Attempt], end: &End) -> BTreeMap<&'static str, String> {
    let End::Answer { attempt: number, .. } = end else { return BTreeMap::new() };
    let Some(index) = attempts.iter().position(|a| a.number == *number) else { return BTreeMap::new() };
    BTreeMap::from([
        ("x-portkey-last-used-option-index", attempts[index].path.clone()),
        ("x-portkey-provider", attempts[index].provider.clone()),
        ("x-portkey-retry-attempt-count", next::retry_count(config, attempts, index).to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use domain::config::HeaderOptions;
    use serde_json::json;

    use super::super::outcomes;
    use super::*;

    #[track_caller]
    fn check(config: &serde_json::Value, list: &str, calls: &[(&str, u64)], end: &End) {
        let config = Config::parse(&config.to_string(), &HeaderOptions::default()).unwrap();
        let run = run(&config, &outcomes::parse(list).unwrap(), 1, Duration::from_secs(60));
        let made = run.steps.iter().filter_map(|step| match step {
            Step::Call { attempt, .. } => Some((attempt.path.as_str(), attempt.started_at.0)),
            Step::Park { .. } => None,
        });
        assert_eq!(made.collect::<Vec<_>>(), calls);
        assert_eq!(run.end, *end);
    }

    #[test]
    fn outcomes_lead_through_retries_and_fallbacks() {
        let config = json!({
            "strategy": { "mode": "fallback" },
            "targets": [
                { "provider": "one", "retry": { "attempts": 1, "use_retry_after_header": true } },
                { "provider": "two" },
            ],
        });
        let (first, second) = ("config.targets[0]", "config.targets[1]");
        check(
            &config,
            "429/retry-after=2,500,200",
            &[(first, 0), (first, 2100), (second, 2200)],
            &End::Answer { attempt: 3, status: 200 },
        );
        check(&config, "200", &[(first, 0)], &End::Answer { attempt: 1, status: 200 });
        check(
            &config,
            "429,500,503",
            &[(first, 0), (first, 1100), (second, 1200)],
            &End::Answer { attempt: 3, status: 503 },
        );
        let after = Duration::from_secs(1);
        check(&config, "500", &[(first, 0)], &End::Open { path: first.to_owned(), after });
        check(&config, "200/took=3s,200", &[(first, 0)], &End::Answer { attempt: 1, status: 200 });
    }

    #[test]
    fn full_queues_park_the_request_until_the_deadline() {
        let config = json!({ "provider": "one" });
        check(
            &config,
            "queue_full,queue_full,200",
            &[("config", 0), ("config", 1100), ("config", 2200)],
            &End::Answer { attempt: 3, status: 200 },
        );
        check(&config, "timeout/took=90s", &[("config", 0)], &End::GiveUp { why: "the deadline passed" });
    }
}
