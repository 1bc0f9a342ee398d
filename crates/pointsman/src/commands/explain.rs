//! `pointsman explain`: what was decided for a request and why, from its stored outcome.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context as _;
use domain::event::Decision;
use domain::{Attempt, ErrorClass, RequestId, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::api::{self, Api};
use crate::cli::Explain;
use crate::commands::route::reason;
use crate::output::{BAD, BOLD, DIM, GOOD, Output, WARN, ago, styled};
use crate::settings::Settings;

/// What is read of the stored outcome; the rest is for scripts.
#[derive(Debug, Deserialize)]
struct Ended {
    id: String,
    status: String,
    operation: String,
    model: Option<String>,
    accepted_at: Timestamp,
    finished_at: Timestamp,
    #[serde(default)]
    attempts: Vec<Attempt>,
    #[serde(default)]
    decisions: Vec<Decision>,
    /// As in events: a stored config with its version, or a hash of the text.
    #[serde(default)]
    config: String,
    result: Answer,
}

#[derive(Debug, Deserialize)]
struct Answer {
    status: u16,
    #[serde(default)]
    body: Value,
}

pub(crate) async fn run(
    explain: Explain,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let id = RequestId::parse(&explain.request)?;
    let api = Api::new(&explain.gateway, settings, env)?;
    let answer = api.get(&["requests", id.as_str()]).await?;
    output.value(&answer);
    if output.is_json() {
        return Ok(ExitCode::SUCCESS);
    }
    if answer.get("result").is_none() {
        let status = api::text(&answer, "status");
        output.line(format!("{id}  {}  nothing is decided for good yet", styled(WARN, status)));
        return Ok(ExitCode::SUCCESS);
    }
    let ended: Ended = serde_json::from_value(answer).context("read the gateway's answer")?;
    for line in tree(&ended) {
        output.line(line);
    }
    Ok(ExitCode::SUCCESS)
}

/// The request, below it each target in the order of asking, below those the attempts.
fn tree(ended: &Ended) -> Vec<String> {
    let colour = if ended.result.status < 300 { GOOD } else { BAD };
    let took = ago(domain::time::millis(ended.finished_at.since(ended.accepted_at)));
    let model = ended.model.as_deref().unwrap_or("-");
    let mut lines = vec![format!(
        "{}  {}  status {}  {} {model}  {took}",
        styled(BOLD, &ended.id),
        styled(colour, &ended.status),
        ended.result.status,
        ended.operation
    )];
    lines.push(styled(DIM, config(&ended.config)));
    if ended.attempts.is_empty() {
        let why = ended.result.body["error"]["message"].as_str().unwrap_or("no reason on record");
        lines.push(format!("└─ no target was called: {why}"));
        return lines;
    }
    let visits: Vec<&[Attempt]> = ended.attempts.chunk_by(|a, b| a.path == b.path).collect();
    for (at, visit) in visits.iter().enumerate() {
        let last = at + 1 == visits.len();
        let (branch, trunk) = if last { ("└─", "  ") } else { ("├─", "│ ") };
        lines.push(format!("{branch} {}  {}", styled(BOLD, &visit[0].path), visit[0].provider));
        for (n, attempt) in visit.iter().enumerate() {
            let twig = if n + 1 == visit.len() { "└─" } else { "├─" };
            let before = ended.attempts.iter().rfind(|a| a.number < attempt.number);
            lines.push(format!("{trunk} {twig} {}", line(ended, attempt, before)));
            if let Some(message) = &attempt.message {
                lines.push(format!("{trunk}    {}", styled(DIM, message)));
            }
        }
    }
    lines
}

fn config(config: &str) -> String {
    match config.split_once('@') {
        Some((slug, version)) => format!("config {slug}, version {version}"),
        None if config.starts_with("pc-") => format!("config {config}"),
        None => format!("a config that is not stored (hash {config})"),
    }
}

fn line(ended: &Ended, attempt: &Attempt, before: Option<&Attempt>) -> String {
    let status = attempt.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let (colour, result) = match attempt.error {
        None => (GOOD, "ok"),
        Some(error) => (BAD, ErrorClass::as_str(error)),
    };
    let took = ago(domain::time::millis(attempt.finished_at.since(attempt.started_at)));
    let why = ended.decisions.iter().find(|decision| decision.attempt == attempt.number);
    let why = why.map(|decision| {
        let detail: String = decision.why.iter().map(|line| format!("; {line}")).collect();
        format!(", because: {}{detail}", reason(decision, before))
    });
    let why = why.unwrap_or_default();
    let waited = before.map_or(ended.accepted_at, |before| before.finished_at);
    let waited = match domain::time::millis(attempt.started_at.since(waited)) {
        0..10 => String::new(),
        ms => format!(", started {} later", ago(ms)),
    };
    let asked = attempt.retry_after_ms.map(|ms| format!(", asked to wait {}", ago(ms))).unwrap_or_default();
    let twice = if attempt.duplicate_possible { ", may have been paid for" } else { "" };
    format!(
        "{}. {} took {took}{asked}{twice}{waited}{why}",
        attempt.number,
        styled(colour, format!("{status} {result}"))
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(value: Value) -> Vec<String> {
        let ended: Ended = serde_json::from_value(value).unwrap();
        tree(&ended).iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn attempts_hang_below_their_targets() {
        let attempt = |number: u32, path: &str, status: u16, error: Option<&str>, from: u64, to: u64| {
            json!({
                "number": number, "path": path, "provider": "mock", "status": status, "error": error,
                "started_at": from, "finished_at": to, "queued_ms": 1,
            })
        };
        let mut first = attempt(1, "config.targets[0]", 429, Some("rate_limit"), 1005, 1100);
        first["retry_after_ms"] = json!(2000);
        first["message"] = json!("slow down");
        let lines = plain(json!({
            "id": "r1", "status": "answered", "operation": "chat", "model": "m", "accepted_at": 1000,
            "finished_at": 5000, "config": "pc-chat@3",
            "attempts": [
                first,
                attempt(2, "config.targets[0]", 500, Some("server_error"), 3100, 3200),
                attempt(3, "config.targets[1]", 200, None, 3205, 5000),
            ],
            "decisions": [
                { "attempt": 1, "path": "config.targets[0]", "reason": "first" },
                { "attempt": 2, "path": "config.targets[0]", "reason": "retry" },
                { "attempt": 3, "path": "config.targets[1]", "reason": "fallback" },
            ],
            "result": { "status": 200, "content_type": "application/json", "body": {} },
        }));
        assert_eq!(
            lines,
            [
                "r1  answered  status 200  chat m  4.0 s",
                "config pc-chat, version 3",
                "├─ config.targets[0]  mock",
                "│  ├─ 1. 429 rate_limit took 95 ms, asked to wait 2.0 s, because: first choice",
                "│     slow down",
                "│  └─ 2. 500 server_error took 100 ms, started 2.0 s later, because: retry after 429",
                "└─ config.targets[1]  mock",
                "   └─ 3. 200 ok took 1.8 s, because: fallback after 500 from config.targets[0]",
            ]
        );
    }

    #[test]
    fn a_request_without_attempts_says_why() {
        let lines = plain(json!({
            "id": "r2", "status": "refused", "operation": "chat", "model": null, "accepted_at": 0,
            "finished_at": 3, "result": { "status": 400, "content_type": "application/json",
                "body": { "error": { "message": "no target" } } },
        }));
        assert_eq!(lines[2], "└─ no target was called: no target");
    }
}
