//! `pointsman models`: what is known about models, and settings from published price lists.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use domain::model::{ModelInfo, Models as _, NanoUsd, PicoUsd, estimate};
use domain::{Capability, Registry};
use providers::models::import::{self, Imported};
use providers::models::{UsdFor, View};
use serde_json::json;

use crate::cli::{ModelOrder, Models, ModelsCommand, ModelsImport, ModelsList};
use crate::output::{DIM, Output, styled, table};
use crate::process::register;
use crate::settings::{MOST_MODELS, Model, Settings};

/// Longest price list, in bytes; LiteLLM's has 2 MB.
const LONGEST: usize = 64 * 1024 * 1024;

/// How long fetching one may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn run(models: Models, output: Output, settings: &Settings) -> anyhow::Result<ExitCode> {
    match models.command {
        None => list(&models.list, output, settings),
        Some(ModelsCommand::Import(wanted)) => import(&wanted, output).await,
    }
}

fn list(wanted: &ModelsList, output: Output, settings: &Settings) -> anyhow::Result<ExitCode> {
    let registry = Registry { models: register::models(&settings.models)?, ..Registry::default() };
    let view = View::new(&registry);
    let found = chosen(view.all(), wanted);
    output.value(&json!({ "models": found }));
    output.line(table(&rows(&found)));
    output.line(styled(DIM, "prices in US dollars per million tokens"));
    Ok(ExitCode::SUCCESS)
}

/// The models that are wanted, in the order that is wanted.
fn chosen<'a>(all: impl Iterator<Item = &'a ModelInfo>, wanted: &ModelsList) -> Vec<&'a ModelInfo> {
    let required: BTreeSet<Capability> = wanted.requires.iter().copied().collect();
    let of_provider = |info: &&ModelInfo| wanted.provider.as_ref().is_none_or(|slug| *slug == info.provider);
    let mut found: Vec<&ModelInfo> = all.filter(of_provider).filter(|info| info.can(&required)).collect();
    match wanted.sort {
        ModelOrder::Name => {}
        ModelOrder::Price => found.sort_by_key(|info| typical(info)),
        ModelOrder::Context => found.sort_by_key(|info| std::cmp::Reverse(info.context_window)),
    }
    found
}

/// What 3000 tokens in and 1000 out cost. What has no price is not cheap, but unknown: it comes last.
fn typical(info: &ModelInfo) -> NanoUsd {
    info.price.as_ref().map_or(NanoUsd(u64::MAX), |price| estimate(price, 3000, 1000))
}

fn rows(found: &[&ModelInfo]) -> Vec<Vec<String>> {
    let head = ["MODEL", "CONTEXT", "OUTPUT", "IN", "OUT", "CACHED", "CAN"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for info in found {
        let price = info.price.as_ref();
        rows.push(vec![
            info.key(),
            tokens(info.context_window),
            tokens(info.max_output),
            rate(price.map(|price| price.input)),
            rate(price.map(|price| price.output)),
            rate(price.and_then(|price| price.cached_input)),
            info.capabilities.iter().map(|can| can.as_str()).collect::<Vec<_>>().join(" "),
        ]);
    }
    rows
}

fn tokens(count: Option<u64>) -> String {
    count.map_or_else(|| "-".to_owned(), |count| count.to_string())
}

fn rate(rate: Option<PicoUsd>) -> String {
    // Kept per token, written per million of them.
    rate.map_or_else(|| "-".to_owned(), |pico| UsdFor::<1_000_000>(pico).dollars().to_string())
}

async fn import(wanted: &ModelsImport, output: Output) -> anyhow::Result<ExitCode> {
    let source = wanted.source.as_str();
    let text = read(source).await?;
    let path = source.split(['?', '#']).next().unwrap_or(source);
    let stem =
        Path::new(path).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let provider = wanted.provider.as_deref();
    let mut imported = import::read(&text, provider.unwrap_or(&stem), provider)
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("import {source}"))?;
    for name in &wanted.models {
        if !imported.models.contains_key(name) {
            imported.problems.push((name.clone(), "no such model in the price list".to_owned()));
        }
    }
    if !wanted.models.is_empty() {
        imported.models.retain(|key, _| wanted.models.contains(key));
    }
    for (name, problem) in &imported.problems {
        output.warn(format_args!("`{name}` is left out: {problem}"));
    }
    anyhow::ensure!(!imported.models.is_empty(), "no model of {source} could be imported");
    if imported.models.len() > MOST_MODELS {
        let count = imported.models.len();
        output.warn(format!("{count} models, but settings take {MOST_MODELS}: name those that you call"));
    }
    let snippet = snippet(&imported)?;
    if let Some(path) = &wanted.output {
        std::fs::write(path, &snippet).with_context(|| format!("write {}", path.display()))?;
        output.line(format!("{} models written to {}", imported.models.len(), path.display()));
    } else if !output.is_json() {
        output.piece(&snippet);
    }
    let problems: Vec<_> = imported
        .problems
        .iter()
        .map(|(name, problem)| json!({ "model": name, "problem": problem }))
        .collect();
    output.value(&json!({ "format": imported.format, "models": imported.models, "problems": problems }));
    Ok(ExitCode::SUCCESS)
}

async fn read(source: &str) -> anyhow::Result<String> {
    if source.starts_with("https://") || source.starts_with("http://") {
        return fetch(source).await.with_context(|| format!("fetch {source}"));
    }
    if source != "-" {
        return std::fs::read_to_string(source).with_context(|| format!("read {source}"));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("read standard input")?;
    Ok(text)
}

async fn fetch(url: &str) -> anyhow::Result<String> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build().context("set up an HTTP client")?;
    let mut answer = client.get(url).send().await?.error_for_status()?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        body.extend_from_slice(&piece);
        anyhow::ensure!(body.len() <= LONGEST, "it is longer than {LONGEST} bytes, which no price list is");
    }
    String::from_utf8(body).context("it is not UTF-8")
}

/// Settings with these models.
fn snippet(imported: &Imported) -> anyhow::Result<String> {
    let mut text = format!("# Models from a price list in {}'s format.\n", imported.format);
    for (key, entry) in &imported.models {
        write!(text, "\n{}", section(key, entry)?)?;
    }
    Ok(text)
}

/// One model, a line for each field: the price in one line, too.
fn section(key: &str, entry: &Model) -> anyhow::Result<String> {
    let key = toml::Value::String(key.to_owned());
    let mut text = format!("[models.{key}]\n");
    for (field, value) in toml::Table::try_from(entry)? {
        writeln!(text, "{field} = {value}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
