//! Provider accounts. One entity, the virtual key, in three of Portkey's shapes: virtual keys, providers and
//! integrations. A provider is made from an integration by copying its provider, credential and options.

use std::sync::Arc;

use domain::policy::{Caps, Key, Secret, Status, VirtualKey};
use domain::{Operation, Slug, Workspace, host};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Counted, Plan, Subject, date, list, success, write};
use crate::body::{self, Flag, When, given};
use crate::call::{Call, given_slug, parse_status};
use crate::configs::{seal, seal_key};
use crate::refusal::Refusal;

/// Where workers find a credential that is not stored here.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum SecretBody {
    /// Name of an environment variable.
    Env(String),
    /// Path of a file.
    File(String),
}

/// A virtual key: new, or what changes of one. On a change, what is not given stays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct VirtualKeyBody {
    /// Its name for people. Needed for a new one.
    name: Option<String>,
    /// What requests name it by, as in `@slug`. Made from the name if it is not given.
    slug: Option<String>,
    /// Slug of the provider. Needed for a new one.
    provider: Option<String>,
    /// The credential. It is sealed at once and never shown again.
    key: Option<String>,
    /// Where the provider workers find the credential, instead of `key`.
    secret: Option<SecretBody>,
    /// What it is for.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    note: Option<Option<String>>,
    /// URL instead of the provider's own.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    custom_host: Option<Option<String>>,
    /// Further fields of the provider, as in `{"api_version": "…"}`.
    options: Option<Map<String, Value>>,
    /// The option `api_version`.
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    /// The option `resource_name`.
    #[serde(rename = "resourceName")]
    resource_name: Option<String>,
    /// The option `deployment_id`.
    #[serde(rename = "deploymentName")]
    deployment_name: Option<String>,
    /// Models that may be asked for; `*` stands for any text. Empty: all.
    models: Option<Vec<String>>,
    /// Operations that may be asked for. Empty: all.
    operations: Option<Vec<String>>,
    /// Other workspaces that may use it.
    workspaces: Option<Vec<String>>,
    /// Budgets, as in `{"credit_limit": 10, "type": "cost"}`.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<Value>")]
    usage_limits: Option<Option<Value>>,
    /// Rates, as in `[{"type": "requests", "unit": "rpm", "value": 60}]`.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<Value>")]
    rate_limits: Option<Option<Value>>,
    /// Budgets begin anew; only on a change.
    reset_usage: Option<Flag>,
    /// When it stops working.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<When>")]
    expires_at: Option<Option<When>>,
    /// `active` or `archived`.
    status: Option<String>,
    /// Who keeps it in line with files elsewhere, as `pointsman apply` does.
    managed_by: Option<String>,
    /// Workspace it belongs to.
    #[serde(rename = "workspace_id")]
    _workspace_id: Option<String>,
}

/// A provider: an integration made usable in a workspace under a name of its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProviderBody {
    /// Its name for people. Needed for a new one.
    name: Option<String>,
    /// What requests name it by, as in `@slug`. Made from the name if it is not given.
    slug: Option<String>,
    /// The integration whose provider, credential and options are copied. Needed for a new one.
    integration_id: Option<String>,
    /// What it is for.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    note: Option<Option<String>>,
    /// Budgets.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<Value>")]
    usage_limits: Option<Option<Value>>,
    /// Rates.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<Value>")]
    rate_limits: Option<Option<Value>>,
    /// Budgets begin anew; only on a change.
    reset_usage: Option<Flag>,
    /// When it stops working.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<When>")]
    expires_at: Option<Option<When>>,
    /// `active` or `archived`.
    status: Option<String>,
    /// Workspace it belongs to.
    workspace_id: Option<String>,
}

/// An integration: a provider account with its credential.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IntegrationBody {
    /// Its name for people. Needed for a new one.
    name: Option<String>,
    /// Slug of the provider. Needed for a new one.
    ai_provider_id: Option<String>,
    /// The credential. It is sealed at once and never shown again.
    key: Option<String>,
    /// Its id. Made from the name if it is not given.
    slug: Option<String>,
    /// What it is for.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    description: Option<Option<String>>,
    /// Further fields of the provider; `custom_host` is the URL instead of its own.
    configurations: Option<Map<String, Value>>,
    /// `active` or `archived`.
    status: Option<String>,
    /// Workspace it belongs to.
    workspace_id: Option<String>,
}

