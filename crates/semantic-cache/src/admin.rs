//! Administrators' questions: which entries there are, what one says, how the node does.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bus::cache::{Ask, List, Listed, NodeStats, Shown};
use bus::ledger::Answer;
use bus::service::{Question, Service};
use bus::{Headers, Subscription};
use bytes::Bytes;
use domain::cache::Entry;
use domain::{RequestId, Workspace};
use serde::Serialize;
use tracing::{debug, warn};

use crate::catalog::Place;
use crate::{Cache, Node, blocking};

/// Largest list: it has to fit into one message.
const MOST_BYTES: usize = 900 * 1024;

/// Most entries of a page.
const MOST: usize = 1000;

/// Wait before the doors are offered again.
const AGAIN: Duration = Duration::from_secs(1);

/// Answers administrators until the role is told to stop.
pub(crate) async fn serve(node: &Arc<Node>, mut service: Service) {
    loop {
        let asked = tokio::select! {
            () = node.ctx.draining().cancelled() => return service.stop().await,
            asked = service.next() => asked,
        };
        if let Some(asked) = asked {
            node.ctx.job(answer(Arc::clone(&node.cache), asked));
            continue;
        }
        tokio::time::sleep(AGAIN).await;
        match node.ctx.bus().serve_cache_admin(env!("CARGO_PKG_VERSION")).await {
            Ok(again) => service = again,
            Err(err) => debug!(err = format!("{err:#}"), "could not offer the service for administrators"),
        }
    }
}

async fn answer(cache: Arc<Cache>, asked: Question) {
    let payload = match serde_json::from_slice(&asked.payload()) {
        Ok(ask) => blocking(move || cache.reply(ask)).await.unwrap_or_else(|| refused("the cache failed")),
        Err(err) => refused(&format!("the question cannot be read: {err}")),
    };
    asked.answer(Headers::new(), payload).await;
}

/// Says how the node does to whoever asks all of them.
pub(crate) async fn tell(node: &Arc<Node>, mut asked: Subscription) {
    loop {
        let message = tokio::select! {
            () = node.ctx.draining().cancelled() => return,
            message = asked.next() => message,
        };
        if let Some(message) = message {
            let Some(reply) = message.reply else { continue };
            let node = Arc::clone(node);
            let stats = blocking({
                let node = Arc::clone(&node);
                move || node.stats()
            });
            if let Some(stats) = stats.await {
                let payload = serde_json::to_vec(&stats).unwrap_or_default();
                node.ctx.bus().send(reply, Bytes::from(payload)).await;
            }
            continue;
        }
        tokio::time::sleep(AGAIN).await;
        match node.ctx.bus().hear_cache_nodes().await {
            Ok(again) => asked = again,
            Err(err) => debug!(err = format!("{err:#}"), "could not hear who asks how the cache does"),
        }
    }
}

impl Node {
    fn stats(&self) -> NodeStats {
        let cache = &self.cache;
        let stats = NodeStats {
            node: self.ctx.bus().options().name.clone(),
            started_at: self.started_at,
            ..cache.stats()
        };
        debug!(?stats, "somebody asked how the cache does");
        stats
    }
}

impl Cache {
    /// Answers one question. Blocks.
    fn reply(&self, ask: Ask) -> Bytes {
        match ask {
            Ask::List(list) => listed(self.list(&list)),
            Ask::Show { workspace, id } => match self.show(workspace, id) {
                Ok(shown) => encode(&Answer::Ok(shown)),
                Err(reason) => refused(&reason),
            },
        }
    }

    /// Entries of a workspace.
    pub(crate) fn list(&self, list: &List) -> Listed {
        let entries = self.store.catalog().read().newest_first(&list.workspace);
        let meant =
            |entry: &&Arc<Entry>| list.selection.as_ref().is_none_or(|selection| selection.holds(entry));
        let meant: Vec<_> = entries.iter().filter(meant).collect();
        let rank = |entry: &Entry| (entry.stored_at, entry.id.clone());
        let later = |entry: &&&Arc<Entry>| list.after.as_ref().is_none_or(|after| rank(entry) < *after);
        let page = meant.iter().filter(later).take(list.limit.clamp(1, MOST));
        Listed { entries: page.map(|entry| Entry::clone(entry)).collect(), total: meant.len() as u64 }
    }

    fn show(&self, workspace: Workspace, id: RequestId) -> Result<Shown, String> {
        let place = Place { id, workspace };
        let catalog = self.store.catalog();
        let entry = catalog.read().get(&place);
        let none = || format!("the cache holds no entry `{}`", place.id.local());
        let entry = entry.ok_or_else(none)?;
        let answer = self.store.answer(&entry).ok_or_else(none)?;
        let hits = catalog.read().hits(&place);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        Ok(Shown { entry: Entry::clone(&entry), answer, hits })
    }

    /// How the cache does. Blocks.
    pub(crate) fn stats(&self) -> NodeStats {
        let (entries, bytes, workspaces) = {
            let catalog = self.store.catalog().read();
            (catalog.len() as u64, catalog.bytes(), catalog.workspaces().clone())
        };
        let (vectors, model) = {
            let index = self.store.index().read();
            (index.len() as u64, index.model().map(str::to_owned))
        };
        let counters = &self.counters;
        NodeStats {
            entries,
            vectors,
            workspaces,
            bytes,
            disk_bytes: self.store.disk_bytes(),
            lookups: counters.lookups.load(Relaxed),
            hits: counters.hits.load(Relaxed),
            semantic_hits: counters.semantic_hits.load(Relaxed),
            guarded: counters.guarded.load(Relaxed),
            unembedded: counters.unembedded.load(Relaxed),
            stored: counters.stored.load(Relaxed),
            evicted: counters.evicted.load(Relaxed),
            expired: counters.expired.load(Relaxed),
            invalidated: counters.invalidated.load(Relaxed),
            embedder: self.meaning.state(),
            model,
            through: self.store.position(),
            rebuilt: self.store.rebuilt(),
            ..NodeStats::default()
        }
    }
}

/// A page that fits into a message; who asked goes on after its last entry.
fn listed(mut page: Listed) -> Bytes {
    loop {
        let bytes = encode(&Answer::Ok(&page));
        if bytes.len() <= MOST_BYTES || page.entries.len() < 2 {
            return bytes;
        }
        page.entries.truncate(page.entries.len() / 2);
    }
}

fn refused(reason: &str) -> Bytes {
    warn!(reason, "a question to the cache was not answered");
    encode(&Answer::<()>::Error(reason.to_owned()))
}

fn encode<T: Serialize>(answer: &T) -> Bytes {
    Bytes::from(serde_json::to_vec(answer).unwrap_or_default())
}
