//! The line that says that everything answers, and the file where other commands find it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::output::Output;

/// Where things are. The line on standard output and the file have the same content.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// The HTTP API, or health and metrics where there is none.
    pub(crate) http: Option<String>,
    /// The broker.
    pub(crate) nats: String,
    /// The mock provider's base URL.
    pub(crate) mock: Option<String>,
    /// Prometheus metrics.
    pub(crate) metrics: Option<String>,
}

const FILE: &str = "ready.json";

impl Ready {
    /// Prints `ready http=… nats=… mock=… metrics=…`, or one JSON object.
    pub(crate) fn announce(&self, output: Output) {
        if output.is_json() {
            return output.always(self);
        }
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        let (http, mock, metrics) = (or_none(&self.http), or_none(&self.mock), or_none(&self.metrics));
        output.line(format!("ready http={http} nats={} mock={mock} metrics={metrics}", self.nats));
    }

    /// Leaves a note in the data directory for commands that are run beside.
    pub(crate) fn note(&self, data_dir: &Path) -> anyhow::Result<()> {
        std::fs::write(data_dir.join(FILE), serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// Finds the note of a gateway that runs, or ran, in the data directory.
    pub(crate) fn find(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(data_dir.join(FILE)).ok()?).ok()
    }

    /// Takes the note away.
    pub(crate) fn forget(data_dir: &Path) {
        let _ = std::fs::remove_file(data_dir.join(FILE));
    }
}
