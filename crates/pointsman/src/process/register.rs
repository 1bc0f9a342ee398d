//! From settings to the registry that every role reads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bus::Bus;
use bus::identity::{self, Access, ClusterSecret};
use bus::policy::PolicyView;
use bus::seal::{Keyring, PrivateKey, PublicKey};
use bytes::Bytes;
use domain::envelope::{Auth, Timeouts};
use domain::model::{ModelInfo, PicoUsd, Price};
use domain::policy::{ApiKey, ApiKeyKind, Caps, Defaults, Key, Scope, Stamp, Status};
use domain::registry::{Format, Provider};
use domain::{Registry, Slug, Timestamp, Workspace};
use providers::catalogue;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

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

/// The keys that open credentials.
pub(crate) fn keyring(settings: &Settings, data_dir: Option<&DataDir>) -> anyhow::Result<Keyring> {
    let current = sealing_key(settings, data_dir)?;
    let other = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.with_context(|| format!("read sealing.other_key_files {}", path.display()))?;
        PrivateKey::parse(&text).with_context(|| format!("read sealing.other_key_files {}", path.display()))
    };
    let others = settings.sealing.other_key_files.iter().map(other).collect::<anyhow::Result<_>>()?;
    Ok(Keyring { current, others })
}

/// How access is controlled. `up` makes a secret up if there is none; single roles have to be given one.
pub(crate) fn access(settings: &Settings, data_dir: Option<&DataDir>) -> anyhow::Result<Access> {
    let required = settings.auth.mode.is_on();
    let bytes = match (settings.auth.cluster_secret()?, data_dir) {
        (Some(text), _) => {
            let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
            Some(bytes.context("auth.cluster_secret has to be 32 bytes in base64")?)
        }
        (None, Some(data_dir)) => Some(data_dir.cluster_secret()?),
        (None, None) => datadir::cluster_secret(&settings.data_dir)?,
    };
    if required && bytes.is_none() {
        bail!(
            "auth.mode is on, but there is no cluster secret: roles could not tell each other who a request belongs \
             to; set auth.cluster_secret_file, or use the data directory of the others (--data-dir)"
        );
    }
    let secret = bytes.map(ClusterSecret::new);
    Ok(Access { required, secret, keys_over_nats: settings.auth.keys_over_nats })
}

/// Makes the first administrator's API key if access is controlled and nobody has one. Returns where its text is.
pub(crate) async fn first_administrator(
    bus: &Bus,
    settings: &Settings,
    data_dir: &DataDir,
) -> anyhow::Result<Option<PathBuf>> {
    if !settings.auth.mode.is_on() {
        return Ok(None);
    }
    let view = PolicyView::default();
    bus.load_policy(&view).await.context("read the stored API keys")?;
    let now = bus.clock().now();
    if view.read(|policy| policy.has_administrator(now)) {
        return Ok(None);
    }
    let (text, key) = new_administrator(now)?;
    // Kept first: a key that is stored and whose text is lost would be of no use.
    let path = data_dir.keep_admin_key(&text)?;
    let record = Bytes::from(serde_json::to_vec(&key)?);
    bus.put_policy(&Key::ApiKey(key.id.clone()), record, 0).await.context("store the first API key")?;
    Ok(Some(path))
}

fn new_administrator(now: Timestamp) -> anyhow::Result<(Zeroizing<String>, ApiKey)> {
    let id = Slug::parse(&format!("admin{:08x}", rand::random::<u32>()))?;
    let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let stamp = Stamp { at: now, by: "up".to_owned() };
    let key = ApiKey {
        id: id.clone(),
        kind: ApiKeyKind::OrganisationService,
        workspace: Workspace::default(),
        name: "first administrator".to_owned(),
        description: Some("made by `pointsman up`; its text is in the data directory".to_owned()),
        user_id: None,
        hash: identity::hash(&secret),
        previous: None,
        scopes: Scope::usual(ApiKeyKind::OrganisationService),
        defaults: Defaults::default(),
        caps: Caps::default(),
        rotation_policy: serde_json::Value::Null,
        alert_emails: Vec::new(),
        managed_by: None,
        expires_at: None,
        status: Status::Active,
        created: stamp.clone(),
        updated: stamp,
    };
    Ok((Zeroizing::new(ApiKey::text(&id, &secret)), key))
}

