//! `pointsman audit`: who changed what, and when.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::Value;

use crate::api::{Api, entity, text};
use crate::cli::Audit;
use crate::output::{Output, table};
use crate::settings::Settings;

pub(crate) async fn run(
    audit: Audit,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let since = domain::time::parse_duration(&audit.since).context("--since")?;
    let now = bus::Clock::default().now();
    let start = now.0.saturating_sub(domain::time::millis(since));
    let mut query = vec![("start_time", start.to_string()), ("page_size", audit.limit.to_string())];
    let filters = [("actor", &audit.actor), ("resource", &audit.resource), ("action", &audit.action)];
    query.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    let api = Api::new(&audit.gateway, settings, env)?;
    let answer = api.query(&["audit-logs"], &query).await?;
    output.value(&answer);
    let fields = ["time", "actor", "action", "resource_id", "workspace_id", "ip"];
    let mut rows = vec![["TIME", "ACTOR", "ACTION", "OF", "WORKSPACE", "FROM"].map(str::to_owned).to_vec()];
    if let Value::Array(entries) = entity(answer) {
        rows.extend(entries.iter().map(|entry| fields.map(|field| text(entry, field)).to_vec()));
    }
    output.line(table(&rows));
    Ok(ExitCode::SUCCESS)
}