/// One of the three shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    VirtualKey,
    Provider,
    Integration,
}

impl Shape {
    fn word(self) -> &'static str {
        match self {
            Self::VirtualKey => "virtual key",
            Self::Provider => "provider",
            Self::Integration => "integration",
        }
    }

    /// The body in the shape that has every field, and the integration it builds upon.
    fn body(self, call: &Call<'_>) -> Result<(VirtualKeyBody, Option<String>), Refusal> {
        match self {
            Self::VirtualKey => Ok((body::read(call.body)?, None)),
            Self::Provider => {
                let body: ProviderBody = body::read(call.body)?;
                let same = VirtualKeyBody {
                    name: body.name,
                    slug: body.slug,
                    note: body.note,
                    usage_limits: body.usage_limits,
                    rate_limits: body.rate_limits,
                    reset_usage: body.reset_usage,
                    expires_at: body.expires_at,
                    status: body.status,
                    _workspace_id: body.workspace_id,
                    ..VirtualKeyBody::default()
                };
                Ok((same, body.integration_id))
            }
            Self::Integration => {
                let mut body: IntegrationBody = body::read(call.body)?;
                let host = body.configurations.as_mut().and_then(|map| map.remove("custom_host"));
                let host = host.map(|host| match host {
                    Value::Null => Ok(None),
                    Value::String(url) => Ok(Some(url)),
                    _ => Err(Refusal::invalid("configurations.custom_host", "write a URL as text")),
                });
                let same = VirtualKeyBody {
                    name: body.name,
                    slug: body.slug,
                    provider: body.ai_provider_id,
                    key: body.key,
                    note: body.description,
                    custom_host: host.transpose()?,
                    options: body.configurations,
                    status: body.status,
                    _workspace_id: body.workspace_id,
                    ..VirtualKeyBody::default()
                };
                Ok((same, None))
            }
        }
    }

    fn provider_field(self) -> &'static str {
        if self == Self::Integration { "ai_provider_id" } else { "provider" }
    }

    fn envelope(self, shown: Value) -> Value {
        if self == Self::VirtualKey { success(shown) } else { shown }
    }

    /// The entity as callers see it; its credential never is.
    fn shown(self, key: &VirtualKey) -> Value {
        let masked = match &key.secret {
            None => Value::Null,
            Some(Secret::Sealed(_)) => json!("***"),
            Some(Secret::Env(name)) => json!(format!("env:{name}")),
            Some(Secret::File(path)) => json!(format!("file:{path}")),
        };
        let mut shown = json!({
            "id": key.slug, "slug": key.slug, "object": self.word().replace(' ', "-"), "name": key.name,
            "provider": key.provider, "note": key.note, "status": key.status, "masked_key": masked,
            "key_version": key.secret_version, "custom_host": key.custom_host, "options": key.options,
            "models": key.models, "operations": key.operations, "workspaces": key.workspaces,
            "usage_limits": key.caps.usage_limits, "rate_limits": key.caps.rate_limits,
            "expires_at": key.expires_at.map(date), "workspace_id": key.workspace,
            "created_at": date(key.created.at), "last_updated_at": date(key.updated.at),
            "created_by": key.created.by, "updated_by": key.updated.by, "managed_by": key.managed_by,
        });
        match self {
            Self::VirtualKey => {}
            Self::Provider => shown["integration_id"] = json!(key.slug),
            Self::Integration => {
                shown["ai_provider_id"] = json!(key.provider);
                shown["description"] = json!(key.note);
                shown["configurations"] = json!(key.options);
            }
        }
        shown
    }

    fn index(self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let (status, page) = (call.query.status()?, call.query.page()?);
        let mut keys = call.policy.virtual_keys(&call.workspace);
        match call.query.get("type") {
            None | Some("workspace" | "all") => {}
            // All belong to a workspace.
            Some("organisation") => keys.clear(),
            Some(other) => {
                let message = format!(
                    "query parameter `type`: `{other}` is none of `workspace`, `organisation`, `all`"
                );
                return Err(Refusal::invalid("type", message));
            }
        }
        keys.retain(|key| {
            key.status == status || (status == Status::Active && key.status == Status::Exhausted)
        });
        let places: Vec<Option<Key>> =
            page.of(&keys).iter().map(|key| Some(place(call, &key.slug))).collect();
        let answer = list(keys, page, |key| {
            let mut shown = self.shown(&key);
            shown["revision"] = json!(call.policy.sequence(&place(call, &key.slug)));
            shown
        });
        Ok(answer.counting(call.policy, places.into_iter()))
    }

    fn read(self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let key = self.current(call)?;
        let there = place(call, &key.slug);
        let counted = Counted::new(self.envelope(self.shown(&key)), call.policy.sequence(&there));
        let pointer = if self == Self::VirtualKey { "/data" } else { "" };
        Ok(Answer::Counted(counted.at(pointer, call.policy.limits_of(&there))))
    }

    fn create(self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let (mut new, integration) = self.body(call)?;
        call.must_be_open()?;
        let needed = |field: &str| Refusal::invalid(field, format!("`{field}` is missing"));
        let name = new.name.take().ok_or_else(|| needed("name"))?;
        let text = new.slug.take().unwrap_or_else(|| call.slug_of(&name, true));
        let slug = given_slug(&text)?;
        if call.policy.own_virtual_key(&call.workspace, &slug).is_some() {
            let message = format!("`slug`: `{slug}` is there already, perhaps archived; choose another");
            return Err(Refusal::conflict("slug", message));
        }
        let base = match (self, integration) {
            (Self::Provider, None) => return Err(needed("integration_id")),
            (_, Some(id)) => Some(call.policy.virtual_key(&call.workspace, &id).ok_or_else(|| {
                let message =
                    format!("`integration_id`: workspace `{}` has no integration `{id}`", call.workspace);
                Refusal::invalid("integration_id", message)
            })?),
            (_, None) => None,
        };
        let provider = match (&new.provider, &base) {
            (Some(provider), _) => provider.clone(),
            (None, Some(base)) => base.provider.clone(),
            (None, None) => return Err(needed(self.provider_field())),
        };
        let mut key = VirtualKey {
            slug,
            workspace: call.workspace.clone(),
            name,
            note: None,
            provider,
            secret: base.as_ref().and_then(|base| base.secret.clone()),
            custom_host: base.as_ref().and_then(|base| base.custom_host.clone()),
            options: base.as_ref().map(|base| base.options.clone()).unwrap_or_default(),
            models: base.as_ref().map(|base| base.models.clone()).unwrap_or_default(),
            operations: base.as_ref().map(|base| base.operations.clone()).unwrap_or_default(),
            workspaces: Vec::new(),
            expires_at: None,
            caps: Caps::default(),
            status: Status::Active,
            secret_version: u32::from(base.is_some_and(|base| base.secret.is_some())),
            managed_by: None,
            created: call.stamp(),
            updated: call.stamp(),
        };
        self.set(call, &mut key, new)?;
        let after = self.shown(&key);
        let writes = vec![write(place(call, &key.slug), &key, None)];
        let plan = Plan::new(subject(&key), "create", (Value::Null, after.clone()), writes);
        Ok(plan.replying(201, self.envelope(after)))
    }

    fn update(self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let (change, integration) = self.body(call)?;
        let resets = change.reset_usage == Some(Flag(true));
        let old = self.current(call)?;
        let revision = call.revision(&place(call, &old.slug))?;
        if change.slug.as_deref().is_some_and(|slug| slug != old.slug.as_str()) {
            return Err(Refusal::invalid(
                "slug",
                "`slug` cannot be changed; create another and delete this one",
            ));
        }
        if integration.is_some_and(|id| id != old.slug.as_str()) {
            let message = "`integration_id` cannot be changed; create another provider and delete this one";
            return Err(Refusal::invalid("integration_id", message));
        }
        let mut new = VirtualKey { updated: call.stamp(), ..(*old).clone() };
        self.set(call, &mut new, change)?;
        let views = (self.shown(&old), self.shown(&new));
        let after = views.1.clone();
        let writes = vec![write(place(call, &new.slug), &new, revision)];
        let mut plan = Plan::new(subject(&new), "update", views, writes);
        if resets {
            plan = plan.resetting(&new.limits().map_err(|err| body::cap(&err))?);
        }
        Ok(plan.replying(200, self.envelope(after)))
    }

    fn delete(self, call: &Call<'_>) -> Result<Answer, Refusal> {
        let old = self.current(call)?;
        let revision = call.revision(&place(call, &old.slug))?;
        let new = VirtualKey { status: Status::Archived, updated: call.stamp(), ..(*old).clone() };
        let views = (self.shown(&old), self.shown(&new));
        let writes = vec![write(place(call, &new.slug), &new, revision)];
        Ok(Plan::new(subject(&new), "delete", views, writes).replying(200, json!({})))
    }

    fn current(self, call: &Call<'_>) -> Result<Arc<VirtualKey>, Refusal> {
        let slug = call.slug(self.word())?;
        let key = call.policy.own_virtual_key(&call.workspace, &slug);
        key.ok_or_else(|| Refusal::not_found(self.word(), slug.as_str()))
    }

    /// Takes over what a body brings, checked.
    fn set(self, call: &Call<'_>, key: &mut VirtualKey, body: VirtualKeyBody) -> Result<(), Refusal> {
        if let Some(name) = body.name {
            key.name = name;
        }
        if let Some(owner) = body.managed_by {
            key.managed_by = Some(owner);
        }
        if let Some(provider) = body.provider {
            key.provider = provider;
        }
        check_provider(call, self.provider_field(), &key.provider)?;
        let mut kept = key.secret.is_some();
        if let Some(secret) = secret(call, body.key, body.secret)? {
            kept = false;
            key.secret = Some(secret);
            key.secret_version += 1;
        }
        if let Some(note) = body.note {
            key.note = note;
        }
        if let Some(url) = body.custom_host {
            if let Some(url) = &url {
                host::check_custom_host(url, &call.options.trusted_hosts)
                    .map_err(|err| Refusal::invalid("custom_host", format!("`custom_host`: {err}")))?;
            }
            // Whoever may change an account may not read its credential.
            if kept && url.is_some() && url != key.custom_host {
                let message = "`custom_host`: the credential that is there is not sent to another host; \
                               give the credential, too";
                return Err(Refusal::invalid("custom_host", message));
            }
            key.custom_host = url;
        }
        if let Some(options) = body.options {
            key.options = options;
        }
        for (name, value) in [
            ("api_version", body.api_version),
            ("resource_name", body.resource_name),
            ("deployment_id", body.deployment_name),
        ] {
            if let Some(value) = value {
                key.options.insert(name.to_owned(), Value::from(value));
            }
        }
        if let Some(models) = body.models {
            key.models = models;
        }
        if let Some(words) = body.operations {
            key.operations = operations(&words)?;
        }
        if let Some(words) = body.workspaces {
            key.workspaces = shared_with(call, &words)?;
        }
        body::set_caps(&mut key.caps, body.usage_limits, body.rate_limits);
        if let Some(at) = body.expires_at {
            key.expires_at = at.map(|at| at.0);
        }
        if let Some(status) = body.status {
            key.status = parse_status("status", &status)?;
        }
        key.limits().map(drop).map_err(|err| body::cap(&err))
    }
}

