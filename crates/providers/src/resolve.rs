//! From a target in a config to a call in which nothing has to be looked up.

mod place;

use domain::config::{HeaderOptions, Target};
use domain::envelope::{Auth, Timeouts, VirtualKeyRef};
use domain::policy::{self, Policy, Status, VirtualKey};
use domain::registry::{Format, Provider, Quirks};
use domain::{ApiError, Operation, Registry, Timestamp, Workspace, event, host};
use serde_json::{Map, Value};

use crate::catalogue;
use crate::resolve::place::{Host, Place};

/// A target with everything that a call needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The provider that is called: that of the virtual key, if it is one.
    pub provider: String,
    /// Names the queue: the virtual key, else the provider, and the origin if the caller chose it.
    pub queue: String,
    /// Calls that may run at once, over all workers.
    pub concurrency: usize,
    /// Wire format that it speaks to this model.
    pub format: Format,
    /// The operation that is asked of it, where it is not the caller's own.
    pub operation: Option<Operation>,
    /// Scheme and host, and the beginning of the path.
    pub base_url: String,
    /// Rest of the path, and the query.
    pub path_and_query: String,
    /// The model's name there, where it is not the one that the body names.
    pub model: Option<String>,
    /// How its requests differ from the format's.
    pub quirks: Quirks,
    /// What signatures and formats need to know; a virtual key's own are added at the call.
    pub options: Map<String, Value>,
    /// The host comes from the caller and is not on the list of trusted ones: only public addresses may be called.
    pub untrusted_host: bool,
    /// How the provider wants the credential.
    pub auth: Auth,
    /// Sealed credential.
    pub credential: Option<String>,
    /// The virtual key whose credential counts at the moment of the call.
    pub virtual_key: Option<VirtualKeyRef>,
    /// Further headers.
    pub headers: std::collections::BTreeMap<String, String>,
    /// Times the call may take.
    pub timeouts: Timeouts,
}

/// Whether a provider of that name is configured or in the catalogue.
pub fn known(slug: &str, registry: &Registry) -> bool {
    provider(slug, registry).is_some()
}

/// The error of a name that is neither configured nor in the catalogue.
pub fn unknown(path: &str, slug: &str, registry: &Registry) -> ApiError {
    let configured: Vec<&str> = registry.providers.keys().map(String::as_str).collect();
    let known: Vec<&str> = catalogue::slugs().collect();
    let message = format!(
        "`{path}` names the provider `{slug}`, which is unknown; configured here: {}; known by name: {}",
        if configured.is_empty() { "none".to_owned() } else { configured.join(", ") },
        known.join(", "),
    );
    ApiError::bad_request(&format!("{path}.provider"), "unknown_provider", message)
}

/// The config of a request that brings none: the configured route, or the only provider there is.
pub fn default_config(registry: &Registry) -> Result<String, ApiError> {
    if let Some(route) = &registry.route {
        return Ok(route.to_string());
    }
    let mut slugs = registry.providers.keys();
    let (code, message) = match (slugs.next(), slugs.next()) {
        (Some(only), None) => return Ok(serde_json::json!({ "provider": only }).to_string()),
        (None, _) => (
            "no_provider",
            "no provider is configured: name one with `x-portkey-provider`, add `[providers.…]` to the settings, \
             or start the mock provider",
        ),
        _ => (
            "no_route",
            "several providers are configured but no `[route]`: name one with `x-portkey-provider`, send a config, \
             or say in the settings which one answers",
        ),
    };
    let words = "Either x-portkey-config or x-portkey-provider header is required";
    Err(ApiError::new(400, code, message).in_portkeys_words(words))
}

/// Says whether a target that leads nowhere was named by a header or by the config, in Portkey's words as well.
pub fn blame(err: ApiError, by_header: bool, routing: &HeaderOptions) -> ApiError {
    match err.code.as_deref() {
        Some("unknown_provider") if by_header => {
            err.with_param("x-portkey-provider").in_portkeys_words("Invalid provider passed")
        }
        Some("invalid_custom_host") if routing.custom_host.is_some() => {
            err.with_param("x-portkey-custom-host").in_portkeys_words("Invalid custom host")
        }
        Some("unknown_provider" | "invalid_custom_host") => err.in_config(),
        _ => err,
    }
}

/// Where names are looked up.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// Providers of the settings.
    pub registry: &'a Registry,
    /// Virtual keys.
    pub policy: &'a Policy,
    /// Whose virtual keys.
    pub workspace: &'a Workspace,
    /// Hosts that callers may name although they are not public.
    pub trusted_hosts: &'a [String],
    /// The time.
    pub now: Timestamp,
}

/// What is wanted of a target.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The operation.
    pub operation: Operation,
    /// The model that the request names.
    pub model: Option<&'a str>,
    /// The answer is to come in pieces.
    pub stream: bool,
    /// Path and query of what passes through.
    pub path_and_query: Option<&'a str>,
}

