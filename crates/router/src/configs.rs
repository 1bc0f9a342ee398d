//! Parsed configs: the same text is parsed once.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bus::state::ReadError;
use domain::config::{ConfigError, HeaderOptions};
use domain::policy::{ConfigVersion, Key};
use domain::{ApiError, Config, ConfigSource, Envelope};
use lru::LruCache;
use parking_lot::Mutex;

use crate::act::Router;

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
        self.once(text.to_owned(), routing, || parse(text, routing))
    }

    /// The checked form of a stored config.
    pub(crate) fn stored(
        &self,
        version: &ConfigVersion,
        routing: &HeaderOptions,
    ) -> Result<Arc<Config>, ApiError> {
        let parse = || {
            Config::read(&version.document, routing)
                .and_then(|config| config.check_hosts(routing).map(|()| config))
                .map_err(|err| ApiError::bad_config(&version.document.to_string(), &err))
        };
        if routing.api_key.is_some() {
            return parse().map(Arc::new);
        }
        let name = format!("{} {}@{}", version.workspace, version.slug, version.version);
        self.once(name, routing, parse)
    }

    fn once(
        &self,
        name: String,
        routing: &HeaderOptions,
        parse: impl FnOnce() -> Result<Config, ApiError>,
    ) -> Result<Arc<Config>, ApiError> {
        let key = match *routing == HeaderOptions::default() {
            true => name,
            false => format!("{}\n{name}", serde_json::to_string(routing).unwrap_or_default()),
        };
        if let Some(config) = self.parsed.lock().get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(parse()?);
        self.parsed.lock().put(key, Arc::clone(&config));
        Ok(config)
    }
}

/// Why there is no config.
#[derive(Debug)]
pub(crate) enum NoConfig {
    /// The request's fault.
    Refused(ApiError),
    /// The broker could not be asked.
    Unread(ReadError),
}

impl From<ApiError> for NoConfig {
    fn from(err: ApiError) -> Self {
        Self::Refused(err)
    }
}

impl Router {
    /// The config that a request was started with.
    pub(crate) async fn pinned(&self, envelope: &Envelope) -> Result<Arc<Config>, NoConfig> {
        match &envelope.config {
            ConfigSource::Inline(text) => Ok(self.configs.parse(text, &envelope.routing)?),
            ConfigSource::Stored { slug, version } => {
                let key = Key::Version(envelope.workspace.clone(), slug.clone(), version.unwrap_or_default());
                let version = self.version(&key).await?;
                Ok(self.configs.stored(&version, &envelope.routing)?)
            }
        }
    }

    /// A version of a stored config, from the store if it has not reached this process.
    pub(crate) async fn version(&self, key: &Key) -> Result<Arc<ConfigVersion>, NoConfig> {
        if let Key::Version(workspace, slug, number) = key
            && let Some(known) = self.ctx.policy().read(|p| p.config_version(workspace, slug, *number))
        {
            return Ok(known);
        }
        let record = self.ctx.bus().policy_record(key).await.map_err(NoConfig::Unread)?;
        let version = record.and_then(|record| serde_json::from_slice(&record.payload).ok());
        version.map(Arc::new).ok_or_else(|| {
            let message = format!("the pinned config `{key}` is not in the store");
            NoConfig::Refused(ApiError::new(500, "config_lost", message))
        })
    }
}

/// Refuses breakers that would try their targets sooner than this gateway allows.
pub(crate) fn check_cooldowns(config: &Config, shortest: Duration) -> Result<(), ApiError> {
    let refused = |err: ConfigError| ApiError::bad_request(&err.path, "invalid_config", err.to_string());
    config.check_cooldowns(shortest).map_err(refused)
}

fn parse(text: &str, routing: &HeaderOptions) -> Result<Config, ApiError> {
    Config::parse(text, routing).map_err(|err| ApiError::bad_config(text, &err))
}
