//! Routing documents: heads, immutable versions, rollback.

use std::sync::Arc;

use bus::audit::Write;
use bus::seal::PublicKey;
use domain::config::{ConfigError, HeaderOptions, clear_credential, seal_credentials};
use domain::policy::{ConfigHead, ConfigVersion, Key, Status};
use domain::{Config, Slug, host};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Answer, Plan, Subject, date, list, success, write};
use crate::body::{self, Flag};
use crate::call::{Call, given_slug, parse_status};
use crate::refusal::Refusal;

/// What stands for a credential that is there.
const MASK: &str = "***";

const PREFIX: &str = "pc-";

/// A new config.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateConfig {
    /// Its name for people.
    name: String,
    /// Its id; `pc-` is put before it if it is missing. Made from the name if it is not given.
    slug: Option<String>,
    /// The routing document, as an object or as JSON text.
    config: Value,
    /// Requests of the workspace that bring no config use it.
    #[serde(rename = "isDefault")]
    is_default: Option<Flag>,
    /// Who keeps it in line with files elsewhere, as `pointsman apply` does.
    managed_by: Option<String>,
    /// Workspace it belongs to; that of the API key if it is not given.
    #[serde(rename = "workspace_id")]
    _workspace_id: Option<String>,
}

/// A change of a config. What is not given stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateConfig {
    /// As in the path; it cannot be changed.
    slug: Option<String>,
    /// Its name for people.
    name: Option<String>,
    /// The new document. `***` in the place of a credential keeps the one that is there.
    config: Option<Value>,
    /// `active` or `archived`.
    status: Option<String>,
    /// Requests of the workspace that bring no config use it.
    #[serde(rename = "isDefault")]
    is_default: Option<Flag>,
    /// Who keeps it in line with files elsewhere, as `pointsman apply` does.
    managed_by: Option<String>,
    /// Workspace it belongs to.
    #[serde(rename = "workspace_id")]
    _workspace_id: Option<String>,
}

/// Which version is to be in force again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// Its number.
    version: u32,
    /// Workspace the config belongs to.
    #[serde(rename = "workspace_id")]
    _workspace_id: Option<String>,
}

/// A document to be judged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lint {
    /// The routing document, as an object or as JSON text.
    config: Value,
    /// Workspace whose virtual keys it may name.
    #[serde(rename = "workspace_id")]
    _workspace_id: Option<String>,
}

pub(crate) fn index(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (status, page) = (call.query.status()?, call.query.page()?);
    let mut heads = call.policy.configs(&call.workspace);
    heads.retain(|head| head.status == status);
    Ok(list(heads, page, |head| {
        let revision = call.policy.sequence(&key(call, &head.slug));
        let mut shown = shown(&head, None);
        shown["revision"] = json!(revision);
        shown
    }))
}

pub(crate) fn read(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (head, version) = current(call)?;
    Ok(Answer::Found(success(shown(&head, version.as_deref())), call.policy.sequence(&key(call, &head.slug))))
}

pub(crate) fn create(call: &Call<'_>) -> Result<Answer, Refusal> {
    let new: CreateConfig = body::read(call.body)?;
    call.must_be_open()?;
    let text = match &new.slug {
        Some(slug) if slug.starts_with(PREFIX) => slug.clone(),
        Some(slug) => format!("{PREFIX}{slug}"),
        None => format!("{PREFIX}{}", call.slug_of(&new.name, true)),
    };
    let slug = given_slug(&text)?;
    if call.policy.config_head(&call.workspace, &slug).is_some() {
        let message = format!("`slug`: `{slug}` is there already, perhaps archived; choose another");
        return Err(Refusal::conflict("slug", message));
    }
    let document = checked(call, &new.config, None)?;
    let head = ConfigHead {
        slug: slug.clone(),
        workspace: call.workspace.clone(),
        name: new.name,
        version: 1,
        latest: 1,
        is_default: new.is_default.is_some_and(|flag| flag.0),
        status: Status::Active,
        managed_by: new.managed_by,
        created: call.stamp(),
        updated: call.stamp(),
    };
    let mut writes = no_other_default(call, &head);
    let version = version(call, &head, document);
    writes.push(write(version_key(call, &slug, 1), &version, None));
    writes.push(write(key(call, &slug), &head, None));
    let after = shown(&head, Some(&version));
    Ok(Plan::new(subject(&head), "create", (Value::Null, after.clone()), writes)
        .replying(201, success(after)))
}

