//! From a target in a config to a call in which nothing has to be looked up.

use domain::config::{HeaderOptions, Target};
use domain::envelope::{Auth, Timeouts, VirtualKeyRef};
use domain::policy::{self, Policy, Status, VirtualKey};
use domain::registry::{Format, Provider, Quirks, Variant};
use domain::{ApiError, Operation, Registry, Timestamp, Workspace, event, host};
use serde_json::{Map, Value};

use crate::address::{self, Unfilled, Values};
use crate::{catalogue, formats};

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
    let mut resolved =
        described(target, provider, (target.custom_host.as_deref(), &Map::new()), names, wanted)?;
    resolved.credential = credential(target, provider)?;
    Ok(resolved)
}

fn of_virtual_key(
    target: &Target,
    key: &VirtualKey,
    names: &Names<'_>,
    wanted: Wanted<'_>,
) -> Result<Resolved, Unresolved> {
    let param = |field: &str| format!("{}.{field}", target.path);
    if target.custom_host.is_some() {
        let place = param("custom_host");
        let message = format!(
            "`{place}`: the credential of `@{}` is not sent to a host that a request names; \
             set `custom_host` on the virtual key instead",
            key.slug
        );
        return Err(ApiError::bad_request(&place, "invalid_custom_host", message).into());
    }
    usable(key, target, names.now, wanted).map_err(|err| Unresolved::Target(Box::new(err)))?;
    let provider = provider(&key.provider, names.registry).ok_or_else(|| {
        let message =
            format!("virtual key `{}` is of the provider `{}`, which is unknown", key.slug, key.provider);
        let err = ApiError::new(500, "unknown_provider", message).with_param(&param("provider"));
        Unresolved::Target(Box::new(err))
    })?;
    let mut resolved =
        described(target, provider, (key.custom_host.as_deref(), &key.options), names, wanted)?;
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

/// What target and provider say, but for the credential and the queue. `account`: host and options of the virtual key.
fn described(
    target: &Target,
    provider: &Provider,
    (custom_host, account): (Option<&str>, &Map<String, Value>),
    names: &Names<'_>,
    wanted: Wanted<'_>,
) -> Result<Resolved, Unresolved> {
    let model = target.changes().model(wanted.model);
    let options = [&target.provider_options, account, &provider.options];
    let place = Place { target, provider, options };
    let spoken = spoken(&place, model.as_deref(), wanted)?;
    let base_url = match custom_host {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => place.base_url()?,
    };
    // A provider whose URL is an option has no host of its own.
    let chosen_host = custom_host.or(provider.base_url.starts_with('{').then_some(&base_url));
    if let Some(url) = chosen_host {
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
    Ok(Resolved {
        provider: target.provider.clone(),
        queue: queue(target),
        concurrency: provider.concurrency,
        untrusted_host: chosen_host.is_some_and(|url| !host::is_trusted(url, names.trusted_hosts)),
        base_url,
        format: spoken.format,
        operation: (spoken.operation != wanted.operation).then_some(spoken.operation),
        path_and_query: spoken.path_and_query,
        model: spoken.model,
        quirks: spoken.quirks,
        // The virtual key's are looked up with its credential.
        options: if signed { merged(&target.provider_options, &provider.options) } else { Map::new() },
        auth: provider.auth.clone(),
        credential: None,
        virtual_key: None,
        headers,
        timeouts: provider.timeouts,
    })
}

fn merged(first: &Map<String, Value>, then: &Map<String, Value>) -> Map<String, Value> {
    let mut all = then.clone();
    all.extend(first.iter().map(|(name, value)| (name.clone(), value.clone())));
    all
}

/// How a provider is spoken to for one request.
struct Spoken {
    format: Format,
    operation: Operation,
    path_and_query: String,
    model: Option<String>,
    quirks: Quirks,
}

/// A target's provider and the options that count there.
struct Place<'a> {
    target: &'a Target,
    provider: &'a Provider,
    options: [&'a Map<String, Value>; 3],
}

fn spoken(place: &Place<'_>, model: Option<&str>, wanted: Wanted<'_>) -> Result<Spoken, Unresolved> {
    let provider = place.provider;
    let fits = |variant: &&Variant| {
        model.is_some_and(|model| variant.models.iter().any(|pattern| policy::matches(pattern, model)))
    };
    let variant = provider.variants.iter().find(fits);
    let (format, offered) = match variant {
        Some(variant) => (variant.format, &variant.operations),
        None => (provider.format, &provider.operations),
    };
    let operation = formats::asked(format, wanted.operation, offered)
        .ok_or_else(|| Unresolved::Target(Box::new(place.not_offered(wanted.operation, offered))))?;
    let name = variant.and_then(|variant| model?.strip_prefix(variant.strip.as_str())).or(model);
    let path_and_query = match wanted.path_and_query.filter(|_| operation == Operation::Passthrough) {
        Some(path) => path.to_owned(),
        None => place.path(variant, format, operation, wanted.stream, name)?,
    };
    Ok(Spoken {
        format,
        operation,
        path_and_query,
        model: name.filter(|name| Some(*name) != model).map(str::to_owned),
        quirks: variant.map_or_else(|| provider.quirks.clone(), |variant| variant.quirks.clone()),
    })
}

impl Place<'_> {
    fn values<'a>(&'a self, model: Option<&'a str>) -> Values<'a> {
        Values { options: self.options, model }
    }

    fn base_url(&self) -> Result<String, ApiError> {
        let values = self.values(None);
        let other = self.when(&values).find_map(|when| when.base_url.as_deref());
        self.filled(other.unwrap_or(&self.provider.base_url), &values)
    }

    /// The addresses that the options ask for.
    fn when<'a>(&'a self, values: &Values<'a>) -> impl Iterator<Item = &'a domain::registry::When> {
        let values = *values;
        self.provider
            .when
            .iter()
            .filter(move |when| values.get(&when.option).is_some_and(|v| v == when.value))
    }

    fn path(
        &self,
        variant: Option<&Variant>,
        format: Format,
        operation: Operation,
        stream: bool,
        model: Option<&str>,
    ) -> Result<String, ApiError> {
        let values = self.values(model);
        let streamed = format!("{operation}.stream");
        let of = |paths: &std::collections::BTreeMap<String, String>| {
            paths.get(&streamed).filter(|_| stream).or_else(|| paths.get(operation.as_str())).cloned()
        };
        let own = match variant {
            Some(variant) => of(&variant.paths),
            None => self.when(&values).find_map(|when| of(&when.paths)).or_else(|| of(&self.provider.paths)),
        };
        let usual = || formats::path(format, operation, stream).map(str::to_owned);
        self.filled(&own.or_else(usual).unwrap_or_default(), &values)
    }

    /// The provider's headers; those whose options are not there are left out.
    fn headers(&self) -> std::collections::BTreeMap<String, String> {
        let values = self.values(None);
        let fill = |(name, value): (&String, &String)| {
            let options = |name: &str| values.get(name);
            let text = match value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(option) => options(option)?.into_owned(),
                None => value.clone(),
            };
            Some((name.clone(), text))
        };
        self.provider.headers.iter().filter_map(fill).collect()
    }

    fn filled(&self, template: &str, values: &Values<'_>) -> Result<String, ApiError> {
        let slug = &self.target.provider;
        address::fill(template, values).map_err(|unfilled| match unfilled {
            Unfilled::Missing(name) if name == "model" => {
                let message = format!("`model` is missing: the URL of provider `{slug}` names it");
                ApiError::bad_request("model", "missing_required_parameter", message)
            }
            Unfilled::Missing(name) => {
                let param = format!("{}.{name}", self.target.path);
                let message = format!(
                    "`{param}` is missing: provider `{slug}` needs it for its URL; set it in the config, on the \
                     virtual key, as the header `x-portkey-{}`, or in the settings as `providers.{slug}.options.{name}`",
                    name.replace('_', "-")
                );
                ApiError::bad_request(&param, "missing_provider_option", message)
            }
            Unfilled::Unfit(name) => {
                let param = format!("{}.{name}", self.target.path);
                let message = format!(
                    "`{param}` cannot be part of a URL of provider `{slug}`; write letters, digits and hyphens"
                );
                ApiError::bad_request(&param, "invalid_provider_option", message)
            }
        })
    }

    fn not_offered(&self, operation: Operation, offered: &[Operation]) -> ApiError {
        let slug = &self.target.provider;
        let all = Operation::ALL.iter().filter(|op| **op != Operation::Passthrough);
        let known: Vec<&str> = all
            .filter(|op| formats::asked(self.provider.format, **op, offered).is_some())
            .map(|op| op.as_str())
            .collect();
        let message = format!("{operation} is not supported by {slug}; it offers {}", known.join(", "));
        let mut err = ApiError::new(400, "unsupported_operation", message).with_param(&self.target.path);
        err.kind = "invalid_request_error".to_owned();
        err
    }
}