fn place(call: &Call<'_>, slug: &Slug) -> Key {
    Key::VirtualKey(call.workspace.clone(), slug.clone())
}

fn subject(key: &VirtualKey) -> Subject {
    Subject { resource: "virtual_key", id: key.slug.to_string(), workspace: key.workspace.clone() }
}

fn check_provider(call: &Call<'_>, field: &str, provider: &str) -> Result<(), Refusal> {
    if providers::resolve::known(provider, call.registry) {
        return Ok(());
    }
    let configured = call.registry.providers.keys().cloned();
    let known: Vec<String> = configured.chain(providers::catalogue::slugs().map(str::to_owned)).collect();
    let message = format!("`{field}`: the provider `{provider}` is unknown; known: {}", known.join(", "));
    Err(Refusal::invalid(field, message))
}

/// The credential that a body brings: sealed, or a place that workers may read.
fn secret(
    call: &Call<'_>,
    key: Option<String>,
    place: Option<SecretBody>,
) -> Result<Option<Secret>, Refusal> {
    let refused = |message: String| Refusal::invalid("secret", message);
    if place.is_some() && !call.caller.is_administrator() {
        let message = "`secret`: the workers' environment and files belong to the whole installation, so that naming \
                       them takes an organisation's API key; give the credential as `key`";
        return Err(Refusal { param: Some("secret".to_owned()), ..Refusal::forbidden(message) });
    }
    match (key, place) {
        (Some(_), Some(_)) => Err(refused("`key` and `secret` exclude each other; give one".to_owned())),
        (None, None) => Ok(None),
        (Some(key), None) if key.trim().is_empty() => {
            Err(Refusal::invalid("key", "`key` is empty; leave it out if the provider needs none"))
        }
        (Some(key), None) => seal(&seal_key(call)?, key.trim()).map(|sealed| Some(Secret::Sealed(sealed))),
        (None, Some(SecretBody::Env(name))) => {
            let allowed = &call.options.allowed_env;
            if allowed.iter().any(|pattern| domain::policy::matches(pattern, &name)) {
                return Ok(Some(Secret::Env(name)));
            }
            Err(refused(format!(
                "`secret.env`: `{name}` is none of the environment variables that `secrets.environment` allows; \
                 allowed: {}",
                if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") }
            )))
        }
        (None, Some(SecretBody::File(path))) => {
            let Some(folder) = &call.options.secret_dir else {
                return Err(refused(
                    "`secret.file`: the settings allow no files; set `secrets.dir`".to_owned(),
                ));
            };
            if domain::policy::inside(folder, &path).is_some() {
                return Ok(Some(Secret::File(path)));
            }
            Err(refused(format!(
                "`secret.file`: `{path}` does not lie in {} (`secrets.dir`)",
                folder.display()
            )))
        }
    }
}

