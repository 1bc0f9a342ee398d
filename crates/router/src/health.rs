//! The book of targets: what all workers see of them, and which may be called.
//!
//! Every router keeps its own from the same reports. What has to outlive a report (a circuit that opened or closed, a
//! reset) goes into the record that all routers follow.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bus::health::{Heard, Probe};
use domain::breaker::{Observation, Policy, State, Tally};
use domain::config::Target;
use domain::health::{
    Availability, Health, Record, Report, Standing, TargetHealth, TargetReport, Watch, target_key,
};
use domain::quota::{Need, Sent};
use domain::{Attempt, Timestamp, Workspace};
use parking_lot::Mutex;
use providers::resolve;
use role::Ctx;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::quota::Limits;
use crate::target::callers_credential;

/// A process that was not heard of for this long has no calls running.
const SILENCE: Duration = Duration::from_secs(15);

/// Targets that were not heard of for this long are forgotten, unless their circuit is open.
const IDLE: Duration = Duration::from_secs(3600);

/// Targets in the book; callers can name hosts of their own.
const MOST_TARGETS: usize = 10_000;

/// How long a target that somebody else is trying counts as open without asking again.
const DENIED: Duration = Duration::from_secs(1);

/// Longest time that one request may take to try a half-open target before another one may.
const LONGEST_PROBE: Duration = Duration::from_secs(300);

/// Shortest time between two words to other routers about calls that were sent.
const TELL_EVERY: Duration = Duration::from_millis(20);

/// How often figures are brought up to date.
const MEASURE: Duration = Duration::from_secs(1);

/// How long a router that starts waits for what is stored.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known about all targets.
pub(crate) struct Book {
    ctx: Ctx,
    entries: Mutex<HashMap<String, Entry>>,
    /// Work for the helper that shares: targets with a changed record, and probes that have ended.
    to_share: Mutex<(BTreeSet<String>, Vec<Probe>)>,
    news: Notify,
    probes: Mutex<HashMap<String, Probe>>,
    /// Whether what providers say is left of their limits is heeded.
    provider_limits: bool,
    /// Calls were sent that other routers have to know of.
    sent: Notify,
}

#[derive(Default)]
struct Entry {
    tally: Tally,
    /// Calls running by process, and when it said so.
    in_flight: HashMap<String, (u32, Timestamp)>,
    /// What is left of the provider's limits.
    limits: Limits,
    /// Somebody else is trying it.
    denied_until: Timestamp,
    /// Which credential of its virtual key it was last known to be called with.
    secret: Option<u32>,
}

impl Entry {
    fn in_flight(&self, now: Timestamp) -> Option<u32> {
        let alive = self.in_flight.values().filter(|(_, at)| now.since(*at) < SILENCE);
        alive.map(|(calls, _)| *calls).reduce(u32::saturating_add)
    }

    fn availability(&self, policy: Option<&Policy>, now: Timestamp) -> Availability {
        match policy.map_or(State::Closed, |policy| self.tally.state(policy, now)) {
            State::HalfOpen if now < self.denied_until => Availability::Open,
            state => state.availability(),
        }
    }
}

/// Whether a target may be called.
pub(crate) enum Permission {
    /// It may.
    Granted,
    /// It may, by this one request: it tries a half-open target.
    Probe,
    /// Somebody else is trying it.
    Denied,
}

/// The book as one decision sees it.
pub(crate) struct Known<'k> {
    book: &'k Book,
    workspace: &'k Workspace,
    now: Timestamp,
    denied: &'k HashSet<String>,
}

impl Health for Known<'_> {
    fn standing(&self, target: &Target) -> Standing {
        let key = target_key(self.workspace, &resolve::queue(target));
        let denied = self.denied.contains(&key);
        let entries = self.book.entries.lock();
        let Some(entry) = entries.get(&key) else { return Standing::default() };
        Standing {
            availability: match denied {
                true => Availability::Open,
                false => entry.availability(target.breaker.as_ref(), self.now),
            },
            latency_ms: entry.tally.latency_ms(),
            in_flight: entry.in_flight(self.now),
        }
    }

    fn full_until(&self, target: &Target, need: &Need<'_>) -> Option<Timestamp> {
        if !self.book.provider_limits || callers_credential(target) {
            return None;
        }
        let key = target_key(self.workspace, &resolve::queue(target));
        self.book.entries.lock().get(&key)?.limits.full_until(need, self.now)
    }
}

