//! Vectors for what is held, made in the background: until an entry has its own, only the same request finds it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{debug, info};

use crate::catalog::Place;
use crate::embed::{How, Refused};
use crate::{Cache, blocking};

/// Wait before a text is tried again that could not be embedded now.
const AGAIN: Duration = Duration::from_secs(2);

/// A text that fails so often stays without a vector until the next start.
const TRIES: u32 = 5;

/// Entries that wait for their vectors. Each waits once, so there are no more than entries.
#[derive(Default)]
pub(crate) struct Backlog {
    waiting: Mutex<VecDeque<Arc<Place>>>,
    more: Notify,
}

impl Backlog {
    /// One more waits.
    pub(crate) fn push(&self, place: Arc<Place>) {
        self.waiting.lock().push_back(place);
        self.more.notify_one();
    }

    /// These wait, and no others.
    pub(crate) fn replace(&self, places: Vec<Arc<Place>>) {
        *self.waiting.lock() = places.into();
        self.more.notify_one();
    }

    /// So many wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    async fn next(&self) -> Arc<Place> {
        loop {
            if let Some(place) = self.waiting.lock().pop_front() {
                return place;
            }
            self.more.notified().await;
        }
    }
}

/// Makes vectors, one after the other, so that look-ups find room. Returns when the embedder is off.
pub(crate) async fn run(cache: Arc<Cache>) {
    loop {
        let place = cache.backlog.next().await;
        if let Some(reason) = cache.embed(&place).await {
            cache.backlog.replace(Vec::new());
            debug!(reason, "texts are not compared by their meaning; the same requests are still answered");
            // Entries that come meanwhile are taken up by the next start.
            return std::future::pending().await;
        }
    }
}

impl Cache {
    /// Makes the vector of an entry. Returns why there will be none of any, if that is so.
    pub(crate) async fn embed(self: &Arc<Self>, place: &Arc<Place>) -> Option<String> {
        for _ in 0..TRIES {
            let entry = self.store.catalog().read().get(place)?;
            let held = self.store.index().read().holds(place);
            let text = entry.text.as_ref().filter(|_| !held)?;
            match self.meaning.embed(text, How::Wait).await {
                Ok(vector) => {
                    let (cache, entry) = (Arc::clone(self), Arc::clone(&entry));
                    let keep = move || {
                        cache.adopt(&vector.model);
                        cache.store.put_vector(&entry, &vector.model, &vector.values);
                    };
                    blocking(keep).await;
                    return None;
                }
                Err(Refused::Off(reason)) => return Some(reason.to_string()),
                Err(reason @ (Refused::TooLong | Refused::Unreadable)) => {
                    debug!(entry = %place.id, %reason, "an answer is given to the same request only");
                    return None;
                }
                Err(reason @ (Refused::Busy | Refused::Loading | Refused::Failed(_))) => {
                    debug!(entry = %place.id, %reason, "a text is embedded later");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
        None
    }

    /// From now on vectors of this model count; those of another one are made anew. Blocks.
    pub(crate) fn adopt(&self, model: &str) {
        if self.store.index().read().model() != Some(model) && self.store.adopt(model) {
            let waiting = self.store.without_vector();
            info!(model, entries = waiting.len(), "texts are embedded with this model");
            self.backlog.replace(waiting);
        }
    }
}
