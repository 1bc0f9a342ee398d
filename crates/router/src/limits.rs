//! The keeper of limits: what this router may give out of them, and what it has set aside for calls.
//!
//! Amounts are given out from what the router was granted, without asking anybody; only when that is too little is the
//! bucket's record changed. What calls have used is learnt from the stream of events, in its order, and written
//! together with the next change, or once a second.

mod amounts;
mod bucket;
mod care;
mod reclaim;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bus::PutError;
use bus::limits::{Ended, Fence};
use domain::limit::{Bucket, Exceeded, Held, Hold, Limit, Take, Unit, Unreachable, Window};
use domain::{Envelope, RequestId, Timestamp};
use parking_lot::Mutex;
use role::Ctx;
use telemetry::metric;
use tokio::time::Instant;
use tracing::{info, warn};

pub(crate) use self::amounts::{Limited, Verdict, verdict};
use self::bucket::{Entry, Short};
pub(crate) use self::reclaim::run as run_reclaim;

/// Rounds of asking for more before a request counts as refused: others may take what was granted for it.
const ROUNDS: usize = 100;

/// An amount of a bucket that a call needs.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub(crate) bucket: Bucket,
    pub(crate) amount: u64,
}

/// Why nothing was set aside.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Too little is left.
    Exceeded(Box<Exceeded>),
    /// Nobody can say how much is left.
    Unreachable(Bucket),
}

/// What was set aside, and what its call has to be published behind.
#[derive(Clone, Debug)]
pub(crate) struct Reserved {
    pub(crate) hold: Hold,
    pub(crate) fence: Fence,
}

/// All that this router holds.
pub(crate) struct Keeper {
    ctx: Ctx,
    state: Mutex<State>,
    /// Held while the name, the fence and the lease are being got.
    starting: tokio::sync::Mutex<Started>,
}

#[derive(Default)]
struct Started {
    helpers: bool,
}

#[derive(Default)]
struct State {
    me: Option<Me>,
    /// Position of the event stream up to which ends have been heard.
    through: u64,
    buckets: HashMap<String, Entry>,
    held: HashMap<RequestId, Vec<Kept>>,
}

/// Under which name amounts are held.
#[derive(Clone)]
struct Me {
    name: String,
    fences: Arc<[Fence]>,
    lease: u64,
    /// Until when nobody gives us up for dead.
    good_until: Instant,
}

/// What is set aside for one call.
struct Kept {
    number: u32,
    hold: Hold,
    deadline: Timestamp,
    /// The request has ended without this call's end having been heard.
    ended: bool,
    /// Since when the call is on no stream any more.
    missing: Option<Instant>,
}

impl Keeper {
    pub(crate) fn new(ctx: Ctx) -> Arc<Self> {
        Arc::new(Self { ctx, state: Mutex::default(), starting: tokio::sync::Mutex::default() })
    }

    /// Under which name this router holds amounts.
    fn name(&self) -> Option<String> {
        self.state.lock().me.as_ref().map(|me| me.name.clone())
    }

    /// How long a router may be silent before others take it for dead.
    pub(crate) fn patience(&self) -> Duration {
        self.ctx.bus().options().ack_wait.max(Duration::from_secs(2))
    }