/// Why a target cannot be called.
#[derive(Clone, Debug, PartialEq)]
pub enum Unresolved {
    /// The request's document is wrong: a 400 that names the place.
    Document(Box<ApiError>),
    /// The target cannot serve this now; another one may.
    Target(Box<ApiError>),
}

impl From<ApiError> for Unresolved {
    fn from(err: ApiError) -> Self {
        Self::Document(Box::new(err))
    }
}

/// Looks up everything a call to this target needs.
///
/// Errors name the place in the config: an unknown provider, a host that must not be called, a credential that was
/// not sealed, a virtual key that has expired or does not serve this model.
pub fn resolve(target: &Target, names: &Names<'_>, wanted: Wanted<'_>) -> Result<Resolved, Unresolved> {
    let slug = target.provider.as_str();
    // Who brings a credential means the provider itself, whatever virtual keys are named like it.
    let named = target.api_key.is_none().then(|| names.policy.virtual_key(names.workspace, slug)).flatten();
    match named {
        Some(key) => of_virtual_key(target, &key, names, wanted),
        None => of_provider(target, names, wanted),
    }
}

fn provider<'a>(slug: &str, registry: &'a Registry) -> Option<&'a Provider> {
    registry.providers.get(slug).or_else(|| catalogue::find(slug))
}

fn of_provider(target: &Target, names: &Names<'_>, wanted: Wanted<'_>) -> Result<Resolved, Unresolved> {
    let slug = target.provider.as_str();
    let provider =
        provider(slug, names.registry).ok_or_else(|| unknown(&target.path, slug, names.registry))?;
    retired(target, slug, target.custom_host.as_deref(), names.registry)?;
    let (mut resolved, host) =
        described(target, provider, (target.custom_host.as_deref(), &Map::new()), names, wanted)?;
    // Our own credential never goes to a host that the caller chose.
    let foreign = target.custom_host.is_some() || host == Host::Target;
    resolved.credential = credential(target, provider.credential.as_ref().filter(|_| !foreign))?;
    Ok(resolved)
}

fn of_virtual_key(
    target: &Target,
    key: &VirtualKey,
    names: &Names<'_>,
    wanted: Wanted<'_>,
) -> Result<Resolved, Unresolved> {
    let param = |field: &str| format!("{}.{field}", target.path);
    let foreign = || {
        let place = param("custom_host");
        let message = format!(
            "`{place}`: the credential of `@{}` is not sent to a host that a request names; \
             set `custom_host` on the virtual key instead",
            key.slug
        );
        Unresolved::from(ApiError::bad_request(&place, "invalid_custom_host", message))
    };
    if target.custom_host.is_some() {
        return Err(foreign());
    }
    usable(key, target, names.now, wanted).map_err(|err| Unresolved::Target(Box::new(err)))?;
    let provider = provider(&key.provider, names.registry).ok_or_else(|| {
        let message =
            format!("virtual key `{}` is of the provider `{}`, which is unknown", key.slug, key.provider);
        let err = ApiError::new(500, "unknown_provider", message).with_param(&param("provider"));
        Unresolved::Target(Box::new(err))
    })?;
    retired(target, &key.provider, key.custom_host.as_deref(), names.registry)?;
    let (mut resolved, host) =
        described(target, provider, (key.custom_host.as_deref(), &key.options), names, wanted)?;
    if host == Host::Target {
        return Err(foreign());
    }
    resolved.virtual_key = Some(VirtualKeyRef { workspace: key.workspace.clone(), slug: key.slug.clone() });
    resolved.provider.clone_from(&key.provider);
    resolved.queue = format!("{}.{}", key.workspace, key.slug);
    Ok(resolved)
}

/// Whether a virtual key may be used for this now. Statuses and types are Portkey's.
fn usable(key: &VirtualKey, target: &Target, now: Timestamp, wanted: Wanted<'_>) -> Result<(), ApiError> {
    let refuse = |status, kind: &str, code: Option<&str>, message: String| {
        let mut err = ApiError::new(status, code.unwrap_or_default(), message).with_param(&target.path);
        err.kind = kind.to_owned();
        err.code = code.map(str::to_owned);
        Err(err)
    };
    let slug = &key.slug;
    if key.status == Status::Archived {
        return refuse(
            401,
            "virtual_key_expired_error",
            Some("01"),
            format!("virtual key `{slug}` was revoked"),
        );
    }
    if key.expires_at.is_some_and(|at| at <= now) {
        return refuse(
            401,
            "virtual_key_expired_error",
            Some("01"),
            format!("virtual key `{slug}` has expired"),
        );
    }
    let operation = wanted.operation;
    if !key.operations.is_empty() && !key.operations.contains(&operation) {
        let message = format!("virtual key `{slug}` does not allow the operation `{operation}`");
        return refuse(412, "operation_not_allowed_error", None, message);
    }
    let model = target.changes().model(wanted.model);
    let fits = |model: &str| key.models.iter().any(|pattern| policy::matches(pattern, model));
    match model {
        Some(model) if !key.models.is_empty() && !fits(&model) => {
            let message = format!("model `{model}` is not allowed for virtual key `{slug}`");
            refuse(412, "model_not_allowed_error", None, message)
        }
        _ => Ok(()),
    }
}

