//! Follows what happens to kept answers in the order of the stream, so that every node holds the same entries, and none
//! that was taken out comes back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bus::events::Extent;
use bytes::Bytes;
use domain::cache::{Entry, Invalidation, Stored};
use domain::event::Kind;
use domain::{Event, Timestamp};
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use crate::catalog::{Gone, Place};
use crate::store::Done;
use crate::{Node, blocking, counters};

/// Waits between tries to read an entry.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// What cannot be read for so long although the broker is there is passed over: it is a miss, and no more.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often expired entries are removed, and the store and the stream are looked at.
const ROUND: Duration = Duration::from_secs(30);

/// Expired entries are removed by the events that follow them, alike on all nodes; so long after, without any.
const LEFT: Duration = Duration::from_secs(600);

/// Follows until the role is told to stop.
pub(crate) async fn run(node: &Arc<Node>) {
    let store = &node.cache.store;
    while !node.ctx.draining().is_cancelled() {
        let round = node.ctx.draining().child_token();
        let generation = store.generation();
        let owned = Arc::clone(node);
        let hear = move |sequence, event| -> BoxFuture<'static, ()> {
            Box::pin(apply(Arc::clone(&owned), (generation, sequence), event))
        };
        let bus = node.ctx.bus().clone();
        let following: BoxFuture<'static, ()> =
            Box::pin(bus.follow_cache(store.position(), hear, round.clone()));
        tokio::select! {
            () = following => {}
            () = store.in_trouble() => begin_anew(node, "its database cannot be used").await,
            () = store.begun_after(generation) => {}
        }
        round.cancel();
    }
}

async fn begin_anew(node: &Arc<Node>, reason: &'static str) {
    let (cache, now) = (Arc::clone(&node.cache), node.ctx.clock().now());
    let begun = blocking(move || {
        let begun = cache.store.begin_anew(reason, now);
        cache.backlog.replace(Vec::new());
        counters::measure(&cache.store);
        begun
    });
    if begun.await != Some(true) {
        tokio::select! {
            () = node.ctx.draining().cancelled() => {}
            () = sleep(ROUND) => {}
        }
    }
}

async fn apply(node: Arc<Node>, place: (u64, u64), event: Event) {
    let node = &node;
    match (event.kind, &event.stored, &event.invalidated) {
        (Kind::CacheStored, Some(stored), _) => take(node, place, &event, stored).await,
        (Kind::CacheInvalidated, _, Some(said)) => invalidate(node, place, &event, said.clone()).await,
        _ => pass(node, place, "it lacks what it should tell").await,
    }
}

async fn take(node: &Arc<Node>, place: (u64, u64), event: &Event, stored: &Stored) {
    if stored.expires_at <= node.ctx.clock().now() {
        return pass(node, place, "the entry has expired").await;
    }
    let (entry, answer) = match fetch(node, event, stored).await {
        Fetched::Entry(entry, answer) => (*entry, answer),
        Fetched::Gone => return pass(node, place, "the entry is gone").await,
        // Nothing is noted of this event, so it comes again.
        Fetched::Stopped => return,
    };
    if entry.workspace != event.workspace || entry.id != stored.entry || entry.key != stored.key {
        warn!(entry = %stored.entry, "an entry of the cache is not the one that was announced; it is passed over");
        return pass(node, place, "it is another entry").await;
    }
    let (cache, at, own) = (Arc::clone(&node.cache), event.at, Place::of(&entry));
    let done = blocking(move || {
        let text = entry.text.is_some();
        let done = cache.store.take(place, at, entry, &answer);
        if let Some(stored) = done.stored.as_ref().filter(|_| text) {
            cache.backlog.push(Arc::clone(stored));
        }
        cache.counters.changed(&done, &cache.store);
        done
    });
    let done = done.await.unwrap_or_default();
    forget(node, &done, Some(&own)).await;
}

enum Fetched {
    Entry(Box<Entry>, Bytes),
    Gone,
    /// The role has to stop.
    Stopped,
}

/// The entry that an event tells of.
async fn fetch(node: &Arc<Node>, event: &Event, stored: &Stored) -> Fetched {
    let bus = node.ctx.bus();
    let mut wait = SHORTEST;
    let mut failing: Option<Instant> = None;
    loop {
        let err = match bus.entry(&event.workspace, &stored.entry).await {
            Ok(Some((entry, answer))) => return Fetched::Entry(Box::new(entry), answer),
            Ok(None) => return Fetched::Gone,
            Err(err) => err,
        };
        if !bus.is_up() {
            failing = None;
        } else if failing.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            warn!(entry = %stored.entry, %err, "an entry of the cache cannot be read and is passed over");
            return Fetched::Gone;
        }
        debug!(entry = %stored.entry, %err, "could not read an entry of the cache; trying again");
        tokio::select! {
            () = node.ctx.draining().cancelled() => return Fetched::Stopped,
            () = sleep(wait) => wait = (wait * 2).min(LONGEST),
        }
    }
}

