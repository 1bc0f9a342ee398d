//! `pointsman cache`: what the cache holds and how it does, taking entries out, filling it.

#[cfg(test)]
mod tests;
mod warm;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bus::Clock;
use domain::Timestamp;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) use self::warm::HELP as WARM_HELP;
use crate::api::{Api, text};
use crate::cli::{Cache, CacheInvalidate, CacheLs, CacheWhich};
use crate::output::{BOLD, DIM, GOOD, Output, WARN, ago, styled, table};
use crate::settings::Settings;

/// Where the gateway answers.
const ENTRIES: [&str; 3] = ["admin", "cache", "entries"];

/// Entries asked for at once: the most that the API gives.
const PAGE: usize = 1000;

/// Characters of a question in a list.
const QUESTION: usize = 60;

/// How far a node may be behind before somebody should look.
const LATE_MS: u64 = 10_000;

pub(crate) async fn run(
    cache: Cache,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    match cache {
        Cache::Stats { gateway } => stats(&Api::new(&gateway, settings, env)?, output).await,
        Cache::Ls(wanted) => list(&Api::new(&wanted.gateway, settings, env)?, output, &wanted).await,
        Cache::Show { id, gateway } => show(&Api::new(&gateway, settings, env)?, output, &id).await,
        Cache::Invalidate(wanted) => {
            // What is missing is said before the gateway is looked for.
            let body = order(&wanted)?;
            invalidate(&Api::new(&wanted.gateway, settings, env)?, output, &wanted, &body).await
        }
        Cache::Warm(wanted) => warm::run(wanted, output, settings, env).await,
    }
}

async fn stats(api: &Api, output: Output) -> anyhow::Result<ExitCode> {
    let stats = api.get(&["admin", "cache", "stats"]).await?;
    output.value(&stats);
    let nodes = stats["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let total = &stats["total"];
    // A workspace's own key is not shown what others do.
    if total["lookups"].is_null() {
        let head = ["NODE", "ENTRIES", "BEHIND", "EMBEDDER"].map(str::to_owned).to_vec();
        let row =
            |node| vec![text(node, "node"), text(node, "entries"), behind(node), text(node, "embedder")];
        output.line(table(&std::iter::once(head).chain(nodes.iter().map(row)).collect::<Vec<_>>()));
        return Ok(ExitCode::SUCCESS);
    }
    let head = [
        "NODE", "ENTRIES", "VECTORS", "BYTES", "ON DISK", "LOOK-UPS", "HITS", "SEMANTIC", "RATE", "GUARDED",
        "EVICTED", "BEHIND", "EMBEDDER",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(nodes.iter().map(|node| row(node, &text(node, "node"))));
    if nodes.len() > 1 {
        rows.push(row(total, "all"));
    }
    output.line(table(&rows));
    remarks(nodes, output);
    Ok(ExitCode::SUCCESS)
}

fn row(node: &Value, name: &str) -> Vec<String> {
    let number = |field: &str| text(node, field);
    vec![
        name.to_owned(),
        number("entries"),
        number("vectors"),
        bytes(node["bytes"].as_u64()),
        bytes(node["disk_bytes"].as_u64()),
        number("lookups"),
        number("hits"),
        number("semantic_hits"),
        node["hit_rate"].as_f64().map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1} %")),
        number("guarded"),
        number("evicted"),
        behind(node),
        number("embedder"),
    ]
}

/// How long what a node has yet to follow has been waiting.
fn behind(node: &Value) -> String {
    match (node.get("lag_ms"), node["lag_ms"].as_u64()) {
        (None, _) => String::new(),
        (Some(_), None) => "unknown".to_owned(),
        (Some(_), Some(0)) => "-".to_owned(),
        (Some(_), Some(ms)) => ago(ms),
    }
}

/// What somebody should look at.
fn remarks(nodes: &[Value], output: Output) {
    for node in nodes {
        let name = text(node, "node");
        let embedder = text(node, "embedder");
        if !["idle", "loading", "ready"].contains(&embedder.as_str()) {
            output.line(styled(WARN, format!("{name} finds the same requests only: {embedder}")));
        }
        if node["rebuilt"].as_u64() > Some(0) {
            let times = text(node, "rebuilt");
            output.line(styled(
                WARN,
                format!("{name} had to begin its store anew, {times} times; see its log"),
            ));
        }
        if node["lag_ms"].as_u64() > Some(LATE_MS) {
            output.line(styled(WARN, format!("{name} is {} behind; see its log", behind(node))));
        }
    }
    let models: std::collections::BTreeSet<&str> =
        nodes.iter().filter_map(|node| node["model"].as_str()).collect();
    if models.len() > 1 {
        let models: Vec<&str> = models.into_iter().collect();
        let text = format!("the nodes embed with different models: {}", models.join(", "));
        output.line(styled(WARN, text));
    }
}

/// As in `1.5 MiB`.
fn bytes(count: Option<u64>) -> String {
    let Some(count) = count else { return String::new() };
    let (mut amount, mut unit) = (count as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if amount < 1024.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, larger);
    }
    if unit == "B" { format!("{count} B") } else { format!("{amount:.1} {unit}") }
}

