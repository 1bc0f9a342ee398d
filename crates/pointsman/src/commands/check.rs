//! `pointsman check`: is this settings file right?

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use domain::config::HeaderOptions;
use serde_json::json;

use crate::output::{BAD, GOOD, Output, styled};
use crate::process::register;
use crate::settings::{Settings, Sources};

pub(crate) fn run(output: Output, file: &Path, env: &BTreeMap<String, String>) -> anyhow::Result<ExitCode> {
    let errors = match Settings::load(Sources { file: Some(file), env, set: &[] }) {
        Ok(settings) => problems(&settings),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    };
    output.value(&json!({ "ok": errors.is_empty(), "errors": errors }));
    if errors.is_empty() {
        output.line(format!("{} {}", styled(GOOD, "ok"), file.display()));
        return Ok(ExitCode::SUCCESS);
    }
    for error in &errors {
        output.line(format!("{} {error}", styled(BAD, "error:")));
    }
    Ok(ExitCode::FAILURE)
}

/// What only shows when the settings are used: providers that are not in the catalogue, a route that leads nowhere.
fn problems(settings: &Settings) -> Vec<String> {
    let mut problems = Vec::new();
    let key = bus::seal::PrivateKey::from_bytes([1; 32]).public();
    for (slug, provider) in &settings.providers {
        if let Err(err) = register::entry(slug, provider, &key) {
            problems.push(format!("{err:#}"));
        }
    }
    if let Some(route) = &settings.route {
        match domain::Config::read(route, &HeaderOptions::default()) {
            Err(err) => problems.push(format!("[route]: {err}")),
            Ok(config) => {
                for target in config.targets() {
                    let known = settings.providers.contains_key(&target.provider)
                        || providers::catalogue::find(&target.provider).is_some()
                        || target.provider == "mock";
                    if !known {
                        problems.push(format!(
                            "[route]: `{}` names the provider `{}`, which is unknown",
                            target.path, target.provider
                        ));
                    }
                }
            }
        }
    } else if settings.providers.len() > 1 {
        problems.push("several providers are configured but no [route]: say which one answers".to_owned());
    }
    problems
}
