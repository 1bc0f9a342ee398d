//! `pointsman targets`: how the targets do, and closing a circuit by hand.

use std::process::ExitCode;

use anyhow::bail;
use bus::Bus;
use domain::Timestamp;
use domain::health::{Availability, TargetHealth};
use domain::quota::Shown;
use serde_json::json;

use crate::cli::{Targets, TargetsCommand};
use crate::link;
use crate::output::{Output, WARN, ago, styled, table};
use crate::settings::Settings;

pub(crate) async fn run(targets: Targets, output: Output, settings: &Settings) -> anyhow::Result<ExitCode> {
    let bus = link::connect(settings).await?;
    match targets.command {
        None => list(&bus, output).await,
        Some(TargetsCommand::Reset { target }) => reset(&bus, output, &target).await,
    }
}

async fn list(bus: &Bus, output: Output) -> anyhow::Result<ExitCode> {
    let targets = bus.targets_health().await?;
    let now = bus.clock().now();
    let head =
        ["TARGET", "STATE", "SINCE", "REASON", "FAILURES", "LAST ERROR", "FIRST BYTE", "IN FLIGHT", "LEFT"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(targets.iter().map(|target| row(target, now)));
    output.value(&json!({ "targets": targets }));
    output.line(table(&rows));
    if targets.iter().any(|target| target.state != Availability::Closed) {
        output.line(styled(WARN, "close a circuit by hand with `pointsman targets reset TARGET`"));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(target: &TargetHealth, now: Timestamp) -> Vec<String> {
    let since = |at: Timestamp| ago(domain::time::millis(now.since(at)));
    let error =
        |e: domain::health::LastError| format!("{} ({}), {} ago", e.fault.as_str(), e.status, since(e.at));
    let dash = || "-".to_owned();
    vec![
        target.target.clone(),
        target.state.as_str().replace('_', "-"),
        target.since.map_or_else(dash, since),
        target.reason.map_or_else(dash, |fault| fault.as_str().to_owned()),
        target.failures.to_string(),
        target.last_error.map_or_else(dash, error),
        target.latency_ms.map_or_else(dash, |ms| format!("{ms:.0} ms")),
        target.in_flight.map_or_else(dash, |calls| calls.to_string()),
        if target.limits.is_empty() { dash() } else { left(target, now) },
    ]
}

/// What is left of the provider's limits, model by model.
fn left(target: &TargetHealth, now: Timestamp) -> String {
    let until = |at: Timestamp| ago(domain::time::millis(at.since(now)));
    let one = |limits: &Shown| {
        let requests = limits.requests.map(|left| format!("{left} requests"));
        let tokens = limits.tokens.map(|left| format!("{left} tokens"));
        let resets = limits.resets_at.map(|at| format!("resets in {}", until(at)));
        let shut = limits.shut_until.map(|at| format!("refused for another {}", until(at)));
        let parts: Vec<String> = [requests, tokens, resets, shut].into_iter().flatten().collect();
        let model = limits.model.as_ref().map_or_else(String::new, |model| format!("{model}: "));
        format!("{model}{}", parts.join(", "))
    };
    let lines: Vec<String> = target.limits.iter().map(one).collect();
    lines.join("; ")
}

async fn reset(bus: &Bus, output: Output, target: &str) -> anyhow::Result<ExitCode> {
    let known = bus.targets_health().await?;
    if !known.iter().any(|known| known.target == target) {
        let names: Vec<&str> = known.iter().map(|known| known.target.as_str()).collect();
        let names = if names.is_empty() { "none has been called".to_owned() } else { names.join(", ") };
        bail!("no target is called `{target}`; known: {names}");
    }
    bus.reset_target(target, "pointsman targets reset").await?;
    output.value(&json!({ "target": target, "reset": true }));
    output.line(format!("the circuits of {target} are closed"));
    Ok(ExitCode::SUCCESS)
}