/// Refuses a provider of the catalogue that is there no more, unless somebody answers in its place.
fn retired(
    target: &Target,
    slug: &str,
    custom_host: Option<&str>,
    registry: &Registry,
) -> Result<(), Unresolved> {
    let words =
        catalogue::retired(slug).filter(|_| custom_host.is_none() && !registry.providers.contains_key(slug));
    let Some(words) = words else { return Ok(()) };
    let message = format!(
        "provider `{slug}` is there no more: {words}; name another one, or the URL of who answers in its place as \
         `custom_host`"
    );
    let mut err =
        ApiError::new(400, "provider_retired", message).with_param(&format!("{}.provider", target.path));
    err.kind = "invalid_request_error".to_owned();
    Err(Unresolved::Target(Box::new(err)))
}

/// What target and provider say, but for the credential and a virtual key's queue, and who chose the host. `account`:
/// host and options of the virtual key, or the target's host.
fn described(
    target: &Target,
    provider: &Provider,
    (custom_host, account): (Option<&str>, &Map<String, Value>),
    names: &Names<'_>,
    wanted: Wanted<'_>,
) -> Result<(Resolved, Host), Unresolved> {
    let model = target.changes().model(wanted.model);
    let options = [&target.provider_options, account, &provider.options];
    let place = Place { target, provider, custom_host, options };
    let spoken = place.spoken(model.as_deref(), wanted)?;
    let chosen = (spoken.host != Host::Provider).then_some(&spoken.base_url);
    if let Some(url) = chosen {
        host::check_custom_host(url, names.trusted_hosts).map_err(|err| {
            let param = format!("{}.custom_host", target.path);
            ApiError::bad_request(&param, "invalid_custom_host", format!("`{param}`: {err}"))
        })?;
    }
    let mut headers = place.headers();
    for (name, value) in
        [("openai-organization", &target.openai_organization), ("openai-project", &target.openai_project)]
    {
        if let Some(value) = value {
            headers.insert(name.to_owned(), value.clone());
        }
    }
    let signed = provider.auth.signing.is_some();
    let resolved = Resolved {
        provider: target.provider.clone(),
        queue: queue(target),
        concurrency: provider.concurrency,
        untrusted_host: chosen.is_some_and(|url| !host::is_trusted(url, names.trusted_hosts)),
        base_url: spoken.base_url,
        format: spoken.format,
        operation: (spoken.operation != wanted.operation).then_some(spoken.operation),
        path_and_query: spoken.path_and_query,
        model: spoken.model,
        quirks: spoken.quirks,
        // The virtual key's are looked up with its credential.
        options: if signed { merged(&target.provider_options, &provider.options) } else { Map::new() },
        auth: spoken.auth,
        credential: None,
        virtual_key: None,
        headers,
        timeouts: provider.timeouts,
    };
    Ok((resolved, spoken.host))
}

fn merged(first: &Map<String, Value>, then: &Map<String, Value>) -> Map<String, Value> {
    let mut all = then.clone();
    all.extend(first.iter().map(|(name, value)| (name.clone(), value.clone())));
    all
}

/// Name of the queue of a target's calls: the provider, and the origin if the caller chose it.
pub fn queue(target: &Target) -> String {
    let slug = target.provider.as_str();
    let urls = target.provider_options.values().filter_map(Value::as_str);
    let url = target.custom_host.as_deref().or_else(|| urls.into_iter().find(|text| text.contains("://")));
    match url {
        None => slug.to_owned(),
        Some(url) => format!("{slug}-{}", &event::content_hash(origin(url.trim_end_matches('/')))[..8]),
    }
}

/// Longest that a call to a target may take.
pub fn longest(target: &Target, registry: &Registry) -> std::time::Duration {
    // A virtual key's provider is not known by the target's name.
    provider(&target.provider, registry).map_or(std::time::Duration::MAX, |provider| provider.timeouts.total)
}

fn credential(target: &Target, own: Option<&String>) -> Result<Option<String>, ApiError> {
    match &target.api_key {
        Some(key) if key.starts_with("sealed:") => Ok(Some(key.clone())),
        Some(_) => {
            let param = format!("{}.api_key", target.path);
            let message = format!(
                "`{param}` is in clear; on the bus credentials travel sealed: name a configured provider instead, \
                 or send the request over HTTP"
            );
            Err(ApiError::bad_request(&param, "credential_in_clear", message))
        }
        None => Ok(own.cloned()),
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
    &url[..end]
}

#[cfg(test)]
mod tests;