pub(crate) fn update(call: &Call<'_>) -> Result<Answer, Refusal> {
    let change: UpdateConfig = body::read(call.body)?;
    call.must_be_in_path("slug", 0, change.slug.as_deref())?;
    let (head, version) = current(call)?;
    let revision = call.revision(&key(call, &head.slug))?;
    let mut new = ConfigHead { updated: call.stamp(), ..(*head).clone() };
    if let Some(name) = change.name {
        new.name = name;
    }
    if let Some(status) = change.status {
        new.status = parse_status("status", &status)?;
    }
    if let Some(flag) = change.is_default {
        new.is_default = flag.0;
    }
    if let Some(owner) = change.managed_by {
        new.managed_by = Some(owner);
    }
    let mut writes = no_other_default(call, &new);
    let mut next = version.clone();
    if let Some(document) = &change.config {
        let document = checked(call, document, version.as_ref().map(|v| &v.document))?;
        new.latest += 1;
        new.version = new.latest;
        let made = self::version(call, &new, document);
        writes.push(write(version_key(call, &new.slug, new.version), &made, None));
        next = Some(Arc::new(made));
    }
    writes.push(write(key(call, &new.slug), &new, revision));
    let views = (shown(&head, version.as_deref()), shown(&new, next.as_deref()));
    let after = views.1.clone();
    Ok(Plan::new(subject(&new), "update", views, writes).replying(200, success(after)))
}

pub(crate) fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (head, version) = current(call)?;
    let revision = call.revision(&key(call, &head.slug))?;
    let new =
        ConfigHead { status: Status::Archived, is_default: false, updated: call.stamp(), ..(*head).clone() };
    let views = (shown(&head, version.as_deref()), shown(&new, version.as_deref()));
    let writes = vec![write(key(call, &new.slug), &new, revision)];
    Ok(Plan::new(subject(&new), "delete", views, writes).replying(200, json!({})))
}

pub(crate) fn versions(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (head, _) = current(call)?;
    let all = call.policy.config_versions(&call.workspace, &head.slug);
    Ok(list(all, call.query.page()?, |version| {
        let mut shown = shown(&ConfigHead { version: version.version, ..(*head).clone() }, Some(&version));
        // As text, and dated by the version itself: so Portkey lists them.
        shown["config"] = Value::from(shown["config"].to_string());
        shown["created_at"] = date(version.created.at);
        shown["created_by"] = json!(version.created.by);
        shown["in_force"] = json!(version.version == head.version);
        shown
    }))
}

pub(crate) fn one_version(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (head, _) = current(call)?;
    let text = call.params.get(1).copied().unwrap_or_default();
    let number = text.parse().ok();
    let found = number.and_then(|n| call.policy.config_version(&call.workspace, &head.slug, n));
    let version = found.ok_or_else(|| Refusal::not_found("version", text))?;
    let head = ConfigHead { version: version.version, ..(*head).clone() };
    Ok(Answer::Found(success(shown(&head, Some(&version))), None))
}

pub(crate) fn rollback(call: &Call<'_>) -> Result<Answer, Refusal> {
    let wanted: Rollback = body::read(call.body)?;
    let (head, version) = current(call)?;
    let revision = call.revision(&key(call, &head.slug))?;
    let found = call.policy.config_version(&call.workspace, &head.slug, wanted.version);
    let back = found.ok_or_else(|| {
        let message =
            format!("`version`: there is no version {}; there are 1 to {}", wanted.version, head.latest);
        Refusal::invalid("version", message)
    })?;
    let new = ConfigHead { version: wanted.version, updated: call.stamp(), ..(*head).clone() };
    let views = (shown(&head, version.as_deref()), shown(&new, Some(&back)));
    let after = views.1.clone();
    let writes = vec![write(key(call, &new.slug), &new, revision)];
    Ok(Plan::new(subject(&new), "rollback", views, writes).replying(200, success(after)))
}

