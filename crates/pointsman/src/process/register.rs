//! From settings to the registry that every role reads.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bus::Bus;
use bus::seal::{PrivateKey, PublicKey};
use domain::Registry;
use domain::envelope::{Auth, Timeouts};
use domain::model::ModelInfo;
use domain::registry::Provider;
use providers::catalogue;

use crate::datadir::{self, DataDir};
use crate::settings::{self, Settings};

/// Slug of the mock provider.
const MOCK: &str = "mock";

/// The key that opens credentials: from the settings, else from the data directory.
pub(crate) fn sealing_key(settings: &Settings, data_dir: Option<&DataDir>) -> anyhow::Result<PrivateKey> {
    if let Some(text) = settings.sealing.private_key()? {
        return PrivateKey::parse(&text).context("read sealing.private_key");
    }
    let bytes = match data_dir {
        Some(data_dir) => data_dir.sealing_key()?,
        None => datadir::sealing_key(&settings.data_dir)?,
    };
    Ok(PrivateKey::from_bytes(bytes))
}

/// Publishes providers, models and the default route. The mock answers while no provider is configured.
///
/// The `owner` of a broker (`up`) also takes out what its settings no longer name.
pub(crate) async fn settings(
    bus: &Bus,
    owner: bool,
    settings: &Settings,
    mock: Option<&str>,
    key: &PrivateKey,
) -> anyhow::Result<()> {
    let (registry, _) = bus.registry().await?;
    let public = match &registry.sealing_key {
        Some(text) => PublicKey::parse(text).context("read the sealing key in the registry")?,
        None => key.public(),
    };
    let mut providers = Vec::new();
    for (slug, provider) in &settings.providers {
        let entry = entry(slug, provider, &public)?;
        providers.push((slug.clone(), entry));
    }
    let models = models(&settings.models)?;
    let any_secret = providers.iter().any(|(_, p)| p.credential.is_some());
    let change = |registry: &mut Registry| {
        if any_secret {
            registry.sealing_key.get_or_insert_with(|| public.to_text());
        }
        if let Some(url) = mock {
            let mut entry = catalogue::openai_compatible(&format!("{url}/v1"));
            entry.concurrency = 4096;
            entry.models = vec![MOCK.to_owned()];
            registry.providers.insert(MOCK.to_owned(), entry);
            registry.mock = Some(url.to_owned());
        } else if !providers.is_empty() && !settings.providers.contains_key(MOCK) {
            registry.providers.remove(MOCK);
            registry.mock = None;
        }
        if owner {
            registry.providers.retain(|slug, _| slug == MOCK || settings.providers.contains_key(slug));
        }
        for (slug, entry) in &providers {
            registry.providers.insert(slug.clone(), entry.clone());
        }
        if owner {
            registry.models.retain(|key, _| models.contains_key(key));
        }
        registry.models.extend(models.clone());
        registry.route = match (&settings.route, providers.is_empty(), mock) {
            (Some(route), _, _) => Some(route.clone()),
            (None, true, Some(_)) => Some(serde_json::json!({ "provider": MOCK })),
            (None, true, None) => registry.route.clone(),
            (None, false, _) => only(&providers),
        };
    };
    bus.change_registry(change).await.context("publish the providers")
}

fn only(providers: &[(String, Provider)]) -> Option<serde_json::Value> {
    match providers {
        [(slug, _)] => Some(serde_json::json!({ "provider": slug })),
        _ => None,
    }
}

/// Models of the settings, whole: over what is known of them by name.
pub(crate) fn models(
    settings: &BTreeMap<String, settings::Model>,
) -> anyhow::Result<BTreeMap<String, ModelInfo>> {
    let whole = settings.iter().map(|(key, entry)| {
        let info = providers::models::configured(key, entry);
        info.map(|info| (key.clone(), info)).map_err(|problem| anyhow::anyhow!("models.\"{key}\": {problem}"))
    });
    whole.collect()
}

/// One provider: what the settings say, over what the catalogue knows.
pub(crate) fn entry(slug: &str, settings: &settings::Provider, key: &PublicKey) -> anyhow::Result<Provider> {
    let known = catalogue::find(slug).cloned();
    let base_url = settings.base_url.clone().or_else(|| known.as_ref().map(|k| k.base_url.clone()));
    let base_url =
        base_url.with_context(|| format!("provider `{slug}` is not in the catalogue: add its base_url"))?;
    let base = known.unwrap_or_else(|| catalogue::openai_compatible(&base_url));
    let credential =
        settings.api_key.as_ref().map(|secret| secret.expose()).filter(|secret| !secret.is_empty());
    Ok(Provider {
        format: settings.format.clone().unwrap_or(base.format),
        base_url: base_url.trim_end_matches('/').to_owned(),
        auth: Auth {
            header: settings.auth_header.clone().unwrap_or(base.auth.header).to_ascii_lowercase(),
            scheme: settings.auth_scheme.clone().unwrap_or(base.auth.scheme),
        },
        credential: credential.map(|secret| key.seal(secret)).transpose()?,
        concurrency: settings.concurrency.unwrap_or(base.concurrency),
        timeouts: timeouts(settings, base.timeouts),
        headers: settings.headers.clone(),
        models: settings.models.clone(),
    })
}

/// What the settings say; what they leave to its default is not longer than the total.
fn timeouts(settings: &settings::Provider, base: Timeouts) -> Timeouts {
    let total = settings.total_timeout.unwrap_or(base.total);
    Timeouts {
        connect: settings.connect_timeout.unwrap_or(base.connect.min(total)),
        first_byte: settings.first_byte_timeout.unwrap_or(base.first_byte.min(total)),
        idle: settings.idle_timeout.unwrap_or(base.idle),
        total,
    }
}
