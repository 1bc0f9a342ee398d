//! The same request by several callers at once: one of them is called for, the others wait for its answer.
//!
//! Followers are not acknowledged while they wait, so that whoever is killed loses none of them: the next router finds
//! the answer, or follows on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use bus::flights::{Flight, Led};
use bus::requests::Stored;
use bus::state::ReadError;
use bytes::Bytes;
use domain::cache::Reply;
use domain::{Envelope, Outcome, Record, Timestamp, outcome};
use parking_lot::Mutex;
use role::Ctx;
use telemetry::metric;
use tokio::sync::Notify;
use tracing::{debug, warn};

/// How often a follower looks by itself: first, and later.
const LOOKS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));

/// The answer to a request that has just ended is given to the same request for so long: cache nodes may not have it
/// yet.
const JUST_ENDED: Duration = Duration::from_secs(5);

/// A request that has no outcome so long after its deadline has gone for good.
const OVERDUE: Duration = Duration::from_secs(60);

/// Who waits for what, here.
pub(crate) struct Flights {
    waiting: Mutex<HashMap<String, Waiting>>,
    most: usize,
}

#[derive(Default)]
struct Waiting {
    followers: usize,
    landed: Arc<Notify>,
}

/// What becomes of a request that is the same as another.
pub(super) enum Flown {
    /// It is the one that is called for.
    Lead,
    /// It goes its own way.
    Alone,
    /// The other's answer.
    Landed(Box<Outcome>, Bytes),
    /// It was cancelled, or its time has run out.
    Ended,
    /// This process takes its leave.
    Stopped,
}

/// One that waits; forgotten when dropped.
struct Follower<'a> {
    flights: &'a Flights,
    key: String,
    landed: Arc<Notify>,
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        let mut all = self.flights.waiting.lock();
        if let Some(waiting) = all.get_mut(&self.key) {
            waiting.followers -= 1;
            if waiting.followers == 0 {
                all.remove(&self.key);
            }
        }
    }
}

impl Flights {
    /// At most so many wait here at once; the others go their own way.
    pub(crate) fn new(most: usize) -> Self {
        Self { waiting: Mutex::default(), most }
    }

    /// Hears which flights have ended, and tells who asks that somebody waits.
    pub(super) async fn listen(self: &Arc<Self>, ctx: &Ctx) -> anyhow::Result<()> {
        let mut landings = ctx.bus().hear_landings().await?;
        let mut questions = ctx.bus().hear_followed().await?;
        let (here, bus) = (Arc::clone(self), ctx.bus().clone());
        ctx.helper("hear which requests have ended that others wait for", async move {
            while let Some(message) = landings.next().await {
                let key = bus::subject::parse_flight(&message.subject).unwrap_or_default();
                if let Some(waiting) = here.waiting.lock().get(key) {
                    waiting.landed.notify_waiters();
                }
            }
        });
        let here = Arc::clone(self);
        ctx.helper("say who waits for the same request", async move {
            while let Some(message) = questions.next().await {
                let key = bus::subject::parse_flight(&message.subject).unwrap_or_default();
                let followed = here.waiting.lock().contains_key(key);
                if let (true, Some(reply)) = (followed, message.reply) {
                    bus.send(reply, Bytes::from_static(b"yes")).await;
                }
            }
        });
        Ok(())
    }