async fn invalidate(node: &Arc<Node>, place: (u64, u64), event: &Event, said: Invalidation) {
    let (cache, workspace) = (Arc::clone(&node.cache), event.workspace.clone());
    let done = blocking(move || {
        let done = cache.store.invalidate(place, &workspace, &said);
        cache.counters.changed(&done, &cache.store);
        done
    });
    let done = done.await.unwrap_or_default();
    info!(workspace = %event.workspace, entries = done.gone.len(), "entries were taken out of the cache by hand");
    forget(node, &done, None).await;
}

async fn pass(node: &Arc<Node>, place: (u64, u64), reason: &str) {
    debug!(sequence = place.1, reason, "an event of the cache changes nothing");
    let cache = Arc::clone(&node.cache);
    blocking(move || cache.store.pass(place)).await;
}

/// Removes from the broker what no node holds any more.
async fn forget(node: &Arc<Node>, done: &Done, own: Option<&Place>) {
    let forgotten = |why: &Gone| matches!(why, Gone::Replaced | Gone::Invalidated);
    for (place, _) in done.gone.iter().filter(|(_, why)| forgotten(why)) {
        if own != Some(&**place) {
            node.ctx.bus().drop_entry(&place.workspace, &place.id).await;
        }
    }
    if let Some(own) = own.filter(|_| done.refused) {
        node.ctx.bus().drop_entry(&own.workspace, &own.id).await;
    }
}

/// Says whether look-ups may be answered, for as long as the role runs: a node that was away answers none before it knows
/// what was taken out meanwhile.
pub(crate) async fn keep_up(node: Arc<Node>) {
    let bus = node.ctx.bus();
    loop {
        bus.wait_up().await;
        let begun = Instant::now();
        let mut until = None;
        while !is_caught_up(&node, &mut until).await {
            sleep(SHORTEST).await;
        }
        node.behind.store(false, Ordering::Release);
        debug!(waited = ?begun.elapsed(), "the cache has caught up with the stream");
        while bus.is_up() {
            sleep(SHORTEST).await;
        }
        node.behind.store(true, Ordering::Release);
    }
}

/// Whether the store knows all that had happened to kept answers up to a position: the stream's end when first asked.
async fn is_caught_up(node: &Arc<Node>, until: &mut Option<u64>) -> bool {
    let bus = node.ctx.bus();
    if until.is_none() {
        *until = bus.last_event().await.ok();
    }
    let Some(until) = *until else { return false };
    let position = node.cache.store.position();
    position >= until
        || bus.next_of_cache(position).await.is_ok_and(|next| next.is_none_or(|next| next > until))
}

/// Looks after the store, for as long as the role runs.
pub(crate) async fn look_after(node: Arc<Node>) {
    loop {
        sleep(ROUND).await;
        let (cache, now) = (Arc::clone(&node.cache), node.ctx.clock().now());
        let by = Timestamp(now.0.saturating_sub(domain::time::millis(LEFT)));
        blocking(move || {
            let done = cache.store.sweep(by);
            cache.counters.changed(&done, &cache.store);
            cache.store.renew_if_needed();
        })
        .await;
        compare_with_the_stream(&node).await;
    }
}

/// Notes how far the stream was read though nothing of it was for us, and begins anew where something may have been
/// missed: an invalidation among it would be an answer too many.
pub(crate) async fn compare_with_the_stream(node: &Arc<Node>) {
    let bus = node.ctx.bus();
    let (generation, position) = (node.cache.store.generation(), node.cache.store.position());
    let Ok(extent) = bus.event_extent().await else { return };
    if let Some(reason) = missed(position, extent) {
        warn!(
            position,
            first = extent.first,
            last = extent.last,
            reason,
            "the cache may hold what was taken out"
        );
        return begin_anew(node, reason).await;
    }
    // Whatever comes after this is behind `extent.last`.
    if let Ok(None) = bus.next_of_cache(position).await
        && extent.last > position
    {
        let cache = Arc::clone(&node.cache);
        blocking(move || cache.store.pass((generation, extent.last))).await;
    }
}

/// Why events between a position and the stream as it is may have been missed.
fn missed(position: u64, extent: Extent) -> Option<&'static str> {
    if position == 0 {
        return None;
    }
    if extent.last < position {
        return Some("the event stream is another one than before");
    }
    (extent.first > position + 1).then_some("the event stream has forgotten what came after our position")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_stream_has_forgotten_may_have_been_missed() {
        let cases = [
            (0, (1, 0), false, "a new store, an empty stream"),
            (0, (50, 90), false, "a new store, a stream that has forgotten its beginning"),
            (90, (50, 90), false, "at the end"),
            (49, (50, 90), false, "just before the first"),
            (48, (50, 90), true, "one was forgotten"),
            (91, (50, 90), true, "the stream was made anew"),
            (90, (91, 90), false, "all was read, and all was forgotten"),
        ];
        for (position, (first, last), expected, what) in cases {
            let missed = missed(position, Extent { first, last, since: None });
            assert_eq!(missed.is_some(), expected, "{what}");
        }
    }
}
