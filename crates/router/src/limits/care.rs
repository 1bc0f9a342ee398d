//! What goes on beside requests: listening for ends, writing what was used, staying alive, finding calls that vanished.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::RequestId;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Keeper;
use super::bucket::Why;

/// How often what was used is written.
const WRITE: Duration = Duration::from_secs(1);

/// How often calls are looked for of which nothing was heard.
const LOOK: Duration = Duration::from_secs(5);

/// After a request's deadline, or its end, something should be heard of its calls within this time.
const OVERDUE: Duration = Duration::from_secs(30);

/// A call that was on no stream for so long, and of which nothing was heard since, is over.
const GONE: Duration = Duration::from_secs(5);

/// Buckets that nobody used for so long are forgotten here.
const IDLE: Duration = Duration::from_secs(60);

impl Keeper {
    pub(super) fn start_helpers(self: &Arc<Self>, position: u64) {
        let keeper = Arc::clone(self);
        let (bus, stop) = (self.ctx.bus().clone(), self.ctx.stopping().clone());
        self.ctx.helper("ends of calls", async move {
            bus.follow_ended(position, |sequence, ended| keeper.hear(sequence, &ended), stop).await;
        });
        let keeper = Arc::clone(self);
        self.ctx.helper("counts of limits", async move { keeper.keep_writing().await });
        let keeper = Arc::clone(self);
        self.ctx.helper("lease of limits", async move { keeper.stay_alive().await });
        let keeper = Arc::clone(self);
        self.ctx.helper("recalls of limits", async move { keeper.hear_recalls().await });
    }

    async fn keep_writing(self: Arc<Self>) {
        let mut looked = Instant::now();
        loop {
            tokio::time::sleep(WRITE).await;
            self.write_all(Why::Due).await;
            self.forget_idle();
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look_for_calls().await;
            }
        }
    }

    async fn write_all(&self, why: Why) {
        let now = self.ctx.clock().now();
        let due: Vec<String> = {
            let state = self.state.lock();
            let due = state.buckets.iter().filter(|(_, e)| why == Why::Recalled || e.needs_writing(now));
            due.map(|(key, _)| key.clone()).collect()
        };
        for key in due {
            self.write(&key, why).await;
        }
    }

    fn forget_idle(&self) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let used: HashSet<&str> = state
            .held
            .values()
            .flatten()
            .flat_map(|kept| &kept.hold.held)
            .map(|held| held.bucket.as_str())
            .collect();
        state.buckets.retain(|key, entry| used.contains(key.as_str()) || !entry.is_idle(IDLE));
    }

    async fn stay_alive(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.patience() / 4).await;
            let Some(me) = self.state.lock().me.clone() else { continue };
            let begun = Instant::now();
            match self.ctx.bus().keep_limit_holder(&me.name, me.lease, self.patience()).await {
                Ok(Some(lease)) => {
                    let mut state = self.state.lock();
                    if let Some(now) = state.me.as_mut().filter(|now| now.name == me.name) {
                        now.lease = lease;
                        now.good_until = begun + self.patience() * 3 / 4;
                    }
                }
                Ok(None) => warn!(name = me.name, "somebody else holds limits under this router's name"),
                Err(err) => debug!(%err, "could not renew the lease of limits"),
            }
        }
    }

    async fn hear_recalls(self: Arc<Self>) {
        loop {
            self.ctx.bus().wait_up().await;
            let Some(mut recalls) = self.ctx.bus().limit_recalls().await else {
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            };
            while let Some((by, key)) = recalls.next().await {
                // What this router has just got by asking it does not give back for that.
                if self.name().as_ref() != Some(&by) {
                    self.write(&key, Why::Recalled).await;
                }
            }
        }
    }

    /// Gives back what was set aside for calls that ended without an attempt, or that somebody removed.
    async fn look_for_calls(&self) {
        let now = self.ctx.clock().now();
        let overdue: Vec<(RequestId, u32)> = {
            let state = self.state.lock();
            let all =
                state.held.iter().flat_map(|(request, all)| all.iter().map(move |kept| (request, kept)));
            all.filter(|(_, kept)| kept.ended || now > kept.deadline.plus(OVERDUE))
                .map(|(request, kept)| (request.clone(), kept.number))
                .collect()
        };
        if overdue.is_empty() {
            return;
        }
        let there = match self.ctx.bus().held_calls().await {
            Ok(calls) => calls.into_iter().map(|call| (call.request, call.number)).collect::<HashSet<_>>(),
            Err(err) => return debug!(%err, "could not look for calls of which nothing was heard"),
        };
        let mut state = self.state.lock();
        for call in overdue {
            let is_there = there.contains(&call);
            let (request, number) = call;
            let kept =
                state.held.get_mut(&request).and_then(|all| all.iter_mut().find(|k| k.number == number));
            let Some(kept) = kept else { continue };
            match kept.missing {
                _ if is_there => kept.missing = None,
                None => kept.missing = Some(Instant::now()),
                Some(since) if since.elapsed() >= GONE => {
                    debug!(%request, number, "a call ended without an attempt; what was set aside is free again");
                    state.settle(&request, |kept| kept.number == number, |_| 0);
                }
                Some(_) => {}
            }
        }
    }

    /// Writes what was used and gives the rest back, as the router stops. What is set aside for calls under way is
    /// settled by others.
    pub(crate) async fn close(&self) {
        if self.state.lock().me.is_none() {
            return;
        }
        let writing = self.write_all(Why::Recalled);
        if tokio::time::timeout(Duration::from_secs(3), writing).await.is_err() {
            warn!("what limits have counted could not be written in time; other routers settle it");
        }
        let me = self.state.lock().me.take();
        if let Some(me) = me {
            let leaving = self.ctx.bus().forget_limit_holder(&me.name, me.lease);
            let _ = tokio::time::timeout(Duration::from_secs(2), leaving).await;
        }
    }
}
