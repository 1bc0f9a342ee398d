//! `pointsman workspaces`: make, list and archive them.

use std::collections::BTreeMap;
use std::process::ExitCode;

use domain::Workspace;
use serde_json::json;

use crate::api::{Api, put_if};
use crate::cli::{Kinds, Workspaces};
use crate::commands::get;
use crate::output::{GOOD, Output, styled};
use crate::settings::Settings;

pub(crate) async fn run(
    command: Workspaces,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    match command {
        Workspaces::Create { slug, name, description, gateway } => {
            Workspace::parse(&slug)?;
            let mut body = json!({ "slug": slug, "name": name.unwrap_or_else(|| slug.clone()) });
            put_if(&mut body, "description", description);
            let api = Api::new(&gateway, settings, env)?;
            output.value(&api.post(&["admin", "workspaces"], &body).await?);
            output.line(format!("{} {slug}", styled(GOOD, "created")));
        }
        Workspaces::Ls { gateway } => {
            return get::list(&Api::new(&gateway, settings, env)?, output, Kinds::Workspaces, false).await;
        }
        Workspaces::Archive { slug, gateway } => {
            let api = Api::new(&gateway, settings, env)?;
            output.value(&api.delete(&["admin", "workspaces", &slug], None).await?);
            output.line(format!("{} {slug}", styled(GOOD, "archived")));
        }
    }
    Ok(ExitCode::SUCCESS)
}
