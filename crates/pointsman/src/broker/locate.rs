//! Finding a nats-server that is recent enough.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use tracing::info;

use crate::broker::fetch;
use crate::broker::version::{MINIMUM, Version, parse_version};

/// The name that is looked for on PATH.
pub(super) const NAME: &str = "nats-server";

/// Where fetched programs are kept.
pub fn cache_dir(env: &BTreeMap<String, String>) -> PathBuf {
    let variable = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    caches.unwrap_or_else(|| PathBuf::from(".cache")).join("pointsman")
}

/// The nats-server to start: the configured one, else the one on PATH if it is recent enough, else a fetched one.
/// Takes as long as a download takes.
pub fn locate(configured: Option<&Path>, cache: &Path) -> anyhow::Result<PathBuf> {
    if let Some(path) = configured {
        let version = version_of(path)?
            .with_context(|| format!("there is no nats-server at {}: correct nats.server", path.display()))?;
        if version < MINIMUM {
            bail!(
                "{} is nats-server {version}, but {MINIMUM} or newer is needed: correct nats.server",
                path.display()
            );
        }
        return Ok(path.to_owned());
    }
    match version_of(Path::new(NAME)) {
        Ok(Some(version)) if version >= MINIMUM => return Ok(PathBuf::from(NAME)),
        Ok(Some(version)) => {
            info!(%version, "the nats-server on PATH is older than {MINIMUM}; using a fetched one")
        }
        Ok(None) => {}
        Err(err) => {
            info!(err = format!("{err:#}"), "the nats-server on PATH does not work; using a fetched one")
        }
    }
    fetch::fetched(cache)
}

/// Asks a binary for its version; None if there is no such file.
pub fn version_of(binary: &Path) -> anyhow::Result<Option<Version>> {
    let output = match Command::new(binary).arg("--version").stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err).with_context(|| format!("run {} --version", binary.display())),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let version = parse_version(&text).filter(|_| output.status.success());
    version
        .map(Some)
        .with_context(|| format!("{} --version did not answer like a nats-server", binary.display()))
}
