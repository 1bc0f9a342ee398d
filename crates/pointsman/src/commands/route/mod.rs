//! `pointsman route try`: plays a config against made-up outcomes, offline.

mod drive;
mod outcomes;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use domain::config::{HeaderOptions, Target};
use domain::event::{Decision, Reason};
use domain::{Attempt, Config, Facts, Operation, Registry, Timestamp};
use serde_json::{Value, json};

use crate::cli::Try;
use crate::commands::apply::{documents, moment};
use crate::commands::keys::pairs;
use crate::output::{BAD, DIM, GOOD, Output, WARN, ago, styled};
use crate::process::register;
use crate::settings::Settings;
use drive::{Call, End, Request, Run, Step};

pub(crate) fn run(
    attempt: &Try,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let outcomes = outcomes::parse(&attempt.outcomes)?;
    let document = documents::config_in(&attempt.file, env)?;
    let config = Config::read(&document, &HeaderOptions::default())
        .with_context(|| attempt.file.display().to_string())?;
    let request = request(attempt, settings)?;
    // What the settings say of models counts here as it does in a router.
    let registry = Registry { models: register::models(&settings.models)?, ..Registry::default() };
    let models = providers::models::View::new(&registry);
    let run = drive::run(&config, &request, &outcomes, &models);
    output.value(&as_json(&run, &request));
    for line in lines(&run, &request) {
        output.line(line);
    }
    Ok(ExitCode::SUCCESS)
}

fn request(attempt: &Try, settings: &Settings) -> anyhow::Result<Request> {
    let operation: Operation = attempt.operation.parse()?;
    let body = body(attempt.request.as_deref(), operation)?;
    let text = body.to_string();
    let facts = Facts::read(operation, None, text.as_bytes()).context("the request's body")?;
    let timeout = match &attempt.timeout {
        Some(text) => domain::time::parse_duration(text).context("--timeout")?,
        None => settings.deadlines.interactive,
    };
    let at = match &attempt.at {
        Some(text) => moment(text)
            .and_then(|ms| u64::try_from(ms).ok())
            .map(Timestamp)
            .with_context(|| format!("--at `{text}`: write a date as in 2027-01-31T08:30:00Z"))?,
        None => bus::Clock::default().now(),
    };
    Ok(Request {
        operation,
        lane: attempt.lane.parse()?,
        model: facts.model,
        bytes: text.len(),
        body,
        metadata: pairs("--metadata", &attempt.metadata)?,
        headers: headers(&attempt.headers)?,
        at,
        timeout,
        seed: attempt.seed,
    })
}

fn body(file: Option<&Path>, operation: Operation) -> anyhow::Result<Value> {
    let Some(file) = file else {
        return Ok(match operation {
            Operation::Chat | Operation::Messages | Operation::CountTokens => {
                json!({ "model": "any", "messages": [{ "role": "user", "content": "hello" }] })
            }
            Operation::Completions => json!({ "model": "any", "prompt": "hello" }),
            Operation::Rerank => json!({ "model": "any", "query": "hello", "documents": ["hello"] }),
            Operation::Images => json!({ "model": "any", "prompt": "hello" }),
            _ => json!({ "model": "any", "input": "hello" }),
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

/// The model that a target is asked for.
fn model<'a>(target: &'a Target, request: &'a Request) -> &'a str {
    let named = |params: &'a serde_json::Map<String, Value>| params.get("model").and_then(Value::as_str);
    let asked = named(&target.override_params).or(request.model.as_deref());
    asked.or_else(|| named(&target.default_params)).unwrap_or("-")
}

fn lines(run: &Run<'_>, request: &Request) -> Vec<String> {
    let mut lines = Vec::new();
    for step in &run.steps {
        match step {
            Step::Call(call) => lines.extend(call_lines(call, request)),
            Step::Park { after } => {
                let wait = ago(domain::time::millis(*after));
                lines.push(styled(WARN, format!("   every queue is full: decide again in {wait}")));
            }
        }
    }
    lines.extend(run.why.iter().map(|reason| format!("   {}", styled(DIM, reason))));
    let took = ago(domain::time::millis(run.took));
    lines.push(match &run.end {
        End::Answer { attempt, status } => {
            format!("end: after {took} the answer is that of attempt {attempt}, status {status}")
        }
        End::GiveUp { why } => {
            format!("end: after {took} {}", styled(BAD, format!("there is no answer: {why}")))
        }
        End::Open { path, after } => {
            let wait = ago(domain::time::millis(*after));
            styled(WARN, format!("open: {path} would be called in {wait}, but --outcomes says no more"))
        }
    });
    lines.extend(run.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    lines
}

fn call_lines(call: &Call<'_>, request: &Request) -> Vec<String> {
    let wait = match domain::time::millis(call.after) {
        0 => String::new(),
        ms => format!("wait {}, ", ago(ms)),
    };
    let (attempt, target) = (&call.attempt, &call.target);
    let (path, provider, model) = (&attempt.path, &target.provider, model(target, request));
    let mut lines = vec![format!("{}. {wait}call {path} ({provider}, {model})", attempt.number)];
    lines.extend(call.why.iter().map(|reason| format!("   {}", styled(DIM, reason))));
    let colour = if attempt.is_success() { GOOD } else { BAD };
    lines.push(format!("   → {}", styled(colour, outcomes::describe(attempt))));
    lines
}

fn as_json(run: &Run<'_>, request: &Request) -> Value {
    let step = |step: &Step<'_>| match step {
        Step::Call(call) => json!({
            "call": call.attempt.path, "attempt": call.attempt.number, "provider": call.target.provider,
            "model": model(&call.target, request), "after_ms": domain::time::millis(call.after),
            "at_ms": domain::time::millis(call.attempt.started_at.since(request.at)), "reasons": call.why,
            "status": call.attempt.status, "error": call.attempt.error,
            "retry_after_ms": call.attempt.retry_after_ms,
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
        "steps": run.steps.iter().map(step).collect::<Vec<_>>(), "end": end, "reasons": run.why,
        "headers": run.headers, "took_ms": domain::time::millis(run.took),
    })
}
