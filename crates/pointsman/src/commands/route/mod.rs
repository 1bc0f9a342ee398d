//! `pointsman route try`: plays a config against made-up outcomes, offline.

mod drive;
mod outcomes;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use domain::config::HeaderOptions;
use domain::event::{Decision, Reason};
use domain::{Attempt, Config, Facts, Lane, Operation};
use serde_json::{Value, json};

use crate::cli::Try;
use crate::commands::apply::documents;
use crate::commands::keys::pairs;
use crate::output::{BAD, DIM, GOOD, Output, WARN, ago, styled};
use crate::settings::Settings;
use drive::{End, Run, Step};

pub(crate) fn run(
    attempt: &Try,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let outcomes = outcomes::parse(&attempt.outcomes)?;
    let operation: Operation = attempt.operation.parse()?;
    let lane: Lane = attempt.lane.parse()?;
    let document = documents::config_in(&attempt.file, env)?;
    let config = Config::parse(&document.to_string(), &HeaderOptions::default())
        .with_context(|| attempt.file.display().to_string())?;
    let body = body(attempt.request.as_deref(), operation)?;
    let facts = Facts::read(operation, body.to_string().as_bytes()).context("the request's body")?;
    let timeout = match &attempt.timeout {
        Some(text) => domain::time::parse_duration(text).context("--timeout")?,
        None => settings.deadlines.interactive,
    };
    let _ = (lane, pairs("--metadata", &attempt.metadata)?, headers(&attempt.headers)?);
    let run = drive::run(&config, &outcomes, attempt.seed, timeout);
    output.value(&as_json(&run, facts.model.as_deref()));
    for line in lines(&run, facts.model.as_deref()) {
        output.line(line);
    }
    Ok(ExitCode::SUCCESS)
}

fn body(file: Option<&Path>, operation: Operation) -> anyhow::Result<Value> {
    let Some(file) = file else {
        return Ok(match operation {
            Operation::Chat => {
                json!({ "model": "any", "messages": [{ "role": "user", "content": "hello" }] })
            }
            Operation::Completions => json!({ "model": "any", "prompt": "hello" }),
            Operation::Embeddings => json!({ "model": "any", "input": "hello" }),
        });
    };
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))
}

fn headers(arguments: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut headers = BTreeMap::new();
    for argument in arguments {
        let Some((name, value)) = argument.split_once(':') else {
            bail!("`--header {argument}`: write NAME:VALUE");
        };
        headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(headers)
}

/// A recorded decision in words; `before` is the attempt that came before it.
pub(crate) fn reason(decision: &Decision, before: Option<&Attempt>) -> String {
    let came = before.map(|a| domain::next::effective_status(a).to_string()).unwrap_or_default();
    let from = before.map(|a| a.path.as_str()).unwrap_or_default();
    let class = before.and_then(|a| a.error).map(domain::ErrorClass::as_str).unwrap_or_default();
    match decision.reason {
        Reason::First => "first choice".to_owned(),
        Reason::Retry => format!("retry after {came}"),
        Reason::Fallback if class == "queue_full" => format!("fallback: the queue of {from} is full"),
        Reason::Fallback => format!("fallback after {came} from {from}"),
        Reason::Replacement => format!("the attempt before says nothing about the target ({class})"),
    }
}

fn lines(run: &Run<'_>, model: Option<&str>) -> Vec<String> {
    let mut lines = Vec::new();
    for step in &run.steps {
        match step {
            Step::Call { attempt, target, after, why } => {
                let wait = match domain::time::millis(*after) {
                    0 => String::new(),
                    ms => format!("wait {}, ", ago(ms)),
                };
                let sent =
                    target.override_params.get("model").and_then(Value::as_str).or(model).unwrap_or("-");
                lines.push(format!(
                    "{}. {wait}call {} ({}, {sent})  {}",
                    attempt.number,
                    attempt.path,
                    target.provider,
                    styled(DIM, why)
                ));
                let colour = if attempt.is_success() { GOOD } else { BAD };
                lines.push(format!("   → {}", styled(colour, outcomes::describe(attempt))));
            }
            Step::Park { after } => {
                let wait = ago(domain::time::millis(*after));
                lines.push(styled(WARN, format!("   every queue is full: decide again in {wait}")));
            }
        }
    }
    let took = ago(domain::time::millis(run.took));
    lines.push(match &run.end {
        End::Answer { attempt, status } => {
            format!("end: {took}, the answer is that of attempt {attempt}, status {status}")
        }
        End::GiveUp { why } => format!("end: {took}, {}", styled(BAD, format!("no answer: {why}"))),
        End::Open { path, after } => {
            let wait = ago(domain::time::millis(*after));
            styled(
                WARN,
                format!("open: {path} would be called in {wait}, but --outcomes has no more outcome"),
            )
        }
    });
    lines.extend(run.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    lines
}

fn as_json(run: &Run<'_>, model: Option<&str>) -> Value {
    let step = |step: &Step<'_>| match step {
        Step::Call { attempt, target, after, why } => json!({
            "call": attempt.path, "attempt": attempt.number, "provider": target.provider,
            "model": target.override_params.get("model").and_then(Value::as_str).or(model),
            "after_ms": domain::time::millis(*after), "at_ms": attempt.started_at, "reason": why,
            "status": attempt.status, "error": attempt.error, "retry_after_ms": attempt.retry_after_ms,
        }),
        Step::Park { after } => json!({ "park_ms": domain::time::millis(*after) }),
    };
    let end = match &run.end {
        End::Answer { attempt, status } => json!({ "kind": "answer", "attempt": attempt, "status": status }),
        End::GiveUp { why } => json!({ "kind": "give_up", "reason": why }),
        End::Open { path, after } => {
            json!({ "kind": "open", "call": path, "after_ms": domain::time::millis(*after) })
        }
    };
    json!({
        "steps": run.steps.iter().map(step).collect::<Vec<_>>(), "end": end,
        "headers": run.headers, "took_ms": domain::time::millis(run.took),
    })
}
