//! PagerDuty's Events API v2: one incident for each alert, from its beginning to its end.

use domain::alert::{Change, Notice};
use serde_json::{Value, json};

use crate::channel::rfc3339;

/// Where events go unless settings say otherwise.
pub const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// PagerDuty cuts a longer summary.
const LONGEST: usize = 1024;

/// A test is an incident of its own each time, with the severity `info`.
pub(crate) fn body(notice: &Notice, routing_key: &str, source: &str) -> Value {
    let action = if notice.change == Change::Recovered { "resolve" } else { "trigger" };
    let dedup_key = match notice.change {
        Change::Test => format!("pointsman/{}", notice.id),
        _ => format!("pointsman/{}", notice.key),
    };
    let mut details = json!(notice.details);
    details["notice"] = json!(notice.id);
    details["since"] = json!(rfc3339(notice.since));
    json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": dedup_key,
        "client": "Pointsman",
        "payload": {
            "summary": notice.summary.chars().take(LONGEST).collect::<String>(),
            "source": source,
            "severity": notice.severity.as_str(),
            "timestamp": rfc3339(notice.at),
            "component": notice.subject,
            "group": notice.workspace.as_ref().map_or("gateway", |workspace| workspace.as_str()),
            "class": notice.kind.as_str(),
            "custom_details": details,
        },
    })
}
