//! `pointsman get`: what is stored.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::Value;

use crate::api::{Api, entity, text};
use crate::cli::{Get, Kinds};
use crate::output::{Output, table};
use crate::settings::Settings;

impl Kinds {
    /// Where the API has them.
    pub(crate) fn path(self) -> &'static [&'static str] {
        match self {
            Self::Configs => &["configs"],
            Self::VirtualKeys => &["virtual-keys"],
            Self::ApiKeys => &["api-keys"],
            Self::Workspaces => &["admin", "workspaces"],
            Self::Providers => &["providers"],
            Self::UsagePolicies => &["policies", "usage-limits"],
            Self::RatePolicies => &["policies", "rate-limits"],
        }
    }

    /// Headings and the fields below them.
    fn columns(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Configs => &[
                ("SLUG", "slug"),
                ("NAME", "name"),
                ("VERSION", "version"),
                ("DEFAULT", "is_default"),
                ("STATUS", "status"),
                ("CHANGED", "last_updated_at"),
                ("BY", "updated_by"),
                ("MANAGED BY", "managed_by"),
            ],
            Self::VirtualKeys => &[
                ("SLUG", "slug"),
                ("NAME", "name"),
                ("PROVIDER", "provider"),
                ("KEY", "masked_key"),
                ("STATUS", "status"),
                ("EXPIRES", "expires_at"),
                ("MANAGED BY", "managed_by"),
            ],
            Self::ApiKeys => &[
                ("ID", "id"),
                ("NAME", "name"),
                ("TYPE", "type"),
                ("SCOPES", "scopes"),
                ("WORKSPACE", "workspace_id"),
                ("STATUS", "status"),
                ("EXPIRES", "expires_at"),
            ],
            Self::Workspaces => {
                &[("SLUG", "slug"), ("NAME", "name"), ("DESCRIPTION", "description"), ("STATUS", "status")]
            }
            Self::Providers => &[
                ("SLUG", "slug"),
                ("NAME", "name"),
                ("INTEGRATION", "integration_id"),
                ("STATUS", "status"),
                ("EXPIRES", "expires_at"),
            ],
            Self::UsagePolicies => &[
                ("ID", "id"),
                ("NAME", "name"),
                ("TYPE", "type"),
                ("CAP", "credit_limit"),
                ("RESET", "periodic_reset"),
                ("STATUS", "status"),
                ("MANAGED BY", "managed_by"),
            ],
            Self::RatePolicies => &[
                ("ID", "id"),
                ("NAME", "name"),
                ("TYPE", "type"),
                ("CAP", "value"),
                ("UNIT", "unit"),
                ("STATUS", "status"),
                ("MANAGED BY", "managed_by"),
            ],
        }
    }
}

pub(crate) async fn run(
    get: Get,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let api = Api::new(&get.gateway, settings, env)?;
    let Some(slug) = &get.slug else { return list(&api, output, get.kind, get.archived).await };
    let answer = api.get(&[get.kind.path(), &[slug.as_str()]].concat()).await?;
    output.value(&answer);
    if !output.is_json() {
        output.line(serde_json::to_string_pretty(&entity(answer))?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a list: a table for people, the API's objects for scripts.
pub(crate) async fn list(api: &Api, output: Output, kind: Kinds, archived: bool) -> anyhow::Result<ExitCode> {
    let status = if archived { "archived" } else { "active" };
    let items = api.list(kind.path(), &[("status", status.to_owned())]).await?;
    let columns = kind.columns();
    let mut rows = vec![columns.iter().map(|(heading, _)| (*heading).to_owned()).collect::<Vec<_>>()];
    rows.extend(items.iter().map(|item| columns.iter().map(|(_, field)| cell(item, field)).collect()));
    output.value(&serde_json::json!({ "object": "list", "total": items.len(), "data": items }));
    output.line(table(&rows));
    Ok(ExitCode::SUCCESS)
}

fn cell(item: &Value, field: &str) -> String {
    let text = text(item, field);
    if text.is_empty() { "-".to_owned() } else { text }
}
