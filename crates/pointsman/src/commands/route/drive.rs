//! Drives the route decision with made-up attempts on a made-up clock.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::config::Target;
use domain::event::decisions;
use domain::health::NoHealth;
use domain::model::Models;
use domain::next::{self, Callee, Next, OnLost, Refusal, View};
use domain::{Attempt, Config, ErrorClass, Lane, Operation, RequestFacts, Timestamp};
use serde_json::{Map, Value};

use super::outcomes::Outcome;
use super::reason;

/// The request that is routed.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) operation: Operation,
    pub(super) lane: Lane,
    pub(super) model: Option<String>,
    pub(super) body: Value,
    pub(super) bytes: usize,
    pub(super) metadata: Map<String, Value>,
    pub(super) headers: BTreeMap<String, String>,
    /// When it comes.
    pub(super) at: Timestamp,
    /// Time that it has.
    pub(super) timeout: Duration,
    /// Randomness of its decisions.
    pub(super) seed: u64,
}

impl Request {
    fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            operation: self.operation,
            lane: self.lane,
            path: self.operation.http_path(),
            model: self.model.as_deref(),
            params: Some(&self.body),
            body_bytes: self.bytes,
            metadata: Some(&self.metadata),
            headers: &self.headers,
            key_id: None,
            accepted_at: self.at,
        }
    }
}

/// What was decided, in order, and how it ended.
#[derive(Debug)]
pub(super) struct Run<'c> {
    pub(super) steps: Vec<Step<'c>>,
    pub(super) end: End,
    /// Why it ended like this.
    pub(super) why: Vec<String>,
    /// Headers that the answer would carry.
    pub(super) headers: BTreeMap<&'static str, String>,
    pub(super) took: Duration,
}

#[derive(Debug)]
pub(super) enum Step<'c> {
    Call(Box<Call<'c>>),
    Park { after: Duration },
}

/// One call, and what came of it.
#[derive(Debug)]
pub(super) struct Call<'c> {
    pub(super) attempt: Attempt,
    pub(super) target: Callee<'c>,
    /// The wait before it.
    pub(super) after: Duration,
    pub(super) why: Vec<String>,
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

/// Plays the outcomes one after the other. The clock moves by waits and by the time that attempts take; every target is
/// taken for healthy.
pub(super) fn run<'c>(
    config: &'c Config,
    request: &Request,
    outcomes: &[Outcome],
    models: &(dyn Models + Sync),
) -> Run<'c> {
    let mut outcomes = outcomes.iter().cloned();
    let (mut steps, mut attempts) = (Vec::new(), Vec::<Attempt>::new());
    let (mut now, mut number) = (request.at, 0);
    let deadline = now.plus(request.timeout);
    let (end, why) = loop {
        let view = View {
            now,
            deadline,
            seed: request.seed,
            cancelled: false,
            on_lost: OnLost::default(),
            health: &NoHealth,
            models,
        };
        let decision = next::next(config, &request.facts(), &attempts, &view);
        let mut why: Vec<String> = decision.why.iter().map(ToString::to_string).collect();
        match decision.next {
            Next::Call { target, after } => {
                let Some(outcome) = outcomes.next() else {
                    break (End::Open { path: target.path.clone(), after }, why);
                };
                number += 1;
                let attempt = attempt(number, &target, now.plus(after), outcome);
                now = attempt.finished_at;
                attempts.push(attempt.clone());
                if why.is_empty() {
                    why.extend(plain(&attempts));
                }
                steps.push(Step::Call(Box::new(Call { attempt, target, after, why })));
            }
            Next::Park { after } => {
                now = now.plus(after);
                steps.push(Step::Park { after });
                // Parked requests forget full queues, so that they are asked again.
                attempts.retain(|a| a.error != Some(ErrorClass::QueueFull));
            }
            Next::Answer(index) => {
                let attempt = &attempts[index];
                let status = next::effective_status(attempt);
                break (End::Answer { attempt: attempt.number, status }, why);
            }
            Next::GiveUp(refusal) => break (End::GiveUp { why: refused(refusal) }, why),
        }
    };
    Run { headers: headers(config, &attempts, &end), steps, end, why, took: now.since(request.at) }
}

fn attempt(number: u32, target: &Target, start: Timestamp, outcome: Outcome) -> Attempt {
    let end = start.plus(outcome.took());
    outcome.into(Attempt::new(number, &target.path, &target.provider, start, end))
}

/// Why the last attempt was made, where nothing had to be chosen.
fn plain(attempts: &[Attempt]) -> Option<String> {
    let before = attempts.len().checked_sub(2).map(|index| &attempts[index]);
    decisions(attempts).last().map(|decision| reason(decision, before))
}

fn refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Expired => "the deadline passed",
        Refusal::Cancelled => "the caller cancelled",
        Refusal::NoTarget => "the config leads nowhere",
        Refusal::NoMatch => "no condition holds, and there is no default",
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
    use domain::model::NoModels;
    use serde_json::json;

    use super::super::outcomes;
    use super::*;

    fn request() -> Request {
        Request {
            operation: Operation::Chat,
            lane: Lane::Interactive,
            model: Some("any".to_owned()),
            body: json!({ "model": "any", "messages": [] }),
            bytes: 40,
            metadata: Map::new(),
            headers: BTreeMap::new(),
            at: Timestamp(1000),
            timeout: Duration::from_secs(60),
            seed: 1,
        }
    }

    #[track_caller]
    fn check(config: &Value, list: &str, calls: &[(&str, u64)], end: &End) {
        let config = Config::read(config, &HeaderOptions::default()).unwrap();
        let run = run(&config, &request(), &outcomes::parse(list).unwrap(), &NoModels);
        let made = run.steps.iter().filter_map(|step| match step {
            Step::Call(call) => Some((call.attempt.path.as_str(), call.attempt.started_at.0 - 1000)),
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