/// Publishes providers and the default route. The mock answers while no provider is configured.
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
            let mut entry = catalogue::blank(Format::OpenAi, &format!("{url}/v1"));
            entry.concurrency = 4096;
            entry.models = vec![MOCK.to_owned()];
            entry.price = Some(mock_price());
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

/// What the mock charges, as its help says: 2.50 USD per million tokens of prompts, 10 USD of answers, 0.04 USD an image.
fn mock_price() -> Price {
    Price {
        input: PicoUsd(2_500_000),
        output: PicoUsd(10_000_000),
        image: Some(PicoUsd(40_000_000_000)),
        ..Price::default()
    }
}

/// One provider: what the settings say, over what the catalogue knows.
pub(crate) fn entry(slug: &str, settings: &settings::Provider, key: &PublicKey) -> anyhow::Result<Provider> {
    let known = catalogue::find(slug).cloned();
    let base_url = settings.base_url.clone().or_else(|| known.as_ref().map(|k| k.base_url.clone()));
    let base_url =
        base_url.with_context(|| format!("provider `{slug}` is not in the catalogue: add its base_url"))?;
    let mut base = known.unwrap_or_else(|| catalogue::blank(Format::OpenAi, &base_url));
    // Who names a URL means it.
    if settings.base_url.is_some() {
        base.at_other_host();
    }
    let credential =
        settings.api_key.as_ref().map(|secret| secret.expose()).filter(|secret| !secret.is_empty());
    let format = settings.format.unwrap_or(base.format);
    // What the catalogue knows of another format or another place does not hold.
    let same = format == base.format;
    let paths = if same { base.paths } else { BTreeMap::new() };
    Ok(Provider {
        format,
        base_url: base_url.trim_end_matches('/').to_owned(),
        auth: Auth {
            header: settings.auth_header.clone().unwrap_or(base.auth.header).to_ascii_lowercase(),
            scheme: settings.auth_scheme.clone().unwrap_or(base.auth.scheme),
            signing: settings.signing.clone().or(base.auth.signing),
        },
        options: options(&base.options, &settings.options, key)?,
        operations: if settings.operations.is_empty() {
            base.operations
        } else {
            settings.operations.clone()
        },
        paths: paths.into_iter().chain(settings.paths.clone()).collect(),
        quirks: if settings.quirks.is_empty() { base.quirks } else { settings.quirks.clone() },
        variants: if settings.variants.is_empty() { base.variants } else { settings.variants.clone() },
        when: if settings.when.is_empty() { base.when } else { settings.when.clone() },
        credential: credential.map(|secret| key.seal(secret)).transpose()?,
        concurrency: settings.concurrency.unwrap_or(base.concurrency),
        timeouts: timeouts(settings, base.timeouts),
        headers: base.headers.into_iter().chain(settings.headers.clone()).collect(),
        models: settings.models.clone(),
        price: match &settings.price {
            Some(rates) => Some(
                providers::models::price(rates)
                    .map_err(|problem| anyhow::anyhow!("providers.{slug}: {problem}"))?,
            ),
            None => base.price,
        },
    })
}

/// The catalogue's options under those of the settings, whose credentials are sealed.
fn options(
    base: &Map<String, Value>,
    settings: &Map<String, Value>,
    key: &PublicKey,
) -> anyhow::Result<Map<String, Value>> {
    let mut sealed = Value::Object(settings.clone());
    let mut failed = None;
    domain::config::seal_credentials(&mut sealed, &mut |secret| {
        key.seal(secret).unwrap_or_else(|err| {
            failed = Some(err);
            String::new()
        })
    });
    if let Some(err) = failed {
        return Err(err).context("seal the provider's options");
    }
    let mut all = base.clone();
    all.extend(sealed.as_object().cloned().unwrap_or_default());
    Ok(all)
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