pub(crate) fn lint(call: &Call<'_>) -> Result<Answer, Refusal> {
    let asked: Lint = body::read(call.body)?;
    let mut warnings = Vec::new();
    let errors = match document(&asked.config).and_then(|document| {
        if let Some(path) = clear_credential(&document) {
            let message = "a credential in clear: it is sealed when the config is stored; a virtual key is easier to rotate";
            warnings.push(json!({ "path": path, "message": message }));
        }
        check(call, &document)
    }) {
        Ok(()) => Vec::new(),
        Err(refusal) => vec![json!({ "path": refusal.param, "message": refusal.message })],
    };
    Ok(Answer::Found(json!({ "valid": errors.is_empty(), "errors": errors, "warnings": warnings }), None))
}

fn key(call: &Call<'_>, slug: &Slug) -> Key {
    Key::Config(call.workspace.clone(), slug.clone())
}

fn version_key(call: &Call<'_>, slug: &Slug, number: u32) -> Key {
    Key::Version(call.workspace.clone(), slug.clone(), number)
}

fn subject(head: &ConfigHead) -> Subject {
    Subject { resource: "config", id: head.slug.to_string(), workspace: head.workspace.clone() }
}

fn version(call: &Call<'_>, head: &ConfigHead, document: Value) -> ConfigVersion {
    ConfigVersion {
        slug: head.slug.clone(),
        workspace: head.workspace.clone(),
        version: head.version,
        document,
        created: call.stamp(),
    }
}

/// The head that the path names, archived ones included, and the version in force.
fn current(call: &Call<'_>) -> Result<(Arc<ConfigHead>, Option<Arc<ConfigVersion>>), Refusal> {
    let slug = call.slug("config")?;
    let head = call.policy.config_head(&call.workspace, &slug);
    let head = head.ok_or_else(|| Refusal::not_found("config", slug.as_str()))?;
    let version = call.policy.config_version(&call.workspace, &slug, head.version);
    Ok((head, version))
}

/// A workspace has one default at most: whoever was it before is it no more.
fn no_other_default(call: &Call<'_>, head: &ConfigHead) -> Vec<Write> {
    if !head.is_default {
        return Vec::new();
    }
    let others = call.policy.configs(&call.workspace);
    let others = others.into_iter().filter(|other| other.is_default && other.slug != head.slug);
    others
        .map(|other| {
            let key = key(call, &other.slug);
            let expected = call.policy.sequence(&key);
            let new = ConfigHead { is_default: false, updated: call.stamp(), ..(*other).clone() };
            write(key, &new, expected)
        })
        .collect()
}

/// A config as callers see it: credentials masked.
fn shown(head: &ConfigHead, version: Option<&ConfigVersion>) -> Value {
    let mut shown = json!({
        "id": head.slug, "object": "config", "slug": head.slug, "name": head.name, "version": head.version,
        "latest_version": head.latest, "version_id": format!("{}@{}", head.slug, head.version),
        "is_default": head.is_default, "status": head.status, "workspace_id": head.workspace,
        "created_at": date(head.created.at), "last_updated_at": date(head.updated.at),
        "created_by": head.created.by, "updated_by": head.updated.by, "managed_by": head.managed_by,
    });
    if let Some(version) = version {
        let mut document = version.document.clone();
        mask(&mut document);
        shown["config"] = document;
    }
    shown
}

fn mask(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with(bus::seal::PREFIX) => *text = MASK.to_owned(),
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(map) => map.values_mut().for_each(mask),
        _ => {}
    }
}

/// Puts credentials back where a document says that they stay.
fn unmask(new: &mut Value, old: Option<&Value>) {
    match new {
        Value::String(text) if text == MASK => {
            if let Some(Value::String(kept)) = old.filter(|old| is_sealed(old)) {
                *text = kept.clone();
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                unmask(item, old.and_then(|old| old.get(at)));
            }
        }
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                unmask(value, old.and_then(|old| old.get(name)));
            }
        }
        _ => {}
    }
}

/// Whether a document says that credentials stay.
fn keeps_some(document: &Value) -> bool {
    match document {
        Value::String(text) => text == MASK,
        Value::Array(items) => items.iter().any(keeps_some),
        Value::Object(map) => map.values().any(keeps_some),
        _ => false,
    }
}

