//! `pointsman apply` and `pointsman diff`: what is stored is brought in line with files.

pub(crate) mod documents;
mod fields;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::ValueEnum as _;
use serde_json::{Map, Value, json};

use crate::api::{self, Api, entity};
use crate::cli::{Apply, Diff, Files, KeyType};
use crate::commands::keys;
use crate::output::{BAD, BOLD, GOOD, Output, styled};
use crate::settings::Settings;
use documents::{Document, Found, Reader};
use fields::Kind;
pub(crate) use plan::moment;
use plan::{Action, Change};

/// The long help of `pointsman apply`.
pub(crate) const HELP: &str = "\
Bring what is stored in line with files: configs, virtual keys, API keys, workspaces, policies of usage and rates.

A file holds one document, or several as a JSON list or as `[[documents]]` in TOML. A document says its `kind` \
(config, virtual_key, api_key, workspace, usage_policy, rate_policy), its `slug` (an API key: its `name`), perhaps its `workspace`, and the fields \
that the API has for that kind. Secrets are written as `${NAME}` and come from the environment, or stay outside as \
`secret = { env = \"NAME\" }`. A new API key is written into the file that `key_file` names.

All files are checked before anything is changed. Changes are shown as a diff, secrets masked. A field that a document \
does not name is left as it is. An entity that somebody changed meanwhile is not overwritten. Workspaces are never \
pruned: that would stop all their keys.

Exit codes: 0 done, or nothing to do; 1 refused or failed; 2 with --dry-run: something would change.";

/// The workspace that is always there.
const DEFAULT_WORKSPACE: &str = "default";

/// The exit code that says that something would change.
const WOULD_CHANGE: u8 = 2;

