//! Makes one provider call per message, with timeouts, and records what happened.
//!
//! It decides nothing about what comes next: a success ends the request, everything else goes back to a router.

mod answer;
mod call;
mod client;
mod handle;
mod lost;
mod observe;
mod running;
mod stream;
mod targets;

use std::sync::Arc;

use anyhow::{Context as _, bail};
use bus::seal::PrivateKey;
use role::Ctx;
use tracing::info;

use crate::client::Clients;
use crate::handle::Worker;
use crate::observe::Observer;
use crate::running::Running;

/// The crate's name is the role's name, everywhere.
pub const NAME: &str = env!("CARGO_PKG_NAME");

/// Process settings of a provider worker.
#[derive(Clone, Debug)]
pub struct Options {
    /// Calls that this process makes at once, per target.
    pub slots: usize,
    /// Opens credentials.
    pub key: PrivateKey,
}

/// Runs until it has drained. Refuses to start with another sealing key than the one that is in use.
pub async fn run(ctx: Ctx, options: Options) -> anyhow::Result<()> {
    publish_key(&ctx, &options.key).await?;
    let running = Arc::new(Running::default());
    let id = format!("w{:016x}", rand::random::<u64>());
    let worker = Arc::new(Worker {
        observer: Observer::new(&id),
        id,
        clients: Clients::new()?,
        running: Arc::clone(&running),
        key: options.key.clone(),
        ctx: ctx.clone(),
    });
    running::listen(&ctx, &worker.id, running).await?;
    ctx.helper("tell what is seen of targets", Arc::clone(&worker.observer).run(ctx.clone()));
    info!(worker = worker.id, slots = options.slots, "ready to call providers");
    targets::serve(&ctx, &worker, options.slots).await;
    ctx.finish().await;
    Ok(())
}

/// Callers seal credentials for the key in the registry: it has to be ours.
async fn publish_key(ctx: &Ctx, key: &PrivateKey) -> anyhow::Result<()> {
    let ours = key.public();
    let publish = |registry: &mut domain::Registry| {
        registry.sealing_key.get_or_insert_with(|| ours.to_text());
    };
    ctx.bus().change_registry(publish).await.context("publish the sealing key")?;
    let (registry, _) = ctx.bus().registry().await?;
    let theirs = registry.sealing_key.as_deref().map(bus::seal::PublicKey::parse).transpose()?;
    match theirs {
        Some(theirs) if theirs != ours => bail!(
            "credentials here are sealed for key {}, but this worker has key {}: \
             give it the same `sealing.private_key`, or start it with the data directory of the others",
            theirs.fingerprint(),
            ours.fingerprint()
        ),
        _ => Ok(()),
    }
}
