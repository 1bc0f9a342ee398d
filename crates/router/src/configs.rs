//! Parsed configs: the same text is parsed once.

use std::num::NonZeroUsize;
use std::sync::Arc;

use domain::config::HeaderOptions;
use domain::{ApiError, Config};
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
    Config::parse(text, routing).map_err(|err| ApiError::bad_config(text, &err))
}
