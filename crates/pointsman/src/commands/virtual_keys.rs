//! `pointsman virtual-keys`: provider accounts. A credential comes by environment or standard input, never as an
//! argument, and is never printed.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use domain::{Operation, Slug};
use serde_json::{Value, json};

use crate::api::{Api, entity, expiry, put_if, text};
use crate::cli::{Credential, Gateway, Kinds, VirtualKeys};
use crate::commands::get;
use crate::output::{GOOD, Output, styled};
use crate::settings::Settings;

pub(crate) async fn run(
    keys: VirtualKeys,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let connect = |gateway: &Gateway| Api::new(gateway, settings, env);
    match keys {
        VirtualKeys::Create {
            slug,
            provider,
            name,
            note,
            models,
            operations,
            expires,
            custom_host,
            credential,
            gateway,
        } => {
            Slug::parse(&slug)?;
            operations.iter().try_for_each(|word| word.parse::<Operation>().map(|_| ()))?;
            let mut body =
                json!({ "name": name.unwrap_or_else(|| slug.clone()), "slug": slug, "provider": provider });
            put_if(&mut body, "note", note);
            put_if(&mut body, "custom_host", custom_host);
            put_if(&mut body, "expires_at", expires.as_deref().map(expiry).transpose()?);
            put_if(&mut body, "models", (!models.is_empty()).then_some(models));
            put_if(&mut body, "operations", (!operations.is_empty()).then_some(operations));
            take_credential(&mut body, &credential, env)?;
            let api = connect(&gateway)?;
            put_if(&mut body, "workspace_id", api.workspace());
            done(output, "created", &slug, api.post(&["virtual-keys"], &body).await?)
        }
        VirtualKeys::Ls { gateway } => {
            get::list(&connect(&gateway)?, output, Kinds::VirtualKeys, false).await
        }
        VirtualKeys::Rotate { slug, credential, gateway } => {
            let mut body = json!({});
            if credential.no_key {
                bail!(
                    "`--no-key` rotates nothing: give the new credential, or `pointsman virtual-keys revoke {slug}`"
                );
            }
            take_credential(&mut body, &credential, env)?;
            done(
                output,
                "rotated",
                &slug,
                connect(&gateway)?.put(&["virtual-keys", &slug], &body, None).await?,
            )
        }
        VirtualKeys::Revoke { slug, gateway } => {
            done(output, "revoked", &slug, connect(&gateway)?.delete(&["virtual-keys", &slug], None).await?)
        }
    }
}

fn done(output: Output, what: &str, slug: &str, answer: Value) -> anyhow::Result<ExitCode> {
    output.value(&answer);
    let masked = text(&entity(answer), "masked_key");
    let masked = if masked.is_empty() { masked } else { format!(" ({masked})") };
    output.line(format!("{} @{slug}{masked}", styled(GOOD, what)));
    Ok(ExitCode::SUCCESS)
}

fn take_credential(
    body: &mut Value,
    credential: &Credential,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<()> {
    if let Some(name) = &credential.secret_env {
        body["secret"] = json!({ "env": name });
    } else if let Some(path) = &credential.secret_file {
        body["secret"] = json!({ "file": path });
    } else if let Some(name) = &credential.key_env {
        let value = env.get(name).filter(|value| !value.trim().is_empty());
        let value =
            value.with_context(|| format!("--key-env {name}: that environment variable is not set"))?;
        body["key"] = json!(value.trim());
    } else if !credential.no_key {
        body["key"] = json!(from_standard_input()?);
    }
    Ok(())
}

fn from_standard_input() -> anyhow::Result<String> {
    let mut input = std::io::stdin();
    // What is typed would be on the screen.
    if input.is_terminal() {
        bail!(
            "the credential is read from standard input, which is a terminal: pipe it in, or name an environment \
             variable with --key-env"
        );
    }
    let mut text = String::new();
    input.read_to_string(&mut text).context("read the credential from standard input")?;
    let key = text.trim();
    if key.is_empty() {
        bail!(
            "standard input held no credential: pipe it in, or name an environment variable with --key-env"
        );
    }
    Ok(key.to_owned())
}