    /// Sets the amounts aside that a call needs: all of them or none. None: there is nothing to set aside.
    ///
    /// A call that something was set aside for already gets the same again: its message may be on its way.
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        envelope: &Envelope,
        number: u32,
        wants: &[Want],
    ) -> Result<Option<Reserved>, Refused> {
        if wants.is_empty() {
            return Ok(None);
        }
        let mut wants: Vec<&Want> = wants.iter().collect();
        if let Err(err) = self.start().await {
            warn!(%err, "limits cannot be counted now");
            closed(&wants)?;
            return Ok(None);
        }
        for _ in 0..ROUNDS {
            let shorts = match self.take(envelope, number, &wants) {
                Ok(reserved) => return Ok(reserved),
                Err(NotTaken::Stale) => {
                    closed(&wants)?;
                    return Ok(None);
                }
                Err(NotTaken::Short(shorts)) => shorts,
            };
            for short in shorts {
                let want = wants[short.index];
                let cause = (envelope.workspace.clone(), envelope.request.clone());
                match self.ask_for(want, (short.least, short.most), cause).await {
                    Ok(()) => {}
                    Err(Short::Exceeded(exceeded)) => return Err(Refused::Exceeded(exceeded)),
                    Err(Short::Unreachable) if want.bucket.limit.unreachable == Unreachable::Open => {
                        metrics::counter!(metric::LIMITS_UNCOUNTED).increment(1);
                        let key = want.bucket.key();
                        wants.retain(|want| want.bucket.key() != key);
                        break;
                    }
                    Err(Short::Unreachable) => return Err(Refused::Unreachable(want.bucket.clone())),
                }
            }
        }
        // Others were faster every time.
        closed(&wants)?;
        Ok(None)
    }

    /// Takes all amounts from what is at hand.
    fn take(&self, envelope: &Envelope, number: u32, wants: &[&Want]) -> Result<Option<Reserved>, NotTaken> {
        let now = self.ctx.clock().now();
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(me) = state.me.clone().filter(|me| Instant::now() < me.good_until) else {
            return Err(NotTaken::Stale);
        };
        let kept = state.held.get(&envelope.request).and_then(|all| all.iter().find(|k| k.number == number));
        if let Some(kept) = kept {
            return Ok(Some(Reserved { hold: kept.hold.clone(), fence: me.fence(envelope) }));
        }
        let mut shorts = Vec::new();
        for (index, want) in wants.iter().enumerate() {
            let entry = Entry::of(&mut state.buckets, &want.bucket);
            let limit = &entry.limit;
            if limit.soft || entry.local.has(want.amount, &limit.window, now) {
                continue;
            }
            if let Take::Short(least, most) = entry.local.take(want.amount, &limit.window, now) {
                shorts.push(Missing { index, least, most });
            }
        }
        if !shorts.is_empty() {
            return Err(NotTaken::Short(shorts));
        }
        let mut held = Vec::new();
        for want in wants {
            let key = want.bucket.key();
            let entry = Entry::of(&mut state.buckets, &want.bucket);
            let limit = Arc::clone(&entry.limit);
            entry.cause = Some((envelope.workspace.clone(), envelope.request.clone()));
            let amount = if limit.soft { 0 } else { want.amount };
            let slot = limit.window.slot(now);
            if !limit.soft {
                // There is enough, as was just seen.
                let _ = entry.local.take(amount, &limit.window, now);
            }
            if counts_at_once(&limit) {
                entry.local.settle(slot, amount, want.amount);
                continue;
            }
            held.push(Held { bucket: key, slot, unit: limit.unit, amount, soft: limit.soft });
        }
        if held.is_empty() {
            return Ok(None);
        }
        let fence = me.fence(envelope);
        let hold = Hold { by: me.name, held };
        let kept =
            Kept { number, hold: hold.clone(), deadline: envelope.deadline, ended: false, missing: None };
        state.held.entry(envelope.request.clone()).or_default().push(kept);
        Ok(Some(Reserved { hold, fence }))
    }

    /// A call that something was set aside for was certainly not published.
    pub(crate) fn give_back(&self, request: &RequestId, number: u32) {
        self.state.lock().settle(request, |kept| kept.number == number, |_| 0);
    }

    /// The broker refused a call because our fence is gone: others took us for dead. Everything begins anew.
    pub(crate) fn was_fenced(&self) {
        let mut state = self.state.lock();
        let through = state.through;
        if let Some(me) = state.me.take() {
            warn!(
                name = me.name,
                "this router was taken for dead; what it had set aside is settled by others"
            );
        }
        *state = State { through, ..State::default() };
    }

    /// Hears of the end of an attempt or a request.
    fn hear(&self, sequence: u64, ended: &Ended) {
        let mut state = self.state.lock();
        match &ended.attempt {
            Some(attempt) => {
                let me = state.me.as_ref().map(|me| me.name.clone());
                let ours = ended.hold.as_ref().is_none_or(|hold| Some(&hold.by) == me.as_ref());
                let used = |held: &Held| if ours { held.used_by(attempt) } else { 0 };
                state.settle(&ended.request, |kept| kept.number == attempt.number, used);
            }
            None if ended.last => {
                let kept = state.held.get_mut(&ended.request);
                kept.into_iter().flatten().for_each(|kept| kept.ended = true);
            }
            None => {}
        }
        state.through = state.through.max(sequence);
    }

    /// Gets a name, a fence and a lease, and starts to listen, unless that is done.
    async fn start(self: &Arc<Self>) -> Result<(), PutError> {
        if self.state.lock().me.is_some() {
            return Ok(());
        }
        let mut started = self.starting.lock().await;
        if self.state.lock().me.is_some() {
            return Ok(());
        }
        let bus = self.ctx.bus();
        let name = format!("{}-{:x}", bus.options().name, self.ctx.clock().now().0);
        let begun = Instant::now();
        let fences: Arc<[Fence]> = bus.raise_fences(&name).await?.into();
        let lease = bus.keep_limit_holder(&name, 0, self.patience()).await?.unwrap_or(0);
        if !started.helpers {
            let unread = |err: bus::state::ReadError| PutError::Unavailable(err.to_string());
            let position = bus.last_event().await.map_err(unread)?;
            self.state.lock().through = position;
            self.start_helpers(position);
            started.helpers = true;
        }
        info!(name, "counting limits");
        let good_until = begun + self.patience() * 3 / 4;
        self.state.lock().me = Some(Me { name, fences, lease, good_until });
        Ok(())
    }
}

