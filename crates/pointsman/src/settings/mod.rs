//! What a process is told: one TOML file, overridden by the environment, overridden by flags.
//!
//! Everything that is wrong is reported at once, with file and line and what to write instead.

mod alerts;
mod cache;
pub(crate) mod expand;
mod layers;
mod problem;
mod provider;
mod rules;
mod sections;
mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::settings::alerts::{Alerts, Channel, ChannelKind, Rule, Tls};
pub use crate::settings::cache::{Cache, Embedder, PoolingName};
pub use crate::settings::problem::{Place, SettingsError, SettingsErrors};
pub use crate::settings::provider::{Provider, Secret};
pub(crate) use crate::settings::rules::MOST_MODELS;
pub use crate::settings::sections::{
    Auth, Deadlines, Health, Http, Ledger, Limits, Log, LogFormat, Mock, MockEnabled, Nats, OnDisconnect,
    Sealing, Secrets, Storage, Work,
};
pub use crate::settings::units::{ByteSize, SyncInterval};
pub use providers::models::Entry as Model;

/// Everything a process is told. The default is what counts without any file.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Settings {
    /// Where data and keys live.
    pub data_dir: PathBuf,
    /// What is logged, and how.
    pub log: Log,
    /// The HTTP API.
    pub http: Http,
    /// Who may use the gateway.
    pub auth: Auth,
    /// The broker.
    pub nats: Nats,
    /// How much is kept, and for how long.
    pub limits: Limits,
    /// How long requests may take.
    pub deadlines: Deadlines,
    /// How work is taken and handed back.
    pub work: Work,
    /// How failing targets are left alone.
    pub health: Health,
    /// Where the books are kept.
    pub ledger: Ledger,
    /// Answers that are given again.
    pub cache: Cache,
    /// Who is told of what.
    pub alerts: Alerts,
    /// Providers by slug.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub providers: BTreeMap<String, Provider>,
    /// Models by provider and name, as in `openai/gpt-4o`: what differs from the models known by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, Model>,
    /// The config of requests that bring none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Value>,
    /// The key that opens credentials.
    pub sealing: Sealing,
    /// Where virtual keys may get credentials from, besides their own records.
    pub secrets: Secrets,
    /// The mock provider.
    pub mock: Mock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(".pointsman"),
            log: Log::default(),
            http: Http::default(),
            auth: Auth::default(),
            nats: Nats::default(),
            limits: Limits::default(),
            deadlines: Deadlines::default(),
            work: Work::default(),
            health: Health::default(),
            ledger: Ledger::default(),
            cache: Cache::default(),
            alerts: Alerts::default(),
            providers: BTreeMap::new(),
            models: BTreeMap::new(),
            route: None,
            sealing: Sealing::default(),
            secrets: Secrets::default(),
            mock: Mock::default(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        provider::hidden(self, f)
    }
}

/// Where settings come from; the later ones win.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The file, if one was named.
    pub file: Option<&'a Path>,
    /// The environment of the process: for `${NAME}` in the file, and for `POINTSMAN_<SECTION>__<KEY>`.
    pub env: &'a BTreeMap<String, String>,
    /// Flags, as in `http.body_limit=10MiB`.
    pub set: &'a [String],
}

impl Settings {
    /// Reads all sources. Nothing half-checked comes out.
    pub fn load(sources: Sources<'_>) -> Result<Self, SettingsErrors> {
        let Some(path) = sources.file else {
            return layers::read("", "", sources);
        };
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => layers::read(&name, &text, sources),
            Err(err) => {
                let place = Place::Other(name);
                let message = format!("cannot read the settings file: {err}");
                Err(SettingsErrors::one(SettingsError { place, message }))
            }
        }
    }

    /// Checks the text of a file alone, without overrides; `name` is what errors call it.
    pub fn check(name: &str, text: &str, env: &BTreeMap<String, String>) -> Result<Self, SettingsErrors> {
        let env: BTreeMap<_, _> = env
            .iter()
            .filter(|(name, _)| !name.starts_with(layers::PREFIX))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        layers::read(name, text, Sources { file: None, env: &env, set: &[] })
    }
}

#[cfg(test)]
mod tests;
