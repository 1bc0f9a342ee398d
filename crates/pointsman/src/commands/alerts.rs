//! `pointsman alerts`: what is watched, what was said, and trying channels out.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bus::Bus;
use bus::alerts::AlertRecord;
use domain::alert::{Change, Delivery, Letter, Notice, Shown};
use domain::{Timestamp, time};
use serde_json::json;

use crate::cli::Alerts;
use crate::link;
use crate::output::{BAD, GOOD, Output, WARN, ago, styled, table};
use crate::settings::Settings;

/// How long a channel has to answer a test: longer than a receiver has.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn run(alerts: Alerts, output: Output, settings: &Settings) -> anyhow::Result<ExitCode> {
    let bus = link::connect(settings).await?;
    match alerts {
        Alerts::Ls => list(&bus, output).await,
        Alerts::History { since } => history(&bus, output, &since).await,
        Alerts::Test { channel } => test(&bus, output, channel).await,
    }
}

async fn record(bus: &Bus) -> anyhow::Result<AlertRecord> {
    let (record, _) = bus.alert_record().await?;
    record.context(
        "nobody has judged alerts yet: start the role with `pointsman run alerts`, or everything with `pointsman up`",
    )
}

fn since(now: Timestamp, at: Timestamp) -> String {
    ago(time::millis(now.since(at)))
}

async fn list(bus: &Bus, output: Output) -> anyhow::Result<ExitCode> {
    let record = record(bus).await?;
    let (shown, now) = (record.book.shown(), bus.clock().now());
    let values: Vec<_> = shown
        .iter()
        .map(|shown| {
            let Shown { rule, subject, since, summary } = shown;
            let state = if since.is_some() { "firing" } else { "ok" };
            json!({ "rule": rule, "state": state, "subject": subject, "since": since, "summary": summary })
        })
        .collect();
    output.value(&json!({ "alerts": values, "channels": record.channels, "at": record.at, "by": record.by }));
    let mut rows = vec![["RULE", "KIND", "STATE", "SINCE", "WHAT"].map(str::to_owned).to_vec()];
    rows.extend(shown.iter().map(|shown| {
        let state = if shown.since.is_some() { "firing" } else { "ok" };
        vec![
            shown.rule.name.clone(),
            shown.rule.condition.kind().as_str().to_owned(),
            state.to_owned(),
            shown.since.map_or_else(|| "-".to_owned(), |at| since(now, at)),
            shown.summary.clone().unwrap_or_default(),
        ]
    }));
    output.line(table(&rows));
    if record.channels.is_empty() {
        output.line(styled(WARN, "no channel is configured: alerts are only in the log"));
    } else {
        let channels: Vec<String> = record.channels.iter().map(|(n, kind)| format!("{n} ({kind})")).collect();
        output.line(format!("channels: {}", channels.join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}

async fn history(bus: &Bus, output: Output, back: &str) -> anyhow::Result<ExitCode> {
    let back = time::parse_duration(back).context("--since")?;
    let now = bus.clock().now();
    let from = Timestamp(now.0.saturating_sub(time::millis(back)));
    let (notices, deliveries) = (bus.notices(from).await?, bus.deliveries(from).await?);
    let of = |notice: &Notice| -> Vec<&Delivery> {
        deliveries.iter().filter(|delivery| delivery.notice == notice.id).collect()
    };
    let values: Vec<_> =
        notices.iter().map(|notice| json!({ "notice": notice, "deliveries": of(notice) })).collect();
    output.value(&json!({ "history": values }));
    let mut rows = vec![["AGE", "CHANGE", "RULE", "WHAT", "TOLD"].map(str::to_owned).to_vec()];
    for notice in &notices {
        let told: Vec<String> = of(notice).into_iter().map(outcome).collect();
        rows.push(vec![
            since(now, notice.at),
            notice.change.to_string(),
            notice.rule.clone(),
            notice.summary.clone(),
            if told.is_empty() { "nobody".to_owned() } else { told.join(", ") },
        ]);
    }
    output.line(if notices.is_empty() { "no notices".to_owned() } else { table(&rows) });
    Ok(ExitCode::SUCCESS)
}

fn outcome(delivery: &Delivery) -> String {
    let Delivery { channel, taken, again_at, said, attempt, .. } = delivery;
    match (taken, again_at) {
        (true, _) => channel.clone(),
        (false, Some(_)) => format!("{channel} (not yet, {attempt} tries: {said})"),
        (false, None) => format!("{channel} (given up: {said})"),
    }
}

async fn test(bus: &Bus, output: Output, channel: Option<String>) -> anyhow::Result<ExitCode> {
    let channels = record(bus).await?.channels;
    let known: Vec<&str> = channels.keys().map(String::as_str).collect();
    let chosen: Vec<String> = match channel {
        Some(name) if channels.contains_key(&name) => vec![name],
        Some(name) => bail!("no channel is called `{name}` (channels: {})", known.join(", ")),
        None if channels.is_empty() => bail!("no channel is configured: add `[alerts.channels.<name>]`"),
        None => channels.keys().cloned().collect(),
    };
    let notice = Notice::test(chosen.clone(), bus.clock().now(), rand::random());
    let all: Vec<(String, bool)> = channels.into_iter().map(|(name, kind)| (name, kind == "email")).collect();
    for letter in Letter::of(&notice, &all) {
        bus.send_letter(&letter).await?;
    }
    bus.keep_notice(&notice).await?;
    debug_assert_eq!(notice.change, Change::Test);
    let (mut answers, mut well) = (Vec::new(), true);
    let until = tokio::time::Instant::now() + PATIENCE;
    for name in chosen {
        let delivery = answer(bus, &notice.id, &name, until).await?;
        let (taken, said) = match &delivery {
            Some(delivery) => (delivery.taken, delivery.said.clone()),
            None => (false, format!("no answer within {PATIENCE:?}: does a process run the role `alerts`?")),
        };
        let mark = if taken { styled(GOOD, "taken") } else { styled(BAD, "not taken") };
        output.line(format!("{name}  {mark}  {said}"));
        answers.push(json!({ "channel": name, "taken": taken, "said": said }));
        well &= taken;
    }
    output.value(&json!({ "notice": notice.id, "answers": answers }));
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What became of a notice at a channel. None: nothing in time.
async fn answer(
    bus: &Bus,
    notice: &str,
    channel: &str,
    until: tokio::time::Instant,
) -> anyhow::Result<Option<Delivery>> {
    loop {
        if let Some(delivery) = bus.delivery(notice, channel).await? {
            return Ok(Some(delivery));
        }
        if tokio::time::Instant::now() >= until {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
