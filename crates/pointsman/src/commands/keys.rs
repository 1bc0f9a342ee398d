//! `pointsman keys`: what callers show. A key is printed once, when it is made.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use crate::api::{Api, entity, expiry, put_if};
use crate::cli::{Gateway, KeyType, Keys, Kinds};
use crate::commands::get;
use crate::output::{GOOD, Output, styled};
use crate::settings::Settings;

impl KeyType {
    /// Where the API makes such a key.
    pub(crate) fn path(self) -> [&'static str; 3] {
        match self {
            Self::WorkspaceService => ["api-keys", "workspace", "service"],
            Self::WorkspaceUser => ["api-keys", "workspace", "user"],
            Self::OrganisationService => ["api-keys", "organisation", "service"],
        }
    }
}

pub(crate) async fn run(
    keys: Keys,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let connect = |gateway: &Gateway| Api::new(gateway, settings, env);
    match keys {
        Keys::Create { name, kind, scopes, config, metadata, expires, description, key_out, gateway } => {
            let mut body = json!({ "name": name });
            if !scopes.is_empty() {
                scopes.iter().try_for_each(|scope| domain::policy::Scope::parse(scope).map(|_| ()))?;
                body["scopes"] = json!(scopes);
            }
            let defaults = defaults(config.as_deref(), &metadata)?;
            if !defaults.is_empty() {
                body["defaults"] = Value::Object(defaults);
            }
            put_if(&mut body, "description", description);
            put_if(&mut body, "expires_at", expires.as_deref().map(expiry).transpose()?);
            let api = connect(&gateway)?;
            put_if(&mut body, "workspace_id", api.workspace());
            make(&api, output, &kind.path(), &body, key_out.as_deref()).await
        }
        Keys::Ls { gateway } => get::list(&connect(&gateway)?, output, Kinds::ApiKeys, false).await,
        Keys::Rotate { id, overlap, key_out, gateway } => {
            let overlap = domain::time::parse_duration(&overlap).context("--overlap")?;
            let body = json!({ "key_transition_period_ms": domain::time::millis(overlap) });
            make(&connect(&gateway)?, output, &["api-keys", &id, "rotate"], &body, key_out.as_deref()).await
        }
        Keys::Revoke { id, gateway } => {
            let answer = connect(&gateway)?.delete(&["api-keys", &id], None).await?;
            output.value(&answer);
            output.line(format!("{} {id}", styled(GOOD, "revoked")));
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn make(
    api: &Api,
    output: Output,
    path: &[&str],
    body: &Value,
    file: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    if let Some(file) = file {
        absent(file)?;
    }
    let mut answer = entity(api.post(path, body).await?);
    let key = answer["key"].as_str().context("the gateway's answer has no key")?.to_owned();
    if let Some(file) = file {
        write_key(file, &key)?;
        answer["key"] = json!("***");
        output.value(&answer);
        output.line(format!(
            "{} {} in {}",
            styled(GOOD, "wrote"),
            crate::api::text(&answer, "id"),
            file.display()
        ));
    } else {
        output.value(&answer);
        // Nothing else, so that a script can take it.
        output.line(&key);
    }
    Ok(ExitCode::SUCCESS)
}

fn defaults(config: Option<&str>, metadata: &[String]) -> anyhow::Result<Map<String, Value>> {
    let mut defaults = Map::new();
    if let Some(config) = config {
        defaults.insert("config_id".to_owned(), json!(config));
    }
    let pairs = pairs("--metadata", metadata)?;
    if !pairs.is_empty() {
        defaults.insert("metadata".to_owned(), Value::Object(pairs));
    }
    Ok(defaults)
}

/// Reads `KEY=VALUE` arguments.
pub(crate) fn pairs(flag: &str, arguments: &[String]) -> anyhow::Result<Map<String, Value>> {
    let pair = |argument: &String| {
        let (key, value) =
            argument.split_once('=').with_context(|| format!("`{flag} {argument}`: write KEY=VALUE"))?;
        Ok((key.trim().to_owned(), json!(value)))
    };
    arguments.iter().map(pair).collect()
}

/// A new key is not to be lost because its file is there already.
pub(crate) fn absent(file: &Path) -> anyhow::Result<()> {
    if file.exists() {
        bail!(
            "{} exists; a key is only written into a new file: name another, or take it away",
            file.display()
        );
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        bail!("{} is no folder, so that {} cannot be written; create it", folder.display(), file.display());
    }
    Ok(())
}

/// Writes a key into a new file that is closed to other users.
pub(crate) fn write_key(file: &Path, key: &str) -> anyhow::Result<()> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut opened = opened.with_context(|| format!("create {}", file.display()))?;
    writeln!(opened, "{key}").with_context(|| format!("write {}", file.display()))
}
