//! Decides which finished answers are stored, puts them on the broker, and says so.
//!
//! All nodes share this work. What is done twice changes nothing: an entry is named by its request.

use std::sync::Arc;
use std::time::Duration;

use bus::PutError;
use bus::events::EventReader;
use bus::work::Delivery;
use bytes::Bytes;
use domain::cache::{Entry, LARGEST_ANSWER};
use domain::event::Kind;
use domain::outcome::Kind as OutcomeKind;
use domain::{BodyRef, Event, Outcome, Record, Timestamp};
use futures::StreamExt as _;
use providers::stored::{Finish, Gist, gist};
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::Node;

#[cfg(test)]
mod tests;

/// The events that tell of an end.
pub(crate) const KINDS: &[Kind] = &[Kind::AttemptFinished, Kind::RequestFinished];

/// Events taken at once.
pub(crate) const BATCH: usize = 128;

/// Answers stored at once.
const AT_ONCE: usize = 16;

/// Waits between tries to reach the broker.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);

/// An event whose answer could not be stored comes back after this.
const BACK: Duration = Duration::from_secs(5);

/// Takes events until the role is told to stop.
pub(crate) async fn run(node: &Arc<Node>) {
    let mut wait = SHORTEST;
    while !node.ctx.draining().is_cancelled() {
        tokio::select! {
            () = node.ctx.draining().cancelled() => return,
            () = node.ctx.bus().wait_up() => {}
        }
        let ended = match node.ctx.bus().event_reader(crate::NAME, KINDS, BATCH).await {
            Ok(reader) => follow(node, reader, &mut wait).await,
            Err(err) => Err(err),
        };
        if let Err(err) = ended {
            debug!(err = format!("{err:#}"), "could not take events; trying again");
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST);
        }
    }
}

async fn follow(node: &Arc<Node>, mut reader: EventReader, wait: &mut Duration) -> anyhow::Result<()> {
    loop {
        let batch = tokio::select! {
            () = node.ctx.draining().cancelled() => return Ok(()),
            batch = reader.next() => batch?,
        };
        *wait = SHORTEST;
        futures::stream::iter(batch).for_each_concurrent(AT_ONCE, |delivery| settle(node, delivery)).await;
    }
}

async fn settle(node: &Arc<Node>, delivery: Delivery) {
    let event = match serde_json::from_slice::<Event>(delivery.payload()) {
        Ok(event) => event,
        Err(err) => {
            warn!(sequence = delivery.sequence, %err, "an event cannot be read; if it offers an answer, it is not stored");
            return delivery.ack().await;
        }
    };
    if !event.last || event.cache.as_ref().is_none_or(|part| !part.offered) {
        return delivery.ack().await;
    }
    match keep(node, &event).await {
        Ok(()) => delivery.ack().await,
        Err(err) => {
            debug!(request = %event.request, err = format!("{err:#}"), "an answer is stored later");
            delivery.retry_after(BACK).await;
        }
    }
}

/// Stores the answer that an event tells of, if it may be stored. Fails if the broker is away.
async fn keep(node: &Arc<Node>, event: &Event) -> anyhow::Result<()> {
    let bus = node.ctx.bus();
    let skipped = |reason: &str| debug!(request = %event.request, reason, "an answer is not stored");
    let Some(stored) = bus.result(&event.workspace, &event.request).await? else {
        skipped("it is gone");
        return Ok(());
    };
    let Record::Final(outcome) = &stored.record else {
        skipped("its request has no end");
        return Ok(());
    };
    let entry = match offered(outcome, &stored.body, bus.clock().now()) {
        Ok(entry) => entry,
        Err(reason) => {
            skipped(reason);
            return Ok(());
        }
    };
    match bus.put_entry(&entry, &stored.body).await {
        Ok(()) => {}
        Err(err @ (PutError::TooLarge(_) | PutError::StorageFull | PutError::BacklogFull)) => {
            warn!(request = %entry.id, %err, "the broker does not take an answer for the cache; it is not stored");
            return Ok(());
        }
        Err(err) => return Err(err.into()),
    }
    // After the entry: whoever hears of it finds it.
    bus.report(&Event::cache_stored(&entry, outcome.finished_at)).await?;
    Ok(())
}

/// The entry that an outcome and its answer make, or why there is none.
fn offered(outcome: &Outcome, body: &Bytes, now: Timestamp) -> Result<Entry, &'static str> {
    let ticket = outcome.ticket.as_deref().ok_or("it is not offered")?;
    if outcome.kind != OutcomeKind::Answered || outcome.status != 200 {
        return Err("it is no success");
    }
    if outcome.truncated {
        return Err("it broke off");
    }
    let BodyRef::Inline { size } = outcome.body else { return Err("it is too large") };
    if size != body.len() || size == 0 || size > LARGEST_ANSWER {
        return Err("it is empty, or too large");
    }
    let gist = gist(outcome.operation, &outcome.content_type, body).ok_or("it is not understood")?;
    judge(&gist, ticket.tool_calls)?;
    let entry = Entry::of(outcome, ticket);
    if entry.expires_at <= now {
        return Err("it has expired");
    }
    Ok(entry)
}

/// Whether an answer that ended like this may be given again.
fn judge(gist: &Gist, tool_calls: bool) -> Result<(), &'static str> {
    if gist.refused {
        return Err("the model refused");
    }
    match gist.finish {
        Finish::Stop | Finish::ToolCalls if gist.tool_calls && !tool_calls => Err("it calls tools"),
        Finish::Stop => Ok(()),
        Finish::ToolCalls if tool_calls => Ok(()),
        Finish::ToolCalls => Err("it calls tools"),
        Finish::Length => Err("it was cut off"),
        Finish::ContentFilter => Err("it was filtered"),
        Finish::Other(_) => Err("it ended in an unknown way"),
    }
}
