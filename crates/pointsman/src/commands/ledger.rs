//! `pointsman ledger`: the books checked, made anew, priced again.

use std::process::ExitCode;

use anyhow::Context as _;
use bus::Bus;
use bus::ledger::{Checked, Listed, Reprice};
use domain::Timestamp;
use domain::spend::{Interval, parse_label};
use domain::time::parse_duration;

use crate::cli::{Ledger, LedgerReprice};
use crate::link;
use crate::output::{BAD, GOOD, Output, WARN, ago, styled};
use crate::settings::Settings;

pub(crate) async fn run(ledger: Ledger, output: Output, settings: &Settings) -> anyhow::Result<ExitCode> {
    let bus = link::connect(settings).await?;
    match ledger {
        Ledger::Check => check(&bus, output).await,
        Ledger::Rebuild => rebuild(&bus, output).await,
        Ledger::Reprice(which) => reprice(&bus, output, &which).await,
    }
}

async fn check(bus: &Bus, output: Output) -> anyhow::Result<ExitCode> {
    let checked = bus.check_ledger().await?;
    output.value(&checked);
    let total = &checked.total;
    output.line(format!("{} requests, {} attempts, {}", total.requests, total.attempts, total.cost));
    lag(bus, &checked, output);
    for (what, listed) in [
        ("at a price that is not known", &checked.unknown),
        ("with tokens that we counted ourselves", &checked.estimated),
        ("perhaps made for nothing, as their workers vanished", &checked.duplicates),
    ] {
        for Listed { provider, model, attempts } in listed {
            let (provider, model) = (provider.as_deref().unwrap_or("-"), model.as_deref().unwrap_or("-"));
            output.line(styled(WARN, format!("{attempts} attempts {what}: {provider}/{model}")));
        }
    }
    for wrong in &checked.wrong {
        output.line(styled(BAD, wrong));
    }
    if checked.wrong.is_empty() {
        let dimensions = checked.dimensions.join(", ");
        output.line(styled(GOOD, format!("the sums agree for {dimensions}")));
        return Ok(ExitCode::SUCCESS);
    }
    output.line("make the books anew from the events with `pointsman ledger rebuild`");
    Ok(ExitCode::FAILURE)
}

fn lag(bus: &Bus, checked: &Checked, output: Output) {
    if checked.behind > 0 {
        let age = ago(domain::time::millis(bus.clock().now().since(checked.through)));
        let behind = checked.behind;
        output.line(styled(WARN, format!("{behind} events are not booked yet, the oldest is {age} old")));
    }
}

async fn rebuild(bus: &Bus, output: Output) -> anyhow::Result<ExitCode> {
    let rebuilt = bus.rebuild_ledger().await?;
    output.value(&rebuilt);
    output.line(format!(
        "{} events, {} rows, {} rows older than the events kept",
        rebuilt.events, rebuilt.rows, rebuilt.kept
    ));
    output.line(format!("cost before: {}", rebuilt.before));
    output.line(format!("cost after:  {}", rebuilt.after));
    let differ = rebuilt.missing + rebuilt.extra + rebuilt.different;
    if differ == 0 {
        output.line(styled(GOOD, "the books were the same, row by row"));
        return Ok(ExitCode::SUCCESS);
    }
    let (missing, extra, different) = (rebuilt.missing, rebuilt.extra, rebuilt.different);
    let text =
        format!("put right: {missing} rows were missing, {extra} had no event, {different} were different");
    output.line(styled(WARN, text));
    for example in &rebuilt.examples {
        output.line(format!("  {example}"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn reprice(bus: &Bus, output: Output, which: &LedgerReprice) -> anyhow::Result<ExitCode> {
    let now = bus.clock().now();
    let which = Reprice {
        since: which.since.as_deref().map(|text| moment(text, now)).transpose().context("--since")?,
        until: which.until.as_deref().map(|text| moment(text, now)).transpose().context("--until")?,
        provider: which.provider.clone(),
        model: which.model.clone(),
    };
    let repriced = bus.reprice_ledger(which).await?;
    output.value(&repriced);
    output.line(format!("{} attempts, {} cost something else now", repriced.attempts, repriced.changed));
    output.line(format!("cost before: {}", repriced.before));
    output.line(format!("cost after:  {}", repriced.after));
    if repriced.unknown > 0 {
        let text = format!("{} attempts still have no known price", repriced.unknown);
        output.line(styled(WARN, text));
    }
    Ok(ExitCode::SUCCESS)
}

/// A date, or so long ago.
fn moment(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Some(at) = parse_label(text, Interval::Day) {
        return Ok(at);
    }
    let ago = parse_duration(text).map_err(|_| {
        anyhow::anyhow!("`{text}` is no time: write a date, as in 2026-11-01, or so long ago, as in 7d")
    })?;
    Ok(Timestamp(now.0.saturating_sub(domain::time::millis(ago))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_or_so_long_ago() {
        let now = Timestamp(1_795_297_512_345);
        assert_eq!(moment("2026-11-21", now).unwrap(), Timestamp(1_795_219_200_000));
        assert_eq!(moment("7d", now).unwrap(), Timestamp(now.0 - 7 * 86_400_000));
        assert!(moment("last week", now).unwrap_err().to_string().contains("2026-11-01"));
    }
}
