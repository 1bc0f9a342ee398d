//! What happened since the role started, for statistics and metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use domain::cache::Status;
use telemetry::metric::{CACHE_BYTES, CACHE_ENTRIES, CACHE_EVICTED, CACHE_LOOKUPS, CACHE_VECTORS};

use crate::catalog::Gone;
use crate::store::{Done, Store};

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) lookups: AtomicU64,
    pub(crate) hits: AtomicU64,
    pub(crate) semantic_hits: AtomicU64,
    pub(crate) guarded: AtomicU64,
    pub(crate) unembedded: AtomicU64,
    pub(crate) stored: AtomicU64,
    pub(crate) evicted: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) invalidated: AtomicU64,
}

impl Counters {
    /// A look-up was answered.
    pub(crate) fn answered(&self, status: Option<Status>) {
        self.lookups.fetch_add(1, Relaxed);
        let result = match status {
            Some(Status::Hit) => {
                self.hits.fetch_add(1, Relaxed);
                "hit"
            }
            Some(_) => {
                self.semantic_hits.fetch_add(1, Relaxed);
                "semantic_hit"
            }
            None => "miss",
        };
        metrics::counter!(CACHE_LOOKUPS, "result" => result).increment(1);
    }

    /// A look-up was refused, because too many were in hand.
    pub(crate) fn refused(&self) {
        self.lookups.fetch_add(1, Relaxed);
        metrics::counter!(CACHE_LOOKUPS, "result" => "refused").increment(1);
    }

    /// The store has changed.
    pub(crate) fn changed(&self, done: &Done, store: &Store) {
        self.stored.fetch_add(u64::from(done.stored.is_some()), Relaxed);
        for (_, why) in &done.gone {
            let counter = match why {
                Gone::Evicted => {
                    metrics::counter!(CACHE_EVICTED).increment(1);
                    &self.evicted
                }
                Gone::Expired => &self.expired,
                Gone::Invalidated => &self.invalidated,
                Gone::Replaced | Gone::Damaged => continue,
            };
            counter.fetch_add(1, Relaxed);
        }
        measure(store);
    }
}

/// Shows how much is held.
pub(crate) fn measure(store: &Store) {
    let (entries, bytes) = {
        let catalog = store.catalog().read();
        (catalog.len(), catalog.bytes())
    };
    metrics::gauge!(CACHE_ENTRIES).set(entries as f64);
    metrics::gauge!(CACHE_BYTES).set(bytes as f64);
    metrics::gauge!(CACHE_VECTORS).set(store.index().read().len() as f64);
}
