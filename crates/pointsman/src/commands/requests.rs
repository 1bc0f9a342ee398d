//! `pointsman requests`: look at them, cancel them.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bus::{Bus, subject};
use domain::{Outcome, Record, RequestId, event};
use serde_json::{Value, json};

use crate::cli::Requests;
use crate::link;
use crate::output::{BAD, DIM, GOOD, Output, WARN, ago, styled, table};
use crate::settings::Settings;

pub(crate) async fn run(requests: Requests, output: Output, settings: &Settings) -> anyhow::Result<ExitCode> {
    let bus = link::connect(settings).await?;
    match requests {
        Requests::Get { id } => get(&bus, output, &RequestId::parse(&id)?).await,
        Requests::List { limit } => list(&bus, output, limit).await,
        Requests::Cancel { id } => cancel(&bus, output, &RequestId::parse(&id)?).await,
    }
}

async fn get(bus: &Bus, output: Output, id: &RequestId) -> anyhow::Result<ExitCode> {
    let stored = bus.result(&id.workspace(), id).await?;
    if let Some(stored) = stored
        && let Record::Final(outcome) = &stored.record
    {
        let body = bus.fetch(&outcome.body, stored.body.clone()).await?;
        show(output, outcome, &String::from_utf8_lossy(&body));
        return Ok(ExitCode::SUCCESS);
    }
    match bus.status(id).await? {
        Some(status) => {
            let cancelling = bus.is_cancelled(id).await?;
            let word = if cancelling { "cancelling" } else { "accepted" };
            output.value(&json!({
                "id": id, "status": word, "operation": status.operation, "model": status.model,
                "accepted_at": status.accepted_at, "deadline": status.deadline,
            }));
            output.line(format!("{id}  {}  {}", styled(WARN, word), status.operation));
            Ok(ExitCode::SUCCESS)
        }
        None => bail!(
            "no request {id} is known: its outcome may have been forgotten, or nobody waits for it asynchronously"
        ),
    }
}

fn show(output: Output, outcome: &Outcome, body: &str) {
    let answer: Value = serde_json::from_str(body).unwrap_or(Value::String(body.to_owned()));
    output.value(&json!({
        "id": outcome.request, "status": outcome.kind, "operation": outcome.operation, "model": outcome.model,
        "accepted_at": outcome.accepted_at, "finished_at": outcome.finished_at,
        "config": outcome.config, "attempts": outcome.attempts, "decisions": event::decisions(&outcome.attempts),
        "result": { "status": outcome.status, "content_type": outcome.content_type, "body": answer },
    }));
    let colour = if outcome.status < 300 { GOOD } else { BAD };
    let took = ago(domain::time::millis(outcome.finished_at.since(outcome.accepted_at)));
    output.line(format!(
        "{}  {}  status {}  {took}",
        outcome.request,
        styled(colour, outcome.kind.as_str()),
        outcome.status
    ));
    for (attempt, decision) in outcome.attempts.iter().zip(event::decisions(&outcome.attempts)) {
        let result = attempt.error.map_or_else(|| "ok".to_owned(), |e| e.as_str().to_owned());
        let took = ago(domain::time::millis(attempt.finished_at.since(attempt.started_at)));
        let status = attempt.status.map_or_else(|| "-".to_owned(), |s| s.to_string());
        let reason = format!("{:?}", decision.reason).to_lowercase();
        output.line(format!(
            "  {}. {} at {}: {status} {result}, {took} ({reason})",
            attempt.number, attempt.path, attempt.provider
        ));
        if let Some(message) = &attempt.message {
            output.line(format!("     {}", styled(DIM, message)));
        }
    }
    output.line(format!("\n{body}"));
}

async fn list(bus: &Bus, output: Output, limit: usize) -> anyhow::Result<ExitCode> {
    let outcomes = newest(bus, limit).await?;
    let mut rows = vec![
        ["REQUEST", "ENDED", "STATUS", "OPERATION", "MODEL", "ATTEMPTS", "TOOK"].map(str::to_owned).to_vec(),
    ];
    let mut values = Vec::new();
    for outcome in &outcomes {
        let took = domain::time::millis(outcome.finished_at.since(outcome.accepted_at));
        rows.push(vec![
            outcome.request.to_string(),
            outcome.kind.as_str().to_owned(),
            outcome.status.to_string(),
            outcome.operation.to_string(),
            outcome.model.clone().unwrap_or_default(),
            outcome.attempts.len().to_string(),
            ago(took),
        ]);
        values.push(json!({
            "id": outcome.request, "status": outcome.kind, "http_status": outcome.status, "operation": outcome.operation,
            "model": outcome.model, "attempts": outcome.attempts.len(), "finished_at": outcome.finished_at, "took_ms": took,
        }));
    }
    let mut waiting = Vec::new();
    for request in pending(bus, limit, &outcomes).await? {
        rows.push(vec![request.to_string(), "-".to_owned(), "accepted".to_owned()]);
        waiting.push(json!({ "id": request, "status": "accepted" }));
    }
    values.extend(waiting);
    output.value(&json!({ "requests": values }));
    output.line(table(&rows));
    Ok(ExitCode::SUCCESS)
}

async fn newest(bus: &Bus, limit: usize) -> anyhow::Result<Vec<Outcome>> {
    let streams = bus.streams().await?;
    let last = streams.iter().find(|s| s.name == subject::RESULT_STREAM).map_or(0, |s| s.last_sequence);
    // Sequences have gaps where outcomes were forgotten, so more are looked at than shown.
    let mut from = last.saturating_sub(limit as u64 * 4).max(1);
    let mut outcomes = Vec::new();
    while let Some(lying) = bus.next_lying(subject::RESULT_STREAM, subject::RESULT_ALL, from).await? {
        from = lying.sequence + 1;
        if let Ok((Record::Final(outcome), _)) = Record::decode(&lying.payload) {
            outcomes.push(*outcome);
        }
    }
    outcomes.reverse();
    outcomes.truncate(limit);
    Ok(outcomes)
}

async fn pending(bus: &Bus, limit: usize, ended: &[Outcome]) -> anyhow::Result<Vec<RequestId>> {
    let mut from = 1;
    let mut pending = Vec::new();
    while let Some(lying) = bus.next_lying(subject::STATE_STREAM, subject::STATUS_ALL, from).await? {
        from = lying.sequence + 1;
        let id = lying.subject.split('.').nth(2).and_then(|t| RequestId::parse(t).ok());
        let Some(id) = id.filter(|id| !ended.iter().any(|o| o.request == *id)) else { continue };
        let stored = bus.result_near(&id.workspace(), &id).await?;
        if !stored.is_some_and(|s| matches!(s.record, Record::Final(_))) {
            pending.push(id);
        }
        if pending.len() >= limit {
            break;
        }
    }
    Ok(pending)
}

async fn cancel(bus: &Bus, output: Output, id: &RequestId) -> anyhow::Result<ExitCode> {
    bus.cancel(id, bus.longest_life()).await.context("mark the request as cancelled")?;
    bus.hasten(id).await.context("wake the request's delayed retry")?;
    let mut word = "cancelling".to_owned();
    for _ in 0..20 {
        if let Some(stored) = bus.result(&id.workspace(), id).await?
            && let Record::Final(outcome) = stored.record
        {
            word = outcome.kind.as_str().to_owned();
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    output.value(&json!({ "id": id, "status": word }));
    output.line(format!("{id}  {word}"));
    Ok(ExitCode::SUCCESS)
}
