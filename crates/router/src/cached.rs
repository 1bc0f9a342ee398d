//! Answers that were given before: asked for before a target is called, and served instead of a call.

mod ask;
mod flight;
mod plan;

use std::sync::Arc;

use bus::requests::Ending;
use bytes::Bytes;
use domain::cache::{self, Asked, Entry, Reply, Shadow, Status, Use};
use domain::config::Target;
use domain::config::cache::Mode;
use domain::model::NanoUsd;
use domain::{BodyRef, Envelope, Outcome, Timestamp, headers, outcome};
use providers::resolve::Resolved;
use providers::stored;
use tracing::{debug, warn};

pub(crate) use self::ask::Door;
pub(crate) use self::flight::Flights;
use self::flight::Flown;
use self::plan::Plan;
use crate::act::{NotCalled, Router, Step, Trouble, over};

/// An answer that needs no call.
pub(crate) struct Known {
    entry: Entry,
    part: Use,
    answer: Bytes,
}

/// What the cache says to a request at a target.
pub(crate) enum Cached {
    /// The target has to be called.
    Not,
    /// This is the answer.
    Known(Box<Known>),
    /// The request was cancelled, or its time ran out, while it waited for the answer to the same one.
    Ended,
}

impl Router {
    /// Asks the cache, once for each target: for the answer to the same request or one of the same meaning, or to the
    /// same request that is on its way.
    pub(crate) async fn cached(
        &self,
        envelope: &mut Envelope,
        target: &Target,
        body: &Bytes,
        now: Timestamp,
    ) -> Result<Cached, Trouble> {
        if envelope.cache.as_ref().is_some_and(|asked| asked.path == target.path) {
            return Ok(Cached::Not);
        }
        envelope.cache = None;
        let Some(cache) = &target.cache else { return Ok(Cached::Not) };
        let resolved = match self.resolve(target, envelope, now).await {
            Ok(resolved) => resolved,
            Err(NotCalled::Trouble(trouble)) => return Err(trouble),
            // Why it cannot be called is said when that is tried.
            Err(_) => return Ok(Cached::Not),
        };
        let Some(plan) = plan::plan(envelope, target, cache, &resolved, body, self.options.cache.threshold)
        else {
            return Ok(Cached::Not);
        };
        let mut asked = Asked {
            path: target.path.clone(),
            status: if envelope.wishes.refresh { Status::Refresh } else { plan.miss() },
            ticket: plan.ticket.clone(),
            shadow: None,
        };
        let mut reply = None;
        if !envelope.wishes.refresh {
            reply = self.door.look_up(self.ctx.bus(), &self.options.cache, &plan.question, now).await;
            if let Some((said, answer)) = &reply
                && let Some(found) = &said.found
            {
                if cache.mode == Mode::Shadow {
                    let score = found.score.unwrap_or(1.0);
                    asked.shadow =
                        Some(Shadow { entry: found.entry.id.clone(), status: found.status, score });
                } else if self.admits(envelope, &resolved).await? {
                    let part = Use::hit(found.status, &found.entry, found.score, now);
                    let (entry, answer) = (found.entry.clone(), answer.clone());
                    return Ok(Cached::Known(Box::new(Known { entry, part, answer })));
                }
            }
        }
        let collapses = cache.mode != Mode::Shadow && !envelope.wishes.refresh && envelope.flight.is_none();
        envelope.cache = Some(Box::new(asked));
        match collapses.then_some(plan).filter(|plan| plan.ticket.is_some()) {
            Some(plan) => self.fly(envelope, &resolved, &plan, reply.map(|(said, _)| said)).await,
            None => Ok(Cached::Not),
        }
    }

