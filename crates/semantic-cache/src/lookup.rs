//! Look-ups: the same request first, then the same words, then the same meaning.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

use bus::Headers;
use bus::service::{Question as Asked, Service};
use bytes::Bytes;
use domain::Timestamp;
use domain::cache::{Entry, LONGEST_TEXT, Match, Question, Reply, Status};
use telemetry::metric::CACHE_LOOKUP_SECONDS;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, warn};

use crate::catalog::Place;
use crate::embed::{How, Vector};
use crate::guard::differs;
use crate::{Cache, Node, blocking};

#[cfg(test)]
mod tests;

/// So many of the entries that are most alike are looked at.
const CANDIDATES: usize = 5;

/// Cosines are not more exact than this.
const EXACTNESS: f64 = 1e-6;

/// Waits before the service is offered again.
const AGAIN: Duration = Duration::from_secs(1);

/// An entry and its answer.
type Found = (Match, Bytes);

/// Answers questions until the role is told to stop.
pub(crate) async fn serve(node: &Arc<Node>, mut service: Service) {
    loop {
        let asked = tokio::select! {
            () = node.ctx.draining().cancelled() => break,
            asked = service.next() => asked,
        };
        let Some(asked) = asked else {
            warn!("the service for look-ups ended; it is offered again");
            tokio::time::sleep(AGAIN).await;
            match node.ctx.bus().serve_cache(env!("CARGO_PKG_VERSION")).await {
                Ok(again) => service = again,
                Err(err) => debug!(err = format!("{err:#}"), "could not offer the service for look-ups"),
            }
            continue;
        };
        take(node, asked).await;
    }
    service.stop().await;
    // What has arrived is answered.
    while let Ok(Some(asked)) = tokio::time::timeout(Duration::from_millis(100), service.next()).await {
        take(node, asked).await;
    }
}

async fn take(node: &Arc<Node>, asked: Asked) {
    if node.behind.load(Acquire) {
        node.cache.counters.answered(None);
        let reply =
            Reply { why: "the cache is catching up with the event stream".to_owned(), ..Reply::default() };
        return asked.answer(Headers::new(), reply.encode(&[])).await;
    }
    match Arc::clone(&node.room).try_acquire_owned() {
        Ok(permit) => node.ctx.job(answer(Arc::clone(node), asked, permit)),
        Err(_) => {
            node.cache.counters.refused();
            let reply = Reply { why: "too many look-ups at once".to_owned(), ..Reply::default() };
            asked.answer(Headers::new(), reply.encode(&[])).await;
        }
    }
}

async fn answer(node: Arc<Node>, asked: Asked, _permit: OwnedSemaphorePermit) {
    let begun = Instant::now();
    let (reply, answer) = match serde_json::from_slice(&asked.payload()) {
        Ok(question) => node.cache.find(question, node.ctx.clock().now()).await,
        Err(err) => {
            warn!(%err, "a look-up cannot be read: is another version running?");
            let reply = Reply { why: format!("the question cannot be read: {err}"), ..Reply::default() };
            (reply, Bytes::new())
        }
    };
    node.cache.counters.answered(reply.found.as_ref().map(|found| found.status));
    asked.answer(Headers::new(), reply.encode(&answer)).await;
    metrics::histogram!(CACHE_LOOKUP_SECONDS).record(begun.elapsed().as_secs_f64());
}

impl Cache {
    /// The entry that may be given, and its answer.
    pub(crate) async fn find(self: &Arc<Self>, question: Question, now: Timestamp) -> (Reply, Bytes) {
        let question = Arc::new(question);
        let invalidated_at = self.store.catalog().read().invalidated_at(&question.workspace);
        let (found, answer, why) = match self.search(&question, now).await {
            Ok((found, answer)) => (Some(found), answer, String::new()),
            Err(why) => (None, Bytes::new(), why),
        };
        if let Some(found) = &found {
            self.store.catalog().read().count_hit(&Place::of(&found.entry));
        }
        (Reply { found, why, invalidated_at }, answer)
    }