impl Book {
    pub(crate) fn new(ctx: Ctx, provider_limits: bool) -> Arc<Self> {
        Arc::new(Self {
            ctx,
            provider_limits,
            sent: Notify::new(),
            entries: Mutex::default(),
            to_share: Mutex::default(),
            news: Notify::new(),
            probes: Mutex::default(),
        })
    }

    /// Begins to follow what happens; returns when what was stored before is known.
    pub(crate) async fn start(self: &Arc<Self>) {
        let (ctx, ready) = (&self.ctx, CancellationToken::new());
        let hearing = Arc::clone(self);
        let hear = move |heard| hearing.hear(heard);
        let follow = ctx.bus().clone().follow_health(hear, ready.clone(), ctx.stopping().clone());
        ctx.helper("follow the targets' health", follow);
        let telling = Arc::clone(self);
        let answer = ctx.bus().clone().answer_health(move || telling.show());
        ctx.helper("answer about the targets' health", answer);
        ctx.helper("share the targets' health", Arc::clone(self).share());
        ctx.helper("tell what is sent to targets with limits", Arc::clone(self).tell_sent());
        ctx.helper("measure the targets' health", Arc::clone(self).measure());
        ctx.helper("follow the providers' credentials", Arc::clone(self).follow_credentials());
        ctx.helper("follow the virtual keys' credentials", Arc::clone(self).follow_virtual_keys());
        if tokio::time::timeout(PATIENCE, ready.cancelled()).await.is_err() {
            warn!(
                "starting without what is stored of targets' health; it is read as soon as the broker answers"
            );
        }
    }

