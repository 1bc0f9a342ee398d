//! `pointsman limits` and `pointsman budgets`: what is used, and what is left.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anstyle::Style;
use serde_json::{Value, json};

use crate::api::{Api, text};
use crate::cli::Limits;
use crate::output::{BAD, DIM, GOOD, Output, WARN, styled, table};
use crate::settings::Settings;

/// Characters of a bar.
const BAR: usize = 12;

/// Lists limits: all of them, or budgets alone.
pub(crate) async fn run(
    limits: Limits,
    only_budgets: bool,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let api = Api::new(&limits.gateway, settings, env)?;
    let wanted = if only_budgets { "budgets" } else { "all" };
    let mut found = api.list(&["limits"], &[("type", wanted.to_owned())]).await?;
    if limits.exhausted {
        found.retain(|limit| limit["status"] == "exhausted");
    }
    output.value(&json!({ "object": "list", "total": found.len(), "data": found }));
    if found.is_empty() {
        let what = if only_budgets { "budgets" } else { "limits" };
        output.line(styled(DIM, format!("no {what}; `usage_limits` and `rate_limits` of a key make some")));
        return Ok(ExitCode::SUCCESS);
    }
    let head = ["LIMIT", "NAME", "PER", "USED", "CAP", "LEFT", "", "RESETS", "STATUS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(found.iter().map(row));
    output.line(table(&rows));
    Ok(ExitCode::SUCCESS)
}

fn row(limit: &Value) -> Vec<String> {
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let owner = format!("{} {}", text(limit, "level"), text(limit, "owner"));
    let group = text(limit, "value_key");
    let owner = if group.is_empty() { owner } else { format!("{owner} {group}") };
    let kind = text(limit, "type");
    let amount = |field: &str| amount(&kind, &limit[field]);
    let soft = limit["soft"] == true;
    let status = text(limit, "status");
    vec![
        owner,
        text(limit, "name"),
        or_dash(text(limit, "period")),
        amount("used"),
        amount("limit"),
        amount("left"),
        bar(limit["percentage"].as_f64().unwrap_or(0.0)),
        or_dash(text(limit, "resets_at")),
        // The last column may have a style: nothing is aligned behind it.
        styled(style(limit), if soft { format!("{status} (soft)") } else { status }),
    ]
}

/// An amount with its unit.
fn amount(kind: &str, value: &Value) -> String {
    match kind {
        "cost" => format!("${value}"),
        kind => format!("{value} {}", kind.replace('_', " ")),
    }
}

/// How much is used: `██████░░░░░░  50%`. What is begun shows, and nothing looks full that is not.
fn bar(percentage: f64) -> String {
    let share = percentage.clamp(0.0, 100.0) / 100.0 * BAR as f64;
    let full = if percentage >= 100.0 { BAR } else { (share.ceil() as usize).min(BAR - 1) };
    format!("{}{} {:>3.0}%", "█".repeat(full), "░".repeat(BAR - full), percentage.floor())
}

fn style(limit: &Value) -> Style {
    let told = limit["alert_threshold"].as_f64().is_some_and(|at| limit["used"].as_f64() >= Some(at));
    match limit["status"].as_str() {
        Some("exhausted") if limit["soft"] != true => BAD,
        Some("exhausted") => WARN,
        _ if told => WARN,
        _ => GOOD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_what_is_begun_and_look_full_at_the_end_only() {
        for (percentage, expected) in [
            (0.0, "░░░░░░░░░░░░   0%"),
            (0.1, "█░░░░░░░░░░░   0%"),
            (50.0, "██████░░░░░░  50%"),
            (99.99, "███████████░  99%"),
            (100.0, "████████████ 100%"),
            (130.0, "████████████ 130%"),
        ] {
            assert_eq!(bar(percentage), expected, "{percentage}");
        }
    }

    #[test]
    fn a_row_says_what_is_used_of_what() {
        let limit = json!({
            "level": "policy", "owner": "acme.teams", "value_key": "user=ann", "name": "Teams", "type": "cost",
            "period": "monthly", "used": 0.5, "limit": 2, "left": 1.25, "percentage": 25, "soft": true,
            "resets_at": "2026-12-01T00:00:00Z", "status": "active", "alert_threshold": null,
        });
        assert_eq!(
            row(&limit)[..8],
            [
                "policy acme.teams user=ann",
                "Teams",
                "monthly",
                "$0.5",
                "$2",
                "$1.25",
                "███░░░░░░░░░  25%",
                "2026-12-01T00:00:00Z"
            ]
        );
        assert!(row(&limit)[8].contains("active (soft)"));
        assert_eq!(amount("input_tokens", &json!(7)), "7 input tokens");
    }
}
