//! What a role is given and how it is run: context, supervision, drain.

#![warn(missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::policy::PolicyView;
use bus::{Bus, Clock};
use domain::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// What a role is given. Cheap to clone; clones share the tasks and the stop signals.
#[derive(Clone)]
pub struct Ctx {
    name: &'static str,
    bus: Bus,
    registry: watch::Receiver<Arc<Registry>>,
    policy: PolicyView,
    /// Take no new work.
    drain: CancellationToken,
    /// Stop what is still running.
    stop: CancellationToken,
    jobs: TaskTracker,
    helpers: TaskTracker,
}

impl Ctx {
    /// A context for a role. `drain` says to take no new work; `stop` to give up what is still running.
    pub fn new(
        name: &'static str,
        bus: Bus,
        registry: watch::Receiver<Arc<Registry>>,
        policy: PolicyView,
        drain: CancellationToken,
        stop: CancellationToken,
    ) -> Self {
        Self {
            name,
            bus,
            registry,
            policy,
            drain,
            stop,
            jobs: TaskTracker::new(),
            helpers: TaskTracker::new(),
        }
    }

    /// The role's name: crate, subcommand, consumer, metric label.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The bus.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Time as the broker counts it.
    pub fn clock(&self) -> &Clock {
        self.bus.clock()
    }

    /// What every role knows alike, as of now.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.borrow())
    }

    /// What administrators stored, as of now.
    pub fn policy(&self) -> &PolicyView {
        &self.policy
    }

    /// Follows the registry.
    pub fn registry_changes(&self) -> watch::Receiver<Arc<Registry>> {
        self.registry.clone()
    }

    /// Says when to take no new work.
    pub fn draining(&self) -> &CancellationToken {
        &self.drain
    }

    /// Says when to give up what is still running.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Starts one piece of work; shutdown waits for it.
    #[expect(clippy::disallowed_methods, reason = "this is the spawn that everybody else uses")]
    pub fn job<F>(&self, job: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tracked = self.jobs.track_future(job);
        tokio::spawn(tracked);
    }

    /// Starts a helper that lasts until `stopping`; ends with the role.
    #[expect(clippy::disallowed_methods, reason = "this is the spawn that everybody else uses")]
    pub fn helper<F>(&self, what: &'static str, helper: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (role, stop) = (self.name, self.stop.clone());
        let guarded = self.helpers.track_future(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = helper => if !stop.is_cancelled() { warn!(role, what, "a helper ended early") },
            }
        });
        tokio::spawn(guarded);
    }

    /// Pieces of work running now.
    pub fn jobs_running(&self) -> usize {
        self.jobs.len()
    }

    /// Waits until all work is done, or until `stopping` and then a moment for the work to notice.
    pub async fn finish(&self) {
        self.jobs.close();
        self.helpers.close();
        tokio::select! {
            () = self.jobs.wait() => {}
            () = self.stop.cancelled() => {
                if tokio::time::timeout(Duration::from_secs(5), self.jobs.wait()).await.is_err() {
                    error!(role = self.name, jobs = self.jobs.len(), "gave up waiting for work that does not stop");
                }
            }
        }
    }
}

/// Runs a role until it has drained. Fails with the role's name if it fails.
pub async fn run<F>(ctx: Ctx, role: impl FnOnce(Ctx) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let name = ctx.name();
    info!(role = name, "started");
    let ended = role(ctx).await.with_context(|| format!("role {name}"));
    info!(role = name, "stopped");
    ended
}