fn operations(words: &[String]) -> Result<Vec<Operation>, Refusal> {
    let parsed = words.iter().enumerate().map(|(at, word)| {
        let param = format!("operations[{at}]");
        word.parse().map_err(|err: domain::operation::UnknownWord| {
            Refusal::invalid(&param, format!("`{param}`: {err}"))
        })
    });
    parsed.collect()
}

/// Sharing puts the key into other workspaces, so that it takes a key of the whole installation.
fn shared_with(call: &Call<'_>, words: &[String]) -> Result<Vec<Workspace>, Refusal> {
    if !words.is_empty() && !call.caller.is_administrator() {
        let message = "`workspaces`: sharing with other workspaces takes an organisation's API key";
        return Err(Refusal::forbidden(message));
    }
    let there = |workspace: &Workspace| {
        *workspace == Workspace::default() || call.policy.workspace(workspace).is_some()
    };
    let found = words.iter().map(|word| {
        let workspace = Workspace::parse(word).ok().filter(there);
        workspace.ok_or_else(|| {
            Refusal::invalid("workspaces", format!("`workspaces`: there is no workspace `{word}`"))
        })
    });
    found.collect()
}

macro_rules! handlers {
    ($module:ident, $shape:ident) => {
        pub(crate) mod $module {
            use super::{Answer, Call, Refusal, Shape};

            pub(crate) fn index(call: &Call<'_>) -> Result<Answer, Refusal> {
                Shape::$shape.index(call)
            }
            pub(crate) fn read(call: &Call<'_>) -> Result<Answer, Refusal> {
                Shape::$shape.read(call)
            }
            pub(crate) fn create(call: &Call<'_>) -> Result<Answer, Refusal> {
                Shape::$shape.create(call)
            }
            pub(crate) fn update(call: &Call<'_>) -> Result<Answer, Refusal> {
                Shape::$shape.update(call)
            }
            pub(crate) fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
                Shape::$shape.delete(call)
            }
        }
    };
}

handlers!(virtual_keys, VirtualKey);
handlers!(provider, Provider);
handlers!(integration, Integration);
