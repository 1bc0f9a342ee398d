//! From settings to a connection.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bus::Bus;

use crate::ready::Ready;
use crate::settings::Settings;

/// What the bus needs of the settings.
pub(crate) fn options(settings: &Settings, url: &str, name: &str) -> bus::Options {
    bus::Options {
        url: url.to_owned(),
        credentials_file: settings.nats.credentials_file(),
        name: name.to_owned(),
        replicas: settings.nats.replicas,
        memory: settings.nats.storage.is_memory(),
        lane_backlog: settings.limits.lane_backlog,
        call_backlog: settings.limits.call_backlog,
        ack_wait: settings.work.ack_wait,
        progress: settings.work.progress,
        result_ttl: settings.limits.result_ttl,
        result_ttl_async: settings.limits.result_ttl_async,
        responses_ttl: settings.limits.responses_ttl,
        inline_body: settings.limits.inline_body.bytes(),
        store_limit: settings.nats.max_store.bytes() as u64,
        request_bytes: None,
        cache_bytes: None,
    }
}

/// The broker that commands talk to: the one named, else that of the gateway in the data directory.
pub(crate) fn url(settings: &Settings) -> anyhow::Result<String> {
    if !settings.nats.url.is_empty() {
        return Ok(settings.nats.url.clone());
    }
    match Ready::find(&settings.data_dir) {
        Some(ready) => Ok(ready.nats),
        None => bail!(
            "no gateway runs in {}: start one with `pointsman up`, or name a broker with `--nats nats://…`",
            settings.data_dir.display()
        ),
    }
}

/// Connects a command; it does not wait for ever.
pub(crate) async fn connect(settings: &Settings) -> anyhow::Result<Bus> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let url = url(settings)?;
    let connecting = Bus::connect(options(settings, &url, "pointsman-cli"));
    match tokio::time::timeout(PATIENCE, connecting).await {
        Ok(bus) => bus,
        Err(_) => Err(anyhow::anyhow!("no answer within {PATIENCE:?}")),
    }
    .with_context(|| format!("reach the broker at {url}"))
}
