//! `pointsman dead`: what could not be processed, and sending it back.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bus::inspect::Lying;
use bus::{Bus, subject, work};
use domain::{Envelope, headers};
use serde_json::{Value, json};

use crate::cli::Dead;
use crate::link;
use crate::output::{BOLD, Output, ago, styled, table};
use crate::settings::Settings;

pub(crate) async fn run(dead: Dead, output: Output, settings: &Settings) -> anyhow::Result<ExitCode> {
    let bus = link::connect(settings).await?;
    match dead {
        Dead::Ls => list(&bus, output).await,
        Dead::Show { number } => show(&bus, output, number).await,
        Dead::Redrive { number } => redrive(&bus, output, &number).await,
    }
}

async fn letters(bus: &Bus) -> anyhow::Result<Vec<Lying>> {
    let (mut from, mut letters) = (1, Vec::new());
    while let Some(letter) = bus.next_lying(subject::DEAD_STREAM, subject::DEAD_ALL, from).await? {
        from = letter.sequence + 1;
        letters.push(letter);
    }
    Ok(letters)
}

async fn letter(bus: &Bus, number: u64) -> anyhow::Result<Lying> {
    let found = bus.next_lying(subject::DEAD_STREAM, subject::DEAD_ALL, number).await?;
    found
        .filter(|l| l.sequence == number)
        .with_context(|| format!("no dead letter has number {number}; see `pointsman dead ls`"))
}

fn stage(letter: &Lying) -> &str {
    subject::last_token(&letter.subject)
}

async fn list(bus: &Bus, output: Output) -> anyhow::Result<ExitCode> {
    let letters = letters(bus).await?;
    let now = bus.clock().now();
    let mut rows = vec![["NUMBER", "AGE", "STAGE", "FROM", "REASON"].map(str::to_owned).to_vec()];
    let mut values = Vec::new();
    for letter in &letters {
        let reason = letter.header(headers::REASON).unwrap_or_default();
        let from = letter.header(work::DEAD_SUBJECT).unwrap_or_default();
        let age = domain::time::millis(now.since(letter.stored_at));
        rows.push(vec![
            letter.sequence.to_string(),
            ago(age),
            stage(letter).to_owned(),
            from.to_owned(),
            reason.to_owned(),
        ]);
        values.push(json!({ "number": letter.sequence, "age_ms": age, "stage": stage(letter), "subject": from, "reason": reason }));
    }
    output.value(&json!({ "dead": values }));
    output.line(if letters.is_empty() { "no dead letters".to_owned() } else { table(&rows) });
    Ok(ExitCode::SUCCESS)
}

async fn show(bus: &Bus, output: Output, number: u64) -> anyhow::Result<ExitCode> {
    let letter = letter(bus, number).await?;
    let envelope = Envelope::decode(&letter.payload).ok();
    let (about, body) = match &envelope {
        Some((envelope, body, _)) => (serde_json::to_value(envelope)?, body.clone()),
        None => (Value::Null, letter.payload.clone()),
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    output.value(&json!({
        "number": number, "stage": stage(&letter), "headers": letter.headers(), "envelope": about, "body": body,
    }));
    for (name, value) in letter.headers() {
        output.line(format!("{}: {value}", styled(BOLD, name)));
    }
    if !about.is_null() {
        output.line(format!("\n{}", serde_json::to_string_pretty(&about)?));
    }
    output.line(format!("\n{body}"));
    Ok(ExitCode::SUCCESS)
}

async fn redrive(bus: &Bus, output: Output, number: &str) -> anyhow::Result<ExitCode> {
    let chosen = match number {
        "all" => letters(bus).await?,
        number => match number.parse() {
            Ok(number) => vec![letter(bus, number).await?],
            Err(_) => bail!("`{number}` is neither a number from `dead ls` nor `all`"),
        },
    };
    for letter in &chosen {
        bus.redrive(letter).await.with_context(|| format!("send letter {} back", letter.sequence))?;
        output.line(format!(
            "{} sent back to {}",
            letter.sequence,
            letter.header(work::DEAD_SUBJECT).unwrap_or_default()
        ));
    }
    output.value(&json!({ "redriven": chosen.iter().map(|l| l.sequence).collect::<Vec<_>>() }));
    Ok(ExitCode::SUCCESS)
}
