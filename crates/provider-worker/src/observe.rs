//! What this process sees of targets: gathered, and told to all routers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::Attempt;
use domain::breaker::Observation;
use domain::health::{Report, TargetReport, Watch};
use domain::quota::{self, Said};
use parking_lot::Mutex;
use role::Ctx;
use tokio::sync::Notify;

/// Shortest time between two reports, unless there is a failure to tell.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// While calls run, routers are told at least this often: they forget those they do not hear from.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// What this process sees of targets.
pub(crate) struct Observer {
    from: String,
    seen: Mutex<HashMap<String, Seen>>,
    news: Notify,
}

#[derive(Default)]
struct Seen {
    in_flight: u32,
    observations: Vec<Observation>,
    /// What the provider has said of its limits.
    limits: Vec<quota::Report>,
    /// Something has happened since the last report.
    news: bool,
}

impl Seen {
    fn limits_of(&mut self, watch: &Watch) -> &mut quota::Report {
        let known = self.limits.iter().position(|limits| limits.model == watch.model);
        let place = known.unwrap_or_else(|| {
            self.limits.push(quota::Report { model: watch.model.clone(), ..quota::Report::default() });
            self.limits.len() - 1
        });
        &mut self.limits[place]
    }
}

impl Observer {
    pub(crate) fn new(from: &str) -> Arc<Self> {
        Arc::new(Self { from: from.to_owned(), seen: Mutex::default(), news: Notify::new() })
    }

    /// Notes that a call begins; it is in flight until the returned value is dropped.
    pub(crate) fn begin(self: &Arc<Self>, watch: Option<&Watch>) -> Calling {
        if let Some(watch) = watch {
            self.change(&watch.target, |seen| seen.in_flight += 1);
        }
        Calling { observer: Arc::clone(self), watch: watch.cloned() }
    }

    fn change(&self, target: &str, change: impl FnOnce(&mut Seen)) {
        {
            let mut targets = self.seen.lock();
            // Looked up first: the name is copied once per target, not once per call.
            if !targets.contains_key(target) {
                targets.insert(target.to_owned(), Seen::default());
            }
            if let Some(seen) = targets.get_mut(target) {
                change(seen);
                seen.news = true;
            }
        }
        self.news.notify_one();
    }

    fn add(&self, target: &str, observation: Observation) {
        self.change(target, |seen| {
            if !seen.observations.iter_mut().any(|earlier| earlier.absorb(&observation)) {
                seen.observations.push(observation);
            }
        });
    }

    /// Notes what the head of an answer says of the provider's limits. Of a caller's own credential nothing is kept:
    /// its limits are not ours.
    pub(crate) fn said(&self, watch: Option<&Watch>, said: &Said) {
        let Some(watch) = watch.filter(|watch| !watch.callers_credential) else { return };
        self.change(&watch.target, |seen| {
            let limits = seen.limits_of(watch);
            limits.said = limits.said.max(Some(*said));
        });
    }

    /// What there is to tell, and forgets it. `alive`: also the targets where nothing has happened but calls run.
    fn take(&self, alive: bool) -> Option<Report> {
        let mut targets = Vec::new();
        self.seen.lock().retain(|target, seen| {
            if seen.news || (alive && seen.in_flight > 0) {
                targets.push(TargetReport {
                    target: target.clone(),
                    in_flight: Some(seen.in_flight),
                    observations: std::mem::take(&mut seen.observations),
                    limits: std::mem::take(&mut seen.limits),
                });
                seen.news = false;
            }
            seen.in_flight > 0
        });
        (!targets.is_empty()).then(|| Report { from: self.from.clone(), targets })
    }

    async fn tell(&self, bus: &bus::Bus, alive: bool) {
        if let Some(report) = self.take(alive) {
            bus.send_health(&report).await;
        }
    }

    /// Tells what happens until the role ends.
    pub(crate) async fn run(self: Arc<Self>, ctx: Ctx) {
        loop {
            let alive = tokio::time::timeout(SIGN_OF_LIFE, self.news.notified()).await.is_err();
            self.tell(ctx.bus(), alive).await;
            tokio::time::sleep(REPORT_EVERY).await;
        }
    }
}

/// A call that runs.
pub(crate) struct Calling {
    observer: Arc<Observer>,
    watch: Option<Watch>,
}

impl Calling {
    /// Notes what came of the call. A failure is told at once, before the attempt goes back to a router, so that the
    /// router knows of it when it decides what comes next.
    pub(crate) async fn ended(self, bus: &bus::Bus, attempt: &Attempt) {
        let Some(watch) = &self.watch else { return };
        let observer = Arc::clone(&self.observer);
        let observation = Observation::of(attempt, watch);
        let urgent = observation.fault.is_some() || observation.probe;
        observer.add(&watch.target, observation);
        let counted = attempt.usage.filter(|_| attempt.quota.is_some() && !watch.callers_credential);
        if let Some(usage) = counted {
            observer.change(&watch.target, |seen| seen.limits_of(watch).output = Some(usage.output));
        }
        drop(self);
        if urgent {
            observer.tell(bus, false).await;
        }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            self.observer.change(&watch.target, |seen| seen.in_flight = seen.in_flight.saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{ErrorClass, Timestamp};

    use super::*;

    fn watch() -> Watch {
        Watch {
            target: "default/openai".to_owned(),
            policy: None,
            model: Some("m".to_owned()),
            callers_credential: false,
            callers_timeout: false,
            probe: false,
        }
    }

    fn attempt(status: u16) -> Attempt {
        Attempt {
            status: Some(status),
            error: (status >= 300).then(|| ErrorClass::of_status(status)),
            first_byte_ms: Some(u64::from(status)),
            ..Attempt::new(1, "config", "openai", Timestamp(1), Timestamp(2))
        }
    }

    #[test]
    fn the_newest_word_on_limits_is_told_once_and_a_callers_own_never() {
        let observer = Observer::new("w1");
        let said = |at| Said {
            started_at: Timestamp(at),
            decided_at: Timestamp(at),
            at: Timestamp(9),
            quota: quota::Quota::default(),
            shut_until: None,
        };
        for at in [2, 3, 1] {
            observer.said(Some(&watch()), &said(at));
        }
        let theirs = Watch { callers_credential: true, target: "default/theirs".to_owned(), ..watch() };
        observer.said(Some(&theirs), &said(4));
        let told = observer.take(false).unwrap().targets;
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].limits[0].model.as_deref(), told[0].limits[0].said), (Some("m"), Some(said(3))));
        assert_eq!(observer.take(false), None);
    }

    #[test]
    fn calls_are_counted_and_successes_told_together() {
        let observer = Observer::new("w1");
        assert_eq!(observer.take(true), None);
        let calls = [observer.begin(Some(&watch())), observer.begin(Some(&watch())), observer.begin(None)];
        let told = observer.take(false).unwrap();
        assert_eq!((told.from.as_str(), told.targets[0].in_flight), ("w1", Some(2)));
        assert_eq!(observer.take(false), None);
        assert!(observer.take(true).is_some(), "calls run");
        for status in [200, 200, 503] {
            observer.add("default/openai", Observation::of(&attempt(status), &watch()));
        }
        drop(calls);
        let told = observer.take(false).unwrap().targets.remove(0);
        assert_eq!(told.in_flight, Some(0));
        let counts: Vec<_> = told.observations.iter().map(|o| (o.status, o.count)).collect();
        assert_eq!(counts, [(200, 2), (503, 1)]);
        assert_eq!(observer.take(true), None, "nothing runs and nothing is new");
    }
}
