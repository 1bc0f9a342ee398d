//! Parsed configs: the same text is parsed once.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use domain::config::{ConfigError, HeaderOptions};
use domain::{ApiError, Config, Registry};
use lru::LruCache;
use parking_lot::Mutex;

/// How many configs are kept parsed.
const KEPT: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

pub(crate) struct Configs {
    parsed: Mutex<LruCache<String, Arc<Config>>>,
}

impl Configs {
    pub(crate) fn new() -> Self {
        Self { parsed: Mutex::new(LruCache::new(KEPT)) }
    }

    /// The checked form of a config with the header values that go with it.
    pub(crate) fn parse(&self, text: &str, routing: &HeaderOptions) -> Result<Arc<Config>, ApiError> {
        // A caller's own credential is sealed anew for every request, so its config never comes twice.
        if routing.api_key.is_some() || text.contains("sealed:") {
            return parse(text, routing).map(Arc::new);
        }
        let key = match *routing == HeaderOptions::default() {
            true => text.to_owned(),
            false => format!("{}\n{text}", serde_json::to_string(routing).unwrap_or_default()),
        };
        if let Some(config) = self.parsed.lock().get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(parse(text, routing)?);
        self.parsed.lock().put(key, Arc::clone(&config));
        Ok(config)
    }
}

fn parse(text: &str, routing: &HeaderOptions) -> Result<Config, ApiError> {
    Config::parse(text, routing)
        .map_err(|err| ApiError::bad_request(&err.path, "invalid_config", err.to_string()))
}

/// Refuses breakers that would try their targets sooner than this gateway allows.
pub(crate) fn check_cooldowns(config: &Config, shortest: Duration) -> Result<(), ApiError> {
    let refused = |err: ConfigError| ApiError::bad_request(&err.path, "invalid_config", err.to_string());
    config.check_cooldowns(shortest).map_err(refused)
}

/// The config of a request that brings none.
pub(crate) fn default_config(registry: &Registry) -> Result<String, ApiError> {
    if let Some(route) = &registry.route {
        return Ok(route.to_string());
    }
    let mut slugs = registry.providers.keys();
    match (slugs.next(), slugs.next()) {
        (Some(only), None) => Ok(serde_json::json!({ "provider": only }).to_string()),
        (None, _) => {
            let message = "no provider is configured: add `[providers.…]` to the settings, \
                           name one with `x-portkey-provider`, or start the mock provider";
            Err(ApiError::new(503, "no_provider", message).with_retry_after(5))
        }
        _ => {
            let message = "several providers are configured but no `[route]`: say in the settings which one answers, \
                           or send a config";
            Err(ApiError::new(503, "no_route", message).with_retry_after(5))
        }
    }
}