    fn follow(&self, key: &str) -> Option<Follower<'_>> {
        let mut all = self.waiting.lock();
        if all.values().map(|waiting| waiting.followers).sum::<usize>() >= self.most {
            return None;
        }
        let waiting = all.entry(key.to_owned()).or_default();
        waiting.followers += 1;
        Some(Follower { flights: self, key: key.to_owned(), landed: Arc::clone(&waiting.landed) })
    }

    /// Leads, or waits for the one that does. `reply` is what the cache has just said, if it said anything.
    pub(super) async fn fly(
        &self,
        ctx: &Ctx,
        envelope: &Envelope,
        (flight, key): (&str, &str),
        reply: Option<&Reply>,
    ) -> Flown {
        let bus = ctx.bus();
        let fit = |outcome: &Outcome| verdict(outcome, (envelope, key), reply, bus.clock().now());
        let ours = Flight {
            workspace: envelope.workspace.clone(),
            request: envelope.request.clone(),
            deadline: envelope.deadline,
        };
        let mut over = 0;
        loop {
            let (held, sequence) = match bus.lead(flight, &ours, over).await {
                Ok(Led::Ours) => return Flown::Lead,
                Ok(Led::Held(held, _)) if held.request == ours.request => return Flown::Lead,
                Ok(Led::Held(held, sequence)) => (held, sequence),
                Err(err) => {
                    debug!(request = %ours.request, %err, "not looking for the same request");
                    return Flown::Alone;
                }
            };
            let Some(follower) = self.follow(flight) else {
                metrics::counter!(metric::CACHE_FOLLOWERS, "result" => "too_many").increment(1);
                return Flown::Alone;
            };
            let waited = tokio::select! {
                waited = follower.wait(bus, envelope, &held) => waited,
                () = ctx.draining().cancelled() => return Flown::Stopped,
            };
            match waited {
                Ok(Waited::Over(outcome, body)) => match fit(&outcome) {
                    Verdict::Share => {
                        metrics::counter!(metric::CACHE_FOLLOWERS, "result" => "served").increment(1);
                        return Flown::Landed(outcome, body);
                    }
                    Verdict::GoAlone => return Flown::Alone,
                    Verdict::TakeOver => over = sequence,
                },
                Ok(Waited::Vanished) => over = sequence,
                Ok(Waited::Ended) => return Flown::Ended,
                Err(err) => {
                    warn!(request = %ours.request, %err, "cannot wait for the same request; asking the provider");
                    return Flown::Alone;
                }
            }
        }
    }
}

enum Waited {
    Over(Box<Outcome>, Bytes),
    Vanished,
    Ended,
}

impl Follower<'_> {
    async fn wait(&self, bus: &Bus, envelope: &Envelope, held: &Flight) -> Result<Waited, ReadError> {
        let mut pause = LOOKS.0;
        loop {
            // Before the look, so that an end in between is heard.
            let landed = self.landed.notified();
            tokio::pin!(landed);
            landed.as_mut().enable();
            if let Some(Stored { record: Record::Final(outcome), body, .. }) =
                bus.result(&held.workspace, &held.request).await?
            {
                let Ok(body) = bus.fetch(&outcome.body, body).await else { return Ok(Waited::Vanished) };
                return Ok(Waited::Over(outcome, body));
            }
            let now = bus.clock().now();
            if now >= envelope.deadline || bus.is_cancelled(&envelope.request).await? {
                return Ok(Waited::Ended);
            }
            if now > held.deadline.plus(OVERDUE) {
                return Ok(Waited::Vanished);
            }
            let left = envelope.deadline.since(now);
            tokio::select! {
                () = &mut landed => {}
                () = tokio::time::sleep(pause.min(left)) => {}
            }
            pause = LOOKS.1;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The answer is given to the follower as well.
    Share,
    /// The answer is no use to the follower, and would not be to others.
    GoAlone,
    /// The follower tries to lead.
    TakeOver,
}

/// What a follower does about the end of the request that it waited for.
fn verdict(
    outcome: &Outcome,
    (envelope, key): (&Envelope, &str),
    reply: Option<&Reply>,
    now: Timestamp,
) -> Verdict {
    let at_once = outcome.finished_at >= envelope.accepted_at;
    let just_ended = now.since(outcome.finished_at) <= JUST_ENDED
        && reply.is_some_and(|reply| reply.invalidated_at.is_none_or(|at| outcome.accepted_at > at));
    if !at_once && !just_ended {
        return Verdict::TakeOver;
    }
    let too_old = envelope.wishes.max_age.is_some_and(|most| now.since(outcome.finished_at) > most);
    if outcome.kind != outcome::Kind::Answered || too_old {
        return Verdict::TakeOver;
    }
    // Another target's answer is this request's too if its config leads there.
    let leads_there = outcome.config == envelope.config.to_string();
    match &outcome.ticket {
        Some(ticket) if ticket.key == key || leads_there => Verdict::Share,
        _ => Verdict::GoAlone,
    }
}
