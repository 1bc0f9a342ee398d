//! Answers that are given again: where they are kept, how many, and how texts are compared.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use semantic_cache::embed::{self, Endpoint, Library, Pooling, Source};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::settings::provider::{Secret, hidden, url_without_password};
use crate::settings::units::{self, ByteSize};

/// Answers that are given again.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Cache {
    /// Where a node keeps them; empty: `cache` in the data directory. Two processes cannot share it.
    pub dir: String,
    /// Most answers.
    pub max_entries: usize,
    /// Most bytes of answers.
    pub max_size: ByteSize,
    /// Most bytes on disk; above it what lives is copied and the rest dropped.
    pub max_disk: ByteSize,
    /// Bytes of answers on the broker that new nodes are filled from.
    pub broker_size: ByteSize,
    /// How long a request waits for the cache's word.
    #[serde(with = "units::duration")]
    pub lookup_timeout: Duration,
    /// Look-ups at once; others are misses.
    pub lookups: usize,
    /// Cosine similarity from which texts may mean the same, where the config does not say.
    pub threshold: f64,
    /// How texts are turned into vectors.
    pub embedder: Embedder,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            dir: String::new(),
            max_entries: 100_000,
            max_size: ByteSize::mib(512),
            max_disk: ByteSize::gib(2),
            broker_size: ByteSize::gib(1),
            lookup_timeout: Duration::from_millis(150),
            lookups: 256,
            // Without what single precision adds.
            threshold: (f64::from(semantic_cache::eval::DEFAULT_THRESHOLD) * 100.0).round() / 100.0,
            embedder: Embedder::default(),
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hidden(self, f)
    }
}

/// How texts are turned into vectors.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Embedder {
    /// A model by name, downloaded once when the first text comes; with `url`, the endpoint's.
    pub model: String,
    /// A folder with a model's files, in place of a download.
    pub dir: String,
    /// An embeddings endpoint like OpenAI's, in place of a model here.
    #[serde(serialize_with = "url_without_password")]
    pub url: String,
    /// Its credential.
    pub api_key: Secret,
    /// Numbers of its vectors; 0: what the model gives.
    pub dimensions: usize,
    /// How long it may take.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// How vectors of tokens become one, where the folder does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooling: Option<PoolingName>,
    /// Threads that embed.
    pub threads: usize,
    /// Look-ups that wait for one of them; others are misses.
    pub queue: usize,
    /// Longest text, in the model's tokens, that is compared by meaning.
    pub max_tokens: usize,
    /// Path of libonnxruntime; empty: looked for, else fetched.
    pub library: String,
}

/// How vectors of tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolingName {
    /// Their mean.
    Mean,
    /// The first.
    Cls,
}

impl Default for Embedder {
    fn default() -> Self {
        Self {
            model: "AllMiniLML6V2".to_owned(),
            dir: String::new(),
            url: String::new(),
            api_key: Secret::default(),
            dimensions: 0,
            timeout: Duration::from_secs(5),
            pooling: None,
            threads: 2,
            queue: 32,
            max_tokens: 256,
            library: String::new(),
        }
    }
}

impl fmt::Debug for Embedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hidden(self, f)
    }
}

impl Cache {
    /// What the role is started with, in a process with this data directory and environment.
    pub fn options(&self, data_dir: &Path, env: &BTreeMap<String, String>) -> semantic_cache::Options {
        let directory = if self.dir.is_empty() { data_dir.join("cache") } else { PathBuf::from(&self.dir) };
        semantic_cache::Options {
            directory,
            max_entries: self.max_entries,
            max_bytes: self.max_size.bytes() as u64,
            max_disk: self.max_disk.bytes() as u64,
            threshold: self.threshold as f32,
            most_lookups: self.lookups,
            embedder: self.embedder.options(data_dir, env),
        }
    }
}

impl Embedder {
    /// How the embedder is started.
    pub fn options(&self, data_dir: &Path, env: &BTreeMap<String, String>) -> embed::Options {
        embed::Options {
            threads: self.threads,
            queue: self.queue,
            max_tokens: self.max_tokens,
            ..embed::Options::new(self.source(data_dir), self.library(env))
        }
    }

    fn source(&self, data_dir: &Path) -> Source {
        let pooling = self.pooling.map(|pooling| match pooling {
            PoolingName::Mean => Pooling::Mean,
            PoolingName::Cls => Pooling::Cls,
        });
        if !self.url.is_empty() {
            let key = self.api_key.expose();
            return Source::Endpoint(Endpoint {
                url: self.url.clone(),
                model: self.model.clone(),
                api_key: (!key.is_empty()).then(|| Zeroizing::new(key.to_owned())),
                dimensions: (self.dimensions > 0).then_some(self.dimensions),
                timeout: self.timeout,
            });
        }
        if !self.dir.is_empty() {
            return Source::Folder { path: PathBuf::from(&self.dir), pooling };
        }
        Source::Hub { name: self.model.clone(), folder: data_dir.join("models"), mirror: None }
    }

    fn library(&self, env: &BTreeMap<String, String>) -> Library {
        let named = (!self.library.is_empty()).then(|| PathBuf::from(&self.library));
        let env = env.clone();
        Arc::new(move || crate::onnxruntime::locate(named.as_deref(), &env))
    }
}
