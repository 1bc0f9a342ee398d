//! `pointsman history` and `pointsman rollback`: versions of a config.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::api::{Api, entity, text};
use crate::cli::{History, Rollback};
use crate::output::{GOOD, Output, styled, table};
use crate::settings::Settings;

pub(crate) async fn run(
    history: History,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let api = Api::new(&history.gateway, settings, env)?;
    let slug = slug(&history.config);
    let head = entity(api.get(&["configs", &slug]).await?);
    let versions = versions(&api, &slug).await?;
    output.value(&json!({ "slug": slug, "version": head["version"], "versions": versions }));
    let mut rows = vec![["VERSION", "MADE", "BY", ""].map(str::to_owned).to_vec()];
    for version in &versions {
        let in_force = version["version"] == head["version"];
        rows.push(vec![
            text(version, "version"),
            text(version, "created_at"),
            text(version, "created_by"),
            if in_force { "in force".to_owned() } else { String::new() },
        ]);
    }
    output.line(table(&rows));
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn rollback(
    rollback: Rollback,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let api = Api::new(&rollback.gateway, settings, env)?;
    let slug = slug(&rollback.config);
    let head = entity(api.get(&["configs", &slug]).await?);
    let current = head["version"].as_u64().context("the gateway does not say which version is in force")?;
    let to = match rollback.to {
        Some(to) => u64::from(to),
        None if current > 1 => current - 1,
        None => bail!("`{slug}` is at version {current}: there is none before it"),
    };
    let answer = api.post(&["configs", &slug, "rollback"], &json!({ "version": to })).await?;
    output.value(&answer);
    output.line(format!("{} {slug} from version {current} to version {to}", styled(GOOD, "rolled back")));
    Ok(ExitCode::SUCCESS)
}

async fn versions(api: &Api, slug: &str) -> anyhow::Result<Vec<Value>> {
    let mut versions = api.list(&["configs", slug, "versions"], &[]).await?;
    versions.sort_by_key(|version| std::cmp::Reverse(version["version"].as_u64()));
    Ok(versions)
}

/// Configs are named with `pc-`; people may leave it out.
pub(crate) fn slug(text: &str) -> String {
    if text.starts_with("pc-") { text.to_owned() } else { format!("pc-{text}") }
}
