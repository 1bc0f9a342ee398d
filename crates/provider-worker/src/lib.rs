//! Makes one provider call per message, with timeouts, and records what happened.
//!
//! It decides nothing about what comes next: a success ends the request, everything else goes back to a router.

mod answer;
mod bill;
mod call;
mod client;
mod count;
mod handle;
mod lost;
mod observe;
mod prove;
mod running;
mod secrets;
mod stream;
mod targets;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bus::seal::{Keyring, PublicKey};
use role::Ctx;
use tracing::info;
use zeroize::Zeroizing;

use crate::client::Clients;
use crate::handle::Worker;
use crate::observe::Observer;
use crate::prove::Tokens;
use crate::running::Running;
use crate::secrets::Secrets;

/// The crate's name is the role's name, everywhere.
pub const NAME: &str = env!("CARGO_PKG_NAME");

/// Process settings of a provider worker.
#[derive(Clone, Debug)]
pub struct Options {
    /// Calls that this process makes at once, per target.
    pub slots: usize,
    /// Opens credentials.
    pub keys: Keyring,
    /// Environment variables that virtual keys may refer to, by name.
    pub environment: BTreeMap<String, Zeroizing<String>>,
    /// Directory whose files virtual keys may refer to.
    pub secrets_dir: Option<PathBuf>,
    /// Hosts that may be asked for access tokens although they are not public.
    pub trusted_hosts: Vec<String>,
}

/// Runs until it has drained. Refuses to start with another sealing key than the one that is in use.
pub async fn run(ctx: Ctx, options: Options) -> anyhow::Result<()> {
    publish_key(&ctx, &options.keys).await?;
    let running = Arc::new(Running::default());
    let id = format!("w{:016x}", rand::random::<u64>());
    let worker = Arc::new(Worker {
        observer: Observer::new(&id),
        id,
        clients: Clients::new()?,
        running: Arc::clone(&running),
        secrets: Secrets::new(ctx.clone(), &options),
        tokens: Tokens::new(),
        trusted_hosts: options.trusted_hosts,
        ctx: ctx.clone(),
    });
    running::listen(&ctx, &worker.id, running).await?;
    ctx.helper("tell what is seen of targets", Arc::clone(&worker.observer).run(ctx.clone()));
    info!(worker = worker.id, slots = options.slots, "ready to call providers");
    targets::serve(&ctx, &worker, options.slots).await;
    ctx.finish().await;
    Ok(())
}

/// Callers seal credentials for the key in the registry: it has to be one of ours. Where it is one that ours replaces,
/// ours takes its place.
async fn publish_key(ctx: &Ctx, keys: &Keyring) -> anyhow::Result<()> {
    let ours = keys.current.public();
    let replaced = |text: &str| PublicKey::parse(text).is_ok_and(|key| keys.has(&key));
    let publish = |registry: &mut domain::Registry| {
        if registry.sealing_key.as_deref().is_none_or(replaced) {
            registry.sealing_key = Some(ours.to_text());
        }
    };
    ctx.bus().change_registry(publish).await.context("publish the sealing key")?;
    let (registry, _) = ctx.bus().registry().await?;
    let theirs = registry.sealing_key.as_deref().map(PublicKey::parse).transpose()?;
    match theirs {
        Some(theirs) if !keys.has(&theirs) => bail!(
            "credentials here are sealed for key {}, but this worker has key {}: \
             give it the same `sealing.private_key`, or start it with the data directory of the others",
            theirs.fingerprint(),
            ours.fingerprint()
        ),
        _ => Ok(()),
    }
}