    async fn search(self: &Arc<Self>, question: &Arc<Question>, now: Timestamp) -> Result<Found, String> {
        let mut why = "the same was not asked before".to_owned();
        let same = self.store.catalog().read().same_request(&question.workspace, &question.key);
        if let Some(entry) = same {
            match unfit(&entry, question, now) {
                None => match self.read(&entry).await {
                    Some(answer) => return Ok((matched(Status::Hit, None, &entry), answer)),
                    None => why = "the answer could not be read".to_owned(),
                },
                Some(reason) => why = format!("the answer to the same request {reason}"),
            }
        }
        match &question.text {
            None => Err(why),
            Some(text) if text.len() > LONGEST_TEXT => {
                Err(format!("the text is longer than {LONGEST_TEXT} bytes"))
            }
            Some(text) => self.search_alike(question, text, now).await,
        }
    }

    async fn search_alike(
        self: &Arc<Self>,
        question: &Arc<Question>,
        text: &str,
        now: Timestamp,
    ) -> Result<Found, String> {
        let same = self.store.catalog().read().same_words(&question.workspace, &question.partition, text);
        for entry in same {
            let fits = unfit(&entry, question, now).is_none()
                && entry.text.as_ref().is_some_and(|stored| differs(text, stored).is_none());
            if fits && let Some(answer) = self.read(&entry).await {
                return Ok((matched(Status::SemanticHit, Some(1.0), &entry), answer));
            }
        }
        let vector = self.meaning.embed(text, How::Try).await.map_err(|refused| {
            self.counters.unembedded.fetch_add(1, Relaxed);
            refused.to_string()
        })?;
        let (cache, question) = (Arc::clone(self), Arc::clone(question));
        // Comes to milliseconds where a partition has many entries.
        let nearest = blocking(move || cache.nearest(&question, &vector, now)).await;
        nearest.unwrap_or_else(|| Err("the search failed".to_owned()))
    }

    /// The most alike of the entries that are alike enough and that the guard lets pass. Blocks.
    fn nearest(&self, question: &Question, vector: &Vector, now: Timestamp) -> Result<Found, String> {
        let text = question.text.as_deref().unwrap_or_default();
        self.adopt(&vector.model);
        let candidates = self.store.index().read().top(&question.partition, &vector.values, CANDIDATES);
        let least = question.threshold.unwrap_or_else(|| f64::from(self.threshold));
        let Some((best, _)) = candidates.first() else {
            return Err("nothing was asked in this context before".to_owned());
        };
        let mut why = format!("nothing alike (best {best:.2})");
        let mut guarded = false;
        for (score, place) in &candidates {
            if f64::from(*score) < least - EXACTNESS {
                break;
            }
            let Some(entry) = self.store.catalog().read().get(place) else { continue };
            if entry.partition != question.partition {
                continue;
            }
            if let Some(reason) = unfit(&entry, question, now) {
                why = format!("what is alike {reason}");
                continue;
            }
            if let Some(difference) = differs(text, entry.text.as_deref().unwrap_or_default()) {
                why = format!("guard: {difference}");
                guarded = true;
                continue;
            }
            match self.store.answer(&entry) {
                Some(answer) => {
                    return Ok((matched(Status::SemanticHit, Some(score.min(1.0)), &entry), answer));
                }
                None => why = "the answer could not be read".to_owned(),
            }
        }
        self.counters.guarded.fetch_add(u64::from(guarded), Relaxed);
        Err(why)
    }

    async fn read(self: &Arc<Self>, entry: &Arc<Entry>) -> Option<Bytes> {
        let (cache, entry) = (Arc::clone(self), Arc::clone(entry));
        blocking(move || cache.store.answer(&entry)).await.flatten()
    }
}

/// Why an entry may not be given to whoever asks, whatever was asked.
fn unfit(entry: &Entry, question: &Question, now: Timestamp) -> Option<&'static str> {
    if entry.workspace != question.workspace {
        return Some("belongs to another workspace");
    }
    if entry.expires_at <= now {
        return Some("has expired");
    }
    question.max_age.is_some_and(|most| now.since(entry.stored_at) > most).then_some("is too old")
}

fn matched(status: Status, score: Option<f32>, entry: &Entry) -> Match {
    Match { status, score, entry: entry.clone() }
}