impl Me {
    /// The fence that a request's calls are published behind.
    fn fence(&self, envelope: &Envelope) -> Fence {
        let number = envelope.seed() % self.fences.len() as u64;
        self.fences[number as usize].clone()
    }
}

impl State {
    /// Settles what is set aside for calls of a request.
    fn settle(&mut self, request: &RequestId, which: impl Fn(&Kept) -> bool, used: impl Fn(&Held) -> u64) {
        let Some(all) = self.held.get_mut(request) else { return };
        let (over, rest): (Vec<Kept>, Vec<Kept>) = std::mem::take(all).into_iter().partition(which);
        match rest.is_empty() {
            true => drop(self.held.remove(request)),
            false => *all = rest,
        }
        for held in over.iter().flat_map(|kept| &kept.hold.held) {
            let Some(entry) = self.buckets.get_mut(&held.bucket) else { continue };
            let used = used(held);
            if used > held.amount && !held.soft {
                let (bucket, set_aside) = (&held.bucket, held.amount);
                warn!(%request, bucket, set_aside, used, "a call used more than was set aside for it");
                metrics::counter!(metric::LIMITS_UNDERESTIMATED).increment(1);
            }
            entry.local.settle(held.slot, held.amount, used);
        }
    }
}

/// An amount that is wanting.
struct Missing {
    index: usize,
    least: u64,
    most: u64,
}

enum NotTaken {
    Short(Vec<Missing>),
    /// Our lease may have run out.
    Stale,
}

/// Rates of requests are used up by admission, whatever becomes of the request.
fn counts_at_once(limit: &Limit) -> bool {
    limit.unit == Unit::Requests && matches!(limit.window, Window::Sliding(_))
}

/// While nothing can be counted, limits that are closed then refuse.
fn closed(wants: &[&Want]) -> Result<(), Refused> {
    let closed = |want: &&&Want| {
        let limit = &want.bucket.limit;
        limit.unreachable == Unreachable::Closed && !limit.soft
    };
    match wants.iter().find(closed) {
        Some(want) => Err(Refused::Unreachable(want.bucket.clone())),
        None => {
            metrics::counter!(metric::LIMITS_UNCOUNTED).increment(1);
            Ok(())
        }
    }
}