    /// The book as a decision about a request sees it. Targets in `denied` are being tried by somebody else.
    pub(crate) fn known<'k>(
        &'k self,
        workspace: &'k Workspace,
        now: Timestamp,
        denied: &'k HashSet<String>,
    ) -> Known<'k> {
        Known { book: self, workspace, now, denied }
    }

    /// Asks whether a target that was chosen may be called. A half-open one may be by one request at a time in the
    /// whole cluster.
    pub(crate) async fn permit(&self, watch: &Watch, now: Timestamp, longest: Duration) -> Permission {
        let Some(policy) = &watch.policy else { return Permission::Granted };
        let half_open = self
            .entries
            .lock()
            .get(&watch.target)
            .is_some_and(|entry| entry.availability(Some(policy), now) == Availability::HalfOpen);
        if !half_open {
            return Permission::Granted;
        }
        match self.ctx.bus().take_probe(&watch.target, longest.min(LONGEST_PROBE)).await {
            Some(probe) => {
                info!(target = watch.target, "trying whether the target works again");
                self.probes.lock().insert(watch.target.clone(), probe);
                Permission::Probe
            }
            None => {
                if let Some(entry) = self.entries.lock().get_mut(&watch.target) {
                    entry.denied_until = now.plus(DENIED);
                }
                Permission::Denied
            }
        }
    }

    /// The request that was to try a target did not reach it.
    pub(crate) fn give_up_probe(&self, target: &str) {
        if let Some(probe) = self.probes.lock().remove(target) {
            self.to_share.lock().1.push(probe);
            self.news.notify_one();
        }
    }

    /// Tells all routers of an attempt that no worker saw the end of.
    pub(crate) async fn tell(&self, attempt: &Attempt, watch: &Watch) {
        let seen = TargetReport {
            target: watch.target.clone(),
            in_flight: None,
            observations: vec![Observation::of(attempt, watch)],
            limits: Vec::new(),
        };
        let from = self.ctx.bus().options().name.clone();
        self.ctx.bus().send_health(&Report { from, targets: vec![seen] }).await;
    }

    /// Counts a call that is being sent against the provider's limits, at once, before the next decision is made.
    pub(crate) fn count(&self, watch: &Watch, need: &Need<'_>, now: Timestamp) -> Option<Sent> {
        if !self.provider_limits || watch.callers_credential {
            return None;
        }
        let mut entries = self.entries.lock();
        if !entries.contains_key(&watch.target) {
            if entries.len() >= MOST_TARGETS {
                return None;
            }
            entries.insert(watch.target.clone(), Entry::default());
        }
        let (call, told) = entries.get_mut(&watch.target)?.limits.send(need, now)?;
        if told {
            self.sent.notify_one();
        }
        Some(call)
    }

    /// A call that was counted was not sent.
    pub(crate) fn take_back(&self, watch: &Watch, call: Option<Sent>) {
        let Some(call) = call else { return };
        if let Some(entry) = self.entries.lock().get_mut(&watch.target) {
            entry.limits.take_back(watch.model.as_deref(), &call);
        }
    }

    /// Tells other routers which calls were sent to targets with limits.
    async fn tell_sent(self: Arc<Self>) {
        loop {
            self.sent.notified().await;
            let mut targets = Vec::new();
            for (target, entry) in self.entries.lock().iter_mut() {
                let limits = entry.limits.take_untold();
                if !limits.is_empty() {
                    let target = target.clone();
                    targets.push(TargetReport { target, in_flight: None, observations: Vec::new(), limits });
                }
            }
            if !targets.is_empty() {
                let from = self.ctx.bus().options().name.clone();
                self.ctx.bus().send_health(&Report { from, targets }).await;
            }
            tokio::time::sleep(TELL_EVERY).await;
        }
    }

    fn hear(&self, heard: Heard) {
        let now = self.ctx.clock().now();
        match heard {
            Heard::Report(report) => {
                for seen in &report.targets {
                    if seen.observations.iter().any(|o| o.probe) {
                        self.give_up_probe(&seen.target);
                    }
                    self.change(&seen.target, true, |entry| {
                        if let Some(calls) = seen.in_flight {
                            entry.in_flight.insert(report.from.clone(), (calls, now));
                        }
                        entry.tally.observe(&seen.observations);
                        if self.provider_limits {
                            let own = report.from == self.ctx.bus().options().name;
                            entry.limits.hear(&seen.limits, own, now);
                        }
                    });
                }
            }
            Heard::Record { target, record } => {
                self.change(&target, false, |entry| {
                    if record.reset > entry.tally.record().reset {
                        entry.limits = Limits::default();
                    }
                    entry.tally.adopt(&record);
                });
            }
        }
    }

    /// Changes a target's entry; tells people what became of its circuits, and other routers unless they said it.
    fn change(&self, target: &str, share: bool, change: impl FnOnce(&mut Entry)) {
        let secret = self.secret_of(target);
        let (before, after) = {
            let mut entries = self.entries.lock();
            if !entries.contains_key(target) && entries.len() >= MOST_TARGETS {
                return;
            }
            let entry = entries.entry(target.to_owned()).or_default();
            entry.secret = entry.secret.or(secret);
            let before = entry.tally.record();
            change(entry);
            let after = entry.tally.record();
            if before == after {
                return;
            }
            entry.denied_until = Timestamp(0);
            (before, after)
        };
        self.announce(target, &before, &after);
        if share {
            self.to_share.lock().0.insert(target.to_owned());
            self.news.notify_one();
        }
    }

    fn announce(&self, target: &str, before: &Record, after: &Record) {
        let was =
            |policy: &Policy| before.circuits.iter().find(|c| c.policy == *policy).and_then(|c| c.opened);
        for circuit in &after.circuits {
            match (was(&circuit.policy), circuit.opened) {
                (was, Some(opened)) if was != Some(opened) => {
                    let until = domain::time::format_duration(opened.until.since(opened.at));
                    let (reason, failures) = (opened.fault.as_str(), opened.failures);
                    warn!(target, reason, failures, cooldown = until, "the circuit of a target opened");
                    if self.is_configured(target) {
                        let labels = [("target", target.to_owned()), ("reason", reason.to_owned())];
                        metrics::counter!(telemetry::metric::BREAKER_OPENED, &labels).increment(1);
                    }
                }
                (Some(_), None) => info!(target, "the circuit of a target closed"),
                _ => {}
            }
        }
        if after.reset != before.reset
            && let Some(reset) = &after.reset
        {
            info!(target, by = reset.by, "the circuits of a target were reset");
        }
    }

    /// Whether a target is one of the settings, and so one of few.
    fn is_configured(&self, target: &str) -> bool {
        let queue = target.split_once('/').map_or(target, |(_, queue)| queue);
        self.ctx.registry().providers.contains_key(queue)
    }

    /// All targets as they are shown.
    pub(crate) fn show(&self) -> Vec<TargetHealth> {
        let now = self.ctx.clock().now();
        let entries = self.entries.lock();
        let shown = entries.iter().map(|(target, entry)| TargetHealth {
            limits: entry.limits.show(now),
            ..entry.tally.show(target, now, entry.in_flight(now))
        });
        let mut shown: Vec<TargetHealth> = shown.collect();
        shown.sort_by(|a, b| a.target.cmp(&b.target));
        shown
    }

    async fn share(self: Arc<Self>) {
        loop {
            self.news.notified().await;
            let (targets, probes) = std::mem::take(&mut *self.to_share.lock());
            for probe in probes {
                self.ctx.bus().give_back_probe(probe).await;
            }
            for target in targets {
                let record = self.entries.lock().get(&target).map(|entry| entry.tally.record());
                let Some(record) = record else { continue };
                if let Err(err) = self.ctx.bus().share_health(&target, &record).await {
                    warn!(target, %err, "could not store a target's health; trying again");
                    self.to_share.lock().0.insert(target);
                    tokio::time::sleep(MEASURE).await;
                    self.news.notify_one();
                }
            }
        }
    }

    async fn measure(self: Arc<Self>) {
        let mut tick = tokio::time::interval(MEASURE);
        loop {
            tick.tick().await;
            let now = self.ctx.clock().now();
            self.entries.lock().retain(|_, entry| {
                entry.in_flight.retain(|_, (_, at)| now.since(*at) < SILENCE);
                entry.limits.forget(now);
                let idle = entry.in_flight.is_empty() && now.since(entry.tally.heard_at()) > IDLE;
                !idle || entry.tally.matters(now) || !entry.limits.is_empty()
            });
            for health in self.show().into_iter().filter(|health| self.is_configured(&health.target)) {
                gauge(&health);
            }
        }
    }

    /// A new credential is a new chance for a target that refused the old one.
    async fn follow_credentials(self: Arc<Self>) {
        let mut changes = self.ctx.registry_changes();
        let mut before = self.ctx.registry();
        while changes.changed().await.is_ok() {
            let after = self.ctx.registry();
            let other = |slug: &String| {
                let credential = |r: &domain::Registry| r.providers.get(slug).map(|p| p.credential.clone());
                credential(&before) != credential(&after)
            };
            after.providers.keys().filter(|slug| other(slug)).for_each(|slug| self.credential_changed(slug));
            before = after;
        }
    }

    /// The same for targets that are virtual keys.
    async fn follow_virtual_keys(self: Arc<Self>) {
        let mut changes = self.ctx.policy().changes();
        while changes.changed().await.is_ok() {
            let targets: Vec<(String, Option<u32>)> =
                self.entries.lock().iter().map(|(target, entry)| (target.clone(), entry.secret)).collect();
            for (target, before) in targets {
                let now = self.secret_of(&target);
                if before.is_some() && now.is_some() && before != now {
                    let at = self.ctx.clock().now();
                    self.change(&target, true, |entry| {
                        entry.secret = now;
                        entry.limits = Limits::default();
                        entry.tally.credential_changed(at);
                    });
                }
            }
        }
    }

    /// Which credential of its virtual key a target is called with. None: it is no virtual key.
    fn secret_of(&self, target: &str) -> Option<u32> {
        let (workspace, slug) = target.split_once('/')?;
        let workspace = Workspace::parse(workspace).ok()?;
        self.ctx.policy().read(|policy| policy.virtual_key(&workspace, slug)).map(|key| key.secret_version)
    }

    /// Closes what a refused credential has opened, in all workspaces.
    fn credential_changed(&self, queue: &str) {
        let now = self.ctx.clock().now();
        let targets: Vec<String> = self.entries.lock().keys().cloned().collect();
        let same = |target: &&String| target.split_once('/').is_some_and(|(_, name)| name == queue);
        for target in targets.iter().filter(same) {
            self.change(target, true, |entry| {
                entry.limits = Limits::default();
                entry.tally.credential_changed(now);
            });
        }
    }
}

fn gauge(health: &TargetHealth) {
    use telemetry::metric::{BREAKER_STATE, REQUESTS_LEFT, TARGET_IN_FLIGHT, TARGET_LATENCY, TOKENS_LEFT};
    let target = || health.target.clone();
    let state = match health.state {
        Availability::Closed => 0.0,
        Availability::HalfOpen => 1.0,
        Availability::Open => 2.0,
    };
    metrics::gauge!(BREAKER_STATE, "target" => target()).set(state);
    metrics::gauge!(TARGET_IN_FLIGHT, "target" => target()).set(f64::from(health.in_flight.unwrap_or(0)));
    if let Some(ms) = health.latency_ms {
        metrics::gauge!(TARGET_LATENCY, "target" => target()).set(ms / 1000.0);
    }
    if let Some(requests) = health.limits.iter().filter_map(|limits| limits.requests).min() {
        metrics::gauge!(REQUESTS_LEFT, "target" => target()).set(requests as f64);
    }
    if let Some(tokens) = health.limits.iter().filter_map(|limits| limits.tokens).min() {
        metrics::gauge!(TOKENS_LEFT, "target" => target()).set(tokens as f64);
    }
}