/// Name of the queue of a target's calls: the provider, and the origin if the caller chose it.
pub fn queue(target: &Target) -> String {
    let slug = target.provider.as_str();
    match &target.custom_host {
        None => slug.to_owned(),
        Some(url) => format!("{slug}-{}", &event::content_hash(origin(url.trim_end_matches('/')))[..8]),
    }
}

/// Longest that a call to a target may take.
pub fn longest(target: &Target, registry: &Registry) -> std::time::Duration {
    // A virtual key's provider is not known by the target's name.
    provider(&target.provider, registry).map_or(std::time::Duration::MAX, |provider| provider.timeouts.total)
}

fn credential(target: &Target, provider: &Provider) -> Result<Option<String>, ApiError> {
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
        // Our own credential never goes to a host that the caller chose.
        None if target.custom_host.is_some() => Ok(None),
        None => Ok(provider.credential.clone()),
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use domain::Config;
    use serde_json::{Value, json};

    use super::*;

    fn policy(changes: Value) -> Policy {
        let stamp = json!({ "at": 1, "by": "cli" });
        let mut record = json!({
            "slug": "account", "workspace": "default", "name": "a", "provider": "groq",
            "secret": { "sealed": "sealed:x" }, "created": stamp, "updated": stamp,
        });
        for (name, value) in changes.as_object().unwrap() {
            record[name] = value.clone();
        }
        let mut policy = Policy::default();
        policy.apply("virtual.default.account", 1, record.to_string().as_bytes());
        policy
    }

    fn resolved(policy: &Policy, config: &str) -> Result<Resolved, Unresolved> {
        let config = Config::parse(config, &Default::default()).unwrap();
        let trusted = Vec::new();
        let (registry, workspace) = (Registry::default(), Workspace::default());
        let names = Names {
            registry: &registry,
            policy,
            workspace: &workspace,
            trusted_hosts: &trusted,
            now: Timestamp(1000),
        };
        let wanted = Wanted {
            operation: Operation::Chat,
            model: Some("llama-3.1-8b"),
            stream: false,
            path_and_query: None,
        };
        let found = config.targets().next().map(|target| resolve(target, &names, wanted));
        found.unwrap()
    }

    #[test]
    fn a_virtual_key_stands_for_its_provider_and_is_opened_by_nobody_here() {
        let found = resolved(&policy(json!({})), r#"{"provider":"@account"}"#).unwrap();
        assert_eq!(found.base_url, catalogue::find("groq").unwrap().base_url);
        assert_eq!((found.queue.as_str(), found.provider.as_str()), ("default.account", "groq"));
        assert_eq!(found.credential, None);
        assert_eq!(found.virtual_key.map(|key| key.slug.to_string()).as_deref(), Some("account"));
        let own_host = policy(json!({ "custom_host": "https://llm.example.com/v1" }));
        let found = resolved(&own_host, r#"{"virtual_key":"account"}"#).unwrap();
        assert_eq!((found.base_url.as_str(), found.untrusted_host), ("https://llm.example.com/v1", true));
    }

    #[test]
    fn a_virtual_key_that_may_not_be_used_leaves_the_request_to_others() {
        for (changes, status, part) in [
            (json!({ "status": "archived" }), 401, "was revoked"),
            (json!({ "expires_at": 1000 }), 401, "has expired"),
            (json!({ "operations": ["embeddings"] }), 412, "does not allow the operation `chat`"),
            (json!({ "models": ["gpt-*"] }), 412, "model `llama-3.1-8b` is not allowed"),
            (json!({ "provider": "nobody" }), 500, "which is unknown"),
        ] {
            match resolved(&policy(changes), r#"{"provider":"@account"}"#) {
                Err(Unresolved::Target(err)) => {
                    assert_eq!(err.status, status, "{err}");
                    assert!(err.message.contains(part), "{err}");
                }
                other => panic!("{part}: {other:?}"),
            }
        }
        let later = policy(json!({ "expires_at": 1001, "models": ["llama-*"], "operations": ["chat"] }));
        assert!(resolved(&later, r#"{"provider":"@account"}"#).is_ok());
        let renamed = r#"{"provider":"@account","override_params":{"model":"gpt-4o"}}"#;
        assert!(
            resolved(&policy(json!({ "models": ["gpt-*"] })), renamed).is_ok(),
            "the model that is sent counts"
        );
    }

    #[test]
    fn a_virtual_keys_credential_goes_to_no_host_that_a_request_names() {
        let config = r#"{"provider":"@account","custom_host":"https://llm.example.com/v1"}"#;
        let Err(Unresolved::Document(err)) = resolved(&policy(json!({})), config) else {
            panic!("it has to be refused")
        };
        assert_eq!((err.status, err.param.as_deref()), (400, Some("config.custom_host")));
    }

    #[test]
    fn who_brings_a_credential_means_the_provider() {
        let policy = policy(json!({ "slug": "groq" }));
        let found = resolved(&policy, r#"{"provider":"groq","api_key":"sealed:mine"}"#).unwrap();
        assert_eq!((found.queue.as_str(), found.credential.as_deref()), ("groq", Some("sealed:mine")));
    }
}