pub(crate) async fn run(
    apply: Apply,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let Some((api, changes)) = planned(&apply.files, &apply.gateway, output, settings, env).await? else {
        return Ok(ExitCode::FAILURE);
    };
    if apply.dry_run {
        return Ok(preview(output, &changes));
    }
    for change in changes.iter().filter(|change| change.action == Action::Create) {
        if let Some(file) = &change.key_file {
            keys::absent(file)?;
        }
    }
    for (done, change) in changes.iter().enumerate() {
        show(output, change);
        perform(&api, change).await.with_context(|| {
            let total = changes.len();
            format!(
                "{} {}; {done} of {total} changes are done, apply again to go on",
                change.action.as_str(),
                change.title()
            )
        })?;
        output.line(format!("{} {}\n", styled(GOOD, change.action.done()), change.title()));
    }
    report(output, &changes, true);
    if changes.is_empty() {
        output.line("nothing to change");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn diff(
    diff: Diff,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<ExitCode> {
    let planned = planned(&diff.files, &diff.gateway, output, settings, env).await?;
    Ok(planned.map_or(ExitCode::FAILURE, |(_, changes)| preview(output, &changes)))
}

/// Checks all files and compares them with what is stored. None: they are refused, and it was said why.
async fn planned(
    files: &Files,
    gateway: &crate::cli::Gateway,
    output: Output,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> anyhow::Result<Option<(Api, Vec<Change>)>> {
    let reader = Reader { env, workspace: gateway.workspace.as_deref(), bare_configs: false };
    let mut found = reader.read(&files.files);
    let api = Api::new(gateway, settings, env)?;
    if found.problems.is_empty() {
        lint(&api, &mut found).await?;
    }
    if !found.problems.is_empty() {
        let errors: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
        output.value(&json!({ "applied": false, "errors": errors }));
        for error in &errors {
            output.line(format!("{} {error}", styled(BAD, "error:")));
        }
        output.line("nothing was changed");
        return Ok(None);
    }
    let own = own_workspace(&api).await?;
    for document in &mut found.documents {
        if document.kind.has_workspace() && document.workspace.is_none() {
            document.workspace.clone_from(&own);
        }
    }
    let mut changes = Vec::new();
    for document in &found.documents {
        let stored = stored(&api, document).await.with_context(|| document.place.clone())?;
        changes.extend(plan::compare(document, stored.as_ref(), &files.owner, files.resend_secrets));
    }
    if files.prune {
        changes.extend(superfluous(&api, own, &found.documents, &files.owner).await?);
    }
    Ok(Some((api, changes)))
}

/// The gateway knows its providers and may be of another version than this command, so that its word counts, too.
async fn lint(api: &Api, found: &mut Found) -> anyhow::Result<()> {
    for document in found.documents.iter().filter(|document| document.kind == Kind::Config) {
        let mut config = document.spec["config"].clone();
        // It would not find what is only about to be made.
        if names_one_of(&config, &found.documents) {
            continue;
        }
        domain::config::seal_credentials(&mut config, &mut |_| "***".to_owned());
        let api = api.within(document.workspace.as_deref());
        let answer = match api.post(&["configs", "lint"], &json!({ "config": config })).await {
            Err(err) if api::status(&err) == Some(404) => continue,
            answer => answer?,
        };
        let answer = if answer.get("valid").is_some() { answer } else { entity(answer) };
        let errors = answer["errors"].as_array().cloned().unwrap_or_default();
        found.problems.extend(errors.iter().map(|error| documents::Problem {
            file: document.place.clone(),
            path: api::text(error, "path"),
            message: api::text(error, "message"),
        }));
    }
    Ok(())
}

/// Whether a config names a virtual key of these documents.
fn names_one_of(config: &Value, documents: &[Document]) -> bool {
    let is_one = |text: &str| {
        let slug = text.trim_start_matches('@').split('/').next().unwrap_or_default();
        documents.iter().any(|document| document.kind == Kind::VirtualKey && document.id == slug)
    };
    match config {
        Value::Array(items) => items.iter().any(|item| names_one_of(item, documents)),
        Value::Object(map) => map.iter().any(|(key, value)| match value {
            Value::String(text) if ["provider", "virtual_key"].contains(&key.as_str()) => is_one(text),
            value => names_one_of(value, documents),
        }),
        _ => false,
    }
}

/// The workspace of requests that name none. None: that of the API key, which sees no other.
async fn own_workspace(api: &Api) -> anyhow::Result<Option<String>> {
    if let Some(workspace) = api.workspace() {
        return Ok(Some(workspace.to_owned()));
    }
    match api.get(&["admin", "workspaces", DEFAULT_WORKSPACE]).await {
        Ok(_) => Ok(Some(DEFAULT_WORKSPACE.to_owned())),
        Err(err) if matches!(api::status(&err), Some(403 | 404)) => Ok(None),
        Err(err) => Err(err),
    }
}

fn scoped(api: &Api, kind: Kind, workspace: Option<&str>) -> Api {
    api.within(workspace.filter(|_| kind.has_workspace()))
}

/// What the gateway has under a document's name.
async fn stored(api: &Api, document: &Document) -> anyhow::Result<Option<Value>> {
    let api = scoped(api, document.kind, document.workspace.as_deref());
    if document.kind == Kind::ApiKey {
        let keys = match api.list(document.kind.path(), &active()).await {
            // A workspace that is only about to be made has nothing in it.
            Err(err) if api::status(&err) == Some(404) => return Ok(None),
            keys => keys?,
        };
        let mut same = keys.into_iter().filter(|key| key["name"] == document.id.as_str());
        let (first, second) = (same.next(), same.next());
        if second.is_some() {
            bail!(
                "several API keys are named `{}`, so that it is not clear which one is meant; revoke the others",
                document.id
            );
        }
        return Ok(first);
    }
    let path = [document.kind.path(), &[document.id.as_str()]].concat();
    // A workspace that is only about to be made has nothing in it, so that its absence means no more than that.
    Ok(api.find(&path).await?.map(entity))
}

fn active() -> [(&'static str, String); 1] {
    [("status", "active".to_owned())]
}

/// What was applied earlier under this owner and is in no file any more, what names others first.
async fn superfluous(
    api: &Api,
    own: Option<String>,
    documents: &[Document],
    owner: &str,
) -> anyhow::Result<Vec<Change>> {
    let inside = documents.iter().filter(|document| document.kind.has_workspace());
    let mut workspaces: BTreeSet<Option<String>> =
        inside.map(|document| document.workspace.clone()).collect();
    workspaces.insert(own);
    let mut changes = Vec::new();
    for workspace in workspaces {
        for kind in Kind::ALL.iter().rev().copied().filter(|kind| kind.has_workspace()) {
            let api = scoped(api, kind, workspace.as_deref());
            let listed = match api.list(kind.path(), &active()).await {
                // A workspace that is only about to be made has nothing in it.
                Err(err) if api::status(&err) == Some(404) => continue,
                listed => listed?,
            };
            for entity in listed.iter().filter(|entity| entity["managed_by"] == owner) {
                let kept = documents.iter().any(|document| {
                    document.kind == kind
                        && document.workspace == workspace
                        && entity[kind.identity()] == document.id.as_str()
                });
                if !kept {
                    changes.push(plan::archive(kind, workspace.as_deref(), entity));
                }
            }
        }
    }
    Ok(changes)
}

async fn perform(api: &Api, change: &Change) -> anyhow::Result<()> {
    let api = scoped(api, change.kind, change.workspace.as_deref());
    let path = change.kind.path();
    match change.action {
        Action::Create => create(&api, change).await,
        Action::Update => {
            let path = [path, &[change.id.as_str()]].concat();
            let updated = api.put(&path, &body(&change.body), change.revision).await;
            updated.map(drop).map_err(meanwhile)
        }
        Action::Archive => {
            let path = [path, &[change.id.as_str()]].concat();
            api.delete(&path, change.revision).await.map(drop).map_err(meanwhile)
        }
    }
}

fn meanwhile(err: anyhow::Error) -> anyhow::Error {
    match api::status(&err) {
        Some(412) => err.context("somebody changed it meanwhile; look at `pointsman diff`"),
        _ => err,
    }
}

async fn create(api: &Api, change: &Change) -> anyhow::Result<()> {
    let mut body = body(&change.body);
    body[change.kind.identity()] = json!(change.id);
    if change.kind.has_workspace() {
        api::put_if(&mut body, "workspace_id", change.workspace.as_deref());
    }
    if change.kind != Kind::ApiKey {
        return api.post(change.kind.path(), &body).await.map(drop);
    }
    let word = change.body.get("type").and_then(Value::as_str);
    let kind = word.and_then(key_type).unwrap_or(KeyType::WorkspaceService);
    if let Some(map) = body.as_object_mut() {
        map.remove("type");
    }
    let answer = entity(api.post(&kind.path(), &body).await?);
    let key = answer["key"].as_str().context("the gateway's answer has no key")?;
    let file = change.key_file.as_deref().context("the document names no `key_file`")?;
    keys::write_key(file, key)
}

/// Fields as requests spell them.
fn body(fields: &Map<String, Value>) -> Value {
    let spelled = |name: &String| if name == "is_default" { "isDefault".to_owned() } else { name.clone() };
    Value::Object(fields.iter().map(|(name, value)| (spelled(name), value.clone())).collect())
}

/// The type of an API key by its word.
fn key_type(word: &str) -> Option<KeyType> {
    KeyType::from_str(word, false).ok()
}

fn preview(output: Output, changes: &[Change]) -> ExitCode {
    report(output, changes, false);
    for change in changes {
        show(output, change);
    }
    if changes.is_empty() {
        output.line("nothing to change");
        return ExitCode::SUCCESS;
    }
    ExitCode::from(WOULD_CHANGE)
}

fn report(output: Output, changes: &[Change], applied: bool) {
    let change = |change: &Change| {
        json!({
            "action": change.action.as_str(), "kind": change.kind.as_str(), "workspace": change.workspace,
            "id": change.id, "name": change.name, "diff": change.diff,
        })
    };
    output.value(&json!({ "applied": applied, "changes": changes.iter().map(change).collect::<Vec<_>>() }));
}

fn show(output: Output, change: &Change) {
    for line in change.diff.trim_end().lines() {
        let text = match line.as_bytes().first() {
            _ if line.starts_with("--- ") || line.starts_with("+++ ") => styled(BOLD, line),
            Some(b'-') => styled(BAD, line),
            Some(b'+') => styled(GOOD, line),
            _ => line.to_owned(),
        };
        output.line(text);
    }
}
