//! Answers from what was answered before: exactly the same first, the same meaning second.
//!
//! Each node follows the event stream and holds the same entries, in a store that may be lost at any time; look-ups are
//! shared among the nodes. The nodes share the work of storing what was answered as well.

mod admin;
mod apply;
mod catalog;
mod counters;
pub mod embed;
mod embedding;
pub mod eval;
pub mod guard;
mod index;
mod keep;
mod lookup;
mod meaning;
mod store;
#[cfg(test)]
mod testing;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use domain::Timestamp;
use role::Ctx;
use tokio::sync::Semaphore;
use tracing::{error, info};

use crate::catalog::Bounds;
use crate::counters::Counters;
use crate::embed::Embedder;
use crate::embedding::Backlog;
use crate::meaning::Meaning;
use crate::store::{Limits, Store};

/// The crate's name is the role's name, everywhere.
pub const NAME: &str = env!("CARGO_PKG_NAME");

/// What the role is told by the settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the store is. One process at a time may use it.
    pub directory: PathBuf,
    /// Most entries. Nodes with the same bounds hold the same entries.
    pub max_entries: usize,
    /// Most bytes of entries and answers.
    pub max_bytes: u64,
    /// Most bytes on disk; sled takes two to three times what it holds.
    pub max_disk: u64,
    /// Cosine similarity from which texts may mean the same, where the question does not say.
    pub threshold: f32,
    /// Most look-ups at once; more are misses.
    pub most_lookups: usize,
    /// How texts become vectors.
    pub embedder: embed::Options,
}

/// What is held, and what it is found with.
struct Cache {
    store: Store,
    meaning: Box<dyn Meaning>,
    backlog: Backlog,
    counters: Counters,
    threshold: f32,
}

/// One process of the role.
struct Node {
    ctx: Ctx,
    cache: Arc<Cache>,
    /// Room for look-ups.
    room: Arc<Semaphore>,
    /// Something may have happened that the store does not know: no look-up is answered.
    behind: AtomicBool,
    started_at: Timestamp,
}

/// Runs until shutdown. Fails if the store cannot be opened.
pub async fn run(ctx: Ctx, options: Options) -> anyhow::Result<()> {
    let started_at = ctx.clock().now();
    let meaning = Box::new(Embedder::start(options.embedder).context("set up the embedder")?);
    let (most, threshold) = (options.most_lookups, options.threshold);
    let limits = Limits {
        directory: options.directory,
        bounds: Bounds { entries: options.max_entries, bytes: options.max_bytes },
        disk: options.max_disk,
    };
    let store =
        blocking(move || Store::open(limits, started_at)).await.context("open the cache's store")??;
    let cache = Arc::new(Cache::new(store, meaning, threshold));
    {
        let (entries, position) = (cache.store.catalog().read().len(), cache.store.position());
        info!(entries, position, "the cache is open");
    }
    let room = Arc::new(Semaphore::new(most));
    let node = Arc::new(Node { ctx, cache, room, behind: AtomicBool::new(true), started_at });
    let served = serve(&node).await;
    node.ctx.finish().await;
    let cache = Arc::clone(&node.cache);
    blocking(move || cache.store.flush()).await;
    served
}

async fn serve(node: &Arc<Node>) -> anyhow::Result<()> {
    let (bus, version) = (node.ctx.bus(), env!("CARGO_PKG_VERSION"));
    // Before anything is answered: what was missed may be what was taken out.
    apply::compare_with_the_stream(node).await;
    bus.event_reader(NAME, keep::KINDS, keep::BATCH).await.context("set up the reader of events")?;
    let lookups = bus.serve_cache(version).await?;
    let questions = bus.serve_cache_admin(version).await?;
    let asked = bus.hear_cache_nodes().await?;
    node.ctx.helper("embedding", embedding::run(Arc::clone(&node.cache)));
    node.ctx.helper("position", apply::keep_up(Arc::clone(node)));
    node.ctx.helper("upkeep", apply::look_after(Arc::clone(node)));
    tokio::join!(
        lookup::serve(node, lookups),
        admin::serve(node, questions),
        admin::tell(node, asked),
        keep::run(node),
        apply::run(node),
    );
    Ok(())
}

impl Cache {
    fn new(store: Store, meaning: Box<dyn Meaning>, threshold: f32) -> Self {
        let backlog = Backlog::default();
        backlog.replace(store.without_vector());
        counters::measure(&store);
        Self { store, meaning, backlog, counters: Counters::default(), threshold }
    }
}

/// Runs what waits for a disk, or takes long, on a thread where that does no harm. None: it panicked.
async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(act).await {
        Ok(done) => Some(done),
        Err(err) => {
            error!(%err, "a piece of the cache's work failed");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_can_be_spawned() {
        fn spawnable<F: Future<Output = anyhow::Result<()>> + Send + 'static>(_: fn(Ctx, Options) -> F) {}
        spawnable(run);
    }
}
