//! `pointsman spend`: what everything took and cost, as a table with bars, JSON or CSV.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::api::{Api, text};
use crate::cli::{Spend, SpendCommand, SpendExport, SpendTable, SpendWhich};
use crate::output::{DIM, Output, WARN, styled, table};
use crate::settings::Settings;

/// Where the gateway answers.
const PATH: [&str; 3] = ["admin", "analytics", "spend"];

/// Where it answers with files.
const EXPORT: [&str; 3] = ["admin", "analytics", "export"];

/// Rows asked for at once.
const PAGE: u64 = 1000;

/// Characters of the longest bar.
const BAR: usize = 24;

/// What is counted, in the order in which it is printed.
const COUNTS: [&str; 7] = [
    "requests",
    "attempts",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
];

/// Attempts that took tokens at a price that nobody knows.
const UNKNOWN: &str = "unknown_cost_attempts";

/// Everything that was asked for, put together of its pages.
#[derive(Debug, Default)]
struct Books {
    rows: Vec<Map<String, Value>>,
    total: Value,
    /// Groups that there are, also those that are not shown.
    groups: u64,
    through: String,
}

pub(crate) async fn run(
    spend: Spend,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    if let Some(SpendCommand::Export(wanted)) = spend.command {
        return export(&wanted, output, settings, env).await;
    }
    let wanted = spend.table;
    let api = Api::new(&wanted.which.gateway, settings, env)?;
    let books = read(&api, &wanted).await?;
    if wanted.csv {
        output.piece(&csv(&books, &wanted.by)?);
    } else if output.is_json() {
        let rows: Vec<Value> = books.rows.iter().map(|row| Value::Object(short(row))).collect();
        output.always(&json!({ "rows": rows }));
    } else {
        print(&books, output);
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes every attempt into a file, or to standard output. A file is there whole or not at all.
async fn export(
    wanted: &SpendExport,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let ending = wanted.output.as_ref().and_then(|file| file.extension()).and_then(|ending| ending.to_str());
    let known = ending.filter(|ending| ["csv", "jsonl", "ndjson", "parquet"].contains(ending));
    let format = wanted.format.as_deref().or(known).unwrap_or("csv");
    let api = Api::new(&wanted.which.gateway, settings, env)?;
    let mut query = query(&wanted.which)?;
    query.push(("format", format.to_owned()));
    let Some(file) = &wanted.output else {
        if format == "parquet" && std::io::stdout().is_terminal() {
            anyhow::bail!("Parquet is not for a terminal: name a file with `--output attempts.parquet`");
        }
        api.download(&EXPORT, &query, &mut std::io::stdout().lock()).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| std::path::Path::new("."));
    let mut partial = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("create a file in {}", folder.display()))?;
    let bytes = api.download(&EXPORT, &query, &mut partial).await?;
    partial.persist(file).with_context(|| format!("write {}", file.display()))?;
    output.value(&json!({ "file": file, "format": format, "bytes": bytes }));
    output.line(format!("{}: {bytes} bytes", file.display()));
    Ok(ExitCode::SUCCESS)
}

/// What follows a path's `?`.
pub(crate) fn query(which: &SpendWhich) -> anyhow::Result<Vec<(&str, String)>> {
    let mut query = vec![("start_date", which.since.clone())];
    query.extend(which.until.clone().map(|until| ("end_date", until)));
    for filter in &which.filters {
        let pair = filter.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
        let (name, value) = pair.with_context(|| {
            format!("--filter: `{filter}` has no `=` between two words; write for example provider=openai")
        })?;
        query.push((name, value.to_owned()));
    }
    Ok(query)
}

async fn read(api: &Api, wanted: &SpendTable) -> anyhow::Result<Books> {
    let mut filter = query(&wanted.which)?;
    filter.push(("group_by", wanted.by.join(",")));
    let limit = wanted.limit.unwrap_or(u64::MAX);
    let mut books = Books::default();
    let mut offset = 0;
    loop {
        let mut query = filter.clone();
        let left = limit.saturating_sub(books.rows.len() as u64);
        query.push(("limit", PAGE.min(left).to_string()));
        query.push(("offset", offset.to_string()));
        let mut page = api.query(&PATH, &query).await?;
        let rows =
            page["rows"].as_array_mut().map(std::mem::take).context("the gateway's answer has no rows")?;
        let got = rows.len();
        books.rows.extend(rows.into_iter().filter_map(|row| match row {
            Value::Object(row) => Some(row),
            _ => None,
        }));
        (books.total, books.through) = (page["total"].take(), text(&page, "through"));
        books.groups = page["groups"].as_u64().unwrap_or(0).max(books.groups);
        match page["next_offset"].as_u64() {
            Some(next) if got > 0 && (books.rows.len() as u64) < limit => offset = next,
            _ => return Ok(books),
        }
    }
}

/// Names and values of what a row is grouped by: they come before the counts.
fn keys(row: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    row.iter().take_while(|(name, _)| *name != COUNTS[0])
}

/// A row as scripts read it.
fn short(row: &Map<String, Value>) -> Map<String, Value> {
    let mut short: Map<String, Value> =
        keys(row).map(|(name, value)| (name.clone(), value.clone())).collect();
    for name in COUNTS.into_iter().chain(["cost_usd"]) {
        short.insert(name.to_owned(), row.get(name).cloned().unwrap_or_default());
    }
    if let Some(unknown) = row.get(UNKNOWN).filter(|unknown| unknown.as_u64() > Some(0)) {
        short.insert(UNKNOWN.to_owned(), unknown.clone());
    }
    short
}

fn csv(books: &Books, by: &[String]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names: Vec<String> = match books.rows.first() {
        Some(row) => keys(row).map(|(name, _)| name.clone()).collect(),
        None => by.to_vec(),
    };
    let counts = COUNTS.into_iter().chain(["cost_usd", UNKNOWN]);
    writer.write_record(names.iter().map(String::as_str).chain(counts.clone()))?;
    for row in &books.rows {
        let row = Value::Object(row.clone());
        writer.write_record(
            names.iter().map(String::as_str).chain(counts.clone()).map(|name| text(&row, name)),
        )?;
    }
    Ok(String::from_utf8(writer.into_inner().context("write CSV")?)?)
}

fn print(books: &Books, output: Output) {
    if books.rows.is_empty() {
        output.line(styled(DIM, "nothing was booked in this time; --since 30d looks further back"));
        return;
    }
    let width = if std::io::stdout().is_terminal() { BAR } else { 0 };
    output.line(table(&lines(books, width)));
    let unknown = books.total[UNKNOWN].as_u64().unwrap_or(0);
    if unknown > 0 {
        output.line(styled(
            WARN,
            format!(
                "{unknown} attempts took tokens at a price that is not known (+?): name it in the settings, \
                 `[models.\"provider/name\"]`, then `pointsman ledger reprice`"
            ),
        ));
    }
    let hidden = books.groups.saturating_sub(books.rows.len() as u64);
    if hidden > 0 {
        output.line(styled(DIM, format!("{hidden} more rows; the total is that of all")));
    }
    if !books.through.is_empty() {
        output.line(styled(DIM, format!("booked up to {}", books.through)));
    }
}

/// The table: what is grouped by, counts, cost and a bar of its share of the largest.
fn lines(books: &Books, width: usize) -> Vec<Vec<String>> {
    let Some(first) = books.rows.first() else { return Vec::new() };
    let heads = ["REQUESTS", "ATTEMPTS", "INPUT", "OUTPUT", "CACHED", "WRITTEN", "REASONING", "USD"];
    let named = keys(first).count();
    let mut lines = vec![keys(first).map(|(name, _)| name.to_uppercase()).collect::<Vec<_>>()];
    lines[0].extend(heads.map(str::to_owned));
    let most = books.rows.iter().map(dollars).fold(0.0, f64::max);
    for row in &books.rows {
        let mut line: Vec<String> =
            keys(row).map(|(_, value)| value.as_str().unwrap_or("-").to_owned()).collect();
        line.extend(counts(row));
        lines.push(line);
    }
    if let Some(total) = books.total.as_object().filter(|_| named > 0) {
        let mut line = vec![String::new(); named];
        line[0] = "total".to_owned();
        line.extend(counts(total));
        lines.push(line);
    }
    right(&mut lines, named);
    if width > 0 {
        for (line, row) in lines.iter_mut().skip(1).zip(&books.rows) {
            line.push(bar(dollars(row), most, width));
        }
    }
    lines
}

fn counts(row: &Map<String, Value>) -> Vec<String> {
    let number = |name: &str| row.get(name).map(Value::to_string).unwrap_or_default();
    let mut cells: Vec<String> = COUNTS.into_iter().map(number).collect();
    let cost = row.get("cost_usd").and_then(Value::as_str).unwrap_or("-");
    let unknown = row.get(UNKNOWN).and_then(Value::as_u64) > Some(0);
    cells.push(if unknown { format!("{cost} +?") } else { cost.to_owned() });
    cells
}

/// Puts the numbers to the right of their columns.
fn right(lines: &mut [Vec<String>], from: usize) {
    let columns = lines.first().map_or(0, Vec::len);
    for column in from..columns {
        let width =
            lines.iter().filter_map(|line| line.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
        for cell in lines.iter_mut().filter_map(|line| line.get_mut(column)) {
            *cell = format!("{cell:>width$}");
        }
    }
}

/// For lengths of bars only.
fn dollars(row: &Map<String, Value>) -> f64 {
    row.get("cost_usd").and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

/// What costs anything shows.
fn bar(cost: f64, most: f64, width: usize) -> String {
    if cost <= 0.0 || most <= 0.0 {
        return String::new();
    }
    "█".repeat(((cost / most * width as f64).round() as usize).clamp(1, width))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(model: &str, cost: &str, unknown: u64) -> Map<String, Value> {
        let row = json!({
            "model": model, "metadata.team": null, "requests": 2, "attempts": 3, "errors": 0, "input_tokens": 100,
            "output_tokens": 20, "cached_input_tokens": 5, "cache_write_tokens": 6, "reasoning_tokens": 7,
            "images": 0, "unknown_cost_attempts": unknown, "cost_usd": cost, "saved_usd": "0",
        });
        row.as_object().unwrap().clone()
    }

    #[test]
    fn scripts_read_the_keys_the_counts_and_an_exact_cost() {
        let expected = json!({
            "model": "gpt-4o", "metadata.team": null, "requests": 2, "attempts": 3, "input_tokens": 100,
            "output_tokens": 20, "cached_input_tokens": 5, "cache_write_tokens": 6, "reasoning_tokens": 7,
            "cost_usd": "0.0035",
        });
        assert_eq!(Value::Object(short(&row("gpt-4o", "0.0035", 0))), expected);
        assert_eq!(short(&row("gpt-4o", "0.0035", 4))["unknown_cost_attempts"], 4);
        let books = Books { rows: vec![row("a,b", "0.5", 0)], ..Books::default() };
        let text = csv(&books, &[]).unwrap();
        assert_eq!(
            text,
            "model,metadata.team,requests,attempts,input_tokens,output_tokens,cached_input_tokens,\
             cache_write_tokens,reasoning_tokens,cost_usd,unknown_cost_attempts\n\"a,b\",,2,3,100,20,5,6,7,0.5,0\n"
        );
        assert!(csv(&Books::default(), &["model".to_owned()]).unwrap().starts_with("model,requests,"));
    }

    #[test]
    fn people_see_bars_totals_and_what_is_not_known() {
        let rows = vec![row("gpt-4o", "2", 0), row("mini", "0.01", 0), row("free", "0", 1)];
        let total = Value::Object(row("", "2.01", 1));
        let books = Books { rows, total, groups: 3, through: String::new() };
        let shown = lines(&books, 10);
        assert_eq!(shown[1].last().unwrap(), &"█".repeat(10));
        assert_eq!(shown[2].last().unwrap(), "█", "what costs anything shows");
        assert_eq!(shown[3].last().unwrap(), "");
        assert!(shown[3][9].ends_with("0 +?"), "{shown:?}");
        assert_eq!(shown[4][0], "total");
        let plain = lines(&books, 0);
        assert!(plain.iter().flatten().all(|cell| !cell.contains('█')));
    }

    #[test]
    fn filters_are_pairs() {
        let which = |filter: &str| SpendWhich {
            since: "7d".to_owned(),
            until: None,
            filters: vec![filter.to_owned()],
            gateway: crate::cli::Gateway::default(),
        };
        assert_eq!(query(&which("metadata.team=a=b")).unwrap()[1], ("metadata.team", "a=b".to_owned()));
        assert!(query(&which("provider")).unwrap_err().to_string().contains("provider=openai"));
    }
}