    /// Waits for the answer to the same request if it is on its way; leads otherwise.
    async fn fly(
        &self,
        envelope: &mut Envelope,
        resolved: &Resolved,
        plan: &Plan,
        reply: Option<Reply>,
    ) -> Result<Cached, Trouble> {
        let key = &plan.question.key;
        // Of one lane: nobody who waits is to wait for what nobody waits for.
        let flight = cache::hash(&format!("{key} {} {}", envelope.lane, envelope.asynchronous));
        match self.flights.fly(&self.ctx, envelope, (&flight, key), reply.as_ref()).await {
            Flown::Lead => envelope.flight = Some(flight),
            Flown::Alone => {}
            Flown::Ended => return Ok(Cached::Ended),
            Flown::Stopped => return Err(Trouble::Stopping),
            Flown::Landed(outcome, answer) => {
                if let Some(ticket) = &outcome.ticket
                    && self.admits(envelope, resolved).await?
                {
                    let entry = Entry::of(&outcome, ticket);
                    let now = self.ctx.clock().now();
                    let part = Use { shared: true, ..Use::hit(Status::Hit, &entry, None, now) };
                    return Ok(Cached::Known(Box::new(Known { entry, part, answer })));
                }
            }
        }
        Ok(Cached::Not)
    }

    /// Ends a request with an answer that was given before. None: the answer does not fit the caller.
    pub(crate) async fn serve(
        &self,
        envelope: &Envelope,
        target: &Target,
        known: Known,
    ) -> Result<Option<Step>, Trouble> {
        let Known { entry, part, answer } = known;
        let Some((content_type, body)) = fitting(envelope, &entry, &answer) else {
            warn!(request = %envelope.request, entry = %entry.id, "a kept answer cannot be read; asking the provider");
            return Ok(None);
        };
        let mut passed_on = entry.headers;
        passed_on.retain(|name, _| is_timeless(name));
        if envelope.show_cost {
            passed_on.insert(headers::COST.to_owned(), "0".to_owned());
        }
        debug!(request = %envelope.request, entry = %entry.id, status = part.status.as_str(), "answered before");
        let (reference, bytes) = self.ctx.bus().stow(&envelope.request, "answer", body).await?;
        let told = Envelope { cache: None, ..envelope.clone() };
        let outcome = Outcome {
            kind: outcome::Kind::Answered,
            status: 200,
            content_type,
            headers: passed_on,
            path: Some(target.path.clone()),
            provider: Some(entry.provider),
            cache: Some(Box::new(part)),
            body: reference,
            ..Outcome::blank(&told, self.ctx.clock().now())
        };
        let ended = self.ctx.bus().end(&told, &outcome, &bytes, Ending::default()).await?;
        Ok(Some(over(ended, envelope)))
    }
}

/// Whether a header of a provider's answer says something of the answer, and not of the moment it was given in.
fn is_timeless(name: &str) -> bool {
    let of_the_moment = ["ratelimit", "rate-limit", "retry-after", "request-id", "processing-ms", "reset-"];
    !of_the_moment.iter().any(|part| name.contains(part)) && name != headers::COST
}

/// A kept answer in the form that the caller wants it in.
fn fitting(envelope: &Envelope, entry: &Entry, answer: &Bytes) -> Option<(String, Bytes)> {
    let operation = envelope.operation;
    let whole = if entry.is_stream() {
        stored::with_usage(operation, &stored::as_whole(operation, answer)?, &entry.usage)
    } else {
        answer.clone()
    };
    let (content_type, body) = match envelope.stream {
        true => ("text/event-stream", stored::as_stream(operation, &whole, envelope.include_usage)?),
        false if entry.is_stream() => ("application/json", whole),
        false => (entry.content_type.as_str(), whole),
    };
    let body = if envelope.show_cost { stored::with_cost_shown(&body, NanoUsd(0)) } else { body };
    Some((content_type.to_owned(), body))
}

/// Whether a body is inside its message.
fn inline(envelope: &Envelope) -> bool {
    matches!(envelope.body, BodyRef::Inline { .. })
}

impl Router {
    /// Hears which requests have ended that others wait for.
    pub(crate) async fn listen_for_landings(self: &Arc<Self>) -> anyhow::Result<()> {
        self.flights.listen(&self.ctx).await
    }
}
