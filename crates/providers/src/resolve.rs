//! From a target in a config to a call in which nothing has to be looked up.

use domain::config::Target;
use domain::envelope::{Auth, Timeouts};
use domain::registry::Provider;
use domain::{ApiError, Registry, event, host};

use crate::catalogue;

/// A target with everything that a call needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Names the queue: the provider, and the origin if the caller chose it.
    pub queue: String,
    /// Calls that may run at once, over all workers.
    pub concurrency: usize,
    /// URL that the operation's path is added to.
    pub base_url: String,
    /// The host comes from the caller and is not on the list of trusted ones: only public addresses may be called.
    pub untrusted_host: bool,
    /// How the provider wants the credential.
    pub auth: Auth,
    /// Sealed credential.
    pub credential: Option<String>,
    /// Further headers.
    pub headers: std::collections::BTreeMap<String, String>,
    /// Times the call may take.
    pub timeouts: Timeouts,
}

/// Whether a provider of that name is configured or in the catalogue.
pub fn known(slug: &str, registry: &Registry) -> bool {
    registry.providers.contains_key(slug) || catalogue::find(slug).is_some()
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

/// Looks up everything a call to this target needs.
///
/// Errors are 400s that name the place in the config: an unknown provider, a host that must not be called,
/// a credential that was not sealed.
pub fn resolve(target: &Target, registry: &Registry, trusted_hosts: &[String]) -> Result<Resolved, ApiError> {
    let slug = target.provider.as_str();
    let provider: &Provider = match registry.providers.get(slug) {
        Some(provider) => provider,
        None => catalogue::find(slug).ok_or_else(|| unknown(&target.path, slug, registry))?,
    };
    if let Some(url) = &target.custom_host {
        host::check_custom_host(url, trusted_hosts).map_err(|err| {
            let param = format!("{}.custom_host", target.path);
            ApiError::bad_request(&param, "invalid_custom_host", format!("`{param}`: {err}"))
        })?;
    }
    let credential = credential(target, provider)?;
    let mut headers = provider.headers.clone();
    for (name, value) in
        [("openai-organization", &target.openai_organization), ("openai-project", &target.openai_project)]
    {
        if let Some(value) = value {
            headers.insert(name.to_owned(), value.clone());
        }
    }
    let base_url =
        target.custom_host.as_deref().unwrap_or(&provider.base_url).trim_end_matches('/').to_owned();
    Ok(Resolved {
        queue: queue(target),
        concurrency: provider.concurrency,
        untrusted_host: target
            .custom_host
            .as_deref()
            .is_some_and(|url| !host::is_trusted(url, trusted_hosts)),
        base_url,
        auth: provider.auth.clone(),
        credential,
        headers,
        timeouts: provider.timeouts,
    })
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
    let slug = target.provider.as_str();
    let provider = registry.providers.get(slug).or_else(|| catalogue::find(slug));
    provider.map_or(std::time::Duration::ZERO, |provider| provider.timeouts.total)
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