async fn list(api: &Api, output: Output, wanted: &CacheLs) -> anyhow::Result<ExitCode> {
    let (entries, total) = read(api, &wanted.which, wanted.limit).await?;
    output.value(&json!({ "object": "list", "total": total, "data": entries }));
    if entries.is_empty() {
        let text = match total {
            0 => {
                "no entries; the config of a request says whether its answer is kept, `\"cache\"`".to_owned()
            }
            total => format!("{total} entries"),
        };
        output.line(styled(DIM, text));
        return Ok(ExitCode::SUCCESS);
    }
    let now = Clock::default().now();
    let head = ["ID", "STORED", "LEFT", "PROVIDER", "MODEL", "SIZE", "NAMESPACE", "TAGS", "QUESTION"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(|entry| line(entry, now)));
    output.line(table(&rows));
    let hidden = total.saturating_sub(entries.len() as u64);
    if hidden > 0 {
        output.line(styled(DIM, format!("{hidden} more; --limit {total} shows all")));
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest entries, and how many there are.
async fn read(api: &Api, which: &CacheWhich, limit: usize) -> anyhow::Result<(Vec<Value>, u64)> {
    let filter = filter(which);
    let size = limit.clamp(1, PAGE);
    let (mut entries, mut total) = (Vec::new(), 0);
    for page in 0.. {
        let mut query = filter.clone();
        query.push(("page_size", size.to_string()));
        query.push(("current_page", page.to_string()));
        let mut answer = api.query(&ENTRIES, &query).await?;
        let page = answer["data"]
            .as_array_mut()
            .map(std::mem::take)
            .context("the gateway's answer has no entries")?;
        total = answer["total"].as_u64().unwrap_or(0);
        let last = page.len() < size;
        entries.extend(page);
        if last || entries.len() >= limit {
            break;
        }
    }
    entries.truncate(limit);
    Ok((entries, total))
}

fn line(entry: &Value, now: Timestamp) -> Vec<String> {
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let millis = |from: Timestamp, to: Timestamp| ago(domain::time::millis(to.since(from)));
    let stored = moment(&entry["stored_at"]).map(|at| millis(at, now));
    let left = moment(&entry["expires_at"]).map(|at| millis(now, at));
    vec![
        text(entry, "id"),
        or_dash(stored.unwrap_or_default()),
        or_dash(left.unwrap_or_default()),
        text(entry, "provider"),
        or_dash(text(entry, "model")),
        bytes(entry["size"].as_u64()),
        or_dash(text(entry, "namespace")),
        or_dash(text(entry, "tags")),
        or_dash(shortened(&text(entry, "text"))),
    ]
}

/// On one line, and not longer than a list can show.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(QUESTION) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn moment(value: &Value) -> Option<Timestamp> {
    let at = OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok()?;
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp)
}

