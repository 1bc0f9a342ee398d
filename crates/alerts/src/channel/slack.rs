//! Incoming webhooks of Slack: text for notifications, blocks for the screen.

use domain::alert::{Change, Notice, Severity};
use serde_json::{Value, json};

use crate::channel::rfc3339;

/// Slack refuses a section with more fields.
const MOST_FIELDS: usize = 10;

/// Slack refuses longer texts of a section; ours are lines.
const LONGEST: usize = 2900;

pub(crate) fn body(notice: &Notice) -> Value {
    let headline = format!("{} *{}* {}", emoji(notice), notice.rule, notice.change);
    let text = format!("{headline}\n{}", escaped(&notice.summary));
    let fields: Vec<Value> = notice
        .details
        .iter()
        .take(MOST_FIELDS)
        .map(|(name, value)| mrkdwn(&format!("*{}*\n{}", escaped(name), escaped(value))))
        .collect();
    let mut section = json!({ "type": "section", "text": mrkdwn(&text) });
    if !fields.is_empty() {
        section["fields"] = Value::Array(fields);
    }
    let about =
        format!("{} · since {} · `{}`", notice.severity.as_str(), rfc3339(notice.since), escaped(&notice.id));
    json!({
        "text": format!("{} {}: {}", notice.rule, notice.change, escaped(&notice.summary)),
        "blocks": [section, { "type": "context", "elements": [mrkdwn(&about)] }],
    })
}

fn mrkdwn(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text.chars().take(LONGEST).collect::<String>() })
}

fn emoji(notice: &Notice) -> &'static str {
    match (notice.change, notice.severity) {
        (Change::Recovered, _) => ":white_check_mark:",
        (Change::Test, _) => ":wave:",
        (_, Severity::Critical | Severity::Error) => ":red_circle:",
        (_, Severity::Warning) => ":large_yellow_circle:",
        (_, Severity::Info) => ":information_source:",
    }
}

/// The three characters that Slack gives a meaning to: names must not become links or mentions.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