/// A host that the old document does not name: whoever may change a config may not read its credentials.
fn new_host<'v>(new: &'v Value, old: &Value) -> Option<&'v str> {
    let known = hosts(old);
    hosts(new).into_iter().find(|host| !known.contains(host))
}

fn hosts(document: &Value) -> Vec<&str> {
    match document {
        Value::Array(items) => items.iter().flat_map(hosts).collect(),
        Value::Object(map) => {
            let own = map.get("custom_host").and_then(Value::as_str);
            own.into_iter().chain(map.values().flat_map(hosts)).collect()
        }
        _ => Vec::new(),
    }
}

fn is_sealed(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with(bus::seal::PREFIX))
}

/// The document, as an object or as text.
fn document(given: &Value) -> Result<Value, Refusal> {
    let document = match given {
        Value::String(text) => serde_json::from_str(text)
            .map_err(|err| Refusal::invalid("config", format!("`config`: the text is not JSON: {err}")))?,
        other => other.clone(),
    };
    if document.is_object() {
        return Ok(document);
    }
    Err(Refusal::invalid("config", "`config`: write a JSON object, or one as text"))
}

/// The document as it is stored: complete, understood, credentials sealed.
fn checked(call: &Call<'_>, given: &Value, old: Option<&Value>) -> Result<Value, Refusal> {
    let mut document = document(given)?;
    if let Some(host) = old.filter(|_| keeps_some(&document)).and_then(|old| new_host(&document, old)) {
        let message = format!(
            "`config`: `***` keeps a credential, and none goes to the new host `{host}` unseen; write it in full"
        );
        return Err(Refusal::invalid("config", message));
    }
    unmask(&mut document, old);
    check(call, &document)?;
    let mut masked = false;
    let mut failed = None;
    let sealing = seal_key(call);
    seal_credentials(&mut document, &mut |secret| {
        masked |= secret == MASK;
        let sealed = sealing.as_ref().map_err(Clone::clone).and_then(|key| seal(key, secret));
        sealed.unwrap_or_else(|refusal| {
            failed = Some(refusal);
            String::new()
        })
    });
    if masked {
        let message =
            "`config`: `***` keeps the credential at the same place, but there is none; write it in full";
        return Err(Refusal::invalid("config", message));
    }
    failed.map_or(Ok(document), Err)
}

fn check(call: &Call<'_>, document: &Value) -> Result<(), Refusal> {
    let refused = |err: ConfigError| Refusal::invalid(&err.path, err.to_string());
    Config::check(document).map_err(refused)?;
    // A document that names nobody gets its provider from the request.
    let Ok(config) = Config::read(document, &HeaderOptions::default()) else { return Ok(()) };
    // Which provider answers is not known yet where the model is to be chosen.
    for target in config.targets().filter(|target| target.choose.is_none()) {
        let slug = target.provider.as_str();
        let is_virtual_key = call.policy.virtual_key(&call.workspace, slug).is_some();
        if !is_virtual_key && !providers::resolve::known(slug, call.registry) {
            let at = format!("{}.provider", target.path);
            let err = providers::resolve::unknown(&target.path, slug, call.registry);
            let message =
                format!("{}; workspace `{}` has no virtual key of that name", err.message, call.workspace);
            return Err(Refusal::invalid(&at, message));
        }
        if let Some(url) = &target.custom_host {
            let at = format!("{}.custom_host", target.path);
            host::check_custom_host(url, &call.options.trusted_hosts)
                .map_err(|err| Refusal::invalid(&at, format!("`{at}`: {err}")))?;
        }
    }
    Ok(())
}

/// What credentials are sealed with.
pub(crate) fn seal_key(call: &Call<'_>) -> Result<PublicKey, Refusal> {
    let text = call.registry.sealing_key.as_deref().ok_or_else(|| {
        Refusal::unavailable(
            "credentials cannot be sealed: no provider-worker has published its key yet; start one, or try again",
        )
    })?;
    PublicKey::parse(text)
        .map_err(|err| Refusal::unavailable(format!("the registry's sealing key cannot be read: {err}")))
}

/// Seals a credential for the provider workers.
pub(crate) fn seal(key: &PublicKey, secret: &str) -> Result<String, Refusal> {
    key.seal(secret).map_err(|_| Refusal::unavailable("the credential could not be sealed; try again"))
}