async fn show(api: &Api, output: Output, id: &str) -> anyhow::Result<ExitCode> {
    let [admin, cache, entries] = ENTRIES;
    let entry = api.get(&[admin, cache, entries, id]).await?;
    output.value(&entry);
    for field in [
        "id",
        "workspace_id",
        "key",
        "partition",
        "namespace",
        "tags",
        "operation",
        "provider",
        "model",
        "asked_at",
        "stored_at",
        "expires_at",
        "hits",
        "cost_usd",
        "content_type",
        "size",
    ] {
        let value = text(&entry, field);
        if !value.is_empty() {
            output.line(format!("{} {value}", styled(BOLD, format!("{:<13}", format!("{field}:")))));
        }
    }
    let question = text(&entry, "text");
    if !question.is_empty() {
        output.line(format!("\n{}\n{question}", styled(BOLD, "question")));
    }
    let answer = text(&entry, "answer");
    let pretty =
        serde_json::from_str::<Value>(&answer).and_then(|value| serde_json::to_string_pretty(&value));
    output.line(format!("\n{}\n{}", styled(BOLD, "answer"), pretty.unwrap_or(answer)));
    Ok(ExitCode::SUCCESS)
}

async fn invalidate(
    api: &Api,
    output: Output,
    wanted: &CacheInvalidate,
    body: &Value,
) -> anyhow::Result<ExitCode> {
    if wanted.dry_run {
        let (_, total) = read(api, &wanted.which, 1).await?;
        output.value(&json!({ "matched": total, "dry_run": true }));
        output.line(format!("{total} entries would be taken out"));
        return Ok(ExitCode::SUCCESS);
    }
    let answer = api.post(&["admin", "cache", "invalidate"], body).await?;
    output.value(&answer);
    let change = text(&answer, "id");
    match answer["matched"].as_u64() {
        Some(matched) => {
            let text = format!("{matched} entries are taken out (change {change})");
            output.line(styled(GOOD, text));
        }
        None => output.line(styled(WARN, format!("{} (change {change})", text(&answer, "warning")))),
    }
    Ok(ExitCode::SUCCESS)
}

/// What follows a path's `?`.
fn filter(which: &CacheWhich) -> Vec<(&'static str, String)> {
    let lists = lists(which).into_iter().filter(|(_, _, values)| !values.is_empty());
    let mut filter: Vec<_> = lists.map(|(one, _, values)| (one, values.join(","))).collect();
    filter.extend(which.before.clone().map(|before| ("before", before)));
    filter.extend(which.older_than.clone().map(|age| ("older_than", age)));
    filter
}

/// The body that takes entries out.
fn order(wanted: &CacheInvalidate) -> anyhow::Result<Value> {
    let which = &wanted.which;
    let mut body = json!({});
    for (_, several, values) in lists(which) {
        if !values.is_empty() {
            body[several] = json!(values);
        }
    }
    for (field, value) in [("before", &which.before), ("older_than", &which.older_than)] {
        if let Some(value) = value {
            body[field] = json!(value);
        }
    }
    match (body == json!({}), wanted.all) {
        (true, false) => bail!(
            "nothing says which entries are meant: give --id, --key, --tag, --model, --provider, --namespace, \
             --before or --older-than, or --all for everything in the workspace"
        ),
        (_, true) => Ok(json!({ "all": true })),
        (false, false) => Ok(body),
    }
}

/// What is given more than once: its name in queries, in bodies, and its values.
fn lists(which: &CacheWhich) -> [(&'static str, &'static str, &Vec<String>); 6] {
    [
        ("id", "ids", &which.ids),
        ("key", "keys", &which.keys),
        ("tag", "tags", &which.tags),
        ("model", "models", &which.models),
        ("provider", "providers", &which.providers),
        ("namespace", "namespaces", &which.namespaces),
    ]
}
